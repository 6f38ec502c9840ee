//! The plan: the ordered list of runs, computed before anything starts.
//!
//! Scenarios follow one another, within a scenario its points, within a point its cycles. A cycle of a point is a block:
//! each variant runs once, and its runs are compared with each other alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use barrier_stats::order;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::ladder::Rung;
use super::planned::{Cycle, Member, PlannedRun, planned};
use super::selection::Selection;
use super::{points, rungs, target};
use crate::suite::Suite;
use crate::suite::scenario::{LadderTable, ScenarioTable};
use crate::suite::schema::TargetKind;
use crate::suite::vars::{Point, Vars};
use crate::values::exit;
use crate::values::shortcut;

/// The runs in their order.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) runs: Vec<PlannedRun<'a>>,
}

impl<'a> Plan<'a> {
    /// Computes the plan. Nothing is started, asked or written.
    ///
    /// # Errors
    /// A name is unknown, a variable is missing or wrong, a run cannot keep its own limits, or two runs would share a folder.
    pub(crate) fn new(suite: &'a Suite, selection: &Selection) -> anyhow::Result<Self> {
        let scenarios = scenarios(suite, selection)?;
        scenarios
            .iter()
            .try_for_each(|scenario| no_shortcut(scenario, selection))?;
        let mut random = StdRng::seed_from_u64(selection.seed);
        let mut plan = Self { runs: Vec::new() };
        let mut block = 0;
        for &scenario in &scenarios {
            let picked = |(name, _): &(String, String)| points::varies(scenario, name);
            // Levels that a person picks are run as they are: then no limit is sought.
            if let Some(table) = scenario.ladder()
                && !selection.levels.iter().any(picked)
            {
                plan.ladder(suite, scenario, table, selection, &mut block)?;
                continue;
            }
            let preflight = scenario.preflight && scenarios.iter().any(|other| !other.preflight);
            let (cycles, discarded) = if preflight {
                (1, 0)
            } else {
                (
                    selection.cycles.unwrap_or_else(|| scenario.cycles()),
                    selection.discard.unwrap_or(scenario.discard_cycles),
                )
            };
            let mut of_scenario = 0;
            for point in points::of(scenario, &selection.levels)? {
                let mut members = Vec::new();
                for build in selection.builds.each() {
                    let of_build = selection.of_build(suite, build)?;
                    for variant in variants(suite, scenario, &point, &of_build)? {
                        members.push((variant, build, of_build.clone()));
                    }
                }
                // Builds of a variant stand beside each other.
                members.sort_by_key(|(variant, _, _)| {
                    let names = scenario.variants.iter();
                    let mut names = names.map(|name| Some(name.get_ref()));
                    names.position(|name| name == variant.as_ref())
                });
                for number in 1..=discarded + cycles {
                    block += 1;
                    let cycle = Cycle {
                        block,
                        attempt: 1,
                        number: if number > discarded {
                            number - discarded
                        } else {
                            number
                        },
                        discarded: number <= discarded,
                        only: discarded + cycles == 1,
                    };
                    let order = scenario.cycle_order;
                    for (variant, build, selection) in
                        order::in_block(members.clone(), order, of_scenario, &mut random)
                    {
                        let what = Member { variant, build };
                        let mut run = planned(suite, scenario, &point, what, cycle, &selection)?;
                        run.preflight = preflight;
                        run.number = plan.runs.len() + 1;
                        plan.runs.push(run);
                    }
                    of_scenario += 1;
                }
            }
        }
        selection
            .builds
            .check(plan.runs.iter().map(|run| run.target))?;
        plan.folders_differ()?;
        Ok(plan)
    }

    /// Adds every run that a ladder may ask for, each a block of its own.
    fn ladder(
        &mut self,
        suite: &'a Suite,
        scenario: &'a ScenarioTable,
        table: LadderTable,
        selection: &Selection,
        block: &mut u32,
    ) -> anyhow::Result<()> {
        for (given, option) in [
            (selection.cycles.is_some(), "--cycles"),
            (selection.discard.is_some(), "--discard"),
            (!selection.variants.is_empty(), "--variant"),
            (selection.builds.several(), "several --build"),
        ] {
            if given {
                return Err(exit::set_up(format!(
                    "{option}: scenario {} is a ladder, which seeks the limit of one thing by its own order; leave it out, name other scenarios with --scenario, or levels with --level",
                    scenario.id.get_ref()
                )));
            }
        }
        let rungs = rungs::of(scenario, table)?;
        let only = rungs.len() == 1;
        for (rung, point) in rungs {
            *block += 1;
            let cycle = Cycle {
                block: *block,
                attempt: 1,
                number: rung.repeat + 1,
                discarded: false,
                only,
            };
            for build in selection.builds.each() {
                let of_build = selection.of_build(suite, build)?;
                let what = Member {
                    variant: None,
                    build,
                };
                let mut run = planned(suite, scenario, &point, what, cycle, &of_build)?;
                run.rung = Some(rung);
                run.number = self.runs.len() + 1;
                self.runs.push(run);
            }
        }
        Ok(())
    }

