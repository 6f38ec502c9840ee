//! Who runs, where the parties are those who do.

use std::collections::HashSet;

use super::{Entry, Ledger};
use crate::ids::{Participant, Phase};
use crate::protocol::Census;

/// Participants that run and have not left, and how many of them owe an outcome in the open phase.
#[derive(Debug, Default)]
pub(super) struct Running {
    participants: HashSet<Participant>,
    owing: u32,
}

impl Running {
    /// A participant makes its first outcome in the open phase, or leaves; `settled` says whether it was waited for until then and is
    /// not any more.
    pub(super) fn reported(&mut self, participant: &Participant, leaves: bool, settled: bool) {
        let runs = if leaves {
            self.participants.remove(participant)
        } else {
            self.participants.contains(participant)
        };
        if runs && settled {
            self.owing -= 1;
        }
    }

    /// Its outcome was refused: another process speaks for it, and here nobody is waited for who can never have one. Who owes one is
    /// [counted anew](Ledger::count_running) after that.
    pub(super) fn refused(&mut self, participant: &Participant) {
        self.participants.remove(participant);
    }
}

impl Entry {
    /// Whether a participant that runs is waited for in the open phase.
    pub(super) fn owes(&self, open: Phase) -> bool {
        !self.has_left() && self.outcome.as_ref().is_none_or(|own| own.phase < open)
    }

    /// Whether it has left, or leaves when the phase ends.
    fn has_left(&self) -> bool {
        self.seldom.as_ref().is_some_and(|s| s.leave.is_some())
    }
}

impl Ledger {
    /// The same for parties that are whoever runs.
    #[must_use]
    pub fn counting_running(self) -> Self {
        Self {
            running: Some(Box::default()),
            ..self
        }
    }

    /// The participant runs from now on: the open phase waits for its outcome.
    pub fn begin(&mut self, participant: &Participant) {
        let Some(running) = &mut self.running else {
            return;
        };
        let entry = self.entries.get(participant);
        if !entry.is_some_and(Entry::has_left) && running.participants.insert(participant.clone()) {
            running.owing += u32::from(entry.is_none_or(|entry| entry.owes(self.open)));
        }
    }

    /// It does not run any more: nobody waits for it, and an outcome that it has stands.
    pub fn end(&mut self, participant: &Participant) {
        let Some(running) = &mut self.running else {
            return;
        };
        if running.participants.remove(participant) {
            let entry = self.entries.get(participant);
            running.owing -= u32::from(entry.is_none_or(|entry| entry.owes(self.open)));
        }
    }

    /// Who runs, and what the store does not have when all that is on its way has come; none where the parties are a number.
    #[must_use]
    pub fn census(&self) -> Option<Census> {
        let running = self.running.as_ref()?;
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Some(Census {
            phase: self.open,
            owing: running.owing + count(self.queue.len()),
            running: count(running.participants.len()),
        })
    }

