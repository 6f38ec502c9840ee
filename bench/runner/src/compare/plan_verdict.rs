//! The verdict on a plan: what its comparisons say to the limits that the suite sets.

use barrier_stats::ratio::{Ratio, holm};
use serde::Serialize;

use super::against::{self, Against};
use super::cells::{Cell, title};
use super::limit::Gate;
use super::stored::Stored;
use super::words::Outcome;
use super::{family, places};

/// What the evidence of a plan says.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) cells: Vec<Cell>,
    /// Its runs against those that were accepted before.
    pub(crate) baselines: Vec<Against>,
    /// What follows from the limits that the suite sets.
    pub(crate) verdict: Option<PlanVerdict>,
}

/// Compares the variants of a plan and judges its limits, all together.
///
/// # Errors
/// A baseline cannot be read.
pub(crate) fn said(stored: &Stored, allowed: &[String]) -> anyhow::Result<Said> {
    let mut cells = family::within(stored, allowed);
    let mut baselines = against::against(stored)?;
    judge(&mut cells, &mut baselines);
    let baselines: Vec<Against> = baselines.into_iter().map(Against::told).collect();
    Ok(Said {
        verdict: PlanVerdict::of(stored, &cells, &baselines),
        cells,
        baselines,
    })
}

/// Judges all limits of a plan together: of many limits that are just kept one seems to be crossed somewhere.
fn judge(cells: &mut [Cell], baselines: &mut [Against]) {
    let mut limits: Vec<(&mut Gate, &Ratio, bool)> = Vec::new();
    for comparison in cells.iter_mut().flat_map(|cell| &mut cell.comparisons) {
        let outcome = comparison.verdict.outcome;
        let judged = outcome.differs()
            || matches!(
                outcome,
                Outcome::NoDifferenceShown | Outcome::OnlyUncorrected
            );
        if let (Some(gate), Some(difference), true) =
            (&mut comparison.gate, &comparison.difference, judged)
        {
            gate.judge_difference(difference);
            continue;
        }
        if let (Some(gate), Some(ratio), true) = (&mut comparison.gate, &comparison.ratio, judged) {
            let worse = if gate.less_is_worse {
                Outcome::Lower
            } else {
                Outcome::Higher
            };
            limits.push((gate, ratio, outcome == worse));
        }
    }
    let of_baselines = baselines.iter_mut();
    limits.extend(of_baselines.filter_map(|against| {
        let (gate, ratio) = against.limit()?;
        Some((gate, ratio, true))
    }));
    let p: Vec<f64> = limits
        .iter()
        .map(|(gate, ratio, _)| gate.p(ratio))
        .collect();
    let together = limits.len();
    for ((gate, ratio, shown), corrected) in limits.into_iter().zip(holm(&p)) {
        gate.judge(ratio, corrected, shown, together);
    }
}

/// The verdict with its reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct PlanVerdict {
    /// `PASS`, `FAIL`, or `INVALID` where the evidence allows no verdict.
    pub(crate) verdict: &'static str,
    /// What differs in the runs that were compared, and was allowed to by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allowed: Vec<String>,
    pub(crate) reasons: Vec<String>,
}

impl PlanVerdict {
    /// `None` where the suite sets no limit, or all loads were scaled down.
    fn of(stored: &Stored, cells: &[Cell], baselines: &[Against]) -> Option<Self> {
        let never = places::never_begun(stored).into_iter();
        let mut judged: Vec<(&'static str, String)> =
            never.map(|reason| ("INVALID", reason)).collect();
        for cell in cells {
            for comparison in &cell.comparisons {
                let Some(gate) = &comparison.gate else {
                    continue;
                };
                judged.push((
                    gate.verdict,
                    format!(
                        "{}: {} ({})",
                        title(cell),
                        comparison.verdict.text,
                        comparison.shown_gate().unwrap_or_default()
                    ),
                ));
            }
        }
        judged.extend(
            baselines
                .iter()
                .filter_map(|against| Some((against.verdict?, against.text.clone()))),
        );
        let has = |verdict: &str| judged.iter().any(|(own, _)| *own == verdict);
        let verdict = match () {
            () if judged.is_empty() => return None,
            () if has("FAIL") => "FAIL",
            () if has("INVALID") => "INVALID",
            () => "PASS",
        };
        let reasons = judged.into_iter().filter(|(own, _)| *own != "PASS");
        let mut allowed: Vec<String> = Vec::new();
        for difference in cells.iter().flat_map(family::allowed) {
            if !allowed.contains(&difference) {
                allowed.push(difference);
            }
        }
        Some(Self {
            verdict,
            allowed,
            reasons: reasons.map(|(_, reason)| reason).collect(),
        })
    }

    /// Whether every limit is known to be kept.
    pub(crate) fn passed(&self) -> bool {
        self.verdict == "PASS"
    }
}

impl std::fmt::Display for PlanVerdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "verdict of the plan: {}", self.verdict)?;
        if !self.allowed.is_empty() {
            write!(
                f,
                " (although runs differ, as was allowed, in {})",
                self.allowed.join(", ")
            )?;
        }
        self.reasons
            .iter()
            .try_for_each(|reason| write!(f, "\n  {reason}"))
    }
}
