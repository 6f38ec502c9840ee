//! Users of several processes who join again and again until as many were told of a group as are to be. Some wait for a short while
//! only, some leave, and some are claimed by others.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use barrier_core::engine::{Emission, Engine, Group, JoinCall, Sink};
use barrier_core::error::Error;
use barrier_core::group::options::GroupOptions;
use barrier_core::ids::Participant;
use barrier_core::ticket::Token;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{RngExt, SeedableRng};

use crate::trouble::Plan;

/// What one member was told.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) process: usize,
    pub(crate) payload: String,
    pub(crate) text: String,
}

/// One call of join.
#[derive(Debug, Clone)]
struct Join {
    process: usize,
    /// None of one who only fills up a group in the end, or claims to be another.
    user: Option<usize>,
    payload: String,
}

/// How the joins ended that were told of no group, by what they had handed in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Untold {
    /// Their wait expired.
    pub(crate) expired: HashSet<String>,
    /// They left.
    pub(crate) left: HashSet<String>,
    /// Somebody else had the participant.
    pub(crate) refused: HashSet<String>,
    /// The store could not be asked in time: they may be members who do not know.
    pub(crate) unknown: HashSet<String>,
}

struct State {
    waiting: HashMap<Token, Join>,
    /// Who may join again: the process and the user.
    free: Vec<(usize, usize)>,
    /// The same of those who were told of no group, for a while.
    resting: Vec<(usize, usize)>,
    /// How many are to be told of a group and do not wait for one.
    left: usize,
    /// So many more leave or claim to be another.
    leaves: usize,
    claims: usize,
    rng: StdRng,
    last: Token,
    told: Vec<Told>,
    untold: Untold,
    failed: Vec<String>,
    dead: Option<usize>,
    /// Processes that the store has answered.
    come: HashSet<usize>,
}

impl State {
    fn ended(&mut self, join: Join, result: Result<String, Error>) {
        let Join {
            process,
            user,
            payload,
        } = join;
        let alive = self.dead != Some(process);
        let user = user.filter(|_| alive).map(|user| (process, user));
        let (untold, payload) = match result {
            Ok(text) if text == LEFT => (&mut self.untold.left, payload),
            Ok(text) => {
                self.told.push(Told {
                    process,
                    payload,
                    text,
                });
                self.free.extend(user);
                return;
            }
            Err(Error::Closed) => return,
            Err(Error::Timeout(_)) => (&mut self.untold.expired, payload),
            Err(Error::Conflict(_)) => (&mut self.untold.refused, payload),
            Err(Error::Store { .. }) => (&mut self.untold.unknown, payload),
            Err(error) => {
                self.failed.push(format!("{payload}: {error}"));
                return;
            }
        };
        untold.insert(payload);
        self.left += usize::from(user.is_some());
        self.resting.extend(user);
    }

    /// Some join of a user that waits: its process and who it is.
    fn somebody(&mut self) -> Option<(usize, usize)> {
        let dead = self.dead;
        let joins = self.waiting.values();
        let users = joins.filter_map(|join| Some((join.process, join.user?)));
        let mut users: Vec<_> = users.filter(|(p, _)| Some(*p) != dead).collect();
        users.sort_unstable(); // the map has no order that a seed repeats
        users.into_iter().choose(&mut self.rng)
    }
}

/// What a join is told whose user has left.
const LEFT: &str = r#"{"left":true}"#;
/// How long a call waits that waits long.
const LONG: Duration = Duration::from_secs(600);
/// How long one waits that claims to be another, and has come after that one was told.
const CLAIM: Duration = Duration::from_millis(300);

/// Takes answers; calls that follow are made by the crowd's thread, since a sink must not call the engine.
struct Ends(Arc<Mutex<State>>);

impl Sink for Ends {
    fn emit(&self, news: &mut Vec<Emission>) {
        let mut state = self.0.lock();
        for item in news.drain(..) {
            let (ticket, result) = match item {
                Emission::Text { ticket, result } => (ticket, result),
                Emission::Done {
                    ticket,
                    result: Err(error),
                    ..
                } => (ticket, Err(error)),
                _ => continue,
            };
            // The answer to a leave speaks for itself by what its join is told.
            if let Some(join) = state.waiting.remove(&ticket.redeem()) {
                state.ended(join, result);
            }
        }
    }
}

