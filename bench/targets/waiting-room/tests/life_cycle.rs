//! From joining to leaving, for both kinds of queue.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common::{EVENT, OTHER_EVENT, Room, SLOTS, for_both_kinds, is_heartbeat};
use waiting_room::QueueKind;

const WAITING: &str = "WAITING:e1";

#[tokio::test]
async fn users_wait_in_order_are_promoted_and_make_room() {
    for_both_kinds(async |kind| {
        let room = Room::start(kind, |_| {}).await;
        let mut users = room.join(EVENT, 1..=5).await;
        for (order, (_, stream)) in (1..).zip(&mut users) {
            let message = stream.message().await;
            let expected = serde_json::json!({
                "userId": format!("acc-{order}"), "eventId": EVENT, "status": "IN_ENTRY", "order": order,
            });
            assert_eq!(message, expected);
        }

        room.set_status(EVENT, "OPEN").await;
        for (number, (_, stream)) in (1..=3).zip(&mut users) {
            let message = stream.promotion().await;
            assert_eq!(message["userId"], format!("acc-{number}"));
            assert_eq!(message["eventId"], EVENT);
            let token = message["token"].as_str().expect("token is text");
            assert!(token.starts_with("eyJ"), "{token}");
            let key = format!("ENTRY_TOKEN:acc-{number}");
            assert_eq!(room.redis.ask::<String>(&["GET", &key]), token);
            assert!((1..=300).contains(&room.redis.ask::<i64>(&["TTL", &key])));
        }
        assert_eq!(room.slots(), "0");
        users[3].1.until_order(1).await;
        users[4].1.until_order(2).await;

        users[0].0.disconnect(EVENT).await;
        assert!(!room.redis.ask::<bool>(&["EXISTS", "ENTRY_TOKEN:acc-1"]));
        users[3].1.promotion().await;
        users[1].0.disconnect(EVENT).await;
        users[4].1.promotion().await;
        for key in [
            WAITING,
            "WAITING_USER_IDS:e1",
            "WAITING_QUEUE_INDEX_RECORD:e1",
        ] {
            assert!(!room.redis.ask::<bool>(&["EXISTS", key]), "{key}");
        }
        assert_eq!(
            room.redis
                .ask::<String>(&["HGET", "WAITING_QUEUE_IDX", EVENT]),
            "5"
        );
    })
    .await;
}

#[tokio::test]
async fn at_most_as_many_users_as_seats_are_in_at_once() {
    for_both_kinds(async |kind| {
        let room = Room::start(kind, |_| {}).await;
        let users = room.join(EVENT, 1..=10).await;
        let inside = Arc::new(AtomicU32::new(0));
        let visits = users.into_iter().map(|(client, mut stream)| {
            let inside = Arc::clone(&inside);
            tokio::spawn(async move {
                stream.promotion().await;
                assert!(inside.fetch_add(1, Ordering::SeqCst) < 3);
                inside.fetch_sub(1, Ordering::SeqCst);
                drop(stream);
                client.disconnect(EVENT).await;
            })
        });
        let visits: Vec<_> = visits.collect();
        room.set_status(EVENT, "open").await;
        for visit in visits {
            visit.await.expect("never more users than seats");
        }
        assert_eq!(room.slots(), "3");
    })
    .await;
}

#[tokio::test]
async fn only_open_events_promote() {
    for_both_kinds(async |kind| {
        let room = Room::start(kind, |_| {}).await;
        let mut waiting = room.join(EVENT, 1..=1).await;
        let mut witnesses = room.join(OTHER_EVENT, 2..=3).await;
        room.set_status(EVENT, "CLOSED").await;
        // Rounds go through the events in the order of their ids, so each of these proves that e1 was passed over.
        room.set_status(OTHER_EVENT, " Open ").await;
        for (_, witness) in &mut witnesses {
            witness.promotion().await;
        }
        room.redis.ask::<()>(&["HDEL", "event_statuses", EVENT]);
        let mut later = room.join(OTHER_EVENT, 4..=4).await;
        later[0].1.promotion().await;
        assert!(room.redis.ask::<bool>(&["EXISTS", WAITING]));
        assert_eq!(room.slots(), "3");
        waiting[0].1.until_order(1).await;
    })
    .await;
}

