//! Programs that a suite names: those of this project, and all others.

use std::path::PathBuf;

use barrier_procs::given_program;

use crate::run::process::{find_on_path, homes};
use crate::suite::Suite;
use crate::values::exit;

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
