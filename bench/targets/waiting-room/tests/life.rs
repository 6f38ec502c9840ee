//! The lifelike room, and each of the switches that make it so.

mod common;

use std::num::NonZeroUsize;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::redis_server::RedisServer;
use common::{EVENT, OTHER_EVENT, Room, for_both_kinds, is_heartbeat};
use serde_json::Value;
use waiting_room::{Hop, Life, QueueKind};

async fn room_with(set: impl FnOnce(&mut Life)) -> Room {
    Room::start(QueueKind::Zset, |config| set(&mut config.life)).await
}

/// How often Redis read something from its clients, each time one command or a pipeline of several.
fn reads(redis: &RedisServer) -> u64 {
    let statistics: String = redis.ask(&["INFO", "stats"]);
    let mut lines = statistics.lines();
    let reads = lines.find_map(|line| line.strip_prefix("total_reads_processed:"));
    let reads = reads.expect("Redis counts its reads");
    reads.parse().expect("reads are a number")
}

#[tokio::test]
async fn real_room_leads_users_through_in_order() {
    for_both_kinds(async |kind| {
        let room = Room::start(kind, |config| config.life = Life::real()).await;
        let mut users = room.join(EVENT, 1..=5).await;
        for (order, (_, stream)) in (1..).zip(&mut users) {
            stream.until_order(order).await;
        }
        room.set_status(EVENT, "OPEN").await;
        for (_, stream) in &mut users[..3] {
            stream.promotion().await;
        }
        assert_eq!(room.slots(), "0");
        users[0].0.disconnect(EVENT).await;
        users[3].1.promotion().await;
        users[1].0.disconnect(EVENT).await;
        users[4].1.promotion().await;
        for (client, _) in &users {
            client.disconnect(EVENT).await;
        }
        assert_eq!(room.slots(), "3");
        assert!(!room.redis.ask::<bool>(&["EXISTS", "WAITING:e1"]));
        room.stop().await.expect("room ends well");
    })
    .await;
}

#[tokio::test]
async fn ranks_are_asked_for_one_by_one_or_together() {
    let work_of = async |life: Life| {
        let room = room_with(|own| *own = life).await;
        let mut users = room.join(EVENT, 1..=30).await;
        let last = &mut users[29].1;
        last.until_order(30).await;
        let count = || {
            let commands = room.redis.calls("zrank") + room.redis.calls("hget");
            (commands, reads(&room.redis))
        };
        let (commands, reads) = count();
        for _ in 0..3 {
            last.until_order(30).await;
        }
        let (commands_then, reads_then) = count();
        assert!(commands_then - commands >= 60);
        (commands_then - commands, reads_then - reads)
    };
    let mut life = Life::fast();
    life.index_records = true;
    let (commands, reads) = work_of(life.clone()).await;
    assert!(reads < commands / 2, "{reads} reads of {commands} commands");
    life.pipeline = Life::real().pipeline;
    let (commands, reads) = work_of(life).await;
    assert!(reads >= commands, "{reads} reads of {commands} commands");
}

#[tokio::test]
async fn index_records_are_read_where_that_is_asked_for() {
    for records in [true, false] {
        let room = room_with(|life| life.index_records = records).await;
        let mut users = room.join(EVENT, 1..=3).await;
        users[2].1.until_order(3).await;
        // Redis notes every command from now on.
        room.redis
            .ask::<()>(&["CONFIG", "SET", "slowlog-log-slower-than", "0"]);
        for _ in 0..2 {
            users[2].1.until_order(3).await;
        }
        let log: redis::Value = room.redis.ask(&["SLOWLOG", "GET", "-1"]);
        let read = format!("{log:?}").contains("WAITING_QUEUE_INDEX_RECORD:e1");
        assert_eq!(read, records);
    }
}

