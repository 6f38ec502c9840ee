//! Each fault, switched on and off while the service runs.

mod common;

use std::time::{Duration, Instant};

use common::stream::{Ended, Stream, seqs};
use common::{CHUNKS, FAST, Service, fault};
use serde_json::{Value, json};

const ALL: [u64; CHUNKS] = [0, 1, 2, 3];

fn message(id: u32) -> Value {
    json!({ "type": "message", "id": id, "content": "hello" })
}

#[tokio::test]
async fn a_stall_of_the_loop_is_seen_and_can_be_asked_for_again() {
    let service = Service::start(&[FAST]);
    for _ in 0..2 {
        service.health_when(|hz| hz >= 95.0).await;
        // Longer than two seconds, so that a full one lies within.
        service.change_faults(fault("loop-stall-ms", 2100)).await;
        let (status, _) = service.health_when(|hz| hz == 0.0).await;
        // At a standstill the loop is not slow.
        assert_eq!(status, 200);
        // The switch has gone back by itself.
        assert_eq!(service.tells("/faults").await["loop-stall-ms"], 0);
    }
    service.health_when(|hz| hz >= 95.0).await;
    // Overdue ticks come at once, so that the average is right.
    let performance = service.tells("/api/system/performance").await;
    let uptime = performance["uptimeSeconds"]
        .as_f64()
        .expect("it is a number");
    let due = uptime * 250.0;
    while (service.counter("loopTicks").await as f64) < due {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn streams_go_on_while_the_loop_stalls() {
    let service = Service::start(&["--fault=loop-stall-ms=86400000"]);
    let mut stream = Stream::connect(&service, "/api/chat").await;
    stream.send(&message(1)).await;
    assert_eq!(seqs(&stream.reply().await.0), ALL);
    assert_eq!(service.counter("loopTicks").await, 1);
}

#[tokio::test]
async fn the_loop_is_slow_for_as_long_as_it_is_asked_to() {
    let service = Service::start(&[FAST]);
    service.health_when(|hz| hz >= 95.0).await;
    // Far slower than a busy machine makes it.
    service.change_faults(fault("loop-hz", 20)).await;
    let (status, _) = service.health_when(|hz| (1.0..=21.0).contains(&hz)).await;
    assert_eq!(status, 503);
    let samples = service.samples("stream").await;
    let hz = samples["backend_loop_hz"];
    assert_eq!(samples["consciousness_loop_hz"], hz);
    assert_eq!(samples["loop_frequency{source=\"backend\"}"], hz);
    service.change_faults(fault("loop-hz", Value::Null)).await;
    let (status, _) = service.health_when(|hz| hz >= 95.0).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn another_pace_is_told_than_the_one_of_the_ticks() {
    // It ticks once, and stands still for good.
    let service = Service::start(&["--fault=loop-stall-ms=86400000", "--fault=gauge-hz=100"]);
    let samples = service.samples("stream").await;
    assert_eq!(samples["backend_loop_hz"], 100.0);
    assert_eq!(samples["backend_loop_ticks_total"], 1.0);
    service.health_when(|hz| hz == 100.0).await;
    service.change_faults(fault("gauge-hz", Value::Null)).await;
    service.health_when(|hz| hz == 0.0).await;
}

#[tokio::test]
async fn what_the_loop_does_is_not_told() {
    let service = Service::start(&[]);
    let of_loop = [
        "backend_loop_hz",
        "consciousness_loop_hz",
        "loop_frequency{source=\"backend\"}",
        "backend_loop_ticks_total",
    ];
    let mut stream = Stream::connect(&service, "/").await;
    for hidden in [false, true, false] {
        service.change_faults(fault("no-hz", hidden)).await;
        let samples = service.samples("api").await;
        for name in of_loop {
            assert_eq!(samples.contains_key(name), !hidden, "{name}");
        }
        assert!(samples.contains_key("chat_messages_total"));
        let health = service.get("stream", "/healthz").await;
        let health: Value = health.json().await.expect("body is JSON");
        assert_eq!(health["hz"].is_null(), hidden, "{health}");
        stream
            .send(&json!({ "type": "chat", "message": "x" }))
            .await;
        let (chunks, _) = stream.reply().await;
        assert!(chunks.iter().all(|chunk| chunk["hz"].is_null() == hidden));
    }
}

#[tokio::test]
async fn chunks_are_late() {
    let service = Service::start(&[]);
    let mut stream = Stream::connect(&service, "/api/chat").await;
    service.change_faults(fault("chunk-delay-ms", 100)).await;
    let sent = Instant::now();
    stream.send(&message(1)).await;
    assert_eq!(seqs(&stream.reply().await.0), ALL);
    assert!(sent.elapsed() >= Duration::from_millis(4 * 100));
    service
        .change_faults(fault("chunk-delay-ms", Value::Null))
        .await;
    // As long as a number can say: nothing comes, and nothing breaks.
    service
        .change_faults(fault("chunk-delay-ms", u64::MAX))
        .await;
    stream.send(&message(2)).await;
    service.until_counter("messages", 2).await;
    assert_eq!(service.counter("chunks").await, CHUNKS as u64);
}

#[tokio::test]
async fn every_so_many_replies_lose_a_chunk() {
    let service = Service::start(&[]);
    let mut stream = Stream::connect(&service, "/api/chat").await;
    let mut got = async |share: Value, messages: u32| {
        service.change_faults(fault("drop-chunk", share)).await;
        let mut got = Vec::new();
        for id in 0..messages {
            stream.send(&message(id)).await;
            let (chunks, done) = stream.reply().await;
            // What was lost is told of all the same.
            assert_eq!(done["chunks"], CHUNKS);
            got.push(seqs(&chunks));
        }
        got
    };
    let gap = vec![0, 1, 3];
    let all = ALL.to_vec();
    assert_eq!(
        got(json!("50%"), 4).await,
        [&all, &gap, &all, &gap].map(Clone::clone)
    );
    assert_eq!(got(json!(1), 2).await, [&gap, &all].map(Clone::clone));
    assert_eq!(got(Value::Null, 2).await, [&all, &all].map(Clone::clone));
    assert_eq!(service.counter("droppedChunks").await, 3);
    assert_eq!(service.counter("chunks").await, 8 * CHUNKS as u64 - 3);
}

#[tokio::test]
async fn every_so_many_upgrades_are_refused() {
    let service = Service::start(&[]);
    let opened = async |share: Value| {
        service.change_faults(fault("refuse-share", share)).await;
        let mut statuses = Vec::new();
        for _ in 0..4 {
            let stream = Stream::open(&service, "stream", "/chat", None).await;
            statuses.push(stream.err().unwrap_or(101));
        }
        statuses
    };
    assert_eq!(opened(json!("50%")).await, [101, 403, 101, 403]);
    assert_eq!(opened(json!(3)).await, [403, 403, 403, 101]);
    assert_eq!(opened(Value::Null).await, [101; 4]);
    assert_eq!(service.counter("refusedUpgrades").await, 5);
    assert_eq!(service.counter("upgrades").await, 7);
}

#[tokio::test]
async fn every_so_many_messages_are_answered_by_an_error() {
    let service = Service::start(&[]);
    let mut stream = Stream::connect(&service, "/api/chat").await;
    let mut kinds = async |share: Value| {
        service.change_faults(fault("error-share", share)).await;
        let mut kinds = Vec::new();
        for id in 0..4 {
            stream.send(&message(id)).await;
            let (chunks, last) = stream.reply().await;
            assert_eq!(last["id"], id);
            assert_eq!(chunks.is_empty(), last["code"] == "unavailable");
            kinds.push(last["type"].as_str().map(str::to_owned));
        }
        kinds.into_iter().flatten().collect::<Vec<_>>()
    };
    assert_eq!(kinds(json!("25%")).await, ["done", "done", "done", "error"]);
    assert_eq!(kinds(Value::Null).await, ["done"; 4]);
    assert_eq!(service.counter("errors").await, 1);
    assert_eq!(service.samples("api").await["chat_error_rate"], 0.125);

    // The other forms have errors of their own.
    service.change_faults(fault("error-share", "100%")).await;
    let chat = json!({ "type": "chat", "content": "x", "message": "x", "messageId": "m" });
    for (path, field) in [("/chat", "content"), ("/", "message")] {
        let mut stream = Stream::connect(&service, path).await;
        stream.send(&chat).await;
        let error = stream.frame().await;
        assert_eq!(
            (&error["type"], &error["code"]),
            (&json!("error"), &json!("unavailable"))
        );
        assert!(error[field].is_string(), "{error}");
    }
    let mut stream = Stream::connect(&service, "/consciousness").await;
    assert_eq!(stream.frame().await["type"], "error");
}

#[tokio::test]
async fn every_so_many_connections_break_off_in_a_reply() {
    let service = Service::start(&[]);
    // Whether a stream is cut is decided when it is first asked for something, not when it is opened.
    let mut before = Stream::connect(&service, "/api/chat").await;
    service.change_faults(fault("cut-share", "50%")).await;
    for number in 1..=4 {
        let mut stream = Stream::connect(&service, "/api/chat").await;
        stream.send(&message(1)).await;
        if number % 2 == 0 {
            let (frames, ended) = stream.rest().await;
            assert_eq!(ended, Ended::BrokenOff);
            assert_eq!(seqs(&frames), [0, 1]);
            assert_eq!(frames.len(), 2);
        } else {
            assert_eq!(stream.reply().await.1["type"], "done");
            stream.send(&message(2)).await;
            assert_eq!(stream.reply().await.1["type"], "done");
        }
    }
    service.change_faults(fault("cut-share", 1)).await;
    before.send(&message(1)).await;
    assert_eq!(before.rest().await.1, Ended::BrokenOff);
    service.change_faults(fault("cut-share", Value::Null)).await;
    let mut stream = Stream::connect(&service, "/api/chat").await;
    stream.send(&message(1)).await;
    assert_eq!(stream.reply().await.1["type"], "done");
    assert_eq!(service.counter("cutStreams").await, 3);
}
