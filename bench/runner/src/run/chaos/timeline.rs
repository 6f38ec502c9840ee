//! The faults of a run in their time. Nothing here waits: whoever waits for k6 asks when the next step is due, and takes it.

use std::time::{Duration, Instant};

use barrier_procs::Identity;

use super::going::{Act, Going, POLL, State, Work, limit, started};
use super::journal::{Entry, Journal, Undo};
use super::undo::{PUT, begin_put};
use crate::events::{Event, Stream};
use crate::evidence::Folder;
use crate::plan::PlannedRun;
use crate::run::inbox::{Inbox, Needs};
use crate::run::monitor::Processes;
use crate::run::targets::Targets;
use crate::suite::Suite;
use crate::suite::chaos::After;
use crate::suite::faults::of_scenario;
use crate::suite::quick::Shares;
use crate::suite::schema::TargetTable;
use crate::values::address::is_here;
use crate::values::mask::masked;
use crate::verdict::chaos::{End, FILE, Faults};
use crate::verdict::facts::Cause;

/// Between two attempts at taking a fault back.
const AGAIN: Duration = Duration::from_millis(500);
/// For so long it is tried.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a program may take to end by the signal that it got.
const ENDS_WITHIN: Duration = Duration::from_secs(30);
/// The faults of a run.
pub(crate) struct Timeline<'a> {
    suite: &'a Suite,
    run: &'a PlannedRun<'a>,
    folder: &'a Folder,
    stream: &'a Stream,
    targets: &'a mut Targets,
    needs: Needs,
    processes: &'a Processes,
    journal: Option<Journal>,
    began: Option<Instant>,
    /// Why nothing is injected any more.
    ending: Option<End>,
    faults: Vec<Going<'a>>,
}

/// What a timeline is made of.
pub(crate) struct Parts<'a> {
    pub(crate) suite: &'a Suite,
    pub(crate) run: &'a PlannedRun<'a>,
    pub(crate) quick: bool,
    pub(crate) folder: &'a Folder,
    pub(crate) stream: &'a Stream,
    pub(crate) targets: &'a mut Targets,
    pub(crate) needs: Needs,
    pub(crate) processes: &'a Processes,
}

impl<'a> Timeline<'a> {
    /// The faults of a run that is about to begin; everything that they need is looked for now.
    ///
    /// # Errors
    /// A text takes a variable without a value, a program or an address is not there or not allowed, or the journal cannot be used.
    pub(crate) fn new(parts: Parts<'a>) -> anyhow::Result<Self> {
        let Parts {
            suite,
            run,
            quick,
            folder,
            stream,
            targets,
            needs,
            processes,
        } = parts;
        let shares = Shares::of(&suite.file, quick);
        let faults = of_scenario(&suite.file, run.scenario.id.get_ref())
            .map(|table| Going::new(suite, run, table, shares))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let journal = if faults.is_empty() {
            None
        } else {
            Some(Journal::open()?)
        };
        Ok(Self {
            suite,
            run,
            folder,
            stream,
            targets,
            needs,
            processes,
            journal,
            began: None,
            ending: None,
            faults,
        })
    }

    /// The instant from which faults are reckoned.
    pub(crate) fn begin(&mut self) {
        self.began = Some(Instant::now());
        for fault in &mut self.faults {
            let millis = |time: Duration| i64::try_from(time.as_millis()).ok();
            fault.record.began_ms = Some(now_ms());
            fault.record.at_ms = millis(fault.times.at);
            fault.record.hold_ms = millis(fault.times.hold);
        }
    }

    /// When the next step is to be taken; `None` where there is none.
    pub(crate) fn due(&self) -> Option<Instant> {
        let began = self.began?;
        let steps = self.faults.iter();
        steps.filter_map(|fault| fault.due(began)).min()
    }

    /// Takes the steps that are due.
    pub(crate) fn act(&mut self, inbox: Option<&Inbox>) {
        for number in 0..self.faults.len() {
            self.step(number, inbox);
        }
    }

