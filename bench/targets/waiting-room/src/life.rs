//! How lifelike the room is: what the real system takes its time for, and how it does its work.

use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use serde::Serialize;

/// The real gateway does not block while a service works: all that its pool of connections holds go through at once.
const GATEWAY_PARALLEL: NonZeroUsize = NonZeroUsize::new(2000).unwrap();

/// How a promotion gets from the dispatcher to the broker that holds the user's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Hop {
    /// Inside the process.
    Memory,
    /// By Redis streams: `ENTRY`, which is never trimmed, then `DISPATCH:{instanceId}`.
    Streams,
}

/// How users hear of their place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Server-sent events on a stream that stays open.
    Sse,
    /// One JSON answer per call; users ask again and again.
    Polling,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sse => "sse",
            Self::Polling => "polling",
        })
    }
}

/// What the room takes its time for, and how it does its work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Life {
    /// Users of a sorted set whose rank is asked for in one round trip to Redis. With 1, positions are sent one by one, and
    /// the rest of an event's round is dropped where a user has no rank any more.
    pub pipeline: NonZeroUsize,
    /// The index record of each of them is read too.
    pub index_records: bool,
    /// A login keeps the authentication busy for so long; logins wait for each other.
    #[serde(rename = "login-ms", with = "target_kit::millis")]
    pub login: Duration,
    /// A join takes so long; joins do not wait for each other.
    #[serde(rename = "join-ms", with = "target_kit::millis")]
    pub join: Duration,
    /// A request takes so long at the gateway. Zero: there is no gateway.
    #[serde(rename = "gateway-ms", with = "target_kit::millis")]
    pub gateway: Duration,
    /// Requests that the gateway carries through that time at once; more wait.
    pub gateway_parallel: NonZeroUsize,
    /// The way of promotions.
    pub hop: Hop,
    /// A message comes in three chunks: `data:`, what it says, the empty line.
    pub chunks: bool,
    /// The distance of promotion rounds.
    #[serde(rename = "round-ms", with = "target_kit::millis")]
    pub round: Duration,
    /// Rounds of positions and heartbeats begin up to so late, evenly spread.
    #[serde(rename = "late-rounds-ms", with = "target_kit::millis")]
    pub late_rounds: Duration,
    /// Brokers, among which the users are divided.
    pub brokers: NonZeroU32,
    /// What a stream says first, before the user's id.
    pub greeting: String,
}

impl Life {
    /// Everything at once: for tests, and to see what a harness or a machine carries.
    pub fn fast() -> Self {
        Self {
            pipeline: NonZeroUsize::new(1000).unwrap_or(NonZeroUsize::MIN),
            index_records: false,
            login: Duration::ZERO,
            join: Duration::ZERO,
            gateway: Duration::ZERO,
            gateway_parallel: GATEWAY_PARALLEL,
            hop: Hop::Memory,
            chunks: false,
            round: Duration::from_secs(1),
            late_rounds: Duration::ZERO,
            brokers: NonZeroU32::MIN,
            greeting: "connected,".to_owned(),
        }
    }

    /// As the real system was seen with up to 2,000 users on two cores: for comparisons.
    pub fn real() -> Self {
        Self {
            pipeline: NonZeroUsize::MIN,
            index_records: true,
            login: Duration::from_millis(9),
            join: Duration::from_millis(500),
            gateway: Duration::from_millis(4),
            gateway_parallel: GATEWAY_PARALLEL,
            hop: Hop::Streams,
            chunks: true,
            round: Duration::from_secs(1),
            late_rounds: Duration::from_millis(700),
            brokers: NonZeroU32::MIN.saturating_add(1),
            greeting: "연결되었습니다.".to_owned(),
        }
    }
}

impl Default for Life {
    fn default() -> Self {
        Self::fast()
    }
}
