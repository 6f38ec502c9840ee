//! What existing gate scripts do on the wire: addresses, headers and bodies as they send them, and what they take for success. Each
//! test is named after its script. Phase 0 sends nothing.

mod common;

use common::{Target, number, text};
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde_json::{Value, json};

/// 10,000 rows without a last line end.
fn table() -> String {
    let rows = (0..10_000).map(|row| {
        format!(
            "\n{row},name_{row},{},2024-01-01T00:00:{:02}Z",
            row * 7 % 1000,
            row % 60
        )
    });
    format!("id,name,value,timestamp{}", rows.collect::<String>())
}

#[tokio::test]
async fn phase_01_parses_a_table_and_calculates_statistics() {
    let target = Target::alone(&[]);
    let request = reqwest::Client::new().post(target.url("/api/csv/parse"));
    let answer = request
        .header(CONTENT_TYPE, "text/csv")
        .body(table())
        .send()
        .await;
    let answer = answer.expect("it answers");
    assert_eq!(answer.status(), 200);
    assert!(answer.headers().contains_key("x-memory-mb"));
    let told: Value = answer.json().await.expect("body is JSON");
    assert_eq!(told["rows"], 10_000);
    let numbers: Vec<f64> = (0..100_000)
        .map(|number| f64::from(number * 7919 % 1_000_003) / 1001.7)
        .collect();
    let told = target
        .does("/api/stats/calculate", json!({ "numbers": numbers }))
        .await;
    assert!(number(&told, "mean") > 0.0 && number(&told, "median") > 0.0);
}

#[tokio::test]
async fn phase_02_puts_pairs() {
    let target = Target::alone(&[]);
    for (vu, pairs) in [(1, 1), (2, 2), (1, 2)] {
        let pair = json!({ "key": format!("key_{vu}"), "value": "value_0" });
        assert_eq!(target.does("/api/kv/put", pair).await["pairs"], pairs);
    }
}

#[tokio::test]
async fn phase_03_calls_casts_and_crashes() {
    let target = Target::alone(&[]);
    let amount = || Some(json!({ "amount": 1 }));
    let answer = target
        .ask(Method::POST, "/api/counter/increment", amount())
        .await;
    assert_eq!(answer.status(), 200);
    let depth = answer.headers()["X-Mailbox-Depth"].to_str().expect("text");
    assert!(
        depth.parse::<u64>().is_ok_and(|depth| depth < 100),
        "{depth}"
    );
    let answer = target
        .ask(Method::POST, "/api/counter/increment_async", amount())
        .await;
    assert_eq!(answer.status(), 202);
    for _ in 0..3 {
        let answer = target.ask(Method::POST, "/api/counter/kill", None).await;
        assert_eq!(answer.status(), 202);
        target
            .until("/api/counter/health", |status, _| status == 200)
            .await;
    }
}

/// Phases 4, 5, 7, 8 and 10 to 15 ask for nothing else.
#[tokio::test]
async fn stubs_ask_for_the_health() {
    let target = Target::alone(&[]);
    assert_eq!(target.tells("/health").await["status"], "UP");
}

#[tokio::test]
async fn phase_06_looks_at_products_and_talks_in_a_room() {
    let target = Target::alone(&[]);
    assert_eq!(target.ask(Method::GET, "/", None).await.status(), 200);
    let request = reqwest::Client::new().get(target.url("/api/products"));
    let answer = request.header(ACCEPT, "application/json").send().await;
    let answer = answer.expect("it answers");
    let kind = answer.headers()[CONTENT_TYPE]
        .to_str()
        .expect("text")
        .to_owned();
    assert!(
        answer.status() == 200 && kind.contains("application/json"),
        "{kind}"
    );
    let page = target
        .ask(Method::GET, "/products", None)
        .await
        .text()
        .await;
    assert!(page.expect("text").contains("phx-"));
    target
        .does("/products/filter", json!({ "category": "electronics" }))
        .await;

    let mut members = [
        target.socket("/socket/websocket").await,
        target.socket("/socket/websocket").await,
    ];
    for member in &mut members {
        member.join().await;
    }
    let message = json!({ "topic": "room:lobby", "event": "new_msg", "payload": { "body": "hello" }, "ref": "2" });
    members[0].send(message).await;
    for member in &mut members {
        // Not a reply: that would make a client send, and listen, once more.
        assert_eq!(
            member.next().await.expect("it is heard")["event"],
            "new_msg"
        );
    }
}

