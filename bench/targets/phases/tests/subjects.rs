//! Each subject over real sockets: what it does, what it measures inside, and its faults.

mod common;

use common::{Target, number, text};
use reqwest::Method;
use serde_json::{Value, json};

/// What every batch answers.
fn is_batch(told: &Value, n: u64) {
    assert_eq!(
        (&told["ok"], &told["n"]),
        (&json!(true), &json!(n)),
        "{told}"
    );
    let (p50, p95, p99) = (
        number(told, "p50_us"),
        number(told, "p95_us"),
        number(told, "p99_us"),
    );
    assert!(p50 > 0.0 && p50 <= p95 && p95 <= p99, "{told}");
    assert!(number(told, "elapsed_us") > 0.0 && number(told, "per_second") > 0.0);
    assert_eq!(told["sample_us"].as_array().map(Vec::len), Some(100));
}

#[tokio::test]
async fn batches_tell_percentiles_and_are_kept() {
    let target = Target::alone(&[]);
    for (path, n, kept) in [
        ("/phase/01/parse", 2, "parse"),
        ("/phase/01/statistics", 2, "statistics"),
        ("/phase/02/message", 1000, "message"),
        ("/phase/02/spawn", 1000, "spawn"),
        ("/phase/02/mailbox", 5, "mailbox_scan"),
        ("/phase/02/monitor", 100, "monitor"),
        ("/phase/03/casts", 1000, "cast"),
        ("/phase/03/crash", 3, "recovery"),
        ("/phase/04/lookup", 10_000, "lookup"),
        ("/phase/04/workers", 100, "spawn"),
        ("/phase/07/events", 5000, "event"),
        ("/phase/07/jobs", 50, "job"),
        ("/phase/08/read", 10_000, "read"),
        ("/phase/08/write", 1000, "write"),
        ("/phase/15/batch", 10, "item"),
    ] {
        is_batch(&target.does(path, json!({ "n": n })).await, n);
        let stats = target.tells(&format!("{}/stats", &path[..9])).await;
        assert_eq!(stats["durations"][kept]["n"], n, "{path}: {stats}");
        assert!(number(&stats, "memory_bytes") > 1e6);
        assert!(number(&stats, "processors") >= 1.0 && stats["processor_us"].is_number());
        let (status, told) = target.post(path, json!({ "n": 0 })).await;
        assert_eq!(status, 400, "{path}");
        assert!(text(&told, "error").contains("n: got 0; 1 to "), "{told}");
    }
    let held = target
        .does("/phase/08/memory", json!({ "n": 100_000 }))
        .await;
    assert_eq!(held["n"], 100_000);
    assert!(number(&held, "mb_per_million") > 10.0, "{held}");
    let jobs = json!({ "n": 100, "work_ms": 0 });
    is_batch(&target.does("/phase/07/jobs", jobs).await, 100);
    let stats = target.tells("/phase/07/stats").await;
    assert!(number(&stats["most"], "job_memory_bytes") > 1e6, "{stats}");
    let properties = json!({ "n": 100 });
    let tried = target.does("/phase/01/properties", properties).await;
    assert_eq!((&tried["n"], &tried["failed"]), (&json!(100), &json!(null)));
    let stats = target.tells("/phase/02/stats").await;
    assert_eq!(stats["counts"]["ends_told"], 100);
    target.ask(Method::DELETE, "/phase/02/stats", None).await;
    assert_eq!(
        target.tells("/phase/02/stats").await["durations"],
        json!({})
    );
    let (status, told) = common::said(target.ask(Method::GET, "/phase/16/stats", None).await).await;
    assert_eq!(status, 404);
    assert_eq!(told["error"], "phase: got \"16\"; 00 to 15 are allowed");
}

#[tokio::test]
async fn a_long_table_is_read_as_it_comes_unless_rows_are_held() {
    let target = Target::alone(&[]);
    let told = target
        .does("/phase/01/stream", json!({ "n": 300_000 }))
        .await;
    assert_eq!(told["n"], 300_000);
    assert!(number(&told, "memory_growth_mb") < 10.0, "{told}");
    target.change_faults(json!({ "hold-rows": true })).await;
    let told = target
        .does("/phase/01/stream", json!({ "n": 300_000 }))
        .await;
    assert!(number(&told, "memory_growth_mb") > 30.0, "{told}");
}

