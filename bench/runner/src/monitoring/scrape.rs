//! What Prometheus is to scrape, as a file of its service discovery.

use serde_json::{Value as Json, json};
use url::Url;

use crate::suite::Suite;
use crate::suite::vars::{RunValues, Vars};
use crate::values::exit;
use crate::values::template::variables;

/// The addresses that the suite names, with the values that its variables have now; one without a value is left out.
/// `run_id`: of the run that they belong to.
///
/// # Errors
/// An address cannot be scraped, or leads to a host that the suite does not allow.
pub(crate) fn targets(suite: &Suite, vars: &Vars, run_id: Option<&str>) -> anyhow::Result<Json> {
    let scraped = suite.file.dashboard.iter().flat_map(|table| &table.scrape);
    let mut targets = Vec::new();
    for (name, text) in scraped {
        let names = variables(text.get_ref());
        if names.iter().any(|name| vars.get(name).is_none()) {
            continue;
        }
        let what = format!("scrape.{} of [dashboard]", name.get_ref());
        let address = vars.expand(text.get_ref(), &RunValues::new())?;
        suite.allow_now(&what, &address)?;
        let url = Url::parse(&address).ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https"));
        let place = url.as_ref().and_then(|url| {
            Some(format!(
                "{}:{}",
                url.host_str()?,
                url.port_or_known_default()?
            ))
        });
        let (Some(url), Some(place)) = (url, place) else {
            return Err(exit::set_up(format!(
                "{what}: received `{}`; allowed: an address that begins with http:// or https://",
                crate::values::mask::masked_address(&address)
            )));
        };
        // Prometheus takes no user and no password by such a file, and asked without them the answer would be another.
        if !url.username().is_empty() || url.password().is_some() {
            return Err(exit::set_up(format!(
                "{what}: received `{}`; allowed: an address without a user and a password, which Prometheus cannot be told here; let the service answer there without them, or have a proxy add them",
                crate::values::mask::address_alone(url)
            )));
        }
        let mut labels = json!({
            "__scheme__": url.scheme(),
            "__metrics_path__": url.path(),
            "service": name.get_ref(),
        });
        for (name, value) in url.query_pairs() {
            labels[format!("__param_{name}")] = value.as_ref().into();
        }
        if let Some(run_id) = run_id {
            labels["run_id"] = run_id.into();
        }
        targets.push(json!({ "targets": [place], "labels": labels }));
    }
    Ok(Json::Array(targets))
}
