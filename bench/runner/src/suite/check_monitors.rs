//! Checks of monitors, and of what k6 is to keep over time.

use std::time::Duration;

use regex::Regex;
use toml::Spanned;

use super::check_asked::path;
use super::check_gates::kind_of;
use super::monitor::{FIGURES, MACHINE, MonitorKind, MonitorTable};
use super::over_time::is_tag_name;
use super::problem::{Problem, each, known, placeholders, problem, unique};
use super::schema::File;
use super::scope::Watched;
use super::statement;
use crate::values::exposition;

/// Processes that a monitor can name, beside those of services.
const PROCESSES: &[&str] = &["k6", "target", "redis", "postgres"];

/// Of a sql monitor from one look to the next.
const LEAST_OF_SQL: Duration = Duration::from_secs(1);

/// Checks every `[[monitor]]`.
pub(super) fn monitors(file: &File, scenarios: &[&str]) -> Result<(), Problem> {
    unique(file.monitor.iter().map(|monitor| &monitor.id), "monitor")?;
    let mut names: Vec<String> = Vec::new();
    for monitor in &file.monitor {
        for name in &monitor.scenarios {
            known(name, scenarios, "scenario")?;
        }
        if monitor.id.get_ref() == "generator" {
            return Err(problem(
                &monitor.id,
                "every run has a monitor `generator` of its own; give this one another id",
            ));
        }
        if monitor.every.is_zero() {
            return Err(problem(&monitor.id, "`every` must be more than 0"));
        }
        match monitor.kind {
            MonitorKind::Process | MonitorKind::Redis => {
                watches(file, monitor)?;
                if monitor.picked.is_some() {
                    named(file, monitor, &mut names)?;
                }
            }
            MonitorKind::Http
            | MonitorKind::Prom
            | MonitorKind::Log
            | MonitorKind::Machine
            | MonitorKind::Sql => {
                picks(file, monitor, &mut names)?;
            }
        }
        match (&monitor.statement, monitor.kind) {
            (Some(statement), MonitorKind::Sql) => {
                placeholders(file, statement, &[])?;
                statement::one(statement.get_ref()).map_err(|why| problem(statement, why))?;
            }
            (Some(statement), _) => {
                return Err(problem(statement, "`statement` is of monitors of kind sql"));
            }
            (None, MonitorKind::Sql) => {
                let text = "a sql monitor needs `statement`, which only reads";
                return Err(problem(&monitor.id, text));
            }
            (None, _) => {}
        }
    }
    let watches_target = file.monitor.iter().any(|monitor| {
        let named = monitor.of.iter().any(|name| name.get_ref() == "target");
        monitor.kind == MonitorKind::Process && named
    });
    let mut named = file.target.iter().flat_map(|target| &target.processes);
    if let Some(text) = named.next().filter(|_| !watches_target) {
        return Err(problem(
            text,
            "nothing watches `processes`: that takes a [[monitor]] of kind process with `target` in its `of`",
        ));
    }
    Ok(())
}

/// Checks a monitor that names what it watches in `of`.
fn watches(file: &File, monitor: &MonitorTable) -> Result<(), Problem> {
    if monitor.of.is_empty() {
        return Err(problem(&monitor.id, "`of` names nothing to watch"));
    }
    if let Some(picked) = monitor.picked.as_ref().filter(|_| !monitor.kind.picks()) {
        return Err(problem(picked, "a redis monitor has no `match`"));
    }
    match (monitor.kind, &monitor.source) {
        (MonitorKind::Redis, None) => Err(problem(
            &monitor.id,
            "a redis monitor needs `source`, the address of the server",
        )),
        (MonitorKind::Redis, Some(source)) => {
            placeholders(file, source, &[])?;
            monitor.of.iter().try_for_each(|watched| {
                placeholders(file, watched, &each(file))?;
                Watched::parse(watched.get_ref())
                    .map(drop)
                    .map_err(|text| problem(watched, text))
            })
        }
        (_, Some(source)) => Err(problem(source, "a process monitor has no `source`")),
        (_, None) => {
            let services = file.target.iter().filter(|target| target.is_service());
            let services = services.map(|target| target.id.as_str());
            let allowed: Vec<&str> = PROCESSES.iter().copied().chain(services).collect();
            let mut processes = monitor.of.iter();
            processes.try_for_each(|process| known(process, &allowed, "process"))
        }
    }
}

