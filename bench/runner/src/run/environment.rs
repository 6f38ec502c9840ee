//! The environment of children: what the runner hands on of its own, and nothing else.

use std::process::Command;

/// The variables of the runner's own environment that a child gets; all others stay outside.
const PASSED_ON: [&str; 3] = ["PATH", "HOME", "TMPDIR"];

/// Empties the environment of a child but for what programs cannot do without.
pub(crate) fn clean_environment(command: &mut Command) {
    command.env_clear();
    for name in PASSED_ON {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
}
