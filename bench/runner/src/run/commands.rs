//! The commands of a run: each within its time, its output kept, its values read, in the evidence as k6's own would be.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use barrier_procs::{EachLine, Output};
use regex::Regex;
use serde_json::{Map, Value as Json, json};
use tempfile::TempDir;

use crate::events::{Event, Stream};
use crate::evidence::Folder;
use crate::plan::PlannedRun;
use crate::run::driver::{self, Finished, Watch};
use crate::run::environment::clean_environment;
use crate::run::inbox::{Inbox, Message, Needs};
use crate::run::process::{self, Supervised, find_on_path};
use crate::run::scratch;
use crate::suite::Suite;
use crate::suite::check_command::WORK;
use crate::suite::command::{CommandTable, ValueTable, metric};
use crate::suite::hosts::Words;
use crate::suite::quick::Shares;
use crate::suite::vars::RunValues;
use crate::values::exit;
use crate::values::mask::masked;
use crate::values::place::at;
use crate::values::trend;
use crate::values::writer::Writer;
use crate::verdict::commands::{Calls, Failed};
use crate::verdict::facts::Cause;

/// The file with a line for each call.
pub(crate) const FILE: &str = "commands.jsonl";
/// How long a command may take to end when asked to.
const GRACE: Duration = Duration::from_secs(5);
/// Of a command's output, so much is read for values.
const MOST_READ: usize = 16 << 20;
/// Lines of a failed call that explain it.
const LAST_LINES: usize = 3;

/// The samples of the metrics, by name, and which of them are rates.
#[derive(Debug, Default)]
struct Samples {
    trends: BTreeMap<String, Vec<f64>>,
    rates: BTreeMap<String, Vec<bool>>,
}

impl Samples {
    fn add(&mut self, name: &str, value: f64) {
        self.trends.entry(name.to_owned()).or_default().push(value);
    }

    fn of_command(&mut self, name: &str, command: &str, value: f64) {
        self.add(name, value);
        self.add(&metric::of(name, command), value);
    }

    fn failed(&mut self, command: &str, failed: bool) {
        for name in [
            metric::FAILED.to_owned(),
            metric::of(metric::FAILED, command),
        ] {
            self.rates.entry(name).or_default().push(failed);
        }
    }

    /// In the form of k6's summary.
    fn summary(&self, suite: &Suite) -> Json {
        let asked: Vec<&str> = suite
            .file
            .gate
            .iter()
            .map(|gate| gate.stat.get_ref().as_str())
            .chain(
                suite
                    .file
                    .compare
                    .iter()
                    .map(|table| table.stat.get_ref().as_str()),
            )
            .collect();
        let mut metrics = Map::new();
        for (name, samples) in &self.trends {
            let values = trend::values(samples, asked.iter().copied());
            metrics.insert(
                name.clone(),
                json!({ "type": "trend", "contains": "default", "values": values }),
            );
        }
        for (name, samples) in &self.rates {
            let passes = samples.iter().filter(|failed| **failed).count();
            let values = trend_of_rate(passes, samples.len());
            metrics.insert(
                name.clone(),
                json!({ "type": "rate", "contains": "default", "values": values }),
            );
        }
        json!({ "metrics": metrics })
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a number of calls is far below 2^53"
)]
fn trend_of_rate(passes: usize, all: usize) -> Json {
    json!({ "rate": passes as f64 / all as f64, "passes": passes, "fails": all - passes })
}

/// A run of commands that is being made.
struct Round<'a, 'p> {
    suite: &'a Suite,
    run: &'a PlannedRun<'p>,
    output: Arc<Mutex<Writer>>,
    record: Writer,
    stream: &'a Stream,
    samples: Samples,
    calls: Calls,
}

/// One call that is over.
struct Call {
    cause: Cause,
    status: Option<ExitStatus>,
    ms: f64,
    /// What it wrote to its standard output.
    said: String,
    /// The last lines of all that it wrote.
    last: Vec<String>,
    work: TempDir,
}

/// The commands of a run, and where what comes of them goes.
pub(super) struct Commands<'a, 'p> {
    pub(super) suite: &'a Suite,
    pub(super) run: &'a PlannedRun<'p>,
    pub(super) quick: bool,
    pub(super) folder: &'a Folder,
    pub(super) stream: &'a Stream,
}

