//! Working off a plan: all of it, or what an earlier call left over.

pub(crate) mod again;
pub(crate) mod export;
pub(crate) mod find;
pub(crate) mod follow;
mod ladders;
pub(crate) mod lock;
mod ready;
pub(crate) mod record;
mod servers;
mod state;
pub(crate) mod trial;
pub(crate) mod up;
mod work;

use std::path::Path;

use anyhow::Context as _;
use barrier_procs::{Identity, LastHolder, MachineLock};

use crate::events::{Event, Log, Stream};
use crate::evidence::{Invocation, resolved};
use crate::plan::file::{Beside, PlanFile};
use crate::plan::target::own_of_suite;
use crate::plan::{Plan, Selection};
use crate::report;
use crate::run::chaos::undo::{Who, leftovers};
use crate::run::series;
use crate::suite::Suite;
use crate::suite::given::Given;
use crate::suite::vars::RunValues;
use crate::values::exit;
use crate::values::mask::masked;
use crate::values::text::shown;
use crate::verdict;
use crate::verdict::gates::Verdict;
use ready::Ready;
use record::{Record, State};
use state::{Planned, look_again, standing};
use work::Session;

/// How somebody wants the work on a plan done.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Manner {
    /// Go on with the other runs even if one could not be started.
    pub(crate) keep_going: bool,
    /// There is no terminal, so that none can go away.
    pub(crate) detached: bool,
}

/// Runs a plan and returns the exit code.
///
/// # Errors
/// Something is wrong before the first run, a run could not be started, or the runner itself fails; a run that does not
/// pass is not an error.
pub(crate) fn run(
    suite: &Suite,
    plan: Plan<'_>,
    selection: &Selection,
    manner: Manner,
    stream: &Stream,
) -> anyhow::Result<i32> {
    series::one_file_each(plan.runs.iter())?;
    let before = MachineLock::last();
    let mut lock = lock::take(&suite.file.suite.id)?;
    tell_of_killed(before, stream);
    take_back(&suite.file.suite.id, stream)?;
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
    let stands = standing(suite, &invocation, &planned);
    begin(&mut lock, &invocation, manner, stream)?;
    tell_of_own(suite, &plan, stream);
    told(stream, || {
        Session::new(suite, ready, invocation, &file, manner.keep_going, stream)?.work(plan, stands)
    })
}

/// Says who works in a folder from now on, to those who wait for the machine as well.
///
/// # Errors
/// The lock or the log of the events cannot be written, or the system tells nothing about this process.
fn begin(
    lock: &mut MachineLock,
    invocation: &Invocation,
    manner: Manner,
    stream: &Stream,
) -> anyhow::Result<()> {
    let folder = resolved(invocation.path())?;
    // First of all: who hears that it has begun may ask for it at once.
    lock.tell(&folder)?;
    stream.attach(Log::to(invocation.shared().append(record::EVENTS)?));
    stream.tell(Event::SessionBegan {
        folder: folder.display().to_string(),
        runner: Identity::own()?,
        detached: manner.detached,
    });
    Ok(())
}

/// Tells how the work ended that was begun.
fn told(stream: &Stream, work: impl FnOnce() -> anyhow::Result<i32>) -> anyhow::Result<i32> {
    let result = work();
    let error = result.as_ref().err();
    stream.tell(Event::SessionEnded {
        exit_code: error.map_or_else(|| *result.as_ref().unwrap_or(&exit::FAULT), exit::code_of),
        error: error.map(|error| masked(&format!("{error:#}"))),
    });
    result
}

/// Says so where nobody gave the address of what they may want to have tested.
fn tell_of_own(suite: &Suite, plan: &Plan<'_>, stream: &Stream) {
    let runs = plan.runs.iter();
    let targets = runs.map(|run| (run.target, run.variant.as_deref()));
    if let Some(text) = own_of_suite(suite, targets) {
        stream.tell(Event::Finding { text });
    }
}

/// Says so where something ended the runner that measured before: nobody may have seen it.
fn tell_of_killed(before: Option<LastHolder>, stream: &Stream) {
    let place = before.and_then(|last| last.place.or(last.earlier));
    let record = place.and_then(|place| Record::read(&place).ok());
    if let Some(record) = record.filter(|record| record.state == State::Killed) {
        let folder = shown(&record.folder);
        let text = format!(
            "warning  the run before this one was ended before it could judge, in {folder}: see `barrier-bench status {folder}`"
        );
        stream.tell(Event::Finding { text });
    }
}

/// Takes back the faults that runs before this one have left: nothing is measured beside those of its own suite.
fn take_back(suite: &str, stream: &Stream) -> anyhow::Result<()> {
    for done in leftovers(Who::Run { suite })? {
        let text = format!("undo     {done}");
        stream.tell(Event::Finding { text });
    }
    Ok(())
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
    manner: Manner,
    stream: &Stream,
) -> anyhow::Result<i32> {
    // One that runs here holds the lock of the machine.
    Record::read(folder)?.refuse_elsewhere("not resumed")?;
    let file = PlanFile::read(folder)?;
    let suite = file.suite()?;
    let mut selection = file.selection.clone();
    selection.given = selection.given.with_secrets(given, &file.secrets)?;
    let mut plan = Plan::new(&suite, &selection)?;
    let mut lock = lock::take(&suite.file.suite.id)?;
    take_back(&suite.file.suite.id, stream)?;
    let invocation = Invocation::open(folder);
    unchanged(folder, &invocation, &file)?;
    let planned: Vec<Planned> = plan.runs.iter().map(Planned::from).collect();
    let mut stands = standing(&suite, &invocation, &planned);
    look_again(&suite, &planned, &mut stands);
    if stands.iter().all(|run| run.complete) {
        stream.tell(Event::NothingLeft {
            runs: stands.iter().filter(|run| !run.spared).count(),
        });
        let made = || plan.runs.iter().zip(&stands).filter(|(_, own)| !own.spared);
        for (run, stands) in made() {
            stream.tell(Event::Stored {
                title: run.title(),
                verdict: stands.state.verdict.unwrap_or(Verdict::NotRun).to_string(),
            });
        }
        for found in verdict::ladders::of_plan(folder)? {
            stream.tell(Event::LadderEnded { text: found.told() });
        }
        stream.tell(Event::EvidenceKept {
            folder: shown(folder),
        });
        // A warm-up colours no exit code.
        let judged = made().filter(|(run, _)| !run.cycle.discarded);
        let codes: Vec<i32> = judged.map(|(_, stands)| stands.state.code).collect();
        return match exit::of_runs(&codes) {
            exit::OK => report::code_of_plan(&suite, folder),
            code => Ok(code),
        };
    }
    let ready = Ready::new(&suite, &plan, stream)?;
    file.align(&suite, &mut plan, &ready.k6.version)?;
    begin(&mut lock, &invocation, manner, stream)?;
    told(stream, || {
        Session::new(&suite, ready, invocation, &file, manner.keep_going, stream)?
            .work(plan, stands)
    })
}
