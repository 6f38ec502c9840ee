//! What happens to the server, to a process's way to it, and to processes.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::crowd::Crowd;
use crate::ground::{Failover, Ground, Place};
use crate::proxy::Proxy;

/// One fault.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    KillConnections,
    FlushAll,
    RestartEmpty,
    ScriptFlush,
    Freeze(Duration),
    Cut(usize),
    CutRequest(usize, usize),
    CutReply(usize, usize),
    Latency(usize, Duration),
    BlackHole(usize, Duration),
    /// The replica takes over.
    Failover(Failover),
    /// The run's slot goes so many nodes on.
    MoveSlot(usize, Duration),
    /// The process ends without a word.
    Kill(usize),
    /// The process is not heard of for longer than anybody waits for it, while the others come anew.
    Silence(usize, Duration),
}

/// Names of the faults, in the order of [`Fault::kind`].
pub(crate) const KINDS: [&str; 15] = [
    "all connections killed",
    "FLUSHALL",
    "server restarted empty",
    "SCRIPT FLUSH",
    "server frozen",
    "connection dropped",
    "cut within a request",
    "cut within a reply",
    "latency",
    "black hole",
    "failover by hand",
    "failover with lost writes",
    "slot moved",
    "process killed",
    "process silent for 3 to 4 s",
];

impl Fault {
    pub(crate) const fn kind(self) -> usize {
        match self {
            Self::KillConnections => 0,
            Self::FlushAll => 1,
            Self::RestartEmpty => 2,
            Self::ScriptFlush => 3,
            Self::Freeze(_) => 4,
            Self::Cut(_) => 5,
            Self::CutRequest(..) => 6,
            Self::CutReply(..) => 7,
            Self::Latency(..) => 8,
            Self::BlackHole(..) => 9,
            Self::Failover(Failover::Planned) => 10,
            Self::Failover(_) => 11,
            Self::MoveSlot(..) => 12,
            Self::Kill(_) => 13,
            Self::Silence(..) => 14,
        }
    }

    /// The server forgets something.
    pub(crate) const fn is_amnesia(self) -> bool {
        matches!(self.kind(), 1 | 2 | 11)
    }

    fn random(rng: &mut StdRng, place: Place, processes: usize) -> Self {
        let pause = Duration::from_millis(rng.random_range(20..250));
        if place == Place::Cluster {
            // Its nodes say themselves where they are, so that there are no ways to cut.
            return match rng.random_range(0..8) {
                0 => Self::KillConnections,
                1 => Self::FlushAll,
                2 => Self::ScriptFlush,
                3 => Self::Freeze(pause),
                _ => Self::MoveSlot(rng.random_range(1..=2), pause / 2),
            };
        }
        if place == Place::WithReplica && rng.random_bool(0.4) {
            return Self::Failover(match rng.random_range(0..4) {
                0 => Failover::Crash,
                1 => Failover::Behind(pause / 2),
                _ => Failover::Planned,
            });
        }
        let at = rng.random_range(0..processes);
        let bytes = rng.random_range(0..600);
        match rng.random_range(0..14) {
            0 => Self::KillConnections,
            1 => Self::FlushAll,
            2 => Self::RestartEmpty,
            3 => Self::ScriptFlush,
            4 => Self::Freeze(pause),
            5 | 6 => Self::Cut(at),
            7 | 8 => Self::CutRequest(at, bytes),
            9 | 10 => Self::CutReply(at, bytes),
            11 | 12 => Self::Latency(at, pause),
            _ => Self::BlackHole(at, pause),
        }
    }

