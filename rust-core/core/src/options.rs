//! What a barrier is opened with: parsed from JSON, checked once, here.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::address::RedisAddress;
use crate::error::OptionError;
use crate::ids::{BarrierName, Reason, RunId, quoted};
use crate::ledger::BATCH_MAX;
use crate::protocol::Counts;
use crate::spread::Spread;
use crate::tls::TlsOptions;

/// Most participants that a barrier can expect.
pub const PARTIES_MAX: u32 = 10_000_000;
/// Shortest life of the keys in a shared store.
pub const TTL_MIN: Duration = Duration::from_secs(60);
const TTL_DEFAULT: Duration = Duration::from_secs(3600);
const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
const OP_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// The instants that can be given for a release, in ms since the epoch: from 2001 to 2100. What lies before was given in seconds.
pub const RELEASE_AT: std::ops::RangeInclusive<u64> = 1_000_000_000_000..=4_102_444_800_000;

/// When a phase is released before all are accounted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Quorum {
    /// At this many arrivals.
    Count(u32),
    /// At this share of `parties - left`, in whole per cent, rounded up.
    Percent(u32),
}

impl Quorum {
    /// How many arrivals release a phase from which `left` of `parties` have left.
    #[must_use]
    pub fn arrivals(self, parties: u32, left: u32) -> u32 {
        match self {
            Self::Count(n) => n,
            Self::Percent(p) => {
                let rest = u64::from(parties.saturating_sub(left));
                u32::try_from((rest * u64::from(p)).div_ceil(100)).unwrap_or(u32::MAX)
            }
        }
    }
}

/// What a participant gets that comes after the release.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Late {
    /// It passes and is counted as late.
    #[default]
    Pass,
    /// Its call fails.
    Error,
}

/// What the first wait to expire does to the phase.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnTimeout {
    /// Nothing; the wait fails.
    #[default]
    Throw,
    /// It releases everyone.
    Release,
    /// It breaks the barrier for everyone.
    Abort,
}

/// Who is expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Parties {
    /// So many participants.
    Fixed(u32),
    /// Whoever runs, as the hosts tell.
    Running(Running),
}

/// Parties that are whoever runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Running {
    /// The scenarios whose users are expected while they run; the hosts know who these are.
    pub running: BTreeSet<String>,
    /// The first phase waits for so many outcomes, whoever runs.
    #[serde(default = "one")]
    pub at_least: u32,
}

const fn one() -> u32 {
    1
}

impl Parties {
    /// How many, where that is fixed.
    #[must_use]
    pub const fn fixed(&self) -> Option<u32> {
        match self {
            Self::Fixed(parties) => Some(*parties),
            Self::Running(_) => None,
        }
    }

    /// How many a phase with these counts expects that waits for `owing` more of those who run.
    #[must_use]
    pub fn of(&self, counts: &Counts, owing: u32) -> u32 {
        self.fixed()
            .unwrap_or_else(|| counts.arrived + counts.failed_total() + owing)
    }

    /// How many of them have no outcome yet.
    #[must_use]
    pub fn missing(&self, counts: &Counts, owing: u32) -> u32 {
        match self {
            Self::Fixed(parties) => parties.saturating_sub(counts.accounted()),
            Self::Running(_) => owing,
        }
    }
}

/// The options that every opener of a barrier must give alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SharedOptions {
    /// Who is expected.
    pub parties: Parties,
    /// Whether the barrier has more than one phase.
    pub cyclic: bool,
    /// Release before all are accounted for.
    pub release: Option<Quorum>,
    /// The barrier breaks when more than this many fail.
    pub max_failures: Option<u32>,
    /// What late participants get.
    pub late: Late,
    /// What the first wait to expire does.
    pub on_timeout: OnTimeout,
    /// Scenarios whose users are participants.
    pub fail_unaccounted: BTreeSet<String>,
    /// Lets users go one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<Spread>,
    /// No phase that is complete takes effect before this instant of the store's clock, in ms since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_at: Option<u64>,
}

impl SharedOptions {
    /// The one text form that stores keep and compare.
    ///
    /// # Panics
    /// Never: the type has no map with keys other than strings.
    #[must_use]
    pub fn canonical(&self) -> String {
        serde_json::to_string(self).expect("plain data always has a JSON form")
    }

    /// The instant before which no complete phase takes effect, in microseconds.
    #[must_use]
    pub fn release_at_micros(&self) -> Option<i64> {
        let ms = i64::try_from(self.release_at?).ok()?;
        Some(ms.saturating_mul(1000))
    }

    /// A release may lie ahead of its decision though there is one process alone.
    #[must_use]
    pub const fn is_timed(&self) -> bool {
        self.spread.is_some() || self.release_at.is_some()
    }

