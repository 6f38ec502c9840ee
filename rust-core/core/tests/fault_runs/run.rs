//! One run: processes, participants and trouble; then calm, in which everything must settle.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use barrier_core::engine::BrokenBy;
use barrier_core::error::Error;
use barrier_core::protocol::Why;
use barrier_core::session::Done as CallDone;
use tokio::runtime::Handle;

use crate::crowd::{Calm, Crowd};
use crate::ground::{Ground, Place};
use crate::host::{Process, arrival, failure};
use crate::instants;
use crate::plan::{Plan, TTL_MS};
use crate::proxy::Proxy;
use crate::redis_cluster::until;
use crate::trouble::{self, Scene};
use crate::verdict::{self, Finding, Truth, Wrong};

/// What one run came to.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) phases: u64,
    pub(crate) releases: u64,
    pub(crate) counts_lost: u64,
    pub(crate) participants: u64,
    pub(crate) outcomes: u64,
    pub(crate) late: u64,
    pub(crate) calls: u64,
    /// Calls that ended with an error while the outcome stood.
    pub(crate) pending: u64,
    /// Calls for a participant of somebody else.
    pub(crate) conflicts: u64,
    /// Phases that a wait released as it expired.
    pub(crate) timeouts: u64,
    /// How the barrier broke, if it did.
    pub(crate) broken: Option<BrokenBy>,
    pub(crate) mirrors: u64,
    pub(crate) trouble: trouble::Done,
    pub(crate) found: Vec<Finding>,
}

/// Runs the plan on its ground, which is prepared for it.
pub(crate) fn run(plan: &Plan, ground: &mut Ground, runtime: &Handle) -> Figures {
    let mut figures = Figures::default();
    let proxies: Vec<Proxy> = (0..plan.processes)
        .map(|_| Proxy::start(runtime, ground.server().port()))
        .collect();
    let release_at = plan.release_at.map(from_now);
    let processes: Vec<Process> = proxies
        .iter()
        .map(|proxy| plan.options(&ground.url(proxy), release_at))
        .map(|options| Process::start(&options, plan.batch_max))
        .collect();
    let calm = Calm::new(plan);
    if !open(&processes, &mut figures.found) {
        return figures;
    }
    if plan.running {
        all_run(plan, ground, &processes);
    }
    std::thread::scope(|scope| {
        for (at, process) in processes.iter().enumerate() {
            for thread in 0..plan.threads {
                let crowd = Crowd::new(plan, (at, process), thread, &calm);
                scope.spawn(|| crowd.run());
            }
        }
        // Whatever becomes of the trouble, the threads must not wait for its end for ever.
        let _end = calm.at_the_end();
        figures.trouble = trouble::make(Scene {
            plan,
            ground,
            proxies: &proxies,
            processes: &processes,
        });
    });
    settle(plan, &processes, &calm, &mut figures.found);
    let truth = verdict::calls(plan, &processes, &mut figures.found);
    instants::turns(plan, &processes, &mut figures.found);
    if let Some(at) = release_at {
        instants::not_before(at, &processes, &mut figures.found);
    }
    let forgot = figures.trouble.amnesia;
    let seen = verdict::releases(plan, &processes, &truth, forgot, &mut figures.found);
    let live = || processes.iter().filter(|p| !p.is_dead());
    let broken = live().any(|p| p.heard().broken > 0);
    if !broken {
        let open = live().filter_map(|p| verdict::open_phase(plan, p, &truth));
        figures.found.extend(open);
    }
    let known = plan.cyclic() || plan.holdout.is_some() || !forgot;
    if plan.exact() && !broken && known && figures.found.is_empty() {
        figures.mirrors += 1;
        mirrors(plan, ground, &processes, &truth, &calm, &mut figures.found);
    }
    lifetimes(plan, ground, &mut figures.found);
    let why = |p: &Process| p.barrier().status().broken.map(|b| b.reason);
    figures.broken = live().find_map(why);
    close(&processes, &mut figures.found);

    figures.releases = seen.seen;
    figures.counts_lost = seen.counts_lost;
    figures.timeouts = seen
        .reasons
        .values()
        .filter(|w| **w == Why::Timeout)
        .count() as u64;
    figures.phases = seen.reasons.len() as u64;
    figures.participants = plan.parties.into();
    figures.outcomes = truth.outcomes.values().map(|p| p.len() as u64).sum();
    figures.outcomes += truth.left.len() as u64;
    figures.late = truth.late;
    for process in &processes {
        let heard = process.heard();
        figures.calls += heard.ended.len() as u64;
        for ended in heard.ended.values() {
            figures.pending += u64::from(ended.standing.is_some());
            figures.conflicts += u64::from(matches!(ended.result, Err(Error::Conflict(_))));
        }
    }
    figures
}

