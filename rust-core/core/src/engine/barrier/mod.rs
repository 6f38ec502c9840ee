//! One barrier of this process: its session, its store or the way there, and who waits for what.

mod backend;
#[cfg(test)]
mod beats;
mod life;
mod release;
mod roll;
mod spread;
mod state;
mod status;
mod tenant;
mod waiting;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use crate::clock::wall_micros;
use crate::error::Error;
use crate::ids::{Participant, Phase, ProcessId, Reason};
use crate::ledger::{Answered, Decision, Report};
use crate::options::BarrierOptions;
use crate::panics::guarded;
use crate::protocol::StoreTime;
use crate::session::{Done, Event, Session};
use crate::store::memory::RELEASES_KEPT;
use crate::store::redis::Scripts;
use crate::ticket::{Ticket, Token};

use super::context::Context;
use super::deadlines::Waits;
use super::log::Level;
use super::net::{Hub, Tenant};
use super::news::Emission;

use backend::{Backend, Remote};
use release::Held;
pub(super) use roll::Roll;
pub use roll::{OVER_BYTES_MAX, OVER_MAX, Tally};
use state::State;
pub(super) use status::ms;
pub use status::{BrokenBy, BrokenInfo, ReleaseInfo, Status};
pub use waiting::{Arrival, Limit};

/// How long the last look at the store may take when a wait expires. Hosts allow for 2 s: this answer, which says what is
/// wrong with the store, comes before they give up.
const LOOK_TIMEOUT: Duration = Duration::from_millis(1500);
/// How long live processes may take to answer a greeting.
pub(super) const HELLO_TIMEOUT: Duration = Duration::from_secs(2);
const HELLO_POLL: Duration = Duration::from_millis(100);
const BEAT_MAX: Duration = Duration::from_secs(5);

/// What a caller asks of a barrier.
#[derive(Debug)]
pub enum Call {
    /// A participant's report.
    Report {
        /// Who.
        participant: Participant,
        /// What.
        report: Report,
        /// The id was given by the script rather than derived from the VU.
        explicit: bool,
    },
    /// A participant arrives, and waits for the release of the phase of its arrival. Where all is as expected it is not
    /// completed: the news of the release is for it too.
    ArriveAndWait {
        /// Who.
        participant: Participant,
        /// Who makes the call.
        owner: u64,
        /// The id was given by the script rather than derived from the VU.
        explicit: bool,
        /// How long: it ends with [`Error::Timeout`].
        limit: Limit,
    },
    /// The same without an arrival; [`Done::Over`] at once where the news has been told already. Of a spread release a
    /// participant that has arrived is let go at its own instant, which a completion tells.
    Wait(Phase, Option<Participant>, Limit),
    /// A participant runs from now on, or does not run any more, where the parties are those who do.
    Runs(Participant, bool),
    /// A wait for the phase has expired.
    Expire(Phase),
    /// Release the phase by hand.
    ReleaseNow(Phase),
    /// Break the barrier, with this message.
    Abort(String),
    /// Deliver what is owed, and let go of the barrier in this process.
    Close,
}

/// The answer to a call.
#[derive(Debug)]
pub enum Submitted {
    /// It is done.
    Done(Result<Done, Error>),
    /// The answer comes by the token; for a report, what the ledger holds until then.
    Pending(Option<Answered>),
    /// The arrival is acknowledged, and the call waits: for the news of the release, or for what comes by the token.
    Waits(Answered),
}

/// One barrier of this process: its session, its store or the way there, and who waits for what.
pub struct Barrier {
    handle: OnceLock<u64>,
    options: Arc<BarrierOptions>,
    state: Mutex<State>,
    /// Held by whoever tells the host, so that what is told keeps its order. Nobody waits for it with the state locked.
    telling: Mutex<()>,
    backend: Backend,
    queued: AtomicBool,
    /// When it retired, by the roll's count; 0 before.
    stamp: AtomicU64,
    context: Arc<Context>,
    me: Weak<Self>,
}

impl Barrier {
    pub(super) fn new(
        options: Arc<BarrierOptions>,
        hub: Option<Arc<Hub>>,
        context: &Arc<Context>,
    ) -> Arc<Self> {
        let process = hub
            .as_ref()
            .map_or_else(ProcessId::random, |hub| hub.process().clone());
        let mut session = Session::new(process, Arc::clone(&options));
        let backend = match hub {
            Some(hub) => Backend::Redis(Remote {
                hub,
                scripts: Arc::new(Scripts::new(&options)),
            }),
            None => {
                session.connected();
                Backend::Memory(Box::default())
            }
        };
        let barrier = Arc::new_cyclic(|me| Self {
            handle: OnceLock::new(),
            options,
            state: Mutex::new(State::new(session)),
            telling: Mutex::new(()),
            backend,
            queued: AtomicBool::new(false),
            stamp: AtomicU64::new(0),
            context: Arc::clone(context),
            me: me.clone(),
        });
        if let Some(remote) = barrier.backend.remote() {
            let tenant: Arc<dyn Tenant> = Arc::clone(&barrier) as _;
            remote.hub.attach(&tenant);
        }
        barrier
    }

