//! Phase 4, names and fleets: a registry of names, and workers that come and go.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use dashmap::DashMap;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::answer::{Answer, batch, busy, micros, resident, unavailable, within};
use crate::app::App;
use crate::measure::{Durations, goes_on};

const PHASE: u8 = 4;
/// Names that are always there to be looked up.
const NAMES: u64 = 10_000;
/// Workers of one sweep.
const MOST_SWEPT: u64 = 100_000;
/// How long workers may take to end that nobody knows any more.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/phase/04/lookup", post(lookup))
        .route("/phase/04/workers", post(workers))
        .route("/phase/04/sweep", post(sweep))
        .route("/phase/04/memory", post(memory))
}

/// A worker by its address: whoever drops it lets it end.
type Worker = mpsc::Sender<oneshot::Sender<u64>>;

/// Names and whom they lead to.
pub(crate) struct Registry(DashMap<String, Worker>);

impl Default for Registry {
    fn default() -> Self {
        let (nobody, _) = mpsc::channel(1);
        let names = (0..NAMES).map(|number| (name(number), nobody.clone()));
        Self(names.collect())
    }
}

fn name(number: u64) -> String {
    format!("worker_{number}")
}

/// A worker that tells its number until nobody knows it any more.
fn worker(number: u64, workers: &mut JoinSet<()>) -> Worker {
    let (address, mut mailbox) = mpsc::channel::<oneshot::Sender<u64>>(1);
    workers.spawn(async move {
        while let Some(reply) = mailbox.recv().await {
            let _ = reply.send(number);
        }
    });
    address
}

async fn tell(worker: &Worker) -> Option<u64> {
    let (reply, told) = oneshot::channel();
    worker.send(reply).await.ok()?;
    told.await.ok()
}

fn wait_busily(delay: Duration) {
    if !delay.is_zero() {
        std::thread::sleep(delay);
    }
}

async fn lookup(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let count = batch(&body, 1_000_000)?;
    let began = Instant::now();
    let for_work = Arc::clone(&app);
    let (durations, missed) = busy(move || {
        let delay = for_work.faults.with(|faults| faults.lookup_delay);
        let names: Vec<String> = (0..NAMES).map(name).collect();
        let (mut durations, mut missed) = (Durations::default(), 0_u64);
        for (nth, name) in (0..count).zip(names.iter().cycle()) {
            if !goes_on(nth, began, delay) {
                break;
            }
            let began = Instant::now();
            let found = for_work.registry.0.get(name).is_some();
            wait_busily(delay);
            durations.record(began.elapsed());
            missed += u64::from(!found);
            debug_assert!(nth < count);
        }
        (durations, missed)
    })
    .await?;
    app.stats.count(PHASE, "missed_names", missed);
    let mut told = app.stats.batch(PHASE, "lookup", &durations, began)?;
    told["missed"] = json!(missed);
    Ok(Json(told))
}

/// A worker is started, registered, found by its name, asked, and ended; one operation is all of that.
async fn workers(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let count = batch(&body, 10_000)?;
    let began = Instant::now();
    let mut durations = Durations::default();
    let mut started = JoinSet::new();
    let mut wrong = 0_u64;
    for number in NAMES..NAMES + count {
        let began = Instant::now();
        app.registry
            .0
            .insert(name(number), worker(number, &mut started));
        durations.record(began.elapsed());
        let found = app
            .registry
            .0
            .get(&name(number))
            .map(|entry| entry.value().clone());
        let told = match &found {
            Some(worker) => tell(worker).await,
            None => None,
        };
        wrong += u64::from(told != Some(number));
        app.registry.0.remove(&name(number));
        // Those that have ended need not be kept.
        while started.try_join_next().is_some() {}
    }
    // Whoever nobody knows any more ends by itself, and that is waited for.
    while started.join_next().await.is_some() {}
    app.stats.count(PHASE, "wrong_workers", wrong);
    let mut told = app.stats.batch(PHASE, "spawn", &durations, began)?;
    told["wrong"] = json!(wrong);
    Ok(Json(told))
}

/// How long it takes to end a whole fleet, until the last one has gone.
async fn sweep(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let count = within("n", batch(&body, 1000)?, MOST_SWEPT)?;
    let fleet: Vec<u64> = (2 * NAMES..2 * NAMES + count).collect();
    let mut workers = JoinSet::new();
    for &number in &fleet {
        let worker = worker(number, &mut workers);
        app.registry.0.insert(name(number), worker);
    }
    let began = Instant::now();
    for &number in &fleet {
        app.registry.0.remove(&name(number));
    }
    // Until the last one has gone; one that somebody still knows would not.
    let gone = async { while workers.join_next().await.is_some() {} };
    if tokio::time::timeout(ENDS_WITHIN, gone).await.is_err() {
        let left = workers.len();
        return Err(unavailable(format!("{left} workers are still known")));
    }
    let took = began.elapsed();
    app.stats.record(PHASE, "sweep", took);
    Ok(Json(
        json!({ "ok": true, "n": count, "elapsed_us": micros(took) }),
    ))
}

/// The growth of resident memory by so many names, and what 10,000 of them take of it.
async fn memory(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let count = batch(&body, 100_000)?;
    let began = Instant::now();
    let growth = busy(move || {
        let before = resident();
        let (nobody, _) = mpsc::channel(1);
        let names: DashMap<String, Worker> = (0..count)
            .map(|number| (name(number), nobody.clone()))
            .collect();
        let growth = resident().saturating_sub(before);
        drop(names);
        growth
    })
    .await?;
    app.stats.most(PHASE, "memory_growth_bytes", growth);
    let per_10k = growth as f64 * 10_000.0 / count as f64 / 1e6;
    let elapsed = micros(began.elapsed());
    Ok(Json(
        json!({ "ok": true, "n": count, "mb_per_10k": per_10k, "elapsed_us": elapsed }),
    ))
}
