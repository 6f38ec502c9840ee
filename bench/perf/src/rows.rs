//! What the table shows: which figure, beside whose, with which goal.

use barrier_stats::median::{Estimate, median, quantile};
use serde::Serialize;

use crate::report::number;
use crate::samples::{Figure, Samples};

/// How a run's values become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Take {
    /// Their median.
    Median,
    /// Their 99th percentile; over all cycles, of all values together.
    P99,
    /// The largest, over all cycles too.
    Largest,
}

/// What is judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Compare {
    /// The figure alone.
    Alone,
    /// How many times the peer's figure it is.
    Ratio,
    /// How many times the peer takes as long.
    Faster,
    /// How far above the peer's it is, divided by this.
    Above(f64),
}

/// What is to be reached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Goal {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
}

/// One line of the table.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// What is measured, with its size.
    pub(crate) title: String,
    /// Whose figure, as `case/variant`.
    pub(crate) of: &'static str,
    /// Its name there.
    pub(crate) figure: &'static str,
    /// Its unit.
    pub(crate) unit: &'static str,
    /// How values become one.
    pub(crate) take: Take,
    /// The peer: `case/variant`, and what it is called.
    pub(crate) peer: Option<(&'static str, &'static str)>,
    /// The name of the peer's figure, where it is another.
    pub(crate) peer_figure: Option<&'static str>,
    /// What is judged.
    pub(crate) compare: Compare,
    /// The goal; none for a peer that stands beside the others.
    pub(crate) goal: Option<Goal>,
}

/// A row with its values.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Line {
    pub(crate) title: String,
    pub(crate) unit: &'static str,
    pub(crate) figure: Option<Estimate>,
    pub(crate) peer_name: Option<&'static str>,
    pub(crate) peer: Option<Estimate>,
    /// What is judged, where that is not the figure itself.
    pub(crate) compared: Option<Estimate>,
    pub(crate) compared_unit: &'static str,
    pub(crate) goal: Option<String>,
    pub(crate) reached: Option<bool>,
}

impl Row {
    /// Fills the row in. Peers are compared within a cycle.
    pub(crate) fn fill(&self, samples: &Samples) -> Line {
        let mine = samples.of(self.of, self.figure);
        let peers = self
            .peer
            .and_then(|(run, _)| samples.of(run, self.peer_figure.unwrap_or(self.figure)));
        let figure = mine.and_then(|m| self.estimate(m));
        let peer = peers.and_then(|p| self.estimate(p));
        let pairs = || -> Vec<(f64, f64)> {
            let (Some(mine), Some(peers)) = (mine, peers) else {
                return Vec::new();
            };
            let both = mine
                .iter()
                .filter_map(|(cycle, values)| Some((values, peers.get(cycle)?)));
            both.filter_map(|(m, p)| Some((self.one(m)?, self.one(p)?)))
                .collect()
        };
        let judge = |how: fn(f64, f64, f64) -> f64, by: f64| {
            let of_cycles = pairs().into_iter().map(|(m, p)| how(m, p, by));
            let mut estimate = Estimate::of(&of_cycles.collect::<Vec<_>>())?;
            if self.take != Take::Median {
                // Of a few values there is no percentile: both are taken over all cycles.
                estimate.median = how(figure?.median, peer?.median, by);
            }
            Some(estimate)
        };
        let (compared, compared_unit) = match self.compare {
            Compare::Alone => (None, self.unit),
            Compare::Ratio => (judge(|m, p, _| m / p, 1.0), "×"),
            Compare::Faster => (judge(|m, p, _| p / m, 1.0), "×"),
            Compare::Above(by) => (judge(|m, p, by| (m - p) / by, by), "KB"),
        };
        let judged = if self.compare == Compare::Alone {
            figure
        } else {
            compared
        };
        let unit = if compared_unit.is_empty() {
            String::new()
        } else {
            format!(" {compared_unit}")
        };
        Line {
            title: self.title.clone(),
            unit: self.unit,
            figure,
            peer_name: self.peer.map(|(_, name)| name),
            peer,
            compared,
            compared_unit,
            goal: self.goal.map(|goal| match goal {
                Goal::AtMost(limit) => format!("≤ {}{unit}", round_number(limit)),
                Goal::AtLeast(limit) => format!("≥ {}{unit}", round_number(limit)),
            }),
            reached: self.goal.zip(judged).map(|(goal, judged)| match goal {
                Goal::AtMost(limit) => judged.median <= limit,
                Goal::AtLeast(limit) => judged.median >= limit,
            }),
        }
    }