    /// The host's number for the barrier, set once before anything else is asked.
    pub fn handle_or_init(&self, make: impl FnOnce() -> u64) -> u64 {
        *self.handle.get_or_init(make)
    }

    /// The host's number for the barrier.
    #[must_use]
    pub fn handle(&self) -> u64 {
        self.handle.get().copied().unwrap_or_default()
    }

    /// What it was opened with first.
    #[must_use]
    pub fn options(&self) -> &BarrierOptions {
        &self.options
    }

    /// Another opener of this process counts failures of these reasons too.
    pub(super) fn add_reasons(&self, reasons: &BTreeSet<Reason>) {
        let added = guarded(|| {
            let mut state = self.state.lock();
            state.session.add_reasons(reasons);
            self.go_on(&mut state, Vec::new(), None);
            self.tell(state);
        });
        if let Err(message) = added {
            self.caught(&message);
        }
    }

    /// A panic on a caller's thread is a bug as one of a task is: nobody is left waiting.
    fn caught(&self, message: &str) -> Error {
        let error = self.context.bug(message);
        self.give_up(&error);
        error
    }

    fn caught_call(&self, body: impl FnOnce() -> Submitted) -> Submitted {
        guarded(body).unwrap_or_else(|message| Submitted::Done(Err(self.caught(&message))))
    }

    /// The way to its record, of a barrier that has its record elsewhere; only such a one shares a connection.
    fn remote(&self) -> &Remote {
        self.backend
            .remote()
            .expect("a tenant has its record in Redis")
    }

    // ---- calls ----

    /// Opens the barrier in its store; the token completes when that is done.
    pub fn open(&self, token: Token) -> Submitted {
        self.caught_call(|| self.open_for(token))
    }

    fn open_for(&self, token: Token) -> Submitted {
        let mut state = self.state.lock();
        state.stirred_at = Instant::now();
        if state.gone {
            return Submitted::Done(Err(Error::Gone));
        }
        if !state.closers.is_empty() {
            // Their time is limited, and so is the wait for what becomes of it.
            state.openers.push(self.context.ticket(token, None));
            return Submitted::Pending(None);
        }
        let mut events = Vec::new();
        let ticket = self.ticket(token, self.options.connect_timeout + HELLO_TIMEOUT);
        let due = ticket.until();
        state.session.open(ticket, &mut events);
        if let (Some(remote), false) = (self.backend.remote(), state.session.is_registered()) {
            remote.hub.ask();
            self.wake_hub();
            self.appoint(&mut state, due);
        }
        let submitted = self.go_on(&mut state, events, Some((token, None)));
        self.tell(state);
        submitted
    }

    /// Takes a call. Never blocks. After a panic the call may have been answered already: hosts take the first answer.
    pub fn submit(&self, call: Call, token: Token) -> Submitted {
        self.caught_call(|| self.take(call, token))
    }

    fn take(&self, call: Call, token: Token) -> Submitted {
        let mut state = self.state.lock();
        let closes = matches!(call, Call::Close);
        if state.gone || !state.closers.is_empty() && !closes {
            return Submitted::Done(Err(Error::Gone));
        }
        if state.session.is_over() {
            state.stirred_at = Instant::now();
        }
        if closes {
            return self.let_go(state, self.ticket(token, self.options.op_timeout));
        }
        let submitted = self.carry_out(&mut state, call, token);
        self.tell(state);
        submitted
    }

