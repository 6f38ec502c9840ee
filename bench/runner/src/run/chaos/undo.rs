//! Taking faults back: one step for whoever does it, the run itself, the next one, or a person.

use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use barrier_procs::Output;

use super::journal::{By, Journal, Kept, Undo};
use crate::run::environment::{NO_HOME, clean_environment};
use crate::run::process::Supervised;
use crate::values::exit;
use crate::values::http::agent;
use crate::values::mask::{masked, masked_address};

/// How long a target may take to change its switches.
pub(super) const PUT: Duration = Duration::from_secs(5);
/// How long a program may take to end when asked to.
const GRACE: Duration = Duration::from_secs(2);
/// How often a program is looked at.
const POLL: Duration = Duration::from_millis(10);

/// Sets switches; the text of a refusal says what came instead.
pub(super) fn put(url: &str, body: &str) -> Result<(), String> {
    let shown = masked_address(url);
    let sent = agent(PUT)
        .put(url)
        .header("content-type", "application/json")
        .send(body);
    let mut answer = sent.map_err(|error| format!("PUT {shown}: {error}"))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let said = answer.body_mut().read_to_string().unwrap_or_default();
    let said: String = said.trim().chars().take(300).collect();
    let status = status.as_u16();
    Err(masked(&format!(
        "PUT {shown}: status {status}, expected 200 to 299: {said}"
    )))
}

/// The same beside whatever else is to be done; its answer comes once.
///
/// # Errors
/// There is no thread for it.
pub(super) fn begin_put(url: &str, body: &str) -> Result<Receiver<Result<(), String>>, String> {
    let (tell, told) = channel();
    let (url, body) = (url.to_owned(), body.to_owned());
    let thread = std::thread::Builder::new().name("switches".to_owned());
    let begun = thread.spawn(move || {
        // Whoever asked may have gone.
        let _ = tell.send(put(&url, &body));
    });
    begun.map(|_| told).map_err(|error| error.to_string())
}

/// Starts the program of an undo or an injection, whose output nobody needs but where it fails.
///
/// # Errors
/// It cannot be started.
pub(super) fn begin(
    name: &str,
    command: &mut Command,
    output: Output,
) -> anyhow::Result<Supervised> {
    Ok(Supervised::start(name, command, output, GRACE)?)
}

/// The command of a journal's entry; `None` of one that is none.
pub(super) fn command(undo: &Undo) -> Option<Command> {
    let Undo::Command {
        program,
        arguments,
        folder,
        environment,
        secrets,
        ..
    } = undo
    else {
        return None;
    };
    let mut command = Command::new(program);
    clean_environment(&mut command, NO_HOME);
    command
        .envs(environment)
        .envs(secrets)
        .args(arguments)
        .current_dir(folder);
    Some(command)
}

/// Takes a fault back, and waits for that.
fn take_back(kept: &Kept, by: By) -> Result<(), String> {
    match &kept.entry.undo {
        Undo::WithRunner => Ok(()),
        Undo::Put { url, body } => put(url, body),
        undo @ Undo::Command { limit_ms, .. } => {
            let given = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
            let supplied = undo.clone().supplied(by, given).map_err(|names| {
                format!(
                    "its undo needs {}, which no file holds: export what it was when the fault was injected, and call `barrier-bench undo`",
                    names.join(", ")
                )
            })?;
            let Some(mut command) = command(&supplied) else {
                return Ok(());
            };
            let output = Output::Lines(Box::new(|_: &[u8]| {}));
            let process = begin(&kept.entry.fault, &mut command, output);
            let mut process = process.map_err(|error| format!("{error:#}"))?;
            let deadline = Instant::now() + Duration::from_millis(*limit_ms);
            loop {
                match process.ended() {
                    Ok(Some(status)) if status.success() => return Ok(()),
                    Ok(Some(status)) => {
                        return Err(format!("the command that takes it back failed ({status})"));
                    }
                    Ok(None) if Instant::now() < deadline => std::thread::sleep(POLL),
                    Ok(None) => {
                        return Err(format!(
                            "the command that takes it back did not end within {limit_ms} ms"
                        ));
                    }
                    Err(error) => return Err(error.to_string()),
                }
            }
        }
    }
}

/// Who asks for faults to be taken back.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Who<'a> {
    /// Somebody, who may forget what cannot be taken back.
    Person { forget: bool },
    /// A run of this suite, before it begins.
    Run { suite: &'a str },
}

impl Who<'_> {
    /// Whether a fault that another suite has left may stay; where nothing says whose it is, it may not.
    fn goes_on(self, left_by: Option<&str>) -> bool {
        matches!(self, Self::Run { suite } if left_by.is_some_and(|other| other != suite))
    }
}

/// Takes back what runners that are no more have left, the last one first. Returns what was done, in words.
///
/// # Errors
/// The journal cannot be read, or something could not be taken back (exit code 2): the text names it. What comes before it was.
pub(crate) fn leftovers(who: Who<'_>) -> anyhow::Result<Vec<String>> {
    let (by, forget) = match who {
        Who::Person { forget } => (By::Person, forget),
        Who::Run { .. } => (By::Run, false),
    };
    let Some(journal) = Journal::existing()? else {
        return Ok(Vec::new());
    };
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    let left = journal.left()?;
    for damaged in left.damaged {
        let what = format!("{}: not an entry of the journal", damaged.path.display());
        match forget.then(|| damaged.set_aside()) {
            Some(Ok(aside)) => done.push(format!("{what}: set aside as {}", aside.display())),
            Some(Err(error)) => failed.push(format!("{what}, and it cannot be set aside: {error}")),
            None => failed.push(format!("{what}: {}", damaged.why)),
        }
    }
    for kept in left.entries {
        let entry = &kept.entry;
        let what = format!("fault {} of {}", entry.fault, entry.folder);
        if entry.is_seen_to() {
            let runner = entry.runner.process();
            done.push(format!(
                "{what}: left to its runner, process {runner}, which runs"
            ));
            continue;
        }
        let (gone, taken) = (entry.is_gone(), || take_back(&kept, by));
        // What it was in may end while it is asked.
        match if gone { Ok(()) } else { taken() } {
            Ok(()) if gone => done.push(format!("{what}: it went with what it was in")),
            Ok(()) => done.push(format!("{what}: taken back")),
            Err(_) if entry.is_gone() => done.push(format!("{what}: it went with what it was in")),
            Err(why) if forget => done.push(format!(
                "{what}: forgotten, although it was not taken back: {why}"
            )),
            Err(why) if who.goes_on(entry.suite.as_deref()) => {
                done.push(format!(
                    "warning: {what}: {why} (kept in {}); it is of another suite: call `barrier-bench undo`",
                    kept.path.display()
                ));
                continue;
            }
            Err(why) => {
                failed.push(format!("{what}: {why} (kept in {})", kept.path.display()));
                continue;
            }
        }
        kept.settle();
    }
    if failed.is_empty() {
        return Ok(done);
    }
    Err(exit::set_up(format!(
        "faults of earlier runs could not be taken back:\n  {}\n  mend that and call `barrier-bench undo`, or `barrier-bench undo --forget` once you have done it by hand",
        failed.join("\n  ")
    )))
}
