//! The ratio of a variant to its base. `docs/explanation/statistics.md` says why these.
//!
//! Everything works on logarithms: a difference is a ratio, so that `slower by 12 %` means the same for a run of one
//! second and one of ten minutes, and no interval ever reaches below zero.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF as _, StudentsT};

use crate::median::{median, of_sorted};
use crate::{count, sorted};

/// How often an interval covers the truth.
pub const CONFIDENCE: f64 = 0.95;
/// How often a difference of the size in question would be shown with the cycles that are said to be needed.
const POWER: f64 = 0.8;
/// Valid cycles below which values are shown but nothing is concluded.
pub const MIN_CYCLES: usize = 6;
/// Cycles beyond which it is of no use to say how many would be needed.
const MAX_CYCLES: usize = 1000;
/// Modified z-score from which on a value is marked, as proposed by Iglewicz and Hoaglin.
const OUTLIER: f64 = 3.5;
/// Values below which a median absolute deviation says nothing.
const MIN_FOR_OUTLIERS: usize = 5;

/// The values of one variant in a few numbers.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Spread {
    /// How many values.
    pub n: usize,
    /// The value in the middle.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// Geometric mean with its interval, from two positive values on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<Interval>,
    /// Standard deviation as a share of the mean, from two values on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variation: Option<f64>,
}

/// A value and the bounds that cover the truth in [`CONFIDENCE`] of all series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// The value.
    pub value: f64,
    /// The lower bound.
    pub low: f64,
    /// The upper bound.
    pub high: f64,
}

/// The ratio of a variant to its base.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ratio {
    /// Pairs, or the smaller number of values where nothing is paired.
    pub n: usize,
    /// The ratio and its bounds.
    #[serde(flatten)]
    pub interval: Interval,
    /// Of Student's t, for the interval.
    pub degrees_of_freedom: f64,
    /// Standard deviation of one cycle's log ratio.
    pub sd_log: f64,
    /// How often a ratio at least this far from 1 comes about where there is no difference (two-sided).
    pub p: f64,
    #[serde(skip)]
    paired: bool,
}

/// Median, extremes and spread; `None` without values.
#[must_use]
pub fn spread(values: &[f64]) -> Option<Spread> {
    let sorted = sorted(values);
    let (min, max) = (*sorted.first()?, *sorted.last()?);
    let arithmetic = moments(values);
    let positive = values.iter().all(|value| *value > 0.0);
    let mean = (positive && values.len() > 1).then(|| {
        let (mean, variance) = moments(&logs(values));
        let count = count(values.len());
        interval(mean, (variance / count).sqrt(), count - 1.0)
    });
    Some(Spread {
        n: values.len(),
        median: of_sorted(&sorted)?,
        min,
        max,
        mean,
        variation: (values.len() > 1 && arithmetic.0 > 0.0)
            .then(|| arithmetic.1.sqrt() / arithmetic.0),
    })
}

/// The mean of the logarithms, as a value; `None` without values. All must be positive.
#[must_use]
pub fn geometric_mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| moments(&logs(values)).0.exp())
}

/// The ratio variant / base of values that were measured side by side; `None` with fewer than two pairs. All values must be positive.
#[must_use]
pub fn paired(pairs: &[(f64, f64)]) -> Option<Ratio> {
    if pairs.len() < 2 {
        return None;
    }
    let ratios: Vec<f64> = pairs
        .iter()
        .map(|(base, value)| (value / base).ln())
        .collect();
    let (mean, variance) = moments(&ratios);
    let n = count(ratios.len());
    Some(Ratio {
        n: ratios.len(),
        interval: interval(mean, (variance / n).sqrt(), n - 1.0),
        degrees_of_freedom: n - 1.0,
        sd_log: variance.sqrt(),
        p: chance(mean, (variance / n).sqrt(), n - 1.0),
        paired: true,
    })
}

