//! The queue as a hash from user to join index: order exists only in the application, which reads the whole hash.

use std::collections::HashMap;
use std::sync::Arc;

use redis::aio::ConnectionManager;
use redis::{Cmd, RedisResult};

use super::{ENTRY, Entries, EventKeys, Place, SLOTS, enter};

pub(super) fn add(keys: &EventKeys, user: &str, index: u64) -> Cmd {
    let mut command = redis::cmd("HSET");
    command.arg(&keys.waiting).arg(user).arg(index);
    command
}

pub(super) fn remove(keys: &EventKeys, user: &str) -> Cmd {
    let mut command = redis::cmd("HDEL");
    command.arg(&keys.waiting).arg(user);
    command
}

/// Reads the whole hash and sorts it; the place in that order is the rank.
pub(super) async fn places(
    redis: &mut ConnectionManager,
    keys: &EventKeys,
) -> RedisResult<Vec<Place>> {
    let users = in_order(redis, keys).await?;
    let place = |(user, rank)| Place {
        user,
        sorted: Some(rank),
    };
    Ok(users.into_iter().zip(0..).map(place).collect())
}

/// Reads and sorts the whole hash, then takes each user out by single commands, one after another. That is the pattern
/// of this variant, so it is neither pipelined nor atomic.
pub(super) async fn promote(
    redis: &mut ConnectionManager,
    keys: &EventKeys,
    event: &Arc<str>,
    entries: &Entries,
) -> RedisResult<()> {
    for user in front(redis, keys, event).await? {
        take_out(redis, keys, event, &user, entries).await?;
        if let Entries::Memory(entries) = entries {
            enter(entries, event, user).await;
        }
    }
    Ok(())
}

/// The first users in order, as many as there are slots.
async fn front(
    redis: &mut ConnectionManager,
    keys: &EventKeys,
    event: &str,
) -> RedisResult<Vec<String>> {
    let slots: Option<i64> = redis::cmd("HGET")
        .arg(SLOTS)
        .arg(event)
        .query_async(redis)
        .await?;
    let capacity = usize::try_from(slots.unwrap_or(0)).unwrap_or(0);
    if capacity == 0 {
        return Ok(Vec::new());
    }
    let mut users = in_order(redis, keys).await?;
    users.truncate(capacity);
    Ok(users)
}

async fn take_out(
    redis: &mut ConnectionManager,
    keys: &EventKeys,
    event: &str,
    user: &str,
    entries: &Entries,
) -> RedisResult<()> {
    let () = redis::cmd("HINCRBY")
        .arg(SLOTS)
        .arg(event)
        .arg(-1)
        .query_async(redis)
        .await?;
    if let Entries::Streams { stray } = entries {
        let record: Option<String> = redis::cmd("HGET")
            .arg(&keys.index_record)
            .arg(user)
            .query_async(redis)
            .await?;
        let instance = record.as_deref().and_then(instance_of);
        let () = redis::cmd("XADD")
            .arg(ENTRY)
            .arg("*")
            .arg("userId")
            .arg(user)
            .arg("eventId")
            .arg(event)
            .arg("instanceId")
            .arg(instance.as_deref().unwrap_or(stray))
            .query_async(redis)
            .await?;
    }
    for key in [&keys.waiting, &keys.index_record, &keys.user_ids] {
        let () = redis::cmd("HDEL")
            .arg(key)
            .arg(user)
            .query_async(redis)
            .await?;
    }
    Ok(())
}

/// The broker that an index record names.
fn instance_of(record: &str) -> Option<String> {
    let record: serde_json::Value = serde_json::from_str(record).ok()?;
    record.get("instanceId")?.as_str().map(str::to_owned)
}

async fn in_order(redis: &mut ConnectionManager, keys: &EventKeys) -> RedisResult<Vec<String>> {
    let all: HashMap<String, String> = redis::cmd("HGETALL")
        .arg(&keys.waiting)
        .query_async(redis)
        .await?;
    Ok(sorted_by_index(all))
}

/// Users without a numeric index are not ours and have no place in the order.
fn sorted_by_index(all: HashMap<String, String>) -> Vec<String> {
    let mut users: Vec<(u64, String)> = all
        .into_iter()
        .filter_map(|(user, index)| Some((index.parse().ok()?, user)))
        .collect();
    users.sort_unstable();
    users.into_iter().map(|(_, user)| user).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_numeric() {
        let all = [
            ("acc-1", "10"),
            ("acc-2", "9"),
            ("acc-3", "100"),
            ("stranger", "x"),
        ];
        let all = all.map(|(user, index)| (user.to_owned(), index.to_owned()));
        assert_eq!(
            sorted_by_index(HashMap::from(all)),
            ["acc-2", "acc-1", "acc-3"]
        );
    }
}
