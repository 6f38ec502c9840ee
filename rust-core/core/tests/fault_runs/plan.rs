//! What one run is made of, drawn from its seed.

use std::time::Duration;

use barrier_core::ledger::BATCH_MAX;
use barrier_core::options::Quorum;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

/// Something that happens to the server or to a process's way to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The server closes all its connections.
    KillConnections,
    /// The server stops and goes on after a while.
    Freeze(Duration),
    /// The server is killed and an empty one takes its place.
    RestartEmpty,
    /// All keys go.
    FlushAll,
    /// The cached scripts go.
    ScriptFlush,
    /// The keys are remembered for [`Fault::RollBack`].
    Save,
    /// The keys are as they were at the last [`Fault::Save`].
    RollBack,
    /// Each piece of data takes up to so long, both ways.
    Latency(usize, Duration),
    /// The process's connection is cut between two pieces of data.
    Drop(usize),
    /// The connection is cut after so many bytes of the next request.
    CutRequest(usize, usize),
    /// The connection is cut after so many bytes of the next reply.
    CutReply(usize, usize),
    /// Nothing passes for a while; what was sent arrives afterwards.
    BlackHole(usize, Duration),
}

/// Names of the faults that are counted, in the order of [`Fault::kind`].
pub(crate) const KINDS: [&str; 11] = [
    "all connections killed",
    "server frozen",
    "server restarted empty",
    "FLUSHALL",
    "SCRIPT FLUSH",
    "keys rolled back",
    "latency up to 200 ms",
    "connection dropped",
    "cut within a request",
    "cut within a reply",
    "black hole",
];

impl Fault {
    /// The place in [`KINDS`]; none for what is no fault by itself.
    pub(crate) const fn kind(self) -> Option<usize> {
        Some(match self {
            Self::KillConnections => 0,
            Self::Freeze(_) => 1,
            Self::RestartEmpty => 2,
            Self::FlushAll => 3,
            Self::ScriptFlush => 4,
            Self::Save => return None,
            Self::RollBack => 5,
            Self::Latency(..) => 6,
            Self::Drop(_) => 7,
            Self::CutRequest(..) => 8,
            Self::CutReply(..) => 9,
            Self::BlackHole(..) => 10,
        })
    }

    /// The server forgets something.
    pub(crate) const fn is_amnesia(self) -> bool {
        matches!(self, Self::RestartEmpty | Self::FlushAll | Self::RollBack)
    }
}

/// What the first wait to expire does, and when waits expire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// Waits have time enough.
    Never,
    /// One wait per thread and phase expires, and its caller comes back.
    Throw(Duration),
    /// Somebody is absent from phase 0, and the first wait to expire releases the others.
    Release(Duration),
}

/// See the [module's](self) description.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) processes: usize,
    pub(crate) threads: usize,
    pub(crate) parties: u32,
    /// 1 for a one-shot barrier.
    pub(crate) phases: u32,
    pub(crate) quorum: Option<Quorum>,
    pub(crate) leaves: bool,
    pub(crate) expiry: Expiry,
    /// Somebody breaks the barrier amid the trouble.
    pub(crate) abort: bool,
    /// This participant's last report waits for the end of the trouble.
    pub(crate) holdout: Option<u32>,
    pub(crate) op_timeout: Duration,
    /// Pause of a thread between two reports, at most.
    pub(crate) gap: Duration,
    /// How many reports go in one call at most: where few, several calls are on their way at once.
    pub(crate) batch_max: usize,
    /// When each fault happens, counted from the first report.
    pub(crate) faults: Vec<(Duration, Fault)>,
}

fn ms(rng: &mut StdRng, range: std::ops::RangeInclusive<u64>) -> Duration {
    Duration::from_millis(rng.random_range(range))
}