/// Checks a monitor whose values gates can judge. `names`: those of the monitors before it.
fn picks(file: &File, monitor: &MonitorTable, names: &mut Vec<String>) -> Result<(), Problem> {
    if let Some(named) = monitor.of.first() {
        return Err(problem(
            named,
            "`of` is of monitors of kind process and redis; this one picks what `match` says",
        ));
    }
    match (monitor.kind, &monitor.source) {
        (MonitorKind::Log, Some(source)) => {
            let text = "a log monitor reads the logs of the run's target and has no `source`";
            return Err(problem(source, text));
        }
        (MonitorKind::Machine, Some(source)) => {
            let text = "a machine monitor reads /proc/stat and has no `source`";
            return Err(problem(source, text));
        }
        (MonitorKind::Log | MonitorKind::Machine, None) => {}
        (MonitorKind::Sql, Some(source)) => {
            placeholders(file, source, &[])?;
            if file.suite.allow_databases.is_empty() {
                let text = "needs `allow_databases` of [suite], the databases that may be asked";
                return Err(problem(source, text));
            }
            // Each look is a process of its own.
            if monitor.every < LEAST_OF_SQL {
                let text =
                    "`every` of a sql monitor is at least 1s: each look is a psql of its own";
                return Err(problem(&monitor.id, text));
            }
        }
        (_, Some(source)) => placeholders(file, source, &["address"])?,
        (_, None) => {
            let text = "needs `source`, the address that is read";
            return Err(problem(&monitor.id, text));
        }
    }
    named(file, monitor, names)
}

/// Checks what a monitor picks, and the names that it gives.
fn named(file: &File, monitor: &MonitorTable, names: &mut Vec<String>) -> Result<(), Problem> {
    let Some(picked) = &monitor.picked else {
        // Its rows are kept as they are, for people.
        if monitor.kind == MonitorKind::Sql {
            return Ok(());
        }
        let text = "needs `match`: what is picked out of what was read";
        return Err(problem(&monitor.id, text));
    };
    only_texts(picked)?;
    let picks = monitor.picks();
    if picks.is_empty() {
        return Err(problem(picked, "`match` names nothing"));
    }
    for pick in picks {
        let (name, what) = (&pick.name, &pick.what);
        let valid = match monitor.kind {
            MonitorKind::Log => Regex::new(what).map(drop).map_err(|why| why.to_string()),
            MonitorKind::Prom | MonitorKind::Sql => exposition::Selector::parse(what).map(drop),
            MonitorKind::Process => figure(monitor, what),
            MonitorKind::Machine if MACHINE.contains(&what.as_str()) => Ok(()),
            MonitorKind::Machine => Err(format!(
                "the machine has no such value; allowed: {}",
                MACHINE.join(", ")
            )),
            _ => path(what),
        };
        valid.map_err(|why| problem(picked, format!("`{what}`: {why}")))?;
        let taken = if name.is_empty() {
            Some("a value needs a name")
        } else if names.contains(name) {
            Some("a second value of a monitor has this name")
        } else if file.derive.iter().any(|table| table.id.get_ref() == name) {
            Some("a derived value has this name")
        } else if kind_of(name).is_some() {
            Some("a metric of k6 has this name")
        } else {
            None
        };
        if let Some(why) = taken {
            let text = format!("`{name}`: {why}; give another one by match = {{ NAME = '…' }}");
            return Err(problem(picked, text));
        }
        names.push(pick.name);
    }
    Ok(())
}

/// Whether a monitor of processes sees that.
fn figure(monitor: &MonitorTable, what: &str) -> Result<(), String> {
    let of: Vec<&str> = monitor
        .of
        .iter()
        .map(|name| name.get_ref().as_str())
        .collect();
    match what.rsplit_once('.') {
        Some((name, figure)) if of.contains(&name) && FIGURES.contains(&figure) => Ok(()),
        _ => Err(format!(
            "no figure of a process; allowed: NAME.FIGURE, with a name of `of` ({}) and one of {}",
            of.join(", "),
            FIGURES.join(", ")
        )),
    }
}

/// `match` is a list of texts, or names with texts.
fn only_texts(picked: &Spanned<toml::Value>) -> Result<(), Problem> {
    let texts = match picked.get_ref() {
        toml::Value::Array(list) => list.iter().all(toml::Value::is_str),
        toml::Value::Table(named) => named.values().all(toml::Value::is_str),
        _ => false,
    };
    if texts {
        return Ok(());
    }
    let text = "`match` is a list of texts, or names with texts, as in { errors = 'level=error' }";
    Err(problem(picked, text))
}

/// Checks `[series]`.
pub(super) fn series(file: &File) -> Result<(), Problem> {
    let Some(series) = &file.series else {
        return Ok(());
    };
    for name in &series.tags {
        if !is_tag_name(name.get_ref()) {
            let text = format!(
                "`{}` is no name of a tag; allowed: letters, digits, `_`, `-` and `.`",
                name.get_ref()
            );
            return Err(problem(name, text));
        }
    }
    unique(series.tags.iter(), "tag")
}
