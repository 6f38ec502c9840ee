//! The groups of one name in this process: their session, their store or the way there, and who waits.

mod tenant;

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use serde::Serialize;

use crate::clock::{epoch_micros, wall_micros};
use crate::error::Error;
use crate::group::memory::GroupStore;
use crate::group::options::{GroupOptions, Shared, check_payload};
use crate::group::protocol::Formed;
use crate::group::redis::GroupScript;
use crate::group::session::{Event, Placed, Session};
use crate::ids::{Participant, ProcessId};
use crate::options::StoreAddress;
use crate::panics::guarded;
use crate::protocol::StoreTime;
use crate::ticket::Token;

use super::barrier::ms;
use super::context::Context;
use super::deadlines::Waits;
use super::net::{Hub, Tenant};
use super::news::Emission;

/// How long the store's last word on a wait that expires may take. Hosts allow for 2 s.
const LOOK_TIMEOUT: Duration = Duration::from_millis(1500);

/// Where the record of groups is.
enum Record {
    /// In this process.
    Memory(Box<Mutex<GroupStore>>),
    /// In Redis.
    Redis {
        hub: Arc<Hub>,
        script: Arc<GroupScript>,
    },
}

/// What the lock of groups guards.
struct Guarded {
    session: Session,
    /// What the host is to be told, in order, once the lock is free; groups become text only then.
    outbox: Vec<News>,
    /// When the first call that waits may be overdue, as far as an appointment was made.
    overdue_at: Option<Instant>,
    beat_at: Instant,
    retry_at: Option<Instant>,
    trouble: Option<String>,
    bug: Option<Error>,
}

/// What the host is to be told.
enum News {
    /// What a call came to.
    Event(Event),
    /// Something else.
    Emission(Emission),
}

/// A user comes.
#[derive(Debug)]
pub struct JoinCall {
    /// Who.
    pub participant: Participant,
    /// Who makes the call.
    pub owner: u64,
    /// What the other members are told: at most 256 bytes.
    pub payload: Option<String>,
    /// How long it waits.
    pub wait: Duration,
}

/// The groups of one name in this process. Safe to share between threads.
pub struct Group {
    options: Arc<GroupOptions>,
    state: Mutex<Guarded>,
    /// Held by whoever tells the host, so that what is told keeps its order.
    telling: Mutex<()>,
    record: Record,
    context: Arc<Context>,
    me: Weak<Self>,
}

/// A group as one of its members is told of it, before the list of members, which is the same for all of them: its number, the member's
/// place, how many they are, why, when it formed in milliseconds since the epoch by the clocks of this process and of the server, and
/// [`Placed::counted`]. A list, since each member reads it.
type Told = (u32, u32, usize, &'static str, f64, Option<f64>, u32);

/// A member as the others are told of it: who it is, and what it handed in.
type ToldMember<'a> = (&'a str, Option<&'a str>);

/// Groups as this process knows them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Known<'a> {
    name: &'a str,
    run_id: &'a str,
    store: &'static str,
    size: u32,
    groups: u32,
    waiting: usize,
    processes: u32,
    connected: bool,
    counted: u32,
}

impl Group {
    pub(super) fn new(
        options: Arc<GroupOptions>,
        hub: Option<Arc<Hub>>,
        context: &Arc<Context>,
    ) -> Arc<Self> {
        let process = match &hub {
            Some(hub) => hub.process().clone(),
            None => ProcessId::random(),
        };
        let mut session = Session::new(process, Arc::clone(&options));
        let record = match hub {
            Some(hub) => Record::Redis {
                hub,
                script: Arc::new(GroupScript::new(&options)),
            },
            None => {
                session.connected();
                Record::Memory(Box::default())
            }
        };
        let group = Arc::new_cyclic(|me| Self {
            options,
            state: Mutex::new(Guarded {
                session,
                outbox: Vec::new(),
                overdue_at: None,
                beat_at: Instant::now(),
                retry_at: None,
                trouble: None,
                bug: None,
            }),
            telling: Mutex::new(()),
            record,
            context: Arc::clone(context),
            me: me.clone(),
        });
        if let Record::Redis { hub, .. } = &group.record {
            let tenant: Arc<dyn Tenant> = Arc::clone(&group) as _;
            hub.attach(&tenant);
        }
        group
    }

