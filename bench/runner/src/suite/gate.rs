//! The limits of gates, as far as they follow from the suite and the variables of a run.

use super::over_time::{self, Source};
use super::scenario::looks_at;
use super::schema::{DeriveTable, File, GateTable, How, Op};
use super::stat::LONGEST_GAP;
use super::vars::{Value, Vars};
use crate::values::exit;
use crate::values::template::RunValues;

/// The gates that judge a scenario.
pub(crate) fn of_scenario<'a>(
    gates: &'a [GateTable],
    scenario: &'a str,
) -> impl Iterator<Item = &'a GateTable> {
    let gates = gates.iter();
    gates.filter(move |gate| looks_at(&gate.scenarios, scenario))
}

/// Checks before a run that each limit of its gates will be a number, and that no gate waits for a variable without one.
///
/// # Errors
/// A limit, or a derived value that a gate judges, takes a variable without a value, or is not a number.
pub(crate) fn check_limits(file: &File, scenario: &str, vars: &Vars) -> anyhow::Result<()> {
    of_scenario(&file.gate, scenario).try_for_each(|gate| {
        let limit = limit(gate, vars)?;
        let refused = too_short(gate, limit);
        if let (Some(Source::Series(_)), Some(why)) = (over_time::source(file, gate), refused) {
            let id = gate.id.get_ref();
            return Err(exit::set_up(format!(
                "gate {id}: the limit is {limit}: {why}"
            )));
        }
        let metric = gate.metric.get_ref();
        let table = file
            .derive
            .iter()
            .find(|table| table.id.get_ref() == metric);
        table.map_or(Ok(()), |table| of_variables(gate, table, vars))
    })
}

/// Why a limit of the longest gap is too short for k6's values. They are known second by second: even where there is a sample
/// in each second, two may be almost two seconds apart.
pub(super) fn too_short(gate: &GateTable, limit: f64) -> Option<String> {
    let never = match gate.op {
        Op::Less => limit <= 2.0,
        Op::AtMost | Op::Equal => limit < 2.0,
        Op::Greater | Op::AtLeast => false,
    };
    (gate.stat.get_ref() == LONGEST_GAP && never).then(|| {
        format!(
            "{}: k6's values are known second by second, so its longest gap is told as 2 s at least; allowed: <= 2 and more",
            gate.metric.get_ref()
        )
    })
}

/// Refuses a derived value that can only come from variables, and none of them is a number.
fn of_variables(gate: &GateTable, table: &DeriveTable, vars: &Vars) -> anyhow::Result<()> {
    let names = table
        .from
        .iter()
        .map(|from| from.get_ref().strip_prefix("env."));
    let Some(names) = names.collect::<Option<Vec<&str>>>() else {
        return Ok(());
    };
    let number = |name: &&str| matches!(vars.get(name), Some(Value::Int(_) | Value::Float(_)));
    let zero = *table.how.get_ref() == How::CopyOrZero
        && names.iter().all(|name| vars.get(name).is_none());
    if zero
        || names
            .iter()
            .find(|name| vars.get(name).is_some())
            .is_some_and(number)
    {
        return Ok(());
    }
    Err(exit::set_up(format!(
        "gate {}: {} is taken from {}, which holds no number in this run; give one by --set, or mend the suite file",
        gate.id.get_ref(),
        table.id.get_ref(),
        names.join(" or ")
    )))
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
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
    number.ok_or_else(|| {
        exit::set_up(format!(
            "gate {}: the limit `{text}` is not a number",
            gate.id.get_ref()
        ))
    })
}
