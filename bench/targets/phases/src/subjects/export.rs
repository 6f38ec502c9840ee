//! Phase 10, observability: what exporting metrics costs, an objective that is tracked, and an alert.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::answer::{Answer, Failure, asked, failure, micros, within};
use crate::app::App;

const PHASE: u8 = 10;
/// The share of requests that have to succeed.
const OBJECTIVE: f64 = 0.999;
/// How often the objective is looked at, and of how many requests it is meaningful.
const EVALUATED_EVERY: Duration = Duration::from_millis(500);
const MEANINGFUL: u64 = 100;
const MOST: u64 = 1_000_000;

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/metrics", get(text))
        .route("/phase/10/work", post(work))
        .route("/phase/10/export", post(switch))
        .route("/phase/10/drill", post(drill))
        .route("/phase/10/slo", get(slo))
}

/// Requests that succeeded or failed, and the alert that they raise.
#[derive(Debug, Default)]
struct Objective {
    good: u64,
    bad: u64,
    firing_since: Option<Instant>,
}

impl Objective {
    fn availability(&self) -> Option<f64> {
        let all = self.good + self.bad;
        (all > 0).then(|| self.good as f64 / all as f64)
    }

    fn broken(&self) -> bool {
        let enough = self.good + self.bad >= MEANINGFUL;
        enough && self.availability().is_some_and(|share| share < OBJECTIVE)
    }

    fn evaluate(&mut self, quiet: bool) {
        self.firing_since = match self.firing_since {
            _ if quiet || !self.broken() => None,
            Some(since) => Some(since),
            None => Some(Instant::now()),
        };
    }

    fn told(&self) -> Value {
        json!({
            "availability": self.availability(), "requests": self.good + self.bad, "failed": self.bad,
            "objective": OBJECTIVE, "firing": self.firing_since.is_some(),
        })
    }
}

/// What is exported, if it is, and the objectives: of the requests, and of a drill that is apart from them.
pub(crate) struct Export {
    on: AtomicBool,
    registry: Registry,
    requests: Counter,
    durations: Histogram,
    count: AtomicU32,
    // Std mutexes: they are held for a few additions, without an await.
    requests_slo: Mutex<Objective>,
    drill_slo: Mutex<Objective>,
}

impl Default for Export {
    fn default() -> Self {
        let mut registry = Registry::default();
        let requests = Counter::default();
        let durations = Histogram::new(exponential_buckets(1e-6, 4.0, 12));
        registry.register(
            "phase_10_requests",
            "Requests of the phase",
            requests.clone(),
        );
        registry.register(
            "phase_10_duration_seconds",
            "What they took",
            durations.clone(),
        );
        Self {
            on: AtomicBool::new(true),
            registry,
            requests,
            durations,
            count: AtomicU32::default(),
            requests_slo: Mutex::default(),
            drill_slo: Mutex::default(),
        }
    }
}

impl Export {
    fn with<T>(objective: &Mutex<Objective>, change: impl FnOnce(&mut Objective) -> T) -> T {
        // No code that holds the lock can leave an objective half changed.
        change(&mut objective.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Looks at the objectives again and again.
pub(crate) async fn evaluate(app: Arc<App>) {
    let mut rounds = target_kit::Rounds::default();
    loop {
        rounds.next(EVALUATED_EVERY).await;
        let quiet = app.faults.with(|faults| faults.no_alert);
        for objective in [&app.export.requests_slo, &app.export.drill_slo] {
            Export::with(objective, |objective| objective.evaluate(quiet));
        }
    }
}

async fn text(State(app): State<Arc<App>>) -> Response {
    let mut text = String::new();
    match encode(&mut text, &app.export.registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => failure(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// A request whose work is always the same; its metrics are exported, or not.
async fn work(State(app): State<Arc<App>>) -> Answer {
    let began = Instant::now();
    let export = &app.export;
    let mut sum = 0_u64;
    for number in 0..1000_u64 {
        sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(number));
    }
    let on = export.on.load(Ordering::Relaxed);
    if on {
        export.requests.inc();
        export.durations.observe(began.elapsed().as_secs_f64());
        let delay = app.faults.with(|faults| faults.export_delay);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
    }
    let number = export.count.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
    let failed = app.faults.with(|faults| faults.fail_share.hits(number));
    Export::with(&export.requests_slo, |slo| {
        slo.good += u64::from(!failed);
        slo.bad += u64::from(failed);
    });
    if failed {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        return Err(failure(status, "failed because the fault fail-share is on"));
    }
    let took = began.elapsed();
    app.stats.record(PHASE, if on { "on" } else { "off" }, took);
    Ok(Json(
        json!({ "ok": true, "export": on, "sum": sum, "elapsed_us": micros(took) }),
    ))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Switch {
    on: bool,
}

impl Default for Switch {
    fn default() -> Self {
        Self { on: true }
    }
}

async fn switch(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let Switch { on } = asked(&body)?;
    app.export.on.store(on, Ordering::Relaxed);
    Ok(Json(json!({ "ok": true, "export": on })))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Drill {
    good: u64,
    bad: u64,
}

/// Requests that are made up, to see an alert: with nothing to add, the drill begins anew.
async fn drill(State(app): State<Arc<App>>, body: Bytes) -> Result<Response, Failure> {
    let Drill { good, bad } = asked(&body)?;
    if good + bad > 0 {
        within("good + bad", good.saturating_add(bad), MOST)?;
    }
    let told = Export::with(&app.export.drill_slo, |slo| {
        if good + bad == 0 {
            *slo = Objective::default();
        }
        slo.good += good;
        slo.bad += bad;
        slo.told()
    });
    Ok((
        StatusCode::ACCEPTED,
        Json(json!({ "ok": true, "drill": told })),
    )
        .into_response())
}

async fn slo(State(app): State<Arc<App>>) -> Json<Value> {
    let told = |objective| Export::with(objective, |slo: &mut Objective| slo.told());
    let export = &app.export;
    Json(json!({
        "ok": true, "export": export.on.load(Ordering::Relaxed), "exported": export.requests.get(),
        "requests": told(&export.requests_slo), "drill": told(&export.drill_slo),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_fires_while_the_objective_is_missed() {
        let mut slo = Objective {
            good: 98,
            bad: 1,
            ..Objective::default()
        };
        slo.evaluate(false);
        assert!(slo.firing_since.is_none(), "too few to say anything");
        slo.good += 1;
        slo.evaluate(false);
        assert!(slo.firing_since.is_some());
        slo.evaluate(true);
        assert!(slo.firing_since.is_none(), "quiet");
        slo.good += 10_000;
        slo.evaluate(false);
        assert!(slo.firing_since.is_none(), "it holds again");
    }
}
