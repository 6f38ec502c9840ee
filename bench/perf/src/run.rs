//! The run: cycles, their order, and what is written after each.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use barrier_procs::MachineLock;
use barrier_stats::host::raise_open_files;
use barrier_stats::order::balanced;
use indicatif::{ProgressBar, ProgressStyle};

use crate::Cli;
use crate::cases::{Bench, CASES, Case, Scale, Variant};
use crate::child::{catch_signals, check_interrupt};
use crate::goals::rows;
use crate::k6::K6;
use crate::machine::Machine;
use crate::plot::draw;
use crate::report::Report;
use crate::samples::Samples;
use crate::server::{Server, built, find};

/// The command line asks for what there is not.
#[derive(Debug)]
pub(crate) struct WrongUse(String);

impl std::fmt::Display for WrongUse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WrongUse {}

/// Whether everything was measured.
///
/// # Errors
/// Something is missing that all cases need, or a signal arrived.
pub(crate) fn run(cli: &Cli) -> anyhow::Result<bool> {
    let cases = chosen(
        "case",
        &cli.cases,
        &CASES.iter().collect::<Vec<_>>(),
        |case| case.name,
    )?;
    let named = cli.cases.iter().any(|name| !name.is_empty());
    let of_cases = cases.iter().flat_map(|case| case.variants);
    let mut known: Vec<_> = of_cases.map(|v| v.name).collect();
    known.sort_unstable();
    known.dedup();
    let variants = chosen("variant", &cli.variants, &known, |variant| variant)?;
    let _lock = MachineLock::take("barrier-perf")?;
    catch_signals()?;
    let began = Instant::now();
    let started = jiff::Zoned::now();
    let open_files = raise_open_files().unwrap_or(u64::MAX);

    let work = tempfile::tempdir().context("making a folder for k6")?;
    let mut bench = Bench {
        k6: K6 {
            program: built("K6_BIN", "k6", "make k6")?,
            scripts: absolute(&cli.scripts)?,
            folder: work.path().to_owned(),
        },
        redis: Server::start(&find(
            "REDIS_SERVER_BIN",
            "redis-server",
            "scripts/ensure-redis.sh gets one",
        )?)?,
        redis_benchmark: find(
            "REDIS_BENCHMARK_BIN",
            "redis-benchmark",
            "Debian: apt-get install redis-tools",
        )
        .map_err(|e| format!("{e:#}")),
        scale: Scale {
            users: cli.users,
            processes: cli.processes.unwrap_or_else(cpus),
            memory_gb: cli.memory,
        },
        fitting: None,
        end: began + Duration::from_secs(cli.minutes * 60),
    };
    let mut report = Report {
        schema_version: 1,
        started: started.strftime("%Y-%m-%d %H:%M %Z").to_string(),
        command: std::env::args()
            .skip(1)
            .fold("barrier-perf".to_owned(), |line, word| line + " " + &word),
        machine: Machine::look(&mut bench)?,
        users: cli.users,
        cycles: 0,
        seconds: 0.0,
        rows: Vec::new(),
        notes: Vec::new(),
        failures: Vec::new(),
        samples: Samples::default(),
    };
    let needed = u64::from(cli.users) + 200;
    if open_files < needed {
        eprintln!(
            "barrier-perf: a process may open {open_files} files; polling peers need {needed} (ulimit -n)"
        );
    }
    let folder = cli.out.join(started.strftime("%Y%m%d-%H%M%S").to_string());
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;

    let plan = plan(&cases, named, &variants, cli.cycles);
    let bar = progress(plan.len() as u64);
    let mut outcome = Ok(());
    for step in &plan {
        if Instant::now() >= bench.end {
            let left = plan.len() as u64 - bar.position();
            report.notes.push(format!(
                "The time was up before the last {left} of {} runs (--minutes).",
                plan.len()
            ));
            break;
        }
        let what = format!(
            "cycle {} of {}: {}/{}",
            step.cycle, cli.cycles, step.case.name, step.variant
        );
        if bar.is_hidden() {
            eprintln!("{what}");
        }
        bar.set_message(what);
        match (step.case.run)(&mut bench, step.variant) {
            Ok(figures) => report.samples.add(
                &format!("{}/{}", step.case.name, step.variant),
                step.cycle,
                figures,
            ),
            Err(error) => {
                if let Err(interrupt) = check_interrupt() {
                    outcome = Err(interrupt);
                    break;
                }
                let failure = format!(
                    "{}/{} in cycle {}: {error:#}",
                    step.case.name, step.variant, step.cycle
                );
                bar.suspend(|| eprintln!("barrier-perf: {failure}"));
                report.failures.push(failure);
            }
        }
        bar.inc(1);
        if step.last_of_cycle {
            report.cycles = step.cycle;
            write(&mut report, &folder, &plan, bench.scale, began)?;
        }
    }
    bar.finish_and_clear();
    // A case that the time did not reach has no row, which is told apart from one that needs none.
    for run in unmeasured(&plan, &report.samples, &report.failures) {
        report.failures.push(format!(
            "{run}: never measured, the time was up (--minutes)"
        ));
    }
    write(&mut report, &folder, &plan, bench.scale, began)?;
    print!("{}", report.markdown());
    println!("\nresults: {}", folder.display());
    outcome?;
    Ok(report.failures.is_empty())
}

