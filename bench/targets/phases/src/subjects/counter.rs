//! Phase 3, a server under supervision: a counter with a mailbox, and a supervisor that starts it again when it dies.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use target_kit::{Stop, Switches};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::answer::{Answer, Failure, asked, batch, failure, micros, unavailable, within};
use crate::app::App;
use crate::faults::Faults;
use crate::measure::Durations;

const PHASE: u8 = 3;
/// Messages that may wait; more are refused.
const MAILBOX: usize = 10_000;
/// Crashes of one batch.
const MOST_CRASHES: u64 = 1000;
/// Whoever waits so long for a restart gives up.
const RESTART_LIMIT: Duration = Duration::from_secs(30);

pub(crate) fn routes() -> Router<Arc<App>> {
    let call = || post(increment);
    Router::new()
        .route("/api/counter/increment", call())
        .route("/phase/03/call", call())
        .route("/api/counter/increment_async", post(increment_later))
        .route("/phase/03/cast", post(increment_later))
        .route("/api/counter/kill", post(kill))
        .route("/phase/03/kill", post(kill))
        .route("/api/counter/health", get(health))
        .route("/phase/03/casts", post(casts))
        .route("/phase/03/crash", post(crash))
}

struct Add {
    amount: i64,
    reply: Option<oneshot::Sender<i64>>,
}

/// The counter that runs now.
#[derive(Clone)]
struct Running {
    incarnation: u64,
    mailbox: mpsc::Sender<Add>,
    killed: Stop,
}

/// The counter, whoever runs it at the moment.
#[derive(Clone)]
pub(crate) struct Counter {
    running: watch::Sender<Option<Running>>,
    starts: Arc<AtomicU64>,
}

impl Counter {
    /// Starts it and its supervisor, which ends with the set that it is spawned into.
    pub(crate) fn start(supervisors: &mut JoinSet<()>, faults: Switches<Faults>) -> Self {
        let counter = Self {
            running: watch::Sender::new(None),
            starts: Arc::default(),
        };
        let mut processes = JoinSet::new();
        counter.spawn(&mut processes);
        supervisors.spawn(counter.clone().supervise(processes, faults));
        counter
    }

    fn spawn(&self, processes: &mut JoinSet<()>) {
        let (mailbox, waiting) = mpsc::channel(MAILBOX);
        let running = Running {
            incarnation: self.starts.fetch_add(1, Ordering::Relaxed) + 1,
            mailbox,
            killed: Stop::new(),
        };
        processes.spawn(count(waiting, running.killed.clone()));
        self.running.send_replace(Some(running));
    }

    /// One for one, without a limit: what dies is started again.
    async fn supervise(self, mut processes: JoinSet<()>, faults: Switches<Faults>) {
        while processes.join_next().await.is_some() {
            self.running.send_replace(None);
            let delay = faults.with(|faults| faults.restart_delay);
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            self.spawn(&mut processes);
        }
    }

    fn current(&self) -> Result<Running, Failure> {
        let running = self.running.borrow().clone();
        running.ok_or_else(|| unavailable("the counter is being started again"))
    }

    fn depth(&self) -> usize {
        let running = self.running.borrow();
        running.as_ref().map_or(0, |running| {
            running.mailbox.max_capacity() - running.mailbox.capacity()
        })
    }

    fn send(&self, add: Add) -> Result<(), Failure> {
        let sent = self.current()?.mailbox.try_send(add);
        sent.map_err(|_| unavailable("the mailbox of the counter is full, or it has just ended"))
    }

    /// Adds, and waits for the sum.
    pub(crate) async fn call(&self, amount: i64) -> Result<i64, Failure> {
        let (reply, sum) = oneshot::channel();
        let reply = Some(reply);
        self.send(Add { amount, reply })?;
        let sum = sum.await;
        sum.map_err(|_| unavailable("the counter ended before it answered"))
    }

    /// Ends the one that runs now. When this returns, nobody is running until a restart.
    fn kill(&self) -> Option<u64> {
        let mut killed = None;
        self.running.send_modify(|running| {
            if let Some(running) = running.take() {
                running.killed.cancel();
                killed = Some(running.incarnation);
            }
        });
        killed
    }

    /// Waits for one that was started after this one.
    async fn after(&self, incarnation: u64) -> bool {
        let mut changes = self.running.subscribe();
        let later = changes.wait_for(|running| {
            running
                .as_ref()
                .is_some_and(|running| running.incarnation > incarnation)
        });
        matches!(tokio::time::timeout(RESTART_LIMIT, later).await, Ok(Ok(_)))
    }
}