pub(crate) struct Crowd {
    state: Arc<Mutex<State>>,
    engines: Vec<Engine>,
    groups: Vec<Arc<Group>>,
    size: usize,
    /// How long one of three waits; the others wait long.
    expiry: Option<Duration>,
    /// Users come one after the other, so that somebody waits for a while: else there is hardly anybody who could leave.
    dawdles: bool,
    /// Somebody may take a place in a group without being told of it, or as somebody else, so that too few are left for the last one.
    strands: bool,
}

impl Crowd {
    /// The users of the plan, spread over a process for each URL.
    pub(crate) fn start(urls: Vec<String>, plan: &Plan) -> Self {
        let some = |yes: bool| if yes { plan.joins / 4 } else { 0 };
        let state = Arc::new(Mutex::new(State {
            waiting: HashMap::new(),
            free: Vec::new(),
            resting: Vec::new(),
            left: plan.joins,
            leaves: some(plan.leaves),
            claims: some(plan.claims),
            rng: StdRng::seed_from_u64(plan.seed ^ 0x6372_6f77),
            last: 0,
            told: Vec::new(),
            untold: Untold::default(),
            failed: Vec::new(),
            dead: None,
            come: HashSet::new(),
        }));
        let mut crowd = Self {
            state: Arc::clone(&state),
            engines: Vec::new(),
            groups: Vec::new(),
            size: plan.size,
            expiry: plan.expiry,
            dawdles: plan.expiry.is_some() || plan.leaves || plan.claims,
            strands: plan.expiry.is_some() || plan.claims,
        };
        let on_timeout = if plan.releases { "release" } else { "throw" };
        let processes = urls.len();
        for url in urls {
            let engine = Engine::new(Arc::new(Ends(Arc::clone(&state))));
            let json = format!(
                r#"{{"name":"lobby","size":{},"onTimeout":"{on_timeout}","store":"{url}","runId":"{}","opTimeoutMs":60000}}"#,
                plan.size,
                plan.run_id()
            );
            let options = GroupOptions::from_json(json.as_bytes()).expect("options");
            crowd.groups.push(engine.group(options).expect("groups"));
            crowd.engines.push(engine);
        }
        let users = (0..plan.users).map(|user| (user % processes, user));
        state.lock().free = users.collect();
        crowd
    }

    /// Whoever is free joins again, some leave, and some are claimed; whether nobody is to join and nobody waits any more.
    pub(crate) fn is_done(&self) -> bool {
        {
            let mut state = self.state.lock();
            let rested = std::mem::take(&mut state.resting);
            state.free.extend(rested);
        }
        self.all_have_come();
        self.disturb();
        loop {
            let mut state = self.state.lock();
            assert!(state.failed.is_empty(), "{:?}", state.failed);
            if state.left == 0 {
                return state.waiting.values().all(|join| join.user.is_none());
            }
            if self.dawdles && state.rng.random_bool(0.85) {
                return false;
            }
            let Some((process, user)) = state.free.pop() else {
                return false;
            };
            state.left -= 1;
            drop(state);
            self.join(process, Some(user));
        }
    }

    /// Now and then somebody who waits leaves, or somebody else claims to be it: of its own process or of another one.
    fn disturb(&self) {
        let mut state = self.state.lock();
        if state.leaves > 0 && state.rng.random_bool(0.1) {
            state.leaves -= 1;
            if let Some((process, user)) = state.somebody() {
                state.last += 1;
                let token = state.last;
                drop(state);
                let left = self.groups[process].leave(&participant(user), token);
                left.expect("whoever waits may leave");
                state = self.state.lock();
            }
        }
        if state.claims > 0 && state.rng.random_bool(0.1) {
            state.claims -= 1;
            let Some((_, user)) = state.somebody() else {
                return;
            };
            let dead = state.dead;
            let alive = (0..self.groups.len()).filter(|p| Some(*p) != dead);
            let claimant = alive.choose(&mut state.rng);
            let owner = state.last + 2; // each is another virtual user
            drop(state);
            if let Some(process) = claimant {
                let who = (&participant(user), owner);
                self.call(process, None, "claim", who, CLAIM);
            }
        }
    }

