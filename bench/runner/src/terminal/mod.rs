//! The terminal: what the runner says to the person who called it.

mod bar;

use std::time::Duration;

use jiff::Timestamp;

use crate::events::{Clock, Ending, Event, JudgedRun, Listener};
use crate::values::mask::masked;
use crate::values::text::words;
use crate::values::writer::Writer;
use bar::Bar;

/// Prints one masked line, or block of lines.
pub(crate) fn say(text: &str) {
    Bar::default().print(&format!("{}\n", masked(text)));
}

/// Where it is said.
#[derive(Debug)]
enum To {
    Screen(Bar),
    File(Writer),
    /// Kept until it is known how much of it somebody wants to see.
    Held(Vec<String>),
}

/// Says what happens, with a line of progress below it where somebody watches.
#[derive(Debug)]
pub(crate) struct Terminal {
    /// Runs of the plan.
    runs: usize,
    /// Runs among them that are made only where a ladder asks for them.
    spare: usize,
    /// How many of them are over.
    over: usize,
    /// The run that is made.
    title: String,
    clock: Clock,
    to: To,
}

impl Terminal {
    /// One that has said nothing yet.
    pub(crate) fn new() -> Self {
        Self::to(To::Screen(Bar::default()))
    }

    /// One that says the same into a file.
    pub(crate) fn into_file(file: Writer) -> Self {
        Self::to(To::File(file))
    }

    /// One that says nothing before it is released.
    pub(crate) fn held() -> Self {
        Self::to(To::Held(Vec::new()))
    }

    fn to(to: To) -> Self {
        Self {
            runs: 0,
            spare: 0,
            over: 0,
            title: String::new(),
            clock: Clock::default(),
            to,
        }
    }

    /// Says the last lines of what it was held back from saying, or all of them, and whatever follows.
    pub(crate) fn release(&mut self, last: Option<usize>) {
        let screen = To::Screen(Bar::default());
        if let To::Held(texts) = std::mem::replace(&mut self.to, screen) {
            let all = texts.concat();
            let lines: Vec<&str> = all.split_inclusive('\n').collect();
            let from = last.map_or(0, |last| lines.len().saturating_sub(last));
            self.print(&lines[from..].concat());
        }
        if self.over < self.runs {
            self.begin_bar();
        }
    }

    fn begin_bar(&mut self) {
        if let To::Screen(bar) = &mut self.to {
            *bar = Bar::begin(self.runs, &self.clock);
            bar.at(self.over, &self.title);
        }
    }

    fn line(&mut self, text: &str) {
        self.print(&format!("{}\n", masked(text)));
    }

    fn print(&mut self, text: &str) {
        match &mut self.to {
            To::Screen(bar) => bar.print(text),
            To::File(file) => drop(file.add(text)),
            To::Held(texts) => texts.push(text.to_owned()),
        }
    }
}

impl Listener for Terminal {
    fn hear(&mut self, at: Timestamp, event: &Event) {
        match event {
            Event::PlanBegan {
                runs,
                complete,
                spare,
                ..
            } => {
                (self.runs, self.over, self.spare) = (*runs, *complete, *spare);
                self.clock.hear(at, event);
                self.begin_bar();
            }
            Event::RunBegan { title, .. } => {
                self.title.clone_from(title);
                if let To::Screen(bar) = &self.to {
                    bar.at(self.over, title);
                }
            }
            Event::RunSkipped { .. } | Event::RunEnded => {
                self.clock.hear(at, event);
                self.over += 1;
            }
            // Nothing follows but words.
            Event::PlanEnded { .. } => {
                if let To::Screen(bar) = &mut self.to {
                    *bar = Bar::default();
                }
            }
            _ => {}
        }
        match event {
            Event::Output { text, .. } => self.print(&masked(text)),
            event => {
                // How many runs a ladder makes is not known before, nor which of those that were planned.
                let nth = (self.spare > 0).then_some(self.over + 1);
                for line in said(event, self.runs, nth, &self.clock.shown(at)) {
                    self.line(&line);
                }
            }
        }
        // Not before its estimate has been told beside that of all.
        if let Event::RunBegan { .. } = event {
            self.clock.hear(at, event);
        }
    }
}

