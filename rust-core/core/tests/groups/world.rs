//! Processes, a store and a network that loses things; and what must hold whatever it loses.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use barrier_core::error::Error;
use barrier_core::group::memory::{SETTLE_MAX, SETTLING_GAP_MAX};
use barrier_core::group::options::GroupOptions;
use barrier_core::group::protocol::{Formed, FormedBy, Join, Push, Reply, Request};
use barrier_core::group::session::{Event, Placed, Session};
use barrier_core::ids::{Participant, ProcessId};
use barrier_core::ticket::{Issuer, Ticket, Token};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::stores::Store;

/// What one run is made of, drawn from its seed.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    seed: u64,
    processes: usize,
    participants: usize,
    size: usize,
    losses: bool,
    amnesia: bool,
    leaves: bool,
    expires: bool,
    /// Some participants turn up in two processes.
    conflicts: bool,
    release: bool,
    steps: u32,
}

impl Plan {
    pub(crate) fn from_seed(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        Self {
            seed,
            processes: rng.random_range(1..=3),
            participants: rng.random_range(2..=12),
            size: rng.random_range(2..=5),
            losses: rng.random_bool(0.7),
            amnesia: rng.random_bool(0.4),
            leaves: rng.random_bool(0.4),
            expires: rng.random_bool(0.4),
            conflicts: rng.random_bool(0.2),
            release: rng.random_bool(0.5),
            steps: rng.random_range(50..500),
        }
    }

    pub(crate) fn options(&self) -> GroupOptions {
        let on_timeout = if self.release { "release" } else { "throw" };
        let json = format!(
            r#"{{"name":"model","size":{},"store":"redis://127.0.0.1","runId":"r","onTimeout":"{on_timeout}"}}"#,
            self.size
        );
        GroupOptions::from_json(json.as_bytes()).expect("valid options")
    }
}

/// Nobody may lose a ticket.
struct Strict;

impl Issuer for Strict {
    fn lost(&self, token: Token) {
        assert!(std::thread::panicking(), "the call {token} was lost");
    }
}

struct Process {
    id: ProcessId,
    session: Session,
    connected: bool,
    /// On its way to the store.
    sent: VecDeque<Request>,
    /// On their way back.
    answers: VecDeque<Reply>,
    inbox: VecDeque<Push>,
}

/// A call of join that has not ended.
struct Call {
    process: usize,
    participant: Participant,
}

pub(crate) struct World<'a> {
    plan: Plan,
    store: &'a mut dyn Store,
    rng: StdRng,
    processes: Vec<Process>,
    /// Sent over connections that are gone, and not yet at the store.
    stale: Vec<Request>,
    joins: HashMap<Token, Call>,
    leaves: BTreeSet<Token>,
    last_token: Token,
    /// The group of each join, as anybody was told of it.
    groups: HashMap<(ProcessId, Join), Arc<Formed>>,
    by_number: HashMap<u32, Arc<Formed>>,
    ended: usize,
    strict: Arc<dyn Issuer>,
    began: Instant,
}

impl<'a> World<'a> {
    pub(crate) fn new(plan: Plan, store: &'a mut dyn Store) -> Self {
        let options = Arc::new(plan.options());
        let processes = (0..plan.processes).map(|_| {
            let id = ProcessId::random();
            Process {
                session: Session::new(id.clone(), Arc::clone(&options)),
                id,
                connected: false,
                sent: VecDeque::new(),
                answers: VecDeque::new(),
                inbox: VecDeque::new(),
            }
        });
        Self {
            rng: StdRng::seed_from_u64(plan.seed),
            processes: processes.collect(),
            plan,
            store,
            stale: Vec::new(),
            joins: HashMap::new(),
            leaves: BTreeSet::new(),
            last_token: 0,
            groups: HashMap::new(),
            by_number: HashMap::new(),
            ended: 0,
            strict: Arc::new(Strict),
            began: Instant::now(),
        }
    }

    /// How many groups formed.
    pub(crate) fn run(mut self) -> usize {
        if self.plan.amnesia {
            // Who comes for the first time when the store has just lost its memory, knows of nobody, and nobody listens here.
            self.settle();
        }
        for _ in 0..self.plan.steps {
            self.step();
        }
        self.settle();
        // A process that is alone now may have been told to expect others.
        for _ in 0..=SETTLE_MAX / SETTLING_GAP_MAX {
            if self.store.pass(SETTLING_GAP_MAX) {
                self.settle();
            }
        }
        self.check_end();
        for process in &mut self.processes {
            for ticket in process.session.take_all() {
                let _ = ticket.redeem();
            }
        }
        self.by_number.len()
    }

