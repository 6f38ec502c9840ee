//! What the ladders of a plan found, by the verdicts that are stored there.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value as Json, json};

use crate::evidence::{Folder, Invocation};
use crate::plan::file::{Entry, PlanFile};
use crate::plan::ladder::{End, Ladder, Outcome, Rung, Step};
use crate::suite::faults::During;
use crate::suite::gate::of_scenario;
use crate::suite::over_time::Selector;
use crate::suite::schema::{Class, File};
use crate::verdict::gates::Verdict;
use crate::verdict::judge::of_generator;
use crate::verdict::metric::statistic;

/// Name of the file beside the plan that says what was found; made anew from the evidence by each call that works on the plan.
pub(crate) const LADDERS: &str = "ladders.json";

/// A ladder with its runs.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) scenario: String,
    /// The variables that its levels set.
    pub(crate) variables: Vec<String>,
    /// From the lowest on; those between declared levels that were never run are left out.
    pub(crate) levels: Vec<Level>,
    step: Step,
    names: Vec<String>,
    /// Folders of runs without evidence that it has no need of.
    spared: Vec<String>,
}

/// A level.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Level {
    pub(crate) point: Map<String, Json>,
    /// It lies between levels that the suite lists.
    pub(crate) between: bool,
    /// `PASS`, `FAIL`, `INVALID`, `NOT_RUN`, or `UNSETTLED` where it passed, and failed or was beyond the generator when repeated.
    pub(crate) verdict: &'static str,
    /// In their order.
    pub(crate) runs: Vec<Run>,
    #[serde(skip)]
    number: usize,
}

/// A run at a level.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Run {
    /// Of its last attempt, below that of the plan.
    pub(crate) folder: String,
    pub(crate) verdict: String,
    /// What was achieved.
    pub(crate) rates: Vec<Rate>,
    /// The objectives.
    pub(crate) gates: Vec<Objective>,
}

/// Iterations that were completed in a second.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rate {
    /// The gate that looks at them, over the part of the run that counts. `null` where the suite has none: then they are k6's, of all
    /// loads together and over the whole run, with `setup()` and warm-up.
    pub(crate) gate: Option<String>,
    pub(crate) per_second: f64,
}

/// An objective at a level.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Objective {
    pub(crate) id: String,
    pub(crate) holds: bool,
    pub(crate) value: Option<f64>,
    pub(crate) limit: Option<f64>,
}

/// What a stored verdict is to a ladder.
pub(crate) fn outcome(file: &File, verdict: &Json) -> Outcome {
    let text = |value: &Json, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let gates = verdict["gates"].as_array().into_iter().flatten();
    let unmeasured = |gate: &Json| gate["class"] == "slo" && gate["missing"] == true;
    let measured = !gates.clone().any(unmeasured);
    let failed: Vec<(String, String, String)> = gates
        .filter(|gate| gate["holds"] == false)
        .map(|gate| (text(gate, "id"), text(gate, "class"), text(gate, "text")))
        .collect();
    let own: Option<Verdict> = serde_json::from_value(verdict["verdict"].clone()).ok();
    let reason = || {
        let reasons = verdict["reasons"].as_array();
        let first = reasons.and_then(|reasons| reasons.first()?.as_str());
        let word = own.map_or_else(|| "no verdict".to_owned(), |own| own.to_string());
        first.map_or_else(|| word.clone(), |first| format!("{word}: {first}"))
    };
    match own {
        Some(Verdict::Pass | Verdict::Smoke) => Outcome::Passed,
        Some(Verdict::Fail) => {
            let missed = failed.iter().filter(|gate| gate.1 == "slo");
            Outcome::Failed(missed.map(|gate| gate.0.clone()).collect())
        }
        Some(Verdict::Invalid) => {
            // The generator's, and nothing else: where an objective could not be measured or the target was not well, it may be the
            // target that gave out.
            let mut invalid = failed.iter().filter(|gate| gate.1 == "validity");
            let others = invalid.clone().any(|gate| !of_generator(file, &gate.0));
            match invalid.next().filter(|_| measured && !others) {
                Some((id, _, text)) => Outcome::GaveOut(format!("{id}: {text}")),
                None => Outcome::Unsound(reason()),
            }
        }
        _ => Outcome::Unsound(reason()),
    }
}

