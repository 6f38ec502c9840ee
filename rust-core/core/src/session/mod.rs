//! A process's side of the protocol, without a clock and without a socket.
//!
//! A session says what to send next and is told what came back, or that nothing did. The engine drives it over a real
//! store, the model test over one that loses requests, answers and its memory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem::take;
use std::sync::Arc;
use std::time::Instant;

use crate::error::Error;
use crate::ids::{Incarnation, Participant, Phase, ProcessId, Reason};
pub use crate::ledger::Answered;
use crate::ledger::{Batch, Decision, Ledger, Overdue, Report};
use crate::options::{BarrierOptions, Late, OnTimeout, Parties};
use crate::protocol::{
    BreakKind, Broken, Census, Counts, Micros, Op, Others, Release, StoreTime, Why,
};
use crate::ticket::Ticket;

#[cfg(test)]
mod again;
#[cfg(test)]
mod crossing;
mod exchange;
mod learn;
mod view;

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// The barrier is open; this phase was open at the time.
    Opened(Phase),
    /// The outcome that stands.
    Outcome(Answered),
    /// The same of an arrival whose release is spread: its call returns at this instant, in microseconds since the epoch on this
    /// process's clock.
    OutcomeAt(Answered, i64),
    /// The phase asked for is over.
    Over,
    /// The barrier is broken now, in this phase.
    BrokenNow(Phase),
    /// An abort came after the release of a one-shot barrier, in this phase, and did nothing.
    NothingToAbort(Phase),
}

/// What a session wants its driver to know.
#[derive(Debug)]
pub enum Event {
    /// A call ended.
    Done(Ticket, Result<Done, Error>),
    /// The end of a phase became known: let its waiters go at its instant.
    Released(Release),
    /// The barrier is broken: wake everyone.
    Broken,
    /// The store will not have the barrier any more: nobody will be released.
    Refused(Error),
    /// Others have written here: publish `hello`, and ask again with [`Session::ask_others_again`] or
    /// [`Session::give_up_on_others`].
    SayHello,
    /// Something that a user should read.
    Warn(String),
}

#[derive(Debug)]
enum Link {
    Down,
    MustOpen(Others),
    /// Records of others were found when the store's clock said this.
    AwaitOthers {
        since: StoreTime,
        released: bool,
    },
    Live,
    Refused(Error),
}

#[derive(Debug)]
struct End {
    /// Who waits for it: all who want the same end of the same phase.
    tickets: Vec<Ticket>,
    phase: Phase,
    op: Op,
    resend: bool,
}

#[derive(Debug)]
enum InFlight {
    Open(Others),
    Outcomes(Batch),
    End(Box<End>),
    Beat(Vec<(Ticket, Phase)>),
}

/// What a live session may have to send, in the order in which they have their turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Outcomes,
    End,
    Beat,
}

/// See the [module's](self) description.
#[derive(Debug)]
pub struct Session {
    process: ProcessId,
    options: Arc<BarrierOptions>,
    /// Those of the options, and of other openers.
    reasons: BTreeSet<Reason>,
    canonical: String,
    ledger: Ledger,
    link: Link,
    /// The process has been registered in the store: later opens are reopens.
    registered: bool,
    incarnation: Option<Incarnation>,
    /// Sent and not answered yet, in the order of sending, which is that of the answers.
    in_flight: VecDeque<InFlight>,
    opening: Vec<Ticket>,
    opened_at: Phase,
    ends: VecDeque<Box<End>>,
    expired: Vec<(Ticket, Phase)>,
    /// What was sent last: everything has its turn, whatever the load.
    last: Turn,
    beat_wanted: bool,
    closing: bool,
    releases: BTreeMap<Phase, Release>,
    broken: Option<Broken>,
    counts: Counts,
    /// Newest number of those who run, in all processes, and have no outcome in the open phase.
    owing: u32,
    /// What the store was told of who runs here; none where the answer to that is lost.
    told: Option<Census>,
    /// Reasons of failures in the phase before, whose counters this process looks after as well.
    failed_before: BTreeMap<String, u32>,
    late: u32,
    unnameable: bool,
    processes: u32,
    push_latency: Micros,
    gap_polls: u32,
    /// What the store was seen to have lost when the record was opened again because of that.
    lost: Option<Lost>,
}

