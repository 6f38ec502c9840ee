//! A barrier's side of the connection that it shares.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use redis::Value;

use crate::engine::deadlines::Waits;
use crate::engine::net::{Operation, Tenant, Tick};
use crate::engine::news::Emission;
use crate::error::Error;
use crate::protocol::{Push, Reply, Request, StoreTime};
use crate::session::Event;
use crate::store::redis::{Keep, decode};

use super::waiting::time_is_over;
use super::{BEAT_MAX, Barrier, HELLO_POLL};

/// How exactly appointments are kept.
const APPOINTMENT: Duration = Duration::from_millis(5);
/// The time between two looks at calls that wait: each look goes through all of them, and where a server hangs there are
/// thousands, each of which is due at a moment of its own.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

impl Barrier {
    fn beat_interval(&self) -> Duration {
        BEAT_MAX.min(self.options.ttl / 4)
    }

    pub(super) fn next_request(&self) -> Option<Request> {
        self.queued.store(false, Ordering::Release);
        let mut state = self.state.lock();
        let now = Instant::now();
        if state.retry_at.is_some_and(|at| now < at) {
            return None;
        }
        state.retry_at = None;
        let latency = match self.options.release_delay {
            Some(fixed) => Some(fixed.into()),
            None => self.remote().hub.clock().push_latency(now),
        };
        if let Some(latency) = latency {
            state.session.set_push_latency(latency);
        }
        state.session.next_request()
    }

    pub(super) fn take_reply(&self, reply: Reply, received: Instant) {
        self.take_answer(reply, received);
        self.finish_closing();
    }

    fn take_answer(&self, reply: Reply, received: Instant) {
        let mut state = self.state.lock();
        state.trouble = None;
        state.stirred_at = received;
        if state.session.has_told_latency() {
            // No other operation does, so that none of them puts the next one off.
            state.beat_at = received + self.beat_interval();
        }
        let was_live = state.session.is_registered();
        let mut events = Vec::new();
        state.session.answered(reply, &mut events);
        if !was_live && state.session.tally().2 > 1 {
            // Others are here: the first heartbeat measures how long a message takes.
            state.session.want_beat();
        }
        self.go_on(&mut state, events, None);
        self.tell(state);
    }
}

impl Tenant for Barrier {
    fn channel(&self) -> &Arc<str> {
        self.remote().scripts.keys().channel()
    }

    fn connect_timeout(&self) -> Duration {
        self.options.connect_timeout
    }

    fn next_operation(&self) -> Option<Operation> {
        let request = self.next_request()?;
        let scripts = Arc::clone(&self.remote().scripts);
        Some(Box::new(move |mut connection| {
            let sent = async move {
                let call = scripts.invocation(&request);
                call.invoke_async(&mut connection).await
            };
            Box::pin(sent)
        }))
    }

    fn may_try(&self, now: Instant) -> bool {
        let state = self.state.lock();
        !state.session.is_refused() && state.retry_at.is_none_or(|at| at <= now)
    }

    fn connected(&self) {
        // What is wrong with the store is so until it answers: it may take a connection and refuse everything else.
        self.state.lock().session.connected();
    }

    fn disconnected(&self, why: &str) {
        let mut state = self.state.lock();
        state.session.disconnected();
        state.trouble = Some(why.to_owned());
        let mut events = Vec::new();
        if !state.session.is_registered() {
            state.session.fail_opening(&Error::store(why), &mut events);
        }
        self.go_on(&mut state, events, None);
        self.tell(state);
    }

    fn answered(
        &self,
        answer: Value,
        received: Instant,
        time: &mut dyn FnMut(StoreTime),
    ) -> Result<(), String> {
        let reply = decode(answer).map_err(|unreadable| unreadable.to_string())?;
        time(reply.now);
        self.take_reply(reply, received);
        Ok(())
    }

    fn refused(&self, why: &str, for_good: bool, again_in: Duration) {
        let mut state = self.state.lock();
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
        self.tell(state);
    }

    fn pushed(&self, message: &[u8], sent: &mut dyn FnMut(StoreTime)) {
        // Foreign messages on the channel are nobody's business.
        let Ok(push) = serde_json::from_slice::<Push>(message) else {
            return;
        };
        match &push {
            Push::Release { release, .. } => sent(release.at),
            Push::Ping { at } => sent(*at),
            Push::Broken { .. } | Push::Hello { .. } => {}
        }
        let mut state = self.state.lock();
        state.stirred_at = Instant::now();
        let mut events = Vec::new();
        state.session.pushed(&push, &mut events);
        self.go_on(&mut state, events, None);
        self.tell(state);
    }

    fn keep(&self) -> Option<Keep> {
        Self::keep(self)
    }

    fn lost(&self) {
        let mut state = self.state.lock();
        state.session.lost();
        self.go_on(&mut state, Vec::new(), None);
        self.tell(state);
    }