/// The counter's process. It dies as one that panics, without what a panic prints.
async fn count(mut mailbox: mpsc::Receiver<Add>, killed: Stop) {
    let mut sum = 0;
    loop {
        let add = tokio::select! {
            biased;
            () = killed.cancelled() => std::panic::resume_unwind(Box::new("killed")),
            add = mailbox.recv() => add,
        };
        let Some(Add { amount, reply }) = add else {
            return;
        };
        sum += amount;
        if let Some(reply) = reply {
            // Whoever asked may have gone.
            let _ = reply.send(sum);
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct Amount {
    amount: i64,
}

impl Default for Amount {
    fn default() -> Self {
        Self { amount: 1 }
    }
}

/// The answer, with the depth of the mailbox.
fn with_depth(app: &App, status: StatusCode, told: Value) -> Response {
    let depth = app.counter.depth();
    app.stats.most(PHASE, "mailbox_depth", depth as u64);
    (status, [("X-Mailbox-Depth", depth.to_string())], Json(told)).into_response()
}

async fn increment(State(app): State<Arc<App>>, body: Bytes) -> Result<Response, Failure> {
    let Amount { amount } = asked(&body)?;
    let began = Instant::now();
    let value = app.counter.call(amount).await?;
    app.stats.record(PHASE, "call", began.elapsed());
    let told = json!({ "ok": true, "value": value, "elapsed_us": micros(began.elapsed()) });
    Ok(with_depth(&app, StatusCode::OK, told))
}

async fn increment_later(State(app): State<Arc<App>>, body: Bytes) -> Result<Response, Failure> {
    let Amount { amount } = asked(&body)?;
    let began = Instant::now();
    app.counter.send(Add {
        amount,
        reply: None,
    })?;
    app.stats.record(PHASE, "cast", began.elapsed());
    let told = json!({ "ok": true, "elapsed_us": micros(began.elapsed()) });
    Ok(with_depth(&app, StatusCode::ACCEPTED, told))
}

/// What casting costs who casts.
async fn casts(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let count = batch(&body, 50_000)?;
    let began = Instant::now();
    let mut durations = Durations::default();
    for _ in 0..count {
        let mailbox = app.counter.current()?.mailbox;
        let add = Add {
            amount: 1,
            reply: None,
        };
        let began = Instant::now();
        // A full mailbox holds up who casts, and that counts.
        let sent = mailbox.send(add).await;
        durations.record(began.elapsed());
        sent.map_err(|_| unavailable("the counter has just ended"))?;
    }
    Ok(Json(app.stats.batch(PHASE, "cast", &durations, began)?))
}

async fn kill(State(app): State<Arc<App>>) -> Result<Response, Failure> {
    let killed = app.counter.kill();
    let killed = killed.ok_or_else(|| failure(StatusCode::CONFLICT, "no counter is running"))?;
    app.stats.count(PHASE, "kills", 1);
    let told = json!({ "ok": true, "incarnation": killed });
    Ok((StatusCode::ACCEPTED, Json(told)).into_response())
}

async fn health(State(app): State<Arc<App>>) -> Answer {
    let running = app.counter.current()?;
    Ok(Json(
        json!({ "ok": true, "status": "UP", "incarnation": running.incarnation }),
    ))
}

/// Ends the counter again and again: how long it takes until the next good call.
async fn crash(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let times = within("n", batch(&body, 10)?, MOST_CRASHES)?;
    let began = Instant::now();
    let mut durations = Durations::default();
    for _ in 0..times {
        let began = Instant::now();
        let killed = app.counter.kill();
        let killed =
            killed.ok_or_else(|| failure(StatusCode::CONFLICT, "no counter is running"))?;
        app.stats.count(PHASE, "kills", 1);
        if !app.counter.after(killed).await {
            return Err(unavailable("the counter was not started again"));
        }
        app.counter.call(0).await?;
        durations.record(began.elapsed());
    }
    Ok(Json(app.stats.batch(PHASE, "recovery", &durations, began)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_killed_counter_is_down_at_once_and_then_another_one() {
        let mut supervisors = JoinSet::new();
        let faults = Switches::new(Faults::default());
        let counter = Counter::start(&mut supervisors, faults);
        assert_eq!(counter.call(5).await.expect("it runs"), 5);
        assert_eq!(counter.call(2).await.expect("it runs"), 7);
        assert_eq!(counter.kill(), Some(1));
        assert!(counter.current().is_err() && counter.kill().is_none());
        assert!(counter.after(1).await);
        // State dies with its process.
        assert_eq!(counter.call(1).await.expect("it runs"), 1);
    }
}
