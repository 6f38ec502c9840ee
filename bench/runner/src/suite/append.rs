//! Adding a scenario to a suite's file, as a person would write it.

use std::path::Path;

use anyhow::Context as _;

use super::Suite;
use crate::values::exit;

/// Adds a scenario that nobody has implemented yet, last in the order, and returns what there is of the file now.
///
/// # Errors
/// The name is taken or none, or the file cannot be written (it is as it was then).
pub(crate) fn stub(suite: &Suite, id: &str) -> anyhow::Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if id.is_empty() || !id.chars().all(plain) {
        return Err(exit::set_up(format!(
            "`{id}` is no name of a scenario; allowed are letters, digits, `-`, `_` and `.`"
        )));
    }
    if suite.scenario(id).is_ok() {
        return Err(exit::set_up(format!(
            "{} has a scenario `{id}` already",
            suite.path.display()
        )));
    }
    let Some(last) = suite.file.suite.order.last() else {
        return Err(exit::set_up(format!(
            "{}: `order` in [suite] is empty; write `order = [\"{id}\"]` and the scenario by hand",
            suite.path.display()
        )));
    };
    let (before, after) = suite.text.split_at(last.span().end);
    let text = format!(
        "{before}, \"{id}\"{}\n\n[[scenario]]\nid = \"{id}\"\nstub = \"nobody has written it yet: give it a script or commands\"\n",
        after.trim_end()
    );
    // Nothing is written that would not be read again.
    Suite::parse(&suite.path, &text)?;
    write(&suite.path, &text)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let new = path.with_extension("toml.new");
    std::fs::write(&new, text)
        .and_then(|()| std::fs::rename(&new, path))
        .with_context(|| format!("writing {}", path.display()))
}