    /// The first option in which two openers differ, as an error that shows both values.
    #[must_use]
    pub fn difference(mine: &str, theirs: &str) -> OptionError {
        let parse = |text: &str| {
            serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text)
                .unwrap_or_default()
        };
        let (mine, theirs) = (parse(mine), parse(theirs));
        for option in mine.keys().chain(theirs.keys()) {
            let nothing = &serde_json::Value::Null;
            let got = mine.get(option).unwrap_or(nothing);
            let there = theirs.get(option).unwrap_or(nothing);
            if got != there {
                // Scripts say within `release` how users go.
                let is_spread = option == "spread";
                let show = |value| {
                    if is_spread {
                        Spread::show(value)
                    } else {
                        format!("{value}")
                    }
                };
                return OptionError::new(
                    if is_spread { "release" } else { option },
                    show(got),
                    format!(
                        "{}, which the barrier was opened with elsewhere",
                        show(there)
                    ),
                );
            }
        }
        OptionError::new("options", "others", "those the barrier was opened with")
    }
}

/// Where a barrier's record lives.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum StoreAddress {
    /// In this process.
    Memory,
    /// In Redis or Valkey, on one server or a cluster.
    Redis(Box<RedisAddress>),
}

impl StoreAddress {
    /// Whether this is a cluster.
    #[must_use]
    pub const fn is_cluster(&self) -> bool {
        matches!(self, Self::Redis(address) if address.is_cluster())
    }
}

