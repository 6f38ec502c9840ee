//! What both written forms show: tables of texts, made of the figures.

use crate::values::text::figure;
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value as Json;

use super::bottleneck::{Bottleneck, OfRun, Used};
use super::figures::{Figures, RunRow};
use crate::compare::cells::{Cell, title};
use crate::compare::places::groups;
use crate::compare::stored::Stored;
use crate::compare::words::{self, Outcome};
use crate::compare::{because, marked};
use crate::suite::section::Section;
use crate::verdict::ladders::Found;

/// The texts of a report.
#[derive(Debug, Serialize)]
pub(crate) struct View<'a> {
    pub(crate) title: &'a str,
    pub(crate) suite: &'a str,
    pub(crate) headline: &'a [String],
    answer: &'a [String],
    /// What is to be said of all comparisons together.
    together: Vec<String>,
    /// The limits that the suite sets to comparisons.
    plan: Option<String>,
    plan_failed: bool,
    cards: Vec<Card>,
    cells: Vec<CellView>,
    ladders: Vec<LadderView>,
    bottlenecks: Vec<UseView>,
    /// Files of the evidence, by their section.
    texts: Vec<TextView>,
    run_columns: Vec<String>,
    run_rows: Vec<Row>,
    gates: Vec<Row>,
    /// The alerts of runs that were watched.
    alerts: Vec<Row>,
    left_out: Vec<String>,
    anomalies: &'a [String],
    facts: Vec<(&'a str, &'a str)>,
    parameters: Vec<(&'a str, &'a str)>,
    /// Names of the sections, in their order.
    sections: Vec<String>,
}

/// One verdict.
#[derive(Debug, Serialize)]
struct Card {
    text: String,
    about: String,
    difference: bool,
    /// Nothing can be said, for a reason that should be looked at.
    refused: bool,
}

#[derive(Debug, Serialize)]
struct CellView {
    title: String,
    /// When each cycle ran, once for all figures of the same runs.
    blocks: Vec<Row>,
    columns: Vec<&'static str>,
    rows: Vec<Row>,
    conclusions: Vec<String>,
}

#[derive(Debug, Serialize)]
struct LadderView {
    title: String,
    columns: Vec<String>,
    rows: Vec<Row>,
}

/// A row of a table; `weak` rows do not count.
#[derive(Debug, Serialize)]
struct Row {
    head: String,
    cells: Vec<String>,
    weak: bool,
    bad: bool,
}

impl<'a> View<'a> {
    /// Turns figures into texts.
    pub(crate) fn of(figures: &'a Figures, stored: &Stored, sections: &[Section]) -> Self {
        let columns = derived_columns(&figures.runs);
        let pairs = |facts: &'a [super::figures::Fact]| {
            facts
                .iter()
                .map(|fact| (fact.name.as_str(), fact.value.as_str()))
                .collect()
        };
        Self {
            title: &figures.title,
            suite: &figures.suite,
            headline: &figures.headline,
            answer: &figures.answer,
            together: together(figures),
            plan: figures.verdict.as_ref().map(ToString::to_string),
            plan_failed: figures
                .verdict
                .as_ref()
                .is_some_and(|verdict| !verdict.passed()),
            cards: figures.comparisons.iter().flat_map(cards).collect(),
            cells: cells(&figures.comparisons),
            ladders: figures.ladders.iter().map(ladder).collect(),
            bottlenecks: figures.bottlenecks.iter().map(bottleneck).collect(),
            texts: sections
                .iter()
                .flat_map(|section| texts(stored, section))
                .collect(),
            run_rows: figures
                .runs
                .iter()
                .map(|run| run_row(run, &columns))
                .collect(),
            run_columns: run_columns(&columns),
            gates: figures.runs.iter().map(gates).collect(),
            alerts: figures.runs.iter().flat_map(alerts).collect(),
            left_out: left_out(figures),
            anomalies: &figures.anomalies,
            facts: pairs(&figures.facts),
            parameters: pairs(&figures.parameters),
            sections: sections.iter().map(Section::to_string).collect(),
        }
    }
}

fn ladder(found: &Found) -> LadderView {
    let rows = super::ladder::rows(found).into_iter();
    LadderView {
        title: found.told(),
        columns: super::ladder::columns(found),
        rows: rows
            .map(|(head, cells, bad)| Row {
                head,
                cells,
                weak: false,
                bad,
            })
            .collect(),
    }
}

/// What was used, with a row for each run.
#[derive(Debug, Serialize)]
struct UseView {
    title: String,
    /// What helps, if the suite says it.
    say: Option<String>,
    columns: Vec<String>,
    rows: Vec<Row>,
}

