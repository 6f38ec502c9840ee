//! The store inside one process: the state machine of the specification, in Rust.
//!
//! It is also the reference that the Redis script is compared with, operation by operation, by the model test.

use std::collections::{BTreeMap, HashMap};

use crate::ids::{Incarnation, Participant, Phase, ProcessId};
use crate::options::{Parties, Quorum, SharedOptions};
use crate::protocol::{
    Answer, BreakKind, Broken, Counts, Item, ItemAnswer, ItemKind, Micros, Op, Others, Outcome,
    Push, Release, Reply, Request, StoreTime, Why,
};
use crate::spread::lead;

mod missing;
mod running;

/// Releases that are kept.
pub(crate) const RELEASES_KEPT: u32 = 16;

/// A process that has not been heard of for so long delays no release: it has missed three heartbeats.
const SILENT_MAX: Micros = Micros(15_000_000);
/// Silence between two operations counts for so long at most. More than there is between two heartbeats.
const GAP_MAX: Micros = Micros(6_000_000);

#[derive(Debug, Clone)]
struct ParticipantRecord {
    phase: Phase,
    outcome: Outcome,
    index: u32,
    process: ProcessId,
}

#[derive(Debug, Clone)]
struct LeaveRecord {
    from: Phase,
    process: ProcessId,
}

#[derive(Debug, Clone)]
struct ProcessRecord {
    phase: Phase,
    outcomes: u32,
    leaves: u32,
    seen: StoreTime,
    push_latency: Micros,
    closed: bool,
    /// Of who runs there: how many have no outcome here in the open phase, and how many there are.
    owing: u32,
    running: u32,
}

#[derive(Debug, Clone)]
struct Record {
    incarnation: Incarnation,
    options: SharedOptions,
    canonical: String,
    open: Phase,
    counts: Counts,
    /// Leaves that count from the next phase on.
    left_next: u32,
    late: u32,
    index: u32,
    unnameable: bool,
    broken: Option<Broken>,
    releases: BTreeMap<Phase, Release>,
    /// Who was missing when the participants were forgotten.
    missed: Option<Box<[u32]>>,
    processes: HashMap<ProcessId, ProcessRecord>,
    participants: HashMap<Participant, ParticipantRecord>,
    leaves: HashMap<Participant, LeaveRecord>,
}

/// One barrier's record in this process.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    record: Option<Record>,
}

/// What an operation did beside its answer.
struct Effects {
    pushes: Vec<Push>,
    was_behind: bool,
}

impl MemoryStore {
    /// Executes one operation at the time `now`; what it publishes is appended to `pushes`.
    pub fn apply(&mut self, request: &Request, now: StoreTime, pushes: &mut Vec<Push>) -> Reply {
        let mut effects = Effects {
            pushes: Vec::new(),
            was_behind: false,
        };
        let answer = self.execute(request, now, &mut effects);
        pushes.append(&mut effects.pushes);
        self.reply(request, answer, effects.was_behind, now)
    }

    fn execute(&mut self, request: &Request, now: StoreTime, effects: &mut Effects) -> Answer {
        if let Op::Open { .. } = &request.op {
            return self.open(request, now, effects);
        }
        let Some(record) = self
            .record
            .as_mut()
            .filter(|r| Some(&r.incarnation) == request.incarnation.as_ref())
        else {
            return Answer::Reopen;
        };
        if !request.process.is_operator() {
            record.stand_still(now);
        }
        if let Op::Beat {
            push_latency,
            closing,
        } = &request.op
        {
            let process = record.process(&request.process, now);
            process.push_latency = *push_latency;
            process.closed = *closing;
        } else if !request.process.is_operator() {
            record.process(&request.process, now);
        }
        if record.broken.is_some() {
            return match &request.op {
                Op::Outcomes(items) => {
                    Answer::Items(items.iter().map(|_| ItemAnswer::Broken).collect())
                }
                Op::Beat { .. } => Answer::Ok,
                _ => Answer::Broken,
            };
        }
        match &request.op {
            Op::Open { .. } => Answer::Reopen, // handled above
            Op::Outcomes(items) => {
                let items = items
                    .iter()
                    .map(|item| record.outcome(request, item, now, effects))
                    .collect();
                record.count_running(request, now, effects);
                Answer::Items(items)
            }
            Op::Release(why) => {
                if request.phase < record.open {
                    return Answer::Released;
                }
                record.move_up(request.phase, effects);
                record.release(*why, now, effects);
                Answer::Ok
            }
            Op::Abort {
                kind,
                message,
                only_phase,
            } => {
                let one_shot_is_over = !record.options.cyclic && record.open > Phase(0);
                if one_shot_is_over || (*only_phase && request.phase < record.open) {
                    return Answer::Released;
                }
                record.move_up(request.phase, effects);
                record.break_up(*kind, message.clone(), now, effects);
                Answer::Broken
            }
            Op::Beat { .. } => {
                record.move_up(request.phase, effects);
                record.count_running(request, now, effects);
                if record.registered() > 1 {
                    effects.pushes.push(Push::Ping { at: now });
                }
                Answer::Ok
            }
        }
    }

