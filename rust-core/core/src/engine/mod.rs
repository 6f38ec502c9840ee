//! The engine drives sessions: it owns the runtime, one connection per Redis server, the clock and the time-outs.
//!
//! A host (the C ABI, a test) hands in calls with tokens and gets each token completed exactly once through its [`Sink`].
//! No call blocks; [`Engine::close`] alone waits, up to its deadline.

mod barrier;
mod context;
mod deadlines;
mod log;
mod net;
mod news;
mod operator;
mod queues;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::address::RedisAddress;
use crate::error::{Error, OptionError};
use crate::ids::{BarrierName, RunId};
use crate::ledger::Token;
use crate::options::{BarrierOptions, SharedOptions, StoreAddress};
use crate::panics::{THREADS, install_hook};

pub use barrier::{Barrier, BrokenBy, BrokenInfo, Call, ReleaseInfo, Status, Submitted};
pub use log::{Level, Line, LogRing};
pub use news::{Emission, Resolved, Sink};
pub use operator::{Operator, OperatorOptions, OperatorQuestion};
pub use queues::{CounterOptions, QueueCounter};

use context::Context;
use net::{Cluster, Hub, Resolver, Servers, Target, slot_of};

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
    context: Arc<Context>,
    registry: Mutex<Registry>,
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
        install_hook();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name(THREADS)
            .enable_all()
            .build()
            .map_err(|e| Error::store(format!("the core cannot start: {e}")))?;
        let resolver = if host_resolves {
            Resolver::of_host(Arc::clone(&sink))
        } else {
            Resolver::default()
        };
        Ok(Self {
            context: Context::new(sink, resolver, runtime.handle().clone()),
            registry: Mutex::default(),
            runtime: Mutex::new(Some(runtime)),
        })
    }

    /// Lines that users should read.
    #[must_use]
    pub fn log(&self) -> &LogRing {
        &self.context.log
    }

    /// A line for the user, from the host's side of the boundary.
    pub fn tell(&self, level: Level, message: String) {
        self.context.tell(level, message);
    }

    /// The barrier of these options, made where this process has none yet. Nothing is connected.
    ///
    /// # Errors
    /// The process has opened it with other options, or the engine is closed.
    pub fn barrier(&self, options: BarrierOptions) -> Result<Arc<Barrier>, Error> {
        let mut registry = self.registry.lock();
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
                Some(registry.hub(address, target, &self.context))
            }
        };
        let barrier = Barrier::new(options, hub, &self.context);
        registry.barriers.insert(identity, Arc::clone(&barrier));
        Ok(barrier)
    }

    /// A counter of queues. Nothing is connected before its first question.
    ///
    /// # Errors
    /// The engine is closed.
    pub fn counter(&self, options: CounterOptions) -> Result<QueueCounter, Error> {
        let mut registry = self.registry.lock();
        if registry.closed {
            return Err(Error::Closed);
        }
        let servers = registry.servers(&options.redis, &self.context);
        Ok(QueueCounter::new(options, servers, &self.context))
    }

    /// Answers [`Emission::Resolve`]: the address, or why there is none. An answer nobody waits for is ignored.
    pub fn resolved(&self, token: Token, answer: Resolved) {
        self.context.resolver.answer(token, answer);
    }

    /// An operator of a server's barriers. Nothing is connected before its first question.
    ///
    /// # Errors
    /// The engine is closed.
    pub fn operator(&self, options: OperatorOptions) -> Result<Operator, Error> {
        let mut registry = self.registry.lock();
        if registry.closed {
            return Err(Error::Closed);
        }
        let servers = registry.servers(&options.redis, &self.context);
        Ok(Operator::new(options, servers, &self.context))
    }

    /// Delivers what is owed, says goodbye to the stores, and ends everything by the deadline; what still waits then
    /// completes with [`Error::Closed`]. Blocks; a second call does nothing.
    pub fn close(&self, deadline: Duration) {
        let Some(runtime) = self.runtime.lock().take() else {
            return;
        };
        let until = Instant::now() + deadline;
        let (barriers, hubs) = {
            let mut registry = self.registry.lock();
            registry.closed = true;
            let barriers: Vec<_> = registry.barriers.drain().map(|(_, b)| b).collect();
            let mut hubs: Vec<_> = registry.hubs.drain().map(|(_, h)| h).collect();
            hubs.extend(registry.clusters.drain().flat_map(|(_, c)| c.close()));
            (barriers, hubs)
        };
        for hub in &hubs {
            hub.close();
        }
        let connections = &self.context.connections;
        connections.close();
        let _ = runtime
            .block_on(async { tokio::time::timeout_at(until.into(), connections.wait()).await });
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
    fn hub(&mut self, address: &RedisAddress, target: Target, context: &Arc<Context>) -> Arc<Hub> {
        let hub = self
            .hubs
            .entry((address.clone(), target.clone()))
            .or_insert_with(|| Hub::new(address.clone(), target, context));
        Arc::clone(hub)
    }

    fn servers(&mut self, address: &RedisAddress, context: &Arc<Context>) -> Servers {
        if !address.is_cluster() {
            return Servers::One(self.hub(address, Target::Server, context));
        }
        let cluster = self
            .clusters
            .entry(address.clone())
            .or_insert_with(|| Arc::new(Cluster::new(address.clone(), context)));
        Servers::Cluster(Arc::clone(cluster))
    }
}

/// Checks options without an engine.
///
/// # Errors
/// As [`BarrierOptions::from_json`].
pub fn check_options(json: &[u8]) -> Result<(), OptionError> {
    BarrierOptions::from_json(json).map(drop)
}
