//! What a process knows of a barrier without asking its store, in the shape that the host passes on as JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::clock::StoreClock;
use crate::ids::Phase;
use crate::options::{BarrierOptions, StoreAddress};
use crate::protocol::{BreakKind, Broken, Release, Why};

use super::state::State;

pub(in crate::engine) fn ms(micros: i64) -> f64 {
    // Exact until the year 2255.
    #[expect(clippy::cast_precision_loss)]
    let micros = micros as f64;
    micros / 1000.0
}

/// What broke a barrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum BrokenBy {
    /// Somebody called `abort`.
    Abort,
    /// More failed than `maxFailures` allows.
    MaxFailures,
    /// A wait expired and the barrier's `onTimeout` is `abort`.
    Timeout,
    /// A bug of the core, in this process alone.
    Bug,
}

/// How a barrier broke.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BrokenInfo {
    /// What broke it.
    pub reason: BrokenBy,
    /// In whose words.
    pub message: String,
    /// The phase that was open.
    pub phase: Phase,
    /// When, in ms since the epoch on the store's clock.
    pub at: f64,
}

impl BrokenInfo {
    pub(in crate::engine) fn of(broken: &Broken) -> Self {
        Self {
            reason: match broken.kind {
                BreakKind::Abort => BrokenBy::Abort,
                BreakKind::MaxFailures => BrokenBy::MaxFailures,
                BreakKind::Timeout => BrokenBy::Timeout,
            },
            message: broken.message.clone(),
            phase: broken.phase,
            at: ms(broken.at.0),
        }
    }
}

/// What a process knows of a barrier without asking its store. Counts are those of the open phase; of a one-shot barrier, of its only one.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The barrier's name.
    pub name: String,
    /// The run.
    pub run_id: Option<String>,
    /// `memory` or `redis`.
    pub store: &'static str,
    /// How many are expected.
    pub parties: u32,
    /// The open phase; 0 for a one-shot barrier.
    pub phase: Phase,
    /// How many arrived.
    pub arrived: u32,
    /// How many failed, by reason.
    pub failed: BTreeMap<String, u32>,
    /// How many failed.
    pub failed_total: u32,
    /// How many have left.
    pub left: u32,
    /// How many came late, in all phases.
    pub late: u32,
    /// Phases that are released, the newest 16.
    pub released: Vec<Phase>,
    /// The newest release, where its instant lies ahead; as if it had been heard of just now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coming: Option<ReleaseInfo>,
    /// Instant of the newest release, in ms since the epoch on this process's clock.
    pub released_at: Option<f64>,
    /// The same on the store's clock.
    pub server_released_at: Option<f64>,
    /// When this process heard of it, counted from that instant, in ms: below 0 before.
    pub received_ms: Option<f64>,
    /// How the barrier broke, if it did.
    pub broken: Option<BrokenInfo>,
    /// Processes that are registered in the store.
    pub processes: u32,
    /// Whether the store answers.
    pub connected: bool,
    /// What is wrong with the store, if anything.
    pub trouble: Option<String>,
    /// How far the store's clock may be off as seen from here, in ms.
    pub clock_bound_ms: Option<f64>,
    /// How long a message takes from the store, with the clock's error, in ms.
    pub push_latency_ms: Option<f64>,
    /// The record's incarnation.
    pub incarnation: Option<String>,
}

impl Status {
    pub(super) fn of(
        state: &State,
        options: &BarrierOptions,
        clock: Option<&StoreClock>,
        coming: Option<ReleaseInfo>,
    ) -> Self {
        let session = &state.session;
        let counts = session.counts();
        let (late, _, processes) = session.tally();
        let newest = state.fired.values().next_back();
        let now = std::time::Instant::now();
        let redis = options.store != StoreAddress::Memory;
        Self {
            name: options.name.to_string(),
            run_id: options.run_id.as_ref().map(ToString::to_string),
            store: if redis { "redis" } else { "memory" },
            parties: session.parties(),
            phase: if options.shared.cyclic {
                session.ledger().open()
            } else {
                Phase(0)
            },
            arrived: counts.arrived,
            failed: counts.failed.clone(),
            failed_total: counts.failed_total(),
            left: counts.left,
            late,
            released: state.fired.keys().copied().collect(),
            coming,
            released_at: newest.map(|r| r.released_at),
            server_released_at: newest.map(|r| r.server_released_at),
            received_ms: newest.map(|r| r.received_ms),
            broken: session
                .broken()
                .map(BrokenInfo::of)
                .or_else(|| state.bug.clone()),
            processes,
            connected: session.is_live(),
            trouble: state.trouble.clone(),
            clock_bound_ms: clock.and_then(|c| c.bound(now)).map(|m| ms(m.0)),
            push_latency_ms: clock.and_then(|c| c.push_latency(now)).map(|m| ms(m.0)),
            incarnation: session.incarnation().map(ToString::to_string),
        }
    }
}

/// How a phase was released.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseInfo {
    /// The phase.
    pub phase: Phase,
    /// Why.
    pub reason: Why,
    /// How many had arrived.
    pub arrived: u32,
    /// How many had failed, by reason.
    pub failed: BTreeMap<String, u32>,
    /// How many had failed.
    pub failed_total: u32,
    /// How many had left.
    pub left: u32,
    /// How many were expected.
    pub parties: u32,
    /// The instant, in ms since the epoch on this process's clock.
    pub released_at: f64,
    /// The same on the store's clock.
    pub server_released_at: f64,
    /// Between decision and instant, in ms.
    pub delay_ms: f64,
    /// When this process heard of it, counted from the instant, in ms: below 0 before.
    pub received_ms: f64,
}

impl ReleaseInfo {
    /// Of a release whose instant was `at` and that was heard of at `received`, both in microseconds since the epoch on this
    /// process's clock.
    pub(super) fn of(release: &Release, at: i64, received: i64, parties: u32) -> Self {
        Self {
            phase: release.phase,
            reason: release.why,
            arrived: release.counts.arrived,
            failed: release.counts.failed.clone(),
            failed_total: release.counts.failed_total(),
            left: release.counts.left,
            parties,
            released_at: ms(at),
            server_released_at: ms(release.at.0.saturating_add(release.delay.0)),
            delay_ms: ms(release.delay.0),
            received_ms: ms(received - at),
        }
    }
}
