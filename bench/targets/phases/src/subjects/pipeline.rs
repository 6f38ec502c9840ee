//! Phase 7, ingestion and jobs: stages that hold each other up instead of piling up events, and a queue of jobs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use target_kit::Share;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::answer::{Answer, Failure, asked, batch, refused, resident, unavailable, within};
use crate::app::App;
use crate::measure::Durations;

const PHASE: u8 = 7;
/// Events that may be between two stages.
const BETWEEN: usize = 500;
/// Events that are written together.
const BATCH: usize = 100;
const PRODUCERS: usize = 4;
const MOST_EVENTS: u64 = 10_000_000;
/// Jobs at once.
const WORKERS: usize = 10;
const MOST_WORK_MS: u64 = 1000;
/// Events of an overload, and how long a batch takes then: capacity is a tenth of what producers send.
const OVERLOAD: u64 = 20_000;
const SLOW_BATCH: Duration = Duration::from_millis(2);

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/phase/07/events", post(events))
        .route("/phase/07/overload", post(overload))
        .route("/phase/07/jobs", post(jobs))
}

#[derive(Debug, Clone, Copy)]
struct Event {
    number: u64,
    produced: Instant,
}

/// How events are handled.
#[derive(Debug, Clone, Copy)]
struct Course {
    events: u64,
    /// Between two stages there may be so many.
    between: usize,
    lose: Share,
    /// How long a batch takes.
    batch: Duration,
}

/// What became of the events.
#[derive(Debug, Default)]
struct Outcome {
    durations: Durations,
    handled: u64,
    /// The sum of the numbers: what gets lost cannot be made up for by what is handled twice.
    sum: u64,
    most_waiting: u64,
    /// From the end of the last producer until all is handled.
    drained: Duration,
}

impl Outcome {
    fn lost(&self, events: u64) -> u64 {
        let right = events * (events + 1) / 2;
        let missing = events.saturating_sub(self.handled);
        if missing == 0 && self.sum != right {
            1
        } else {
            missing
        }
    }
}

/// Producers, a stage that looks at each event, and one that writes them in batches.
async fn run(course: Course) -> Result<Outcome, Failure> {
    let (produce, mut taken) = mpsc::channel::<Event>(course.between);
    let (process, mut processed) = mpsc::channel::<Event>(course.between);
    let waiting = Arc::new(AtomicU64::new(0));
    let most = Arc::new(AtomicU64::new(0));
    let mut producers = JoinSet::new();
    for producer in (1..=course.events).take(PRODUCERS) {
        let (produce, waiting, most) = (produce.clone(), Arc::clone(&waiting), Arc::clone(&most));
        producers.spawn(async move {
            for number in (producer..=course.events).step_by(PRODUCERS) {
                let Ok(place) = produce.reserve().await else {
                    return;
                };
                let now = waiting.fetch_add(1, Ordering::Relaxed) + 1;
                most.fetch_max(now, Ordering::Relaxed);
                place.send(Event {
                    number,
                    produced: Instant::now(),
                });
            }
        });
    }
    drop(produce);
    let stage = tokio::spawn(async move {
        while let Some(event) = taken.recv().await {
            waiting.fetch_sub(1, Ordering::Relaxed);
            let number = u32::try_from(event.number).unwrap_or(u32::MAX);
            if !course.lose.hits(number) && process.send(event).await.is_err() {
                return;
            }
        }
    });
    let write = tokio::spawn(async move {
        let mut outcome = Outcome::default();
        let mut events = Vec::with_capacity(BATCH);
        while processed.recv_many(&mut events, BATCH).await > 0 {
            if !course.batch.is_zero() {
                tokio::time::sleep(course.batch).await;
            }
            for event in events.drain(..) {
                outcome.durations.record(event.produced.elapsed());
                outcome.handled += 1;
                outcome.sum += event.number;
            }
        }
        outcome
    });
    while producers.join_next().await.is_some() {}
    let produced = Instant::now();
    let broke = |error: tokio::task::JoinError| unavailable(format!("a stage broke off: {error}"));
    stage.await.map_err(broke)?;
    let mut outcome = write.await.map_err(broke)?;
    outcome.drained = produced.elapsed();
    outcome.most_waiting = most.load(Ordering::Relaxed);
    Ok(outcome)
}