/// The ratio variant / base of two series that have nothing in common but their length, by Welch's interval; `None`
/// with fewer than two values in either. All values must be positive.
#[must_use]
pub fn unpaired(base: &[f64], values: &[f64]) -> Option<Ratio> {
    if base.len() < 2 || values.len() < 2 {
        return None;
    }
    let ((base_mean, base_variance), (mean, variance)) =
        (moments(&logs(base)), moments(&logs(values)));
    let (of_base, of_values) = (
        base_variance / count(base.len()),
        variance / count(values.len()),
    );
    let error = of_base + of_values;
    let least = count(base.len().min(values.len())) - 1.0;
    let freedom = if error > 0.0 {
        error.powi(2)
            / (of_base.powi(2) / (count(base.len()) - 1.0)
                + of_values.powi(2) / (count(values.len()) - 1.0))
    } else {
        least
    };
    Some(Ratio {
        n: base.len().min(values.len()),
        interval: interval(mean - base_mean, error.sqrt(), freedom),
        degrees_of_freedom: freedom,
        sd_log: (base_variance + variance).sqrt(),
        p: chance(mean - base_mean, error.sqrt(), freedom),
        paired: false,
    })
}

impl Ratio {
    /// Whether the interval leaves out "no difference".
    #[must_use]
    pub fn differs(&self) -> bool {
        self.interval.low > 1.0 || self.interval.high < 1.0
    }

    /// How often a ratio at least this far from `truth` comes about where that is the true one (two-sided): below
    /// 1 - [`CONFIDENCE`] exactly where the interval leaves it out.
    #[must_use]
    pub fn p_against(&self, truth: f64) -> f64 {
        let quantile = student(1.0 - (1.0 - CONFIDENCE) / 2.0, self.degrees_of_freedom);
        let error = (self.interval.high / self.interval.low).ln() / 2.0 / quantile;
        let mean_log = (self.interval.value / truth).ln();
        chance(mean_log, error, self.degrees_of_freedom)
    }

    /// Cycles that would show a difference of `effect` (0.05 = 5 %) in four fifths of all series, at least
    /// [`MIN_CYCLES`]; `None` if it is more than anybody would run.
    #[must_use]
    pub fn needed(&self, effect: f64) -> Option<usize> {
        (MIN_CYCLES..=MAX_CYCLES).find(|&n| self.detectable(n) <= effect)
    }

    /// The smallest difference that `n` cycles show in [`POWER`] of all series.
    fn detectable(&self, n: usize) -> f64 {
        let n = count(n);
        let freedom = if self.paired {
            n - 1.0
        } else {
            2.0 * (n - 1.0)
        };
        let quantiles = student(1.0 - (1.0 - CONFIDENCE) / 2.0, freedom) + student(POWER, freedom);
        (quantiles * self.sd_log / n.sqrt()).exp_m1()
    }
}

/// What p-values become where several comparisons are made at once: each is still below 1 - [`CONFIDENCE`] only so seldom
/// that, of all comparisons of equal variants together, one is called different in 5 % of all series. S. Holm, "A simple
/// sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979). It takes no independence:
/// two metrics of one run may well say the same.
#[must_use]
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let mut corrected = vec![1.0; p.len()];
    let mut least: f64 = 0.0;
    for (rank, index) in order.into_iter().enumerate() {
        least = least.max((count(p.len() - rank) * p[index]).min(1.0));
        corrected[index] = least;
    }
    corrected
}

/// Which values lie far from the others, by the median absolute deviation of their logarithms. Marked, never dropped. More
/// than a quarter of the values are not far from the others but a second group: then none is marked.
#[must_use]
pub fn outliers(values: &[f64]) -> Vec<bool> {
    if values.len() < MIN_FOR_OUTLIERS || values.iter().any(|value| *value <= 0.0) {
        return vec![false; values.len()];
    }
    let logs = logs(values);
    let centre = middle(&logs);
    let deviations: Vec<f64> = logs.iter().map(|log| (log - centre).abs()).collect();
    let typical = middle(&deviations);
    let marked: Vec<bool> = deviations
        .iter()
        .map(|deviation| typical > 0.0 && 0.6745 * deviation / typical > OUTLIER)
        .collect();
    if marked.iter().filter(|far| **far).count() * 4 > values.len() {
        return vec![false; values.len()];
    }
    marked
}

