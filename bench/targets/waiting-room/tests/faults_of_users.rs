//! Faults that hit some users and leave the others alone.

mod common;

use std::time::{Duration, Instant};

use common::client::{Stream, login};
use common::{EVENT, OTHER_EVENT, Room, SILENT, SLOTS, for_both_kinds, is_heartbeat};
use serde_json::{Value, json};
use waiting_room::{Faults, Hop, Life, QueueKind, Share, Transport};

async fn room_with(set: impl FnOnce(&mut Faults)) -> Room {
    Room::start(QueueKind::Zset, |config| set(&mut config.faults)).await
}

async fn login_status(room: &Room, number: u32) -> u16 {
    let email = format!("user{number}@example.com");
    let answer = login(room.address, &email, "password123").await;
    answer.status().as_u16()
}

#[tokio::test]
async fn login_fails_at_the_first_attempt_only() {
    let room = room_with(|faults| faults.fail_first_logins = Share::First(2)).await;
    let attempts = [(1, 503), (1, 200), (2, 503), (3, 200), (2, 200), (1, 200)];
    for (number, status) in attempts {
        assert_eq!(login_status(&room, number).await, status, "{number}");
    }
    room.manager().await;
    // Taken back and set again, it is new to everybody.
    for (share, status) in [(json!(null), 200), (json!(1), 503), (json!(1), 200)] {
        room.change_faults(json!({ "fail-first-logins": share }))
            .await;
        assert_eq!(login_status(&room, 1).await, status);
    }
}

#[tokio::test]
async fn expired_token_is_refused_by_name() {
    let room = room_with(|faults| faults.expire_tokens = Share::First(1)).await;
    let user = room.user(1).await;
    let refused = user.waiting(EVENT).await;
    assert_eq!(refused.status(), 401);
    let body: Value = refused.json().await.expect("body is JSON");
    assert_eq!(body["message"], "the access token has expired");
    room.user(2).await.join(EVENT).await;
    room.set_status(EVENT, "OPEN").await;
}

#[tokio::test]
async fn stream_is_cut_while_queued_and_its_place_is_free() {
    for_both_kinds(async |kind| {
        let room = Room::start(kind, |config| {
            config.faults.cut_streams = Share::First(1);
        })
        .await;
        let mut users = room.join(EVENT, 1..=2).await;
        assert_eq!(users[0].1.message().await["order"], 1);
        assert!(!users[0].1.ended_in_order().await);
        users[1].1.until_order(1).await;
        let left: Vec<String> = room.redis.ask(&["HKEYS", "WAITING_USER_IDS:e1"]);
        assert_eq!(left, ["acc-2"]);
    })
    .await;
}

#[tokio::test]
async fn some_users_hear_nothing_and_the_others_everything() {
    let room = Room::start(QueueKind::Zset, |config| {
        config.faults.silence_users = Share::First(1);
        // Less than the stream is watched, more than the distance of heartbeats to the others.
        config.cut_after_silence = Duration::from_secs(4);
    })
    .await;
    let silent = room.user(1).await;
    let stream = silent.waiting(EVENT).await;
    assert_eq!(stream.status(), 200);
    let mut stream = Stream::silent(stream);
    let mut heard = room.join(EVENT, 2..=2).await;
    room.set_status(EVENT, "OPEN").await;
    // Neither a byte nor the cut; the user is promoted all the same.
    tokio::join!(stream.assert_silent_for(SILENT), heard[0].1.promotion());
    assert_eq!(room.slots(), "1");
    drop(stream);
    room.redis.until(&SLOTS, Some("2".to_owned())).await;
}

#[tokio::test]
async fn lost_promotion_takes_a_slot_and_is_never_told() {
    for_both_kinds(async |kind| {
        let room = Room::start(kind, |config| {
            config.faults.lose_promotions = Share::First(1);
        })
        .await;
        let mut users = room.join(EVENT, 1..=2).await;
        room.set_status(EVENT, "OPEN").await;
        users[1].1.promotion().await;
        assert_eq!(room.slots(), "1");
        assert!(users[0].1.hears_heartbeats_alone().await);
        users[0].0.disconnect(EVENT).await;
        assert_eq!(room.slots(), "2");
    })
    .await;
}

#[tokio::test]
async fn promotion_is_told_twice() {
    let room = room_with(|faults| faults.promote_twice = Share::First(1)).await;
    room.set_status(EVENT, "OPEN").await;
    let mut users = room.join(EVENT, 1..=2).await;
    let first = users[0].1.promotion().await;
    // A heartbeat may be between the two.
    let token = first["token"].as_str().expect("token is text");
    let next = [users[0].1.block().await, users[0].1.block().await];
    assert!(next.iter().any(|block| block.contains(token)), "{next:?}");
    users[1].1.promotion().await;
    let next = users[1].1.block().await;
    assert!(is_heartbeat(&next), "{next}");
    assert_eq!(room.slots(), "1");
}

