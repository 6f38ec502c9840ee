//! Who shares a connection.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Value};
use tokio::sync::Notify;

use crate::error::Error;
use crate::protocol::StoreTime;
use crate::store::redis::Keep;

/// An operation, ready to be sent over a connection.
pub(crate) type Operation =
    Box<dyn FnOnce(MultiplexedConnection) -> BoxFuture<'static, RedisResult<Value>> + Send>;

/// Who shares a connection: a barrier, or groups. Each gets its turn, in the order in which they asked for it.
pub(crate) trait Tenant: Send + Sync {
    /// Where its news come.
    fn channel(&self) -> &Arc<str>;
    /// How long it lets a connection take.
    fn connect_timeout(&self) -> Duration;
    /// Whether there is any point in asking the store for it now.
    fn may_try(&self, now: Instant) -> bool;
    /// Its channel is subscribed on a new connection.
    fn connected(&self);
    /// The connection is gone, or could not be made.
    fn disconnected(&self, why: &str);
    /// The next operation for the store, until there is none.
    fn next_operation(&self) -> Option<Operation>;
    /// The oldest operation on its way was answered. `time` is told the server's time before anything follows from the
    /// answer; an error says why it cannot be read.
    fn answered(
        &self,
        answer: Value,
        received: Instant,
        time: &mut dyn FnMut(StoreTime),
    ) -> Result<(), String>;
    /// The oldest operation on its way was refused.
    fn refused(&self, why: &str, for_good: bool, again_in: Duration);
    /// A message on its channel. `sent` is told when the server sent it, where the message says.
    fn pushed(&self, message: &[u8], sent: &mut dyn FnMut(StoreTime));
    /// What time alone brings.
    fn tick(&self, now: Instant) -> Tick;
    /// What keeps its record alive while it is asleep.
    fn keep(&self) -> Option<Keep>;
    /// Its record is not there any more.
    fn lost(&self);
    /// The process ends: what comes last is to be sent.
    fn begin_closing(&self);
    /// Nothing is on its way and nothing is owed.
    fn is_idle(&self) -> bool;
    /// Nothing comes from the store any more.
    fn give_up(&self, error: &Error);
}

/// What a moment brought a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tick {
    /// Nothing.
    Awake,
    /// `hello` is to be published.
    Hello,
    /// It falls asleep: it is over, and time alone brings nothing any more.
    Asleep,
}

type ByChannel = HashMap<Arc<str>, Weak<dyn Tenant>>;

/// All who share a connection, and those of them who want a turn.
#[derive(Default)]
pub(super) struct Tenants {
    by_channel: Mutex<ByChannel>,
    /// Those to whom time brings something.
    awake: Mutex<ByChannel>,
    /// Channels that nobody listens to any more.
    left: Mutex<Vec<Arc<str>>>,
    woken: Mutex<Vec<Arc<dyn Tenant>>>,
    work: Notify,
}

impl Tenants {
    pub(super) fn attach(&self, tenant: &Arc<dyn Tenant>) {
        let channel = Arc::clone(tenant.channel());
        self.by_channel
            .lock()
            .insert(channel, Arc::downgrade(tenant));
        self.rouse(tenant);
    }

    /// The tenant is gone for good; another one may have its channel by now.
    pub(super) fn detach(&self, tenant: &dyn Tenant) {
        let channel = tenant.channel();
        let is_it = |known: &Weak<dyn Tenant>| {
            std::ptr::addr_eq(known.as_ptr(), std::ptr::from_ref(tenant))
        };
        let mut by_channel = self.by_channel.lock();
        if by_channel.get(channel).is_some_and(is_it) {
            by_channel.remove(channel);
            self.awake.lock().remove(channel);
            self.left.lock().push(Arc::clone(channel));
            self.nudge();
        }
    }

    pub(super) fn all(&self) -> Vec<Arc<dyn Tenant>> {
        let mut by_channel = self.by_channel.lock();
        by_channel.retain(|_, tenant| tenant.strong_count() > 0);
        by_channel.values().filter_map(Weak::upgrade).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_channel.lock().is_empty()
    }

    pub(super) fn of_channel(&self, channel: &str) -> Option<Arc<dyn Tenant>> {
        self.by_channel.lock().get(channel)?.upgrade()
    }

    /// Time brings something to this one from now on.
    pub(super) fn rouse(&self, tenant: &Arc<dyn Tenant>) {
        let channel = Arc::clone(tenant.channel());
        self.awake.lock().insert(channel, Arc::downgrade(tenant));
    }

    /// All who are awake. They fall asleep by that, unless they are roused.
    pub(super) fn take_awake(&self) -> Vec<Arc<dyn Tenant>> {
        let awake = std::mem::take(&mut *self.awake.lock());
        awake.values().filter_map(Weak::upgrade).collect()
    }

    /// All who are asleep.
    pub(super) fn asleep(&self) -> Vec<Arc<dyn Tenant>> {
        let by_channel = self.by_channel.lock();
        let awake = self.awake.lock();
        let asleep = by_channel.iter().filter(|(c, _)| !awake.contains_key(*c));
        asleep.filter_map(|(_, tenant)| tenant.upgrade()).collect()
    }

    /// Channels that nobody listens to any more, once each.
    pub(super) fn take_left(&self) -> Vec<Arc<str>> {
        std::mem::take(&mut *self.left.lock())
    }

    /// The tenant has something to send.
    pub(super) fn wake(&self, tenant: Arc<dyn Tenant>) {
        self.rouse(&tenant);
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
