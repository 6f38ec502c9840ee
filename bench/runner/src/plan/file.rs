//! `plan.json`: the plan as it was when its first run began, so that another call can go on with it.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context as _;
use barrier_stats::host;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::ladder::Rung;
use super::planned::PlannedRun;
use super::runs::Plan;
use super::selection::Selection;
use crate::evidence::{Folder, Invocation, MANIFEST, attempt};
use crate::suite::Suite;
use crate::suite::vars::Point;
use crate::values::exit;
use crate::values::hash;

/// Name of the plan in its folder.
const PLAN: &str = "plan.json";
/// Name of the copy of the suite file beside it, secrets masked.
pub(crate) const SUITE: &str = "suite.toml";

const SCHEMA: u32 = 1;

/// Whether a folder holds a plan.
pub(crate) fn is_plan(folder: &Path) -> bool {
    folder.join(PLAN).is_file()
}

/// The content of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PlanFile {
    schema_version: u32,
    pub(crate) suite: String,
    pub(crate) title: String,
    /// Where the suite file was; paths in it are relative to that place.
    pub(crate) suite_file: String,
    pub(crate) suite_sha256: String,
    pub(crate) created: String,
    /// What was asked for, but for secrets.
    pub(crate) selection: Selection,
    /// Variables that were given and are secret, so that they have to be given again.
    pub(crate) secrets: Vec<String>,
    /// What `k6 version` printed, modules included, and the core's build id.
    pub(crate) k6: String,
    /// Of each script with whatever it loads.
    pub(crate) harness_sha256: Vec<String>,
    /// Its runs have manifests; those of older plans need not.
    #[serde(default)]
    sealed: bool,
    pub(crate) runs: Vec<Entry>,
}

/// A planned run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    pub(crate) number: usize,
    pub(crate) folder: String,
    pub(crate) scenario: String,
    pub(crate) point: Map<String, Json>,
    pub(crate) variant: Option<String>,
    #[serde(default)]
    pub(crate) build: String,
    pub(crate) block: u32,
    pub(crate) cycle: u32,
    pub(crate) discarded: bool,
    pub(crate) preflight: bool,
    pub(crate) estimate_ms: Option<u64>,
    /// In a ladder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rung: Option<Rung>,
}

/// The hashes of the copy of the suite beside the plan of a folder, and of the plan.
///
/// # Errors
/// One of them cannot be read.
pub(crate) fn sums(folder: &Path) -> anyhow::Result<[String; 2]> {
    let sum = |name: &str| -> anyhow::Result<String> {
        let path = folder.join(name);
        let text = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        Ok(hash::sha256(&text))
    };
    Ok([sum(SUITE)?, sum(PLAN)?])
}

/// What lies beside the runs of a plan, and what its runs were sealed with may not contradict.
#[derive(Debug)]
pub(crate) struct Beside {
    /// `None` if another suite judges.
    suite: Option<Option<String>>,
    plan: Option<String>,
    /// Whether every run was to have a manifest.
    sealed: bool,
    /// The build that was named first.
    base: Option<String>,
    /// As they are there; those of an older plan tell less.
    runs: Vec<Json>,
}

impl Beside {
    /// Reads it; what cannot be read is not there.
    pub(crate) fn of(folder: &Path) -> Self {
        let read = |name: &str| std::fs::read(folder.join(name)).ok();
        let plan = read(PLAN);
        let content: Option<Json> = plan
            .as_deref()
            .and_then(|text| serde_json::from_slice(text).ok());
        let field = |name: &str| content.as_ref().and_then(|plan| plan.get(name));
        let sealed = field("sealed") == Some(&Json::Bool(true));
        let runs = field("runs").and_then(|runs| runs.as_array().cloned());
        let base = field("selection").and_then(|asked| asked.pointer("/builds/named/0/name"));
        Self {
            suite: Some(read(SUITE).map(|text| hash::sha256(&text))),
            plan: plan.map(|text| hash::sha256(&text)),
            sealed,
            base: base.and_then(Json::as_str).map(str::to_owned),
            runs: runs.unwrap_or_default(),
        }
    }

    /// Where another suite judges, that one may be any.
    pub(crate) fn but_for_its_suite(self) -> Self {
        Self {
            suite: None,
            ..self
        }
    }

    /// Why a run may not be judged by what lies there; empty if it may. `folder`: of the run, below the plan's.
    pub(crate) fn doubts(&self, meta: &Json, folder: &str) -> Vec<String> {
        let mut doubts = self.changed(meta);
        if self.sealed && meta.get("manifest").is_none() {
            doubts.push(format!(
                "meta.json knows of no {MANIFEST}, which every run of this plan has"
            ));
        }
        doubts.extend(self.displaced(meta, folder));
        doubts
    }

