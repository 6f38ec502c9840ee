//! A process's side of the protocol, without a clock and without a socket.
//!
//! A session says what to send next and is told what came back, or that nothing did. The engine drives it over a real
//! store, the model test over one that loses requests, answers and its memory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::error::Error;
use crate::ids::{Incarnation, Participant, Phase, ProcessId, Reason};
pub use crate::ledger::Answered;
use crate::ledger::{Batch, Decision, Ledger, Report, Token};
use crate::options::{BarrierOptions, Late, OnTimeout};
use crate::protocol::{BreakKind, Broken, Counts, Micros, Op, Others, Release, StoreTime, Why};

mod exchange;
mod learn;
mod view;

/// The token of an operation that nobody waits for.
pub const NOBODY: Token = 0;

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// The barrier is open; this phase was open at the time.
    Opened(Phase),
    /// The outcome that stands.
    Outcome(Answered),
    /// The phase asked for is over.
    Over,
    /// The barrier is broken now.
    BrokenNow,
    /// An abort came after the release of a one-shot barrier and did nothing.
    NothingToAbort,
}

/// What a session wants its driver to know.
#[derive(Debug)]
pub enum Event {
    /// A call ended.
    Done(Token, Result<Done, Error>),
    /// The end of a phase became known: let its waiters go at its instant.
    Released(Release),
    /// The barrier is broken: wake everyone.
    Broken,
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

#[derive(Debug, Clone)]
struct End {
    token: Token,
    phase: Phase,
    op: Op,
    resend: bool,
}

#[derive(Debug)]
enum InFlight {
    Open(Others),
    Outcomes(Batch),
    End(End),
    Beat(Vec<(Token, Phase)>),
}

/// See the [module's](self) description.
#[derive(Debug)]
pub struct Session {
    process: ProcessId,
    options: BarrierOptions,
    canonical: String,
    ledger: Ledger,
    link: Link,
    /// The process has been registered in the store: later opens are reopens.
    registered: bool,
    incarnation: Option<Incarnation>,
    /// Sent and not answered yet, in the order of sending, which is that of the answers.
    in_flight: VecDeque<InFlight>,
    opening: Vec<Token>,
    opened_at: Phase,
    ends: VecDeque<End>,
    expired: Vec<(Token, Phase)>,
    beat_wanted: bool,
    closing: bool,
    releases: BTreeMap<Phase, Release>,
    broken: Option<Broken>,
    counts: Counts,
    late: u32,
    unnameable: bool,
    processes: u32,
    push_latency: Micros,
    gap_polls: u32,
}

impl Session {
    /// A session that has no connection yet.
    #[must_use]
    pub fn new(process: ProcessId, options: BarrierOptions) -> Self {
        Self {
            process,
            canonical: options.shared.canonical(),
            ledger: Ledger::new(options.shared.cyclic).with_batches_of(options.batch_max),
            link: Link::Down,
            registered: false,
            incarnation: None,
            in_flight: VecDeque::new(),
            opening: Vec::new(),
            opened_at: Phase(0),
            ends: VecDeque::new(),
            expired: Vec::new(),
            beat_wanted: false,
            closing: false,
            releases: BTreeMap::new(),
            broken: None,
            counts: Counts::default(),
            late: 0,
            unnameable: false,
            processes: 0,
            push_latency: options.release_delay.map_or(Micros(0), Micros::from),
            gap_polls: 0,
            options,
        }
    }

    // ---- what callers ask ----

    /// Somebody waits for the barrier to be open.
    pub fn open(&mut self, token: Token, events: &mut Vec<Event>) {
        match &self.link {
            Link::Refused(error) => events.push(Event::Done(token, Err(error.clone()))),
            _ if self.registered => {
                events.push(Event::Done(token, Ok(Done::Opened(self.opened_at))));
            }
            _ => self.opening.push(token),
        }
    }

    /// Another opener of this process counts failures of these reasons too: their counters exist from now on.
    pub fn add_reasons(&mut self, reasons: &BTreeSet<Reason>) {
        if reasons.is_subset(&self.options.reasons) {
            return;
        }
        self.options.reasons.extend(reasons.iter().cloned());
        if matches!(self.link, Link::Live) {
            self.link = Link::MustOpen(Others::Accept);
        }
    }

    /// Takes a participant's report.
    ///
    /// # Errors
    /// The barrier is broken, or another VU of this process claims the participant.
    pub fn report(
        &mut self,
        participant: &Participant,
        report: &Report,
        explicit: bool,
        token: Token,
    ) -> Result<Decision, Error> {
        if let Some(error) = self.refusal() {
            return Err(error);
        }
        let nameable = explicit && participant.is_number_up_to(self.options.shared.parties);
        self.ledger.report(participant, report, nameable, token)
    }

