//! What an operator reads of barriers that others hold: names of keys, and a record as one script gives it.

use redis::{FromRedisValue, Script, Value};

use crate::ids::{BarrierName, Incarnation, Phase, RunId};
use crate::options::SharedOptions;
use crate::protocol::{Broken, Counts, Release, StoreTime};

use super::{Fields, Unreadable};

const STATE: &str = "K6_BARRIER_STATE:";

/// A barrier's record at one instant.
#[derive(Debug, Clone)]
pub struct Look {
    /// The store's clock at that instant.
    pub now: StoreTime,
    /// The record's incarnation.
    pub incarnation: Incarnation,
    /// What it was opened with.
    pub options: SharedOptions,
    /// The open phase; 1 after the release of a one-shot barrier.
    pub open: Phase,
    /// Counts of the open phase; after the release of a one-shot barrier, at that release.
    pub counts: Counts,
    /// How many who run have no outcome in the open phase; 0 where the number of parties is fixed.
    pub owing: u32,
    /// Late participants so far.
    pub late: u32,
    /// How it broke.
    pub broken: Option<Broken>,
    /// The newest release.
    pub newest: Option<Release>,
    /// When the record was made.
    pub since: Option<StoreTime>,
    /// Processes that are registered and have not said goodbye.
    pub processes: u32,
    /// When a process wrote last.
    pub heard: Option<StoreTime>,
    /// How long the record lives if nobody writes any more, in ms; none where it has no expiry.
    pub ttl_ms: Option<u64>,
}

/// The script that reads a record; its one key is [`super::Keys::state`].
#[must_use]
pub fn look_script() -> Script {
    Script::new(include_str!("scripts/look.lua"))
}

/// Reads that script's answer; none where there is no record.
///
/// # Errors
/// Where the answer has another shape, as with the record of another version.
pub fn decode_look(value: Value) -> Result<Option<Look>, Unreadable> {
    let texts: Vec<String> = Vec::from_redis_value(value).map_err(|e| Unreadable(e.to_string()))?;
    if texts.is_empty() {
        return Ok(None);
    }
    let mut fields = Fields {
        texts: texts.iter(),
        at: 0,
    };
    let time = |text: &str| text.parse().ok().map(StoreTime);
    let now = StoreTime(fields.parse()?);
    let incarnation = Incarnation::from_store(fields.text()?);
    let options = fields
        .json()?
        .ok_or_else(|| Unreadable("the options are empty".into()))?;
    let open = Phase(fields.parse()?);
    let counts = fields.counts()?;
    Ok(Some(Look {
        now,
        incarnation,
        options,
        open,
        counts,
        late: fields.parse()?,
        broken: fields.json()?,
        newest: fields.json()?,
        since: time(fields.text()?),
        processes: fields.parse()?,
        heard: time(fields.text()?),
        ttl_ms: fields.text()?.parse().ok(),
        owing: fields.parse()?,
    }))
}

/// The pattern that the keys of all barriers match, or those of one run; it may match others too.
#[must_use]
pub fn state_pattern(run: Option<&RunId>) -> String {
    // A run id has no character that means something in a pattern. On a cluster it stands in braces.
    run.map_or_else(|| format!("{STATE}*"), |run| format!("{STATE}*{run}*"))
}

/// Which barrier a key of [`state_pattern`] is the record of.
#[must_use]
pub fn parse_state_key(key: &str) -> Option<(RunId, BarrierName)> {
    let rest = key.strip_prefix(STATE)?;
    let (run, name) = rest.split_once(':').unwrap_or((rest, "default"));
    let run = run
        .strip_prefix('{')
        .and_then(|run| run.strip_suffix('}'))
        .unwrap_or(run);
    Some((RunId::new(run).ok()?, BarrierName::new(name).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::redis::Keys;

    #[test]
    fn keys_are_read_as_they_are_written() {
        let run = RunId::new("run.1").expect("valid");
        for name in ["default", "gate"] {
            let name = BarrierName::new(name).expect("valid");
            for on_cluster in [false, true] {
                let key = Keys::new(&run, &name, on_cluster).state();
                assert_eq!(parse_state_key(&key), Some((run.clone(), name.clone())));
            }
        }
    }

    #[test]
    fn foreign_keys_are_nobody() {
        for key in [
            "K6_BARRIER_JOINED:r",
            "K6_BARRIER_STATE:",
            "K6_BARRIER_STATE:a b",
            "K6_BARRIER_STATE:r:a:b",
        ] {
            assert_eq!(parse_state_key(key), None, "{key}");
        }
    }
}
