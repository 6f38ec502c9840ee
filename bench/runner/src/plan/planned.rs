//! One planned run: its variables, limits, target and folder.

use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use super::build::{Build, NAMES, UnderTest};
use super::selection::Selection;
use super::{computed, points, target};
use crate::evidence::component;
use crate::suite::Suite;
use crate::suite::gate;
use crate::suite::hosts::Words;
use crate::suite::over_time;
use crate::suite::scenario::ScenarioTable;
use crate::suite::schema::{TargetKind, TargetTable};
use crate::suite::vars::{Point, RunValues, Vars};
use crate::values::duration::parse_time;
use crate::values::exit;
use crate::values::hash::{self, Harness};
use crate::values::template::{run_values, variables};
use crate::values::value::{Value, plain};

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
    /// How many users there are; `None` if the suite says nothing about it.
    pub(crate) users: Option<i64>,
    /// Wall-clock bound of k6.
    pub(crate) bound: Duration,
    /// How long the run takes if nothing goes wrong; `None` if the suite says nothing about it.
    pub(crate) estimate: Option<Duration>,
    /// The thing under test, as far as it is known before it is there.
    pub(crate) under_test: UnderTest,
    /// What tells two things under test apart: variant and build, or the target's name where nobody says more.
    pub(crate) branch: String,
    pub(crate) script: PathBuf,
    /// What tries beforehand what the run will do, if the suite has something for that.
    pub(crate) probe: Option<Probe>,
    /// The evidence folder of the first attempt, below the folder of the plan.
    pub(crate) folder: String,
}

/// A script that tries what a run will do.
#[derive(Debug, Clone)]
pub(crate) struct Probe {
    pub(crate) script: PathBuf,
    /// Wall-clock bound of k6.
    pub(crate) limit: Duration,
    /// Not by `doctor` alone.
    pub(crate) before_run: bool,
}

/// Place of a run among the repetitions of its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cycle {
    /// Number of the block in the plan, from 1.
    pub(crate) block: u32,
    /// Which attempt at the block this is, from 1.
    pub(crate) attempt: u32,
    /// Number among the judged cycles, or among the discarded ones, from 1.
    pub(crate) number: u32,
    /// To warm up; never judged against other runs.
    pub(crate) discarded: bool,
    /// Whether there is only this one.
    pub(crate) only: bool,
}

/// What runs in a block.
#[derive(Debug, Clone)]
pub(super) struct Member<'a> {
    pub(super) variant: Option<String>,
    pub(super) build: Option<&'a Build>,
}

/// Everything that is known about a run before the plan begins.
///
/// # Errors
/// A variable is missing or wrong, an address is not allowed, or the run cannot keep its own limits.
pub(super) fn planned<'a>(
    suite: &'a Suite,
    scenario: &'a ScenarioTable,
    point: &Point,
    Member { variant, build }: Member<'_>,
    cycle: Cycle,
    selection: &Selection,
) -> anyhow::Result<PlannedRun<'a>> {
    let mut vars = Vars::resolve(&suite.file, scenario, point, &selection.given)?;
    if selection.quick {
        scale_down(suite, scenario, &mut vars)?;
    }
    let target = target::choose(suite, variant.as_deref(), &vars)?;
    target::own_address(target, &vars)?;
    vars.complete(&suite.file, target)?;
    check_hosts(suite, target, &vars)?;
    let under_test = selection.builds.of_run(build, target)?;
    let variant_name = variant
        .iter()
        .filter(|_| target.kind != TargetKind::External);
    let names = variant_name.chain([&under_test.branch]);
    let names: Vec<&str> = names
        .map(String::as_str)
        .filter(|name| !name.is_empty())
        .collect();
    let branch = if names.is_empty() {
        target.id.clone()
    } else {
        names.join("-")
    };
    for (name, value) in [
        ("scenario", scenario.id.get_ref().as_str()),
        ("variant", variant.as_deref().unwrap_or_default()),
        ("branch", &branch),
        ("label", &selection.label),
    ] {
        vars.know(name, value);
    }
    computed::compute(&suite.file, &mut vars)?;
    // Once more: computed values may be parts of addresses.
    check_hosts(suite, target, &vars)?;
    let time = |text: &Spanned<String>| duration(&vars.expand(text.get_ref(), &RunValues::new())?);
    let users = suite.file.suite.users.as_ref();
    let users = users.map(|text| number(&vars.expand(text.get_ref(), &RunValues::new())?));
    let probe = suite.file.probe.as_ref().map(|table| {
        anyhow::Ok(Probe {
            script: suite.resolve(&table.script),
            limit: time(&table.limit)?,
            before_run: table.before_run,
        })
    });
    gate::check_limits(&suite.file, scenario.id.get_ref(), &vars)?;
    over_time::Declared::of(scenario, &vars)?;
    let mut run = PlannedRun {
        number: 0,
        scenario,
        point: point.clone(),
        variant,
        cycle,
        preflight: false,
        target,
        bound: time(&scenario.limit)?,
        estimate: scenario.estimate.as_ref().map(time).transpose()?,
        users: users.transpose()?,
        probe: probe.transpose()?,
        vars,
        under_test,
        branch,
        script: suite.resolve(&scenario.script),
        folder: String::new(),
    };
    run.folder = run.folder_name(suite)?;
    Ok(run)
}

