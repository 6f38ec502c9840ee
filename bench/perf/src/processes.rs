//! Four processes on one machine: how far apart their first users wake, and how far apart sleepers do who do nothing else.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustix::thread::clock_nanosleep_absolute;
use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::cases::{Bench, Figures, LIMIT};
use crate::child::Running;
use crate::k6::{rounds, run_id};

const PROCESSES: u32 = 4;
/// How long users and sleepers rest between two meetings, about.
const EVERY: Duration = Duration::from_millis(250);
const NANOS: i64 = 1_000_000_000;

/// Processes of one run: each has its segment of the users.
#[derive(Debug)]
pub(crate) struct Segments<'a> {
    /// The script's name.
    pub(crate) script: &'static str,
    /// How many processes there are.
    pub(crate) processes: u32,
    /// How long their scenarios may take.
    pub(crate) limit: Duration,
    /// What the script wants to know.
    pub(crate) settings: &'a [(&'static str, String)],
    /// The environment of k6.
    pub(crate) environment: &'a [(&'static str, String)],
}

impl Segments<'_> {
    /// Starts them with a store of their own.
    ///
    /// # Errors
    /// Redis does not answer, or one of them cannot be started.
    pub(crate) fn start(&self, bench: &mut Bench) -> anyhow::Result<(Vec<Running>, Vec<PathBuf>)> {
        let run_id = run_id();
        bench.redis.forget()?;
        let cut = |at| match at {
            0 => "0".to_owned(),
            at if at == self.processes => "1".to_owned(),
            at => format!("{at}/{}", self.processes),
        };
        let sequence: Vec<_> = (0..=self.processes).map(cut).collect();
        let (mut running, mut results) = (Vec::new(), Vec::new());
        for at in 0..self.processes {
            let result = bench.k6.folder.join(format!("segment-{at}.json"));
            let _ = std::fs::remove_file(&result);
            let mut command = bench.k6.command(self.script, &result, self.limit);
            command
                .args(["-e", &format!("REDIS_URL={}", bench.redis.url())])
                .args(["-e", &format!("PROCESS={}", at + 1)])
                .args([
                    "--execution-segment",
                    &format!("{}:{}", cut(at), cut(at + 1)),
                ])
                .args(["--execution-segment-sequence", &sequence.join(",")])
                .env("K6_BARRIER_RUN_ID", &run_id)
                .envs(self.environment.iter().map(|(name, value)| (name, value)));
            for (name, value) in self.settings {
                command.args(["-e", &format!("{name}={value}")]);
            }
            let log = bench.k6.folder.join(format!("segment-{at}.txt"));
            running.push(Running::start(&mut command, self.script, &log)?);
            results.push(result);
        }
        Ok((running, results))
    }
}

/// Four processes of k6, twenty meetings.
///
/// # Errors
/// k6 fails, or users do not come through.
pub(crate) fn segments(bench: &mut Bench, _: &str) -> anyhow::Result<Figures> {
    meetings(bench, 20)
}

/// Four processes, of k6 or of sleepers, as many meetings as it takes for the rare ones to be seen.
///
/// # Errors
/// As [`segments`].
pub(crate) fn processes(bench: &mut Bench, variant: &str) -> anyhow::Result<Figures> {
    let times = bench.scale.meetings();
    if variant == "sleepers" {
        return sleepers(bench, times);
    }
    meetings(bench, times)
}