    /// What they were opened with first.
    #[must_use]
    pub fn options(&self) -> &GroupOptions {
        &self.options
    }

    /// Another opener of this process found them.
    pub(super) fn found_by(&self, options: &GroupOptions) -> Result<(), Error> {
        let (mine, theirs) = (&options.shared, &self.options.shared);
        if mine == theirs {
            return Ok(());
        }
        Err(Shared::difference(&mine.canonical(), &theirs.canonical()).into())
    }

    // ---- calls ----

    /// A user comes, and waits for its group. The token completes with the group as JSON, a list: its number, the member's place from
    /// 1, how many they are, the reason, when it formed by this process's clock and by the server's (or null), [`Placed::counted`], and the
    /// members, each a list of its participant and payload (or null); with `{"left":true}` where the place was given up meanwhile.
    ///
    /// # Errors
    /// The call was wrong from the start, and the token does not complete.
    pub fn join(&self, call: &JoinCall, token: Token) -> Result<(), Error> {
        if let Some(payload) = &call.payload {
            check_payload(payload)?;
        }
        self.context.runtime()?;
        let until = Instant::now() + call.wait;
        self.carry_out(|state, _| {
            let ticket = self.context.ticket(token, Some(until));
            let payload = call.payload.as_deref().map(Into::into);
            let joined = state
                .session
                .join(&call.participant, call.owner, payload, ticket);
            if joined.is_ok() {
                self.appoint(state, until);
            }
            joined
        })
    }

    /// A user gives up its place. The token completes with `{"left":true}`, or false where it had none.
    ///
    /// # Errors
    /// As [`Group::join`].
    pub fn leave(&self, participant: &Participant, token: Token) -> Result<(), Error> {
        self.context.runtime()?;
        let until = Instant::now() + self.options.op_timeout;
        self.carry_out(|state, events| {
            let ticket = self.context.ticket(token, Some(until));
            state.session.leave(participant, ticket, events);
            self.appoint(state, until);
            Ok(())
        })
    }

    /// Nobody waits any more for the answer to the call of join with this token: its user gives up the place.
    pub fn withdraw(&self, participant: &Participant, token: Token) {
        let _ = self.carry_out(|state, _| {
            state.session.withdraw(participant, token);
            Ok(())
        });
    }

    /// What is known here, without asking the store, as JSON.
    #[must_use]
    pub fn status(&self) -> String {
        let state = self.state.lock();
        let (groups, here, there, processes) = state.session.tally();
        let (waiting, store, connected) = match &self.record {
            Record::Memory(_) => (here, "memory", true),
            Record::Redis { .. } => {
                let there = usize::try_from(there).unwrap_or(usize::MAX);
                (there, "redis", state.session.is_live())
            }
        };
        let status = Known {
            name: self.options.name.as_str(),
            run_id: self.options.run_id.as_ref().map_or("", |r| r.as_str()),
            store,
            size: self.options.shared.size,
            groups,
            waiting,
            processes,
            connected,
            counted: state.session.counted(),
        };
        serde_json::to_string(&status).unwrap_or_default()
    }

