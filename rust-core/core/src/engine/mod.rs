//! The engine drives sessions: it owns the runtime, one connection per Redis server, the clock and the time-outs.
//!
//! A host (the C ABI, a test) hands in calls with tokens and gets each token completed exactly once through its [`Sink`].
//! No call blocks; [`Engine::close`] alone waits, up to its deadline.

mod barrier;
mod context;
mod deadlines;
mod groups;
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
use crate::group::options::GroupOptions;
use crate::ids::RunId;
use crate::ledger::Token;
use crate::options::{BarrierOptions, StoreAddress};
use crate::panics::install_hook;

pub use barrier::{
    Arrival, Barrier, BrokenBy, BrokenInfo, Call, Limit, OVER_BYTES_MAX, OVER_MAX, ReleaseInfo,
    Status, Submitted, Tally,
};
pub use groups::{Group, JoinCall};
pub use log::{Level, Line, LogRing};
pub use news::{Emission, Resolved, Sink};
pub use operator::{Operator, OperatorOptions, OperatorQuestion};
pub use queues::{CounterOptions, QueueCounter};

use context::Context;
use net::{Cluster, Hub, Resolver, Servers, Target, slot_of};

#[derive(Default)]
struct Registry {
    hubs: HashMap<(RedisAddress, Target), Arc<Hub>>,
    clusters: HashMap<RedisAddress, Arc<Cluster>>,
    /// By store, run and name.
    groups: HashMap<(StoreAddress, Option<String>, String), Arc<Group>>,
    closed: bool,
}

/// One process's barriers and counters. Safe to share between threads.
pub struct Engine {
    context: Arc<Context>,
    registry: Mutex<Registry>,
}

impl Engine {
    /// An engine that looks names up as the system does. Its one thread is started at the first need.
    #[must_use]
    pub fn new(sink: Arc<dyn Sink>) -> Self {
        Self::with_host(sink, false, || {})
    }

    /// As [`Engine::new`]; where `host_resolves`, names and addresses are asked of the host, before every connection. Each
    /// thread of the engine begins with `on_thread_start`.
    #[must_use]
    pub fn with_host(sink: Arc<dyn Sink>, host_resolves: bool, on_thread_start: fn()) -> Self {
        install_hook();
        let resolver = if host_resolves {
            Resolver::of_host(Arc::clone(&sink))
        } else {
            Resolver::default()
        };
        Self {
            context: Context::new(sink, resolver, on_thread_start),
            registry: Mutex::default(),
        }
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
    /// The process has opened it with other options, the engine is closed, or the system gives it no thread.
    pub fn barrier(&self, options: BarrierOptions) -> Result<Arc<Barrier>, Error> {
        self.context.roll.find_or_make(options, |options| {
            let hub = match &options.store {
                StoreAddress::Memory => {
                    if options.shared.is_timed() {
                        self.context.runtime()?; // a release that lies ahead has nobody to hear that it cannot start
                    }
                    None
                }
                StoreAddress::Redis(address) => {
                    self.context.runtime()?;
                    let target = target_of(address, options.run_id.as_ref());
                    let mut registry = self.registry.lock();
                    Some(registry.hub(address, target, &self.context))
                }
            };
            Ok(Barrier::new(options, hub, &self.context))
        })
    }

    /// The groups of these options, made where this process has none yet. Nothing is connected.
    ///
    /// # Errors
    /// As [`Engine::barrier`].
    pub fn group(&self, options: GroupOptions) -> Result<Arc<Group>, Error> {
        let mut registry = self.registry.lock();
        if registry.closed {
            return Err(Error::Closed);
        }
        self.context.runtime()?;
        let identity = Group::identity(&options);
        if let Some(known) = registry.groups.get(&identity) {
            known.found_by(&options)?;
            return Ok(Arc::clone(known));
        }
        let hub = match &options.store {
            StoreAddress::Memory => None,
            StoreAddress::Redis(address) => {
                let target = target_of(address, options.run_id.as_ref());
                Some(registry.hub(address, target, &self.context))
            }
        };
        let group = Group::new(Arc::new(options), hub, &self.context);
        registry.groups.insert(identity, Arc::clone(&group));
        Ok(group)
    }

    /// How many barriers there are.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.context.roll.tally()
    }

    /// A counter of queues. Nothing is connected before its first question.
    ///
    /// # Errors
    /// The engine is closed, or the system gives it no thread.
    pub fn counter(&self, options: CounterOptions) -> Result<QueueCounter, Error> {
        let mut registry = self.registry.lock();
        if registry.closed {
            return Err(Error::Closed);
        }
        self.context.runtime()?;
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
    /// The engine is closed, or the system gives it no thread.
    pub fn operator(&self, options: OperatorOptions) -> Result<Operator, Error> {
        let mut registry = self.registry.lock();
        if registry.closed {
            return Err(Error::Closed);
        }
        self.context.runtime()?;
        let servers = registry.servers(&options.redis, &self.context);
        Ok(Operator::new(options, servers, &self.context))
    }

    /// Delivers what is owed, says goodbye to the stores, and ends everything by the deadline; what still waits then
    /// completes with [`Error::Closed`]. Blocks; a second call does nothing.
    pub fn close(&self, deadline: Duration) {
        let until = Instant::now() + deadline;
        let barriers = self.context.roll.close();
        let (hubs, groups) = {
            let mut registry = self.registry.lock();
            registry.closed = true;
            let groups: Vec<_> = registry.groups.drain().map(|(_, g)| g).collect();
            let mut hubs: Vec<_> = registry.hubs.drain().map(|(_, h)| h).collect();
            hubs.extend(registry.clusters.drain().flat_map(|(_, c)| c.close()));
            (hubs, groups)
        };
        for hub in &hubs {
            hub.close();
        }
        self.context.close();
        let runtime = self.context.take_runtime();
        if let Some(runtime) = &runtime {
            let connections = &self.context.connections;
            let ended = async { tokio::time::timeout_at(until.into(), connections.wait()).await };
            let _ = runtime.block_on(ended);
        }
        for barrier in barriers {
            barrier.close();
        }
        for group in groups {
            group.end(&Error::Closed);
        }
        if let Some(runtime) = runtime {
            runtime.shutdown_timeout(until.saturating_duration_since(Instant::now()));
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.close(Duration::ZERO);
    }
}

/// The server that has a run's records.
fn target_of(address: &RedisAddress, run: Option<&RunId>) -> Target {
    match run {
        // All keys of a run are in one slot.
        Some(run) if address.is_cluster() => Target::Slot(slot_of(run.as_str())),
        _ => Target::Server,
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
