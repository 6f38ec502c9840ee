//! What a barrier's lock guards.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use crate::clock::StoreClock;
use crate::ids::{Participant, Phase};
use crate::ledger::{Answered, Token};
use crate::session::Session;

use super::status::ReleaseInfo;

#[derive(Debug)]
pub(super) struct Deadline {
    pub(super) at: Instant,
    pub(super) token: Token,
    pub(super) participant: Option<Participant>,
}

/// What a barrier's lock guards.
pub(super) struct State {
    pub(super) session: Session,
    pub(super) clock: StoreClock,
    /// Phases whose release instant has come.
    pub(super) fired: BTreeMap<Phase, ReleaseInfo>,
    /// Releases whose instant lies ahead.
    pub(super) due: u32,
    /// Late participants that wait for that instant.
    pub(super) held: Vec<(Token, Answered)>,
    pub(super) broken_told: bool,
    pub(super) reports: VecDeque<Deadline>,
    pub(super) others: VecDeque<Deadline>,
    pub(super) beat_at: Instant,
    pub(super) hello_until: Option<Instant>,
    pub(super) hello_next: Instant,
    pub(super) retry_at: Option<Instant>,
    pub(super) trouble: Option<String>,
    /// The hub should publish a greeting.
    pub(super) say_hello: bool,
}

impl State {
    pub(super) fn new(session: Session) -> Self {
        let now = Instant::now();
        Self {
            session,
            clock: StoreClock::default(),
            fired: BTreeMap::new(),
            due: 0,
            held: Vec::new(),
            broken_told: false,
            reports: VecDeque::new(),
            others: VecDeque::new(),
            beat_at: now,
            hello_until: None,
            hello_next: now,
            retry_at: None,
            trouble: None,
            say_hello: false,
        }
    }
}