#[tokio::test]
async fn slowness_is_seen_where_it_is() {
    let target = Target::alone(&[]);
    for (fault, path, n) in [
        ("message-delay-ms", "/phase/02/message", 20),
        ("restart-delay-ms", "/phase/03/crash", 2),
        ("lookup-delay-ms", "/phase/04/lookup", 20),
        ("infer-delay-ms", "/phase/15/batch", 5),
    ] {
        target.change_faults(json!({ fault: 30 })).await;
        let told = target.does(path, json!({ "n": n })).await;
        assert!(number(&told, "p50_us") >= 30_000.0, "{fault}: {told}");
        target.change_faults(json!({ fault: null })).await;
    }
}

/// Whoever asks for many operations waits no longer for them where each is slow, and is told how many there were.
#[tokio::test]
async fn a_batch_that_a_fault_slows_ends_before_its_time() {
    let target = Target::alone(&[]);
    for (fault, path) in [
        ("message-delay-ms", "/phase/02/message"),
        ("lookup-delay-ms", "/phase/04/lookup"),
        ("infer-delay-ms", "/phase/15/batch"),
    ] {
        target.change_faults(json!({ fault: 20 })).await;
        let told = target.does(path, json!({ "n": 10_000 })).await;
        let n = number(&told, "n");
        assert!((1.0..=60.0).contains(&n), "{path}: {told}");
        target.change_faults(json!({ fault: null })).await;
    }
}

#[tokio::test]
async fn a_killed_counter_is_down_until_its_supervisor_starts_it() {
    let target = Target::alone(&["--fault=restart-delay-ms=300"]);
    assert_eq!(
        target.does("/phase/03/call", json!({ "amount": 4 })).await["value"],
        4
    );
    let (status, told) = target.post("/phase/03/kill", json!({})).await;
    assert_eq!((status.as_u16(), &told["incarnation"]), (202, &json!(1)));
    // The restart waits, so both come before it.
    assert_eq!(
        target
            .ask(Method::GET, "/api/counter/health", None)
            .await
            .status(),
        503
    );
    assert_eq!(target.post("/phase/03/kill", json!({})).await.0, 409);
    let health = target
        .until("/api/counter/health", |status, _| status == 200)
        .await;
    assert_eq!(health["incarnation"], 2);
    assert_eq!(
        target.does("/phase/03/call", json!({})).await["value"],
        1,
        "state is lost"
    );
    assert_eq!(target.tells("/phase/03/stats").await["counts"]["kills"], 1);
}

#[tokio::test]
async fn names_take_little_and_fleets_go() {
    let target = Target::alone(&[]);
    let told = target
        .does("/phase/04/memory", json!({ "n": 200_000 }))
        .await;
    assert!((0.01..5.0).contains(&number(&told, "mb_per_10k")), "{told}");
    assert_eq!(
        target.does("/phase/04/sweep", json!({ "n": 500 })).await["n"],
        500
    );
    let told = target.does("/phase/04/workers", json!({ "n": 50 })).await;
    assert_eq!(told["wrong"], 0);
    assert_eq!(
        target.does("/phase/04/lookup", json!({ "n": 50 })).await["missed"],
        0
    );
}

#[tokio::test]
async fn views_are_counted_as_long_as_they_are_open() {
    let target = Target::alone(&[]);
    let mut views = Vec::new();
    for _ in 0..20 {
        let mut view = target.socket("/phase/06/live").await;
        let mounted = view.next().await.expect("a first frame comes");
        assert_eq!(mounted["event"], "mount");
        assert_eq!(mounted["rendered"].as_array().map(Vec::len), Some(40));
        views.push(view);
    }
    let told = target.tells("/phase/06/views").await;
    assert_eq!((&told["open"], &told["most"]), (&json!(20), &json!(20)));
    views[0].send(json!({ "category": "music" })).await;
    let patch = views[0].next().await.expect("it is answered");
    assert_eq!(
        (&patch["event"], patch["diff"].as_array().map(Vec::len)),
        (&json!("patch"), Some(10))
    );
    views.truncate(5);
    let told = target
        .until("/phase/06/views", |_, told| told["open"] == 5)
        .await;
    assert_eq!(told["most"], 20);
}