/// What an answer that tells of a loss compares: what the store holds of the open phase and of leaves, and what it acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lost {
    open: Phase,
    held: (u32, u32),
    acknowledged: (u32, u32),
}

impl Session {
    /// A session that has no connection yet.
    #[must_use]
    pub fn new(process: ProcessId, options: impl Into<Arc<BarrierOptions>>) -> Self {
        let options = options.into();
        let mut ledger = Ledger::new(options.shared.cyclic).with_batches_of(options.batch_max);
        if let Parties::Running(_) = options.shared.parties {
            ledger = ledger.counting_running();
        }
        Self {
            process,
            canonical: options.shared.canonical(),
            ledger,
            link: Link::Down,
            registered: false,
            incarnation: None,
            in_flight: VecDeque::new(),
            opening: Vec::new(),
            opened_at: Phase(0),
            ends: VecDeque::new(),
            expired: Vec::new(),
            last: Turn::Beat,
            beat_wanted: false,
            closing: false,
            releases: BTreeMap::new(),
            broken: None,
            counts: Counts::default(),
            owing: 0,
            told: None,
            failed_before: BTreeMap::new(),
            late: 0,
            unnameable: false,
            processes: 0,
            push_latency: options.release_delay.map_or(Micros(0), Micros::from),
            gap_polls: 0,
            lost: None,
            reasons: options.reasons.clone(),
            options,
        }
    }

    // ---- what callers ask ----

    /// Somebody waits for the barrier to be open.
    pub fn open(&mut self, ticket: Ticket, events: &mut Vec<Event>) {
        match &self.link {
            Link::Refused(error) => events.push(Event::Done(ticket, Err(error.clone()))),
            _ if self.registered => {
                events.push(Event::Done(ticket, Ok(Done::Opened(self.opened_at))));
            }
            _ => self.opening.push(ticket),
        }
    }

    /// Another opener of this process counts failures of these reasons too: their counters exist from now on.
    pub fn add_reasons(&mut self, reasons: &BTreeSet<Reason>) {
        if reasons.is_subset(&self.reasons) {
            return;
        }
        self.reasons.extend(reasons.iter().cloned());
        if matches!(self.link, Link::Live) {
            self.link = Link::MustOpen(Others::Accept);
        }
    }

    /// Takes a participant's report. The ticket is redeemed where the answer is known at once.
    ///
    /// # Errors
    /// The barrier is broken, or another VU of this process claims the participant.
    pub fn report(
        &mut self,
        participant: &Participant,
        report: &Report,
        explicit: bool,
        ticket: Ticket,
    ) -> Result<Decision, Error> {
        if let Some(error) = self.refusal() {
            let _answered = ticket.redeem();
            return Err(error);
        }
        let parties = self.options.shared.parties.fixed();
        let nameable = explicit && parties.is_some_and(|n| participant.is_number_up_to(n));
        self.ledger.report(participant, report, nameable, ticket)
    }

    /// A participant runs from now on; nothing where the number of parties is fixed.
    pub fn begin(&mut self, participant: &Participant) {
        if !self.is_over() {
            self.ledger.begin(participant);
        }
    }

    /// It does not run any more.
    pub fn end_of(&mut self, participant: &Participant) {
        self.ledger.end(participant);
    }

    /// Whether the store does not know who runs here.
    fn owes_census(&self) -> bool {
        let census = self.ledger.census();
        census.is_some() && census != self.told && !self.is_over()
    }

    /// A wait for the phase has expired: expired once more, then does what `onTimeout` says.
    pub fn expire(&mut self, phase: Phase, ticket: Ticket, events: &mut Vec<Event>) {
        let phase = self.existing(phase);
        if let Some(known) = self.ending_of(phase) {
            events.push(Event::Done(ticket, known));
            return;
        }
        let op = match self.options.shared.on_timeout {
            OnTimeout::Throw => {
                self.expired.push((ticket, phase));
                return;
            }
            OnTimeout::Release => Op::Release(Why::Timeout),
            OnTimeout::Abort => Op::Abort {
                kind: BreakKind::Timeout,
                message: "a wait timed out".into(),
                only_phase: true,
            },
        };
        self.end(phase, op, ticket);
    }

