//! The store of groups in Redis or Valkey: one hash, changed by one script.
//!
//! This file knows the key, the script's arguments and its answers; the connection is the engine's.

use std::sync::Arc;

use once_cell::sync::Lazy;
use redis::{FromRedisValue, Script, ScriptInvocation, Value};
use serde_json::json;

use crate::ids::{BarrierName, Incarnation, RunId};
use crate::protocol::StoreTime;

use super::options::GroupOptions;
use super::protocol::{Answer, Item, ItemAnswer, Op, Reply, Request};

/// The script that all operations are.
pub const SCRIPT: &str = include_str!("group.lua");

const KEY: &str = "K6_BARRIER_GROUPS:";

static GROUP: Lazy<Arc<Script>> = Lazy::new(|| Arc::new(Script::new(SCRIPT)));

/// The script, ready to be called for the groups of one name.
#[derive(Debug, Clone)]
pub struct GroupScript {
    key: String,
    channel: Arc<str>,
    ttl_ms: u64,
    script: Arc<Script>,
}

/// The hash and the channel of the groups `name` in run `run`. On a cluster the run id is in braces.
#[must_use]
pub fn names_of(run: &RunId, name: &BarrierName, on_cluster: bool) -> (String, String) {
    let run = if on_cluster {
        format!("{{{run}}}")
    } else {
        run.to_string()
    };
    let key = format!("{KEY}{run}:{name}");
    let channel = format!("K6_BARRIER_GROUP_EVENTS:{run}:{name}");
    (key, channel)
}

/// The pattern that the keys of all groups match, or those of one run; it may match others too.
#[must_use]
pub fn group_pattern(run: Option<&RunId>) -> String {
    run.map_or_else(|| format!("{KEY}*"), |run| format!("{KEY}*{run}*"))
}

/// Which groups a key of [`group_pattern`] is the record of.
#[must_use]
pub fn parse_group_key(key: &str) -> Option<(RunId, BarrierName)> {
    let (run, name) = key.strip_prefix(KEY)?.split_once(':')?;
    let bare = run.strip_prefix('{').and_then(|run| run.strip_suffix('}'));
    let run = RunId::new(bare.unwrap_or(run)).ok()?;
    Some((run, BarrierName::new(name).ok()?))
}

impl GroupScript {
    /// For groups with these options.
    ///
    /// # Panics
    /// Where the options have no run id, which [`GroupOptions::from_json`] refuses for this store.
    #[must_use]
    pub fn new(options: &GroupOptions) -> Self {
        Self::with(options, Arc::clone(&GROUP))
    }

    /// As [`GroupScript::new`], with another text of the script: the model test removes rules from it.
    ///
    /// # Panics
    /// As [`GroupScript::new`].
    #[must_use]
    pub fn with_source(options: &GroupOptions, source: &str) -> Self {
        Self::with(options, Arc::new(Script::new(source)))
    }

    fn with(options: &GroupOptions, script: Arc<Script>) -> Self {
        let run = options.run_id.as_ref();
        let run = run.expect("a run id is required with Redis");
        let (key, channel) = names_of(run, &options.name, options.store.is_cluster());
        Self {
            key,
            channel: channel.into(),
            ttl_ms: u64::try_from(options.ttl.as_millis()).unwrap_or(u64::MAX),
            script,
        }
    }

    /// Where news come.
    #[must_use]
    pub const fn channel(&self) -> &Arc<str> {
        &self.channel
    }

    /// The hash.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The call for an operation.
    #[must_use]
    pub fn invocation(&self, request: &Request) -> ScriptInvocation<'_> {
        let mut call = self.script.prepare_invoke();
        call.key(&self.key);
        call.arg(match &request.op {
            Op::Open { .. } => "open",
            Op::Items(_) => "items",
            Op::Beat { .. } => "beat",
        })
        .arg(request.process.as_str())
        .arg(request.incarnation.as_ref().map_or("", |i| i.as_str()))
        .arg(request.epoch)
        .arg(request.number)
        .arg(request.floor)
        .arg(self.ttl_ms)
        .arg(&*self.channel);
        match &request.op {
            Op::Open {
                new_incarnation,
                options,
                expected,
                acknowledged: (epoch, number),
            } => {
                call.arg(new_incarnation.as_str())
                    .arg(options)
                    .arg(*expected)
                    .arg(*epoch)
                    .arg(*number);
            }
            Op::Items(items) => {
                let items: Vec<_> = items.iter().map(listed).collect();
                call.arg(json!(items).to_string());
            }
            Op::Beat { closing } => {
                call.arg(u8::from(*closing));
            }
        }
        call
    }
}

