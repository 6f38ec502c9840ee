//! The figures of a report: what `figures.json` holds and the other forms show.

use crate::values::text::{figure, plural};
use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::bottleneck::{self, Bottleneck};
use super::{answer, ladder};
use crate::compare::against::Against;
use crate::compare::cells::Cell;
use crate::compare::plan_verdict::{self, PlanVerdict, Said};
use crate::compare::regression::{self, Regression};
use crate::compare::stored::{Setting, Stored, StoredRun};
use crate::compare::words::Outcome;
use crate::evidence::Folder;
use crate::evidence::alerts::Alerts;
use crate::values::exit;
use crate::verdict::ladders::Found;

/// Everything that a report says in numbers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Figures {
    schema_version: u32,
    pub(crate) suite: String,
    pub(crate) title: String,
    /// What came out, in the suite's own words: a sentence for each scenario, point and variant.
    pub(crate) answer: Vec<String>,
    /// The outcome in a few sentences, the most important first.
    pub(crate) headline: Vec<String>,
    /// What follows from the limits that the suite sets to comparisons.
    pub(crate) verdict: Option<PlanVerdict>,
    /// Against what was accepted before.
    pub(crate) baselines: Vec<Against>,
    /// Objectives that are worse than when they were accepted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) regressions: Vec<Regression>,
    pub(crate) comparisons: Vec<Cell>,
    /// What its ladders found.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "found")]
    pub(crate) ladders: Vec<Found>,
    /// What was used of the suite's resources, and what gave out first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) bottlenecks: Vec<Bottleneck>,
    pub(crate) runs: Vec<RunRow>,
    /// Planned runs without evidence.
    pub(crate) missing: Vec<Missing>,
    /// What should be looked at before the figures are believed.
    pub(crate) anomalies: Vec<String>,
    pub(crate) facts: Vec<Fact>,
    /// Variables that do not have the suite's default, where all runs have the same value.
    pub(crate) parameters: Vec<Fact>,
}

/// One run in a row.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunRow {
    pub(crate) folder: String,
    pub(crate) scenario: String,
    pub(crate) point: String,
    pub(crate) variant: String,
    pub(crate) cycle: u32,
    pub(crate) warm_up: bool,
    pub(crate) attempt: u32,
    pub(crate) verdict: String,
    /// Whether comparisons use it.
    pub(crate) counts: bool,
    /// Why not.
    pub(crate) left_out: Option<String>,
    pub(crate) gates_held: usize,
    pub(crate) gates_judged: usize,
    /// Gates that do not hold, in words.
    pub(crate) failed_gates: Vec<String>,
    pub(crate) k6_exit_code: Option<i32>,
    pub(crate) wall_clock_ms: Option<f64>,
    /// Over one minute, before the run.
    pub(crate) load_average: Option<f64>,
    /// The machine was busy with something else.
    pub(crate) busy: bool,
    /// What else the machine did.
    pub(crate) note: String,
    pub(crate) derived: Map<String, Json>,
    /// Which alerts fired, where somebody watched it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) alerts: Option<Alerts>,
}

/// A planned run without evidence.
#[derive(Debug, Serialize)]
pub(crate) struct Missing {
    pub(crate) folder: String,
    pub(crate) why: String,
}

/// A name and a value.
#[derive(Debug, Serialize)]
pub(crate) struct Fact {
    pub(crate) name: String,
    pub(crate) value: String,
}

fn found<S: serde::Serializer>(found: &[Found], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(found.iter().map(Found::json))
}

impl Figures {
    /// Reads them out of stored evidence.
    ///
    /// # Errors
    /// A baseline cannot be read, or the suite's answer does not fit its values.
    pub(crate) fn of(stored: &Stored, allowed: &[String]) -> anyhow::Result<Self> {
        let Said {
            cells: comparisons,
            baselines,
            verdict,
        } = plan_verdict::said(stored, allowed)?;
        let answer = answer::of(stored)?;
        let runs: Vec<RunRow> = stored.runs.iter().map(row).collect();
        let missing: Vec<Missing> = stored
            .missing
            .iter()
            .map(|(folder, why)| Missing {
                folder: folder.clone(),
                why: why.clone(),
            })
            .collect();
        let ladders = ladder::of(stored);
        let limits: Vec<String> = ladders.iter().map(Found::told).collect();
        let bottlenecks = bottleneck::of(stored, &ladders);
        let first = bottlenecks.iter();
        let first = first.map(|of| format!("{}: {}", of.scenario, of.text));
        let found = [limits, first.collect()].concat();
        let mut headline = [found.as_slice(), &answer, &outcomes(&comparisons)].concat();
        // Of a ladder the limit is the answer, and not what its levels say one by one.
        let answer = if found.is_empty() { answer } else { found };
        headline.extend(baselines.iter().map(|against| against.text.clone()));
        let regressions = regression::of(stored)?;
        headline.extend(regressions.iter().map(|worse| worse.text.clone()));
        headline.extend(verdict.as_ref().map(ToString::to_string));
        let limits = stored.suite.file.compare.iter();
        let mut limits = limits.filter(|table| table.worse_than.is_some());
        if limits.next().is_some() && stored.runs.iter().all(|run| run.meta.quick) {
            headline.push("made with --quick: limits of comparisons are not judged".to_owned());
        }
        headline.push(tally(&runs, missing.len()));
        Ok(Self {
            schema_version: 1,
            suite: stored.suite.file.suite.id.clone(),
            title: stored.suite.file.suite.title.clone(),
            answer,
            headline,
            verdict,
            baselines,
            regressions,
            anomalies: anomalies(&comparisons, &runs),
            facts: facts(stored),
            parameters: parameters(stored),
            comparisons,
            ladders,
            bottlenecks,
            runs,
            missing,
        })
    }

