//! `[[scenario]]`: a unit of work, and the plan that follows from it.

use std::collections::BTreeMap;
use std::time::Duration;

use barrier_stats::order::CycleOrder;
use serde::Deserialize;
use toml::Spanned;

use super::command::{CommandTable, NO_TARGET, Work};
use super::load::LoadTable;
use crate::values::duration::optional;

/// What `k6_env` may set: how k6's runtime collects garbage and takes processors. k6's options go by `args`, and what the
/// harness reads by variables of the suite.
pub(crate) const K6_SETTINGS: [&str; 4] = ["GODEBUG", "GOGC", "GOMAXPROCS", "GOMEMLIMIT"];

/// `[[scenario]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScenarioTable {
    pub(crate) id: Spanned<String>,
    /// The harness; takes placeholders.
    pub(crate) script: Option<Spanned<String>>,
    /// What runs in place of a harness, in this order.
    #[serde(default)]
    pub(crate) command: Vec<CommandTable>,
    /// Why there is neither yet.
    pub(crate) stub: Option<Spanned<String>>,
    /// Its target by the id, or [`super::command::NO_TARGET`].
    pub(crate) target: Option<Spanned<String>>,
    /// Wall-clock bound of all commands of a repeat together.
    pub(crate) time_limit: Option<Spanned<String>>,
    /// How often all commands run.
    pub(crate) repeats: Option<Spanned<u32>>,
    /// The other commands of a repeat run although one has failed.
    #[serde(default)]
    pub(crate) keep_going: bool,
    /// Variables of the caller that commands get.
    #[serde(default)]
    pub(crate) pass_env: Vec<Spanned<String>>,
    /// Further arguments of k6, split at white space.
    pub(crate) args: Option<Spanned<String>>,
    /// Settings of k6's own process, those of Go's runtime: [`K6_SETTINGS`].
    #[serde(default)]
    pub(crate) k6_env: BTreeMap<Spanned<String>, Spanned<String>>,
    /// Other scenarios of the same plan only begin once this one has passed.
    #[serde(default)]
    pub(crate) preflight: bool,
    /// Preflights that come before it, also where it alone is asked for.
    #[serde(default)]
    pub(crate) after: Vec<Spanned<String>>,
    #[serde(default)]
    pub(crate) plan: PlanKind,
    /// The axes of a product, the first one changing slowest; the one axis of a ladder, from its lowest level on.
    #[serde(default)]
    pub(crate) axis: Vec<AxisTable>,
    /// Listed points: variables, and `priority`.
    #[serde(default)]
    pub(crate) points: Vec<BTreeMap<Spanned<String>, toml::Value>>,
    /// How a ladder finds its limit; `None` is [`LadderTable::default`].
    pub(crate) ladder: Option<Spanned<LadderTable>>,
    #[serde(default)]
    pub(crate) variants: Vec<Spanned<String>>,
    /// Judged cycles: in each, every variant runs once.
    pub(crate) cycles: Option<Spanned<u32>>,
    #[serde(default)]
    pub(crate) cycle_order: CycleOrder,
    /// Cycles before the judged ones, to warm up.
    #[serde(default)]
    pub(crate) discard_cycles: u32,
    /// Pause before the next run.
    #[serde(default, with = "optional")]
    pub(crate) cooldown: Option<Duration>,
    /// What is passed over at the beginning of a run: a duration, or a text that becomes one.
    pub(crate) warmup: Option<Spanned<String>>,
    /// What is measured after that: a duration, or a text that becomes one.
    pub(crate) window: Option<Spanned<String>>,
    /// Wall-clock bound of k6: a duration, or a run value in milliseconds; by default it follows from the loads.
    pub(crate) limit: Option<Spanned<String>>,
    /// How long a run takes if nothing goes wrong: a duration, or a run value in milliseconds; by default it follows from the
    /// loads.
    pub(crate) estimate: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) set: BTreeMap<Spanned<String>, toml::Value>,
    /// What variables are where nobody gives them a value, in place of the suite's own default.
    #[serde(default)]
    pub(crate) defaults: BTreeMap<Spanned<String>, toml::Value>,
    /// The loads that the harness applies; see [`ScenarioTable::hands_on_loads`].
    #[serde(default)]
    pub(crate) load: Vec<LoadTable>,
}

