//! Which alerts fired while a run was watched, as its evidence keeps it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Folder;

/// Rules are evaluated so often, in ms.
pub(crate) const STEP_MS: i64 = 1000;
/// The file in the evidence of a run.
pub(crate) const FILE: &str = "alerts.json";

/// What the evidence says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Alerts {
    pub(crate) schema_version: u32,
    /// The Prometheus that evaluated them.
    pub(crate) prometheus: String,
    /// From k6's start on, epoch ms.
    pub(crate) from_ms: i64,
    /// To k6's end.
    pub(crate) to_ms: i64,
    /// Up to where the states are known.
    pub(crate) known_to_ms: i64,
    /// Why they are unknown from there on.
    pub(crate) unknown: Option<String>,
    pub(crate) alerts: Vec<Alert>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Alert {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) severity: String,
    pub(crate) expr: String,
    pub(crate) for_ms: i64,
    /// When its condition held, but not yet for long enough.
    pub(crate) pending: Vec<Span>,
    pub(crate) fired: Vec<Span>,
}

/// From when to when, epoch ms, as far as rules are evaluated: each second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Span {
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
    /// What tells several instances of the alert apart.
    pub(crate) labels: BTreeMap<String, String>,
}

impl Alerts {
    /// The alerts of a Prometheus, of which nothing is known yet.
    pub(crate) fn new(prometheus: &str, from_ms: i64, alerts: Vec<Alert>) -> Self {
        Self {
            schema_version: 1,
            prometheus: prometheus.to_owned(),
            from_ms,
            to_ms: from_ms,
            known_to_ms: from_ms,
            unknown: None,
            alerts,
        }
    }

    /// Those of a run; `None` where nobody watched it.
    pub(crate) fn of(folder: &Folder) -> Option<Self> {
        serde_json::from_value(folder.json(FILE)?).ok()
    }

    /// What is said of them, a line for each.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self
            .alerts
            .iter()
            .filter(|alert| !alert.fired.is_empty())
            .map(|alert| format!("{} ({}) {}", alert.title, alert.severity, self.fired(alert)))
            .collect();
        if lines.is_empty() && !self.alerts.is_empty() {
            lines.push(format!("none of {} fired", self.alerts.len()));
        }
        lines.extend(self.told_unknown());
        lines
    }

    /// From where on nobody knows.
    pub(crate) fn told_unknown(&self) -> Option<String> {
        let why = self.unknown.as_ref()?;
        let since = self.since(self.known_to_ms);
        Some(format!("unknown from {since} s on: {why}"))
    }

    /// When an alert fired, in words; "did not fire" where it did not.
    pub(crate) fn fired(&self, alert: &Alert) -> String {
        let spans: Vec<String> = alert
            .fired
            .iter()
            .map(|span| {
                let last = span.to_ms >= self.known_to_ms - STEP_MS;
                let end = if last {
                    "to the end".to_owned()
                } else {
                    format!("to {} s", self.since(span.to_ms))
                };
                format!("from {} s {end}", self.since(span.from_ms))
            })
            .collect();
        if spans.is_empty() {
            "did not fire".to_owned()
        } else {
            format!("fired {}", spans.join(", "))
        }
    }

    fn since(&self, ms: i64) -> i64 {
        (ms - self.from_ms + 500) / 1000
    }
}
