//! The participants of one process, as a few threads that report and wait for all of them.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use barrier_core::ledger::Report;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};

use crate::host::{Process, arrival, failure, impostor};
use crate::plan::{Expiry, Plan};

/// How long everything may take to settle once the trouble is over: an answer that never comes (3 s), a connection
/// attempt (1 s) with its pause (1 s), a heartbeat (5 s); the rest is for a busy machine.
pub(crate) const BOUND: Duration = Duration::from_secs(25);

/// How long an arrival waits at most: some go by the release, some give up.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// The same where a killed process has to have been silent for long: 15 s, and until the next heartbeat of another one.
const BOUND_SILENCE: Duration = Duration::from_secs(25 + 20);

/// When the trouble ended.
#[derive(Debug)]
pub(crate) struct Calm(Mutex<Option<Instant>>, Duration);

impl Calm {
    pub(crate) fn new(plan: &Plan) -> Self {
        let silence = plan.running && plan.killed.is_some();
        Self(
            Mutex::default(),
            if silence { BOUND_SILENCE } else { BOUND },
        )
    }

    /// It begins when the answer is dropped.
    pub(crate) const fn at_the_end(&self) -> Begin<'_> {
        Begin(self)
    }

    fn since(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It has been calm for so long that whatever is still awaited hangs.
    pub(crate) fn too_long(&self) -> bool {
        self.since().is_some_and(|at| at.elapsed() > self.1)
    }
}

/// See [`Calm::at_the_end`].
pub(crate) struct Begin<'a>(&'a Calm);

impl Drop for Begin<'_> {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

/// One thread of participants.
pub(crate) struct Crowd<'a> {
    plan: &'a Plan,
    process: &'a Process,
    calm: &'a Calm,
    rng: StdRng,
    members: Vec<u32>,
    /// Participants of the whole process: repeats come from any thread.
    everyone: Vec<u32>,
}

impl<'a> Crowd<'a> {
    pub(crate) fn new(
        plan: &'a Plan,
        (at, process): (usize, &'a Process),
        thread: usize,
        calm: &'a Calm,
    ) -> Self {
        let everyone: Vec<u32> = plan.members(at).collect();
        let salt = (at * 8 + thread + 1) as u64;
        Self {
            plan,
            process,
            calm,
            rng: StdRng::seed_from_u64(plan.seed ^ (salt << 40)),
            members: everyone
                .iter()
                .copied()
                .skip(thread)
                .step_by(plan.threads)
                .collect(),
            everyone,
        }
    }

    /// Reports and waits, phase by phase. False where a wait had no end.
    pub(crate) fn run(mut self) -> bool {
        let mut reported = Vec::new();
        let mut first = true;
        loop {
            let target = self.process.heard().open();
            if target >= self.plan.phases || self.is_over() {
                break;
            }
            reported.clear();
            self.members.shuffle(&mut self.rng);
            let leavers = self.one_phase(target, first, &mut reported);
            self.members.retain(|n| !leavers.contains(n));
            if !self.wait(target) {
                return false;
            }
            first = false;
        }
        if self.plan.cyclic() && !self.is_over() {
            // Some report in a phase that stays open: what outside readers see of it must be right in the end.
            let some: Vec<u32> = self.members.iter().copied().skip(1).step_by(2).collect();
            for n in some {
                self.say(n);
            }
        }
        true
    }

    fn one_phase(&mut self, target: u32, first: bool, reported: &mut Vec<u32>) -> Vec<u32> {
        let mut leavers = Vec::new();
        let mut has_ended = false;
        let mut members = self.members.clone();
        if self.plan.ends {
            members.iter().for_each(|n| self.process.runs(*n, true));
        }
        let last = target + 1 == self.plan.phases;
        let holdout = self.plan.holdout.filter(|_| last);
        if let Some(at) = members.iter().position(|n| Some(*n) == holdout) {
            let n = members.remove(at);
            members.push(n);
        }
        for n in members {
            let ends = matches!(self.plan.expiry, Expiry::Release(_) | Expiry::Abort(_));
            let absent = n == 1 && first && ends;
            if absent {
                continue;
            }
            if self.is_over() {
                break;
            }
            if Some(n) == holdout {
                self.process
                    .until(|_| None::<()>, || self.calm.since().is_some());
            } else {
                std::thread::sleep(self.plan.gap.mul_f64(self.rng.random()));
            }
            // A few end, but never so many that nobody is left to meet.
            if self.plan.ends
                && !has_ended
                && Some(n) != holdout
                && self.members.len() > 2
                && self.rng.random_bool(0.1)
            {
                has_ended = true;
                self.process.runs(n, false);
                continue;
            }
            // A few leave, but never so many that nobody is left to meet.
            let may_leave = self.plan.leaves && leavers.is_empty() && self.members.len() > 2;
            match self.rng.random_range(0..40) {
                0 if may_leave => {
                    self.process.report(n, Report::Leave);
                    leavers.push(n);
                }
                1 if may_leave && self.plan.cyclic() => {
                    self.say(n);
                    self.process.report(n, Report::Leave);
                    leavers.push(n);
                }
                _ => self.say(n),
            }
            reported.push(n);
            if self.rng.random_bool(0.15) {
                let again = *reported.choose(&mut self.rng).expect("one at least");
                self.say(again);
            }
            if self.plan.impostors && self.rng.random_bool(0.1) {
                let whom = *reported.choose(&mut self.rng).expect("one at least");
                self.process.report(whom, impostor(whom));
            }
        }
        leavers
    }

    fn say(&mut self, n: u32) {
        let report = match self.rng.random_range(0..10) {
            0 => failure("login"),
            1 => failure("sse"),
            2..=5 => {
                self.process.arrive_and_wait(n, LONGEST_WAIT / 8 * (n % 9));
                return self.gossip();
            }
            _ => arrival(n),
        };
        self.process.report(n, report);
        self.gossip();
    }

    fn gossip(&mut self) {
        if self.rng.random_bool(0.1) {
            // Somebody else speaks of a participant at the same time, perhaps of one that has not reported yet.
            let other = *self.everyone.choose(&mut self.rng).expect("members");
            // This must not stand in for one that is absent on purpose.
            let withheld = Some(other) == self.plan.holdout || other == 1;
            if !withheld {
                self.process.report(other, failure("login"));
            }
        }
    }

    fn is_over(&self) -> bool {
        self.process.is_dead() || self.process.heard().broken > 0
    }

    /// Waits for the end of the phase, as a caller does that comes back when its wait expires.
    fn wait(&self, target: u32) -> bool {
        let mut patience = match self.plan.expiry {
            Expiry::Never => None,
            Expiry::Throw(wait) | Expiry::Release(wait) | Expiry::Abort(wait) => Some(wait),
        };
        loop {
            let until = patience.map(|wait| Instant::now() + wait);
            let over = self.process.until(
                |h| (h.open() > target || h.broken > 0).then_some(()),
                || {
                    let expired = until.is_some_and(|at| Instant::now() >= at);
                    expired || self.calm.too_long() || self.process.is_dead()
                },
            );
            if over.is_some() || self.process.is_dead() {
                return true;
            }
            if until.is_none() || self.calm.too_long() {
                return false;
            }
            let token = self.process.expire(target);
            let answered = self.process.until(
                |h| h.ended.contains_key(&token).then_some(()),
                || self.calm.too_long(),
            );
            if answered.is_none() {
                return false;
            }
            if matches!(self.plan.expiry, Expiry::Throw(_)) {
                patience = None;
            }
        }
    }
}
