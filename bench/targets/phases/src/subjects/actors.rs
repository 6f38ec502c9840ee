//! Phase 2, processes and mailboxes: a process is a task, its mailbox a channel.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use dashmap::DashMap;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use crate::answer::{Answer, asked, batch, micros, unavailable};
use crate::app::App;
use crate::measure::{Durations, goes_on};

const PHASE: u8 = 2;
/// A mailbox holds so many messages; whoever sends more waits.
const MAILBOX: usize = 1024;
/// Messages that a selective receive looks through.
const SCANNED: u32 = 1000;

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/api/kv/put", post(put))
        .route("/phase/02/message", post(message))
        .route("/phase/02/spawn", post(spawn))
        .route("/phase/02/mailbox", post(mailbox))
        .route("/phase/02/monitor", post(monitor))
}

#[derive(Debug, Default, Deserialize)]
struct Pair {
    key: String,
    value: String,
}

/// A pair is taken by the process that has all pairs.
async fn put(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let Pair { key, value } = asked(&body)?;
    let began = Instant::now();
    let (reply, taken) = oneshot::channel();
    let sent = app.pairs.send(Put { key, value, reply }).await;
    let gone = || unavailable("the process that has the pairs has ended");
    sent.map_err(|_| gone())?;
    let pairs = taken.await.map_err(|_| gone())?;
    app.stats.record(PHASE, "put", began.elapsed());
    Ok(Json(
        json!({ "ok": true, "pairs": pairs, "elapsed_us": micros(began.elapsed()) }),
    ))
}

/// A message to the process that has all pairs.
pub(crate) struct Put {
    key: String,
    value: String,
    reply: oneshot::Sender<usize>,
}

/// The process that has all pairs. It ends when nobody can send to it any more.
pub(crate) fn pairs() -> mpsc::Sender<Put> {
    let (sender, mut mailbox) = mpsc::channel::<Put>(MAILBOX);
    tokio::spawn(async move {
        let pairs = DashMap::new();
        while let Some(Put { key, value, reply }) = mailbox.recv().await {
            pairs.insert(key, value);
            // Whoever asked may have gone.
            let _ = reply.send(pairs.len());
        }
    });
    sender
}

/// From the sending of a message until the other process has it in its hands, one after another.
async fn message(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let count = batch(&body, 100_000)?;
    let delay = app.faults.with(|faults| faults.message_delay);
    let began = Instant::now();
    let (sender, mut mailbox) = mpsc::channel::<(Instant, oneshot::Sender<()>)>(MAILBOX);
    let receiver = tokio::spawn(async move {
        let mut durations = Durations::default();
        while let Some((sent, reply)) = mailbox.recv().await {
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            durations.record(sent.elapsed());
            let _ = reply.send(());
        }
        durations
    });
    let sending = tokio::spawn(async move {
        for nth in 0..count {
            if !goes_on(nth, began, delay) {
                break;
            }
            let (reply, received) = oneshot::channel();
            if sender.send((Instant::now(), reply)).await.is_err() || received.await.is_err() {
                break;
            }
        }
    });
    sending
        .await
        .map_err(|error| unavailable(error.to_string()))?;
    let durations = receiver
        .await
        .map_err(|error| unavailable(error.to_string()))?;
    Ok(Json(app.stats.batch(PHASE, "message", &durations, began)?))
}

/// From asking for a process until it runs.
async fn spawn(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let count = batch(&body, 20_000)?;
    let began = Instant::now();
    let spawning = tokio::spawn(async move {
        let mut durations = Durations::default();
        for _ in 0..count {
            let asked = Instant::now();
            if let Ok(took) = tokio::spawn(async move { asked.elapsed() }).await {
                durations.record(took);
            }
        }
        durations
    });
    let durations = spawning
        .await
        .map_err(|error| unavailable(error.to_string()))?;
    Ok(Json(app.stats.batch(PHASE, "spawn", &durations, began)?))
}

/// A process that takes what it waits for out of a full mailbox, and leaves the rest in order.
fn scan(mailbox: &mut VecDeque<u32>, wanted: u32) -> Option<u32> {
    let at = mailbox.iter().position(|&message| message == wanted)?;
    mailbox.remove(at)
}

async fn mailbox(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let count = batch(&body, 1000)?;
    let began = Instant::now();
    let mut durations = Durations::default();
    for _ in 0..count {
        let (sender, mut waiting) = mpsc::channel(MAILBOX);
        for message in 0..SCANNED {
            let _ = sender.try_send(message);
        }
        let began = Instant::now();
        let mut saved = VecDeque::new();
        while let Ok(message) = waiting.try_recv() {
            saved.push_back(message);
        }
        // The last one: all others are looked at, and stay.
        let found = scan(&mut saved, SCANNED - 1);
        durations.record(began.elapsed());
        let lost = found.is_none() || saved.len() + 1 != SCANNED as usize;
        // Also where none is: that is told, and not concluded from nothing being said.
        app.stats.count(PHASE, "lost_messages", u64::from(lost));
        tokio::task::yield_now().await;
    }
    Ok(Json(app.stats.batch(
        PHASE,
        "mailbox_scan",
        &durations,
        began,
    )?))
}

/// From asking to be told of a process's end until it is certain that one will be.
async fn monitor(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let count = batch(&body, 20_000)?;
    let began = Instant::now();
    let mut durations = Durations::default();
    let mut told = 0;
    for _ in 0..count {
        let (end, ended) = oneshot::channel::<()>();
        let process = tokio::spawn(async move {
            let _ = ended.await;
        });
        let asked = Instant::now();
        let monitor = tokio::spawn(process);
        durations.record(asked.elapsed());
        let _ = end.send(());
        told += u64::from(monitor.await.is_ok_and(|ended| ended.is_ok()));
    }
    app.stats.count(PHASE, "ends_told", told);
    Ok(Json(app.stats.batch(PHASE, "monitor", &durations, began)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_waited_for_stays_in_order() {
        let mut mailbox = VecDeque::from([1, 2, 3]);
        assert_eq!(scan(&mut mailbox, 2), Some(2));
        assert_eq!(scan(&mut mailbox, 7), None);
        assert_eq!(mailbox, [1, 3]);
    }
}
