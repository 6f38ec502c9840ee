//! Faults that a target is asked to have, at the start and while it runs.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use thiserror::Error;
use tokio::sync::watch;

const BODY_LIMIT: usize = 16 * 1024;

/// Switches cannot be set as asked. None of them was changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SwitchError {
    /// No switch has this name.
    #[error("there is no fault {name:?}; there are {}", known.join(", "))]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// The names of all.
        known: Vec<String>,
    },
    /// A switch cannot have this value.
    #[error("fault {name}: got {value}; {allowed}")]
    Value {
        /// The switch.
        name: String,
        /// What it was to be set to.
        value: Value,
        /// What it can be set to.
        allowed: serde_json::Error,
    },
    /// The body is something else.
    #[error(
        "expected a JSON object with the names of faults and their values, such as {{\"delay-ms\": 5}}: {0}"
    )]
    NoObject(#[source] serde_json::Error),
}

/// `--fault NAME=VALUE` on a command line.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Faults")]
pub struct FaultArgs {
    /// A fault by its name, can be given several times; a name alone means "true"
    ///
    /// GET /faults lists the names and how they are set. PUT /faults with a JSON object changes those it names while the
    /// program runs; null takes one back to what it is without any of this. It must come from this machine.
    #[arg(long = "fault", value_name = "NAME[=VALUE]")]
    faults: Vec<String>,
}

impl FaultArgs {
    /// These switches, with those changed that were named.
    ///
    /// # Errors
    ///
    /// If a name is not known or a value not possible.
    pub fn applied_to<S>(&self, switches: &S) -> Result<S, SwitchError>
    where
        S: Default + Serialize + DeserializeOwned,
    {
        let changes = self.faults.iter().map(|fault| {
            let (name, value) = fault.split_once('=').unwrap_or((fault, "true"));
            // What is no number or word of JSON is a text, such as 6%.
            let value = match serde_json::from_str(value) {
                Ok(value @ (Value::Null | Value::Bool(_) | Value::Number(_))) => value,
                _ => Value::from(value),
            };
            (name.trim().to_owned(), value)
        });
        changed(switches, changes)
    }
}

/// Switches that are read again and again and may change in between. Copies are the same switches.
///
/// `S` is a struct whose fields, under the names that it is serialised with, are the switches. All of them are always
/// serialised, and its default has no faults.
pub struct Switches<S> {
    now: Arc<watch::Sender<S>>,
    allowed: Option<Arc<Allowed<S>>>,
}

/// What else values have to be.
type Allowed<S> = dyn Fn(&S) -> Result<(), SwitchError> + Send + Sync;

impl<S: std::fmt::Debug> std::fmt::Debug for Switches<S> {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.debug_tuple("Switches").field(&self.now).finish()
    }
}

impl<S> Clone for Switches<S> {
    fn clone(&self) -> Self {
        Self {
            now: Arc::clone(&self.now),
            allowed: self.allowed.clone(),
        }
    }
}

impl SwitchError {
    /// A switch that cannot have this value, and what it can be set to.
    pub fn value(name: &str, value: impl Into<Value>, allowed: impl std::fmt::Display) -> Self {
        Self::Value {
            name: name.to_owned(),
            value: value.into(),
            allowed: serde::de::Error::custom(allowed),
        }
    }
}

impl<S: Default> Default for Switches<S> {
    fn default() -> Self {
        Self {
            now: Arc::new(watch::Sender::new(S::default())),
            allowed: None,
        }
    }
}

