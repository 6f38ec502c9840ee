//! What `doctor` says of a chat service, with k6 and the reference service: the connection, the pace, the addresses.

mod common;

use common::chat::Chat;
use common::{chat_service, finish, k6};
use serde_json::json;

/// What `doctor chat` says of a service that a person has started.
fn told(chat: &Chat, more: &[(&str, &str)]) -> (i32, String) {
    let mut command = chat.place.runner();
    command
        .args(["doctor", "chat", "--set", "VUS=10"])
        .env("K6_BIN", k6())
        .env("BASE_URL", format!("http://{}", chat.api))
        .env("WS_URL", format!("ws://{}", chat.stream))
        .envs(more.iter().copied());
    finish(&mut command)
}

#[test]
fn a_healthy_service_is_tried_with_a_message() {
    let chat = Chat::start();
    let (code, printed) = told(&chat, &[]);
    assert_eq!(code, 0, "{printed}");
    for expected in [
        format!("health of the API: http://{}/health: status 200", chat.api),
        format!(
            "health of the streams: http://{}/health: status 200",
            chat.stream
        ),
        format!("pace: http://{}/metrics: backend_loop_hz is ", chat.api),
        format!(
            "connection: ws://{}/api/chat: status 101; no token was sent",
            chat.stream
        ),
        "reply: a message was answered in ".to_owned(),
    ] {
        assert!(printed.contains(&expected), "{expected}: {printed}");
    }
    assert_eq!(chat.counter("replies"), 1, "one message, though two runs");
}

#[test]
fn a_stream_that_nobody_serves_is_named_with_its_address() {
    let mut chat = Chat::start();
    // Nobody listens there, and nobody else can: it is this end of a connection.
    let taken = std::net::TcpStream::connect(&chat.api).expect("a connection");
    chat.stream = taken.local_addr().expect("an address").to_string();
    let (code, printed) = told(&chat, &[]);
    assert_eq!(code, 2, "{printed}");
    let health = format!(
        "fault    service, health of the streams: http://{}/health: no answer: ",
        chat.stream
    );
    let stream = format!(
        "fault    service, connection: ws://{}/api/chat: ",
        chat.stream
    );
    for expected in [health.as_str(), &stream, "say by WS_URL where it is"] {
        assert!(printed.contains(expected), "{expected}: {printed}");
    }
}

#[test]
fn a_refused_connection_is_told_with_its_status_and_whether_a_token_was_sent() {
    let chat = Chat::start();
    chat.set_faults(&json!({ "refuse-share": "100%" }));
    let (code, printed) = told(&chat, &[]);
    assert_eq!(code, 2, "{printed}");
    let expected =
        "/api/chat: status 403; no token was sent\n         mend: give the file of TOKENS";
    assert!(printed.contains(expected), "{printed}");

    let tokens = chat.place.evidence().with_file_name("tokens");
    std::fs::write(&tokens, "topsecret-4711\n").expect("a file");
    let tokens = tokens.display().to_string();
    let (_, printed) = told(&chat, &[("TOKENS", &tokens)]);
    let expected =
        "/api/chat: status 403; a token was sent\n         mend: see whether the first token";
    assert!(printed.contains(expected), "{printed}");
    assert!(!printed.contains("topsecret-4711"), "{printed}");
}

#[test]
fn a_pace_that_is_not_told_is_missed_by_its_name() {
    let chat = Chat::start();
    chat.set_faults(&json!({ "no-hz": true }));
    let (code, printed) = told(&chat, &[]);
    assert_eq!(code, 2, "{printed}");
    for expected in [
        "/metrics: no sample backend_loop_hz, no sample backend_loop_ticks_total; names with hz: none",
        "mend: without it a run is INVALID: read the log of the loop",
    ] {
        assert!(printed.contains(expected), "{expected}: {printed}");
    }
}

#[test]
fn the_reference_service_is_started_for_a_trial() {
    let place = common::Place::new();
    let mut command = place.runner();
    command
        .args(["doctor", "chat", "--set", "VUS=10"])
        .env("K6_BIN", k6())
        .env("CHAT_SERVICE_BIN", chat_service());
    let (code, printed) = finish(&mut command);
    assert_eq!(code, 0, "{printed}");
    assert!(
        printed.contains("chat, reply: a message was answered in "),
        "{printed}"
    );
}
