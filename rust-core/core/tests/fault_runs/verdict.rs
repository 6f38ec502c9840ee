//! What was promised, compared with what the participants were told, phase by phase.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use barrier_core::ids::Phase;
use barrier_core::protocol::{Outcome, Why};
use barrier_core::session::Done;

use crate::host::{Ended, Made, Process};
use crate::plan::{Expiry, Plan};

/// In what way a run went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wrong {
    /// An outcome was counted twice, or a call was completed twice.
    Double,
    /// An outcome was not counted, or a call was not completed.
    Loss,
    /// Somebody waited past its deadline and the bound.
    Hang,
    /// A phase was released before all that was needed had been reported.
    Early,
    /// Two processes were told different things, or anything else that must not be.
    Other,
}

/// How many releases a process remembers at least.
const RELEASES_KEPT: u32 = 16;

/// What is wrong, and in words.
pub(crate) type Finding = (Wrong, String);

/// Time beyond its own limit that a call may take on a busy machine.
const SLACK: Duration = Duration::from_secs(5);

/// What the ledgers decided, as the callers were told.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    /// Per phase and participant, the outcome and when its report began.
    pub(crate) outcomes: BTreeMap<u32, BTreeMap<u32, (Outcome, Instant)>>,
    /// From which phase on participants have left, and when they said so.
    pub(crate) left: BTreeMap<u32, (u32, Instant)>,
    /// Outcomes of late participants.
    pub(crate) late: u64,
}

impl Truth {
    pub(crate) fn arrived(&self, phase: u32) -> BTreeSet<String> {
        self.of(phase)
            .filter(|(_, o)| **o == Outcome::Arrived)
            .map(|(n, _)| n.to_string())
            .collect()
    }

    pub(crate) fn failed(&self, phase: u32) -> BTreeMap<String, u32> {
        let mut by_reason = BTreeMap::new();
        for (_, outcome) in self.of(phase) {
            if let Outcome::Failed(reason) = outcome {
                *by_reason.entry(reason.as_str().to_owned()).or_default() += 1;
            }
        }
        by_reason
    }

    fn of(&self, phase: u32) -> impl Iterator<Item = (&u32, &Outcome)> {
        let phase = self.outcomes.get(&phase).into_iter().flatten();
        phase.map(|(n, (outcome, _))| (n, outcome))
    }

    pub(crate) fn left(&self, phase: u32) -> u32 {
        count(self.left.values().filter(|(from, _)| *from <= phase))
    }

    pub(crate) fn accounted(&self, phase: u32) -> u32 {
        count(self.of(phase)) + self.left(phase)
    }

    /// How many had begun to report by then, of all and of those who arrived.
    fn begun(&self, phase: u32, by: Instant) -> (u32, u32) {
        let of_phase = || self.outcomes.get(&phase).into_iter().flatten();
        let begun = of_phase().filter(|(_, (_, at))| *at <= by);
        let arrived = begun.clone().filter(|(_, (o, _))| *o == Outcome::Arrived);
        let left = self
            .left
            .values()
            .filter(|(from, at)| *from <= phase && *at <= by);
        (count(begun) + count(left), count(arrived))
    }
}

fn count(items: impl Iterator) -> u32 {
    u32::try_from(items.count()).expect("small")
}

/// Each call ended once, in time, and said what stands; what it said is the truth.
pub(crate) fn calls(plan: &Plan, processes: &[Process], found: &mut Vec<Finding>) -> Truth {
    let mut truth = Truth::default();
    let mut indices = HashMap::new();
    for (at, process) in processes.iter().enumerate() {
        let heard = process.heard();
        if !heard.twice.is_empty() {
            let text = format!("process {at} completed calls twice: {:?}", heard.twice);
            found.push((Wrong::Double, text));
        }
        let mut made = process.made();
        made.sort_by_key(|m| m.token);
        for call in &made {
            let Some(ended) = heard.ended.get(&call.token) else {
                found.push((Wrong::Hang, format!("process {at}: no end of {call:?}")));
                continue;
            };
            let took = ended.at.saturating_duration_since(call.at);
            if took > call.limit + SLACK {
                let text = format!("process {at}: {call:?} took {took:?}");
                found.push((Wrong::Hang, text));
            }
            first_outcome(plan, at, call, ended, &mut truth, found);
            if let Ok(Done::Outcome(a)) = &ended.result
                && a.first
                && a.outcome == Outcome::Arrived
                && a.index > 0
                && let Some(other) = indices.insert(a.index, call.participant)
                && !plan.faults.iter().any(|(_, f)| f.is_amnesia())
            {
                let text = format!(
                    "{:?} and {other:?} have index {}",
                    call.participant, a.index
                );
                found.push((Wrong::Double, text));
            }
        }
        // Only now is every first outcome known: repeats must have found it.
        for call in &made {
            if let Some(ended) = heard.ended.get(&call.token) {
                repeat(at, call, ended, &truth, found);
            }
        }
    }
    truth
}