/// Median of values, at least one.
fn middle(values: &[f64]) -> f64 {
    median(values).expect("there are values")
}

fn interval(mean_log: f64, error: f64, freedom: f64) -> Interval {
    let half = student(1.0 - (1.0 - CONFIDENCE) / 2.0, freedom) * error;
    Interval {
        value: mean_log.exp(),
        low: (mean_log - half).exp(),
        high: (mean_log + half).exp(),
    }
}

/// The two-sided p-value of Student's t.
fn chance(mean_log: f64, error: f64, freedom: f64) -> f64 {
    if mean_log == 0.0 {
        return 1.0;
    }
    if error <= 0.0 {
        return 0.0;
    }
    2.0 * distribution(freedom).sf((mean_log / error).abs())
}

/// Quantile of Student's t.
pub(crate) fn student(probability: f64, freedom: f64) -> f64 {
    distribution(freedom).inverse_cdf(probability)
}

fn distribution(freedom: f64) -> StudentsT {
    StudentsT::new(0.0, 1.0, freedom)
        .expect("the degrees of freedom are positive: two values at least")
}

fn logs(values: &[f64]) -> Vec<f64> {
    values.iter().map(|value| value.ln()).collect()
}

/// Mean and variance of a sample; the variance of a single value is 0.
pub(crate) fn moments(values: &[f64]) -> (f64, f64) {
    let n = count(values.len());
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, if n > 1.0 { squares / (n - 1.0) } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;
    use rand_distr::{Distribution as _, LogNormal};

    use super::*;

    const SERIES: usize = 4000;

    /// Share of the series for which `holds` is true.
    fn share(mut holds: impl FnMut(&mut StdRng) -> bool) -> f64 {
        let mut random = StdRng::seed_from_u64(20_260_101);
        let hits = (0..SERIES).filter(|_| holds(&mut random)).count();
        count(hits) / count(SERIES)
    }

    /// Pairs whose cycle has a luck of its own that both runs share, as on a machine that is busy now and then.
    fn pairs(random: &mut StdRng, n: usize, truth: f64, noise: f64) -> Vec<(f64, f64)> {
        let luck = LogNormal::new(0.0, 0.2).expect("distribution");
        let noise = LogNormal::new(0.0, noise).expect("distribution");
        (0..n)
            .map(|_| {
                let cycle = 20_000.0 * luck.sample(random);
                (
                    cycle * noise.sample(random),
                    truth * cycle * noise.sample(random),
                )
            })
            .collect()
    }

    #[test]
    fn the_interval_of_seven_cycles_covers_the_truth() {
        for truth in [1.0, 1.05, 1.2, 0.5] {
            for noise in [0.01, 0.1] {
                let covered = share(|random| {
                    let ratio = paired(&pairs(random, 7, truth, noise)).expect("ratio");
                    ratio.interval.low <= truth && truth <= ratio.interval.high
                });
                assert!(covered >= 0.93, "ratio {truth}, noise {noise}: {covered}");
                let covered = share(|random| {
                    let distribution = LogNormal::new(0.0, noise).expect("distribution");
                    let mut series = |centre: f64| -> Vec<f64> {
                        (0..7)
                            .map(|_| centre * distribution.sample(random))
                            .collect()
                    };
                    let (base, values) = (series(1000.0), series(1000.0 * truth));
                    let ratio = unpaired(&base, &values).expect("ratio");
                    ratio.interval.low <= truth && truth <= ratio.interval.high
                });
                assert!(
                    covered >= 0.93,
                    "unpaired, ratio {truth}, noise {noise}: {covered}"
                );
            }
        }
    }

    #[test]
    fn equal_variants_are_seldom_called_different() {
        let called = share(|random| {
            paired(&pairs(random, 7, 1.0, 0.05))
                .expect("ratio")
                .differs()
        });
        assert!(called <= 0.07, "{called}");
    }

    #[test]
    fn the_cycles_that_are_said_to_be_needed_show_the_difference() {
        let noise = 0.04;
        let known = Ratio {
            n: 7,
            interval: Interval {
                value: 1.0,
                low: 0.9,
                high: 1.1,
            },
            degrees_of_freedom: 6.0,
            sd_log: noise * f64::sqrt(2.0),
            p: 1.0,
            paired: true,
        };
        let needed = known.needed(0.05).expect("a number");
        let shown = share(|random| {
            paired(&pairs(random, needed, 1.05, noise))
                .expect("ratio")
                .differs()
        });
        assert!((0.77..0.86).contains(&shown), "{needed} cycles: {shown}");
    }

    #[test]
    fn a_ratio_by_hand() {
        // Log ratios 0.1, 0.2, 0.3: mean 0.2, deviation 0.1, t(0.975; 2) = 4.302653.
        let pairs: Vec<(f64, f64)> = [0.1, 0.2, 0.3]
            .map(|log: f64| (100.0, 100.0 * log.exp()))
            .to_vec();
        let ratio = paired(&pairs).expect("ratio");
        let half = 4.302_653 * 0.1 / f64::sqrt(3.0);
        for (found, expected) in [
            (ratio.interval.value, 0.2_f64.exp()),
            (ratio.interval.low, (0.2 - half).exp()),
            (ratio.interval.high, (0.2 + half).exp()),
        ] {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
        assert!(!ratio.differs());
        // t = 0.2 / (0.1 / √3) = 3.4641 with 2 degrees of freedom.
        assert!((ratio.p - 0.074_18).abs() < 1e-4, "{}", ratio.p);
        assert!((ratio.p_against(1.0) - ratio.p).abs() < 1e-9);
        // At the interval's own bound it is just what the interval leaves out.
        assert!((ratio.p_against(ratio.interval.low) - 0.05).abs() < 1e-6);
        assert!((ratio.p_against(ratio.interval.value) - 1.0).abs() < 1e-9);
        assert!(paired(&pairs[..1]).is_none() && unpaired(&[1.0], &[1.0, 2.0]).is_none());
    }

    #[test]
    fn many_comparisons_at_once_are_corrected() {
        // Sorted and multiplied by 4, 3, 2, 1; never below the one before.
        let corrected = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (found, expected) in corrected.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((found - expected).abs() < 1e-12, "{corrected:?}");
        }
        assert_eq!(holm(&[0.7, 0.9]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());

        let false_alarms = |correct: bool| {
            share(|random| {
                let p: Vec<f64> = (0..10)
                    .map(|_| paired(&pairs(random, 7, 1.0, 0.05)).expect("ratio").p)
                    .collect();
                let judged = if correct { holm(&p) } else { p };
                judged.iter().any(|p| *p < 1.0 - CONFIDENCE)
            })
        };
        let (plain, corrected) = (false_alarms(false), false_alarms(true));
        assert!(plain > 0.3 && corrected <= 0.07, "{plain} {corrected}");
    }

    #[test]
    fn values_in_a_few_numbers() {
        let four = spread(&[4.0, 1.0, 3.0, 2.0]).expect("spread");
        assert_eq!(
            (four.n, four.median, four.min, four.max),
            (4, 2.5, 1.0, 4.0)
        );
        let one = spread(&[5.0]).expect("spread");
        assert!(one.mean.is_none() && one.variation.is_none());
        assert!(spread(&[]).is_none());
        let same = paired(&[(2.0, 2.0), (3.0, 3.0)]).expect("ratio");
        assert!(!same.differs() && same.needed(0.05) == Some(MIN_CYCLES));
    }

    #[test]
    fn outliers_are_marked() {
        assert_eq!(
            outliers(&[100.0, 101.0, 99.0, 102.0, 180.0, 98.0]),
            [false, false, false, false, true, false]
        );
        assert_eq!(outliers(&[100.0, 1.0]), [false, false]);
        assert_eq!(outliers(&[7.0; 6]), [false; 6]);
        let two_groups = [240.0, 1183.0, 1107.0, 221.0, 993.0, 1090.0, 260.0];
        assert_eq!(outliers(&two_groups), [false; 7]);
    }
}
