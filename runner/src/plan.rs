//! The plan: the ordered list of runs, computed before anything starts.

use std::path::PathBuf;
use std::time::Duration;

use crate::evidence::component;
use crate::limits::Limits;
use crate::suite::Suite;
use crate::suite::schema::{
    CycleOrder, PlanKind, ScenarioTable, TargetKind, TargetTable, parse_duration,
};
use crate::suite::vars::{Given, RunValues, Value, Vars};
use crate::{exit, gates, host, target};

/// What the user asked for.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    /// Scenario ids; empty = the suite's own order.
    pub(crate) scenarios: Vec<String>,
    /// Variants; empty = those of the scenario.
    pub(crate) variants: Vec<String>,
    /// Values of variables.
    pub(crate) given: Given,
}

/// One execution of one scenario with one variant in one cycle.
#[derive(Debug)]
pub(crate) struct PlannedRun<'a> {
    pub(crate) scenario: &'a ScenarioTable,
    pub(crate) variant: Option<String>,
    pub(crate) cycle: u32,
    pub(crate) target: &'a TargetTable,
    pub(crate) vars: Vars,
    pub(crate) limits: Option<Limits>,
    /// Wall-clock bound of k6.
    pub(crate) bound: Duration,
    /// What tells two builds apart: the variant, or the git branch of a target that a person started.
    pub(crate) branch: String,
    pub(crate) script: PathBuf,
}

/// The runs in their order.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) runs: Vec<PlannedRun<'a>>,
}

impl<'a> Plan<'a> {
    /// Computes the plan. Nothing is started, asked or written.
    ///
    /// # Errors
    /// A name is unknown, a variable is missing or wrong, or a run cannot keep its own limits.
    pub(crate) fn new(suite: &'a Suite, selection: &Selection) -> anyhow::Result<Self> {
        let names: Vec<&str> = if selection.scenarios.is_empty() {
            suite
                .file
                .suite
                .order
                .iter()
                .map(|name| name.get_ref().as_str())
                .collect()
        } else {
            selection.scenarios.iter().map(String::as_str).collect()
        };
        let mut runs = Vec::new();
        for name in names {
            let scenario = suite.scenario(name)?;
            // One point per scenario; another kind of plan will yield several here.
            let PlanKind::Single = scenario.plan;
            let variants = variants(suite, scenario, selection)?;
            for cycle in 1..=scenario.cycles {
                for variant in in_cycle(&variants, scenario.cycle_order, cycle) {
                    runs.push(planned(suite, scenario, variant, cycle, selection)?);
                }
            }
        }
        Ok(Self { runs })
    }
}

/// The variants to run. A target started by a person is what it is: the runner cannot switch it.
fn variants(
    suite: &Suite,
    scenario: &ScenarioTable,
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
    let vars = Vars::resolve(suite, scenario, &selection.given)?;
    let external =
        target::choose(suite, declared.first().copied(), &vars)?.kind == TargetKind::External;
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

/// The order of the variants in a cycle.
fn in_cycle(variants: &[Option<String>], order: CycleOrder, cycle: u32) -> Vec<Option<String>> {
    let mut variants = variants.to_vec();
    if order == CycleOrder::Alternate && cycle.is_multiple_of(2) {
        variants.reverse();
    }
    variants
}

fn planned<'a>(
    suite: &'a Suite,
    scenario: &'a ScenarioTable,
    variant: Option<String>,
    cycle: u32,
    selection: &Selection,
) -> anyhow::Result<PlannedRun<'a>> {
    let mut vars = Vars::resolve(suite, scenario, &selection.given)?;
    let target = target::choose(suite, variant.as_deref(), &vars)?;
    target::supply(target, &mut vars)?;
    check_hosts(suite, &vars)?;
    let limits = Limits::compute(&vars, |name| suite.file.env.contains_key(name))?;
    let mut run_values = RunValues::new();
    if let Some(limits) = &limits {
        run_values = limits.run_values();
        vars.fill(&run_values)?;
        limits.feasible(&vars)?;
        run_values.insert(
            "run_limit_ms",
            limits.run_limit(&vars)?.as_millis().to_string(),
        );
    }
    let bound = vars.expand(scenario.limit.get_ref(), &run_values)?;
    let bound = match bound.parse() {
        Ok(millis) => Duration::from_millis(millis),
        Err(_) => parse_duration(&bound).map_err(exit::set_up)?,
    };
    gates::check_limits(&suite.file.gate, scenario.id.get_ref(), &vars, &run_values)?;
    let branch = match (&variant, target.kind) {
        (_, TargetKind::External) => host::git().0,
        (Some(variant), _) => variant.clone(),
        (None, _) => target.id.clone(),
    };
    Ok(PlannedRun {
        scenario,
        variant,
        cycle,
        target,
        vars,
        limits,
        bound,
        branch,
        script: suite.resolve(&scenario.script),
    })
}

/// A run writes to Redis and drives load: both only where the suite allows it.
fn check_hosts(suite: &Suite, vars: &Vars) -> anyhow::Result<()> {
    let allowed = &suite.file.suite.allow_hosts;
    for (name, table) in &suite.file.env {
        let name = name.get_ref();
        let (true, Some(Value::Text(text))) = (
            table.kind == crate::suite::schema::Kind::Url,
            vars.get(name),
        ) else {
            continue;
        };
        let host = url::Url::parse(text)
            .ok()
            .and_then(|address| address.host_str().map(str::to_owned))
            .unwrap_or_default();
        if !allowed.contains(&host) {
            return Err(exit::set_up(format!(
                "{name}: the host {host} is not allowed; allowed: {} (`allow_hosts` in {})",
                allowed.join(", "),
                suite.path.display()
            )));
        }
    }
    Ok(())
}

impl PlannedRun<'_> {
    /// The evidence folder of the run, below the folder of the call.
    ///
    /// # Errors
    /// The suite's folder names a value that this run has not.
    pub(crate) fn folder(&self, suite: &Suite) -> anyhow::Result<String> {
        let template = suite.file.evidence.folder.get_ref();
        let template = template.strip_prefix("{timestamp}/").unwrap_or(template);
        let slots = self.limits.as_ref().map_or("none", |limits| {
            if limits.boosted {
                "slot-boosted"
            } else {
                "seat-limited"
            }
        });
        let values = RunValues::from([
            ("branch", component(&self.branch)),
            ("scenario", component(self.scenario.id.get_ref())),
            (
                "events",
                self.limits
                    .as_ref()
                    .map_or(0, |limits| limits.events)
                    .to_string(),
            ),
            ("slot_mode", slots.to_owned()),
        ]);
        let folder = self.vars.expand(template, &values)?;
        Ok(if self.scenario.cycles > 1 {
            format!("{folder}/cycle-{:02}", self.cycle)
        } else {
            folder
        })
    }

    /// The run in a few words.
    pub(crate) fn title(&self) -> String {
        let cycle = if self.scenario.cycles > 1 {
            format!(", cycle {}", self.cycle)
        } else {
            String::new()
        };
        format!("{} / {}{cycle}", self.scenario.id.get_ref(), self.branch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::tests::suite;

    const TARGETS: &str = r#"
[env.BASE_URL]
type = "url"
[env.BROKER_BASE_URL]
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
            .map(|run| Ok((run.target.id.clone(), run.folder(&suite)?)))
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
        let text = refused(Selection {
            given: given(&[("BROKER_BASE_URL", "http://localhost:9000")]),
            ..Selection::default()
        });
        assert!(text.contains("without BASE_URL"), "{text}");
    }
}
