//! Redis Cluster: which node serves which slot.
//!
//! A barrier's keys are all in the slot of its run id, so that it needs one connection to one node, and goes on as with
//! a single server: whatever happens to the node or the slot, the connection is made anew to whoever serves the slot
//! then, and what the process owns is replayed. That is why nothing here follows a redirection or repeats an operation.

use std::collections::BTreeSet;

use crc::{CRC_16_XMODEM, Crc};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::{FromRedisValue, Value};

use crate::address::{HostPort, RedisAddress};

use super::connect::connect;
use super::failure::{Server, explain};
use super::resolve::Resolver;

const SLOTS: u16 = 16384;
/// So many nodes are asked at once who serves what.
const ASKED_MAX: usize = 8;
const CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);

/// The slot of a key: of what is between its first braces, where they hold something.
pub(crate) fn slot_of(key: &str) -> u16 {
    let tag = key
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'));
    let hashed = match tag {
        Some((tag, _)) if !tag.is_empty() => tag,
        _ => key,
    };
    CRC.checksum(hashed.as_bytes()) % SLOTS
}

/// Who serves which slots.
#[derive(Debug, Default)]
pub(crate) struct Topology {
    ranges: Vec<(u16, u16, HostPort)>,
}

impl Topology {
    /// The node that serves the slot.
    pub(crate) fn owner(&self, slot: u16) -> Option<&HostPort> {
        let range = self
            .ranges
            .iter()
            .find(|(first, last, _)| (*first..=*last).contains(&slot));
        range.map(|(_, _, node)| node)
    }

    /// All nodes that serve a slot.
    pub(crate) fn nodes(&self) -> BTreeSet<HostPort> {
        self.ranges
            .iter()
            .map(|(_, _, node)| node.clone())
            .collect()
    }

    /// Reads the answer to CLUSTER SLOTS. A node that does not know its own host is where it was `asked`.
    fn read(answer: Value, asked: &HostPort) -> Option<Self> {
        type Node = (Option<String>, u16);
        let mut ranges = Vec::new();
        for range in Vec::<Value>::from_redis_value(answer).ok()? {
            let range = Vec::<Value>::from_redis_value(range).ok()?;
            let mut range = range.into_iter();
            let mut bound = || u16::from_redis_value(range.next()?).ok();
            let (first, last) = (bound()?, bound()?);
            let mut primary = Vec::<Value>::from_redis_value(range.next()?).ok()?;
            primary.truncate(2);
            let (host, port) = Node::from_redis_value(Value::Array(primary)).ok()?;
            let host = host
                .filter(|host| !host.is_empty())
                .unwrap_or_else(|| asked.host.clone());
            ranges.push((first, last, HostPort { host, port }));
        }
        Some(Self { ranges })
    }
}

/// Asks those of the URL and those known who serves what; the first answer counts. Cancel-safe.
pub(crate) async fn explore(
    resolver: &Resolver,
    address: &RedisAddress,
    known: &[HostPort],
) -> Result<Topology, String> {
    let mut candidates: Vec<&HostPort> = Vec::new();
    for node in address.hosts().iter().chain(known) {
        if !candidates.contains(&node) && candidates.len() < ASKED_MAX {
            candidates.push(node);
        }
    }
    let mut answers: FuturesUnordered<_> = candidates
        .into_iter()
        .map(|node| ask(resolver, address, node))
        .collect();
    let mut why = String::new();
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(topology) => return Ok(topology),
            Err(failed) => why = failed,
        }
    }
    Err(why)
}

async fn ask(
    resolver: &Resolver,
    address: &RedisAddress,
    node: &HostPort,
) -> Result<Topology, String> {
    let mut opened = connect(resolver, address, node, None).await?;
    let answer: Value = redis::cmd("CLUSTER")
        .arg("SLOTS")
        .query_async(&mut opened.connection)
        .await
        .map_err(|e| {
            if e.detail()
                .is_some_and(|d| d.contains("cluster support disabled"))
            {
                return format!(
                    "{node} is no node of a cluster: use the scheme redis:// or rediss://"
                );
            }
            explain(&e, &Server::new(address, node)).0
        })?;
    Topology::read(answer, node)
        .ok_or_else(|| format!("{node} answers CLUSTER SLOTS in a way that cannot be read"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        // The first is the check value of the algorithm.
        assert_eq!(slot_of("123456789"), 0x31C3 % SLOTS);
        assert_eq!(slot_of("foo"), 12182);
        assert_eq!(slot_of("K6_BARRIER_STATE:{run}:name"), slot_of("run"));
        assert_eq!(slot_of("{a}{b}"), slot_of("a"));
        for whole in ["a{}b{c}", "a{b", "a}b{"] {
            assert_eq!(
                slot_of(whole),
                CRC.checksum(whole.as_bytes()) % SLOTS,
                "{whole}"
            );
        }
    }

    #[test]
    fn a_node_that_does_not_know_its_host_is_where_it_was_asked() {
        let text = |s: &str| Value::BulkString(s.into());
        let node = |host| Value::Array(vec![host, Value::Int(7001), text("id")]);
        let range = |a, b, host| {
            Value::Array(vec![
                Value::Int(a),
                Value::Int(b),
                node(host),
                node(text("replica")),
            ])
        };
        let answer = Value::Array(vec![
            range(0, 9, text("")),
            range(10, 19, Value::Nil),
            range(21, 30, text("10.0.0.7")),
        ]);
        let asked = HostPort {
            host: "seed".into(),
            port: 7000,
        };
        let topology = Topology::read(answer, &asked).expect("readable");
        let owner = |slot| topology.owner(slot).map(ToString::to_string);
        assert_eq!(owner(0).as_deref(), Some("seed:7001"));
        assert_eq!(owner(10).as_deref(), Some("seed:7001"));
        assert_eq!(owner(20), None);
        assert_eq!(owner(30).as_deref(), Some("10.0.0.7:7001"));
        assert!(Topology::read(Value::Okay, &asked).is_none());
    }
}