impl ScenarioTable {
    /// What its runs do; `validate` has seen that it is one of these alone.
    pub(crate) fn work(&self) -> Work {
        match (self.stub.is_some(), self.command.is_empty()) {
            (true, _) => Work::Stub,
            (false, false) => Work::Commands,
            (false, true) => Work::Script,
        }
    }

    /// Whether it has neither a target nor services.
    pub(crate) fn is_alone(&self) -> bool {
        let named = self.target.as_ref().map(|name| name.get_ref().as_str());
        self.stub.is_some() || named == Some(NO_TARGET)
    }

    /// Whether one of its commands gives this value.
    pub(crate) fn reads(&self, metric: &str) -> bool {
        let values = self.command.iter().flat_map(|command| &command.value);
        let mut names = values.map(|value| value.metric.get_ref());
        names.any(|name| name == metric)
    }
}

impl ScenarioTable {
    /// Judged cycles.
    pub(crate) fn cycles(&self) -> u32 {
        self.cycles.as_ref().map_or(1, |cycles| *cycles.get_ref())
    }

    /// How its ladder finds its limit; `None` if its plan is none.
    pub(crate) fn ladder(&self) -> Option<LadderTable> {
        let declared = self.ladder.as_ref().map(|table| *table.get_ref());
        (self.plan == PlanKind::Ladder).then(|| declared.unwrap_or_default())
    }

    /// Whether the points of its ladder set the variable.
    pub(crate) fn climbs(&self, name: &str) -> bool {
        let on_axis = self.axis.iter().any(|axis| axis.env.get_ref() == name);
        let listed = self.points.iter().any(|point| point.contains_key(name));
        self.plan == PlanKind::Ladder && (on_axis || listed)
    }

    /// Settings of k6's own process, with their values.
    pub(crate) fn k6_settings(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.k6_env.iter();
        pairs.map(|(name, value)| (name.get_ref().as_str(), value.get_ref().as_str()))
    }

    /// Whether the harness gets its loads from the suite: where there is a window, or a load that time ends. Loads of counted
    /// iterations without a window are what the harness does by itself, and are only told here.
    pub(crate) fn hands_on_loads(&self) -> bool {
        let timed = |load: &LoadTable| load.executor.get_ref().is_timed();
        !self.load.is_empty() && (self.window.is_some() || self.load.iter().any(timed))
    }
}

/// How points arise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PlanKind {
    /// One point, no axis.
    #[default]
    Single,
    /// The listed points.
    Points,
    /// Every combination of the levels of all axes.
    Product,
    /// The levels of one axis, or the listed points, until one is not held: see [`LadderTable`].
    Ladder,
}

/// `scenario.ladder`: how a ladder finds its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LadderTable {
    /// How often the first level that fails, and the last that passes, are repeated before either is believed.
    #[serde(default = "LadderTable::once")]
    pub(crate) confirm: u32,
    /// How often the gap between the two is halved.
    #[serde(default)]
    pub(crate) refine: u32,
}

impl LadderTable {
    /// Beyond this a repetition tells nothing new.
    pub(crate) const MOST_CONFIRM: u32 = 5;
    /// Halved so often, a gap is a sixteenth.
    pub(crate) const MOST_REFINE: u32 = 4;

    fn once() -> u32 {
        1
    }
}

impl Default for LadderTable {
    fn default() -> Self {
        Self {
            confirm: Self::once(),
            refine: 0,
        }
    }
}

/// `scenario.axis[]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AxisTable {
    /// The variable.
    pub(crate) env: Spanned<String>,
    /// Its values, in the order of the runs.
    pub(crate) levels: Vec<toml::Value>,
}

/// The key of a listed point that is not a variable.
pub(crate) const PRIORITY: &str = "priority";

/// `priority` of a listed point: the higher ones run first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) enum Priority {
    High,
    Medium,
    Low,
}

/// Whether a table that names scenarios looks at one: those that name none look at all.
pub(crate) fn looks_at(scenarios: &[Spanned<String>], id: &str) -> bool {
    scenarios.is_empty() || scenarios.iter().any(|name| name.get_ref() == id)
}
