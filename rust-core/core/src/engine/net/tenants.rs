//! Who shares a connection.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::error::Error;
use crate::protocol::{Push, Reply, Request};
use crate::store::redis::Scripts;

/// Who shares a connection: a barrier. Each gets its turn, in the order in which they asked for it.
pub(crate) trait Tenant: Send + Sync {
    /// Its calls, keys and channel.
    fn scripts(&self) -> &Scripts;
    /// How long it lets a connection take.
    fn connect_timeout(&self) -> Duration;
    /// Whether there is any point in asking the store for it now.
    fn may_try(&self, now: Instant) -> bool;
    /// Its channel is subscribed on a new connection.
    fn connected(&self);
    /// The connection is gone, or could not be made.
    fn disconnected(&self, why: &str);
    /// The next operation for the store, until there is none.
    fn next_request(&self) -> Option<Request>;
    /// The oldest operation on its way was answered.
    fn answered(&self, reply: Reply, received: Instant);
    /// The oldest operation on its way was refused.
    fn refused(&self, why: &str, for_good: bool, again_in: Duration);
    /// A message from the store.
    fn pushed(&self, push: &Push);
    /// What time alone brings. True where `hello` is to be published.
    fn tick(&self, now: Instant) -> bool;
    /// The process ends: what comes last is to be sent.
    fn begin_closing(&self);
    /// Nothing is on its way and nothing is owed.
    fn is_idle(&self) -> bool;
    /// Nothing comes from the store any more.
    fn give_up(&self, error: &Error);
}

/// All who share a connection, and those of them who want a turn.
#[derive(Default)]
pub(super) struct Tenants {
    by_channel: Mutex<HashMap<String, Weak<dyn Tenant>>>,
    woken: Mutex<Vec<Arc<dyn Tenant>>>,
    work: Notify,
}

impl Tenants {
    pub(super) fn attach(&self, tenant: &Arc<dyn Tenant>) {
        let channel = tenant.scripts().keys().channel();
        let mut by_channel = self.by_channel.lock();
        by_channel.insert(channel, Arc::downgrade(tenant));
    }

    pub(super) fn all(&self) -> Vec<Arc<dyn Tenant>> {
        let mut by_channel = self.by_channel.lock();
        by_channel.retain(|_, tenant| tenant.strong_count() > 0);
        by_channel.values().filter_map(Weak::upgrade).collect()
    }

    pub(super) fn of_channel(&self, channel: &str) -> Option<Arc<dyn Tenant>> {
        self.by_channel.lock().get(channel)?.upgrade()
    }

    /// The tenant has something to send.
    pub(super) fn wake(&self, tenant: Arc<dyn Tenant>) {
        self.woken.lock().push(tenant);
        self.nudge();
    }

    /// Somebody should look at what has changed.
    pub(super) fn nudge(&self) {
        self.work.notify_one();
    }

    /// Waits until somebody wants a turn, and gives all of them.
    pub(super) async fn woken(&self) -> Vec<Arc<dyn Tenant>> {
        self.work.notified().await;
        std::mem::take(&mut *self.woken.lock())
    }

    /// Tenants hold their hub: what it holds of them must go.
    pub(super) fn clear(&self) {
        self.woken.lock().clear();
    }
}
