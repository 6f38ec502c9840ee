//! Evidence as it lies on the disk, of this or an earlier call of the runner.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

pub(crate) use super::meta::{Meta, Setting};
use crate::evidence::{Folder, attempt as folder_of, resolved};
use crate::plan::file::{Beside, is_plan, planned_folder};
use crate::series::window::Window;
use crate::suite::Suite;
use crate::values::exit;
use crate::values::hash;
use crate::verdict::ladders;
use crate::verdict::server;

/// Folders below the one that is named in which runs are looked for.
const DEPTH: usize = 8;

/// What a folder of evidence holds: one call of the runner, several, or a single run.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) root: PathBuf,
    pub(crate) suite: Suite,
    /// In the order in which they began.
    pub(crate) runs: Vec<StoredRun>,
    /// Planned runs without evidence: folder and title.
    pub(crate) missing: Vec<(String, String)>,
    /// What was to be measured, whether or not it was begun; neither warm-ups nor runs with a scaled load.
    pub(crate) planned: Vec<Place>,
    /// The same of each planned run without evidence, and of each attempt whose folder is gone.
    pub(crate) lost: Vec<Lost>,
}

/// A run without evidence.
#[derive(Debug)]
pub(crate) struct Lost {
    pub(crate) place: Place,
    /// None of its scenario was begun after it: the plan was ended before.
    pub(crate) unreached: bool,
}

/// What a planned run measures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) scenario: String,
    pub(crate) point: String,
    /// The variant, or the build where several are compared.
    pub(crate) variant: String,
    pub(crate) preflight: bool,
}

/// One run.
#[derive(Debug)]
pub(crate) struct StoredRun {
    /// Below the root.
    pub(crate) folder: String,
    pub(crate) path: PathBuf,
    /// The call that it belongs to, below the root; empty if the root is that call.
    pub(crate) call: String,
    pub(crate) meta: Meta,
    pub(crate) verdict: String,
    /// Something ended its runner before it could judge: there is no verdict of then.
    pub(super) killed: bool,
    pub(crate) reasons: Vec<String>,
    pub(crate) gates: Vec<Gate>,
    /// The part of the run that gates over time judged.
    pub(crate) window: Option<Window>,
    pub(crate) derived: Map<String, Json>,
    pub(crate) summary: Option<Json>,
    /// Why another attempt counts in its place.
    pub(crate) superseded: Option<&'static str>,
    /// Of the last attempt at a run: how many later attempts at its block have nothing of it.
    pub(crate) behind: u32,
}

