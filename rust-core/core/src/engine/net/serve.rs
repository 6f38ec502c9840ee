//! Serves all tenants over one connection, until it is of no use any more.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, FuturesUnordered};
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, PushInfo, PushKind, RedisError, Value};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock::StoreClock;
use crate::engine::context::Context;
use crate::engine::log::Level;
use crate::ids::ProcessId;
use crate::protocol::Push;
use crate::store::redis::{Keep, keep_alive};

use super::failure::{Remedy, Server, explain};
use super::tenants::{Operation, Tenant, Tenants, Tick};

/// How often tenants are told the time.
const TICK: Duration = Duration::from_millis(50);
/// How many records one call keeps alive: nobody else may wait for long.
const KEPT_AT_ONCE: usize = 64;
/// When that is tried again where it was refused: long before the records expire.
const KEEP_RETRY: Duration = Duration::from_secs(5);
/// When a refused operation is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// A connection that nobody complains of for so long is of use, where nobody else can tell.
const PROBATION: Duration = Duration::from_secs(1);

/// An operation that came back.
struct Answered {
    tenant: Arc<dyn Tenant>,
    sent: Instant,
    answer: Result<Value, RedisError>,
}

/// What is done beside the operations, for which nothing else has to wait.
enum Chore {
    Subscribed(Arc<dyn Tenant>, Result<(), RedisError>),
    Left(Arc<str>, Result<(), RedisError>),
    Kept(Vec<Arc<dyn Tenant>>, Result<Vec<bool>, RedisError>),
    Greeted(Result<(), RedisError>),
    Pinged(Result<(), RedisError>),
}

/// What counters and operators, who are no tenants, have to say about the connection.
pub(super) enum Complaint {
    /// It answers, but is of no use any more.
    Useless(String),
    /// It has not answered for long.
    Silent,
}

/// What a hub and whoever serves its tenants over one of its connections have in common.
pub(super) struct Desk {
    pub(super) context: Arc<Context>,
    pub(super) tenants: Tenants,
    /// The server's, by all that its tenants hear.
    pub(super) clock: Mutex<StoreClock>,
    /// One server under two names is two stores: whoever meets himself there is found out as another process is.
    pub(super) process: ProcessId,
    pub(super) closing: CancellationToken,
    pub(super) complaint: Mutex<Option<Complaint>>,
}

/// What became of the wish to listen to a channel.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Channel {
    Asked,
    Subscribed,
    /// Nobody wants to listen any more; whoever does by then asks anew.
    Leaving,
}

/// One connection and what is on its way over it.
pub(super) struct Service<'a> {
    desk: &'a Desk,
    server: Server,
    connection: MultiplexedConnection,
    /// The server answers in the order in which it was asked, and sessions count on that.
    answers: FuturesOrdered<BoxFuture<'static, Answered>>,
    chores: FuturesUnordered<BoxFuture<'static, Chore>>,
    channels: HashMap<Arc<str>, Channel>,
    /// When the records of those who are asleep need something done to stay.
    keep_at: Option<Instant>,
    /// Said as soon as the connection is of use.
    greeting: Option<String>,
    is_of_use: bool,
}

impl<'a> Service<'a> {
    pub(super) fn new(
        desk: &'a Desk,
        server: Server,
        connection: MultiplexedConnection,
        greeting: Option<String>,
    ) -> Self {
        Self {
            desk,
            server,
            connection,
            answers: FuturesOrdered::new(),
            chores: FuturesUnordered::new(),
            channels: HashMap::new(),
            keep_at: None,
            greeting,
            is_of_use: false,
        }
    }

    /// Whether the server did what it was asked for. It may take a connection and refuse everything else.
    pub(super) const fn was_of_use(&self) -> bool {
        self.is_of_use
    }

    fn is_of_use(&mut self) {
        self.is_of_use = true;
        if let Some(greeting) = self.greeting.take() {
            self.desk.context.tell(Level::Info, greeting);
        }
    }