fn write(
    report: &mut Report,
    folder: &Path,
    plan: &[Step<'_>],
    scale: Scale,
    began: Instant,
) -> anyhow::Result<()> {
    report.seconds = began.elapsed().as_secs_f64();
    let planned = |run: &str| {
        plan.iter()
            .any(|step| run.split_once('/') == Some((step.case.name, step.variant)))
    };
    report.rows = rows(scale)
        .iter()
        .filter(|row| planned(row.of))
        .map(|row| row.fill(&report.samples))
        .collect();
    report.write(folder)?;
    let mut cases: Vec<&Case> = plan.iter().map(|step| step.case).collect();
    cases.sort_unstable_by_key(|case| case.name);
    cases.dedup_by_key(|case| case.name);
    for case in cases {
        let path = folder.join(format!("{}.svg", case.name));
        let names: Vec<_> = case.variants.iter().map(|v| v.name).collect();
        draw(&path, case.name, &names, case.plot, &report.samples)?;
    }
    Ok(())
}

/// The runs of the plan, each once, of which neither figures nor a failure are known.
fn unmeasured(plan: &[Step<'_>], samples: &Samples, failures: &[String]) -> Vec<String> {
    let mut left = Vec::new();
    for step in plan {
        let run = format!("{}/{}", step.case.name, step.variant);
        let failed = failures
            .iter()
            .any(|failure| failure.starts_with(&format!("{run} in cycle ")));
        if !failed && !samples.has(&run) && !left.contains(&run) {
            left.push(run);
        }
    }
    left
}

#[derive(Debug)]
struct Step<'a> {
    cycle: u32,
    case: &'a Case,
    variant: &'static str,
    last_of_cycle: bool,
}

/// Every variant once in each cycle. Whoever was first is last in the next: neither is always the one that runs on a
/// machine that the other has warmed up.
fn plan<'a>(
    cases: &[&'a Case],
    named: bool,
    variants: &[&'static str],
    cycles: u32,
) -> Vec<Step<'a>> {
    let mut plan = Vec::new();
    for cycle in 1..=cycles {
        let from = plan.len();
        for case in cases {
            let due = |v: &&Variant| {
                (cycle - 1).is_multiple_of(v.every)
                    && variants.contains(&v.name)
                    && (named || !v.by_name)
            };
            let order: Vec<_> = case.variants.iter().filter(due).map(|v| v.name).collect();
            plan.extend(balanced(order, cycle - 1).into_iter().map(|variant| Step {
                cycle,
                case,
                variant,
                last_of_cycle: false,
            }));
        }
        if let Some(last) = plan[from..].last_mut() {
            last.last_of_cycle = true;
        }
    }
    plan
}

/// Those that were named, or all.
fn chosen<T: Copy>(
    what: &str,
    named: &[String],
    all: &[T],
    name: impl Fn(&T) -> &'static str,
) -> anyhow::Result<Vec<T>> {
    let mut chosen = Vec::new();
    for wanted in named.iter().filter(|n| !n.is_empty()) {
        let found: Vec<T> = all
            .iter()
            .filter(|item| name(item) == wanted)
            .copied()
            .collect();
        if found.is_empty() {
            let known: Vec<_> = all.iter().map(name).collect();
            return Err(WrongUse(format!(
                "there is no {what} {wanted:?}; there are {}",
                known.join(", ")
            ))
            .into());
        }
        chosen.extend(found);
    }
    Ok(if chosen.is_empty() {
        all.to_vec()
    } else {
        chosen
    })
}

fn cpus() -> u32 {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u32::try_from(cpus).unwrap_or(u32::MAX)
}

fn progress(steps: u64) -> ProgressBar {
    let bar = ProgressBar::new(steps);
    if let Ok(style) =
        ProgressStyle::with_template("[{elapsed_precise}] {bar:30} {pos}/{len} {msg}")
    {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_secs(1));
    bar
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    path.canonicalize()
        .with_context(|| format!("there is no {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(case: &str, cycles: u32) -> Vec<(u32, &'static str)> {
        let cases: Vec<&Case> = CASES.iter().filter(|c| c.name == case).collect();
        let variants: Vec<_> = cases[0].variants.iter().map(|v| v.name).collect();
        let plan = plan(&cases, true, &variants, cycles);
        plan.iter().map(|step| (step.cycle, step.variant)).collect()
    }

    #[test]
    fn a_cycle_runs_each_variant_once_and_none_is_always_first() {
        let plan = of("release", 5);
        let mut first = std::collections::BTreeSet::new();
        for cycle in 1..=5 {
            let mut names: Vec<_> = plan
                .iter()
                .filter(|(c, _)| *c == cycle)
                .map(|(_, v)| *v)
                .collect();
            first.insert(names[0]);
            names.sort_unstable();
            let all = ["memory", "plain", "polling-200ms", "polling-50ms", "redis"];
            // Peers without a goal are run more seldom.
            let expected = match cycle {
                1 => all.as_slice(),
                5 => &["memory", "plain", "polling-200ms", "redis"],
                _ => &["memory", "plain", "redis"],
            };
            assert_eq!(names, expected);
        }
        assert!(first.len() >= 3, "{first:?}");
    }

    #[test]
    fn runs_that_the_time_did_not_reach_are_named_once() {
        let cases: Vec<&Case> = CASES.iter().filter(|c| c.name == "release").collect();
        let plan = plan(&cases, true, &["memory", "redis", "plain"], 2);
        let mut samples = Samples::default();
        samples.add("release/memory", 1, [("ms", vec![1.0])]);
        let failures = ["release/redis in cycle 1: no server".to_owned()];
        assert_eq!(unmeasured(&plan, &samples, &failures), ["release/plain"]);
    }

    #[test]
    fn long_cases_are_in_fewer_cycles() {
        let mut cycles: Vec<_> = of("crowd", 5).iter().map(|(cycle, _)| *cycle).collect();
        cycles.dedup();
        assert_eq!(cycles, [1, 4]);
    }

    #[test]
    fn what_takes_longest_is_run_when_its_case_is_named() {
        let cases: Vec<&Case> = CASES.iter().collect();
        let runs = |named| {
            let plan = plan(&cases, named, &["zset", "hash"], 5);
            plan.iter().map(|step| step.variant).collect::<Vec<_>>()
        };
        assert_eq!(runs(false), ["zset"]);
        assert_eq!(runs(true), ["zset", "hash"]);
    }

    #[test]
    fn what_is_run_only_when_it_is_named_is_in_no_other_plan() {
        let cases: Vec<&Case> = CASES.iter().collect();
        let variants: Vec<_> = cases
            .iter()
            .flat_map(|c| c.variants.iter().map(|v| v.name))
            .collect();
        let plan = plan(&cases, false, &variants, 9);
        let planned = |name| plan.iter().any(|step| step.case.name == name);
        for case in CASES {
            assert_eq!(planned(case.name), !case.by_name(), "{case:?}");
        }
        assert!(!planned("scale") && !planned("processes"));
        // Of the two that are compared, the one that finds out how many users fit is run first.
        assert_eq!(of("scale", 1), [(1, "redis"), (1, "plain"), (1, "clients")]);
    }

    #[test]
    fn the_end_of_each_cycle_is_marked() {
        let cases: Vec<&Case> = CASES.iter().collect();
        let plan = plan(&cases, true, &["memory", "core"], 2);
        let ends: Vec<_> = plan
            .iter()
            .filter(|s| s.last_of_cycle)
            .map(|s| s.cycle)
            .collect();
        assert_eq!(ends, [1, 2]);
        assert!(plan[plan.len() - 1].last_of_cycle);
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_known_ones() {
        let error = chosen(
            "case",
            &["relase".to_owned()],
            &["release", "arrive"],
            |n| n,
        )
        .expect_err("unknown");
        assert_eq!(
            error.to_string(),
            "there is no case \"relase\"; there are release, arrive"
        );
        assert!(error.is::<WrongUse>());
    }
}
