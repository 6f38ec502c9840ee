//! The faults of a scenario: which there are, when they come and go, and which gates look at their time.

use std::time::Duration;

use toml::Spanned;

use super::chaos::ChaosTable;
use super::quick::Shares;
use super::scenario::looks_at;
use super::schema::{File, GateTable};
use super::vars::Vars;
use crate::values::duration::parse_time;
use crate::values::exit;
use crate::values::template::RunValues;

/// The faults of a scenario, in the order of the file.
pub(crate) fn of_scenario<'f>(
    file: &'f File,
    scenario: &'f str,
) -> impl Iterator<Item = &'f ChaosTable> {
    let tables = file.chaos.iter();
    tables.filter(move |table| looks_at(&table.scenarios, scenario))
}

/// When a fault begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) at: Duration,
    pub(crate) hold: Duration,
    pub(crate) settle: Duration,
}

impl Times {
    /// Those of a fault, with the values of a run and what quick mode makes of them.
    ///
    /// # Errors
    /// A text takes a variable without a value, or becomes no duration.
    pub(crate) fn of(table: &ChaosTable, vars: &Vars, shares: Shares) -> anyhow::Result<Self> {
        let time = |key: &str, text: &Spanned<String>| {
            let text = text.get_ref();
            let time = parse_time(&vars.expand(text, &RunValues::new())?);
            let id = table.id.get_ref();
            time.map(|time| shares.time_of(text, time))
                .map_err(|why| exit::set_up(format!("chaos {id}: `{key}`: {why}")))
        };
        let settle = table.settle.as_ref();
        let settle = settle.map(|text| time("settle", text)).transpose()?;
        Ok(Self {
            at: time("at", &table.at)?,
            hold: time("hold", &table.hold)?,
            settle: settle.unwrap_or_default(),
        })
    }
}

/// The part of a run that a gate is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum During<'f> {
    /// While this fault was there.
    Of(&'f str),
    /// While any was.
    Chaos,
    /// While none was.
    Calm,
}

impl<'f> During<'f> {
    /// Reads `chaos:ID`, `chaos` or `calm`.
    ///
    /// # Errors
    /// What was received, and what is allowed.
    pub(crate) fn parse(text: &'f str) -> Result<Self, String> {
        match text {
            "chaos" => Ok(Self::Chaos),
            "calm" => Ok(Self::Calm),
            text => match text.strip_prefix("chaos:") {
                Some(id) if !id.is_empty() => Ok(Self::Of(id)),
                _ => Err(format!("`{text}`: allowed: chaos:ID, chaos, calm")),
            },
        }
    }

    /// That of a gate, if it has one.
    pub(crate) fn of(gate: &'f GateTable) -> Option<Self> {
        let text = gate.during.as_ref()?;
        Self::parse(text.get_ref()).ok()
    }
}
