//! Users who begin and end, where the parties are those who run.

use std::collections::BTreeSet;

use barrier_core::ids::{Participant, Phase};
use barrier_core::protocol::{Release, Why};
use rand::seq::IndexedRandom;

use super::World;

impl World<'_> {
    pub(super) fn someone_begins_or_ends(&mut self, p: usize) {
        let Some(id) = self.processes[p].members.choose(&mut self.rng).cloned() else {
            return;
        };
        let process = &mut self.processes[p];
        let begins = process.running.insert(id.clone());
        if begins {
            process.session.begin(&id);
        } else {
            process.running.remove(&id);
            process.known.remove(&id);
            process.session.end_of(&id);
        }
        self.trace(|| format!("{p}: {id} {}", if begins { "begins" } else { "ends" }));
    }

    /// Who runs and owes an outcome in the phase.
    pub(super) fn owing<'b>(
        &'b self,
        all: &'b BTreeSet<Participant>,
        n: Phase,
    ) -> Vec<&'b Participant> {
        let has_one = |id: &Participant| self.truth.get(&n).is_some_and(|t| t.contains_key(id));
        let is_gone = |id: &Participant| self.truth_left.contains_key(id);
        let owes = |id: &&Participant| !has_one(id) && !is_gone(id);
        all.iter().filter(owes).collect()
    }

    /// The store has decided a release: nobody may be waited for whom it was told of.
    pub(super) fn check_decision(&mut self, release: &Release) {
        let n = release.phase;
        let first = self.decided.insert(n);
        if !first || release.why != Why::All || self.plan.running.is_none() || self.plan.amnesia {
            return;
        }
        for (p, process) in self.processes.iter().enumerate() {
            let owing = self.owing(&process.known, n);
            let plan = &self.plan;
            assert!(
                owing.is_empty(),
                "released early: {owing:?} of process {p} run, {release:?}: {plan:?}"
            );
        }
    }
}
