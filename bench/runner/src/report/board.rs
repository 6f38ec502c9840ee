//! The board of a suite: how each of its scenarios stands, from all evidence below a root.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use minijinja::value::Serde;
use minijinja::{Environment, context};
use serde::Serialize;
use serde_json::Value as Json;

use super::template;
use crate::compare::regression;
use crate::compare::stored::Stored;
use crate::evidence::{Folder, Invocation};
use crate::plan::file::{PlanFile, is_plan};
use crate::suite::Suite;
use crate::suite::schema::{GateTable, Op};
use crate::values::text::figure;
use crate::values::writer;

/// What it is called, below the root of the evidence.
pub(crate) const FILE: &str = "board.html";
const TEMPLATE: &str = include_str!("templates/board.html");
const STYLE: &str = include_str!("templates/report.css");

/// How the scenarios of a suite stand.
#[derive(Debug, Serialize)]
pub(crate) struct Board {
    title: String,
    /// Verdicts with how many scenarios have them.
    tally: String,
    rows: Vec<Row>,
}

/// One scenario.
#[derive(Debug, Serialize)]
struct Row {
    scenario: String,
    verdict: String,
    passed: bool,
    /// When it was made last; empty where it never was.
    when: String,
    /// Why it did not pass.
    reasons: Vec<String>,
    objectives: Vec<Objective>,
    regressions: Vec<String>,
}

/// An objective and how far its value is from its limit.
#[derive(Debug, Clone, Serialize)]
struct Objective {
    gate: String,
    holds: bool,
    /// It is told, and no part of the verdict.
    watched: bool,
    value: String,
    limit: String,
    /// In percent of the limit; `None` where there is no such share.
    left: Option<f64>,
    /// The same in words.
    distance: String,
}

/// A run of a scenario, as its evidence has it.
struct Made {
    plan: PathBuf,
    began: String,
    ended: String,
    verdict: Json,
    /// Made with `--quick`.
    quick: bool,
}

impl Board {
    /// Reads it from all plans of the suite below a root.
    ///
    /// # Errors
    /// A folder or a plan cannot be read.
    pub(crate) fn of(suite: &Suite, root: &Path) -> anyhow::Result<Self> {
        let (mut made, mut broken) = (BTreeMap::new(), Vec::new());
        for plan in plans(root)? {
            let file = match PlanFile::read(&plan) {
                Ok(file) => file,
                Err(error) => {
                    broken.push(Row::broken(&plan, &error));
                    continue;
                }
            };
            if file.suite != suite.file.suite.id {
                continue;
            }
            let invocation = Invocation::open(&plan);
            for run in &file.runs {
                let attempts = invocation.attempts(&run.folder);
                let last = attempts.last();
                let Some(own) = last.and_then(|(_, folder)| made_of(&plan, folder)) else {
                    continue;
                };
                let known: &mut Vec<Made> = made.entry(run.scenario.clone()).or_default();
                known.push(own);
            }
        }
        let mut worse: BTreeMap<PathBuf, Vec<regression::Regression>> = BTreeMap::new();
        let mut rows = Vec::new();
        for scenario in in_order(suite) {
            let Some(last) = made.remove(scenario).and_then(worst_of_last) else {
                rows.push(Row::never(suite, scenario));
                continue;
            };
            let regressions = worse.entry(last.plan.clone()).or_insert_with(|| {
                // What cannot be compared any more is no regression.
                let stored = Stored::open(&last.plan);
                let found = stored.and_then(|stored| regression::of(&stored));
                found.unwrap_or_default()
            });
            let own = regressions
                .iter()
                .filter(|worse| worse.scenario == scenario);
            let regressions = own.map(|worse| worse.text.clone()).collect();
            rows.push(Row::of(suite, scenario, &last, regressions));
        }
        rows.extend(broken);
        Ok(Self {
            title: suite.file.suite.title.clone(),
            tally: tally(&rows),
            rows,
        })
    }

