//! One planned run: its variables, limits, target and folder.

use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use super::build::{Build, NAMES, UnderTest};
use super::ladder::Rung;
use super::load::{self, Load};
use super::selection::Selection;
use super::{computed, points, quick, target};
use crate::evidence::component;
use crate::suite::Suite;
use crate::suite::command::Work;
use crate::suite::gate;
use crate::suite::hosts::Words;
use crate::suite::post::PostKind;
use crate::suite::scenario::ScenarioTable;
use crate::suite::schema::{TargetKind, TargetTable};
use crate::suite::vars::{Point, RunValues, Vars};
use crate::values::duration::parse_time;
use crate::values::exit;
use crate::values::hash::{self, Harness};
use crate::values::shortcut;
use crate::values::template::{run_values, variables};
use crate::values::value::Value;

/// One execution of one point of a scenario with one variant in one cycle.
#[derive(Debug)]
pub(crate) struct PlannedRun<'a> {
    /// Place in the plan, from 1.
    pub(crate) number: usize,
    pub(crate) scenario: &'a ScenarioTable,
    pub(crate) point: Point,
    pub(crate) variant: Option<String>,
    pub(crate) cycle: Cycle,
    /// Its place in the ladder of its scenario, where that seeks a limit.
    pub(crate) rung: Option<Rung>,
    /// The scenarios after this one only begin once this run has passed.
    pub(crate) preflight: bool,
    /// What the target needs, in the order in which it is started.
    pub(crate) services: Vec<&'a TargetTable>,
    pub(crate) target: &'a TargetTable,
    pub(crate) vars: Vars,
    /// What the harness does, where the suite says so.
    pub(crate) load: Load,
    /// Further arguments of k6.
    pub(crate) args: Vec<String>,
    /// How many users there are; `None` if the suite says nothing about it.
    pub(crate) users: Option<i64>,
    /// Wall-clock bound of k6.
    pub(crate) bound: Duration,
    /// How long the run takes if nothing goes wrong; `None` if the suite says nothing about it.
    pub(crate) estimate: Option<Duration>,
    /// Pause before the next run.
    pub(crate) cooldown: Option<Duration>,
    /// The thing under test, as far as it is known before it is there.
    pub(crate) under_test: UnderTest,
    /// What tells two things under test apart: variant and build, or the target's name where nobody says more.
    pub(crate) branch: String,
    /// The harness; `None` of a scenario that has commands, or nothing yet.
    pub(crate) script: Option<PathBuf>,
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
    let shares = quick::scale(suite, scenario, selection.quick, &mut vars)?;
    let target = target::choose(suite, scenario, variant.as_deref(), &vars)?;
    let alone = target.kind == TargetKind::None;
    let services = if alone {
        Vec::new()
    } else {
        target::services(suite, target)
    };
    let under_test = (!alone).then_some(target);
    let all: Vec<&TargetTable> = services.iter().copied().chain(under_test).collect();
    for target in &all {
        target::own_addresses(target, &vars)?;
        vars.complete(&suite.file, target)?;
    }
    check_hosts(suite, &all, &vars)?;
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
        ("quick", if selection.quick { "true" } else { "" }),
    ] {
        vars.know(name, value);
    }
    computed::compute(&suite.file, &mut vars)?;
    // Once more: computed values may be parts of addresses.
    check_hosts(suite, &all, &vars)?;
    let expand = |text: &Spanned<String>| vars.expand(text.get_ref(), &RunValues::new());
    let time = |text: &Spanned<String>| parse_time(&expand(text)?).map_err(exit::set_up);
    let load = Load::new(scenario, &vars, shares)?;
    let args = arguments_of_k6(scenario, &vars)?;
    let what = format!("scenario {}", scenario.id.get_ref());
    suite.allow(&what, &args.join(" "))?;
    suite.allow_words(&what, &args.join(" "), Words::Arguments)?;
    let users = suite.file.suite.users.as_ref();
    let users = users.map(|text| number(&expand(text)?));
    let probe = suite.file.probe.as_ref();
    let probe = probe.filter(|_| scenario.work() == Work::Script);
    let probe = probe.map(|table| {
        anyhow::Ok(Probe {
            script: suite.resolve(&table.script),
            limit: time(&table.limit)?,
            before_run: table.before_run,
        })
    });
    gate::check_limits(&suite.file, scenario.id.get_ref(), &vars)?;
    let bound = scenario.limit.as_ref().or(scenario.time_limit.as_ref());
    let bound = bound.map(time).transpose()?;
    let estimate = scenario.estimate.as_ref().map(time).transpose()?;
    let script = scenario.script.as_ref();
    let script = script.map(|text| anyhow::Ok(suite.resolve(&expand(text)?)));
    let mut run = PlannedRun {
        number: 0,
        scenario,
        point: point.clone(),
        variant,
        cycle,
        rung: None,
        preflight: false,
        services,
        target,
        // `validate` has seen that one of them is there.
        bound: bound.or(load.bound).unwrap_or_default(),
        estimate: estimate.or(load.estimate),
        cooldown: scenario.cooldown.map(|pause| shares.time(pause)),
        load,
        args,
        users: users.transpose()?,
        probe: probe.transpose()?,
        vars,
        under_test,
        branch,
        script: script.transpose()?,
        folder: String::new(),
    };
    run.folder = run.folder_name(suite)?;
    Ok(run)
}

