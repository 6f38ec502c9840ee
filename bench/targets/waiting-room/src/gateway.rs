//! What stands between users and services: a hop that takes time, and connections that are not without end.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use target_kit::Switches;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::Faults;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that holds these locks can leave them half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A service that does so many things at once, each of which takes time.
#[derive(Debug)]
pub(crate) struct Line {
    lanes: NonZeroUsize,
    /// When those that are in use will be free.
    free_at: Mutex<BinaryHeap<Reverse<Instant>>>,
}

impl Line {
    pub(crate) fn new(lanes: NonZeroUsize) -> Self {
        Self {
            lanes,
            free_at: Mutex::default(),
        }
    }

    /// Waits for a lane to be free, then for `time`.
    pub(crate) async fn pass(&self, time: Duration) {
        if time.is_zero() {
            return;
        }
        // By the clock, not by sleeping for each: timers wake late, and lateness must not add up along the line.
        let done = {
            let mut free_at = locked(&self.free_at);
            let now = Instant::now();
            let first = if free_at.len() < self.lanes.get() {
                None
            } else {
                free_at.pop()
            };
            let done = first.map_or(now, |Reverse(free)| free.max(now)) + time;
            free_at.push(Reverse(done));
            done
        };
        tokio::time::sleep_until(done).await;
    }
}

/// Connections that a limit may be set to while they are in use.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    in_use: Mutex<u64>,
    freed: Notify,
}

/// A connection in use.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Pool>);

impl Pool {
    /// Takes a connection, waiting for one if all that the fault `connections` allows are in use. `None` after `patience`.
    pub(crate) async fn take(
        self: &Arc<Self>,
        faults: &Switches<Faults>,
        patience: Duration,
    ) -> Option<Permit> {
        let limit = || faults.with(|faults| faults.connections);
        if let Some(permit) = self.try_take(limit()) {
            return Some(permit);
        }
        let taken = async {
            let mut changes = faults.changes();
            loop {
                let freed = self.freed.notified();
                if let Some(permit) = self.try_take(limit()) {
                    return permit;
                }
                tokio::select! {
                    () = freed => {}
                    // The limit may have been lifted. An error would mean that there are no switches any more.
                    _ = changes.changed() => {}
                }
            }
        };
        tokio::time::timeout(patience, taken).await.ok()
    }

    fn try_take(self: &Arc<Self>, limit: Option<u64>) -> Option<Permit> {
        let mut in_use = locked(&self.in_use);
        if limit.is_some_and(|limit| *in_use >= limit) {
            return None;
        }
        *in_use += 1;
        Some(Permit(Arc::clone(self)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *locked(&self.0.in_use) -= 1;
        self.0.freed.notify_one();
    }
}

/// A body that holds its connection until it has been sent, or its client is gone.
struct Held {
    body: Body,
    _permit: Permit,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// The answer, whose body holds the connection.
pub(crate) fn holding(permit: Permit, response: Response) -> Response {
    response.map(|body| {
        Body::new(Held {
            body,
            _permit: permit,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn those_in_line_wait_for_a_free_lane() {
        for (lanes, expected) in [(1, (9, 18, 27)), (2, (9, 9, 18)), (3, (9, 9, 9))] {
            let line = Line::new(NonZeroUsize::new(lanes).expect("a lane"));
            let started = Instant::now();
            let pass = async || {
                line.pass(Duration::from_millis(9)).await;
                started.elapsed().as_millis()
            };
            assert_eq!(tokio::join!(pass(), pass(), pass()), expected);
            tokio::time::sleep_until(started + Duration::from_secs(1)).await;
            assert_eq!(pass().await, 1009, "nobody is ahead any more");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn connections_are_waited_for_and_the_limit_can_be_lifted() {
        let faults = Switches::<Faults>::default();
        let set = |limit: serde_json::Value| {
            let changed = faults.change([("connections".to_owned(), limit)].into_iter().collect());
            changed.expect("fault is known");
        };
        set(1.into());
        let pool = Arc::new(Pool::default());
        let patience = Duration::from_secs(30);
        let take = async || pool.take(&faults, patience).await;
        let first = take().await.expect("one is free");
        let started = Instant::now();
        assert!(take().await.is_none());
        assert_eq!(started.elapsed(), patience);

        let (freed, ()) = tokio::join!(take(), async { drop(first) });
        assert!(freed.is_some());
        let (lifted, ()) = tokio::join!(take(), async { set(serde_json::Value::Null) });
        assert!(lifted.is_some());
    }
}