fn bottleneck(found: &Bottleneck) -> UseView {
    let used = found.runs.first().into_iter().flat_map(|run| &run.used);
    let columns = used.map(Used::column);
    let row = |run: &OfRun| {
        let cells = run.used.iter().map(Used::cell);
        let cells = std::iter::once(run.verdict.clone()).chain(cells);
        Row {
            head: run.point.clone(),
            cells: cells.chain([run.folder.clone()]).collect(),
            weak: false,
            bad: run.used.iter().any(|used| used.saturated),
        }
    };
    UseView {
        title: format!("{}: {}", found.scenario, found.text),
        say: found.say.clone(),
        columns: columns.collect(),
        rows: found.runs.iter().map(row).collect(),
    }
}

/// A file of the evidence.
#[derive(Debug, Serialize)]
struct TextView {
    section: String,
    title: String,
    folder: String,
    text: String,
}

/// Beyond this a file is cut off in a report, bytes.
const MOST_TEXT: usize = 20_000;

/// Of each place the file of the last run that has one.
fn texts(stored: &Stored, section: &Section) -> Vec<TextView> {
    let Section::Text(name) = section else {
        return Vec::new();
    };
    let groups = groups(stored).into_iter();
    let views = groups.filter_map(|((scenario, point), runs)| {
        let mut runs = runs.iter().rev();
        let (run, text) = runs.find_map(|run| {
            let text = std::fs::read_to_string(run.path.join(name)).ok()?;
            Some((run, text))
        })?;
        let end = text.floor_char_boundary(MOST_TEXT);
        let more = if end < text.len() { "\n…" } else { "" };
        Some(TextView {
            section: section.to_string(),
            title: format!("{scenario} {point}").trim().to_owned(),
            folder: run.folder.clone(),
            text: format!("{}{more}", text[..end].trim_end()),
        })
    });
    views.collect()
}

/// What is said once: how many comparisons there were, what was accepted before, and that there are too few cycles.
fn together(figures: &Figures) -> Vec<String> {
    let mut said: Vec<String> = super::figures::together(&figures.comparisons)
        .into_iter()
        .collect();
    let all = figures
        .comparisons
        .iter()
        .flat_map(|cell| &cell.comparisons);
    let few = all.filter(|comparison| comparison.verdict.outcome == Outcome::TooFewCycles);
    if let Some(least) = few.map(|comparison| comparison.pairs.len()).min() {
        said.push(format!(
            "Which one is faster takes at least {} valid cycles to say, and there {} {least}",
            barrier_stats::ratio::MIN_CYCLES,
            if least == 1 { "is" } else { "are" }
        ));
    }
    said.extend(figures.baselines.iter().map(|against| against.text.clone()));
    said.extend(figures.regressions.iter().map(|worse| worse.text.clone()));
    said
}

fn cards(cell: &Cell) -> Vec<Card> {
    cell.comparisons
        .iter()
        .filter(|comparison| comparison.verdict.outcome != Outcome::TooFewCycles)
        .map(|comparison| {
            let ratio = comparison.ratio.as_ref().map_or_else(String::new, |ratio| {
                format!("; ratio {}", words::ratio(ratio))
            });
            let gate = comparison.shown_gate();
            let gate = gate.map_or_else(String::new, |gate| format!("; {gate}"));
            Card {
                text: comparison.verdict.text.clone(),
                about: format!(
                    "{}: {} against {}{ratio}{gate}",
                    title(cell),
                    comparison.variant,
                    comparison.base
                ),
                difference: comparison.verdict.outcome.differs(),
                refused: matches!(
                    comparison.verdict.outcome,
                    Outcome::Refused | Outcome::TooManyInvalid | Outcome::NeverRan
                ),
            }
        })
        .collect()
}

fn cells(cells: &[Cell]) -> Vec<CellView> {
    let mut before = None;
    cells
        .iter()
        .map(|one| {
            let mut view = cell(one);
            let place = Some((&one.scenario, &one.point));
            if std::mem::replace(&mut before, place) == place {
                view.blocks.clear();
            }
            view
        })
        .collect()
}

fn cell(cell: &Cell) -> CellView {
    let rows = cell
        .variants
        .iter()
        .map(|variant| {
            let values: Vec<String> = variant.values.iter().map(marked).collect();
            let numbers = variant.spread.as_ref().map_or_else(
                || {
                    vec![
                        "0".to_owned(),
                        "–".into(),
                        "–".into(),
                        "–".into(),
                        "–".into(),
                    ]
                },
                |spread| {
                    let share = |share: f64| format!("{:.1} %", share * 100.0);
                    vec![
                        spread.n.to_string(),
                        figure(spread.median),
                        figure(spread.min),
                        figure(spread.max),
                        spread.variation.map_or_else(|| "–".to_owned(), share),
                    ]
                },
            );
            Row {
                head: variant.name.clone(),
                cells: [numbers, vec![values.join(" ")]].concat(),
                weak: false,
                bad: false,
            }
        })
        .collect();
    let blocks = cell.blocks.iter().map(|block| Row {
        head: block.cycle.clone(),
        cells: vec![block.time(), block.order.join(" then ")],
        weak: false,
        bad: false,
    });
    CellView {
        title: title(cell),
        blocks: blocks.collect(),
        columns: vec![
            "Variant", "Cycles", "Median", "Min", "Max", "Spread", "By cycle",
        ],
        rows,
        conclusions: cell
            .comparisons
            .iter()
            .map(|comparison| {
                format!(
                    "{} / {}: {}. {}",
                    comparison.variant,
                    comparison.base,
                    comparison.shown_ratio(),
                    capitalised(&comparison.verdict.text)
                )
            })
            .collect(),
    }
}

