//! The process's own record of its participants' outcomes.
//!
//! The ledger decides which outcome of a participant is the first and hands only that one to the store. It knows no
//! clock and no socket; [`crate::session`] carries what it queues to a store and brings the answers back.

mod entry;
mod running;

use std::collections::{HashMap, VecDeque};
use std::mem::take;
use std::time::Instant;

use crate::error::Error;
use crate::ids::{Participant, Phase, Reason};
use crate::kept::{Keepsake, Kept};
use crate::protocol::{Item, ItemAnswer, ItemKind, Outcome};
use crate::ticket::Ticket;
pub use crate::ticket::Token;
use running::Running;

/// The largest batch that one operation carries: bounds how long the script holds a shared server.
pub const BATCH_MAX: usize = 256;

/// What a participant reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// It arrived; the number names the caller (the VU), so that two callers that share an id are found out.
    Arrive {
        /// Who makes the call.
        owner: u64,
    },
    /// It failed, and why; anybody may say so.
    Fail(Reason),
    /// It leaves.
    Leave,
}

/// The answer to a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The outcome that stands.
    pub outcome: Outcome,
    /// Counts arrivals from 1; 0 for other outcomes.
    pub index: u32,
    /// The phase of the outcome.
    pub phase: Phase,
    /// This call made the outcome; a repeat finds it.
    pub first: bool,
}

/// What the ledger says to a report.
#[derive(Debug)]
pub enum Decision {
    /// The answer is known.
    Now(Answered),
    /// The store is asked; the answer comes under the caller's token. Index and outcome may still change.
    Later(Answered),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delivery {
    /// Waits for its turn, or is on its way.
    Owed,
    /// The store has answered.
    Held,
}

#[derive(Debug)]
struct Own {
    outcome: Outcome,
    phase: Phase,
    index: u32,
    owner: Option<u64>,
    delivery: Delivery,
    /// It was sent before, so the store may hold it already.
    tried: bool,
    /// Who waits for the answer; the flag says whose call made the outcome.
    waiting: Vec<(Ticket, bool)>,
}

#[derive(Debug, Default)]
struct Entry {
    outcome: Option<Own>,
    /// Made for the few that need it: there are as many entries as participants.
    seldom: Option<Box<Seldom>>,
    nameable: bool,
}

/// What few participants have.
#[derive(Debug, Default)]
struct Seldom {
    /// Outcomes of earlier phases that the store has not answered to, though a later phase has one already.
    earlier: Vec<Own>,
    leave: Option<Own>,
}

#[derive(Debug, Clone)]
struct Queued {
    participant: Participant,
    phase: Phase,
    leave: bool,
    resend: bool,
}

/// A batch on its way to the store; comes back to the ledger with its answers or, where none came, without.
#[derive(Debug)]
pub struct Batch {
    phase: Phase,
    resend: bool,
    queued: Vec<Queued>,
}

impl Batch {
    /// The phase of all its items.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether its items may have been executed before.
    #[must_use]
    pub const fn resend(&self) -> bool {
        self.resend
    }
}

/// A call with its answer.
pub type Completion = (Ticket, Result<Answered, Error>);

/// A call that has waited long enough.
#[derive(Debug)]
pub struct Overdue {
    /// The call.
    pub ticket: Ticket,
    /// Of a report: the outcome that stands and is delivered later.
    pub standing: Option<Answered>,
}

/// See the [module's](self) description.
#[derive(Debug)]
pub struct Ledger {
    cyclic: bool,
    open: Phase,
    entries: HashMap<Participant, Entry>,
    queue: VecDeque<Queued>,
    batch_max: usize,
    held_outcomes: u32,
    held_leaves: u32,
    /// Of a one-shot barrier that is over: outcomes that nothing changes any more.
    kept: Keepsake,
    /// Where the parties are those who run.
    running: Option<Box<Running>>,
}

impl Ledger {
    /// An empty ledger.
    #[must_use]
    pub fn new(cyclic: bool) -> Self {
        Self {
            cyclic,
            open: Phase(0),
            entries: HashMap::new(),
            queue: VecDeque::new(),
            batch_max: BATCH_MAX,
            held_outcomes: 0,
            held_leaves: 0,
            kept: Keepsake::default(),
            running: None,
        }
    }

    /// The same with batches of at most so many items.
    #[must_use]
    pub fn with_batches_of(self, batch_max: usize) -> Self {
        Self { batch_max, ..self }
    }

    /// The phase that is open as far as this process knows.
    #[must_use]
    pub const fn open(&self) -> Phase {
        self.open
    }

