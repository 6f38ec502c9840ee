//! How a suite stands as a whole, and what is still to be written.

use std::path::Path;

use super::what::{How, What};
use crate::plan::Plan;
use crate::report::board::Board;
use crate::suite::Suite;
use crate::suite::append;
use crate::suite::vars::RunValues;
use crate::terminal::say;
use crate::values::exit;

/// Says how each scenario stands.
pub(super) fn board(what: What, html: Option<&Path>) -> anyhow::Result<i32> {
    let (suite, selection) = what.load(How::default())?;
    let plan = Plan::new(&suite, &selection)?;
    let Some(run) = plan.runs.first() else {
        return Err(exit::set_up("the plan holds no run"));
    };
    let root = suite.file.evidence.root.get_ref();
    let root = suite.resolve(&run.vars.expand(root, &RunValues::new())?);
    let board = Board::of(&suite, &root)?;
    board.lines().iter().for_each(|line| say(line));
    if let Some(path) = html {
        board.write(path)?;
        say(&format!("written: {}", path.display()));
    }
    Ok(exit::OK)
}

/// Adds a scenario that nobody has implemented yet.
pub(super) fn new_gate(suite: &str, id: &str) -> anyhow::Result<i32> {
    let suite = Suite::load(suite)?;
    append::stub(&suite, id)?;
    say(&format!(
        "{}: a scenario {id}, NOT_IMPLEMENTED",
        suite.path.display()
    ));
    Ok(exit::OK)
}