    /// A wait for the phase has expired: expired once more, then does what `onTimeout` says.
    pub fn expire(&mut self, phase: Phase, token: Token, events: &mut Vec<Event>) {
        let phase = self.existing(phase);
        if let Some(known) = self.ending_of(phase) {
            events.push(Event::Done(token, known));
            return;
        }
        let op = match self.options.shared.on_timeout {
            OnTimeout::Throw => {
                self.expired.push((token, phase));
                return;
            }
            OnTimeout::Release => Op::Release(Why::Timeout),
            OnTimeout::Abort => Op::Abort {
                kind: BreakKind::Timeout,
                message: "a wait timed out".into(),
                only_phase: true,
            },
        };
        self.end(phase, op, token);
    }

    /// Releases the phase by hand.
    pub fn release_now(&mut self, phase: Phase, token: Token, events: &mut Vec<Event>) {
        let phase = self.existing(phase);
        if let Some(known) = self.ending_of(phase) {
            events.push(Event::Done(token, known));
        } else {
            self.end(phase, Op::Release(Why::Operator), token);
        }
    }

    /// Breaks the barrier for everyone.
    pub fn abort(&mut self, message: &str, token: Token, events: &mut Vec<Event>) {
        if self.broken.is_some() {
            events.push(Event::Done(token, Ok(Done::BrokenNow)));
            return;
        }
        let op = Op::Abort {
            kind: BreakKind::Abort,
            message: message.into(),
            only_phase: false,
        };
        self.end(self.ledger.open(), op, token);
    }

    /// A one-shot barrier has no phase after its first, even where a caller asks for it.
    fn existing(&self, phase: Phase) -> Phase {
        if self.options.shared.cyclic {
            phase
        } else {
            Phase(0)
        }
    }

    fn end(&mut self, phase: Phase, op: Op, token: Token) {
        self.ends.push_back(End {
            token,
            phase,
            op,
            resend: false,
        });
    }

    /// Asks for news at the next opportunity.
    pub fn want_beat(&mut self) {
        self.beat_wanted = true;
    }

    /// The process ends: the next beat says so.
    pub fn close(&mut self) {
        self.closing = true;
        self.beat_wanted = true;
    }

    /// The caller of [`Session::report`] no longer waits; the outcome stands and is delivered all the same.
    pub fn forget_report(&mut self, participant: &Participant, token: Token) -> Option<Answered> {
        self.ledger.forget(participant, token)
    }

    /// The caller of any other operation no longer waits: true where it did. What is not on its way is not sent.
    pub fn forget(&mut self, token: Token) -> bool {
        let before = self.opening.len() + self.expired.len() + self.ends.len();
        self.opening.retain(|t| *t != token);
        self.expired.retain(|(t, _)| *t != token);
        self.ends.retain(|end| end.token != token);
        let mut found = before > self.opening.len() + self.expired.len() + self.ends.len();
        for in_flight in &mut self.in_flight {
            match in_flight {
                InFlight::Beat(expired) => {
                    let before = expired.len();
                    expired.retain(|(t, _)| *t != token);
                    found |= expired.len() < before;
                }
                InFlight::End(end) if end.token == token => {
                    end.token = NOBODY;
                    found = true;
                }
                _ => {}
            }
        }
        found
    }

    /// All tokens that wait for anything: the engine closes.
    pub fn take_waiting(&mut self) -> Vec<Token> {
        let mut tokens = self.ledger.take_waiting();
        tokens.append(&mut self.opening);
        tokens.extend(self.expired.drain(..).map(|(t, _)| t));
        tokens.extend(self.ends.drain(..).map(|e| e.token));
        for in_flight in self.in_flight.drain(..) {
            match in_flight {
                InFlight::Beat(expired) => tokens.extend(expired.into_iter().map(|(t, _)| t)),
                InFlight::End(end) => tokens.push(end.token),
                InFlight::Open(_) | InFlight::Outcomes(_) => {}
            }
        }
        tokens.retain(|t| *t != NOBODY);
        tokens
    }

    /// A first open did not succeed this time; a later one may.
    pub fn fail_opening(&mut self, error: &Error, events: &mut Vec<Event>) {
        for token in self.opening.drain(..) {
            events.push(Event::Done(token, Err(error.clone())));
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
        for token in self.opening.drain(..) {
            events.push(Event::Done(token, Err(error.clone())));
        }
        self.link = Link::Refused(error);
    }

    // ---- what is known here ----

    /// How the phase ended, where this process knows.
    fn ending_of(&self, phase: Phase) -> Option<Result<Done, Error>> {
        if phase < self.ledger.open() {
            return Some(Ok(Done::Over));
        }
        self.broken_error().map(Err)
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
