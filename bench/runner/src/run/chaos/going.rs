//! A fault of a run: what injects it, what takes it back, and how far it is.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use barrier_procs::{Output, Supervised};
use rustix::process::Signal;

use super::journal::{Kept, Undo};
use super::reader::{Question, Reader};
use super::undo::{begin, command};
use crate::plan::PlannedRun;
use crate::run::process::find_on_path;
use crate::suite::Suite;
use crate::suite::chaos::{After, ChaosTable, Ends, Kind, Words};
use crate::suite::faults::Times;
use crate::suite::hosts;
use crate::suite::quick::Shares;
use crate::suite::vars::{RunValues, Vars};
use crate::values::address::addresses;
use crate::values::exit;
use crate::values::mask::{masked, masked_address};
use crate::verdict::chaos::Fault;

/// How often something that is under way is looked at.
pub(super) const POLL: Duration = Duration::from_millis(10);
/// How long a command may take where nobody says it.
const COMMAND: Duration = Duration::from_secs(30);
/// Lines of a command that failed that explain it.
const LAST_LINES: usize = 3;

/// The last words of a command.
pub(super) type Last = Arc<Mutex<VecDeque<String>>>;

/// What is under way to inject a fault, or to take it back.
#[derive(Debug)]
pub(super) enum Work {
    /// Nothing of the runner's: it is only looked at.
    None,
    Command(Supervised),
    /// Switches of a target, which may take its time.
    Put(Receiver<Result<(), String>>),
}

impl Work {
    /// How it ended; `None` while it goes on.
    pub(super) fn ended(&mut self, last: &Last) -> Option<Result<(), String>> {
        match self {
            Self::None => Some(Ok(())),
            Self::Command(process) => ended(process, last),
            Self::Put(answer) => match answer.try_recv() {
                Ok(answer) => Some(answer),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => Some(Err("nobody asks any more".to_owned())),
            },
        }
    }
}

/// Where a fault is.
#[derive(Debug)]
pub(super) enum State {
    Waiting,
    /// Under way.
    Injecting(Work, Instant),
    Holding(Instant),
    /// Being taken back, until the deadline at most; the next look is not before the other instant.
    Undoing {
        work: Work,
        deadline: Instant,
        next: Instant,
    },
    /// It is gone, and somebody looks who answers now.
    Looking(Instant),
    Over,
}

/// A fault and how far it is.
#[derive(Debug)]
pub(super) struct Going<'a> {
    pub(super) table: &'a ChaosTable,
    pub(super) times: Times,
    pub(super) state: State,
    /// What is done, and what takes it back.
    pub(super) inject: Act,
    pub(super) undo: Undo,
    pub(super) question: Option<Question>,
    pub(super) record: Fault,
    pub(super) kept: Option<Kept>,
    pub(super) reader: Option<Reader>,
    pub(super) last: Last,
    /// It was asked for and not confirmed: it may still come, after what takes it back, which is done twice.
    pub(super) late: bool,
    /// The command that injected it, kept for as long as it is there: what it has started ends with it.
    pub(super) holds: Option<Supervised>,
}

/// What injects a fault.
#[derive(Debug)]
pub(super) enum Act {
    End(String, Signal),
    Disturb(String),
    Put { url: String, body: String },
    Run(Undo),
}

