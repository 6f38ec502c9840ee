//! The one connection to a Redis server, shared by all barriers and counters of the process.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt, StreamExt};
use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, PushInfo, PushKind, RedisError, Value};
use tokio::sync::{Notify, mpsc, watch};

use crate::address::{HostPort, RedisAddress};
use crate::error::Error;
use crate::ids::ProcessId;
use crate::protocol::{Missing, Push};
use crate::store::redis::{Scripts, decode, decode_missing};

use super::barrier::Barrier;
use super::cluster::explore;
use super::connect::{Opened, connect};
use super::redis_error::{Remedy, Server, explain};
use super::{Level, Shared, TICK, lock};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const BACKOFF_FIRST: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// When a refused operation is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Which server of its address a hub connects to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Target {
    /// The only one.
    Server,
    /// The node of a cluster that serves this slot at the time.
    Slot(u16),
    /// This node of a cluster.
    Node(HostPort),
}

/// What those who ask through the connection see of it.
#[derive(Clone, Default)]
struct Line {
    connection: Option<MultiplexedConnection>,
    /// Attempts to connect that failed, and why the last one did.
    failures: u64,
    why: String,
}

struct Nodes {
    /// The one connected to, or to be connected to next.
    at: HostPort,
    /// All of the cluster that were heard of last.
    known: Vec<HostPort>,
}

/// See the [module's](self) description.
pub(super) struct Hub {
    address: RedisAddress,
    target: Target,
    nodes: Mutex<Nodes>,
    /// One server under two names is two stores: whoever meets himself there is found out as another process is.
    process: ProcessId,
    shared: Arc<Shared>,
    barriers: Mutex<Vec<Weak<Barrier>>>,
    woken: Mutex<Vec<Arc<Barrier>>>,
    work: Notify,
    /// Somebody waits for a first connection.
    asked: Notify,
    line: watch::Sender<Line>,
    started: AtomicBool,
    closing: AtomicBool,
    ended: watch::Sender<bool>,
}

impl Hub {
    pub(super) fn new(address: RedisAddress, target: Target, shared: &Arc<Shared>) -> Arc<Self> {
        let at = match &target {
            Target::Node(node) => node.clone(),
            Target::Server | Target::Slot(_) => address.hosts()[0].clone(),
        };
        Arc::new(Self {
            address,
            target,
            nodes: Mutex::new(Nodes {
                at,
                known: Vec::new(),
            }),
            process: ProcessId::random(),
            shared: Arc::clone(shared),
            barriers: Mutex::default(),
            woken: Mutex::default(),
            work: Notify::new(),
            asked: Notify::new(),
            line: watch::Sender::default(),
            started: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            ended: watch::Sender::new(false),
        })
    }

    /// Connects, at the first need.
    fn start(self: &Arc<Self>) {
        if !self.started.swap(true, Ordering::AcqRel) {
            let hub = Arc::clone(self);
            self.shared.runtime.spawn(async move {
                // A bug here must not leave callers waiting for ever.
                if let Err(panic) = AssertUnwindSafe(run(Arc::clone(&hub))).catch_unwind().await {
                    let text = panic
                        .downcast_ref::<String>()
                        .map(String::as_str)
                        .or_else(|| panic.downcast_ref::<&str>().copied())
                        .unwrap_or("it panicked");
                    for barrier in hub.barriers() {
                        barrier.give_up(&Error::Bug(text.to_owned()));
                    }
                    hub.ended.send_replace(true);
                }
            });
        }
    }

    pub(super) fn attach(&self, barrier: &Arc<Barrier>) {
        lock(&self.barriers).push(Arc::downgrade(barrier));
    }

    /// The barrier has something to send.
    pub(super) fn wake(self: &Arc<Self>, barrier: Arc<Barrier>) {
        if self.is_closing() {
            return;
        }
        self.start();
        lock(&self.woken).push(barrier);
        self.work.notify_one();
    }

    /// Somebody waits for a first connection: the next attempt is made soon.
    pub(super) fn ask(&self) {
        self.asked.notify_one();
    }

