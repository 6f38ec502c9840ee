//! The tables and keys of a suite file, as written. An unknown table or key is an error.
//!
//! References between tables are checked in [`super::check`]; a field that takes part in such a check keeps its place in
//! the file (`Spanned`), so that the message can name the line.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::scenario::ScenarioTable;
use crate::values::exit::Policy;

/// A suite file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) suite: SuiteTable,
    #[serde(default)]
    pub(crate) env: BTreeMap<Spanned<String>, EnvTable>,
    pub(crate) evidence: EvidenceTable,
    #[serde(default)]
    pub(crate) target: Vec<TargetTable>,
    #[serde(default)]
    pub(crate) clean: Vec<CleanTable>,
    #[serde(default)]
    pub(crate) scenario: Vec<ScenarioTable>,
    #[serde(default)]
    pub(crate) monitor: Vec<MonitorTable>,
    #[serde(default)]
    pub(crate) derive: Vec<DeriveTable>,
    #[serde(default)]
    pub(crate) gate: Vec<GateTable>,
    #[serde(default)]
    pub(crate) compare: Vec<CompareTable>,
    pub(crate) report: Option<ReportTable>,
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
    /// Which exit code is handed on.
    #[serde(default)]
    pub(crate) exit: Policy,
    /// Hosts that addresses in variables may name.
    #[serde(default)]
    pub(crate) allow_hosts: Vec<String>,
    /// What the machine must offer: `k6+MODULE+…`, `redis`, `nofile>=N`.
    #[serde(default)]
    pub(crate) needs: Vec<Spanned<String>>,
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
}

/// Type of a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Int,
    Float,
    String,
    Url,
    List,
    /// Of a file, from the current folder on; handed on as an absolute one.
    Path,
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

/// `[[target]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TargetTable {
    pub(crate) id: String,
    pub(crate) kind: TargetKind,
    pub(crate) variant: Option<Spanned<String>>,
    /// Program and arguments.
    #[serde(default)]
    pub(crate) start: Vec<Spanned<String>>,
    pub(crate) ready: Ready,
    /// Log files of an external target; an entry whose variable has no value is left out.
    #[serde(default)]
    pub(crate) logs: Vec<Spanned<String>>,
    /// Further arguments, split at white space: the fault switches of a reference target.
    pub(crate) faults: Option<Spanned<String>>,
}

/// Who starts a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TargetKind {
    /// A program of this project, started by the runner.
    Builtin,
    /// Any other program, started by the runner.
    Process,
    /// Started by a person; the runner only looks whether it answers.
    External,
}

/// `target.ready`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ready {
    /// Address that must answer with `status`.
    pub(crate) url: Option<Spanned<String>>,
    /// Address that must accept a connection.
    pub(crate) tcp: Option<Spanned<String>>,
    pub(crate) status: Option<u16>,
    #[serde(with = "duration")]
    pub(crate) every: std::time::Duration,
    #[serde(with = "duration")]
    pub(crate) limit: std::time::Duration,
}

/// `[[clean]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CleanTable {
    pub(crate) id: String,
    pub(crate) kind: CleanKind,
    /// `before_run`, or `before_run if NAME=VALUE`.
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
}

/// What is cleaned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CleanKind {
    Redis,
}

/// `[[monitor]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MonitorTable {
    pub(crate) id: Spanned<String>,
    pub(crate) kind: MonitorKind,
    /// Process monitor: `k6`, `target`, `redis`. Queue monitor: keys, and fields of hashes, as in `scope`.
    pub(crate) of: Vec<Spanned<String>>,
    #[serde(with = "duration")]
    pub(crate) every: std::time::Duration,
    /// The server of a queue monitor.
    pub(crate) source: Option<Spanned<String>>,
    /// Scenarios it watches; all when empty.
    #[serde(default)]
    pub(crate) scenarios: Vec<Spanned<String>>,
}

/// What a monitor samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MonitorKind {
    /// Processor time, memory, descriptors and connections of processes.
    Process,
    /// Sizes of keys in Redis, whatever their type.
    Redis,
}

/// `[[derive]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeriveTable {
    pub(crate) id: Spanned<String>,
    /// `summary.PATH`, `machine.NAME` or `env.NAME`; the first that has a value counts.
    pub(crate) from: Vec<Spanned<String>>,
    pub(crate) how: How,
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
    pub(crate) stat: Spanned<String>,
    pub(crate) op: Op,
    pub(crate) limit: Spanned<toml::Value>,
    pub(crate) unit: Option<String>,
    /// Fewer samples than this are not good enough to judge by.
    pub(crate) min_samples: Option<Spanned<u64>>,
    /// The value that absence stands for; without it absence is invalid.
    pub(crate) absent: Option<f64>,
}

/// What a failed gate means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Class {
    /// The evidence is not good enough: `INVALID`.
    Validity,
    /// The objective was missed: `FAIL`.
    Slo,
    /// Recorded only.
    Watch,
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
}

/// What makes two runs a pair.
#[derive(Debug, Clone, Copy, Default, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PairBy {
    #[default]
    Cycle,
}

/// How a difference is estimated.
#[derive(Debug, Clone, Copy, Default, Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Method {
    /// Student's t on the log ratios of the pairs.
    #[default]
    PairedLogRatio,
    /// Welch's t on the logarithms; only between two folders, never declared.
    #[serde(skip_deserializing)]
    WelchLogRatio,
}

/// `[report]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReportTable {
    /// What is written at the end of a plan.
    pub(crate) formats: Vec<Format>,
    /// Parts of the report, in their order.
    pub(crate) sections: Vec<Spanned<String>>,
}

/// A form of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Format {
    Html,
    Md,
    Json,
}

pub(super) mod duration {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, de::Error as _};

    pub(in crate::suite) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        super::parse_duration(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Reads `500ms`, `30s`, `5m`, `1h`.
///
/// # Errors
/// A text that says what was received and what is allowed.
pub(crate) fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    let refuse = || {
        format!(
            "not a duration: `{text}`; allowed: a whole number with the unit ms, s, m or h, as in `30s`"
        )
    };
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .ok_or_else(refuse)?;
    let number: u64 = text[..split].parse().map_err(|_| refuse())?;
    let unit = match &text[split..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(refuse()),
    };
    number
        .checked_mul(unit)
        .map(std::time::Duration::from_millis)
        .ok_or_else(refuse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        for (text, millis) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(std::time::Duration::from_millis(millis))
            );
        }
        for text in [
            "",
            "30",
            "s",
            "1d",
            "-1s",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert!(
                parse_duration(text).is_err_and(|error| error.contains("allowed")),
                "{text}"
            );
        }
    }
}
