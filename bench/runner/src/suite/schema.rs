//! The tables and keys of a suite file, as written. An unknown table or key is an error.
//!
//! References between tables are checked in [`super::check`]; a field that takes part in such a check keeps its place in
//! the file (`Spanned`), so that the message can name the line.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::alert::{AlertTable, DashboardTable};
use super::asked::{AskedKind, DrainTable};
use super::chaos::{ChaosTable, ProxyTable};
pub(crate) use super::class::Class;
use super::fixture::FixtureTable;
use super::monitor::MonitorTable;
use super::post::PostTable;
use super::profile::ProfileTable;
use super::resource::{DocumentTable, ResourceTable};
use super::scenario::ScenarioTable;
use super::server::ServerTable;
pub(crate) use super::target::{TargetKind, TargetTable};
use crate::values::duration;
use crate::values::exit::Policy;
use crate::values::value::Kind;

/// A suite file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) suite: SuiteTable,
    #[serde(default)]
    pub(crate) env: BTreeMap<Spanned<String>, EnvTable>,
    /// Values for variables, by the name that `suite.preset` stands for.
    #[serde(default)]
    pub(crate) preset: BTreeMap<Spanned<String>, BTreeMap<Spanned<String>, toml::Value>>,
    /// Expressions by name, computed in the order of the file: see [`File::computed`].
    #[serde(default)]
    computed: BTreeMap<Spanned<String>, Spanned<String>>,
    #[serde(default)]
    pub(crate) require: Vec<RequireTable>,
    /// Lists that cleaning and monitors go through, by the name that an item has there.
    #[serde(default)]
    pub(crate) each: BTreeMap<Spanned<String>, Spanned<String>>,
    pub(crate) evidence: EvidenceTable,
    #[serde(default)]
    pub(crate) target: Vec<TargetTable>,
    pub(crate) probe: Option<ProbeTable>,
    #[serde(default)]
    pub(crate) clean: Vec<CleanTable>,
    #[serde(default)]
    pub(crate) fixture: Vec<FixtureTable>,
    #[serde(default)]
    pub(crate) drain: Vec<DrainTable>,
    #[serde(default)]
    pub(crate) scenario: Vec<ScenarioTable>,
    pub(crate) series: Option<SeriesTable>,
    #[serde(default)]
    pub(crate) monitor: Vec<MonitorTable>,
    #[serde(default)]
    pub(crate) profile: Vec<ProfileTable>,
    #[serde(default)]
    pub(crate) server: Vec<ServerTable>,
    #[serde(default)]
    pub(crate) proxy: Vec<ProxyTable>,
    #[serde(default)]
    pub(crate) chaos: Vec<ChaosTable>,
    #[serde(default)]
    pub(crate) record: Vec<RecordTable>,
    #[serde(default)]
    pub(crate) post: Vec<PostTable>,
    #[serde(default)]
    pub(crate) meta: Vec<MetaTable>,
    #[serde(default)]
    pub(crate) derive: Vec<DeriveTable>,
    #[serde(default)]
    pub(crate) gate: Vec<GateTable>,
    #[serde(default)]
    pub(crate) compare: Vec<CompareTable>,
    #[serde(default)]
    pub(crate) alert: Vec<AlertTable>,
    pub(crate) dashboard: Option<DashboardTable>,
    #[serde(default)]
    pub(crate) resource: Vec<ResourceTable>,
    pub(crate) report: Option<ReportTable>,
    pub(crate) quick: Option<QuickTable>,
}

impl File {
    /// The record from whose time on the report counts.
    pub(crate) fn since(&self) -> Option<&RecordTable> {
        let since = self.report.as_ref()?.since.as_ref()?;
        self.record
            .iter()
            .find(|record| record.id.get_ref() == since.get_ref())
    }

    /// The computed values, in the order in which they are computed: that of the file.
    pub(crate) fn computed(&self) -> Vec<(&Spanned<String>, &Spanned<String>)> {
        let mut tables: Vec<_> = self.computed.iter().collect();
        tables.sort_by_key(|(name, _)| name.span().start);
        tables
    }
}