    fn folders_differ(&self) -> anyhow::Result<()> {
        let mut seen = BTreeMap::new();
        for run in &self.runs {
            if let Some(other) = seen.insert(&run.folder, run) {
                return Err(exit::set_up(format!(
                    "the runs `{}` and `{}` would share the evidence folder {}; run them in two calls, or let `folder` of the suite tell them apart",
                    other.title(),
                    run.title(),
                    run.folder
                )));
            }
        }
        Ok(())
    }

    /// The runs that are made in any case, but for what ends a ladder before.
    pub(crate) fn certain(&self) -> impl Iterator<Item = &PlannedRun<'a>> {
        let runs = self.runs.iter();
        runs.filter(|run| !run.rung.is_some_and(Rung::is_spare))
    }

    /// How long these take, cool-downs included, if nothing goes wrong; `None` if one of them is unknown.
    pub(crate) fn estimate(&self) -> Option<Duration> {
        self.certain()
            .map(|run| Some(run.estimate? + run.cooldown.unwrap_or_default()))
            .sum()
    }
}

/// Refuses k6's options for one load in a few words where the suite declares the loads: who gives them expects them to count.
fn no_shortcut(scenario: &ScenarioTable, selection: &Selection) -> anyhow::Result<()> {
    let given = &selection.given;
    let is_given = |name: &&str| {
        let mut places = [&given.set, &given.environment, &given.file].into_iter();
        places.any(|place| place.get(*name).is_some_and(|text| !text.is_empty()))
    };
    let name = shortcut::VARIABLES.into_iter().find(is_given);
    match name.filter(|_| scenario.hands_on_loads()) {
        Some(name) => Err(exit::set_up(shortcut::of_variable(
            name,
            scenario.id.get_ref(),
        ))),
        None => Ok(()),
    }
}

/// The scenarios to run, in order: before each the preflights that it comes after, asked for or not. Levels must concern at least
/// one of them.
fn scenarios<'a>(
    suite: &'a Suite,
    selection: &Selection,
) -> anyhow::Result<Vec<&'a ScenarioTable>> {
    let own = || {
        let order = suite.file.suite.order.iter();
        order.map(|name| name.get_ref().clone()).collect()
    };
    let names: Vec<String> = if selection.scenarios.is_empty() {
        own()
    } else {
        selection.scenarios.clone()
    };
    let mut scenarios: Vec<&ScenarioTable> = Vec::new();
    let mut brought = BTreeSet::new();
    for name in &names {
        let scenario = suite.scenario(name)?;
        for first in &scenario.after {
            let first = suite.scenario(first.get_ref())?;
            let id = first.id.get_ref();
            if !scenarios.iter().any(|known| known.id.get_ref() == id) {
                brought.insert(id.as_str());
                scenarios.push(first);
            }
        }
        // Named behind those that wait for it, it was brought forward.
        if !brought.contains(name.as_str()) {
            scenarios.push(scenario);
        }
    }
    for (name, _) in &selection.levels {
        if !scenarios
            .iter()
            .any(|scenario| points::varies(scenario, name))
        {
            return Err(exit::set_up(format!(
                "--level {name}: no axis of {} is called so; a single value is given by --set {name}=VALUE",
                names.join(", ")
            )));
        }
    }
    if selection.cycles == Some(0) {
        return Err(exit::set_up(
            "--cycles 0 is not allowed; allowed: 1 or more",
        ));
    }
    Ok(scenarios)
}

