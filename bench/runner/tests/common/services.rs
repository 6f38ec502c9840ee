//! The waiting room as services that a person has started.

use std::process::{Child, Command};

use super::{Place, Redis, k6, waiting_room};

const SUITE: &str = "bench/suites/waiting-room.toml";

/// Services that a person has started, on a Redis of theirs.
pub(crate) struct Services {
    pub(crate) redis: Redis,
    pub(crate) child: Child,
    pub(crate) address: String,
    place: Place,
}

impl Services {
    pub(crate) fn start(more: &[&str]) -> Self {
        let (redis, place) = (Redis::start(&[]), Place::new());
        let port_file = place.evidence().with_file_name("address");
        let (child, address) = super::start_target(
            Command::new(waiting_room())
                .args(["--events", "e1,e2", "--seats", "8", "--users", "5"])
                .args(more)
                .env("REDIS_URL", &redis.address),
            &port_file,
        );
        Self {
            redis,
            child,
            address,
            place,
        }
    }

    /// Something that no other command line has.
    pub(crate) fn mark(&self) -> String {
        self.place
            .evidence()
            .with_file_name("address")
            .display()
            .to_string()
    }

    /// A call of the runner with settings that fit.
    pub(crate) fn call(&self, place: &Place, verb: &str) -> Command {
        self.call_suite(SUITE, place, verb)
    }

    /// The same with a suite of one's own.
    pub(crate) fn call_suite(&self, suite: &str, place: &Place, verb: &str) -> Command {
        let mut command = place.runner();
        command
            .args([verb, suite, "--scenario", "custom"])
            .env("K6_BIN", k6())
            .env("BASE_URL", &self.address)
            .env("REDIS_URL", &self.redis.address)
            .env("EVENT_IDS", "e1,e2")
            .env("BURST_OFFSET_MS", "0")
            .env("SEATS", "8")
            .env("VUS", "5");
        command
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
