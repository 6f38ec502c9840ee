//! Random faults on real parts: engines, threads and a Redis server, with a way between them that can be slow, cut and
//! silent. Whatever happens, every participant is counted once and nobody waits for ever.
//!
//! | environment | |
//! |---|---|
//! | `K6_BARRIER_FAULT_RUNS` | how many runs; 20 unless told |
//! | `K6_BARRIER_FAULT_SEED` | seed of the first run; each further one has the next; 1 unless told |
//! | `K6_BARRIER_FAULT_JOBS` | runs at the same time, each on servers of its own; 4 unless told |
//! | `K6_BARRIER_FAULT_FINDINGS` | no further run begins after so many that went wrong; 20 unless told |
//! | `REDIS_SERVER_BIN` | a server, beside those on the path; runs take turns on all versions found |

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/cluster.rs"]
mod redis_cluster;

mod crowd;
#[path = "../support/ground.rs"]
mod ground;
mod host;
mod instants;
mod plan;
#[path = "../support/proxy.rs"]
mod proxy;
mod run;
mod trouble;
mod verdict;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use barrier_core::engine::BrokenBy;
use ground::{Ground, Place};
use plan::{KINDS, Plan};
use run::Figures;
use verdict::Wrong;

/// No further run begins after so long.
const TIME_MAX: Duration = Duration::from_secs(60 * 60);
/// A run that lasts so long is stuck: each of its waits ends within [`crowd::BOUND`].
const RUN_MAX: Duration = Duration::from_secs(150);
const PROGRESS: u64 = 50;

fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name}={text} is no number")),
        Err(_) => default,
    }
}

/// One server program per version that this machine has, in the order of their versions.
fn servers() -> Vec<(String, PathBuf)> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("redis-server"));
    let given = std::env::var_os("REDIS_SERVER_BIN").map(PathBuf::from);
    let mut found = BTreeMap::new();
    for program in given.into_iter().chain(on_path) {
        let Ok(output) = Command::new(&program).arg("--version").output() else {
            continue;
        };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let version = text.split_whitespace().find_map(|w| w.strip_prefix("v="));
        if let Some(version) = version {
            found.entry(version.to_owned()).or_insert(program);
        }
    }
    assert!(!found.is_empty(), "no redis-server; install one");
    found.into_iter().collect()
}

#[derive(Default)]
struct Totals {
    runs: u64,
    by_server: Vec<u64>,
    forgetful: u64,
    on_replica: u64,
    on_cluster: u64,
    contested: u64,
    running: u64,
    spread: u64,
    at_an_instant: u64,
    broken: [u64; 3],
    sum: Figures,
    wrong: Vec<(u64, Wrong, String)>,
}

impl Totals {
    fn add(&mut self, plan: &Plan, server: usize, figures: Figures) {
        self.runs += 1;
        self.by_server[server] += 1;
        self.forgetful += u64::from(figures.trouble.amnesia);
        self.on_replica += u64::from(plan.place == Place::WithReplica);
        self.on_cluster += u64::from(plan.place == Place::Cluster);
        self.contested += u64::from(!plan.contested.is_empty());
        self.running += u64::from(plan.running);
        self.spread += u64::from(plan.spread);
        self.at_an_instant += u64::from(plan.release_at.is_some());
        let by = [BrokenBy::Abort, BrokenBy::MaxFailures, BrokenBy::Timeout];
        for (n, by) in self.broken.iter_mut().zip(by) {
            *n += u64::from(figures.broken == Some(by));
        }
        let sum = &mut self.sum;
        for (to, from) in [
            (&mut sum.phases, figures.phases),
            (&mut sum.releases, figures.releases),
            (&mut sum.counts_lost, figures.counts_lost),
            (&mut sum.participants, figures.participants),
            (&mut sum.outcomes, figures.outcomes),
            (&mut sum.late, figures.late),
            (&mut sum.calls, figures.calls),
            (&mut sum.pending, figures.pending),
            (&mut sum.conflicts, figures.conflicts),
            (&mut sum.timeouts, figures.timeouts),
            (&mut sum.mirrors, figures.mirrors),
        ] {
            *to += from;
        }
        for (to, from) in sum.trouble.by_kind.iter_mut().zip(figures.trouble.by_kind) {
            *to += from;
        }
        if !figures.found.is_empty() {
            println!("seed {} went wrong; {}", plan.seed, again(plan.seed));
        }
        for (wrong, text) in figures.found {
            println!("seed {}: {wrong:?}: {text}", plan.seed);
            self.wrong.push((plan.seed, wrong, text));
        }
    }