/// The variants to run. A target started by a person is what it is: the runner cannot switch it.
fn variants(
    suite: &Suite,
    scenario: &ScenarioTable,
    point: &Point,
    selection: &Selection,
) -> anyhow::Result<Vec<Option<String>>> {
    let declared: Vec<&str> = scenario
        .variants
        .iter()
        .map(|variant| variant.get_ref().as_str())
        .collect();
    for asked in &selection.variants {
        if !declared.contains(&asked.as_str()) {
            return Err(exit::set_up(format!(
                "unknown variant `{asked}` of scenario {}; allowed: {}",
                scenario.id.get_ref(),
                declared.join(", ")
            )));
        }
    }
    let asked: Vec<Option<String>> = selection.variants.iter().cloned().map(Some).collect();
    let vars = Vars::resolve(&suite.file, scenario, point, &selection.given)?;
    let external = target::choose(suite, scenario, declared.first().copied(), &vars)?.kind
        == TargetKind::External;
    Ok(match (external, asked.len()) {
        (true, 0) => vec![None],
        (true, 2..) => {
            return Err(exit::set_up(
                "the target was started by a person, so it is one variant; name at most one with --variant",
            ));
        }
        (false, 0) if declared.is_empty() => vec![None],
        (false, 0) => declared
            .iter()
            .map(|name| Some((*name).to_owned()))
            .collect(),
        _ => asked,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::given::Given;
    use crate::suite::tests::suite;

    const TARGETS: &str = r#"
[env.BASE_URL]
type = "url"
[[target]]
id = "gateway"
kind = "external"
ready = { tcp = "${BASE_URL}", every = "1s", limit = "5s" }
[[target]]
id = "room-zset"
kind = "builtin"
variant = "zset"
start = ["waiting-room"]
ready = { url = "{address}/health", every = "50ms", limit = "5s" }
[[target]]
id = "room-hash"
kind = "builtin"
variant = "hash"
start = ["waiting-room"]
ready = { url = "{address}/health", every = "50ms", limit = "5s" }
[[scenario]]
id = "smoke"
script = "s.js"
variants = ["zset", "hash"]
cycles = 3
cycle_order = "alternate"
limit = "30s"
"#;

    fn plan(selection: &Selection, head: &str) -> anyhow::Result<Vec<(String, String)>> {
        let suite = suite(TARGETS).expect("suite");
        let mut suite = suite;
        if !head.is_empty() {
            suite.file.suite.allow_hosts = vec![head.to_owned()];
        }
        let plan = Plan::new(&suite, selection)?;
        plan.runs
            .iter()
            .map(|run| Ok((run.target.id.clone(), run.folder.clone())))
            .collect()
    }

    fn given(set: &[(&str, &str)]) -> Given {
        Given {
            set: set
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            ..Given::default()
        }
    }

    #[test]
    fn cycles_alternate_and_have_folders_of_their_own() {
        let runs = plan(&Selection::default(), "").expect("plan");
        let expected = [
            ("zset", 1),
            ("hash", 1),
            ("hash", 2),
            ("zset", 2),
            ("zset", 3),
            ("hash", 3),
        ]
        .map(|(variant, cycle)| {
            (
                format!("room-{variant}"),
                format!("{variant}/smoke/cycle-{cycle:02}"),
            )
        });
        assert_eq!(runs, expected);
    }

    #[test]
    fn an_external_target_is_one_variant() {
        let set = given(&[("BASE_URL", "http://localhost:8080")]);
        let runs = plan(
            &Selection {
                given: set,
                ..Selection::default()
            },
            "localhost",
        )
        .expect("plan");
        assert!(runs.iter().all(|(target, _)| target == "gateway"));
        assert_eq!(runs.len(), 3);
        let set = given(&[("BASE_URL", "http://localhost:8080")]);
        let both = Selection {
            variants: vec!["zset".to_owned(), "hash".to_owned()],
            given: set,
            ..Selection::default()
        };
        assert!(
            plan(&both, "localhost")
                .expect_err("refused")
                .to_string()
                .contains("at most one")
        );
    }

    #[test]
    fn a_scenario_brings_the_preflights_that_it_comes_after() {
        const ALL: &str = r#"
[[target]]
id = "room"
kind = "builtin"
start = ["waiting-room"]
ready = { url = "{address}/health", every = "50ms", limit = "5s" }
[[scenario]]
id = "health"
script = "s.js"
preflight = true
limit = "30s"
[[scenario]]
id = "load"
script = "s.js"
after = ["health"]
limit = "30s"
[[scenario]]
id = "smoke"
script = "s.js"
after = ["health"]
limit = "30s"
"#;
        let suite = suite(ALL).expect("suite");
        let planned = |names: &[&str]| {
            let selection = Selection {
                scenarios: names.iter().map(|name| (*name).to_owned()).collect(),
                ..Selection::default()
            };
            let plan = Plan::new(&suite, &selection).expect("a plan");
            let runs = plan.runs.iter();
            let told = runs.map(|run| format!("{} {}", run.scenario.id.get_ref(), run.preflight));
            told.collect::<Vec<_>>().join(", ")
        };
        assert_eq!(planned(&["load"]), "health true, load false");
        let all = "health true, load false, smoke false";
        assert_eq!(planned(&["load", "smoke"]), all);
        assert_eq!(planned(&["load", "health", "smoke"]), all);
        assert_eq!(planned(&["health", "load", "smoke"]), all);
        assert_eq!(planned(&["health"]), "health false");
    }

    #[test]
    fn wrong_names_and_hosts_are_refused() {
        let refused = |selection: Selection| {
            plan(&selection, "localhost")
                .expect_err("refused")
                .to_string()
        };
        let text = refused(Selection {
            scenarios: vec!["smok".to_owned()],
            ..Selection::default()
        });
        assert!(text.contains("did you mean `smoke`?"), "{text}");
        let text = refused(Selection {
            variants: vec!["list".to_owned()],
            ..Selection::default()
        });
        assert!(text.contains("allowed: zset, hash"), "{text}");
        let text = refused(Selection {
            given: given(&[("BASE_URL", "http://shop.example")]),
            ..Selection::default()
        });
        assert!(
            text.contains("BASE_URL")
                && text.contains("shop.example")
                && text.contains("localhost"),
            "{text}"
        );
    }
}
