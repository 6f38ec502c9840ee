//! What a handler counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};

use super::buffer::Taken;
use crate::admin::PoolGauges;
use crate::database::Counts;

/// Upper bounds of how long flushes take, in seconds.
const BOUNDS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// The counters of an event handler.
pub(super) struct Metrics {
    registry: Registry,
    pool: PoolGauges,
    pending: Gauge,
    flush_seconds: Histogram,
    /// The longest flush so far, in microseconds.
    longest: AtomicU64,
    /// Events that came.
    pub(super) received: Counter,
    /// Events that lack something.
    pub(super) malformed: Counter,
    /// Events of another namespace.
    pub(super) ignored: Counter,
    accepted: Counter,
    waited: Counter,
    refused: Counter,
    acknowledged_falsely: Counter,
    buffered: Counter,
    overwritten: Counter,
    dropped: Counter,
    flushes: Counter,
    rows: Counter,
    changed: Counter,
    /// Flushes that the database refused.
    pub(super) flush_failures: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let received = counter("events_received", "Events that came");
        let malformed = counter("events_malformed", "Events that lack something");
        let ignored = counter("events_ignored", "Events of another namespace");
        let accepted = counter("events_buffered", "Events whose updates were buffered");
        let waited = counter("events_waited", "Events that waited for room in the buffer");
        let refused = counter("events_refused", "Events whose updates were not buffered");
        let acknowledged_falsely = counter(
            "events_acknowledged_falsely",
            "Events whose updates were not buffered, and which were acknowledged all the same",
        );
        let buffered = counter("goal_updates_buffered", "Updates that were buffered");
        let overwritten = counter(
            "goal_updates_overwritten",
            "Updates in whose place a newer one was written",
        );
        let dropped = counter(
            "goal_updates_dropped",
            "Updates of events that were refused",
        );
        let flushes = counter("flushes", "Flushes");
        let rows = counter("flush_rows", "Updates that were written");
        let changed = counter("flush_rows_changed", "Rows that these changed");
        let flush_failures = counter("flush_failures", "Flushes that the database refused");
        let flush_seconds = Histogram::new(BOUNDS);
        registry.register(
            "flush_duration_seconds",
            "Of flushes",
            flush_seconds.clone(),
        );
        let pending = Gauge::default();
        registry.register(
            "goal_updates_pending",
            "Updates that are not written yet",
            pending.clone(),
        );
        let pool = PoolGauges::of(&mut registry);
        Self {
            registry,
            pool,
            pending,
            flush_seconds,
            longest: AtomicU64::new(0),
            received,
            malformed,
            ignored,
            accepted,
            waited,
            refused,
            acknowledged_falsely,
            buffered,
            overwritten,
            dropped,
            flushes,
            rows,
            changed,
            flush_failures,
        }
    }
}

impl Metrics {
    /// An event's updates were buffered.
    pub(super) fn taken(&self, updates: usize, taken: Taken) {
        self.accepted.inc();
        self.waited.inc_by(u64::from(taken.waited));
        self.buffered.inc_by(updates as u64);
        self.overwritten.inc_by(taken.overwritten as u64);
    }

    /// An event's updates were not.
    pub(super) fn refused(&self, updates: usize, falsely: bool) {
        self.refused.inc();
        self.acknowledged_falsely.inc_by(u64::from(falsely));
        self.dropped.inc_by(updates as u64);
    }

    /// A flush was written.
    pub(super) fn flushed(&self, rows: usize, changed: u64, took: Duration) {
        self.flushes.inc();
        self.rows.inc_by(rows as u64);
        self.changed.inc_by(changed);
        self.flush_seconds.observe(took.as_secs_f64());
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.longest.fetch_max(micros, Ordering::Relaxed);
    }

    /// Everything in the text format of OpenMetrics.
    pub(super) fn text(&self, pending: usize, pool: Counts) -> String {
        self.pending.set(i64::try_from(pending).unwrap_or(i64::MAX));
        self.pool.set(pool);
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a String takes whatever is written to it");
        text
    }

    /// The counts as JSON, for a harness that reconciles them with the database.
    pub(super) fn counts(&self, pending: usize) -> Value {
        json!({
            "eventsReceived": self.received.get(),
            "eventsMalformed": self.malformed.get(),
            "eventsIgnored": self.ignored.get(),
            "eventsBuffered": self.accepted.get(),
            "eventsWaited": self.waited.get(),
            "eventsRefused": self.refused.get(),
            "eventsAcknowledgedFalsely": self.acknowledged_falsely.get(),
            "updatesBuffered": self.buffered.get(),
            "updatesOverwritten": self.overwritten.get(),
            "updatesDropped": self.dropped.get(),
            "updatesPending": pending,
            "flushes": self.flushes.get(),
            "flushFailures": self.flush_failures.get(),
            "flushRows": self.rows.get(),
            "flushRowsChanged": self.changed.get(),
            "longestFlushMs": self.longest.load(Ordering::Relaxed).div_ceil(1000),
        })
    }
}
