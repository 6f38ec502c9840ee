//! What is in Redis, and which commands put it there.

mod common;

use common::{EVENT, Room, for_both_kinds};
use serde_json::{Value, json};
use waiting_room::QueueKind;

#[tokio::test]
async fn keys_have_the_given_types_and_values() {
    for_both_kinds(async |kind| {
        let room = Room::start(kind, |_| {}).await;
        let _users = room.join(EVENT, 1..=2).await;
        let redis = &room.redis;
        match kind {
            QueueKind::Zset => {
                let members: Vec<(String, u64)> =
                    redis.ask(&["ZRANGE", "WAITING:e1", "0", "-1", "WITHSCORES"]);
                let member = |user: &str, index| (format!(r#"{{"userId":"{user}"}}"#), index);
                assert_eq!(members, [member("acc-1", 1), member("acc-2", 2)]);
            }
            QueueKind::Hash => {
                assert_eq!(redis.ask::<String>(&["TYPE", "WAITING:e1"]), "hash");
                assert_eq!(redis.ask::<String>(&["HGET", "WAITING:e1", "acc-2"]), "2");
            }
        }
        let marker: String = redis.ask(&["HGET", "WAITING_USER_IDS:e1", "acc-1"]);
        assert_eq!(marker, "\"true\"");
        let record: String = redis.ask(&["HGET", "WAITING_QUEUE_INDEX_RECORD:e1", "acc-2"]);
        let record: Value = serde_json::from_str(&record).expect("record is JSON");
        let instance = record["instanceId"].clone();
        assert!(
            instance
                .as_str()
                .is_some_and(|instance| !instance.is_empty()),
            "{record}"
        );
        let expected =
            json!({ "userId": "acc-2", "eventId": EVENT, "idx": "2", "instanceId": instance });
        assert_eq!(record, expected);
        assert_eq!(
            redis.ask::<String>(&["HGET", "WAITING_QUEUE_IDX", EVENT]),
            "2"
        );
        assert_eq!(
            redis.ask::<String>(&["HGET", "ENTRY_QUEUE_SLOTS", EVENT]),
            "3"
        );
        room.set_status(EVENT, "Closed").await;
        assert_eq!(
            redis.ask::<String>(&["HGET", "event_statuses", EVENT]),
            "Closed"
        );
    })
    .await;
}

#[tokio::test]
async fn preset_slots_are_kept() {
    let room = Room::start(QueueKind::Zset, |_| {}).await;
    room.redis
        .ask::<()>(&["HSET", "ENTRY_QUEUE_SLOTS", EVENT, "10000"]);
    let _users = room.join(EVENT, 1..=1).await;
    assert_eq!(
        room.redis
            .ask::<String>(&["HGET", "ENTRY_QUEUE_SLOTS", EVENT]),
        "10000"
    );
}

#[tokio::test]
async fn unknown_event_can_be_waited_for_without_slots() {
    for_both_kinds(async |kind| {
        let room = Room::start(kind, |_| {}).await;
        let mut users = room.join("nowhere", 1..=1).await;
        room.redis
            .ask::<()>(&["HSET", "event_statuses", "nowhere", "OPEN"]);
        assert_eq!(
            room.redis
                .ask::<String>(&["HGET", "ENTRY_QUEUE_SLOTS", "nowhere"]),
            "0"
        );
        for _ in 0..3 {
            users[0].1.until_order(1).await;
        }
    })
    .await;
}

#[tokio::test]
async fn sorted_set_is_asked_for_ranks_and_promoted_by_script() {
    let room = Room::start(QueueKind::Zset, |_| {}).await;
    let mut users = room.join(EVENT, 1..=3).await;
    users[2].1.until_order(3).await;
    assert!(room.redis.calls("zrank") >= 3);
    assert_eq!(room.redis.calls("hgetall"), 0);
    assert_eq!(room.redis.calls("evalsha"), 0);
    room.set_status(EVENT, "OPEN").await;
    for (_, stream) in &mut users {
        stream.promotion().await;
    }
    assert!(room.redis.calls("evalsha") >= 1);
    assert_eq!(room.redis.calls("zrem"), 3);
}

#[tokio::test]
async fn hash_is_read_whole_and_promoted_by_single_commands() {
    let room = Room::start(QueueKind::Hash, |_| {}).await;
    let mut users = room.join(EVENT, 1..=3).await;
    users[2].1.until_order(3).await;
    assert!(room.redis.calls("hgetall") >= 1);
    room.set_status(EVENT, "OPEN").await;
    for (_, stream) in &mut users {
        stream.promotion().await;
    }
    assert_eq!(room.redis.calls("hdel"), 9);
    for command in ["zadd", "zrange", "zrank", "zrem", "eval", "evalsha"] {
        assert_eq!(room.redis.calls(command), 0, "{command}");
    }
}

#[tokio::test]
async fn foreign_keys_are_left_alone_and_do_no_harm() {
    for_both_kinds(async |kind| {
        let room = Room::start(kind, |_| {}).await;
        let foreign = [
            // Of a type that neither variant can read, and before e1 in the order of the round.
            (
                ["SET", "WAITING:abc", "x"].as_slice(),
                ["GET", "WAITING:abc"].as_slice(),
            ),
            (&["SADD", "foreign", "x"], &["SMEMBERS", "foreign"]),
            (
                &["HSET", "WAITING_QUEUE_IDX", "abc", "7"],
                &["HGET", "WAITING_QUEUE_IDX", "abc"],
            ),
            (
                &["HSET", "ENTRY_QUEUE_SLOTS", "abc", "8"],
                &["HGET", "ENTRY_QUEUE_SLOTS", "abc"],
            ),
            (
                &["HSET", "event_statuses", "abc", "OPEN"],
                &["HGET", "event_statuses", "abc"],
            ),
        ];
        for (write, _) in foreign {
            room.redis.ask::<()>(write);
        }
        let read = || foreign.map(|(_, read)| room.redis.ask::<redis::Value>(read));
        let before = read();
        let mut users = room.join(EVENT, 1..=2).await;
        users[1].1.until_order(2).await;
        room.set_status(EVENT, "OPEN").await;
        for (client, stream) in &mut users {
            stream.promotion().await;
            client.disconnect(EVENT).await;
        }
        assert_eq!(read(), before);
    })
    .await;
}

#[tokio::test]
async fn room_outlives_redis() {
    for_both_kinds(async |kind| {
        let mut room = Room::start(kind, |_| {}).await;
        let mut users = room.join(EVENT, 1..=1).await;
        let late = room.user(2).await;
        users[0].1.until_order(1).await;
        room.redis.kill();
        assert_eq!(late.waiting(EVENT).await.status(), 500);
        let health = reqwest::get(room.url("/health"))
            .await
            .expect("health is answered");
        assert_eq!(health.status(), 503);
        for _ in 0..2 {
            users[0].1.find(|block| block == ":heartBeat").await;
        }
        room.redis.restart();
        room.until_healthy().await;
        let mut stream = late.join(EVENT).await;
        stream.until_order(1).await;
        room.set_status(EVENT, "OPEN").await;
        stream.promotion().await;
        room.stop().await.expect("room ends well");
    })
    .await;
}
