//! All comparisons of a report together: many looks at equal builds find a difference somewhere, so they are corrected.

use crate::values::text::plural;
use barrier_stats::ratio::{CONFIDENCE, MIN_CYCLES, holm};

use super::cells::{self, Cell, Comparison, Variant};
use super::stored::Stored;
use super::words::{self, Outcome, Verdict};

/// Invalid runs of two variants may differ by so many.
const INVALID_APART: usize = 1;
/// The share of invalid runs beyond which what is left is a choice, not a sample: one in so many.
const INVALID_ONE_IN: usize = 5;

/// The variants of a plan against each other, paired by cycle; what may differ is named.
pub(crate) fn within(stored: &Stored, allowed: &[String]) -> Vec<Cell> {
    let mut cells = cells::within(stored, allowed);
    judge(&mut cells);
    cells
}

/// What both folders hold, each variant by itself: B against A.
pub(super) fn between(a: &Stored, b: &Stored, allowed: &[String]) -> Vec<Cell> {
    let mut cells = cells::between(a, b, allowed);
    judge(&mut cells);
    cells
}

/// Puts every comparison into words, and judges the limits that the suite sets to them.
fn judge(cells: &mut [Cell]) {
    let barred: Vec<Vec<Option<Verdict>>> = cells
        .iter()
        .map(|cell| {
            let comparisons = cell.comparisons.iter();
            comparisons
                .map(|comparison| bar(cell, comparison))
                .collect()
        })
        .collect();
    let testable = |comparison: &Comparison, bar: &Option<Verdict>| {
        let enough = comparison.pairs.len() >= MIN_CYCLES && bar.is_none();
        comparison
            .ratio
            .as_ref()
            .filter(|_| enough)
            .map(|ratio| ratio.p)
    };
    let mut p = Vec::new();
    for (cell, bars) in cells.iter().zip(&barred) {
        let both = cell.comparisons.iter().zip(bars);
        p.extend(both.filter_map(|(comparison, bar)| testable(comparison, bar)));
    }
    let family = p.len();
    let mut corrected = holm(&p).into_iter();
    for (cell, bars) in cells.iter_mut().zip(barred) {
        let (unit, variants) = (cell.unit, cell.members);
        for (comparison, bar) in cell.comparisons.iter_mut().zip(bars) {
            if testable(comparison, &bar).is_some() {
                comparison.corrected_p = corrected.next();
            }
            // What is refused has no figure either: somebody would quote it.
            if bar
                .as_ref()
                .is_some_and(|bar| bar.outcome == Outcome::Refused)
            {
                (comparison.ratio, comparison.ratio_of_sessions) = (None, None);
            }
            comparison.verdict = bar.unwrap_or_else(|| {
                let holds = comparison.corrected_p.is_none_or(|p| p < 1.0 - CONFIDENCE);
                words::verdict(
                    &comparison.variant,
                    comparison.pairs.len(),
                    comparison.ratio.as_ref(),
                    words::Circumstances {
                        unit,
                        variants,
                        together: family,
                        holds,
                    },
                )
            });
            gate(comparison);
        }
    }
}

/// Worse than the suite allows is what the whole interval is beyond, among all comparisons; a limit that cannot be judged is
/// not kept.
fn gate(comparison: &mut Comparison) {
    let outcome = comparison.verdict.outcome;
    let Some(gate) = &mut comparison.gate else {
        return;
    };
    gate.verdict = match (outcome, &comparison.ratio) {
        (Outcome::Higher, Some(ratio)) if !gate.less_is_worse => {
            word(ratio.interval.low > 1.0 + gate.limit)
        }
        (Outcome::Lower, Some(ratio)) if gate.less_is_worse => {
            word(ratio.interval.high < 1.0 - gate.limit)
        }
        (
            Outcome::Higher
            | Outcome::Lower
            | Outcome::NoDifferenceShown
            | Outcome::OnlyUncorrected,
            _,
        ) => "PASS",
        _ => "INVALID",
    };
}

fn word(worse: bool) -> &'static str {
    if worse { "FAIL" } else { "PASS" }
}

/// Why nothing is said about which is faster.
fn bar(cell: &Cell, comparison: &Comparison) -> Option<Verdict> {
    let refused: Vec<String> = cell
        .differences
        .iter()
        .filter(|difference| !difference.allowed)
        .map(ToString::to_string)
        .collect();
    if !refused.is_empty() {
        let names: Vec<&str> = cell
            .differences
            .iter()
            .map(|difference| difference.name.as_str())
            .collect();
        return Some(Verdict::new(
            Outcome::Refused,
            format!(
                "refused: the runs are not alike, they differ in {}; what may differ is named by --allow-differences \"{}\"",
                refused.join(", "),
                names.join(",")
            ),
        ));
    }
    if cell.pair_by.is_none() {
        return Some(Verdict::new(
            Outcome::OneSessionEach,
            "one session each cannot say which build is faster: run both in one plan, cycle by cycle".to_owned(),
        ));
    }
    let side = |name: &str| {
        let mut variants = cell.variants.iter();
        variants.find(|variant| variant.name == name && variant.ran)
    };
    match (side(&comparison.base), side(&comparison.variant)) {
        (Some(base), Some(variant)) => uneven(base, variant),
        (None, _) => Some(Verdict::new(
            Outcome::NeverRan,
            format!(
                "no verdict: {}, which {} is to be compared with, never ran",
                comparison.base, comparison.variant
            ),
        )),
        (_, None) => Some(Verdict::new(
            Outcome::NeverRan,
            format!("no verdict: {} never ran", comparison.variant),
        )),
    }
}

/// Runs are invalid for a reason, and the reason may be the build: what is left of one that lost many is its better part.
fn uneven(base: &Variant, variant: &Variant) -> Option<Verdict> {
    let lost = |variant: &Variant| variant.invalid + variant.without_value;
    // A plan that was ended early lacks as many of both; evidence of one side alone does not go by itself.
    let gone = |variant: &Variant| lost(variant) + variant.lost;
    let apart = gone(base).abs_diff(gone(variant)) > INVALID_APART;
    let many = |variant: &Variant| lost(variant) * INVALID_ONE_IN > variant.attempts;
    if !apart && !many(base) && !many(variant) {
        return None;
    }
    let told = |variant: &Variant| {
        let missing = if apart { variant.lost } else { 0 };
        let runs = plural(variant.attempts + missing, "run");
        let how = if variant.without_value + missing > 0 {
            "invalid, not run or without a value"
        } else {
            "invalid"
        };
        format!(
            "{} of {runs} of {} {how}",
            lost(variant) + missing,
            variant.name
        )
    };
    let why = if apart {
        "what is left of the two is not alike"
    } else {
        "more than one fifth is missing"
    };
    Some(Verdict::new(
        Outcome::TooManyInvalid,
        format!("no verdict: {}, {}: {why}", told(base), told(variant)),
    ))
}
