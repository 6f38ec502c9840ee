//! What is missing of a variant. Runs are missing for a reason, and the reason may be the build: what is left of one that
//! lost many is its better part.

use serde::Serialize;

use super::stored::{Stored, StoredRun};
use crate::values::text::plural;

/// The losses of two variants may differ by so many.
const APART: usize = 1;
/// The share beyond which what is left is a choice, not a sample: one in so many.
const ONE_IN: usize = 5;

/// What became of the runs of a variant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Losses {
    /// Of all attempts that were begun, how many were invalid.
    pub(crate) invalid: usize,
    /// How many could not be begun, were ended before their end (also by a threshold), or have no value of this metric.
    pub(crate) without_value: usize,
    /// All attempts of which there is evidence.
    pub(crate) attempts: usize,
    /// Planned runs and attempts without evidence, although later ones have some.
    pub(crate) lost: usize,
    /// Runs that somebody interrupted, and whose block was made again.
    #[serde(skip)]
    repeated: usize,
    /// Planned runs after the last one that was begun: the plan was ended early, for all variants alike.
    #[serde(skip)]
    unreached: usize,
}

impl Losses {
    /// Counts them; `name` is the variant's as the plan has it.
    pub(super) fn of(
        stored: &Stored,
        (scenario, point, name): (&str, &str, &str),
        runs: &[&StoredRun],
        has_value: impl Fn(&StoredRun) -> bool,
    ) -> Self {
        let mut losses = Self::default();
        for run in runs {
            if run.meta.discarded || run.meta.quick {
                continue;
            }
            losses.attempts += 1;
            // Its block was begun again, and what became of it there is not known.
            losses.lost += run.behind as usize;
            match run.verdict.as_str() {
                "INVALID" => losses.invalid += 1,
                "PASS" | "FAIL" if run.superseded.is_some() => {}
                "PASS" | "FAIL" if has_value(run) && !run.meta.observed.cut => {}
                "INTERRUPTED" if run.superseded.is_some() && !run.killed => losses.repeated += 1,
                // Also what a signal ended, or who killed the runner: the variant may have been the reason.
                _ => losses.without_value += 1,
            }
        }
        for lost in &stored.lost {
            let place = &lost.place;
            if (
                place.scenario.as_str(),
                place.point.as_str(),
                place.variant.as_str(),
            ) == (scenario, point, name)
            {
                if lost.unreached {
                    losses.unreached += 1;
                } else {
                    losses.lost += 1;
                }
            }
        }
        losses
    }

    fn sum(&self) -> usize {
        self.invalid + self.without_value + self.lost + self.repeated
    }

    fn many(&self) -> bool {
        self.sum() * ONE_IN > self.attempts + self.lost
    }

    fn told(&self, name: &str, unreached: bool) -> String {
        let more = if unreached { self.unreached } else { 0 };
        let runs = plural(self.attempts + self.lost + more, "run");
        let how = if self.without_value + self.lost + more > 0 {
            "invalid, not run or without a value"
        } else {
            "invalid"
        };
        format!("{} of {runs} of {name} {how}", self.sum() + more)
    }

    /// Why what is left of a variant says nothing; `None` if it does.
    pub(super) fn alone(&self, name: &str) -> Option<String> {
        self.many()
            .then(|| format!("{}: more than one fifth is missing", self.told(name, false)))
    }

    /// Why what is left of two cannot be compared; `None` if it can.
    pub(super) fn beside(&self, name: &str, other: &Self, of_other: &str) -> Option<String> {
        // A plan that was ended early lacks as many of both; evidence of one side alone does not go by itself.
        // Whom a person interrupts is chance, and the block was made again: only too many of these are a choice.
        let gone = |losses: &Self| losses.sum() - losses.repeated + losses.unreached;
        let apart = gone(self).abs_diff(gone(other)) > APART;
        if !apart && !self.many() && !other.many() {
            return None;
        }
        let why = if apart {
            "what is left of the two is not alike"
        } else {
            "more than one fifth is missing"
        };
        Some(format!(
            "{}, {}: {why}",
            self.told(name, apart),
            other.told(of_other, apart)
        ))
    }
}