    /// Releases the phase by hand.
    pub fn release_now(&mut self, phase: Phase, ticket: Ticket, events: &mut Vec<Event>) {
        let phase = self.existing(phase);
        if let Some(known) = self.ending_of(phase) {
            events.push(Event::Done(ticket, known));
        } else {
            self.end(phase, Op::Release(Why::Operator), ticket);
        }
    }

    /// Breaks the barrier for everyone.
    pub fn abort(&mut self, message: &str, ticket: Ticket, events: &mut Vec<Event>) {
        if let Some(broken) = &self.broken {
            events.push(Event::Done(ticket, Ok(Done::BrokenNow(broken.phase))));
            return;
        }
        let op = Op::Abort {
            kind: BreakKind::Abort,
            message: message.into(),
            only_phase: false,
        };
        self.end(self.ledger.open(), op, ticket);
    }

    /// A one-shot barrier has no phase after its first, even where a caller asks for it.
    fn existing(&self, phase: Phase) -> Phase {
        if self.options.shared.cyclic {
            phase
        } else {
            Phase(0)
        }
    }

    fn end(&mut self, phase: Phase, op: Op, ticket: Ticket) {
        let under_way = self.in_flight.iter_mut().filter_map(|sent| match sent {
            InFlight::End(end) => Some(end),
            _ => None,
        });
        let mut wanted = self.ends.iter_mut().chain(under_way);
        if let Some(same) = wanted.find(|end| end.phase == phase && end.op == op) {
            same.tickets.push(ticket);
            return;
        }
        self.ends.push_back(Box::new(End {
            tickets: vec![ticket],
            phase,
            op,
            resend: false,
        }));
    }

    /// Asks for news at the next opportunity.
    pub fn want_beat(&mut self) {
        self.beat_wanted = true;
    }

    /// The process ends, or lets go of the barrier: the next beat says so.
    pub fn close(&mut self) {
        self.closing = true;
        self.beat_wanted = true;
    }

    /// It stays after all.
    pub fn stay(&mut self) {
        self.closing = false;
        self.beat_wanted = true;
    }

    /// The barrier is over and nothing is owed: keeps what repeats, late ones and other processes may ask for.
    pub fn retire(&mut self) {
        self.ledger.retire();
        self.in_flight = VecDeque::new();
        self.opening = Vec::new();
        self.ends = VecDeque::new();
        self.expired = Vec::new();
    }

    /// The store does not hold the record any more that this process knows: it is opened anew.
    pub fn lost(&mut self) {
        if self.is_live() && self.in_flight.is_empty() {
            self.link = Link::MustOpen(Others::Accept);
        }
    }

    /// Takes out the calls that have waited long enough, and says when the next one of those left will have. Outcomes stand
    /// and are delivered all the same; what else is not on its way is not sent.
    pub fn take_overdue(&mut self, now: Instant, overdue: &mut Vec<Overdue>) -> Option<Instant> {
        let mut next = None;
        let mut wait = |ticket: &Ticket| {
            let late = ticket.is_overdue(now);
            if !late {
                next = next.into_iter().chain(ticket.until()).min();
            }
            late
        };
        let mut late: Vec<Ticket> = self.opening.extract_if(.., |t| wait(t)).collect();
        let mut beats = vec![&mut self.expired];
        let mut ends: Vec<&mut Box<End>> = self.ends.iter_mut().collect();
        for in_flight in &mut self.in_flight {
            match in_flight {
                InFlight::Beat(expired) => beats.push(expired),
                InFlight::End(end) => ends.push(end),
                InFlight::Open(_) | InFlight::Outcomes(_) => {}
            }
        }
        for expired in beats {
            late.extend(expired.extract_if(.., |(t, _)| wait(t)).map(|(t, _)| t));
        }
        for end in ends {
            late.extend(end.tickets.extract_if(.., |t| wait(t)));
        }
        self.ends.retain(|end| !end.tickets.is_empty());
        overdue.extend(late.into_iter().map(|ticket| Overdue {
            ticket,
            standing: None,
        }));
        let batches = self.in_flight.iter().filter_map(|sent| match sent {
            InFlight::Outcomes(batch) => Some(batch),
            _ => None,
        });
        let reports = self.ledger.take_overdue(batches, now, overdue);
        next.into_iter().chain(reports).min()
    }