    /// Returns why the connection is of no use any more.
    pub(super) async fn run(&mut self, pushes: &mut mpsc::UnboundedReceiver<PushInfo>) -> String {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut turn = self.desk.tenants.all();
        turn.iter().for_each(|t| self.desk.tenants.rouse(t));
        let made = Instant::now();
        self.desk.complaint.lock().take(); // of the connection before
        let mut saying_goodbye = false;
        loop {
            match self.desk.complaint.lock().take() {
                Some(Complaint::Useless(why)) => return why,
                Some(Complaint::Silent) => self.ping(),
                None => {}
            }
            for channel in self.desk.tenants.take_left() {
                self.leave(channel);
            }
            for tenant in turn.drain(..) {
                self.take_turn(tenant);
            }
            if self.desk.closing.is_cancelled() {
                let tenants = self.desk.tenants.all();
                if !saying_goodbye {
                    saying_goodbye = true;
                    for tenant in &tenants {
                        tenant.begin_closing();
                    }
                    turn = tenants;
                    continue;
                }
                if self.answers.is_empty() && tenants.iter().all(|t| t.is_idle()) {
                    return "closed".into();
                }
            }
            tokio::select! {
                woken = self.desk.tenants.woken() => turn = woken,
                Some(answered) = self.answers.next() => {
                    let tenant = Arc::clone(&answered.tenant);
                    if let Err(why) = self.take_answer(answered) {
                        return why;
                    }
                    turn.push(tenant);
                }
                Some(chore) = self.chores.next() => match self.take_chore(chore) {
                    Ok(tenant) => turn.extend(tenant),
                    Err(why) => return why,
                },
                push = pushes.recv() => match push {
                    Some(push) if push.kind == PushKind::Disconnection => {
                        return format!("{} closed the connection", self.server.at());
                    }
                    Some(push) => self.take_push(push),
                    None => return "the connection ended".into(),
                },
                _ = tick.tick() => {
                    let now = Instant::now();
                    if self.desk.tenants.is_empty() && now - made >= PROBATION {
                        self.is_of_use(); // counters and operators ask by themselves
                    }
                    turn = self.desk.tenants.take_awake();
                    turn.retain(|tenant| self.tick(tenant, now));
                    if self.keep_at.is_some_and(|at| at <= now) {
                        self.keep_alive(now);
                    }
                }
            }
        }
    }

    fn take_turn(&mut self, tenant: Arc<dyn Tenant>) {
        if !tenant.may_try(Instant::now()) {
            return;
        }
        let channel = Arc::clone(tenant.channel());
        match self.channels.get(&channel) {
            Some(Channel::Asked | Channel::Leaving) => {}
            Some(Channel::Subscribed) => {
                while let Some(operation) = tenant.next_operation() {
                    self.send(Arc::clone(&tenant), operation);
                }
            }
            None => {
                // Subscribed first: what is released after the barrier was opened is heard of.
                let mut connection = self.connection.clone();
                self.channels.insert(Arc::clone(&channel), Channel::Asked);
                self.chores.push(Box::pin(async move {
                    let subscribed = connection.subscribe(&*channel).await;
                    Chore::Subscribed(tenant, subscribed)
                }));
            }
        }
    }

    fn send(&mut self, tenant: Arc<dyn Tenant>, operation: Operation) {
        let connection = self.connection.clone();
        self.answers.push_back(Box::pin(async move {
            let sent = Instant::now();
            let answer = operation(connection).await;
            Answered {
                tenant,
                sent,
                answer,
            }
        }));
    }

    /// What time brings to one who is awake; whether it still is.
    fn tick(&mut self, tenant: &Arc<dyn Tenant>, now: Instant) -> bool {
        match tenant.tick(now) {
            Tick::Awake => {}
            Tick::Hello => self.greet(tenant),
            Tick::Asleep => {
                if let Some(keep) = tenant.keep() {
                    self.keep_by(now + interval(&keep));
                }
                return false;
            }
        }
        self.desk.tenants.rouse(tenant);
        true
    }

    fn keep_by(&mut self, at: Instant) {
        self.keep_at = Some(self.keep_at.map_or(at, |known| known.min(at)));
    }

    /// One beat for all who are asleep, so that their records stay: those who come late find how it ended.
    fn keep_alive(&mut self, now: Instant) {
        self.keep_at = None;
        let asleep = self.desk.tenants.asleep().into_iter();
        let mut kept: Vec<_> = asleep
            .filter_map(|t| t.keep().map(|keep| (t, keep)))
            .collect();
        if let Some(next) = kept.iter().map(|(_, keep)| interval(keep)).min() {
            self.keep_by(now + next);
        }
        while !kept.is_empty() {
            let rest = kept.split_off(kept.len().min(KEPT_AT_ONCE));
            let (tenants, keeps): (Vec<_>, Vec<_>) = kept.into_iter().unzip();
            let mut connection = self.connection.clone();
            self.chores.push(Box::pin(async move {
                let kept = keep_alive(&keeps).invoke_async(&mut connection).await;
                Chore::Kept(tenants, kept)
            }));
            kept = rest;
        }
    }

    /// Nobody listens to the channel any more.
    fn leave(&mut self, channel: Arc<str>) {
        if let Some(state @ Channel::Subscribed) = self.channels.get_mut(&channel) {
            *state = Channel::Leaving;
            let mut connection = self.connection.clone();
            self.chores.push(Box::pin(async move {
                let left = connection.unsubscribe(&*channel).await;
                Chore::Left(channel, left)
            }));
        }
    }

