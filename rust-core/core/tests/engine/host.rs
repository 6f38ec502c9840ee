//! A host of engines: submits calls and waits for their completions, as the Go side does.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use barrier_core::engine::{Barrier, Call, Emission, Engine, Sink, Submitted};
use barrier_core::error::Error;
use barrier_core::ids::{Participant, Phase, Reason};
use barrier_core::ledger::{Answered, Report, Token};
use barrier_core::options::BarrierOptions;
use barrier_core::session::Done;
use barrier_core::ticket::Ticket;

/// No wait of these tests is longer; it is reached only where something hangs.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Heard {
    done: HashMap<Token, Result<Done, Error>>,
    standing: HashMap<Token, Answered>,
    texts: HashMap<Token, Result<String, Error>>,
    released: Vec<(u64, Phase, Instant)>,
    broken: Vec<u64>,
    forgotten: Vec<u64>,
    over: Vec<Token>,
    owed: Vec<Token>,
    /// Completed after news for all that did not say that something is owed to them.
    behind: Vec<Token>,
    twice: Vec<Token>,
}

#[derive(Default)]
struct Ear {
    heard: Mutex<Heard>,
    news: Condvar,
}

impl Sink for Ear {
    fn emit(&self, news: &mut Vec<Emission>) {
        let mut heard = self.heard.lock().expect("no panic under this lock");
        for item in news.drain(..) {
            match item {
                Emission::Done {
                    ticket,
                    result,
                    standing,
                } => {
                    let token = ticket.redeem();
                    heard.standing.extend(standing.map(|s| (token, s)));
                    if !heard.released.is_empty() && !heard.owed.contains(&token) {
                        heard.behind.push(token);
                    }
                    if heard.done.insert(token, result).is_some() {
                        heard.twice.push(token);
                    }
                }
                Emission::Text { ticket, result } => {
                    heard.texts.insert(ticket.redeem(), result);
                }
                Emission::Released { barrier, phase, .. } => {
                    heard.released.push((barrier, phase, Instant::now()));
                }
                Emission::Broken { barrier } => heard.broken.push(barrier),
                Emission::Forgotten { barrier } => heard.forgotten.push(barrier),
                Emission::Over(tickets) => {
                    let over = tickets.into_iter().map(Ticket::redeem);
                    heard.over.extend(over);
                }
                Emission::Owed { token } => heard.owed.push(token),
                Emission::Log | Emission::Resolve { .. } => {}
            }
        }
        self.news.notify_all();
    }
}

/// One process: an engine and what was heard of it.
pub(crate) struct Process {
    pub(crate) engine: Engine,
    ear: Arc<Ear>,
    next: AtomicU64,
}

impl Process {
    pub(crate) fn start() -> Self {
        let ear = Arc::new(Ear::default());
        Self {
            engine: Engine::new(Arc::clone(&ear) as Arc<dyn Sink>),
            ear,
            next: AtomicU64::new(1),
        }
    }

    fn token(&self) -> Token {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn until<T>(&self, what: &str, mut found: impl FnMut(&mut Heard) -> Option<T>) -> T {
        let give_up = Instant::now() + PATIENCE;
        let mut heard = self.ear.heard.lock().expect("no panic under this lock");
        loop {
            if let Some(found) = found(&mut heard) {
                return found;
            }
            let left = give_up.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "nothing heard of {what}");
            heard = self.ear.news.wait_timeout(heard, left).expect("no panic").0;
        }
    }

    pub(crate) fn open(&self, json: &str) -> Result<Arc<Barrier>, Error> {
        let options = BarrierOptions::from_json(json.as_bytes())?;
        let barrier = self.engine.barrier(options)?;
        barrier.handle_or_init(|| self.token());
        let token = self.token();
        self.finish(token, barrier.open(token)).map(|_| barrier)
    }

    pub(crate) fn finish(&self, token: Token, submitted: Submitted) -> Result<Done, Error> {
        match submitted {
            Submitted::Done(result) => result,
            Submitted::Pending(_) | Submitted::Waits(_) => self.done(token),
        }
    }

    pub(crate) fn done(&self, token: Token) -> Result<Done, Error> {
        self.until("a call", |h| h.done.get(&token).cloned())
    }

    /// Submits without waiting.
    pub(crate) fn submit(&self, barrier: &Barrier, call: Call) -> Token {
        let token = self.token();
        if let Submitted::Done(result) = barrier.submit(call, token) {
            let mut heard = self.ear.heard.lock().expect("no panic");
            heard.done.insert(token, result);
        }
        token
    }

    pub(crate) fn report(
        &self,
        barrier: &Barrier,
        participant: u32,
        report: Report,
    ) -> Result<Answered, Error> {
        let token = self.submit(barrier, call(participant, report));
        match self.done(token)? {
            Done::Outcome(answered) => Ok(answered),
            other => panic!("no outcome: {other:?}"),
        }
    }

