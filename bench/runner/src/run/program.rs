//! Programs that a suite names: those of this project, and all others.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use barrier_procs::{Output, given_program};

use crate::run::environment::clean_environment;
use crate::run::process::{Supervised, find_on_path, homes};
use crate::run::scratch;
use crate::run::sql::client::{Pause, file, written};
use crate::suite::Suite;
use crate::suite::vars::Vars;
use crate::values::exit;

/// How long a program of a step may take to end when asked to.
const GRACE: Duration = Duration::from_secs(5);
/// Between two looks whether it has ended.
const POLL: Duration = Duration::from_millis(20);

/// A program of this project: what `NAME_BIN` names, else the one beside the runner, or in `bin/` of a folder where `make` leaves it.
/// Else where it was looked for, in words.
///
/// # Errors
/// `NAME_BIN` names no program.
pub(super) fn of_project(suite: &Suite, name: &str) -> anyhow::Result<Result<PathBuf, String>> {
    let variable = format!("{}_BIN", name.to_ascii_uppercase().replace('-', "_"));
    let given = given_program(&variable).map_err(|error| {
        exit::set_up(format!(
            "{error}; build it with `make`, or unset {variable}"
        ))
    })?;
    if let Some(path) = given {
        return Ok(Ok(path));
    }
    let beside = std::env::current_exe()
        .ok()
        .and_then(|own| Some(own.parent()?.join(name)));
    let in_homes = homes(&suite.root)
        .into_iter()
        .map(|home| home.join("bin").join(name));
    let places: Vec<PathBuf> = beside.into_iter().chain(in_homes).collect();
    let found = places.iter().find(|path| path.is_file()).cloned();
    Ok(found.ok_or_else(|| {
        let places: Vec<String> = places
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        format!("neither {variable} nor {} has one", places.join(" nor "))
    }))
}

/// A program of a step: with a slash a file where the suite's paths begin, else one of this project, else one on the path. `what`
/// names the step.
///
/// # Errors
/// It is not there; the text says where it was looked for.
pub(crate) fn of_step(suite: &Suite, what: &str, name: &str) -> anyhow::Result<PathBuf> {
    if name.contains('/') {
        let path = suite.resolve(name);
        return if path.is_file() {
            Ok(path)
        } else {
            Err(exit::set_up(format!(
                "{what}: no program `{name}`: {} is no file",
                path.display()
            )))
        };
    }
    let places = match of_project(suite, name)? {
        Ok(path) => return Ok(path),
        Err(places) => places,
    };
    find_on_path(name).ok_or_else(|| {
        exit::set_up(format!(
            "{what}: no program `{name}`: {places}, and it is not on the path; build it with `make`, or install it"
        ))
    })
}

/// What a program of a step said, called with the suite's variables in its environment, as a target is. It has a home of its own, and ends
/// with the runner.
///
/// # Errors
/// It cannot be started, fails, or is not done within `limit`; or `pause` fails.
pub(super) fn said(
    path: &Path,
    arguments: &[String],
    vars: &Vars,
    limit: Duration,
    pause: Pause<'_>,
) -> anyhow::Result<String> {
    let home = scratch::folder("step-").context("making a folder for a program")?;
    let mut command = Command::new(path);
    clean_environment(&mut command, home.path());
    let variables = vars.iter();
    let variables = variables.map(|(name, value, _)| (name.to_owned(), value.to_string()));
    command.args(arguments).envs(variables);
    let mut said = file()?;
    let output = Output::File(said.try_clone()?);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut process = Supervised::start(&name, &mut command, output, GRACE)?;
    let deadline = Instant::now() + limit;
    while process.ended()?.is_none() {
        if Instant::now() >= deadline {
            process.stop();
            anyhow::bail!(
                "not done within {} s; it was ended. It said: {}",
                limit.as_secs_f64(),
                written(&mut said)?.trim()
            );
        }
        pause(POLL)?;
    }
    let status = process.end()?;
    let said = written(&mut said)?;
    anyhow::ensure!(status.success(), "{status}; it said: {}", said.trim());
    Ok(said)
}
