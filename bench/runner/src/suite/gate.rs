//! The limits of gates, as far as they follow from the suite and the variables of a run.

use super::schema::GateTable;
use super::vars::Vars;
use crate::values::exit;
use crate::values::template::RunValues;

/// The gates that judge a scenario.
pub(crate) fn of_scenario<'a>(
    gates: &'a [GateTable],
    scenario: &'a str,
) -> impl Iterator<Item = &'a GateTable> {
    gates.iter().filter(move |gate| {
        gate.scenarios.is_empty() || gate.scenarios.iter().any(|name| name.get_ref() == scenario)
    })
}

/// Checks before a run that each limit of its gates will be a number.
///
/// # Errors
/// A limit names a variable without a value, or is not a number.
pub(crate) fn check_limits(gates: &[GateTable], scenario: &str, vars: &Vars) -> anyhow::Result<()> {
    of_scenario(gates, scenario).try_for_each(|gate| limit(gate, vars).map(drop))
}

/// The limit of a gate.
///
/// # Errors
/// It names a variable without a value, or is not a number.
pub(crate) fn limit(gate: &GateTable, vars: &Vars) -> anyhow::Result<f64> {
    let text = match gate.limit.get_ref() {
        toml::Value::String(text) => vars.expand(text, &RunValues::new())?,
        other => other.to_string(),
    };
    text.parse().map_err(|_| {
        exit::set_up(format!(
            "gate {}: the limit `{text}` is not a number",
            gate.id.get_ref()
        ))
    })
}