    fn carry_out(&self, state: &mut State, call: Call, token: Token) -> Submitted {
        let mut events = Vec::new();
        let mut due = None;
        let mut ticket = |limit| {
            let ticket = self.ticket(token, limit);
            due = ticket.until();
            ticket
        };
        let look = self.options.op_timeout.min(LOOK_TIMEOUT);
        let mut standing = None;
        match call {
            Call::ArriveAndWait {
                participant,
                owner,
                explicit,
                limit,
            } => {
                let arrival = Report::Arrive { owner };
                return self.arrive_and_wait(state, &participant, &arrival, explicit, limit, token);
            }
            Call::Wait(phase, participant, limit) => {
                return self.wait(state, phase, participant.as_ref(), limit, token);
            }
            Call::Report {
                participant,
                report,
                explicit,
            } => {
                let ticket = ticket(self.options.op_timeout);
                match state
                    .session
                    .report(&participant, &report, explicit, ticket)
                {
                    Err(error) => return Submitted::Done(Err(error)),
                    Ok(Decision::Now(answered)) => return self.known(state, token, answered),
                    Ok(Decision::Later(answered)) => standing = Some(answered),
                }
            }
            Call::Runs(participant, begins) => {
                if begins {
                    state.session.begin(&participant);
                } else {
                    state.session.end_of(&participant);
                }
                self.go_on(state, events, None);
                return Submitted::Done(Ok(Done::Over));
            }
            Call::Expire(phase) => state.session.expire(phase, ticket(look), &mut events),
            Call::ReleaseNow(phase) => {
                state.session.release_now(phase, ticket(look), &mut events);
            }
            Call::Abort(message) => state.session.abort(&message, ticket(look), &mut events),
            Call::Close => {} // does not come here
        }
        self.appoint(state, due);
        self.go_on(state, events, Some((token, standing)))
    }

    /// The outcome stood already: nobody is asked.
    fn known(&self, state: &mut State, token: Token, answered: Answered) -> Submitted {
        match state.now_or_held(self.context.ticket(token, None), answered) {
            Held::Now(ticket, answered) => {
                let _answered = ticket.redeem();
                Submitted::Done(Ok(Done::Outcome(answered)))
            }
            Held::Later(answered) => Submitted::Pending(Some(answered)),
        }
    }

    /// A store in this process answers at once: only another one can be late.
    fn ticket(&self, token: Token, limit: Duration) -> Ticket {
        let until = self.backend.remote().map(|_| Instant::now() + limit);
        self.context.ticket(token, until)
    }

    /// Sees to it that somebody looks when a call that is due then has not been answered.
    fn appoint(&self, state: &mut State, due: Option<Instant>) {
        let Some(due) = due else {
            return;
        };
        if state.overdue_at.is_none_or(|at| due < at) {
            state.overdue_at = Some(due);
            let me: Weak<dyn Waits> = self.me.clone();
            self.context.deadlines.at(due, me);
        }
    }

    /// Who is missing, in JSON, under the token.
    pub fn missing(&self, limit: usize, token: Token) {
        let timeout = self.options.op_timeout;
        let me = self.me.clone();
        self.context.answer(token, async move {
            let me = me.upgrade().ok_or(Error::Closed)?;
            let missing = me.backend.missing(limit, timeout).await?;
            serde_json::to_string(&missing).map_err(|e| Error::Bug(e.to_string()))
        });
    }

    /// What is known here, without asking the store.
    #[must_use]
    pub fn status(&self) -> Status {
        let state = self.state.lock();
        let coming = self.coming(&state); // it reads the clock, which is locked from here on
        let clock = self.backend.remote().map(|remote| remote.hub.clock());
        Status::of(&state, &self.options, clock.as_deref(), coming)
    }

    /// How the phase was released, once its instant has come, or its users have been told theirs; of the newest 16 phases.
    #[must_use]
    pub fn release_info(&self, phase: Phase) -> Option<ReleaseInfo> {
        let state = self.state.lock();
        if let Some(info) = state.announced.get(&phase) {
            return Some(info.clone());
        }
        let newest = state.fired.keys().next_back()?;
        if phase.0 + RELEASES_KEPT <= newest.0 {
            return None; // a later one's would be another
        }
        // A phase whose own release was never heard of ended with the next one that was.
        state.fired.range(phase..).next().map(|(_, r)| r.clone())
    }

    // ---- the store's side ----

    /// Goes on after a change: with a store in this process to the end, else by asking the hub for a turn where it has
    /// something to send. It asks by itself after each answer, and now and then.
    fn go_on(
        &self,
        state: &mut State,
        mut events: Vec<Event>,
        own: Option<(Token, Option<Answered>)>,
    ) -> Submitted {
        let mut news = Vec::new();
        if let Backend::Memory(store) = &self.backend {
            let mut store = store.lock();
            let mut pushes = Vec::new();
            while let Some(request) = state.session.next_request() {
                let now = StoreTime(wall_micros());
                let reply = store.apply(&request, now, &mut pushes);
                state.session.answered(reply, &mut events);
            }
        } else if state.retry_at.is_none() && state.session.has_request() {
            self.wake_hub();
        }
        self.route(state, events, &mut news);
        let mut submitted = Submitted::Pending(None);
        if let Some((token, standing)) = own {
            let is_own = |n: &Emission| matches!(n, Emission::Done { ticket, .. } if ticket.token() == token);
            let at = news.iter().position(is_own);
            submitted = match at.map(|at| news.remove(at)) {
                Some(Emission::Done { ticket, result, .. }) => {
                    let _answered = ticket.redeem();
                    Submitted::Done(result)
                }
                _ => Submitted::Pending(standing),
            };
            // Whoever made the release hears of it by what is returned.
            for item in &mut news {
                if let Emission::Over(tickets) = item {
                    let own = tickets.extract_if(.., |t| t.token() == token);
                    own.for_each(|ticket| _ = ticket.redeem());
                }
            }
        }
        state.outbox.append(&mut news);
        submitted
    }

