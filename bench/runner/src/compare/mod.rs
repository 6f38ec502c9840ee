//! Comparing: variants of a plan over its cycles, or the same variants in two folders of evidence.
//!
//! Only stored evidence is read. What counts, how pairs are made and what follows is explained in
//! `docs/explanation/statistics.md`.

pub(crate) mod against;
pub(crate) mod alike;
pub(crate) mod baseline;
mod blocks;
pub(crate) mod cells;
mod family;
mod limit;
mod losses;
mod meta;
pub(crate) mod places;
pub(crate) mod plan_verdict;
pub(crate) mod regression;
pub(crate) mod stored;
pub(crate) mod words;

use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use crate::suite::Suite;
use crate::values::exit;
use crate::values::text::{figure, plural, shown};
use crate::verdict::stored::{Again, Now};
use against::Against;
use cells::{Cell, Value, Variant, title};
use plan_verdict::PlanVerdict;
use regression::Regression;
use stored::Stored;

/// What folders of evidence say about variants.
#[derive(Debug)]
pub(crate) struct Comparison {
    pub(crate) cells: Vec<Cell>,
    /// What the letters of two folders stand for; empty for one.
    pub(crate) legend: Vec<String>,
    /// What the runs of one folder are against those that were accepted before.
    baselines: Vec<Against>,
    /// Objectives that are worse than when they were accepted.
    regressions: Vec<Regression>,
    /// What became of the runs of one folder, where the suite compares nothing but its objectives with what was accepted.
    runs: Vec<String>,
    /// What follows from the limits that the suite sets.
    verdict: Option<PlanVerdict>,
    /// Planned runs without evidence: folders, and why there is none.
    missing: Vec<(String, String)>,
}

/// Compares the variants of one folder, or two folders with each other.
///
/// # Errors
/// A folder holds no evidence, or the suite declares nothing to compare.
pub(crate) fn compare(folders: &[PathBuf], allowed: &[String]) -> anyhow::Result<Comparison> {
    let stored = folders
        .iter()
        .map(|folder| Stored::open(folder))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let (cells, legend, baselines, verdict) = match stored.as_slice() {
        [one] => {
            let said = plan_verdict::said(one, allowed)?;
            (said.cells, Vec::new(), said.baselines, said.verdict)
        }
        [a, b] => (
            family::between(a, b, allowed),
            vec![legend("A", a), legend("B", b)],
            Vec::new(),
            None,
        ),
        _ => return Err(exit::set_up("name one folder of evidence, or two")),
    };
    let (mut regressions, mut runs) = (Vec::new(), Vec::new());
    if let [one] = stored.as_slice()
        && one.suite.file.suite.regression.is_some()
    {
        regressions = regression::of(one)?;
        runs.extend(
            one.runs
                .iter()
                .map(|run| format!("{}  {}", run.verdict, run.folder)),
        );
    } else if cells.is_empty() {
        return Err(nothing(&stored));
    }
    Ok(Comparison {
        cells,
        legend,
        baselines,
        regressions,
        runs,
        verdict,
        missing: stored.into_iter().flat_map(|one| one.missing).collect(),
    })
}

/// The verdict on the plan of a folder whose runs were judged anew: by their verdicts and values of now, and by another suite
/// if there is one. `None` where no limit is set.
///
/// # Errors
/// The evidence cannot be read.
pub(crate) fn verdict_of_plan(
    folder: &Path,
    other: Option<Suite>,
    judged: &[Again],
) -> anyhow::Result<Option<PlanVerdict>> {
    let mut stored = Stored::open(folder)?;
    if let Some(other) = other {
        stored.suite = other;
    }
    let mut tables = stored.suite.file.compare.iter();
    if tables.all(|table| table.worse_than.is_none()) {
        return Ok(None);
    }
    for run in &mut stored.runs {
        let again = judged.iter().find(|again| again.path == run.path);
        if let Some(Now::Judged {
            run: now, derived, ..
        }) = again.map(|again| &again.now)
        {
            run.verdict.clone_from(&now.verdict);
            run.derived.clone_from(derived);
        }
    }
    Ok(plan_verdict::said(&stored, &[])?.verdict)
}

impl Comparison {
    /// The comparison for programs.
    pub(crate) fn json(&self) -> Json {
        json!({
            "schemaVersion": 1,
            "comparisons": self.cells,
            "baselines": self.baselines,
            "regressions": self.regressions,
            "verdict": self.verdict(),
            "missing": self.missing.iter().map(|(folder, _)| folder).collect::<Vec<_>>(),
        })
    }

    /// What follows from the limits that the suite sets.
    pub(crate) fn verdict(&self) -> Option<&PlanVerdict> {
        self.verdict.as_ref()
    }