#[tokio::test]
async fn rest_of_a_round_is_dropped_where_a_user_has_no_rank() {
    for (pipeline, dropped) in [
        (Life::real().pipeline, true),
        (Life::fast().pipeline, false),
    ] {
        let room = room_with(|life| life.pipeline = pipeline).await;
        let mut users = room.join(EVENT, 1..=3).await;
        // In the order under other bytes than those that a rank is asked for by.
        room.redis
            .ask::<()>(&["ZREM", "WAITING:e1", r#"{"userId":"acc-2"}"#]);
        room.redis
            .ask::<()>(&["ZADD", "WAITING:e1", "2", r#"{ "userId": "acc-2" }"#]);
        assert_eq!(users[2].1.hears_heartbeats_alone().await, dropped);
        users[0].1.until_order(1).await;
    }
}

#[tokio::test]
async fn hash_is_read_whole_whatever_the_pipeline() {
    let room = Room::start(QueueKind::Hash, |config| config.life = Life::real()).await;
    let mut users = room.join(EVENT, 1..=3).await;
    users[2].1.until_order(3).await;
    assert!(room.redis.calls("hgetall") >= 1);
    assert_eq!(room.redis.calls("zrank"), 0);
}

#[tokio::test]
async fn logins_and_requests_wait_for_each_other_and_joins_do_not() {
    let room = room_with(|life| {
        life.login = Duration::from_millis(100);
        life.gateway = Duration::from_millis(50);
        life.gateway_parallel = NonZeroUsize::MIN;
        life.join = Duration::from_millis(400);
    })
    .await;
    let started = Instant::now();
    let (first, second, third) = tokio::join!(room.user(1), room.user(2), room.user(3));
    // The third one: 50 ms of the gateway for the first, then one login after another.
    assert!(started.elapsed() >= Duration::from_millis(350));
    let started = Instant::now();
    tokio::join!(first.join(EVENT), second.join(EVENT), third.join(EVENT));
    assert!(started.elapsed() >= Duration::from_millis(550));
    let latencies = room.tells("/latencies").await;
    let logins = &latencies["POST /api/v1/auth/login"];
    assert_eq!(logins["count"], 3);
    assert!(
        logins["maxMs"].as_f64().is_some_and(|ms| ms >= 350.0),
        "{logins}"
    );
}

#[tokio::test]
async fn conflict_by_a_gateway_says_that_it_is_a_stream() {
    let room = room_with(|life| life.gateway = Duration::from_millis(1)).await;
    let user = room.user(1).await;
    let _stream = user.join(EVENT).await;
    let conflict = user.waiting(EVENT).await;
    assert_eq!(conflict.status(), 409);
    assert_eq!(
        conflict.headers()["content-type"],
        "text/event-stream;charset=UTF-8"
    );
}

#[tokio::test]
async fn message_comes_in_three_chunks() {
    let room = room_with(|life| {
        life.chunks = true;
        life.greeting = "연결되었습니다.".to_owned();
    })
    .await;
    let response = room.user(1).await.waiting(EVENT).await;
    let mut stream = common::client::Stream::silent(response);
    let mut chunks = Vec::new();
    while !chunks
        .iter()
        .any(|chunk: &String| chunk.contains("IN_ENTRY"))
    {
        chunks.push(stream.chunk().await);
    }
    chunks.retain(|chunk| !chunk.starts_with(':'));
    assert_eq!(
        chunks[..4],
        ["data:", "연결되었습니다. userId:acc-1\n", "\n", "data:"]
    );
    assert!(
        chunks[4].starts_with('{') && chunks[4].ends_with("}\n"),
        "{chunks:?}"
    );
}

#[tokio::test]
async fn rounds_are_late() {
    let room = room_with(|life| life.late_rounds = Duration::from_millis(700)).await;
    let mut users = room.join(EVENT, 1..=1).await;
    let mut latest = Duration::ZERO;
    // One of so many rounds is late by so much, but for one series in 100,000.
    for _ in 0..8 {
        users[0].1.until_order(1).await;
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        let since_epoch = since_epoch.expect("clock is past the epoch");
        latest = latest.max(Duration::from_nanos(since_epoch.subsec_nanos().into()));
    }
    assert!(latest >= Duration::from_millis(150), "{latest:?}");
}

#[tokio::test]
async fn users_are_divided_among_brokers_and_share_the_queue() {
    for_both_kinds(async |kind| {
        let room = Room::start(kind, |config| config.life.brokers = Life::real().brokers).await;
        let mut users = room.join(EVENT, 1..=4).await;
        for (order, (_, stream)) in (1..).zip(&mut users) {
            stream.until_order(order).await;
            stream.find(is_heartbeat).await;
        }
        let instance = |user: &str| {
            let key = ["HGET", "WAITING_QUEUE_INDEX_RECORD:e1", user];
            let record: Value =
                serde_json::from_str(&room.redis.ask::<String>(&key)).expect("record is JSON");
            record["instanceId"].as_str().map(str::to_owned)
        };
        assert_eq!(instance("acc-1"), instance("acc-3"));
        assert_ne!(instance("acc-1"), instance("acc-2"));
        room.set_status(EVENT, "OPEN").await;
        for (client, stream) in &mut users {
            stream.promotion().await;
            client.disconnect(EVENT).await;
        }
        assert_eq!(room.slots(), "3");
    })
    .await;
}

#[tokio::test]
async fn promotions_go_by_streams() {
    for_both_kinds(async |kind| {
        let room = Room::start(kind, |config| config.life.hop = Hop::Streams).await;
        let mut users = room.join(EVENT, 1..=2).await;
        room.set_status(EVENT, "OPEN").await;
        for (_, stream) in &mut users {
            stream.promotion().await;
        }
        let entries: Vec<(String, Vec<String>)> = room.redis.ask(&["XRANGE", "ENTRY", "-", "+"]);
        assert_eq!(entries.len(), 2);
        let fields = &entries[0].1;
        assert_eq!(
            fields[..5],
            ["userId", "acc-1", "eventId", EVENT, "instanceId"]
        );
        let dispatch = format!("DISPATCH:{}", fields[5]);
        assert_eq!(room.redis.ask::<u64>(&["XLEN", &dispatch]), 2);
        let pending = |stream: &str, group: &str| {
            let summary: Vec<redis::Value> = room.redis.ask(&["XPENDING", stream, group]);
            summary[0].clone()
        };
        let none = redis::Value::Int(0);
        assert_eq!(pending("ENTRY", "ENTRY_QUEUE"), none);

        // Promoted for one event, connected for another by now: nobody takes it, and the slot stays taken.
        let group = format!("{dispatch}:GROUP");
        let mut moved = room.join(OTHER_EVENT, 3..=3).await;
        for (user, event) in [("acc-3", EVENT), ("acc-99", EVENT)] {
            let entry = [
                "XADD",
                "ENTRY",
                "*",
                "userId",
                user,
                "eventId",
                event,
                "instanceId",
                &fields[5],
            ];
            room.redis.ask::<()>(&entry);
        }
        // The one without any connection gives its slot back.
        room.redis.until(&common::SLOTS, Some("2".to_owned())).await;
        // Acknowledged only after that.
        let started = Instant::now();
        while pending(&dispatch, &group) != redis::Value::Int(1) {
            assert!(started.elapsed() < common::CONDITION_LIMIT);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        moved[0].1.until_order(1).await;

        // The streams of brokers that are gone would never be read again.
        let redis = room.stop_all_but_redis().await;
        assert!(!redis.ask::<bool>(&["EXISTS", &dispatch]));
        assert_eq!(redis.ask::<u64>(&["XLEN", "ENTRY"]), 4);
    })
    .await;
}

/// The commands that ran since Redis was told to note all of them, those of scripts too, the first one first, each as its words.
fn noted(redis: &RedisServer) -> Vec<Vec<String>> {
    let log: Vec<Vec<redis::Value>> = redis.ask(&["SLOWLOG", "GET", "-1"]);
    let words = |entry: &Vec<redis::Value>| redis::from_redis_value(entry[3].clone());
    let words = |entry| words(entry).expect("a command is a list of words");
    log.iter().rev().map(words).collect()
}

#[tokio::test]
async fn entry_is_written_where_the_user_is_taken_out() {
    for_both_kinds(async |kind| {
        let room = Room::start(kind, |config| config.life.hop = Hop::Streams).await;
        let mut users = room.join(EVENT, 1..=1).await;
        users[0].1.until_order(1).await;
        room.redis
            .ask::<()>(&["CONFIG", "SET", "slowlog-log-slower-than", "0"]);
        room.set_status(EVENT, "OPEN").await;
        users[0].1.promotion().await;
        room.redis.until(&["EXISTS", "WAITING:e1"], false).await;
        let commands = noted(&room.redis);
        let entries: Vec<(String, Vec<String>)> = room.redis.ask(&["XRANGE", "ENTRY", "-", "+"]);
        let dispatch = format!("DISPATCH:{}", entries[0].1[5]);
        let named = |name: &str, key: &str| {
            let is = |command: &Vec<String>| {
                command[0].eq_ignore_ascii_case(name) && command[1..].iter().any(|word| word == key)
            };
            commands.iter().position(is)
        };
        let slot = named("HINCRBY", "ENTRY_QUEUE_SLOTS");
        let entry = named("XADD", "ENTRY");
        let dispatched = named("XADD", &dispatch);
        let (removal, led_on) = match kind {
            QueueKind::Zset => {
                let removal = named("ZREM", "WAITING:e1");
                (removal, [removal, dispatched])
            }
            // By single commands: the dispatcher may be quicker than the removal.
            QueueKind::Hash => (named("HDEL", "WAITING:e1"), [entry, dispatched]),
        };
        let taken_out = [slot, entry, removal];
        assert!(
            slot.is_some() && taken_out.is_sorted() && led_on.is_sorted(),
            "{taken_out:?}, {dispatched:?}: {commands:#?}"
        );
    })
    .await;
}

#[tokio::test]
async fn promotions_by_streams_outlive_redis() {
    let mut room = room_with(|life| life.hop = Hop::Streams).await;
    let mut users = room.join(EVENT, 1..=1).await;
    users[0].1.until_order(1).await;
    room.redis.kill();
    let late = room.user(2).await;
    room.redis.restart();
    room.until_healthy().await;
    let mut stream = late.join(EVENT).await;
    room.set_status(EVENT, "OPEN").await;
    stream.promotion().await;
}
