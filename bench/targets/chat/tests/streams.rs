//! Streams in each of the forms that clients know.

mod common;

use common::stream::{Ended, Stream, seqs};
use common::{CHUNKS, Service};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

const ALL: [u64; CHUNKS] = [0, 1, 2, 3];

fn text(value: &Value) -> &str {
    value.as_str().expect("it is a text")
}

fn message(id: impl Into<Value>) -> Value {
    json!({ "type": "message", "id": id.into(), "content": "hello" })
}

#[tokio::test]
async fn messages_are_answered_by_chunks_with_their_id() {
    let service = Service::start(&[]);
    let mut stream = Stream::connect(&service, "/api/chat").await;
    for id in [json!("a \"quoted\" id"), json!(7)] {
        stream.send(&message(id.clone())).await;
        let (chunks, done) = stream.reply().await;
        assert_eq!(seqs(&chunks), ALL);
        for chunk in &chunks {
            assert_eq!((&chunk["type"], &chunk["id"]), (&json!("chunk"), &id));
            assert!(!text(&chunk["content"]).is_empty());
        }
        assert_eq!(done, json!({ "type": "done", "id": id, "chunks": CHUNKS }));
    }
}

#[tokio::test]
async fn chats_are_answered_by_stream_events() {
    let service = Service::start(&[]);
    let mut stream = Stream::connect(&service, "/chat").await;
    let chat = json!({
        "type": "chat", "content": "hello", "messageId": "msg_3_1763790000000", "userId": "user_3",
        "timestamp": 1_763_790_000_000_u64,
    });
    stream.send(&chat).await;
    let (chunks, done) = stream.reply().await;
    assert_eq!(seqs(&chunks), ALL);
    for frame in chunks.iter().chain([&done]) {
        assert_eq!(frame["type"], "stream_event");
        assert_eq!(frame["event"]["messageId"], "msg_3_1763790000000");
        assert!(text(&frame["timestamp"]).ends_with('Z'), "{frame}");
    }
    for chunk in &chunks {
        assert_eq!(chunk["event"]["type"], "token");
        assert!(!text(&chunk["event"]["data"]).is_empty());
    }
    assert_eq!(done["event"]["type"], "complete");
    assert_eq!(done["event"]["chunks"], CHUNKS);
}

#[tokio::test]
async fn chats_with_a_token_in_the_address_are_answered_by_tokens_with_the_pace() {
    let service = Service::start(&["--also=127.0.0.1:0"]);
    let token = service.log_in("demo@example.com").await;
    for socket in ["stream", "also"] {
        let path = format!("/?token={token}");
        let stream = Stream::open(&service, socket, &path, Some(&token)).await;
        let mut stream = stream.expect("stream is opened");
        stream
            .send(&json!({ "type": "auth", "token": token }))
            .await;
        let chat = json!({
            "type": "chat", "message": "hello", "timestamp": "2026-11-22T06:00:00.000Z", "sessionId": "session-1",
        });
        stream.send(&chat).await;
        let (chunks, done) = stream.reply().await;
        assert_eq!(seqs(&chunks), ALL);
        assert!(chunks.iter().all(|chunk| chunk["type"] == "token"));
        assert_eq!(done["type"], "complete");
        for frame in chunks.iter().chain([&done]) {
            assert!(!text(&frame["content"]).is_empty());
            assert!(frame["hz"].as_f64().is_some_and(|hz| hz > 0.0), "{frame}");
        }
        let whole: String = chunks.iter().map(|chunk| text(&chunk["content"])).collect();
        assert_eq!(text(&done["content"]), whole.trim_end());
    }
}

#[tokio::test]
async fn research_queries_are_answered_one_after_another() {
    let service = Service::start(&[]);
    let mut stream = Stream::connect(&service, "/research-chat?token=any").await;
    for turn in 1..=3 {
        let query = json!({
            "type": "research_query", "message": "why", "conversation_turn": turn, "timestamp": "2026-11-22T06:00:00Z",
        });
        stream.send(&query).await;
        let (chunks, done) = stream.reply().await;
        assert_eq!(seqs(&chunks), ALL);
        assert!(chunks.iter().all(|chunk| chunk["type"] == "token"));
        assert_eq!(done["type"], "response_complete");
    }
}

#[tokio::test]
async fn an_analysis_comes_without_being_asked_for() {
    let service = Service::with(&["--chunks=11", "--first-chunk-ms=0", "--chunk-interval-ms=0"]);
    let path = "/consciousness?token=any&analysis=analysis-1";
    let mut stream = Stream::connect(&service, path).await;
    let mut tokens = Vec::new();
    let mut stable = 0;
    loop {
        let frame = stream.frame().await;
        match text(&frame["type"]) {
            "consciousness_token" => tokens.push(text(&frame["content"]).to_owned()),
            "memory_status" => stable += u32::from(frame["stable"] == true),
            other => {
                assert_eq!(other, "analysis_complete");
                break;
            }
        }
    }
    assert_eq!((tokens.len(), stable), (11, 2));
    for insight in [
        "self_awareness",
        "memory_integration",
        "emotional_mapping",
        "temporal_integration",
        "sensory_integration",
    ] {
        assert!(
            tokens.iter().any(|token| token.contains(insight)),
            "{insight}"
        );
    }
    // It stays open until the client has seen the end.
    stream.send(&json!({ "type": "chat" })).await;
    assert_eq!(stream.frame().await["code"], "unknown_type");
}