    fn greet(&mut self, tenant: &Arc<dyn Tenant>) {
        let hello = Push::Hello {
            process: self.desk.process.clone(),
        };
        let hello = serde_json::to_string(&hello).unwrap_or_default();
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(&**tenant.channel()).arg(hello);
        let mut connection = self.connection.clone();
        self.chores.push(Box::pin(async move {
            Chore::Greeted(publish.exec_async(&mut connection).await)
        }));
    }

    /// Any answer will do.
    fn ping(&self) {
        let mut connection = self.connection.clone();
        self.chores.push(Box::pin(async move {
            Chore::Pinged(redis::cmd("PING").exec_async(&mut connection).await)
        }));
    }

    /// Says why, where the connection is of no use any more.
    fn take_answer(&mut self, answered: Answered) -> Result<(), String> {
        let Answered {
            tenant,
            sent,
            answer,
        } = answered;
        match answer {
            Ok(value) => {
                let received = Instant::now();
                let clock = &self.desk.clock;
                let mut observe = |time| clock.lock().observe(sent, received, time);
                match tenant.answered(value, received, &mut observe) {
                    Ok(()) => self.is_of_use(),
                    Err(unreadable) => tenant.refused(&unreadable, true, RETRY),
                }
            }
            Err(error) => self.refuse(tenant.as_ref(), &error)?,
        }
        Ok(())
    }

    fn refuse(&self, tenant: &dyn Tenant, error: &RedisError) -> Result<(), String> {
        let (why, remedy) = explain(error, &self.server);
        if remedy == Remedy::Reconnect {
            return Err(why);
        }
        tenant.refused(&why, remedy == Remedy::GiveUp, RETRY);
        Ok(())
    }

    /// Whose turn it is after that; or why the connection is of no use any more.
    fn take_chore(&mut self, chore: Chore) -> Result<Option<Arc<dyn Tenant>>, String> {
        match chore {
            Chore::Subscribed(tenant, Ok(())) => {
                let channel = Arc::clone(tenant.channel());
                self.channels
                    .insert(Arc::clone(&channel), Channel::Subscribed);
                let Some(listener) = self.desk.tenants.of_channel(&channel) else {
                    self.leave(channel); // it is gone meanwhile
                    return Ok(None);
                };
                listener.connected();
                return Ok(Some(listener));
            }
            Chore::Subscribed(tenant, Err(error)) => {
                self.channels.remove(tenant.channel());
                self.refuse(tenant.as_ref(), &error)?;
            }
            Chore::Left(channel, left) => {
                self.channels.remove(&channel);
                if let Err(error) = left {
                    let (why, remedy) = explain(&error, &self.server);
                    if remedy == Remedy::Reconnect {
                        return Err(why);
                    }
                }
                return Ok(self.desk.tenants.of_channel(&channel));
            }
            Chore::Kept(tenants, Ok(kept)) => {
                let lost = tenants.iter().zip(kept).filter(|(_, here)| !here);
                lost.for_each(|(tenant, _)| tenant.lost());
            }
            Chore::Kept(_, Err(error)) => {
                let (why, remedy) = explain(&error, &self.server);
                if remedy == Remedy::Reconnect {
                    return Err(why);
                }
                self.keep_by(Instant::now() + KEEP_RETRY);
            }
            Chore::Pinged(Err(error)) => {
                let (why, remedy) = explain(&error, &self.server);
                if remedy == Remedy::Reconnect {
                    return Err(why);
                }
            }
            Chore::Greeted(Ok(())) | Chore::Pinged(Ok(())) => {}
            Chore::Greeted(Err(error)) => {
                let (why, _) = explain(&error, &self.server);
                self.desk.context.tell(Level::Warn, why);
            }
        }
        Ok(None)
    }

    fn take_push(&self, push: PushInfo) {
        if push.kind != PushKind::Message {
            return;
        }
        let received = Instant::now();
        let mut data = push.data.into_iter();
        let (Some(channel), Some(payload)) = (data.next(), data.next()) else {
            return;
        };
        let (Ok(channel), Ok(payload)) = (
            String::from_redis_value(channel),
            Vec::<u8>::from_redis_value(payload),
        ) else {
            return;
        };
        if let Some(tenant) = self.desk.tenants.of_channel(&channel) {
            let clock = &self.desk.clock;
            tenant.pushed(&payload, &mut |sent| clock.lock().message(sent, received));
        }
    }
}

/// A record is to be kept alive so often.
const fn interval(keep: &Keep) -> Duration {
    Duration::from_millis(keep.ttl_ms / 4)
}