/// In ms since the epoch.
fn from_now(ahead: Duration) -> u64 {
    let at = SystemTime::now() + ahead;
    let since = at.duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_millis()).expect("small")
}

/// All processes open the barrier at the same time, before the trouble.
fn open(processes: &[Process], found: &mut Vec<Finding>) -> bool {
    let tokens: Vec<_> = processes.iter().map(Process::open).collect();
    let start = Instant::now();
    for (process, token) in processes.iter().zip(tokens) {
        let result = process.until(
            |h| h.ended.get(&token).map(|e| e.result.clone()),
            || start.elapsed() > crate::crowd::BOUND,
        );
        if !matches!(result, Some(Ok(CallDone::Opened(_)))) {
            found.push((Wrong::Other, format!("opening ended with {result:?}")));
            return false;
        }
    }
    true
}

/// All participants begin; the store knows before the first of them reports.
fn all_run(plan: &Plan, ground: &Ground, processes: &[Process]) {
    let mut all = 0; // one that two processes claim runs in both
    for (at, process) in processes.iter().enumerate() {
        for n in plan.members(at) {
            process.runs(n, true);
            all += 1;
        }
    }
    let key = format!("K6_BARRIER_STATE:{}", plan.suffix());
    let mut connection = ground.connection();
    until("the store knows who runs", || {
        let record: BTreeMap<String, String> = redis::cmd("HGETALL")
            .arg(&key)
            .query(&mut connection)
            .expect("the test's own server");
        let of_processes = record.iter().filter(|(field, _)| field.starts_with("@p:"));
        let running =
            of_processes.filter_map(|(_, text)| text.split('|').nth(8)?.parse::<u32>().ok());
        running.sum::<u32>() == all
    });
}

/// Every call ends, and whoever asks again is told what stands.
fn settle(plan: &Plan, processes: &[Process], calm: &Calm, found: &mut Vec<Finding>) {
    let live = || processes.iter().enumerate().filter(|(_, p)| !p.is_dead());
    let broken = live().any(|(_, p)| p.heard().broken > 0);
    for (at, process) in live() {
        if broken {
            process.until(|h| (h.broken > 0).then_some(()), || calm.too_long());
        }
        if !plan.cyclic() {
            for n in plan.members(at) {
                process.report(n, arrival(n));
            }
        }
    }
    if !plan.cyclic() && !broken {
        for (at, process) in live() {
            let is_disputed = |n: &u32| plan.is_disputed(*n);
            let of_dead = plan.inherited().into_iter();
            let heir = plan
                .killed
                .is_some_and(|dead| (dead + 1) % plan.processes == at);
            let all = plan.members(at).chain(of_dead.filter(|_| heir));
            for n in all.filter(is_disputed) {
                ask(process, n, calm);
            }
        }
    }
    for (at, process) in processes.iter().enumerate() {
        let made = process.made();
        let all = process.until(
            |h| {
                made.iter()
                    .all(|m| h.ended.contains_key(&m.token))
                    .then_some(())
            },
            || calm.too_long(),
        );
        if all.is_none() {
            let status = process.barrier().status();
            found.push((
                Wrong::Hang,
                format!("calls of process {at} hang: {status:?}"),
            ));
        }
    }
}

