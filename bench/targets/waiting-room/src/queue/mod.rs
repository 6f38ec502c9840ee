//! The queue of an event in Redis: its keys, and the two data structures it can have.

mod hash;
mod zset;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use redis::RedisResult;
use redis::aio::ConnectionManager;
use serde_json::json;
use tokio::sync::mpsc;

use crate::promote::{Entries, Promoted};

/// Hash: event → slots, that is how many promotions are possible now.
pub(crate) const SLOTS: &str = "ENTRY_QUEUE_SLOTS";
/// Hash: event → the last index given out.
pub(crate) const LAST_INDEX: &str = "WAITING_QUEUE_IDX";
/// Hash: event → `OPEN` or `CLOSED`, in the case it was sent.
pub(crate) const EVENT_STATUSES: &str = "event_statuses";

/// Stream: promotions in the order they were made; never trimmed.
pub(crate) const ENTRY: &str = "ENTRY";

/// Commands that go to Redis in one pipeline.
///
/// Enough to make round trips unimportant, few enough that neither side holds long replies in memory.
pub(crate) const PIPELINE: usize = 1000;

const WAITING_PREFIX: &str = "WAITING:";

/// The data structure of the queue keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum QueueKind {
    /// Sorted set: ranks come from Redis, promotion is one atomic script.
    Zset,
    /// Hash: the application reads it whole and sorts it, promotion is single commands.
    Hash,
}

impl fmt::Display for QueueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zset => "zset",
            Self::Hash => "hash",
        })
    }
}

/// The three keys of an event.
#[derive(Debug, Clone)]
pub(crate) struct EventKeys {
    /// `WAITING:…`, sorted set or hash.
    pub(crate) waiting: String,
    /// `WAITING_USER_IDS:…`, hash of markers that block joining twice.
    pub(crate) user_ids: String,
    /// `WAITING_QUEUE_INDEX_RECORD:…`, hash of who joined where.
    pub(crate) index_record: String,
}

impl EventKeys {
    pub(crate) fn new(event: &str) -> Self {
        Self {
            waiting: format!("{WAITING_PREFIX}{event}"),
            user_ids: format!("WAITING_USER_IDS:{event}"),
            index_record: format!("WAITING_QUEUE_INDEX_RECORD:{event}"),
        }
    }
}

/// What joining came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Joined {
    /// The user is in the queue now.
    Queued,
    /// The user was in the queue of this event already; nothing was changed.
    AlreadyQueued,
}

/// A user in the order of a queue.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) user: String,
    /// The zero-based rank, where the order was made here; otherwise Redis knows it.
    sorted: Option<u64>,
}

/// The queues of all events in one Redis.
#[derive(Debug, Clone)]
pub(crate) struct Queue {
    kind: QueueKind,
}

impl Queue {
    pub(crate) fn new(kind: QueueKind) -> Self {
        Self { kind }
    }

    /// Puts a user at the end of an event's queue. `seats` is asked for only while the event has no slots yet; `instance`
    /// is the broker that holds the user.
    pub(crate) async fn join(
        &self,
        redis: &mut ConnectionManager,
        event: &str,
        user: &str,
        seats: u32,
        instance: &str,
    ) -> RedisResult<Joined> {
        let keys = EventKeys::new(event);
        let has_slots: bool = redis::cmd("HEXISTS")
            .arg(SLOTS)
            .arg(event)
            .query_async(redis)
            .await?;
        if !has_slots {
            // Only if absent: a slower first join must not give back slots that promotions took meanwhile.
            let () = redis::cmd("HSETNX")
                .arg(SLOTS)
                .arg(event)
                .arg(seats)
                .query_async(redis)
                .await?;
        }
        let marked: bool = redis::cmd("HSETNX")
            .arg(&keys.user_ids)
            .arg(user)
            .arg("\"true\"")
            .query_async(redis)
            .await?;
        if !marked {
            return Ok(Joined::AlreadyQueued);
        }
        let index: u64 = redis::cmd("HINCRBY")
            .arg(LAST_INDEX)
            .arg(event)
            .arg(1)
            .query_async(redis)
            .await?;
        let add = match self.kind {
            QueueKind::Zset => zset::add(&keys, user, index),
            QueueKind::Hash => hash::add(&keys, user, index),
        };
        let () = add.query_async(redis).await?;
        let record = json!({
            "userId": user,
            "eventId": event,
            "idx": index.to_string(),
            "instanceId": instance,
        });
        redis::cmd("HSET")
            .arg(&keys.index_record)
            .arg(user)
            .arg(record.to_string())
            .query_async(redis)
            .await
            .map(|()| Joined::Queued)
    }

