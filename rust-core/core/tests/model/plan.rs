//! What one run is made of.

use barrier_core::options::{BarrierOptions, OnTimeout, Quorum};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Instants before and after any time of a store's clock, in ms since the epoch: in 2001 and in 2096.
const PAST: i64 = 1_000_000_000_000;
pub(crate) const AHEAD: i64 = 4_000_000_000_000;

/// What one run is made of, drawn from its seed.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) processes: usize,
    pub(crate) participants: u32,
    pub(crate) parties: u32,
    /// Whoever runs is expected, and in the first phase at least so many outcomes, instead of `parties`.
    pub(crate) running: Option<u32>,
    pub(crate) cyclic: bool,
    pub(crate) quorum: Option<Quorum>,
    pub(crate) leaves: bool,
    pub(crate) losses: bool,
    pub(crate) amnesia: bool,
    pub(crate) ends: bool,
    pub(crate) max_failures: Option<u32>,
    pub(crate) on_timeout: OnTimeout,
    /// In ms since the epoch: long past, or long ahead.
    pub(crate) release_at: Option<i64>,
    /// Users of a release go one after the other.
    pub(crate) spread: bool,
    pub(crate) steps: u32,
    /// Small ones, so that several are on their way at once.
    pub(crate) batch_max: usize,
}

impl Plan {
    pub(crate) fn from_seed(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let participants = rng.random_range(2..=12);
        let mut own = StdRng::seed_from_u64(seed ^ 0x72_756e);
        let running = own
            .random_bool(0.2)
            .then(|| own.random_range(1..=participants.min(3)));
        let quorum = match rng.random_range(0..6) {
            0 => Some(Quorum::Count(rng.random_range(1..=participants))),
            1 => Some(Quorum::Percent(rng.random_range(30..=100))),
            _ => None,
        };
        let ends = rng.random_bool(0.2);
        Self {
            seed,
            processes: rng.random_range(1..=3),
            participants,
            parties: participants,
            // As that of `release_at`, and so are the quorums that these take away.
            running,
            cyclic: rng.random_bool(0.5),
            quorum: quorum.filter(|_| running.is_none()),
            leaves: rng.random_bool(0.3),
            losses: rng.random_bool(0.7),
            amnesia: rng.random_bool(0.4),
            ends,
            max_failures: rng.random_bool(0.1).then(|| rng.random_range(0..3)),
            on_timeout: [OnTimeout::Throw, OnTimeout::Release, OnTimeout::Abort]
                [rng.random_range(0..3)],
            // From a sequence of its own: those of the seeds that are known stay what they are.
            release_at: [None, None, Some(PAST), Some(AHEAD)]
                [StdRng::seed_from_u64(!seed).random_range(0..4)],
            spread: StdRng::seed_from_u64(seed ^ 0x73_7072).random_bool(0.3),
            steps: rng.random_range(50..400),
            batch_max: rng.random_range(1..=4),
        }
    }

    /// Every participant is waited for and nothing else ends a phase: then nobody can be late, and counts are exact.
    pub(crate) fn exact(&self) -> bool {
        let all = self.quorum.is_none() && self.running.is_none();
        all && !self.ends && self.max_failures.is_none()
    }

    pub(crate) fn options(&self) -> BarrierOptions {
        let release = match self.quorum {
            Some(Quorum::Count(n)) => format!(r#","release":{{"count":{n}}}"#),
            Some(Quorum::Percent(p)) => format!(r#","release":{{"percent":{p}}}"#),
            None => String::new(),
        };
        let max = self
            .max_failures
            .map_or(String::new(), |n| format!(r#","maxFailures":{n}"#));
        let release_at = self
            .release_at
            .map_or(String::new(), |ms| format!(r#","releaseAt":{ms}"#));
        let spread = if self.spread {
            r#","spread":{"pace":{"rate":100}}"#
        } else {
            ""
        };
        let parties = self.running.map_or(self.parties.to_string(), |n| {
            format!(r#"{{"running":["users"],"atLeast":{n}}}"#)
        });
        let on_timeout = format!("{:?}", self.on_timeout).to_lowercase();
        let json = format!(
            r#"{{"name":"model","parties":{},"cyclic":{},"store":"redis://127.0.0.1","runId":"r","reasons":["login"],
               "onTimeout":"{on_timeout}"{release}{max}{release_at}{spread}}}"#,
            parties, self.cyclic
        );
        let mut options = BarrierOptions::from_json(json.as_bytes()).expect("valid options");
        options.batch_max = self.batch_max;
        options
    }
}
