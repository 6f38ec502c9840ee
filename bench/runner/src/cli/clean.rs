//! The verb `clean`: what a run would delete and reset, without a run.

use super::what::{How, What};
use crate::plan::Plan;
use crate::run::clean;
use crate::run::drain;
use crate::run::settle::settle;
use crate::run::sql::reset::Reset;
use crate::session::lock;
use crate::suite::private::POSTGRES;
use crate::suite::schema::{CleanKind, CleanTable, TargetKind};
use crate::terminal::{self, say};
use crate::values::exit;

/// The verb `clean`.
pub(super) fn clean(what: What, dry_run: bool) -> anyhow::Result<i32> {
    let (suite, selection) = what.load(How::default())?;
    if suite.file.clean.is_empty() {
        say("the suite declares nothing to clean");
        return Ok(exit::OK);
    }
    // Somebody else's run must not lose its queues.
    let _lock = if dry_run {
        None
    } else {
        Some(lock::take(&format!("{}, cleaning", suite.file.suite.id))?)
    };
    let plan = Plan::new(&suite, &selection)?;
    let Some(run) = plan.runs.into_iter().next() else {
        return Err(exit::set_up("the plan holds no run"));
    };
    if !run.point.is_empty() {
        say(&format!("as before {}", run.title()));
    }
    let vars = run.vars.clone();
    let is_sql = |table: &CleanTable| table.kind == CleanKind::Sql;
    if suite.file.clean.iter().any(is_sql)
        && suite.file.needs(POSTGRES)
        && vars.get(POSTGRES.variable).is_none()
    {
        return Err(exit::set_up(format!(
            "{} is missing: a private PostgreSQL starts empty; name the database to reset",
            POSTGRES.variable
        )));
    }
    let mut pause = |time| {
        std::thread::sleep(time);
        Ok(())
    };
    if !dry_run {
        drain::before(&suite, &run, &mut pause, |text| {
            say(&format!("[cleanup] {text}"));
        })?;
    }
    let resets = Reset::all(&suite, &vars)?;
    for reset in &resets {
        terminal::cleaning(reset.shown_address(), reset.summary())
            .iter()
            .for_each(|line| say(line));
        let mut log = Vec::new();
        let result = reset.execute(dry_run, &mut log, &mut pause);
        log.iter().for_each(|line| say(line));
        result?;
    }
    let mut tables = suite.file.clean.iter();
    if !resets.is_empty() && tables.all(is_sql) {
        return Ok(exit::OK);
    }
    if vars.get("REDIS_URL").is_none() {
        return Err(exit::set_up(
            "REDIS_URL is missing: a private Redis starts empty; name the Redis to clean",
        ));
    }
    let Some(cleaning) = clean::Plan::new(&suite, &vars, &[])? else {
        say("the suite declares nothing to clean");
        return Ok(exit::OK);
    };
    terminal::cleaning(cleaning.shown_address(), cleaning.summary())
        .iter()
        .for_each(|line| say(line));
    if run.target.kind == TargetKind::External && !dry_run {
        settle(&suite, &vars, pause, |text| {
            say(&format!("[cleanup] {text}"));
        })?;
    }
    let mut log = Vec::new();
    let result = cleaning.execute(dry_run, &mut log, || Ok(()));
    log.iter().for_each(|line| say(line));
    result.map(|()| exit::OK)
}