    /// The comparison for the terminal.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut all = self.legend.clone();
        all.extend(self.runs.iter().cloned());
        let mut place = None;
        for cell in &self.cells {
            all.extend(lines(cell));
            // Once where several figures are of the same runs.
            if place.replace((&cell.scenario, &cell.point)) != Some((&cell.scenario, &cell.point)) {
                all.extend(cell.blocks.iter().map(|block| {
                    format!(
                        "  cycle {}: {}, {}",
                        block.cycle,
                        block.time(),
                        block.order.join(" then ")
                    )
                }));
            }
        }
        let missing = self.missing.iter();
        all.extend(missing.map(|(folder, why)| format!("missing: {folder}: {why}")));
        all.extend(self.baselines.iter().map(|line| line.text.clone()));
        all.extend(self.regressions.iter().map(|worse| worse.text.clone()));
        all.extend(self.verdict().map(ToString::to_string));
        all
    }
}

fn nothing(stored: &[Stored]) -> anyhow::Error {
    let undeclared = stored
        .iter()
        .find(|stored| stored.suite.file.compare.is_empty());
    exit::set_up(match undeclared {
        Some(stored) => format!(
            "{} declares nothing to compare: it has no table [[compare]]",
            stored.suite.path.display()
        ),
        None => "nothing to compare: the folders have no scenario, point and variant in common that a table [[compare]] names".to_owned(),
    })
}

/// What a letter stands for.
fn legend(name: &str, stored: &Stored) -> String {
    let mut versions: Vec<String> = Vec::new();
    for run in &stored.runs {
        let mut version = run.build();
        if !version.contains(&run.meta.label) {
            version = format!("{version}, {}", run.meta.label);
        }
        if !versions.contains(&version) {
            versions.push(version);
        }
    }
    format!(
        "{name}  {} (build {})",
        shown(&stored.root),
        versions.join(", ")
    )
}

/// A cell as text for the terminal.
fn lines(cell: &Cell) -> Vec<String> {
    let mut lines = vec![String::new(), title(cell)];
    let width = |header: &str, texts: &[String]| {
        texts
            .iter()
            .map(String::len)
            .chain([header.len()])
            .max()
            .unwrap_or(0)
    };
    let names: Vec<String> = cell
        .variants
        .iter()
        .map(|variant| variant.name.clone())
        .collect();
    let first = width("variant", &names);
    lines.push(format!(
        "  {:<first$}  {:>6}  {:>9}  {:>9}  {:>9}  {:>6}  by cycle",
        "variant", "cycles", "median", "min", "max", "spread"
    ));
    for variant in &cell.variants {
        let Some(spread) = &variant.spread else {
            lines.push(format!("  {:<first$}  {:>6}", variant.name, 0));
            continue;
        };
        let variation = spread
            .variation
            .map_or_else(|| "-".to_owned(), |share| format!("{:.1} %", share * 100.0));
        lines.push(format!(
            "  {:<first$}  {:>6}  {:>9}  {:>9}  {:>9}  {:>6}  {}",
            variant.name,
            spread.n,
            figure(spread.median),
            figure(spread.min),
            figure(spread.max),
            variation,
            values(variant),
        ));
    }
    for comparison in &cell.comparisons {
        lines.push(format!(
            "  {} / {}: {}",
            comparison.variant,
            comparison.base,
            comparison.shown_ratio()
        ));
        lines.push(format!("  => {}", comparison.verdict.text));
        lines.extend(comparison.shown_gate().map(|text| format!("  => {text}")));
    }
    for run in &cell.left_out {
        lines.push(format!(
            "  left out: {}: {}",
            run.folder,
            because(&run.why, &run.reasons)
        ));
    }
    lines.extend(cell.notes.iter().map(|note| format!("  note: {note}")));
    let marks: Vec<&Value> = cell
        .variants
        .iter()
        .flat_map(|variant| &variant.values)
        .collect();
    if marks.iter().any(|value| value.outlier) {
        lines.push("  * far from the other values of its variant; counted all the same".to_owned());
    }
    if marks.iter().any(|value| value.busy) {
        lines.push("  ! the machine was busy with something else".to_owned());
    }
    lines
}

/// Every value, in the order of the cycles, with its marks.
fn values(variant: &Variant) -> String {
    let texts: Vec<String> = variant.values.iter().map(marked).collect();
    texts.join(" ")
}

pub(crate) fn marked(value: &Value) -> String {
    let outlier = if value.outlier { "*" } else { "" };
    let busy = if value.busy { "!" } else { "" };
    format!("{}{outlier}{busy}", figure(value.value))
}

/// Why a run does not count, in one line.
pub(crate) fn because(why: &str, reasons: &[String]) -> String {
    match reasons.split_first() {
        None => why.to_owned(),
        Some((first, [])) => format!("{why} ({first})"),
        Some((first, more)) => format!("{why} ({first}; {})", plural(more.len(), "further reason")),
    }
}
