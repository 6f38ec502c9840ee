//! The task that writes a part of the buffer, again and again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use super::app::App;
use super::buffer::{Part, Updates};
use crate::database::Update;

/// From a flush that failed to the next try.
const RETRY: Duration = Duration::from_millis(100);
/// What is left at the end is tried to be written so often.
const LAST_TRIES: u32 = 10;

/// Flushes a part at every interval, and before where it is full; at the end, all that is left.
///
/// One after another, so that an older update never comes after a newer one. While one is being written, nothing is taken: a slow
/// database fills the buffer. What a stall holds back is taken all the same, and waits here.
pub(super) async fn run(app: Arc<App>, number: usize, part: Arc<Part>) {
    let mut ticker = tokio::time::interval(app.config.flush_interval);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut waiting: VecDeque<(Instant, Updates)> = VecDeque::new();
    // The oldest was refused by the database: the buffer fills until it goes on.
    let mut failing = false;
    while !app.stop.is_cancelled() {
        let due = waiting.front().map(|(due, _)| *due);
        tokio::select! {
            _ = ticker.tick() => {}
            () = part.full.notified(), if !failing => {}
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            () = app.stop.cancelled() => {}
        }
        if !failing {
            let (stall, wake_one) = app
                .faults
                .with(|faults| (faults.flush_stall, faults.wake_one));
            let updates = part.take(wake_one);
            if !updates.is_empty() {
                waiting.push_back((Instant::now() + stall, updates));
            }
        }
        while let Some((due, updates)) = waiting.pop_front() {
            if due > Instant::now() {
                waiting.push_front((due, updates));
                break;
            }
            failing = !write(&app, number, &part, &updates).await;
            if failing {
                waiting.push_front((Instant::now() + RETRY, updates));
                break;
            }
        }
    }
    waiting.push_back((Instant::now(), part.take(false)));
    let mut tries = 0;
    while let Some((_, updates)) = waiting.front() {
        if updates.is_empty() || write(&app, number, &part, updates).await {
            waiting.pop_front();
        } else if tries < LAST_TRIES {
            tries += 1;
            tokio::time::sleep(RETRY).await;
        } else {
            let lost: usize = waiting.iter().map(|(_, updates)| updates.len()).sum();
            tracing::error!(
                partition = number,
                updates = lost,
                "buffer not flushed at the end; these are lost"
            );
            return;
        }
    }
}

/// Writes updates. Returns whether that went well.
async fn write(app: &App, number: usize, part: &Part, updates: &Updates) -> bool {
    let updates_as_rows = updates.iter().map(|((user, place), progress)| {
        let (challenge, goal) = app.config.index.goal(*place);
        Update {
            user,
            goal: &goal.goal_id,
            challenge: &challenge.challenge_id,
            progress: *progress,
            target: goal.requirement.target_value,
        }
    });
    let slow = app.faults.with(|faults| faults.slow_statement);
    let lines = crate::database::lines(&app.config.namespace, updates_as_rows);
    let pool = app.pool.get();
    let began = std::time::Instant::now();
    let written = crate::database::write(&pool, app.config.mode, &lines, slow).await;
    let took = began.elapsed();
    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    match written {
        Ok(changed) => {
            part.written(updates.len());
            app.metrics.flushed(updates.len(), changed, took);
            tracing::info!(
                partition = number,
                rows = updates.len(),
                changed,
                ms,
                "buffer flush"
            );
            true
        }
        Err(error) => {
            app.metrics.flush_failures.inc();
            tracing::error!(partition = number, rows = updates.len(), ms, %error, "buffer flush failed; trying again");
            false
        }
    }
}
