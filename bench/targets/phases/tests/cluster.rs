//! The cluster: processes that are killed, cut off and replaced while it serves.

mod common;

use std::collections::BTreeSet;

use common::{Target, number, said, text};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

fn call(key: &str) -> Value {
    json!({ "key": key, "operation": "increment", "value": 1 })
}

/// A key that this node has.
async fn key_of(target: &Target, node: &str) -> String {
    for number in 0.. {
        let key = format!("key_{number}");
        let shard = target.tells(&format!("/api/cluster/shard?key={key}")).await;
        if shard["node"] == node {
            return key;
        }
    }
    unreachable!("there are numbers enough")
}

#[tokio::test]
async fn keys_are_spread_and_counted_where_they_are() {
    let target = Target::cluster(3, &[]);
    let nodes = target.nodes_when(3).await;
    assert_eq!(
        nodes.keys().map(String::as_str).collect::<Vec<_>>(),
        ["node1@localhost", "node2@localhost", "node3@localhost"]
    );
    let mut used = BTreeSet::new();
    for number in 0..30 {
        let key = format!("user_{number}");
        let shard = target.tells(&format!("/api/cluster/shard?key={key}")).await;
        let (node, url) = (text(&shard, "node"), text(&shard, "node_url"));
        assert_eq!(nodes[&node]["url"], url);
        let (status, told) = target
            .post(&format!("{url}/api/cluster/rpc"), call(&key))
            .await;
        assert_eq!(
            (status.as_u16(), &told["value"], &told["node"]),
            (200, &json!(1), &json!(node))
        );
        // By the front, and by a node that has it not.
        assert_eq!(
            target.does("/api/cluster/rpc", call(&key)).await["value"],
            2
        );
        let other = nodes
            .values()
            .find(|other| other["url"] != url)
            .expect("another");
        let other = format!("{}/api/cluster/rpc", text(other, "url"));
        let (_, told) = target.post(&other, call(&key)).await;
        assert_eq!((&told["value"], &told["node"]), (&json!(3), &json!(node)));
        used.insert(node);
    }
    assert_eq!(used.len(), 3);
    let told = target.does("/phase/09/calls", json!({ "n": 300 })).await;
    assert_eq!(told["n"], 300);
    // Many are under way at once, so all together take less than one after another would.
    let one_by_one = 300.0 * number(&told, "mean_us");
    assert!(number(&told, "elapsed_us") < one_by_one / 2.0, "{told}");
    let (status, told) = said(target.ask(Method::GET, "/api/cluster/shard", None).await).await;
    assert_eq!(status, 400);
    assert!(text(&told, "error").starts_with("key: got none"), "{told}");
}

#[tokio::test]
async fn a_killed_node_is_gone_when_it_is_told_and_comes_back() {
    let target = Target::restarting_after(1500, 3, &[]);
    let victim = "node2@localhost";
    let before = target.nodes_when(3).await;
    let key = key_of(&target, victim).await;
    let (status, told) = target.post("/api/cluster/kill?node=node2", json!({})).await;
    assert_eq!(
        (status.as_u16(), &told["node"], &told["incarnation"]),
        (202, &json!(victim), &json!(1))
    );
    // Confirmed: nobody listens there any more, and its keys are somebody else's at once.
    let url = text(&before[victim], "url");
    assert!(reqwest::get(format!("{url}/health")).await.is_err());
    assert_ne!(
        target.does("/api/cluster/rpc", call(&key)).await["node"],
        victim
    );
    let health = target.tells("/api/cluster/health").await;
    assert_eq!(health["nodes_available"], 2);
    assert_eq!(
        target
            .post("/api/cluster/kill", json!({ "node": "node2" }))
            .await
            .0,
        409
    );
    let after = target.nodes_when(3).await;
    assert_eq!(after[victim]["incarnation"], 2);
    assert_ne!(after[victim]["pid"], before[victim]["pid"]);
    assert_eq!(after[victim]["url"], url);
    let told = target.does("/api/cluster/rpc", call(&key)).await;
    assert_eq!(
        (&told["node"], &told["incarnation"]),
        (&json!(victim), &json!(2))
    );
    let stats = target.tells("/phase/09/stats").await;
    assert_eq!(stats["counts"]["kills"], 1);
    assert!(number(&stats["durations"]["node_recovery"], "n") >= 1.0);
    let (status, told) = target.post("/api/cluster/kill?node=node9", json!({})).await;
    assert_eq!(status, 404);
    assert!(
        text(&told, "error").contains("there are node1@localhost, node2"),
        "{told}"
    );
}

