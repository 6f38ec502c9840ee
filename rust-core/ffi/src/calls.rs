//! Calls under way: whose completion is owed to the host.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use crate::system::{AtomicUsize, Mutex};

/// Ten thousand callers at once, and the thread that answers them, rarely meet.
const SHARDS: usize = 16;

/// The tokens of calls under way.
pub(crate) struct Calls {
    shards: [Mutex<HashSet<u64>>; SHARDS],
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
            shards: std::array::from_fn(|_| Mutex::new(HashSet::new())),
            count: AtomicUsize::new(0),
            most,
        }
    }

    fn shard(&self, token: u64) -> &Mutex<HashSet<u64>> {
        &self.shards[usize::try_from(token % SHARDS as u64).unwrap_or(0)]
    }

    /// A call begins.
    pub(crate) fn enter(&self, token: u64) -> Result<(), Refused> {
        let refused = if self.count.fetch_add(1, Ordering::Relaxed) >= self.most {
            Refused::TooMany
        } else if self.shard(token).lock().insert(token) {
            return Ok(());
        } else {
            Refused::Twice
        };
        self.count.fetch_sub(1, Ordering::Relaxed);
        Err(refused)
    }

    /// It ends; false where it has ended before.
    pub(crate) fn leave(&self, token: u64) -> bool {
        let was_there = self.shard(token).lock().remove(&token);
        if was_there {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        was_there
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}
