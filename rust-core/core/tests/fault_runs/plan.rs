//! What one run is made of, drawn from its seed.

use std::time::Duration;

use barrier_core::ledger::BATCH_MAX;
use barrier_core::options::Quorum;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use crate::ground::{Failover, Place};

/// The time over which users go.
pub(crate) const SPREAD_MS: i64 = 1000;

/// Something that happens to the server, to a process or to its way to the server.
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
    /// The replica takes over.
    Failover(Failover),
    /// The run's slot goes so many nodes on, with pauses of this length between the steps.
    MoveSlot(usize, Duration),
    /// The process ends without a word.
    Kill(usize),
    /// The process aborts the barrier.
    Abort(usize),
}

/// Names of the faults that are counted, in the order of [`Fault::kind`].
pub(crate) const KINDS: [&str; 16] = [
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
    "failover by hand",
    "failover with lost writes",
    "slot moved",
    "process killed",
    "abort called",
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
            Self::Failover(Failover::Planned) => 11,
            Self::Failover(_) => 12,
            Self::MoveSlot(..) => 13,
            Self::Kill(_) => 14,
            Self::Abort(_) => 15,
        })
    }

    /// The server forgets something.
    pub(crate) const fn is_amnesia(self) -> bool {
        matches!(
            self,
            Self::RestartEmpty
                | Self::FlushAll
                | Self::RollBack
                | Self::Failover(Failover::Behind(_) | Failover::Crash)
        )
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
    /// Somebody is absent from phase 0, and the first wait to expire breaks the barrier.
    Abort(Duration),
}

/// See the [module's](self) description.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) place: Place,
    pub(crate) processes: usize,
    pub(crate) threads: usize,
    pub(crate) parties: u32,
    /// 1 for a one-shot barrier.
    pub(crate) phases: u32,
    pub(crate) quorum: Option<Quorum>,
    /// Whoever runs is expected, and nobody else; here that is everybody, but for those who end.
    pub(crate) running: bool,
    /// Some of those who run end without an outcome, and begin again in the next phase.
    pub(crate) ends: bool,
    /// Users of a release go one after the other, within [`SPREAD_MS`].
    pub(crate) spread: bool,
    /// No complete phase is released before so long after the processes have started.
    pub(crate) release_at: Option<Duration>,
    pub(crate) leaves: bool,
    pub(crate) expiry: Expiry,
    /// More failures break the barrier.
    pub(crate) max_failures: Option<u32>,
    /// These are claimed by their own process and by the next one.
    pub(crate) contested: Vec<u32>,
    /// Some who have arrived are claimed by another user of their process.
    pub(crate) impostors: bool,
    /// This process is killed.
    pub(crate) killed: Option<usize>,
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

/// In a tenth of the runs a complete phase waits for an instant. From a sequence of its own, as the spread.
fn instant(seed: u64) -> Option<Duration> {
    let mut own = StdRng::seed_from_u64(seed ^ 0x0069_6e73_7461_6e74);
    own.random_bool(0.1).then(|| ms(&mut own, 1000..=3000))
}

