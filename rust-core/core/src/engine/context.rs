//! What all parts of an engine have in common.

use std::future::Future;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::log::{Level, LogRing};
use super::net::Resolver;
use super::news::{Emission, Sink};

/// What all parts of an engine have in common.
pub(crate) struct Context {
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) log: LogRing,
    pub(crate) resolver: Resolver,
    /// Connections, whose end an engine that closes waits for.
    pub(crate) connections: TaskTracker,
    runtime: Handle,
}

impl Context {
    pub(crate) fn new(sink: Arc<dyn Sink>, resolver: Resolver, runtime: Handle) -> Self {
        Self {
            sink,
            log: LogRing::default(),
            resolver,
            connections: TaskTracker::new(),
            runtime,
        }
    }

    /// A line for the user.
    pub(crate) fn tell(&self, level: Level, message: String) {
        self.log.push(level, message);
        self.sink.emit(&mut vec![Emission::Log]);
    }

    pub(crate) fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.runtime.spawn(task)
    }

    /// Runs a connection's life.
    pub(crate) fn connect(&self, life: impl Future<Output = ()> + Send + 'static) {
        self.connections.spawn_on(life, &self.runtime);
    }
}
