//! The barriers of a process: those in use, those that are over, and when the latter are forgotten.

use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use serde::Serialize;

use crate::error::Error;
use crate::ids::{BarrierName, RunId};
use crate::options::{BarrierOptions, StoreAddress};

use super::Barrier;

/// So many barriers that are over are remembered.
pub const OVER_MAX: usize = 1000;
/// So many bytes of their outcomes.
pub const OVER_BYTES_MAX: usize = 32 << 20;
/// So many may be over without having retired, so that nothing is packed that is still asked for from all sides.
const OVER_AWAKE: usize = 16;

/// What makes two barriers the same.
struct Identity(Arc<BarrierOptions>);

impl Identity {
    fn parts(&self) -> (&StoreAddress, Option<&RunId>, &BarrierName) {
        (&self.0.store, self.0.run_id.as_ref(), &self.0.name)
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Identity {}

impl Hash for Identity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

/// How many barriers a process has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// All that it knows.
    pub barriers: usize,
    /// Those of them that are over and have retired.
    pub retired: usize,
    /// What the outcomes of those take.
    pub retired_bytes: usize,
}

/// See the [module's](self) description. Its lock is taken before that of a barrier.
#[derive(Default)]
pub(crate) struct Roll(Mutex<Inner>);

/// How much is remembered.
struct Limits {
    over: usize,
    bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            over: OVER_MAX,
            bytes: OVER_BYTES_MAX,
        }
    }
}

#[derive(Default)]
struct Inner {
    limits: Limits,
    known: HashMap<Identity, Arc<Barrier>>,
    /// Those that have not retired, as far as anybody has looked.
    active: Vec<Weak<Barrier>>,
    /// How many of them there may be before somebody looks.
    look_at: usize,
    /// Those that have, by when they did or were asked for again, with what they keep.
    retired: BTreeMap<u64, (Arc<Barrier>, usize)>,
    bytes: usize,
    stamp: u64,
    closed: bool,
}

impl Roll {
    /// The barrier of these options, or the one that `make` makes of them.
    pub(crate) fn find_or_make(
        &self,
        options: BarrierOptions,
        make: impl FnOnce(Arc<BarrierOptions>) -> Result<Arc<Barrier>, Error>,
    ) -> Result<Arc<Barrier>, Error> {
        let mut inner = self.0.lock();
        if inner.closed {
            return Err(Error::Closed);
        }
        let identity = Identity(Arc::new(options));
        let known = inner.known.get(&identity).filter(|b| !b.is_gone());
        if let Some(known) = known.map(Arc::clone) {
            inner.touch(&known);
            drop(inner);
            known.found_by(&identity.0)?;
            return Ok(known);
        }
        let barrier = make(Arc::clone(&identity.0))?;
        inner.active.push(Arc::downgrade(&barrier));
        inner.known.insert(identity, Arc::clone(&barrier));
        inner.look();
        inner.forget_oldest();
        Ok(barrier)
    }

    /// The barrier keeps so many bytes of outcomes from now on.
    pub(crate) fn retired(&self, barrier: &Arc<Barrier>, bytes: usize) {
        let mut inner = self.0.lock();
        if !inner.closed && inner.is_known(barrier) {
            inner.retired(barrier, bytes);
            inner.forget_oldest();
        }
    }

    /// The barrier is gone.
    pub(crate) fn remove(&self, barrier: &Arc<Barrier>) {
        let mut inner = self.0.lock();
        if inner.is_known(barrier) {
            inner.remove(barrier);
        }
    }

    /// No barrier is opened any more. All that there were.
    pub(crate) fn close(&self) -> Vec<Arc<Barrier>> {
        let mut inner = self.0.lock();
        inner.closed = true;
        inner.active.clear();
        inner.retired.clear();
        inner.known.drain().map(|(_, barrier)| barrier).collect()
    }

    pub(crate) fn tally(&self) -> Tally {
        let inner = self.0.lock();
        Tally {
            barriers: inner.known.len(),
            retired: inner.retired.len(),
            retired_bytes: inner.bytes,
        }
    }
}

impl Inner {
    fn is_known(&self, barrier: &Arc<Barrier>) -> bool {
        let identity = Identity(Arc::clone(&barrier.options));
        let known = self.known.get(&identity);
        known.is_some_and(|known| Arc::ptr_eq(known, barrier))
    }

