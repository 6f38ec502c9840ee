//! Processes, a store and a network that loses things; and what must hold whatever it loses.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use barrier_core::ids::{Participant, Phase, ProcessId, Reason};
use barrier_core::ledger::{Decision, Report, Token};
use barrier_core::options::{OnTimeout, Quorum};
use barrier_core::protocol::{Counts, Outcome, Push, Release, Reply, Request, Why};
use barrier_core::session::{Done, Event, Session};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use crate::plan::Plan;
use crate::stores::Store;

mod instant;
mod running;

/// Whose release is spread are told so long before, in microseconds.
const LEAD_MIN: i64 = 10_000;

struct Process {
    session: Session,
    connected: bool,
    /// On their way to the store.
    sent: VecDeque<Request>,
    /// On their way back.
    answers: VecDeque<Reply>,
    inbox: VecDeque<Push>,
    released: Vec<Release>,
    broken: bool,
    members: Vec<Participant>,
    /// Who runs here, and of these, whom the store has been told of.
    running: BTreeSet<Participant>,
    known: BTreeSet<Participant>,
    /// Tokens that have not been completed.
    pending: BTreeSet<Token>,
}

/// The whole of one run.
pub(crate) struct World<'a> {
    plan: Plan,
    rng: StdRng,
    store: &'a mut dyn Store,
    processes: Vec<Process>,
    next_token: Token,
    /// What the ledgers decided, as nothing but the test knows it: per phase, who and what.
    truth: BTreeMap<Phase, HashMap<Participant, Outcome>>,
    truth_left: HashMap<Participant, Phase>,
    /// The indices of arrivals that were told, by phase.
    indices: BTreeMap<Phase, BTreeSet<u32>>,
    /// The newest phase that any process knew to be open.
    furthest: Phase,
    /// Whether the release of a phase, as somebody saw it, waits for the instant of the options.
    held: HashMap<Phase, bool>,
    /// The phases whose release the store has decided.
    decided: BTreeSet<Phase>,
    /// Nobody said anything for long.
    stood_still: bool,
    traced: bool,
}

impl<'a> World<'a> {
    pub(crate) fn new(plan: Plan, store: &'a mut dyn Store) -> Self {
        let mut rng = StdRng::seed_from_u64(plan.seed ^ 0x9e37_79b9);
        let processes = (0..plan.processes)
            .map(|i| Process {
                session: Session::new(ProcessId::random_on(rng.random_range(0..2)), plan.options()),
                connected: false,
                sent: VecDeque::new(),
                answers: VecDeque::new(),
                inbox: VecDeque::new(),
                released: Vec::new(),
                broken: false,
                members: (1..=plan.participants)
                    .filter(|n| *n as usize % plan.processes == i)
                    .map(|n| Participant::new(&n.to_string()).expect("valid"))
                    .collect(),
                running: BTreeSet::new(),
                known: BTreeSet::new(),
                pending: BTreeSet::new(),
            })
            .collect();
        Self {
            plan,
            rng,
            store,
            processes,
            next_token: 0,
            truth: BTreeMap::new(),
            truth_left: HashMap::new(),
            indices: BTreeMap::new(),
            furthest: Phase(0),
            held: HashMap::new(),
            decided: BTreeSet::new(),
            stood_still: false,
            traced: std::env::var_os("K6_BARRIER_MODEL_TRACE").is_some(),
        }
    }

    /// Runs to the end and returns how many phases were released.
    pub(crate) fn run(mut self) -> usize {
        for p in 0..self.processes.len() {
            let token = self.token();
            self.processes[p].pending.insert(token);
            self.with_events(p, |s, e| s.open(token.into(), e));
        }
        for _ in 0..self.plan.steps {
            self.step();
        }
        self.settle();
        self.check_end();
        self.processes
            .iter()
            .map(|p| p.released.len())
            .max()
            .unwrap_or(0)
    }

