//! A real Redis Cluster of three nodes: a run's keys are in one slot, wherever that is and goes.

use std::collections::BTreeMap;
use std::sync::Arc;

use barrier_core::engine::{Barrier, CounterOptions, OperatorOptions, OperatorQuestion};
use barrier_core::error::Error;
use barrier_core::ids::Phase;

use super::host::{Process, arrival, call, failure};
use super::redis_cluster::{RedisCluster, until};
use super::support::RedisServer;

fn options(url: &str, run: &str, parties: u32) -> String {
    format!(
        r#"{{"store":"{url}","runId":"{run}","name":"gate","parties":{parties},"reasons":["login","sse"]}}"#
    )
}

fn counts(process: &Process, url: &str, keys: &[&str]) -> Result<BTreeMap<String, u64>, Error> {
    let json = serde_json::json!({ "redis": url, "keys": keys }).to_string();
    let options = CounterOptions::from_json(json.as_bytes())?;
    let token = process.fresh_token();
    process.engine.counter(options)?.counts(token);
    let answer: serde_json::Value = serde_json::from_str(&process.text(token)?).expect("JSON");
    let sizes: Vec<u64> = serde_json::from_value(answer["counts"].clone()).expect("counts");
    assert_eq!(sizes.len(), keys.len());
    let keys = keys.iter().map(|key| (*key).to_owned());
    Ok(keys.zip(sizes).collect())
}

/// Whether a command finds the key.
fn exists(process: &Process, url: &str, key: &str) -> Result<bool, Error> {
    let json = serde_json::json!({ "redis": url, "keys": ["any"] }).to_string();
    let options = CounterOptions::from_json(json.as_bytes())?;
    let token = process.fresh_token();
    let words = ["EXISTS", key].map(str::to_owned).to_vec();
    process.engine.counter(options)?.command(words, token);
    let answer: serde_json::Value = serde_json::from_str(&process.text(token)?).expect("JSON");
    Ok(answer["answer"] == 1)
}

/// The participants of the first of two processes are odd, those of the second even; every tenth fails.
struct Crowd {
    processes: [Process; 2],
    barriers: [Arc<Barrier>; 2],
    parties: u32,
}

impl Crowd {
    fn open(urls: [&str; 2], run: &str, parties: u32) -> Self {
        let processes = [Process::start(), Process::start()];
        let open = |n: usize| {
            processes[n]
                .open(&options(urls[n], run, parties))
                .expect("open")
        };
        let barriers = [open(0), open(1)];
        Self {
            processes,
            barriers,
            parties,
        }
    }

    fn report(&self, participants: std::ops::RangeInclusive<u32>) {
        for n in participants {
            let at = usize::from(n % 2 == 0);
            let report = if n % 10 == 0 {
                failure("sse")
            } else {
                arrival(n)
            };
            self.processes[at].submit(&self.barriers[at], call(n, report));
        }
    }

    /// Waits until the outcomes so far have reached the store.
    fn delivered(&self, outcomes: u32) {
        until("the outcomes", || {
            let status = self.barriers[0].status();
            self.processes[0].missing(&self.barriers[0], 0).is_ok()
                && status.arrived + status.failed_total >= outcomes
        });
    }

    fn all_met(&self) {
        let failed = self.parties / 10;
        for (process, barrier) in self.processes.iter().zip(&self.barriers) {
            process.released(barrier, 0);
            let info = barrier.release_info(Phase(0)).expect("released");
            assert_eq!(
                (info.arrived, info.failed["sse"]),
                (self.parties - failed, failed)
            );
            process.check();
        }
    }
}

#[test]
fn processes_meet_whichever_node_holds_their_run() {
    let cluster = RedisCluster::start();
    for node in 0..3 {
        let run = cluster.run_on(node, "meet");
        let urls = [cluster.url(&[0]), cluster.url(&[1, 2])];
        let crowd = Crowd::open([&urls[0], &urls[1]], &run, 100);
        crowd.report(1..=100);
        crowd.all_met();
        let joined: u32 = cluster.ask(
            node,
            &["SCARD", &format!("K6_BARRIER_JOINED:{{{run}}}:gate")],
        );
        assert_eq!(joined, 90);
        for (reason, n) in [("LOGIN", "0"), ("SSE", "10")] {
            let key = format!("K6_BARRIER_{reason}_FAIL:{{{run}}}:gate");
            assert_eq!(cluster.text(node, &["GET", &key]), n);
        }
        let keys: Vec<String> = cluster.ask(node, &["KEYS", "*"]);
        assert_eq!(
            keys.len(),
            4,
            "all keys of the run, and of no other: {keys:?}"
        );
    }

    // An operator sees them all, whichever nodes hold them, and ends one by hand.
    let desk = Process::start();
    let url = cluster.url(&[2]);
    let options = serde_json::json!({ "redis": url, "timeoutMs": 60_000 }).to_string();
    let operator = desk
        .engine
        .operator(OperatorOptions::from_json(options.as_bytes()).expect("valid"));
    let operator = operator.expect("open");
    let ask = |question: serde_json::Value| -> serde_json::Value {
        let token = desk.fresh_token();
        let question: OperatorQuestion = serde_json::from_value(question).expect("a question");
        operator.ask(question, token);
        serde_json::from_str(&desk.text(token).expect("answered")).expect("JSON")
    };
    let list = ask(serde_json::json!({ "op": "list", "limit": 10 }));
    let listed = list["barriers"].as_array().expect("barriers").len();
    assert_eq!(
        (listed, list["complete"].as_bool()),
        (3, Some(true)),
        "{list}"
    );
    let run = cluster.run_on(1, "open");
    let crowd = Crowd::open([&url, &url], &run, 100);
    crowd.report(1..=50);
    crowd.delivered(50);
    let released =
        ask(serde_json::json!({ "op": "release", "runId": run, "name": "gate", "phase": 0 }));
    assert_eq!(released["answer"], "done");
    crowd.processes[1].released(&crowd.barriers[1], 0);
}