#[tokio::test]
async fn stream_end_of_a_queued_user_frees_the_place() {
    for_both_kinds(async |kind| {
        let room = Room::start(kind, |_| {}).await;
        let mut users = room.join(EVENT, 1..=2).await;
        users[1].1.until_order(2).await;
        drop(users.remove(0));
        users[0].1.until_order(1).await;
        for key in ["WAITING_USER_IDS:e1", "WAITING_QUEUE_INDEX_RECORD:e1"] {
            assert_eq!(
                room.redis.ask::<Vec<String>>(&["HKEYS", key]),
                ["acc-2"],
                "{key}"
            );
        }
        assert_eq!(
            room.redis
                .ask::<String>(&["HGET", "WAITING_QUEUE_IDX", EVENT]),
            "2"
        );
        assert_eq!(room.slots(), "3");
    })
    .await;
}

#[tokio::test]
async fn slot_comes_back_once_however_the_user_leaves() {
    let room = Room::start(QueueKind::Zset, |_| {}).await;
    let mut users = room.join(EVENT, 1..=3).await;
    let mut witness = room.join(OTHER_EVENT, 4..=4).await;
    room.set_status(EVENT, "OPEN").await;
    for (_, stream) in &mut users {
        stream.promotion().await;
    }
    assert_eq!(room.slots(), "0");

    // First the request, then the end of the stream; the other way round; the end of the stream alone.
    let (client, stream) = users.remove(0);
    client.disconnect(EVENT).await;
    assert_eq!(room.slots(), "1");
    drop(stream);
    let (client, stream) = users.remove(0);
    drop(stream);
    client.disconnect(EVENT).await;
    assert_eq!(room.slots(), "2");
    client.disconnect(EVENT).await;
    let (_client, stream) = users.remove(0);
    drop(stream);
    room.redis.until(&SLOTS, Some("3".to_owned())).await;
    // Two more heartbeats: every broken stream has been found by then.
    for _ in 0..2 {
        witness[0].1.find(is_heartbeat).await;
    }
    assert_eq!(room.slots(), "3");
    let tokens: Vec<String> = room.redis.ask(&["KEYS", "ENTRY_TOKEN:*"]);
    assert_eq!(tokens, [""; 0]);
}

#[tokio::test]
async fn no_slot_is_lost_to_users_who_leave_at_any_moment() {
    for_both_kinds(async |kind| {
        let room = Room::start(kind, |_| {}).await;
        room.set_status(EVENT, "OPEN").await;
        // The joins go on through several rounds, so some streams break before and some during a promotion.
        let mut leaving = Vec::new();
        for number in 1..=60 {
            let client = room.user(number).await;
            let stream = client.join(EVENT).await;
            leaving.push(tokio::spawn(async move {
                tokio::time::sleep(std::time::Duration::from_millis(u64::from(number) * 25)).await;
                drop(stream);
            }));
        }
        for leave in leaving {
            leave.await.expect("stream is dropped");
        }
        room.redis.until(&["EXISTS", WAITING], false).await;
        room.redis.until(&SLOTS, Some("3".to_owned())).await;
        let mut last = room.join(EVENT, 61..=63).await;
        for (_, stream) in &mut last {
            stream.promotion().await;
        }
        assert_eq!(room.slots(), "0");
        assert_eq!(
            room.redis
                .ask::<Vec<String>>(&["KEYS", "ENTRY_TOKEN:*"])
                .len(),
            3
        );
    })
    .await;
}

#[tokio::test]
async fn disconnect_silences_the_stream_and_leaves_it_open() {
    let room = Room::start(QueueKind::Hash, |_| {}).await;
    let mut users = room.join(EVENT, 1..=2).await;
    let (client, mut silenced) = users.remove(0);
    let mut witness = users.remove(0).1;
    client.disconnect(EVENT).await;
    client.disconnect(OTHER_EVENT).await;
    witness.until_order(1).await;
    // What was sent before the disconnect may still be on its way; nothing comes after the first heartbeat.
    witness.find(is_heartbeat).await;
    tokio::select! {
        biased;
        () = async {
            for _ in 0..2 {
                witness.find(is_heartbeat).await;
            }
        } => {}
        block = silenced.find(is_heartbeat) => panic!("stream is not silent: {block}"),
    }
}

#[tokio::test]
async fn heartbeats_reach_promoted_users() {
    let room = Room::start(QueueKind::Zset, |_| {}).await;
    room.set_status(EVENT, "OPEN").await;
    let mut users = room.join(EVENT, 1..=1).await;
    users[0].1.promotion().await;
    for _ in 0..2 {
        users[0].1.find(is_heartbeat).await;
    }
}

#[tokio::test]
async fn stream_silent_for_too_long_is_cut() {
    let limit = std::time::Duration::from_secs(4);
    let room = Room::start(QueueKind::Zset, |config| config.cut_after_silence = limit).await;
    let mut users = room.join(EVENT, 1..=2).await;
    let (client, mut silenced) = users.remove(0);
    client.disconnect(EVENT).await;
    assert!(!silenced.ended_in_order().await);
    users[0].1.find(is_heartbeat).await;
}