    fn carry_out(
        &self,
        call: impl FnOnce(&mut Guarded, &mut Vec<Event>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let done = guarded(|| {
            let mut state = self.state.lock();
            if let Some(bug) = &state.bug {
                return Err(bug.clone());
            }
            let mut events = Vec::new();
            let done = call(&mut state, &mut events);
            self.go_on(&mut state, events);
            self.tell(state);
            done
        });
        done.unwrap_or_else(|message| {
            let error = self.context.bug(&message);
            self.end(&error);
            Err(error)
        })
    }

    /// Sees to it that somebody looks when a call is due then.
    fn appoint(&self, state: &mut Guarded, due: Instant) {
        if state.overdue_at.is_none_or(|at| due < at) {
            state.overdue_at = Some(due);
            let me: Weak<dyn Waits> = self.me.clone();
            self.context.deadlines.at(due, me);
        }
    }

    // ---- the store's side ----

    /// Goes on after a change: with a store in this process to the end, else by asking the hub for a turn.
    fn go_on(&self, state: &mut Guarded, mut events: Vec<Event>) {
        match &self.record {
            Record::Memory(store) => {
                let mut store = store.lock();
                let mut pushes = Vec::new(); // of one process, which has the same as an answer
                while let Some(request) = state.session.next_request() {
                    let now = StoreTime(wall_micros());
                    let reply = store.apply(&request, now, &mut pushes);
                    state.session.answered(reply, &mut events);
                    state.session.flush();
                }
            }
            Record::Redis { hub, .. } => {
                if state.retry_at.is_none()
                    && state.session.has_request()
                    && let Some(me) = self.me.upgrade()
                {
                    hub.wake(me);
                }
            }
        }
        state.outbox.extend(events.into_iter().map(News::Event));
    }

    /// What the host is told, with the group that the one before was about, as text.
    fn emission(&self, news: News, last: &mut Option<(Arc<Formed>, String)>) -> Emission {
        let event = match news {
            News::Event(event) => event,
            News::Emission(emission) => return emission,
        };
        let (ticket, result) = match event {
            Event::Formed(ticket, placed) => (ticket, self.told(&placed, last)),
            Event::Left(ticket, left) => (ticket, Ok(format!(r#"{{"left":{left}}}"#))),
            Event::GaveUp(ticket) => (ticket, Ok(r#"{"left":true}"#.to_owned())),
            Event::Failed(ticket, error) => (ticket, Err(error)),
        };
        Emission::Text { ticket, result }
    }

    fn told(
        &self,
        placed: &Placed,
        last: &mut Option<(Arc<Formed>, String)>,
    ) -> Result<String, Error> {
        let formed = &placed.formed;
        let bug = |e: serde_json::Error| Error::Bug(e.to_string());
        if last.as_ref().is_none_or(|(of, _)| !Arc::ptr_eq(of, formed)) {
            let members = formed.members.iter();
            let members = members.map(|m| (m.participant.as_str(), m.payload.as_deref()));
            let members: Vec<ToldMember> = members.collect();
            let text = serde_json::to_string(&members).map_err(bug)?;
            *last = Some((Arc::clone(formed), text));
        }
        let members = last.as_ref().map_or("[]", |(_, text)| text);
        let at = formed.at;
        let (here, server) = match &self.record {
            Record::Memory(_) => (at.0, None),
            Record::Redis { hub, .. } => {
                let now = Instant::now();
                let instant = hub.clock().instant(at, now);
                (instant.map_or(at.0, epoch_micros), Some(ms(at.0)))
            }
        };
        let told: Told = (
            formed.group,
            placed.index,
            formed.members.len(),
            formed.why.as_str(),
            ms(here),
            server,
            placed.counted,
        );
        let mut text = serde_json::to_string(&told).map_err(bug)?;
        text.truncate(text.len() - 1);
        text.extend([",", members, "]"]);
        Ok(text)
    }

    /// Tells the host what is in the outbox, when the lock is free. Whoever tells already also tells what comes meanwhile.
    fn tell(&self, state: MutexGuard<'_, Guarded>) {
        let mut untold = !state.outbox.is_empty();
        drop(state);
        while untold {
            let Some(telling) = self.telling.try_lock() else {
                return; // who holds it looks once more when it is free
            };
            loop {
                let news = std::mem::take(&mut self.state.lock().outbox);
                if news.is_empty() {
                    break;
                }
                let mut last = None;
                let news = news.into_iter().map(|n| self.emission(n, &mut last));
                self.context.sink.emit(&mut news.collect());
            }
            drop(telling);
            untold = !self.state.lock().outbox.is_empty();
        }
    }

    /// Ends all calls with this error, for good.
    pub(super) fn end(&self, error: &Error) {
        let mut state = self.state.lock();
        state.bug.get_or_insert_with(|| error.clone());
        let mut events = Vec::new();
        state.session.refuse(error, &mut events);
        state.outbox.extend(events.into_iter().map(News::Event));
        self.tell(state);
    }

    /// Where its record is, and what it is called.
    pub(super) fn identity(options: &GroupOptions) -> (StoreAddress, Option<String>, String) {
        let run = match options.store {
            StoreAddress::Memory => None,
            StoreAddress::Redis(_) => options.run_id.as_ref().map(ToString::to_string),
        };
        (options.store.clone(), run, options.name.to_string())
    }
}