    /// k6 is asked to end, so nothing is injected any more, and what is there is taken back at once.
    pub(crate) fn ending(&mut self, cause: Cause, inbox: Option<&Inbox>) {
        let why = match cause {
            Cause::Interrupt => End::Interrupted,
            Cause::Own | Cause::Limit | Cause::TargetEnded | Cause::TargetGone => End::RunEnded,
        };
        self.ending.get_or_insert(why);
        self.act(inbox);
    }

    /// Takes back what is still there, waits for that, and keeps what became of all faults.
    pub(crate) fn end(&mut self) {
        if self.faults.is_empty() {
            return;
        }
        self.ending.get_or_insert(End::RunEnded);
        loop {
            self.act(None);
            if self.faults.iter().all(Going::is_over) {
                break;
            }
            // Each step has a bound of its own; a signal does not keep a fault from being taken back.
            std::thread::sleep(POLL);
        }
        let mut faults = Vec::new();
        for mut fault in self.faults.drain(..) {
            if let Some(reader) = fault.reader.take() {
                fault.record.expected = Some(reader.seen());
            }
            faults.push(fault.record);
        }
        // A failure is among the faults of the folder.
        let _ = self.folder.write_json(FILE, &Faults(faults).record());
    }

    fn step(&mut self, number: usize, inbox: Option<&Inbox>) {
        let now = Instant::now();
        let (Some(began), Some(fault)) = (self.began, self.faults.get_mut(number)) else {
            // Before k6 ran there is nothing to take back.
            if let Some(fault) = self.faults.get_mut(number) {
                fault.state = State::Over;
            }
            return;
        };
        match &mut fault.state {
            State::Waiting if self.ending.is_some() => fault.state = State::Over,
            State::Waiting if now >= began + fault.times.at => {
                if !self.is_busy(number) {
                    self.inject(number);
                }
            }
            State::Injecting(work, deadline) => {
                let late = now >= *deadline;
                let done = match (work, &fault.inject) {
                    (Work::None, Act::End(target, _)) => {
                        let target = self.targets.named(target);
                        target
                            .is_none_or(|target| target.has_ended())
                            .then_some(Ok(()))
                    }
                    (work, _) => work.ended(&fault.last),
                };
                match done {
                    Some(Ok(())) => self.injected(number),
                    Some(Err(why)) => self.failed(number, &why),
                    None if late => self.failed(number, "it was not injected within its time"),
                    None => {}
                }
            }
            State::Holding(until) => {
                if let Some(end) = self.ending.or((now >= *until).then_some(End::Held)) {
                    self.take_back(number, end);
                }
            }
            State::Undoing { next, .. } if now >= *next => self.look(number, inbox),
            State::Looking(until) => {
                if now >= *until || self.ending.is_some() {
                    if let Some(reader) = &fault.reader {
                        reader.end();
                    }
                    fault.state = State::Over;
                }
            }
            State::Waiting | State::Undoing { .. } | State::Over => {}
        }
    }