/// What k6 gets beside what the runner hands it.
fn arguments_of_k6(scenario: &ScenarioTable, vars: &Vars) -> anyhow::Result<Vec<String>> {
    let Some(args) = &scenario.args else {
        return Ok(Vec::new());
    };
    // Without a value of its variable there are none.
    let missing = variables(args.get_ref());
    if missing.iter().any(|name| vars.get(name).is_none()) {
        return Ok(Vec::new());
    }
    load::open(scenario.id.get_ref(), "args", args.get_ref(), vars)?;
    let text = vars.expand(args.get_ref(), &RunValues::new())?;
    match shortcut::argument(&text).filter(|_| scenario.hands_on_loads()) {
        Some(word) => Err(exit::set_up(format!(
            "scenario {}: {}",
            scenario.id.get_ref(),
            shortcut::of_argument(word)
        ))),
        None => Ok(text.split_whitespace().map(str::to_owned).collect()),
    }
}

fn number(text: &str) -> anyhow::Result<i64> {
    text.parse().map_err(|_| {
        exit::set_up(format!(
            "`users` of [suite]: `{text}` is not a whole number"
        ))
    })
}

/// A run writes to Redis and drives load: both only where the suite allows it. Looked at is every address that a step of
/// the run or its harness can reach: those in variables, whatever their type, and those that the suite's tables name.
fn check_hosts(suite: &Suite, targets: &[&TargetTable], vars: &Vars) -> anyhow::Result<()> {
    let processes = targets.iter().flat_map(|target| &target.processes);
    let processes = processes.map(|text| text.get_ref().as_str());
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
    let known = RunValues::from([("address", String::new()), ("seconds", "1".to_owned())]);
    for (what, text) in places(suite, targets) {
        // What has no value yet is looked at once it has.
        if let Ok(address) = vars.expand(text, &known) {
            suite.allow(&what, &address)?;
        }
    }
    let mut arguments = targets.iter().flat_map(|target| arguments(target, vars));
    arguments.try_for_each(|(what, text)| {
        suite.allow(&what, &text)?;
        suite.allow_words(&what, &text, Words::Arguments)
    })
}

/// What a target is started with, as far as it has its values.
fn arguments(target: &TargetTable, vars: &Vars) -> impl Iterator<Item = (String, String)> {
    let known = target.not_yet();
    let words = target.start.iter().skip(1).chain(&target.faults);
    words.filter_map(move |word| {
        let text = vars.expand(word.get_ref(), &known).ok()?;
        Some((format!("target {}", target.id), text))
    })
}

