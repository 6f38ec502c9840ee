//! Stored evidence, judged once more: its runs, what follows from them together, and the exit code.

use std::path::Path;

use super::state::{self, Planned};
use crate::compare;
use crate::compare::plan_verdict::PlanVerdict;
use crate::evidence::{Invocation, resolved};
use crate::plan::file::PlanFile;
use crate::suite::Suite;
use crate::values::exit;
use crate::verdict::stored::{self, Judged};

/// What can be said today.
#[derive(Debug)]
pub(crate) struct Again {
    pub(crate) judged: Judged,
    /// The runs of a plan that stand beside none of the same attempt at their block, by their folders, although each run of
    /// the block has come to its end: nothing may be concluded from such a block. Warm-ups are left out.
    pub(crate) torn: Vec<String>,
    /// What follows from the limits that the suite sets to comparisons.
    pub(crate) verdict: Option<PlanVerdict>,
    pub(crate) code: i32,
}

/// Judges the run of a folder, or the plan of a folder, by its own suite or another. Nothing is written.
///
/// # Errors
/// The folder holds neither, its evidence cannot be read, or the other suite cannot.
pub(crate) fn judge(folder: &Path, suite: Option<&str>) -> anyhow::Result<Again> {
    let other = suite.map(Suite::load).transpose()?;
    let judged = stored::judge(folder, other.as_ref())?;
    let whole = judged.never_begun.is_empty();
    let torn = if judged.plan && whole {
        torn(folder)?
    } else {
        Vec::new()
    };
    let verdict = if judged.plan {
        compare::verdict_of_plan(&resolved(folder)?, other, &judged.runs)?
    } else {
        None
    };
    let own = judged.runs.iter().filter(|run| !run.discarded);
    let codes: Vec<i32> = own
        // Nothing of the plan proper was judged where it waited for a preflight.
        .map(|run| match run.code {
            exit::GATE if run.preflight && !whole => exit::SET_UP,
            code => code,
        })
        .chain(judged.strangers.iter().map(|_| exit::GATE))
        .collect();
    // As of a live run: what became of the runs comes before what follows from them together.
    let code = match exit::of_runs(&codes) {
        exit::OK if !whole || !torn.is_empty() => exit::INTERRUPTED,
        exit::OK if verdict.as_ref().is_some_and(|verdict| !verdict.passed()) => exit::GATE,
        code => code,
    };
    Ok(Again {
        judged,
        torn,
        verdict,
        code,
    })
}

fn torn(folder: &Path) -> anyhow::Result<Vec<String>> {
    let plan = PlanFile::read(folder)?;
    let suite = plan.copy(folder)?;
    let mut runs = plan.runs;
    runs.retain(|run| !run.discarded);
    let planned: Vec<Planned> = runs.iter().map(Planned::from).collect();
    Ok(state::torn(&suite, &Invocation::open(folder), &planned))
}
