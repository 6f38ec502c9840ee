//! What a session knows, for the engine's answers and for tests.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::ids::{Incarnation, Phase, ProcessId, Reason};
use crate::ledger::Ledger;
use crate::options::BarrierOptions;
use crate::protocol::{Broken, Counts, Micros, Release};

use super::{InFlight, Link, Session, Turn};

impl Session {
    /// The ledger.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What the barrier was opened with.
    #[must_use]
    pub fn options(&self) -> &BarrierOptions {
        &self.options
    }

    /// This process.
    #[must_use]
    pub const fn process(&self) -> &ProcessId {
        &self.process
    }

    /// The record that this process knows.
    #[must_use]
    pub const fn incarnation(&self) -> Option<&Incarnation> {
        self.incarnation.as_ref()
    }

    /// Newest counts heard of: of the open phase, or of the released one of a one-shot barrier.
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// How many are expected, as far as is known here: where that is whoever runs, those who have or owe an outcome.
    #[must_use]
    pub fn parties(&self) -> u32 {
        self.options.shared.parties.of(&self.counts, self.owing)
    }

    /// Late participants heard of, ids that cannot be named among them, and registered processes.
    #[must_use]
    pub const fn tally(&self) -> (u32, bool, u32) {
        (self.late, self.unnameable, self.processes)
    }

    /// The newest releases, at most 16.
    #[must_use]
    pub const fn releases(&self) -> &BTreeMap<Phase, Release> {
        &self.releases
    }

    /// How the barrier broke, if it did.
    #[must_use]
    pub const fn broken(&self) -> Option<&Broken> {
        self.broken.as_ref()
    }

    /// No phase is open any more, nor will be: a one-shot barrier was released, or it broke, or cannot be opened.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let released = !self.options.shared.cyclic && self.ledger.open() > Phase(0);
        released || self.broken.is_some() || self.is_refused()
    }

    /// Reasons whose counters this process looks after: of its openers, and of failures heard of.
    pub fn known_reasons(&self) -> impl Iterator<Item = &str> {
        let own = self.reasons.iter().map(Reason::as_str);
        let before = &self.failed_before;
        let still = self
            .counts
            .failed
            .keys()
            .filter(|r| !before.contains_key(*r));
        let heard = before.keys().chain(still).map(String::as_str);
        own.chain(heard.filter(|r| !self.reasons.iter().any(|own| own.as_str() == *r)))
    }

    /// Whether the record is open and the store answers.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        matches!(self.link, Link::Live)
    }

    /// The phase that was open when the process opened the barrier.
    #[must_use]
    pub const fn opened_at(&self) -> Phase {
        self.opened_at
    }

    /// Whether the process has ever been registered in the store.
    #[must_use]
    pub const fn is_registered(&self) -> bool {
        self.registered
    }

    /// The barrier cannot be opened, now and later.
    #[must_use]
    pub const fn is_refused(&self) -> bool {
        self.refused().is_some()
    }

    /// Why the barrier cannot be opened.
    #[must_use]
    pub const fn refused(&self) -> Option<&Error> {
        match &self.link {
            Link::Refused(error) => Some(error),
            _ => None,
        }
    }

    /// The others that were found have not answered yet.
    #[must_use]
    pub const fn awaits_others(&self) -> bool {
        matches!(self.link, Link::AwaitOthers { .. })
    }

    /// Nothing is on its way and nothing is owed.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let owes = self.ledger.owes() && self.broken.is_none();
        let asks = !self.ends.is_empty() || self.has(Turn::Beat);
        self.in_flight.is_empty() && !owes && !asks && self.opening.is_empty()
    }

    /// Whether the answer that comes next is to an operation that told how long a message takes.
    #[must_use]
    pub fn has_told_latency(&self) -> bool {
        let oldest = self.in_flight.front();
        matches!(oldest, Some(InFlight::Open(_) | InFlight::Beat(_)))
    }

    /// What the next operations report as the time from a decision to its receipt.
    pub const fn set_push_latency(&mut self, latency: Micros) {
        self.push_latency = latency;
    }
}
