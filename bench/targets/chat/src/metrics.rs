//! What is counted, as `/metrics` and `/counters` tell it.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};

/// What [`Metrics::text`] is.
pub(crate) const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of how long answers take, in seconds.
const BOUNDS: [f64; 11] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

type Level = Gauge<f64, AtomicU64>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Endpoint {
    endpoint: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    endpoint: String,
    code: u16,
}

/// Which way a frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Way {
    direction: &'static str,
}

impl Way {
    pub(crate) const IN: Self = Self { direction: "in" };
    pub(crate) const OUT: Self = Self { direction: "out" };
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Source {
    source: &'static str,
}

/// The counters of a chat service.
pub(crate) struct Metrics {
    /// Everything but the loop, which can be left out.
    registry: Registry,
    of_loop: Registry,
    hz: Level,
    frequency: Family<Source, Level>,
    error_rate: Level,
    answers: Family<Answer, Counter>,
    seconds: Family<Endpoint, Histogram>,
    frames: Family<Way, Counter>,
    /// Ticks of the loop.
    pub(crate) ticks: Counter,
    /// Reads of `/metrics`.
    pub(crate) reads: Counter,
    /// Streams that are open.
    pub(crate) open: Gauge,
    /// Streams that were opened.
    pub(crate) upgrades: Counter,
    /// Upgrades that were answered with 403.
    pub(crate) refused: Counter,
    /// Streams that broke off on purpose.
    pub(crate) cut: Counter,
    /// Messages that ask for a reply.
    pub(crate) messages: Counter,
    /// Messages that were answered by an error frame on purpose.
    pub(crate) errors: Counter,
    /// Chunks that were sent.
    pub(crate) chunks: Counter,
    /// Chunks that were left out on purpose.
    pub(crate) dropped: Counter,
    /// Replies that were sent to their end.
    pub(crate) replies: Counter,
    /// Frames that could not be read as a message.
    pub(crate) bad_frames: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let reads = counter("metrics_reads", "Reads of the metrics");
        let upgrades = counter("websocket_upgrades", "Streams that were opened");
        let refused = counter("websocket_refused", "Upgrades that were answered with 403");
        let cut = counter("websocket_cut", "Streams that broke off on purpose");
        let messages = counter("chat_messages", "Messages that ask for a reply");
        let errors = counter(
            "chat_errors",
            "Messages that were answered by an error frame on purpose",
        );
        let chunks = counter("chat_chunks", "Chunks that were sent");
        let dropped = counter(
            "chat_chunks_dropped",
            "Chunks that were left out on purpose",
        );
        let replies = counter("chat_replies", "Replies that were sent to their end");
        let bad_frames = counter("chat_bad_frames", "Frames that could not be read");
        let open = Gauge::default();
        registry.register(
            "websocket_connections",
            "Streams that are open",
            open.clone(),
        );
        let frames = Family::<Way, Counter>::default();
        registry.register(
            "websocket_messages",
            "Text frames, received and sent",
            frames.clone(),
        );
        let error_rate = Level::default();
        registry.register(
            "chat_error_rate",
            "Share of the messages that were answered by an error frame",
            error_rate.clone(),
        );
        let answers = Family::<Answer, Counter>::default();
        registry.register("http_requests", "Answers over HTTP", answers.clone());
        let seconds =
            Family::<Endpoint, Histogram>::new_with_constructor(|| Histogram::new(BOUNDS));
        registry.register(
            "http_request_duration_seconds",
            "From a request to the head of its answer",
            seconds.clone(),
        );

        let mut of_loop = Registry::default();
        let hz = Level::default();
        let told = "Ticks of the loop in the last full second";
        of_loop.register("backend_loop_hz", told, hz.clone());
        of_loop.register("consciousness_loop_hz", told, hz.clone());
        // Scripts look for a name, a pair of braces and a number, so that its help must have no braces.
        let frequency = Family::<Source, Level>::default();
        of_loop.register("loop_frequency", told, frequency.clone());
        let ticks = Counter::default();
        of_loop.register("backend_loop_ticks", "Ticks of the loop", ticks.clone());
        Self {
            registry,
            of_loop,
            hz,
            frequency,
            error_rate,
            answers,
            seconds,
            frames,
            ticks,
            reads,
            open,
            upgrades,
            refused,
            cut,
            messages,
            errors,
            chunks,
            dropped,
            replies,
            bad_frames,
        }
    }
}

impl Metrics {
    /// One text frame went by.
    pub(crate) fn frame(&self, way: Way) {
        self.frames.get_or_create(&way).inc();
    }

    /// A request was answered.
    pub(crate) fn answered(&self, endpoint: &str, code: StatusCode, took: Duration) {
        let endpoint = endpoint.to_owned();
        let of = Endpoint {
            endpoint: endpoint.clone(),
        };
        self.seconds.get_or_create(&of).observe(took.as_secs_f64());
        let code = code.as_u16();
        self.answers.get_or_create(&Answer { endpoint, code }).inc();
    }

    /// Everything in the text format of OpenMetrics; without a pace, nothing of the loop.
    pub(crate) fn text(&self, hz: Option<f64>) -> String {
        let (messages, errors) = (self.messages.get(), self.errors.get());
        self.error_rate.set(errors as f64 / messages.max(1) as f64);
        let mut text = String::with_capacity(8 * 1024);
        let mut encode = || {
            if let Some(hz) = hz {
                self.hz.set(hz);
                let source = Source { source: "backend" };
                self.frequency.get_or_create(&source).set(hz);
                encode_registry(&mut text, &self.of_loop)?;
            }
            encode_registry(&mut text, &self.registry)?;
            encode_eof(&mut text)
        };
        encode().expect("a String takes whatever is written to it");
        text
    }

    /// The counts alone, for whoever does not want to be counted as a reader of `/metrics`.
    pub(crate) fn counts(&self) -> Value {
        json!({
            "metricsReads": self.reads.get(),
            "loopTicks": self.ticks.get(),
            "openStreams": self.open.get(),
            "upgrades": self.upgrades.get(),
            "refusedUpgrades": self.refused.get(),
            "cutStreams": self.cut.get(),
            "messages": self.messages.get(),
            "replies": self.replies.get(),
            "chunks": self.chunks.get(),
            "droppedChunks": self.dropped.get(),
            "errors": self.errors.get(),
            "badFrames": self.bad_frames.get(),
        })
    }
}