#[tokio::test]
async fn a_room_hears_each_message_once_unless_it_is_lost() {
    let target = Target::alone(&["--fault=lose-messages=1"]);
    let (mut one, mut other) = (
        target.socket("/socket/websocket").await,
        target.socket("/socket/websocket").await,
    );
    one.join().await;
    other.join().await;
    let say = |body: &str| json!({ "topic": "room:lobby", "event": "new_msg", "payload": { "body": body }, "ref": "2" });
    one.send(say("lost")).await;
    one.send(say("heard")).await;
    for socket in [&mut one, &mut other] {
        let heard = socket.next().await.expect("it is heard");
        assert_eq!(
            (&heard["event"], &heard["payload"]["body"]),
            (&json!("new_msg"), &json!("heard"))
        );
    }
    one.send(json!({ "topic": "room:lobby", "event": "shout", "ref": "3" }))
        .await;
    let answer = one.next().await.expect("it is answered");
    assert_eq!(answer["payload"]["status"], "error");
}

#[tokio::test]
async fn an_overload_is_held_back_unless_the_queue_has_no_bound() {
    let target = Target::alone(&[]);
    let told = target
        .does("/phase/07/overload", json!({ "n": 5000 }))
        .await;
    assert_eq!(told["lost"], 0);
    let bound = number(&told, "bound");
    assert!(number(&told, "most_waiting") <= bound + 10.0, "{told}");
    target
        .change_faults(json!({ "unbounded-queue": true, "lose-events": "1%" }))
        .await;
    let told = target
        .does("/phase/07/overload", json!({ "n": 5000 }))
        .await;
    assert_eq!(told["lost"], 50);
    assert!(number(&told, "most_waiting") > bound + 10.0, "{told}");
}

#[tokio::test]
async fn a_stampede_loads_once_unless_nothing_guards_it() {
    let target = Target::alone(&[]);
    for (key, guarded) in [("guarded", true), ("open", false)] {
        target
            .change_faults(json!({ "no-stampede-guard": !guarded }))
            .await;
        let asked = json!({ "key": key, "load_ms": 300 });
        let all = (0..10).map(|_| target.does("/phase/08/stampede", asked.clone()));
        let told = futures_util::future::join_all(all).await;
        let loads = told
            .iter()
            .map(|told| number(told, "loads"))
            .fold(0.0, f64::max);
        assert_eq!(loads > 1.0, !guarded, "{loads} loads of {key}");
    }
}

#[tokio::test]
async fn most_reads_are_hits_unless_the_cache_is_small() {
    let target = Target::alone(&[]);
    let share = |told: &Value| number(told, "hit_share");
    let told = target.does("/phase/08/read", json!({ "n": 50_000 })).await;
    assert!(share(&told) > 0.9, "{told}");
    target.change_faults(json!({ "small-cache": true })).await;
    let told = target.does("/phase/08/read", json!({ "n": 50_000 })).await;
    assert!(share(&told) < 0.9, "{told}");
}

#[tokio::test]
async fn what_is_exported_is_what_was_done_while_it_was_on() {
    let target = Target::alone(&[]);
    for (on, times) in [(true, 3), (false, 2)] {
        assert_eq!(
            target.does("/phase/10/export", json!({ "on": on })).await["export"],
            on
        );
        for _ in 0..times {
            assert_eq!(target.does("/phase/10/work", json!({})).await["export"], on);
        }
    }
    let metrics = target
        .ask(Method::GET, "/metrics", None)
        .await
        .text()
        .await
        .expect("text");
    assert!(metrics.contains("phase_10_requests_total 3\n"), "{metrics}");
    let stats = target.tells("/phase/10/stats").await;
    let counts = (
        &stats["durations"]["on"]["n"],
        &stats["durations"]["off"]["n"],
    );
    assert_eq!(counts, (&json!(3), &json!(2)));
    let slo = target.tells("/phase/10/slo").await;
    assert_eq!(
        (
            &slo["requests"]["requests"],
            &slo["requests"]["availability"]
        ),
        (&json!(5), &json!(1.0))
    );
}