fn meetings(bench: &mut Bench, times: u32) -> anyhow::Result<Figures> {
    let of_users = Segments {
        script: "segments.js",
        processes: PROCESSES,
        limit: LIMIT,
        settings: &[
            ("USERS", bench.scale.segments().to_string()),
            ("ROUNDS", (times + 1).to_string()),
        ],
        environment: &[],
    };
    let (running, results) = of_users.start(bench)?;
    for process in running {
        process.finish(LIMIT + Duration::from_secs(30), |_| Ok(()))?;
    }
    let results = results
        .iter()
        .map(|r| rounds(r))
        .collect::<Result<Vec<_>, _>>()?;
    let (mut spreads, mut news, mut first) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..times as usize {
        let of_each = |what: &str| -> Option<Vec<f64>> {
            let rounds = results.iter().map(|of_process| of_process.get(round));
            rounds.map(|round| Some(round?.get(what)?.min)).collect()
        };
        // Where nobody of a process slept, nobody woke.
        if let (Some(wakes), Some(heard), Some(woke)) =
            (of_each("wake"), of_each("news"), of_each("first_wake"))
        {
            spreads.push(spread(&wakes));
            news.push(last(&heard));
            first.push(last(&woke));
        }
    }
    ensure!(
        spreads.len() * 10 >= times as usize * 9,
        "all four processes had sleeping users in {} of {times} rounds",
        spreads.len()
    );
    Ok(vec![
        ("spread_ms", spreads),
        ("news_ms", news),
        ("first_wake_ms", first),
    ])
}

fn last(of_each: &[f64]) -> f64 {
    of_each.iter().copied().fold(f64::MIN, f64::max)
}

fn spread(of_each: &[f64]) -> f64 {
    last(of_each) - of_each.iter().copied().fold(f64::MAX, f64::min)
}

/// What the hidden command `sleep` is told: instants of the clock that all processes of a machine share.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Sleep {
    /// The first instant, in ns.
    #[arg(long)]
    first: i64,
    /// From one to the next, in ns.
    #[arg(long)]
    every: i64,
    /// How many.
    #[arg(long)]
    times: u32,
}

impl Sleep {
    /// Sleeps until one instant after another, as a few lines of C would, and prints when it woke: how long after the instant,
    /// in ns, a line each.
    ///
    /// # Errors
    /// The first instant is over when it begins, or the system does not let it sleep.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        ensure!(nanos() < self.first, "the first instant is over");
        let mut late = Vec::with_capacity(self.times as usize);
        for instant in (0..self.times).map(|n| self.first + i64::from(n) * self.every) {
            let until = Timespec {
                tv_sec: instant / NANOS,
                tv_nsec: instant % NANOS,
            };
            clock_nanosleep_absolute(ClockId::Monotonic, &until).context("sleeping")?;
            late.push(nanos() - instant);
        }
        for late in late {
            println!("{late}");
        }
        Ok(())
    }
}

fn nanos() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * NANOS + now.tv_nsec
}

/// Four processes with one thread each that sleep until the same instants.
fn sleepers(bench: &Bench, times: u32) -> anyhow::Result<Figures> {
    let program = std::env::current_exe().context("looking for this program")?;
    let every = i64::try_from(EVERY.as_nanos())?;
    // Nobody is late for the first one, which is not counted.
    let first = nanos() + 2 * every;
    let mut running = Vec::new();
    for at in 0..PROCESSES {
        let mut command = Command::new(&program);
        command
            .args(["sleep", "--first", &first.to_string()])
            .args(["--every", &every.to_string()])
            .args(["--times", &(times + 1).to_string()]);
        let log = bench.k6.folder.join(format!("sleeper-{at}.txt"));
        running.push((Running::start(&mut command, "a sleeper", &log)?, log));
    }
    let mut woke = Vec::new();
    for (process, log) in running {
        process.finish(LIMIT + EVERY * times, |_| Ok(()))?;
        let text = std::fs::read_to_string(&log)?;
        let late: Result<Vec<f64>, _> = text.lines().skip(1).map(str::parse).collect();
        woke.push(late.with_context(|| format!("a sleeper said\n{text}"))?);
    }
    let (mut spreads, mut first) = (Vec::new(), Vec::new());
    for round in 0..times as usize {
        let of_round = woke.iter().map(|late| late.get(round).copied());
        let of_round: Option<Vec<f64>> = of_round.map(|ns| Some(ns? / 1e6)).collect();
        let of_round = of_round.context("a sleeper has not slept so often")?;
        spreads.push(spread(&of_round));
        first.push(last(&of_round));
    }
    Ok(vec![("spread_ms", spreads), ("first_wake_ms", first)])
}
