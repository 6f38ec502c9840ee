//! Parties that are whoever runs: when a phase of them is complete.

use super::{Effects, GAP_MAX, Record};
use crate::options::Parties;
use crate::protocol::{Request, StoreTime, Why};

impl Record {
    /// How many who run in a process that lives have no outcome in the open phase.
    pub(super) fn owing(&self, now: StoreTime) -> u32 {
        match self.options.parties {
            Parties::Fixed(_) => 0,
            Parties::Running(_) if !self.options.cyclic && self.open.0 > 0 => 0,
            Parties::Running(_) => {
                let alive = self.processes.values().filter(|p| p.is_alive(now));
                alive.map(|p| p.owing).sum()
            }
        }
    }

    /// For as long as nobody spoke nobody was silent: the server stood still, or its clock was set.
    pub(super) fn stand_still(&mut self, now: StoreTime) {
        let Parties::Running(_) = self.options.parties else {
            return;
        };
        let newest = self.processes.values().map(|p| p.seen).max();
        let gap = newest.map_or(0, |newest| now.0 - newest.0);
        let passed = gap.clamp(0, GAP_MAX.0);
        if gap != passed {
            for process in self.processes.values_mut() {
                process.seen.0 += gap - passed;
            }
        }
    }

    /// A phase has opened.
    pub(super) fn all_who_run_owe(&mut self) {
        for process in self.processes.values_mut() {
            process.owing = process.running;
        }
    }

    /// What a process says of who runs there, once its operation is done.
    pub(super) fn take_census(&mut self, request: &Request) {
        let open = self.open;
        let process = self.processes.get_mut(&request.process);
        let (Some(census), Some(process)) = (request.census, process) else {
            return;
        };
        process.running = census.running;
        process.owing = if census.phase < open {
            census.running // it has not heard of the release
        } else if census.phase > open {
            census.owing.max(1) // it has: it opens the record again, which moves this phase up
        } else {
            census.owing
        };
    }

    /// The end of an operation: is nobody waited for any more?
    pub(super) fn count_running(
        &mut self,
        request: &Request,
        now: StoreTime,
        effects: &mut Effects,
    ) {
        let Parties::Running(rule) = &self.options.parties else {
            return;
        };
        let at_least = rule.at_least;
        self.take_census(request);
        let over = !self.options.cyclic && self.open.0 > 0;
        if over || self.broken.is_some() {
            return;
        }
        let outcomes = self.counts.arrived + self.counts.failed_total();
        let enough = if self.open.0 == 0 { at_least } else { 1 };
        if outcomes >= enough && self.owing(now) == 0 {
            self.release(Why::All, now, effects);
        }
    }
}
