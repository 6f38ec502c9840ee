//! What is shown before anything starts: suites, and by `run --dry-run` the whole plan with its time.

use crate::plan::{Plan, PlannedRun, Selection};
use crate::run::clean;
use crate::run::sql::Reset;
use crate::suite::Suite;
use crate::suite::faults::{self, Times};
use crate::suite::quick::Shares;
use crate::suite::vars::{Origin, Value};
use crate::terminal::say;
use crate::values::duration::written;
use crate::values::text::words;
use barrier_stats::order::{self, CycleOrder};
use barrier_stats::ratio::MIN_CYCLES;

/// Prints the plan; starts and writes nothing.
///
/// # Errors
/// A variable of the cleaning is missing.
pub(crate) fn plan(suite: &Suite, plan: &Plan<'_>, selection: &Selection) -> anyhow::Result<()> {
    let time = plan.estimate().map_or_else(
        || "time unknown".to_owned(),
        |time| format!("about {}", words(time)),
    );
    say(&format!(
        "{}: {} runs, {time}",
        suite.file.suite.id,
        plan.certain().count()
    ));
    let shares = Shares::of(&suite.file, selection.quick);
    let spare = plan.runs.len() - plan.certain().count();
    if spare > 0 {
        say(&format!(
            "ladders end where an objective is missed, and repeat or halve what they found: at most {spare} runs more"
        ));
    }
    if plan
        .runs
        .iter()
        .any(|run| run.scenario.cycle_order == CycleOrder::Random && !run.cycle.only)
    {
        say(&format!("random order from seed {}", selection.seed));
    }
    // Variables that all runs share are told once.
    let shared = |name: &str| {
        let mut values = plan.runs.iter().map(|run| run.vars.shown(name));
        let first = values.next();
        values.all(|value| Some(value) == first)
    };
    for run in plan.certain() {
        one(suite, run, &shared, shares)?;
    }
    orders(plan).iter().for_each(|line| say(line));
    if let Some(run) = plan.runs.first() {
        say(&format!("all runs  {}", variables(run, &shared)));
    }
    say("dry run: nothing was started, cleaned or written");
    Ok(())
}

/// The order of the variants in the blocks of each scenario, and numbers of cycles that balance it.
fn orders(plan: &Plan<'_>) -> Vec<String> {
    let mut scenarios: Vec<(&str, Vec<&PlannedRun<'_>>)> = Vec::new();
    for run in plan.runs.iter().filter(|run| !run.cycle.discarded) {
        let id = run.scenario.id.get_ref().as_str();
        match scenarios.iter_mut().find(|(known, _)| *known == id) {
            Some((_, runs)) => runs.push(run),
            None => scenarios.push((id, vec![run])),
        }
    }
    let mut lines = Vec::new();
    for (id, runs) in scenarios {
        let rows: Vec<String> = runs
            .chunk_by(|a, b| a.cycle.block == b.cycle.block)
            .map(|block| {
                let names: Vec<&str> = block.iter().map(|run| run.branch.as_str()).collect();
                names.join(" ")
            })
            .collect();
        let variants = runs.len() / rows.len().max(1);
        let cycles = runs.iter().map(|run| run.cycle.number).max().unwrap_or(0) as usize;
        if variants < 2 || cycles < 2 {
            continue;
        }
        let period = order::period(variants);
        let shown = rows.len().min(period);
        let more = if rows.len() > shown { " | …" } else { "" };
        lines.push(format!(
            "order of {id}: {}{more}",
            rows[..shown].join(" | ")
        ));
        if runs[0].scenario.cycle_order != CycleOrder::Alternate || cycles.is_multiple_of(period) {
            continue;
        }
        let above = order::balancing(cycles, variants);
        let below = above - period;
        let enough = if below < MIN_CYCLES {
            format!("{above} do")
        } else {
            format!("{below} or {above} do")
        };
        lines.push(format!(
            "         {cycles} cycles do not give the {variants} variants the same places; {enough}"
        ));
    }
    lines
}

fn one(
    suite: &Suite,
    run: &PlannedRun<'_>,
    shared: &impl Fn(&str) -> bool,
    shares: Shares,
) -> anyhow::Result<()> {
    let time = run
        .estimate
        .map_or_else(String::new, |time| format!("  ({})", words(time)));
    let preflight = if run.preflight { "  (preflight)" } else { "" };
    say(&format!(
        "{:>3}. {}{preflight}{time}",
        run.number,
        run.title()
    ));
    if !run.services.is_empty() {
        let ids: Vec<&str> = run.services.iter().map(|table| table.id.as_str()).collect();
        say(&format!("     services  {}", ids.join(", ")));
    }
    say(&format!("     target    {}", run.target.id));
    say(&format!("     evidence  <timestamp>/{}", run.folder));
    if let Some(cleaning) = planned_cleaning(suite, run)? {
        say(&format!("     clean     {}", cleaning.summary().join("; ")));
    }
    for reset in Reset::all(suite, &run.vars)? {
        say(&format!("     reset     {}", reset.summary().join("; ")));
    }
    for line in run.load.shown() {
        say(&format!("     load      {line}"));
    }
    driver(suite, run, shares)?;
    if let Some(window) = run.load.window {
        let warmup = run.load.warmup;
        say(&format!(
            "     measured  {} after {} of warm-up",
            written(window),
            written(warmup)
        ));
    }
    say(&format!("     bound     {}", words(run.bound)));
    if let Some(pause) = run.cooldown {
        say(&format!("     then      {} to cool down", words(pause)));
    }
    let own = variables(run, &|name| !shared(name));
    if !own.is_empty() {
        say(&format!("     variables {own}"));
    }
    Ok(())
}

/// What runs in place of a script, and which faults are injected meanwhile.
fn driver(suite: &Suite, run: &PlannedRun<'_>, shares: Shares) -> anyhow::Result<()> {
    let scenario = run.scenario;
    if let Some(stub) = &scenario.stub {
        say(&format!("     nothing   {}", stub.get_ref()));
    }
    let commands = scenario.command.iter();
    let commands: Vec<&str> = commands.map(|table| table.id.get_ref().as_str()).collect();
    if !commands.is_empty() {
        let repeats = scenario
            .repeats
            .as_ref()
            .map_or(1, |repeats| *repeats.get_ref());
        let repeats = if repeats == 1 {
            String::new()
        } else {
            format!(", {repeats} times")
        };
        say(&format!("     commands  {}{repeats}", commands.join(", ")));
    }
    for table in faults::of_scenario(&suite.file, scenario.id.get_ref()) {
        let times = Times::of(table, &run.vars, shares)?;
        say(&format!(
            "     chaos     {}, after {} for {}",
            table.id.get_ref(),
            written(times.at),
            written(times.hold)
        ));
    }
    Ok(())
}

fn variables(run: &PlannedRun<'_>, which: &impl Fn(&str) -> bool) -> String {
    run.vars
        .iter()
        .filter(|(name, _, _)| which(name))
        .map(|(name, _, _)| format!("{name}={}", run.vars.shown(name).unwrap_or_default()))
        .collect::<Vec<_>>()
        .join(" ")
}

/// The cleaning of a run whose Redis may not have been started yet.
fn planned_cleaning(suite: &Suite, run: &PlannedRun<'_>) -> anyhow::Result<Option<clean::Plan>> {
    let mut vars = run.vars.clone();
    vars.supply(
        "REDIS_URL",
        Value::Text("redis://127.0.0.1".to_owned()),
        Origin::Started,
    );
    clean::Plan::new(suite, &vars, &[])
}
