//! What a service counts.

use std::time::Duration;

use axum::http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::admin::PoolGauges;
use crate::database::Counts;

/// Upper bounds of how long answers take, in seconds.
const BOUNDS: [f64; 11] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Endpoint {
    endpoint: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    endpoint: String,
    code: u16,
}

/// The counters of a service.
pub(super) struct Metrics {
    registry: Registry,
    pool: PoolGauges,
    answers: Family<Answer, Counter>,
    seconds: Family<Endpoint, Histogram>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let answers = Family::<Answer, Counter>::default();
        registry.register("http_requests", "Answers over HTTP", answers.clone());
        let seconds =
            Family::<Endpoint, Histogram>::new_with_constructor(|| Histogram::new(BOUNDS));
        registry.register(
            "http_request_duration_seconds",
            "From a request to the head of its answer",
            seconds.clone(),
        );
        let pool = PoolGauges::of(&mut registry);
        Self {
            registry,
            pool,
            answers,
            seconds,
        }
    }
}

impl Metrics {
    /// A request was answered.
    pub(super) fn answered(&self, endpoint: String, code: StatusCode, took: Duration) {
        let of = Endpoint {
            endpoint: endpoint.clone(),
        };
        self.seconds.get_or_create(&of).observe(took.as_secs_f64());
        let code = code.as_u16();
        self.answers.get_or_create(&Answer { endpoint, code }).inc();
    }

    /// Everything in the text format of OpenMetrics.
    pub(super) fn text(&self, pool: Counts) -> String {
        self.pool.set(pool);
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a String takes whatever is written to it");
        text
    }
}
