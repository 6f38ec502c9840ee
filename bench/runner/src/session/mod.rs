//! Working off a plan: all of it, or what an earlier call left over.

pub(crate) mod again;
pub(crate) mod lock;
mod private_redis;
mod ready;
mod state;
pub(crate) mod trial;
mod work;

use std::path::Path;

use anyhow::Context as _;

use crate::events::{Event, Stream};
use crate::evidence::Invocation;
use crate::plan::file::{Beside, PlanFile};
use crate::plan::{Plan, Selection};
use crate::report;
use crate::suite::Suite;
use crate::suite::given::Given;
use crate::suite::vars::RunValues;
use crate::values::exit;
use crate::values::text::shown;
use ready::Ready;
use state::{Planned, standing};
use work::Session;

/// Runs a plan and returns the exit code.
///
/// # Errors
/// Something is wrong before the first run, a run could not be started, or the runner itself fails; a run that does not
/// pass is not an error.
pub(crate) fn run(
    suite: &Suite,
    plan: Plan<'_>,
    selection: &Selection,
    keep_going: bool,
    stream: &Stream,
) -> anyhow::Result<i32> {
    let _lock = lock::take(&suite.file.suite.id)?;
    let ready = Ready::new(suite, &plan, stream)?;
    let first = plan.runs.first().context("a plan holds a run")?;
    let root = suite.resolve(
        &first
            .vars
            .expand(suite.file.evidence.root.get_ref(), &RunValues::new())?,
    );
    let file = PlanFile::new(suite, &plan, selection, &ready.k6.version)?;
    let timestamp = jiff::Zoned::now().strftime("%Y%m%d-%H%M%S").to_string();
    let invocation = Invocation::create(&root, &timestamp)?;
    file.write(suite, &invocation)?;
    let planned: Vec<Planned> = plan.runs.iter().map(Planned::from).collect();
    let stands = standing(&invocation, &planned);
    Session::new(suite, ready, invocation, &file, keep_going, stream)?.work(plan, stands)
}

/// Refuses a plan that is not the one that its runs were made with: new ones could not be compared with them.
fn unchanged(folder: &Path, invocation: &Invocation, file: &PlanFile) -> anyhow::Result<()> {
    let beside = Beside::of(folder);
    for run in &file.runs {
        let attempts = invocation.attempts(&run.folder);
        let metas = attempts.iter().filter_map(|(_, own)| own.json("meta.json"));
        let doubt = metas.flat_map(|meta| beside.changed(&meta)).next();
        if let Some(doubt) = doubt {
            return Err(exit::set_up(format!(
                "{}: {doubt}; begin a new plan",
                run.folder
            )));
        }
    }
    Ok(())
}

/// Goes on with the plan of a folder: blocks that lack a sound run are run again, each as a whole.
///
/// # Errors
/// The folder holds no plan, the suite, the harness or k6 have changed since, or as for [`run`].
pub(crate) fn resume(
    folder: &Path,
    given: &Given,
    keep_going: bool,
    stream: &Stream,
) -> anyhow::Result<i32> {
    let file = PlanFile::read(folder)?;
    let suite = file.suite()?;
    let mut selection = file.selection.clone();
    selection.given = selection.given.with_secrets(given, &file.secrets)?;
    let mut plan = Plan::new(&suite, &selection)?;
    let _lock = lock::take(&suite.file.suite.id)?;
    let invocation = Invocation::open(folder);
    unchanged(folder, &invocation, &file)?;
    let planned: Vec<Planned> = plan.runs.iter().map(Planned::from).collect();
    let stands = standing(&invocation, &planned);
    if stands.iter().all(|run| run.complete) {
        stream.tell(Event::NothingLeft {
            runs: plan.runs.len(),
        });
        stream.tell(Event::EvidenceKept {
            folder: shown(folder),
        });
        // A warm-up colours no exit code.
        let judged = plan.runs.iter().zip(&stands);
        let judged = judged.filter(|(run, _)| !run.cycle.discarded);
        let codes: Vec<i32> = judged.map(|(_, stands)| stands.state.code).collect();
        return match exit::of_runs(&codes) {
            exit::OK => report::code_of_plan(&suite, folder),
            code => Ok(code),
        };
    }
    let ready = Ready::new(&suite, &plan, stream)?;
    file.align(&suite, &mut plan, &ready.k6.version)?;
    Session::new(&suite, ready, invocation, &file, keep_going, stream)?.work(plan, stands)
}
