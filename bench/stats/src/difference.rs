//! The difference of a variant to its base, in the unit of their values: for what something costs in milliseconds, where a ratio
//! would depend on how slow everything else is.

use serde::Serialize;

use crate::count;
use crate::ratio::{CONFIDENCE, Interval, moments, student};

/// The difference variant - base of values that were measured side by side.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// Pairs.
    pub n: usize,
    /// The mean difference and its bounds.
    #[serde(flatten)]
    pub interval: Interval,
    /// Of Student's t, for the interval.
    pub degrees_of_freedom: f64,
    /// Standard deviation of one cycle's difference.
    pub sd: f64,
}

/// The difference variant - base, from pairs of base and variant; `None` with fewer than two.
#[must_use]
pub fn paired(pairs: &[(f64, f64)]) -> Option<Difference> {
    if pairs.len() < 2 {
        return None;
    }
    let differences: Vec<f64> = pairs.iter().map(|(base, value)| value - base).collect();
    let (mean, variance) = moments(&differences);
    let n = count(differences.len());
    let half = student(1.0 - (1.0 - CONFIDENCE) / 2.0, n - 1.0) * (variance / n).sqrt();
    Some(Difference {
        n: differences.len(),
        interval: Interval {
            value: mean,
            low: mean - half,
            high: mean + half,
        },
        degrees_of_freedom: n - 1.0,
        sd: variance.sqrt(),
    })
}

impl Difference {
    /// Whether the interval leaves out "no difference".
    #[must_use]
    pub fn differs(&self) -> bool {
        self.interval.low > 0.0 || self.interval.high < 0.0
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;
    use rand_distr::{Distribution as _, Normal};

    use super::*;

    #[test]
    fn the_interval_is_that_of_students_t() {
        // Differences 1, 2 and 3: mean 2, standard deviation 1, t of 2 degrees of freedom 4.3027.
        let found = paired(&[(10.0, 11.0), (20.0, 22.0), (5.0, 8.0)]).expect("a difference");
        let near = |a: f64, b: f64| (a - b).abs() < 1e-3;
        let half = 4.302_65 / 3.0_f64.sqrt();
        assert!(
            near(found.interval.value, 2.0) && near(found.sd, 1.0),
            "{found:?}"
        );
        assert!(
            near(found.interval.low, 2.0 - half) && near(found.interval.high, 2.0 + half),
            "{found:?}"
        );
        assert!(!found.differs());
        assert_eq!(paired(&[(1.0, 2.0)]), None);
        let same = paired(&[(1.0, 3.0), (2.0, 4.0)]).expect("a difference");
        assert!(same.differs() && near(same.interval.low, 2.0));
    }

    #[test]
    fn six_cycles_cover_the_truth_whatever_the_cycles_have_in_common() {
        let mut random = StdRng::seed_from_u64(20_260_101);
        let (luck, noise) = (
            Normal::new(100.0, 30.0).expect("a distribution"),
            Normal::new(0.0, 0.5).expect("a distribution"),
        );
        let series = 4000;
        let covered = (0..series).filter(|_| {
            let pairs: Vec<(f64, f64)> = (0..6)
                .map(|_| {
                    let cycle = luck.sample(&mut random);
                    (
                        cycle + noise.sample(&mut random),
                        cycle + 1.5 + noise.sample(&mut random),
                    )
                })
                .collect();
            let interval = paired(&pairs).expect("a difference").interval;
            interval.low <= 1.5 && 1.5 <= interval.high
        });
        let share = count(covered.count()) / count(series);
        assert!((0.94..0.96).contains(&share), "{share}");
    }
}