fn capitalised(text: &str) -> String {
    // A variant's name stays as it is.
    for (from, to) in [("no ", "No "), ("refused", "Refused")] {
        if let Some(rest) = text.strip_prefix(from) {
            return format!("{to}{rest}");
        }
    }
    text.to_owned()
}

fn derived_columns(runs: &[RunRow]) -> Vec<String> {
    let mut columns: Vec<String> = Vec::new();
    for name in runs.iter().flat_map(|run| run.derived.keys()) {
        if !columns.contains(name) {
            columns.push(name.clone());
        }
    }
    columns
}

fn run_columns(derived: &[String]) -> Vec<String> {
    let mut columns: Vec<String> = ["Run", "Verdict", "Gates"].map(str::to_owned).to_vec();
    columns.extend(derived.iter().cloned());
    columns.extend(["Load", "Note"].map(str::to_owned));
    columns
}

fn run_name(run: &RunRow) -> String {
    let cycle = if run.warm_up { "warm-up" } else { "cycle" };
    let attempt = if run.attempt > 1 {
        format!(", attempt {}", run.attempt)
    } else {
        String::new()
    };
    let parts: Vec<&str> = [run.scenario.as_str(), &run.point, &run.variant]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect();
    format!("{}, {cycle} {}{attempt}", parts.join(" "), run.cycle)
}

fn run_row(run: &RunRow, columns: &[String]) -> Row {
    let mut cells = vec![
        run.verdict.clone(),
        format!("{} of {}", run.gates_held, run.gates_judged),
    ];
    cells.extend(columns.iter().map(|name| match run.derived.get(name) {
        Some(Json::Number(number)) => number.as_f64().map_or_else(String::new, figure),
        Some(Json::String(text)) => text.clone(),
        Some(Json::Bool(value)) => value.to_string(),
        _ => "–".to_owned(),
    }));
    cells.push(
        run.load_average
            .map_or_else(|| "–".to_owned(), |load| format!("{load:.2}")),
    );
    // The whole note is among the anomalies.
    let busy = if run.busy { "machine busy" } else { "" };
    let note: Vec<&str> = [run.left_out.as_deref().unwrap_or_default(), busy]
        .into_iter()
        .filter(|part| !part.is_empty() && *part != run.verdict)
        .collect();
    cells.push(note.join("; "));
    Row {
        head: run_name(run),
        cells,
        weak: !run.counts,
        bad: !matches!(run.verdict.as_str(), "PASS" | "SMOKE"),
    }
}

fn gates(run: &RunRow) -> Row {
    let failed = if run.failed_gates.is_empty() {
        "–".to_owned()
    } else {
        run.failed_gates.join("; ")
    };
    Row {
        head: run_name(run),
        cells: vec![
            run.verdict.clone(),
            format!("{} of {}", run.gates_held, run.gates_judged),
            failed,
            run.folder.clone(),
        ],
        weak: !run.counts,
        bad: !run.failed_gates.is_empty(),
    }
}

/// A row for each alert, and one for what nobody knows.
fn alerts(run: &RunRow) -> Vec<Row> {
    let Some(own) = &run.alerts else {
        return Vec::new();
    };
    let row = |cells: [String; 3], bad| Row {
        head: run_name(run),
        cells: cells.to_vec(),
        weak: false,
        bad,
    };
    let known = own.alerts.iter().map(|alert| {
        let cells = [
            alert.title.clone(),
            own.fired(alert),
            alert.severity.clone(),
        ];
        row(cells, !alert.fired.is_empty())
    });
    let unknown = own.told_unknown();
    let unknown = unknown.map(|text| row(["all".to_owned(), text, "–".to_owned()], true));
    known.chain(unknown).collect()
}

/// Each run that does not count, once, and the values that a comparison could not use.
fn left_out(figures: &Figures) -> Vec<String> {
    let mut lines: BTreeMap<&str, String> = BTreeMap::new();
    for run in figures.comparisons.iter().flat_map(|cell| &cell.left_out) {
        lines
            .entry(&run.folder)
            .or_insert_with(|| format!("{}: {}", run.folder, because(&run.why, &run.reasons)));
    }
    for run in &figures.runs {
        if let Some(why) = &run.left_out {
            lines
                .entry(&run.folder)
                .or_insert_with(|| format!("{}: {}", run.folder, because(why, &run.failed_gates)));
        }
    }
    for missing in &figures.missing {
        lines
            .entry(&missing.folder)
            .or_insert_with(|| format!("{}: {}", missing.folder, missing.why));
    }
    lines.into_values().collect()
}