    /// Whether the switches of this fault are being changed for another one: two requests at once may come in either order.
    fn is_busy(&self, number: usize) -> bool {
        let url = |fault: &Going<'_>| match &fault.undo {
            Undo::Put { url, .. } => Some(url.clone()),
            Undo::WithRunner | Undo::Command { .. } => None,
        };
        let Some(own) = self.faults.get(number).and_then(url) else {
            return false;
        };
        let mut under_way = self
            .faults
            .iter()
            .filter(|fault| matches!(fault.state, State::Injecting(..) | State::Undoing { .. }));
        under_way.any(|fault| url(fault).as_ref() == Some(&own))
    }

    /// Writes down what takes the fault back, then injects it.
    fn inject(&mut self, number: usize) {
        let gone_with = self.gone_with(number);
        let Some(fault) = self.faults.get_mut(number) else {
            return;
        };
        let id = fault.table.id.get_ref();
        let suite = self.suite.file.suite.id.as_str();
        let entry = Entry::new(suite, self.folder.path(), id, fault.undo.clone(), gone_with);
        let kept = entry.and_then(|entry| match &self.journal {
            Some(journal) => journal.write(entry),
            None => anyhow::bail!("there is no journal"),
        });
        match kept {
            Ok(kept) => fault.kept = Some(kept),
            Err(error) => {
                fault.record.error = Some(masked(&format!("{error:#}")));
                fault.record.end = End::Failed;
                fault.state = State::Over;
                return;
            }
        }
        fault.record.inject_ms = Some(now_ms());
        let now = Instant::now();
        let done = match &fault.inject {
            Act::End(target, signal) => {
                if let Some(target) = self.targets.named(target) {
                    // Its end is meant, and no reason to end the run.
                    target
                        .process()
                        .into_iter()
                        .for_each(|id| self.needs.remove(id));
                    target.end_by(*signal);
                }
                fault.state = State::Injecting(Work::None, now + ENDS_WITHIN);
                return;
            }
            Act::Disturb(proxy) => {
                let how = fault.table.how.as_ref().map(|how| *how.get_ref());
                match self.targets.proxies().of(proxy) {
                    Some(proxy) => {
                        proxy.disturb(how.unwrap_or_default());
                        Ok(())
                    }
                    None => Err(format!("there is no proxy {proxy}")),
                }
            }
            // Other faults have their time meanwhile.
            Act::Put { url, body } => match begin_put(url, body) {
                Ok(answer) => {
                    fault.state = State::Injecting(Work::Put(answer), now + 2 * PUT);
                    return;
                }
                Err(why) => Err(why),
            },
            Act::Run(undo) => match started(id, undo, &fault.last) {
                Ok(process) => {
                    fault.state =
                        State::Injecting(Work::Command(process), now + limit(fault.table));
                    return;
                }
                Err(why) => Err(why),
            },
        };
        match done {
            Ok(()) => self.injected(number),
            Err(why) => self.failed(number, &why),
        }
    }

    /// The fault is there, as is known now.
    fn injected(&mut self, number: usize) {
        let ending = self.ending;
        let Some(fault) = self.faults.get_mut(number) else {
            return;
        };
        if let State::Injecting(Work::Command(process), _) =
            std::mem::replace(&mut fault.state, State::Waiting)
        {
            fault.holds = Some(process);
        }
        fault.record.injected_ms = Some(now_ms());
        fault.state = State::Holding(Instant::now() + fault.times.hold);
        if ending.is_none() {
            fault.look_on(After::Inject);
        }
        self.tell(number, "is injected");
    }

    /// It could not be injected as it should have been; what there is of it is taken back.
    fn failed(&mut self, number: usize, why: &str) {
        if let Some(fault) = self.faults.get_mut(number) {
            fault.record.error = Some(masked(&format!("it could not be injected: {why}")));
            fault.late = matches!(fault.inject, Act::Put { .. });
            self.take_back(number, End::Failed);
        }
    }

    /// Begins to take it back.
    fn take_back(&mut self, number: usize, end: End) {
        let Some(fault) = self.faults.get_mut(number) else {
            return;
        };
        fault.record.end = end;
        fault.record.undo_ms = Some(now_ms());
        if let Some(reader) = &fault.reader {
            // Who answers from now on may do so because the fault is gone.
            reader.end();
        }
        let now = Instant::now();
        let mut deadline = now + PATIENCE.max(limit(fault.table));
        if let Act::End(target, _) = &fault.inject
            && let Some(table) = table_of(self.suite, target)
        {
            deadline = now + table.ready.limit;
            let again = match self.targets.named(target) {
                Some(target) => target.again(table, self.folder),
                None => Ok(0),
            };
            if let Err(error) = again {
                fault.stays(&format!("{error:#}"));
                return;
            }
        }
        fault.state = State::Undoing {
            work: Work::None,
            deadline,
            next: now,
        };
        self.step(number, None);
    }

    /// Whether it is gone by now; tries once more where it is not.
    fn look(&mut self, number: usize, inbox: Option<&Inbox>) {
        let Some(fault) = self.faults.get_mut(number) else {
            return;
        };
        let id = fault.table.id.get_ref();
        let State::Undoing {
            work,
            deadline,
            next,
        } = &mut fault.state
        else {
            return;
        };
        let now = Instant::now();
        let done = match (&fault.inject, &fault.undo) {
            (Act::End(target, _), _) => {
                let table = table_of(self.suite, target);
                let target = self.targets.named(target);
                *next = now + POLL;
                Some(match (target, table) {
                    (Some(target), Some(table)) => target.answers_again(table),
                    _ => Ok(()),
                })
            }
            (Act::Disturb(proxy), _) => {
                self.targets
                    .proxies()
                    .of(proxy)
                    .into_iter()
                    .for_each(super::proxy::Proxy::heal);
                Some(Ok(()))
            }
            (_, undo) => {
                *next = now + POLL;
                if let Work::None = work {
                    let begun = match undo {
                        Undo::Put { url, body } => begin_put(url, body).map(Work::Put),
                        undo => started(id, undo, &fault.last).map(Work::Command),
                    };
                    begun.map_or_else(
                        |why| Some(Err(why)),
                        |begun| {
                            *work = begun;
                            None
                        },
                    )
                } else {
                    let done = work.ended(&fault.last);
                    if done.is_some() {
                        *work = Work::None;
                        *next = now + AGAIN;
                    }
                    // What was asked for too long ago may have come in between.
                    done.filter(|done| done.is_err() || !std::mem::take(&mut fault.late))
                }
            }
        };
        let deadline = *deadline;
        match done {
            Some(Ok(())) => self.undone(number, inbox),
            Some(Err(why)) if now >= deadline => fault.stays(&why),
            None if now >= deadline => {
                fault.stays("what takes it back did not end within its time");
            }
            Some(Err(_)) | None => {}
        }
        if let Some(fault) = self.faults.get(number)
            && fault.is_over()
            && fault.record.undone_ms.is_none()
        {
            self.tell(number, "could not be taken back");
        }
    }

    /// The fault is there no more, as is known now.
    fn undone(&mut self, number: usize, inbox: Option<&Inbox>) {
        let ending = self.ending;
        let Some(fault) = self.faults.get_mut(number) else {
            return;
        };
        // After what takes it back, which may need what holds it.
        fault.holds = None;
        fault.record.undone_ms = Some(now_ms());
        if let Some(kept) = fault.kept.take() {
            kept.settle();
        }
        if let Act::End(target, _) = &fault.inject {
            let own = self.run.target.id == *target;
            if let Some(target) = self.targets.named(target)
                && let Some(id) = target.process()
            {
                self.needs.add(id);
                if let Some(inbox) = inbox {
                    target.watch(inbox);
                }
                let name = if own { "target" } else { target.id() };
                self.processes.add(name, id);
            }
        }
        if ending.is_none() && fault.look_on(After::Undo) {
            let expect = fault.table.expect.as_ref().map(|expect| expect.get_ref());
            let within =
                expect.and_then(|expect| expect.first_good_within.max(expect.steady_within));
            let long = within.unwrap_or_default().max(fault.times.settle);
            fault.state = State::Looking(Instant::now() + long + POLL);
        } else {
            fault.state = State::Over;
        }
        self.tell(number, "is taken back");
    }

    /// What a fault goes with: where the runner has started all targets, all of them, if the fault is in one of this machine.
    fn gone_with(&self, number: usize) -> Vec<Identity> {
        let fault = self.faults.get(number);
        let here = match fault.map(|fault| &fault.undo) {
            Some(Undo::Put { url, .. }) => is_here(url),
            _ => false,
        };
        let own = self.run.targets().iter().all(|target| target.is_started());
        if !here || !own {
            return Vec::new();
        }
        let processes = self.targets.processes().into_iter();
        processes.filter_map(|id| Identity::of(id).ok()).collect()
    }

    fn tell(&self, number: usize, what: &str) {
        let (Some(fault), Some(began)) = (self.faults.get(number), self.began) else {
            return;
        };
        let after = began.elapsed().as_secs_f64();
        let error = fault.record.error.as_ref();
        let error = error.map_or_else(String::new, |why| format!(": {why}"));
        let text = format!(
            "chaos    {} {what}, {after:.1} s after the start{error}",
            fault.record.id
        );
        self.stream.tell(Event::Finding { text });
    }
}

/// Also where something else went wrong.
impl Drop for Timeline<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

fn table_of<'s>(suite: &'s Suite, target: &str) -> Option<&'s TargetTable> {
    suite.file.target.iter().find(|table| table.id == target)
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
