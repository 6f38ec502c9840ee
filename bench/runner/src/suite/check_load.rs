//! Checks of loads: whether each has what its executor takes, and whether a run's time follows from them.

use std::ops::Range;

use toml::Spanned;

use super::load::{self, Count, Executor, LOAD, LoadTable, Time};
use super::problem::{Problem, placeholders, placeholders_in, problem, unique};
use super::scenario::{K6_SETTINGS, ScenarioTable};
use super::schema::File;
use crate::values::duration::parse_duration;
use crate::values::shortcut;
use crate::values::template::variables;
use crate::values::value::{Kind, plain};

/// k6 takes no shorter duration of a constant load.
const SHORTEST_MS: u128 = 1000;

/// Keys that every executor takes, beside `name` and `executor`.
const OF_ALL: [&str; 4] = ["graceful_stop", "start_time", "exec", "tags"];

/// The keys that an executor needs, and those that it takes beside them and those of all.
fn keys(executor: Executor) -> (&'static [&'static str], &'static [&'static str]) {
    match executor {
        Executor::ConstantVus => (&["vus"], &["duration"]),
        Executor::RampingVus => (&["stages"], &["start", "graceful_ramp_down"]),
        Executor::ConstantArrivalRate => {
            (&["rate", "pre_vus"], &["time_unit", "max_vus", "duration"])
        }
        Executor::RampingArrivalRate => {
            (&["stages", "pre_vus"], &["start", "time_unit", "max_vus"])
        }
        Executor::PerVuIterations | Executor::SharedIterations => {
            (&["vus", "iterations"], &["duration"])
        }
    }
}

/// Checks the loads of a scenario and what it says of time.
pub(super) fn scenario(file: &File, scenario: &ScenarioTable) -> Result<(), Problem> {
    for (key, text) in [("warmup", &scenario.warmup), ("window", &scenario.window)] {
        if let Some(text) = text {
            duration(file, text, key)?;
        }
    }
    if let Some(window) = &scenario.window
        && parse_duration(window.get_ref()).is_ok_and(|time| time.is_zero())
    {
        return Err(problem(window, "`window` must be more than 0"));
    }
    unique(scenario.load.iter().map(|load| &load.name), "load")?;
    for table in &scenario.load {
        load(file, scenario, table)?;
    }
    if scenario.hands_on_loads() {
        if let Some((name, _)) = file.env.get_key_value(LOAD) {
            let text = format!(
                "{LOAD} is the variable by which the harness of scenario {} gets its loads; call this one otherwise",
                scenario.id.get_ref()
            );
            return Err(problem(name, text));
        }
        let mut names = file.env.keys();
        if let Some(name) =
            names.find(|name| shortcut::VARIABLES.contains(&name.get_ref().as_str()))
        {
            let why = shortcut::of_variable(name.get_ref(), scenario.id.get_ref());
            return Err(problem(name, why));
        }
    } else if scenario.limit.is_none() && scenario.window.is_none() {
        return Err(problem(
            &scenario.id,
            "needs `limit`, the bound of k6: neither `window` nor a load says how long a run takes",
        ));
    }
    settings_of_k6(scenario)?;
    arguments(file, scenario)
}

/// A duration, or a text with what will be a number of milliseconds.
pub(super) fn duration(file: &File, text: &Spanned<String>, key: &str) -> Result<(), Problem> {
    duration_in(file, text.get_ref(), &text.span(), key)
}

fn duration_in(file: &File, text: &str, place: &Range<usize>, key: &str) -> Result<(), Problem> {
    let at = Spanned::new(place.clone(), ());
    placeholders_in(file, &at, text, &[])?;
    if !text.contains('{') {
        return parse_duration(text)
            .map(drop)
            .map_err(|why| problem(&at, format!("`{key}`: {why}")));
    }
    let no_time = |name: &&str| {
        let kind = file.env.get(*name).map(|table| table.kind);
        matches!(
            kind,
            Some(Kind::Float | Kind::Flag | Kind::List | Kind::Url | Kind::Path)
        )
    };
    match variables(text).into_iter().find(no_time) {
        Some(name) => Err(problem(
            &at,
            format!(
                "`{key}`: {name} holds no duration; a duration takes variables of type duration, millis, int or string"
            ),
        )),
        None => Ok(()),
    }
}

fn load(file: &File, scenario: &ScenarioTable, table: &LoadTable) -> Result<(), Problem> {
    let of_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let name = table.name.get_ref();
    if name.is_empty() || !name.chars().all(of_name) {
        return Err(problem(
            &table.name,
            format!(
                "the load `{name}`: k6 allows letters, digits, `_` and `-` in the name of a scenario"
            ),
        ));
    }
    taken(table)?;
    for count in table.counts() {
        number(file, &count)?;
    }
    for time in table.times() {
        duration_in(file, time.text, &time.place, time.key)?;
        long_enough(table, &time)?;
    }
    if table.stages.is_some() && table.stages().is_empty() {
        return Err(problem(&table.executor, "`stages` is empty"));
    }
    let executor = *table.executor.get_ref();
    if executor.is_constant() && table.duration.is_none() && scenario.window.is_none() {
        return Err(problem(
            &table.executor,
            format!(
                "{} needs `duration`, or `window` of the scenario: without one it lasts as long as `warmup` and `window`",
                executor.name()
            ),
        ));
    }
    if let Some(exec) = &table.exec {
        placeholders(file, exec, &[])?;
        open(file, exec, exec.get_ref(), "exec")?;
    }
    if let Some(tags) = &table.tags {
        for value in tags.get_ref().values() {
            placeholders_in(file, tags, &plain(value), &[])?;
            open(file, tags, &plain(value), "tags")?;
        }
    }
    Ok(())
}