#[test]
fn a_run_goes_on_while_its_slot_moves() {
    let cluster = RedisCluster::start();
    let run = cluster.run_on(0, "move");
    let (slot, _) = cluster.place(&run);
    let url = cluster.url(&[0, 1, 2]);
    let crowd = Crowd::open([&url, &url], &run, 300);
    crowd.report(1..=100);
    crowd.delivered(100);
    cluster.begin_move(slot, 0, 1);
    crowd.report(101..=150); // while some keys are here and some there
    cluster.move_keys(slot, 0, 1);
    crowd.report(151..=200); // while none is here, and the slot still is
    cluster.end_move(slot, 0, 1);
    crowd.report(201..=300);
    crowd.all_met();
    let joined: u32 = cluster.ask(1, &["SCARD", &format!("K6_BARRIER_JOINED:{{{run}}}:gate")]);
    assert_eq!(joined, 270);
}

#[test]
fn a_run_goes_on_when_a_replica_takes_over() {
    let mut cluster = RedisCluster::with_replica();
    let run = cluster.run_on(0, "fail");
    // The node that dies is the only one named by the second process: it learnt of the others.
    let urls = [cluster.url(&[1, 2]), cluster.url(&[0])];
    let crowd = Crowd::open([&urls[0], &urls[1]], &run, 300);
    crowd.report(1..=100);
    crowd.delivered(100);
    cluster.nodes[0].kill();
    crowd.report(101..=200);
    cluster.text(3, &["CLUSTER", "FAILOVER", "TAKEOVER"]);
    crowd.report(201..=300);
    crowd.all_met();
    let joined: u32 = cluster.ask(3, &["SCARD", &format!("K6_BARRIER_JOINED:{{{run}}}:gate")]);
    assert_eq!(joined, 270);
}

#[test]
fn queues_are_counted_wherever_they_are() {
    let cluster = RedisCluster::start();
    let names: Vec<String> = (0..60).map(|n| format!("WAITING:{n}")).collect();
    let keys: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut expected = BTreeMap::new();
    for (n, key) in (0_u64..).zip(&keys) {
        let (_, node) = cluster.place(key);
        for member in 0..n % 3 {
            let member = member.to_string();
            if n % 2 == 0 {
                cluster.ask::<u32>(node, &["ZADD", key, "1", &member]);
            } else {
                cluster.ask::<u32>(node, &["HSET", key, &member, "x"]);
            }
        }
        expected.insert((*key).to_owned(), n % 3);
    }
    let process = Process::start();
    let url = cluster.url(&[1]);
    assert_eq!(counts(&process, &url, &keys).expect("counted"), expected);

    let reads = |node: usize| -> u64 {
        let info = cluster.text(node, &["INFO", "stats"]);
        let line = info
            .lines()
            .find_map(|l| l.strip_prefix("total_reads_processed:"));
        line.expect("Redis 6.2 counts reads")
            .trim()
            .parse()
            .expect("a number")
    };
    let before: Vec<_> = (0..3).map(reads).collect();
    assert_eq!(counts(&process, &url, &keys).expect("counted"), expected);
    for (node, before) in before.into_iter().enumerate() {
        let taken = reads(node) - before;
        // One is the counter's, up to five are this test's own.
        assert!(taken < 20, "{taken} reads by node {node} for its 20 keys");
    }

    // A key that has moved while its slot has not is asked for where it is, and afterwards as well.
    let (moving, size) = expected.iter().find(|(_, size)| **size == 2).expect("some");
    let (slot, from) = cluster.place(moving);
    let to = (from + 1) % 3;
    cluster.begin_move(slot, from, to);
    cluster.move_keys(slot, from, to);
    let key = moving.as_str();
    assert_eq!(
        counts(&process, &url, &[key]).expect("counted")[key],
        *size,
        "by ASK"
    );
    assert_eq!(exists(&process, &url, key), Ok(true), "by ASK");
    cluster.end_move(slot, from, to);
    assert_eq!(exists(&process, &url, key), Ok(true), "by MOVED");
    assert_eq!(
        counts(&process, &url, &keys).expect("counted"),
        expected,
        "by MOVED"
    );

    let (_, node) = cluster.place("text");
    cluster.text(node, &["SET", "text", "x"]);
    let error = counts(&process, &url, &["WAITING:0", "text"]).expect_err("a string is no queue");
    assert!(matches!(error, Error::QueueType { key, .. } if key == "text"));
}

#[test]
fn the_wrong_scheme_is_explained() {
    let process = Process::start();
    let cluster = RedisCluster::start();
    let run = cluster.run_on(2, "wrong");
    let url = cluster.url(&[0]).replace("redis+cluster", "redis");
    let error = process
        .open(&options(&url, &run, 1))
        .err()
        .expect("refused")
        .to_string();
    assert!(
        error.contains("use the scheme redis+cluster:// or rediss+cluster://"),
        "{error}"
    );

    let server = RedisServer::start();
    let url = server.url().replace("redis://", "redis+cluster://");
    let error = process
        .open(&options(&url, &run, 1))
        .err()
        .expect("refused")
        .to_string();
    assert!(
        error.contains("is no node of a cluster: use the scheme redis:// or rediss://"),
        "{error}"
    );
    assert!(error.contains(&server.port().to_string()), "{error}");
}
