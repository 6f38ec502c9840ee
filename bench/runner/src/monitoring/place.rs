//! The folder of a suite's monitor, and what is in it.
//!
//! | File | Written by | Holds |
//! |---|---|---|
//! | `starting.json` | the monitor, first of all, until everything answers | its [`Identity`] |
//! | `monitor.json` | the monitor, once everything answers | [`Record`] |
//! | `container.json` | the monitor, where a container engine runs Grafana | by what its container is known |
//! | `settings.json` | `monitor start` | what the monitor is to start |
//! | `alerting-rules.yml` | `monitor start` | the suite's alerts |
//! | `targets.json` | `monitor start`, runs | what is scraped now |
//! | `standing-targets.json` | `monitor start` | what is scraped between runs |
//! | `runs/ID.json` | runs | [`Run`] |
//! | `prometheus.yml`, `data/`, `*.log` | the monitor, Prometheus | |

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use barrier_procs::Identity;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::plan::Plan;
use crate::suite::Suite;
use crate::suite::vars::{RunValues, Vars};
use crate::values::writer;

/// The monitor that is being started.
const STARTING: &str = "starting.json";
/// What is scraped now, and between runs.
const TARGETS: &str = "targets.json";
const STANDING: &str = "standing-targets.json";
/// So many runs are kept to be looked at again, the newest ones.
pub(crate) const RUNS_KEPT: usize = 100;

/// Beside the folders of evidence.
const FOLDER: &str = "monitoring";

/// A monitor that is up.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    pub(crate) schema_version: u32,
    #[serde(flatten)]
    pub(crate) identity: Identity,
    /// The address of Prometheus.
    pub(crate) prometheus: String,
    /// The address to look at: Grafana's dashboard, or our page.
    pub(crate) dashboard: String,
    /// The address of our page.
    pub(crate) page: String,
    /// How Grafana runs, or why it does not.
    pub(crate) grafana: String,
}

/// A run, as far as panels show it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Run {
    pub(crate) run_id: String,
    pub(crate) title: String,
    pub(crate) scenario: String,
    /// When k6 began, epoch ms.
    pub(crate) start_ms: i64,
    /// What is measured of it, epoch ms; `to` is open where the suite declares no window.
    pub(crate) window_from_ms: i64,
    pub(crate) window_to_ms: Option<i64>,
    /// When k6 ended.
    pub(crate) end_ms: Option<i64>,
    pub(crate) limits: BTreeMap<String, Limit>,
    #[serde(flatten)]
    pub(crate) runner: Identity,
}

/// The limit of a gate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Limit {
    pub(crate) metric: String,
    pub(crate) stat: String,
    pub(crate) op: String,
    pub(crate) limit: f64,
}

impl Run {
    /// Whether a moment, epoch ms, is measured.
    pub(crate) fn measures(&self, now_ms: i64) -> bool {
        let end = self.window_to_ms.into_iter().chain(self.end_ms).min();
        now_ms >= self.window_from_ms && end.is_none_or(|end| now_ms < end)
    }
}

/// The folder.
#[derive(Debug, Clone)]
pub(crate) struct Place(PathBuf);

impl Place {
    /// That of a suite, beside its evidence.
    ///
    /// # Errors
    /// The root of the evidence names a variable without a value.
    pub(crate) fn of(suite: &Suite, vars: &Vars) -> anyhow::Result<Self> {
        let root = vars.expand(suite.file.evidence.root.get_ref(), &RunValues::new())?;
        let root = suite.resolve(&root);
        Ok(Self(root.join(FOLDER).join(&suite.file.suite.id)))
    }

    /// That of the suite of a plan.
    ///
    /// # Errors
    /// As [`Self::of`]; or the plan holds no run.
    pub(crate) fn of_plan(suite: &Suite, plan: &Plan<'_>) -> anyhow::Result<Self> {
        let run = plan.runs.last().context("a plan holds a run")?;
        Self::of(suite, &run.vars)
    }