    /// The same with the files of the run's folder, that `below` is the path of.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(crate) fn unsound(&self, folder: &Folder, below: &str) -> anyhow::Result<Vec<String>> {
        let mut doubts = folder.unsound()?;
        let meta = folder.json("meta.json").unwrap_or_default();
        doubts.extend(self.doubts(&meta, below));
        Ok(doubts)
    }

    /// What is not as it was when a run was made.
    pub(crate) fn changed(&self, meta: &Json) -> Vec<String> {
        let mut doubts = Vec::new();
        for (place, name, now) in [
            ("/suiteFile/copySha256", SUITE, self.suite.as_ref()),
            ("/planSha256", PLAN, Some(&self.plan)),
        ] {
            let kept = meta.pointer(place).and_then(Json::as_str);
            let differs = |now: &Option<String>| kept.is_some() && kept != now.as_deref();
            if now.is_some_and(differs) {
                doubts.push(format!("{name} beside the plan was changed after the run"));
            }
        }
        doubts
    }

    /// What the plan says of the run of a folder, and which attempt the folder is of.
    pub(crate) fn entry(&self, folder: &str) -> Option<(&Json, u32)> {
        let of = |planned: &str| {
            let mut runs = self.runs.iter();
            runs.find(|run| run.get("folder").and_then(Json::as_str) == Some(planned))
        };
        let again = || {
            let (planned, number) = folder.rsplit_once("-attempt-")?;
            // Only as it is written: "-attempt-03" is a copy that somebody made.
            let number = number.parse().ok()?;
            let own = number > 1 && attempt(planned, number) == folder;
            own.then_some((of(planned)?, number))
        };
        of(folder).map(|entry| (entry, 1)).or_else(again)
    }

    /// The folders of runs below the plan's that it does not hold.
    pub(crate) fn strangers(&self, plan: &Path) -> Vec<String> {
        let (mut found, mut left) = (Vec::new(), vec![plan.to_owned()]);
        while let Some(folder) = left.pop() {
            let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
            let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            left.extend(folders.map(|entry| entry.path()));
            let below = folder
                .strip_prefix(plan)
                .unwrap_or(&folder)
                .display()
                .to_string();
            if folder.join("meta.json").is_file() && self.entry(&below).is_none() {
                found.push(below);
            }
        }
        found.sort();
        found
    }

    /// Whether the plan compares builds.
    pub(crate) fn several_builds(&self) -> bool {
        let mut builds = self.runs.iter().map(|run| run.get("build"));
        let first = builds.next();
        builds.any(|build| Some(build) != first)
    }

    /// The build that the others are compared with; `None` if the plan compares none.
    pub(crate) fn base(&self) -> Option<&str> {
        self.base.as_deref().filter(|_| self.several_builds())
    }

    /// Why a run is not the one that was planned for its folder.
    fn displaced(&self, meta: &Json, folder: &str) -> Option<String> {
        let Some((entry, attempt)) = self.entry(folder) else {
            return Some("its folder is not in the plan".to_owned());
        };
        let said = meta.get("attempt").and_then(Json::as_u64).unwrap_or(1);
        let build = meta.pointer("/build/name");
        let differs = |name: &&str| {
            let own = match *name {
                "build" => build,
                name => meta.get(name),
            };
            let plain = |value: Option<&Json>| match value {
                None | Some(Json::Null) => Json::from(""),
                Some(value) => value.clone(),
            };
            // What an older plan, or a run that did not come so far, does not tell is no contradiction.
            entry.get(*name).is_some() && own.is_some() && plain(entry.get(*name)) != plain(own)
        };
        let names = [
            "scenario",
            "point",
            "variant",
            "build",
            "block",
            "cycle",
            "discarded",
            "preflight",
        ];
        let names = names.into_iter().filter(|name| differs(name));
        let attempt = (said.max(1) != u64::from(attempt)).then_some("attempt");
        let names: Vec<&str> = names.chain(attempt).collect();
        (!names.is_empty()).then(|| {
            format!(
                "it is not the run that was planned for its folder: {} differs",
                names.join(", ")
            )
        })
    }
}

/// The folder that the plan gave a run, of that of its attempt.
pub(crate) fn planned_folder(folder: &str, attempt: u64) -> &str {
    match attempt {
        0 | 1 => folder,
        n => folder
            .strip_suffix(&format!("-attempt-{n}"))
            .unwrap_or(folder),
    }
}

/// A point as the files hold it.
pub(crate) fn point(point: &Point) -> Map<String, Json> {
    point
        .iter()
        .map(|(name, value)| (name.clone(), Json::from(value.as_str())))
        .collect()
}

impl Entry {
    fn new(run: &PlannedRun<'_>) -> Self {
        Self {
            number: run.number,
            folder: run.folder.clone(),
            scenario: run.scenario.id.get_ref().clone(),
            point: point(&run.point),
            variant: run.variant.clone(),
            build: run.under_test.name.clone(),
            block: run.cycle.block,
            cycle: run.cycle.number,
            discarded: run.cycle.discarded,
            preflight: run.preflight,
            estimate_ms: run
                .estimate
                .map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            rung: run.rung,
        }
    }
}