/// `[suite]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SuiteTable {
    /// Version of this schema.
    pub(crate) schema: Spanned<u32>,
    pub(crate) id: String,
    pub(crate) title: String,
    /// Scenarios that run when none is named, in this order.
    pub(crate) order: Vec<Spanned<String>>,
    /// What a run that did not pass means for the runs after it.
    #[serde(default)]
    pub(crate) on_fail: OnFail,
    /// What `--quick` multiplies the declared loads by.
    pub(crate) quick_scale: Option<Spanned<f64>>,
    /// By which share an objective may be worse than what was accepted, before that is told.
    pub(crate) regression: Option<Spanned<f64>>,
    /// Which exit code is handed on.
    #[serde(default)]
    pub(crate) exit: Policy,
    /// The variable of the environment that names scenarios where the command line does not, as in `"${NAME}"`.
    pub(crate) scenario: Option<Spanned<String>>,
    /// The variable that chooses a preset, as in `"${NAME}"`.
    pub(crate) preset: Option<Spanned<String>>,
    /// How many users a run has: what connections, ports and memory are reckoned by.
    pub(crate) users: Option<Spanned<String>>,
    /// A run in a few words, for `doctor`.
    pub(crate) describe: Option<Spanned<String>>,
    /// Hosts that a step of a run may reach, wherever they are named.
    #[serde(default)]
    pub(crate) allow_hosts: Vec<String>,
    /// Databases that a run may reset, by their names.
    #[serde(default)]
    pub(crate) allow_databases: Vec<String>,
    /// What the machine must offer: `k6+MODULE+…`, `redis`, `postgres`, `nofile>=N`.
    #[serde(default)]
    pub(crate) needs: Vec<Spanned<String>>,
}

/// `[quick]`: what `--quick` multiplies by, each a share above 0 and up to 1; what is not named stays.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct QuickTable {
    /// Warm-up, window, cool-down, and how long loads take.
    pub(crate) time: Option<Spanned<f64>>,
    /// Users that do not follow from a rate.
    pub(crate) vus: Option<Spanned<f64>>,
    /// What gates need to judge.
    pub(crate) min_samples: Option<Spanned<f64>>,
}

/// What becomes of the plan after a run that did not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnFail {
    /// The plan ends.
    #[default]
    Stop,
    /// The other runs of the scenario are left out.
    NextScenario,
    /// All other runs follow.
    NextRun,
}

/// `[env.NAME]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EnvTable {
    #[serde(rename = "type")]
    pub(crate) kind: Kind,
    pub(crate) default: Option<Spanned<toml::Value>>,
    pub(crate) allowed: Option<Vec<toml::Value>>,
    #[serde(default)]
    pub(crate) secret: bool,
    #[serde(default)]
    pub(crate) role: Role,
    /// It may name a file that the harness loads, which is then part of the harness.
    #[serde(default)]
    pub(crate) harness: bool,
    /// An expression that takes the place of a given value before the run.
    pub(crate) becomes: Option<Spanned<String>>,
}

/// What a variable says about a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    /// What is measured: runs with different values are different measurements.
    #[default]
    Parameter,
    /// Where it is measured: an address, a folder, a credential.
    Place,
}

/// `[[require]]`: what must hold before a run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RequireTable {
    /// An expression.
    pub(crate) that: Spanned<String>,
    /// What a refusal says; takes placeholders.
    pub(crate) say: Spanned<String>,
}

/// `[evidence]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EvidenceTable {
    pub(crate) root: Spanned<String>,
    pub(crate) folder: Spanned<String>,
    /// Files that must exist after a run.
    #[serde(default)]
    pub(crate) files: Vec<String>,
}

/// `[probe]`: a script of k6 that tries what a run will do, and says what it sees.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProbeTable {
    pub(crate) script: String,
    /// Wall-clock bound of k6: a duration, or a text that becomes a number of milliseconds.
    pub(crate) limit: Spanned<String>,
    /// Whether a target that a person started is tried before its first run too, and not by `doctor` alone.
    #[serde(default)]
    pub(crate) before_run: bool,
}

/// `[[clean]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CleanTable {
    pub(crate) id: String,
    pub(crate) kind: CleanKind,
    /// `before_run` or `after_run`, alone or with ` if NAME=VALUE`.
    pub(crate) when: Spanned<String>,
    pub(crate) target: Spanned<String>,
    /// What may be touched: `KEY`, `HASH[FIELD]`, `HASH[FIELD]=VALUE`.
    #[serde(default)]
    pub(crate) scope: Vec<Spanned<String>>,
    /// Types that a key to be deleted may have.
    #[serde(default)]
    pub(crate) types: Vec<String>,
    /// Reading commands whose replies are recorded.
    #[serde(default)]
    pub(crate) statements: Vec<Spanned<String>>,
    /// What makes or migrates the tables before the reset: a file of SQL, or a program with its arguments.
    pub(crate) schema: Option<Spanned<toml::Value>>,
    /// Statements of SQL that change data.
    #[serde(default)]
    pub(crate) reset: Vec<Spanned<String>>,
    /// What is waited for before anything is cleaned, where a person started the target: a program that the runner starts
    /// holds nothing of an earlier run.
    pub(crate) settle: Option<SettleTable>,
    /// How long one statement may take, and the making of the tables; a minute where it is left out.
    pub(crate) limit: Option<Spanned<String>>,
}

