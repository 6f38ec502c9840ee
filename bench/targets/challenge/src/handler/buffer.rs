//! What is to be written, by user and goal: of several updates the last one stands.

use std::collections::HashMap;
use std::hash::Hasher as _;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fnv::FnvHasher;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::catalogue::Place;

/// Progress by user and goal.
pub(super) type Updates = HashMap<(Arc<str>, Place), i32>;

/// How much a part of the buffer holds, in updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// From here on it is flushed before its time.
    pub flush_at: usize,
    /// From here on events wait for a flush.
    pub wait_at: usize,
    /// From here on events are refused.
    pub refuse_at: usize,
    /// So long an event waits at most.
    pub wait: Duration,
}

impl Limits {
    /// Those of one of so many parts of a buffer of this size: events wait at one and a half times its share, and are refused at two
    /// and a half times.
    pub fn of(size: usize, parts: usize, wait: Duration) -> Self {
        let flush_at = (size / parts.max(1)).max(1);
        Self {
            flush_at,
            wait_at: flush_at * 3 / 2,
            refuse_at: flush_at * 5 / 2,
            wait,
        }
    }
}

/// Why updates were not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The part holds too much.
    Full,
    /// No flush made room in time.
    TimedOut,
}

/// What became of updates that were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    /// Those that took the place of one that was not written yet.
    pub(super) overwritten: usize,
    /// The event had to wait.
    pub(super) waited: bool,
}

/// The buffer. A user is always in the same part.
pub(super) struct Buffer {
    pub(super) parts: Vec<Arc<Part>>,
}

impl Buffer {
    pub(super) fn new(parts: usize, limits: Limits) -> Self {
        let part = || Arc::new(Part::new(limits));
        Self {
            parts: std::iter::repeat_with(part).take(parts.max(1)).collect(),
        }
    }

    /// The part of a user.
    pub(super) fn of(&self, user: &str) -> &Part {
        let mut hasher = FnvHasher::default();
        hasher.write(user.as_bytes());
        let parts = self.parts.len() as u64;
        let number = usize::try_from(hasher.finish() % parts).unwrap_or(0);
        &self.parts[number]
    }

    /// Updates that are not written yet.
    pub(super) fn pending(&self) -> usize {
        self.parts.iter().map(|part| part.pending()).sum()
    }
}

/// A part of the buffer.
pub(super) struct Part {
    limits: Limits,
    // A std mutex: it is held for the updates of one event, without an await.
    updates: Mutex<Updates>,
    /// Taken, and not written yet.
    under_way: AtomicUsize,
    /// Room was made.
    room: Notify,
    /// It is time for a flush.
    pub(super) full: Notify,
}

impl Part {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            updates: Mutex::default(),
            under_way: AtomicUsize::new(0),
            room: Notify::new(),
            full: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Updates> {
        // No code that holds the lock can leave the map half changed.
        self.updates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the updates of one event, all or none; waits for room if it has to.
    pub(super) async fn add(
        &self,
        user: &str,
        goals: &[Place],
        progress: i32,
    ) -> Result<Taken, Refusal> {
        let deadline = Instant::now() + self.limits.wait;
        let user: Arc<str> = user.into();
        let mut waited = false;
        loop {
            let mut room = pin!(self.room.notified());
            // Before the look, so that no room that is made after it is missed.
            room.as_mut().enable();
            {
                let mut updates = self.lock();
                if updates.len() >= self.limits.refuse_at {
                    return Err(Refusal::Full);
                }
                if updates.len() < self.limits.wait_at {
                    let before = updates.len();
                    for goal in goals {
                        updates.insert((Arc::clone(&user), *goal), progress);
                    }
                    let new = updates.len() - before;
                    if updates.len() >= self.limits.flush_at {
                        self.full.notify_one();
                    }
                    return Ok(Taken {
                        overwritten: goals.len() - new,
                        waited,
                    });
                }
            }
            waited = true;
            if tokio::time::timeout_at(deadline, room).await.is_err() {
                return Err(Refusal::TimedOut);
            }
        }
    }

    /// Takes all updates for a flush, and lets events that wait go on: one of them, or all.
    pub(super) fn take(&self, wake_one: bool) -> Updates {
        let taken = {
            let mut updates = self.lock();
            self.under_way.fetch_add(updates.len(), Ordering::Relaxed);
            std::mem::take(&mut *updates)
        };
        if wake_one {
            self.room.notify_one();
        } else {
            self.room.notify_waiters();
        }
        taken
    }

    /// So many that were taken are written.
    pub(super) fn written(&self, count: usize) {
        self.under_way.fetch_sub(count, Ordering::Relaxed);
    }

    pub(super) fn pending(&self) -> usize {
        let updates = self.lock();
        updates.len() + self.under_way.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits::of(8, 2, Duration::from_secs(5))
    }

    #[test]
    fn limits_are_those_of_a_part() {
        let usual = Limits::of(3000, 8, Duration::from_secs(5));
        assert_eq!(
            (usual.flush_at, usual.wait_at, usual.refuse_at),
            (375, 562, 937)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_update_stands() {
        let part = Part::new(limits());
        let add = |progress| part.add("u", &[(0, 0), (0, 1)], progress);
        assert_eq!(add(1).await.map(|taken| taken.overwritten), Ok(0));
        assert_eq!(add(2).await.map(|taken| taken.overwritten), Ok(2));
        let taken = part.take(false);
        assert_eq!(taken.len(), 2);
        assert!(taken.values().all(|&progress| progress == 2));
        assert_eq!(part.pending(), 2);
        part.written(2);
        assert_eq!(part.pending(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_waits_for_room_and_not_for_ever() {
        let part = Part::new(limits());
        let goals: Vec<Place> = (0..6).map(|goal| (0, goal)).collect();
        part.add("a", &goals, 1).await.expect("there is room");
        let began = Instant::now();
        assert_eq!(part.add("b", &goals, 1).await, Err(Refusal::TimedOut));
        assert_eq!(began.elapsed(), Duration::from_secs(5));
        let waits = part.add("b", &goals, 1);
        let flush = async {
            tokio::task::yield_now().await;
            part.take(false).len()
        };
        let (taken, flushed) = tokio::join!(waits, flush);
        assert!(taken.is_ok_and(|taken| taken.waited) && flushed == 6);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_far_too_full_refuses_at_once() {
        let part = Part::new(limits());
        let goals: Vec<Place> = (0..10).map(|goal| (0, goal)).collect();
        part.add("a", &goals, 1).await.expect("there was room");
        let began = Instant::now();
        assert_eq!(part.add("b", &goals, 1).await, Err(Refusal::Full));
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