/// Its clients say nothing for ten seconds after the upgrade, as they sleep before they read, and never send a heartbeat.
#[tokio::test]
async fn phase_06_keeps_a_socket_that_says_nothing_for_ten_seconds() {
    let target = Target::alone(&[]);
    let mut silent = target.socket("/socket/websocket").await;
    tokio::time::sleep(std::time::Duration::from_secs(10)).await;
    silent.join().await;
    let message = json!({ "topic": "room:lobby", "event": "new_msg", "payload": { "body": "late" }, "ref": "2" });
    silent.send(message).await;
    assert_eq!(
        silent.next().await.expect("it is heard")["event"],
        "new_msg"
    );
}

#[tokio::test]
async fn phase_09_finds_a_node_calls_it_and_kills_others() {
    let target = Target::cluster(5, &[]);
    let nodes = target.nodes_when(5).await;
    for number in 0..20 {
        let key = format!("user_1_{number}");
        let shard = target.tells(&format!("/api/cluster/shard?key={key}")).await;
        let url = text(&shard, "node_url");
        assert!(!url.ends_with('/'));
        let call = json!({ "key": key, "operation": "increment", "value": 1 });
        let (status, _) = target
            .post(&format!("{url}/api/cluster/rpc"), call.clone())
            .await;
        assert_eq!(status, 200);
        // Where the answer came late, the call goes to the address that they know.
        target.does("/api/cluster/rpc", call).await;
    }
    // Nodes are drawn, so that one may be killed again.
    let victims = [
        ("node4@localhost", 2),
        ("node2@localhost", 2),
        ("node4@localhost", 3),
    ];
    for (name, incarnation) in victims {
        let kill = format!("{}/api/cluster/kill", text(&nodes[name], "url"));
        assert_eq!(target.ask(Method::POST, &kill, None).await.status(), 202);
        let health = target
            .until("/api/cluster/health", |status, _| status == 200)
            .await;
        assert!(number(&health, "nodes_available") >= 2.0);
        target
            .until("/api/cluster/nodes", |_, told| {
                let nodes = told["nodes"].as_array().expect("a list");
                nodes
                    .iter()
                    .any(|node| node["name"] == name && node["incarnation"] == incarnation)
            })
            .await;
    }
    target.nodes_when(5).await;
}

#[tokio::test]
async fn load_and_smoke_fill_a_cart() {
    let target = Target::alone(&[]);
    assert!(target.tells("/api/products").await["data"].is_array());
    for product in [1, 100] {
        let item = json!({ "product_id": product, "quantity": 3 });
        assert_eq!(target.post("/api/cart/items", item).await.0, 201);
    }
    let cart = target.tells("/api/cart").await;
    assert_eq!(cart["data"].as_array().map(Vec::len), Some(2));
}

/// A hundred users ask for the first page at once; fewer than a hundred answers may be 503.
#[tokio::test]
async fn spike_traffic_asks_for_the_first_page() {
    let target = Target::alone(&[]);
    let users = (0..100).map(|_| target.ask(Method::GET, "/", None));
    for answer in futures_util::future::join_all(users).await {
        assert_eq!(answer.status(), 200);
    }
}

/// It looks for the process by its command line, ends it, and asks for the list of nodes until the node is back.
#[tokio::test]
async fn kill_node_finds_a_process_by_its_name() {
    let target = Target::cluster(3, &[]);
    target.nodes_when(3).await;
    let name = "node2@localhost";
    let found = std::process::Command::new("pgrep")
        .args(["-f", &format!("name {name}")])
        .output();
    let found = String::from_utf8(found.expect("pgrep runs").stdout).expect("ids are text");
    let node = target.tells("/api/cluster/nodes").await["nodes"][1].clone();
    let pid = node["pid"].to_string();
    // Other tests have nodes of this name too.
    assert!(
        found.lines().any(|line| line == pid),
        "{found} has no {pid}"
    );
    let killed = std::process::Command::new("kill")
        .args(["-9", &pid])
        .status();
    assert!(killed.expect("kill runs").success());
    target
        .until("/api/cluster/nodes", |_, told| {
            told["nodes"][1]["status"] == "up" && told["nodes"][1]["incarnation"] == 2
        })
        .await;
}