/// What makes the tables of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Schema<'a> {
    /// A file of SQL.
    File(&'a str),
    /// A program with its arguments.
    Program(Vec<&'a str>),
}

impl CleanTable {
    /// What makes the tables. What is neither is left out; the check of the suite refuses it.
    pub(crate) fn schema(&self) -> Option<Schema<'_>> {
        match self.schema.as_ref()?.get_ref() {
            toml::Value::String(file) => Some(Schema::File(file)),
            toml::Value::Array(words) => {
                let words = words.iter().map(toml::Value::as_str);
                let words: Option<Vec<&str>> = words.collect();
                words.filter(|words| !words.is_empty()).map(Schema::Program)
            }
            _ => None,
        }
    }
}

/// `clean.settle`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SettleTable {
    /// Fields of hashes; one that is not there has settled.
    pub(crate) of: Vec<Spanned<String>>,
    /// What they are when nobody holds any of them: numbers, or texts that become some.
    pub(crate) one_of: Vec<Spanned<String>>,
    /// After this long the run goes on.
    #[serde(with = "duration")]
    pub(crate) limit: std::time::Duration,
    /// What it means that a value has not settled by then.
    pub(crate) say: Spanned<String>,
}

/// What is cleaned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CleanKind {
    Redis,
    /// A PostgreSQL.
    Sql,
}

/// `[series]`: k6 writes its values over time, and gates on its metrics are judged by them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SeriesTable {
    /// Tags by which the values are kept apart, beside those that gates name.
    #[serde(default)]
    pub(crate) tags: Vec<Spanned<String>>,
}

/// `[[record]]`: what a server is asked for after k6 has ended; the answer goes to `meta.json` under the id.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordTable {
    pub(crate) id: Spanned<String>,
    pub(crate) kind: Spanned<AskedKind>,
    /// The server.
    pub(crate) source: Spanned<String>,
    /// What it is asked, by its kind.
    pub(crate) statement: Spanned<String>,
    /// It is asked before k6 starts, too, and by how much the number grew is kept.
    #[serde(default)]
    pub(crate) grows: bool,
    /// What charts call it.
    pub(crate) title: Option<String>,
}

/// `[[meta]]`: a field of the meta files.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MetaTable {
    pub(crate) id: Spanned<String>,
    /// A text with placeholders; a variable without a value is empty.
    pub(crate) text: Option<Spanned<String>>,
    /// An expression; without a value there is no field.
    pub(crate) value: Option<Spanned<String>>,
    /// The one file that has the field.
    pub(crate) only: Option<MetaFile>,
}

/// A meta file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum MetaFile {
    #[serde(rename = "meta.txt")]
    Text,
    #[serde(rename = "meta.json")]
    Json,
}

/// `[[derive]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeriveTable {
    pub(crate) id: Spanned<String>,
    /// `summary.PATH`, `machine.NAME`, `env.NAME`, `record.ID`, `derived.ID`, `series.METRIC.STAT`, `monitor.ID.NAME.STAT` or
    /// `chaos.ID.NAME`; of what is copied, the first that has a value counts.
    pub(crate) from: Vec<Spanned<String>>,
    pub(crate) how: Spanned<How>,
    /// Lowest and highest value inside the band of `share_in_band`.
    pub(crate) band: Option<Spanned<[f64; 2]>>,
}

/// What `machine.NAME` can name: the figures of the machine that are numbers.
pub(crate) const MACHINE_VALUES: &[&str] = &[
    "cpuPercentMean",
    "generatorCpuPercentMean",
    "othersCpuPercentMean",
    "othersCpuPercentMax",
];

/// What becomes of the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum How {
    /// As it is; absent stays absent.
    Copy,
    /// As it is; absent is 0 (k6 leaves out a counter that was never increased).
    CopyOrZero,
    /// The first one less all others.
    Difference,
    /// The first one divided by the second.
    Ratio,
    /// The least of all.
    Min,
    /// The greatest of all.
    Max,
    Sum,
    /// Over the window, as the statistic of gates.
    ShareInBand,
    /// Over the window, as the statistic of gates.
    LongestGap,
    /// Seconds from a fault to the first good answer, or to the first sample inside the band.
    FirstAfter,
}

