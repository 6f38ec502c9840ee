//! What a waiting room is started with.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};
use thiserror::Error;

use crate::{Faults, Life, QueueKind, Transport};

/// The events that exist when no others are named.
pub const DEFAULT_EVENT_IDS: [&str; 5] = [
    "0dc2efd8-f760-11f0-8e3b-2a897f646219",
    "b55834d0-f834-11f0-999b-a7e49b723099",
    "ba1d5e02-f834-11f0-999b-05d0f9a25396",
    "bc113ec4-f834-11f0-999b-1786beee8658",
    "be54c626-f834-11f0-999b-9fdbde76a760",
];

/// Everything a waiting room is started with, apart from its socket.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// The Redis that holds the queues.
    pub redis: RedisUrl,
    /// The data structure, and with it the work pattern, of the queues.
    pub queue: QueueKind,
    /// The events that exist.
    pub events: Vec<String>,
    /// Seats of each event; the slots of an event start from it.
    pub seats: u32,
    /// Users `user1@…` to `user<users>@…` exist.
    pub users: u32,
    /// The part after the `@` of the users' addresses.
    pub email_domain: String,
    /// The address of the one manager.
    pub admin_email: String,
    /// The password of everybody.
    pub password: String,
    /// A stream without a byte for this long is cut, as a gateway would. With polling, users who have not asked for this long
    /// are gone.
    pub cut_after_silence: Duration,
    /// How users hear of their place.
    pub transport: Transport,
    /// How lifelike it is.
    pub life: Life,
    /// A request that gets no connection for this long is answered with 500.
    pub connection_wait: Duration,
    /// Serve `GET /ticks` too: streams that only count the seconds.
    pub ticks: bool,
    /// What goes wrong on purpose.
    pub faults: Faults,
}

impl Config {
    /// A configuration with the defaults of the command line.
    pub fn new(redis: RedisUrl) -> Self {
        Self {
            redis,
            queue: QueueKind::Zset,
            events: DEFAULT_EVENT_IDS.map(String::from).to_vec(),
            seats: 50,
            users: 10_000,
            email_domain: "example.com".to_owned(),
            admin_email: "admin@example.com".to_owned(),
            password: "password123".to_owned(),
            cut_after_silence: Duration::from_secs(30),
            transport: Transport::Sse,
            life: Life::fast(),
            connection_wait: Duration::from_secs(30),
            ticks: false,
            faults: Faults::default(),
        }
    }
}

/// The address of a Redis server. It shows itself without user and password.
#[derive(Clone)]
pub struct RedisUrl(ConnectionInfo);

impl RedisUrl {
    pub(crate) fn connection_info(&self) -> ConnectionInfo {
        self.0.clone()
    }
}

impl FromStr for RedisUrl {
    type Err = RedisUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The cause is left out: it could repeat parts of the address, and the address may hold a password.
        let info = text.into_connection_info().map_err(|_| RedisUrlError)?;
        // Whether redis-rs can do TLS depends on what else is built along; here it has no certificates to check by.
        let secure = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        if info.addr().is_supported() && !secure {
            Ok(Self(info))
        } else {
            Err(RedisUrlError)
        }
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let database = self.0.redis_settings().db();
        match self.0.addr() {
            redis::ConnectionAddr::Unix(path) => {
                write!(f, "redis+unix://{}?db={database}", path.display())
            }
            address => write!(f, "redis://{address}/{database}"),
        }
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not the address of a Redis server that can be used here.
#[derive(Debug, Error)]
#[error(
    "not a usable Redis address (not repeated here, since it may hold a password); \
     allowed are redis://[user:password@]host[:port][/database] and redis+unix:///path[?db=database&pass=password]"
)]
pub struct RedisUrlError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_shows_itself_without_secrets() {
        for (given, shown) in [
            ("redis://127.0.0.1", "redis://127.0.0.1:6379/0"),
            (
                "redis://anna:s3cret@localhost:7000/4",
                "redis://localhost:7000/4",
            ),
            (
                "redis+unix:///tmp/r.sock?pass=s3cret&db=2",
                "redis+unix:///tmp/r.sock?db=2",
            ),
        ] {
            let url: RedisUrl = given.parse().expect("address is valid");
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), shown);
        }
    }

    #[test]
    fn unusable_address_is_refused_without_repeating_it() {
        for given in [
            "",
            "localhost:6379",
            "http://s3cret@localhost",
            "rediss://:s3cret@localhost",
        ] {
            let error = given
                .parse::<RedisUrl>()
                .expect_err("address is not usable");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }
}
