//! One barrier of this process: its session, its store or the way there, and who waits for what.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

use crate::clock::{StoreClock, epoch_micros};
use crate::error::Error;
use crate::ids::{Participant, Phase, ProcessId, Reason};
use crate::ledger::{Answered, Decision, Report, Token};
use crate::options::BarrierOptions;
use crate::protocol::{Missing, Push, Release, Reply, Request, StoreTime};
use crate::session::{Done, Event, Session};
use crate::store::memory::MemoryStore;
use crate::store::redis::Scripts;

use super::hub::Hub;
use super::status::{ReleaseInfo, Status};
use super::{Emission, Level, Shared, lock};

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
    /// A wait for the phase has expired.
    Expire(Phase),
    /// Release the phase by hand.
    ReleaseNow(Phase),
    /// Break the barrier, with this message.
    Abort(String),
}

/// The answer to a call.
#[derive(Debug)]
pub enum Submitted {
    /// It is done.
    Done(Result<Done, Error>),
    /// The answer comes by the token; for a report, what the ledger holds until then.
    Pending(Option<Answered>),
}

#[derive(Debug)]
struct Deadline {
    at: Instant,
    token: Token,
    participant: Option<Participant>,
}

#[derive(Debug)]
pub(super) struct Fired {
    pub(super) at: i64,
    pub(super) release: Release,
}

pub(super) struct State {
    pub(super) session: Session,
    memory: MemoryStore,
    pub(super) clock: StoreClock,
    /// Phases whose release instant has come.
    pub(super) fired: BTreeMap<Phase, Fired>,
    /// Releases whose instant lies ahead.
    pub(super) due: u32,
    /// Late participants that wait for that instant.
    pub(super) held: Vec<(Token, Answered)>,
    pub(super) broken_told: bool,
    reports: VecDeque<Deadline>,
    others: VecDeque<Deadline>,
    beat_at: Instant,
    hello_until: Option<Instant>,
    hello_next: Instant,
    retry_at: Option<Instant>,
    pub(super) trouble: Option<String>,
    /// The hub should publish a greeting.
    say_hello: bool,
}

/// One barrier of this process: its session, its store or the way there, and who waits for what.
pub struct Barrier {
    key: OnceLock<u64>,
    options: BarrierOptions,
    pub(super) state: Mutex<State>,
    hub: Option<Arc<Hub>>,
    scripts: Option<Scripts>,
    queued: AtomicBool,
    pub(super) shared: Arc<Shared>,
    pub(super) me: Weak<Self>,
}

impl Barrier {
    pub(super) fn new(
        options: BarrierOptions,
        hub: Option<Arc<Hub>>,
        shared: &Arc<Shared>,
    ) -> Arc<Self> {
        let now = Instant::now();
        let mut session = Session::new(
            hub.as_ref()
                .map_or_else(ProcessId::random, |hub| hub.process().clone()),
            options.clone(),
        );
        if hub.is_none() {
            session.connected();
        }
        let barrier = Arc::new_cyclic(|me| Self {
            key: OnceLock::new(),
            scripts: hub.as_ref().map(|_| Scripts::new(&options)),
            options,
            state: Mutex::new(State {
                session,
                memory: MemoryStore::default(),
                clock: StoreClock::default(),
                fired: BTreeMap::new(),
                due: 0,
                held: Vec::new(),
                broken_told: false,
                reports: VecDeque::new(),
                others: VecDeque::new(),
                beat_at: now,
                hello_until: None,
                hello_next: now,
                retry_at: None,
                trouble: None,
                say_hello: false,
            }),
            hub,
            queued: AtomicBool::new(false),
            shared: Arc::clone(shared),
            me: me.clone(),
        });
        if let Some(hub) = &barrier.hub {
            hub.attach(&barrier);
        }
        barrier
    }

    /// The host's number for the barrier, set once before anything else is asked.
    pub fn key_or_init(&self, make: impl FnOnce() -> u64) -> u64 {
        *self.key.get_or_init(make)
    }

    /// The host's number for the barrier.
    #[must_use]
    pub fn key(&self) -> u64 {
        self.key.get().copied().unwrap_or_default()
    }

    /// What it was opened with first.
    #[must_use]
    pub const fn options(&self) -> &BarrierOptions {
        &self.options
    }