    fn token(&mut self) -> Token {
        self.next_token += 1;
        self.next_token
    }

    fn step(&mut self) {
        let p = self.rng.random_range(0..self.processes.len());
        match self.rng.random_range(0..100) {
            0..12 if self.plan.running.is_some() => self.someone_begins_or_ends(p),
            0..35 => self.someone_reports(p),
            35..45 => self.deliver_push(p),
            45..48 => self.processes[p].session.want_beat(),
            48..51 if self.plan.losses => self.disconnect(p),
            51 if self.plan.amnesia => {
                self.trace(|| "the store is wiped".into());
                self.store.wipe();
            }
            52..54 if self.plan.amnesia => self.store.save(),
            54 if self.plan.amnesia => {
                self.trace(|| "the store is rolled back".into());
                self.store.roll_back();
            }
            55 if self.plan.ends => self.someone_expires(p),
            56 if self.plan.ends && self.rng.random_bool(0.1) => {
                let token = self.token();
                self.processes[p].pending.insert(token);
                self.with_events(p, |s, e| s.abort("enough", token.into(), e));
            }
            57 if self.plan.running.is_some() && !self.stood_still => {
                // Once: after a second time somebody may have been silent for too long.
                self.stood_still = true;
                // Who asks for the first time whether others are alive goes by the clock.
                let back = if self.processes.iter().all(|p| p.session.is_live()) {
                    30
                } else {
                    0
                };
                let seconds = self.rng.random_range(-back..=30);
                self.trace(|| format!("nobody says anything for {seconds} s"));
                self.store.pass(seconds * 1_000_000);
            }
            _ => self.exchange(p),
        }
    }

    fn someone_reports(&mut self, p: usize) {
        let Some(id) = self.processes[p].members.choose(&mut self.rng).cloned() else {
            return;
        };
        let owner = id.as_str().parse().expect("a number");
        let report = match self.rng.random_range(0..20) {
            0..3 => Report::Fail(Reason::new("reason", "login").expect("valid")),
            3 if self.plan.leaves => Report::Leave,
            _ => Report::Arrive { owner },
        };
        let token = self.token();
        let process = &mut self.processes[p];
        let open = process.session.ledger().open();
        if self.traced {
            println!("{p}: {id} reports {report:?} in {open}");
        }
        match process.session.report(&id, &report, true, token.into()) {
            Ok(Decision::Later(answer)) => {
                process.pending.insert(token);
                if answer.first {
                    self.remember(&id, answer.phase, answer.outcome, open);
                }
            }
            Ok(Decision::Now(answer)) => {
                assert!(!answer.first, "a first outcome is the store's to keep");
            }
            Err(error) => assert!(process.broken, "{error}"),
        }
    }

    fn remember(&mut self, id: &Participant, phase: Phase, outcome: Outcome, open: Phase) {
        match outcome {
            Outcome::Left => {
                self.truth_left.insert(id.clone(), phase);
            }
            Outcome::Late => assert!(!self.plan.cyclic && open > Phase(0)),
            outcome => {
                let before = self
                    .truth
                    .entry(phase)
                    .or_default()
                    .insert(id.clone(), outcome);
                assert_eq!(before, None, "{id} has two first outcomes in phase {phase}");
            }
        }
    }

    fn someone_expires(&mut self, p: usize) {
        let phase = self.processes[p].session.ledger().open();
        let token = self.token();
        self.processes[p].pending.insert(token);
        self.with_events(p, |s, e| s.expire(phase, token.into(), e));
    }

    fn disconnect(&mut self, p: usize) {
        let process = &mut self.processes[p];
        process.connected = false;
        process.sent.clear();
        process.answers.clear();
        process.inbox.clear();
        process.session.disconnected();
    }