    /// Whether the store has answered every process that lives.
    pub(crate) fn all_have_come(&self) -> bool {
        let is_connected = |group: &Group| group.status().contains(r#""connected":true"#);
        let (mut come, dead) = {
            let state = self.state.lock();
            (state.come.clone(), state.dead)
        };
        let mut rest = (0..self.groups.len()).filter(|at| Some(*at) != dead && !come.contains(at));
        let new: Vec<_> = rest
            .clone()
            .filter(|at| is_connected(&self.groups[*at]))
            .collect();
        let all = rest.all(|at| new.contains(&at));
        come.extend(new);
        self.state.lock().come = come;
        all
    }

    fn join(&self, process: usize, user: Option<usize>) {
        let Some(user) = user else {
            let next = self.state.lock().last + 1;
            let filler = Participant::new(&format!("filler-{next}")).expect("valid");
            self.call(process, None, "filler", (&filler, 1), LONG);
            return;
        };
        let hasty = self
            .expiry
            .filter(|_| self.state.lock().last.is_multiple_of(3));
        let wait = hasty.unwrap_or(LONG);
        let who = (&participant(user), 1);
        self.call(process, Some(user), &user.to_string(), who, wait);
    }

    fn call(
        &self,
        process: usize,
        user: Option<usize>,
        what: &str,
        (who, owner): (&Participant, u64),
        wait: Duration,
    ) {
        let mut state = self.state.lock();
        state.last += 1;
        let token = state.last;
        let payload = format!("{process}-{what}-{token}");
        let join = Join {
            process,
            user,
            payload: payload.clone(),
        };
        state.waiting.insert(token, join);
        drop(state);
        let call = JoinCall {
            participant: who.clone(),
            owner,
            payload: Some(payload),
            wait,
        };
        if let Err(error) = self.groups[process].join(&call, token) {
            let mut state = self.state.lock();
            let join = state.waiting.remove(&token).expect("nothing ended it");
            state.ended(join, Err(error));
        }
    }

    /// The process has no way to the server any more, and ends.
    pub(crate) fn kill(&mut self, process: usize) {
        {
            let mut state = self.state.lock();
            state.dead = Some(process);
            state.free.retain(|(p, _)| *p != process);
            state.resting.retain(|(p, _)| *p != process);
        }
        self.engines[process].close(Duration::ZERO);
    }

    /// Where users have gone with their process, or sit in a group and do not know, the others need not be as many as make a group: somebody
    /// else comes.
    pub(crate) fn fill_up(&self) {
        let state = self.state.lock();
        let (dead, missing) = (state.dead, self.size.saturating_sub(state.waiting.len()));
        let joins = state.left > 0 && !(state.free.is_empty() && state.resting.is_empty());
        drop(state);
        let alive = (0..self.groups.len()).find(|p| Some(*p) != dead);
        if let (true, Some(process), false) = (self.strands || dead.is_some(), alive, joins) {
            (0..missing).for_each(|_| self.join(process, None));
        }
    }

    pub(crate) fn describe(&self) -> String {
        let state = self.state.lock();
        let groups: Vec<_> = self.groups.iter().map(|g| g.status()).collect();
        format!(
            "{} left, waiting {:?}, {groups:?}",
            state.left, state.waiting
        )
    }

    /// What all were told so far, and who was told nothing.
    pub(crate) fn told(&self) -> (Vec<Told>, Untold) {
        let state = self.state.lock();
        (state.told.clone(), state.untold.clone())
    }

    pub(crate) fn close(&self) {
        for engine in &self.engines {
            engine.close(Duration::from_secs(2));
        }
    }
}

fn participant(user: usize) -> Participant {
    Participant::new(&user.to_string()).expect("valid")
}