/// What goes on around them: whom the run needs, what reaches the runner, and who looks on.
pub(super) struct Around<'a> {
    pub(super) needs: &'a Needs,
    pub(super) inbox: &'a mut Inbox,
    pub(super) watch: &'a mut dyn Watch,
}

/// Runs the commands of a scenario as often as it says. A target that the run `needs` and that ends, ends the command.
///
/// # Errors
/// A program is not there, a variable has no value, or the evidence cannot be kept.
pub(super) fn run(
    commands: &Commands<'_, '_>,
    around: &mut Around<'_>,
) -> anyhow::Result<Finished> {
    let &Commands {
        suite,
        run,
        quick,
        folder,
        stream,
    } = commands;
    let summary = scratch::folder("commands-").context("making a folder for the summary")?;
    let programs = run
        .scenario
        .command
        .iter()
        .map(|table| program(suite, run, table))
        .collect::<anyhow::Result<Vec<PathBuf>>>()?;
    let repeats = run.scenario.repeats.as_ref();
    let repeats = repeats.map_or(1, |repeats| u64::from(*repeats.get_ref()));
    let repeats = Shares::of(&suite.file, quick).min_samples(repeats);
    let mut round = Round {
        suite,
        run,
        output: Arc::new(Mutex::new(folder.begin("stdout.txt")?)),
        record: folder.begin(FILE)?,
        stream,
        samples: Samples::default(),
        calls: Calls::default(),
    };
    let began = jiff::Zoned::now();
    around.watch.began(None);
    let mut worked = Ok(Cause::Own);
    for repeat in 1..=repeats {
        worked = round.repeat(repeat, &programs, around);
        if !matches!(worked, Ok(Cause::Own)) {
            break;
        }
    }
    let ended = jiff::Zoned::now();
    let watched = around.watch.ended();
    let Round {
        output,
        record,
        samples,
        calls,
        ..
    } = round;
    drop((output, record));
    folder.finish("stdout.txt");
    folder.finish(FILE);
    let cause = worked?;
    watched?;
    let text = format!("{:#}\n", samples.summary(suite));
    std::fs::write(summary.path().join("summary.json"), text).context("writing the summary")?;
    Ok(Finished::of_commands(began, ended, cause, calls, summary))
}

impl Round<'_, '_> {
    /// All commands once. A failure ends the repeat, unless the scenario says otherwise.
    fn repeat(
        &mut self,
        repeat: u64,
        programs: &[PathBuf],
        around: &mut Around<'_>,
    ) -> anyhow::Result<Cause> {
        let began = Instant::now();
        let end = began + self.run.bound;
        for (table, program) in self.run.scenario.command.iter().zip(programs) {
            if around.inbox.check().is_err() {
                around.watch.ending(Cause::Interrupt, around.inbox);
                return Ok(Cause::Interrupt);
            }
            let own = table.time_limit.map(|limit| Instant::now() + limit);
            let deadline = own.map_or(end, |own| own.min(end));
            let call = self.call(table, program, repeat, deadline, around)?;
            let cause = call.cause;
            if matches!(
                cause,
                Cause::Interrupt | Cause::TargetEnded | Cause::TargetGone
            ) {
                around.watch.ending(cause, around.inbox);
                return Ok(cause);
            }
            let good = self.count(table, repeat, &call);
            if cause == Cause::Limit && Instant::now() >= end {
                // What is left of the repeat has no time any more.
                break;
            }
            if !good && !self.run.scenario.keep_going {
                break;
            }
        }
        self.samples.add(metric::ROUND, millis(began.elapsed()));
        Ok(Cause::Own)
    }

