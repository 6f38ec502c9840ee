//! Medians and their intervals.
//!
//! A cycle gives one value: rounds of one process are not independent of each other, cycles are taken minutes apart. The
//! interval of the median is distribution-free: between two order statistics the true median lies with a probability that
//! depends on the number of values alone, and that is stated with it. Nothing is assumed about the values, and nothing
//! is thrown away.

use serde::Serialize;

use crate::{count, sorted};

/// The confidence that is aimed at.
const CONFIDENCE: f64 = 0.95;

/// A median with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Estimate {
    /// The median.
    pub median: f64,
    /// The interval's lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// The probability that it covers the true median: below 0.95 where there are less than six values.
    pub confidence: f64,
    /// How many values.
    pub values: usize,
}

impl Estimate {
    /// Of these values; none of no values.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let sorted = sorted(values);
        let n = sorted.len();
        let (skip, confidence) = (0..n.div_ceil(2))
            .map(|skip| (skip, coverage(n, skip)))
            .take_while(|(skip, confidence)| *skip == 0 || *confidence >= CONFIDENCE)
            .last()?;
        Some(Self {
            median: of_sorted(&sorted)?,
            low: *sorted.get(skip)?,
            high: *sorted.get(n - 1 - skip)?,
            confidence,
            values: n,
        })
    }
}

/// How likely the median lies between the values that are left when `skip` are taken off either end of `n`.
fn coverage(n: usize, skip: usize) -> f64 {
    // Fewer than skip + 1 of n values fall below the median: a binomial tail with p = 1/2, the same at both ends.
    let mut term = 0.5_f64.powf(count(n));
    let mut tail = term;
    for k in 0..skip {
        term *= count(n - k) / count(k + 1);
        tail += term;
    }
    (1.0 - 2.0 * tail).max(0.0)
}

/// The median; none of no values.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    of_sorted(&sorted(values))
}

/// The median of values that are in order already.
pub(crate) fn of_sorted(sorted: &[f64]) -> Option<f64> {
    let n = sorted.len();
    let (low, high) = (sorted.get(n.checked_sub(1)? / 2)?, sorted.get(n / 2)?);
    Some(f64::midpoint(*low, *high))
}

/// The smallest value that at least this share of all do not exceed; none of no values.
#[must_use]
pub fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let sorted = sorted(values);
    let n = sorted.len();
    let rank = (1..=n).find(|rank| count(*rank) >= share * count(n));
    sorted.get(rank?.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[4.0, 1.0, 100.0]), Some(4.0));
        assert_eq!(median(&[4.0, 1.0, 100.0, 2.0]), Some(3.0));
    }

    #[test]
    fn quantiles_are_values_that_were_seen() {
        let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(quantile(&values, 0.99), Some(99.0));
        assert_eq!(quantile(&values, 1.0), Some(100.0));
        assert_eq!(quantile(&[7.0], 0.99), Some(7.0));
        assert_eq!(quantile(&[], 0.99), None);
    }

    #[test]
    fn few_values_span_the_interval_and_say_how_sure_that_is() {
        let estimate = Estimate::of(&[5.0, 1.0, 3.0]).expect("values");
        assert_eq!(
            (estimate.median, estimate.low, estimate.high),
            (3.0, 1.0, 5.0)
        );
        assert_eq!((estimate.confidence, estimate.values), (0.75, 3));
        let one = Estimate::of(&[2.0]).expect("a value");
        assert_eq!((one.low, one.high, one.confidence), (2.0, 2.0, 0.0));
        assert_eq!(Estimate::of(&[]), None);
    }

    #[test]
    fn more_values_leave_the_extremes_out() {
        // From tables of the sign test: 6 values 96.875 %; 9 values without either extreme 96.09 %.
        let six: Vec<f64> = (1..=6).map(f64::from).collect();
        let estimate = Estimate::of(&six).expect("values");
        assert_eq!((estimate.low, estimate.high), (1.0, 6.0));
        assert!((estimate.confidence - 0.968_75).abs() < 1e-9);
        let nine: Vec<f64> = (1..=9).map(f64::from).collect();
        let estimate = Estimate::of(&nine).expect("values");
        assert_eq!((estimate.low, estimate.high), (2.0, 8.0));
        assert!((estimate.confidence - 0.960_937_5).abs() < 1e-9);
    }
}
