//! Which folder of evidence somebody means.

use std::path::{Path, PathBuf};

use barrier_procs::MachineLock;

use crate::evidence::resolved;
use crate::plan::file::{PlanFile, is_plan};
use crate::suite::Suite;
use crate::suite::given::Given;
use crate::suite::vars::{RunValues, Vars};
use crate::values::exit;

/// The folder of a plan: that of a folder in it, the newest one of a suite, or, where nothing is named, the one that was worked on
/// last on this machine.
///
/// # Errors
/// There is none; the text says where it was looked for.
pub(crate) fn plan(what: Option<&str>) -> anyhow::Result<PathBuf> {
    let last = || {
        let last = MachineLock::last()?;
        last.place.or(last.earlier).filter(|place| is_plan(place))
    };
    let Some(what) = what else {
        return last().ok_or_else(|| {
            exit::set_up(
                "no run of this machine is known, or its folder is gone; name a suite, or a folder of evidence",
            )
        });
    };
    let folder = Path::new(what);
    if folder.is_dir() {
        let folder = resolved(folder)?;
        let plan = folder.ancestors().find(|above| is_plan(above));
        return plan.map(Path::to_owned).ok_or_else(|| {
            exit::set_up(format!(
                "{}: no plan lies in it or above it; name the folder that `run` printed",
                folder.display()
            ))
        });
    }
    let suite = Suite::load(what)?;
    let own = |folder: &PathBuf| {
        PlanFile::read(folder).is_ok_and(|plan| plan.suite == suite.file.suite.id)
    };
    if let Some(last) = last().filter(own) {
        return Ok(last);
    }
    let root = root(&suite)?;
    let mut folders: Vec<PathBuf> = std::fs::read_dir(&root)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| is_plan(path) && own(path))
        .collect();
    // Folders are named by the instant at which they were made.
    folders.sort();
    folders.pop().ok_or_else(|| {
        exit::set_up(format!(
            "no run of suite {} is known: {} holds none, and the last one of this machine was of another suite",
            suite.file.suite.id,
            root.display()
        ))
    })
}

/// Where a suite keeps its evidence, as far as the environment and the suite say it.
///
/// # Errors
/// A variable of it has no value.
pub(super) fn root(suite: &Suite) -> anyhow::Result<PathBuf> {
    let given = Given::new(&[], None)?;
    let vars = match suite.file.scenario.first() {
        Some(scenario) => Vars::resolve(&suite.file, scenario, &Vec::new(), &given)?,
        None => Vars::default(),
    };
    let root = vars.expand(suite.file.evidence.root.get_ref(), &RunValues::new())?;
    Ok(suite.resolve(&root))
}
