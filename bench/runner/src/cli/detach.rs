//! A run in a session of its own, which outlives its terminal: whoever asks for it waits until it has begun, or hears why not.

use std::fs::File;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;
use jiff::Timestamp;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::events::{Event, Listener};
use crate::run::inbox::ignore_hangups;
use crate::terminal::{Terminal, say};
use crate::values::exit;
use crate::values::text::shown;

/// The option that tells a runner that it is the one in the background.
pub(super) const FLAG: &str = "--in-background";
/// What a runner says that has no terminal, beside the plan.
const LOG: &str = "runner.log";

/// What the runner in the background says once it has begun.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Begun {
    begun: PathBuf,
    process: u32,
}

/// Starts the same call again in the background, and returns once that has begun; or with its exit code, where it does not. `hints`:
/// what to do about what goes on in a folder.
///
/// # Errors
/// It cannot be started.
pub(super) fn start(hints: impl FnOnce(&str) -> Vec<String>) -> anyhow::Result<i32> {
    let program = std::env::current_exe().context("looking for this program")?;
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let mut command = Command::new(program);
    command.arg0(name);
    // Behind the verb, before anything that may end the options.
    command.args(arguments.next()).arg(FLAG).args(arguments);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting the runner in the background")?;
    let output = child.stdout.take().context("its output")?;
    for line in BufReader::new(output).lines() {
        let line = line.context("listening to the runner in the background")?;
        match serde_json::from_str::<Begun>(&line) {
            Ok(begun) => {
                tell(&begun, hints);
                return Ok(exit::OK);
            }
            // It is masked already.
            Err(_) => say(&line),
        }
    }
    let status = child
        .wait()
        .context("waiting for the runner in the background")?;
    Ok(status.code().unwrap_or(exit::FAULT))
}

fn tell(begun: &Begun, hints: impl FnOnce(&str) -> Vec<String>) {
    let folder = shown(&begun.begun);
    say(&format!("detached: process {}", begun.process));
    hints(&folder).iter().for_each(|line| say(line));
    say(&format!("log      {}", shown(&begun.begun.join(LOG))));
    say(&format!("evidence: {folder}"));
}

/// Leaves the terminal that this process was started from, whatever becomes of that.
///
/// # Errors
/// The system refuses.
pub(super) fn leave_terminal() -> anyhow::Result<()> {
    ignore_hangups()?;
    match rustix::process::setsid() {
        Ok(_) => Ok(()),
        // Whoever started it has done that already.
        Err(rustix::io::Errno::PERM) if !std::io::stdin().is_terminal() => Ok(()),
        Err(error) => Err(error).context("leaving the terminal"),
    }
}

/// Says to whoever started it that the session has begun; from then on it is said into a file.
#[derive(Debug)]
pub(super) struct Handover(pub(super) Terminal);

impl Listener for Handover {
    fn hear(&mut self, at: Timestamp, event: &Event) {
        if let Event::SessionBegan { folder, .. } = event
            && hand_over(Path::new(folder)).is_err()
        {
            // Nobody knows of the run, so nobody would ever look at it.
            let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::TERM);
        }
        self.0.hear(at, event);
    }
}

/// # Errors
/// There can be no log, or whoever started the runner has gone away before it began.
fn hand_over(folder: &Path) -> anyhow::Result<()> {
    let log = folder.join(LOG);
    let log = File::options().append(true).create(true).open(log)?;
    let begun = Begun {
        begun: folder.to_owned(),
        process: std::process::id(),
    };
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{}", serde_json::to_string(&begun)?)?;
    stdout.flush()?;
    // The other end of the pipe sees its end only when nobody holds this one.
    rustix::stdio::dup2_stdout(&log)?;
    rustix::stdio::dup2_stderr(&log)?;
    Ok(())
}
