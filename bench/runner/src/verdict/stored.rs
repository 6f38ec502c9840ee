//! The verdict on stored evidence, once more and offline.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Map, Value as Json};

use crate::events::JudgedRun;
use crate::evidence::{Folder, Invocation, resolved};
use crate::plan::file::{Beside, PlanFile, is_plan};
use crate::suite::Suite;
use crate::suite::schema::File;
use crate::suite::vars::Vars;
use crate::values::exit;
use crate::values::template::run_values;
use crate::values::text::shown;
use crate::values::value::plain;
use crate::verdict::derive::{Sources, derive};
use crate::verdict::facts::Facts;
use crate::verdict::health::{self, Health};
use crate::verdict::judge::Evidence;
use crate::verdict::ladders;
use crate::verdict::over_time::{OverTime, Ran, of_k6};
use crate::verdict::server;

/// A stored run, judged again.
#[derive(Debug)]
pub(crate) struct Again {
    /// The folder of the run.
    pub(crate) path: PathBuf,
    /// The stored verdict; `None` if there is none.
    pub(crate) before: Option<String>,
    pub(crate) now: Now,
    /// What the run contributes to the exit code.
    pub(crate) code: i32,
    /// It only warmed up the machine: it colours no exit code.
    pub(crate) discarded: bool,
    /// Runs after it wait for it to pass.
    pub(crate) preflight: bool,
}

/// Stored runs, judged again.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) runs: Vec<Again>,
    /// Whether they are those of a plan.
    pub(crate) plan: bool,
    /// Folders of the plan's runs that were never begun.
    pub(crate) never_begun: Vec<String>,
    /// Folders of runs below the plan's that it does not hold.
    pub(crate) strangers: Vec<String>,
    /// What the ladders of the plan found by its stored verdicts, in words.
    pub(crate) ladders: Vec<String>,
}

/// What can be said today.
#[derive(Debug)]
pub(crate) enum Now {
    Judged {
        run: Box<JudgedRun>,
        /// What is not as it was, and changes no verdict: texts for people.
        notes: Vec<String>,
        /// As they follow from the other files.
        derived: Map<String, Json>,
    },
    /// k6 did not come to its end, so there is nothing to judge; or what says so was changed.
    Nothing {
        title: String,
        doubts: Vec<String>,
        /// Something ended the runner before it could judge: there is neither a verdict nor a seal.
        killed: bool,
    },
}

/// Judges the run of a folder, or the last attempt at every run of the plan of a folder. Nothing is written.
///
/// # Errors
/// The folder holds neither, or its evidence cannot be read.
pub(crate) fn judge(folder: &Path, other: Option<&Suite>) -> anyhow::Result<Judged> {
    let folder = resolved(folder)?;
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
    let whole = plan == Some(&folder);
    let (mut runs, mut never_begun, mut ladders) = (Vec::new(), Vec::new(), Vec::new());
    if whole {
        let invocation = Invocation::open(&folder);
        ladders = ladders::of_plan(&folder)?;
        for planned in PlanFile::read(&folder)?.runs {
            match invocation.attempts(&planned.folder).last() {
                Some((_, last)) => runs.push(last.path().to_owned()),
                None if ladders.iter().any(|ladder| ladder.spares(&planned.folder)) => {}
                None => never_begun.push(planned.folder),
            }
        }
    } else {
        runs.push(folder.clone());
    }
    if runs.is_empty() {
        return Err(exit::set_up(format!(
            "{}: no run has begun",
            folder.display()
        )));
    }
    let beside = plan.map(|plan| {
        let beside = Beside::of(plan);
        match other {
            Some(_) => (plan, beside.but_for_its_suite()),
            None => (plan, beside),
        }
    });
    let own_suite = other.is_none() && plan.is_some();
    let strangers = match &beside {
        Some((plan, beside)) if whole => beside.strangers(plan),
        _ => Vec::new(),
    };
    let runs: Vec<Again> = runs
        .iter()
        .map(|run| one(suite, own_suite, beside.as_ref(), run))
        .collect::<anyhow::Result<_>>()?;
    Ok(Judged {
        runs,
        plan: whole,
        never_begun,
        strangers,
        ladders: ladders.iter().map(ladders::Found::told).collect(),
    })
}

