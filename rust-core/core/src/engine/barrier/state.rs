//! What a barrier's lock guards.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::engine::news::Emission;
use crate::ids::Phase;
use crate::ledger::Answered;
use crate::protocol::Release;
use crate::session::Session;
use crate::spread::Timetable;
use crate::ticket::Ticket;

use super::status::{BrokenInfo, ReleaseInfo};
use super::waiting::Waiting;

/// What a barrier's lock guards.
pub(super) struct State {
    pub(super) session: Session,
    /// What the host is to be told, in order, once the lock is free.
    pub(super) outbox: Vec<Emission>,
    /// Phases whose release instant has come.
    pub(super) fired: BTreeMap<Phase, ReleaseInfo>,
    /// Releases whose users go one after the other and have been told when, although the first instant lies ahead.
    pub(super) announced: BTreeMap<Phase, ReleaseInfo>,
    /// When the arrivals of a spread release go, as long as the last one has not gone.
    pub(super) timetables: BTreeMap<Phase, Timetable>,
    /// Releases whose instant lies ahead, and when each fires at the latest.
    pub(super) coming: BTreeMap<Phase, (Release, Instant)>,
    /// Late participants that wait for that instant.
    pub(super) held: Vec<(Ticket, Answered)>,
    /// Calls that wait for the release of a phase.
    pub(super) waiting: Waiting,
    pub(super) broken_told: bool,
    /// A bug ended it, in this process alone.
    pub(super) bug: Option<BrokenInfo>,
    /// When the first call that waits may be overdue, as far as an appointment was made.
    pub(super) overdue_at: Option<Instant>,
    pub(super) beat_at: Instant,
    pub(super) hello_until: Option<Instant>,
    pub(super) hello_next: Instant,
    pub(super) retry_at: Option<Instant>,
    pub(super) trouble: Option<String>,
    /// The hub should publish a greeting.
    pub(super) say_hello: bool,
    /// When it was asked or told something last.
    pub(super) stirred_at: Instant,
    /// Who lets go of it, once all is delivered.
    pub(super) closers: Vec<Ticket>,
    /// Who wants to open it meanwhile: they hear whether it stays.
    pub(super) openers: Vec<Ticket>,
    /// The process has let go of it or forgotten it.
    pub(super) gone: bool,
}

impl State {
    pub(super) fn new(session: Session) -> Self {
        let now = Instant::now();
        Self {
            session,
            outbox: Vec::new(),
            fired: BTreeMap::new(),
            announced: BTreeMap::new(),
            timetables: BTreeMap::new(),
            coming: BTreeMap::new(),
            held: Vec::new(),
            waiting: Waiting::default(),
            broken_told: false,
            bug: None,
            overdue_at: None,
            beat_at: now,
            hello_until: None,
            hello_next: now,
            retry_at: None,
            trouble: None,
            say_hello: false,
            stirred_at: now,
            closers: Vec::new(),
            openers: Vec::new(),
            gone: false,
        }
    }
}
