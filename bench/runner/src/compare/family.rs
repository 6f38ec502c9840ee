//! All comparisons of a report together: many looks at equal builds find a difference somewhere, so they are corrected.

use barrier_stats::ratio::{CONFIDENCE, MIN_CYCLES, holm};

use super::cells::{self, Cell, Comparison, Variant};
use super::stored::Stored;
use super::words::{self, Outcome, Verdict};
use crate::suite::schema::Method;

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

/// Puts every comparison into words.
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
        let allowance = allowance(cell);
        let by_difference = cell.method == Method::PairedDifference;
        let same: Vec<bool> = cell
            .comparisons
            .iter()
            .map(|comparison| {
                let of = |name: &str| {
                    let mut variants = cell.variants.iter();
                    variants
                        .find(|variant| variant.name == name)?
                        .build
                        .as_ref()
                };
                let base = of(&comparison.base);
                base.is_some() && base == of(&comparison.variant)
            })
            .collect();
        let both = bars.into_iter().zip(same);
        for (comparison, (bar, same)) in cell.comparisons.iter_mut().zip(both) {
            if testable(comparison, &bar).is_some() {
                comparison.corrected_p = corrected.next();
            }
            // What is refused has no figure either: somebody would quote it.
            if bar
                .as_ref()
                .is_some_and(|bar| bar.outcome == Outcome::Refused)
            {
                (comparison.ratio, comparison.ratio_of_sessions) = (None, None);
                comparison.difference = None;
            }
            comparison.verdict = bar.unwrap_or_else(|| {
                if by_difference {
                    let around = words::Circumstances {
                        unit,
                        variants,
                        together: family,
                        holds: true,
                    };
                    let found = comparison.difference.as_ref();
                    return words::of_difference(
                        &comparison.variant,
                        comparison.pairs.len(),
                        found,
                        around,
                    );
                }
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
            if same {
                let note = format!(
                    " (one and the same build under both names, {} and {})",
                    comparison.variant, comparison.base
                );
                comparison.verdict.text.push_str(&note);
            }
            if comparison.verdict.outcome != Outcome::Refused {
                comparison.verdict.text.push_str(&allowance);
            }
        }
    }
}

/// What differs although only like is compared with like: it stands beside each verdict that was made with it.
fn allowance(cell: &Cell) -> String {
    let allowed = allowed(cell);
    if allowed.is_empty() {
        return String::new();
    }
    format!(
        " (although they differ, as was allowed, in {})",
        allowed.join(", ")
    )
}

/// What was allowed to differ, and does.
pub(super) fn allowed(cell: &Cell) -> Vec<String> {
    let differences = cell.differences.iter();
    let allowed = differences.filter(|difference| difference.allowed);
    allowed.map(ToString::to_string).collect()
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

/// What is left of the two is no sample.
fn uneven(base: &Variant, variant: &Variant) -> Option<Verdict> {
    let why = base
        .losses
        .beside(&base.name, &variant.losses, &variant.name)?;
    Some(Verdict::new(
        Outcome::TooManyInvalid,
        format!("no verdict: {why}"),
    ))
}