    /// Another opener of this process counts failures of these reasons too.
    pub(super) fn add_reasons(&self, reasons: &BTreeSet<Reason>) {
        let mut state = lock(&self.state);
        state.session.add_reasons(reasons);
        self.go_on(&mut state, Vec::new(), None);
    }

    pub(super) const fn is_shared(&self) -> bool {
        self.hub.is_some()
    }

    pub(super) const fn scripts(&self) -> Option<&Scripts> {
        self.scripts.as_ref()
    }

    // ---- calls ----

    /// Opens the barrier in its store; the token completes when that is done.
    pub fn open(&self, token: Token) -> Submitted {
        let mut state = lock(&self.state);
        let mut events = Vec::new();
        state.session.open(token, &mut events);
        if let (Some(hub), false) = (&self.hub, state.session.is_registered()) {
            hub.ask();
            self.wake_hub();
            state.others.push_back(Deadline {
                at: Instant::now() + self.options.connect_timeout + HELLO_TIMEOUT,
                token,
                participant: None,
            });
        }
        self.go_on(&mut state, events, Some((token, None)))
    }

    /// Takes a call. Never blocks.
    pub fn submit(&self, call: Call, token: Token) -> Submitted {
        let mut state = lock(&self.state);
        let mut events = Vec::new();
        let now = Instant::now();
        match call {
            Call::Report {
                participant,
                report,
                explicit,
            } => {
                let decision = state.session.report(&participant, &report, explicit, token);
                let answered = match decision {
                    Err(error) => return Submitted::Done(Err(error)),
                    Ok(Decision::Now(answered)) => {
                        return state.now_or_held(token, answered);
                    }
                    Ok(Decision::Later(answered)) => answered,
                };
                if self.is_shared() {
                    state.reports.push_back(Deadline {
                        at: now + self.options.op_timeout,
                        token,
                        participant: Some(participant),
                    });
                }
                return self.go_on(&mut state, events, Some((token, Some(answered))));
            }
            Call::Expire(phase) => state.session.expire(phase, token, &mut events),
            Call::ReleaseNow(phase) => state.session.release_now(phase, token, &mut events),
            Call::Abort(message) => state.session.abort(&message, token, &mut events),
        }
        if self.is_shared() {
            state.others.push_back(Deadline {
                at: now + self.options.op_timeout.min(LOOK_TIMEOUT),
                token,
                participant: None,
            });
        }
        self.go_on(&mut state, events, Some((token, None)))
    }

    /// The caller no longer waits for the token. What it reported stands.
    pub fn cancel(&self, token: Token) {
        let mut state = lock(&self.state);
        let position = state.reports.iter().position(|d| d.token == token);
        match position.and_then(|at| state.reports.remove(at)) {
            Some(Deadline {
                participant: Some(participant),
                ..
            }) => {
                state.session.forget_report(&participant, token);
            }
            _ => {
                state.session.forget(token);
            }
        }
        state.held.retain(|(t, _)| *t != token);
    }

    /// Who is missing, in JSON, under the token.
    pub fn missing(&self, limit: usize, token: Token) {
        let (Some(hub), Some(scripts)) = (&self.hub, &self.scripts) else {
            let missing = lock(&self.state).memory.missing(limit);
            self.tell_text(token, Ok(missing));
            return;
        };
        let (hub, scripts, me) = (Arc::clone(hub), scripts.clone(), self.me.clone());
        let timeout = self.options.op_timeout;
        self.shared.runtime.spawn(async move {
            let missing = hub.missing(&scripts, limit, timeout).await;
            if let Some(me) = me.upgrade() {
                me.tell_text(token, missing);
            }
        });
    }

    fn tell_text(&self, token: Token, missing: Result<Missing, Error>) {
        let result = missing.map(|m| serde_json::to_string(&m).unwrap_or_default());
        self.shared
            .sink
            .emit(&mut vec![Emission::Text { token, result }]);
    }

