//! The gates with a real k6 on this target, short and small: what each says of a target that is well, and of one with the fault that it
//! is there to find. How fast this machine is at the moment is no matter of these tests.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use target_kit::test_postgres::Database;

use common::Target;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    root.canonicalize().expect("the crate is in its repository")
}

/// What a gate said.
struct Gate {
    code: Option<i32>,
    output: String,
}

impl Gate {
    /// Targets that are not reached, by their words.
    fn missed(&self) -> Vec<&str> {
        let lines = self
            .output
            .lines()
            .filter_map(|line| line.strip_prefix("  ✗ "));
        lines.collect()
    }

    /// Fails unless everything is reached but what depends on how fast the machine is.
    fn is_well(&self, phase: u8) {
        let slow = |line: &&str| {
            line.contains(" ms ") || line.contains("/s ") || line.contains("upper 95 %")
        };
        let missed: Vec<&str> = self
            .missed()
            .into_iter()
            .filter(|line| !slow(line) || line.contains("too few"))
            .collect();
        assert!(missed.is_empty(), "{}", self.output);
        self.says_what_it_ends_with(phase);
    }

    /// Fails unless this is among what is missed.
    fn misses(&self, phase: u8, what: &str) {
        let missed = self.missed();
        assert!(
            missed.iter().any(|line| line.starts_with(what)),
            "{what}: {}",
            self.output
        );
        self.says_what_it_ends_with(phase);
    }

    fn says_what_it_ends_with(&self, phase: u8) {
        let (verdict, code) = match self.missed().is_empty() {
            true => ("PASSED ✓", 0),
            false => ("FAILED ✗", 99),
        };
        let line = format!("Phase {phase} Gate: {verdict}\n");
        assert!(self.output.contains(&line), "{}", self.output);
        assert_eq!(self.code, Some(code), "{}", self.output);
    }
}

/// Runs a gate as its users do, on a blocking thread.
async fn gate(phase: u8, base_url: &str, settings: &[(&str, &str)]) -> Gate {
    let folder = tempfile::tempdir().expect("a folder");
    let k6 = std::env::var_os("K6_BIN").map_or_else(|| root().join("k6"), PathBuf::from);
    let script = root().join(format!("js/phase-gates/phase-{phase:02}-gate.js"));
    let mut command = Command::new(k6);
    command
        .args(["run", "--quiet", "--no-usage-report"])
        .arg(script)
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .envs([("QUICK", "1"), ("GATE_MS", "3000"), ("BASE_URL", base_url)])
        .envs(settings.iter().copied());
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    let output = output.expect("it was waited for");
    let output = output.expect("k6 runs; make k6 builds it");
    Gate {
        code: output.status.code(),
        output: format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ),
    }
}

async fn on(target: &Target, phase: u8) -> Gate {
    gate(phase, &target.urls["main"], &[]).await
}

/// Several gates at once: for most of their time they wait, and how fast they are is not judged here.
async fn all_well(target: &Target, phases: &[u8]) {
    let gates = phases.iter().map(|&phase| async move {
        // What calculates all the time leaves too few samples in less, on a machine that does much else.
        let longer = [("GATE_MS", "10000")];
        let settings = if phase == 1 { &longer[..] } else { &[] };
        gate(phase, &target.urls["main"], settings).await
    });
    let gates = futures_util::future::join_all(gates).await;
    for (gate, &phase) in gates.iter().zip(phases) {
        gate.is_well(phase);
    }
}

#[tokio::test]
async fn gates_of_what_is_measured_inside() {
    let target = Target::alone(&[]);
    all_well(&target, &[2, 4, 7, 8]).await;
    // Each of them is of one phase alone.
    let faults = json!({
        "message-delay-ms": 2, "lookup-delay-ms": 2, "lose-events": "1%", "unbounded-queue": true,
        "no-stampede-guard": true, "small-cache": true,
    });
    target.change_faults(faults).await;
    let (processes, names, pipeline, cache) = tokio::join!(
        on(&target, 2),
        on(&target, 4),
        on(&target, 7),
        on(&target, 8)
    );
    processes.misses(2, "pass a message");
    names.misses(4, "look up a name");
    pipeline.misses(7, "events lost");
    pipeline.misses(7, "events waiting in an overload");
    cache.misses(8, "loads of a cold key that all ask for at once");
    cache.misses(8, "hits");
}

