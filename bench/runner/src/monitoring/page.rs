//! The page of our own: the dashboard's panels from Prometheus's data, drawn by the report's charts.

use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, context};
use serde::Serialize;
use serde_json::Value as Json;

use super::api::Api;
use super::dashboard::{Dashboard, Panel};
use super::place::Run;
use crate::report::chart::{self, Axes, Line};
use crate::report::template;
use crate::series::window::seconds;
use crate::values::text::figure;

const PAGE: &str = include_str!("templates/watch.html");
const PANELS: &str = include_str!("templates/panels.html");
/// The page looks like a report.
const STYLE: &str = include_str!("../report/templates/report.css");

/// What a chart is made of, at most.
const POINTS: f64 = 150.0;
/// Shown where no run was watched yet.
const LAST_MS: i64 = 300_000;
/// Shown after the end of a run: what was scraped last.
const AFTER_MS: i64 = 3_000;

/// What the page shows.
#[derive(Debug)]
pub(super) struct Sight<'a> {
    pub(super) dashboard: &'a Dashboard,
    pub(super) api: &'a Api,
    /// The address of Prometheus.
    pub(super) prometheus: &'a str,
    /// Why Prometheus has ended, if it has.
    pub(super) ended: Option<String>,
    pub(super) runs: &'a [Run],
    /// The run that was asked for, else the newest.
    pub(super) run: Option<&'a Run>,
    /// Whether it was asked for.
    pub(super) pinned: bool,
    /// Now, epoch ms.
    pub(super) now_ms: i64,
}

#[derive(Debug, Serialize)]
struct PanelView {
    title: String,
    description: String,
    limit: String,
    legend: Vec<(String, String)>,
    svg: Option<Value>,
    /// Why there is no drawing.
    why: Option<String>,
}

#[derive(Debug, Serialize)]
struct AlertView {
    title: String,
    severity: String,
    state: String,
    condition: String,
}

