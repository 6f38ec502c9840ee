//! The room that is asked again and again.

mod common;

use std::time::Duration;

use common::client::Client;
use common::{EVENT, Room, SLOTS, for_both_kinds};
use serde_json::json;
use waiting_room::{Config, QueueKind, Transport};

fn polling(config: &mut Config) {
    config.transport = Transport::Polling;
}

/// Opens the event, which has one seat: the first user holds it, and the second one waits.
async fn one_promoted_and_one_queued(room: &Room) -> (Client, Client) {
    room.set_status(EVENT, "OPEN").await;
    let promoted = room.user(1).await;
    promoted
        .ask_until(EVENT, |answer| answer["status"] == "IN_PROGRESS")
        .await;
    let queued = room.user(2).await;
    queued.ask(EVENT).await;
    (promoted, queued)
}

#[tokio::test]
async fn users_who_ask_wait_in_order_are_promoted_and_make_room() {
    for_both_kinds(async |kind| {
        let room = Room::start(kind, polling).await;
        let mut users = Vec::new();
        for order in 1..=5 {
            let user = room.user(order).await;
            let expected = json!({
                "userId": format!("acc-{order}"), "eventId": EVENT, "status": "IN_ENTRY", "order": order,
            });
            assert_eq!(user.ask(EVENT).await, expected);
            users.push(user);
        }
        room.set_status(EVENT, "OPEN").await;
        for (number, user) in (1..).zip(&users[..3]) {
            let answer = user
                .ask_until(EVENT, |answer| answer["status"] == "IN_PROGRESS")
                .await;
            let token = room
                .redis
                .ask::<String>(&["GET", &format!("ENTRY_TOKEN:acc-{number}")]);
            assert_eq!(answer["token"], token);
            // However often.
            assert_eq!(user.ask(EVENT).await, answer);
        }
        assert_eq!(room.slots(), "0");
        users[4].ask_until(EVENT, |answer| answer["order"] == 2).await;
        users[0].disconnect(EVENT).await;
        users[3]
            .ask_until(EVENT, |answer| answer["status"] == "IN_PROGRESS")
            .await;
        // Whoever left and asks again joins again, at the end.
        let again = users[0].ask(EVENT).await;
        assert_eq!((&again["status"], &again["order"]), (&json!("IN_ENTRY"), &json!(2)));
    })
    .await;
}

#[tokio::test]
async fn answer_is_json_and_says_when_to_ask_again() {
    let room = Room::start(QueueKind::Zset, polling).await;
    let answer = room.user(1).await.waiting(EVENT).await;
    assert_eq!(answer.status(), 200);
    for (header, value) in [
        ("content-type", "application/json"),
        ("cache-control", "no-store"),
        ("retry-after", "1"),
    ] {
        assert_eq!(answer.headers()[header], value);
    }
    let health = room.tells("/health").await;
    assert_eq!(health["transport"], "polling");
}

#[tokio::test]
async fn user_who_does_not_ask_any_more_is_gone() {
    for_both_kinds(async |kind| {
        let room = Room::start(kind, |config| {
            polling(config);
            config.seats = 1;
            config.cut_after_silence = Duration::from_secs(2);
        })
        .await;
        one_promoted_and_one_queued(&room).await;
        assert_eq!(room.slots(), "0");
        room.redis.until(&SLOTS, Some("1".to_owned())).await;
        room.redis.until(&["EXISTS", "WAITING:e1"], false).await;
    })
    .await;
}

#[tokio::test]
async fn users_of_a_room_before_keep_their_place() {
    let room = Room::start(QueueKind::Zset, polling).await;
    for number in 1..=2 {
        room.user(number).await.ask(EVENT).await;
    }
    let room = Room::over(room.stop_all_but_redis().await, QueueKind::Zset, polling).await;
    let user = room.user(2).await;
    assert_eq!(user.ask(EVENT).await["order"], 2);
}

#[tokio::test]
async fn queue_that_was_cleaned_has_nobody_in_it() {
    for_both_kinds(async |kind| {
        let room = Room::start(kind, |config| {
            polling(config);
            config.seats = 1;
        })
        .await;
        // As an aborted run leaves them: one holds the slot, the other waits, and nobody asks any more.
        let (promoted, queued) = one_promoted_and_one_queued(&room).await;
        room.set_status(EVENT, "CLOSED").await;
        let keys = ["WAITING", "WAITING_USER_IDS", "WAITING_QUEUE_INDEX_RECORD"];
        for key in keys {
            room.redis.ask::<()>(&["DEL", &format!("{key}:{EVENT}")]);
        }
        for hash in ["WAITING_QUEUE_IDX", "ENTRY_QUEUE_SLOTS"] {
            room.redis.ask::<()>(&["HDEL", hash, EVENT]);
        }
        // The next run: each is in the queue anew, and no slot comes back late.
        promoted
            .ask_until(EVENT, |answer| answer["status"] == "IN_ENTRY")
            .await;
        let is_queued = |user: &str| {
            room.redis
                .ask::<bool>(&["HEXISTS", "WAITING_USER_IDS:e1", user])
        };
        queued.ask_until(EVENT, |_| is_queued("acc-2")).await;
        assert!(is_queued("acc-1"));
        assert_eq!(room.slots(), "1");
    })
    .await;
}
