//! Checks of ladders: whether one can begin at its lowest level, and something can end it.

use super::gate::of_scenario;
use super::problem::{Problem, problem};
use super::scenario::{LadderTable, PlanKind, ScenarioTable};
use super::schema::{Class, File};
use crate::values::value::number;

/// Checks the ladder of a scenario, if that is its plan.
pub(super) fn scenario(file: &File, scenario: &ScenarioTable) -> Result<(), Problem> {
    let Some(table) = scenario.ladder() else {
        return match &scenario.ladder {
            Some(table) => Err(problem(table, "`ladder` needs `plan = \"ladder\"`")),
            None => Ok(()),
        };
    };
    let refuse = |text: &str| Err(problem(&scenario.id, text));
    match (scenario.axis.len(), scenario.points.is_empty()) {
        (1, true) | (0, false) => {}
        (axes, true) => {
            let text = format!(
                "`plan = \"ladder\"` needs `axis` with one variable, or `points`; received {axes} variables"
            );
            return refuse(&text);
        }
        (_, false) => return refuse("a ladder goes along `axis` or along `points`, not both"),
    }
    if let Some(first) = scenario.variants.first() {
        let text = "a ladder is one thing's: it takes no `variants`; give each variant a scenario of its own";
        return Err(problem(first, text));
    }
    if scenario.cycles() != 1 || scenario.discard_cycles != 0 {
        return refuse(
            "a ladder takes neither `cycles` nor `discard_cycles`: `confirm` of `ladder` says how often its ends are repeated",
        );
    }
    if scenario.preflight {
        return refuse("a ladder ends where something fails, so it is no `preflight`");
    }
    let mut gates = of_scenario(&file.gate, scenario.id.get_ref());
    // One level seeks no limit, so it may only report.
    if scenario.points.len() != 1 && !gates.any(|gate| gate.class == Class::Slo) {
        return refuse(
            "a ladder needs a gate of class slo that looks at it: only a missed objective is a limit",
        );
    }
    levels(file, scenario)?;
    of_table(scenario, table)
}

/// The levels of an axis are numbers, each above the one before.
fn levels(file: &File, scenario: &ScenarioTable) -> Result<(), Problem> {
    let Some(axis) = scenario.axis.first() else {
        return Ok(());
    };
    let mut before = f64::NEG_INFINITY;
    for level in &axis.levels {
        let Some(value) = number(level).filter(|value| *value > before) else {
            let text = format!(
                "the levels of a ladder are numbers, each above the one before; received {level}"
            );
            return Err(problem(&axis.env, text));
        };
        before = value;
    }
    let allowed = file.env.get(axis.env.get_ref().as_str());
    let bounded = allowed.is_some_and(|table| table.allowed.is_some());
    match &scenario.ladder {
        Some(table) if bounded && table.get_ref().refine > 0 => Err(problem(
            table,
            format!(
                "`refine` runs levels between those of the axis, and {} allows its own values alone",
                axis.env.get_ref()
            ),
        )),
        _ => Ok(()),
    }
}

fn of_table(scenario: &ScenarioTable, table: LadderTable) -> Result<(), Problem> {
    let Some(at) = &scenario.ladder else {
        return Ok(());
    };
    for (key, value, most) in [
        ("confirm", table.confirm, LadderTable::MOST_CONFIRM),
        ("refine", table.refine, LadderTable::MOST_REFINE),
    ] {
        if value > most {
            let text = format!("`{key}` of `ladder`: received {value}; allowed: 0 to {most}");
            return Err(problem(at, text));
        }
    }
    if table.refine > 0 && scenario.plan == PlanKind::Ladder && scenario.axis.is_empty() {
        return Err(problem(
            at,
            "`refine` needs `axis`: between listed points there are no others",
        ));
    }
    Ok(())
}
