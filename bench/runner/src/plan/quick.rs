//! `--quick`: fewer users, for less time.

use std::collections::BTreeSet;

use crate::suite::Suite;
use crate::suite::quick::Shares;
use crate::suite::scenario::ScenarioTable;
use crate::suite::vars::Vars;
use crate::values::duration::{parse_time, written};
use crate::values::exit;
use crate::values::template::{only_variable, variables};
use crate::values::value::{Value, plain};

/// Gives the variables that stand for users and times of a scenario the values that they have in this run, and tells by which
/// shares everything else is scaled.
///
/// # Errors
/// Quick mode is asked for and the suite does not say what it scales, or a variable to be scaled has no value.
pub(super) fn scale(
    suite: &Suite,
    scenario: &ScenarioTable,
    quick: bool,
    vars: &mut Vars,
) -> anyhow::Result<Shares> {
    let file = &suite.file;
    let shares = Shares::of(file, quick);
    match (quick, &file.suite.quick_scale, &file.quick) {
        (false, ..) => {}
        (true, Some(scale), _) => users_alone(scenario, *scale.get_ref(), vars)?,
        (true, None, Some(_)) => variables_of(scenario, shares, vars),
        (true, None, None) => {
            return Err(exit::set_up(
                "--quick: the suite declares neither [quick] nor `quick_scale`, so its loads cannot be scaled down",
            ));
        }
    }
    Ok(shares)
}

/// Scales each variable that is the whole text of a number of users or of a time, once.
fn variables_of(scenario: &ScenarioTable, shares: Shares, vars: &mut Vars) {
    let mut scaled = BTreeSet::new();
    let counts = scenario.load.iter().flat_map(|load| load.counts());
    for count in counts.filter(|count| count.users) {
        let text = plain(count.value);
        // What has no value yet follows from others.
        if let Some(name) = only_variable(&text)
            && !scenario.climbs(name)
            && let Some(Value::Int(users)) = vars.get(name).cloned()
            && scaled.insert(name.to_owned())
        {
            vars.replace(name, Value::Int(shares.vus(users)));
        }
    }
    let times = scenario.load.iter().flat_map(|load| load.times());
    let times = times.filter(|time| time.lasts).map(|time| time.text);
    let own = [&scenario.warmup, &scenario.window].into_iter().flatten();
    for text in own.map(|text| text.get_ref().as_str()).chain(times) {
        let Some(name) = only_variable(text) else {
            continue;
        };
        let Some(value) = vars.get(name).cloned() else {
            continue;
        };
        if let Ok(time) = parse_time(&value.to_string())
            && scaled.insert(name.to_owned())
        {
            let time = shares.time(time);
            let value = match value {
                Value::Int(_) => Value::Int(i64::try_from(time.as_millis()).unwrap_or(i64::MAX)),
                _ => Value::Text(written(time)),
            };
            vars.replace(name, value);
        }
    }
}

/// As `quick_scale` has it: the variables that `vus` of the loads take, and nothing else.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a number of users times a share below 1"
)]
fn users_alone(scenario: &ScenarioTable, scale: f64, vars: &mut Vars) -> anyhow::Result<()> {
    for load in &scenario.load {
        let text = load.vus.as_ref().map(|vus| plain(vus.get_ref()));
        let names = variables(text.as_deref().unwrap_or_default());
        for name in names.into_iter().filter(|name| !scenario.climbs(name)) {
            let users = vars.int(name)? as f64 * scale;
            vars.replace(name, Value::Int((users.round() as i64).max(1)));
        }
    }
    Ok(())
}