#[tokio::test]
async fn a_node_kills_itself_when_it_is_asked_and_by_its_name() {
    let target = Target::cluster(2, &[]);
    let nodes = target.nodes_when(2).await;
    let url = text(&nodes["node1@localhost"], "url");
    let (status, told) = target
        .post(&format!("{url}/api/cluster/kill"), json!({}))
        .await;
    assert_eq!(
        (status.as_u16(), &told["node"]),
        (202, &json!("node1@localhost"))
    );
    target
        .until("/api/cluster/nodes", |_, told| {
            told["nodes"][0]["incarnation"] == 2
        })
        .await;
    // A client that takes the front for each of the nodes.
    let request = reqwest::Client::new().post(target.url("/api/cluster/kill"));
    let answer = request
        .header("Host", "node2:4000")
        .send()
        .await
        .expect("it answers");
    assert_eq!(said(answer).await.1["node"], "node2@localhost");
}

#[tokio::test]
async fn a_node_that_is_to_stay_down_does_until_the_fault_is_taken_back() {
    let target = Target::cluster(2, &[]);
    target.change_faults(json!({ "down": "node1" })).await;
    let nodes = target.nodes_when(1).await;
    assert_eq!(nodes["node1@localhost"]["status"], "down");
    assert_eq!(
        target.does("/api/cluster/rpc", call("any")).await["node"],
        "node2@localhost"
    );
    target.change_faults(json!({ "down": null })).await;
    assert_eq!(
        target.nodes_when(2).await["node1@localhost"]["incarnation"],
        2
    );
}

async fn status(target: &Target, path: &str) -> u16 {
    target.ask(Method::GET, path, None).await.status().as_u16()
}

#[tokio::test]
async fn a_partition_takes_a_node_out_and_its_end_brings_it_back_as_it_was() {
    let target = Target::cluster(3, &[]);
    let key = key_of(&target, "node3@localhost").await;
    assert_eq!(
        target.does("/api/cluster/rpc", call(&key)).await["value"],
        1
    );
    let failover = "/api/cluster/failover?node=node3";
    assert_eq!(status(&target, failover).await, 409, "it answers itself");
    assert_eq!(
        status(&target, "/api/cluster/failover?node=node9").await,
        404
    );
    target.change_faults(json!({ "partition": "node3" })).await;
    let nodes = target.nodes_when(2).await;
    assert_eq!(status(&target, failover).await, 200, "another one answers");
    let unknown = target.ask(Method::PUT, "/faults", Some(json!({ "down": "node9" })));
    assert_eq!(unknown.await.status(), 400, "nobody would be down");
    assert_eq!(nodes["node3@localhost"]["status"], "unreachable");
    assert_ne!(
        target.does("/api/cluster/rpc", call(&key)).await["node"],
        "node3@localhost"
    );
    target.change_faults(json!({ "partition": null })).await;
    assert_eq!(
        target.nodes_when(3).await["node3@localhost"]["incarnation"],
        1
    );
    assert_eq!(
        target.does("/api/cluster/rpc", call(&key)).await["value"],
        2
    );
}