/// Reads milliseconds, or a number with its unit.
fn duration(text: &str) -> anyhow::Result<Duration> {
    parse_time(text).map_err(exit::set_up)
}

fn number(text: &str) -> anyhow::Result<i64> {
    text.parse().map_err(|_| {
        exit::set_up(format!(
            "`users` of [suite]: `{text}` is not a whole number"
        ))
    })
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
        for name in variables(&text) {
            let users = vars.int(name)? as f64 * scale.get_ref();
            vars.replace(name, Value::Int((users.round() as i64).max(1)));
        }
    }
    Ok(())
}

/// A run writes to Redis and drives load: both only where the suite allows it. Looked at is every address that a step of
/// the run or its harness can reach: those in variables, whatever their type, and those that the suite's tables name.
fn check_hosts(suite: &Suite, target: &TargetTable, vars: &Vars) -> anyhow::Result<()> {
    let processes = target.processes.iter().map(|text| text.get_ref().as_str());
    let processes: Vec<&str> = processes.flat_map(variables).collect();
    for (name, value, _) in vars.iter() {
        let texts = match value {
            Value::Text(text) => std::slice::from_ref(text),
            Value::List(items) => items,
            Value::Int(_) | Value::Float(_) => &[],
        };
        for text in texts {
            suite.allow(name, text)?;
            // Nobody is asked by a name, by a password, or by the port of a process.
            let is_password = suite.file.env.get(name).is_some_and(|table| table.secret);
            if !is_password && !NAMES.contains(&name) && !processes.contains(&name) {
                suite.allow_words(name, text, Words::Of(name))?;
            }
        }
    }
    // What the target tells later is looked at then.
    let known = RunValues::from([("address", String::new())]);
    for (what, text) in places(suite, target) {
        // What has no value yet is looked at once it has.
        if let Ok(address) = vars.expand(text, &known) {
            suite.allow(&what, &address)?;
        }
    }
    arguments(target, vars).try_for_each(|(what, text)| {
        suite.allow(&what, &text)?;
        suite.allow_words(&what, &text, Words::Arguments)
    })
}

/// What a target is started with, as far as it has its values.
fn arguments(target: &TargetTable, vars: &Vars) -> impl Iterator<Item = (String, String)> {
    let known = RunValues::from([("port_file", String::new())]);
    let words = target.start.iter().skip(1).chain(&target.faults);
    words.filter_map(move |word| {
        let text = vars.expand(word.get_ref(), &known).ok()?;
        Some((format!("target {}", target.id), text))
    })
}

/// The texts of a suite that hold addresses, and what names them.
fn places<'s>(suite: &'s Suite, target: &'s TargetTable) -> Vec<(String, &'s str)> {
    let ready = [&target.ready.url, &target.ready.tcp];
    let texts = ready.into_iter().flatten();
    let of_target = texts.map(|text| (format!("target {}", target.id), text));
    let clean = suite.file.clean.iter();
    let clean = clean.map(|table| (format!("clean {}", table.id), &table.target));
    let monitors = suite.file.monitor.iter().filter_map(|table| {
        Some((
            format!("monitor {}", table.id.get_ref()),
            table.source.as_ref()?,
        ))
    });
    let records = suite.file.record.iter();
    let records = records.map(|table| (format!("record {}", table.id.get_ref()), &table.source));
    let version = target.version.iter();
    let version = version.map(|table| (format!("target {}", target.id), &table.url));
    let tables = of_target
        .chain(version)
        .chain(clean)
        .chain(monitors)
        .chain(records);
    tables
        .map(|(what, text)| (what, text.get_ref().as_str()))
        .collect()
}

impl PlannedRun<'_> {
    /// Looks again at every address, with the values that it got meanwhile.
    ///
    /// # Errors
    /// One is not allowed; the text names it.
    pub(crate) fn check_hosts(&self, suite: &Suite, known: &RunValues) -> anyhow::Result<()> {
        for (what, text) in places(suite, self.target) {
            if let Ok(address) = self.vars.expand(text, known) {
                suite.allow_now(&what, &address)?;
            }
        }
        arguments(self.target, &self.vars).try_for_each(|(what, text)| {
            suite.allow_now(&what, &text)?;
            suite.allow_words(&what, &text, Words::Arguments)
        })
    }

    /// The hash of everything that the harness loads: its own folder, and the files that variables name.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(crate) fn harness(&self, suite: &Suite) -> anyhow::Result<Harness> {
        let named = suite.file.env.iter().filter(|(_, table)| table.harness);
        let texts = named.filter_map(|(name, _)| self.vars.text(name.get_ref()));
        // From the current folder on, as the harness takes it; what is no file is a name that the harness knows.
        let files: Vec<PathBuf> = texts
            .map(PathBuf::from)
            .filter(|path| path.is_file())
            .collect();
        hash::harness(&self.script, &files)
    }

    fn folder_name(&self, suite: &Suite) -> anyhow::Result<String> {
        let template = suite.file.evidence.folder.get_ref();
        let template = template.strip_prefix("{timestamp}/").unwrap_or(template);
        let mut safe = RunValues::new();
        for name in run_values(template) {
            if let Some(text) = self.vars.known().text(name) {
                safe.insert(name, component(&text));
            }
        }
        let folder = self.vars.expand(template, &safe)?;
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
