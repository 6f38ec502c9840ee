//! Each fault does what it says.

mod common;

use std::time::{Duration, Instant};

use common::client::login;
use common::{EVENT, Room, SILENT};
use serde_json::json;
use waiting_room::QueueKind;

#[tokio::test]
async fn logins_of_the_first_users_fail() {
    let room = Room::start(QueueKind::Zset, |config| {
        config.faults.fail_logins = "2".parse().expect("share is valid");
    })
    .await;
    for (number, status) in [(1, 401), (2, 401), (3, 200), (1, 401)] {
        let email = format!("user{number}@example.com");
        assert_eq!(
            login(room.address, &email, "password123").await.status(),
            status
        );
    }
    room.manager().await;
}

#[tokio::test]
async fn streams_of_a_share_of_users_fail() {
    let room = Room::start(QueueKind::Zset, |config| {
        config.faults.fail_streams = "50%".parse().expect("share is valid");
    })
    .await;
    for (number, status) in [(1, 200), (2, 503), (3, 200), (4, 503)] {
        assert_eq!(
            room.user(number).await.waiting(EVENT).await.status(),
            status,
            "{number}"
        );
    }
    assert_eq!(
        room.redis
            .ask::<String>(&["HGET", "WAITING_QUEUE_IDX", EVENT]),
        "2"
    );
}

#[tokio::test]
async fn answers_are_delayed() {
    let delay = Duration::from_millis(300);
    let room = Room::start(QueueKind::Zset, |config| config.faults.delay = delay).await;
    let started = Instant::now();
    room.manager().await;
    assert!(started.elapsed() >= delay);
}

#[tokio::test]
async fn streams_fall_silent_once_an_event_is_open() {
    let room = Room::start(QueueKind::Zset, |config| {
        config.faults.silent_after = Some(Duration::ZERO);
        config.cut_after_silence = Duration::from_secs(1);
    })
    .await;
    let mut users = room.join(EVENT, 1..=1).await;
    users[0].1.until_order(1).await;
    room.set_status(EVENT, "OPEN").await;
    // Neither another byte nor the cut.
    users[0].1.assert_silent_for(SILENT).await;
    assert!(room.redis.ask::<bool>(&["EXISTS", "WAITING:e1"]));
    users[0].0.disconnect(EVENT).await;
}

#[tokio::test]
async fn streams_fall_silent_after_so_many_messages() {
    let room = Room::start(QueueKind::Zset, |config| {
        config.faults.silent_after_messages = Some(3);
    })
    .await;
    let mut users = room.join(EVENT, 1..=3).await;
    let late = room.user(4).await.waiting(EVENT).await;
    assert_eq!(late.status(), 200);
    let mut late = common::client::Stream::silent(late);
    tokio::join!(
        users[0].1.assert_silent_for(SILENT),
        late.assert_silent_for(SILENT)
    );
}

#[tokio::test]
async fn messages_are_encoded_twice() {
    let room = Room::start(QueueKind::Zset, |config| config.faults.double_encode = true).await;
    let mut users = room.join(EVENT, 1..=1).await;
    let block = users[0].1.find(|block| block.starts_with("data:")).await;
    let inner = block
        .strip_prefix("data:data:\"")
        .and_then(|rest| rest.strip_suffix('"'));
    let json = inner
        .expect("data is prefixed twice and quoted")
        .replace("\\\"", "\"");
    let message: serde_json::Value = serde_json::from_str(&json).expect("data is JSON inside");
    assert_eq!(message["status"], "IN_ENTRY");
}

#[tokio::test]
async fn promotion_rounds_are_further_apart() {
    let room = Room::start(QueueKind::Zset, |config| {
        config.seats = 1;
        config.faults.promotion_slowdown = "400%".parse().expect("percentage is valid");
    })
    .await;
    room.set_status(EVENT, "OPEN").await;
    let mut users = room.join(EVENT, 1..=2).await;
    users[0].1.promotion().await;
    let first = Instant::now();
    users[0].0.disconnect(EVENT).await;
    users[1].1.promotion().await;
    // Five seconds but for the way of the first message: far more than a round apart in any case.
    assert!(first.elapsed() >= Duration::from_secs(2));
}

#[tokio::test]
async fn faults_change_while_the_room_runs() {
    let room = Room::start(QueueKind::Zset, |config| config.seats = 1).await;
    let status = async |number| {
        let email = format!("user{number}@example.com");
        let answer = login(room.address, &email, "password123").await;
        answer.status()
    };
    assert_eq!(status(1).await, 200);
    let changed = room.change_faults(json!({ "fail-logins": 1 })).await;
    assert_eq!(changed.status(), 200);
    let faults: serde_json::Value = changed.json().await.expect("body is JSON");
    assert_eq!(faults["fail-logins"], 1);
    assert_eq!(status(1).await, 401);
    assert_eq!(status(2).await, 200);

    room.change_faults(json!({ "fail-logins": null })).await;
    let mut users = room.join(EVENT, 1..=1).await;
    users[0].1.until_order(1).await;
    room.change_faults(json!({ "silent-after-ms": 0 })).await;
    room.set_status(EVENT, "OPEN").await;
    users[0].1.assert_silent_for(SILENT).await;
    room.change_faults(json!({ "silent-after-ms": null })).await;
    users[0].1.promotion().await;

    let refused = room.change_faults(json!({ "fail-login": 1 })).await;
    assert_eq!(refused.status(), 400);
    let error = refused.text().await.expect("answer has a body");
    assert!(
        error.contains("there is no fault") && error.contains("promotion-slowdown"),
        "{error}"
    );
    let latencies = room.tells("/latencies").await;
    assert_eq!(latencies["PATCH /api/v1/events/{event}"]["count"], 1);
    assert!(latencies["POST /api/v1/auth/login"]["maxMs"].is_number());
}