    fn step(&mut self) {
        let p = self.rng.random_range(0..self.processes.len());
        match self.rng.random_range(0..100) {
            0..20 => self.join(p),
            20..23 if self.plan.leaves => self.leave(p),
            23..25 if self.plan.expires => self.expire(p),
            25 if self.plan.expires => self.give_up(p),
            26..45 => self.send(p),
            45..64 => self.deliver(p),
            64..80 => self.receive(p),
            80..88 => self.hear(p),
            88..91 => self.tick(p),
            91..93 if self.plan.losses => self.disconnect(p),
            93..95 => self.connect(p),
            95 if self.plan.losses => self.deliver_stale(),
            96 if self.plan.amnesia => self.store.wipe(),
            97 if self.plan.amnesia => self.store.save(),
            98 if self.plan.amnesia => {
                // As a failover to an old copy does it: no connection survives that.
                (0..self.processes.len()).for_each(|p| self.disconnect(p));
                self.store.roll_back();
            }
            _ => {}
        }
    }

    fn ticket(&mut self, expires: bool) -> Ticket {
        self.last_token += 1;
        let until = expires.then_some(self.began);
        Ticket::new(self.last_token, until, Arc::clone(&self.strict))
    }

    fn join(&mut self, p: usize) {
        let n = self.rng.random_range(0..self.plan.participants);
        if !self.plan.conflicts && n % self.plan.processes != p {
            return;
        }
        let id = if n == 0 { "@0".into() } else { n.to_string() };
        let participant = Participant::new(&id).expect("valid");
        let expires = self.plan.expires && self.rng.random_bool(0.3);
        let ticket = self.ticket(expires);
        let token = ticket.token();
        let payload = (n % 2 == 0).then(|| format!("“{n}”/\"\\\0.").into());
        let call = Call {
            process: p,
            participant: participant.clone(),
        };
        let joined = self.processes[p]
            .session
            .join(&participant, 1, payload, ticket);
        match joined {
            Ok(()) => _ = self.joins.insert(token, call),
            Err(Error::Conflict(_)) => {} // it is about to leave
            Err(error) => panic!("{error}"),
        }
    }

    fn leave(&mut self, p: usize) {
        let n = self.rng.random_range(0..self.plan.participants);
        let participant = Participant::new(&n.to_string()).expect("valid");
        let ticket = self.ticket(false);
        self.leaves.insert(ticket.token());
        let mut events = Vec::new();
        self.processes[p]
            .session
            .leave(&participant, ticket, &mut events);
        self.take(p, events);
    }

    fn expire(&mut self, p: usize) {
        self.processes[p].session.expire(self.began);
    }

    /// The store has not answered in time.
    fn give_up(&mut self, p: usize) {
        self.expire(p);
        let (now, session) = (self.began, &mut self.processes[p].session);
        let (late, _) = session.take_unanswered(now, Duration::ZERO);
        for ticket in late {
            self.end(p, ticket);
        }
    }

    fn tick(&mut self, p: usize) {
        self.processes[p].session.want_beat();
        self.processes[p].session.flush();
    }

    fn connect(&mut self, p: usize) {
        if !self.processes[p].connected {
            self.processes[p].connected = true;
            self.processes[p].session.connected();
        }
    }

    fn disconnect(&mut self, p: usize) {
        let process = &mut self.processes[p];
        if !process.connected {
            return;
        }
        process.connected = false;
        process.session.disconnected();
        process.answers.clear();
        process.inbox.clear();
        let sent = std::mem::take(&mut process.sent);
        for request in sent {
            if self.rng.random_bool(0.5) {
                self.stale.push(request);
            }
        }
    }

    fn send(&mut self, p: usize) {
        let process = &mut self.processes[p];
        if process.connected {
            process.sent.extend(process.session.next_request());
        }
    }

    fn deliver(&mut self, p: usize) {
        if let Some(request) = self.processes[p].sent.pop_front() {
            let reply = self.apply(&request);
            self.processes[p].answers.push_back(reply);
        }
    }

    /// What a dead connection still held arrives after all; nobody hears the answer.
    fn deliver_stale(&mut self) {
        if !self.stale.is_empty() {
            let at = self.rng.random_range(0..self.stale.len());
            let request = self.stale.remove(at);
            self.apply(&request);
        }
    }