/// The texts of a suite that hold addresses, and what names them.
fn places<'s>(suite: &'s Suite, targets: &[&'s TargetTable]) -> Vec<(String, &'s str)> {
    let of_target = targets.iter().flat_map(|target| {
        let version = target.version.as_ref().map(|table| &table.url);
        let ready = [&target.ready.url, &target.ready.tcp];
        let texts = ready.into_iter().flatten().chain(version);
        texts.map(move |text| (format!("target {}", target.id), text))
    });
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
    let drains = suite.file.drain.iter();
    let drains = drains.map(|table| (format!("drain {}", table.id.get_ref()), &table.source));
    let posts = suite
        .file
        .post
        .iter()
        .filter(|table| table.kind == PostKind::Sql);
    let posts = posts.map(|table| (format!("post {}", table.id.get_ref()), &table.source));
    let profiles = suite.file.profile.iter();
    let profiles = profiles.map(|table| (format!("profile {}", table.id.get_ref()), &table.source));
    let servers = suite.file.server.iter();
    let servers = servers.map(|table| (format!("server {}", table.id.get_ref()), &table.source));
    let proxies = suite.file.proxy.iter();
    let proxies = proxies.map(|table| (format!("proxy {}", table.id.get_ref()), &table.to));
    let asked = clean
        .chain(monitors)
        .chain(records)
        .chain(drains)
        .chain(posts)
        .chain(profiles)
        .chain(servers)
        .chain(proxies);
    let texts = of_target
        .chain(asked)
        .map(|(what, text)| (what, text.get_ref().as_str()));
    let chaos = suite.file.chaos.iter().flat_map(|table| {
        let url = table.url.as_ref().map(|url| url.get_ref().as_str());
        let asked = table
            .expect
            .as_ref()
            .map(|expect| expect.get_ref().url.as_str());
        let texts = [url, asked].into_iter().flatten();
        texts.map(|text| (format!("chaos {}", table.id.get_ref()), text))
    });
    texts.chain(chaos).collect()
}

impl<'a> PlannedRun<'a> {
    /// Everything that the run starts or reaches, in the order in which it does.
    pub(crate) fn targets(&self) -> Vec<&'a TargetTable> {
        let under_test = Some(self.target).filter(|target| target.kind != TargetKind::None);
        self.services.iter().copied().chain(under_test).collect()
    }

    /// Looks again at every address, with the values that it got meanwhile.
    ///
    /// # Errors
    /// One is not allowed; the text names it.
    pub(crate) fn check_hosts(&self, suite: &Suite, known: &RunValues) -> anyhow::Result<()> {
        let targets = self.targets();
        for (what, text) in places(suite, &targets) {
            if let Ok(address) = self.vars.expand(text, known) {
                suite.allow_now(&what, &address)?;
            }
        }
        let mut arguments = targets
            .iter()
            .flat_map(|target| arguments(target, &self.vars));
        arguments.try_for_each(|(what, text)| {
            suite.allow_now(&what, &text)?;
            suite.allow_words(&what, &text, Words::Arguments)
        })
    }

    /// The hash of everything that the harness loads: its own folder, and the files that variables name. Of commands, what the suite
    /// says of them, and the files of its own that they name.
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
        match &self.script {
            Some(script) => hash::harness(script, &files),
            None => {
                let commands = self.scenario.command.iter();
                let words = commands.flat_map(|command| &command.run);
                let words: Vec<String> = words.map(|word| word.get_ref().clone()).collect();
                hash::commands(&suite.root, &words)
            }
        }
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
        let scenario = self.scenario.id.get_ref();
        let mut title = match self.target.kind {
            TargetKind::None => scenario.clone(),
            _ => format!("{scenario} / {}", self.branch),
        };
        if !self.point.is_empty() {
            title = format!("{title}, {}", points::shown(&self.point));
        }
        if let Some(rung) = self.rung {
            return match rung.repeat {
                0 => title,
                repeat => format!("{title}, repetition {repeat}"),
            };
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