    /// A process sends what it has to send. The store executes the oldest of what was sent and perhaps more, and the
    /// oldest answer arrives and perhaps more; or the connection is lost before or after the execution.
    fn exchange(&mut self, p: usize) {
        let process = &mut self.processes[p];
        if !process.connected {
            process.connected = true;
            process.session.connected();
        }
        process.session.ask_others_again();
        while let Some(request) = process.session.next_request() {
            process.sent.push_back(request);
        }
        if process.sent.is_empty() && process.answers.is_empty() {
            self.note_known(p);
            return;
        }
        let fate = if self.plan.losses {
            self.rng.random_range(0..100)
        } else {
            100
        };
        if fate < 8 {
            self.disconnect(p);
            return;
        }
        while let Some(request) = self.processes[p].sent.pop_front() {
            let mut pushes = Vec::new();
            let reply = self.store.apply(&request, &mut pushes);
            self.trace(|| format!("{p} asks {request:?}\n    -> {reply:?}"));
            for push in &pushes {
                if let Push::Release { release, .. } = push {
                    self.check_decision(release);
                }
            }
            self.publish(&pushes);
            self.processes[p].answers.push_back(reply);
            if self.rng.random_bool(0.5) {
                break;
            }
        }
        if fate < 16 {
            self.trace(|| format!("{p} loses its answers"));
            self.disconnect(p);
            return;
        }
        while let Some(reply) = self.processes[p].answers.pop_front() {
            self.with_events(p, |s, e| s.answered(reply, e));
            self.note_known(p);
            if self.rng.random_bool(0.5) {
                break;
            }
        }
    }

    /// `K6_BARRIER_MODEL_TRACE=1` prints what happens, for one seed at a time.
    fn trace(&self, text: impl FnOnce() -> String) {
        if self.traced {
            println!("{}", text());
        }
    }

    fn publish(&mut self, pushes: &[Push]) {
        for push in pushes {
            for i in 0..self.processes.len() {
                let heard = self.processes[i].connected && !self.rng.random_bool(0.1);
                if heard {
                    self.processes[i].inbox.push_back(push.clone());
                }
            }
        }
    }

    fn deliver_push(&mut self, p: usize) {
        if let Some(push) = self.processes[p].inbox.pop_front() {
            self.with_events(p, |s, e| s.pushed(&push, e));
        }
    }

    fn with_events(&mut self, p: usize, f: impl FnOnce(&mut Session, &mut Vec<Event>)) {
        let mut events = Vec::new();
        f(&mut self.processes[p].session, &mut events);
        for event in events {
            self.event(p, event);
        }
    }

    fn event(&mut self, p: usize, event: Event) {
        match event {
            Event::Done(ticket, result) => {
                let token = ticket.redeem();
                let known = self.processes[p].pending.remove(&token);
                assert!(known, "call {token} was completed twice");
                let Ok(Done::Outcome(answer)) = result else {
                    return;
                };
                if self.plan.exact() {
                    let over = !self.plan.cyclic;
                    assert!(
                        answer.outcome != Outcome::Late || over,
                        "nobody can be late where all are waited for: {answer:?}"
                    );
                }
                // Of an arrival that the store found to be behind a release nobody tells an index.
                if answer.outcome == Outcome::Arrived && answer.first && answer.index > 0 {
                    let told = self.indices.entry(answer.phase).or_default();
                    let unheard = told.insert(answer.index);
                    assert!(unheard || self.plan.amnesia, "an index twice: {answer:?}");
                }
            }
            Event::Released(release) => self.check_release(p, release),
            Event::Broken => self.processes[p].broken = true,
            // The model's other processes live: they are heard of at once.
            Event::SayHello => {
                let others: Vec<_> = (0..self.processes.len()).filter(|i| *i != p).collect();
                for other in others {
                    self.processes[other].session.want_beat();
                }
            }
            Event::Warn(_) | Event::Refused(_) => {}
        }
    }

