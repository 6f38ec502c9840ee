//! A real Redis Cluster of the test's own: three primaries, and replicas where wanted.
#![allow(dead_code)] // each test file uses a part of it

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use redis::{Connection, FromRedisValue, Value};

use crate::support::{RedisServer, binary};

const SLOTS: u16 = 16384;

/// Ends with the test.
pub(crate) struct RedisCluster {
    /// First the three primaries with a third of the slots each, then the replica of the first where there is one.
    pub(crate) nodes: Vec<RedisServer>,
}

impl RedisCluster {
    pub(crate) fn start() -> Self {
        Self::with_nodes(3)
    }

    /// The same with nodes of this program.
    pub(crate) fn start_with(binary: &Path) -> Self {
        Self::join((0..3).map(|_| start_node(binary, &[], false)).collect(), 0)
    }

    /// As [`RedisCluster::start`], with a fourth node that replicates the first.
    pub(crate) fn with_replica() -> Self {
        let cluster = Self::with_nodes(4);
        let of = cluster.text(0, &["CLUSTER", "MYID"]);
        // It is refused until the fourth has heard of the first.
        until("the replica", || {
            ask(&mut cluster.node(3), &["CLUSTER", "REPLICATE", &of]).is_ok()
        });
        until("its data", || {
            cluster
                .text(3, &["INFO", "replication"])
                .contains("master_link_status:up")
        });
        cluster
    }

    /// As [`RedisCluster::start`], with TLS on the next port of each node and between the nodes.
    pub(crate) fn secure(arguments: &[&str]) -> Self {
        Self::join(
            (0..3)
                .map(|_| start_node(&binary(), arguments, true))
                .collect(),
            1,
        )
    }

    fn with_nodes(count: usize) -> Self {
        Self::join(
            (0..count)
                .map(|_| start_node(&binary(), &[], false))
                .collect(),
            0,
        )
    }

    /// Makes a cluster of nodes that hear each other this far from their plain port.
    fn join(nodes: Vec<RedisServer>, apart: u16) -> Self {
        let count = nodes.len();
        let cluster = Self { nodes };
        for node in 0..3 {
            let bound = |n: usize| u16::try_from(n * usize::from(SLOTS) / 3).expect("few slots");
            let slots: Vec<String> = (bound(node)..bound(node + 1))
                .map(|s| s.to_string())
                .collect();
            let mut command = vec!["CLUSTER", "ADDSLOTS"];
            command.extend(slots.iter().map(String::as_str));
            cluster.text(node, &command);
        }
        for node in 1..count {
            let port = (cluster.nodes[node].port() + apart).to_string();
            cluster.text(0, &["CLUSTER", "MEET", "127.0.0.1", &port]);
        }
        let known = format!("cluster_known_nodes:{count}");
        for node in 0..count {
            until("the cluster", || {
                let info = cluster.text(node, &["CLUSTER", "INFO"]);
                info.contains("cluster_state:ok") && info.contains(&known)
            });
        }
        cluster
    }

    /// A URL that names these nodes.
    pub(crate) fn url(&self, nodes: &[usize]) -> String {
        let hosts: Vec<_> = nodes
            .iter()
            .map(|n| format!("127.0.0.1:{}", self.nodes[*n].port()))
            .collect();
        format!("redis+cluster://{}", hosts.join(","))
    }

    /// The same by TLS.
    pub(crate) fn secure_url(&self, nodes: &[usize]) -> String {
        let hosts: Vec<_> = nodes
            .iter()
            .map(|n| format!("127.0.0.1:{}", self.nodes[*n].port() + 1))
            .collect();
        format!("rediss+cluster://{}", hosts.join(","))
    }

    pub(crate) fn node(&self, node: usize) -> Connection {
        self.nodes[node].connection()
    }

    /// What a node answers, which must be no error.
    pub(crate) fn ask<T: FromRedisValue>(&self, node: usize, command: &[&str]) -> T {
        let answer =
            ask(&mut self.node(node), command).unwrap_or_else(|e| panic!("{command:?}: {e}"));
        T::from_redis_value(answer).expect("the answer's type")
    }

    pub(crate) fn text(&self, node: usize, command: &[&str]) -> String {
        self.ask(node, command)
    }

    /// The slot of a key, and which of the three primaries served it at the start.
    pub(crate) fn place(&self, key: &str) -> (u16, usize) {
        let slot: u16 = self.ask(0, &["CLUSTER", "KEYSLOT", key]);
        let node = (0..3).find(|n| usize::from(slot) < (n + 1) * usize::from(SLOTS) / 3);
        (slot, node.expect("every slot is served"))
    }

    /// A run id whose slot this primary serves.
    pub(crate) fn run_on(&self, node: usize, prefix: &str) -> String {
        let mut runs = (0..).map(|n| format!("{prefix}-{n}"));
        runs.find(|run| self.place(run).1 == node)
            .expect("some slot")
    }

    /// Begins to move a slot: from now on one node sends away for keys it has not, the other takes them.
    pub(crate) fn begin_move(&self, slot: u16, from: usize, to: usize) {
        let (slot, ids) = (slot.to_string(), self.ids());
        self.text(to, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &ids[from]]);
        self.text(from, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &ids[to]]);
    }

    /// Moves the keys of the slot that are there now, and says how many there were.
    pub(crate) fn move_keys(&self, slot: u16, from: usize, to: usize) -> usize {
        let keys: Vec<String> = self.ask(
            from,
            &["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), "1000"],
        );
        let port = self.nodes[to].port().to_string();
        for key in &keys {
            let command = ["MIGRATE", "127.0.0.1", &port, key, "0", "10000", "REPLACE"];
            self.text(from, &command);
        }
        keys.len()
    }

    /// Ends the move: the slot belongs to its new node.
    pub(crate) fn end_move(&self, slot: u16, from: usize, to: usize) {
        let (slot, ids) = (slot.to_string(), self.ids());
        for node in [to, from] {
            self.text(node, &["CLUSTER", "SETSLOT", &slot, "NODE", &ids[to]]);
        }
    }

    fn ids(&self) -> Vec<String> {
        (0..3).map(|n| self.text(n, &["CLUSTER", "MYID"])).collect()
    }
}

fn ask(connection: &mut Connection, command: &[&str]) -> redis::RedisResult<Value> {
    redis::cmd(command[0]).arg(&command[1..]).query(connection)
}

/// Waits for a condition, as long as it takes a loaded machine.
pub(crate) fn until(what: &str, mut met: impl FnMut() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(60);
    while !met() {
        assert!(Instant::now() < give_up, "{what} did not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A node needs two free ports that are 10,000 apart, and with TLS the next ones of both too.
fn start_node(binary: &Path, more: &[&str], secure: bool) -> RedisServer {
    for _ in 0..100 {
        let port = rand::random_range(20_000..32_000);
        let needed = [port, port + 10_000, port + 1, port + 10_001];
        let free = needed.map(|port| TcpListener::bind(("127.0.0.1", port)));
        if free.iter().any(Result::is_err) {
            continue;
        }
        drop(free);
        // Nobody is to fail over because the machine is busy: tests do that by hand.
        let mut arguments = vec![
            "--cluster-enabled",
            "yes",
            "--cluster-node-timeout",
            "60000",
        ];
        arguments.extend(more);
        let tls_port = (port + 1).to_string();
        if secure {
            arguments.extend(["--tls-port", &tls_port]);
        }
        if let Some(node) = RedisServer::start_at(binary, port, &arguments) {
            return node;
        }
    }
    panic!("no node of a cluster came up; install redis-server, one with TLS for the tests of TLS");
}