impl<'a> Going<'a> {
    pub(super) fn new(
        suite: &Suite,
        run: &PlannedRun<'_>,
        table: &'a ChaosTable,
        shares: Shares,
    ) -> anyhow::Result<Self> {
        let times = Times::of(table, &run.vars, shares)?;
        let id = table.id.get_ref();
        let mut known = RunValues::new();
        if let Some(address) = run.vars.text("BASE_URL") {
            known.insert("address", address);
        }
        let expand = |text: &str| run.vars.expand(text, &known);
        let of = || {
            table
                .of
                .as_ref()
                .map(|of| of.get_ref().clone())
                .unwrap_or_default()
        };
        let signal = table.signal.as_ref().map(|signal| *signal.get_ref());
        let (inject, undo) = match table.kind {
            Kind::Process => {
                let signal = match signal.unwrap_or_default() {
                    Ends::Kill => Signal::KILL,
                    Ends::Term => Signal::TERM,
                };
                (Act::End(of(), signal), Undo::WithRunner)
            }
            Kind::Proxy => (Act::Disturb(of()), Undo::WithRunner),
            Kind::Faults => {
                let url = expand(table.url.as_ref().map_or("", |url| url.get_ref()))?;
                suite.allow_now(&format!("chaos {id}"), &url)?;
                without_secret(id, "url", &url)?;
                let body = |words: &Option<toml::Spanned<Words>>| {
                    let words = words.as_ref().map(|words| words.get_ref());
                    words
                        .and_then(|words| words.iter().next().cloned())
                        .unwrap_or_default()
                };
                let (inject, body) = (body(&table.inject), body(&table.undo));
                let act = Act::Put {
                    url: url.clone(),
                    body: inject,
                };
                (act, Undo::Put { url, body })
            }
            Kind::Command => {
                let own = |words: &Option<toml::Spanned<Words>>| {
                    let words = words
                        .as_ref()
                        .into_iter()
                        .flat_map(|words| words.get_ref().iter());
                    let words = words
                        .map(|word| expand(word))
                        .collect::<anyhow::Result<Vec<_>>>()?;
                    program(suite, &run.vars, table, &words)
                };
                let undo = own(&table.undo)?;
                if let Undo::Command { arguments, .. } = &undo {
                    for word in arguments {
                        without_secret(id, "undo", word)?;
                    }
                }
                (Act::Run(own(&table.inject)?), undo)
            }
        };
        let expect = table.expect.as_ref().map(|expect| expect.get_ref());
        let question = expect.map(|expect| {
            let url = expand(&expect.url)?;
            suite.allow_now(&format!("chaos {id}"), &url)?;
            anyhow::Ok(Question::of(expect, url))
        });
        let settle = i64::try_from(times.settle.as_millis()).unwrap_or(i64::MAX);
        Ok(Self {
            table,
            times,
            state: State::Waiting,
            inject,
            undo,
            question: question.transpose()?,
            record: Fault::new(table, settle),
            kept: None,
            reader: None,
            last: Last::default(),
            late: false,
            holds: None,
        })
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    pub(super) fn due(&self, began: Instant) -> Option<Instant> {
        Some(match &self.state {
            // It may have to wait for another one.
            State::Waiting => (began + self.times.at).max(Instant::now() + POLL),
            State::Injecting(..) => Instant::now() + POLL,
            State::Holding(until) | State::Looking(until) => *until,
            State::Undoing { next, .. } => *next,
            State::Over => return None,
        })
    }

    /// Begins to look who answers, where the expectation is reckoned from here.
    pub(super) fn look_on(&mut self, from: After) -> bool {
        let question = self.question.as_ref();
        let Some(question) = question.filter(|question| question.first_after == from) else {
            return false;
        };
        match Reader::begin(question.clone()) {
            Ok(reader) => self.reader = Some(reader),
            Err(error) => self.record.error = Some(format!("{error:#}")),
        }
        true
    }

    /// It could not be taken back; the journal keeps it, but for what ends with the runner.
    pub(super) fn stays(&mut self, why: &str) {
        let text = masked(&format!("it could not be taken back: {why}"));
        self.record.error.get_or_insert(text);
        if let Some(kept) = self.kept.take().filter(|kept| kept.entry.is_gone()) {
            kept.settle();
        }
        self.state = State::Over;
    }
}

pub(super) fn limit(table: &ChaosTable) -> Duration {
    table.time_limit.unwrap_or(COMMAND)
}

/// Refuses what the journal would have to hold, and must not.
fn without_secret(id: &str, field: &str, text: &str) -> anyhow::Result<()> {
    let has_user = |text: &str| {
        text.split_once("://")
            .is_some_and(|(_, rest)| rest.contains('@'))
    };
    if !addresses(text).any(has_user) && masked(text) == text {
        return Ok(());
    }
    Err(exit::set_up(format!(
        "chaos {id}: `{field}` has a secret or an address with a user in it, which the journal of faults must not hold: got {}; let a command read it from the variable, as in [\"sh\", \"-c\", \"… $NAME\"]",
        masked_address(&masked(text))
    )))
}

/// A command with all that it needs, also where somebody else has to run it later.
fn program(
    suite: &Suite,
    vars: &Vars,
    table: &ChaosTable,
    words: &[String],
) -> anyhow::Result<Undo> {
    let id = table.id.get_ref();
    for word in words {
        let what = format!("chaos {id}");
        suite.allow_now(&what, word)?;
        suite.allow_words(&what, word, hosts::Words::Arguments)?;
    }
    let (name, arguments) = words
        .split_first()
        .map_or(("", &[][..]), |(name, rest)| (name, rest));
    let found = if name.contains('/') {
        Some(suite.resolve(name)).filter(|path| path.is_file())
    } else {
        find_on_path(name)
    };
    let program: PathBuf = found.ok_or_else(|| {
        exit::set_up(format!(
            "chaos {id}: no program `{name}`; install it, or mend the table in {}",
            suite.path.display()
        ))
    })?;
    let all = vars
        .iter()
        .map(|(name, value, _)| (name.to_owned(), value.to_string()));
    let (secrets, environment): (BTreeMap<_, _>, BTreeMap<_, _>) =
        all.partition(|(name, _)| vars.is_secret(name));
    Ok(Undo::Command {
        program,
        arguments: arguments.to_vec(),
        folder: suite.root.clone(),
        environment,
        secrets,
        needs: Vec::new(),
        takes: Vec::new(),
        places: BTreeMap::new(),
        limit_ms: u64::try_from(limit(table).as_millis()).unwrap_or(u64::MAX),
    })
}

/// Starts a command, whose last words are kept.
pub(super) fn started(id: &str, undo: &Undo, last: &Last) -> Result<Supervised, String> {
    let Some(mut command) = command(undo) else {
        return Err("it is no command".to_owned());
    };
    let kept = Arc::clone(last);
    let each = move |line: &[u8]| {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let line = String::from_utf8_lossy(line);
        if !line.trim().is_empty() {
            kept.push_back(masked(line.trim()));
        }
        if kept.len() > LAST_LINES {
            kept.pop_front();
        }
    };
    begin(id, &mut command, Output::Lines(Box::new(each))).map_err(|error| format!("{error:#}"))
}

/// How a command ended; `None` while it runs.
fn ended(process: &mut Supervised, last: &Last) -> Option<Result<(), String>> {
    match process.ended() {
        Ok(None) => None,
        Ok(Some(status)) if status.success() => Some(Ok(())),
        Ok(Some(status)) => {
            // With the rest of its output.
            let _ = process.end();
            let last = last.lock().unwrap_or_else(PoisonError::into_inner);
            let said: Vec<&str> = last.iter().map(String::as_str).collect();
            Some(Err(format!(
                "the command failed ({status}): {}",
                said.join(" | ")
            )))
        }
        Err(error) => Some(Err(error.to_string())),
    }
}