impl Plan {
    pub(crate) fn from_seed(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let rng = &mut rng;
        let place = match rng.random_range(0..20) {
            0 | 1 => Place::Cluster,
            2..=4 => Place::WithReplica,
            _ => Place::Alone,
        };
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
        let expiry = match rng.random_range(0..20) {
            0 | 1 => Expiry::Release(ms(rng, 200..=800)),
            2..=7 => Expiry::Throw(ms(rng, 50..=500)),
            8 => Expiry::Abort(ms(rng, 200..=800)),
            _ => Expiry::Never,
        };
        let amnesia = rng.random_bool(0.45);
        let span = ms(rng, 200..=1200);
        let reports = (parties * phases) as usize / (processes * threads) + 1;
        let mut plan = Self {
            seed,
            place,
            processes,
            threads,
            parties,
            phases,
            quorum,
            running: false,
            ends: false,
            // From a sequence of its own: the faults of the seeds that are known stay what they are.
            spread: StdRng::seed_from_u64(!seed).random_bool(0.3),
            release_at: instant(seed),
            leaves: rng.random_bool(0.3),
            expiry,
            max_failures: rng
                .random_bool(0.12)
                .then(|| rng.random_range(0..=parties / 3)),
            contested: Vec::new(),
            impostors: rng.random_bool(0.25),
            killed: None,
            holdout: (rng.random_bool(0.5)).then(|| rng.random_range(1..=parties)),
            op_timeout: if rng.random_bool(0.3) {
                ms(rng, 200..=600)
            } else {
                Duration::from_secs(10)
            },
            gap: span * 2 / u32::try_from(reports).expect("small"),
            faults: Vec::new(),
            batch_max: *[1, 2, 4, BATCH_MAX].choose(rng).expect("not empty"),
        };
        if processes > 1 {
            plan.quarrel(rng, amnesia, span);
        }
        plan.run();
        if rng.random_bool(0.06) {
            let whom = rng.random_range(0..processes);
            plan.faults
                .push((span.mul_f64(rng.random()), Fault::Abort(whom)));
        }
        plan.faults.extend(match place {
            Place::Cluster => cluster_faults(rng, span, amnesia),
            Place::Alone | Place::WithReplica => faults(rng, span, processes, amnesia),
        });
        if place == Place::WithReplica {
            plan.faults.extend(failovers(rng, span, amnesia));
        }
        plan.faults.sort_by_key(|(at, _)| *at);
        plan
    }

    /// Processes that claim the same participants, or one that is killed.
    fn quarrel(&mut self, rng: &mut StdRng, amnesia: bool, span: Duration) {
        match rng.random_range(0..10) {
            // A server that forgets whose somebody is may learn it the other way round.
            0..=2 if !amnesia => {
                let all: Vec<u32> = (1..=self.parties).collect();
                let some = rng.random_range(1..=3);
                self.contested = all.sample(rng, some).copied().collect();
            }
            // On a cluster there is no way of its own to a process, which could be cut for good.
            3..=5 if self.place != Place::Cluster => {
                let whom = rng.random_range(0..self.processes);
                self.killed = Some(whom);
                self.faults
                    .push((span.mul_f64(rng.random()), Fault::Kill(whom)));
                let ends = matches!(self.expiry, Expiry::Release(_) | Expiry::Abort(_));
                // Nobody may speak for those of a killed process in a later phase, or tell them to a server that forgot.
                if (self.cyclic() || amnesia) && !ends {
                    self.expiry = if rng.random_bool(0.8) {
                        Expiry::Release(ms(rng, 200..=800))
                    } else {
                        Expiry::Abort(ms(rng, 200..=800))
                    };
                }
            }
            _ => {}
        }
    }

    /// In some runs those are expected who run. From a sequence of its own, as the spread.
    fn run(&mut self) {
        let mut own = StdRng::seed_from_u64(self.seed ^ 0x72_75_6e);
        self.running = own.random_bool(0.15);
        if !self.running {
            return;
        }
        self.ends = own.random_bool(0.5);
        self.quorum = None; // there is no number that it could be a part of
        if matches!(self.expiry, Expiry::Release(_) | Expiry::Abort(_)) {
            self.expiry = Expiry::Never; // users of a killed process are waited for until it has been silent for long
        }
    }

    pub(crate) const fn cyclic(&self) -> bool {
        self.phases > 1
    }

    /// Every participant is waited for and nothing else releases a phase: then nobody can be late, and counts are exact.
    pub(crate) fn exact(&self) -> bool {
        self.quorum.is_none()
            && !matches!(self.expiry, Expiry::Release(_))
            && (self.contested.is_empty() || !self.cyclic())
            && (!self.running || !self.ends && !self.forgets() && self.killed.is_none())
    }

    /// Somebody or something may break the barrier.
    pub(crate) fn may_break(&self) -> bool {
        self.max_failures.is_some() || matches!(self.expiry, Expiry::Abort(_)) || self.may_abort()
    }

    pub(crate) fn may_abort(&self) -> bool {
        self.faults
            .iter()
            .any(|(_, f)| matches!(f, Fault::Abort(_)))
    }

    /// The server forgets something.
    pub(crate) fn forgets(&self) -> bool {
        self.faults.iter().any(|(_, f)| f.is_amnesia())
    }

