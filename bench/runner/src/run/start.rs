//! How the program of a target is started, and how it tells where it listens.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::run::environment::clean_environment;
use crate::suite::schema::TargetTable;
use crate::suite::vars::{RunValues, Vars};

/// How long a target may take to end when asked to.
pub(super) const STOP_GRACE: Duration = Duration::from_secs(5);

/// What starts the program of a target. `private`: the folder that is its home, and holds its port files.
pub(super) fn command(
    table: &TargetTable,
    program: &Path,
    vars: &Vars,
    private: &Path,
) -> anyhow::Result<Command> {
    let mut command = Command::new(program);
    let mut run = RunValues::new();
    for name in table.port_files() {
        run.insert(&name, private.join(&name).display().to_string());
    }
    for word in table.start.iter().skip(1) {
        command.arg(vars.expand(word.get_ref(), &run)?);
    }
    let faults = table.faults.as_ref();
    if let Some(faults) = faults.and_then(|faults| vars.expand(faults.get_ref(), &run).ok()) {
        command.args(faults.split_whitespace());
    }
    // The suite's variables come by the environment: an argument with a password could be read by every user of the machine.
    clean_environment(&mut command, private);
    let vars = vars.iter();
    command.envs(vars.map(|(name, value, _)| (name.to_owned(), value.to_string())));
    Ok(command)
}

/// The address in the first line of a port file, or in the one that begins with the name.
pub(super) fn line_of<'t>(text: &'t str, name: Option<&str>) -> Option<&'t str> {
    let Some(name) = name else {
        return text.lines().next().map(str::trim);
    };
    let mut named = text.lines().filter_map(|line| line.split_once(' '));
    named
        .find(|(own, _)| *own == name)
        .map(|(_, address)| address.trim())
}

/// Host and port of an address, with or without a scheme.
pub(super) fn host_and_port(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}