/// Whether a text takes no secret: loads and arguments are open to everybody.
fn open<T>(file: &File, at: &Spanned<T>, text: &str, key: &str) -> Result<(), Problem> {
    let secret = |name: &&str| file.env.get(*name).is_some_and(|table| table.secret);
    match variables(text).into_iter().find(secret) {
        Some(name) => Err(problem(at, load::of_secret(name, key))),
        None => Ok(()),
    }
}

/// Whether the executor takes every key, and has those that it needs.
fn taken(table: &LoadTable) -> Result<(), Problem> {
    let executor = *table.executor.get_ref();
    let (needed, more) = keys(executor);
    let allowed: Vec<&str> = [needed, more, &OF_ALL].concat();
    let refuse = |key: &str, place: Range<usize>| {
        Err(Problem {
            span: place,
            text: format!(
                "{} takes no `{key}`; allowed: {}",
                executor.name(),
                allowed.join(", ")
            ),
        })
    };
    for (key, place) in given(table) {
        if !allowed.contains(&key) {
            return refuse(key, place);
        }
    }
    let given = given(table);
    let has = |key: &&&str| given.iter().any(|(known, _)| known == *key);
    match needed.iter().find(|key| !has(key)) {
        Some(key) => Err(problem(
            &table.executor,
            format!(
                "{} needs `{key}`; it needs {}, and takes {}",
                executor.name(),
                needed.join(", "),
                [more, &OF_ALL].concat().join(", ")
            ),
        )),
        None => Ok(()),
    }
}

/// The keys that a load has, but for those that all need, with their places.
fn given(table: &LoadTable) -> Vec<(&'static str, Range<usize>)> {
    let counts = table.counts().into_iter();
    let counts = counts.map(|count| (count.key, count.place));
    let times = table.times().into_iter();
    let times = times.map(|time| (time.key, time.place));
    let stages = table.stages.iter().map(|list| ("stages", list.span()));
    let exec = table.exec.iter().map(|exec| ("exec", exec.span()));
    let tags = table.tags.iter().map(|tags| ("tags", tags.span()));
    counts
        .chain(times)
        .chain(stages)
        .chain(exec)
        .chain(tags)
        .collect()
}

/// Whether a number is one, or a text that can become one.
fn number(file: &File, count: &Count<'_>) -> Result<(), Problem> {
    let Count {
        key, value, least, ..
    } = count;
    let at = Spanned::new(count.place.clone(), ());
    let text = plain(value);
    let refuse = |what: &str| {
        let allowed = format!(
            "allowed: a whole number from {least} on, or a text that becomes one, as in \"${{VUS}}\""
        );
        Err(problem(&at, format!("`{key}`: {what}; {allowed}")))
    };
    match value {
        toml::Value::Integer(number) if number >= least => Ok(()),
        toml::Value::String(text) if text.contains('{') => {
            placeholders_in(file, &at, text, &[])?;
            let whole = |name: &&str| {
                let kind = file.env.get(*name).map(|table| table.kind);
                matches!(kind, Some(Kind::Int | Kind::Millis | Kind::Flag) | None)
            };
            match variables(text).into_iter().find(|name| !whole(name)) {
                Some(name) => refuse(&format!("{name} holds no whole number")),
                None => Ok(()),
            }
        }
        _ => refuse(&format!("received `{text}`")),
    }
}

/// Whether a duration that is known is one that k6 takes.
fn long_enough(table: &LoadTable, time: &Time<'_>) -> Result<(), Problem> {
    let Ok(known) = parse_duration(time.text) else {
        return Ok(());
    };
    let at = Spanned::new(time.place.clone(), ());
    if time.key == "duration" && known.as_millis() < SHORTEST_MS {
        return Err(problem(
            &at,
            format!(
                "`duration`: received `{}`; k6 takes 1s or more of {}",
                time.text,
                table.executor.get_ref().name()
            ),
        ));
    }
    if time.key == "time_unit" && known.is_zero() {
        return Err(problem(&at, "`time_unit` must be more than 0"));
    }
    Ok(())
}

/// k6's process gets settings of Go's runtime and no others.
fn settings_of_k6(scenario: &ScenarioTable) -> Result<(), Problem> {
    let unknown = |name: &&Spanned<String>| !K6_SETTINGS.contains(&name.get_ref().as_str());
    match scenario.k6_env.keys().find(unknown) {
        None => Ok(()),
        Some(name) => Err(problem(
            name,
            format!(
                "`k6_env`: received `{}`, expected one of {}; options of k6 go by `args`, and what the harness reads by variables of the suite",
                name.get_ref(),
                K6_SETTINGS.join(", ")
            ),
        )),
    }
}

/// Further arguments may not replace what is declared.
fn arguments(file: &File, scenario: &ScenarioTable) -> Result<(), Problem> {
    let Some(args) = &scenario.args else {
        return Ok(());
    };
    placeholders(file, args, &[])?;
    open(file, args, args.get_ref(), "args")?;
    if !scenario.hands_on_loads() {
        return Ok(());
    }
    match shortcut::argument(args.get_ref()) {
        Some(word) => Err(problem(args, shortcut::of_argument(word))),
        None => Ok(()),
    }
}