    pub(crate) fn happen(self, ground: &mut Ground, proxies: &[Proxy], crowd: &mut Crowd) {
        let ask = |ground: &Ground, words: &[&str]| {
            for server in ground.servers() {
                let _: redis::Value = server.ask(words);
            }
        };
        match self {
            Self::KillConnections => {
                ask(ground, &["CLIENT", "KILL", "TYPE", "pubsub"]);
                ask(
                    ground,
                    &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"],
                );
            }
            Self::FlushAll => ask(ground, &["FLUSHALL"]),
            Self::RestartEmpty => ground.restart_empty(),
            Self::ScriptFlush => ask(ground, &["SCRIPT", "FLUSH"]),
            Self::Freeze(how_long) => {
                ground.server().signal("-STOP");
                std::thread::sleep(how_long);
                ground.server().signal("-CONT");
            }
            Self::Cut(at) => proxies[at].cut(),
            Self::CutRequest(at, after) => proxies[at].cut_request(after),
            Self::CutReply(at, after) => proxies[at].cut_reply(after),
            Self::Latency(at, how_long) => {
                proxies[at].latency(how_long / 4);
                std::thread::sleep(how_long);
                proxies[at].calm();
            }
            Self::BlackHole(at, how_long) => {
                proxies[at].black_hole(true);
                std::thread::sleep(how_long);
                proxies[at].calm();
            }
            Self::Silence(whom, how_long) => {
                proxies[whom].black_hole(true);
                let others = proxies.iter().enumerate().filter(|(at, _)| *at != whom);
                others.for_each(|(_, proxy)| proxy.cut());
                go_on_for(how_long, crowd);
                proxies[whom].calm();
            }
            Self::Failover(how) => ground.fail_over(how, |port| {
                proxies.iter().for_each(|proxy| proxy.lead_to(port));
            }),
            Self::MoveSlot(by, pause) => ground.move_slot(by, pause),
            Self::Kill(whom) => {
                proxies[whom].end();
                crowd.kill(whom);
            }
        }
    }
}

/// Lets so much time pass, in which users go on joining.
pub(crate) fn go_on_for(how_long: Duration, crowd: &Crowd) {
    let until = Instant::now() + how_long;
    while Instant::now() < until {
        crowd.is_done();
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What one run is made of, drawn from its seed.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) place: Place,
    pub(crate) processes: usize,
    pub(crate) size: usize,
    pub(crate) users: usize,
    pub(crate) joins: usize,
    /// How long one of three waits.
    pub(crate) expiry: Option<Duration>,
    /// The first wait to expire makes a group of all who wait.
    pub(crate) releases: bool,
    /// Some leave while they wait.
    pub(crate) leaves: bool,
    /// Others claim to be some of those who wait.
    pub(crate) claims: bool,
    /// Each with the time before it.
    pub(crate) faults: Vec<(Duration, Fault)>,
}

impl Plan {
    pub(crate) fn from_seed(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let place = match rng.random_range(0..20) {
            0..3 => Place::Cluster,
            3..8 => Place::WithReplica,
            _ => Place::Alone,
        };
        let processes = rng.random_range(1..=3);
        let size = rng.random_range(2..=5);
        let mut faults: Vec<_> = (0..rng.random_range(1..6))
            .map(|_| {
                let before = Duration::from_millis(rng.random_range(0..120));
                (before, Fault::random(&mut rng, place, processes))
            })
            .collect();
        // On a cluster there is no way of its own to a process, which could be cut for good.
        if processes > 1 && place != Place::Cluster && rng.random_bool(0.35) {
            let (before, at) = (faults[0].0, rng.random_range(0..=faults.len()));
            let whom = rng.random_range(0..processes);
            faults.insert(at, (before, Fault::Kill(whom)));
        }
        let mut plan = Self {
            seed,
            place,
            processes,
            size,
            users: size + rng.random_range(0..6),
            joins: size * rng.random_range(5..25),
            expiry: None,
            releases: false,
            leaves: false,
            claims: false,
            faults,
        };
        plan.users();
        plan
    }

    /// What users do, and who is silent for long. From a sequence of its own: the other faults of a seed stay what they are.
    fn users(&mut self) {
        let mut own = StdRng::seed_from_u64(self.seed ^ 0x75_73_65_72_73);
        if own.random_bool(0.4) {
            self.expiry = Some(Duration::from_millis(own.random_range(1..20)));
            self.releases = own.random_bool(0.5);
        }
        self.leaves = own.random_bool(0.3);
        self.claims = own.random_bool(0.2);
        // With a store that forgets as well, what it may come to is named as an exception.
        let cuts = self.processes > 1 && self.place != Place::Cluster && !self.forgets();
        if cuts && own.random_bool(0.25) {
            let how_long = Duration::from_millis(own.random_range(3200..=4000));
            let at = own.random_range(0..=self.faults.len());
            let whom = own.random_range(0..self.processes);
            let silence = Fault::Silence(whom, how_long);
            self.faults.insert(at, (Duration::from_millis(30), silence));
        }
    }

    pub(crate) fn run_id(&self) -> String {
        format!("group-fault-{}", self.seed)
    }

    /// The process that is killed.
    pub(crate) fn killed(&self) -> Option<usize> {
        self.faults.iter().find_map(|(_, fault)| match fault {
            Fault::Kill(whom) => Some(*whom),
            _ => None,
        })
    }

    /// The server forgets something.
    pub(crate) fn forgets(&self) -> bool {
        self.faults.iter().any(|(_, fault)| fault.is_amnesia())
    }
}