    /// What the limits contribute to the exit code.
    pub(crate) fn code(&self) -> i32 {
        match &self.verdict {
            Some(verdict) if !verdict.passed() => exit::GATE,
            _ => exit::OK,
        }
    }
}

fn row(run: &StoredRun) -> RunRow {
    let judging = || run.gates.iter().filter(|gate| gate.class != "watch");
    RunRow {
        folder: run.folder.clone(),
        scenario: run.meta.scenario.clone(),
        point: run.point(),
        variant: run.variant().to_owned(),
        cycle: run.meta.cycle,
        warm_up: run.meta.discarded,
        attempt: run.meta.attempt,
        verdict: run.verdict.clone(),
        counts: run.left_out().is_none(),
        left_out: run.left_out(),
        gates_held: judging().filter(|gate| gate.holds).count(),
        gates_judged: judging().count(),
        failed_gates: run
            .gates
            .iter()
            .filter(|gate| !gate.holds)
            .map(|gate| format!("{}: {}", gate.id, gate.text))
            .collect(),
        k6_exit_code: run.meta.k6_run.exit_code,
        wall_clock_ms: run.meta.k6_run.wall_clock_ms,
        load_average: run.meta.host.load_average_start.first().copied(),
        busy: run.meta.machine.busy,
        note: run.meta.machine.note.clone(),
        derived: run.derived.clone(),
        alerts: Alerts::of(&Folder::open(&run.path)),
    }
}

/// Every comparison in words, and how many there were: of many, one finds a difference by chance.
fn outcomes(cells: &[Cell]) -> Vec<String> {
    let mut lines: Vec<String> = cells
        .iter()
        .flat_map(|cell| {
            cell.comparisons.iter().map(|comparison| {
                let against = if cell.comparisons.len() > 1 {
                    format!(" ({} against {})", comparison.variant, comparison.base)
                } else {
                    String::new()
                };
                format!(
                    "{}{against}: {}",
                    crate::compare::cells::title(cell),
                    comparison.verdict.text
                )
            })
        })
        .collect();
    lines.extend(together(cells));
    lines
}

/// How many comparisons were made, and what they found.
pub(super) fn together(cells: &[Cell]) -> Option<String> {
    let all = cells.iter().flat_map(|cell| &cell.comparisons);
    let tested: Vec<Outcome> = all
        .filter(|comparison| comparison.corrected_p.is_some())
        .map(|comparison| comparison.verdict.outcome)
        .collect();
    let alone = tested
        .iter()
        .filter(|outcome| **outcome == Outcome::OnlyUncorrected)
        .count();
    let differ = tested.iter().filter(|outcome| outcome.differs()).count();
    let alone = if alone > 0 {
        format!(", {alone} only if taken alone")
    } else {
        String::new()
    };
    (tested.len() > 1).then(|| {
        format!(
            "{} comparisons were made and corrected for their number (Holm): {differ} with a difference{alone}",
            tested.len()
        )
    })
}

/// How many runs the figures rest on.
fn tally(runs: &[RunRow], missing: usize) -> String {
    let counted = runs.iter().filter(|run| run.counts).count();
    let count = if runs.len() == 1 { "counts" } else { "count" };
    let mut tally = format!("{counted} of {} {count}", plural(runs.len(), "run"));
    let warm_up = runs.iter().filter(|run| run.warm_up).count();
    let left_out = runs.len() - counted - warm_up;
    for (n, what) in [
        (warm_up, "warm-up"),
        (left_out, "left out"),
        (missing, "planned, not run"),
    ] {
        if n > 0 {
            tally.push_str(&format!(", {n} {what}"));
        }
    }
    tally
}