/// What is said of an event. `nth`: the number of the next run, where it does not follow from the plan; `left`: how much time the plan has left then, in words.
fn said(event: &Event, runs: usize, nth: Option<usize>, left: &str) -> Vec<String> {
    let one = |text: String| vec![text];
    match event {
        Event::Finding { text } => one(text.clone()),
        Event::RedisStarted { version, address } => {
            one(format!("redis    private {version} at {address}"))
        }
        Event::PostgresStarted { version, address } => {
            one(format!("postgres private {version} at {address}"))
        }
        Event::PlanBegan {
            complete,
            spare,
            resumed: true,
            ..
        } => one(format!(
            "going on: {complete} of {} runs are complete",
            runs.saturating_sub(*spare)
        )),
        Event::NothingLeft { runs } => one(format!("all {runs} runs are complete")),
        Event::RunBegan {
            number,
            title,
            estimate_ms,
            ..
        } => {
            let time = match estimate_ms.map(|ms| words(Duration::from_millis(ms))) {
                Some(time) if runs > 1 => format!(" (about {time}; {left} in all)"),
                Some(time) => format!(" (about {time})"),
                None => String::new(),
            };
            let number = nth.map_or_else(|| format!("{number} of {runs}"), |nth| nth.to_string());
            one(format!("\nrun {number}: {title}{time}"))
        }
        Event::Cleaning { server, scope } => cleaning(server, scope),
        Event::TargetReady { target, address } => one(format!("target   {target} at {address}")),
        Event::Ending { reason, limit_s } => one(match reason {
            Ending::Interrupted => format!(
                "interrupted: k6 ends its run and writes its summary (at most {limit_s} s; interrupt again to end it at once)"
            ),
            Ending::OverLimit => {
                format!("k6 runs longer than its bound of {limit_s} s: interrupting it")
            }
            Ending::TargetEnded => format!(
                "a target has ended: k6 ends its run and writes its summary (at most {limit_s} s)"
            ),
            Ending::TargetGone => format!(
                "nobody answers any more where a target was: k6 ends its run and writes its summary (at most {limit_s} s)"
            ),
        }),
        Event::Alerts { lines } => lines
            .iter()
            .map(|line| format!("alert    {line}"))
            .collect(),
        Event::Judged(run) => {
            let mut lines = vec![String::new()];
            lines.extend(judged(run));
            lines
        }
        Event::Stored { verdict, title } => one(format!("verdict  {verdict}  {title}")),
        Event::NotJudged {
            verdict,
            title,
            said,
        } => {
            let mut lines = vec![format!("verdict  {verdict}  {title}")];
            lines.extend(said.clone());
            lines
        }
        Event::RunFailed { text } => one(format!("         {text}")),
        Event::LadderEnded { text } => one(format!("\nladder   {text}")),
        Event::PreflightFailed => {
            one("preflight: it did not pass, so nothing else is run".to_owned())
        }
        Event::CoolingDown { ms } => one(format!(
            "cooling down for {}; {left} in all",
            words(Duration::from_millis(*ms))
        )),
        Event::PlanEnded {
            runs,
            verdicts,
            left: unsound,
            folder,
        } => {
            let counts: Vec<String> = verdicts
                .iter()
                .map(|(verdict, count)| format!("{count} {verdict}"))
                .collect();
            let mut lines = Vec::new();
            if *runs > 1 {
                lines.push(format!("\nplan     {runs} runs: {}", counts.join(", ")));
            }
            if *unsound > 0 {
                lines.push(format!(
                    "left     {unsound} in cycles without sound evidence; go on with: barrier-bench resume {folder}"
                ));
            }
            lines
        }
        Event::Compared { lines } => {
            let mut said = vec![String::new()];
            said.extend(lines.iter().cloned());
            said
        }
        Event::ReportWritten { path } => one(format!("report   {path}")),
        Event::ReportFailed { text } => one(format!("the report could not be written: {text}")),
        Event::AllGood => one("OK".to_owned()),
        Event::EvidenceKept { folder } => one(format!("evidence: {folder}")),
        Event::Output { .. }
        | Event::SessionBegan { .. }
        | Event::SessionEnded { .. }
        | Event::PlanBegan { .. }
        | Event::RunSkipped { .. }
        | Event::RunEnded => Vec::new(),
    }
}

/// What will be cleaned.
pub(crate) fn cleaning(server: &str, scope: &[String]) -> Vec<String> {
    let mut lines = vec![format!("clean    {server}")];
    lines.extend(scope.iter().map(|line| format!("         {line}")));
    lines
}

/// A verdict with its figures and reasons.
pub(crate) fn judged(run: &JudgedRun) -> Vec<String> {
    let width = run.derived.keys().map(String::len).max().unwrap_or(0);
    let mut lines = vec![format!("verdict  {}  {}", run.verdict, run.title)];
    for (name, value) in &run.derived {
        let value = if value.is_null() {
            "unknown".to_owned()
        } else {
            value.to_string()
        };
        lines.push(format!("         {name:<width$}  {value}"));
    }
    if !run.note.is_empty() {
        lines.push(format!("beware   {}", run.note));
    }
    lines.push(format!("gates    {} of {} hold", run.holding, run.gates));
    lines.extend(
        run.reasons
            .iter()
            .map(|reason| format!("         {reason}")),
    );
    lines.push(format!("folder   {}", run.folder));
    lines.extend(run.said.clone());
    lines
}
