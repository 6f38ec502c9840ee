//! Arrivals through the core over one connection, beside what `redis-benchmark` gets out of the same server with the
//! very call that the core makes.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use barrier_core::engine::{Barrier, Call, Engine};
use barrier_core::ids::Participant;
use barrier_core::ledger::{Report, Token};
use barrier_core::options::BarrierOptions;

use crate::cases::float;
use crate::child::Running;
use crate::ear::{Ear, engine};
use crate::k6::run_id;
use crate::server::Server;

/// So many users have called and not been answered: a process with ten thousand users, a few of them thinking.
const OUTSTANDING: u64 = 8192;
/// The number of the first user. With twelve digits the ids are as long as redis-benchmark's random ones.
const FIRST: u64 = 100_000_000_000;
/// What redis-benchmark replaces by twelve random digits.
const RANDOM: &str = "__rand_int__";
const PATIENCE: Duration = Duration::from_secs(60);

/// What a run of arrivals gave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    /// Arrivals per second.
    pub(crate) arrivals: f64,
    /// How many went in one call of the script.
    pub(crate) batch: f64,
}

/// An engine with one open barrier that is never complete.
struct Users {
    // Before the engine: it holds the engine's barrier.
    barrier: Arc<Barrier>,
    engine: Engine,
    ear: Arc<Ear>,
    next: Token,
}

impl Users {
    fn open(redis: &Server) -> anyhow::Result<Self> {
        let (ear, engine) = engine();
        let options = serde_json::json!({
            "store": redis.url(), "runId": run_id(), "name": "arrivals", "parties": 10_000_000,
        });
        let barrier = engine.barrier(BarrierOptions::from_json(options.to_string().as_bytes())?)?;
        barrier.handle_or_init(|| 1);
        ear.submitted(barrier.open(1));
        ear.until(1)?;
        Ok(Self {
            barrier,
            engine,
            ear,
            next: 2,
        })
    }

    /// So many users arrive, with [`OUTSTANDING`] of them waiting for their answer.
    fn arrive(&mut self, users: u64) -> anyhow::Result<Duration> {
        let participants = (self.next..self.next + users)
            .map(|user| Participant::new(&(FIRST + user).to_string()))
            .collect::<Result<Vec<_>, _>>()?;
        let began = Instant::now();
        for participant in participants {
            let token = self.next;
            self.next += 1;
            if token.is_multiple_of(OUTSTANDING / 8) {
                self.ear.until(token.saturating_sub(OUTSTANDING))?;
            }
            let report = Report::Arrive { owner: token };
            let call = Call::Report {
                participant,
                report,
                explicit: true,
            };
            self.ear.submitted(self.barrier.submit(call, token));
        }
        self.ear.until(self.next - 1)?;
        Ok(began.elapsed())
    }

    fn close(self) {
        self.engine.close(Duration::from_secs(5));
    }
}

/// Arrivals through the core; a tenth of them beforehand as a warm-up.
///
/// # Errors
/// The core fails.
pub(crate) fn through_the_core(redis: &mut Server, arrivals: u64) -> anyhow::Result<Rate> {
    redis.forget()?;
    let mut users = Users::open(redis)?;
    users.arrive(arrivals / 10)?;
    let before = redis.calls("evalsha")?;
    let lasted = users.arrive(arrivals)?;
    let calls = redis.calls("evalsha")? - before;
    users.close();
    Ok(Rate {
        arrivals: float(arrivals) / lasted.as_secs_f64(),
        batch: float(arrivals) / float(calls.max(1)),
    })
}

/// The same call by redis-benchmark: one client, 64 calls in flight.
///
/// The call is taken from what a core really sent a moment before: the largest one of a burst, with the ids of its users
/// replaced by random ones.
///
/// # Errors
/// redis-benchmark fails, or the server did not take its calls for arrivals.
pub(crate) fn by_redis_benchmark(
    program: &Path,
    log: &Path,
    redis: &mut Server,
    arrivals: u64,
    alone: bool,
) -> anyhow::Result<Rate> {
    redis.forget()?;
    let (call, batch) = call_of_the_core(redis, alone)?;
    let calls = arrivals.div_ceil(batch);
    benchmark(program, log, redis, calls.div_ceil(10), &of_others(&call))?;
    let record = call.get(3).context("a call of the script names its keys")?;
    let before: u64 = redis.ask(&["HLEN", record])?;
    let per_second = benchmark(program, log, redis, calls, &call)?;
    let after: u64 = redis.ask(&["HLEN", record])?;
    let arrived = after - before;
    // Some random ids are drawn twice, but far fewer.
    ensure!(
        arrived * 100 >= calls * batch * 98,
        "redis-benchmark made {} arrivals, but the server holds {arrived} of them",
        calls * batch
    );
    Ok(Rate {
        arrivals: per_second * float(batch),
        batch: float(batch),
    })
}

fn benchmark(
    program: &Path,
    log: &Path,
    redis: &Server,
    calls: u64,
    call: &[String],
) -> anyhow::Result<f64> {
    let mut command = Command::new(program);
    command
        .args([
            "-h",
            "127.0.0.1",
            "-p",
            &redis.port().to_string(),
            "-c",
            "1",
            "-P",
            "64",
            "--csv",
        ])
        .args(["-n", &calls.to_string(), "-r", "2000000000"])
        .args(call);
    Running::start(&mut command, "redis-benchmark", log)?.finish(PATIENCE, |_| Ok(()))?;
    let text = std::fs::read_to_string(log)?;
    per_second(&text).with_context(|| format!("redis-benchmark said\n{text}"))
}

