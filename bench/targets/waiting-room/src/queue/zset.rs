//! The queue as a sorted set: the member is a JSON object with the user, the score is the join index.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use redis::aio::ConnectionManager;
use redis::{Cmd, RedisResult, Script};
use serde::{Deserialize, Serialize};

use super::{ENTRY, Entries, EventKeys, Place, SLOTS, enter};

#[derive(Serialize, Deserialize)]
struct Member<'a> {
    #[serde(rename = "userId", borrow)]
    user_id: Cow<'a, str>,
}

/// One event in one atomic step, the append to `ENTRY` included where there is one: then ARGV[2] is the broker that is named
/// where no index record says who holds the user. A member that is not ours is left alone, as it holds no user to promote.
static PROMOTE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local waiting, user_ids, index_record, slots = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
        local entry, event, stray = KEYS[5], ARGV[1], ARGV[2]
        local capacity = tonumber(redis.call('HGET', slots, event) or '0') or 0
        if capacity <= 0 then
            return {}
        end
        local promoted = {}
        for _, member in ipairs(redis.call('ZRANGE', waiting, 0, capacity - 1)) do
            local decoded, content = pcall(cjson.decode, member)
            if decoded and type(content) == 'table' and type(content.userId) == 'string' then
                redis.call('HINCRBY', slots, event, -1)
                if stray then
                    local record = redis.call('HGET', index_record, content.userId)
                    local known, joined = pcall(cjson.decode, record or '')
                    local instance = known and type(joined) == 'table' and joined.instanceId
                    instance = type(instance) == 'string' and instance or stray
                    redis.call('XADD', entry, '*', 'userId', content.userId, 'eventId', event, 'instanceId', instance)
                end
                redis.call('ZREM', waiting, member)
                redis.call('HDEL', index_record, content.userId)
                redis.call('HDEL', user_ids, content.userId)
                promoted[#promoted + 1] = content.userId
            end
        end
        return promoted
        ",
    )
});

fn member(user: &str) -> String {
    // Built by the same serialiser at joining and at removal, so that the bytes are equal.
    serde_json::json!(Member {
        user_id: user.into()
    })
    .to_string()
}

fn user_of(member: &[u8]) -> Option<String> {
    let member: Member<'_> = serde_json::from_slice(member).ok()?;
    Some(member.user_id.into_owned())
}

pub(super) fn add(keys: &EventKeys, user: &str, index: u64) -> Cmd {
    let mut command = redis::cmd("ZADD");
    command.arg(&keys.waiting).arg(index).arg(member(user));
    command
}

pub(super) fn remove(keys: &EventKeys, user: &str) -> Cmd {
    let mut command = redis::cmd("ZREM");
    command.arg(&keys.waiting).arg(member(user));
    command
}

/// Lists the queue in order.
pub(super) async fn places(
    redis: &mut ConnectionManager,
    keys: &EventKeys,
) -> RedisResult<Vec<Place>> {
    let members: Vec<Vec<u8>> = redis::cmd("ZRANGE")
        .arg(&keys.waiting)
        .arg(0)
        .arg(-1)
        .query_async(redis)
        .await?;
    // A member that is not ours has no user to tell.
    let place = |member: Vec<u8>| {
        Some(Place {
            user: user_of(&member)?,
            sorted: None,
        })
    };
    Ok(members.into_iter().filter_map(place).collect())
}

/// Asks for the rank of each by a command of its own.
pub(super) async fn ranks(
    redis: &mut ConnectionManager,
    keys: &EventKeys,
    places: &[Place],
    records: bool,
) -> RedisResult<Vec<Option<u64>>> {
    if let [Place { user, .. }] = places {
        if records {
            let _: Option<String> = record(keys, user).query_async(redis).await?;
        }
        return Ok(vec![rank(keys, user).query_async(redis).await?]);
    }
    let mut pipeline = redis::pipe();
    for Place { user, .. } in places {
        if records {
            pipeline.add_command(record(keys, user)).ignore();
        }
        pipeline.add_command(rank(keys, user));
    }
    pipeline.query_async(redis).await
}

fn record(keys: &EventKeys, user: &str) -> Cmd {
    let mut command = redis::cmd("HGET");
    command.arg(&keys.index_record).arg(user);
    command
}

fn rank(keys: &EventKeys, user: &str) -> Cmd {
    let mut command = redis::cmd("ZRANK");
    command.arg(&keys.waiting).arg(member(user));
    command
}

pub(super) async fn promote(
    redis: &mut ConnectionManager,
    keys: &EventKeys,
    event: &Arc<str>,
    entries: &Entries,
) -> RedisResult<()> {
    let mut script = PROMOTE.prepare_invoke();
    script
        .key(&keys.waiting)
        .key(&keys.user_ids)
        .key(&keys.index_record)
        .key(SLOTS)
        .key(ENTRY)
        .arg(&**event);
    if let Entries::Streams { stray } = entries {
        script.arg(stray);
    }
    let users: Vec<String> = script.invoke_async(redis).await?;
    if let Entries::Memory(entries) = entries {
        for user in users {
            enter(entries, event, user).await;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn member_holds_only_the_user() {
        assert_eq!(member("acc-7"), r#"{"userId":"acc-7"}"#);
        assert_eq!(
            user_of(member("acc-7").as_bytes()).as_deref(),
            Some("acc-7")
        );
    }

    #[test]
    fn foreign_members_hold_no_user() {
        for foreign in ["", "acc-7", "[]", "{}", r#"{"userId":7}"#] {
            assert_eq!(user_of(foreign.as_bytes()), None, "{foreign}");
        }
    }
}