/// The ladders of a plan, in its order; none where the plan holds none.
///
/// # Errors
/// The folder holds no plan, or the suite beside it cannot be read.
pub(crate) fn of_plan(folder: &Path) -> anyhow::Result<Vec<Found>> {
    let plan = PlanFile::read(folder)?;
    if plan.runs.iter().all(|run| run.rung.is_none()) {
        return Ok(Vec::new());
    }
    let suite = plan.copy(folder)?;
    let invocation = Invocation::open(folder);
    let mut order: Vec<&str> = Vec::new();
    for run in plan.runs.iter().filter(|run| run.rung.is_some()) {
        if !order.contains(&run.scenario.as_str()) {
            order.push(&run.scenario);
        }
    }
    let found = order.into_iter().filter_map(|scenario| {
        let table = suite.scenario(scenario).ok()?.ladder()?;
        let entries: Vec<&Entry> = plan
            .runs
            .iter()
            .filter(|run| run.scenario == scenario && run.rung.is_some())
            .collect();
        let ladder = Ladder::new(table, entries.iter().filter_map(|entry| entry.rung));
        Some(Found::read(
            &suite.file,
            scenario,
            ladder,
            &entries,
            &invocation,
        ))
    });
    Ok(found.collect())
}

/// What a file says of the ladders of a plan.
pub(crate) fn record(found: &[Found]) -> Json {
    json!({ "schemaVersion": 1, "ladders": found.iter().map(Found::json).collect::<Vec<_>>() })
}

impl Found {
    fn read(
        file: &File,
        scenario: &str,
        mut ladder: Ladder,
        entries: &[&Entry],
        invocation: &Invocation,
    ) -> Self {
        let rated = rated(file, scenario);
        let mut levels: BTreeMap<usize, Level> = BTreeMap::new();
        let mut names: BTreeMap<usize, String> = BTreeMap::new();
        for entry in entries {
            let Some(rung) = entry.rung else { continue };
            names.insert(rung.level, shown(&entry.point));
            let level = levels.entry(rung.level).or_insert_with(|| Level {
                point: entry.point.clone(),
                between: rung.between,
                verdict: "NOT_RUN",
                runs: Vec::new(),
                number: rung.level,
            });
            let attempts = invocation.attempts(&entry.folder);
            let last = attempts.last().map(|(_, folder)| folder);
            let Some((folder, verdict)) =
                last.and_then(|folder| Some((folder, folder.json("verdict.json")?)))
            else {
                continue;
            };
            if ladder.note(rung, outcome(file, &verdict)) {
                let run = Run::read(folder, invocation, &verdict, &rated);
                level.runs.push(run);
            }
        }
        for level in levels.values_mut() {
            level.verdict = word(ladder.outcomes(level.number));
        }
        let levels = levels.into_values();
        let step = ladder.next();
        let over =
            matches!(&step, Step::Ended(answer) if !matches!(answer.end, End::Unsound { .. }));
        let spared = entries.iter().filter(|entry| {
            let spare = entry.rung.is_some_and(Rung::is_spare);
            (over || spare) && invocation.attempts(&entry.folder).is_empty()
        });
        Self {
            spared: spared.map(|entry| entry.folder.clone()).collect(),
            scenario: scenario.to_owned(),
            variables: entries
                .first()
                .map(|entry| entry.point.keys().cloned().collect())
                .unwrap_or_default(),
            levels: levels
                .filter(|level| !level.between || !level.runs.is_empty())
                .collect(),
            step,
            names: names.into_values().collect(),
        }
    }

    /// Whether the folder is that of a run without evidence, of which the ladder has no need: it has ended, or was not yet found to
    /// ask for it.
    pub(crate) fn spares(&self, folder: &str) -> bool {
        self.spared.iter().any(|own| own == folder)
    }

    /// The level at its limit that holds, and the one that does not, as far as they are known.
    pub(crate) fn limit(&self) -> (Option<&Level>, Option<&Level>) {
        let of = |number: usize| self.levels.iter().find(|level| level.number == number);
        let Step::Ended(answer) = &self.step else {
            return (None, None);
        };
        let fails = match &answer.end {
            End::Failed { level, .. } => of(*level),
            _ => None,
        };
        (answer.holds.and_then(of), fails)
    }