    /// The participants that one process reports.
    pub(crate) fn members(&self, process: usize) -> impl Iterator<Item = u32> {
        let claims = move |n: &u32| {
            let owner = self.owner(*n);
            owner == process
                || (self.contested.contains(n) && (owner + 1) % self.processes == process)
        };
        (1..=self.parties).filter(claims)
    }

    pub(crate) const fn owner(&self, participant: u32) -> usize {
        participant as usize % self.processes
    }

    /// Those of a killed process for whom another one speaks. They are known by then, or fail.
    pub(crate) fn inherited(&self) -> Vec<u32> {
        match self.killed {
            Some(killed) if !self.cyclic() && !self.forgets() && !self.running => {
                self.members(killed).collect()
            }
            _ => Vec::new(),
        }
    }

    /// More than one process speaks for this participant.
    pub(crate) fn is_disputed(&self, participant: u32) -> bool {
        self.contested.contains(&participant) || self.inherited().contains(&participant)
    }

    pub(crate) fn run_id(&self) -> String {
        format!("fault-{}", self.seed)
    }

    /// How the names of the run's keys end.
    pub(crate) fn suffix(&self) -> String {
        match self.place {
            Place::Cluster => format!("{{{}}}", self.run_id()),
            Place::Alone | Place::WithReplica => self.run_id(),
        }
    }

    /// The options of a process that reaches the record there; all have the same instant.
    pub(crate) fn options(&self, store: &str, release_at: Option<u64>) -> String {
        let release = match self.quorum {
            Some(Quorum::Count(n)) => format!(r#","release":{{"count":{n}}}"#),
            Some(Quorum::Percent(p)) => format!(r#","release":{{"percent":{p}}}"#),
            None => String::new(),
        };
        let on_timeout = match self.expiry {
            Expiry::Release(_) => r#","onTimeout":"release""#,
            Expiry::Abort(_) => r#","onTimeout":"abort""#,
            Expiry::Never | Expiry::Throw(_) => "",
        };
        let max_failures = self
            .max_failures
            .map_or(String::new(), |n| format!(r#","maxFailures":{n}"#));
        let spread = if self.spread {
            format!(r#","spread":{{"pace":{{"spanMs":{SPREAD_MS}}}}}"#)
        } else {
            String::new()
        };
        let release_at = release_at.map_or(String::new(), |at| format!(r#","releaseAt":{at}"#));
        let parties = if self.running {
            r#"{"running":["users"]}"#.to_owned()
        } else {
            self.parties.to_string()
        };
        format!(
            r#"{{"store":"{store}","runId":"{}","name":"default","parties":{parties},"cyclic":{},
                "reasons":["login"],"ttlMs":{TTL_MS},"connectTimeoutMs":1000,"opTimeoutMs":{}{release}{spread}{release_at}{on_timeout}{max_failures}}}"#,
            self.run_id(),
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
    faults
}

fn failovers(rng: &mut StdRng, span: Duration, amnesia: bool) -> Vec<(Duration, Fault)> {
    let mut faults = Vec::new();
    for _ in 0..rng.random_range(1..=2) {
        let how = match rng.random_range(0..4) {
            0 if amnesia => Failover::Crash,
            1 | 2 if amnesia => Failover::Behind(ms(rng, 0..=200)),
            _ => Failover::Planned,
        };
        faults.push((span.mul_f64(rng.random()), Fault::Failover(how)));
    }
    faults
}

/// The nodes of a cluster say themselves where they are, so that there are no ways to cut.
fn cluster_faults(rng: &mut StdRng, span: Duration, amnesia: bool) -> Vec<(Duration, Fault)> {
    let mut faults = Vec::new();
    for n in 0..rng.random_range(1..=5) {
        let fault = match rng.random_range(0..if amnesia { 7 } else { 5 }) {
            0 if n > 0 => Fault::KillConnections,
            1 if n > 0 => Fault::Freeze(ms(rng, 50..=1000)),
            2 if n > 0 => Fault::ScriptFlush,
            5 | 6 => Fault::FlushAll,
            _ => Fault::MoveSlot(rng.random_range(1..=2), ms(rng, 0..=100)),
        };
        faults.push((span.mul_f64(rng.random()), fault));
    }
    faults
}
