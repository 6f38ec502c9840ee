//! The groups' side of the connection that they share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::Value;

use crate::engine::deadlines::Waits;
use crate::engine::log::Level;
use crate::engine::net::{Operation, Tenant, Tick};
use crate::engine::news::Emission;
use crate::error::Error;
use crate::group::protocol::Push;
use crate::group::redis::{GroupScript, decode};
use crate::group::session::Event;
use crate::protocol::StoreTime;
use crate::store::redis::Keep;

use super::{Group, LOOK_TIMEOUT, News, Record};

const BEAT_MAX: Duration = Duration::from_secs(5);
/// How often the store is asked while it waits to hear of processes.
const SETTLE_POLL: Duration = Duration::from_millis(100);
/// How exactly appointments are kept.
const APPOINTMENT: Duration = Duration::from_millis(5);
/// The time between two looks at calls that wait: each look goes through all of them.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

impl Group {
    fn script(&self) -> &Arc<GroupScript> {
        match &self.record {
            Record::Redis { script, .. } => script,
            Record::Memory(_) => unreachable!("a tenant has its record in Redis"),
        }
    }

    fn beat_interval(&self, settling: bool) -> Duration {
        let interval = BEAT_MAX.min(self.options.ttl / 4);
        if settling { SETTLE_POLL } else { interval }
    }
}

impl Tenant for Group {
    fn channel(&self) -> &Arc<str> {
        self.script().channel()
    }

    fn connect_timeout(&self) -> Duration {
        self.options.connect_timeout
    }

    fn may_try(&self, now: Instant) -> bool {
        let state = self.state.lock();
        state.bug.is_none() && state.retry_at.is_none_or(|at| at <= now)
    }

    fn connected(&self) {
        self.state.lock().session.connected();
    }

    fn disconnected(&self, why: &str) {
        let mut state = self.state.lock();
        state.session.disconnected();
        state.trouble = Some(why.to_owned());
    }

    fn next_operation(&self) -> Option<Operation> {
        let mut state = self.state.lock();
        if state.retry_at.is_some_and(|at| Instant::now() < at) {
            return None;
        }
        state.retry_at = None;
        let request = state.session.next_request()?;
        let script = Arc::clone(self.script());
        Some(Box::new(move |mut connection| {
            let sent = async move {
                let call = script.invocation(&request);
                call.invoke_async(&mut connection).await
            };
            Box::pin(sent)
        }))
    }

    fn answered(
        &self,
        answer: Value,
        received: Instant,
        time: &mut dyn FnMut(StoreTime),
    ) -> Result<(), String> {
        let reply = decode(answer).map_err(|unreadable| unreadable.to_string())?;
        time(reply.now);
        let mut state = self.state.lock();
        state.trouble = None;
        let mut events = Vec::new();
        let was_settling = state.session.is_settling();
        state.session.answered(reply, &mut events);
        let settling = state.session.is_settling();
        if settling || was_settling {
            state.beat_at = received + self.beat_interval(settling);
        }
        self.go_on(&mut state, events);
        self.tell(state);
        Ok(())
    }

    fn refused(&self, why: &str, for_good: bool, again_in: Duration) {
        let mut state = self.state.lock();
        state.session.no_answer();
        state.retry_at = Some(Instant::now() + again_in);
        let is_news = state.trouble.as_deref() != Some(why);
        state.trouble = Some(why.to_owned());
        let mut events = Vec::new();
        if for_good {
            state.session.refuse(&Error::store(why), &mut events);
        } else if is_news {
            let name = &self.options.name;
            let line = format!("group {name}: {why}; trying again");
            self.context.log.push(Level::Warn, line);
            state.outbox.push(News::Emission(Emission::Log));
        }
        self.go_on(&mut state, events);
        self.tell(state);
    }

    // How long these messages take says nothing of how long a barrier's do: they are longer, and their scripts take longer.
    fn pushed(&self, message: &[u8], _sent: &mut dyn FnMut(StoreTime)) {
        // Foreign messages on the channel are nobody's business.
        let Ok(push) = serde_json::from_slice::<Push>(message) else {
            return;
        };
        let mut state = self.state.lock();
        let mut events = Vec::new();
        state.session.pushed(&push, &mut events);
        self.go_on(&mut state, events);
        self.tell(state);
    }

    fn tick(&self, now: Instant) -> Tick {
        let mut state = self.state.lock();
        if state.session.is_live() && now >= state.beat_at {
            state.beat_at = now + self.beat_interval(state.session.is_settling());
            state.session.want_beat();
        }
        state.session.flush();
        self.go_on(&mut state, Vec::new());
        self.tell(state);
        Tick::Awake
    }

    fn keep(&self) -> Option<Keep> {
        None
    }

    fn lost(&self) {}

    fn begin_closing(&self) {
        self.state.lock().session.close();
    }

    fn is_idle(&self) -> bool {
        self.state.lock().session.is_idle()
    }

    fn give_up(&self, error: &Error) {
        self.end(error);
    }
}

impl Waits for Group {
    fn end_overdue(&self, now: Instant) -> Option<Instant> {
        let mut state = self.state.lock();
        // Of several appointments the one made last for the earliest call counts; the others must not multiply.
        if state.overdue_at.is_none_or(|at| at > now + APPOINTMENT) {
            return None;
        }
        state.session.expire(now);
        self.go_on(&mut state, Vec::new());
        let look = self.options.op_timeout.min(LOOK_TIMEOUT);
        let (overdue, next) = state.session.take_unanswered(now, look);
        let trouble = state.trouble.as_deref();
        let trouble = trouble.unwrap_or("the store has not answered in time");
        let name = &self.options.name;
        let error = Error::store(format!(
            "group {name}: {trouble}; the place is given up as soon as the store answers"
        ));
        let failed = overdue.into_iter();
        let failed = failed.map(|ticket| News::Event(Event::Failed(ticket, error.clone())));
        state.outbox.extend(failed);
        state.overdue_at = next.map(|next| next.max(now + BETWEEN_LOOKS));
        let next = state.overdue_at;
        self.tell(state);
        next
    }

    fn give_up(&self, error: &Error) {
        self.end(error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Engine, Sink};
    use crate::group::options::GroupOptions;

    struct Nobody;

    impl Sink for Nobody {
        fn emit(&self, news: &mut Vec<Emission>) {
            news.clear();
        }
    }

    #[test]
    fn messages_about_groups_say_nothing_of_a_barriers_messages() {
        let engine = Engine::new(Arc::new(Nobody));
        let options = GroupOptions::from_json(br#"{"name":"lobby","size":2}"#);
        let group = engine.group(options.expect("options")).expect("groups");
        for kind in ["groups", "restored"] {
            let message = format!(r#"{{"kind":"{kind}","at":1,"formed":[]}}"#);
            let tell = &mut |sent| panic!("{kind}: {sent:?}");
            Tenant::pushed(&*group, message.as_bytes(), tell);
        }
    }
}