/// `[[gate]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GateTable {
    pub(crate) id: Spanned<String>,
    /// Scenarios it judges; all when empty.
    #[serde(default)]
    pub(crate) scenarios: Vec<Spanned<String>>,
    pub(crate) class: Class,
    pub(crate) metric: Spanned<String>,
    #[serde(rename = "type")]
    pub(crate) kind: Option<MetricKind>,
    /// The part of the metric with this tag, as `name:value`.
    pub(crate) tag: Option<Spanned<String>>,
    pub(crate) stat: Spanned<String>,
    /// Lowest and highest value inside the band of `share_in_band`.
    pub(crate) band: Option<Spanned<[f64; 2]>>,
    /// The part of the window that counts: `chaos:ID`, `chaos` or `calm`.
    pub(crate) during: Option<Spanned<String>>,
    pub(crate) op: Op,
    pub(crate) limit: Spanned<toml::Value>,
    pub(crate) unit: Option<String>,
    /// Fewer samples than this are not good enough to judge by.
    pub(crate) min_samples: Option<Spanned<u64>>,
    /// The value that absence stands for; without it absence is invalid.
    pub(crate) absent: Option<f64>,
    /// What it means that the gate does not hold, and what helps; takes placeholders.
    pub(crate) say: Option<Spanned<String>>,
    /// Gates of class slo. This one counts only where some of them were missed and no other was: what it tells of cannot
    /// have made the target look better than it is.
    #[serde(default)]
    pub(crate) excuses: Vec<Spanned<String>>,
}

/// Type of a k6 metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MetricKind {
    Counter,
    Gauge,
    Rate,
    Trend,
}

impl MetricKind {
    /// What it is called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Rate => "rate",
            Self::Trend => "trend",
        }
    }
}

/// Comparison of the value with the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize)]
pub(crate) enum Op {
    #[serde(rename = "<")]
    Less,
    #[serde(rename = "<=")]
    AtMost,
    #[serde(rename = ">")]
    Greater,
    #[serde(rename = ">=")]
    AtLeast,
    #[serde(rename = "==")]
    Equal,
}

impl Op {
    /// As suites write it.
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Greater => ">",
            Self::AtLeast => ">=",
            Self::Equal => "==",
        }
    }
}

/// `[[compare]]`: variants of a scenario against one of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CompareTable {
    pub(crate) id: Spanned<String>,
    /// Scenarios it looks at; all when empty.
    #[serde(default)]
    pub(crate) scenarios: Vec<Spanned<String>>,
    /// A derived value, or a metric of k6's summary.
    pub(crate) metric: Spanned<String>,
    /// `value` of a derived value, else a statistic of the metric.
    pub(crate) stat: Spanned<String>,
    #[serde(default)]
    pub(crate) pair_by: PairBy,
    /// The variant that the others are compared with.
    pub(crate) base: Spanned<String>,
    #[serde(default)]
    pub(crate) method: Method,
    /// By how much a variant may be worse than the base, as a share, or in the unit of what is compared by its difference; beyond, the
    /// plan fails.
    pub(crate) worse_than: Option<Spanned<f64>>,
    #[serde(default)]
    pub(crate) worse: Worse,
}

/// What is worse, where `worse_than` sets a limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Worse {
    /// More, as of a time.
    #[default]
    Higher,
    /// Less, as of a rate.
    Lower,
}

/// What makes two runs a pair.
#[derive(Debug, Clone, Copy, Default, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PairBy {
    #[default]
    Cycle,
}

/// How a difference is estimated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Method {
    /// Student's t on the log ratios of the pairs.
    #[default]
    PairedLogRatio,
    /// Student's t on the differences of the pairs, in the unit of the values.
    PairedDifference,
    /// The ratio of the geometric means, without an interval; only between two folders, never declared.
    #[serde(skip_deserializing)]
    GeometricMeans,
}

/// `[report]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReportTable {
    /// What is written at the end of a plan.
    pub(crate) formats: Vec<Format>,
    /// Parts of the report, in their order.
    pub(crate) sections: Vec<Spanned<String>>,
    /// The record from whose time on charts over time count; without it they begin with k6.
    pub(crate) since: Option<Spanned<String>>,
    /// What came out, in a sentence over derived values, for the first screen.
    pub(crate) answer: Option<Spanned<String>>,
    /// Texts that are filled beside it.
    #[serde(default)]
    pub(crate) document: Vec<DocumentTable>,
}

/// A form of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Format {
    Html,
    Md,
    Json,
}
