//! Scenarios of commands, and scenarios that nobody has implemented yet.

use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use crate::values::duration::optional;

/// The metrics that every scenario of commands has.
pub(crate) mod metric {
    /// How long a call took, ms.
    pub(crate) const DURATION: &str = "command_duration";
    /// Whether a call failed.
    pub(crate) const FAILED: &str = "command_failed";
    /// With what it ended.
    pub(crate) const EXIT_CODE: &str = "command_exit_code";
    /// How long all commands of a repeat took together, ms.
    pub(crate) const ROUND: &str = "round_duration";
    /// All of them.
    pub(crate) const ALL: [&str; 4] = [DURATION, FAILED, EXIT_CODE, ROUND];

    /// The part of a metric that is of one command.
    pub(crate) fn of(metric: &str, command: &str) -> String {
        format!("{metric}{{command:{command}}}")
    }
}

/// The name by which a scenario says that it has no target.
pub(crate) const NO_TARGET: &str = "none";

/// What a run of a scenario does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// k6 runs its script.
    Script,
    /// Its commands run, one after another.
    Commands,
    /// Nothing: nobody has implemented it.
    Stub,
}

/// `scenario.command[]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CommandTable {
    pub(crate) id: Spanned<String>,
    /// Program and arguments.
    pub(crate) run: Vec<Spanned<String>>,
    /// Of one call.
    #[serde(default, with = "optional")]
    pub(crate) time_limit: Option<Duration>,
    /// Those that are no failure.
    #[serde(default = "CommandTable::zero")]
    pub(crate) exit_codes: Vec<i32>,
    /// What is read from what it wrote.
    #[serde(default)]
    pub(crate) value: Vec<ValueTable>,
}

impl CommandTable {
    fn zero() -> Vec<i32> {
        vec![0]
    }
}

/// `scenario.command[].value[]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ValueTable {
    /// The metric that gets it.
    pub(crate) metric: Spanned<String>,
    /// What is read, from the command's own folder on; without it, its standard output.
    pub(crate) file: Option<Spanned<String>>,
    /// Names in JSON, joined by dots.
    pub(crate) json: Option<Spanned<String>>,
    /// An expression whose first group is the number.
    pub(crate) regex: Option<Spanned<String>>,
}