    fn open(&mut self, request: &Request, now: StoreTime, effects: &mut Effects) -> Answer {
        let Op::Open {
            new_incarnation,
            options,
            last_release,
            broken,
            others,
            push_latency,
            ..
        } = &request.op
        else {
            return Answer::Reopen;
        };
        if let Some(record) = &self.record {
            if record.canonical != *options {
                return Answer::Options(record.canonical.clone());
            }
            let mut foreign = record
                .processes
                .iter()
                .filter(|(id, _)| **id != request.process)
                .peekable();
            // A process that is registered passed this before; its answer was lost.
            let known = record.processes.contains_key(&request.process);
            let refused = match others {
                Others::Accept => false,
                _ if known => false,
                Others::Refuse => foreign.peek().is_some(),
                Others::HeardAfter(then) => {
                    foreign.peek().is_some() && !foreign.any(|(_, p)| p.seen > *then)
                }
            };
            if refused {
                return Answer::Others {
                    released: !record.releases.is_empty() && record.broken.is_none(),
                };
            }
        }
        let record = self.record.get_or_insert_with(|| Record {
            incarnation: new_incarnation.clone(),
            options: serde_json::from_str(options).expect("written by SharedOptions::canonical"),
            canonical: options.clone(),
            open: Phase(0),
            counts: Counts::default(),
            left_next: 0,
            late: 0,
            index: 0,
            unnameable: false,
            broken: None,
            releases: BTreeMap::new(),
            missed: None,
            processes: HashMap::new(),
            participants: HashMap::new(),
            leaves: HashMap::new(),
        });
        record.stand_still(now);
        let process = record.process(&request.process, now);
        process.push_latency = *push_latency;
        process.closed = false;
        if let Some(release) = last_release {
            record.restore_release(release, effects);
        }
        // Not behind in the sense of an outcome: what the process knows has just been restored.
        record.move_up(request.phase, effects);
        effects.was_behind = false;
        record.take_census(request);
        if let (None, Some(broken)) = (&record.broken, broken) {
            record.broken = Some(broken.clone());
            effects.pushes.push(Push::Broken {
                inc: record.incarnation.clone(),
                broken: broken.clone(),
            });
        }
        Answer::Ok
    }

    fn reply(&self, request: &Request, answer: Answer, was_behind: bool, now: StoreTime) -> Reply {
        let unwritten = matches!(
            answer,
            Answer::Reopen | Answer::Others { .. } | Answer::Options(_)
        );
        let Some(record) = self.record.as_ref().filter(|_| !unwritten) else {
            return Reply::without_record(answer, now);
        };
        let own = record.processes.get(&request.process);
        Reply {
            answer,
            incarnation: Some(record.incarnation.clone()),
            open: record.open,
            counts: record.counts.clone(),
            owing: record.owing(now),
            late: record.late,
            unnameable: record.unnameable,
            processes: record.registered(),
            held_phase: own.map_or(Phase(0), |p| p.phase),
            held_outcomes: own.map_or(0, |p| p.outcomes),
            held_leaves: own.map_or(0, |p| p.leaves),
            was_behind,
            broken: record.broken.clone(),
            release: record.releases.get(&request.phase).cloned(),
            newest: record.releases.values().next_back().cloned(),
            now,
        }
    }
}

impl ProcessRecord {
    fn is_alive(&self, now: StoreTime) -> bool {
        !self.closed && now.0 - self.seen.0 <= SILENT_MAX.0
    }
}

impl Record {
    fn process(&mut self, id: &ProcessId, now: StoreTime) -> &mut ProcessRecord {
        let open = self.open;
        let process = self
            .processes
            .entry(id.clone())
            .or_insert_with(|| ProcessRecord {
                phase: open,
                outcomes: 0,
                leaves: 0,
                seen: now,
                push_latency: Micros(0),
                closed: false,
                owing: 0,
                running: 0,
            });
        process.seen = now;
        process
    }