#[tokio::test]
async fn an_alert_fires_for_a_missed_objective_and_ends() {
    let target = Target::alone(&[]);
    let (status, _) = target
        .post("/phase/10/drill", json!({ "good": 900, "bad": 100 }))
        .await;
    assert_eq!(status, 202);
    target
        .until("/phase/10/slo", |_, slo| slo["drill"]["firing"] == true)
        .await;
    assert_eq!(
        target.tells("/phase/10/slo").await["requests"]["firing"],
        false
    );
    target.post("/phase/10/drill", json!({})).await;
    target
        .until("/phase/10/slo", |_, slo| slo["drill"]["firing"] == false)
        .await;
    target.change_faults(json!({ "fail-share": "50%" })).await;
    let mut failed = 0;
    for _ in 0..10 {
        failed += u32::from(target.post("/phase/10/work", json!({})).await.0 == 500);
    }
    assert_eq!(failed, 5);
}

#[tokio::test]
async fn an_audit_log_survives_a_disaster_by_its_backup() {
    let target = Target::alone(&[]);
    for what in ["a", "b", "c"] {
        assert_eq!(
            target
                .does("/phase/14/action", json!({ "what": what }))
                .await["audit"],
            true
        );
    }
    assert_eq!(target.does("/phase/14/verify", json!({})).await["n"], 3);
    let backup = target.does("/phase/14/backup", json!({})).await;
    assert_eq!(
        target.does("/phase/14/disaster", json!({})).await["lost"],
        3
    );
    assert_eq!(target.does("/phase/14/verify", json!({})).await["n"], 0);
    let recovered = target.does("/phase/14/recover", json!({})).await;
    assert_eq!(
        (&recovered["n"], &recovered["last"]),
        (&json!(3), &backup["last"])
    );
    target
        .does("/phase/14/action", json!({ "what": "d" }))
        .await;
    assert_eq!(target.does("/phase/14/verify", json!({})).await["n"], 4);
    target.change_faults(json!({ "short-backup": true })).await;
    target.does("/phase/14/backup", json!({})).await;
    assert_eq!(target.does("/phase/14/recover", json!({})).await["n"], 3);
    target.does("/phase/14/audit", json!({ "on": false })).await;
    assert_eq!(
        target
            .does("/phase/14/action", json!({ "what": "e" }))
            .await["audit"],
        false
    );
}

#[tokio::test]
async fn a_model_is_swapped_while_it_serves() {
    let target = Target::alone(&[]);
    let before = target.does("/phase/15/infer", json!({ "seed": 7 })).await;
    assert_eq!(before["version"], 1);
    let (status, told) = target.post("/phase/15/swap", json!({ "version": 2 })).await;
    assert_eq!(
        (status.as_u16(), &told["from"], &told["to"]),
        (202, &json!(1), &json!(2))
    );
    let after = loop {
        let after = target.does("/phase/15/infer", json!({ "seed": 7 })).await;
        if after["version"] == 2 {
            break after;
        }
    };
    assert_ne!(before["answer"], after["answer"]);
    assert_eq!(
        target
            .post("/phase/15/swap", json!({ "version": 2 }))
            .await
            .0,
        400
    );
    target.change_faults(json!({ "swap-drops": true })).await;
    target.post("/phase/15/swap", json!({ "version": 3 })).await;
    let mut dropped = 0;
    loop {
        let (status, told) = target.post("/phase/15/infer", json!({})).await;
        dropped += u32::from(status == 503);
        if told["version"] == 3 {
            break;
        }
    }
    assert!(dropped > 0);
}