    fn wrong(&self, kind: Wrong) -> usize {
        self.wrong.iter().filter(|(_, w, _)| *w == kind).count()
    }

    fn print(&self, versions: &[(String, PathBuf)], first: u64, took: Duration) {
        let row = |name: &str, value: String| println!("| {name} | {value} |");
        println!("| | |\n|---|---|");
        row("runs", self.runs.to_string());
        for ((version, _), runs) in versions.iter().zip(&self.by_server) {
            row(&format!("on Redis {version}"), runs.to_string());
        }
        row("with a replica", self.on_replica.to_string());
        row("on a cluster", self.on_cluster.to_string());
        row(
            "with participants that two processes claim",
            self.contested.to_string(),
        );
        row("that expect whoever runs", self.running.to_string());
        row(
            "whose users go one after the other",
            self.spread.to_string(),
        );
        row("with `releaseAt`", self.at_an_instant.to_string());
        row("first seed", first.to_string());
        row("duration", format!("{} s", took.as_secs()));
        row("participants", self.sum.participants.to_string());
        row("outcomes", self.sum.outcomes.to_string());
        row("calls", self.sum.calls.to_string());
        row(
            "calls that ended before their outcome was delivered",
            self.sum.pending.to_string(),
        );
        row(
            "calls that ended with a conflict",
            self.sum.conflicts.to_string(),
        );
        row("late participants", self.sum.late.to_string());
        row("phases released", self.sum.phases.to_string());
        row(
            "of these, by a wait that expired",
            self.sum.timeouts.to_string(),
        );
        row("releases seen by processes", self.sum.releases.to_string());
        row(
            "of these, counts lost with the server's memory",
            self.sum.counts_lost.to_string(),
        );
        for (by, n) in ["`abort`", "`maxFailures`", "a wait that expired"]
            .iter()
            .zip(self.broken)
        {
            row(&format!("runs broken by {by}"), n.to_string());
        }
        row(
            "runs in which the server forgot",
            self.forgetful.to_string(),
        );
        row(
            "runs whose mirrors were compared",
            self.sum.mirrors.to_string(),
        );
        for (kind, n) in KINDS.iter().zip(self.sum.trouble.by_kind) {
            row(&format!("fault: {kind}"), n.to_string());
        }
        row("**double counts**", self.wrong(Wrong::Double).to_string());
        row("**losses**", self.wrong(Wrong::Loss).to_string());
        row("**hangs**", self.wrong(Wrong::Hang).to_string());
        row("**early releases**", self.wrong(Wrong::Early).to_string());
        row(
            "**anything else wrong**",
            self.wrong(Wrong::Other).to_string(),
        );
    }
}

/// A seed, since when it runs, and the ports of its servers.
type Running = (u64, Instant, Vec<u16>);

/// What all jobs work on.
struct Work {
    first: u64,
    runs: u64,
    servers: Vec<(String, PathBuf)>,
    /// The next seed of each server: a seed runs on the same version, however many jobs there are.
    next: Vec<AtomicU64>,
    stop: AtomicBool,
    /// What each job runs.
    running: Mutex<BTreeMap<u64, Running>>,
}

