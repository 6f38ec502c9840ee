//! Asking Prometheus over HTTP.

use std::time::Duration;

use serde_json::Value as Json;

use crate::values::http::agent;

/// Who has not answered by then does not answer.
const LIMIT: Duration = Duration::from_secs(10);
/// No answer that is drawn or kept is longer.
const MOST: u64 = 64 << 20;

/// A Prometheus that answers on this machine.
#[derive(Debug, Clone)]
pub(super) struct Api {
    agent: ureq::Agent,
    address: String,
}

/// One series: its labels, and its values by their time in seconds since the epoch.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Series {
    pub(super) labels: serde_json::Map<String, Json>,
    pub(super) points: Vec<(f64, f64)>,
}

impl Api {
    pub(super) fn new(address: &str) -> Self {
        Self {
            agent: agent(LIMIT),
            address: address.to_owned(),
        }
    }

    /// The status of a path, such as `/-/ready`.
    ///
    /// # Errors
    /// Nobody answers.
    pub(super) fn status(&self, path: &str) -> Result<u16, String> {
        let address = format!("{}{path}", self.address);
        let answer = self.agent.get(&address).call();
        let answer = answer.map_err(|error| format!("GET {address}: {error}"))?;
        Ok(answer.status().as_u16())
    }

    /// What is below `data` of an answer.
    ///
    /// # Errors
    /// Nobody answers, or Prometheus refuses the question; the text holds its reason.
    pub(super) fn ask(&self, path: &str, query: &[(&str, &str)]) -> Result<Json, String> {
        let address = format!("{}/api/v1/{path}", self.address);
        let told = |why: &dyn std::fmt::Display| format!("GET {address}: {why}");
        let mut request = self.agent.get(&address);
        for (name, value) in query {
            request = request.query(*name, *value);
        }
        let mut answer = request.call().map_err(|error| told(&error))?;
        let status = answer.status();
        let body = answer.body_mut().with_config().limit(MOST);
        let text = body.read_to_string().map_err(|error| told(&error))?;
        let mut json: Json =
            serde_json::from_str(&text).map_err(|_| told(&format!("status {status}, no JSON")))?;
        if json["status"] != "success" {
            let why = json["error"].as_str().unwrap_or("no reason given");
            return Err(told(&format!("status {status}: {why}")));
        }
        Ok(json["data"].take())
    }

    /// The series of an expression from a moment to another, each step; all in seconds.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub(super) fn range(
        &self,
        expr: &str,
        from: f64,
        to: f64,
        step: f64,
    ) -> Result<Vec<Series>, String> {
        let texts = [from, to, step].map(|value| format!("{value:.3}"));
        let query = [
            ("query", expr),
            ("start", &texts[0]),
            ("end", &texts[1]),
            ("step", &texts[2]),
        ];
        let data = self.ask("query_range", &query)?;
        let series = data["result"].as_array().into_iter().flatten();
        Ok(series.map(one).collect())
    }
}

fn one(series: &Json) -> Series {
    let values = series["values"].as_array().into_iter().flatten();
    let points = values.filter_map(|pair| {
        let value = pair[1].as_str()?.parse::<f64>().ok()?;
        Some((pair[0].as_f64()?, value)).filter(|(_, value)| value.is_finite())
    });
    Series {
        labels: series["metric"].as_object().cloned().unwrap_or_default(),
        points: points.collect(),
    }
}