    fn one(&self, values: &[f64]) -> Option<f64> {
        match self.take {
            Take::Median => median(values),
            Take::P99 => quantile(values, 0.99),
            Take::Largest => quantile(values, 1.0),
        }
    }

    fn estimate(&self, figure: &Figure) -> Option<Estimate> {
        let by_cycle: Vec<f64> = figure
            .values()
            .filter_map(|values| self.one(values))
            .collect();
        let mut estimate = Estimate::of(&by_cycle)?;
        if self.take != Take::Median {
            let all: Vec<f64> = figure.values().flatten().copied().collect();
            estimate.median = self.one(&all)?;
        }
        Some(estimate)
    }
}

/// As a goal has it: all digits there are, large ones as in prose.
fn round_number(limit: f64) -> String {
    if limit < 1000.0 {
        limit.to_string()
    } else {
        number(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(take: Take, compare: Compare, goal: Goal) -> Row {
        Row {
            title: "t".into(),
            of: "case/ours",
            figure: "ms",
            unit: "ms",
            take,
            peer: Some(("case/peer", "the peer")),
            peer_figure: None,
            compare,
            goal: Some(goal),
        }
    }

    fn samples() -> Samples {
        let mut samples = Samples::default();
        // The second cycle is slow for both: their ratio is not.
        for (cycle, factor) in [(1, 1.0), (2, 10.0), (3, 2.0)] {
            samples.add(
                "case/ours",
                cycle,
                [("ms", vec![3.0 * factor, 2.0 * factor, 9.0 * factor])],
            );
            samples.add("case/peer", cycle, [("ms", vec![2.0 * factor])]);
        }
        samples.add("case/peer", 4, [("ms", vec![1000.0])]);
        samples
    }

    #[test]
    fn ratios_are_taken_within_a_cycle() {
        let line = row(Take::Median, Compare::Ratio, Goal::AtMost(1.5)).fill(&samples());
        assert_eq!(line.figure.expect("a figure").median, 6.0);
        let ratio = line.compared.expect("a ratio");
        assert_eq!(
            (ratio.median, ratio.low, ratio.high, ratio.values),
            (1.5, 1.5, 1.5, 3)
        );
        assert_eq!(line.goal.as_deref(), Some("≤ 1.5 ×"));
        assert_eq!(line.reached, Some(true));
    }

    #[test]
    fn faster_and_above_turn_the_comparison_as_they_say() {
        let faster = row(Take::Median, Compare::Faster, Goal::AtLeast(0.7)).fill(&samples());
        assert_eq!(faster.reached, Some(false));
        let many = row(Take::Median, Compare::Alone, Goal::AtLeast(150_000.0)).fill(&samples());
        assert_eq!(many.goal.as_deref(), Some("≥ 150,000 ms"));
        let above = row(Take::Median, Compare::Above(10.0), Goal::AtMost(0.2)).fill(&samples());
        assert_eq!(above.compared.expect("a difference").median, 0.2);
        assert_eq!(above.reached, Some(true));
    }

    #[test]
    fn a_percentile_is_that_of_all_values() {
        let line = row(Take::P99, Compare::Alone, Goal::AtMost(90.0)).fill(&samples());
        assert_eq!(line.figure.expect("a figure").median, 90.0);
        assert_eq!(line.reached, Some(true));
    }

    #[test]
    fn percentiles_of_all_values_are_compared() {
        let line = row(Take::P99, Compare::Ratio, Goal::AtMost(0.1)).fill(&samples());
        let ratio = line.compared.expect("a ratio");
        assert_eq!((ratio.median, ratio.values), (0.09, 3));
        assert_eq!(line.reached, Some(true));
    }

    #[test]
    fn what_was_not_measured_is_not_judged() {
        let line = row(Take::Median, Compare::Ratio, Goal::AtMost(1.0)).fill(&Samples::default());
        assert!(line.figure.is_none() && line.compared.is_none() && line.reached.is_none());
    }
}