#[tokio::test]
async fn slots_leak_where_some_users_leave() {
    let room = room_with(|faults| faults.leak_slots = Share::First(2)).await;
    room.set_status(EVENT, "OPEN").await;
    let mut users = room.join(EVENT, 1..=3).await;
    for (_, stream) in &mut users {
        stream.promotion().await;
    }
    assert_eq!(room.slots(), "0");
    // The slot of the user whose stream just ends leaks too, but not that of the third.
    let (_, stream) = users.remove(0);
    drop(stream);
    for (client, _) in &users {
        client.disconnect(EVENT).await;
    }
    room.redis
        .until(&["EXISTS", "ENTRY_TOKEN:acc-1"], false)
        .await;
    assert_eq!(room.slots(), "1");
    let tokens: Vec<String> = room.redis.ask(&["KEYS", "ENTRY_TOKEN:*"]);
    assert_eq!(tokens, [""; 0]);
}

#[tokio::test]
async fn promotion_stalls_and_goes_on() {
    let room = room_with(|faults| faults.stall_promotion = true).await;
    room.set_status(EVENT, "OPEN").await;
    let mut users = room.join(EVENT, 1..=1).await;
    // Positions go on meanwhile.
    for _ in 0..3 {
        users[0].1.until_order(1).await;
    }
    assert_eq!(room.slots(), "3");
    room.change_faults(json!({ "stall-promotion": false }))
        .await;
    users[0].1.promotion().await;
}

#[tokio::test]
async fn slots_come_back_late() {
    let late = Duration::from_millis(1500);
    let room = room_with(|faults| faults.late_slots = late).await;
    room.set_status(EVENT, "OPEN").await;
    let mut users = room.join(EVENT, 1..=1).await;
    users[0].1.promotion().await;
    let left = Instant::now();
    users[0].0.disconnect(EVENT).await;
    // Somebody cleans and the next first join sets the slots anew: then they are more than the seats.
    room.redis
        .ask::<()>(&["HSET", "ENTRY_QUEUE_SLOTS", EVENT, "3"]);
    room.redis.until(&SLOTS, Some("4".to_owned())).await;
    assert!(left.elapsed() >= late);
}

#[tokio::test]
async fn dead_broker_cuts_its_streams_and_answers_with_errors() {
    let room = Room::start(QueueKind::Zset, |config| {
        config.life.brokers = Life::real().brokers;
        config.life.hop = Hop::Streams;
    })
    .await;
    // Users 1 and 3 have the second broker, user 2 the first.
    let mut users = room.join(EVENT, 1..=2).await;
    let third = room.user(3).await;
    room.change_faults(json!({ "dead-brokers": 1 })).await;
    assert!(!users[1].1.ended_in_order().await);
    assert_eq!(users[1].0.waiting(EVENT).await.status(), 500);
    let _stream = third.join(EVENT).await;
    users[0].1.until_order(1).await;
    // Nothing was released: the user is still in the queue, is promoted, and nobody tells.
    let queued: Vec<String> = room.redis.ask(&["HKEYS", "WAITING_USER_IDS:e1"]);
    assert_eq!(queued.len(), 3);
    room.set_status(EVENT, "OPEN").await;
    users[0].1.promotion().await;
    assert_eq!(room.slots(), "0");
}

#[tokio::test]
async fn connections_have_a_limit() {
    let patience = Duration::from_millis(300);
    let room = Room::start(QueueKind::Zset, |config| {
        config.connection_wait = patience;
    })
    .await;
    let mut users = room.join(EVENT, 1..=1).await;
    let (second, third) = (room.user(2).await, room.user(3).await);
    let changed = room.change_faults(json!({ "connections": 2 })).await;
    assert_eq!(changed.status(), 200);
    let stream = second.join(OTHER_EVENT).await;

    let asked = Instant::now();
    let refused = third.waiting(OTHER_EVENT).await;
    assert_eq!(refused.status(), 500);
    assert!(asked.elapsed() >= patience);
    let error = refused.text().await.expect("answer has a body");
    assert_eq!(error, "no connection became free within 300 ms");
    assert_eq!(login_status(&room, 3).await, 500);
    let health = reqwest::get(room.url("/health")).await;
    assert_eq!(health.expect("health is answered").status(), 200);

    // A stream that ends gives its connection back, as soon as that is noticed.
    drop(stream);
    users[0].1.find(is_heartbeat).await;
    third.join(OTHER_EVENT).await;
    room.change_faults(json!({ "connections": null })).await;
    let _more = room.join(EVENT, 4..=9).await;
}

#[tokio::test]
async fn faults_of_streams_hit_those_who_ask_as_well() {
    let room = Room::start(QueueKind::Zset, |config| {
        config.transport = Transport::Polling;
        config.faults.lose_promotions = Share::First(1);
        config.faults.silence_users = Share::First(1);
    })
    .await;
    let (lost, told) = (room.user(1).await, room.user(2).await);
    assert_eq!(lost.ask(EVENT).await["order"], 1);
    told.ask(EVENT).await;
    room.set_status(EVENT, "OPEN").await;
    told.ask_until(EVENT, |answer| answer["status"] == "IN_PROGRESS")
        .await;
    assert_eq!(lost.ask(EVENT).await["status"], "IN_ENTRY");
    assert_eq!(room.slots(), "1");
}
