//! What a comparison consists of.

use barrier_stats::ratio::{Ratio, Spread};
use serde::Serialize;

use super::alike::Difference;
use super::blocks::Block;
use super::words;
use crate::suite::schema::{Method, PairBy};
use crate::values::text::figure;

/// One metric of one scenario at one point: every variant against the base.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Cell {
    pub(crate) id: String,
    pub(crate) scenario: String,
    /// Values of the axes; empty for a scenario with a single point.
    pub(crate) point: String,
    pub(crate) metric: String,
    pub(crate) stat: String,
    pub(crate) unit: &'static str,
    pub(crate) base: String,
    /// What makes two runs a pair; absent where nothing is paired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pair_by: Option<PairBy>,
    /// How the ratio and its interval were computed.
    pub(crate) method: Method,
    /// The base first.
    pub(crate) variants: Vec<Variant>,
    pub(crate) comparisons: Vec<Comparison>,
    /// When each cycle ran; empty where nothing is paired.
    pub(crate) blocks: Vec<Block>,
    /// What is not the same in all runs: like is compared with like, or not at all.
    pub(crate) differences: Vec<Difference>,
    /// Runs of this scenario and point that do not count, and why.
    pub(crate) left_out: Vec<LeftOut>,
    /// What a reader must know before believing the figures.
    pub(crate) notes: Vec<String>,
}

/// The values of one variant.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Variant {
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) spread: Option<Spread>,
    pub(crate) values: Vec<Value>,
    /// Of all attempts that came to an end, how many were invalid.
    pub(crate) invalid: usize,
    /// All attempts that came to an end.
    pub(crate) attempts: usize,
}

/// One run's value.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Value {
    /// Number of the cycle; with several calls below the folder, after the name of the call.
    pub(crate) cycle: String,
    pub(crate) value: f64,
    /// Far from the other values of the variant; counted all the same.
    pub(crate) outlier: bool,
    /// The machine was busy with something else.
    pub(crate) busy: bool,
    pub(crate) folder: String,
}

/// A variant against the base.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Comparison {
    pub(crate) variant: String,
    pub(crate) base: String,
    /// Each cycle in which both have a valid run; empty where nothing is paired.
    pub(crate) pairs: Vec<Pair>,
    /// Variant / base, geometric mean with interval.
    pub(crate) ratio: Option<Ratio>,
    /// Variant / base of the geometric means, where each is of one session and an interval would promise too much.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ratio_of_sessions: Option<f64>,
    /// The ratio's p-value, corrected for all comparisons that were made together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) corrected_p: Option<f64>,
    pub(crate) verdict: words::Verdict,
    /// What the suite allows, and whether it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) gate: Option<Gate>,
}

/// Both values of a cycle.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pair {
    pub(crate) cycle: String,
    pub(crate) base: f64,
    pub(crate) value: f64,
    pub(crate) ratio: f64,
    pub(crate) outlier: bool,
}

/// A run that does not count.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LeftOut {
    pub(crate) folder: String,
    pub(crate) variant: String,
    pub(crate) cycle: String,
    pub(crate) why: String,
    pub(crate) reasons: Vec<String>,
}

/// A limit that the suite sets to a comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Gate {
    /// By how much the variant may be worse, as a share.
    pub(crate) limit: f64,
    /// Less is worse, as of a rate.
    pub(crate) less_is_worse: bool,
    /// `PASS`, `FAIL`, or `INVALID` where the evidence allows no verdict.
    pub(crate) verdict: &'static str,
}

impl Comparison {
    /// The ratio with its interval, where it has one.
    pub(crate) fn shown_ratio(&self) -> String {
        let sessions = self.ratio_of_sessions.map(|ratio| format!("{ratio:.2}"));
        self.ratio
            .as_ref()
            .map(words::ratio)
            .or(sessions)
            .unwrap_or_else(|| "unknown".to_owned())
    }

    /// The limit with its verdict.
    pub(crate) fn shown_gate(&self) -> Option<String> {
        let gate = self.gate.as_ref()?;
        let word = if gate.less_is_worse {
            "lower"
        } else {
            "higher"
        };
        Some(format!(
            "{}: at most {} % {word} than {} is allowed",
            gate.verdict,
            figure(gate.limit * 100.0),
            self.base
        ))
    }
}

/// Where and what is compared.
pub(crate) fn title(cell: &Cell) -> String {
    let place = [cell.scenario.as_str(), &cell.point]
        .iter()
        .filter(|part| !part.is_empty())
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    let stat = if cell.stat == "value" {
        String::new()
    } else {
        format!(" {}", cell.stat)
    };
    let unit = if cell.unit.is_empty() {
        String::new()
    } else {
        format!(" in {}", cell.unit)
    };
    format!("{place}: {}{stat}{unit}", cell.metric)
}
