//! How long a target's answers took, as the target itself saw it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// Durations up to this long are told apart; longer ones count as this.
const LONGEST: Duration = Duration::from_secs(3600);

/// Decimal digits that a duration keeps.
const DIGITS: u8 = 3;

/// A recorder of latencies, by the name of what took so long. Copies record into the same.
#[derive(Debug, Clone, Default)]
pub struct Latencies {
    // A std mutex: it is held for one entry, without an await.
    recorded: Arc<Mutex<BTreeMap<String, Histogram<u64>>>>,
}

impl Latencies {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Histogram<u64>>> {
        // No code that holds the lock can leave the map half changed.
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one duration.
    pub fn record(&self, what: &str, took: Duration) {
        let mut recorded = self.lock();
        if !recorded.contains_key(what) {
            recorded.insert(what.to_owned(), empty());
        }
        if let Some(histogram) = recorded.get_mut(what) {
            histogram.saturating_record(micros(took).max(1));
        }
    }

    /// The router, with the time from each request to the head of its answer recorded under its method and route, such as
    /// `GET /api/v1/events/{event}`.
    pub fn of<S>(&self, router: Router<S>) -> Router<S>
    where
        S: Clone + Send + Sync + 'static,
    {
        router.route_layer(middleware::from_fn_with_state(self.clone(), timed))
    }

    /// Serves what was recorded at `GET /latencies`: for each name `count`, `minMs`, `meanMs`, `p50Ms`, `p90Ms`, `p95Ms`,
    /// `p99Ms` and `maxMs`.
    pub fn routes<S>(&self) -> Router<S>
    where
        S: Clone + Send + Sync + 'static,
    {
        let latencies = self.clone();
        Router::new().route(
            "/latencies",
            get(move || async move { Json(latencies.summary()) }),
        )
    }

    fn summary(&self) -> BTreeMap<String, Value> {
        let recorded = self.lock();
        let summaries = recorded
            .iter()
            .map(|(what, histogram)| (what.clone(), summary_of(histogram)));
        summaries.collect()
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn empty() -> Histogram<u64> {
    let empty = Histogram::new_with_bounds(1, micros(LONGEST), DIGITS);
    empty.expect("bounds and digits are within what a histogram allows")
}

async fn timed(
    State(latencies): State<Latencies>,
    route: MatchedPath,
    request: Request,
    next: Next,
) -> Response {
    let what = format!("{} {}", request.method(), route.as_str());
    let started = Instant::now();
    let response = next.run(request).await;
    latencies.record(&what, started.elapsed());
    response
}

fn summary_of(histogram: &Histogram<u64>) -> Value {
    // An hour of microseconds fits, and becomes a fraction without a cast.
    let ms = |micros: u64| f64::from(u32::try_from(micros).unwrap_or(u32::MAX)) / 1000.0;
    let quantile = |share: f64| ms(histogram.value_at_quantile(share));
    json!({
        "count": histogram.len(),
        "minMs": ms(histogram.min()),
        "meanMs": histogram.mean().round() / 1000.0,
        "p50Ms": quantile(0.5),
        "p90Ms": quantile(0.9),
        "p95Ms": quantile(0.95),
        "p99Ms": quantile(0.99),
        "maxMs": ms(histogram.max()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_what_was_recorded() {
        let latencies = Latencies::default();
        for ms in 1..=100 {
            latencies.clone().record("calls", Duration::from_millis(ms));
        }
        latencies.record("rare", Duration::from_secs(24 * 3600));
        latencies.record("rare", Duration::ZERO);
        let summary = latencies.summary();
        let value = |what: &str, field: &str| summary[what][field].as_f64().expect("a number");
        let near = |field: &str, ms: f64| {
            let value = value("calls", field);
            assert!((value - ms).abs() <= ms / 500.0, "{field}: {value}");
        };
        assert_eq!(summary["calls"]["count"], 100);
        for (field, ms) in [
            ("minMs", 1.0),
            ("meanMs", 50.5),
            ("p50Ms", 50.0),
            ("p90Ms", 90.0),
            ("p95Ms", 95.0),
            ("p99Ms", 99.0),
            ("maxMs", 100.0),
        ] {
            near(field, ms);
        }
        assert_eq!(summary["rare"]["count"], 2);
        assert!(value("rare", "maxMs") >= 3_590_000.0);
    }
}
