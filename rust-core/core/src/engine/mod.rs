//! The engine drives sessions: it owns the runtime, one connection per Redis server, the clock and the time-outs.
//!
//! A host (the C ABI, a test) hands in calls with tokens and gets each token completed exactly once through its [`Sink`].
//! No call blocks; [`Engine::close`] alone waits, up to its deadline.

mod barrier;
mod cluster;
mod connect;
mod counter;
mod hub;
mod log;
mod lookup;
mod operator;
mod redis_error;
mod release;
mod status;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::address::RedisAddress;
use crate::error::{Error, OptionError};
use crate::ids::Phase;
use crate::ids::{BarrierName, RunId};
use crate::ledger::{Answered, Token};
use crate::options::{BarrierOptions, SharedOptions, StoreAddress};
use crate::session::Done;

pub use barrier::{Barrier, Call, Submitted};
pub use counter::{CounterOptions, QueueCounter};
pub use log::{Level, Line, LogRing};
pub use operator::{Operator, OperatorOptions, OperatorQuestion};
pub use status::{ReleaseInfo, Status};

use cluster::{Cluster, Servers, slot_of};
use hub::{Hub, Target};
use lookup::Lookups;

/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(50);

/// What an engine tells its host.
#[derive(Debug)]
pub enum Emission {
    /// A call ended.
    Done {
        /// Whose call.
        token: Token,
        /// How.
        result: Result<Done, Error>,
        /// Where the call failed: the outcome that stands all the same.
        standing: Option<Answered>,
    },
    /// A question was answered, in JSON.
    Text {
        /// Whose question.
        token: Token,
        /// The answer.
        result: Result<String, Error>,
    },
    /// The phase and all before it are released now: one for all waiters.
    Released {
        /// [`Barrier::key`].
        barrier: u64,
        /// The phase.
        phase: Phase,
        /// The release's instant on the wall clock, in microseconds since the epoch.
        at: i64,
        /// Other processes are released at the same instant.
        shared: bool,
    },
    /// The barrier is broken for good: one for all waiters.
    Broken {
        /// [`Barrier::key`].
        barrier: u64,
    },
    /// Lines wait in [`Engine::log`].
    Log,
    /// What does this name stand for? [`Engine::resolved`] takes the answer. Only of an engine whose host resolves.
    Resolve {
        /// The question.
        token: Token,
        /// `host:port`, an IPv6 address in brackets.
        host: String,
    },
}

/// Takes what an engine says. Called from the engine's thread and from callers' threads, under the lock of a barrier: it
/// must not block, and must not call the engine.
pub trait Sink: Send + Sync + 'static {
    /// Takes news, in order; leaves the list empty.
    fn emit(&self, news: &mut Vec<Emission>);
}

/// What barriers and connections share.
pub(crate) struct Shared {
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) log: LogRing,
    pub(crate) runtime: tokio::runtime::Handle,
    host_resolves: bool,
    lookups: Lookups,
}

impl Shared {
    pub(crate) fn log(&self, level: Level, message: String) {
        self.log.push(level, message);
        self.sink.emit(&mut vec![Emission::Log]);
    }
}

#[derive(PartialEq, Eq, Hash)]
struct Identity {
    store: StoreAddress,
    run: Option<RunId>,
    name: BarrierName,
}

#[derive(Default)]
struct Registry {
    barriers: HashMap<Identity, Arc<Barrier>>,
    hubs: HashMap<(RedisAddress, Target), Arc<Hub>>,
    clusters: HashMap<RedisAddress, Arc<Cluster>>,
    closed: bool,
}

/// One process's barriers and counters. Safe to share between threads.
pub struct Engine {
    shared: Arc<Shared>,
    registry: Arc<Mutex<Registry>>,
    runtime: Mutex<Option<tokio::runtime::Runtime>>,
}

impl Engine {
    /// Starts the runtime: one thread for everything. Names are looked up as the system does.
    ///
    /// # Errors
    /// Where the system gives no thread or no poller.
    pub fn start(sink: Arc<dyn Sink>) -> Result<Self, Error> {
        Self::start_with(sink, false)
    }

