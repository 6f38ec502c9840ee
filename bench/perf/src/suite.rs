//! Whole scenarios by the runner; the figures are read from the evidence that it leaves.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::bail;
use serde_json::Value as Json;

use crate::cases::{Bench, Figures, float};
use crate::child::{Running, check_interrupt};
use crate::k6::read;
use crate::server::built;

const SUITE: &str = "bench/suites/waiting-room.toml";
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// Runs a scenario, with its own Redis and waiting room.
///
/// # Errors
/// The runner ends badly or leaves no evidence.
pub(crate) fn scenario(
    bench: &mut Bench,
    scenario: &str,
    variant: Option<&str>,
) -> anyhow::Result<Figures> {
    let program = built("BARRIER_BENCH_BIN", "bin/barrier-bench", "make binaries")?;
    let evidence = tempfile::tempdir()?;
    let mut command = Command::new(program);
    command
        .args(["run", SUITE, "--scenario", scenario])
        .args(variant.map(|v| format!("--variant={v}")))
        .env("EVIDENCE_ROOT", evidence.path())
        .env("K6_BIN", &bench.k6.program);
    let began = Instant::now();
    let log = bench.k6.folder.join("runner.txt");
    let ended = Running::start(&mut command, "barrier-bench", &log)?.finish(LIMIT, |_| Ok(()));
    check_interrupt()?;
    let lasted = began.elapsed();
    let runs = runs_below(evidence.path())?;
    // A run that is not valid is a figure too.
    if runs.is_empty() {
        ended?;
        bail!(
            "the runner left no verdict below {}",
            evidence.path().display()
        );
    }
    figures(&runs, lasted)
}

/// The folders of single runs.
fn runs_below(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(runs_below(&path)?);
        } else if path.file_name().is_some_and(|name| name == "verdict.json") {
            found.push(folder.to_owned());
        }
    }
    Ok(found)
}

fn figures(runs: &[PathBuf], lasted: Duration) -> anyhow::Result<Figures> {
    let (mut invalid, mut missing, mut tests) = (0.0, 0.0, 0.0);
    let (mut bytes, mut files): (f64, f64) = (0.0, 0.0);
    for run in runs {
        let verdict: Json = read(&run.join("verdict.json"))?;
        let derived: Json = read(&run.join("derived.json"))?;
        let value = |name: &str| derived[name].as_f64().unwrap_or_default();
        invalid += if verdict["verdict"] == "PASS" {
            0.0
        } else {
            1.0
        };
        missing += value("expectedVUs") - value("completedUsers");
        tests += value("testRunDurationMs") / 1000.0;
        let seen = std::fs::read_to_string(run.join("monitor-processes.jsonl"))?;
        for line in seen.lines() {
            let line: Json = serde_json::from_str(line)?;
            let k6 = &line["processes"]["k6"];
            bytes = bytes.max(k6["rss"].as_f64().unwrap_or_default());
            files =
                files.max(k6["fds"].as_f64().unwrap_or_default() / value("expectedVUs").max(1.0));
        }
    }
    Ok(vec![
        ("runs", vec![float(runs.len() as u64)]),
        ("invalid", vec![invalid]),
        ("missing", vec![missing]),
        ("k6_gb", vec![bytes / 1e9]),
        ("k6_files", vec![files]),
        ("overhead_s", vec![lasted.as_secs_f64() - tests]),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, verdict: &str, completed: u32) {
        std::fs::create_dir_all(folder).expect("folder");
        let derived = format!(
            "{{\"expectedVUs\":100,\"completedUsers\":{completed},\"testRunDurationMs\":4000}}"
        );
        let monitor =
            "{\"processes\":{}}\n{\"processes\":{\"k6\":{\"rss\":2000000000,\"fds\":103}}}\n";
        for (name, text) in [
            ("verdict.json", format!("{{\"verdict\":\"{verdict}\"}}")),
            ("derived.json", derived),
            ("monitor-processes.jsonl", monitor.to_owned()),
        ] {
            std::fs::write(folder.join(name), text).expect("written");
        }
    }

    #[test]
    fn figures_are_those_of_all_runs() {
        let folder = tempfile::tempdir().expect("folder");
        write(&folder.path().join("1/zset/smoke"), "PASS", 100);
        write(&folder.path().join("1/hash/smoke"), "FAIL", 97);
        let runs = runs_below(folder.path()).expect("runs");
        let figures = figures(&runs, Duration::from_secs(9)).expect("figures");
        let expected = [
            ("runs", 2.0),
            ("invalid", 1.0),
            ("missing", 3.0),
            ("k6_gb", 2.0),
            ("k6_files", 1.03),
            ("overhead_s", 1.0),
        ];
        assert_eq!(figures, expected.map(|(name, value)| (name, vec![value])));
    }
}
