//! What the user asked for.

use serde::{Deserialize, Serialize};

use super::build::{Build, Builds, Place};
use super::target;
use crate::suite::Suite;
use crate::suite::given::Given;
use crate::suite::schema::TargetKind;
use crate::values::exit;

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
    /// Builds of the thing under test.
    #[serde(default)]
    pub(crate) builds: Builds,
    /// Values of variables.
    pub(crate) given: Given,
}

impl Selection {
    /// The same for one build; a build that a person started is reached at its own address.
    ///
    /// # Errors
    /// The suite has no target that a person starts.
    pub(super) fn of_build(&self, suite: &Suite, build: Option<&Build>) -> anyhow::Result<Self> {
        let mut selection = self.clone();
        if let Some(Build {
            place: Place::Address(address),
            name,
        }) = build
        {
            let external = suite.file.target.iter();
            let variable = external
                .filter(|target| target.kind == TargetKind::External)
                .find_map(|target| target::address_variables(target).first().copied());
            let Some(variable) = variable else {
                return Err(exit::set_up(format!(
                    "--build {name}: the suite has no target that a person starts"
                )));
            };
            selection
                .given
                .set
                .insert(variable.to_owned(), address.clone());
        }
        Ok(selection)
    }
}