impl<S> Switches<S>
where
    S: Default + Serialize + DeserializeOwned + Send + Sync + 'static,
{
    /// The switches as they are at the start.
    pub fn new(start: S) -> Self {
        Self {
            now: Arc::new(watch::Sender::new(start)),
            allowed: None,
        }
    }

    /// The same, with values that only the running program can judge, such as names of its parts.
    ///
    /// # Errors
    ///
    /// If those at the start are not allowed.
    pub fn checked(
        start: S,
        allowed: impl Fn(&S) -> Result<(), SwitchError> + Send + Sync + 'static,
    ) -> Result<Self, SwitchError> {
        allowed(&start)?;
        Ok(Self {
            allowed: Some(Arc::new(allowed)),
            ..Self::new(start)
        })
    }

    /// Reads switches. What is read may be different at the next call; `read` must not take long, as changes wait for it.
    pub fn with<T>(&self, read: impl FnOnce(&S) -> T) -> T {
        read(&self.now.borrow())
    }

    /// Tells of changes.
    pub fn changes(&self) -> watch::Receiver<S> {
        self.now.subscribe()
    }

    /// Changes the switches that are named, all or none. `null` is the default.
    ///
    /// # Errors
    ///
    /// If a name is not known or a value not possible.
    pub fn change(&self, changes: Map<String, Value>) -> Result<(), SwitchError> {
        let mut outcome = Ok(());
        self.now.send_if_modified(|switches| {
            let new = changed(switches, changes).and_then(|new| {
                self.allowed
                    .as_ref()
                    .map_or(Ok(()), |allowed| allowed(&new))?;
                Ok(new)
            });
            match new {
                Ok(new) => *switches = new,
                Err(error) => outcome = Err(error),
            }
            outcome.is_ok()
        });
        outcome
    }

    /// Changes switches from inside, such as one that is meant for once and has had its effect.
    pub fn update(&self, change: impl FnOnce(&mut S)) {
        self.now.send_modify(change);
    }

    /// `GET /faults` tells all switches. `PUT /faults` changes those that its JSON object names, and answers with all; it is
    /// refused with 403 unless it comes from this machine, and with 400 if something in it is not known.
    ///
    /// The server has to know who asks, as [`serve`](crate::serve()) does.
    pub fn routes<R>(&self) -> Router<R>
    where
        R: Clone + Send + Sync + 'static,
    {
        let (shown, changed) = (self.clone(), self.clone());
        let show = move || async move { shown.shown() };
        let change = move |ConnectInfo(peer): ConnectInfo<SocketAddr>, body: Bytes| async move {
            changed.put(peer, &body)
        };
        Router::new()
            .route("/faults", get(show).put(change))
            .layer(DefaultBodyLimit::max(BODY_LIMIT))
    }

    fn shown(&self) -> Response {
        self.with(|switches| Json(json!(switches)).into_response())
    }

    fn put(&self, peer: SocketAddr, body: &[u8]) -> Response {
        let refused = |status: StatusCode, error: String| {
            (status, Json(json!({ "error": error }))).into_response()
        };
        // A socket for both families shows an IPv4 peer in its IPv6 form.
        if !peer.ip().to_canonical().is_loopback() {
            let error = format!(
                "faults are changed from the target's own machine only, by a loopback address; this came from {}",
                peer.ip()
            );
            return refused(StatusCode::FORBIDDEN, error);
        }
        let changes = serde_json::from_slice(body).map_err(SwitchError::NoObject);
        match changes.and_then(|changes| self.change(changes)) {
            Ok(()) => {
                tracing::info!(changes = %String::from_utf8_lossy(body), "faults changed");
                self.shown()
            }
            Err(error) => refused(StatusCode::BAD_REQUEST, error.to_string()),
        }
    }
}

