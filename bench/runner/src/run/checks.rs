//! The probe of a suite: a script of k6 that tries what a run will do. What it looks at is its own; here it is run, and what it
//! says is read.

use std::sync::mpsc::channel;

use anyhow::Context as _;
use barrier_procs::Output;
use serde::Deserialize;

use crate::plan::Probe;
use crate::run::driver::Watch;
use crate::run::inbox::{Inbox, Needs};
use crate::run::k6::{self, Binary, Call};
use crate::run::process::{self, Supervised};
use crate::run::scratch;
use crate::suite::vars::Vars;
use crate::values::exit::Stop;
use crate::verdict::facts::Cause;

/// Of what k6 says besides, so many lines explain a probe that broke off.
const LAST_LINES: usize = 3;

/// One line of a probe.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Check {
    /// What was looked at, in a word.
    #[serde(rename = "check")]
    pub(crate) name: String,
    /// Whether it is as it should be.
    pub(crate) ok: bool,
    /// What was seen.
    pub(crate) seen: String,
    /// What to do about it; beside `ok` it is something to know.
    pub(crate) mend: Option<String>,
}

/// What a probe said.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) checks: Vec<Check>,
    /// Why there may be fewer lines than there should be, with what to do about it.
    pub(crate) broken: Option<(String, String)>,
}

/// Nobody looks at a probe.
struct Nobody;

impl Watch for Nobody {
    fn began(&mut self, _: Option<u32>) {}

    fn ended(&mut self) -> anyhow::Result<()> {
        Ok(())
    }
}

/// Runs a probe with the variables of a run, never longer than its bound.
///
/// # Errors
/// k6 cannot be started, or a signal arrived.
pub(crate) fn run(
    k6: &Binary,
    probe: &Probe,
    vars: &Vars,
    inbox: &mut Inbox,
) -> anyhow::Result<Checked> {
    let run_id = format!("probe-{}", jiff::Timestamp::now().as_millisecond());
    let mut call = Call::new(&k6.path, &probe.script, vars, &run_id);
    call.log_alone();
    let work = scratch::folder("probe-").context("making a working directory for the probe")?;
    let mut command = call.command(work.path())?;
    inbox.check()?;
    let (sender, lines) = channel();
    let each = move |line: &[u8]| {
        // The receiver lives until the process has ended.
        let _ = sender.send(String::from_utf8_lossy(line).into_owned());
    };
    let output = Output::Lines(Box::new(each));
    let mut process = Supervised::start("probe", &mut command, output, k6::KILL_GRACE)?;
    process::watch(&process, inbox);
    let cause = k6::wait(
        &mut process,
        probe.limit,
        &Needs::default(),
        inbox,
        &crate::events::Stream::default(),
        &mut Nobody,
    );
    let status = process.end()?;
    if cause == Cause::Interrupt {
        return Err(Stop::Interrupted.into());
    }
    let (checks, others) = read(lines.try_iter());
    let script = probe.script.display();
    let broken = if cause == Cause::Limit {
        let text = format!(
            "the probe {script} did not end within {} s{}",
            probe.limit.as_secs(),
            after(&checks)
        );
        let mend = "see whether the target answers at all, or raise `limit` of [probe]";
        Some((text, mend.to_owned()))
    } else if !status.success() || checks.is_empty() {
        let words = if others.is_empty() {
            "it said nothing".to_owned()
        } else {
            format!("its last words: {}", others.join(" | "))
        };
        let text = format!(
            "the probe {script} broke off ({status}){}; {words}",
            after(&checks)
        );
        let mend = "put right what it names, or the script; it prints a line of JSON for each look: check, ok, seen, mend";
        Some((text, mend.to_owned()))
    } else {
        None
    };
    Ok(Checked { checks, broken })
}

fn after(checks: &[Check]) -> String {
    checks.last().map_or_else(String::new, |check| {
        format!(", after the look at `{}`", check.name)
    })
}

/// The checks among the lines, and the last of the others.
fn read(lines: impl Iterator<Item = String>) -> (Vec<Check>, Vec<String>) {
    let (mut checks, mut others) = (Vec::new(), Vec::new());
    for line in lines {
        match serde_json::from_str(line.trim()) {
            Ok(check) => checks.push(check),
            Err(_) if line.trim().is_empty() => {}
            Err(_) => others.push(line.trim().to_owned()),
        }
    }
    others.drain(..others.len().saturating_sub(LAST_LINES));
    (checks, others)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_told_from_everything_else_that_is_printed() {
        let printed = r#"starting
            {"check":"a","ok":true,"seen":"it is there"}
            {"level":"info"}

            {"check":"b","ok":false,"seen":"it is not","mend":"make it"}
            one
            two
            {"check":"c","ok":true,"seen":"no, really","more":1}"#;
        let (checks, others) = read(printed.lines().map(str::to_owned));
        let seen: Vec<_> = checks
            .iter()
            .map(|check| (check.name.as_str(), check.ok))
            .collect();
        assert_eq!(seen, [("a", true), ("b", false)]);
        assert_eq!(checks[1].mend.as_deref(), Some("make it"));
        assert_eq!(others.len(), LAST_LINES);
        assert!(
            others[2].contains("more"),
            "what has another shape is no check: {others:?}"
        );
    }
}