    /// As [`Engine::start`]; where `host_resolves`, names and addresses are asked of the host, before every connection.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub fn start_with(sink: Arc<dyn Sink>, host_resolves: bool) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("k6-barrier")
            .enable_all()
            .build()
            .map_err(|e| Error::store(format!("the core cannot start: {e}")))?;
        let registry = Arc::new(Mutex::new(Registry::default()));
        runtime.spawn(watch_deadlines(Arc::downgrade(&registry)));
        Ok(Self {
            shared: Arc::new(Shared {
                sink,
                log: LogRing::default(),
                runtime: runtime.handle().clone(),
                host_resolves,
                lookups: Lookups::default(),
            }),
            registry,
            runtime: Mutex::new(Some(runtime)),
        })
    }

    /// Lines that users should read.
    #[must_use]
    pub fn log(&self) -> &LogRing {
        &self.shared.log
    }

    /// The barrier of these options, made where this process has none yet. Nothing is connected.
    ///
    /// # Errors
    /// The process has opened it with other options, or the engine is closed.
    pub fn barrier(&self, options: BarrierOptions) -> Result<Arc<Barrier>, Error> {
        let mut registry = lock(&self.registry);
        if registry.closed {
            return Err(Error::Closed);
        }
        let identity = Identity {
            store: options.store.clone(),
            run: options.run_id.clone(),
            name: options.name.clone(),
        };
        if let Some(known) = registry.barriers.get(&identity) {
            let theirs = &known.options().shared;
            if *theirs != options.shared {
                let difference =
                    SharedOptions::difference(&options.shared.canonical(), &theirs.canonical());
                return Err(difference.into());
            }
            known.add_reasons(&options.reasons);
            return Ok(Arc::clone(known));
        }
        let hub = match &options.store {
            StoreAddress::Memory => None,
            StoreAddress::Redis(address) => {
                let target = match &options.run_id {
                    // All keys of a run are in one slot.
                    Some(run) if address.is_cluster() => Target::Slot(slot_of(run.as_str())),
                    _ => Target::Server,
                };
                Some(registry.hub(address, target, &self.shared))
            }
        };
        let barrier = Barrier::new(options, hub, &self.shared);
        registry.barriers.insert(identity, Arc::clone(&barrier));
        Ok(barrier)
    }

    /// A counter of queues. Nothing is connected before its first question.
    ///
    /// # Errors
    /// The engine is closed.
    pub fn counter(&self, options: CounterOptions) -> Result<QueueCounter, Error> {
        let mut registry = lock(&self.registry);
        if registry.closed {
            return Err(Error::Closed);
        }
        let servers = registry.servers(&options.redis, &self.shared);
        Ok(QueueCounter::new(options, servers, &self.shared))
    }

    /// Answers [`Emission::Resolve`]: the address, or why there is none. An answer nobody waits for is ignored.
    pub fn resolved(&self, token: Token, answer: Result<SocketAddr, String>) {
        self.shared.lookups.answer(token, answer);
    }

    /// An operator of a server's barriers. Nothing is connected before its first question.
    ///
    /// # Errors
    /// The engine is closed.
    pub fn operator(&self, options: OperatorOptions) -> Result<Operator, Error> {
        let mut registry = lock(&self.registry);
        if registry.closed {
            return Err(Error::Closed);
        }
        let servers = registry.servers(&options.redis, &self.shared);
        Ok(Operator::new(options, servers, &self.shared))
    }

    /// Delivers what is owed, says goodbye to the stores, and ends everything by the deadline; what still waits then
    /// completes with [`Error::Closed`]. Blocks; a second call does nothing.
    pub fn close(&self, deadline: Duration) {
        let Some(runtime) = lock(&self.runtime).take() else {
            return;
        };
        let until = Instant::now() + deadline;
        let (barriers, hubs) = {
            let mut registry = lock(&self.registry);
            registry.closed = true;
            let barriers: Vec<_> = registry.barriers.drain().map(|(_, b)| b).collect();
            let mut hubs: Vec<_> = registry.hubs.drain().map(|(_, h)| h).collect();
            hubs.extend(registry.clusters.drain().flat_map(|(_, c)| c.close()));
            (barriers, hubs)
        };
        for hub in &hubs {
            hub.close();
        }
        runtime.block_on(async {
            for hub in &hubs {
                let _ = tokio::time::timeout_at(until.into(), hub.closed()).await;
            }
        });
        for barrier in barriers {
            barrier.close();
        }
        runtime.shutdown_timeout(until.saturating_duration_since(Instant::now()));
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.close(Duration::ZERO);
    }
}

impl Registry {
    fn hub(&mut self, address: &RedisAddress, target: Target, shared: &Arc<Shared>) -> Arc<Hub> {
        let hub = self
            .hubs
            .entry((address.clone(), target.clone()))
            .or_insert_with(|| Hub::new(address.clone(), target, shared));
        Arc::clone(hub)
    }

    fn servers(&mut self, address: &RedisAddress, shared: &Arc<Shared>) -> Servers {
        if !address.is_cluster() {
            return Servers::One(self.hub(address, Target::Server, shared));
        }
        let cluster = self
            .clusters
            .entry(address.clone())
            .or_insert_with(|| Arc::new(Cluster::new(address.clone(), shared)));
        Servers::Cluster(Arc::clone(cluster))
    }
}

async fn watch_deadlines(registry: Weak<Mutex<Registry>>) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Some(registry) = registry.upgrade() else {
            return;
        };
        let shared_ones: Vec<_> = lock(&registry)
            .barriers
            .values()
            .filter(|b| b.is_shared())
            .cloned()
            .collect();
        for barrier in shared_ones {
            barrier.expire_calls(Instant::now());
        }
    }
}

/// Locks; a panic of another holder does not spoil plain data.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Checks options without an engine.
///
/// # Errors
/// As [`BarrierOptions::from_json`].
pub fn check_options(json: &[u8]) -> Result<(), OptionError> {
    BarrierOptions::from_json(json).map(drop)
}