#[tokio::test]
async fn gates_of_a_server_and_a_table() {
    let target = Target::alone(&[]);
    all_well(&target, &[1, 3]).await;
    target
        .change_faults(json!({ "delay-ms": 10, "restart-delay-ms": 6000 }))
        .await;
    let slow = on(&target, 3).await;
    slow.misses(3, "call, p(95)");
    slow.misses(3, "crashes that were recovered from");
    target.change_faults(json!({ "hold-rows": true })).await;
    on(&target, 1).await.misses(1, "memory for a table");
}

#[tokio::test]
async fn gates_of_the_web_and_of_metrics() {
    let target = Target::alone(&[]);
    all_well(&target, &[6, 10]).await;
    target
        .change_faults(json!({ "lose-messages": "20%" }))
        .await;
    on(&target, 6).await.misses(6, "checks");
    target
        .change_faults(json!({ "fail-share": "2%", "export-delay-ms": 20 }))
        .await;
    let export = on(&target, 10).await;
    export.misses(10, "availability");
    export.misses(10, "what exporting costs");
}

#[tokio::test]
async fn gates_of_accounts_and_of_a_model() {
    let root = root().display().to_string();
    let target = Target::alone(&["--workspace", &root]);
    all_well(&target, &[14, 15]).await;
    let faults = json!({
        "short-backup": true, "audit-delay-ms": 20, "swap-drops": true, "infer-delay-ms": 250,
    });
    target.change_faults(faults).await;
    let (accounts, model) = tokio::join!(on(&target, 14), on(&target, 15));
    accounts.misses(14, "entries lost by it");
    accounts.misses(14, "what the audit log costs");
    model.misses(15, "inferences that failed");
    model.misses(15, "inference, p(95)");
}

#[tokio::test]
async fn gates_of_a_cluster() {
    let target = Target::cluster(3, &[]);
    // No more than a busy machine can do beside other tests.
    let gentle = [("RPC_RATE", "100"), ("GATE_MS", "15000")];
    let cluster = gate(9, &target.urls["main"], &gentle).await;
    cluster.is_well(9);
    assert!(
        cluster.output.contains("✓ kills that were confirmed"),
        "{}",
        cluster.output
    );
    on(&target, 12).await.is_well(12);
    target
        .change_faults(json!({ "abrupt-restart": true }))
        .await;
    on(&target, 12)
        .await
        .misses(12, "requests that failed while nodes were replaced");
}

#[tokio::test]
async fn gates_of_all_together_and_of_a_cluster_that_is_down() {
    let target = Target::cluster(3, &[]);
    // How many orders there are is a matter of the machine; none of them may get lost.
    let well = on(&target, 13).await;
    let kept = "✓ orders that were placed and never written down";
    assert!(well.output.contains(kept), "{}", well.output);
    // Without a fault no drill was survived, whatever else is well.
    well.misses(13, "chaos drills survived, rate");
    assert!(
        well.output
            .contains("NOT JUDGED: the runner injects the faults"),
        "{}",
        well.output
    );
    target
        .change_faults(json!({ "delay-ms": 250, "lose-orders": "20%" }))
        .await;
    let slow = gate(13, &target.urls["main"], &[("GATE_MS", "2000")]).await;
    slow.misses(13, "order, over the whole path, p(95)");
    slow.misses(13, "orders that were placed and never written down");
    let down = json!({ "delay-ms": 0, "lose-orders": null, "down": "node1,node2,node3" });
    target.change_faults(down).await;
    let quickly = [("GATE_MS", "2000"), ("RPC_RATE", "600")];
    let orders = gate(13, &target.urls["main"], &quickly).await;
    orders.misses(13, "orders that failed");
    let calls = gate(9, &target.urls["main"], &quickly).await;
    calls.misses(9, "calls that failed");
}