impl PlanFile {
    /// What is to be kept of a plan.
    ///
    /// # Errors
    /// The harness cannot be read.
    pub(crate) fn new(
        suite: &Suite,
        plan: &Plan<'_>,
        selection: &Selection,
        k6: &str,
    ) -> anyhow::Result<Self> {
        let (kept, secrets) = selection.given.kept(&suite.file);
        Ok(Self {
            schema_version: SCHEMA,
            suite: suite.file.suite.id.clone(),
            title: suite.file.suite.title.clone(),
            suite_file: std::path::absolute(&suite.path)
                .context("resolving the suite file")?
                .display()
                .to_string(),
            suite_sha256: hash::sha256(suite.text.as_bytes()),
            created: host::now(),
            selection: Selection {
                given: kept,
                ..selection.clone()
            },
            secrets,
            k6: k6.to_owned(),
            harness_sha256: harness(suite, plan)?,
            sealed: true,
            runs: plan.runs.iter().map(Entry::new).collect(),
        })
    }

    /// Writes the plan, and beside it the suite file with the templates of its documents.
    ///
    /// # Errors
    /// A file cannot be written, or a template not be read.
    pub(crate) fn write(&self, suite: &Suite, invocation: &Invocation) -> anyhow::Result<()> {
        let shared = invocation.shared();
        shared.write(SUITE, suite.text.as_bytes())?;
        for document in suite.file.report.iter().flat_map(|report| &report.document) {
            let path = suite.resolve(document.template.get_ref());
            let text = std::fs::read(&path)
                .map_err(|error| exit::set_up(format!("{}: {error}", path.display())))?;
            shared.write(&document.kept(), &text)?;
        }
        shared.write_json(PLAN, &serde_json::to_value(self)?)
    }

    /// Reads the plan of a folder.
    ///
    /// # Errors
    /// There is none, or it is of another version of the runner.
    pub(crate) fn read(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(PLAN);
        let text = std::fs::read_to_string(&path).map_err(|error| {
            exit::set_up(format!(
                "{}: {error}; name the folder that `run` printed at its end",
                path.display()
            ))
        })?;
        let file: Self = serde_json::from_str(&text).map_err(|error| {
            exit::set_up(format!(
                "{}: not a plan of this runner: {error}",
                path.display()
            ))
        })?;
        if file.schema_version != SCHEMA {
            return Err(exit::set_up(format!(
                "{}: schema version {} is not known; allowed: {SCHEMA}",
                path.display(),
                file.schema_version
            )));
        }
        Ok(file)
    }

    /// The suite file, which must be what it was when the plan began.
    ///
    /// # Errors
    /// It cannot be read, or has changed.
    pub(crate) fn suite(&self) -> anyhow::Result<Suite> {
        let suite = Suite::load(&self.suite_file)?;
        if hash::sha256(suite.text.as_bytes()) != self.suite_sha256 {
            return Err(exit::set_up(format!(
                "{} was changed after the plan began, so its runs could not be compared; begin a new plan",
                self.suite_file
            )));
        }
        Ok(suite)
    }

    /// The suite as it was when the plan began, but for its secrets: enough to judge.
    ///
    /// # Errors
    /// The copy cannot be read.
    pub(crate) fn copy(&self, folder: &Path) -> anyhow::Result<Suite> {
        let path = folder.join(SUITE);
        let text = std::fs::read_to_string(&path)
            .map_err(|error| exit::set_up(format!("{}: {error}", path.display())))?;
        Suite::stored(Path::new(&self.suite_file), &text)
    }

    /// Puts newly computed runs into the order of this plan.
    ///
    /// # Errors
    /// They are other runs than this plan's, or would be made with another harness or k6.
    pub(crate) fn align(&self, suite: &Suite, plan: &mut Plan<'_>, k6: &str) -> anyhow::Result<()> {
        let differs = |what: &str| {
            Err(exit::set_up(format!(
                "{what} since the plan began, so its runs could not be compared; begin a new plan"
            )))
        };
        if harness(suite, plan)? != self.harness_sha256 {
            return differs("the harness has changed");
        }
        if k6 != self.k6 {
            return differs(&format!("k6 has changed from `{}` to `{k6}`", self.k6));
        }
        let number = |run: &PlannedRun<'_>| {
            self.runs
                .iter()
                .find(|entry| entry.folder == run.folder)
                .map(|entry| entry.number)
        };
        for run in &mut plan.runs {
            let Some(number) = number(run) else {
                return differs(&format!("the plan now holds another run, {}", run.folder));
            };
            run.number = number;
        }
        plan.runs.sort_by_key(|run| run.number);
        let same = plan
            .runs
            .iter()
            .map(Entry::new)
            .eq(self.runs.iter().cloned());
        if same {
            Ok(())
        } else {
            differs("the planned runs have changed")
        }
    }
}

/// The hash of each harness of the plan, in the order of the scripts; runs of one script may load different files.
fn harness(suite: &Suite, plan: &Plan<'_>) -> anyhow::Result<Vec<String>> {
    let mut found = BTreeSet::new();
    for run in &plan.runs {
        found.insert((run.script.as_deref(), run.harness(suite)?.sha256));
    }
    Ok(found.into_iter().map(|(_, hash)| hash).collect())
}
