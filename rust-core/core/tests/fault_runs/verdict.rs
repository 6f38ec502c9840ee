//! What was promised, compared with what the participants were told, phase by phase.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use barrier_core::engine::BrokenBy;
use barrier_core::error::Error;
use barrier_core::ids::Phase;
use barrier_core::protocol::{Outcome, Why};
use barrier_core::session::Done;

use crate::host::{Ended, Heard, Made, Process};
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

/// What a process's ledger took for a participant's first outcome.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    process: usize,
    outcome: Outcome,
    at: Instant,
    /// The store has confirmed it.
    told: bool,
}

/// What the ledgers decided, as the callers were told. A participant has one claim, but where several processes speak for
/// it and it cannot be known any more which of them the store took.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    /// Per phase and participant, the outcome and when its report began.
    pub(crate) outcomes: BTreeMap<u32, BTreeMap<u32, Vec<Claim>>>,
    /// From which phase on participants have left, and who said so when.
    pub(crate) left: BTreeMap<u32, Vec<(u32, Claim)>>,
    /// Outcomes of late participants.
    pub(crate) late: u64,
}

impl Truth {
    pub(crate) fn arrived(&self, phase: u32) -> BTreeSet<String> {
        self.of(phase)
            .filter(|(_, claims)| claims.iter().any(|c| c.outcome == Outcome::Arrived))
            .map(|(n, _)| n.to_string())
            .collect()
    }

    pub(crate) fn failed(&self, phase: u32) -> BTreeMap<String, u32> {
        let mut by_reason = BTreeMap::new();
        for (_, claims) in self.of(phase) {
            let reasons = claims.iter().filter_map(|c| match &c.outcome {
                Outcome::Failed(reason) => Some(reason.as_str()),
                _ => None,
            });
            for reason in BTreeSet::from_iter(reasons) {
                *by_reason.entry(reason.to_owned()).or_default() += 1;
            }
        }
        by_reason
    }

    fn of(&self, phase: u32) -> impl Iterator<Item = (&u32, &Vec<Claim>)> {
        self.outcomes.get(&phase).into_iter().flatten()
    }

    pub(crate) fn left(&self, phase: u32) -> u32 {
        count(
            self.left
                .values()
                .filter(|l| l.iter().any(|(from, _)| *from <= phase)),
        )
    }

    pub(crate) fn accounted(&self, phase: u32) -> u32 {
        count(self.of(phase)) + self.left(phase)
    }

    /// How many had begun to report by then, of all and of those who arrived.
    fn begun(&self, phase: u32, by: Instant) -> (u32, u32) {
        let begun = |claims: &[Claim], arrived: bool| {
            let counts = |c: &Claim| c.at <= by && (!arrived || c.outcome == Outcome::Arrived);
            claims.iter().any(counts)
        };
        let all = self.of(phase).filter(|(_, claims)| begun(claims, false));
        let arrived = self.of(phase).filter(|(_, claims)| begun(claims, true));
        let gone = |(from, claim): &(u32, Claim)| *from <= phase && claim.at <= by;
        let left = self.left.values().filter(|l| l.iter().any(gone));
        (count(all) + count(left), count(arrived))
    }

    /// Only what this process said of the participant counts.
    fn keep(&mut self, participant: u32, process: usize) {
        for phase in self.outcomes.values_mut() {
            if let Some(claims) = phase.get_mut(&participant) {
                claims.retain(|c| c.process == process);
            }
            phase.retain(|_, claims| !claims.is_empty());
        }
        if let Some(left) = self.left.get_mut(&participant) {
            left.retain(|(_, claim)| claim.process == process);
        }
        self.left.retain(|_, left| !left.is_empty());
    }
}

fn count(items: impl Iterator) -> u32 {
    u32::try_from(items.count()).expect("small")
}

