//! Checks of scenarios by what their runs do: a script of k6, commands, or nothing yet.

use regex::Regex;
use toml::Spanned;

use super::check_load::duration;
use super::command::{CommandTable, NO_TARGET, ValueTable, Work, metric};
use super::problem::{Problem, known, placeholders, problem, unique};
use super::scenario::{PlanKind, ScenarioTable};
use super::schema::File;

/// More repeats than this are no series of a command any more.
const MOST_REPEATS: u32 = 1000;

/// What a command gives texts beside what is known of every run.
pub(crate) const WORK: &str = "work";

/// Checks what a scenario does, and that it says so in one way.
pub(super) fn scenario(file: &File, scenario: &ScenarioTable) -> Result<(), Problem> {
    target(file, scenario)?;
    let given = [
        scenario.script.is_some(),
        !scenario.command.is_empty(),
        scenario.stub.is_some(),
    ];
    if given.iter().filter(|given| **given).count() != 1 {
        let text = format!(
            "scenario {}: needs one of `script`, `command` and `stub`",
            scenario.id.get_ref()
        );
        return Err(problem(&scenario.id, text));
    }
    if let Some(say) = &scenario.say {
        let texts = [&say.get_ref().pass, &say.get_ref().fail];
        let line = |text: &&String| !text.trim().is_empty() && !text.contains('\n');
        if !texts.iter().all(line) || texts[0] == texts[1] {
            let text = "`say` needs `pass` and `fail`: a line each, and not the same";
            return Err(problem(say, text));
        }
    }
    if scenario.work() != Work::Script {
        only_scripts(scenario)?;
    }
    if scenario.work() != Work::Commands {
        return only_commands(scenario);
    }
    let Some(limit) = &scenario.time_limit else {
        return Err(problem(
            &scenario.id,
            "needs `time_limit`, the bound of all its commands together, as in \"5m\"",
        ));
    };
    duration(file, limit, "time_limit")?;
    if let Some(repeats) = &scenario.repeats
        && !(1..=MOST_REPEATS).contains(repeats.get_ref())
    {
        let text = format!(
            "`repeats` is {}; allowed: 1 to {MOST_REPEATS}",
            repeats.get_ref()
        );
        return Err(problem(repeats, text));
    }
    let commands = || scenario.command.iter();
    unique(commands().map(|command| &command.id), "command")?;
    commands().try_for_each(|command| one(file, command))?;
    let metrics = commands().flat_map(|command| &command.value);
    unique(metrics.map(|value| &value.metric), "value of a command")
}

/// Its target, where it names one.
fn target(file: &File, scenario: &ScenarioTable) -> Result<(), Problem> {
    let Some(name) = &scenario.target else {
        return Ok(());
    };
    let targets = file.target.iter().filter(|target| !target.is_service());
    let mut names: Vec<&str> = targets.map(|target| target.id.as_str()).collect();
    names.push(NO_TARGET);
    known(name, &names, "target")?;
    let variant = scenario.variants.first();
    if let Some(variant) = variant.filter(|_| name.get_ref() == NO_TARGET) {
        return Err(problem(
            variant,
            "a scenario without a target has no variants of it",
        ));
    }
    if scenario.is_alone() && scenario.work() == Work::Script {
        let text = "only a scenario of commands does without a target";
        return Err(problem(name, text));
    }
    Ok(())
}

/// What is of scripts of k6 alone.
fn only_scripts(scenario: &ScenarioTable) -> Result<(), Problem> {
    let settings = scenario.k6_env.keys().next();
    let keys: [(&str, Option<&Spanned<String>>); 6] = [
        ("limit", scenario.limit.as_ref()),
        ("args", scenario.args.as_ref()),
        ("warmup", scenario.warmup.as_ref()),
        ("window", scenario.window.as_ref()),
        ("k6_env", settings),
        ("load", scenario.load.first().map(|load| &load.name)),
    ];
    for (key, place) in keys {
        if let Some(place) = place {
            let text = format!("`{key}` is of a scenario with a `script`");
            return Err(problem(place, text));
        }
    }
    if scenario.plan == PlanKind::Ladder {
        let text = "a ladder needs a `script`, whose load it raises";
        return Err(problem(&scenario.id, text));
    }
    Ok(())
}

/// What is of commands alone.
fn only_commands(scenario: &ScenarioTable) -> Result<(), Problem> {
    let text = |key: &str| format!("`{key}` is of a scenario with commands");
    if let Some(limit) = &scenario.time_limit {
        return Err(problem(limit, text("time_limit")));
    }
    if let Some(repeats) = &scenario.repeats {
        return Err(problem(repeats, text("repeats")));
    }
    if let Some(name) = scenario.pass_env.first() {
        return Err(problem(name, text("pass_env")));
    }
    if scenario.keep_going {
        return Err(problem(&scenario.id, text("keep_going")));
    }
    Ok(())
}

fn one(file: &File, command: &CommandTable) -> Result<(), Problem> {
    let id = &command.id;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if id.get_ref().is_empty() || !id.get_ref().chars().all(plain) {
        let text = format!(
            "command `{}`: allowed are letters, digits, `-`, `_` and `.`",
            id.get_ref()
        );
        return Err(problem(id, text));
    }
    if command.run.is_empty() {
        let text = format!("command {}: `run` needs a program", id.get_ref());
        return Err(problem(id, text));
    }
    for word in &command.run {
        placeholders(file, word, &[WORK, "address"])?;
    }
    if command.exit_codes.is_empty() {
        let text = format!(
            "command {}: `exit_codes` names none that is no failure",
            id.get_ref()
        );
        return Err(problem(id, text));
    }
    command.value.iter().try_for_each(value)
}

fn value(value: &ValueTable) -> Result<(), Problem> {
    let name = value.metric.get_ref();
    if metric::ALL.contains(&name.as_str()) {
        let text = format!("`{name}` is a metric that every command has");
        return Err(problem(&value.metric, text));
    }
    let letters = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(letters) {
        let text = format!("metric `{name}`: allowed are letters, digits and `_`");
        return Err(problem(&value.metric, text));
    }
    match (&value.json, &value.regex) {
        (Some(_), None) => {}
        (None, Some(text)) => {
            let regex = Regex::new(text.get_ref())
                .map_err(|error| problem(text, format!("`regex`: {error}")))?;
            if regex.captures_len() < 2 {
                return Err(problem(text, "`regex` needs a group, as in '(\\d+) tests'"));
            }
        }
        _ => {
            let text = format!("{name}: needs either `json` or `regex`");
            return Err(problem(&value.metric, text));
        }
    }
    let outside = |file: &&Spanned<String>| {
        let path = std::path::Path::new(file.get_ref());
        !path
            .components()
            .all(|part| matches!(part, std::path::Component::Normal(_)))
    };
    match value.file.as_ref().filter(outside) {
        Some(file) => Err(problem(file, "`file` is a name inside {work}")),
        None => Ok(()),
    }
}