/// Everything a barrier is opened with.
#[derive(Debug, Clone)]
pub struct BarrierOptions {
    /// Where the record lives.
    pub store: StoreAddress,
    /// The run; empty only with the memory store.
    pub run_id: Option<RunId>,
    /// The barrier's name.
    pub name: BarrierName,
    /// What every opener must give alike.
    pub shared: SharedOptions,
    /// Whether the caller said `late: 'pass'` itself.
    pub late_is_explicit: bool,
    /// Reasons whose counters exist from the start.
    pub reasons: BTreeSet<Reason>,
    /// Life of the keys in a shared store after the last write.
    pub ttl: Duration,
    /// Replaces the measured delay between decision and release.
    pub release_delay: Option<Duration>,
    /// How long a first connection may take.
    pub connect_timeout: Duration,
    /// How long a call waits for the store's answer.
    pub op_timeout: Duration,
    /// How many outcomes one call of a shared store carries at most. Not for hosts: tests with few participants make it
    /// small, so that several calls are on their way at once.
    pub batch_max: usize,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawParties {
    Fixed(serde_json::Number),
    #[serde(rename_all = "camelCase")]
    Running {
        running: BTreeSet<String>,
        at_least: Option<serde_json::Number>,
    },
}

impl RawParties {
    fn check(self) -> Result<Parties, OptionError> {
        let (running, at_least) = match self {
            Self::Fixed(n) => return Ok(Parties::Fixed(whole("parties", &n, 1, PARTIES_MAX)?)),
            Self::Running { running, at_least } => (running, at_least),
        };
        if running.is_empty() || running.contains("") {
            return Err(OptionError::new(
                "parties.running",
                if running.is_empty() {
                    "no scenario"
                } else {
                    "an empty name"
                },
                "names of scenarios",
            ));
        }
        let at_least = at_least.map(|n| whole("parties.atLeast", &n, 1, PARTIES_MAX));
        Ok(Parties::Running(Running {
            running,
            at_least: at_least.transpose()?.unwrap_or(one()),
        }))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    store: Option<String>,
    tls: Option<TlsOptions>,
    run_id: Option<String>,
    name: String,
    parties: RawParties,
    #[serde(default)]
    cyclic: bool,
    release: Option<Quorum>,
    spread: Option<Spread>,
    release_at: Option<u64>,
    max_failures: Option<serde_json::Number>,
    late: Option<Late>,
    on_timeout: Option<OnTimeout>,
    #[serde(default)]
    fail_unaccounted: BTreeSet<String>,
    #[serde(default)]
    reasons: BTreeSet<String>,
    ttl_ms: Option<u64>,
    release_delay_ms: Option<u64>,
    connect_timeout_ms: Option<u64>,
    op_timeout_ms: Option<u64>,
    /// Accepted for the caller's convenience; the core does not need it.
    #[serde(default, rename = "randomRunId")]
    _random_run_id: bool,
}

impl BarrierOptions {
    /// Parses and checks the JSON form of the options.
    ///
    /// # Errors
    /// Names the first option that is wrong, what it was and what is allowed.
    pub fn from_json(json: &[u8]) -> Result<Self, OptionError> {
        let raw: Raw = serde_json::from_slice(json)
            .map_err(|e| OptionError::new("options", e.to_string(), "the documented options"))?;
        let parties = raw.parties.check()?;
        if let Some(quorum) = raw.release {
            check_quorum(quorum, &parties)?;
        }
        let most = parties.fixed().unwrap_or(PARTIES_MAX);
        if let Some(spread) = raw.spread {
            spread.check()?;
        }
        if let Some(ms) = raw.release_at.filter(|ms| !RELEASE_AT.contains(ms)) {
            return Err(OptionError::new(
                "releaseAt",
                ms.to_string(),
                "an instant from 2001 to 2100, in milliseconds since the epoch",
            ));
        }
        let max_failures = raw
            .max_failures
            .as_ref()
            .map(|n| whole("maxFailures", n, 0, most))
            .transpose()?;
        let (store, run_id) = place_of(raw.store.as_deref(), raw.tls, raw.run_id.as_deref())?;
        for scenario in &raw.fail_unaccounted {
            if scenario.is_empty() {
                return Err(OptionError::new(
                    "failUnaccounted",
                    "an empty name",
                    "names of scenarios",
                ));
            }
        }
        let ttl = life(raw.ttl_ms)?;
        Ok(Self {
            store,
            run_id,
            name: BarrierName::new(&raw.name)?,
            shared: SharedOptions {
                parties,
                cyclic: raw.cyclic,
                release: raw.release,
                max_failures,
                late: raw.late.unwrap_or_default(),
                on_timeout: raw.on_timeout.unwrap_or_default(),
                fail_unaccounted: raw.fail_unaccounted,
                spread: raw.spread,
                release_at: raw.release_at,
            },
            late_is_explicit: raw.late == Some(Late::Pass),
            reasons: raw
                .reasons
                .iter()
                .map(|r| Reason::new("reasons", r))
                .collect::<Result<_, _>>()?,
            ttl,
            release_delay: raw.release_delay_ms.map(Duration::from_millis),
            connect_timeout: connect_timeout(raw.connect_timeout_ms)?,
            op_timeout: op_timeout(raw.op_timeout_ms)?,
            batch_max: BATCH_MAX,
        })
    }
}

/// Where a record lives, and of which run it is.
pub(crate) fn place_of(
    store: Option<&str>,
    tls: Option<TlsOptions>,
    run_id: Option<&str>,
) -> Result<(StoreAddress, Option<RunId>), OptionError> {
    let store = match store {
        None | Some("memory") if tls.is_some() => {
            return Err(OptionError::new(
                "tls",
                "options for TLS with the memory store",
                "with rediss:// and rediss+cluster:// alone",
            ));
        }
        None | Some("memory") => StoreAddress::Memory,
        Some(url) => StoreAddress::Redis(Box::new(RedisAddress::new("store", url, tls)?)),
    };
    let run_id = run_id.map(RunId::new).transpose()?;
    if run_id.is_none() && store != StoreAddress::Memory {
        return Err(OptionError::new(
            "runId",
            "nothing",
            "an id that all processes of the run share, with a Redis store",
        ));
    }
    Ok((store, run_id))
}

/// How long keys live in a shared store after the last write.
pub(crate) fn life(ttl_ms: Option<u64>) -> Result<Duration, OptionError> {
    let ttl = ttl_ms.map_or(TTL_DEFAULT, Duration::from_millis);
    if ttl < TTL_MIN {
        return Err(OptionError::new(
            "ttl",
            format!("{} ms", ttl.as_millis()),
            format!("at least {} ms", TTL_MIN.as_millis()),
        ));
    }
    Ok(ttl)
}

/// How long a first connection may take.
pub(crate) fn connect_timeout(ms: Option<u64>) -> Result<Duration, OptionError> {
    Ok(timeout("connectTimeout", ms)?.unwrap_or(CONNECT_TIMEOUT_DEFAULT))
}

/// How long a call waits for the store's answer.
pub(crate) fn op_timeout(ms: Option<u64>) -> Result<Duration, OptionError> {
    Ok(timeout("opTimeout", ms)?.unwrap_or(OP_TIMEOUT_DEFAULT))
}

fn timeout(option: &str, ms: Option<u64>) -> Result<Option<Duration>, OptionError> {
    match ms {
        Some(0) => Err(OptionError::new(option, "0 ms", "more than 0 ms")),
        other => Ok(other.map(Duration::from_millis)),
    }
}

/// A whole number from `min` to `max`.
pub(crate) fn whole(
    option: &str,
    n: &serde_json::Number,
    min: u32,
    max: u32,
) -> Result<u32, OptionError> {
    // A script's numbers are doubles: 3.0 is the integer 3.
    let value = n.as_f64().unwrap_or(f64::NAN);
    if value.fract() == 0.0 && (f64::from(min)..=f64::from(max)).contains(&value) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // checked above
        return Ok(value as u32);
    }
    Err(OptionError::new(
        option,
        n.to_string(),
        format!("an integer from {min} to {max}"),
    ))
}

fn check_quorum(quorum: Quorum, parties: &Parties) -> Result<(), OptionError> {
    let Some(parties) = parties.fixed() else {
        return Err(OptionError::new(
            "release",
            "a quorum of those who run",
            "a quorum of a number of parties; of those who run, spread and rate alone",
        ));
    };
    let (got, good, allowed) = match quorum {
        Quorum::Count(n) => (
            n.to_string(),
            (1..=parties).contains(&n),
            format!("an integer from 1 to parties ({parties})"),
        ),
        Quorum::Percent(p) => (
            quoted(&format!("{p}%")),
            (1..=100).contains(&p),
            "a whole percentage from 1% to 100%".into(),
        ),
    };
    if good {
        Ok(())
    } else {
        Err(OptionError::new("release", got, allowed))
    }
}

#[cfg(test)]
mod tests;