    /// Lets all retire that are over, but for the newest ones. Nobody needs to look for as long as their number has not doubled.
    fn look(&mut self) {
        if self.active.len() < self.look_at {
            return;
        }
        let changed = self.retired.values();
        let changed = changed.filter_map(|(b, _)| Some((Arc::clone(b), b.retire_again()?)));
        for (barrier, bytes) in changed.collect::<Vec<_>>() {
            self.retired(&barrier, bytes);
        }
        let active: Vec<_> = self.active.drain(..).filter_map(|b| b.upgrade()).collect();
        let over = active.iter().filter(|b| b.is_over()).count();
        let mut surplus = over.saturating_sub(OVER_AWAKE);
        for barrier in active {
            if barrier.stamp.load(Ordering::Relaxed) > 0 {
                continue; // it did by itself
            }
            if surplus > 0
                && let Some(bytes) = barrier.retire()
            {
                surplus -= 1;
                self.retired(&barrier, bytes);
            } else {
                self.active.push(Arc::downgrade(&barrier));
            }
        }
        self.look_at = 2 * self.active.len().max(OVER_AWAKE);
    }

    fn retired(&mut self, barrier: &Arc<Barrier>, bytes: usize) {
        self.unstamp(barrier);
        self.stamp += 1;
        barrier.stamp.store(self.stamp, Ordering::Relaxed);
        self.bytes += bytes;
        self.retired
            .insert(self.stamp, (Arc::clone(barrier), bytes));
    }

    /// Somebody asks for it: others are forgotten first.
    fn touch(&mut self, barrier: &Arc<Barrier>) {
        if let Some(bytes) = self.unstamp(barrier) {
            self.retired(barrier, bytes);
        }
    }

    /// Takes it off those that have retired.
    fn unstamp(&mut self, barrier: &Arc<Barrier>) -> Option<usize> {
        let stamp = barrier.stamp.load(Ordering::Relaxed);
        let (_, bytes) = self.retired.remove(&stamp)?;
        self.bytes -= bytes;
        Some(bytes)
    }

    fn remove(&mut self, barrier: &Arc<Barrier>) {
        self.unstamp(barrier);
        self.known.remove(&Identity(Arc::clone(&barrier.options)));
    }

    /// Forgets those that were over first, until the others are few enough. One of which somebody asks something right now
    /// stays for another while.
    fn forget_oldest(&mut self) {
        let mut looked_at = self.retired.len();
        let too_many = |inner: &Self| {
            inner.retired.len() > inner.limits.over || inner.bytes > inner.limits.bytes
        };
        while too_many(self) && looked_at > 0 {
            looked_at -= 1;
            let Some((_, (oldest, _))) = self.retired.first_key_value() else {
                return;
            };
            let oldest = Arc::clone(oldest);
            if oldest.forget() {
                self.remove(&oldest);
            } else {
                self.touch(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tenant::tests::Ended;
    use super::*;
    use crate::engine::Call;
    use crate::engine::context::Context;
    use crate::engine::net::Resolver;
    use crate::ids::Participant;
    use crate::ledger::Report;

    #[test]
    fn what_is_kept_of_outcomes_is_bounded() {
        let context = Context::new(Arc::new(Ended::default()), Resolver::default(), || {});
        let bytes = 10_000;
        let limits = Limits { over: 1000, bytes };
        let roll = Roll(Mutex::new(Inner {
            limits,
            ..Inner::default()
        }));
        for round in 0..100 {
            let json = format!(r#"{{"name":"round-{round}","parties":100}}"#);
            let options = BarrierOptions::from_json(json.as_bytes()).expect("options");
            let make = |options| Ok(Barrier::new(options, None, &context));
            let barrier = roll.find_or_make(options, make).expect("a barrier");
            drop(barrier.open(1000));
            for user in 1..=100 {
                let report = Call::Report {
                    participant: Participant::new(&user.to_string()).expect("valid"),
                    report: Report::Arrive { owner: user },
                    explicit: true,
                };
                drop(barrier.submit(report, user));
            }
        }
        let tally = roll.tally();
        assert!(tally.retired_bytes <= bytes, "{tally:?}");
        assert!(tally.retired_bytes > bytes / 2, "{tally:?}");
        assert!(tally.retired < 20, "{tally:?}");
        roll.close();
    }
}
