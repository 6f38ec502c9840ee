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

/// What one member was told.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) payload: String,
    pub(crate) text: String,
}

#[derive(Default)]
struct State {
    /// Who waits: the process and the payload, by token.
    waiting: HashMap<Token, (usize, usize, String)>,
    free: Vec<(usize, usize)>,
    left: usize,
    last: Token,
    told: Vec<Told>,
    failed: Vec<String>,
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
            let Some((process, user, payload)) = state.waiting.remove(&ticket.redeem()) else {
                continue;
            };
            match result {
                Ok(text) => {
                    state.told.push(Told { payload, text });
                    state.free.push((process, user));
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
}

impl Crowd {
    /// `users` spread over a process for each URL make `joins` joins in all.
    pub(crate) fn start(urls: Vec<String>, size: usize, users: usize, joins: usize) -> Self {
        let state = Arc::new(Mutex::new(State {
            left: joins,
            ..State::default()
        }));
        let mut crowd = Self {
            state: Arc::clone(&state),
            engines: Vec::new(),
            groups: Vec::new(),
        };
        let processes = urls.len();
        for url in urls {
            let engine = Engine::new(Arc::new(Ends(Arc::clone(&state))));
            let json = format!(
                r#"{{"name":"lobby","size":{size},"store":"{url}","runId":"r","opTimeoutMs":60000}}"#
            );
            let options = GroupOptions::from_json(json.as_bytes()).expect("options");
            crowd.groups.push(engine.group(options).expect("groups"));
            crowd.engines.push(engine);
        }
        state.lock().free = (0..users).map(|user| (user % processes, user)).collect();
        crowd
    }

    /// Whoever is free joins again; whether nobody is to join and nobody waits any more.
    pub(crate) fn is_done(&self) -> bool {
        loop {
            let mut state = self.state.lock();
            assert!(state.failed.is_empty(), "{:?}", state.failed);
            if state.left == 0 {
                return state.waiting.is_empty();
            }
            let Some((process, user)) = state.free.pop() else {
                return false;
            };
            state.left -= 1;
            state.last += 1;
            let token = state.last;
            let payload = format!("{user}-{token}");
            state
                .waiting
                .insert(token, (process, user, payload.clone()));
            drop(state);
            let call = JoinCall {
                participant: Participant::new(&user.to_string()).expect("valid"),
                owner: 1,
                payload: Some(payload),
                wait: Duration::from_secs(600),
            };
            self.groups[process].join(&call, token).expect("joins");
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

    /// What all were told.
    pub(crate) fn end(self) -> Vec<Told> {
        for engine in &self.engines {
            engine.close(Duration::from_secs(2));
        }
        std::mem::take(&mut self.state.lock().told)
    }
}