    /// The board for the terminal.
    pub(crate) fn lines(&self) -> Vec<String> {
        let width = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0);
        let scenario = width(&mut self.rows.iter().map(|row| row.scenario.len()));
        let verdict = width(&mut self.rows.iter().map(|row| row.verdict.len()));
        let all = || self.rows.iter().flat_map(|row| &row.objectives);
        let gate = width(&mut all().map(|own| own.gate.len()));
        let value = width(&mut all().map(|own| own.value.chars().count()));
        let limit = width(&mut all().map(|own| own.limit.chars().count()));
        let mut lines = vec![format!("{}: {}", self.title, self.tally)];
        for row in &self.rows {
            let line = format!(
                "  {:<scenario$}  {:<verdict$}  {}",
                row.scenario, row.verdict, row.when
            );
            lines.push(line.trim_end().to_owned());
            for own in &row.objectives {
                let mark = match (own.watched, own.holds) {
                    (true, _) => "·",
                    (false, true) => " ",
                    (false, false) => "!",
                };
                lines.push(format!(
                    "  {:<scenario$} {mark} {:<gate$}  {:>value$}  {:<limit$}  {}",
                    "", own.gate, own.value, own.limit, own.distance
                ));
            }
            let notes = row.reasons.iter().chain(&row.regressions);
            lines.extend(notes.map(|text| format!("  {:<scenario$}   {text}", "")));
        }
        lines
    }

    /// The board as a page that loads nothing.
    ///
    /// # Errors
    /// The template does not fit.
    pub(crate) fn html(&self) -> anyhow::Result<String> {
        let mut environment = Environment::new();
        environment.set_syntax(template::syntax()?);
        environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
        environment.add_template("board.html", TEMPLATE)?;
        let template = environment.get_template("board.html")?;
        Ok(template.render(context! { board => Serde(self), style => STYLE })?)
    }

    /// Writes the page.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        writer::whole(path, self.html()?.as_bytes(), true)
            .with_context(|| format!("writing {}", path.display()))
    }
}

impl Row {
    /// A scenario without any evidence.
    fn never(suite: &Suite, scenario: &str) -> Self {
        let table = suite.scenario(scenario).ok();
        let stub = table.and_then(|table| table.stub.as_ref());
        let verdict = stub.map_or("NOT_RUN", |_| "NOT_IMPLEMENTED");
        Self {
            scenario: scenario.to_owned(),
            verdict: verdict.to_owned(),
            passed: false,
            when: String::new(),
            reasons: stub
                .into_iter()
                .map(|stub| stub.get_ref().clone())
                .collect(),
            objectives: Vec::new(),
            regressions: Vec::new(),
        }
    }

    /// A plan that tells nothing any more: of which suite it was is not known.
    fn broken(plan: &Path, error: &anyhow::Error) -> Self {
        let name = plan.file_name().unwrap_or(plan.as_os_str());
        Self {
            scenario: name.to_string_lossy().into_owned(),
            verdict: "UNREADABLE".to_owned(),
            passed: false,
            when: String::new(),
            reasons: vec![format!("{error:#}")],
            objectives: Vec::new(),
            regressions: Vec::new(),
        }
    }

    fn of(suite: &Suite, scenario: &str, made: &Made, regressions: Vec<String>) -> Self {
        let verdict = made.word();
        let reasons = made.verdict["reasons"].as_array().into_iter().flatten();
        let gates = made.verdict["gates"].as_array().into_iter().flatten();
        let objectives = gates.filter_map(|judged| {
            let id = judged["id"].as_str()?;
            let table = suite.file.gate.iter().find(|gate| gate.id.get_ref() == id);
            Objective::of(id, table, judged)
        });
        Self {
            scenario: scenario.to_owned(),
            verdict: verdict.to_owned(),
            passed: matches!(verdict, "PASS" | "SMOKE"),
            when: made.ended.get(..16).unwrap_or_default().replace('T', " "),
            reasons: reasons
                .filter_map(Json::as_str)
                .map(str::to_owned)
                .collect(),
            objectives: objectives.collect(),
            regressions,
        }
    }
}

impl Objective {
    /// What is known of a gate that was judged; `None` of one that is no objective with a limit.
    fn of(id: &str, table: Option<&GateTable>, judged: &Json) -> Option<Self> {
        let limit = judged["limit"]
            .as_f64()
            .filter(|_| judged["class"] == "slo" || judged["class"] == "watch")?;
        let watched = judged["class"] == "watch";
        let op = table.map_or(Op::Less, |table| table.op);
        let unit = match table {
            Some(table) => table.unit.as_ref().map(|unit| format!(" {unit}")),
            // What faults are waited for is told in ms.
            None => Some(" ms".to_owned()),
        };
        let unit = unit.unwrap_or_default();
        let value = judged["value"].as_f64();
        let left = value.and_then(|value| left(op, value, limit));
        Some(Self {
            gate: id.to_owned(),
            holds: judged["holds"] == true,
            watched,
            value: value.map_or_else(
                || "no value".to_owned(),
                |value| format!("{}{unit}", figure(value)),
            ),
            limit: format!("{} {}{unit}", op.sign(), figure(limit)),
            left,
            distance: match left {
                None => String::new(),
                Some(left) if left < 0.0 => format!("{} % beyond", figure(-left)),
                Some(left) => format!("{} % left", figure(left)),
            },
        })
    }
}

impl Made {
    fn word(&self) -> &str {
        self.verdict["verdict"].as_str().unwrap_or("INTERRUPTED")
    }