    fn call(
        &mut self,
        table: &CommandTable,
        program: &Path,
        repeat: u64,
        deadline: Instant,
        around: &mut Around<'_>,
    ) -> anyhow::Result<Call> {
        let id = table.id.get_ref();
        let work = scratch::folder("command-").context("making a folder for a command")?;
        let words = words(self.run, table, &work.path().display().to_string())?;
        for word in &words {
            let what = format!("command {id}");
            self.suite.allow_now(&what, word)?;
            self.suite.allow_words(&what, word, Words::Arguments)?;
        }
        let mut command = Command::new(program);
        let home = work.path().join(".home");
        std::fs::create_dir(&home).context("making a home for a command")?;
        clean_environment(&mut command, &home);
        let vars = self.run.vars.iter();
        command.envs(vars.map(|(name, value, _)| (name.to_owned(), value.to_string())));
        for name in &self.run.scenario.pass_env {
            if let Some(value) = std::env::var_os(name.get_ref()) {
                command.env(name.get_ref(), value);
            }
        }
        command.args(&words[1..]).current_dir(&self.suite.root);
        let shown = masked(&words.join(" "));
        add(
            &self.output,
            &format!("[command] {id}, repeat {repeat}: {shown}\n"),
        );
        let heard = Arc::new(Mutex::new(Heard::default()));
        let out = listener(&self.output, self.stream, id, &heard, true);
        let error = listener(&self.output, self.stream, id, &heard, false);
        let began = Instant::now();
        let mut process =
            Supervised::start(id, &mut command, Output::LinesApart(out, error), GRACE)?;
        process::watch(&process, around.inbox);
        let cause = wait(&mut process, deadline, around);
        let ms = millis(began.elapsed());
        let status = match cause {
            Cause::Own => Some(process.end()?),
            Cause::Interrupt | Cause::Limit | Cause::TargetEnded | Cause::TargetGone => {
                process.stop();
                None
            }
        };
        let heard = std::mem::take(&mut *heard.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Call {
            cause,
            status,
            ms,
            said: String::from_utf8_lossy(&heard.out).into_owned(),
            last: heard.last.into(),
            work,
        })
    }

    /// Takes the samples of a call, and returns whether it succeeded.
    fn count(&mut self, table: &CommandTable, repeat: u64, call: &Call) -> bool {
        let id = table.id.get_ref();
        let code = call.status.and_then(|status| status.code());
        let good = code.is_some_and(|code| table.exit_codes.contains(&code));
        self.calls.made += 1;
        self.samples.of_command(metric::DURATION, id, call.ms);
        self.samples.failed(id, !good);
        if let Some(code) = code {
            self.samples
                .of_command(metric::EXIT_CODE, id, f64::from(code));
        }
        let of_repeat = self.run.scenario.repeats.as_ref();
        let of_repeat = of_repeat.map_or_else(String::new, |_| format!(" in repeat {repeat}"));
        let mut values = Map::new();
        if good {
            for value in &table.value {
                let name = value.metric.get_ref();
                match read(value, call) {
                    Ok(number) => {
                        self.samples.add(name, number);
                        values.insert(name.clone(), json!(number));
                    }
                    Err(why) => self
                        .calls
                        .unread
                        .push(format!("{id}{of_repeat}: {name}: {why}")),
                }
            }
        } else if call.cause == Cause::Limit {
            self.calls.late.push(format!(
                "{id}{of_repeat}: ended after {:.0} ms, the end of its time",
                call.ms
            ));
        } else {
            let ended = call
                .status
                .map_or_else(String::new, |status| status.to_string());
            let said = match call.last.as_slice() {
                [] => String::new(),
                lines => format!("; its last words: {}", lines.join(" | ")),
            };
            self.calls.failed.push(Failed {
                command: id.clone(),
                why: format!("failed{of_repeat} ({ended}){said}"),
            });
        }
        let line = json!({
            "command": id, "repeat": repeat, "endMs": jiff::Timestamp::now().as_millisecond(), "ms": call.ms, "exitCode": code,
            "late": call.cause == Cause::Limit, "failed": !good, "values": values,
        });
        self.record.add(&format!("{line}\n"));
        good
    }
}

/// Waits for the end of a call, of its time, of a target that it needs, or for a signal.
fn wait(process: &mut Supervised, deadline: Instant, around: &mut Around<'_>) -> Cause {
    loop {
        match driver::next(around.inbox, deadline, around.watch) {
            Some(Message::Exited(id)) if id == process.id() => return Cause::Own,
            Some(Message::Exited(id)) if around.needs.contains(id) => return Cause::TargetEnded,
            Some(Message::Gone(number)) if around.needs.contains_other(number) => {
                return Cause::TargetGone;
            }
            Some(Message::Exited(_) | Message::Gone(_)) => {}
            Some(Message::Interrupt) => return Cause::Interrupt,
            None => return Cause::Limit,
        }
    }
}

