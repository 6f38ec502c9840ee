//! `[[alert]]` and `[dashboard]`: what a run watched live is watched for, and how it is shown.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use crate::values::duration;
use crate::values::exit;

/// What an alert may weigh, the heaviest first.
pub(super) const SEVERITIES: &[&str] = &["critical", "warning", "info"];

/// `[[alert]]`: a rule of Prometheus, evaluated while a monitor of the suite is up.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AlertTable {
    pub(crate) id: Spanned<String>,
    /// What people call it.
    pub(crate) title: Option<String>,
    /// PromQL. `${NAME}` takes a variable; other braces are PromQL's own.
    pub(crate) expr: Spanned<String>,
    /// How long the expression must hold until the alert fires.
    #[serde(rename = "for", with = "duration")]
    pub(crate) lasts: Duration,
    pub(crate) severity: Spanned<String>,
    /// What it means, and what helps.
    pub(crate) say: Option<String>,
}

impl AlertTable {
    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        self.title.as_deref().unwrap_or(self.id.get_ref())
    }
}

/// `[dashboard]`: what is scraped, and the panels.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DashboardTable {
    /// The dashboard as Grafana keeps it; a page of the runner's own shows the same panels.
    pub(crate) file: Option<Spanned<String>>,
    /// Folder of files by which Grafana is provisioned.
    pub(crate) provision: Option<Spanned<String>>,
    /// Addresses of samples, by the name of the service; one whose variable has no value is left out.
    #[serde(default)]
    pub(crate) scrape: BTreeMap<Spanned<String>, Spanned<String>>,
}

/// A part of a text in PromQL.
#[derive(Debug, PartialEq, Eq)]
enum Part<'a> {
    Text(&'a str),
    Variable(&'a str),
}

/// Splits at `${NAME}`, and nowhere else: PromQL has braces of its own.
fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("${") {
        let Some((name, after)) = behind.split_once('}') else {
            break;
        };
        parts.extend([Part::Text(before), Part::Variable(name)]);
        rest = after;
    }
    parts.push(Part::Text(rest));
    parts
}

/// The variables that a text in PromQL takes.
pub(super) fn variables(text: &str) -> Vec<&str> {
    let names = parts(text).into_iter().filter_map(|part| match part {
        Part::Variable(name) => Some(name),
        Part::Text(_) => None,
    });
    names.collect()
}

/// The expression of an alert with the values of its variables.
///
/// # Errors
/// A variable has no value.
pub(crate) fn expanded(
    alert: &AlertTable,
    value: impl Fn(&str) -> Option<String>,
) -> anyhow::Result<String> {
    let mut out = String::new();
    for part in parts(alert.expr.get_ref()) {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Variable(name) => out.push_str(&value(name).ok_or_else(|| {
                exit::set_up(format!(
                    "alert {}: {name} has no value; give --set {name}=… or the environment variable {name}",
                    alert.id.get_ref()
                ))
            })?),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_of_promql_stay() {
        let text = "up{job=\"service\"} < ${LOWEST} or x{a=~\"b{2}\"}";
        assert_eq!(variables(text), ["LOWEST"]);
        assert_eq!(
            parts(text),
            [
                Part::Text("up{job=\"service\"} < "),
                Part::Variable("LOWEST"),
                Part::Text(" or x{a=~\"b{2}\"}")
            ]
        );
        assert!(variables("a ${B").is_empty());
    }
}
