//! What options a harness has: k6 is asked before it runs.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use barrier_procs::{Output, Supervised};
use serde_json::Value as Json;

use crate::run::environment::clean_environment;
use crate::run::inbox::{Inbox, Message};
use crate::run::k6::Call;
use crate::run::{process, scratch};
use crate::values::exit::Stop;

/// A harness that has not said what it wants by then is not waited for.
const LIMIT: Duration = Duration::from_secs(60);

/// What `k6 inspect` says of a harness.
#[derive(Debug)]
pub(super) enum Said {
    /// Its options.
    Options(Json),
    /// It refuses the harness, and so will `k6 run`, which says why.
    Refused,
    /// Nothing: in time, or because it takes not all options that `k6 run` does.
    Nothing,
}

impl Said {
    /// The options, if they are known.
    pub(super) fn options(&self) -> Option<&Json> {
        match self {
            Self::Options(options) => Some(options),
            Self::Refused | Self::Nothing => None,
        }
    }
}

/// Asks k6 for the options of the harness.
///
/// # Errors
/// k6 cannot be started, or a signal arrived.
pub(super) fn ask(call: &Call, inbox: &mut Inbox) -> anyhow::Result<Said> {
    let home = scratch::folder("inspect-").context("making a folder for k6")?;
    let printed = Arc::new(Mutex::new(Vec::new()));
    let mut process = start(call, home.path(), &printed)?;
    process::watch(&process, inbox);
    let deadline = Instant::now() + LIMIT;
    let ended = loop {
        match inbox.next(deadline) {
            Some(Message::Exited(id)) if id == process.id() => break true,
            Some(Message::Exited(_) | Message::Gone(_)) => {}
            Some(Message::Interrupt) => return Err(Stop::Interrupted.into()),
            None => break false,
        }
    };
    if !ended {
        return Ok(Said::Nothing);
    }
    if !process.end()?.success() {
        return Ok(if call.is_bare() {
            Said::Refused
        } else {
            Said::Nothing
        });
    }
    let printed = printed.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(serde_json::from_slice(&printed).map_or(Said::Nothing, Said::Options))
}

fn start(call: &Call, home: &Path, printed: &Arc<Mutex<Vec<u8>>>) -> anyhow::Result<Supervised> {
    let mut command = Command::new(call.program());
    clean_environment(&mut command, home);
    command.envs(call.environment()).current_dir(home);
    command
        .args(["inspect", "--log-output=none"])
        .args(call.given_variables())
        .args(call.arguments());
    let kept = Arc::clone(printed);
    let each = move |line: &[u8]| {
        kept.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(line);
    };
    let output = Output::Lines(Box::new(each));
    Ok(Supervised::start(
        "k6",
        &mut command,
        output,
        Duration::from_secs(2),
    )?)
}
