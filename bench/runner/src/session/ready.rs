//! What has to be there before the first run: a fit machine, k6, Redis.

use barrier_procs::PrivateRedis;
use barrier_stats::host;

use crate::doctor;
use crate::events::{Event, Stream};
use crate::plan::{Plan, PlannedRun};
use crate::run::inbox::Inbox;
use crate::run::k6::Binary;
use crate::run::redis::server::{self as redis_server, find_program};
use crate::run::scratch::Scratch;
use crate::suite::Suite;
use crate::values::exit;

/// Connections for k6, the target and the runner beside one per user.
const REDIS_RESERVE: i64 = 1024;

/// What has to be there before the first run.
pub(super) struct Ready {
    pub(super) k6: Binary,
    pub(super) inbox: Inbox,
    pub(super) scratch: Scratch,
    pub(super) redis: Option<PrivateRedis>,
}

impl Ready {
    /// Looks for what would spoil the runs, and starts Redis where none is given; all this before there is any evidence.
    ///
    /// # Errors
    /// The machine, the plan or the programs are not fit for the runs; the text says what to mend.
    pub(super) fn new(suite: &Suite, plan: &Plan<'_>, stream: &Stream) -> anyhow::Result<Self> {
        if plan.runs.is_empty() {
            return Err(exit::set_up("the plan holds no run"));
        }
        host::raise_open_files();
        let report = doctor::examine(suite, plan);
        let k6 = doctor::require(&report)?.clone();
        report
            .troubles()
            .map(ToString::to_string)
            .for_each(|text| stream.tell(Event::Finding { text }));
        let mut inbox = Inbox::install()?;
        let scratch = Scratch::open()?;
        let redis = start_redis(suite, plan, &mut inbox, stream)?;
        Ok(Self {
            k6,
            inbox,
            scratch,
            redis,
        })
    }
}

fn start_redis(
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
    let redis = redis_server::start(
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
