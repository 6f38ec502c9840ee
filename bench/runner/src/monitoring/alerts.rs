//! Which alerts fired during a run, as Prometheus keeps it.
//!
//! Prometheus is asked again and again for what came since the last answer, so that what is known stays known when it ends.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::api::Api;
use crate::evidence::alerts::{Alert, Alerts, STEP_MS, Span};
use crate::series::window::seconds;

/// Points that Prometheus gives in one answer.
const MOST: i64 = 10_000;
/// The label of what k6 told, beside what was scraped.
const RUN_ID: &str = "run_id";
/// Labels that all instances of an alert have.
const COMMON: [&str; 5] = ["__name__", "alertname", "alertstate", "severity", "suite"];

/// A Prometheus that is asked after a run's alerts.
#[derive(Debug)]
pub(crate) struct Watch {
    api: Api,
    run_id: String,
    alerts: Alerts,
}

impl Watch {
    /// Begins to look at a Prometheus, which says which rules it has.
    ///
    /// # Errors
    /// It does not answer.
    pub(crate) fn begin(prometheus: &str, run_id: &str, from_ms: i64) -> Result<Self, String> {
        let api = Api::new(prometheus);
        let data = api.ask("rules", &[("type", "alert")])?;
        let groups = data["groups"].as_array().into_iter().flatten();
        let rules = groups.flat_map(|group| group["rules"].as_array().into_iter().flatten());
        let alerts = rules.map(rule).collect();
        Ok(Self {
            api,
            run_id: run_id.to_owned(),
            alerts: Alerts::new(prometheus, from_ms, alerts),
        })
    }

    /// Asks for what came since, up to a moment. A Prometheus that does not answer is asked again next time; what it cannot
    /// tell then is unknown.
    pub(crate) fn read(&mut self, to_ms: i64) {
        self.alerts.to_ms = to_ms;
        while self.alerts.known_to_ms + STEP_MS <= to_ms {
            let from = self.alerts.known_to_ms + STEP_MS;
            let to = to_ms.min(from + MOST * STEP_MS);
            match self
                .api
                .range("ALERTS", seconds(from), seconds(to), seconds(STEP_MS))
            {
                Ok(series) => {
                    for one in &series {
                        self.add(&one.labels, &one.points);
                    }
                    // The last step that was asked for.
                    self.alerts.known_to_ms = from + (to - from) / STEP_MS * STEP_MS;
                    self.alerts.unknown = None;
                }
                Err(why) => {
                    self.alerts.unknown = Some(why);
                    return;
                }
            }
        }
    }

    /// What is known.
    pub(crate) fn known(self) -> Alerts {
        self.alerts
    }

    fn add(&mut self, labels: &serde_json::Map<String, Json>, points: &[(f64, f64)]) {
        let text = |name: &str| labels.get(name).and_then(Json::as_str).unwrap_or_default();
        // Values of a run that was killed stay for minutes, and are not this one's.
        if !["", &self.run_id].contains(&text(RUN_ID)) {
            return;
        }
        let name = text("alertname");
        let Some(alert) = self
            .alerts
            .alerts
            .iter_mut()
            .find(|alert| alert.title == name)
        else {
            return;
        };
        let spans = match text("alertstate") {
            "firing" => &mut alert.fired,
            _ => &mut alert.pending,
        };
        let own: BTreeMap<String, String> = labels
            .iter()
            .filter(|(name, _)| !COMMON.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect();
        for (at, _) in points {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a time in ms is far below 2^53"
            )]
            let at = (at * 1000.0).round() as i64;
            let last = spans.iter_mut().rev().find(|span| span.labels == own);
            match last {
                Some(span) if at - span.to_ms <= STEP_MS => span.to_ms = at,
                _ => spans.push(Span {
                    from_ms: at,
                    to_ms: at,
                    labels: own.clone(),
                }),
            }
        }
    }
}

fn rule(rule: &Json) -> Alert {
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let title = text(&rule["name"]);
    #[expect(clippy::cast_possible_truncation, reason = "a declared duration")]
    let for_ms = (rule["duration"].as_f64().unwrap_or_default() * 1000.0) as i64;
    Alert {
        id: match rule["annotations"]["id"].as_str() {
            Some(id) => id.to_owned(),
            None => title.clone(),
        },
        title,
        severity: text(&rule["labels"]["severity"]),
        expr: text(&rule["query"]),
        for_ms,
        pending: Vec::new(),
        fired: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn watch() -> Watch {
        let low = rule(&json!({
            "name": "Low", "query": "hz < 95", "duration": 2.5,
            "labels": { "severity": "critical" }, "annotations": { "id": "low" }
        }));
        // Nobody listens on port 1.
        let nobody = "http://127.0.0.1:1";
        Watch {
            api: Api::new(nobody),
            run_id: "1-1".to_owned(),
            alerts: Alerts::new(nobody, 10_000, vec![low]),
        }
    }

    #[test]
    fn points_of_a_state_become_spans() {
        let mut watch = watch();
        watch.alerts.known_to_ms = 60_000;
        let labels = |state: &str| {
            let labels = json!({ "__name__": "ALERTS", "alertname": "Low", "alertstate": state,
                "severity": "critical", "instance": "h:1" });
            labels.as_object().expect("labels").clone()
        };
        let points = |seconds: &[f64]| seconds.iter().map(|at| (*at, 1.0)).collect::<Vec<_>>();
        watch.add(&labels("pending"), &points(&[20.0, 21.0]));
        watch.add(&labels("firing"), &points(&[22.0, 23.0]));
        // What a second answer brings continues the first.
        watch.add(&labels("firing"), &points(&[24.0, 40.0]));
        let own = BTreeMap::from([("instance".to_owned(), "h:1".to_owned())]);
        let span = |from_ms, to_ms| Span {
            from_ms,
            to_ms,
            labels: own.clone(),
        };
        assert_eq!(watch.alerts.alerts[0].pending, [span(20_000, 21_000)]);
        assert_eq!(
            watch.alerts.alerts[0].fired,
            [span(22_000, 24_000), span(40_000, 40_000)]
        );
        assert_eq!(
            watch.alerts.lines(),
            ["Low (critical) fired from 12 s to 14 s, from 30 s to 30 s"]
        );
    }

    #[test]
    fn alerts_of_another_run_are_not_told() {
        let mut watch = watch();
        let of = |run: &str| {
            let labels = json!({ "alertname": "Low", "alertstate": "firing", "run_id": run });
            labels.as_object().expect("labels").clone()
        };
        watch.add(&of("0-9"), &[(20.0, 1.0)]);
        assert_eq!(watch.alerts.alerts[0].fired, []);
        watch.add(&of("1-1"), &[(20.0, 1.0)]);
        assert_eq!(watch.alerts.alerts[0].fired.len(), 1);
    }

    #[test]
    fn a_prometheus_that_is_gone_leaves_what_it_said() {
        let mut watch = watch();
        watch.alerts.known_to_ms = 30_000;
        watch.read(60_000);
        let alerts = watch.known();
        assert_eq!((alerts.known_to_ms, alerts.to_ms), (30_000, 60_000));
        let lines = alerts.lines();
        assert_eq!(lines[0], "none of 1 fired");
        assert!(
            lines[1].starts_with("unknown from 20 s on: GET"),
            "{lines:?}"
        );
    }
}
