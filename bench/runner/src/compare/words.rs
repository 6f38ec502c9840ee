//! Figures in words.

use barrier_stats::difference::Difference;
use barrier_stats::order::balancing;
use barrier_stats::ratio::{Interval, MIN_CYCLES, Ratio};
use serde::Serialize;

use crate::values::text::{figure, plural};

/// The difference that "no difference shown" is measured by.
const EFFECT: f64 = 0.05;

/// What follows from the cycles that there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Verdict {
    pub(crate) outcome: Outcome,
    pub(crate) text: String,
    /// Valid cycles that are missing before anything is concluded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) missing_cycles: Option<usize>,
    /// Cycles that would show a difference of 5 %.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cycles_for_5_percent: Option<usize>,
}

/// The verdict for programs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Outcome {
    /// The interval lies above 1: slower, for a time.
    Higher,
    /// The interval lies below 1: faster, for a time.
    Lower,
    /// The interval holds 1.
    NoDifferenceShown,
    /// The interval leaves out 1, but among so many comparisons one that does is to be expected.
    OnlyUncorrected,
    /// Fewer valid cycles than a conclusion needs.
    #[default]
    TooFewCycles,
    /// So many runs are invalid, or so many more of one variant, that the others are a choice.
    TooManyInvalid,
    /// One of the two has no run at all.
    NeverRan,
    /// The runs differ in more than what is compared.
    Refused,
    /// The two did not run side by side.
    OneSessionEach,
}

impl Outcome {
    /// Whether a difference is shown.
    pub(crate) fn differs(self) -> bool {
        matches!(self, Self::Higher | Self::Lower)
    }
}

impl Verdict {
    /// One that says nothing about cycles.
    pub(super) fn new(outcome: Outcome, text: String) -> Self {
        Self {
            outcome,
            text,
            ..Self::default()
        }
    }
}

/// What a verdict depends on beside the figures.
#[derive(Debug, Clone, Copy)]
pub(super) struct Circumstances<'a> {
    /// Tells whether more is slower.
    pub(super) unit: &'a str,
    /// Variants of the cell: numbers of cycles that are suggested give each of them the same places.
    pub(super) variants: usize,
    /// Comparisons that were made together.
    pub(super) together: usize,
    /// Corrected for their number, a difference is still one.
    pub(super) holds: bool,
}

/// A difference with its interval.
pub(super) fn difference(difference: &Difference) -> String {
    let Interval { value, low, high } = difference.interval;
    let [value, low, high] = [value, low, high].map(signed);
    format!("{value} ({low} to {high})")
}

/// A figure with its sign.
fn signed(value: f64) -> String {
    let sign = if value < 0.0 { "-" } else { "+" };
    format!("{sign}{}", figure(value.abs()))
}

/// Puts a comparison by its difference into words.
pub(super) fn of_difference(
    variant: &str,
    cycles: usize,
    found: Option<&Difference>,
    around: Circumstances<'_>,
) -> Verdict {
    let Some(found) = found.filter(|_| cycles >= MIN_CYCLES) else {
        return verdict(variant, cycles.min(MIN_CYCLES - 1), None, around);
    };
    let unit = around.unit;
    let unit = if unit.is_empty() {
        String::new()
    } else {
        format!(" {unit}")
    };
    let (outcome, word) = match (found.differs(), found.interval.value < 0.0) {
        (false, _) => (Outcome::NoDifferenceShown, "no difference shown"),
        (true, false) => (Outcome::Higher, "higher"),
        (true, true) => (Outcome::Lower, "lower"),
    };
    let figures = format!("{}{unit}, {cycles} cycles", difference(found));
    Verdict::new(outcome, format!("{variant}: {word}, {figures}"))
}

/// Puts a comparison into words.
pub(super) fn verdict(
    variant: &str,
    cycles: usize,
    ratio: Option<&Ratio>,
    around: Circumstances<'_>,
) -> Verdict {
    let unit = around.unit;
    let missing = MIN_CYCLES.saturating_sub(cycles);
    let Some(ratio) = ratio.filter(|_| missing == 0) else {
        let valid = plural(cycles, "valid cycle");
        let balanced = balancing(MIN_CYCLES, around.variants);
        let places = if balanced > MIN_CYCLES {
            format!("; {balanced} give each run of a block the same places")
        } else {
            String::new()
        };
        return Verdict {
            outcome: Outcome::TooFewCycles,
            text: format!(
                "no verdict: {valid}, {missing} missing of the {MIN_CYCLES} that it takes{places}"
            ),
            missing_cycles: Some(missing),
            cycles_for_5_percent: None,
        };
    };
    let interval = &ratio.interval;
    if !ratio.differs() {
        let needed = ratio.needed(EFFECT);
        let balanced = |n: usize| balancing(n, around.variants);
        let needed = needed.map(|n| if n <= cycles { n } else { balanced(n) });
        let enough = match needed {
            Some(n) if n <= cycles => "they would have shown 5 %".to_owned(),
            Some(n) => format!("{n} would show 5 %"),
            None => "more than 1,000 would be needed to show 5 %".to_owned(),
        };
        return Verdict {
            outcome: Outcome::NoDifferenceShown,
            text: format!("no difference shown with {cycles} cycles; {enough}"),
            missing_cycles: None,
            cycles_for_5_percent: needed,
        };
    }
    let higher = interval.low > 1.0;
    let outcome = if higher {
        Outcome::Higher
    } else {
        Outcome::Lower
    };
    let word = match (unit, higher) {
        ("ms", true) => "slower",
        ("ms", false) => "faster",
        (_, true) => "higher",
        (_, false) => "lower",
    };
    let percent = |ratio: f64| (ratio - 1.0).abs() * 100.0;
    let (near, far) = if higher {
        (percent(interval.low), percent(interval.high))
    } else {
        (percent(interval.high), percent(interval.low))
    };
    let decimals = decimals(far - near);
    let text = format!(
        "{variant} is {word} by {:.decimals$} % [{near:.decimals$}, {far:.decimals$}]",
        percent(interval.value)
    );
    if around.holds {
        return Verdict::new(outcome, text);
    }
    Verdict::new(
        Outcome::OnlyUncorrected,
        format!(
            "no difference shown among {} comparisons; taken alone, {text}",
            around.together
        ),
    )
}

