//! What runs stand on: a server, one with a replica, or a cluster; each started when a run first needs it.
#![allow(dead_code)] // each test uses a part of it

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use redis::Connection;

use crate::proxy::Proxy;
use crate::redis_cluster::{RedisCluster, until};
use crate::support::RedisServer;

/// Where the record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// On one server.
    Alone,
    /// On a server with a replica that takes over.
    WithReplica,
    /// On a cluster of three, whose slot moves.
    Cluster,
}

/// How a replica takes over. Afterwards the address leads to it, and the old primary is its replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failover {
    /// By hand: it has everything.
    Planned,
    /// It has not heard of what was written last, for so long.
    Behind(Duration),
    /// The primary was killed.
    Crash,
}

/// A replica that has just been asked for gets its data at once.
const ARGUMENTS: [&str; 2] = ["--repl-diskless-sync-delay", "0"];

/// The servers of one job, and where the record of its run is.
pub(crate) struct Ground {
    program: PathBuf,
    server: RedisServer,
    replica: Option<RedisServer>,
    cluster: Option<Cluster>,
    place: Place,
}

struct Cluster {
    redis: RedisCluster,
    /// Slots that are not where they were at the start.
    moved: HashMap<u16, usize>,
    /// The slot of the run.
    slot: u16,
    /// The node that has it.
    node: usize,
}

fn start(program: &Path) -> RedisServer {
    RedisServer::start_with_arguments(program, &ARGUMENTS)
}

fn follow(replica: &RedisServer, primary: &RedisServer) {
    let port = primary.port().to_string();
    let _: String = replica.ask(&["REPLICAOF", "127.0.0.1", &port]);
}

fn follow_nobody(server: &RedisServer) {
    let _: String = server.ask(&["REPLICAOF", "NO", "ONE"]);
}

fn says(server: &RedisServer, what: &str) -> bool {
    server
        .ask::<String>(&["INFO", "replication"])
        .contains(what)
}

impl Ground {
    pub(crate) fn new(program: &Path) -> Self {
        Self {
            program: program.to_owned(),
            server: start(program),
            replica: None,
            cluster: None,
            place: Place::Alone,
        }
    }

    /// Makes ready for a run: no keys, and a replica that follows where there is to be one.
    pub(crate) fn prepare(&mut self, place: Place, run_id: &str) {
        self.place = place;
        match self.place {
            Place::Alone => {
                if let Some(replica) = &self.replica {
                    follow_nobody(replica);
                }
            }
            Place::WithReplica => {
                let replica = self.replica.get_or_insert_with(|| start(&self.program));
                follow(replica, &self.server);
                until("the replica's data", || {
                    says(replica, "master_link_status:up")
                });
            }
            Place::Cluster => {
                let program = &self.program;
                let cluster = self.cluster.get_or_insert_with(|| Cluster {
                    redis: RedisCluster::start_with(program),
                    moved: HashMap::new(),
                    slot: 0,
                    node: 0,
                });
                let (slot, first) = cluster.redis.place(run_id);
                cluster.slot = slot;
                cluster.node = cluster.moved.get(&slot).copied().unwrap_or(first);
            }
        }
        for server in self.servers() {
            let _: String = server.ask(&["FLUSHALL"]);
        }
    }

    /// Those that take writes.
    pub(crate) fn servers(&self) -> &[RedisServer] {
        match (self.place, &self.cluster) {
            (Place::Cluster, Some(cluster)) => &cluster.redis.nodes,
            _ => std::slice::from_ref(&self.server),
        }
    }

    /// The one that has the record.
    pub(crate) fn server(&self) -> &RedisServer {
        match (self.place, &self.cluster) {
            (Place::Cluster, Some(cluster)) => &cluster.redis.nodes[cluster.node],
            _ => &self.server,
        }
    }

    pub(crate) fn connection(&self) -> Connection {
        self.server().connection()
    }

    /// The address of the record; a server's by the way of the process.
    pub(crate) fn url(&self, way: &Proxy) -> String {
        match (self.place, &self.cluster) {
            (Place::Cluster, Some(cluster)) => cluster.redis.url(&[0, 1, 2]),
            _ => format!("redis://127.0.0.1:{}", way.port()),
        }
    }

    /// Ports of all servers, to end them where their owner cannot.
    pub(crate) fn ports(&self) -> Vec<u16> {
        let nodes = self.cluster.iter().flat_map(|c| &c.redis.nodes);
        let servers = [&self.server].into_iter().chain(&self.replica).chain(nodes);
        servers.map(RedisServer::port).collect()
    }

    pub(crate) fn restart_empty(&mut self) {
        self.server.restart_empty();
    }

    /// The replica takes over; `lead` is told its port once it does. The old primary follows it.
    pub(crate) fn fail_over(&mut self, how: Failover, lead: impl FnOnce(u16)) {
        let replica = self.replica.as_mut().expect("the plan says so");
        match how {
            Failover::Planned => {
                let port = replica.port().to_string();
                // Refused until the replica is in sync, and given up by the server where it does not get so in time.
                until("the failover", || {
                    let asked: redis::RedisResult<String> = redis::cmd("FAILOVER")
                        .arg(&["TO", "127.0.0.1", &port, "TIMEOUT", "2000"])
                        .query(&mut self.server.connection());
                    drop(asked);
                    // The old primary is the first to change, and changes back where the other one goes away.
                    says(&self.server, "role:slave")
                        && says(&self.server, "master_failover_state:no-failover")
                        && says(replica, "role:master")
                });
                lead(replica.port());
            }
            Failover::Behind(time) => {
                follow_nobody(replica);
                std::thread::sleep(time);
                lead(replica.port());
                follow(&self.server, replica);
            }
            Failover::Crash => {
                self.server.kill();
                follow_nobody(replica);
                lead(replica.port());
                self.server.restart_empty();
                follow(&self.server, replica);
            }
        }
        std::mem::swap(&mut self.server, replica);
    }

    /// The slot of the run goes so many nodes on.
    pub(crate) fn move_slot(&mut self, by: usize, pause: Duration) {
        let cluster = self.cluster.as_mut().expect("the plan says so");
        let (slot, from) = (cluster.slot, cluster.node);
        let to = (from + by) % 3;
        cluster.redis.begin_move(slot, from, to);
        std::thread::sleep(pause);
        // What was written meanwhile is found by another look.
        while cluster.redis.move_keys(slot, from, to) > 0 {
            std::thread::sleep(pause / 2);
        }
        cluster.redis.end_move(slot, from, to);
        cluster.moved.insert(slot, to);
        cluster.node = to;
    }
}
