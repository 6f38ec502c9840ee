//! What the user asked for.

use serde::{Deserialize, Serialize};

use crate::suite::given::Given;

/// What the user asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Selection {
    /// Scenario ids; empty = the suite's own order.
    pub(crate) scenarios: Vec<String>,
    /// Variants; empty = those of the scenario.
    pub(crate) variants: Vec<String>,
    /// Levels of axes that points must have; empty = all points.
    pub(crate) levels: Vec<(String, String)>,
    /// Judged cycles, in place of the scenario's own number.
    pub(crate) cycles: Option<u32>,
    /// Discarded cycles, in place of the scenario's own number.
    pub(crate) discard: Option<u32>,
    /// Scale the declared loads down; such runs only show that everything works.
    pub(crate) quick: bool,
    /// A word for the evidence.
    pub(crate) label: String,
    /// Of the random orders.
    pub(crate) seed: u64,
    /// Values of variables.
    pub(crate) given: Given,
}
