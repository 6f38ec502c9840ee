//! The dashboard as Grafana keeps it, read for a page of our own: one list of panels and queries serves both.

use std::path::Path;

use serde::Deserialize;

use crate::values::exit;

/// The variable of Grafana that stands for the chosen runs.
const RUN_ID: &str = "$run_id";
/// What the `refId` of a query begins with that is drawn as a line from side to side.
const LIMIT: &str = "limit";

/// The part of a dashboard that is shown.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Dashboard {
    pub(super) title: String,
    #[serde(default)]
    pub(super) uid: String,
    #[serde(default)]
    pub(super) panels: Vec<Panel>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Panel {
    #[serde(default)]
    pub(super) title: String,
    #[serde(default)]
    pub(super) description: String,
    #[serde(default)]
    pub(super) targets: Vec<Target>,
    #[serde(default)]
    field_config: FieldConfig,
}

#[derive(Debug, Default, Deserialize)]
struct FieldConfig {
    #[serde(default)]
    defaults: Defaults,
}

#[derive(Debug, Default, Deserialize)]
struct Defaults {
    #[serde(default)]
    unit: String,
    min: Option<f64>,
}

/// One query of a panel.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Target {
    #[serde(default)]
    pub(super) ref_id: String,
    pub(super) expr: String,
    #[serde(default)]
    pub(super) legend_format: String,
}

impl Dashboard {
    /// Reads a file of Grafana's.
    ///
    /// # Errors
    /// It cannot be read, or is no dashboard.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            exit::set_up(format!(
                "`file` of [dashboard]: reading {}: {error}",
                path.display()
            ))
        })?;
        serde_json::from_str(&text).map_err(|error| {
            exit::set_up(format!(
                "{}: no dashboard of Grafana: {error}",
                path.display()
            ))
        })
    }
}

impl Panel {
    /// Its unit in words; empty where there is none.
    pub(super) fn unit(&self) -> &str {
        match self.field_config.defaults.unit.as_str() {
            "none" | "short" => "",
            "percentunit" => "share",
            "Bps" => "bytes per second",
            "ops" | "reqps" | "cps" => "per second",
            other => other,
        }
    }

    /// Whether its axis begins at 0.
    pub(super) fn begins_at_zero(&self) -> bool {
        self.field_config.defaults.min == Some(0.0)
    }
}

impl Target {
    /// Whether it is a limit.
    pub(super) fn is_limit(&self) -> bool {
        self.ref_id.starts_with(LIMIT)
    }

    /// The query for one run, or for all of them.
    pub(super) fn query(&self, run_id: Option<&str>) -> String {
        // Ids of runs are digits and a hyphen.
        self.expr.replace(RUN_ID, run_id.unwrap_or(".*"))
    }

    /// What a series of it is called.
    pub(super) fn legend(&self, labels: &serde_json::Map<String, serde_json::Value>) -> String {
        if self.legend_format.is_empty() {
            return self.ref_id.clone();
        }
        let mut text = self.legend_format.clone();
        for (name, value) in labels {
            let value = value.as_str().unwrap_or_default();
            text = text.replace(&format!("{{{{{name}}}}}"), value);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dashboard_of_each_suite_of_the_project_is_read() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let file = root.join("bench/monitoring/dashboards/testing.json");
        let dashboard = Dashboard::read(&file).expect("a dashboard");
        assert_eq!(dashboard.uid, "testing");
        assert!(dashboard.title.ends_with("SLO Testing Dashboard"));
        for panel in &dashboard.panels {
            assert!(!panel.targets.is_empty(), "{}", panel.title);
            for target in &panel.targets {
                assert!(!target.query(Some("1-2")).contains('$'), "{}", target.expr);
                assert!(!target.legend_format.is_empty(), "{}", target.expr);
            }
        }
    }

    #[test]
    fn a_series_is_called_as_grafana_calls_it() {
        let target = Target {
            ref_id: "A".to_owned(),
            expr: "up{run_id=~\"$run_id\"}".to_owned(),
            legend_format: "of {{service}}".to_owned(),
        };
        let labels = serde_json::json!({ "service": "api", "job": "x" });
        assert_eq!(target.legend(labels.as_object().expect("labels")), "of api");
        assert_eq!(target.query(None), "up{run_id=~\".*\"}");
    }
}
