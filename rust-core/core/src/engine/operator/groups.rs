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
/// So many places of each process are looked at for them: whoever had the first ones may have gone.
const PLACES_SEARCHED: i64 = 100;
const FIELDS: &[&str; 5] = &["@opt", "@groups", "@procs", "@at", "@age"];

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
    now: f64,
}

/// What the record has of a process: its id, epoch, number, when it was heard last on the record's clock, whether it has gone and
/// whether it has said what it knows, its life, how many of its users wait, and of how many of these the time is over, and between
/// which two their places in the list of its life are.
struct Seen {
    seen: i64,
    is_gone: bool,
    life: String,
    waits: usize,
    head: i64,
    tail: i64,
}

impl Seen {
    fn read(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split(' ').collect();
        Some(Self {
            seen: words.get(3)?.parse().ok()?,
            is_gone: *words.get(4)? == "1",
            life: (*words.get(6)?).to_owned(),
            waits: words.get(7)?.parse().ok()?,
            head: words.get(9)?.parse().ok()?,
            tail: words.get(10)?.parse().ok()?,
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
        let [options, groups, processes, at, age] =
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
        let processes = processes.split_terminator(';').map(Seen::read);
        let processes: Vec<Seen> = processes.collect::<Option<_>>().ok_or_else(unreadable)?;
        // The record's own clock stands still while nobody speaks: a process that was killed last is found out by the server's.
        let now = time.0 * 1_000_000 + time.1;
        let silence = (now - at).max(0);
        let is_here = |p: &Seen| !p.is_gone && age + silence - p.seen < SILENT_MAX;
        let waiting = processes.iter().filter(|p| is_here(p)).map(|p| p.waits);
        let waiting: usize = waiting.sum();
        let mut waiting_ids = Vec::new();
        let here = processes.iter().filter(|p| is_here(p) && p.waits > 0);
        let places = here.flat_map(|p| {
            let last = p.tail.min(p.head.saturating_add(PLACES_SEARCHED));
            (p.head + 1..=last).map(|k| format!("@n:{}:{k}", p.life))
        });
        let places: Vec<String> = places.collect();
        if !places.is_empty() {
            let mut ask = redis::cmd("HMGET");
            ask.arg(&key).arg(places);
            let named: Vec<Option<String>> = asked(hub, ask.query_async(&mut connection)).await?;
            let named: Vec<String> = named.into_iter().flatten().collect();
            let mut ask = redis::cmd("HMGET");
            ask.arg(&key);
            named.iter().for_each(|id| _ = ask.arg(format!("@w:{id}")));
            let places: Vec<Option<String>> = match named.is_empty() {
                true => Vec::new(),
                false => asked(hub, ask.query_async(&mut connection)).await?,
            };
            // A place begins with its number in the order in which all came.
            let number =
                |place: Option<String>| -> Option<u64> { place?.split(' ').next()?.parse().ok() };
            let there = places.into_iter().zip(named);
            let mut there: Vec<_> = there.filter_map(|(p, id)| Some((number(p)?, id))).collect();
            there.sort_unstable();
            let first = there.into_iter().take(WAITING_SHOWN);
            waiting_ids = first.map(|(_, id)| id).collect();
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
            now: ms(now),
        }))
    }
}