impl Work {
    fn job(&self, job: u64, at: usize, ended: &mpsc::Sender<(Plan, usize, Figures)>) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let program = &self.servers[at].1;
        let mut ground = Ground::new(program);
        while !self.stop.load(Ordering::Relaxed) {
            let seed = self.next[at].fetch_add(self.servers.len() as u64, Ordering::Relaxed);
            if seed >= self.first + self.runs {
                return;
            }
            let plan = Plan::from_seed(seed);
            if self.runs == 1 {
                println!("{plan:#?}");
            }
            ground.prepare(plan.place, &plan.run_id());
            self.running()
                .insert(job, (seed, Instant::now(), ground.ports()));
            let run = AssertUnwindSafe(|| run::run(&plan, &mut ground, runtime.handle()));
            let figures = catch_unwind(run);
            self.running().remove(&job);
            let figures = figures.unwrap_or_else(|_| {
                ground = Ground::new(program);
                Figures {
                    found: vec![(Wrong::Other, "the run panicked".into())],
                    ..Figures::default()
                }
            });
            if ended.send((plan, at, figures)).is_err() {
                return;
            }
        }
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<u64, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A run in which something holds a thread for ever; its servers are ended, as their owner will not do it.
    fn stuck(&self) -> Option<u64> {
        let running = self.running();
        let seed = running
            .values()
            .find(|(_, at, _)| at.elapsed() > RUN_MAX)?
            .0;
        for port in running.values().flat_map(|(_, _, ports)| ports) {
            let server = redis::Client::open(("127.0.0.1", *port)).and_then(|c| c.get_connection());
            if let Ok(mut server) = server {
                let _ = redis::cmd("SHUTDOWN").arg("NOSAVE").exec(&mut server);
            }
        }
        Some(seed)
    }
}

#[test]
fn faults_count_nobody_twice_lose_nobody_and_hang_nobody() {
    let (runs, first) = (
        number("K6_BARRIER_FAULT_RUNS", 20),
        number("K6_BARRIER_FAULT_SEED", 1),
    );
    let servers = servers();
    let kinds = servers.len() as u64;
    let jobs = number("K6_BARRIER_FAULT_JOBS", 4).max(kinds);
    let findings = number("K6_BARRIER_FAULT_FINDINGS", 20);
    let mut totals = Totals {
        by_server: vec![0; servers.len()],
        ..Totals::default()
    };
    let start = Instant::now();
    let work = Arc::new(Work {
        first,
        runs,
        next: (0..kinds)
            .map(|k| AtomicU64::new(first + (kinds + k - first % kinds) % kinds))
            .collect(),
        servers,
        stop: AtomicBool::new(false),
        running: Mutex::default(),
    });
    let (ended_in, ended) = mpsc::channel();
    let threads: Vec<_> = (0..jobs)
        .map(|job| {
            let (work, ended_in) = (Arc::clone(&work), ended_in.clone());
            let at = usize::try_from(job % kinds).expect("small");
            std::thread::spawn(move || work.job(job, at, &ended_in))
        })
        .collect();
    drop(ended_in);
    loop {
        match ended.recv_timeout(Duration::from_secs(1)) {
            Ok((plan, at, figures)) => totals.add(&plan, at, figures),
            Err(RecvTimeoutError::Timeout) => {
                if let Some(seed) = work.stuck() {
                    panic!("a thread is stuck; {}", again(seed));
                }
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if totals.runs.is_multiple_of(PROGRESS) {
            let (done, wrong) = (totals.runs, totals.wrong.len());
            let took = start.elapsed().as_secs();
            println!("{done} of {runs} runs, {wrong} findings, {took} s");
        }
        if totals.wrong.len() as u64 >= findings || start.elapsed() > TIME_MAX {
            work.stop.store(true, Ordering::Relaxed);
        }
    }
    for thread in threads {
        thread.join().expect("a job's own parts do not fail");
    }
    totals.print(&work.servers, first, start.elapsed());
    if let Some((seed, _, _)) = totals.wrong.first() {
        panic!("{} findings; {}", totals.wrong.len(), again(*seed));
    }
    assert_eq!(
        totals.runs, runs,
        "the time was up before all runs were made"
    );
}

fn again(seed: u64) -> String {
    let server = std::env::var("REDIS_SERVER_BIN").map_or_else(
        |_| String::new(),
        |path| format!("REDIS_SERVER_BIN={path} "),
    );
    format!(
        "again: {server}K6_BARRIER_FAULT_RUNS=1 K6_BARRIER_FAULT_SEED={seed} cargo test -p barrier-core --release --test fault_runs -- \
         --nocapture"
    )
}
