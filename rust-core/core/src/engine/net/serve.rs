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
use crate::protocol::{Push, Request};
use crate::store::redis::decode;

use super::failure::{Remedy, Server, explain};
use super::tenants::{Tenant, Tenants};

/// How often tenants are told the time.
const TICK: Duration = Duration::from_millis(50);
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

/// One connection and what is on its way over it.
pub(super) struct Service<'a> {
    desk: &'a Desk,
    server: Server,
    connection: MultiplexedConnection,
    /// The server answers in the order in which it was asked, and sessions count on that.
    answers: FuturesOrdered<BoxFuture<'static, Answered>>,
    chores: FuturesUnordered<BoxFuture<'static, Chore>>,
    /// Channels asked for, and whether that was answered.
    channels: HashMap<String, bool>,
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
        let made = Instant::now();
        self.desk.complaint.lock().take(); // of the connection before
        let mut saying_goodbye = false;
        loop {
            match self.desk.complaint.lock().take() {
                Some(Complaint::Useless(why)) => return why,
                Some(Complaint::Silent) => self.ping(),
                None => {}
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
                    turn = self.desk.tenants.all();
                    if turn.is_empty() && now - made >= PROBATION {
                        self.is_of_use(); // counters and operators ask by themselves
                    }
                    for tenant in &turn {
                        if tenant.tick(now) {
                            self.greet(tenant);
                        }
                    }
                }
            }
        }
    }

    fn take_turn(&mut self, tenant: Arc<dyn Tenant>) {
        if !tenant.may_try(Instant::now()) {
            return;
        }
        let channel = tenant.scripts().keys().channel();
        match self.channels.get(&channel) {
            Some(false) => {}
            Some(true) => {
                while let Some(request) = tenant.next_request() {
                    self.send(Arc::clone(&tenant), request);
                }
            }
            None => {
                // Subscribed first: what is released after the barrier was opened is heard of.
                let mut connection = self.connection.clone();
                self.channels.insert(channel.clone(), false);
                self.chores.push(Box::pin(async move {
                    let subscribed = connection.subscribe(channel).await;
                    Chore::Subscribed(tenant, subscribed)
                }));
            }
        }
    }

    fn send(&mut self, tenant: Arc<dyn Tenant>, request: Request) {
        let mut connection = self.connection.clone();
        self.answers.push_back(Box::pin(async move {
            let sent = Instant::now();
            let call = tenant.scripts().invocation(&request);
            let answer = call.invoke_async(&mut connection).await;
            Answered {
                tenant,
                sent,
                answer,
            }
        }));
    }

    fn greet(&mut self, tenant: &Arc<dyn Tenant>) {
        let hello = Push::Hello {
            process: self.desk.process.clone(),
        };
        let hello = serde_json::to_string(&hello).unwrap_or_default();
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(tenant.scripts().keys().channel()).arg(hello);
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
            Ok(value) => match decode(value) {
                Ok(reply) => {
                    self.is_of_use();
                    let received = Instant::now();
                    self.desk.clock.lock().observe(sent, received, reply.now);
                    tenant.answered(reply, received);
                }
                Err(unreadable) => tenant.refused(&unreadable.to_string(), true, RETRY),
            },
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
                let channel = tenant.scripts().keys().channel();
                self.channels.insert(channel, true);
                tenant.connected();
                return Ok(Some(tenant));
            }
            Chore::Subscribed(tenant, Err(error)) => {
                self.channels.remove(&tenant.scripts().keys().channel());
                self.refuse(tenant.as_ref(), &error)?;
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
        // Foreign messages on the channel are nobody's business.
        let Ok(push) = serde_json::from_slice::<Push>(&payload) else {
            return;
        };
        let sent = match &push {
            Push::Release { release, .. } => Some(release.at),
            Push::Ping { at } => Some(*at),
            Push::Broken { .. } | Push::Hello { .. } => None,
        };
        if let Some(sent) = sent {
            self.desk.clock.lock().message(sent, received);
        }
        if let Some(tenant) = self.desk.tenants.of_channel(&channel) {
            tenant.pushed(&push);
        }
    }
}
