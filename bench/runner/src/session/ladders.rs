//! The ladders of a plan while it is worked on: what they have, and what each asks for next.

use std::collections::BTreeMap;

use crate::plan::ladder::{Ladder, Outcome, Rung, Step};
use crate::suite::Suite;

/// By the ids of their scenarios.
#[derive(Debug, Default)]
pub(super) struct Ladders(BTreeMap<String, Ladder>);

impl Ladders {
    /// The ladders that these runs are of, without what became of them.
    pub(super) fn new<'r>(suite: &Suite, runs: impl Iterator<Item = (&'r str, Rung)>) -> Self {
        let mut rungs: BTreeMap<&str, Vec<Rung>> = BTreeMap::new();
        for (scenario, rung) in runs {
            rungs.entry(scenario).or_default().push(rung);
        }
        let ladders = rungs.into_iter().filter_map(|(scenario, rungs)| {
            let table = suite.scenario(scenario).ok()?.ladder()?;
            Some((scenario.to_owned(), Ladder::new(table, rungs.into_iter())))
        });
        Self(ladders.collect())
    }

    /// Takes note of what became of a run; whether that was the one that its level waited for.
    pub(super) fn note(&mut self, scenario: &str, rung: Rung, outcome: Outcome) -> bool {
        let ladder = self.0.get_mut(scenario);
        ladder.is_some_and(|ladder| ladder.note(rung, outcome))
    }

    /// What a ladder asks for; `None` if there is none of that scenario.
    pub(super) fn next(&self, scenario: &str) -> Option<Step> {
        self.0.get(scenario).map(Ladder::next)
    }
}