    fn check_release(&mut self, p: usize, release: Release) {
        let n = release.phase;
        let decided = self.truth.get(&n).cloned().unwrap_or_default();
        let left = self.truth_left.values().filter(|from| **from <= n).count();
        let arrived = decided.values().filter(|o| **o == Outcome::Arrived).count();
        let failed = decided.len() - arrived;
        let counts = &release.counts;
        let text = format!(
            "{:?}: process {p} saw {release:?}, true are {arrived} arrived, {failed} failed, {left} left",
            self.plan
        );
        let lost = *counts == Counts::default() && release.why != Why::Timeout;
        if lost {
            // The record is gone with all who had it: then somebody must have been past the phase.
            assert!(
                self.plan.amnesia && self.furthest > n,
                "released early: {text}"
            );
        }
        match release.why {
            _ if lost => {}
            Why::All if self.plan.running.is_some() => {
                let first = if n.0 == 0 { self.plan.running } else { None };
                let enough = decided.len() >= first.unwrap_or(1) as usize;
                assert!(enough, "released early: {text}");
            }
            Why::All => assert!(
                decided.len() + left >= self.plan.parties as usize,
                "released early: {text}"
            ),
            Why::Quorum => {
                let quorum = self.plan.quorum.expect("a quorum");
                let enough =
                    quorum.arrivals(self.plan.parties, u32::try_from(left).expect("small"));
                assert!(arrived >= enough as usize, "released early: {text}");
            }
            Why::Timeout => assert_eq!(self.plan.on_timeout, OnTimeout::Release, "{text}"),
            Why::Operator => panic!("nobody released by hand: {text}"),
        }
        if !lost {
            self.check_instant(&release, &text);
        }
        let lead = i64::from(self.plan.spread) * LEAD_MIN;
        assert!(lost || release.delay.0 >= lead, "told too late: {text}");
        if !lost && !self.plan.amnesia {
            let told = self.indices.get(&n).into_iter().flatten();
            for index in told {
                let place = index.checked_sub(release.before);
                assert!(
                    place.is_some_and(|place| (1..=counts.arrived).contains(&place)),
                    "index {index} is of another phase: {text}"
                );
            }
        }
        if !lost {
            assert!(
                counts.arrived as usize <= arrived,
                "counted too many: {text}"
            );
            assert!(
                counts.failed_total() as usize <= failed,
                "counted too many: {text}"
            );
            assert!(counts.left as usize <= left, "counted too many: {text}");
        }
        if self.plan.exact() && !lost {
            assert_eq!(
                counts.accounted() as usize,
                self.plan.parties as usize,
                "wrong counts: {text}"
            );
        }
        self.furthest = self.furthest.max(n.next());
        let process = &mut self.processes[p];
        if let Some(last) = process.released.last() {
            assert!(
                last.phase < n,
                "phase {n} was released after {}",
                last.phase
            );
        }
        process.released.push(release);
    }

    /// The network and the store are well from now on: everything owed arrives.
    fn settle(&mut self) {
        self.plan.losses = false;
        // Half of the time no connection is made anew: then the answers alone must show what a store has lost.
        if self.plan.seed.is_multiple_of(2) {
            for p in 0..self.processes.len() {
                self.disconnect(p);
            }
        }
        for _ in 0..20 {
            for p in 0..self.processes.len() {
                self.processes[p].session.want_beat();
                for _ in 0..20 {
                    self.exchange(p);
                }
                while !self.processes[p].inbox.is_empty() {
                    self.deliver_push(p);
                }
            }
        }
    }