    /// Whether any outcome waits to be sent.
    #[must_use]
    pub fn owes(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Whether the next batch is full, of the same phase as this one, and sent again only if this one is.
    #[must_use]
    pub fn owes_full_batch_like(&self, batch: &Batch) -> bool {
        let alike = |q: &Queued| q.phase == batch.phase && q.resend == batch.resend;
        // What is queued is in runs: between two that are alike there is seldom another, and that one only ends the batch.
        let last = self.queue.get(self.batch_max - 1);
        last.is_some_and(alike) && self.queue.front().is_some_and(alike)
    }

    /// How many outcomes of the open phase and how many leaves the store has acknowledged.
    #[must_use]
    pub const fn acknowledged(&self) -> (u32, u32) {
        (self.held_outcomes, self.held_leaves)
    }

    /// The phase that opens next became known: outcomes of the one before it are no longer replayed.
    pub fn move_to(&mut self, open: Phase) {
        if open > self.open {
            self.open = open;
            self.held_outcomes = 0;
            self.count_running();
        }
    }

    /// Takes a participant's report. The ticket is redeemed where the answer is known at once.
    ///
    /// # Errors
    /// [`Error::Conflict`] when another VU of this process arrived as the same participant in this phase.
    pub fn report(
        &mut self,
        participant: &Participant,
        report: &Report,
        nameable: bool,
        ticket: Ticket,
    ) -> Result<Decision, Error> {
        let open = self.open;
        let over = !self.cyclic && open > Phase(0);
        if let Some(kept) = self.kept.get(participant) {
            let _answered = ticket.redeem();
            return match (report, kept.owner) {
                (Report::Arrive { owner }, Some(first)) if *owner != first => {
                    Err(claimed_twice(participant))
                }
                _ => Ok(Decision::Now(kept.answer())),
            };
        }
        let entry = self.entries.entry(participant.clone()).or_insert(Entry {
            nameable,
            ..Entry::default()
        });
        if let Some(leave) = entry.leave() {
            let gone = leave.phase <= open || *report == Report::Leave;
            if gone {
                return Ok(leave.standing(ticket));
            }
        }
        if let Some(own) = &mut entry.outcome {
            // Ahead of the open phase is a late one's: the store knew of a release that this process has not heard of yet.
            let stands = own.phase >= open || !self.cyclic;
            if stands && !(self.cyclic && *report == Report::Leave) {
                if let (Report::Arrive { owner }, Outcome::Arrived, Some(first)) =
                    (report, &own.outcome, own.owner)
                    && *owner != first
                {
                    let _answered = ticket.redeem();
                    return Err(claimed_twice(participant));
                }
                return Ok(own.standing(ticket));
            }
        }
        let (outcome, owner) = match report {
            // A leave after the end of a one-shot barrier changes nothing; any other report comes late.
            Report::Leave => (Outcome::Left, None),
            _ if over => (Outcome::Late, None),
            Report::Arrive { owner } => (Outcome::Arrived, Some(*owner)),
            Report::Fail(reason) => (Outcome::Failed(reason.clone()), None),
        };
        let leave = outcome == Outcome::Left;
        let phase = if over { Phase(0) } else { open };
        let from = match &entry.outcome {
            Some(own) if leave && own.phase == open => open.next(),
            _ => phase,
        };
        let own = Own {
            outcome: outcome.clone(),
            phase: if leave { from } else { phase },
            index: 0,
            owner,
            delivery: Delivery::Owed,
            tried: false,
            waiting: vec![(ticket, true)],
        };
        let answer = own.answer(true);
        if let Some(running) = &mut self.running {
            let settles = leave || phase == open; // after the end of a one-shot barrier nothing does
            running.reported(participant, leave, settles && entry.owes(open));
        }
        if leave {
            entry.seldom().leave = Some(own);
        } else {
            let before = entry.outcome.replace(own);
            if let Some(owed) = before.filter(|o| o.delivery == Delivery::Owed) {
                entry.seldom().earlier.push(owed);
            }
        }
        self.queue.push_back(Queued {
            participant: participant.clone(),
            phase,
            leave,
            resend: false,
        });
        Ok(Decision::Later(answer))
    }

    /// The index of a participant's arrival in this phase, 0 where the store has not told it; none where it did not arrive.
    #[must_use]
    pub fn arrival(&self, participant: &Participant, phase: Phase) -> Option<u32> {
        if let Some(kept) = self.kept.get(participant) {
            let arrived = kept.outcome == Outcome::Arrived && kept.phase == phase;
            return arrived.then_some(kept.index);
        }
        let own = self.entries.get(participant)?.outcome.as_ref()?;
        let arrived = own.outcome == Outcome::Arrived && own.phase == phase;
        arrived.then_some(own.index)
    }

    /// The next batch to send: items of one phase that all are, or all are not, sent again.
    pub fn next_batch(&mut self) -> Option<(Batch, Vec<Item>)> {
        let first = self.queue.front()?;
        let (phase, resend) = (first.phase, first.resend);
        let mut queued = Vec::new();
        let mut items = Vec::new();
        while let Some(next) = self.queue.pop_front_if(|q| {
            q.phase == phase && q.resend == resend && items.len() < self.batch_max
        }) {
            let Some(entry) = self.entries.get_mut(&next.participant) else {
                continue;
            };
            let nameable = entry.nameable;
            let Some(own) = entry.own(next.leave, phase) else {
                continue;
            };
            own.tried = true;
            items.push(Item {
                participant: next.participant.clone(),
                what: match &own.outcome {
                    Outcome::Left => ItemKind::Left { from: own.phase },
                    Outcome::Failed(reason) => ItemKind::Failed(reason.clone()),
                    Outcome::Arrived | Outcome::Late => ItemKind::Arrived,
                },
                nameable,
            });
            queued.push(next);
        }
        let batch = Batch {
            phase,
            resend,
            queued,
        };
        Some((batch, items))
    }

    /// No answer came: the batch goes again, before everything else, in its own phase.
    pub fn take_back(&mut self, batch: Batch) {
        for mut queued in batch.queued.into_iter().rev() {
            queued.resend = true;
            self.queue.push_front(queued);
        }
    }

    /// Applies the store's answers to a batch.
    pub fn acknowledge(
        &mut self,
        batch: Batch,
        answers: Vec<ItemAnswer>,
        done: &mut Vec<Completion>,
    ) {
        let expected = |answer: &ItemAnswer| matches!(answer, ItemAnswer::Recorded(_));
        let unexpected = self.running.is_some() && !answers.iter().all(expected);
        for (queued, answer) in batch.queued.into_iter().zip(answers) {
            let Some(entry) = self.entries.get_mut(&queued.participant) else {
                continue;
            };
            let Some(own) = entry.own(queued.leave, queued.phase) else {
                continue;
            };
            // What stands without having been sent before is no news: this process has let go of the barrier meanwhile. But who
            // was late once may be so in the next phase too.
            let stood = |outcome: &Outcome| *outcome != Outcome::Late && !batch.resend;
            let known = matches!(&answer, ItemAnswer::Standing(outcome, _) if stood(outcome));
            let counted = matches!(answer, ItemAnswer::Recorded(_) | ItemAnswer::Standing(..));
            match answer {
                ItemAnswer::Recorded(index) => own.index = index,
                // An outcome that was not known here: the leave is from the next phase on.
                ItemAnswer::Standing(outcome, _)
                    if queued.leave && self.cyclic && outcome != Outcome::Left =>
                {
                    own.phase = queued.phase.next();
                    self.queue.push_back(queued);
                    continue;
                }
                ItemAnswer::Standing(outcome, index) => {
                    own.outcome = outcome;
                    own.index = index;
                }
                ItemAnswer::Late(phase) => {
                    own.outcome = Outcome::Late;
                    own.phase = phase;
                    own.owner = None;
                }
                ItemAnswer::Released => {}
                ItemAnswer::Conflict => {
                    let error = Error::Conflict(format!(
                        "participant {} belongs to another process of this run; run the processes on execution segments, \
                         or give explicit participant ids that differ between them",
                        queued.participant
                    ));
                    // Nothing of it is ours: it must not be replayed. A leave may be under way beside an outcome.
                    if let Some(mut theirs) = self.entries.remove(&queued.participant) {
                        let waiting = theirs.all().flat_map(|own| take(&mut own.waiting));
                        done.extend(waiting.map(|(ticket, _)| (ticket, Err(error.clone()))));
                    }
                    if let Some(running) = &mut self.running {
                        running.refused(&queued.participant);
                    }
                    continue;
                }
                // Those who wait hear of the break; nothing more is owed.
                ItemAnswer::Broken => {
                    own.delivery = Delivery::Held;
                    continue;
                }
            }
            own.delivery = Delivery::Held;
            // As the store counts.
            match own.outcome {
                Outcome::Left if counted && queued.leave => self.held_leaves += 1,
                Outcome::Arrived | Outcome::Failed(_) if counted && own.phase == self.open => {
                    self.held_outcomes += 1;
                }
                _ => {}
            }
            let waiting = take(&mut own.waiting).into_iter();
            done.extend(waiting.map(|(t, first)| (t, Ok(own.answer(first && !known)))));
            self.held_leaves += u32::from(entry.put_right());
        }
        if unexpected {
            self.count_running();
        }
    }

    /// The store may have lost its memory: everything that it should hold is owed again, leaves first.
    pub fn replay(&mut self) {
        self.held_outcomes = 0;
        self.held_leaves = 0;
        let mut queue = VecDeque::new();
        let still_owed: Vec<Queued> = self.queue.drain(..).collect();
        for (participant, entry) in &mut self.entries {
            if let Some(leave) = entry.leave() {
                leave.delivery = Delivery::Owed;
                queue.push_front(Queued {
                    participant: participant.clone(),
                    // A leave from the next phase on was made in this one or an earlier one.
                    phase: self.open,
                    leave: true,
                    resend: leave.tried,
                });
            }
            if let Some(own) = &mut entry.outcome
                && own.phase == self.open
                && !matches!(own.outcome, Outcome::Late | Outcome::Left)
            {
                own.delivery = Delivery::Owed;
                queue.push_back(Queued {
                    participant: participant.clone(),
                    phase: own.phase,
                    leave: false,
                    resend: own.tried,
                });
            }
        }
        // Outcomes of phases that are over and late ones keep their place, once each.
        for queued in still_owed {
            let over = self
                .entries
                .get_mut(&queued.participant)
                .and_then(|e| e.own(false, queued.phase))
                .is_some_and(|o| o.phase != self.open || o.outcome == Outcome::Late);
            if !queued.leave && over {
                queue.push_back(queued);
            }
        }
        // Batches are runs of equal phase and resend mark: order them so that runs are long. The sort is stable.
        queue
            .make_contiguous()
            .sort_by_key(|q| (!q.leave, q.phase, !q.resend));
        self.queue = queue;
    }

    /// Takes out the calls that have waited long enough, and says when the next one of those left will have. `under_way`
    /// are the batches that have been taken out and have not come back.
    pub fn take_overdue<'a>(
        &mut self,
        under_way: impl Iterator<Item = &'a Batch>,
        now: Instant,
        overdue: &mut Vec<Overdue>,
    ) -> Option<Instant> {
        let mut next = None;
        let batches = under_way.flat_map(|batch| &batch.queued);
        for queued in self.queue.iter().chain(batches) {
            let Some(entry) = self.entries.get_mut(&queued.participant) else {
                continue;
            };
            let Some(own) = entry.own(queued.leave, queued.phase) else {
                continue;
            };
            for (ticket, first) in own
                .waiting
                .extract_if(.., |(ticket, _)| ticket.is_overdue(now))
                .collect::<Vec<_>>()
            {
                overdue.push(Overdue {
                    ticket,
                    standing: Some(own.answer(first)),
                });
            }
            let left = own.waiting.iter().filter_map(|(t, _)| t.until());
            next = next.into_iter().chain(left).min();
        }
        next
    }