/// A gate as it was judged.
#[derive(Debug, Deserialize)]
pub(crate) struct Gate {
    pub(crate) id: String,
    pub(crate) class: String,
    pub(crate) holds: bool,
    pub(crate) text: String,
    #[serde(default)]
    pub(crate) value: Option<f64>,
    /// What the value was held against; none of a built-in gate.
    pub(crate) limit: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct VerdictFile {
    verdict: String,
    reasons: Vec<String>,
    gates: Vec<Gate>,
    window: Option<Window>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PlanFile {
    selection: Selection,
    runs: Vec<Planned>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Selection {
    quick: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Planned {
    folder: String,
    scenario: String,
    point: Map<String, Json>,
    variant: Option<String>,
    build: String,
    block: Option<u32>,
    cycle: Option<u32>,
    discarded: bool,
    preflight: bool,
}

impl Stored {
    /// Reads all runs below a folder.
    ///
    /// # Errors
    /// The folder holds no run, runs of several suites, or a file that cannot be read.
    pub(crate) fn open(folder: &Path) -> anyhow::Result<Self> {
        if !folder.is_dir() {
            return Err(exit::set_up(format!(
                "{} is not a folder; name one that the runner printed after `evidence:`",
                folder.display()
            )));
        }
        let mut found = Found::default();
        found.look(folder, DEPTH)?;
        let mut runs = Vec::new();
        if found.calls.is_empty() {
            // A part of a plan, whose evidence above it says what it is part of.
            let folder = resolved(folder)?;
            let above = folder.ancestors().find(|above| is_plan(above));
            found.calls.extend(above.map(Path::to_owned));
        }
        let calls: Vec<(PathBuf, Beside)> = found
            .calls
            .iter()
            .map(|call| (call.clone(), Beside::of(call)))
            .collect();
        for path in &found.runs {
            runs.push(StoredRun::read(folder, path, &calls)?);
        }
        let Some(first) = runs.first() else {
            return Err(exit::set_up(format!(
                "no evidence below {}: no folder there has a meta.json; name one that the runner printed after `evidence:`",
                folder.display()
            )));
        };
        if let Some(other) = runs.iter().find(|run| run.meta.suite != first.meta.suite) {
            return Err(exit::set_up(format!(
                "{} holds runs of the suites {} and {}; name a folder with runs of one suite",
                folder.display(),
                first.meta.suite,
                other.meta.suite
            )));
        }
        let suite = match found.calls.iter().find_map(|call| file(call, "suite.toml")) {
            Some(path) => {
                let text = fs::read_to_string(&path)
                    .with_context(|| format!("reading {}", path.display()))?;
                Suite::stored(&path, &text)?
            }
            None => {
                let suite = Suite::load(&first.meta.suite)?;
                let now = hash::sha256(suite.text.as_bytes());
                let differs = |run: &&StoredRun| {
                    let was = &run.meta.suite_file.sha256;
                    !was.is_empty() && *was != now
                };
                if let Some(run) = runs.iter().find(differs) {
                    return Err(exit::set_up(format!(
                        "{}: made with another {} than that of today, and the plan with the one of then is gone; name the folder of the plan",
                        run.folder,
                        suite.path.display()
                    )));
                }
                suite
            }
        };
        runs.sort_by(|a, b| {
            (&a.call, &a.meta.start_time, &a.folder).cmp(&(&b.call, &b.meta.start_time, &b.folder))
        });
        supersede(&mut runs);
        for run in &mut runs {
            let read = json(&run.path.join(server::FILE))?;
            let (file, scenario) = (&suite.file, &run.meta.scenario);
            run.summary = server::merged(file, scenario, run.summary.take(), read.as_ref());
        }
        let mut stored = Self {
            root: folder.to_owned(),
            suite,
            runs,
            missing: Vec::new(),
            planned: Vec::new(),
            lost: Vec::new(),
        };
        found.planned(&mut stored)?;
        Ok(stored)
    }
}

/// Of several attempts at the same run only the last one is judged, and only with runs of the same attempt at its block.
fn supersede(runs: &mut [StoredRun]) {
    let mut last: BTreeMap<String, u32> = BTreeMap::new();
    let mut last_of_block: BTreeMap<_, u32> = BTreeMap::new();
    for run in runs.iter() {
        let attempt = last.entry(run.planned_folder()).or_default();
        *attempt = (*attempt).max(run.meta.attempt);
        let attempt = last_of_block.entry(run.block()).or_default();
        *attempt = (*attempt).max(run.block_attempt());
    }
    for run in runs.iter_mut() {
        if run.meta.attempt < last[&run.planned_folder()] {
            run.superseded = Some("repeated later");
            continue;
        }
        run.behind = last_of_block[&run.block()].saturating_sub(run.block_attempt());
        run.superseded = (run.behind > 0).then_some("its block was begun again");
    }
}

impl StoredRun {
    fn read(root: &Path, path: &Path, calls: &[(PathBuf, Beside)]) -> anyhow::Result<Self> {
        let mut meta: Meta = json(&path.join("meta.json"))?.unwrap_or_default();
        meta.attempt = meta.attempt.max(1);
        let stored: Option<VerdictFile> = json(&path.join("verdict.json"))?;
        let folder = Folder::open(path);
        let own = resolved(path)?;
        let own = calls.iter().find_map(|call| {
            let below = own.strip_prefix(resolved(&call.0).ok()?).ok()?;
            Some((call, below.display().to_string()))
        });
        let killed = folder.was_killed();
        let mut verdict = stored.unwrap_or_default();
        let unsound = match &own {
            Some(((_, beside), below)) => beside.unsound(&folder, below)?,
            None => without_plan(&folder)?,
        };
        let mut of_builds_alone = !meta.build.base.is_empty();
        if let Some(((_, beside), below)) = &own {
            let planned = beside.entry(below);
            if let Some(base) = beside.base() {
                of_builds_alone = true;
                base.clone_into(&mut meta.build.base);
            }
            if !unsound.is_empty() {
                // What was changed may be what the run is: then it is missing where it was planned.
                meta.block_attempt = None;
                of_builds_alone = beside.several_builds();
                beside
                    .base()
                    .unwrap_or_default()
                    .clone_into(&mut meta.build.base);
                if let Some((entry, attempt)) = planned {
                    meta.attempt = attempt;
                    as_planned(&mut meta, entry);
                }
            } else if meta.build.name.is_empty() {
                // It ended before its build was known.
                let build = planned.and_then(|(entry, _)| entry.get("build")?.as_str());
                build.unwrap_or_default().clone_into(&mut meta.build.name);
            }
        }
        if !unsound.is_empty() {
            "INVALID".clone_into(&mut verdict.verdict);
            verdict.reasons = unsound;
        } else if killed {
            // Which of the two, the verb `status` tells.
            verdict.reasons =
                vec!["its runner was ended before it could judge, or still runs".to_owned()];
        }
        if of_builds_alone {
            let build = meta.build.name.clone();
            of_builds(&mut meta.variant, build, &mut meta.point);
        }
        // Where a part of a plan was named, it is the only one.
        let call = own.map(|((call, _), _)| call.as_path());
        let call = call.filter(|call| call.starts_with(root)).unwrap_or(root);
        Ok(Self {
            folder: below(root, path),
            call: below(root, call),
            path: path.to_owned(),
            derived: json(&path.join("derived.json"))?.unwrap_or_default(),
            summary: json(&path.join("summary.json"))?,
            verdict: match verdict.verdict {
                // It was begun: `judge` and `status` say the same.
                none if none.is_empty() && killed => "INTERRUPTED".to_owned(),
                none if none.is_empty() => "NOT_RUN".to_owned(),
                verdict => verdict,
            },
            killed,
            reasons: verdict.reasons,
            gates: verdict.gates,
            window: verdict.window,
            superseded: None,
            behind: 0,
            meta,
        })
    }

    /// The folder that the plan gave the run: that of its first attempt.
    fn planned_folder(&self) -> String {
        planned_folder(&self.folder, self.meta.attempt.into()).to_owned()
    }

    /// What its block is known by.
    fn block(&self) -> (String, String, String, u32, bool) {
        let meta = &self.meta;
        (
            self.call.clone(),
            meta.scenario.clone(),
            self.point(),
            meta.cycle,
            meta.discarded,
        )
    }

    fn block_attempt(&self) -> u32 {
        self.meta.block_attempt.unwrap_or(self.meta.attempt)
    }

    /// Number of the cycle; with several calls below the folder, after the name of the call.
    pub(super) fn cycle(&self) -> String {
        if self.call.is_empty() {
            self.meta.cycle.to_string()
        } else {
            format!("{}/{}", self.call, self.meta.cycle)
        }
    }

    /// What is known of the thing under test.
    pub(crate) fn build(&self) -> String {
        if self.meta.build.id.is_empty() {
            "unknown".to_owned()
        } else {
            self.meta.build.id.clone()
        }
    }

    /// Why the run is left out of every comparison; `None` if it counts.
    pub(crate) fn left_out(&self) -> Option<String> {
        if let Some(why) = self.superseded {
            Some(why.to_owned())
        } else if self.meta.discarded {
            Some("warm-up".to_owned())
        } else if self.meta.quick {
            Some("quick mode".to_owned())
        } else if !matches!(self.verdict.as_str(), "PASS" | "FAIL") {
            Some(self.verdict.clone())
        } else if self.meta.observed.cut {
            Some("a threshold ended it early (abortOnFail)".to_owned())
        } else {
            None
        }
    }

    /// The variant, or the branch of a target that a person started.
    pub(crate) fn variant(&self) -> &str {
        if self.meta.variant.is_empty() {
            &self.meta.branch
        } else {
            &self.meta.variant
        }
    }

    /// The point in a few words; empty for a scenario that has only one.
    pub(crate) fn point(&self) -> String {
        shown(&self.meta.point)
    }

    /// A derived value, or a statistic of a metric in k6's summary.
    pub(crate) fn value(&self, metric: &str, stat: &str) -> Option<f64> {
        match self.derived.get(metric) {
            Some(value) => value.as_f64(),
            None => crate::verdict::metric::statistic(self.summary.as_ref()?, metric, stat),
        }
    }
}

#[derive(Default)]
struct Found {
    runs: Vec<PathBuf>,
    /// Folders with a plan.
    calls: Vec<PathBuf>,
}

impl Found {
    fn look(&mut self, folder: &Path, depth: usize) -> anyhow::Result<()> {
        if file(folder, "plan.json").is_some() {
            self.calls.push(folder.to_owned());
        }
        if file(folder, "meta.json").is_some() {
            self.runs.push(folder.to_owned());
        }
        if depth == 0 {
            return Ok(());
        }
        let reading = || format!("reading {}", folder.display());
        for entry in fs::read_dir(folder).with_context(reading)? {
            let entry = entry.with_context(reading)?;
            if entry.file_type().with_context(reading)?.is_dir() {
                self.look(&entry.path(), depth - 1)?;
            }
        }
        Ok(())
    }

    /// What the plans hold: runs without evidence, and what all of them measure.
    fn planned(&self, stored: &mut Stored) -> anyhow::Result<()> {
        let root = resolved(&stored.root)?;
        for call in &self.calls {
            let plan: PlanFile = json(&call.join("plan.json"))?.unwrap_or_default();
            let call = resolved(call)?;
            // What cannot be read is no ladder.
            let ladders = ladders::of_plan(&call).unwrap_or_default();
            let spared = |folder: &str| ladders.iter().any(|ladder| ladder.spares(folder));
            let several = plan.runs.iter().any(|run| run.build != plan.runs[0].build);
            let mut attempts: BTreeMap<String, Vec<u32>> = BTreeMap::new();
            for run in &stored.runs {
                let own = attempts.entry(run.planned_folder()).or_default();
                own.push(run.meta.attempt);
            }
            // The last run of each scenario that was begun.
            let mut last: BTreeMap<String, usize> = BTreeMap::new();
            let mut runs = Vec::new();
            for (number, run) in plan.runs.into_iter().enumerate() {
                // Where a part of a plan was named, the others are somewhere else.
                let Ok(folder) = call
                    .join(&run.folder)
                    .strip_prefix(&root)
                    .map(|folder| folder.display().to_string())
                else {
                    continue;
                };
                let own = attempts.remove(&folder).unwrap_or_default();
                if own.is_empty() && spared(&run.folder) {
                    continue;
                }
                if !own.is_empty() {
                    last.insert(run.scenario.clone(), number);
                }
                runs.push((number, folder, own, run));
            }
            for (number, folder, own, run) in runs {
                let unreached = last.get(&run.scenario).is_none_or(|last| number > *last);
                let mut gone = Vec::new();
                if own.is_empty() {
                    gone.push((folder.clone(), "planned, no evidence".to_owned()));
                }
                for attempt in 1..own.iter().copied().max().unwrap_or_default() {
                    if !own.contains(&attempt) {
                        let why = format!("attempt {attempt} is gone, and a later one is there");
                        gone.push((folder_of(&folder, attempt), why));
                    }
                }
                let mut variant = run.variant.unwrap_or_default();
                let mut point = run.point;
                if several {
                    of_builds(&mut variant, run.build, &mut point);
                }
                let place = Place {
                    scenario: run.scenario,
                    point: shown(&point),
                    variant,
                    preflight: run.preflight,
                };
                // Plans of before it was told name folders alone.
                let told = !place.scenario.is_empty();
                if told && !run.discarded && !plan.selection.quick {
                    stored.lost.extend(gone.iter().map(|_| Lost {
                        place: place.clone(),
                        unreached,
                    }));
                    if !stored.planned.contains(&place) {
                        stored.planned.push(place);
                    }
                }
                stored.missing.extend(gone);
            }
        }
        Ok(())
    }
}

/// Why nothing may be concluded from a folder above which there is no plan.
fn without_plan(folder: &Folder) -> anyhow::Result<Vec<String>> {
    let mut unsound = folder.unsound()?;
    let meta = folder.json("meta.json").unwrap_or_default();
    if meta.get("planSha256").is_some() {
        unsound.push("the plan that it belongs to is gone".to_owned());
    }
    Ok(unsound)
}

/// A run that cannot say what it is, is what was planned for its folder.
fn as_planned(meta: &mut Meta, entry: &Json) {
    let Ok(entry) = serde_json::from_value::<Planned>(entry.clone()) else {
        return;
    };
    // Plans of before it was told name folders alone.
    if entry.scenario.is_empty() {
        return;
    }
    meta.scenario = entry.scenario;
    meta.point = entry.point;
    meta.variant = entry.variant.unwrap_or_default();
    meta.build.name = entry.build;
    meta.cycle = entry.cycle.unwrap_or(meta.cycle);
    meta.block = entry.block.or(meta.block);
    meta.discarded = entry.discarded;
    meta.preflight = entry.preflight;
    meta.quick = false;
}

/// Builds are compared within each variant, which is a point of theirs.
fn of_builds(variant: &mut String, build: String, point: &mut Map<String, Json>) {
    let variant = std::mem::replace(variant, build);
    if !variant.is_empty() {
        point.insert("variant".to_owned(), variant.into());
    }
}

/// A point in a few words.
fn shown(point: &Map<String, Json>) -> String {
    let parts: Vec<String> = point
        .iter()
        .map(|(name, value)| match value {
            Json::String(text) => format!("{name}={text}"),
            other => format!("{name}={other}"),
        })
        .collect();
    parts.join(" ")
}

fn file(folder: &Path, name: &str) -> Option<PathBuf> {
    Some(folder.join(name)).filter(|path| path.is_file())
}

fn below(root: &Path, path: &Path) -> String {
    path.strip_prefix(root)
        .unwrap_or(path)
        .display()
        .to_string()
}

/// A JSON file; `None` if it is not there.
fn json<T: DeserializeOwned>(path: &Path) -> anyhow::Result<Option<T>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    match serde_json::from_slice(&bytes) {
        Ok(value) => Ok(Some(value)),
        Err(error) => Err(exit::set_up(format!(
            "{} is not what the runner writes: {error}",
            path.display()
        ))),
    }
}