/// Each call ended once, in time, and said what stands; what it said is the truth.
pub(crate) fn calls(plan: &Plan, processes: &[Process], found: &mut Vec<Finding>) -> Truth {
    let mut truth = Truth::default();
    let mut indices = HashMap::new();
    let broken = processes.iter().any(|p| p.heard().broken > 0);
    for (at, process) in processes.iter().enumerate() {
        let heard = process.heard();
        if !heard.twice.is_empty() {
            let text = format!("process {at} completed calls twice: {:?}", heard.twice);
            found.push((Wrong::Double, text));
        }
        let mut made = process.made();
        made.sort_by_key(|m| m.token);
        let mut users = HashMap::new();
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
            if call.waits {
                found.extend(wrong_wait(plan, at, &heard, call, ended));
            }
            first_outcome(plan, (at, process), call, ended, &mut truth, found);
            match &ended.result {
                Ok(Done::BrokenNow(_)) if !broken => {
                    let text = format!("process {at} was told of a break that nobody heard of");
                    found.push((Wrong::Loss, text));
                }
                Ok(Done::NothingToAbort(_)) if plan.cyclic() => {
                    let text = format!("process {at} was told that its barrier is over");
                    found.push((Wrong::Other, text));
                }
                Ok(Done::Outcome(a)) if a.outcome == Outcome::Arrived => {
                    if a.first && a.index > 0 {
                        let other = indices.insert(a.index, call.participant);
                        if let (Some(other), false) = (other, plan.forgets()) {
                            let who = call.participant;
                            let text = format!("{who:?} and {other:?} have index {}", a.index);
                            found.push((Wrong::Double, text));
                        }
                    }
                    let user = users
                        .entry((call.participant, a.phase))
                        .or_insert(call.owner);
                    if call.owner.is_some() && user.is_none() {
                        *user = call.owner;
                    }
                    if call.owner.is_some() && *user != call.owner {
                        let text = format!("process {at}: {call:?}, which {user:?} is already");
                        found.push((Wrong::Double, text));
                    }
                }
                _ => {}
            }
        }
    }
    if plan.exact() && !plan.cyclic() && !broken {
        for n in (1..=plan.parties).filter(|n| plan.is_disputed(*n)) {
            resolve(plan, processes, n, &mut truth, found);
        }
    }
    // Only now is every first outcome known: repeats must have found it.
    for (at, process) in processes.iter().enumerate() {
        let made = process.made();
        let heard = process.heard();
        for call in &made {
            if let Some(ended) = heard.ended.get(&call.token) {
                repeat(at, call, ended, &truth, found);
            }
        }
    }
    truth
}

/// Whoever waits goes with the release of its phase: not before, and not without. Where users go one after the other, it is told its
/// own instant.
fn wrong_wait(
    plan: &Plan,
    at: usize,
    heard: &Heard,
    call: &Made,
    ended: &Ended,
) -> Option<Finding> {
    let phase = call.decision.as_ref()?.phase;
    let of_phase = |(p, at): &&(Phase, Instant)| *p >= phase && *at <= ended.at;
    let released = heard.released.iter().find(of_phase).is_some();
    let wrong = match ended.result {
        Ok(Done::Over) if !released && heard.broken == 0 => Wrong::Early,
        Ok(Done::Over) if plan.spread && heard.broken == 0 => Wrong::Other,
        Err(Error::Timeout(_)) if ended.standing.is_none() && released => Wrong::Hang,
        _ => return None,
    };
    let text = format!("process {at}: {call:?} ended with {ended:?}, released: {released}");
    Some((wrong, text))
}

/// Several processes have spoken for the participant, for whom the barrier waited: one that does not may be over before it
/// has heard of either, and then it does not matter whose the participant is. All that live have asked once more in the end: one of them holds it,
/// or the one that was killed did.
fn resolve(
    plan: &Plan,
    processes: &[Process],
    participant: u32,
    truth: &mut Truth,
    found: &mut Vec<Finding>,
) {
    let mut holders = Vec::new();
    for (at, process) in processes.iter().enumerate() {
        if process.is_dead() {
            continue;
        }
        let made = process.made();
        let of_this = made.iter().filter(|m| m.participant == Some(participant));
        let Some(last) = of_this.max_by_key(|m| m.token) else {
            continue;
        };
        match process.heard().ended.get(&last.token).map(|e| &e.result) {
            Some(Ok(_)) => holders.push(at),
            Some(Err(Error::Conflict(_))) => {}
            other => {
                let text = format!("process {at} was told of {participant} in the end: {other:?}");
                found.push((Wrong::Loss, text));
            }
        }
    }
    match (holders[..].first(), plan.killed) {
        (Some(holder), _) if holders.len() == 1 => truth.keep(participant, *holder),
        (None, Some(dead)) => truth.keep(participant, dead),
        _ => {
            let text = format!("{participant} belongs to the processes {holders:?}");
            found.push((Wrong::Double, text));
        }
    }
}

