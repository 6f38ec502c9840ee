//! Users of several processes who join again and again until as many joins were made as there are to be.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use barrier_core::engine::{Emission, Engine, Group, JoinCall, Sink};
use barrier_core::error::Error;
use barrier_core::group::options::GroupOptions;
use barrier_core::ids::Participant;
use barrier_core::ticket::Token;
use parking_lot::Mutex;

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
    /// None of one who only fills up a group in the end.
    user: Option<usize>,
    payload: String,
}

#[derive(Default)]
struct State {
    waiting: HashMap<Token, Join>,
    /// Who may join again: the process and the user.
    free: Vec<(usize, usize)>,
    left: usize,
    last: Token,
    told: Vec<Told>,
    failed: Vec<String>,
    dead: Option<usize>,
}

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
            let Some(join) = state.waiting.remove(&ticket.redeem()) else {
                continue;
            };
            let Join {
                process,
                user,
                payload,
            } = join;
            match result {
                Ok(text) => {
                    state.told.push(Told {
                        process,
                        payload,
                        text,
                    });
                    let alive = state.dead != Some(process);
                    state
                        .free
                        .extend(user.filter(|_| alive).map(|u| (process, u)));
                }
                Err(Error::Closed) => {}
                Err(error) => state.failed.push(format!("{payload}: {error}")),
            }
        }
    }
}

pub(crate) struct Crowd {
    state: Arc<Mutex<State>>,
    engines: Vec<Engine>,
    groups: Vec<Arc<Group>>,
    size: usize,
}

impl Crowd {
    /// The users of the plan, spread over a process for each URL.
    pub(crate) fn start(urls: Vec<String>, plan: &Plan) -> Self {
        let state = Arc::new(Mutex::new(State {
            left: plan.joins,
            ..State::default()
        }));
        let mut crowd = Self {
            state: Arc::clone(&state),
            engines: Vec::new(),
            groups: Vec::new(),
            size: plan.size,
        };
        let processes = urls.len();
        for url in urls {
            let engine = Engine::new(Arc::new(Ends(Arc::clone(&state))));
            let json = format!(
                r#"{{"name":"lobby","size":{},"store":"{url}","runId":"{}","opTimeoutMs":60000}}"#,
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

    /// Whoever is free joins again; whether nobody is to join and nobody waits any more.
    pub(crate) fn is_done(&self) -> bool {
        loop {
            let mut state = self.state.lock();
            assert!(state.failed.is_empty(), "{:?}", state.failed);
            if state.left == 0 {
                return state.waiting.values().all(|join| join.user.is_none());
            }
            let Some((process, user)) = state.free.pop() else {
                return false;
            };
            state.left -= 1;
            drop(state);
            self.join(process, Some(user));
        }
    }

    fn join(&self, process: usize, user: Option<usize>) {
        let mut state = self.state.lock();
        state.last += 1;
        let token = state.last;
        let who = user.map_or_else(|| format!("filler-{token}"), |user| user.to_string());
        let payload = format!("{process}-{who}-{token}");
        let join = Join {
            process,
            user,
            payload: payload.clone(),
        };
        state.waiting.insert(token, join);
        drop(state);
        let call = JoinCall {
            participant: Participant::new(&who).expect("valid"),
            owner: 1,
            payload: Some(payload),
            wait: Duration::from_secs(600),
        };
        self.groups[process].join(&call, token).expect("joins");
    }

    /// The process has no way to the server any more, and ends.
    pub(crate) fn kill(&mut self, process: usize) {
        {
            let mut state = self.state.lock();
            state.dead = Some(process);
            state.free.retain(|(p, _)| *p != process);
        }
        self.engines[process].close(Duration::ZERO);
    }

    /// Where users have gone with their process, the others need not be as many as make a group: somebody else comes.
    pub(crate) fn fill_up(&self) {
        let state = self.state.lock();
        let (dead, missing) = (state.dead, self.size.saturating_sub(state.waiting.len()));
        let joins = state.left > 0 && !state.free.is_empty();
        drop(state);
        let alive = (0..self.groups.len()).find(|p| Some(*p) != dead);
        if let (Some(_), Some(process), false) = (dead, alive, joins) {
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

    /// What all were told so far.
    pub(crate) fn told(&self) -> Vec<Told> {
        self.state.lock().told.clone()
    }

    pub(crate) fn close(&self) {
        for engine in &self.engines {
            engine.close(Duration::from_secs(2));
        }
    }
}
