//! The verdict on stored evidence, once more and offline.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Map, Value as Json};

use crate::events::JudgedRun;
use crate::evidence::{Folder, Invocation};
use crate::plan::file::{Entry, PlanFile, is_plan};
use crate::suite::Suite;
use crate::suite::schema::File;
use crate::suite::vars::Vars;
use crate::values::exit;
use crate::values::template::run_values;
use crate::values::text::shown;
use crate::values::value::plain;
use crate::verdict::derive::derive;
use crate::verdict::facts::Facts;
use crate::verdict::judge::Evidence;

/// A stored run, judged again.
#[derive(Debug)]
pub(crate) struct Again {
    /// The stored verdict; `None` if there is none.
    pub(crate) before: Option<String>,
    pub(crate) now: Now,
    /// What the run contributes to the exit code.
    pub(crate) code: i32,
}

/// What can be said today.
#[derive(Debug)]
pub(crate) enum Now {
    Judged {
        run: Box<JudgedRun>,
        /// Where the files of the evidence contradict each other.
        doubts: Vec<String>,
    },
    /// k6 did not come to its end, so there is nothing to judge.
    Nothing { title: String },
}

/// Judges the run of a folder, or the last attempt at every run of the plan of a folder. Nothing is written.
///
/// # Errors
/// The folder holds neither, or its evidence cannot be read.
pub(crate) fn judge(folder: &Path, other: Option<&Suite>) -> anyhow::Result<Vec<Again>> {
    let folder = std::path::absolute(folder).context("resolving the folder")?;
    let plan = folder.ancestors().find(|above| is_plan(above));
    let read;
    let suite = match (other, plan) {
        (Some(suite), _) => suite,
        (None, Some(plan)) => {
            read = PlanFile::read(plan)?.copy(plan)?;
            &read
        }
        (None, None) => {
            return Err(exit::set_up(format!(
                "{}: neither the folder of a run nor of a plan; name one that `run` printed, or the suite of a run that was moved out of its plan by --suite",
                folder.display()
            )));
        }
    };
    let runs: Vec<PathBuf> = if plan == Some(&folder) {
        let invocation = Invocation::open(&folder);
        let last = |run: &Entry| Some(invocation.attempts(&run.folder).last()?.path().to_owned());
        let planned = PlanFile::read(&folder)?.runs;
        planned.iter().filter_map(last).collect()
    } else {
        vec![folder.clone()]
    };
    if runs.is_empty() {
        return Err(exit::set_up(format!(
            "{}: no run has begun",
            folder.display()
        )));
    }
    runs.iter().map(|run| one(suite, run)).collect()
}

fn one(suite: &Suite, path: &Path) -> anyhow::Result<Again> {
    let folder = Folder::open(path);
    let Some(meta) = folder.json("meta.json") else {
        return Err(exit::set_up(format!(
            "{}: no meta.json, so this is not the folder of a run",
            path.display()
        )));
    };
    let stored = folder.json("verdict.json");
    let before = stored
        .as_ref()
        .and_then(|verdict| verdict.get("verdict")?.as_str().map(str::to_owned));
    let title = shown(path);
    let Some(facts) = meta.get("observed") else {
        let code = stored.and_then(|verdict| verdict.get("exitCode")?.as_i64());
        return Ok(Again {
            before,
            now: Now::Nothing { title },
            code: code
                .and_then(|code| i32::try_from(code).ok())
                .unwrap_or(exit::SET_UP),
        });
    };
    let (evidence, doubts) = evidence(suite, &folder, &meta, facts)
        .with_context(|| format!("reading the evidence in {}", path.display()))?;
    let judgement = evidence.judge(suite)?;
    let note = meta.pointer("/machine/note").and_then(Json::as_str);
    let run = judgement.told(&title, &evidence.derived, note.unwrap_or_default(), path);
    Ok(Again {
        before,
        now: Now::Judged {
            run: Box::new(run),
            doubts,
        },
        code: judgement.code,
    })
}

/// Makes known what the run computed. A run of before these values were kept has them in the variables that took them.
fn know(file: &File, meta: &Json, vars: &mut Vars) {
    for (name, table) in &file.env {
        let default = table
            .default
            .as_ref()
            .map(|default| plain(default.get_ref()));
        let setting = meta.pointer(&format!("/environment/{}", name.get_ref()));
        let computed =
            setting.and_then(|setting| setting.get("from")?.as_str()) == Some("computed");
        if let (true, Some(default), Some(value)) = (computed, default, vars.text(name.get_ref()))
            && let [one] = run_values(&default).as_slice()
            && default == format!("{{{one}}}")
        {
            vars.know(one, value);
        }
    }
    for (name, value) in meta
        .get("computed")
        .and_then(Json::as_object)
        .into_iter()
        .flatten()
    {
        vars.know(name, value.clone());
    }
    // What another suite computes beside it.
    for (name, text) in file.computed() {
        if vars.known().get(name.get_ref()).is_none()
            && let Ok(value) = vars.try_evaluate(text.get_ref())
        {
            vars.know(name.get_ref(), value);
        }
    }
}

/// The evidence of a folder, and where its files contradict each other.
fn evidence(
    suite: &Suite,
    folder: &Folder,
    meta: &Json,
    facts: &Json,
) -> anyhow::Result<(Evidence, Vec<String>)> {
    let facts: Facts = serde_json::from_value(facts.clone()).context("`observed` in meta.json")?;
    let environment = meta
        .get("environment")
        .and_then(Json::as_object)
        .context("`environment` in meta.json")?;
    let stored = environment
        .iter()
        .filter_map(|(name, entry)| Some((name.as_str(), entry.get("value")?.as_str()?)));
    let mut vars = Vars::restore(&suite.file, stored)?;
    know(&suite.file, meta, &mut vars);
    let summary = folder.json("summary.json");
    let machine = meta.get("machine").cloned().unwrap_or_default();
    let again = derive(&suite.file.derive, summary.as_ref(), &vars, &machine);
    let derived = match folder.json("derived.json") {
        Some(Json::Object(derived)) => derived,
        _ => Map::new(),
    };
    let mut doubts = Vec::new();
    for (name, value) in &again {
        if let Some(kept) = derived.get(name).filter(|kept| *kept != value) {
            doubts.push(format!(
                "derived.json does not follow from the other files: {name} is {kept} there, and {value} if derived again"
            ));
        }
    }
    let mut derived = derived;
    for (name, value) in again {
        derived.entry(name).or_insert(value);
    }
    let text = |name: &str| meta.get(name).and_then(Json::as_str).unwrap_or_default();
    Ok((
        Evidence {
            scenario: text("scenario").to_owned(),
            facts,
            summary,
            derived,
            vars,
            quick: meta.get("quick") == Some(&Json::Bool(true)),
        },
        doubts,
    ))
}