    /// The barrier is over and nothing is owed: packs the outcomes, of which repeats alone will ask. A shared store that loses
    /// its memory needs none of them any more.
    pub fn retire(&mut self) {
        self.held_outcomes = 0;
        self.held_leaves = 0;
        self.queue = VecDeque::new();
        self.running = None;
        if self.entries.is_empty() {
            return;
        }
        let entries = take(&mut self.entries).into_iter();
        let outcomes = entries.filter_map(|(participant, entry)| {
            let leave = entry.seldom.and_then(|seldom| seldom.leave);
            let own = leave.or(entry.outcome)?;
            let kept = Kept {
                owner: own.owner.filter(|_| own.outcome == Outcome::Arrived),
                outcome: own.outcome,
                index: own.index,
                phase: own.phase,
            };
            Some((participant, kept))
        });
        self.kept = self.kept.with(outcomes);
    }

    /// How many bytes the packed outcomes take.
    #[must_use]
    pub fn kept_bytes(&self) -> usize {
        self.kept.size()
    }

    /// How many outcomes are not packed.
    #[must_use]
    pub fn unpacked(&self) -> usize {
        self.entries.len()
    }

    /// All calls that wait, each taken out: the barrier is broken or closed.
    pub fn take_waiting(&mut self) -> Vec<Ticket> {
        self.entries
            .values_mut()
            .flat_map(Entry::all)
            .flat_map(|own| take(&mut own.waiting))
            .map(|(ticket, _)| ticket)
            .collect()
    }
}

fn claimed_twice(participant: &Participant) -> Error {
    Error::Conflict(format!(
        "participant {participant} has already arrived in this phase, from another VU; give each VU its \
         own participant id, or run the processes on execution segments"
    ))
}
