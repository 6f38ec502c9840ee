//! Four processes on one machine: how far apart their first users wake.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;

use crate::cases::{Bench, Figures, LIMIT};
use crate::child::Running;
use crate::k6::{rounds, run_id};

const PROCESSES: u32 = 4;
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
