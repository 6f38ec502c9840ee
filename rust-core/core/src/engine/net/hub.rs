//! The one connection to a Redis server, shared by all barriers and counters of the process.

use std::sync::{Arc, Once};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use parking_lot::{Mutex, MutexGuard};
use redis::aio::MultiplexedConnection;
use redis::{PushInfo, RedisError};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::address::{HostPort, RedisAddress};
use crate::clock::StoreClock;
use crate::engine::context::Context;
use crate::engine::log::Level;
use crate::error::Error;
use crate::ids::ProcessId;

use super::connect::{Opened, connect};
use super::failure::{Remedy, Server, explain};
use super::serve::{Complaint, Desk, Service};
use super::tenants::{Tenant, Tenants};
use super::topology::explore;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const BACKOFF_FIRST: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Which server of its address a hub connects to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    /// The only one.
    Server,
    /// The node of a cluster that serves this slot at the time.
    Slot(u16),
    /// This node of a cluster.
    Node(HostPort),
}

/// What those who ask through the connection see of it.
#[derive(Clone, Default)]
struct Availability {
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
pub(crate) struct Hub {
    address: RedisAddress,
    target: Target,
    nodes: Mutex<Nodes>,
    desk: Desk,
    /// Somebody waits for a first connection.
    asked: Notify,
    availability: watch::Sender<Availability>,
    started: Once,
}

/// The connection's life. With its end, even where that comes before its first step, nobody waits for a turn any more: who does
/// has the hub, which would have them for ever.
struct Life(Arc<Hub>);

impl Drop for Life {
    fn drop(&mut self) {
        self.0.desk.tenants.clear();
    }
}

impl Hub {
    pub(crate) fn new(address: RedisAddress, target: Target, context: &Arc<Context>) -> Arc<Self> {
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
            desk: Desk {
                context: Arc::clone(context),
                tenants: Tenants::default(),
                clock: Mutex::default(),
                process: ProcessId::random(),
                closing: CancellationToken::new(),
                complaint: Mutex::default(),
            },
            asked: Notify::new(),
            availability: watch::Sender::default(),
            started: Once::new(),
        })
    }

    /// Connects, at the first need.
    fn start(self: &Arc<Self>) {
        self.started.call_once(|| {
            let (life, tenants) = (Life(Arc::clone(self)), Arc::clone(self));
            let given_up = move |error: &Error| {
                for tenant in tenants.desk.tenants.all() {
                    tenant.give_up(error);
                }
            };
            let context = &self.desk.context;
            // Whoever made the hub has started the runtime, or has heard that it cannot start.
            let live = async move {
                let life = life;
                life.0.live().await;
            };
            let _started = context.spawn_connection(live, given_up);
        });
    }

    pub(crate) fn attach(&self, tenant: &Arc<dyn Tenant>) {
        self.desk.tenants.attach(tenant);
    }

    /// The tenant is gone for good.
    pub(crate) fn detach(&self, tenant: &dyn Tenant) {
        self.desk.tenants.detach(tenant);
    }

    /// The tenant has something to send.
    pub(crate) fn wake(self: &Arc<Self>, tenant: Arc<dyn Tenant>) {
        if self.desk.closing.is_cancelled() {
            return;
        }
        self.start();
        self.desk.tenants.wake(tenant);
    }

    /// Somebody waits for a first connection: the next attempt is made soon.
    pub(crate) fn ask(&self) {
        self.asked.notify_one();
    }

    pub(crate) const fn process(&self) -> &ProcessId {
        &self.desk.process
    }

    /// Delivers what is owed and gives the connection up; [`Context::connections`] knows when that is done.
    pub(crate) fn close(&self) {
        self.desk.closing.cancel();
        self.desk.tenants.nudge();
    }

    /// The server's clock.
    pub(crate) fn clock(&self) -> MutexGuard<'_, StoreClock> {
        self.desk.clock.lock()
    }

    /// The server it is connected to, or will be next.
    pub(crate) fn at(&self) -> HostPort {
        self.nodes.lock().at.clone()
    }

    fn server(&self) -> Server {
        Server::new(&self.address, &self.at())
    }

    /// The connection, as soon as there is one; the reason where an attempt that began after the call failed.
    pub(crate) async fn connection(
        self: &Arc<Self>,
        timeout: Duration,
    ) -> Result<MultiplexedConnection, Error> {
        self.start();
        let mut availability = self.availability.subscribe();
        let failures = availability.borrow().failures;
        self.ask();
        let ready = |a: &Availability| a.connection.is_some() || a.failures > failures;
        let found = match tokio::time::timeout(timeout, availability.wait_for(ready)).await {
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

    /// What somebody was answered who asks through [`Hub::connection`]. The connection is given up where it is of no use.
    pub(crate) fn error(&self, error: &RedisError) -> Error {
        let (why, remedy) = explain(error, &self.server());
        // That a key is elsewhere is no fault of the connection.
        if remedy == Remedy::Reconnect && !error.is_cluster_error() {
            self.complain(Complaint::Useless(why.clone()));
        }
        Error::store(why)
    }

    /// Somebody who asks through [`Hub::connection`] has given up waiting: is anybody there?
    pub(crate) fn unanswered(&self) -> Error {
        self.complain(Complaint::Silent);
        Error::store(format!("{} has not answered in time", self.at()))
    }

    fn complain(&self, complaint: Complaint) {
        *self.desk.complaint.lock() = Some(complaint);
        self.desk.tenants.nudge();
    }

    // ---- the life of the connection ----

    async fn live(&self) {
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
        while !self.desk.closing.is_cancelled() {
            let (pushes_in, mut pushes) = mpsc::unbounded_channel();
            let mut in_a_hurry = true;
            let why = match self.connect(pushes_in).await {
                Ok(opened) => {
                    let (why, was_of_use) = self.serve(&opened, &mut pushes, was_up).await;
                    if self.desk.closing.is_cancelled() {
                        break;
                    }
                    // Whoever connects and is refused then must not hammer at the server either.
                    in_a_hurry = was_of_use;
                    if was_of_use {
                        was_up = true;
                        delays = backoff();
                        let line =
                            format!("store {}: connection lost ({why}); reconnecting", self.at());
                        self.desk.context.tell(Level::Warn, line);
                    }
                    why
                }
                Err(why) => {
                    self.availability.send_modify(|a| {
                        a.failures += 1;
                        a.why.clone_from(&why);
                    });
                    why
                }
            };
            for tenant in self.desk.tenants.all() {
                tenant.disconnected(&why);
            }
            tokio::time::sleep(BACKOFF_FIRST).await;
            let delay = delays.next().unwrap_or(BACKOFF_MAX);
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = self.asked.notified(), if in_a_hurry => {}
                () = self.desk.closing.cancelled() => {}
            }
        }
    }

    /// Why the connection is of no use any more, and whether it ever was.
    async fn serve(
        &self,
        opened: &Opened,
        pushes: &mut mpsc::UnboundedReceiver<PushInfo>,
        was_up: bool,
    ) -> (String, bool) {
        let connection = opened.connection.clone();
        self.availability
            .send_modify(|a| a.connection = Some(connection.clone()));
        let greeting = was_up.then(|| format!("store {}: connected again", self.at()));
        let mut service = Service::new(&self.desk, self.server(), connection, greeting);
        let why = service.run(pushes).await;
        self.availability.send_modify(|a| a.connection = None);
        (why, service.was_of_use())
    }

    async fn connect(&self, pushes: mpsc::UnboundedSender<PushInfo>) -> Result<Opened, String> {
        let tenants = self.desk.tenants.all();
        let timeout = tenants.iter().map(|t| t.connect_timeout()).max();
        let timeout = timeout.unwrap_or(CONNECT_TIMEOUT);
        let connecting = async {
            let at = self.find().await?;
            connect(
                &self.desk.context.resolver,
                &self.address,
                &at,
                Some(pushes),
            )
            .await
        };
        match tokio::time::timeout(timeout, connecting).await {
            Ok(connected) => connected,
            Err(_) if self.address.tls().is_some() => Err(format!(
                "{} cannot be reached within {timeout:?}; where it does not speak TLS, use redis:// or its port for TLS",
                self.at()
            )),
            Err(_) => Err(format!(
                "{} cannot be reached within {timeout:?}",
                self.at()
            )),
        }
    }

    /// Finds the server to connect to.
    async fn find(&self) -> Result<HostPort, String> {
        if let Target::Slot(slot) = self.target {
            let known = self.nodes.lock().known.clone();
            let topology = explore(&self.desk.context.resolver, &self.address, &known).await?;
            let owner = topology.owner(slot).ok_or_else(|| {
                let at = self.address.host_port();
                format!("no node of the cluster at {at} serves slot {slot} at the moment")
            })?;
            let mut nodes = self.nodes.lock();
            nodes.at = owner.clone();
            nodes.known = topology.nodes().into_iter().collect();
        }
        Ok(self.at())
    }
}
