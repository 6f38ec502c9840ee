//! The terminal: what the runner says to the person who called it.

mod bar;
mod clock;

use std::time::Duration;

use jiff::Timestamp;

use crate::events::{Ending, Event, JudgedRun, Listener};
use crate::values::mask::masked;
use crate::values::text::words;
use bar::Bar;
use clock::Clock;

/// Prints one masked line, or block of lines.
pub(crate) fn say(text: &str) {
    Bar::default().print(&format!("{}\n", masked(text)));
}

/// Says what happens, with a line of progress below it where somebody watches.
#[derive(Debug)]
pub(crate) struct Terminal {
    /// Runs of the plan.
    runs: usize,
    /// How many of them are over.
    over: usize,
    clock: Clock,
    bar: Bar,
}

impl Terminal {
    /// One that has said nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            runs: 0,
            over: 0,
            clock: Clock::new([]),
            bar: Bar::default(),
        }
    }

    fn line(&self, text: &str) {
        self.bar.print(&format!("{}\n", masked(text)));
    }
}

impl Listener for Terminal {
    fn hear(&mut self, _: Timestamp, event: &Event) {
        match event {
            Event::PlanBegan {
                runs,
                complete,
                estimates_ms,
                ..
            } => {
                (self.runs, self.over) = (*runs, *complete);
                let estimates = estimates_ms.iter().map(|ms| ms.map(Duration::from_millis));
                self.clock = Clock::new(estimates);
                self.bar = Bar::begin(*runs, &self.clock);
            }
            Event::RunBegan { title, .. } => self.bar.at(self.over, title),
            Event::RunSkipped { .. } => {
                self.clock.skip();
                self.over += 1;
            }
            Event::RunEnded => {
                self.clock.end();
                self.over += 1;
            }
            // Nothing follows but words.
            Event::PlanEnded { .. } => self.bar = Bar::default(),
            _ => {}
        }
        match event {
            Event::Output { text, .. } => self.bar.print(&masked(text)),
            event => said(event, self.runs, &self.clock)
                .iter()
                .for_each(|line| self.line(line)),
        }
        if let Event::RunBegan { .. } = event {
            self.clock.begin();
        }
    }
}

/// What is said of an event.
fn said(event: &Event, runs: usize, clock: &Clock) -> Vec<String> {
    let one = |text: String| vec![text];
    match event {
        Event::Finding { text } => one(text.clone()),
        Event::RedisStarted { version, address } => {
            one(format!("redis    private {version} at {address}"))
        }
        Event::PlanBegan {
            complete,
            resumed: true,
            ..
        } => one(format!("going on: {complete} of {runs} runs are complete")),
        Event::NothingLeft { runs } => one(format!("all {runs} runs are complete")),
        Event::RunBegan {
            number,
            title,
            estimate_ms,
        } => {
            let time = match estimate_ms.map(|ms| words(Duration::from_millis(ms))) {
                Some(time) if runs > 1 => format!(" (about {time}; {} in all)", clock.shown()),
                Some(time) => format!(" (about {time})"),
                None => String::new(),
            };
            one(format!("\nrun {number} of {runs}: {title}{time}"))
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
        Event::NotJudged { verdict, title } => one(format!("verdict  {verdict}  {title}")),
        Event::RunFailed { text } => one(format!("         {text}")),
        Event::PreflightFailed => {
            one("preflight: it did not pass, so nothing else is run".to_owned())
        }
        Event::CoolingDown { ms } => one(format!(
            "cooling down for {}",
            words(Duration::from_millis(*ms))
        )),
        Event::PlanEnded {
            runs,
            verdicts,
            left,
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
            if *left > 0 {
                lines.push(format!(
                    "left     {left} in cycles without sound evidence; go on with: barrier-bench resume {folder}"
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
    lines
}