/// Asks whether the participant is the process's, until the store has answered.
fn ask(process: &Process, participant: u32, calm: &Calm) {
    loop {
        let token = process.report(participant, failure("sse"));
        let open = process.until(
            |h| {
                h.ended
                    .get(&token)
                    .map(|e| matches!(e.result, Err(Error::Store { .. })))
            },
            || calm.too_long(),
        );
        if open != Some(true) || calm.too_long() {
            return;
        }
    }
}

/// What outside readers see of the phase that is open in the end; of a one-shot barrier, of its only one.
fn mirrors(
    plan: &Plan,
    ground: &Ground,
    processes: &[Process],
    truth: &Truth,
    calm: &Calm,
    found: &mut Vec<Finding>,
) {
    let mut connection = ground.connection();
    let run = plan.suffix();
    let mut look = || {
        let live = processes.iter().filter(|p| !p.is_dead());
        let open = live.map(|p| p.barrier().status().phase.0).max();
        let phase = open.unwrap_or(0);
        let at = if phase > 0 {
            format!(":@{phase}")
        } else {
            String::new()
        };
        type Seen = (BTreeSet<String>, Option<u32>, Option<u32>);
        let seen: redis::RedisResult<Seen> = redis::pipe()
            .cmd("SMEMBERS")
            .arg(format!("K6_BARRIER_JOINED:{run}{at}"))
            .cmd("GET")
            .arg(format!("K6_BARRIER_LOGIN_FAIL:{run}{at}"))
            .cmd("GET")
            .arg(format!("K6_BARRIER_SSE_FAIL:{run}{at}"))
            .query(&mut connection);
        let (joined, login, sse) = seen.expect("the test's own server");
        let failed: BTreeMap<String, u32> = [("login", login), ("sse", sse)]
            .into_iter()
            .filter_map(|(reason, n)| Some((reason.to_owned(), n.filter(|n| *n > 0)?)))
            .collect();
        let right = joined == truth.arrived(phase) && failed == truth.failed(phase);
        if right {
            return Ok(());
        }
        let (a, f) = (truth.arrived(phase), truth.failed(phase));
        Err(format!(
            "outside readers see in phase {phase}: {joined:?}, {failed:?}; true are {a:?}, {f:?}"
        ))
    };
    // A lost memory is noticed at the next heartbeat at the latest.
    while let Err(text) = look() {
        if calm.too_long() {
            found.push((Wrong::Other, text));
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// What is said of a key that there is not.
const NO_KEY: i64 = -2;

/// No key of the run stays for ever. One may go while this looks: what was owed at the end is delivered all the same, and the
/// mirrors of a phase go two phases later.
fn lifetimes(plan: &Plan, ground: &Ground, found: &mut Vec<Finding>) {
    // A replica that takes over before it had its data anew may have some of an earlier run.
    let pattern = match plan.place {
        Place::Alone => "K6_BARRIER_*".to_owned(),
        Place::WithReplica | Place::Cluster => format!("K6_BARRIER_*{}*", plan.run_id()),
    };
    let mut connection = ground.connection();
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg(&pattern)
        .query(&mut connection)
        .expect("the test's own server");
    for key in keys {
        let ttl: i64 = redis::cmd("PTTL")
            .arg(&key)
            .query(&mut connection)
            .expect("the test's own server");
        let lives = ttl == NO_KEY || (1..=TTL_MS).contains(&ttl);
        if !lives || !key.contains(&plan.run_id()) {
            found.push((Wrong::Other, format!("{key} lives for {ttl} ms")));
        }
    }
}

/// An engine ends by its deadline, and completes nothing again.
fn close(processes: &[Process], found: &mut Vec<Finding>) {
    for (at, process) in processes.iter().enumerate() {
        let start = Instant::now();
        process.close();
        let took = start.elapsed();
        if took > std::time::Duration::from_secs(7) {
            found.push((Wrong::Hang, format!("process {at} took {took:?} to close")));
        }
        let twice = &process.heard().twice;
        if !twice.is_empty() {
            found.push((
                Wrong::Double,
                format!("process {at} completed twice: {twice:?}"),
            ));
        }
    }
}
