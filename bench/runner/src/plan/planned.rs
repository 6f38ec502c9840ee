//! One planned run: its variables, limits, target and folder.

use std::path::PathBuf;
use std::time::Duration;

use barrier_stats::host;

use super::{Selection, points};
use crate::evidence::component;
use crate::plan::limits::Limits;
use crate::plan::presets;
use crate::run::target;
use crate::suite::Suite;
use crate::suite::scenario::ScenarioTable;
use crate::suite::schema::{TargetKind, TargetTable, parse_duration};
use crate::suite::vars::{Part, Point, RunValues, Value, Vars, parts, plain};
use crate::values::exit;
use crate::verdict::gates;

/// One execution of one point of a scenario with one variant in one cycle.
#[derive(Debug)]
pub(crate) struct PlannedRun<'a> {
    /// Place in the plan, from 1.
    pub(crate) number: usize,
    pub(crate) scenario: &'a ScenarioTable,
    pub(crate) point: Point,
    pub(crate) variant: Option<String>,
    pub(crate) cycle: Cycle,
    /// The scenarios after this one only begin once this run has passed.
    pub(crate) preflight: bool,
    pub(crate) target: &'a TargetTable,
    pub(crate) vars: Vars,
    pub(crate) limits: Option<Limits>,
    /// Wall-clock bound of k6.
    pub(crate) bound: Duration,
    /// How long the run takes if nothing goes wrong; `None` if the suite says nothing about it.
    pub(crate) estimate: Option<Duration>,
    /// What tells two builds apart: the variant, or the git branch of a target that a person started.
    pub(crate) branch: String,
    pub(crate) script: PathBuf,
    /// The evidence folder of the first attempt, below the folder of the plan.
    pub(crate) folder: String,
}

/// Place of a run among the repetitions of its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cycle {
    /// Number of the block in the plan, from 1.
    pub(crate) block: u32,
    /// Number among the judged cycles, or among the discarded ones, from 1.
    pub(crate) number: u32,
    /// To warm up; never judged against other runs.
    pub(crate) discarded: bool,
    /// Whether there is only this one.
    pub(crate) only: bool,
}

/// Everything that is known about a run before the plan begins.
///
/// # Errors
/// A variable is missing or wrong, an address is not allowed, or the run cannot keep its own limits.
pub(super) fn planned<'a>(
    suite: &'a Suite,
    scenario: &'a ScenarioTable,
    point: &Point,
    variant: Option<String>,
    cycle: Cycle,
    selection: &Selection,
) -> anyhow::Result<PlannedRun<'a>> {
    let mut vars = Vars::resolve(suite, scenario, point, &selection.given)?;
    vars.fill(&presets::run_values(&vars))?;
    if selection.quick {
        scale_down(suite, scenario, &mut vars)?;
    }
    let target = target::choose(suite, variant.as_deref(), &vars)?;
    target::supply(target, &mut vars)?;
    presets::choose_events(&mut vars)?;
    check_hosts(suite, target, &vars)?;
    let limits = Limits::compute(&vars, |name| suite.file.env.contains_key(name))?;
    let mut run_values = RunValues::new();
    if let Some(limits) = &limits {
        vars.fill(&limits.run_values())?;
        limits.feasible(&vars)?;
        run_values = limits.all_values(&vars)?;
    }
    let bound = vars.expand(scenario.limit.get_ref(), &run_values)?;
    let bound = match bound.parse() {
        Ok(millis) => Duration::from_millis(millis),
        Err(_) => parse_duration(&bound).map_err(exit::set_up)?,
    };
    gates::check_limits(
        &suite.file.gate,
        &suite.file.derive,
        scenario.id.get_ref(),
        &vars,
        &run_values,
    )?;
    let branch = match (&variant, target.kind) {
        (_, TargetKind::External) => host::git().0,
        (Some(variant), _) => variant.clone(),
        (None, _) => target.id.clone(),
    };
    let mut run = PlannedRun {
        number: 0,
        scenario,
        point: point.clone(),
        variant,
        cycle,
        preflight: false,
        target,
        estimate: limits.as_ref().map(Limits::estimate),
        vars,
        limits,
        bound,
        branch,
        script: suite.resolve(&scenario.script),
        folder: String::new(),
    };
    run.folder = run.folder_name(suite, &selection.label)?;
    Ok(run)
}