    fn check_end(&mut self) {
        let plan = format!("{:?}", self.plan);
        let broken = self.processes.iter().any(|p| p.broken);
        let furthest = self
            .processes
            .iter()
            .map(|p| p.session.ledger().open())
            .max()
            .unwrap_or_default();
        for (i, process) in self.processes.iter().enumerate() {
            assert!(
                process.session.is_live(),
                "process {i} is not connected: {plan}"
            );
            assert!(
                process.pending.is_empty(),
                "calls of process {i} hang: {:?}, {:?}: {plan}",
                process.pending,
                process.session
            );
            assert_eq!(
                process.broken, broken,
                "process {i} alone knows of the break: {plan}"
            );
            if !broken {
                assert_eq!(
                    process.session.ledger().open(),
                    furthest,
                    "process {i} is behind: {plan}"
                );
            }
        }
        if broken {
            return;
        }
        let left = self
            .truth_left
            .values()
            .filter(|from| **from <= furthest)
            .count();
        let decided = self.truth.get(&furthest).map_or(0, HashMap::len);
        let one_shot_over = !self.plan.cyclic && furthest > Phase(0);
        if !one_shot_over && let Some(at_least) = self.plan.running {
            let enough = if furthest.0 == 0 { at_least } else { 1 };
            let run = self.processes.iter().map(|p| &p.running);
            let owing = run
                .map(|all| self.owing(all, furthest).len())
                .sum::<usize>();
            assert!(
                decided < enough as usize || owing > 0,
                "phase {furthest} hangs: {decided} accounted, {owing} owing: {plan}"
            );
        } else if !one_shot_over && decided > 0 {
            assert!(
                decided + left < self.plan.parties as usize,
                "phase {furthest} hangs: {decided} accounted, {left} left: {plan}"
            );
        }
        let arrived: BTreeSet<String> = self
            .truth
            .get(&furthest)
            .into_iter()
            .flatten()
            .filter(|(_, outcome)| **outcome == Outcome::Arrived)
            .map(|(id, _)| id.to_string())
            .collect();
        if let (Some(joined), false) = (self.store.joined(furthest), one_shot_over)
            && self.plan.quorum.is_none()
            && self.plan.running.is_none()
        {
            assert_eq!(
                joined, arrived,
                "outside readers are told otherwise: {plan}"
            );
        }
        let counts = self.processes[0].session.counts();
        if self.plan.cyclic && self.plan.exact() {
            assert_eq!(
                (counts.arrived + counts.failed_total()) as usize,
                decided,
                "the open phase has wrong counts: {plan}"
            );
        }
    }
}

/// One process saw how a phase ended, the store forgot it, the other process had not heard of it: it hears the very same.
pub(crate) fn release_survives_in_whoever_saw_it(store: &mut dyn Store) {
    let plan = Plan {
        processes: 2,
        participants: 4,
        parties: 4,
        cyclic: true,
        quorum: Some(Quorum::Count(2)),
        leaves: false,
        losses: false,
        amnesia: true,
        ends: false,
        max_failures: None,
        on_timeout: OnTimeout::Throw,
        ..Plan::from_seed(1)
    };
    let mut world = World::new(plan, store);
    for p in 0..2 {
        let token = world.token();
        world.processes[p].pending.insert(token);
        world.with_events(p, |s, e| s.open(token.into(), e));
        world.exchange(p);
    }
    // The second process finds the first, which answers its greeting.
    world.processes[0].session.want_beat();
    world.exchange(0);
    world.exchange(1);
    for id in world.processes[0].members.clone() {
        let token = world.token();
        let owner = 1;
        world.processes[0].pending.insert(token);
        let decision =
            world.processes[0]
                .session
                .report(&id, &Report::Arrive { owner }, true, token.into());
        assert!(matches!(decision, Ok(Decision::Later(_))));
        world.remember(&id, Phase(0), Outcome::Arrived, Phase(0));
    }
    world.exchange(0);
    let seen = world.processes[0]
        .released
        .first()
        .cloned()
        .expect("a quorum");
    world.processes[1].inbox.clear();
    world.store.wipe();
    // The one that knows finds the store empty at its next heartbeat, and tells it.
    for p in [0, 0, 1, 1, 1] {
        world.processes[p].session.want_beat();
        world.exchange(p);
    }
    assert_eq!(world.processes[1].released, [seen]);
}