    /// All calls that wait for anything: the engine closes.
    pub fn take_waiting(&mut self) -> Vec<Ticket> {
        let mut tickets = self.ledger.take_waiting();
        tickets.append(&mut self.opening);
        tickets.extend(take(&mut self.expired).into_iter().map(|(t, _)| t));
        tickets.extend(self.ends.drain(..).flat_map(|end| end.tickets));
        for in_flight in self.in_flight.drain(..) {
            match in_flight {
                InFlight::Beat(expired) => tickets.extend(expired.into_iter().map(|(t, _)| t)),
                InFlight::End(end) => tickets.extend(end.tickets),
                InFlight::Open(_) | InFlight::Outcomes(_) => {}
            }
        }
        tickets
    }

    /// A first open did not succeed this time; a later one may.
    pub fn fail_opening(&mut self, error: &Error, events: &mut Vec<Event>) {
        for ticket in self.opening.drain(..) {
            events.push(Event::Done(ticket, Err(error.clone())));
        }
    }

    // ---- the way to the record ----

    /// A connection is up: the record must be opened, then everything replayed.
    pub fn connected(&mut self) {
        if !matches!(self.link, Link::Refused(_)) {
            self.link = Link::MustOpen(if self.registered {
                Others::Accept
            } else {
                Others::Refuse
            });
        }
    }

    /// Others were found and `hello` was published: asks whether one of them has been heard of since.
    pub fn ask_others_again(&mut self) {
        if let Link::AwaitOthers { since, .. } = self.link {
            self.link = Link::MustOpen(Others::HeardAfter(since));
        }
    }

    /// None of the others answered: they are left-overs of an earlier run.
    pub fn give_up_on_others(&mut self, events: &mut Vec<Event>) {
        let Link::AwaitOthers { released, .. } = self.link else {
            return;
        };
        if released && self.options.late_is_explicit && self.options.shared.late == Late::Pass {
            self.link = Link::MustOpen(Others::Accept);
            return;
        }
        let run_id = self.options.run_id.as_ref().map_or("", |r| r.as_str());
        self.refuse(
            Error::Conflict(format!(
                "run id {run_id:?} holds left-overs of an earlier run for barrier {:?}, and none of its processes answers; \
                 give each run an id of its own (option runId or K6_BARRIER_RUN_ID), or wait for the keys to expire",
                self.options.name.as_str()
            )),
            events,
        );
    }

    /// The barrier cannot be opened, now and later.
    pub fn refuse(&mut self, error: Error, events: &mut Vec<Event>) {
        let owed = self.ledger.take_waiting();
        for ticket in self.opening.drain(..).chain(owed) {
            events.push(Event::Done(ticket, Err(error.clone())));
        }
        events.push(Event::Refused(error.clone()));
        self.link = Link::Refused(error);
    }

    // ---- what is known here ----

    /// How the phase ended, where this process knows.
    fn ending_of(&self, phase: Phase) -> Option<Result<Done, Error>> {
        if phase < self.ledger.open() {
            return Some(Ok(Done::Over));
        }
        self.refusal().map(Err)
    }

    /// Why no call can succeed any more.
    fn refusal(&self) -> Option<Error> {
        match &self.link {
            Link::Refused(error) => Some(error.clone()),
            _ => self.broken_error(),
        }
    }

    fn broken_error(&self) -> Option<Error> {
        self.broken.as_ref().map(|b| Error::Broken(broken_text(b)))
    }
}

fn broken_text(broken: &Broken) -> String {
    match broken.kind {
        BreakKind::Abort => format!("the barrier was aborted: {}", broken.message),
        BreakKind::MaxFailures => format!("the barrier is broken: {}", broken.message),
        BreakKind::Timeout => "the barrier was aborted because a wait timed out".into(),
    }
}
