//! How lifelike the room is, on the command line.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use crate::{Hop, Life};

/// A set of defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Like {
    /// Everything at once: for tests, and to see what a harness or a machine carries
    Fast,
    /// As a real system was seen with up to 2,000 users on two cores: for comparisons
    Real,
}

/// How lifelike the room is: a profile, and what is to be different from it.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Life (without a default: as the profile has it)")]
pub(super) struct LifeArgs {
    /// Profile that the following have their values from
    #[arg(long, value_enum, default_value_t = Like::Fast)]
    like: Like,

    /// Users of a sorted set whose rank is asked for in one round trip [fast: 1000, real: 1]
    ///
    /// With 1, each is asked for and told before the next, and where one has no rank any more the rest of that event's round
    /// is dropped. A hash is read whole, whatever this says.
    #[arg(long, value_name = "N")]
    pipeline: Option<NonZeroUsize>,

    /// Read the index record of each of these users too [fast: false, real: true]
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    index_records: Option<bool>,

    /// A login keeps the authentication busy for so long; logins wait for each other [fast: 0, real: 9]
    #[arg(long, value_name = "MS")]
    login_ms: Option<u64>,

    /// A join takes so long; joins do not wait for each other [fast: 0, real: 500]
    #[arg(long, value_name = "MS")]
    join_ms: Option<u64>,

    /// A request takes so long at the gateway [fast: 0, real: 4]
    ///
    /// 0 means that there is no gateway. By a gateway, a 409 says that it is an event stream.
    #[arg(long, value_name = "MS")]
    gateway_ms: Option<u64>,

    /// Requests that the gateway carries through that time at once; more wait [fast: 2000, real: 2000]
    #[arg(long, value_name = "N")]
    gateway_parallel: Option<NonZeroUsize>,

    /// Way of promotions to the brokers: inside the process, or by the Redis streams ENTRY and DISPATCH:… [fast: memory, real: streams]
    #[arg(long, value_name = "memory|streams", hide_possible_values = true)]
    hop: Option<Hop>,

    /// Chunks that a message of a stream comes in: 1, or 3, which are "data:", what it says, the empty line [fast: 1, real: 3]
    #[arg(long, value_name = "1|3", value_parser = ["1", "3"], hide_possible_values = true)]
    chunks: Option<String>,

    /// Promotion rounds are so far apart [fast: 1000, real: 1000]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(10..))]
    round_ms: Option<u64>,

    /// Rounds of positions and heartbeats begin up to so late, evenly spread [fast: 0, real: 700]
    #[arg(long, value_name = "MS")]
    late_rounds_ms: Option<u64>,

    /// Brokers, among which the users are divided [fast: 1, real: 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    brokers: Option<u32>,

    /// What a stream says first, before the user's id [fast: connected, real: 연결되었습니다.]
    #[arg(long, value_name = "TEXT")]
    greeting: Option<String>,
}

impl LifeArgs {
    pub(super) fn life(&self) -> Life {
        fn set<T>(value: &mut T, given: Option<T>) {
            if let Some(given) = given {
                *value = given;
            }
        }
        let millis = |given: Option<u64>| given.map(Duration::from_millis);
        let mut life = match self.like {
            Like::Fast => Life::fast(),
            Like::Real => Life::real(),
        };
        set(&mut life.pipeline, self.pipeline);
        set(&mut life.index_records, self.index_records);
        set(&mut life.login, millis(self.login_ms));
        set(&mut life.join, millis(self.join_ms));
        set(&mut life.gateway, millis(self.gateway_ms));
        set(&mut life.gateway_parallel, self.gateway_parallel);
        set(&mut life.hop, self.hop);
        set(&mut life.round, millis(self.round_ms));
        set(&mut life.late_rounds, millis(self.late_rounds_ms));
        set(&mut life.brokers, self.brokers.and_then(NonZeroU32::new));
        set(&mut life.greeting, self.greeting.clone());
        let chunks = self.chunks.as_ref().map(|chunks| chunks == "3");
        set(&mut life.chunks, chunks);
        life
    }
}