/// What is kept of the output of a call.
#[derive(Debug, Default)]
struct Heard {
    /// Its standard output.
    out: Vec<u8>,
    /// Its last lines on either pipe, masked.
    last: VecDeque<String>,
}

/// What hears a pipe of a command: it goes to the file and to whoever looks on. `answers`: values are read from it.
fn listener(
    output: &Arc<Mutex<Writer>>,
    stream: &Stream,
    id: &str,
    heard: &Arc<Mutex<Heard>>,
    answers: bool,
) -> EachLine {
    let (output, heard) = (Arc::clone(output), Arc::clone(heard));
    let (stream, process) = (stream.clone(), id.to_owned());
    Box::new(move |line: &[u8]| {
        let text = add(&output, &String::from_utf8_lossy(line));
        {
            let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
            if answers {
                let room = MOST_READ.saturating_sub(heard.out.len());
                heard.out.extend(line.iter().take(room));
            }
            if !text.trim().is_empty() {
                heard.last.push_back(text.trim_end().to_owned());
            }
            if heard.last.len() > LAST_LINES {
                heard.last.pop_front();
            }
        }
        let process = process.clone();
        stream.tell(Event::Output { process, text });
    })
}

fn add(output: &Arc<Mutex<Writer>>, text: &str) -> String {
    let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
    output.add(text)
}

/// The words of a command, with the values of the run.
fn words(run: &PlannedRun<'_>, table: &CommandTable, work: &str) -> anyhow::Result<Vec<String>> {
    let mut known = RunValues::new();
    known.insert(WORK, work);
    if let Some(address) = run.vars.text("BASE_URL") {
        known.insert("address", address);
    }
    let words = table.run.iter();
    words
        .map(|word| run.vars.expand(word.get_ref(), &known))
        .collect()
}

/// The program of a command: of the suite where its name has a slash, else on the path.
fn program(suite: &Suite, run: &PlannedRun<'_>, table: &CommandTable) -> anyhow::Result<PathBuf> {
    let words = words(run, table, "")?;
    let name = words.first().map(String::as_str).unwrap_or_default();
    let found = if name.contains('/') {
        Some(suite.resolve(name)).filter(|path| path.is_file())
    } else {
        find_on_path(name)
    };
    found.ok_or_else(|| {
        let id = table.id.get_ref();
        let place = if name.contains('/') {
            format!("{} is no file", suite.resolve(name).display())
        } else {
            "it is not on the path".to_owned()
        };
        exit::set_up(format!(
            "command {id}: no program `{name}` ({place}); install it, or mend `run` in {}",
            suite.path.display()
        ))
    })
}

/// A value of a call; the text of a refusal says what was there.
fn read(table: &ValueTable, call: &Call) -> Result<f64, String> {
    let (text, place) = match &table.file {
        None => (call.said.clone(), "its standard output".to_owned()),
        Some(name) => {
            let path = call.work.path().join(name.get_ref());
            let text = std::fs::read_to_string(&path)
                .map_err(|error| format!("{{work}}/{}: {error}", name.get_ref()))?;
            (text, format!("{{work}}/{}", name.get_ref()))
        }
    };
    if let Some(names) = &table.json {
        let json: Json = serde_json::from_str(text.trim())
            .map_err(|error| format!("{place} is not JSON: {error}"))?;
        return at(&json, names.get_ref())
            .and_then(Json::as_f64)
            .ok_or_else(|| format!("{place} has no number at `{}`", names.get_ref()));
    }
    let pattern = table.regex.as_ref().map_or("", |text| text.get_ref());
    let regex = Regex::new(&format!("(?m){pattern}")).map_err(|error| error.to_string())?;
    let found = regex.captures_iter(&text).last();
    let word = found.and_then(|found| Some(found.get(1)?.as_str().to_owned()));
    let word = word.ok_or_else(|| format!("nothing in {place} matches `{pattern}`"))?;
    let number = word
        .trim()
        .parse::<f64>()
        .ok()
        .filter(|number| number.is_finite());
    number.ok_or_else(|| format!("`{}` in {place} is not a number", masked(&word)))
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
