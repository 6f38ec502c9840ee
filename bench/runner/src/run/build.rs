//! What the thing under test is: never the folder that the runner was called from, which says nothing about a service that
//! somebody started elsewhere.

use serde_json::Value as Json;

use crate::plan::PlannedRun;
use crate::run::probe;
use crate::suite::vars::RunValues;
use crate::values::exit;

/// Digits of a hash that name a program.
const SHORT: usize = 12;
/// No version is longer.
const LONGEST: usize = 200;

/// What tells one build from another, and how that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    /// Empty if nobody knows.
    pub(super) id: String,
    pub(super) from: &'static str,
}

impl Identity {
    /// Of a program that the runner starts.
    pub(super) fn of_program(hash: &str) -> Self {
        Self {
            id: hash.get(..SHORT).unwrap_or(hash).to_owned(),
            from: "program",
        }
    }
}

/// Of a target that a person started: what it says itself if the suite knows where to ask, else what the person says.
///
/// # Errors
/// The target does not say what the suite expects it to.
pub(super) fn of_external(run: &PlannedRun<'_>) -> anyhow::Result<Identity> {
    let Some(version) = &run.target.version else {
        return Ok(Identity {
            id: run.under_test.name.clone(),
            from: if run.under_test.name.is_empty() {
                "unknown"
            } else {
                "said"
            },
        });
    };
    let address = run.vars.expand(version.url.get_ref(), &RunValues::new())?;
    let refuse = |why: String| {
        exit::set_up(format!(
            "target {} does not say its version: {why}; mend `version` in the suite file, or the target",
            run.target.id
        ))
    };
    let text = probe::text(&address).map_err(refuse)?;
    let id = match &version.json {
        None => text.trim().to_owned(),
        Some(path) => {
            let json: Json = serde_json::from_str(&text)
                .map_err(|error| refuse(format!("GET {address} is not JSON: {error}")))?;
            let found = path.split('.').try_fold(&json, |value, key| value.get(key));
            match found {
                Some(Json::String(text)) => text.clone(),
                Some(value @ (Json::Number(_) | Json::Bool(_))) => value.to_string(),
                _ => return Err(refuse(format!("GET {address} has no `{path}`"))),
            }
        }
    };
    if id.is_empty() || id.chars().count() > LONGEST {
        let length = id.chars().count();
        return Err(refuse(format!(
            "GET {address} has {length} characters; allowed: 1 to {LONGEST}"
        )));
    }
    Ok(Identity {
        id,
        from: "version",
    })
}
