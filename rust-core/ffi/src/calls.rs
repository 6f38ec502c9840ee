//! Calls under way: whose completion is owed to the host.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::Ordering;

use crate::system::{AtomicUsize, Mutex};

/// Ten thousand callers at once, and the thread that answers them, rarely meet.
const SHARDS: usize = 16;

/// The tokens of calls under way, with the handle of the barrier of each; 0 where it has none.
pub(crate) struct Calls {
    shards: [Mutex<HashMap<u64, u64>>; SHARDS],
    count: AtomicUsize,
    most: usize,
}

/// Why a call may not begin.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// As many as may be are under way.
    TooMany,
    /// One with this token is.
    Twice,
}

impl Calls {
    pub(crate) fn at_most(most: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::new(HashMap::new())),
            count: AtomicUsize::new(0),
            most,
        }
    }

    fn shard(&self, token: u64) -> &Mutex<HashMap<u64, u64>> {
        &self.shards[usize::try_from(token % SHARDS as u64).unwrap_or(0)]
    }

    /// A call of a barrier begins.
    pub(crate) fn enter(&self, token: u64, barrier: u64) -> Result<(), Refused> {
        let refused = if self.count.fetch_add(1, Ordering::Relaxed) >= self.most {
            Refused::TooMany
        } else {
            match self.shard(token).lock().entry(token) {
                Entry::Vacant(place) => {
                    place.insert(barrier);
                    return Ok(());
                }
                Entry::Occupied(_) => Refused::Twice,
            }
        };
        self.count.fetch_sub(1, Ordering::Relaxed);
        Err(refused)
    }

    /// It ends: whose it was; none where it has ended before.
    pub(crate) fn take(&self, token: u64) -> Option<u64> {
        let barrier = self.shard(token).lock().remove(&token)?;
        self.count.fetch_sub(1, Ordering::Relaxed);
        Some(barrier)
    }

    /// It ends; false where it has ended before.
    pub(crate) fn leave(&self, token: u64) -> bool {
        self.take(token).is_some()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}