impl Sight<'_> {
    /// The whole page.
    ///
    /// # Errors
    /// The template does not fit.
    pub(super) fn page(&self) -> anyhow::Result<String> {
        let runs = self.runs.iter().rev().map(|run| {
            let own = self.run.filter(|_| self.pinned);
            let chosen = own.is_some_and(|own| own.run_id == run.run_id);
            (run.run_id.clone(), run.title.clone(), chosen)
        });
        let environment = environment()?;
        let template = environment.template_from_str(PAGE)?;
        Ok(template.render(context! {
            title => self.dashboard.title.clone(),
            prometheus => self.prometheus,
            runs => Serde(runs.collect::<Vec<_>>()),
            panels => Value::from_safe_string(self.panels()?),
            style => Value::from_safe_string(STYLE.to_owned()),
        })?)
    }

    /// The part that is asked for again and again.
    ///
    /// # Errors
    /// The template does not fit.
    pub(super) fn panels(&self) -> anyhow::Result<String> {
        let (alerts, failure) = match self.alerts() {
            Ok(alerts) => (alerts, None),
            Err(why) => (Vec::new(), Some(self.ended.clone().unwrap_or(why))),
        };
        let views = self.dashboard.panels.iter();
        let views: Vec<PanelView> = views.map(|panel| self.view(panel)).collect();
        let environment = environment()?;
        let template = environment.template_from_str(PANELS)?;
        Ok(template.render(context! {
            state => self.state(),
            failure => failure,
            alerts => Serde(alerts),
            panels => Serde(views),
        })?)
    }

    fn state(&self) -> String {
        let Some(run) = self.run else {
            return "No run was watched yet; shown are the last five minutes.".to_owned();
        };
        let passed = |to: i64| figure(seconds(to - run.start_ms).round());
        // The id is what k6's values, the service's and the evidence have in common.
        let name = format!("{} (run {})", run.title, run.run_id);
        match run.end_ms {
            Some(end) => format!("{name}: ended after {} s.", passed(end)),
            None if run.measures(self.now_ms) => {
                format!("{name}: {} s, being measured.", passed(self.now_ms))
            }
            None => format!(
                "{name}: {} s, {}.",
                passed(self.now_ms),
                if self.now_ms < run.window_from_ms {
                    "warming up"
                } else {
                    "ending"
                }
            ),
        }
    }

    /// From when to when panels go, epoch ms, and from where seconds count.
    fn span(&self) -> (i64, i64, i64) {
        match self.run {
            Some(run) => {
                let end = run.end_ms.map_or(self.now_ms, |end| end + AFTER_MS);
                (run.start_ms, end.max(run.start_ms + 1000), run.start_ms)
            }
            None => (self.now_ms - LAST_MS, self.now_ms, self.now_ms),
        }
    }

    fn alerts(&self) -> Result<Vec<AlertView>, String> {
        let data = self.api.ask("rules", &[("type", "alert")])?;
        let groups = data["groups"].as_array().into_iter().flatten();
        let rules = groups.flat_map(|group| group["rules"].as_array().into_iter().flatten());
        let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
        let view = |rule: &Json| AlertView {
            title: text(&rule["name"]),
            severity: text(&rule["labels"]["severity"]),
            state: text(&rule["state"]),
            condition: format!(
                "{} for {} s",
                text(&rule["query"]),
                figure(rule["duration"].as_f64().unwrap_or_default())
            ),
        };
        Ok(rules.map(view).collect())
    }

    fn view(&self, panel: &Panel) -> PanelView {
        let drawn = self.drawn(panel);
        let (svg, limit, legend, why) = match drawn {
            Ok((svg, limit, legend)) if !svg.is_empty() => (Some(svg), limit, legend, None),
            Ok(_) => {
                let why = "No samples yet.".to_owned();
                (None, String::new(), Vec::new(), Some(why))
            }
            Err(why) => (None, String::new(), Vec::new(), Some(why)),
        };
        let unit = panel.unit();
        PanelView {
            title: if unit.is_empty() {
                panel.title.clone()
            } else {
                format!("{}, {unit}", panel.title)
            },
            description: panel.description.clone(),
            limit,
            legend,
            svg: svg.map(Value::from_safe_string),
            why,
        }
    }

    /// The drawing, its limits in words, and the names of its colours.
    #[expect(clippy::type_complexity, reason = "used once, just above")]
    fn drawn(&self, panel: &Panel) -> Result<(String, String, Vec<(String, String)>), String> {
        let (from, to, zero) = self.span();
        let step = (seconds(to - from) / POINTS).ceil().max(1.0);
        let run_id = self.run.map(|run| run.run_id.as_str());
        let (mut names, mut lines) = (Vec::new(), Vec::new());
        let (mut limits, mut told) = (Vec::new(), Vec::new());
        for target in &panel.targets {
            let query = target.query(run_id);
            for series in self.api.range(&query, seconds(from), seconds(to), step)? {
                let legend = target.legend(&series.labels);
                if target.is_limit() {
                    if let Some((_, value)) = series.points.last() {
                        limits.push(*value);
                        told.push(format!("{legend}: {}", figure(*value)));
                    }
                    continue;
                }
                let points = series.points.iter();
                let points = points.map(|(at, value)| (at - seconds(zero), *value));
                lines.push(Line {
                    variant: names.len(),
                    points: points.collect(),
                });
                names.push(legend);
            }
        }
        let window = self.run.map(|run| {
            let end = run.window_to_ms.or(run.end_ms).unwrap_or(to);
            let since = |ms: i64| seconds(ms - zero);
            (since(run.window_from_ms), since(end))
        });
        let shown: Vec<&str> = names.iter().map(String::as_str).collect();
        let axes = Axes {
            x: if self.run.is_some() {
                "seconds since k6 started"
            } else {
                "seconds until now"
            },
            names: &shown,
            limits: &limits,
            // A part that has not begun would shade the edge.
            window: window.filter(|(begin, _)| *begin < seconds(to - zero)),
            not_from_zero: !panel.begins_at_zero(),
            ..Axes::default()
        };
        let svg = chart::lines(&lines, axes, &panel.title).map_err(|why| why.to_string())?;
        let legend = names.iter().enumerate();
        let legend = legend.map(|(i, name)| (chart::colour_name(i), name.clone()));
        Ok((svg, told.join(", "), legend.collect()))
    }
}

fn environment() -> anyhow::Result<Environment<'static>> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_syntax(template::syntax()?);
    environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    Ok(environment)
}
