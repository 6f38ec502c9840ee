//! Whom counters and operators ask: one server, or each node of a cluster for its own keys.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::address::{HostPort, RedisAddress};
use crate::engine::context::Context;
use crate::error::Error;

use super::hub::{Hub, Target};
use super::topology::{Topology, explore, slot_of};

/// Whom counters and operators ask.
#[derive(Clone)]
pub(crate) enum Servers {
    /// One server for everything.
    One(Arc<Hub>),
    /// Each node of a cluster for its own keys.
    Cluster(Arc<Cluster>),
}

impl Servers {
    /// Everyone who holds keys.
    pub(crate) async fn all(&self) -> Result<Vec<Arc<Hub>>, Error> {
        match self {
            Self::One(hub) => Ok(vec![Arc::clone(hub)]),
            Self::Cluster(cluster) => {
                let topology = cluster.topology(true).await.map_err(Error::store)?;
                let nodes = topology.nodes();
                nodes.iter().map(|node| cluster.hub(node)).collect()
            }
        }
    }

    /// Who holds a key.
    pub(crate) async fn holder(&self, key: &str) -> Result<Arc<Hub>, Error> {
        match self {
            Self::One(hub) => Ok(Arc::clone(hub)),
            Self::Cluster(cluster) => {
                let topology = cluster.topology(true).await.map_err(Error::store)?;
                let node = topology.owner(slot_of(key)).ok_or_else(|| {
                    Error::store(format!("no node of the cluster serves the slot of {key}"))
                })?;
                cluster.hub(node)
            }
        }
    }

    /// Whether a run id stands in braces in the names of keys.
    pub(crate) const fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }
}

/// A cluster as counters and operators see it.
pub(crate) struct Cluster {
    address: RedisAddress,
    context: Arc<Context>,
    members: Mutex<Members>,
}

#[derive(Default)]
struct Members {
    topology: Option<Arc<Topology>>,
    nodes: HashMap<HostPort, Arc<Hub>>,
    closed: bool,
}

impl Cluster {
    pub(crate) fn new(address: RedisAddress, context: &Arc<Context>) -> Self {
        Self {
            address,
            context: Arc::clone(context),
            members: Mutex::default(),
        }
    }

    /// Who serves what: as known, or asked anew.
    pub(crate) async fn topology(&self, anew: bool) -> Result<Arc<Topology>, String> {
        let known = {
            let members = self.members.lock();
            if let (Some(topology), false) = (&members.topology, anew) {
                return Ok(Arc::clone(topology));
            }
            members.nodes.keys().cloned().collect::<Vec<_>>()
        };
        let topology = Arc::new(explore(&self.context.resolver, &self.address, &known).await?);
        let mut members = self.members.lock();
        let nodes = topology.nodes();
        for (_, gone) in members.nodes.extract_if(|node, _| !nodes.contains(node)) {
            gone.close();
        }
        members.topology = Some(Arc::clone(&topology));
        Ok(topology)
    }

    /// The connection to a node.
    pub(crate) fn hub(&self, node: &HostPort) -> Result<Arc<Hub>, Error> {
        let mut members = self.members.lock();
        if members.closed {
            return Err(Error::Closed);
        }
        let hub = members.nodes.entry(node.clone()).or_insert_with(|| {
            let target = Target::Node(node.clone());
            Hub::new(self.address.clone(), target, &self.context)
        });
        Ok(Arc::clone(hub))
    }

    /// Gives the connections up; the engine waits for their end.
    pub(crate) fn close(&self) -> Vec<Arc<Hub>> {
        let mut members = self.members.lock();
        members.closed = true;
        members.nodes.drain().map(|(_, hub)| hub).collect()
    }
}