#[tokio::test]
async fn the_gate_of_a_database() {
    let database = Database::start().await;
    let url = format!("--database-url={}", database.url);
    let target = Target::alone(&[&url]);
    let main = &target.urls["main"];
    gate(5, main, &[("ROWS", "20000")]).await.is_well(5);
    target.change_faults(json!({ "no-index": true })).await;
    gate(5, main, &[("ROWS", "400000")])
        .await
        .misses(5, "simple query");
    target.change_faults(json!({ "no-index": false })).await;
    // Orders of phase 13 go through it as well; its preparation empties the table that they are written to.
    let with_cluster = Target::cluster(1, &[&url]);
    let orders = on(&with_cluster, 13).await;
    let written = database.number("SELECT count(*) FROM phases.written").await;
    assert!(written > 0, "{}", orders.output);
    let without = Target::alone(&[]);
    let refused = on(&without, 5).await;
    assert!(
        refused.output.contains("Phase 5 Gate: FAILED ✗") && refused.code != Some(0),
        "{}",
        refused.output
    );
}

/// A kill that nobody confirms is none, and a system that is not there passes nothing.
#[tokio::test]
async fn nothing_passes_where_nobody_answers() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!("http://{}", nobody.local_addr().expect("it is bound"));
    drop(nobody);
    let gates = [1, 2, 9, 12].map(|phase| {
        let url = &url;
        async move {
            (
                phase,
                gate(phase, url, &[("GATE_MS", "1000"), ("RPC_RATE", "20")]).await,
            )
        }
    });
    for (phase, gate) in futures_util::future::join_all(gates).await {
        assert!(
            gate.output
                .contains(&format!("Phase {phase} Gate: FAILED ✗")),
            "{}",
            gate.output
        );
        assert_ne!(gate.code, Some(0));
    }
}

/// A system that answers everything with success, and with these words.
async fn who_says(told: serde_json::Value) -> String {
    use axum::http::{StatusCode, Uri};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    let (asked, life) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(1)));
    let answer = async move |uri: Uri| {
        let path = uri.path();
        let mut told = told.clone();
        if path == "/phase/12/work" {
            asked.fetch_add(1, Ordering::Relaxed);
        }
        if told["deploys"] == "late" {
            if path == "/phase/12/rolling-restart" {
                // Until nobody asks for anything any more.
                let mut before = 0;
                while before != asked.load(Ordering::Relaxed) {
                    before = asked.load(Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_secs(3)).await;
                }
                life.fetch_add(1, Ordering::Relaxed);
            }
            told["nodes"][0]["incarnation"] = json!(life.load(Ordering::Relaxed));
        }
        let later = ["kill", "swap", "drill"]
            .iter()
            .any(|end| path.ends_with(end));
        let status = if later {
            StatusCode::ACCEPTED
        } else {
            StatusCode::OK
        };
        (status, axum::Json(told))
    };
    served(axum::Router::new().fallback(answer)).await
}

async fn served(service: axum::Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move { axum::serve(listener, service).await });
    format!("http://{address}")
}

/// A system whose exporter counts a request so long after it was answered.
async fn exports_after(delay: std::time::Duration) -> String {
    use axum::http::{StatusCode, Uri};
    use std::sync::{Arc, Mutex};
    use std::time::Instant;

    let counted: Arc<Mutex<(bool, bool, Vec<Instant>)>> = Arc::default();
    let answer = async move |uri: Uri, body: String| {
        let asked: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
        let mut counted = counted.lock().expect("nobody panics");
        let (on, firing, requests) = &mut *counted;
        let mut status = StatusCode::OK;
        match uri.path() {
            "/phase/10/export" => *on = asked["on"] == true,
            "/phase/10/work" if *on => requests.push(Instant::now()),
            "/phase/10/drill" => {
                *firing = asked["bad"].is_number();
                status = StatusCode::ACCEPTED;
            }
            _ => {}
        }
        let exported = requests.iter().filter(|at| at.elapsed() >= delay).count();
        let told =
            json!({ "exported": exported, "drill": { "firing": *firing }, "memory_bytes": 1 });
        (status, axum::Json(told))
    };
    served(axum::Router::new().fallback(answer)).await
}

