//! The environment of children: what the runner hands on of its own, and nothing else.

use std::path::Path;
use std::process::Command;

/// The variables of the runner's own environment that a child gets; all others stay outside.
const PASSED_ON: [&str; 2] = ["PATH", "TMPDIR"];

/// A home for programs that are only asked for their version.
pub(super) const NO_HOME: &str = "/nonexistent";

/// Empties the environment of a child but for what programs cannot do without. Its home is a folder of its own: settings
/// of the person who calls the runner, as k6's in `~/.config`, would make another run of it.
pub(super) fn clean_environment(command: &mut Command, home: impl AsRef<Path>) {
    command.env_clear().env("HOME", home.as_ref());
    for name in PASSED_ON {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
}