    fn registered(&self) -> u32 {
        u32::try_from(self.processes.values().filter(|p| !p.closed).count()).unwrap_or(u32::MAX)
    }

    /// The phase that counts and questions are about: the open one; after the end of a one-shot barrier, its only one.
    fn spoken_of(&self) -> Phase {
        if self.options.cyclic {
            self.open
        } else {
            Phase(0)
        }
    }

    fn is_accounted_for(&self, id: &Participant, phase: Phase) -> bool {
        self.leaves.get(id).is_some_and(|l| l.from <= phase)
            || self.participants.get(id).is_some_and(|p| p.phase == phase)
    }

    /// An operation for phase n proves that n−1 was released: a store that is behind moves up.
    fn move_up(&mut self, phase: Phase, effects: &mut Effects) {
        if phase > self.open {
            self.open = phase;
            self.next_counts();
            effects.was_behind = true;
        }
    }

    fn next_counts(&mut self) {
        if self.options.cyclic {
            self.counts.arrived = 0;
            self.counts.failed.clear();
            self.counts.left += self.left_next;
            self.left_next = 0;
            self.all_who_run_owe();
        }
    }

    fn outcome(
        &mut self,
        request: &Request,
        item: &Item,
        now: StoreTime,
        effects: &mut Effects,
    ) -> ItemAnswer {
        if self.broken.is_some() {
            return ItemAnswer::Broken;
        }
        let phase = request.phase;
        let id = &item.participant;
        if let Some(leave) = self.leaves.get(id) {
            if leave.process != request.process {
                return ItemAnswer::Conflict;
            }
            if leave.from <= phase || matches!(item.what, ItemKind::Left { .. }) {
                return ItemAnswer::Standing(Outcome::Left, 0);
            }
        }
        let known = self.participants.get(id);
        if let Some(known) = known {
            if known.process != request.process {
                return ItemAnswer::Conflict;
            }
            let standing =
                known.phase == phase || (known.outcome == Outcome::Late && known.phase >= phase);
            let leaves_later = matches!(item.what, ItemKind::Left { from } if from > phase);
            if standing && !leaves_later {
                return ItemAnswer::Standing(known.outcome.clone(), known.index);
            }
        }
        let first_record = known.is_none();
        let outcome = match &item.what {
            ItemKind::Left { from } => {
                self.move_up(phase, effects);
                self.leave(request, item, *from, first_record);
                self.complete(now, effects);
                return ItemAnswer::Recorded(0);
            }
            ItemKind::Arrived => Outcome::Arrived,
            ItemKind::Failed(reason) => Outcome::Failed(reason.clone()),
        };
        if phase < self.open {
            if request.resend {
                return ItemAnswer::Released;
            }
            let newest = self.open.previous().unwrap_or_default();
            self.late += 1;
            self.note(request, item, newest, Outcome::Late, 0);
            return ItemAnswer::Late(newest);
        }
        self.move_up(phase, effects);
        let index = if outcome == Outcome::Arrived {
            self.index += 1;
            self.index
        } else {
            0
        };
        match &outcome {
            Outcome::Failed(reason) => {
                *self.counts.failed.entry(reason.to_string()).or_default() += 1;
            }
            _ => self.counts.arrived += 1,
        }
        self.note(request, item, phase, outcome, index);
        let process = self.process(&request.process, now);
        if process.phase != phase {
            process.phase = phase;
            process.outcomes = 0;
        }
        process.outcomes += 1;
        self.complete(now, effects);
        ItemAnswer::Recorded(index)
    }

    fn leave(&mut self, request: &Request, item: &Item, from: Phase, first_record: bool) {
        self.unnameable |= first_record && !item.nameable;
        self.leaves.insert(
            item.participant.clone(),
            LeaveRecord {
                from,
                process: request.process.clone(),
            },
        );
        if let Some(process) = self.processes.get_mut(&request.process) {
            process.leaves += 1;
        }
        let one_shot_is_over = !self.options.cyclic && self.open > Phase(0);
        if one_shot_is_over {
            return; // a decided release keeps its counts
        }
        if from <= self.open {
            self.counts.left += 1;
        } else {
            self.left_next += 1;
        }
    }

    fn note(&mut self, request: &Request, item: &Item, phase: Phase, outcome: Outcome, index: u32) {
        let record = ParticipantRecord {
            phase,
            outcome,
            index,
            process: request.process.clone(),
        };
        let before = self.participants.insert(item.participant.clone(), record);
        self.unnameable |= before.is_none() && !item.nameable;
    }