/// Runs the course, and tells how it went.
async fn told(app: &App, what: &'static str, events: u64, batch: Duration) -> Answer {
    let (unbounded, lose) = app
        .faults
        .with(|faults| (faults.unbounded_queue, faults.lose_events));
    let between = if unbounded {
        Semaphore::MAX_PERMITS
    } else {
        BETWEEN
    };
    let began = Instant::now();
    let outcome = run(Course {
        events,
        between,
        lose,
        batch,
    })
    .await?;
    let lost = outcome.lost(events);
    app.stats.count(PHASE, "lost_events", lost);
    app.stats
        .most(PHASE, "events_waiting", outcome.most_waiting);
    let mut answer = app.stats.batch(PHASE, what, &outcome.durations, began)?;
    answer["lost"] = json!(lost);
    answer["most_waiting"] = json!(outcome.most_waiting);
    answer["bound"] = json!(BETWEEN);
    answer["drained_ms"] = json!(outcome.drained.as_secs_f64() * 1000.0);
    Ok(Json(answer))
}

async fn events(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let events = batch(&body, 100_000)?;
    told(&app, "event", events, Duration::ZERO).await
}

/// Producers that would send far more than can be handled.
async fn overload(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let events = within("n", batch(&body, OVERLOAD)?, 10 * OVERLOAD)?;
    told(&app, "overload", events, SLOW_BATCH).await
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Jobs {
    n: u64,
    work_ms: u64,
}

impl Default for Jobs {
    fn default() -> Self {
        Self {
            n: 2000,
            work_ms: 1,
        }
    }
}

/// Jobs that are all there at once: from being put into the queue to being done.
async fn jobs(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let Jobs { n, work_ms } = asked(&body)?;
    let n = within("n", n, MOST_EVENTS)?;
    if work_ms > MOST_WORK_MS {
        return Err(refused(format!(
            "work_ms: got {work_ms}; 0 to {MOST_WORK_MS} is allowed"
        )));
    }
    let work = Duration::from_millis(work_ms);
    let began = Instant::now();
    let (queue, jobs) = mpsc::unbounded_channel();
    for _ in 0..n {
        let _ = queue.send(Instant::now());
    }
    drop(queue);
    // They all wait: no more memory is taken later.
    app.stats.most(PHASE, "job_memory_bytes", resident());
    let jobs = Arc::new(tokio::sync::Mutex::new(jobs));
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        let jobs = Arc::clone(&jobs);
        workers.spawn(async move {
            let mut durations = Durations::default();
            loop {
                let Some(put) = jobs.lock().await.recv().await else {
                    return durations;
                };
                if !work.is_zero() {
                    tokio::time::sleep(work).await;
                }
                durations.record(put.elapsed());
            }
        });
    }
    let mut durations = Durations::default();
    while let Some(worker) = workers.join_next().await {
        let worker = worker.map_err(|error| unavailable(error.to_string()))?;
        durations.add(&worker);
    }
    let told: Value = app.stats.batch(PHASE, "job", &durations, began)?;
    Ok(Json(told))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course(between: usize, lose: Share, batch: Duration) -> Course {
        Course {
            events: 2000,
            between,
            lose,
            batch,
        }
    }

    #[tokio::test]
    async fn all_events_come_through_and_few_wait() {
        let outcome = run(course(10, Share::None, Duration::from_millis(1))).await;
        let outcome = outcome.expect("it runs");
        assert_eq!((outcome.handled, outcome.lost(2000)), (2000, 0));
        // What is in the channel, and what is reserved or just taken out.
        assert!(
            outcome.most_waiting <= 11 + PRODUCERS as u64,
            "{}",
            outcome.most_waiting
        );
    }

    #[tokio::test]
    async fn without_a_bound_events_pile_up_and_lost_ones_are_missed() {
        let lose = "1%".parse().expect("a share");
        let course = course(Semaphore::MAX_PERMITS, lose, Duration::from_millis(1));
        let outcome = run(course).await.expect("it runs");
        assert_eq!(outcome.lost(2000), 20);
        let again = Outcome {
            handled: 3,
            sum: 7,
            ..Outcome::default()
        };
        assert_eq!(
            again.lost(3),
            1,
            "one was handled twice in place of another"
        );
    }
}
