//! What a session learns from answers and messages.

use crate::error::Error;
use crate::ids::Phase;
use crate::ledger::{Batch, Completion};
use crate::protocol::{
    Answer, Broken, Counts, ItemAnswer, Micros, Op, Others, Outcome, Push, Release, Reply, Why,
};

use super::{Done, End, Event, Link, Lost, Session, broken_text};
use crate::store::memory::RELEASES_KEPT;

/// Polls that may find a phase over without learning how it ended, before its end is taken as given.
const GAP_POLLS: u32 = 3;

impl Session {
    pub(super) fn opened(&mut self, reply: &Reply, events: &mut Vec<Event>) {
        let first = !self.registered;
        self.link = Link::Live;
        // A goodbye that the store forgot is said again.
        self.beat_wanted |= self.closing;
        self.incarnation.clone_from(&reply.incarnation);
        self.registered = true;
        if first {
            if let Some(newest) = &reply.newest {
                self.learn_release(newest, events);
            }
            self.ledger.move_to(reply.open);
            if self.options.shared.cyclic {
                self.opened_at = self.ledger.open();
            }
        }
        self.learn(reply, events);
        self.ledger.replay();
        for ticket in self.opening.drain(..) {
            events.push(Event::Done(ticket, Ok(Done::Opened(self.opened_at))));
        }
    }

    /// Gives the answers to those who are late: they go after what is learned of the release that they missed.
    #[must_use]
    pub(super) fn items(
        &mut self,
        batch: Batch,
        answers: Vec<ItemAnswer>,
        events: &mut Vec<Event>,
    ) -> Vec<Event> {
        let mut done = Vec::new();
        self.ledger.acknowledge(batch, answers, &mut done);
        let is_late =
            |(_, result): &mut Completion| matches!(result, Ok(a) if a.outcome == Outcome::Late);
        let late: Vec<_> = done.extract_if(.., is_late).collect();
        let event = |(ticket, result): Completion| Event::Done(ticket, result.map(Done::Outcome));
        events.extend(done.into_iter().map(event));
        late.into_iter().map(event).collect()
    }

    pub(super) fn ended(&self, end: End, answer: &Answer, events: &mut Vec<Event>) {
        let abort = matches!(
            end.op,
            Op::Abort {
                only_phase: false,
                ..
            }
        );
        let done = match answer {
            Answer::Broken if abort => {
                let phase = self.broken.as_ref().map_or(end.phase, |b| b.phase);
                Ok(Done::BrokenNow(phase))
            }
            Answer::Broken => Err(self
                .broken_error()
                .unwrap_or_else(|| Error::Broken("the barrier is broken".into()))),
            // Only a one-shot barrier is over for good.
            Answer::Released if abort => Ok(Done::NothingToAbort(Phase(0))),
            _ => Ok(Done::Over),
        };
        for ticket in end.tickets {
            events.push(Event::Done(ticket, done.clone()));
        }
    }

    /// Takes what every answer carries.
    pub(super) fn learn(&mut self, reply: &Reply, events: &mut Vec<Event>) {
        let cyclic = self.options.shared.cyclic;
        if !cyclic {
            self.counts = reply.counts.clone();
        }
        self.owing = reply.owing;
        self.late = reply.late;
        self.unnameable = reply.unnameable;
        self.processes = reply.processes;
        for release in [&reply.release, &reply.newest].into_iter().flatten() {
            self.learn_release(release, events);
        }
        if let Some(broken) = &reply.broken {
            self.learn_break(broken, events);
        }
        if reply.open > self.ledger.open() {
            self.gap(reply, events);
        } else {
            self.gap_polls = 0;
        }
        if cyclic && reply.open == self.ledger.open() {
            self.counts = reply.counts.clone();
        }
    }

    /// The store says that the open phase is over, not how: whoever knows will tell it, so ask again; but nobody may be
    /// left who knows.
    fn gap(&mut self, reply: &Reply, events: &mut Vec<Event>) {
        self.gap_polls += 1;
        // Once at once; after that with the heartbeats, which gives the one who knows time to come back.
        self.beat_wanted |= self.gap_polls == 1;
        if self.gap_polls < GAP_POLLS {
            return;
        }
        self.gap_polls = 0;
        if let Some(phase) = reply.open.previous() {
            events.push(Event::Warn(format!(
                "barrier {}: the store lost how phase {phase} ended, and nobody is left who knows; its counts are shown as 0",
                self.options.name
            )));
            let release = Release {
                phase,
                // The likeliest way for such a barrier.
                why: match self.options.shared.release {
                    None => Why::All,
                    Some(_) => Why::Quorum,
                },
                counts: Counts::default(),
                before: 0,
                at: reply.now,
                delay: Micros(0),
                crowded: Vec::new(),
            };
            self.learn_release(&release, events);
        }
    }