    /// A folder that is known.
    pub(crate) fn at(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.0
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The record of the monitor, whether it lives or not.
    pub(crate) fn record(&self) -> Option<Record> {
        read(&self.file("monitor.json"))
    }

    /// The monitor, if it is up.
    pub(crate) fn up(&self) -> Option<Record> {
        self.record().filter(|record| record.identity.lives())
    }

    /// The monitor that is being started, whether it lives or not.
    pub(crate) fn starting(&self) -> Option<Identity> {
        read(&self.file(STARTING))
    }

    /// Says that this process is being started as the monitor.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub(crate) fn start(&self, own: &Identity) -> anyhow::Result<()> {
        self.write_json(STARTING, own)
    }

    /// Says that nobody is being started any more.
    pub(crate) fn started(&self) {
        // Without it there is nothing to take away; and one who has ended is nobody.
        let _ = std::fs::remove_file(self.file(STARTING));
    }

    /// Writes a file that appears whole.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.file(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("making the folder {}", folder.display()))?;
        }
        writer::whole(&path, text.as_bytes(), true)
            .with_context(|| format!("writing {}", path.display()))
    }

    /// The same of JSON.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub(crate) fn write_json(&self, name: &str, value: &impl Serialize) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(value).context("JSON")?;
        self.write(name, &format!("{text}\n"))
    }

    /// A file of JSON, if it is there and sound.
    pub(crate) fn read_json<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        read(&self.file(name))
    }

    /// Keeps what is known of a run.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub(crate) fn keep(&self, run: &Run) -> anyhow::Result<()> {
        self.write_json(&format!("runs/{}.json", run.run_id), run)
    }

    /// The runs that were watched here, the newest last.
    pub(crate) fn runs(&self) -> Vec<Run> {
        let Ok(entries) = std::fs::read_dir(self.file("runs")) else {
            return Vec::new();
        };
        let mut runs: Vec<Run> = entries
            .filter_map(|entry| read(&entry.ok()?.path()))
            .collect();
        runs.sort_by_key(|run| run.start_ms);
        runs
    }

    /// Removes what is known of ended runs beyond the newest ones. What Prometheus has of them stays as long as it keeps anything.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub(crate) fn prune(&self, runs: &[Run]) -> anyhow::Result<()> {
        let older = runs.len().saturating_sub(RUNS_KEPT);
        for run in runs.iter().take(older).filter(|run| run.end_ms.is_some()) {
            let path = self.file(&format!("runs/{}.json", run.run_id));
            std::fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
        }
        Ok(())
    }

    /// What is scraped between runs.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn restore_targets(&self) -> anyhow::Result<()> {
        let standing = std::fs::read_to_string(self.file(STANDING));
        self.write_own(TARGETS, &standing.unwrap_or_else(|_| "[]\n".into()))
    }

    /// Has these scraped from now on; between runs, if that is what they are.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub(crate) fn scrape(&self, targets: &Json, between_runs: bool) -> anyhow::Result<()> {
        let name = if between_runs { STANDING } else { TARGETS };
        self.write_own(name, &format!("{targets:#}\n"))?;
        if between_runs {
            self.restore_targets()?;
        }
        Ok(())
    }

    /// Writes a file that nobody else can read: Prometheus asks an address as it is, also where its query holds a secret.
    fn write_own(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.file(name);
        let writing = || format!("writing {}", path.display());
        std::fs::create_dir_all(&self.0).with_context(writing)?;
        // The usual permissions of a temporary file are its owner's alone.
        let mut file = tempfile::NamedTempFile::new_in(&self.0).with_context(writing)?;
        file.write_all(text.as_bytes()).with_context(writing)?;
        file.persist(&path).with_context(writing)?;
        Ok(())
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_measured_from_the_end_of_its_warm_up_on() {
        let mut run = Run {
            run_id: "1".into(),
            title: "t".into(),
            scenario: "s".into(),
            start_ms: 1000,
            window_from_ms: 2000,
            window_to_ms: Some(5000),
            end_ms: None,
            limits: BTreeMap::new(),
            runner: Identity::own().expect("this one"),
        };
        let measured = |run: &Run| [1999, 2000, 4999, 5000].map(|now| run.measures(now));
        assert_eq!(measured(&run), [false, true, true, false]);
        run.end_ms = Some(3000);
        assert_eq!(measured(&run), [false, true, false, false]);
        (run.window_to_ms, run.end_ms) = (None, None);
        assert_eq!(measured(&run), [false, true, true, true]);
    }
}
