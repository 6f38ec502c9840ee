//! What a chat service is started with.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Faults;

/// Everything a chat service is started with, apart from its sockets. The default is that of the command line.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Config {
    /// The pace of the loop.
    pub pace: Hertz,
    /// What a reply is like.
    pub reply: Reply,
    /// Streams are opened only to those who show a token that is known.
    pub require_token: bool,
    /// Tokens that are known beside those that logins hand out.
    pub tokens: Vec<String>,
    /// What goes wrong on purpose.
    pub faults: Faults,
}

/// It shows itself without its tokens.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("pace", &self.pace)
            .field("reply", &self.reply)
            .field("require_token", &self.require_token)
            .field("tokens", &self.tokens.len())
            .field("faults", &self.faults)
            .finish()
    }
}

/// What a reply is like: so many chunks, the first after a while, the others at an even distance.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reply {
    /// Chunks of a reply, before the frame that ends it.
    pub chunks: NonZeroU32,
    /// From a message to the first chunk.
    pub first: Duration,
    /// From a chunk to the next.
    pub interval: Duration,
}

/// 20 chunks in 1.72 s: some clients wait for no more than 5 s.
impl Default for Reply {
    fn default() -> Self {
        Self {
            chunks: NonZeroU32::MIN.saturating_add(19),
            first: Duration::from_millis(200),
            interval: Duration::from_millis(80),
        }
    }
}

/// Ticks per second, from 1 to 1000: the timer knows milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Hertz(u32);

impl Hertz {
    /// From one tick to the next.
    pub fn period(self) -> Duration {
        Duration::from_secs(1) / self.0
    }
}

impl Default for Hertz {
    fn default() -> Self {
        Self(100)
    }
}

impl TryFrom<u32> for Hertz {
    type Error = HertzError;

    fn try_from(ticks: u32) -> Result<Self, HertzError> {
        if (1..=1000).contains(&ticks) {
            Ok(Self(ticks))
        } else {
            Err(HertzError)
        }
    }
}

impl From<Hertz> for u32 {
    fn from(pace: Hertz) -> Self {
        pace.0
    }
}

impl FromStr for Hertz {
    type Err = HertzError;

    fn from_str(text: &str) -> Result<Self, HertzError> {
        text.parse::<u32>().map_err(|_| HertzError)?.try_into()
    }
}

impl fmt::Display for Hertz {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number is not a pace of the loop.
#[derive(Debug)]
pub struct HertzError;

impl fmt::Display for HertzError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number of ticks per second from 1 to 1000 is allowed")
    }
}

impl std::error::Error for HertzError {}