    fn learn_release(&mut self, release: &Release, events: &mut Vec<Event>) {
        if let Some(known) = self.releases.get(&release.phase) {
            if known != release {
                events.push(Event::Warn(format!(
                    "barrier {}: another release of phase {} is ignored; the first one stands",
                    self.options.name, release.phase
                )));
            }
            return;
        }
        let newest = self.releases.keys().next_back();
        if newest.is_some_and(|n| n.0 >= release.phase.0 + RELEASES_KEPT) {
            return;
        }
        self.releases.insert(release.phase, release.clone());
        let newest = self.releases.keys().next_back().map_or(0, |p| p.0);
        self.releases.retain(|p, _| p.0 + RELEASES_KEPT > newest);
        if release.phase >= self.ledger.open() {
            self.ledger.move_to(release.phase.next());
            self.gap_polls = 0;
            if self.options.shared.cyclic {
                // Those of the phase that opens now; who has left has left that one too.
                self.counts.arrived = 0;
                self.failed_before = std::mem::take(&mut self.counts.failed);
            } else {
                self.counts = release.counts.clone();
            }
            events.push(Event::Released(release.clone()));
        }
    }

    fn learn_break(&mut self, broken: &Broken, events: &mut Vec<Event>) {
        if self.broken.is_some() {
            return;
        }
        self.broken = Some(broken.clone());
        let error = Error::Broken(broken_text(broken));
        for ticket in self.ledger.take_waiting() {
            events.push(Event::Done(ticket, Err(error.clone())));
        }
        events.push(Event::Broken);
    }

    /// Each reply says what the store holds of this process: less than it acknowledged means that it lost its memory.
    pub(super) fn check_memory(&mut self, reply: &Reply, is_beat: bool) {
        if !matches!(self.link, Link::Live) || reply.incarnation.is_none() {
            return;
        }
        let open = self.ledger.open();
        let acknowledged = self.ledger.acknowledged();
        let outcomes = if reply.held_phase == open {
            reply.held_outcomes
        } else {
            0
        };
        let held = (outcomes, reply.held_leaves);
        let lost = (held.0 < acknowledged.0 || held.1 < acknowledged.1).then_some(Lost {
            open,
            held,
            acknowledged,
        });
        // Where opening again did not help, the next heartbeat is soon enough: the store has to be spared.
        let may_ask = is_beat && !self.closing;
        let reopen = lost.is_some() && (may_ask || lost != self.lost);
        if lost.is_some() || self.lost.is_some_and(|l| l.acknowledged <= acknowledged) {
            self.lost = lost;
        }
        // A message may overtake an answer that was given before what it tells of.
        let newest = self.releases.values().next_back().map(|r| r.at);
        let newest = newest.max(self.broken.as_ref().map(|b| b.at));
        let is_older = newest.is_some_and(|at| reply.now < at);
        let lost_break = self.broken.is_some() && reply.broken.is_none();
        let lost_end = !is_older && (lost_break || reply.open < open);
        if reopen || lost_end || reply.was_behind {
            self.link = Link::MustOpen(Others::Accept);
        }
    }

    /// A message from the store; true where the process should answer with a heartbeat.
    pub fn pushed(&mut self, push: &Push, events: &mut Vec<Event>) {
        if !self.registered {
            // Whoever greets waits for an answer; the one to the opening may be on its way.
            let greeted = matches!(push, Push::Hello { process } if *process != self.process);
            self.beat_wanted |= greeted;
            return;
        }
        match push {
            Push::Release { inc, release } if self.incarnation.as_ref() == Some(inc) => {
                self.learn_release(release, events);
            }
            Push::Broken { inc, broken } if self.incarnation.as_ref() == Some(inc) => {
                self.learn_break(broken, events);
            }
            // A record that this process does not know: ask, and find out.
            Push::Release { .. } | Push::Broken { .. } => self.beat_wanted = true,
            Push::Hello { process } if *process != self.process => self.beat_wanted = true,
            Push::Hello { .. } | Push::Ping { .. } => {}
        }
    }
}