fn listed(item: &Item) -> serde_json::Value {
    match item {
        Item::Join {
            join,
            participant,
            payload: Some(payload),
        } => json!(["J", join, participant, payload]),
        Item::Join {
            join, participant, ..
        } => json!(["J", join, participant]),
        Item::Ask { join, participant } => json!(["A", join, participant]),
        Item::Leave { join, participant } => json!(["L", join, participant]),
        Item::GiveUp { join, participant } => json!(["T", join, participant]),
        Item::Expire { join, participant } => json!(["E", join, participant]),
        Item::Heard { join, participant } => json!(["H", join, participant]),
        Item::Said => json!(["S"]),
        Item::Known(formed) => json!(["K", formed.group, json!(formed).to_string()]),
    }
}

/// Why an answer of the script could not be read.
#[derive(Debug, thiserror::Error)]
#[error("the store's answer about groups cannot be read: {0}")]
pub struct Unreadable(String);

/// Reads the script's answer.
///
/// # Errors
/// Where the answer has another shape, as after a change of the script on one side only.
pub fn decode(value: Value) -> Result<Reply, Unreadable> {
    let texts: Vec<String> = Vec::from_redis_value(value).map_err(|e| Unreadable(e.to_string()))?;
    let text = |at: usize| {
        let text = texts.get(at).map(String::as_str);
        text.ok_or_else(|| Unreadable(format!("field {} is missing", at + 1)))
    };
    let number = |at: usize| {
        let text = text(at)?;
        let bad = |_| Unreadable(format!("field {} is {text:?}", at + 1));
        text.parse::<i64>().map_err(bad)
    };
    let count = |at: usize| {
        let bad = |_| Unreadable(format!("field {} is no count", at + 1));
        u32::try_from(number(at)?).map_err(bad)
    };
    let mut reply = Reply {
        answer: Answer::Ok,
        incarnation: None,
        groups: 0,
        waiting: 0,
        processes: 0,
        settling: false,
        more: false,
        formed: Vec::new(),
        now: StoreTime(number(2)?),
    };
    reply.answer = match text(0)? {
        "REOPEN" => {
            reply.answer = Answer::Reopen;
            return Ok(reply);
        }
        "OPTIONS" => {
            reply.answer = Answer::Options(text(1)?.to_owned());
            return Ok(reply);
        }
        "OK" => Answer::Ok,
        "ITEMS" => Answer::Items(text(8)?.chars().map(answer).collect::<Result<_, _>>()?),
        other => return Err(Unreadable(format!("unknown answer {other:?}"))),
    };
    reply.incarnation = Some(Incarnation::from_store(text(3)?));
    reply.groups = count(4)?;
    reply.waiting = count(5)?;
    reply.processes = count(6)?;
    (reply.settling, reply.more) = (text(7)? == "1", text(7)? == "2");
    reply.formed =
        serde_json::from_str(text(9)?).map_err(|e| Unreadable(format!("the groups: {e}")))?;
    Ok(reply)
}

fn answer(code: char) -> Result<ItemAnswer, Unreadable> {
    Ok(match code {
        'W' => ItemAnswer::Waits,
        'F' => ItemAnswer::Formed,
        'L' => ItemAnswer::Left,
        'C' => ItemAnswer::Conflict,
        'D' => ItemAnswer::Done,
        _ => return Err(Unreadable(format!("an item's answer is {code:?}"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_are_written() {
        let run = RunId::new("run.1").expect("valid");
        let name = BarrierName::new("lobby").expect("valid");
        for on_cluster in [false, true] {
            let (key, _) = names_of(&run, &name, on_cluster);
            assert_eq!(parse_group_key(&key), Some((run.clone(), name.clone())));
        }
        assert_eq!(parse_group_key("K6_BARRIER_GROUPS:r"), None);
        assert_eq!(parse_group_key("K6_BARRIER_STATE:r:lobby"), None);
    }
}