    fn tick(&self, now: Instant) -> Tick {
        let mut state = self.state.lock();
        if let Some(bytes) = self.retire_when_quiet(&mut state, now) {
            drop(state);
            self.enlist(bytes);
            return Tick::Asleep;
        }
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
                    state.say_hello = true; // the one before may be lost
                }
                _ => {}
            }
        }
        let hello = std::mem::take(&mut state.say_hello);
        self.go_on(&mut state, events, None);
        self.tell(state);
        if hello { Tick::Hello } else { Tick::Awake }
    }

    fn begin_closing(&self) {
        self.state.lock().session.close();
    }

    fn is_idle(&self) -> bool {
        let state = self.state.lock();
        !state.session.is_registered() || state.session.is_idle()
    }

    fn give_up(&self, error: &Error) {
        Self::give_up(self, error);
    }
}

impl Waits for Barrier {
    fn end_overdue(&self, now: Instant) -> Option<Instant> {
        let mut state = self.state.lock();
        // Of several appointments the one made last for the earliest call counts; the others must not multiply.
        if state.overdue_at.is_none_or(|at| at > now + APPOINTMENT) {
            return None;
        }
        let mut overdue = Vec::new();
        let answers = state.session.take_overdue(now, &mut overdue);
        let decided = state.coming.keys().next_back().copied();
        let (over, waits) = state.waiting.take_overdue(now, decided);
        let (closers, next_closer) = Self::overdue_closers(&mut state, now);
        let next = answers.into_iter().chain(waits).chain(next_closer).min();
        state.overdue_at = next.map(|next| next.max(now + BETWEEN_LOOKS));
        let (impatient, overdue): (Vec<_>, Vec<_>) = overdue
            .into_iter()
            .partition(|call| state.waiting.gave_up(call));
        let trouble = state.trouble.as_deref();
        let trouble = trouble.unwrap_or("the store has not answered in time");
        let ended = overdue.into_iter().map(|call| Emission::Done {
            result: Err(match call.standing {
                Some(_) => Error::Store {
                    message: format!("{trouble}; the outcome stands and is delivered later"),
                    pending: true,
                },
                None => Error::store(trouble),
            }),
            ticket: call.ticket,
            standing: call.standing,
        });
        let mut news: Vec<_> = ended.chain(closers).collect();
        news.extend(over.into_iter().map(|ticket| time_is_over(ticket, None)));
        let impatient = impatient.into_iter();
        news.extend(impatient.map(|call| time_is_over(call.ticket, call.standing)));
        state.outbox.append(&mut news);
        let next = state.overdue_at;
        self.tell(state);
        next
    }

    fn give_up(&self, error: &Error) {
        Self::give_up(self, error);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::TcpListener;
    use std::sync::LazyLock;

    use parking_lot::Mutex;

    use super::*;
    use crate::engine::{Call, Engine, Sink};
    use crate::ids::Participant;
    use crate::ledger::{Report, Token};
    use crate::options::BarrierOptions;

    /// Calls that were completed one by one.
    #[derive(Default)]
    pub(in super::super) struct Ended(pub(in super::super) Mutex<Vec<Token>>);

    /// Takes connections, and says nothing: whoever is refused one would hear of it while a test plays the server.
    static SILENT: LazyLock<TcpListener> =
        LazyLock::new(|| TcpListener::bind(("127.0.0.1", 0)).expect("a port"));

    /// A barrier whose server does not answer.
    pub(in super::super) fn alone(ended: &Arc<Ended>) -> (Engine, Arc<Barrier>) {
        let engine = Engine::new(Arc::clone(ended) as Arc<dyn Sink>);
        let silent = SILENT.local_addr().expect("bound");
        let json = format!(
            r#"{{"store":"redis://{silent}","runId":"r","name":"b","parties":9,"connectTimeoutMs":60000}}"#
        );
        let options = BarrierOptions::from_json(json.as_bytes()).expect("options");
        let barrier = engine.barrier(options).expect("a barrier");
        (engine, barrier)
    }

    impl Sink for Ended {
        fn emit(&self, news: &mut Vec<Emission>) {
            for item in news.drain(..) {
                if let Emission::Done { ticket, .. } = item {
                    self.0.lock().push(ticket.redeem());
                }
            }
        }
    }

    #[test]
    fn calls_that_are_overdue_one_after_another_are_looked_at_together() {
        let ended = Arc::new(Ended::default());
        let (_engine, barrier) = alone(&ended);
        let arrive = |n: u64| {
            let participant = Participant::new(&n.to_string()).expect("valid");
            let (report, explicit) = (Report::Arrive { owner: n }, true);
            drop(barrier.submit(
                Call::Report {
                    participant,
                    report,
                    explicit,
                },
                n,
            ));
            Instant::now()
        };
        arrive(1);
        let first = barrier.state.lock().overdue_at.expect("an appointment");
        let latest = (2..=100).map(arrive).max().expect("many");
        let next = barrier.end_overdue(first);
        assert_eq!(*ended.0.lock(), [1]);
        let next = next.expect("the others wait");
        assert_eq!(next, first + BETWEEN_LOOKS, "one look for many calls");
        barrier.end_overdue(next.max(latest + barrier.options.op_timeout));
        assert_eq!(ended.0.lock().len(), 100);
    }
}
