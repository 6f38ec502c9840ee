//! As many virtual users as the machine's memory holds, in several processes: all sleep until one instant, or meet at a
//! barrier over Redis. The script is the same.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};

use crate::cases::{Bench, Figures, float, trend};
use crate::k6::{Round, rounds};
use crate::processes::Segments;

/// What Go may have of the memory: the rest is the server's, the programs', and what the core has for its users.
const OF_GO: f64 = 0.9;
/// How much Go lets the heap grow before it collects, in per cent: what comes on top of the users is paid for and not used.
const GOGC: u32 = 20;
/// The warm-up included.
const ROUNDS: u32 = 6;

/// Runs as many users as are wanted; where they do not fit, a tenth fewer, and so on.
///
/// # Errors
/// k6 fails, or hardly any users fit.
pub(crate) fn many(bench: &mut Bench, variant: &str) -> anyhow::Result<Figures> {
    let wanted = bench.scale.many();
    let mut users = bench.fitting.unwrap_or(wanted);
    loop {
        let ran = run(bench, variant == "redis", users)?;
        if let Some(figures) = ran {
            bench.fitting = Some(users);
            return Ok(figures);
        }
        let memory = bench.scale.memory_gb;
        eprintln!("barrier-perf: {users} users need more than {memory} GB");
        ensure!(
            Instant::now() < bench.end,
            "there is no time for fewer users"
        );
        users = users.saturating_sub(wanted / 10);
        if users == 0 {
            bail!("not even a tenth of {wanted} users fits");
        }
    }
}

/// When what happens, in ms.
struct Timetable {
    /// From the instant at which all processes are ready until the first round opens: k6 starts its users one after another.
    start: u32,
    /// From the opening of a round to its instant: until then all but the last user are to have come.
    gap: u32,
    /// From round to round.
    period: u32,
}

impl Timetable {
    fn of(users: u32) -> Self {
        let gap = 500 + users * 7 / 100;
        Self {
            start: 1000 + users / 5,
            gap,
            period: gap + 500 + users * 6 / 100,
        }
    }

    /// How long it takes at most; a machine that does something else too may need longer.
    fn limit(&self) -> Duration {
        let planned = self.start + ROUNDS * self.period;
        Duration::from_secs(120) + Duration::from_millis(u64::from(planned)) * 2
    }
}

/// None where they need too much memory.
fn run(bench: &mut Bench, meets: bool, users: u32) -> anyhow::Result<Option<Figures>> {
    let timetable = Timetable::of(users);
    let processes = bench.scale.processes;
    let most = bench.scale.memory_gb * 1e9;
    // Making the users comes before, in setup() the processes wait for each other.
    let making = Duration::from_secs(60) + Duration::from_millis(5) * users;
    let segments = Segments {
        script: "scale.js",
        processes,
        limit: timetable.limit(),
        settings: &[
            ("USERS", users.to_string()),
            ("ROUNDS", ROUNDS.to_string()),
            ("PROCESSES", processes.to_string()),
            ("MEETS", u32::from(meets).to_string()),
            ("START_MS", timetable.start.to_string()),
            ("GAP_MS", timetable.gap.to_string()),
            ("PERIOD_MS", timetable.period.to_string()),
            ("MAKING", format!("{}s", making.as_secs())),
        ],
        environment: &[
            ("GOGC", GOGC.to_string()),
            (
                "GOMEMLIMIT",
                format!("{:.0}B", most * OF_GO / f64::from(processes)),
            ),
        ],
    };
    let (running, results) = segments.start(bench)?;
    let mut ids: Vec<u32> = running.iter().map(|process| process.id()).collect();
    ids.push(bench.redis.id());
    let mut used = 0.0_f64;
    for process in running {
        let ended = process.finish(making + segments.limit, |_| {
            used = used.max(ids.iter().map(|id| float(resident(*id))).sum());
            ensure!(used <= most, "too much memory");
            Ok(())
        });
        if used > most {
            return Ok(None);
        }
        ended?;
    }
    let results = results
        .iter()
        .map(|r| rounds(r))
        .collect::<Result<Vec<_>, _>>()?;
    let mut figures = figures(users, meets, &results)?;
    figures.push(("memory_gb", vec![used / 1e9]));
    figures.push(("users", vec![f64::from(users)]));
    Ok(Some(figures))
}

fn figures(users: u32, meets: bool, results: &[Vec<Round>]) -> anyhow::Result<Figures> {
    let (mut release, mut lost) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS as usize - 1 {
        let of_round: Vec<_> = results.iter().filter_map(|r| r.get(round)).collect();
        let came: f64 = of_round
            .iter()
            .filter_map(|r| r.get("ended").map(|t| t.count))
            .sum();
        lost.push(f64::from(users) - came);
        let latest = |what: &str| {
            let of_each = of_round.iter().filter_map(|r| r.get(what));
            of_each.map(|t| t.max).fold(f64::MIN, f64::max)
        };
        // One process has the last user of all.
        let has_last = of_round.iter().find(|r| r.contains_key("last"));
        let Some(of_last) = has_last else {
            continue;
        };
        let last = trend(of_last, "last")?.max;
        // At a barrier the last user has seen all others wait; sleepers have to be asleep in time.
        if meets || latest("ready") < last {
            release.push(latest("ended") - last);
        }
    }
    ensure!(
        !release.is_empty(),
        "in none of {} rounds were all {users} users ready when it began: the machine is too busy for so many",
        lost.len()
    );
    Ok(vec![("release_ms", release), ("lost", lost)])
}

/// What a process has in memory, in bytes; nothing once it has ended.
fn resident(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kb = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kb.unwrap_or_default() * 1024
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::k6::Trend;

    fn round(ready: f64, ended: f64, count: f64, last: Option<f64>) -> Round {
        let trend = |count, max| Trend {
            count,
            min: max,
            med: max,
            p99: max,
            max,
        };
        let mut round = Round::from([
            ("ready".to_owned(), trend(count, ready)),
            ("ended".to_owned(), trend(count, ended)),
        ]);
        round.extend(last.map(|last| ("last".to_owned(), trend(1.0, last))));
        round
    }

    #[test]
    fn a_release_is_over_when_the_last_process_is_through() {
        let rounds = ROUNDS as usize - 1;
        let first = vec![round(5.0, 130.0, 6.0, None); rounds];
        let mut second = vec![round(7.0, 120.0, 4.0, Some(100.0)); rounds];
        second[1] = round(101.0, 150.0, 3.0, Some(100.0));
        let results = [first, second];
        let of_sleepers = figures(10, false, &results).expect("figures");
        assert_eq!(of_sleepers[0], ("release_ms", vec![30.0; rounds - 1]));
        let mut lost = vec![0.0; rounds];
        lost[1] = 1.0;
        assert_eq!(of_sleepers[1], ("lost", lost));
        let at_a_barrier = figures(10, true, &results).expect("figures");
        assert_eq!(at_a_barrier[0].1[..3], [30.0, 50.0, 30.0]);
    }

    #[test]
    fn this_process_has_some_memory() {
        assert!(resident(std::process::id()) > 100_000);
        assert_eq!(resident(u32::MAX), 0);
    }
}