#[tokio::test]
async fn joining_twice_is_a_conflict_and_takes_the_first_stream_over() {
    for_both_kinds(async |kind| {
        let room = Room::start(kind, |_| {}).await;
        let mut users = room.join(EVENT, 1..=2).await;
        let mut witness = users.remove(1).1;
        let (client, mut first) = users.remove(0);
        witness.until_order(2).await;
        let second = client.waiting(EVENT).await;
        assert_eq!(second.status(), 409);
        let content_type = second.headers()["content-type"]
            .to_str()
            .expect("header is text");
        assert!(content_type.starts_with("text/plain"), "{content_type}");
        // The answered stream cannot be written to, so the user leaves the queue.
        witness.until_order(1).await;
        witness.find(is_heartbeat).await;
        tokio::select! {
            biased;
            _ = witness.find(is_heartbeat) => {}
            block = first.find(is_heartbeat) => panic!("stream is not silent: {block}"),
        }
        assert_eq!(
            room.redis
                .ask::<Vec<String>>(&["HKEYS", "WAITING_USER_IDS:e1"]),
            ["acc-2"]
        );
        client.join(EVENT).await.until_order(2).await;
    })
    .await;
}

#[tokio::test]
async fn promoted_user_who_joins_again_gives_the_slot_back() {
    let room = Room::start(QueueKind::Zset, |_| {}).await;
    room.set_status(EVENT, "OPEN").await;
    let (client, mut first) = room.join(EVENT, 1..=1).await.remove(0);
    first.promotion().await;
    let mut second = client.join(EVENT).await;
    second.promotion().await;
    assert_eq!(room.slots(), "2");
    client.disconnect(EVENT).await;
    assert_eq!(room.slots(), "3");
}

#[tokio::test]
async fn stop_ends_open_streams_in_order() {
    let room = Room::start(QueueKind::Zset, |_| {}).await;
    let mut users = room.join(EVENT, 1..=2).await;
    users[0].0.disconnect(EVENT).await;
    room.stop().await.expect("room ends well");
    for (_, stream) in &mut users {
        assert!(stream.ended_in_order().await);
    }
}

#[tokio::test]
async fn streams_of_seconds_are_served_on_demand() {
    let room = Room::start(QueueKind::Zset, |config| config.ticks = true).await;
    let response = reqwest::get(room.url("/ticks?seconds=2"))
        .await
        .expect("server answers");
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    // It ends by itself.
    let body = response.text().await.expect("stream ends well");
    let seconds: Vec<u64> = body
        .split_terminator("\n\n")
        .map(|event| {
            let (id, data) = event.split_once('\n').expect("event has two lines");
            assert_eq!(id.strip_prefix("id:"), data.strip_prefix("data:"));
            let second = id.strip_prefix("id:").expect("event has an id");
            second.parse().expect("id is a second")
        })
        .collect();
    // A busy machine may miss one.
    let span = seconds.last().zip(seconds.first());
    assert!(
        span.is_some_and(|(last, first)| last - first <= 1),
        "{body}"
    );

    let plain = Room::start(QueueKind::Zset, |_| {}).await;
    let response = reqwest::get(plain.url("/ticks?seconds=2")).await;
    assert_eq!(response.expect("server answers").status(), 404);
}

#[tokio::test]
async fn slot_comes_back_from_a_user_who_hangs_up_while_leaving() {
    let room = Room::start(QueueKind::Zset, |_| {}).await;
    room.set_status(EVENT, "OPEN").await;
    let mut users = room.join(EVENT, 1..=1).await;
    users[0].1.promotion().await;
    assert_eq!(room.slots(), "2");
    let mut others = Vec::new();
    for number in 2..=90 {
        others.push(room.user(number).await);
    }
    // Redis takes nothing any more, and what the others ask fills the way to it: ids of 50 KB.
    room.redis.signal("STOP");
    let mut asking = tokio::task::JoinSet::new();
    for other in others {
        asking.spawn(async move { other.waiting(&"e".repeat(50_000)).await.status() });
    }
    let full = tokio::time::timeout(Duration::from_secs(1), asking.join_next()).await;
    assert!(full.is_err(), "nobody is answered");
    users[0]
        .0
        .disconnect_within(EVENT, Duration::from_millis(500))
        .await;
    asking.abort_all();
    room.redis.signal("CONT");
    room.redis.until(&SLOTS, Some("3".to_owned())).await;
}