fn first_outcome(
    plan: &Plan,
    (at, process): (usize, &Process),
    call: &Made,
    ended: &Ended,
    truth: &mut Truth,
    found: &mut Vec<Finding>,
) {
    let (Some(participant), Some(decision)) = (call.participant, &call.decision) else {
        return;
    };
    let told = match (&ended.result, &ended.standing) {
        // It was acknowledged, and waited for what is told to all.
        (Ok(Done::Over) | Err(Error::Timeout(_)), None) if call.waits => decision,
        (Ok(Done::Outcome(told)), None) | (Err(_), Some(told)) => told,
        // A break reaches callers whose outcome it overtook.
        (Err(Error::Broken(_)), None) if plan.may_break() => decision,
        (Err(Error::Closed), None) if process.is_dead() => decision,
        // It was another one's: this process has never had an outcome of it.
        (Err(Error::Conflict(_)), None) if plan.is_disputed(participant) => return,
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
    let claim = Claim {
        process: at,
        outcome: told.outcome.clone(),
        at: call.at,
        told: ended.result.is_ok(),
    };
    let disputed = plan.is_disputed(participant);
    let mut second = None;
    match told.outcome {
        Outcome::Left => {
            let left = truth.left.entry(participant).or_default();
            second = left.first().map(|(_, first)| first.clone());
            left.push((told.phase.0, claim.clone()));
        }
        Outcome::Late => {
            truth.late += 1;
            if plan.exact() && !disputed {
                let text = format!("{participant} is late: {told:?}, where all are waited for");
                found.push((Wrong::Loss, text));
            }
        }
        _ => {
            if told.outcome != decision.outcome || told.phase != decision.phase {
                let text = format!("{participant}: {decision:?} turned into {told:?}");
                found.push((Wrong::Loss, text));
            }
            let phase = truth.outcomes.entry(told.phase.0).or_default();
            let claims = phase.entry(participant).or_default();
            second = claims.first().cloned();
            claims.push(claim.clone());
        }
    }
    if let Some(second) = second
        && (!disputed || second.process == at || (plan.exact() && second.told && claim.told))
    {
        let text = format!("{participant} has two first outcomes: {claim:?} and {second:?}");
        found.push((Wrong::Double, text));
    }
}

fn repeat(at: usize, call: &Made, ended: &Ended, truth: &Truth, found: &mut Vec<Finding>) {
    let (Some(participant), Ok(Done::Outcome(told))) = (call.participant, &ended.result) else {
        return;
    };
    let stands = match told.outcome {
        Outcome::Late => return,
        Outcome::Left => truth.left.contains_key(&participant),
        _ => truth
            .outcomes
            .get(&told.phase.0)
            .and_then(|phase| phase.get(&participant))
            .is_some_and(|claims| claims.iter().any(|c| c.outcome == told.outcome)),
    };
    if !stands {
        let text = format!("process {at}: {call:?} was told {told:?}, which does not stand");
        found.push((Wrong::Loss, text));
    }
}

/// What became known of the releases of one run.
#[derive(Debug, Default)]
pub(crate) struct Releases {
    pub(crate) seen: u64,
    /// Why each phase was released.
    pub(crate) reasons: BTreeMap<u32, Why>,
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
    // One that was killed may have been the only one to know.
    let broken = processes
        .iter()
        .any(|p| !p.is_dead() && p.heard().broken > 0);
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
        let (dead, status) = (process.is_dead(), process.barrier().status());
        let heard_all = breaks == u32::from(broken) || (dead && (breaks == 0 || amnesia));
        if !heard_all || breaks > 1 {
            let text = format!("process {at} heard of {breaks} breaks, some did: {broken}");
            found.push((Wrong::Other, text));
        }
        if breaks > 0 {
            let by = status.broken.as_ref().map(|b| (b.reason, b.phase.0));
            found.extend(wrong_break(plan, truth, by).map(|w| {
                let text = format!("process {at} is broken by {by:?}, without a reason");
                (w, text)
            }));
        }
        let expected = if broken || dead { 0 } else { plan.phases };
        if open < expected {
            let text = format!("process {at} waits in phase {open} of {expected}; {status:?}");
            found.push((Wrong::Hang, text));
        }
        for (phase, instant) in &released {
            // A process remembers the newest releases only.
            let remembered = phase.0 + RELEASES_KEPT >= open;
            let info = process.barrier().release_info(*phase);
            let Some(info) = info.filter(|info| info.phase == *phase) else {
                if remembered {
                    let status = process.barrier().status();
                    let text = format!("process {at} knows nothing of {phase:?}: {status:?}");
                    found.push((Wrong::Other, text));
                }
                continue;
            };
            releases.seen += 1;
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
            releases.reasons.insert(phase.0, info.reason);
            let (begun, arrived) = truth.begun(phase.0, *instant);
            let early = match info.reason {
                Why::All if plan.running => {
                    let gone = || gone(plan, processes, truth, phase.0, *instant);
                    begun == 0 || !plan.forgets() && begun + gone() < plan.parties
                }
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

/// A killed process is waited for at least so long: 15 s from when it was heard last. Every process was heard just before the trouble,
/// and is killed within 1.2 s of it and what freezes and failovers last: however long its way was a black hole, 10 s are not reached.
const SILENCE: Duration = Duration::from_secs(5);

/// How many without an outcome in the phase need not have been waited for where whoever runs is expected: those who ended, for the store
/// may not have heard of it when they began again, and those of a killed process after a while.
fn gone(plan: &Plan, processes: &[Process], truth: &Truth, phase: u32, by: Instant) -> u32 {
    let mut gone = BTreeSet::new();
    for (at, process) in processes.iter().enumerate() {
        if process.died().is_some_and(|died| died + SILENCE < by) {
            gone.extend(plan.members(at));
        } else {
            gone.extend(process.ended());
        }
    }
    let has_outcome = |n: &u32| truth.of(phase).any(|(one, _)| one == n);
    let left = |n: &u32| {
        truth
            .left
            .get(n)
            .is_some_and(|l| l.iter().any(|(from, _)| *from <= phase))
    };
    count(gone.iter().filter(|n| !has_outcome(n) && !left(n)))
}

fn show(truth: &Truth, phase: u32) -> String {
    let (arrived, failed) = (truth.arrived(phase).len(), truth.failed(phase));
    format!(
        "{arrived} arrived, failed {failed:?}, {} left",
        truth.left(phase)
    )
}

/// A break that nothing asked for.
fn wrong_break(plan: &Plan, truth: &Truth, by: Option<(BrokenBy, u32)>) -> Option<Wrong> {
    let right = match by? {
        (BrokenBy::Abort, _) => plan.may_abort(),
        (BrokenBy::Timeout, _) => matches!(plan.expiry, Expiry::Abort(_)),
        (BrokenBy::MaxFailures, phase) => {
            let failed: u32 = truth.failed(phase).values().sum();
            plan.max_failures.is_some_and(|most| failed > most)
        }
        (BrokenBy::Bug, _) => false,
    };
    (!right).then_some(Wrong::Early)
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
    // It was to break instead.
    if plan
        .max_failures
        .is_some_and(|most| info.failed_total > most)
    {
        return Some(Wrong::Other);
    }
    let too_many = |reason: &String, n: &u32| *n > failed.get(reason).copied().unwrap_or(0);
    if info.arrived + info.failed_total + info.left > plan.parties
        || info.arrived > arrived
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
