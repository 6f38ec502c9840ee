//! The way to Redis: names, connections, nodes of a cluster, and what failures mean.
//!
//! A [`Hub`] keeps one connection and gives each of its [`Tenant`]s a turn. It knows nothing of barriers.

mod connect;
mod failure;
mod hub;
mod resolve;
mod serve;
mod servers;
mod tenants;
mod topology;

pub(crate) use hub::{Hub, Target};
pub(crate) use resolve::Resolver;
pub(crate) use servers::{Cluster, Servers};
pub(crate) use tenants::{Operation, Tenant, Tick};
pub(crate) use topology::{Topology, slot_of};