fn first_outcome(
    plan: &Plan,
    at: usize,
    call: &Made,
    ended: &Ended,
    truth: &mut Truth,
    found: &mut Vec<Finding>,
) {
    let (Some(participant), Some(decision)) = (call.participant, &call.decision) else {
        return;
    };
    let told = match (&ended.result, &ended.standing) {
        (Ok(Done::Outcome(told)), None) | (Err(_), Some(told)) => told,
        // A break reaches callers whose outcome it overtook.
        (Err(_), None) if plan.abort => decision,
        other => {
            let text = format!("process {at}: {call:?} ended with {other:?}");
            found.push((Wrong::Loss, text));
            return;
        }
    };
    if told.first != decision.first {
        let text = format!("process {at}: {call:?} was told {told:?}");
        found.push((Wrong::Double, text));
    }
    if !decision.first {
        return;
    }
    let again = match told.outcome {
        Outcome::Left => truth
            .left
            .insert(participant, (told.phase.0, call.at))
            .is_some(),
        Outcome::Late => {
            truth.late += 1;
            if plan.exact() {
                let text = format!("{participant} is late: {told:?}, where all are waited for");
                found.push((Wrong::Loss, text));
            }
            false
        }
        _ => {
            if told.outcome != decision.outcome || told.phase != decision.phase {
                let text = format!("{participant}: {decision:?} turned into {told:?}");
                found.push((Wrong::Loss, text));
            }
            let phase = truth.outcomes.entry(told.phase.0).or_default();
            phase
                .insert(participant, (told.outcome.clone(), call.at))
                .is_some()
        }
    };
    if again {
        let text = format!("{participant} has two first outcomes: {told:?} is the second");
        found.push((Wrong::Double, text));
    }
}

fn repeat(at: usize, call: &Made, ended: &Ended, truth: &Truth, found: &mut Vec<Finding>) {
    let (Some(participant), Ok(Done::Outcome(told))) = (call.participant, &ended.result) else {
        return;
    };
    let stands = match told.outcome {
        Outcome::Late => return,
        Outcome::Left => truth.left.get(&participant).map(|_| &told.outcome),
        _ => truth
            .outcomes
            .get(&told.phase.0)
            .and_then(|phase| phase.get(&participant))
            .map(|(outcome, _)| outcome),
    };
    if stands != Some(&told.outcome) {
        let text = format!("process {at}: {call:?} was told {told:?}, but {stands:?} stands");
        found.push((Wrong::Loss, text));
    }
}

/// What became known of the releases of one run.
#[derive(Debug, Default)]
pub(crate) struct Releases {
    pub(crate) seen: u64,
    /// Releases whose counts were lost with the server's memory, as their processes were told.
    pub(crate) counts_lost: u64,
}