    fn complete(&mut self, now: StoreTime, effects: &mut Effects) {
        if !self.options.cyclic && self.open > Phase(0) {
            return;
        }
        let options = &self.options;
        let failed = self.counts.failed_total();
        if let Some(limit) = options.max_failures.filter(|limit| failed > *limit) {
            let message = format!("{failed} failed, maxFailures is {limit}");
            self.break_up(BreakKind::MaxFailures, message, now, effects);
        } else if let Parties::Fixed(parties) = options.parties {
            let enough = |q: Quorum| self.counts.arrived >= q.arrivals(parties, self.counts.left);
            if self.counts.accounted() >= parties {
                self.release(Why::All, now, effects);
            } else if options.release.is_some_and(enough) {
                self.release(Why::Quorum, now, effects);
            }
        } // of those who run, when the whole operation is done
    }

    /// Whether the phase before was not let go before the instant of the options. What follows it may not overtake it.
    fn follows_instant(&self, instant: i64) -> bool {
        let before = self.open.0.checked_sub(1).map(Phase);
        let release = before.and_then(|phase| self.releases.get(&phase));
        release.is_some_and(|release| release.at.0.saturating_add(release.delay.0) >= instant)
    }

    fn release(&mut self, why: Why, now: StoreTime, effects: &mut Effects) {
        // Nobody waits for those who are gone without a goodbye.
        let alive: Vec<_> = self
            .processes
            .iter()
            .filter(|(_, process)| process.is_alive(now))
            .collect();
        let mut hosts: BTreeMap<&str, u32> = BTreeMap::new();
        for (id, _) in &alive {
            *hosts.entry(id.host()).or_default() += 1;
        }
        hosts.retain(|_, processes| *processes > 1);
        let crowded = hosts.into_keys().map(str::to_owned).collect();
        let delay = match alive.len() {
            0 | 1 => Micros(0),
            _ => alive
                .iter()
                .map(|(_, process)| process.push_latency)
                .max()
                .unwrap_or_default(),
        };
        let waits = |instant: &i64| match why {
            Why::All | Why::Quorum => true,
            Why::Timeout | Why::Operator => self.follows_instant(*instant), // they say that it is enough
        };
        let instant = self.options.release_at_micros().filter(waits);
        let ahead = instant.map_or(0, |instant| instant.saturating_sub(now.0));
        let spread = self.options.spread;
        let lead = spread.map_or(Micros(0), |_| lead(self.counts.arrived));
        let release = Release {
            phase: self.open,
            why,
            counts: self.counts.clone(),
            before: self.index.saturating_sub(self.counts.arrived),
            at: now,
            delay: delay.max(Micros(ahead)).max(lead),
            crowded,
        };
        self.keep_release(release, effects);
        self.open = self.open.next();
        self.next_counts();
        // Leaves alone may complete the next phase as well, and the next; that is a barrier nobody waits at, so it is
        // left to the next operation to find out.
    }

    fn keep_release(&mut self, release: Release, effects: &mut Effects) {
        effects.pushes.push(Push::Release {
            inc: self.incarnation.clone(),
            release: release.clone(),
        });
        self.releases.insert(release.phase, release);
        let newest = self.releases.keys().next_back().map_or(0, |p| p.0);
        self.releases.retain(|p, _| p.0 + RELEASES_KEPT > newest);
    }

    fn restore_release(&mut self, release: &Release, effects: &mut Effects) {
        if self.releases.contains_key(&release.phase) {
            return;
        }
        let newest = self.releases.keys().next_back().map_or(0, |p| p.0);
        if release.phase.0 + RELEASES_KEPT <= newest {
            return;
        }
        self.keep_release(release.clone(), effects);
        if !self.options.cyclic {
            self.counts = release.counts.clone();
        }
        if release.phase >= self.open {
            self.open = release.phase.next();
            self.next_counts();
        }
    }

    fn break_up(
        &mut self,
        kind: BreakKind,
        message: String,
        now: StoreTime,
        effects: &mut Effects,
    ) {
        let broken = Broken {
            kind,
            message,
            phase: self.open,
            counts: self.counts.clone(),
            at: now,
        };
        effects.pushes.push(Push::Broken {
            inc: self.incarnation.clone(),
            broken: broken.clone(),
        });
        self.broken = Some(broken);
    }
}

#[cfg(test)]
mod tests;
