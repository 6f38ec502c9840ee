//! A barrier as an operator sees it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::engine::barrier::{BrokenInfo, ms};
use crate::ids::{BarrierName, Phase, RunId};
use crate::options::Quorum;
use crate::protocol::{Release, Why};
use crate::spread::Timetable;
use crate::store::redis::Look;

/// Where a barrier stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Standing {
    Open,
    Released,
    Broken,
}

/// How a phase was released.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct ReleaseView {
    phase: Phase,
    reason: Why,
    arrived: u32,
    failed: BTreeMap<String, u32>,
    left: u32,
    /// The instant, in ms since the epoch on the server's clock.
    at: f64,
    /// When the last user goes, where they go one after the other.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_at: Option<f64>,
}

/// A barrier as an operator sees it; times are ms since the epoch on the server's clock.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct View {
    run_id: String,
    name: String,
    state: Standing,
    parties: u32,
    cyclic: bool,
    /// Arrivals that release a phase, where fewer than all do.
    quorum: Option<u32>,
    phase: Phase,
    arrived: u32,
    failed: BTreeMap<String, u32>,
    failed_total: u32,
    left: u32,
    late: u32,
    missing: u32,
    /// Of those who are missing, where they were asked for and can be named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) missing_ids: Option<Vec<Arc<str>>>,
    /// Since when it is in this state and phase.
    since: Option<f64>,
    newest_release: Option<ReleaseView>,
    broken: Option<BrokenInfo>,
    processes: u32,
    /// When a process was heard of last.
    heard_at: Option<f64>,
    /// How long the record lives if nobody writes any more.
    ttl_ms: Option<u64>,
    now: f64,
}

/// In microseconds since the epoch on the server's clock.
const fn instant(release: &Release) -> i64 {
    release.at.0.saturating_add(release.delay.0)
}

/// Users go with it: those who arrived, or those of whom the store has lost count. A time-out may release nobody at all.
fn lets_go(release: &Release) -> bool {
    let counts = &release.counts;
    let none = counts.failed_total() == 0 && counts.left == 0;
    counts.arrived > 0 || none && matches!(release.why, Why::All | Why::Quorum)
}

impl View {
    pub(super) fn of(run: &RunId, name: &BarrierName, look: &Look) -> Self {
        let options = &look.options;
        let over = !options.cyclic && look.open > Phase(0);
        let state = match (&look.broken, over) {
            (Some(_), _) => Standing::Broken,
            (None, true) => Standing::Released,
            (None, false) => Standing::Open,
        };
        let since = match state {
            Standing::Broken => look.broken.as_ref().map(|b| ms(b.at.0)),
            // The open phase began when the one before it was released.
            _ => look
                .newest
                .as_ref()
                .map(|release| ms(instant(release)))
                .or_else(|| look.since.map(|t| ms(t.0))),
        };
        Self {
            run_id: run.to_string(),
            name: name.to_string(),
            state,
            parties: options.parties.of(&look.counts, look.owing),
            cyclic: options.cyclic,
            quorum: options
                .release
                .zip(options.parties.fixed())
                .map(|(rule, parties): (Quorum, u32)| rule.arrivals(parties, look.counts.left)),
            phase: if options.cyclic { look.open } else { Phase(0) },
            arrived: look.counts.arrived,
            failed: look.counts.failed.clone(),
            failed_total: look.counts.failed_total(),
            left: look.counts.left,
            late: look.late,
            missing: options.parties.missing(&look.counts, look.owing),
            missing_ids: None,
            since,
            newest_release: look.newest.as_ref().map(|release| ReleaseView {
                phase: release.phase,
                reason: release.why,
                arrived: release.counts.arrived,
                failed: release.counts.failed.clone(),
                left: release.counts.left,
                at: ms(instant(release)),
                last_at: options.spread.filter(|_| lets_go(release)).map(|spread| {
                    let parties = options.parties.of(&release.counts, 0);
                    ms(Timetable::new(spread, release, instant(release), parties).last())
                }),
            }),
            broken: look.broken.as_ref().map(BrokenInfo::of),
            processes: look.processes,
            heard_at: look.heard.map(|t| ms(t.0)),
            ttl_ms: look.ttl_ms,
            now: ms(look.now.0),
        }
    }
}