impl Plan {
    pub(crate) fn from_seed(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let rng = &mut rng;
        let processes = rng.random_range(1..=3);
        let threads = rng.random_range(2..=3);
        let parties = rng.random_range(10..=60);
        let phases = if rng.random_bool(0.5) {
            1
        } else {
            rng.random_range(2..=4)
        };
        let quorum = match rng.random_range(0..10) {
            0 => Some(Quorum::Count(rng.random_range(1..=parties))),
            1 => Some(Quorum::Percent(rng.random_range(30..=100))),
            _ => None,
        };
        let expiry = match rng.random_range(0..10) {
            0 => Expiry::Release(ms(rng, 200..=800)),
            1..=3 => Expiry::Throw(ms(rng, 50..=500)),
            _ => Expiry::Never,
        };
        let amnesia = rng.random_bool(0.45);
        let span = ms(rng, 200..=1200);
        let reports = (parties * phases) as usize / (processes * threads) + 1;
        Self {
            seed,
            processes,
            threads,
            parties,
            phases,
            quorum,
            leaves: rng.random_bool(0.3),
            expiry,
            abort: rng.random_bool(0.04),
            holdout: (rng.random_bool(0.5)).then(|| rng.random_range(1..=parties)),
            op_timeout: if rng.random_bool(0.3) {
                ms(rng, 200..=600)
            } else {
                Duration::from_secs(10)
            },
            gap: span * 2 / u32::try_from(reports).expect("small"),
            faults: faults(rng, span, processes, amnesia),
            batch_max: *[1, 2, 4, BATCH_MAX].choose(rng).expect("not empty"),
        }
    }

    pub(crate) const fn cyclic(&self) -> bool {
        self.phases > 1
    }

    /// Every participant is waited for and nothing else ends a phase: then nobody can be late, and counts are exact.
    pub(crate) fn exact(&self) -> bool {
        self.quorum.is_none() && !matches!(self.expiry, Expiry::Release(_)) && !self.abort
    }

    /// The participants of one process.
    pub(crate) fn members(&self, process: usize) -> impl Iterator<Item = u32> {
        let processes = self.processes;
        (1..=self.parties).filter(move |n| *n as usize % processes == process)
    }

    pub(crate) fn run_id(&self) -> String {
        format!("fault-{}", self.seed)
    }

    /// The options of a process that reaches the server at this port.
    pub(crate) fn options(&self, port: u16) -> String {
        let release = match self.quorum {
            Some(Quorum::Count(n)) => format!(r#","release":{{"count":{n}}}"#),
            Some(Quorum::Percent(p)) => format!(r#","release":{{"percent":{p}}}"#),
            None => String::new(),
        };
        let on_timeout = match self.expiry {
            Expiry::Release(_) => r#","onTimeout":"release""#,
            _ => "",
        };
        format!(
            r#"{{"store":"redis://127.0.0.1:{port}","runId":"{}","name":"default","parties":{},"cyclic":{},
                "reasons":["login"],"ttlMs":{TTL_MS},"connectTimeoutMs":1000,"opTimeoutMs":{}{release}{on_timeout}}}"#,
            self.run_id(),
            self.parties,
            self.cyclic(),
            self.op_timeout.as_millis()
        )
    }
}

/// Life of the keys.
pub(crate) const TTL_MS: i64 = 60_000;

fn faults(
    rng: &mut StdRng,
    span: Duration,
    processes: usize,
    amnesia: bool,
) -> Vec<(Duration, Fault)> {
    let mut faults = Vec::new();
    for _ in 0..rng.random_range(1..=10) {
        let at = span.mul_f64(rng.random());
        let whom = rng.random_range(0..processes);
        // A reply has about 400 bytes, a request more.
        let bytes = rng.random_range(1..=300);
        let fault = match rng.random_range(0..if amnesia { 14 } else { 9 }) {
            0 => Fault::KillConnections,
            1 => Fault::Freeze(ms(rng, 50..=1000)),
            2 => Fault::ScriptFlush,
            3 | 4 => Fault::Latency(whom, ms(rng, 5..=200)),
            5 => Fault::Drop(whom),
            6 => Fault::CutRequest(whom, bytes),
            7 => Fault::CutReply(whom, bytes),
            8 if rng.random_bool(0.05) => Fault::BlackHole(whom, ms(rng, 3200..=4000)),
            8 => Fault::BlackHole(whom, ms(rng, 50..=1000)),
            9 => Fault::RestartEmpty,
            10 | 11 => Fault::FlushAll,
            _ => {
                faults.push((at.mul_f64(rng.random()), Fault::Save));
                Fault::RollBack
            }
        };
        faults.push((at, fault));
    }
    faults.sort_by_key(|(at, _)| *at);
    faults
}