#[tokio::test]
async fn messages_at_once_are_answered_in_their_order() {
    let service = Service::start(&[]);
    let mut stream = Stream::connect(&service, "/api/chat").await;
    for id in 0..10 {
        stream.send(&message(id)).await;
    }
    for id in 0..10 {
        let (chunks, done) = stream.reply().await;
        assert_eq!(seqs(&chunks), ALL);
        assert_eq!(done["id"], id);
    }
    assert_eq!(service.counter("messages").await, 10);
    assert_eq!(service.counter("chunks").await, 10 * CHUNKS as u64);
    assert_eq!(service.counter("replies").await, 10);
}

#[tokio::test]
async fn more_messages_than_can_wait_are_refused_by_their_id() {
    let service = Service::with(&["--first-chunk-ms=86400000"]);
    let mut stream = Stream::connect(&service, "/api/chat").await;
    // One is being answered, 16 wait.
    for id in 1..=18 {
        stream.send(&message(id)).await;
    }
    let error = stream.frame().await;
    assert_eq!(
        (&error["id"], &error["code"]),
        (&json!(18), &json!("too_many"))
    );
}

#[tokio::test]
async fn bad_frames_are_answered_and_the_stream_stays() {
    let service = Service::start(&[]);
    let mut stream = Stream::connect(&service, "/api/chat").await;
    for (frame, code) in [
        (Message::text("{"), "not_json"),
        (
            Message::text(r#"{"type":"chat","content":"x"}"#),
            "unknown_type",
        ),
        (
            Message::text(r#"{"type":"message","content":"x"}"#),
            "no_id",
        ),
        (
            Message::text(r#"{"type":"message","id":"a"}"#),
            "no_content",
        ),
        (
            Message::text(format!("\"{}\"", "x".repeat(20_000))),
            "too_long",
        ),
        (Message::binary(b"{}".to_vec()), "not_text"),
    ] {
        stream.send_raw(frame).await;
        let error = stream.frame().await;
        assert_eq!(
            (&error["type"], &error["code"]),
            (&json!("error"), &json!(code))
        );
        assert!(!text(&error["message"]).is_empty());
    }
    stream.send(&message("b")).await;
    assert_eq!(stream.reply().await.1["type"], "done");
    assert_eq!(service.counter("badFrames").await, 6);

    // In the other forms, where their clients look for it.
    for (path, field) in [
        ("/chat", "content"),
        ("/", "message"),
        ("/research-chat", "message"),
    ] {
        let mut stream = Stream::connect(&service, path).await;
        stream.send(&json!({ "type": "get_memory" })).await;
        let error = stream.frame().await;
        assert_eq!(error["type"], "error");
        let says = text(&error[field]);
        assert!(
            says.starts_with("type: got \"get_memory\"; allowed are "),
            "{says}"
        );
    }
}

#[tokio::test]
async fn streams_need_a_known_token_where_that_is_asked_for() {
    let folder = tempfile::tempdir().expect("folder can be made");
    let file = folder.path().join("tokens");
    std::fs::write(&file, "first-token\n\n  second-token\n").expect("file can be written");
    let tokens = format!("--tokens={}", file.display());
    let service = Service::start(&["--require-token", &tokens]);
    let given = service.log_in("ann@example.com").await;
    let open = async |path: &str, bearer: Option<&str>| {
        Stream::open(&service, "stream", path, bearer)
            .await
            .map(|_| ())
    };
    for path in [
        "/api/chat",
        "/chat",
        "/",
        "/consciousness",
        "/research-chat",
    ] {
        assert_eq!(open(path, None).await, Err(403), "{path}");
        assert_eq!(open(path, Some("unknown")).await, Err(403), "{path}");
        assert_eq!(open(path, Some(&given)).await, Ok(()), "{path}");
        for token in [&given, "first-token", "second-token"] {
            let path = format!("{path}?token={token}");
            assert_eq!(open(&path, None).await, Ok(()), "{path}");
        }
    }
    assert_eq!(service.counter("refusedUpgrades").await, 10);
    let mut stream = Stream::open(&service, "stream", "/", Some(&given)).await;
    let stream = stream.as_mut().expect("token is known");
    stream
        .send(&json!({ "type": "auth", "token": "unknown" }))
        .await;
    assert_eq!(stream.frame().await["code"], "bad_token");
}

#[tokio::test]
async fn streams_that_end_are_not_counted_as_open() {
    let service = Service::start(&[]);
    let stream = Stream::connect(&service, "/chat").await;
    let other = Stream::connect(&service, "/").await;
    service.until_counter("openStreams", 2).await;
    drop(stream);
    service.until_counter("openStreams", 1).await;
    drop(other);
    service.until_counter("openStreams", 0).await;
    assert_eq!(service.counter("upgrades").await, 2);
}

#[tokio::test]
async fn a_stop_closes_open_streams_in_order() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut service = Service::with(&["--first-chunk-ms=0", "--chunk-interval-ms=86400000"]);
        // So many that it takes a while to tell them all.
        let mut streams = Vec::new();
        for _ in 0..100 {
            streams.push(Stream::connect(&service, "/chat").await);
        }
        let mut busy = Stream::connect(&service, "/api/chat").await;
        busy.send(&message(1)).await;
        assert_eq!(busy.frame().await["seq"], 0);
        streams.push(busy);
        service.signal(signal);
        for stream in &mut streams {
            assert_eq!(stream.rest().await.1, Ended::Closed(CloseCode::Away));
        }
        assert!(service.ended_well());
    }
}