/// The column `rps` of the last line, counted from its end: the first column is the command, which may hold anything.
fn per_second(csv: &str) -> Option<f64> {
    let header: Vec<_> = csv.lines().next()?.split(',').collect();
    let column = header.iter().position(|name| *name == "\"rps\"")?;
    let line = csv.lines().last()?;
    line.rsplit("\",\"")
        .nth(header.len() - 1 - column)?
        .trim_end_matches('"')
        .parse()
        .ok()
}

/// A call of the script as the core makes it, and how many arrivals it carries.
fn call_of_the_core(redis: &Server, alone: bool) -> anyhow::Result<(Vec<String>, u64)> {
    let mut users = Users::open(redis)?;
    let mut monitor = Monitor::start(redis.port())?;
    users.arrive(if alone { 1 } else { 4 * OUTSTANDING })?;
    let ids: BTreeSet<String> = (2..users.next)
        .map(|user| (FIRST + user).to_string())
        .collect();
    users.close();
    let mut largest = (Vec::new(), 0);
    while let Some(words) = monitor.next()? {
        if !words
            .first()
            .is_some_and(|w| w.eq_ignore_ascii_case("EVALSHA"))
        {
            continue;
        }
        let (call, batch) = with_random_ids(words, &ids);
        if batch > largest.1 {
            largest = (call, batch);
        }
    }
    ensure!(
        largest.1 > 0,
        "the core has made no call that carries arrivals"
    );
    Ok(largest)
}

/// Replaces the ids in a call; says how many there were.
fn with_random_ids(words: Vec<String>, ids: &BTreeSet<String>) -> (Vec<String>, u64) {
    let mut found = 0;
    let words = words
        .into_iter()
        .map(|mut word| {
            // Ids are whole arguments, or parts of a longer one.
            let mut at = 0;
            while let Some(part) = word.get(at..at + RANDOM.len()) {
                if ids.contains(part) {
                    word.replace_range(at..at + RANDOM.len(), RANDOM);
                    found += 1;
                    at += RANDOM.len();
                } else {
                    at += 1;
                }
            }
            word
        })
        .collect();
    (words, found)
}

/// The same call for other users, whatever redis-benchmark draws. It takes its seed from the second and its process id, so
/// that two of its runs may well draw the same ids; and who has arrived already is cheap to the server.
fn of_others(call: &[String]) -> Vec<String> {
    call.iter()
        .map(|word| word.replace(RANDOM, &format!("{RANDOM}-")))
        .collect()
}

/// What the server is asked, by anybody, from now on.
struct Monitor {
    lines: BufReader<TcpStream>,
}

impl Monitor {
    fn start(port: u16) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.write_all(b"MONITOR\r\n")?;
        let mut lines = BufReader::new(stream);
        let mut line = String::new();
        lines.read_line(&mut line)?;
        ensure!(line.trim() == "+OK", "Redis answers MONITOR with {line:?}");
        lines
            .get_ref()
            .set_read_timeout(Some(Duration::from_secs(1)))?;
        Ok(Self { lines })
    }

    /// The next command's words; none when nothing has come for a second.
    fn next(&mut self) -> anyhow::Result<Option<Vec<String>>> {
        let mut line = String::new();
        match self.lines.read_line(&mut line) {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(words(&line))),
            Err(e)
                if matches!(
                    e.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) =>
            {
                Ok(None)
            }
            Err(e) => Err(e).context("reading from MONITOR"),
        }
    }
}

/// The quoted words of a line of MONITOR. Only the escapes of text are known: the core sends nothing else.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (&mut word, c) {
            (None, '"') => word = Some(String::new()),
            (None, _) => {}
            (Some(_), '"') => words.extend(word.take()),
            (Some(text), '\\') => text.push(match chars.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some(other) => other,
                None => '\\',
            }),
            (Some(text), c) => text.push(c),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_monitored_command() {
        let line = r#"+1700000000.1 [0 127.0.0.1:5 lua] "EVALSHA" "a\"b" "" "{\"at\":1}" "x\\y""#;
        assert_eq!(words(line), ["EVALSHA", "a\"b", "", "{\"at\":1}", "x\\y"]);
    }

    #[test]
    fn ids_become_random_wherever_they_stand() {
        let ids = BTreeSet::from(["100000000002".to_owned(), "100000000003".to_owned()]);
        let call = ["f", "100000000002", "A", "x|100000000003|100000000002|y"].map(str::to_owned);
        let (call, batch) = with_random_ids(call.to_vec(), &ids);
        assert_eq!(batch, 3);
        assert_eq!(call, ["f", RANDOM, "A", "x|__rand_int__|__rand_int__|y"]);
    }

    #[test]
    fn a_warm_up_is_of_others() {
        let call = ["f", "{run}", RANDOM, "A", "", "0", RANDOM].map(str::to_owned);
        let drawn = |call: &[String]| -> BTreeSet<String> {
            let ids = call.iter().filter(|word| word.contains(RANDOM));
            ids.map(|id| id.replace(RANDOM, "000000000007")).collect()
        };
        let warm_up = of_others(&call);
        assert!(drawn(&call).is_disjoint(&drawn(&warm_up)));
        assert_eq!(warm_up[..2], call[..2]);
        assert_eq!(warm_up.len(), call.len());
    }

    #[test]
    fn the_rate_is_read_whatever_the_command_holds() {
        let csv =
            "\"test\",\"rps\",\"avg_latency_ms\"\n\"EVALSHA x \",\"7\",\"\",\"1234.50\",\"0.1\"\n";
        assert_eq!(per_second(csv), Some(1234.5));
        assert_eq!(per_second("nothing"), None);
    }
}