    pub(crate) fn arrive(&self, barrier: &Barrier, participant: u32) -> Result<Answered, Error> {
        self.report(barrier, participant, arrival(participant))
    }

    pub(crate) fn expire(&self, barrier: &Barrier, phase: u32) -> Result<Done, Error> {
        let token = self.submit(barrier, Call::Expire(Phase(phase)));
        self.done(token)
    }

    pub(crate) fn abort(&self, barrier: &Barrier, why: &str) -> Result<Done, Error> {
        let token = self.submit(barrier, Call::Abort(why.into()));
        self.done(token)
    }

    /// The call ended by what was told to all.
    pub(crate) fn over(&self, token: Token) {
        self.until("the end of a wait", |h| {
            h.over.contains(&token).then_some(())
        });
    }

    /// Nothing was told to the call alone.
    pub(crate) fn silent(&self, token: Token) -> bool {
        let heard = self.ear.heard.lock().expect("no panic");
        !heard.done.contains_key(&token)
    }

    /// Those that took the news of a release for theirs, and got an answer of their own after it.
    pub(crate) fn behind(&self) -> Vec<Token> {
        self.ear.heard.lock().expect("no panic").behind.clone()
    }

    /// The calls whose answers a release has overtaken.
    pub(crate) fn owed(&self) -> Vec<Token> {
        self.ear.heard.lock().expect("no panic").owed.clone()
    }

    /// What stands of a call that failed.
    pub(crate) fn standing(&self, token: Token) -> Option<Answered> {
        let heard = self.ear.heard.lock().expect("no panic");
        heard.standing.get(&token).cloned()
    }

    /// Until the store has refused something.
    pub(crate) fn until_trouble(barrier: &Barrier) {
        let give_up = Instant::now() + PATIENCE;
        while barrier.status().trouble.is_none() {
            assert!(Instant::now() < give_up, "nothing was refused");
            std::thread::yield_now();
        }
    }

    /// The moment at which the phase was released here.
    pub(crate) fn released(&self, barrier: &Barrier, phase: u32) -> Instant {
        let key = barrier.handle();
        self.until("the release", |h| {
            let of_phase = |r: &&(u64, Phase, Instant)| r.0 == key && r.1 >= Phase(phase);
            h.released.iter().find(of_phase).map(|r| r.2)
        })
    }

    pub(crate) fn broken(&self, barrier: &Barrier) {
        let key = barrier.handle();
        self.until("the break", |h| h.broken.contains(&key).then_some(()));
    }

    /// Lets go of the barrier.
    pub(crate) fn close(&self, barrier: &Barrier) -> Result<Done, Error> {
        let token = self.submit(barrier, Call::Close);
        self.done(token)
    }

    /// The process has said that it knows the barrier no more.
    pub(crate) fn forgotten(&self, barrier: &Barrier) {
        let key = barrier.handle();
        self.until("its end", |h| h.forgotten.contains(&key).then_some(()));
    }

    pub(crate) fn missing(&self, barrier: &Barrier, limit: usize) -> Result<String, Error> {
        let token = self.token();
        barrier.missing(limit, token);
        self.text(token)
    }

    pub(crate) fn text(&self, token: Token) -> Result<String, Error> {
        self.until("an answer", |h| h.texts.get(&token).cloned())
    }

    pub(crate) fn fresh_token(&self) -> Token {
        self.token()
    }

    /// Nothing was completed twice.
    pub(crate) fn check(&self) {
        let heard = self.ear.heard.lock().expect("no panic");
        assert!(heard.twice.is_empty(), "completed twice: {:?}", heard.twice);
        let mut forgotten = heard.forgotten.clone();
        forgotten.sort_unstable();
        forgotten.dedup();
        assert_eq!(forgotten.len(), heard.forgotten.len(), "forgotten twice");
        let mut phases = std::collections::BTreeSet::new();
        for (barrier, phase, _) in &heard.released {
            assert!(
                phases.insert((barrier, phase)),
                "phase {phase} was released twice"
            );
        }
    }
}

pub(crate) fn id(participant: u32) -> Participant {
    Participant::new(&participant.to_string()).expect("valid")
}

pub(crate) fn arrival(participant: u32) -> Report {
    Report::Arrive {
        owner: participant.into(),
    }
}

pub(crate) fn failure(reason: &str) -> Report {
    Report::Fail(Reason::new("reason", reason).expect("valid"))
}

pub(crate) fn call(participant: u32, report: Report) -> Call {
    Call::Report {
        participant: id(participant),
        report,
        explicit: true,
    }
}
