//! Checks of scenarios: whether a plan can follow from them.

use toml::Spanned;

use super::check_command;
use super::check_ladder;
use super::check_load::{self, duration};
use super::command::Work;
use super::problem::{Problem, known, placeholders, placeholders_in, problem, unique, variable};
use super::scenario::{PRIORITY, PlanKind, Priority, ScenarioTable};
use super::schema::File;
use crate::values::value::{parse, plain};

pub(super) fn scenarios(file: &File) -> Result<(), Problem> {
    let variants: Vec<&str> = file
        .target
        .iter()
        .filter_map(|target| target.variant.as_ref())
        .map(|variant| variant.get_ref().as_str())
        .collect();
    for scenario in &file.scenario {
        for (name, value) in &scenario.set {
            given(file, name, value)?;
        }
        for (name, value) in &scenario.defaults {
            level(file, name, value)?;
            not_set(scenario, name)?;
        }
        for variant in &scenario.variants {
            known(variant, &variants, "target variant")?;
        }
        for first in &scenario.after {
            after(file, scenario, first)?;
        }
        unique(scenario.after.iter(), "name in `after`")?;
        if let Some(cycles) = scenario.cycles.as_ref().filter(|n| *n.get_ref() == 0) {
            return Err(problem(cycles, "`cycles` must be at least 1"));
        }
        check_command::scenario(file, scenario)?;
        if let Some(script) = &scenario.script {
            placeholders(file, script, &[])?;
        }
        for (key, text) in [("limit", &scenario.limit), ("estimate", &scenario.estimate)] {
            if let Some(text) = text {
                duration(file, text, key)?;
            }
        }
        points(file, scenario)?;
        check_ladder::scenario(file, scenario)?;
        if scenario.work() == Work::Script {
            check_load::scenario(file, scenario)?;
        }
    }
    if let Some(probe) = &file.probe {
        duration(file, &probe.limit, "limit")?;
    }
    Ok(())
}

/// Whether a scenario may come after another one in any case: that has to be something that others wait for.
fn after(file: &File, scenario: &ScenarioTable, first: &Spanned<String>) -> Result<(), Problem> {
    let preflights = file.scenario.iter().filter(|other| other.preflight);
    let preflights: Vec<&str> = preflights
        .map(|other| other.id.get_ref().as_str())
        .collect();
    known(first, &preflights, "scenario with `preflight`")?;
    if scenario.preflight {
        let text = "a preflight comes first itself: `after` is of the scenarios that wait for it";
        return Err(problem(first, text));
    }
    Ok(())
}

/// Whether the variable may have the value, or a text with placeholders.
pub(super) fn given(
    file: &File,
    name: &Spanned<String>,
    value: &toml::Value,
) -> Result<(), Problem> {
    variable(file, name, name.get_ref())?;
    let text = plain(value);
    if text.contains('{') {
        placeholders_in(file, name, &text, &[])
    } else {
        level(file, name, value)
    }
}

/// Whether the plan has the keys that its kind takes, and no others.
fn points(file: &File, scenario: &ScenarioTable) -> Result<(), Problem> {
    let refuse = |text: &str| Err(problem(&scenario.id, text));
    match scenario.plan {
        PlanKind::Product if scenario.axis.is_empty() => {
            return refuse("`plan = \"product\"` needs `axis`");
        }
        PlanKind::Points if scenario.points.is_empty() => {
            return refuse("`plan = \"points\"` needs `points`");
        }
        PlanKind::Single | PlanKind::Points if !scenario.axis.is_empty() => {
            return refuse("`axis` needs `plan = \"product\"` or `plan = \"ladder\"`");
        }
        PlanKind::Single | PlanKind::Product if !scenario.points.is_empty() => {
            return refuse("`points` needs `plan = \"points\"` or `plan = \"ladder\"`");
        }
        PlanKind::Single | PlanKind::Points | PlanKind::Product | PlanKind::Ladder => {}
    }
    for axis in &scenario.axis {
        variable(file, &axis.env, axis.env.get_ref())?;
        not_set(scenario, &axis.env)?;
        if axis.levels.is_empty() {
            return Err(problem(&axis.env, "an axis needs at least one level"));
        }
        for value in &axis.levels {
            level(file, &axis.env, value)?;
        }
    }
    unique(scenario.axis.iter().map(|axis| &axis.env), "axis")?;
    for point in &scenario.points {
        for (name, value) in point {
            if name.get_ref() == PRIORITY {
                if value.clone().try_into::<Priority>().is_err() {
                    let text = format!("priority {value}: allowed: \"High\", \"Medium\", \"Low\"");
                    return Err(problem(name, text));
                }
                continue;
            }
            variable(file, name, name.get_ref())?;
            not_set(scenario, name)?;
            level(file, name, value)?;
        }
    }
    Ok(())
}

fn not_set(scenario: &ScenarioTable, name: &Spanned<String>) -> Result<(), Problem> {
    if scenario.set.contains_key(name.get_ref().as_str()) {
        let text = format!("{} has a fixed value in `set` already", name.get_ref());
        return Err(problem(name, text));
    }
    Ok(())
}

/// Whether the variable may have the value.
pub(super) fn level(
    file: &File,
    name: &Spanned<String>,
    value: &toml::Value,
) -> Result<(), Problem> {
    variable(file, name, name.get_ref())?;
    let Some(table) = file.env.get(name.get_ref().as_str()) else {
        return Ok(());
    };
    let text = plain(value);
    let read = parse(name.get_ref(), table.kind, &text)
        .map_err(|error| problem(name, error.to_string()))?;
    if let Some(allowed) = &table.allowed {
        let allowed: Vec<String> = allowed.iter().map(plain).collect();
        if !allowed.contains(&read.to_string()) {
            return Err(problem(
                name,
                format!(
                    "{}={text} is not allowed; allowed: {}",
                    name.get_ref(),
                    allowed.join(", ")
                ),
            ));
        }
    }
    Ok(())
}