/// Whatever a system leaves out is not 0, and not equal to something else that it leaves out.
#[tokio::test]
async fn nothing_passes_where_answers_say_nothing() {
    let url = &who_says(json!({})).await;
    let expected: [(u8, &[&str]); 12] = [
        (1, &["parse a table", "statistics of", "memory for a table"]),
        (2, &["pass a message", "start a process", "checks"]),
        (3, &["recovery by", "crashes that were recovered"]),
        (4, &["look up a name", "starts and stops", "checks"]),
        (5, &["simple query", "complex query", "writes"]),
        (7, &["events, avg", "events lost", "events waiting"]),
        (9, &["calls that failed", "kills that were confirmed"]),
        (10, &["what exporting costs", "until the alert", "checks"]),
        (12, &["end of a node", "checks"]),
        (13, &["orders that were placed and never written", "chaos"]),
        (14, &["what the audit log costs", "entries lost", "checks"]),
        (15, &["inference, p(95)", "from a swap", "inferences that"]),
    ];
    // No more at a time than a small machine has room for.
    for some in expected.chunks(4) {
        let gates = some.iter().map(|&(phase, missed)| async move {
            let quickly = [("GATE_MS", "1000"), ("RPC_RATE", "200")];
            let gate = gate(phase, url, &quickly).await;
            for what in missed {
                gate.misses(phase, what);
            }
        });
        futures_util::future::join_all(gates).await;
    }
}

/// What an exporter counts late belongs to the requests before, and to none of those after.
#[tokio::test]
async fn an_exporter_may_count_later_than_it_answers() {
    let url = exports_after(std::time::Duration::from_millis(300)).await;
    let gate = gate(10, &url, &[("GATE_MS", "1000")]).await;
    assert!(!gate.output.contains("left traces"), "{}", gate.output);
    assert!(
        !gate.missed().iter().any(|line| line.contains("checks")),
        "{}",
        gate.output
    );
}

/// Switches that do nothing, and deploys that replace nothing or outlast those who would notice.
#[tokio::test]
async fn nothing_passes_where_it_is_only_said_to_be_done() {
    let told = json!({
        "ok": true, "n": 1000, "export": true, "exported": 1000, "audit": true, "elapsed_us": 1000, "shutdown_ms": 1,
        "nodes": [{ "name": "node1", "status": "up", "incarnation": 1 }],
    });
    let mut late = told.clone();
    late["deploys"] = json!("late");
    let (told, late) = (&who_says(told).await, &who_says(late).await);
    let quickly = [("GATE_MS", "1000")];
    let (export, audit, sham, late) = tokio::join!(
        gate(10, told, &quickly),
        gate(14, told, &quickly),
        gate(12, told, &quickly),
        gate(12, late, &quickly)
    );
    for (phase, gate, what) in [
        (10, export, "what exporting costs"),
        (14, audit, "what the audit log costs"),
    ] {
        gate.misses(phase, "checks");
        gate.misses(phase, what);
        let says = "220 requests left traces from 1000 to 1000";
        assert!(gate.output.contains(says), "{}", gate.output);
    }
    for (gate, why) in [(&sham, false), (&late, true)] {
        gate.misses(12, "checks");
        let outlasted = gate.output.contains("ms after the load");
        assert!(
            gate.missed().len() == 1 && outlasted == why,
            "{}",
            gate.output
        );
    }
}

