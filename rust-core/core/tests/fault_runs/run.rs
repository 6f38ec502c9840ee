//! One run: processes, participants and trouble; then calm, in which everything must settle.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use barrier_core::session::Done as CallDone;
use tokio::runtime::Handle;

use crate::crowd::{Calm, Crowd};
use crate::host::{Process, arrival};
use crate::plan::{Plan, TTL_MS};
use crate::proxy::Proxy;
use crate::support::RedisServer;
use crate::trouble;
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
    pub(crate) mirrors: u64,
    pub(crate) trouble: trouble::Done,
    pub(crate) found: Vec<Finding>,
}

/// Runs the plan on the server, whose keys it removes first.
pub(crate) fn run(plan: &Plan, server: &mut RedisServer, runtime: &Handle) -> Figures {
    redis::cmd("FLUSHALL")
        .exec(&mut server.connection())
        .expect("the test's own server");
    let mut figures = Figures::default();
    let proxies: Vec<Proxy> = (0..plan.processes)
        .map(|_| Proxy::start(runtime, server.port()))
        .collect();
    let processes: Vec<Process> = proxies
        .iter()
        .map(|proxy| Process::start(&plan.options(proxy.port()), plan.batch_max))
        .collect();
    let calm = Calm::default();
    if !open(&processes, &mut figures.found) {
        return figures;
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
        figures.trouble = trouble::make(plan, server, &proxies, &processes);
    });
    settle(plan, &processes, &calm, &mut figures.found);
    let truth = verdict::calls(plan, &processes, &mut figures.found);
    let forgot = figures.trouble.amnesia;
    let seen = verdict::releases(plan, &processes, &truth, forgot, &mut figures.found);
    figures.found.extend(
        processes
            .iter()
            .filter_map(|p| verdict::open_phase(plan, p, &truth)),
    );
    let defined = plan.exact() && (plan.cyclic() || plan.holdout.is_some() || !forgot);
    if defined && figures.found.is_empty() {
        figures.mirrors += 1;
        mirrors(plan, server, &processes, &truth, &calm, &mut figures.found);
    }
    lifetimes(plan, server, &mut figures.found);
    close(&processes, &mut figures.found);

    figures.releases = seen.seen;
    figures.counts_lost = seen.counts_lost;
    figures.phases = processes
        .iter()
        .map(|p| p.heard().open())
        .max()
        .unwrap_or(0)
        .into();
    figures.participants = plan.parties.into();
    figures.outcomes = truth.outcomes.values().map(|p| p.len() as u64).sum();
    figures.outcomes += truth.left.len() as u64;
    figures.late = truth.late;
    for process in &processes {
        let heard = process.heard();
        figures.calls += heard.ended.len() as u64;
        let pending = heard.ended.values().filter(|e| e.standing.is_some());
        figures.pending += pending.count() as u64;
    }
    figures
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

/// Every call ends, and whoever asks again is told what stands.
fn settle(plan: &Plan, processes: &[Process], calm: &Calm, found: &mut Vec<Finding>) {
    let broken = processes.iter().any(|p| p.heard().broken > 0);
    for (at, process) in processes.iter().enumerate() {
        if broken {
            process.until(|h| (h.broken > 0).then_some(()), || calm.too_long());
        }
        if !plan.cyclic() {
            for n in plan.members(at) {
                process.report(n, arrival(n));
            }
        }
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

/// What outside readers see of the phase that is open in the end; of a one-shot barrier, of its only one.
fn mirrors(
    plan: &Plan,
    server: &RedisServer,
    processes: &[Process],
    truth: &Truth,
    calm: &Calm,
    found: &mut Vec<Finding>,
) {
    let mut connection = server.connection();
    let run = plan.run_id();
    let mut look = || {
        let open = processes.iter().map(|p| p.barrier().status().phase.0).max();
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

/// No key of the run stays for ever.
fn lifetimes(plan: &Plan, server: &RedisServer, found: &mut Vec<Finding>) {
    let mut connection = server.connection();
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg("K6_BARRIER_*")
        .query(&mut connection)
        .expect("the test's own server");
    for key in keys {
        let ttl: i64 = redis::cmd("PTTL")
            .arg(&key)
            .query(&mut connection)
            .expect("the test's own server");
        if !(1..=TTL_MS).contains(&ttl) || !key.contains(&plan.run_id()) {
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