    pub(super) const fn process(&self) -> &ProcessId {
        &self.process
    }

    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        if !self.started.load(Ordering::Acquire) {
            self.ended.send_replace(true);
        }
        self.work.notify_one();
        self.asked.notify_one();
    }

    /// Returns when the connection has been given up after [`Hub::close`].
    pub(super) async fn closed(&self) {
        let mut ended = self.ended.subscribe();
        let _ = ended.wait_for(|ended| *ended).await;
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    fn barriers(&self) -> Vec<Arc<Barrier>> {
        let mut barriers = self.barriers.lock().unwrap_or_else(PoisonError::into_inner);
        barriers.retain(|b| b.strong_count() > 0);
        barriers.iter().filter_map(Weak::upgrade).collect()
    }

    /// The server it is connected to, or will be next.
    pub(super) fn at(&self) -> HostPort {
        lock(&self.nodes).at.clone()
    }

    fn server(&self) -> Server {
        Server::new(&self.address, &self.at())
    }

    /// Finds the server to connect to.
    async fn find(&self) -> Result<HostPort, String> {
        if let Target::Slot(slot) = self.target {
            let known = lock(&self.nodes).known.clone();
            let topology = explore(&self.shared, &self.address, &known).await?;
            let owner = topology.owner(slot).ok_or_else(|| {
                let at = self.address.host_port();
                format!("no node of the cluster at {at} serves slot {slot} at the moment")
            })?;
            let mut nodes = lock(&self.nodes);
            nodes.at = owner.clone();
            nodes.known = topology.nodes().into_iter().collect();
        }
        Ok(self.at())
    }

    /// The connection, as soon as there is one; the reason where an attempt that began after the call failed.
    pub(super) async fn connection(
        self: &Arc<Self>,
        timeout: Duration,
    ) -> Result<MultiplexedConnection, Error> {
        self.start();
        let mut line = self.line.subscribe();
        let failures = line.borrow().failures;
        self.ask();
        let ready = |l: &Line| l.connection.is_some() || l.failures > failures;
        let found = match tokio::time::timeout(timeout, line.wait_for(ready)).await {
            Ok(Ok(found)) => (*found).clone(),
            Ok(Err(_)) => return Err(Error::Closed),
            Err(_) => {
                let at = self.at();
                return Err(Error::store(format!(
                    "{at} cannot be reached within {timeout:?}"
                )));
            }
        };
        found.connection.ok_or_else(|| Error::store(found.why))
    }

    /// Who is missing at a barrier.
    pub(super) async fn missing(
        self: &Arc<Self>,
        scripts: &Scripts,
        limit: usize,
        timeout: Duration,
    ) -> Result<Missing, Error> {
        let mut connection = self.connection(timeout).await?;
        let call = scripts.missing(limit);
        let value: Value = call
            .invoke_async(&mut connection)
            .await
            .map_err(|e| self.error(&e))?;
        decode_missing(value).map_err(|e| Error::store(e.to_string()))
    }

    pub(super) fn error(&self, error: &RedisError) -> Error {
        Error::store(explain(error, &self.server()).0)
    }
}

async fn run(hub: Arc<Hub>) {
    let backoff = || {
        ExponentialBuilder::default()
            .with_min_delay(BACKOFF_FIRST)
            .with_max_delay(BACKOFF_MAX)
            .with_jitter()
            .without_max_times()
            .build()
    };
    let mut delays = backoff();
    let mut was_up = false;
    while !hub.is_closing() {
        let (pushes_in, mut pushes) = mpsc::unbounded_channel();
        match connect_in_time(&hub, pushes_in).await {
            Ok(opened) => {
                let connection = opened.connection.clone();
                if was_up {
                    let at = hub.at();
                    hub.shared
                        .log(Level::Info, format!("store {at}: connected again"));
                }
                was_up = true;
                delays = backoff();
                hub.line
                    .send_modify(|l| l.connection = Some(connection.clone()));
                let why = serve(&hub, connection, &mut pushes).await;
                hub.line.send_modify(|l| l.connection = None);
                if hub.is_closing() {
                    break;
                }
                hub.shared.log(
                    Level::Warn,
                    format!("store {}: connection lost ({why}); reconnecting", hub.at()),
                );
                for barrier in hub.barriers() {
                    barrier.disconnected(&why);
                }
            }
            Err(why) => {
                hub.line.send_modify(|l| {
                    l.failures += 1;
                    l.why.clone_from(&why);
                });
                for barrier in hub.barriers() {
                    barrier.disconnected(&why);
                }
            }
        }
        tokio::time::sleep(BACKOFF_FIRST).await;
        let delay = delays.next().unwrap_or(BACKOFF_MAX);
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = hub.asked.notified() => {}
        }
    }
    // Barriers hold their hub: what it holds of them must go.
    lock(&hub.woken).clear();
    hub.ended.send_replace(true);
}

async fn connect_in_time(
    hub: &Hub,
    pushes: mpsc::UnboundedSender<PushInfo>,
) -> Result<Opened, String> {
    let timeout = hub
        .barriers()
        .iter()
        .map(|b| b.options().connect_timeout)
        .max()
        .unwrap_or(CONNECT_TIMEOUT);
    let connecting = async {
        let at = hub.find().await?;
        connect(&hub.shared, &hub.address, &at, Some(pushes)).await
    };
    match tokio::time::timeout(timeout, connecting).await {
        Ok(connected) => connected,
        Err(_) if hub.address.tls().is_some() => Err(format!(
            "{} cannot be reached within {timeout:?}; where it does not speak TLS, use redis:// or its port for TLS",
            hub.at()
        )),
        Err(_) => Err(format!("{} cannot be reached within {timeout:?}", hub.at())),
    }
}