    /// Tells the host what is in the outbox: the lock is free by then, since frames are made and a pipe is written. Whoever
    /// tells already also tells what comes meanwhile, so that no caller waits for another's news.
    fn tell(&self, state: MutexGuard<'_, State>) {
        let mut untold = !state.outbox.is_empty();
        drop(state);
        while untold {
            let Some(telling) = self.telling.try_lock() else {
                return; // who holds it looks once more when it is free
            };
            self.empty_outbox();
            drop(telling);
            untold = !self.state.lock().outbox.is_empty();
        }
    }

    /// For whoever tells.
    fn empty_outbox(&self) {
        let mut news = std::mem::take(&mut self.state.lock().outbox);
        self.context.sink.emit(&mut news);
    }

    fn wake_hub(&self) {
        if let (Some(remote), Some(me)) = (self.backend.remote(), self.me.upgrade())
            && !self.queued.swap(true, Ordering::AcqRel)
        {
            remote.hub.wake(me);
        }
    }

    /// The engine is closed: every call that waits ends.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        let waiting = Self::end_calls(&mut state, &Error::Closed).into_iter();
        // No other news will wake them.
        state
            .outbox
            .extend(waiting.map(|t| failed(t, &Error::Closed)));
        drop(state);
        // When the engine has closed, all is told.
        let _telling = self.telling.lock();
        self.empty_outbox();
    }

    /// Nothing comes any more because of a bug: whoever waits hears of it, at a gate too.
    fn give_up(&self, error: &Error) {
        let mut state = self.state.lock();
        self.end(&mut state, error);
        self.tell(state);
    }

    /// The same for whoever has the lock, and tells.
    fn end(&self, state: &mut State, error: &Error) {
        let over = Self::end_calls(state, error);
        if state.bug.is_none() {
            state.bug = Some(BrokenInfo {
                reason: BrokenBy::Bug,
                message: error.to_string(),
                phase: state.session.ledger().open(),
                at: ms(wall_micros()),
            });
            let barrier = self.handle();
            state.outbox.push(Emission::Broken { barrier });
        }
        state.outbox.extend(Emission::over(over));
    }

    /// Ends all calls with this error, but for those that wait for nothing but news for all: whoever calls this tells these.
    #[must_use]
    fn end_calls(state: &mut State, error: &Error) -> Vec<Ticket> {
        let mut tickets = state.session.take_waiting();
        tickets.extend(state.held.drain(..).map(|(ticket, _)| ticket));
        tickets.append(&mut state.closers);
        tickets.append(&mut state.openers);
        let ended = tickets.into_iter();
        state
            .outbox
            .extend(ended.map(|ticket| failed(ticket, error)));
        state.session.refuse(error.clone(), &mut Vec::new());
        state.waiting.end()
    }

    // ---- events ----

    fn route(&self, state: &mut State, events: Vec<Event>, news: &mut Vec<Emission>) {
        for event in events {
            match event {
                Event::Done(ticket, result) => match self.answer(state, ticket, result) {
                    Some((ticket, Ok(Done::Outcome(answered)))) => {
                        news.extend(state.now_or_held(ticket, answered).now());
                    }
                    Some((ticket, result)) => news.push(Emission::Done {
                        ticket,
                        result,
                        standing: None,
                    }),
                    None => {}
                },
                Event::Released(release) => self.released(state, release, news),
                Event::Broken => self.tell_broken(state, news),
                Event::Refused(error) => state.refuse_all(&error, news),
                Event::SayHello => {
                    let now = Instant::now();
                    state.say_hello = true;
                    state.hello_until = Some(now + HELLO_TIMEOUT);
                    state.hello_next = now + HELLO_POLL;
                }
                Event::Warn(message) => {
                    self.context.log.push(Level::Warn, message);
                    news.push(Emission::Log);
                }
            }
        }
    }
}

fn failed(ticket: Ticket, error: &Error) -> Emission {
    Emission::Done {
        ticket,
        result: Err(error.clone()),
        standing: None,
    }
}
