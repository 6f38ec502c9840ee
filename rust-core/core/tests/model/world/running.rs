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

    /// A process that has nothing to say any more has told the store who runs.
    pub(super) fn note_known(&mut self, p: usize) {
        let process = &mut self.processes[p];
        if process.session.is_idle() {
            process.known.clone_from(&process.running);
        }
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

    /// The store has decided a release: nobody may be waited for whom it was told of, and what these have reported has come.
    pub(super) fn check_decision(&mut self, release: &Release) {
        let n = release.phase;
        let first = self.decided.insert(n);
        if !first || release.why != Why::All || self.plan.running.is_none() || self.plan.amnesia {
            return;
        }
        let reported = self.processes.iter().flat_map(|process| &process.known);
        let reported = reported.filter(|id| self.truth.get(&n).is_some_and(|t| t.contains_key(id)));
        let (counts, reported) = (&release.counts, reported.count());
        assert!(
            (counts.arrived + counts.failed_total()) as usize >= reported,
            "released before {reported} outcomes had come, {release:?}: {:?}",
            self.plan
        );
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
