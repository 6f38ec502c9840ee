//! A part of a run, and what is missing from it.

use serde::{Deserialize, Serialize};

/// From a moment on, up to another: epoch ms. What begins at the end is outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Window {
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
}

impl Window {
    /// How long it is.
    pub(crate) fn seconds(self) -> f64 {
        seconds(self.to_ms - self.from_ms)
    }

    pub(super) fn contains(self, t: i64) -> bool {
        (self.from_ms..self.to_ms).contains(&t)
    }

    /// The longest time in seconds that none of these covers, its edges included. They are in their order; one that is a
    /// moment has the same begin and end.
    pub(super) fn longest_gap(self, covered: impl Iterator<Item = (i64, i64)>) -> f64 {
        let (mut longest, mut end) = (0, self.from_ms);
        for (from, to) in covered {
            longest = longest.max(from.min(self.to_ms) - end);
            end = end.max(to);
        }
        seconds(longest.max(self.to_ms - end))
    }
}

/// Seconds of a time in ms.
#[expect(clippy::cast_precision_loss, reason = "a time in ms is far below 2^53")]
pub(crate) fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

/// A number of samples.
#[expect(
    clippy::cast_precision_loss,
    reason = "a number of samples is far below 2^53"
)]
pub(super) fn float(n: u64) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_at_an_edge_counts() {
        let window = Window {
            from_ms: 10_000,
            to_ms: 20_000,
        };
        for (covered, expected) in [
            (vec![], 10.0),
            (vec![(10_000, 20_000)], 0.0),
            (vec![(14_000, 14_000)], 6.0),
            (vec![(16_000, 16_000)], 6.0),
            (vec![(10_000, 12_000), (15_500, 20_000)], 3.5),
            // One within another, and what lies around the window.
            (
                vec![(5_000, 16_000), (11_000, 12_000), (19_000, 30_000)],
                3.0,
            ),
            (vec![(25_000, 25_000)], 10.0),
        ] {
            let gap = window.longest_gap(covered.iter().copied());
            assert!((gap - expected).abs() < 1e-9, "{covered:?}: {gap}");
        }
    }
}