    fn apply(&mut self, request: &Request) -> Reply {
        let mut pushes = Vec::new();
        let reply = self.store.apply(request, &mut pushes);
        for process in self.processes.iter_mut().filter(|p| p.connected) {
            process.inbox.extend(pushes.iter().cloned());
        }
        reply
    }

    fn receive(&mut self, p: usize) {
        if let Some(reply) = self.processes[p].answers.pop_front() {
            let mut events = Vec::new();
            self.processes[p].session.answered(reply, &mut events);
            self.take(p, events);
        }
    }

    fn hear(&mut self, p: usize) {
        if let Some(push) = self.processes[p].inbox.pop_front() {
            let mut events = Vec::new();
            self.processes[p].session.pushed(&push, &mut events);
            self.take(p, events);
        }
    }

    fn take(&mut self, p: usize, events: Vec<Event>) {
        for event in events {
            match event {
                Event::Formed(ticket, Placed { formed, index, .. }) => {
                    let call = self.end(p, ticket);
                    let member = &formed.members[index as usize - 1];
                    assert_eq!(member.participant, call.participant);
                    assert_eq!(member.process, self.processes[p].id);
                    self.formed(&formed);
                }
                Event::GaveUp(ticket) => {
                    self.end(p, ticket);
                    assert!(self.plan.leaves, "nobody left");
                }
                Event::Failed(ticket, Error::Timeout(_)) => {
                    self.end(p, ticket);
                    assert!(self.plan.expires, "nobody waits so long");
                }
                Event::Failed(ticket, Error::Conflict(_)) => {
                    self.end(p, ticket);
                    assert!(self.plan.conflicts, "everyone is in one process");
                }
                Event::Failed(_, error) => panic!("{error}"),
                Event::Left(ticket, _) => {
                    assert!(self.leaves.remove(&ticket.redeem()), "answered twice");
                }
            }
        }
    }

    fn end(&mut self, p: usize, ticket: Ticket) -> Call {
        let call = self.joins.remove(&ticket.redeem()).expect("ends once");
        assert_eq!(call.process, p);
        self.ended += 1;
        call
    }

    /// Never too large or too small, never two groups of one join, never one number for two groups.
    fn formed(&mut self, formed: &Arc<Formed>) {
        match formed.why {
            FormedBy::All => assert_eq!(formed.members.len(), self.plan.size),
            FormedBy::Timeout => assert!(formed.members.len() <= self.plan.size),
        }
        assert!(formed.why == FormedBy::All || self.plan.release && self.plan.expires);
        let mut participants = BTreeSet::new();
        for member in &formed.members {
            assert!(
                participants.insert(&member.participant),
                "twice in {formed:?}"
            );
            let key = (member.process.clone(), member.join);
            let known = self.groups.entry(key).or_insert_with(|| Arc::clone(formed));
            assert_eq!(known, formed, "one join, two groups");
        }
        let group = formed.group;
        let known = self.by_number.entry(group);
        assert_eq!(
            known.or_insert_with(|| Arc::clone(formed)),
            formed,
            "one number"
        );
    }

    /// The network heals, and everything arrives.
    fn settle(&mut self) {
        self.stale.clear();
        for p in 0..self.processes.len() {
            self.connect(p);
        }
        for _ in 0..20 {
            for p in 0..self.processes.len() {
                self.tick(p);
            }
            for _ in 0..6 {
                for p in 0..self.processes.len() {
                    self.send(p);
                    self.deliver(p);
                    self.receive(p);
                    while !self.processes[p].inbox.is_empty() {
                        self.hear(p);
                    }
                }
            }
        }
    }

    /// Nobody is lost: whoever waits waits in the store too, fewer than a group has members, and everyone who is in a group that
    /// anybody was told of has heard of it.
    fn check_end(&mut self) {
        let (groups, there, owed) = self.store.look();
        if !self.plan.amnesia {
            // An old copy may hold groups that all have heard of since.
            assert_eq!(owed, 0, "all have heard of their groups");
        }
        let newest = self.by_number.keys().max().copied().unwrap_or(0);
        assert!(
            groups >= newest,
            "the store knows {groups} of {newest} groups"
        );
        let there: BTreeSet<_> = there.into_iter().collect();
        let waits = self.joins.values().map(|c| c.participant.clone());
        let here: BTreeSet<_> = waits.collect();
        assert_eq!(here, there, "who waits here, and in the store");
        let settling = self.processes.iter().any(|p| p.session.is_settling());
        let is_answered = settling || self.leaves.is_empty();
        assert!(is_answered, "a call of leave has no answer");
        assert!(
            settling || there.len() < self.plan.size,
            "{} wait",
            there.len()
        );
    }
}