#[tokio::test]
async fn a_rolling_restart_loses_no_call_that_is_under_way_unless_it_is_abrupt() {
    let target = Target::cluster(2, &[]);
    for abrupt in [false, true] {
        target.nodes_when(2).await;
        target
            .change_faults(json!({ "abrupt-restart": abrupt }))
            .await;
        let calls = (0..20).map(|number| {
            let message = json!({ "key": format!("user_{number}"), "hold_ms": 1000 });
            target.post("/phase/12/work", message)
        });
        let all = futures_util::future::join_all(calls);
        let restart = async {
            let under_way = |told: &Value| {
                let nodes = told["nodes"].as_array().expect("nodes are a list");
                nodes
                    .iter()
                    .map(|node| number(node, "under_way"))
                    .sum::<f64>()
            };
            let all = target.until("/api/cluster/nodes", |_, told| under_way(told) == 20.0);
            all.await;
            target.does("/phase/12/rolling-restart", json!({})).await
        };
        let (calls, told) = tokio::join!(all, restart);
        let failed = calls.iter().filter(|(status, _)| *status != 200).count();
        assert_eq!(failed > 0, abrupt, "{failed} of 20 failed: {calls:?}");
        assert_eq!(told["nodes"].as_array().map(Vec::len), Some(2), "{told}");
        assert!(number(&told, "shutdown_ms") < 30_000.0);
    }
    let nodes = target.nodes_when(2).await;
    assert!(
        nodes.values().all(|node| node["incarnation"] == 3),
        "{nodes:?}"
    );
}

#[tokio::test]
async fn orders_arrive_whoever_is_killed_meanwhile() {
    let target = Target::cluster(2, &[]);
    let mut placed = 0;
    for number in 0..40 {
        if number == 10 {
            target.post("/api/cluster/kill?node=node1", json!({})).await;
        }
        let (status, told) = target
            .post(
                "/phase/13/order",
                json!({ "customer": number, "product": 5 }),
            )
            .await;
        placed += u64::from(status == 200);
        assert!(status == 200 || status == 502, "{told}");
    }
    assert!(placed >= 39, "{placed}");
    let told = target
        .until("/phase/13/orders", |_, told| {
            told["placed"] == told["written"]
        })
        .await;
    assert_eq!(told["placed"], placed);
}

#[tokio::test]
async fn nodes_end_with_the_front_however_it_ends() {
    for signal in [Signal::TERM, Signal::KILL] {
        let mut target = Target::cluster(2, &[]);
        let nodes = target.nodes_when(2).await;
        target.signal(signal);
        assert_eq!(target.ended_well(), signal == Signal::TERM);
        for node in nodes.values() {
            let pid = node["pid"].as_u64().expect("a process has an id");
            let proc = format!("/proc/{pid}/cmdline");
            let started = std::time::Instant::now();
            // It is gone, or its id is somebody else's.
            while std::fs::read_to_string(&proc).is_ok_and(|line| line.contains("@localhost")) {
                assert!(started.elapsed() < common::CONDITION_LIMIT, "{proc} stays");
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
    }
}

#[tokio::test]
async fn aliases_lead_to_the_second_node_and_the_third() {
    let target = Target::cluster(3, &["--alias=127.0.0.1:0", "--alias=127.0.0.1:0"]);
    let told = std::fs::read_to_string(target.port_file()).expect("port file is there");
    let aliases: Vec<&str> = told
        .lines()
        .filter_map(|line| line.strip_prefix("alias "))
        .collect();
    assert_eq!(aliases.len(), 2);
    for (alias, expected) in aliases.iter().zip(["node2@localhost", "node3@localhost"]) {
        let answer = reqwest::get(format!("{alias}/health"))
            .await
            .expect("it answers");
        assert_eq!(said(answer).await.1["node"], expected);
    }
}

/// Processes whose parent this one is.
fn children(parent: u32) -> usize {
    let found = std::process::Command::new("pgrep")
        .args(["-P", &parent.to_string()])
        .output();
    let found = String::from_utf8(found.expect("pgrep runs").stdout).expect("ids are text");
    found.lines().count()
}

#[tokio::test]
async fn a_further_cluster_is_formed_timed_and_ended() {
    let target = Target::cluster(2, &[]);
    target.nodes_when(2).await;
    let formed = target.does("/phase/09/form", json!({ "n": 3 })).await;
    assert_eq!(formed["n"], 3);
    let (took, all) = (number(&formed, "formed_ms"), number(&formed, "elapsed_us"));
    assert!(took > 0.0 && took * 1000.0 < all, "{formed}");
    assert_eq!(children(target.id()), 2);
    assert_eq!(target.nodes_when(2).await.len(), 2);
    let (status, told) = target.post("/phase/09/form", json!({ "n": 21 })).await;
    assert_eq!(status, 400);
    assert!(
        text(&told, "error").contains("n: got 21; 1 to 20"),
        "{told}"
    );
}
