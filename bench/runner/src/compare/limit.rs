//! Limits that the suite sets to comparisons and to what was accepted before: kept, not kept, or not known.

use barrier_stats::difference::Difference;
use barrier_stats::ratio::{CONFIDENCE, Ratio};
use serde::Serialize;

use crate::suite::schema::{CompareTable, Method, Worse};

/// A limit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Gate {
    /// By how much the variant may be worse, as a share.
    pub(crate) limit: f64,
    /// The limit is a difference in the unit of the values.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) difference: bool,
    /// Less is worse, as of a rate.
    pub(crate) less_is_worse: bool,
    /// `PASS`, `FAIL`, or `INVALID` where the evidence allows no verdict.
    pub(crate) verdict: &'static str,
    /// Why figures that there are leave it open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) open: Option<String>,
}

impl Gate {
    /// The limit of a table, not judged yet; `None` if it sets none.
    pub(super) fn of(table: &CompareTable) -> Option<Self> {
        Some(Self {
            limit: *table.worse_than.as_ref()?.get_ref(),
            difference: table.method == Method::PairedDifference,
            less_is_worse: table.worse == Worse::Lower,
            verdict: "INVALID",
            open: None,
        })
    }

    /// The same if it says something to values that did not run side by side: a share.
    pub(super) fn of_share(table: &CompareTable) -> Option<Self> {
        Self::of(table).filter(|gate| !gate.difference)
    }

    /// Kept is what the upper bound of the difference is within, not kept what the whole interval is not.
    pub(super) fn judge_difference(&mut self, difference: &Difference) {
        let interval = &difference.interval;
        // How much worse it is, at best and at worst.
        let (best, worst) = if self.less_is_worse {
            (-interval.high, -interval.low)
        } else {
            (interval.low, interval.high)
        };
        self.verdict = match () {
            () if worst < self.limit => "PASS",
            () if best >= self.limit => "FAIL",
            () => "INVALID",
        };
        let open = "the interval reaches from within to beyond that: more cycles tell";
        self.open = (self.verdict == "INVALID").then(|| open.to_owned());
    }

    /// The ratio that is just allowed.
    fn bound(&self) -> f64 {
        if self.less_is_worse {
            1.0 - self.limit
        } else {
            1.0 + self.limit
        }
    }

    /// How often a ratio at least so much worse comes about where the true one is just allowed, twice as often as in this
    /// direction alone: what is within the limit is no sign of anything beyond.
    pub(super) fn p(&self, ratio: &Ratio) -> f64 {
        let bound = self.bound();
        let value = ratio.interval.value;
        let worse = if self.less_is_worse {
            value < bound
        } else {
            value > bound
        };
        // No ratio is below a bound that is not above 0.
        if worse { ratio.p_against(bound) } else { 1.0 }
    }

    /// Not kept is what the whole interval is beyond, also among all limits together. Kept is what the whole interval is
    /// within: what only was not shown to be worse is not known. `shown`: the comparison itself says that it is worse.
    pub(super) fn judge(&mut self, ratio: &Ratio, corrected: f64, shown: bool, together: usize) {
        let (bound, interval) = (self.bound(), &ratio.interval);
        let (within, beyond) = if self.less_is_worse {
            (interval.low >= bound, interval.high < bound)
        } else {
            (interval.high <= bound, interval.low > bound)
        };
        self.verdict = match () {
            () if within => "PASS",
            () if beyond && shown && corrected < 1.0 - CONFIDENCE => "FAIL",
            () => "INVALID",
        };
        self.open = (self.verdict == "INVALID").then(|| {
            let why = match (beyond, shown) {
                (false, _) => "the interval reaches from within to beyond that".to_owned(),
                (true, false) => {
                    "taken alone it is more, which is not shown among all comparisons".to_owned()
                }
                (true, true) => {
                    format!("taken alone it is more, which is not shown among {together} limits")
                }
            };
            format!("{why}: more cycles tell")
        });
    }

    /// What an open verdict adds to a text.
    pub(super) fn why_open(&self) -> String {
        let open = self.open.as_ref();
        open.map_or_else(String::new, |why| format!("; {why}"))
    }
}

#[cfg(test)]
mod tests {
    use barrier_stats::difference::paired;

    use super::*;

    #[test]
    fn a_difference_is_kept_by_its_upper_bound() {
        let judged = |limit: f64, less_is_worse: bool, values: [f64; 6]| {
            let mut gate = Gate {
                limit,
                difference: true,
                less_is_worse,
                verdict: "INVALID",
                open: None,
            };
            let pairs: Vec<(f64, f64)> =
                values.iter().map(|value| (100.0, 100.0 + value)).collect();
            gate.judge_difference(&paired(&pairs).expect("a difference"));
            gate.verdict
        };
        let around = |middle: f64| [-0.5, -0.3, -0.1, 0.1, 0.3, 0.5].map(|by| middle + by);
        assert_eq!(judged(5.0, false, around(4.0)), "PASS");
        assert_eq!(
            judged(5.0, false, around(-40.0)),
            "PASS",
            "better is not worse"
        );
        assert_eq!(judged(5.0, false, around(4.9)), "INVALID");
        assert_eq!(judged(5.0, false, around(6.0)), "FAIL");
        assert_eq!(
            judged(5.0, false, [5.0; 6]),
            "FAIL",
            "less than the limit is asked for"
        );
        assert_eq!(judged(5.0, true, around(-6.0)), "FAIL");
        assert_eq!(judged(5.0, true, around(-4.0)), "PASS");
    }
}
