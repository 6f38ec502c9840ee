//! The verbs `up` and `down`: what a suite's runs are made with, without a run.

use super::detach;
use super::told::told;
use super::what::{How, What};
use crate::events::Listener;
use crate::plan::Plan;
use crate::session::up as services;
use crate::terminal::{Terminal, say};
use crate::values::exit;
use crate::values::text::shown;

/// The verb `up`.
pub(super) fn up(what: What, detached: bool, in_background: bool) -> anyhow::Result<i32> {
    if detached && !in_background {
        return detach::start(|folder| vec![format!("end      barrier-bench down {folder}")]);
    }
    let terminal: Box<dyn Listener> = if in_background {
        detach::leave_terminal()?;
        Box::new(detach::Handover(Terminal::new()))
    } else {
        Box::new(Terminal::new())
    };
    told(vec![terminal], |stream| {
        let (suite, selection) = what.load(How::default())?;
        let plan = Plan::new(&suite, &selection)?;
        services::up(&suite, &plan, in_background, stream)
    })
}

/// The verb `down`.
pub(super) fn down(what: &str) -> anyhow::Result<i32> {
    let down = services::down(what)?;
    for (id, process) in &down.ended {
        say(&format!("ended    {id}, process {process}"));
    }
    if down.ended.is_empty() {
        say("nothing of it runs any more");
    }
    say(&format!("logs     {}", shown(&down.folder)));
    Ok(exit::OK)
}
