//! What it means where something that was asked for is not so.

use serde::Deserialize;

/// What a failed gate means, or a drain that was not met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Class {
    /// The evidence is not good enough: `INVALID`.
    Validity,
    /// The objective was missed: `FAIL`.
    Slo,
    /// Recorded only.
    Watch,
}