/// Every process saw each release once, in order, not early, and with the right counts.
pub(crate) fn releases(
    plan: &Plan,
    processes: &[Process],
    truth: &Truth,
    amnesia: bool,
    found: &mut Vec<Finding>,
) -> Releases {
    let mut releases = Releases::default();
    let mut agreed = BTreeMap::new();
    let broken = processes.iter().any(|p| p.heard().broken > 0);
    for (at, process) in processes.iter().enumerate() {
        // The engine tells its news under the barrier's lock: it must not be asked under that of the news.
        let (released, breaks, open) = {
            let heard = process.heard();
            (heard.released.clone(), heard.broken, heard.open())
        };
        if released.windows(2).any(|w| w[0].0 >= w[1].0) {
            let text = format!("process {at} was released out of order: {released:?}");
            found.push((Wrong::Double, text));
        }
        if breaks != u32::from(broken) || (broken && !plan.abort) {
            let text = format!("process {at} heard of {breaks} breaks, some did: {broken}");
            found.push((Wrong::Other, text));
        }
        let expected = if broken { 0 } else { plan.phases };
        if open < expected {
            let status = process.barrier().status();
            let text = format!("process {at} waits in phase {open} of {expected}; {status:?}");
            found.push((Wrong::Hang, text));
        }
        for (phase, instant) in &released {
            let Some(info) = process.barrier().release_info(*phase) else {
                found.push((Wrong::Other, format!("process {at}: no {phase:?}")));
                continue;
            };
            releases.seen += 1;
            if info.phase != *phase {
                // A process remembers the newest releases only.
                if phase.0 + RELEASES_KEPT >= open {
                    let text = format!("process {at}: {phase:?} is shown as {info:?}");
                    found.push((Wrong::Other, text));
                }
                continue;
            }
            let text = format!(
                "process {at} was told {info:?}, true is {}",
                show(truth, phase.0)
            );
            let lost = (info.arrived, info.failed_total, info.left) == (0, 0, 0)
                && info.reason != Why::Timeout;
            if lost {
                releases.counts_lost += 1;
                if !amnesia {
                    found.push((Wrong::Loss, text.clone()));
                }
            }
            let (begun, arrived) = truth.begun(phase.0, *instant);
            let early = match info.reason {
                Why::All => begun < plan.parties,
                Why::Quorum => {
                    let quorum = plan
                        .quorum
                        .map_or(u32::MAX, |q| q.arrivals(plan.parties, info.left));
                    arrived < quorum || (!lost && info.arrived < quorum)
                }
                Why::Timeout => !matches!(plan.expiry, Expiry::Release(_)),
                Why::Operator => true,
            };
            if early {
                found.push((Wrong::Early, format!("{text}; {begun} had begun to report")));
            }
            if !lost {
                found.extend(wrong_counts(plan, truth, phase.0, &info).map(|w| (w, text.clone())));
            }
            let counts = (
                info.reason,
                info.arrived,
                info.failed,
                info.left,
                info.phase,
            );
            let others = agreed.entry(phase.0).or_insert_with(|| counts.clone());
            if *others != counts && !amnesia {
                found.push((Wrong::Other, format!("{text}; another process: {others:?}")));
            }
        }
    }
    releases
}

fn show(truth: &Truth, phase: u32) -> String {
    let (arrived, failed) = (truth.arrived(phase).len(), truth.failed(phase));
    format!(
        "{arrived} arrived, failed {failed:?}, {} left",
        truth.left(phase)
    )
}

fn wrong_counts(
    plan: &Plan,
    truth: &Truth,
    phase: u32,
    info: &barrier_core::engine::ReleaseInfo,
) -> Option<Wrong> {
    let arrived = count(truth.arrived(phase).iter());
    let failed = truth.failed(phase);
    let left = truth.left(phase);
    let too_many = |reason: &String, n: &u32| *n > failed.get(reason).copied().unwrap_or(0);
    if info.arrived > arrived
        || info.left > left
        || info.failed.iter().any(|(reason, n)| too_many(reason, n))
    {
        return Some(Wrong::Double);
    }
    let same = (info.arrived, &info.failed, info.left) == (arrived, &failed, left);
    (plan.exact() && !same).then_some(Wrong::Loss)
}

/// The phase that is open in the end is not over, and all others are.
pub(crate) fn open_phase(plan: &Plan, process: &Process, truth: &Truth) -> Option<Finding> {
    let open = process.heard().open();
    let full = truth.accounted(open) >= plan.parties;
    (plan.exact() && plan.cyclic() && full).then(|| {
        let text = format!("all are accounted for in {}, which is open", Phase(open));
        (Wrong::Hang, text)
    })
}