    /// Removes users from the queues of their events, given as pairs of event and user. Absent ones are no error.
    pub(crate) async fn remove(
        &self,
        redis: &mut ConnectionManager,
        users: &[(&str, &str)],
    ) -> RedisResult<()> {
        for chunk in users.chunks(PIPELINE / 3) {
            let mut pipeline = redis::pipe();
            for (event, user) in chunk {
                let keys = EventKeys::new(event);
                for command in self.removal(&keys, user) {
                    pipeline.add_command(command).ignore();
                }
            }
            run(&pipeline, redis).await?;
        }
        Ok(())
    }

    fn removal(&self, keys: &EventKeys, user: &str) -> [redis::Cmd; 3] {
        let mut from_index_record = redis::cmd("HDEL");
        from_index_record.arg(&keys.index_record).arg(user);
        let mut from_user_ids = redis::cmd("HDEL");
        from_user_ids.arg(&keys.user_ids).arg(user);
        let from_waiting = match self.kind {
            QueueKind::Zset => zset::remove(keys, user),
            QueueKind::Hash => hash::remove(keys, user),
        };
        [from_waiting, from_index_record, from_user_ids]
    }

    /// How many wait for an event.
    pub(crate) async fn length(
        &self,
        redis: &mut ConnectionManager,
        event: &str,
    ) -> RedisResult<u64> {
        let size = match self.kind {
            QueueKind::Zset => "ZCARD",
            QueueKind::Hash => "HLEN",
        };
        let key = EventKeys::new(event).waiting;
        redis::cmd(size).arg(key).query_async(redis).await
    }

    /// The users who wait for an event, in order.
    pub(crate) async fn places(
        &self,
        redis: &mut ConnectionManager,
        event: &str,
    ) -> RedisResult<Vec<Place>> {
        let keys = EventKeys::new(event);
        match self.kind {
            QueueKind::Zset => zset::places(redis, &keys).await,
            QueueKind::Hash => hash::places(redis, &keys).await,
        }
    }

    /// The zero-based ranks of some users among all that wait. Where Redis has to be asked, that is one round trip for several
    /// users, and one for each command for a single one. With `records` their index records are read too.
    pub(crate) async fn ranks(
        &self,
        redis: &mut ConnectionManager,
        event: &str,
        places: &[Place],
        records: bool,
    ) -> RedisResult<Vec<Option<u64>>> {
        match self.kind {
            QueueKind::Zset => zset::ranks(redis, &EventKeys::new(event), places, records).await,
            QueueKind::Hash => Ok(places.iter().map(|place| place.sorted).collect()),
        }
    }

    /// Takes as many users as the event has slots off the front of its queue, lowers the slots by as many, and hands each user
    /// on by `entries`. An append to the stream `ENTRY` is part of taking a user out.
    pub(crate) async fn promote(
        &self,
        redis: &mut ConnectionManager,
        event: &Arc<str>,
        entries: &Entries,
    ) -> RedisResult<()> {
        let keys = EventKeys::new(event);
        match self.kind {
            QueueKind::Zset => zset::promote(redis, &keys, event, entries).await,
            QueueKind::Hash => hash::promote(redis, &keys, event, entries).await,
        }
    }
}

/// Hands a promoted user on inside the process.
async fn enter(entries: &mpsc::Sender<Promoted>, event: &Arc<str>, user: String) {
    // Without a receiver the server is stopping, and there is nobody left to tell.
    let _ = entries
        .send(Promoted {
            event: Arc::clone(event),
            user,
        })
        .await;
}

/// The events that somebody waits for, in the order of their ids.
pub(crate) async fn waiting_events(redis: &mut ConnectionManager) -> RedisResult<BTreeSet<String>> {
    let mut events = BTreeSet::new();
    let mut cursor: u64 = 0;
    loop {
        let (next, keys): (u64, Vec<Vec<u8>>) = redis::cmd("SCAN")
            .arg(cursor)
            .arg("MATCH")
            .arg("WAITING:*")
            .arg("COUNT")
            .arg(PIPELINE)
            .query_async(redis)
            .await?;
        // Redis is shared, so a key may hold any bytes; ours are text.
        let texts = keys
            .into_iter()
            .filter_map(|key| String::from_utf8(key).ok());
        events.extend(texts.filter_map(|key| key.strip_prefix(WAITING_PREFIX).map(String::from)));
        if next == 0 {
            return Ok(events);
        }
        cursor = next;
    }
}

/// Runs a pipeline whose replies do not matter; an empty one is no work, where the client library reports an error.
pub(crate) async fn run(
    pipeline: &redis::Pipeline,
    redis: &mut ConnectionManager,
) -> RedisResult<()> {
    if pipeline.is_empty() {
        Ok(())
    } else {
        pipeline.query_async(redis).await
    }
}

/// Gives one slot of an event back.
pub(crate) fn return_slot(event: &str) -> redis::Cmd {
    let mut command = redis::cmd("HINCRBY");
    command.arg(SLOTS).arg(event).arg(1);
    command
}

/// String: the token of a promoted user.
pub(crate) fn entry_token_key(user: &str) -> String {
    format!("ENTRY_TOKEN:{user}")
}
