//! The verbs for a run that goes on without its terminal, and for what it leaves: `status`, `attach`, `stop`, `export`.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rustix::process::Signal;

use crate::events::Listener as _;
use crate::run::inbox::Inbox;
use crate::session::export::export as pack;
use crate::session::find;
use crate::session::follow::Follow;
use crate::session::record::{ELSEWHERE, Record, State, ago};
use crate::suite::given::Given;
use crate::terminal::{Terminal, say};
use crate::values::exit;
use crate::values::text::{plural, shown, words};

/// How often somebody who watches looks whether anything was said.
const LOOK: Duration = Duration::from_millis(200);

/// Which session is meant.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// Folder of evidence, or a suite, whose newest run is meant; without it the last run of this machine
    #[arg(value_name = "SUITE|FOLDER")]
    what: Option<String>,
}

impl Which {
    fn read(&self) -> anyhow::Result<Record> {
        Record::read(&find::plan(self.what.as_deref())?)
    }
}

/// The verb `status`.
pub(super) fn status(which: &Which, json: bool) -> anyhow::Result<i32> {
    let record = which.read()?;
    if json {
        say(&format!("{:#}", record.json()));
    } else {
        lines(&record).iter().for_each(|line| say(line));
    }
    Ok(record.code())
}

/// What became of a session, for people.
fn lines(record: &Record) -> Vec<String> {
    let folder = shown(&record.folder);
    let process = record.runner.as_ref().map(barrier_procs::Identity::process);
    let process = process.map_or_else(String::new, |id| format!(", process {id}"));
    let began = record.began.map(since).unwrap_or_default();
    let mut lines = vec![match &record.state {
        State::Runs => format!("{:<8} runs{process}{began}", record.suite),
        State::Ended { at, code, error } => {
            let why = error
                .as_ref()
                .map_or_else(String::new, |why| format!(": {why}"));
            format!(
                "{:<8} ended {}, exit code {code}{why}",
                record.suite,
                clock(*at)
            )
        }
        State::Killed => format!(
            "{:<8} INTERRUPTED: its runner{process} was ended before it could judge{began}",
            record.suite
        ),
        State::Elsewhere { written } => format!(
            "{:<8} its runner{process} {ELSEWHERE}; last written to {} ago{began}",
            record.suite,
            ago(*written)
        ),
        State::Unknown => format!(
            "{:<8} its runner told nothing of itself; see `barrier-bench judge {folder}`",
            record.suite
        ),
    }];
    if let Some(run) = &record.current {
        let block = record.planned().map_or_else(String::new, |planned| {
            format!(", scenario {}, block {}", planned.scenario, planned.block)
        });
        let doing = match (&record.state, run.cooling) {
            (State::Runs, true) => "; cooling down after it",
            (State::Runs, false) | (State::Elsewhere { .. }, _) => "",
            _ => "; INTERRUPTED",
        };
        // How many runs a ladder makes is not known before.
        let number = run.nth.map_or_else(
            || format!("{} of {}", run.number, record.runs),
            |nth| nth.to_string(),
        );
        lines.push(format!(
            "run      {number}: {}{block}{}{doing}",
            run.title,
            since(run.at)
        ));
    }
    for (title, verdict) in &record.verdicts {
        lines.push(format!("verdict  {verdict}  {title}"));
    }
    match &record.state {
        State::Runs => {
            let left = record.left().map_or_else(
                || "unknown".to_owned(),
                |left| format!("about {}", words(left)),
            );
            lines.push(format!("left     {left}"));
            lines.extend(watch_and_stop(&folder));
        }
        State::Killed => lines.push(format!("go on    barrier-bench resume {folder}")),
        State::Ended { .. } | State::Elsewhere { .. } | State::Unknown => {}
    }
    lines.push(format!("evidence: {folder}"));
    lines
}

fn watch_and_stop(folder: &str) -> [String; 2] {
    [
        format!("watch    barrier-bench attach {folder}"),
        format!("stop     barrier-bench stop {folder}"),
    ]
}

