//! The verb `fixtures`: the files that a suite's runs need.

use super::what::{How, What};
use crate::plan::Plan;
use crate::run::fixtures::{install, make::make};
use crate::run::inbox::Inbox;
use crate::run::scratch::Scratch;
use crate::session::lock;
use crate::terminal::say;
use crate::values::exit;
use crate::values::text::shown;

/// The verb `fixtures`.
pub(super) fn fixtures(what: What, check: bool, restore: bool) -> anyhow::Result<i32> {
    let (suite, selection) = what.load(How::default())?;
    if suite.file.fixture.is_empty() {
        say("the suite declares no fixtures");
        return Ok(exit::OK);
    }
    let plan = Plan::new(&suite, &selection)?;
    let Some(run) = plan.runs.first() else {
        return Err(exit::set_up("the plan holds no run"));
    };
    // A run reads them.
    let _lock = lock::take(&format!("{}, fixtures", suite.file.suite.id))?;
    if restore {
        let restored = install::restore(&suite, &run.vars)?;
        for path in &restored {
            say(&format!("put back {}", shown(path)));
        }
        if restored.is_empty() {
            say("nothing is to be put back");
        }
        return Ok(exit::OK);
    }
    let mut inbox = Inbox::install()?;
    let _scratch = Scratch::open()?;
    let pause = &mut |time| Ok(inbox.pause(time)?);
    for made in make(&suite, &run.vars, check, pause)? {
        let done = if made.same { "same    " } else { "written " };
        say(&format!(
            "{done} {}: {}, {} bytes, sha256 {}",
            made.looked.id,
            shown(&made.looked.path),
            made.looked.bytes,
            made.looked.sha256
        ));
    }
    Ok(exit::OK)
}