/// Serves all barriers until the connection is of no use any more; says why.
async fn serve(
    hub: &Arc<Hub>,
    mut connection: MultiplexedConnection,
    pushes: &mut mpsc::UnboundedReceiver<PushInfo>,
) -> String {
    // The server answers in the order in which it was asked, and sessions count on that.
    let mut answers = FuturesOrdered::new();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut subscribed: Vec<u64> = Vec::new();
    let mut turn: Vec<Arc<Barrier>> = hub.barriers();
    let mut ready_to_go = false;
    let server = hub.server();
    loop {
        let now = Instant::now();
        for barrier in turn.drain(..).filter(|b| b.may_try(now)) {
            if !subscribed.contains(&barrier.key())
                && let Some(scripts) = barrier.scripts()
            {
                // Subscribed first: what is released after the barrier was opened is heard of.
                if let Err(error) = connection.subscribe(scripts.keys().channel()).await {
                    let (why, remedy) = explain(&error, &server);
                    barrier.refused(&why, remedy == Remedy::GiveUp, RETRY);
                    if remedy == Remedy::Reconnect {
                        return why;
                    }
                    continue;
                }
                subscribed.push(barrier.key());
                barrier.connected();
            }
            while let Some(request) = barrier.next_request() {
                let mut connection = connection.clone();
                let barrier = Arc::clone(&barrier);
                answers.push_back(async move {
                    let sent = Instant::now();
                    let answer: Result<Value, RedisError> = match barrier.scripts() {
                        Some(scripts) => {
                            let call = scripts.invocation(&request);
                            call.invoke_async(&mut connection).await
                        }
                        None => Ok(Value::Nil),
                    };
                    (barrier, sent, answer)
                });
            }
        }
        if hub.is_closing() {
            let barriers = hub.barriers();
            if !ready_to_go {
                ready_to_go = true;
                for barrier in &barriers {
                    barrier.begin_closing();
                }
                turn = barriers;
                continue;
            }
            if answers.is_empty() && barriers.iter().all(|b| b.is_idle()) {
                return "closed".into();
            }
        }
        tokio::select! {
            () = hub.work.notified() => turn = std::mem::take(&mut *lock(&hub.woken)),
            Some((barrier, sent, answer)) = answers.next() => {
                if let Err(why) = take_answer(&server, &barrier, sent, answer) {
                    return why;
                }
                turn.push(barrier);
            }
            push = pushes.recv() => match push {
                Some(push) if push.kind == PushKind::Disconnection => {
                    return format!("{} closed the connection", hub.at());
                }
                Some(push) => take_push(hub, push),
                None => return "the connection ended".into(),
            },
            _ = tick.tick() => {
                let now = Instant::now();
                turn = hub.barriers();
                for barrier in &turn {
                    if barrier.tick(now) {
                        say_hello(hub, barrier, &mut connection).await;
                    }
                }
            }
        }
    }
}

fn take_answer(
    server: &Server,
    barrier: &Arc<Barrier>,
    sent: Instant,
    answer: Result<Value, RedisError>,
) -> Result<(), String> {
    match answer {
        Ok(value) => match decode(value) {
            Ok(reply) => barrier.answered(reply, sent, Instant::now()),
            Err(unreadable) => barrier.refused(&unreadable.to_string(), true, RETRY),
        },
        Err(error) => {
            let (why, remedy) = explain(&error, server);
            if remedy == Remedy::Reconnect {
                return Err(why);
            }
            barrier.refused(&why, remedy == Remedy::GiveUp, RETRY);
        }
    }
    Ok(())
}

fn take_push(hub: &Hub, push: PushInfo) {
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
    for barrier in hub.barriers() {
        if barrier
            .scripts()
            .is_some_and(|s| s.keys().channel() == channel)
        {
            barrier.pushed(&push, received);
        }
    }
}

async fn say_hello(hub: &Hub, barrier: &Barrier, connection: &mut MultiplexedConnection) {
    let Some(scripts) = barrier.scripts() else {
        return;
    };
    let hello = Push::Hello {
        process: hub.process.clone(),
    };
    let hello = serde_json::to_string(&hello).unwrap_or_default();
    let sent: Result<Value, _> = redis::cmd("PUBLISH")
        .arg(scripts.keys().channel())
        .arg(hello)
        .query_async(connection)
        .await;
    if let Err(error) = sent {
        hub.shared
            .log(Level::Warn, explain(&error, &hub.server()).0);
    }
}