    /// The worst first: what did not pass, then what is nearest to a limit.
    fn rank(&self) -> (bool, f64) {
        let gates = self.verdict["gates"].as_array().into_iter().flatten();
        let shares = gates.filter_map(|gate| {
            let (value, limit) = (gate["value"].as_f64()?, gate["limit"].as_f64()?);
            left(Op::Less, value, limit).filter(|_| gate["class"] == "slo")
        });
        let nearest = shares.map(f64::abs).fold(f64::INFINITY, f64::min);
        (matches!(self.word(), "PASS" | "SMOKE"), nearest)
    }
}

/// How far a value is from its limit, in percent of the limit; less than 0 is beyond.
fn left(op: Op, value: f64, limit: f64) -> Option<f64> {
    let room = match op {
        Op::Less | Op::AtMost => limit - value,
        Op::Greater | Op::AtLeast => value - limit,
        Op::Equal => return None,
    };
    (limit != 0.0).then(|| 100.0 * room / limit.abs())
}

/// The folders of plans below a root.
fn plans(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let reading = || format!("reading {}", root.display());
    if !root.is_dir() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(root).with_context(reading)? {
        let path = entry.with_context(reading)?.path();
        if is_plan(&path) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// What a folder says of its run; `None` where nothing was begun.
fn made_of(plan: &Path, folder: &Folder) -> Option<Made> {
    let meta = folder.json("meta.json")?;
    let text = |name: &str| meta[name].as_str().unwrap_or_default().to_owned();
    let (began, ended) = (text("startTime"), text("endTime"));
    Some(Made {
        plan: plan.to_owned(),
        ended: if ended.is_empty() {
            began.clone()
        } else {
            ended
        },
        began,
        quick: meta["quick"] == true,
        verdict: folder.json("verdict.json").unwrap_or_default(),
    })
}

/// Of the runs of a scenario those of the last plan that says something, and of these the worst.
fn worst_of_last(mut runs: Vec<Made>) -> Option<Made> {
    // Nothing follows from a short run, so it takes nothing away either.
    if runs
        .iter()
        .any(|run| !run.quick && matches!(run.word(), "PASS" | "FAIL"))
    {
        runs.retain(|run| run.word() != "SMOKE" && !run.quick);
    }
    runs.sort_by(|a, b| a.began.cmp(&b.began));
    let plan = runs.last()?.plan.clone();
    runs.retain(|run| run.plan == plan);
    runs.into_iter().min_by(|a, b| {
        let (a, b) = (a.rank(), b.rank());
        a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
    })
}

/// All scenarios, those of the suite's order first.
fn in_order(suite: &Suite) -> Vec<&str> {
    let order = suite
        .file
        .suite
        .order
        .iter()
        .map(|name| name.get_ref().as_str());
    let all = suite.file.scenario.iter();
    let all = all.map(|scenario| scenario.id.get_ref().as_str());
    let mut names: Vec<&str> = Vec::new();
    for name in order.chain(all) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn tally(rows: &[Row]) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for row in rows {
        match counts.iter_mut().find(|(known, _)| *known == row.verdict) {
            Some((_, count)) => *count += 1,
            None => counts.push((&row.verdict, 1)),
        }
    }
    let words: Vec<String> = counts
        .iter()
        .map(|(verdict, n)| format!("{n} {verdict}"))
        .collect();
    format!("{} scenarios: {}", rows.len(), words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_run_displaces_no_verdict() {
        let made = |plan: &str, word: &str, quick| Made {
            plan: PathBuf::from(plan),
            began: plan.to_owned(),
            ended: plan.to_owned(),
            verdict: serde_json::json!({ "verdict": word }),
            quick,
        };
        let shown = |runs| worst_of_last(runs).map(|run| run.word().to_owned());
        let full = || made("1", "FAIL", false);
        for later in ["SMOKE", "FAIL"] {
            let runs = vec![full(), made("2", later, true)];
            let shown = worst_of_last(runs).map(|run| run.plan);
            assert_eq!(shown, Some(PathBuf::from("1")), "{later}");
        }
        let runs = vec![full(), made("2", "PASS", false)];
        assert_eq!(shown(runs).as_deref(), Some("PASS"));
        assert_eq!(
            shown(vec![made("1", "SMOKE", true)]).as_deref(),
            Some("SMOKE")
        );
    }

    #[test]
    fn distances_are_shares_of_the_limit() {
        for (op, value, limit, expected) in [
            (Op::Less, 4.0, 5.0, Some(20.0)),
            (Op::AtMost, 6.0, 5.0, Some(-20.0)),
            (Op::AtLeast, 600.0, 500.0, Some(20.0)),
            (Op::Greater, 400.0, 500.0, Some(-20.0)),
            (Op::Equal, 1.0, 1.0, None),
            (Op::Less, 1.0, 0.0, None),
        ] {
            let found = left(op, value, limit);
            let near = match (found, expected) {
                (Some(a), Some(b)) => (a - b).abs() < 1e-9,
                (None, None) => true,
                _ => false,
            };
            assert!(near, "{op:?} {value} {limit}: {found:?}");
        }
    }
}
