//! What groups are opened with: parsed from JSON, checked once, here.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::OptionError;
use crate::ids::{BarrierName, RunId};
use crate::options::{
    SharedOptions, StoreAddress, connect_timeout, life, op_timeout, place_of, whole,
};
use crate::tls::TlsOptions;

/// Fewest members of a group.
pub const SIZE_MIN: u32 = 2;
/// Most members of a group. Each member is told of all others, so that what a group costs grows with the square of this.
pub const SIZE_MAX: u32 = 1000;
/// Longest payload of a member, in bytes of UTF-8.
pub const PAYLOAD_MAX: usize = 256;

/// What a wait that expires does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnTimeout {
    /// The user gives its place up, and its call fails.
    #[default]
    Throw,
    /// All who wait become a group, smaller than the others.
    Release,
}

/// The options that every opener must give alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shared {
    /// How many members a group has.
    pub size: u32,
    /// What a wait that expires does.
    pub on_timeout: OnTimeout,
}

impl Shared {
    /// The one text form that stores keep and compare.
    ///
    /// # Panics
    /// Never: the type has no map with keys other than strings.
    #[must_use]
    pub fn canonical(&self) -> String {
        serde_json::to_string(self).expect("plain data always has a JSON form")
    }

    /// The first option in which two openers differ, as an error that shows both values.
    #[must_use]
    pub fn difference(mine: &str, theirs: &str) -> OptionError {
        let error = SharedOptions::difference(mine, theirs);
        let allowed = error.allowed.replace("the barrier was", "the group was");
        OptionError { allowed, ..error }
    }
}

/// Everything groups are opened with.
#[derive(Debug, Clone)]
pub struct GroupOptions {
    /// Where the record lives.
    pub store: StoreAddress,
    /// The run; empty only with the memory store.
    pub run_id: Option<RunId>,
    /// What the groups are called.
    pub name: BarrierName,
    /// What every opener must give alike.
    pub shared: Shared,
    /// Life of the key in a shared store after the last write.
    pub ttl: Duration,
    /// How long a first connection may take.
    pub connect_timeout: Duration,
    /// How long a call waits for the store's answer.
    pub op_timeout: Duration,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    store: Option<String>,
    tls: Option<TlsOptions>,
    run_id: Option<String>,
    name: String,
    size: serde_json::Number,
    on_timeout: Option<OnTimeout>,
    ttl_ms: Option<u64>,
    connect_timeout_ms: Option<u64>,
    op_timeout_ms: Option<u64>,
}

impl GroupOptions {
    /// Parses and checks the JSON form of the options.
    ///
    /// # Errors
    /// Names the first option that is wrong, what it was and what is allowed.
    pub fn from_json(json: &[u8]) -> Result<Self, OptionError> {
        let raw: Raw = serde_json::from_slice(json)
            .map_err(|e| OptionError::new("options", e.to_string(), "the documented options"))?;
        let (store, run_id) = place_of(raw.store.as_deref(), raw.tls, raw.run_id.as_deref())?;
        Ok(Self {
            store,
            run_id,
            name: BarrierName::new(&raw.name)?,
            shared: Shared {
                size: whole("size", &raw.size, SIZE_MIN, SIZE_MAX)?,
                on_timeout: raw.on_timeout.unwrap_or_default(),
            },
            ttl: life(raw.ttl_ms)?,
            connect_timeout: connect_timeout(raw.connect_timeout_ms)?,
            op_timeout: op_timeout(raw.op_timeout_ms)?,
        })
    }
}

/// Checks a member's payload.
///
/// # Errors
/// Names its length and what is allowed.
pub fn check_payload(payload: &str) -> Result<(), OptionError> {
    if payload.len() <= PAYLOAD_MAX {
        return Ok(());
    }
    Err(OptionError::new(
        "payload",
        format!("{} bytes", payload.len()),
        format!("at most {PAYLOAD_MAX} bytes of UTF-8"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bad_value_is_named() {
        for (json, option) in [
            (r#"{"name":"a b","size":4}"#, "name"),
            (r#"{"name":"l","size":1}"#, "size"),
            (r#"{"name":"l","size":1001}"#, "size"),
            (r#"{"name":"l","size":2.5}"#, "size"),
            (r#"{"name":"l","size":2,"ttlMs":59999}"#, "ttl"),
            (r#"{"name":"l","size":2,"store":"redis://h"}"#, "runId"),
            (r#"{"name":"l","size":2,"opTimeoutMs":0}"#, "opTimeout"),
            (r#"{"name":"l","size":2,"parties":2}"#, "options"),
        ] {
            let error = GroupOptions::from_json(json.as_bytes()).expect_err(json);
            assert_eq!(error.option, option, "{json}: {error}");
        }
        let error = check_payload(&"é".repeat(129)).expect_err("too long");
        assert_eq!(
            (error.option.as_str(), error.got.as_str()),
            ("payload", "258 bytes")
        );
    }

    #[test]
    fn openers_that_differ_are_told_where() {
        let of = |json: &str| {
            GroupOptions::from_json(json.as_bytes())
                .expect("valid")
                .shared
        };
        let (a, b) = (
            of(r#"{"name":"l","size":2}"#),
            of(r#"{"name":"l","size":3}"#),
        );
        let error = Shared::difference(&b.canonical(), &a.canonical());
        assert_eq!((error.option.as_str(), error.got.as_str()), ("size", "3"));
        assert!(
            error.allowed.contains("the group was opened with"),
            "{error}"
        );
    }
}
