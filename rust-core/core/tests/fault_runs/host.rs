//! One process: an engine, every call that was made of it, and everything that was heard of it.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use barrier_core::engine::{Barrier, Call, Emission, Engine, Limit, Sink, Submitted};
use barrier_core::error::Error;
use barrier_core::ids::{Participant, Phase, Reason};
use barrier_core::ledger::{Answered, Report, Token};
use barrier_core::options::BarrierOptions;
use barrier_core::session::Done;

/// How a call ended.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) at: Instant,
    pub(crate) result: Result<Done, Error>,
    /// The outcome that stands though the call failed.
    pub(crate) standing: Option<Answered>,
}

/// What was heard of an engine.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) ended: HashMap<Token, Ended>,
    pub(crate) released: Vec<(Phase, Instant)>,
    pub(crate) broken: u32,
    /// Calls that a release has overtaken.
    pub(crate) owed: Vec<Token>,
    /// Tokens that were completed again.
    pub(crate) twice: Vec<Token>,
    /// Instants of their own that arrivals were told, in microseconds since the epoch.
    pub(crate) turns: Vec<(Answered, i64)>,
}

impl Heard {
    fn end(&mut self, token: Token, mut ended: Ended) {
        if let Ok(Done::OutcomeAt(answered, at)) = ended.result {
            self.turns.push((answered.clone(), at));
            ended.result = Ok(Done::Outcome(answered));
        }
        if self.ended.insert(token, ended).is_some() {
            self.twice.push(token);
        }
    }

    /// All phases before this one are released.
    pub(crate) fn open(&self) -> u32 {
        self.released
            .iter()
            .map(|(phase, _)| phase.0 + 1)
            .max()
            .unwrap_or(0)
    }
}

#[derive(Default)]
struct Ear {
    heard: Mutex<Heard>,
    news: Condvar,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sink for Ear {
    fn emit(&self, news: &mut Vec<Emission>) {
        let at = Instant::now();
        let mut heard = lock(&self.heard);
        for item in news.drain(..) {
            match item {
                Emission::Done {
                    ticket,
                    result,
                    standing,
                } => heard.end(
                    ticket.redeem(),
                    Ended {
                        at,
                        result,
                        standing,
                    },
                ),
                Emission::Released { phase, .. } => heard.released.push((phase, at)),
                Emission::Broken { .. } => heard.broken += 1,
                Emission::Over(tickets) => {
                    for ticket in tickets {
                        let ended = Ended {
                            at,
                            result: Ok(Done::Over),
                            standing: None,
                        };
                        heard.end(ticket.redeem(), ended);
                    }
                }
                Emission::Owed { token } => heard.owed.push(token),
                Emission::Text { .. }
                | Emission::Forgotten { .. }
                | Emission::Log
                | Emission::Resolve { .. } => {}
            }
        }
        self.news.notify_all();
    }
}

/// A call as it was made.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) token: Token,
    /// Whose outcome was reported; none for other calls.
    pub(crate) participant: Option<u32>,
    /// Of an arrival: the user that makes it.
    pub(crate) owner: Option<u64>,
    pub(crate) at: Instant,
    /// How long the engine may take by its options.
    pub(crate) limit: Duration,
    /// It waits for the release, too.
    pub(crate) waits: bool,
    /// What the ledger said at once.
    pub(crate) decision: Option<Answered>,
}

/// See the [module's](self) description.
pub(crate) struct Process {
    engine: Engine,
    barrier: Arc<Barrier>,
    ear: Arc<Ear>,
    next: AtomicU64,
    made: Mutex<Vec<Made>>,
    dead: OnceLock<Instant>,
    /// Who has ended at some time where whoever runs is expected.
    ended: Mutex<BTreeSet<u32>>,
}

impl Process {
    pub(crate) fn start(options: &str, batch_max: usize) -> Self {
        let ear = Arc::new(Ear::default());
        let engine = Engine::new(Arc::clone(&ear) as Arc<dyn Sink>);
        let mut options = BarrierOptions::from_json(options.as_bytes()).expect("valid options");
        options.batch_max = batch_max;
        let barrier = engine.barrier(options).expect("a new engine");
        barrier.handle_or_init(|| 1);
        Self {
            engine,
            barrier,
            ear,
            next: AtomicU64::new(1),
            made: Mutex::default(),
            dead: OnceLock::new(),
            ended: Mutex::default(),
        }
    }

    pub(crate) const fn barrier(&self) -> &Arc<Barrier> {
        &self.barrier
    }

    pub(crate) fn made(&self) -> Vec<Made> {
        lock(&self.made).clone()
    }