    /// Counts anew who of them owes an outcome: after a change of the phase, or an answer that nobody expected.
    pub(super) fn count_running(&mut self) {
        let Some(running) = &mut self.running else {
            return;
        };
        let entries = &self.entries;
        let left = |id: &Participant| entries.get(id).is_some_and(Entry::has_left);
        running.participants.retain(|id| !left(id));
        let owes = |id: &&Participant| entries.get(*id).is_none_or(|entry| entry.owes(self.open));
        let owing = running.participants.iter().filter(owes).count();
        running.owing = u32::try_from(owing).unwrap_or(u32::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::ids::Reason;
    use crate::ledger::Report;
    use crate::protocol::ItemAnswer;

    fn id(n: u32) -> Participant {
        Participant::new(&n.to_string()).expect("valid")
    }

    fn ledger() -> Ledger {
        Ledger::new(true).counting_running()
    }

    fn report(ledger: &mut Ledger, n: u32, report: &Report) {
        let decision = ledger.report(&id(n), report, false, u64::from(n).into());
        drop(decision.expect("no conflict"));
    }

    fn arrive(ledger: &mut Ledger, n: u32) {
        report(ledger, n, &Report::Arrive { owner: n.into() });
    }

    /// Owing and running, once all that is queued is on its way.
    fn census(ledger: &mut Ledger) -> (u32, u32) {
        while ledger.next_batch().is_some() {}
        let census = ledger.census().expect("they are counted");
        (census.owing, census.running)
    }

    #[test]
    fn whoever_runs_owes_an_outcome_until_it_has_one_or_ends() {
        let mut ledger = ledger();
        for n in 1..=3 {
            ledger.begin(&id(n));
        }
        ledger.begin(&id(3));
        assert_eq!(census(&mut ledger), (3, 3));
        arrive(&mut ledger, 1);
        arrive(&mut ledger, 1);
        report(
            &mut ledger,
            2,
            &Report::Fail(Reason::new("reason", "login").expect("valid")),
        );
        assert_eq!(census(&mut ledger), (1, 3));
        ledger.end(&id(3));
        ledger.end(&id(3));
        ledger.end(&id(1));
        assert_eq!(census(&mut ledger), (0, 1), "what has arrived has arrived");
    }

    #[test]
    fn what_is_on_no_way_yet_is_owed() {
        let mut ledger = ledger();
        ledger.begin(&id(1));
        arrive(&mut ledger, 1);
        assert_eq!(ledger.census().map(|c| c.owing), Some(1));
        ledger.next_batch().expect("the arrival");
        assert_eq!(ledger.census().map(|c| c.owing), Some(0));
    }

    #[test]
    fn all_who_run_owe_one_in_the_next_phase() {
        let mut ledger = ledger();
        for n in 1..=3 {
            ledger.begin(&id(n));
            arrive(&mut ledger, n);
        }
        ledger.end(&id(3));
        assert_eq!(census(&mut ledger), (0, 2));
        ledger.move_to(Phase(1));
        assert_eq!(census(&mut ledger), (2, 2));
    }

    #[test]
    fn whoever_leaves_owes_nothing_any_more() {
        let mut ledger = ledger();
        for n in 1..=3 {
            ledger.begin(&id(n));
        }
        arrive(&mut ledger, 1);
        report(&mut ledger, 1, &Report::Leave);
        report(&mut ledger, 2, &Report::Leave);
        ledger.begin(&id(2));
        assert_eq!(census(&mut ledger), (1, 1));
        ledger.move_to(Phase(1));
        assert_eq!(census(&mut ledger), (1, 1));
    }

    #[test]
    fn whoever_ends_after_the_end_of_a_one_shot_barrier_is_counted_once() {
        let mut ledger = Ledger::new(false).counting_running();
        ledger.begin(&id(1));
        ledger.begin(&id(2));
        ledger.move_to(Phase(1));
        arrive(&mut ledger, 1);
        report(&mut ledger, 2, &Report::Leave);
        ledger.end(&id(1));
        ledger.end(&id(2));
        assert_eq!(census(&mut ledger), (0, 0));
    }

    #[test]
    fn whose_claim_is_refused_is_not_waited_for_until_it_begins_again() {
        let mut ledger = ledger();
        ledger.begin(&id(1));
        ledger.begin(&id(2));
        for _ in 0..2 {
            arrive(&mut ledger, 1);
            let (batch, _items) = ledger.next_batch().expect("the arrival");
            let mut done = Vec::new();
            ledger.acknowledge(batch, vec![ItemAnswer::Conflict], &mut done);
            assert!(matches!(done[..], [(_, Err(Error::Conflict(_)))]));
            assert_eq!(census(&mut ledger), (1, 1), "the other one still is");
            ledger.begin(&id(1));
            assert_eq!(census(&mut ledger), (2, 2));
        }
        ledger.end(&id(1));
        ledger.end(&id(1));
        assert_eq!(census(&mut ledger), (1, 1));
    }

    #[test]
    fn nobody_is_counted_where_the_parties_are_a_number() {
        let mut ledger = Ledger::new(true);
        ledger.begin(&id(1));
        assert_eq!(ledger.census(), None);
    }
}
