//! What an operator sees of groups. Reads only.

use redis::Value;
use serde::Serialize;

use crate::engine::barrier::ms;
use crate::error::Error;
use crate::group::memory::SILENT_MAX;
use crate::group::options::Shared;
use crate::group::redis::{group_pattern, names_of, parse_group_key};
use crate::ids::{BarrierName, RunId};

use super::{Hub, Operator, asked};

/// Most names of those who wait in one answer.
const WAITING_SHOWN: usize = 10;
/// So many places are looked at for them: whoever had the first ones may have gone.
const PLACES_SEARCHED: i64 = 200;
const FIELDS: &[&str; 7] = &["@opt", "@groups", "@procs", "@at", "@age", "@head", "@tail"];

/// Groups of one name as an operator sees them. Times are milliseconds since the epoch on the store's clock.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupView {
    run_id: String,
    name: String,
    size: u32,
    groups: u32,
    waiting: usize,
    waiting_ids: Vec<String>,
    processes: usize,
    heard_at: Option<f64>,
    ttl_ms: Option<i64>,
}

/// What the record has of a process: its id, epoch, number, when it was heard last on the record's clock, whether it has gone and
/// whether it has said what it knows, its life, and how many of its users wait.
struct Seen {
    seen: i64,
    is_gone: bool,
    life: String,
    waits: usize,
}

impl Seen {
    fn read(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split(' ').collect();
        Some(Self {
            seen: words.get(3)?.parse().ok()?,
            is_gone: *words.get(4)? == "1",
            life: (*words.get(6)?).to_owned(),
            waits: words.get(7)?.parse().ok()?,
        })
    }
}

impl Operator {
    /// The groups of a run, or of all: `{"groups":[…],"complete":true}`.
    pub(super) async fn groups(
        &self,
        run: Option<RunId>,
        limit: usize,
    ) -> Result<serde_json::Value, Error> {
        let pattern = group_pattern(run.as_ref());
        let (found, complete) = self
            .search(&pattern, parse_group_key, run.as_ref(), limit)
            .await?;
        let mut groups = Vec::new();
        for ((run, name), hub) in found.into_iter().take(limit) {
            groups.extend(self.group(&hub, &run, &name).await?);
        }
        Ok(serde_json::json!({ "groups": groups, "complete": complete }))
    }

    async fn group(
        &self,
        hub: &std::sync::Arc<Hub>,
        run: &RunId,
        name: &BarrierName,
    ) -> Result<Option<GroupView>, Error> {
        let (key, _) = names_of(run, name, self.servers.is_cluster());
        let mut connection = hub.connection(self.options.timeout).await?;
        let mut pipe = redis::pipe();
        pipe.cmd("HMGET").arg(&key).arg(FIELDS);
        pipe.cmd("PTTL").arg(&key);
        pipe.cmd("TIME");
        let (texts, ttl, time): (Vec<Option<String>>, Value, (i64, i64)) =
            asked(hub, pipe.query_async(&mut connection)).await?;
        let [options, groups, processes, at, age, head, tail] =
            <[Option<String>; FIELDS.len()]>::try_from(texts)
                .unwrap_or_default()
                .map(Option::unwrap_or_default);
        let unreadable = || Error::store(format!("group {name} of run {run} cannot be read"));
        if options.is_empty() {
            return Ok(None); // it went away meanwhile
        }
        let number = |text: &str| text.parse::<i64>().map_err(|_| unreadable());
        let shared: Shared = serde_json::from_str(&options).map_err(|_| unreadable())?;
        let groups = groups.parse().map_err(|_| unreadable())?;
        let (at, age) = (number(&at)?, number(&age)?);
        let (head, tail) = (number(&head)?, number(&tail)?);
        let processes = processes.split_terminator(';').map(Seen::read);
        let processes: Vec<Seen> = processes.collect::<Option<_>>().ok_or_else(unreadable)?;
        // The record's own clock stands still while nobody speaks: a process that was killed last is found out by the server's.
        let silence = (time.0 * 1_000_000 + time.1 - at).max(0);
        let is_here = |p: &Seen| !p.is_gone && age + silence - p.seen < SILENT_MAX;
        let waiting = processes.iter().filter(|p| is_here(p)).map(|p| p.waits);
        let waiting: usize = waiting.sum();
        let here = |life: &str| processes.iter().any(|p| is_here(p) && p.life == life);

        let mut waiting_ids = Vec::new();
        let last = tail.min(head.saturating_add(PLACES_SEARCHED));
        if waiting > 0 && head < last {
            let mut ask = redis::cmd("HMGET");
            ask.arg(&key);
            (head + 1..=last).for_each(|n| _ = ask.arg(format!("@n:{n}")));
            let named: Vec<Option<String>> = asked(hub, ask.query_async(&mut connection)).await?;
            let named: Vec<String> = named.into_iter().flatten().collect();
            let mut ask = redis::cmd("HMGET");
            ask.arg(&key);
            named.iter().for_each(|id| _ = ask.arg(format!("@w:{id}")));
            let places: Vec<Option<String>> = match named.is_empty() {
                true => Vec::new(),
                false => asked(hub, ask.query_async(&mut connection)).await?,
            };
            // A place is its number, the life of its process in the record, and more.
            let waits = |place: &Option<String>| {
                let life = place.as_ref().and_then(|text| text.split(' ').nth(1));
                life.is_some_and(here)
            };
            let there = named.into_iter().zip(places);
            let there = there.filter(|(_, place)| waits(place)).map(|(id, _)| id);
            waiting_ids = there.take(WAITING_SHOWN).collect();
        }
        let heard = processes.iter().map(|p| ms(at - (age - p.seen)));
        Ok(Some(GroupView {
            run_id: run.to_string(),
            name: name.to_string(),
            size: shared.size,
            groups,
            waiting,
            waiting_ids,
            processes: processes.iter().filter(|p| is_here(p)).count(),
            heard_at: heard.reduce(f64::max),
            ttl_ms: match ttl {
                Value::Int(ms) if ms >= 0 => Some(ms),
                _ => None,
            },
        }))
    }
}