    pub(crate) fn heard(&self) -> MutexGuard<'_, Heard> {
        lock(&self.ear.heard)
    }

    /// Waits until something is found among what was heard, or `give_up` says that this took too long.
    pub(crate) fn until<T>(
        &self,
        mut found: impl FnMut(&Heard) -> Option<T>,
        mut give_up: impl FnMut() -> bool,
    ) -> Option<T> {
        let mut heard = self.heard();
        loop {
            if let Some(found) = found(&heard) {
                return Some(found);
            }
            if give_up() {
                return None;
            }
            // The turns serve `give_up` alone.
            let turn = Duration::from_millis(20);
            heard = match self.ear.news.wait_timeout(heard, turn) {
                Ok((heard, _)) => heard,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    fn call(
        &self,
        (participant, owner): (Option<u32>, Option<u64>),
        limit: Duration,
        waits: bool,
        submit: impl FnOnce(&Barrier, Token) -> Submitted,
    ) -> Token {
        let token = self.next.fetch_add(1, Ordering::Relaxed);
        let at = Instant::now();
        let decision = match submit(&self.barrier, token) {
            Submitted::Pending(decision) => decision,
            Submitted::Waits(answered) => Some(answered),
            Submitted::Done(result) => {
                let decision = match &result {
                    Ok(Done::Outcome(answered) | Done::OutcomeAt(answered, _)) => {
                        Some(answered.clone())
                    }
                    _ => None,
                };
                let ended = Ended {
                    at: Instant::now(),
                    result,
                    standing: None,
                };
                self.heard().end(token, ended);
                decision
            }
        };
        lock(&self.made).push(Made {
            token,
            participant,
            owner,
            at,
            limit,
            waits,
            decision,
        });
        token
    }

    pub(crate) fn open(&self) -> Token {
        // A greeting of the others takes up to 2 s, beside the connection.
        let limit = self.barrier.options().connect_timeout + Duration::from_secs(2);
        self.call((None, None), limit, false, Barrier::open)
    }

    pub(crate) fn report(&self, participant: u32, report: Report) -> Token {
        let owner = match report {
            Report::Arrive { owner } => Some(owner),
            _ => None,
        };
        let call = Call::Report {
            participant: Participant::new(&participant.to_string()).expect("a number"),
            report,
            explicit: true,
        };
        let limit = self.barrier.options().op_timeout;
        self.call((Some(participant), owner), limit, false, |b, token| {
            b.submit(call, token)
        })
    }

    pub(crate) fn arrive_and_wait(&self, participant: u32, wait: Duration) -> Token {
        let store = self.barrier.options().op_timeout;
        let owner = u64::from(participant);
        let call = Call::ArriveAndWait {
            participant: Participant::new(&participant.to_string()).expect("a number"),
            owner,
            explicit: true,
            limit: Limit { wait, store },
        };
        let who = (Some(participant), Some(owner));
        self.call(who, wait + store, true, |b, token| b.submit(call, token))
    }

    pub(crate) fn expire(&self, phase: u32) -> Token {
        let limit = self.barrier.options().op_timeout;
        let call = Call::Expire(Phase(phase));
        self.call((None, None), limit, false, |b, token| b.submit(call, token))
    }

    pub(crate) fn abort(&self) -> Token {
        let limit = self.barrier.options().op_timeout;
        let call = Call::Abort("the run says so".into());
        self.call((None, None), limit, false, |b, token| b.submit(call, token))
    }

    pub(crate) fn close(&self) {
        self.engine.close(Duration::from_secs(2));
    }

    /// Its way to the server is cut for good by now: it can say nothing more, as if the system had ended it.
    pub(crate) fn kill(&self) {
        let _ = self.dead.set(Instant::now());
        self.engine.close(Duration::ZERO);
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.get().is_some()
    }

    /// When it was killed.
    pub(crate) fn died(&self) -> Option<Instant> {
        self.dead.get().copied()
    }

    /// The participant runs from now on, or does not any more.
    pub(crate) fn runs(&self, participant: u32, begins: bool) {
        if !begins {
            lock(&self.ended).insert(participant);
        }
        let id = Participant::new(&participant.to_string()).expect("a number");
        let token = self.next.fetch_add(1, Ordering::Relaxed);
        drop(self.barrier.submit(Call::Runs(id, begins), token));
    }

    /// Those who ended at some time.
    pub(crate) fn ended(&self) -> BTreeSet<u32> {
        lock(&self.ended).clone()
    }
}

pub(crate) fn arrival(participant: u32) -> Report {
    Report::Arrive {
        owner: participant.into(),
    }
}

/// Another user of the same process claims to be the participant.
pub(crate) fn impostor(participant: u32) -> Report {
    Report::Arrive {
        owner: 1000 + u64::from(participant),
    }
}

pub(crate) fn failure(reason: &str) -> Report {
    Report::Fail(Reason::new("reason", reason).expect("valid"))
}
