//! What `meta.json` of a run says, as far as comparisons and reports look at it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value as Json};

/// What `meta.json` says; what an older file lacks has its default.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Meta {
    pub(crate) suite: String,
    pub(crate) scenario: String,
    pub(crate) variant: String,
    pub(crate) branch: String,
    pub(crate) sha: String,
    pub(crate) git_dirty: Option<bool>,
    pub(crate) point: Map<String, Json>,
    pub(crate) cycle: u32,
    pub(crate) attempt: u32,
    /// Number of its block in the plan.
    pub(crate) block: Option<u32>,
    /// The attempt at its block; older files do not say it.
    pub(crate) block_attempt: Option<u32>,
    pub(crate) discarded: bool,
    pub(crate) preflight: bool,
    pub(crate) quick: bool,
    pub(crate) label: String,
    pub(crate) start_time: String,
    pub(crate) end_time: String,
    pub(crate) k6_version: String,
    pub(crate) k6: K6,
    pub(crate) suite_file: Hashed,
    pub(crate) build: Build,
    pub(crate) redis: String,
    /// Empty where the suite needs none.
    pub(crate) postgres: String,
    /// The files that were made for the run, by their ids.
    pub(crate) fixtures: BTreeMap<String, Hashed>,
    pub(crate) k6_run: K6Run,
    pub(crate) environment: BTreeMap<String, Setting>,
    pub(crate) harness: Hashed,
    pub(crate) host: Host,
    pub(crate) machine: Machine,
    pub(crate) observed: Observed,
    /// By whom the run was watched while it ran; empty where nobody did.
    pub(crate) watched: String,
    /// Everything else, among it what the suite's records say.
    #[serde(flatten)]
    pub(crate) others: BTreeMap<String, Json>,
}

/// How k6 ran.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct K6Run {
    pub(crate) start_ms: Option<f64>,
    pub(crate) wall_clock_ms: Option<f64>,
    pub(crate) exit_code: Option<i32>,
}

/// The value of a variable and where it came from.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Setting {
    pub(crate) value: String,
    pub(crate) from: String,
}

/// The k6 that ran.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct K6 {
    /// All lines, modules included.
    pub(crate) version: String,
}

/// The thing under test.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Build {
    pub(crate) id: String,
    pub(crate) name: String,
    /// What the builds of a plan are compared with; empty if there is only one.
    pub(crate) base: String,
}

/// A file by its hash.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Hashed {
    pub(crate) sha256: String,
}

/// The machine, before the run.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Host {
    pub(crate) kernel: String,
    pub(crate) architecture: String,
    pub(crate) cpus: Option<u32>,
    pub(crate) cpu_model: String,
    pub(crate) memory_bytes: Option<f64>,
    pub(crate) load_average_start: Vec<f64>,
}

/// What was seen of the run while it ran.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Observed {
    /// A crossed threshold ended it before its end.
    pub(crate) cut: bool,
}

/// What else the machine did during the run.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Machine {
    pub(crate) busy: bool,
    pub(crate) note: String,
}