/// Multiplies the declared loads: the variables that hold them.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a number of users times a share below 1"
)]
fn scale_down(suite: &Suite, scenario: &ScenarioTable, vars: &mut Vars) -> anyhow::Result<()> {
    let Some(scale) = &suite.file.suite.quick_scale else {
        return Err(exit::set_up(
            "--quick: the suite declares no `quick_scale`, so its loads cannot be scaled down",
        ));
    };
    for load in &scenario.load {
        let text = plain(load.vus.get_ref());
        for part in parts(&text).map_err(exit::set_up)? {
            if let Part::Variable(name) = part {
                let users = vars.int(name)? as f64 * scale.get_ref();
                vars.replace(name, Value::Int((users.round() as i64).max(1)));
            }
        }
    }
    Ok(())
}

/// A run writes to Redis and drives load: both only where the suite allows it. Looked at is every address that a step of
/// the run or its harness can reach: those in variables, whatever their type, and those that the suite's tables name.
fn check_hosts(suite: &Suite, target: &TargetTable, vars: &Vars) -> anyhow::Result<()> {
    for (name, value, _) in vars.iter() {
        match value {
            Value::Text(text) => suite.allow(name, text)?,
            Value::List(items) => items.iter().try_for_each(|item| suite.allow(name, item))?,
            Value::Int(_) | Value::Float(_) => {}
        }
    }
    let ready = [&target.ready.url, &target.ready.tcp];
    let texts = ready.into_iter().flatten().chain(&target.start);
    let of_target = texts.map(|text| (format!("target {}", target.id), text));
    let clean = suite.file.clean.iter();
    let clean = clean.map(|table| (format!("clean {}", table.id), &table.target));
    let monitors = suite.file.monitor.iter().filter_map(|table| {
        Some((
            format!("monitor {}", table.id.get_ref()),
            table.source.as_ref()?,
        ))
    });
    for (what, text) in of_target.chain(clean).chain(monitors) {
        // What has no value yet is of a server that the runner starts.
        if let Ok(address) = vars.expand(text.get_ref(), &RunValues::new()) {
            suite.allow(&what, &address)?;
        }
    }
    Ok(())
}

impl PlannedRun<'_> {
    fn folder_name(&self, suite: &Suite, label: &str) -> anyhow::Result<String> {
        let template = suite.file.evidence.folder.get_ref();
        let template = template.strip_prefix("{timestamp}/").unwrap_or(template);
        let scenario = self.scenario.id.get_ref();
        let slots = self.limits.as_ref().map_or("none", |limits| {
            if limits.boosted {
                "slot-boosted"
            } else {
                "seat-limited"
            }
        });
        let events = self.limits.as_ref().map_or(0, |limits| limits.events);
        let values = RunValues::from([
            ("branch", component(&self.branch)),
            ("scenario", component(scenario)),
            ("load", component(&presets::load_name(&self.vars, scenario))),
            ("label", component(label)),
            ("events", events.to_string()),
            ("slot_mode", slots.to_owned()),
        ]);
        let folder = self.vars.expand(template, &values)?;
        Ok(match self.cycle {
            Cycle { only: true, .. } => folder,
            Cycle {
                discarded: true,
                number,
                ..
            } => format!("{folder}/warmup-{number:02}"),
            Cycle { number, .. } => format!("{folder}/cycle-{number:02}"),
        })
    }

    /// The run in a few words.
    pub(crate) fn title(&self) -> String {
        let mut title = format!("{} / {}", self.scenario.id.get_ref(), self.branch);
        if !self.point.is_empty() {
            title = format!("{title}, {}", points::shown(&self.point));
        }
        match self.cycle {
            Cycle { only: true, .. } => title,
            Cycle {
                discarded: true,
                number,
                ..
            } => format!("{title}, warm-up {number} (discarded)"),
            Cycle { number, .. } => format!("{title}, cycle {number}"),
        }
    }
}
