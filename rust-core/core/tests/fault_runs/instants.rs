//! When releases take effect, and when their users go who go one after the other.

use barrier_core::ids::Phase;
use barrier_core::protocol::Why;

use crate::host::Process;
use crate::plan::{Plan, SPREAD_MS};
use crate::verdict::{Finding, Wrong};

/// Whoever arrived and hears of an instant of its own goes after the release and within the time; where the store forgot nothing,
/// in the order of the arrivals in its phase, one as far from the next as the other.
pub(crate) fn turns(plan: &Plan, processes: &[Process], found: &mut Vec<Finding>) {
    let span = SPREAD_MS * 1000;
    for (at, process) in processes.iter().enumerate() {
        let turns = process.heard().turns.clone();
        for (answered, instant) in turns {
            let Some(info) = process.barrier().release_info(answered.phase) else {
                continue; // it is too long ago
            };
            #[expect(clippy::cast_possible_truncation)] // whole microseconds
            let after = instant - (info.released_at * 1000.0).round() as i64;
            let n = i64::from(info.arrived);
            let before = arrivals_before(process, answered.phase).filter(|_| !plan.forgets());
            let place = before.map(|before| i64::from(answered.index) - before - 1);
            let own = place.filter(|place| (0..n).contains(place));
            if !(0..span).contains(&after) || own.is_some_and(|place| after != place * span / n) {
                let text = format!(
                    "process {at}: {answered:?}, {before:?} before, goes after {after} µs: {info:?}"
                );
                found.push((Wrong::Early, text));
            }
        }
    }
}

/// How many arrived in the phases before this one, where the process has heard of the releases of all of them.
fn arrivals_before(process: &Process, phase: Phase) -> Option<i64> {
    (0..phase.0)
        .map(Phase)
        .map(|earlier| {
            let info = process.barrier().release_info(earlier)?;
            (info.phase == earlier).then(|| i64::from(info.arrived))
        })
        .sum()
}

/// No phase that was complete takes effect before the instant that the options name, in ms since the epoch. What a server forgot
/// has no instant any more, as it has no counts.
pub(crate) fn not_before(release_at: u64, processes: &[Process], found: &mut Vec<Finding>) {
    for (at, process) in processes.iter().enumerate() {
        let released = process.heard().released.clone();
        for (phase, _) in released {
            let info = process.barrier().release_info(phase);
            let Some(info) = info.filter(|info| info.phase == phase) else {
                continue;
            };
            let complete = matches!(info.reason, Why::All | Why::Quorum);
            let lost = (info.arrived, info.failed_total, info.left) == (0, 0, 0);
            #[expect(clippy::cast_precision_loss)] // exact until the year 2255
            let early = info.server_released_at < release_at as f64;
            if complete && !lost && early {
                let text =
                    format!("process {at}: {info:?}, which was not to be before {release_at}");
                found.push((Wrong::Early, text));
            }
        }
    }
}