#[tokio::test]
async fn tools_are_judged_by_what_they_left() {
    let folder = tempfile::tempdir().expect("a folder");
    let results = folder.path().join("results.json");
    let path = results.to_str().expect("a path").to_owned();
    let settings = [("RESULTS", path.as_str())];
    let missing = gate(0, "http://unused", &settings).await;
    assert_eq!(missing.code, Some(108), "{}", missing.output);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("a clock that goes").as_secs();
    // Those of an earlier day, and of nobody knows when, are not those of what is there now.
    for (of, says) in [
        (
            json!({ "tools": [], "at": now - 7200, "commit": "abc" }),
            " s old, of commit abc",
        ),
        (json!({ "tools": [] }), "of an unknown time"),
    ] {
        std::fs::write(&results, of.to_string()).expect("it is written");
        let old = gate(0, "http://unused", &settings).await;
        assert!(
            old.code == Some(108) && old.output.contains(says),
            "{}",
            old.output
        );
    }
    let tool = |name: &str, ok: bool| json!({ "name": name, "ok": ok, "ms": 1000, "coverage": 95 });
    for ok in [true, false] {
        let tools: Vec<_> = ["format", "clippy", "vet", "licences", "documentation"]
            .map(|name| tool(name, true))
            .into();
        let tools = [tools, vec![tool("tests", ok)]].concat();
        let tests: Vec<_> = (0..10).map(|run| tool("run", ok || run != 4)).collect();
        std::fs::write(
            &results,
            json!({ "tools": tools, "tests": tests, "at": now }).to_string(),
        )
        .expect("it is written");
        for (phase, what) in [(0, "tools that succeed"), (11, "runs that failed")] {
            let gate = gate(phase, "http://unused", &settings).await;
            match ok {
                true => gate.is_well(phase),
                false => gate.misses(phase, what),
            }
        }
    }
}

/// Drills by hand, in a second terminal.
#[tokio::test]
async fn drills_by_hand_are_survived_and_leave_nothing() {
    // A node that is back at once would answer for its keys itself.
    let target = Target::restarting_after(2000, 3, &[]);
    let drill = |name: &str, arguments: &[&str]| {
        let mut command = Command::new(root().join("tools/gameday").join(name));
        command
            .args(arguments)
            .env("BASE_URL", &target.urls["main"])
            .stdin(Stdio::null());
        async move {
            let output = tokio::task::spawn_blocking(move || command.output()).await;
            let output = output.expect("it was waited for").expect("bash runs");
            let text = [output.stdout, output.stderr].concat();
            (
                output.status.code(),
                String::from_utf8_lossy(&text).into_owned(),
            )
        }
    };
    let (code, text) = drill("kill-node.sh", &["node2"]).await;
    assert!(
        code == Some(0) && text.contains("killed: node2") && text.contains("recovery: "),
        "{text}"
    );
    let (code, text) = drill("partition-network.sh", &["node3", "0"]).await;
    assert!(
        code == Some(0) && text.contains("cut off: node3") && text.contains("mended"),
        "{text}"
    );
    assert!(
        text.contains("recovery: ") && text.contains(" ms until all 3 nodes"),
        "{text}"
    );
    assert_eq!(target.tells("/faults").await["partition"], "");
    // Whoever ends it in the middle leaves nothing, either.
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        // A shell cannot heed a signal that was ignored when it began, as in tests that run in the background.
        let mut cut = tokio::process::Command::new("env")
            .arg("--default-signal=INT")
            .arg(root().join("tools/gameday/partition-network.sh"))
            .args(["node3", "60"])
            .env("BASE_URL", &target.urls["main"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("bash runs");
        while target.tells("/faults").await["partition"] != "node3" {
            tokio::task::yield_now().await;
        }
        let id = cut.id().and_then(|id| i32::try_from(id).ok());
        let id = id.and_then(Pid::from_raw).expect("it runs");
        kill_process(id, signal).expect("it is there");
        let ended = cut.wait().await.expect("it ends");
        assert_eq!(ended.code(), Some(code));
        assert_eq!(target.tells("/faults").await["partition"], "");
    }
    for name in ["kill-node.sh", "partition-network.sh"] {
        let (code, text) = drill(name, &["node9"]).await;
        assert!(code == Some(1) && text.contains("node9"), "{text}");
        assert_eq!(drill(name, &["a b"]).await.0, Some(2));
    }
    // Where nothing is left to be drilled, both say so.
    let down = json!({ "down": "node1,node2,node3" });
    target.change_faults(down).await;
    for name in ["kill-node.sh", "partition-network.sh"] {
        let (code, text) = drill(name, &[]).await;
        assert!(
            code == Some(1) && text.contains("0 nodes are up at"),
            "{text}"
        );
    }
    assert_eq!(target.tells("/faults").await["partition"], "");
}
