//! What the user asked for.

use serde::{Deserialize, Serialize};

use super::build::{Build, Builds, Place};
use super::target;
use crate::suite::Suite;
use crate::suite::given::Given;
use crate::suite::schema::TargetKind;
use crate::values::exit;
use crate::values::value::Kind;

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
            let mut external = suite.file.target.iter();
            let external =
                external.find(|target| target.kind == TargetKind::External && !target.is_service());
            let Some(external) = external else {
                return Err(exit::set_up(format!(
                    "--build {name}: the suite has no target that a person starts"
                )));
            };
            let variables = target::address_variables(external);
            let [variable] = variables.as_slice() else {
                return Err(exit::set_up(format!(
                    "--build {name}: the address of the target {} is made of {}, and one address cannot be several; compare two plans of their own",
                    external.id,
                    variables.join(", ")
                )));
            };
            if self.builds.several() {
                self.one_address(suite, name, variable)?;
            }
            selection
                .given
                .set
                .insert((*variable).to_owned(), address.clone());
        }
        Ok(selection)
    }

    /// Refuses further addresses that would stay the same for every build: a part of the load of one would reach the other.
    fn one_address(&self, suite: &Suite, build: &str, variable: &str) -> anyhow::Result<()> {
        let given = [&self.given.set, &self.given.environment, &self.given.file];
        let others = suite.file.env.iter().filter(|(name, table)| {
            let name = name.get_ref().as_str();
            let has_value = given
                .iter()
                .any(|given| given.get(name).is_some_and(|text| !text.is_empty()));
            // Where the queues are is asked by the runner, too, and is one server for all.
            table.kind == Kind::Url
                && name != variable
                && name != "REDIS_URL"
                && (has_value || table.default.is_some())
        });
        let names: Vec<&str> = others.map(|(name, _)| name.get_ref().as_str()).collect();
        if names.is_empty() {
            return Ok(());
        }
        Err(exit::set_up(format!(
            "--build {build}: it moves {variable} alone, and {} would be the same for every build; unset {}, or compare two plans of their own",
            names.join(", "),
            if names.len() == 1 { "it" } else { "them" }
        )))
    }
}
