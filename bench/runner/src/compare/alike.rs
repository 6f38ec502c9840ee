//! Whether runs are alike enough to be compared: what their figures depend on beside the thing under test.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::stored::StoredRun;
use crate::plan::build::NAMES;
use crate::suite::Suite;
use crate::suite::schema::Role;
use crate::values::hash;
use crate::values::text::CORE;
use crate::values::value::Kind;

/// Digits of a hash that people are shown.
const SHORT: usize = 12;

/// What is not the same in runs that are to be compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Difference {
    pub(crate) name: String,
    pub(crate) values: Vec<String>,
    /// Allowed by name when the comparison was asked for.
    pub(crate) allowed: bool,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.name, self.values.join(" | "))
    }
}

/// What the figures of a run depend on beside the thing under test.
pub(super) fn conditions(suite: &Suite, run: &StoredRun) -> BTreeMap<String, String> {
    let meta = &run.meta;
    let short = |text: &str| text.get(..SHORT).unwrap_or(text).to_owned();
    let host = &meta.host;
    let known = |text: String| {
        if text.is_empty() {
            "unknown".to_owned()
        } else {
            text
        }
    };
    let machine = host.cpus.map_or_else(String::new, |cpus| {
        format!("{cpus} × {} {}", host.cpu_model, host.architecture)
    });
    let mut conditions: BTreeMap<String, String> = [
        ("suite", short(&meta.suite_file.sha256)),
        ("harness", short(&meta.harness.sha256)),
        ("k6", build_of_k6(run)),
        ("machine", machine),
        ("kernel", host.kernel.clone()),
        ("addresses", addresses(suite, run)),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), known(value)))
    .collect();
    // What is sent every second takes time of k6 and of the machine. Runs that nobody watched have the key that they always had.
    if !meta.watched.is_empty() {
        conditions.insert("watched".to_owned(), format!("by {}", meta.watched));
    }
    for (name, setting) in &meta.environment {
        if setting.from != "started" && !NAMES.contains(&name.as_str()) && !is_place(suite, name) {
            conditions.insert(name.clone(), known(setting.value.clone()));
        }
    }
    conditions
}

/// The conditions as one name: baselines of the same key may stand beside each other.
pub(super) fn key(conditions: &BTreeMap<String, String>) -> String {
    let text: String = conditions
        .iter()
        .map(|(name, value)| format!("{name}={value}\n"))
        .collect();
    hash::sha256(text.as_bytes())
        .get(..SHORT)
        .unwrap_or_default()
        .to_owned()
}

/// Whether a variable says where something is or who asks, and not what is done.
fn is_place(suite: &Suite, name: &str) -> bool {
    let declared = suite.file.env.get(name);
    declared.is_some_and(|table| table.role == Role::Place)
}

/// Versions of k6 and its modules, and the core's build id. Not the file's hash: the same sources built again are the same k6.
fn build_of_k6(run: &StoredRun) -> String {
    let whole = &run.meta.k6.version;
    if whole.is_empty() {
        return run.meta.k6_version.clone();
    }
    let lines = whole.lines().map(str::trim);
    let (core, parts): (Vec<&str>, Vec<&str>) = lines
        .filter(|line| !line.is_empty() && *line != "Extensions:")
        .partition(|line| line.starts_with(CORE));
    let mut build = match parts.split_first() {
        Some((first, modules)) if !modules.is_empty() => {
            let modules = hash::sha256(modules.join("\n").as_bytes());
            format!(
                "{first}, modules {}",
                modules.get(..SHORT).unwrap_or_default()
            )
        }
        _ => parts.concat(),
    };
    // A k6 that does not tell is known by what it tells.
    if let Some(core) = core.first() {
        build = format!("{build}, {core}");
    }
    build
}

/// Which addresses are one and which are two: a broker that is reached directly is not one behind a gateway, wherever
/// both are.
fn addresses(suite: &Suite, run: &StoredRun) -> String {
    let mut origins: Vec<&str> = Vec::new();
    let mut shape = Vec::new();
    for (name, setting) in &run.meta.environment {
        let declared = suite.file.env.get(name.as_str());
        let is_address = declared.is_some_and(|table| table.kind == Kind::Url);
        // What the runner starts has the address that it gets.
        if !is_address || setting.value.is_empty() || setting.from == "started" {
            continue;
        }
        let value = setting.value.trim_end_matches('/');
        let number = origins.iter().position(|known| *known == value);
        let number = number.unwrap_or_else(|| {
            origins.push(value);
            origins.len() - 1
        });
        shape.push(format!("{name}={}", number + 1));
    }
    if shape.is_empty() {
        "the runner's own".to_owned()
    } else {
        shape.join(" ")
    }
}

/// What is not the same in the runs of one variant, for people; `None` where they are alike.
pub(crate) fn unlike(suite: &Suite, variant: &str, runs: &[&StoredRun]) -> Option<String> {
    let side = [(variant.to_owned(), runs.to_vec())];
    let found = differences(suite, &side, &[]);
    let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
    (!texts.is_empty()).then(|| texts.join(", "))
}

/// What is not the same in all runs, with what was allowed by name; the builds of one side (named by it) are looked at too:
/// a rebuilt target is another one than its predecessor.
pub(super) fn differences(
    suite: &Suite,
    sides: &[(String, Vec<&StoredRun>)],
    allowed: &[String],
) -> Vec<Difference> {
    let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut runs = 0;
    let mut holders: BTreeMap<String, usize> = BTreeMap::new();
    for run in sides.iter().flat_map(|(_, runs)| runs) {
        runs += 1;
        for (name, value) in conditions(suite, run) {
            *holders.entry(name.clone()).or_default() += 1;
            seen.entry(name).or_default().insert(value);
        }
    }
    for (name, holders) in holders {
        if holders < runs {
            seen.entry(name).or_default().insert("not given".to_owned());
        }
    }
    for (side, runs) in sides {
        let builds: BTreeSet<String> = runs.iter().map(|run| run.build()).collect();
        seen.insert(format!("build of {side}"), builds);
    }
    seen.into_iter()
        .filter(|(_, values)| values.len() > 1)
        .map(|(name, values)| Difference {
            allowed: allowed
                .iter()
                .any(|allowed| *allowed == name || name.strip_prefix("build of ") == Some(allowed)),
            values: values.into_iter().collect(),
            name,
        })
        .collect()
}