    /// What was found, in words.
    pub(crate) fn told(&self) -> String {
        match &self.step {
            Step::Ended(answer) => {
                let what = if answer.is_limit() { "limit: " } else { "" };
                let name = |level: usize| self.names.get(level).cloned().unwrap_or_default();
                format!("{}: {what}{}", self.scenario, answer.told(name))
            }
            Step::Run(_) => format!("{}: its ladder has not ended", self.scenario),
        }
    }

    /// The same for programs.
    pub(crate) fn json(&self) -> Json {
        let (holds, fails) = self.limit();
        let point = |level: Option<&Level>| level.map(|level| level.point.clone());
        let (end, gates, reason) = match &self.step {
            Step::Run(_) => ("open", None, None),
            Step::Ended(answer) => match &answer.end {
                End::Failed { gates, .. } => ("limit", Some(gates), None),
                End::Top => ("limitNotReached", None, None),
                End::GaveOut { why, .. } => ("generatorGaveOut", None, Some(why)),
                End::Unsound { why, .. } => ("unknown", None, Some(why)),
            },
        };
        json!({
            "scenario": self.scenario,
            "variables": self.variables,
            "end": end,
            "lastPassing": point(holds),
            "firstFailing": point(fails),
            "failedGates": gates,
            "reason": reason,
            "text": self.told(),
            "levels": self.levels,
        })
    }
}

/// The gates of a scenario on the rate of its iterations.
fn rated<'a>(file: &'a File, scenario: &'a str) -> Vec<&'a str> {
    let rated = of_scenario(&file.gate, scenario).filter(|gate| {
        let iterations = Selector::of(gate).is_ok_and(|of| of.metric == "iterations");
        iterations && gate.stat.get_ref() == "rate" && During::of(gate).is_none()
    });
    rated.map(|gate| gate.id.get_ref().as_str()).collect()
}

impl Run {
    /// `rated`: the gates on rates.
    fn read(folder: &Folder, invocation: &Invocation, verdict: &Json, rated: &[&str]) -> Self {
        let below = folder.path().strip_prefix(invocation.path());
        let gates = verdict["gates"].as_array().into_iter().flatten();
        let slo = json!(Class::Slo);
        let seen = gates.clone().filter_map(|gate| {
            let id = gate["id"].as_str().filter(|id| rated.contains(id))?;
            Some(Rate {
                gate: Some(id.to_owned()),
                per_second: gate["value"].as_f64()?,
            })
        });
        let of_k6 = || {
            let summary = folder.json("summary.json")?;
            let per_second = statistic(&summary, "iterations", "rate")?;
            Some(Rate {
                gate: None,
                per_second,
            })
        };
        let rates = if rated.is_empty() {
            of_k6().into_iter().collect()
        } else {
            seen.collect()
        };
        let objectives = gates.filter(|gate| gate["class"] == slo && !gate["value"].is_null());
        Self {
            folder: below.unwrap_or(folder.path()).display().to_string(),
            verdict: verdict["verdict"].as_str().unwrap_or_default().to_owned(),
            rates,
            gates: objectives
                .map(|gate| Objective {
                    id: gate["id"].as_str().unwrap_or_default().to_owned(),
                    holds: gate["holds"] == true,
                    value: gate["value"].as_f64(),
                    limit: gate["limit"].as_f64(),
                })
                .collect(),
        }
    }
}

fn word(outcomes: &[Outcome]) -> &'static str {
    let has = |which: fn(&Outcome) -> bool| outcomes.iter().any(which);
    let passed = has(|outcome| *outcome == Outcome::Passed);
    let failed = has(|outcome| matches!(outcome, Outcome::Failed(_)));
    let gave_out = has(|outcome| matches!(outcome, Outcome::GaveOut(_)));
    match (passed, failed) {
        (true, false) if gave_out => "UNSETTLED",
        (true, true) => "UNSETTLED",
        (true, false) => "PASS",
        (false, true) => "FAIL",
        (false, false) if outcomes.is_empty() => "NOT_RUN",
        (false, false) => "INVALID",
    }
}

/// A point of a plan as text.
pub(crate) fn shown(point: &Map<String, Json>) -> String {
    let pairs = point.iter();
    let pairs = pairs.map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()));
    pairs.collect::<Vec<_>>().join(" ")
}