/// `own_suite`: it is that of the plan. `plan`: the folder of the run's plan, and what lies there.
fn one(
    suite: &Suite,
    own_suite: bool,
    plan: Option<&(&Path, Beside)>,
    path: &Path,
) -> anyhow::Result<Again> {
    let folder = Folder::open(path);
    let Some(meta) = folder.json("meta.json") else {
        return Err(exit::set_up(format!(
            "{}: no meta.json, so this is not the folder of a run",
            path.display()
        )));
    };
    let reading = || format!("reading the evidence in {}", path.display());
    let stored = folder.json("verdict.json");
    let before = stored
        .as_ref()
        .and_then(|verdict| verdict.get("verdict")?.as_str().map(str::to_owned));
    let title = shown(path);
    let beside = plan.and_then(|(plan, beside)| {
        let below = path.strip_prefix(plan).ok()?;
        Some(beside.doubts(&meta, &below.display().to_string()))
    });
    let beside = beside.unwrap_or_default();
    let preflight = meta.get("preflight") == Some(&Json::Bool(true));
    let broken = folder.broken().with_context(reading)?;
    let of_files = folder.doubts(broken.as_ref());
    let mut unsound = beside.clone();
    if !folder.was_killed() {
        unsound.extend(of_files.iter().cloned());
    }
    // Only sound evidence can say that a run was a warm-up, of which nothing depends.
    let discarded = meta.get("discarded") == Some(&Json::Bool(true)) && unsound.is_empty();
    let Some(facts) = meta.get("observed") else {
        let code = stored.and_then(|verdict| verdict.get("exitCode")?.as_i64());
        let code = code.and_then(|code| i32::try_from(code).ok());
        let judged = before.as_deref().filter(|before| {
            let ended = ["INTERRUPTED", "NOT_RUN", "NOT_IMPLEMENTED"];
            code == Some(exit::OK) || !ended.contains(before)
        });
        unsound.extend(judged.map(|before| {
            format!("verdict.json says {before}, and meta.json tells of no run that it could follow from")
        }));
        let killed = folder.was_killed();
        let nothing = if killed {
            exit::INTERRUPTED
        } else {
            exit::SET_UP
        };
        return Ok(Again {
            before,
            code: if unsound.is_empty() {
                code.unwrap_or(nothing)
            } else {
                exit::GATE
            },
            now: Now::Nothing {
                title,
                doubts: unsound,
                killed,
            },
            discarded,
            preflight,
            path: path.to_owned(),
        });
    };
    let mut evidence = evidence(suite, &folder, &meta, facts).with_context(reading)?;
    evidence.doubts.extend(beside);
    evidence.doubts.extend(of_files);
    let sealed = broken.is_some();
    let broken = broken.unwrap_or_default();
    let mut judgement = evidence.judge(suite)?;
    let follows = judgement.verdict.to_string();
    if sealed
        && own_suite
        && evidence.doubts.is_empty()
        && let Some(before) = before.as_ref().filter(|before| **before != follows)
    {
        let doubt =
            format!("verdict.json says {before}, and {follows} follows from the other files");
        evidence.doubts.push(doubt);
        judgement = evidence.judge(suite)?;
    }
    let note = meta.pointer("/machine/note").and_then(Json::as_str);
    let run = judgement.told(&title, &evidence.derived, note.unwrap_or_default(), path);
    Ok(Again {
        before,
        now: Now::Judged {
            run: Box::new(run),
            notes: broken.texts,
            derived: evidence.derived,
        },
        code: judgement.code,
        discarded,
        preflight,
        path: path.to_owned(),
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

/// The evidence of a folder: what is judged is derived anew from the raw files, and what is stored beside them may not
/// say otherwise.
fn evidence(suite: &Suite, folder: &Folder, meta: &Json, facts: &Json) -> anyhow::Result<Evidence> {
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
    let scenario = meta.get("scenario").and_then(Json::as_str);
    let read = folder.json(server::FILE);
    let summary = server::merged(
        &suite.file,
        scenario.unwrap_or_default(),
        folder.json("summary.json"),
        read.as_ref(),
    );
    let machine = meta.get("machine").cloned().unwrap_or_default();
    let text = |name: &str| meta.get(name).and_then(Json::as_str).unwrap_or_default();
    let ran = Ran {
        scenario: text("scenario"),
        vars: &vars,
        k6: of_k6(meta),
        cut: facts.cut,
        quick: meta.get("quick") == Some(&Json::Bool(true)),
    };
    let over_time = OverTime::read(suite, folder, ran)?;
    let sources = Sources {
        summary: summary.as_ref(),
        vars: &vars,
        machine: &machine,
        over_time: &over_time,
        records: meta,
    };
    let derived = derive(&suite.file, sources);
    let mut doubts = contradictions(folder, meta, &facts, summary.is_some());
    let kept = match folder.json("derived.json") {
        Some(Json::Object(kept)) => kept,
        _ => Map::new(),
    };
    for (name, value) in &derived {
        if let Some(kept) = kept.get(name).filter(|kept| *kept != value) {
            doubts.push(format!(
                "derived.json says {name} = {kept}, and {value} follows from the other files"
            ));
        }
    }
    Ok(Evidence {
        scenario: text("scenario").to_owned(),
        over_time,
        facts,
        summary,
        // Runs of today are watched, so that no file is as bad as an empty one; those of before may have none.
        health: match (folder.text(health::FILE), meta.get("manifest")) {
            (None, None) => None,
            (text, _) => Some(Health::read(&text.unwrap_or_default())),
        },
        derived,
        vars,
        quick: meta.get("quick") == Some(&Json::Bool(true)),
        doubts,
    })
}

/// Where one thing is told twice, and not alike.
fn contradictions(folder: &Folder, meta: &Json, facts: &Facts, summary: bool) -> Vec<String> {
    let mut doubts = Vec::new();
    if facts.summary != summary {
        let [was, is] = [facts.summary, summary].map(|there| if there { "a" } else { "no" });
        doubts.push(format!(
            "meta.json tells of {was} summary, and there is {is} summary.json"
        ));
    }
    let verdict = folder.json("verdict.json").unwrap_or_default();
    let own = Json::from(facts.k6_exit_code);
    let others = [
        ("meta.json", meta.pointer("/k6Run/exitCode")),
        ("verdict.json", verdict.get("k6ExitCode")),
    ];
    for (file, code) in others {
        if let Some(code) = code.filter(|code| **code != own) {
            doubts.push(format!(
                "{file} has k6's exit code {code}, and `observed` in meta.json {own}"
            ));
        }
    }
    doubts
}