    /// What is known here, without asking the store.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::of(&lock(&self.state), &self.options)
    }

    /// How the phase was released, once its instant has come.
    #[must_use]
    pub fn release_info(&self, phase: Phase) -> Option<ReleaseInfo> {
        ReleaseInfo::of(&lock(&self.state), phase, self.options.shared.parties)
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
        if self.hub.is_none() {
            let mut pushes = Vec::new();
            while let Some(request) = state.session.next_request() {
                let now = StoreTime(epoch_micros(Instant::now()));
                let reply = state.memory.apply(&request, now, &mut pushes);
                state.session.answered(reply, &mut events);
            }
        } else if state.retry_at.is_none() && state.session.has_request() {
            self.wake_hub();
        }
        self.route(state, events, &mut news);
        let mut submitted = Submitted::Pending(None);
        if let Some((token, standing)) = own {
            let at = news
                .iter()
                .position(|n| matches!(n, Emission::Done { token: t, .. } if *t == token));
            submitted = match at.map(|at| news.remove(at)) {
                Some(Emission::Done { result, .. }) => Submitted::Done(result),
                _ => Submitted::Pending(standing),
            };
        }
        self.shared.sink.emit(&mut news);
        submitted
    }

    fn wake_hub(&self) {
        if let (Some(hub), Some(me)) = (&self.hub, self.me.upgrade())
            && !self.queued.swap(true, Ordering::AcqRel)
        {
            hub.wake(me);
        }
    }

    /// The next operation for the store; called by the hub in its turn.
    pub(super) fn next_request(&self) -> Option<Request> {
        self.queued.store(false, Ordering::Release);
        let mut state = lock(&self.state);
        let now = Instant::now();
        if state.retry_at.is_some_and(|at| now < at) {
            return None;
        }
        state.retry_at = None;
        let latency = match self.options.release_delay {
            Some(fixed) => Some(fixed.into()),
            None => state.clock.push_latency(now),
        };
        if let Some(latency) = latency {
            state.session.set_push_latency(latency);
        }
        state.session.next_request()
    }

    /// Whether there is any point in asking the store for this barrier now.
    pub(super) fn may_try(&self, now: Instant) -> bool {
        let state = lock(&self.state);
        !state.session.is_refused() && state.retry_at.is_none_or(|at| at <= now)
    }

    pub(super) fn connected(&self) {
        let mut state = lock(&self.state);
        state.trouble = None;
        state.session.connected();
    }

    /// The connection is gone, or could not be made.
    pub(super) fn disconnected(&self, why: &str) {
        let mut state = lock(&self.state);
        state.session.disconnected();
        state.trouble = Some(why.to_owned());
        let mut events = Vec::new();
        if !state.session.is_registered() {
            state.session.fail_opening(&Error::store(why), &mut events);
        }
        self.go_on(&mut state, events, None);
    }

    /// The oldest operation on its way was answered.
    pub(super) fn answered(&self, reply: Reply, sent: Instant, received: Instant) {
        let mut state = lock(&self.state);
        state.clock.observe(sent, received, reply.now);
        state.trouble = None;
        state.beat_at = received + self.beat_interval();
        let was_live = state.session.is_registered();
        let mut events = Vec::new();
        state.session.answered(reply, &mut events);
        if !was_live && state.session.tally().2 > 1 {
            // Others are here: the first heartbeat measures how long a message takes.
            state.session.want_beat();
        }
        self.go_on(&mut state, events, None);
    }

    /// The oldest operation on its way was refused.
    pub(super) fn refused(&self, why: &str, for_good: bool, again_in: Duration) {
        let mut state = lock(&self.state);
        state.session.no_answer();
        state.retry_at = Some(Instant::now() + again_in);
        let news = state.trouble.as_deref() != Some(why);
        state.trouble = Some(why.to_owned());
        let mut events = Vec::new();
        if !state.session.is_registered() {
            let error = Error::store(why);
            if for_good {
                state.session.refuse(error, &mut events);
            } else {
                state.session.fail_opening(&error, &mut events);
            }
        } else if news {
            events.push(Event::Warn(format!(
                "barrier {}: {why}; trying again",
                self.options.name
            )));
        }
        self.go_on(&mut state, events, None);
    }

    /// A message from the store.
    pub(super) fn pushed(&self, push: &Push, received: Instant) {
        let mut state = lock(&self.state);
        let sent = match push {
            Push::Release { release, .. } => Some(release.at),
            Push::Ping { at } => Some(*at),
            Push::Broken { .. } | Push::Hello { .. } => None,
        };
        if let Some(sent) = sent {
            state.clock.message(sent, received);
        }
        let mut events = Vec::new();
        state.session.pushed(push, &mut events);
        self.go_on(&mut state, events, None);
    }

    /// What time alone brings: heartbeats, and the wait for others' answers. True where `hello` is to be published.
    pub(super) fn tick(&self, now: Instant) -> bool {
        let mut state = lock(&self.state);
        let mut events = Vec::new();
        if state.session.is_live() && now >= state.beat_at {
            state.beat_at = now + self.beat_interval();
            state.session.want_beat();
        }
        if state.session.awaits_others() {
            match state.hello_until {
                Some(until) if now >= until => {
                    state.hello_until = None;
                    state.session.give_up_on_others(&mut events);
                }
                Some(_) if now >= state.hello_next => {
                    state.hello_next = now + HELLO_POLL;
                    state.session.ask_others_again();
                }
                _ => {}
            }
        }
        let hello = std::mem::take(&mut state.say_hello);
        self.go_on(&mut state, events, None);
        hello
    }

    fn beat_interval(&self) -> Duration {
        BEAT_MAX.min(self.options.ttl / 4)
    }

    pub(super) fn begin_closing(&self) {
        lock(&self.state).session.close();
    }

    pub(super) fn is_idle(&self) -> bool {
        let state = lock(&self.state);
        !state.session.is_registered() || state.session.is_idle()
    }

    pub(super) fn close(&self) {
        self.give_up(&Error::Closed);
    }

    /// Nothing comes from the store any more: every call that waits ends with this error.
    pub(super) fn give_up(&self, error: &Error) {
        let mut state = lock(&self.state);
        let mut tokens = state.session.take_waiting();
        tokens.extend(state.held.drain(..).map(|(t, _)| t));
        let mut news = tokens
            .into_iter()
            .map(|token| Emission::Done {
                token,
                result: Err(error.clone()),
                standing: None,
            })
            .collect();
        state.session.refuse(error.clone(), &mut Vec::new());
        self.shared.sink.emit(&mut news);
    }

    /// Ends calls whose deadline has come.
    pub(super) fn expire_calls(&self, now: Instant) {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        let mut news = Vec::new();
        let trouble = state
            .trouble
            .clone()
            .unwrap_or_else(|| "the store has not answered in time".into());
        while let Some(deadline) = state.reports.pop_front_if(|d| d.at <= now) {
            let Some(participant) = deadline.participant else {
                continue;
            };
            if let Some(standing) = state.session.forget_report(&participant, deadline.token) {
                news.push(Emission::Done {
                    token: deadline.token,
                    result: Err(Error::Store {
                        message: format!("{trouble}; the outcome stands and is delivered later"),
                        pending: true,
                    }),
                    standing: Some(standing),
                });
            }
        }
        // Opening and looking have different time-outs: the list is short and not sorted.
        let mut later = VecDeque::new();
        for deadline in state.others.drain(..) {
            if deadline.at > now {
                later.push_back(deadline);
            } else if state.session.forget(deadline.token) {
                news.push(Emission::Done {
                    token: deadline.token,
                    result: Err(Error::store(trouble.clone())),
                    standing: None,
                });
            }
        }
        state.others = later;
        if !news.is_empty() {
            self.shared.sink.emit(&mut news);
        }
    }

    // ---- events ----

    fn route(&self, state: &mut State, events: Vec<Event>, news: &mut Vec<Emission>) {
        for event in events {
            match event {
                Event::Done(token, Ok(Done::Outcome(answered))) => {
                    match state.now_or_held(token, answered) {
                        Submitted::Done(result) => news.push(Emission::Done {
                            token,
                            result,
                            standing: None,
                        }),
                        Submitted::Pending(_) => {}
                    }
                }
                Event::Done(token, result) => news.push(Emission::Done {
                    token,
                    result,
                    standing: None,
                }),
                Event::Released(release) => self.released(state, release, news),
                Event::Broken => self.tell_broken(state, news),
                Event::SayHello => {
                    let now = Instant::now();
                    state.say_hello = true;
                    state.hello_until = Some(now + HELLO_TIMEOUT);
                    state.hello_next = now + HELLO_POLL;
                }
                Event::Warn(message) => {
                    self.shared.log.push(Level::Warn, message);
                    news.push(Emission::Log);
                }
            }
        }
    }
}
