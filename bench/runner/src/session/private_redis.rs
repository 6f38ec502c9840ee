//! A Redis of our own, for runs whose user has named none.

use barrier_procs::PrivateRedis;

use crate::events::{Event, Stream};
use crate::plan::{Plan, PlannedRun};
use crate::run::inbox::Inbox;
use crate::run::redis::server::{self, find_program};
use crate::suite::Suite;

/// Connections for k6, the target and the runner beside one per user.
const REDIS_RESERVE: i64 = 1024;

/// Starts it, if the runs need one and nobody has given one.
///
/// # Errors
/// There is no program for it, it does not start, or a signal arrived.
pub(super) fn start_redis(
    suite: &Suite,
    plan: &Plan<'_>,
    inbox: &mut Inbox,
    stream: &Stream,
) -> anyhow::Result<Option<PrivateRedis>> {
    let needed = suite
        .file
        .suite
        .needs
        .iter()
        .any(|need| need.get_ref() == "redis");
    let given = |run: &PlannedRun<'_>| run.vars.get("REDIS_URL").is_some();
    if !needed || plan.runs.iter().all(given) {
        return Ok(None);
    }
    let users = plan
        .runs
        .iter()
        .filter_map(|run| run.users)
        .max()
        .unwrap_or(0);
    let redis = server::start(
        &find_program(&suite.root)?,
        (users + REDIS_RESERVE).max(10_000),
        inbox,
    )?;
    stream.tell(Event::RedisStarted {
        version: redis.version().to_owned(),
        address: redis.address().to_owned(),
    });
    Ok(Some(redis))
}