fn anomalies(cells: &[Cell], runs: &[RunRow]) -> Vec<String> {
    let mut found = Vec::new();
    for cell in cells {
        let title = crate::compare::cells::title(cell);
        for variant in &cell.variants {
            for value in variant.values.iter().filter(|value| value.outlier) {
                found.push(format!(
                    "{title}: cycle {} of {} is far from the others ({}); counted all the same",
                    value.cycle,
                    variant.name,
                    figure(value.value)
                ));
            }
        }
        for comparison in &cell.comparisons {
            for pair in comparison.pairs.iter().filter(|pair| pair.outlier) {
                found.push(format!(
                    "{title}: the ratio {:.3} of {} to {} in cycle {} is far from the others; counted all the same",
                    pair.ratio, comparison.variant, comparison.base, pair.cycle
                ));
            }
        }
        let differences = cell.differences.iter();
        let differences = differences.map(|difference| {
            let allowed = if difference.allowed { "; allowed" } else { "" };
            format!("not the same in all runs: {difference}{allowed}")
        });
        for note in cell.notes.iter().cloned().chain(differences) {
            let line = format!("{}: {note}", cell.scenario);
            if !found.contains(&line) {
                found.push(line);
            }
        }
    }
    let mut notes: Vec<(&str, Vec<&str>)> = Vec::new();
    for run in runs.iter().filter(|run| !run.note.is_empty()) {
        match notes.iter_mut().find(|(note, _)| *note == run.note) {
            Some((_, folders)) => folders.push(&run.folder),
            None => notes.push((&run.note, vec![&run.folder])),
        }
    }
    for (note, folders) in notes {
        found.push(match folders.as_slice() {
            [folder] => format!("{folder}: {note}"),
            folders => format!("{} runs: {note}", folders.len()),
        });
    }
    found
}

fn facts(stored: &Stored) -> Vec<Fact> {
    let Some(first) = stored.runs.first() else {
        return Vec::new();
    };
    let (meta, host) = (&first.meta, &first.meta.host);
    let gib = |bytes: f64| format!("{:.1} GiB", bytes / f64::from(1 << 30));
    let machine = [
        host.cpus.map(|cpus| format!("{cpus} × {}", host.cpu_model)),
        host.memory_bytes.map(gib),
        Some(format!("{} {}", host.kernel, host.architecture)),
    ];
    let loads: Vec<f64> = stored
        .runs
        .iter()
        .filter_map(|run| run.meta.host.load_average_start.first().copied())
        .collect();
    let load = barrier_stats::ratio::spread(&loads)
        .map(|spread| format!("{:.2} to {:.2}, before the runs", spread.min, spread.max));
    let mut commits: Vec<String> = Vec::new();
    for run in &stored.runs {
        // Of a plan whose runs have several each is told, and of none nothing.
        let meta = &run.meta;
        if meta.sha.is_empty() || meta.sha == "unknown" {
            continue;
        }
        let dirty = if meta.git_dirty == Some(true) {
            ", with changes that are not committed"
        } else {
            ""
        };
        let commit = format!("{}{dirty}", meta.sha);
        if !commits.contains(&commit) {
            commits.push(commit);
        }
    }
    let commit = commits.join("; ");
    let mut builds: Vec<String> = Vec::new();
    for run in &stored.runs {
        let build = format!("{} is {}", run.variant(), run.build());
        if !builds.contains(&build) {
            builds.push(build);
        }
    }
    let facts = [
        ("Began", Some(meta.start_time.clone())),
        ("Commit", Some(commit)),
        ("Builds", Some(builds.join(", "))),
        ("Label", Some(meta.label.clone())),
        ("k6", Some(meta.k6_version.clone())),
        ("Redis", Some(meta.redis.clone())),
        ("PostgreSQL", Some(meta.postgres.clone())),
        (
            "Machine",
            Some(machine.into_iter().flatten().collect::<Vec<_>>().join(", ")),
        ),
        ("Load average", load),
    ];
    facts
        .into_iter()
        .filter_map(|(name, value)| {
            let value = value.filter(|value| !value.trim().is_empty())?;
            Some(Fact {
                name: name.to_owned(),
                value,
            })
        })
        .collect()
}

fn parameters(stored: &Stored) -> Vec<Fact> {
    let Some((first, others)) = stored.runs.split_first() else {
        return Vec::new();
    };
    let chosen = |setting: &Setting| !matches!(setting.from.as_str(), "default" | "started");
    first
        .meta
        .environment
        .iter()
        .filter(|(name, setting)| {
            chosen(setting)
                && others.iter().all(|run| {
                    run.meta
                        .environment
                        .get(*name)
                        .is_some_and(|other| other.value == setting.value)
                })
        })
        .map(|(name, setting)| Fact {
            name: name.clone(),
            value: setting.value.clone(),
        })
        .collect()
}