/// What to do about a run that has just begun without a terminal.
pub(super) fn hints(folder: &str) -> Vec<String> {
    let status = format!("status   barrier-bench status {folder}");
    std::iter::once(status)
        .chain(watch_and_stop(folder))
        .collect()
}

fn clock(at: Timestamp) -> String {
    let at = at.to_zoned(TimeZone::system());
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn since(at: Timestamp) -> String {
    let took = Duration::try_from(Timestamp::now().duration_since(at)).unwrap_or_default();
    format!(", since {} ({})", clock(at), words(took))
}

/// The verb `attach`. Ends with the exit code of the session, or [`exit::RUNS`] where whoever watches goes away before.
pub(super) fn attach(which: &Which, last: Option<usize>) -> anyhow::Result<i32> {
    let record = which.read()?;
    if record.state != State::Runs {
        // Nothing is started, and nothing more will be said.
        lines(&record).iter().for_each(|line| say(line));
        return Ok(record.code());
    }
    let mut inbox = Inbox::install()?;
    let mut heard = Follow::of(&record.folder);
    let mut terminal = Terminal::held();
    for (at, event) in heard.next()? {
        terminal.hear(at, &event);
    }
    terminal.release(last);
    loop {
        // Looked at before: what was told until the end is heard then.
        let now = Record::read(&record.folder)?;
        for (at, event) in heard.next()? {
            terminal.hear(at, &event);
        }
        // What it leaves behind is complete once it is gone.
        let gone = now.runner.as_ref().is_none_or(|runner| !runner.lives());
        if now.state != State::Runs && gone {
            drop(terminal);
            if now.state == State::Killed {
                lines(&now).iter().for_each(|line| say(line));
            }
            return Ok(now.code());
        }
        if inbox.pause(LOOK).is_err() {
            drop(terminal);
            let folder = shown(&record.folder);
            say(&format!(
                "\ndetached: the run goes on; watch it with `barrier-bench attach {folder}`, end it with `barrier-bench stop {folder}`"
            ));
            return Ok(exit::RUNS);
        }
    }
}

/// The verb `stop`: has the runner end as by Ctrl-C, and waits for that.
pub(super) fn stop(which: &Which) -> anyhow::Result<i32> {
    let record = which.read()?;
    record.refuse_elsewhere("not stopped")?;
    let folder = shown(&record.folder);
    let Some(runner) = record
        .runner
        .as_ref()
        .filter(|_| record.state == State::Runs)
    else {
        lines(&record).iter().for_each(|line| say(line));
        return Err(exit::set_up(format!("{folder}: nothing runs there")));
    };
    say(&format!(
        "stopping process {}: k6 ends its run and writes its summary; call again to end it at once",
        runner.process()
    ));
    // One that has ended meanwhile needs none.
    runner.signal(Signal::TERM)?;
    let mut inbox = Inbox::install()?;
    while runner.lives() {
        if inbox.pause(LOOK).is_err() {
            say(&format!(
                "it still ends; see `barrier-bench status {folder}`"
            ));
            return Ok(exit::RUNS);
        }
    }
    lines(&Record::read(&record.folder)?)
        .iter()
        .for_each(|line| say(line));
    Ok(exit::OK)
}

/// The verb `export`.
pub(super) fn export(folder: &str, out: &Path, given: &Given) -> anyhow::Result<i32> {
    let plan = find::plan(Some(folder))?;
    let exported = pack(&plan, out, given)?;
    for run in &exported.unsealed {
        say(&format!(
            "beware   {run}: it has no manifest, so nothing shows that it is as its runner left it"
        ));
    }
    if !exported.unsearched.is_empty() {
        say(&format!(
            "beware   not searched for, as not given: the values of {}",
            exported.unsearched.join(", ")
        ));
    }
    say(&format!(
        "exported {} of {} to {}",
        plural(exported.files, "file"),
        shown(&plan),
        shown(out)
    ));
    Ok(exit::OK)
}