/// The switches after changes, one after another, so that a value that is not possible is known by its name.
fn changed<S>(
    switches: &S,
    changes: impl IntoIterator<Item = (String, Value)>,
) -> Result<S, SwitchError>
where
    S: Default + Serialize + DeserializeOwned,
{
    let mut state = json!(switches);
    let defaults = json!(S::default());
    for (name, value) in changes {
        let Some(default) = defaults.get(&name) else {
            let known = defaults.as_object().into_iter().flat_map(Map::keys);
            // In one order, whatever other crates of a build ask of serde_json.
            let mut known: Vec<String> = known.cloned().collect();
            known.sort_unstable();
            return Err(SwitchError::Unknown { name, known });
        };
        state[&name] = if value.is_null() {
            default.clone()
        } else {
            value.clone()
        };
        if let Err(allowed) = S::deserialize(&state) {
            return Err(SwitchError::Value {
                name,
                value,
                allowed,
            });
        }
    }
    S::deserialize(&state).map_err(SwitchError::NoObject)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::Share;

    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Faults {
        fail_logins: Share,
        delay_ms: u64,
        double_encode: bool,
        limit: Option<u32>,
    }

    fn arguments(faults: &[&str]) -> FaultArgs {
        FaultArgs {
            faults: faults.iter().map(|&fault| fault.to_owned()).collect(),
        }
    }

    #[test]
    fn arguments_set_switches_of_any_kind() {
        let faults = arguments(&["fail-logins=6%", "delay-ms=5", "double-encode", "limit=7"])
            .applied_to(&Faults::default());
        let expected = Faults {
            fail_logins: "6%".parse().expect("share is valid"),
            delay_ms: 5,
            double_encode: true,
            limit: Some(7),
        };
        assert_eq!(faults.expect("faults are known"), expected);
        let fewer = arguments(&["limit=null", "fail-logins=3"]).applied_to(&expected);
        let fewer = fewer.expect("faults are known");
        assert_eq!((fewer.limit, fewer.fail_logins), (None, Share::First(3)));
    }

    #[test]
    fn wrong_arguments_are_explained() {
        for (fault, expected) in [
            (
                "fail-login=3",
                "there is no fault \"fail-login\"; there are delay-ms, double-encode, fail-logins, limit",
            ),
            (
                "fail-logins=half",
                "fault fail-logins: got \"half\"; allowed are a number of users such as 3",
            ),
            (
                "double-encode=5",
                "fault double-encode: got 5; invalid type: integer `5`, expected a boolean",
            ),
            (
                "delay-ms",
                "fault delay-ms: got true; invalid type: boolean `true`, expected u64",
            ),
        ] {
            let error = arguments(&[fault]).applied_to(&Faults::default());
            let error = error.expect_err("fault is not possible").to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn changes_are_made_together_or_not_at_all() {
        let switches = Switches::new(Faults::default());
        let change = |changes: Value| match changes {
            Value::Object(changes) => switches.clone().change(changes),
            _ => unreachable!("changes are an object"),
        };
        assert!(change(json!({ "delay-ms": 5, "limit": "x" })).is_err());
        assert_eq!(switches.with(Faults::clone), Faults::default());
        change(json!({ "delay-ms": 5, "limit": 1 })).expect("changes are possible");
        change(json!({ "limit": null })).expect("null is the default");
        assert_eq!(
            switches.with(|faults| (faults.delay_ms, faults.limit)),
            (5, None)
        );
    }

    #[test]
    fn a_change_from_inside_is_told_as_well() {
        let switches = Switches::new(Faults::default());
        let mut changes = switches.changes();
        switches.update(|faults| faults.delay_ms = 5);
        assert!(changes.has_changed().expect("switches are there"));
        assert_eq!(changes.borrow_and_update().delay_ms, 5);
    }

    #[test]
    fn only_this_machine_changes_faults() {
        let switches = Switches::new(Faults::default());
        let body = br#"{"delay-ms": 5}"#;
        for peer in ["192.0.2.7:80", "[2001:db8::7]:80", "[::ffff:192.0.2.7]:80"] {
            let answer = switches.put(peer.parse().expect("address is valid"), body);
            assert_eq!(answer.status(), 403, "{peer}");
            assert_eq!(switches.with(|faults| faults.delay_ms), 0);
        }
        for peer in [
            "127.0.0.1:80",
            "127.9.9.9:80",
            "[::1]:80",
            "[::ffff:127.0.0.1]:80",
        ] {
            let answer = switches.put(peer.parse().expect("address is valid"), body);
            assert_eq!(answer.status(), 200, "{peer}");
        }
        assert_eq!(switches.with(|faults| faults.delay_ms), 5);
    }
}
