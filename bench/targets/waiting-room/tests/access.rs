//! Who may call what, and how answers look.

mod common;

use common::client::{Client, header, login};
use common::{EVENT, Room};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, SET_COOKIE};
use reqwest::{Method, Response};
use serde_json::Value;
use waiting_room::QueueKind;

const PATHS: [(Method, &str); 3] = [
    (Method::PATCH, "/api/v1/events/e1?status=OPEN"),
    (Method::GET, "/api/v1/broker/events/e1/tickets/waiting"),
    (Method::POST, "/api/v1/broker/events/e1/tickets/disconnect"),
];

async fn json(response: Response) -> Value {
    let body: Value = response.json().await.expect("body is JSON");
    for field in ["code", "message", "data"] {
        assert!(body.get(field).is_some(), "{field} is missing in {body}");
    }
    body
}

#[tokio::test]
async fn login_hands_out_token_and_cookie() {
    let room = Room::start(QueueKind::Zset, |_| {}).await;
    let response = login(room.address, "user1@example.com", "password123").await;
    assert_eq!(response.status(), 200);
    let header = |name| header(&response, name);
    assert!(header(AUTHORIZATION).starts_with("eyJ"));
    let cookie = header(SET_COOKIE);
    let (pair, attributes) = cookie.split_once("; ").expect("cookie has attributes");
    assert!(
        pair.strip_prefix("refreshToken=")
            .is_some_and(|value| !value.is_empty()),
        "{pair}"
    );
    assert_eq!(attributes, "Max-Age=604800; Path=/; Secure; SameSite=None");
    json(response).await;
}

#[tokio::test]
async fn wrong_credentials_are_refused() {
    let room = Room::start(QueueKind::Zset, |_| {}).await;
    for (email, password) in [
        ("user1@example.com", "wrong"),
        ("user101@example.com", "password123"),
        ("admin@example.com", ""),
    ] {
        let response = login(room.address, email, password).await;
        assert_eq!(response.status(), 401, "{email}");
        assert!(!response.headers().contains_key(SET_COOKIE));
        json(response).await;
    }
}

#[tokio::test]
async fn token_and_cookie_are_both_required() {
    let room = Room::start(QueueKind::Zset, |_| {}).await;
    let token = room.user(1).await.token().to_owned();
    let cookie = "refreshToken=anything";
    let cases = [
        (None, None),
        (None, Some(cookie)),
        (Some(format!("Bearer {token}")), None),
        (Some(format!("Bearer {token}")), Some("other=1")),
        (Some(format!("bearer {token}")), Some(cookie)),
        (Some(token.clone()), Some(cookie)),
        (Some("Bearer ".to_owned()), Some(cookie)),
        (Some(format!("Bearer {token}x")), Some(cookie)),
    ];
    for (method, path) in PATHS {
        for (authorization, cookie) in &cases {
            let mut request = reqwest::Client::new().request(method.clone(), room.url(path));
            if let Some(authorization) = authorization {
                request = request.header(AUTHORIZATION, authorization);
            }
            if let Some(cookie) = cookie {
                request = request.header(COOKIE, *cookie);
            }
            let response = request.send().await.expect("request is answered");
            assert_eq!(
                response.status(),
                401,
                "{path} {authorization:?} {cookie:?}"
            );
            json(response).await;
        }
    }
    assert_eq!(room.redis.ask::<u64>(&["DBSIZE"]), 0);
}

#[tokio::test]
async fn wrong_role_is_a_server_error() {
    let room = Room::start(QueueKind::Zset, |_| {}).await;
    let user = room.user(1).await;
    let manager = room.manager().await;
    for response in [
        user.set_status(EVENT, "OPEN").await,
        manager.waiting(EVENT).await,
    ] {
        assert_eq!(response.status(), 500);
        let content_type = response.headers()[CONTENT_TYPE]
            .to_str()
            .expect("header is text");
        assert!(content_type.starts_with("text/plain"), "{content_type}");
    }
    assert_eq!(room.redis.ask::<u64>(&["DBSIZE"]), 0);
}

#[tokio::test]
async fn event_service_knows_its_events_and_statuses() {
    let room = Room::start(QueueKind::Zset, |_| {}).await;
    let manager = room.manager().await;
    let body = json(manager.event(EVENT).await).await;
    assert_eq!(body["data"]["seatCount"], 3);
    // Anybody may ask.
    let open = reqwest::get(room.url("/api/v1/events/e1")).await;
    assert_eq!(open.expect("event is answered").status(), 200);
    assert_eq!(manager.event("nowhere").await.status(), 404);
    assert_eq!(manager.set_status("nowhere", "OPEN").await.status(), 404);
    for status in ["HALF", ""] {
        assert_eq!(
            manager.set_status(EVENT, status).await.status(),
            500,
            "{status:?}"
        );
    }
    assert!(!room.redis.ask::<bool>(&["EXISTS", "event_statuses"]));
    let response = manager.set_status(EVENT, "open").await;
    assert_eq!(response.status(), 200);
    json(response).await;
    assert_eq!(
        room.redis.ask::<String>(&["HGET", "event_statuses", EVENT]),
        "open"
    );
}

#[tokio::test]
async fn waiting_is_an_event_stream_without_charset() {
    let room = Room::start(QueueKind::Zset, |_| {}).await;
    let response = room.user(1).await.waiting(EVENT).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()[CONTENT_TYPE], "text/event-stream");
}

#[tokio::test]
async fn stream_has_the_given_bytes() {
    let room = Room::start(QueueKind::Zset, |_| {}).await;
    let client: Client = room.user(7).await;
    let mut stream = client.join(EVENT).await;
    let mut heartbeat = false;
    let mut position = false;
    while !(heartbeat && position) {
        let block = stream.block().await;
        assert!(!block.contains(['\r', '\n']), "{block:?}");
        if block == ":heartBeat" {
            heartbeat = true;
        } else {
            position = true;
            assert!(
                block.starts_with("data:{\"") && block.ends_with('}'),
                "{block:?}"
            );
            assert!(block.contains(r#""userId":"acc-7""#), "{block:?}");
        }
    }
}

#[tokio::test]
async fn health_shows_the_set_up() {
    let room = Room::start(QueueKind::Hash, |_| {}).await;
    let body = room.tells("/health").await;
    assert_eq!(body["status"], "UP");
    assert_eq!(body["queue"], "hash");
    assert_eq!(body["events"], serde_json::json!(["e1", "e2"]));
    assert!(
        body["redis"]
            .as_str()
            .is_some_and(|url| url.starts_with("redis")),
        "{body}"
    );
}
