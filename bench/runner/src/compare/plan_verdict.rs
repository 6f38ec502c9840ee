//! The verdict on a plan: what its comparisons say to the limits that the suite sets.

use serde::Serialize;

use super::baseline::Against;
use super::cells::{Cell, title};
use super::places;
use super::stored::Stored;

/// The verdict with its reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct PlanVerdict {
    /// `PASS`, `FAIL`, or `INVALID` where the evidence allows no verdict.
    pub(crate) verdict: &'static str,
    pub(crate) reasons: Vec<String>,
}

impl PlanVerdict {
    /// `None` where the suite sets no limit, or all loads were scaled down.
    pub(crate) fn of(stored: &Stored, cells: &[Cell], baselines: &[Against]) -> Option<Self> {
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
        Some(Self {
            verdict,
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
        self.reasons
            .iter()
            .try_for_each(|reason| write!(f, "\n  {reason}"))
    }
}