/// As many decimals as an interval of this width deserves.
fn decimals(width: f64) -> usize {
    match width {
        width if width >= 3.0 => 0,
        width if width >= 0.3 => 1,
        _ => 2,
    }
}

/// A ratio with its interval.
pub(crate) fn ratio(ratio: &Ratio) -> String {
    let interval = &ratio.interval;
    let digits = decimals((interval.high - interval.low) * 100.0) + 2;
    format!(
        "{:.digits$} [{:.digits$}, {:.digits$}]",
        interval.value, interval.low, interval.high
    )
}

#[cfg(test)]
mod tests {
    use barrier_stats::ratio::paired;

    use super::*;

    fn words(cycles: &[(f64, f64)], unit: &str) -> String {
        let around = Circumstances {
            unit,
            variants: 2,
            together: 1,
            holds: true,
        };
        verdict("hash", cycles.len(), paired(cycles).as_ref(), around).text
    }

    /// Pairs with these log ratios.
    fn pairs(centre: f64, noise: f64, n: u32) -> Vec<(f64, f64)> {
        (0..n)
            .map(|i| {
                let sign = if i.is_multiple_of(2) { 1.0 } else { -1.0 };
                (100.0, 100.0 * (centre + sign * noise).exp())
            })
            .collect()
    }

    #[test]
    fn a_difference_has_a_direction_a_size_and_an_interval() {
        let slower = pairs(1.12_f64.ln(), 0.03, 8);
        assert_eq!(words(&slower, "ms"), "hash is slower by 12 % [9, 15]");
        assert_eq!(words(&slower, ""), "hash is higher by 12 % [9, 15]");
        let faster = pairs(0.9_f64.ln(), 0.003, 8);
        assert_eq!(words(&faster, "ms"), "hash is faster by 10.0 % [9.8, 10.2]");
    }

    #[test]
    fn no_difference_says_what_would_show_one() {
        assert_eq!(
            words(&pairs(0.0, 0.06, 8), "ms"),
            "no difference shown with 8 cycles; 16 would show 5 %"
        );
        assert_eq!(
            words(&pairs(0.0, 0.001, 8), "ms"),
            "no difference shown with 8 cycles; they would have shown 5 %"
        );
        assert_eq!(
            words(&pairs(0.0, 2.0, 8), "ms"),
            "no difference shown with 8 cycles; more than 1,000 would be needed to show 5 %"
        );
    }

    #[test]
    fn too_few_cycles_are_counted() {
        for (n, text) in [
            (
                5,
                "no verdict: 5 valid cycles, 1 missing of the 6 that it takes",
            ),
            (
                1,
                "no verdict: 1 valid cycle, 5 missing of the 6 that it takes",
            ),
            (
                0,
                "no verdict: 0 valid cycles, 6 missing of the 6 that it takes",
            ),
        ] {
            assert_eq!(words(&pairs(1.0, 0.01, n), "ms"), text);
        }
        assert!(words(&pairs(1.0, 0.01, 6), "ms").starts_with("hash is slower"));
        // Two builds of two variants share a block.
        let around = Circumstances {
            unit: "ms",
            variants: 4,
            together: 1,
            holds: true,
        };
        let few = pairs(1.0, 0.01, 5);
        let text = verdict("new", few.len(), paired(&few).as_ref(), around).text;
        assert!(
            text.ends_with(
                "1 missing of the 6 that it takes; 8 give each run of a block the same places"
            ),
            "{text}"
        );
    }

    #[test]
    fn figures_are_readable() {
        for (value, text) in [
            (1_234_567.8, "1,234,568"),
            (18.25, "18.2"),
            (0.5, "0.50"),
            (50.0, "50"),
            (0.0, "0"),
            (-1500.0, "-1,500"),
        ] {
            assert_eq!(crate::values::text::figure(value), text);
        }
    }
}
