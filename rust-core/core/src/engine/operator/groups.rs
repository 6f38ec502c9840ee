//! What an operator sees of groups. Reads only.

use redis::Value;
use serde::Serialize;

use crate::engine::barrier::ms;
use crate::error::Error;
use crate::group::options::Shared;
use crate::group::protocol::Member;
use crate::group::redis::{group_pattern, names_of, parse_group_key};
use crate::ids::{BarrierName, RunId};

use super::{Hub, Operator, asked};

/// Most names of those who wait in one answer.
const WAITING_SHOWN: usize = 10;

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
        pipe.cmd("HMGET").arg(&key);
        pipe.arg(&["@opt", "@groups", "@w", "@procs"]);
        pipe.cmd("PTTL").arg(&key);
        let answer: (Vec<Option<String>>, Value) =
            asked(hub, pipe.query_async(&mut connection)).await?;
        let mut texts = answer.0.into_iter().map(Option::unwrap_or_default);
        let mut text = || texts.next().unwrap_or_default();
        let unreadable = || Error::store(format!("group {name} of run {run} cannot be read"));
        let options = text();
        if options.is_empty() {
            return Ok(None); // it went away meanwhile
        }
        let shared: Shared = serde_json::from_str(&options).map_err(|_| unreadable())?;
        let groups = text().parse().map_err(|_| unreadable())?;
        let waiting = match text().as_str() {
            "" => Vec::new(),
            list => serde_json::from_str::<Vec<Member>>(list).map_err(|_| unreadable())?,
        };
        let processes = text();
        // Each is its id, epoch, number, when it was heard last, and whether it has gone.
        let processes: Vec<Vec<&str>> = processes
            .split_terminator(';')
            .map(|process| process.split(' ').collect())
            .collect();
        let alive = processes
            .iter()
            .filter(|p| p.get(4).is_some_and(|gone| gone.starts_with('0')));
        let heard = processes
            .iter()
            .filter_map(|p| p.get(3)?.parse::<i64>().ok());
        Ok(Some(GroupView {
            run_id: run.to_string(),
            name: name.to_string(),
            size: shared.size,
            groups,
            waiting: waiting.len(),
            waiting_ids: waiting
                .iter()
                .take(WAITING_SHOWN)
                .map(|m| m.participant.to_string())
                .collect(),
            processes: alive.count(),
            heard_at: heard.max().map(ms),
            ttl_ms: match answer.1 {
                Value::Int(ms) if ms >= 0 => Some(ms),
                _ => None,
            },
        }))
    }
}
