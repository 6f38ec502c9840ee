//! What comes from the store: answers, messages and refusals.

use std::collections::BTreeMap;
use std::mem::take;
use std::sync::Arc;

use crate::error::Error;
use crate::group::options::{OnTimeout, Shared};
use crate::group::protocol::{Answer, Formed, Item, ItemAnswer, Join, Push, Reply};
use crate::ids::Participant;

use super::{End, Event, KNOWN_MAX, Link, Placed, Sent, Session, Waiting, conflict, end_item};

impl Session {
    /// The answer to what was sent.
    pub fn answered(&mut self, reply: Reply, events: &mut Vec<Event>) {
        if reply.answer == Answer::Reopen {
            self.no_answer();
            return;
        }
        let Some(sent) = self.sent.take() else {
            return;
        };
        match reply.answer {
            Answer::Options(theirs) => {
                let mine = self.options.shared.canonical();
                self.refuse(&Shared::difference(&mine, &theirs).into(), events);
                return;
            }
            Answer::Ok | Answer::Items(_) | Answer::Reopen => {}
        }
        self.acknowledged = (self.epoch, self.number);
        self.processes = reply.processes;
        self.settling = reply.settling;
        self.waits_there = reply.waiting;
        self.wants_beat |= reply.more;
        self.floor = self.floor.max(reply.groups);
        for formed in &reply.formed {
            self.formed(formed, events);
        }
        match (sent, reply.answer) {
            (Sent::Open, _) => {
                self.incarnation = reply.incarnation;
                self.link = Link::Live;
                self.say_again();
            }
            (Sent::Beat { closing: true }, _) => {
                self.is_gone = true;
                self.queue.clear();
            }
            (Sent::Items(items), Answer::Items(answers)) => {
                self.is_saying &= !items.contains(&Item::Said);
                for (item, answer) in items.iter().zip(answers) {
                    self.item(item, answer, events);
                }
            }
            _ => {}
        }
        if self.gives_up_later && !reply.settling && !reply.more {
            self.give_up_again();
        }
    }

    /// Groups form again: those who were told to wait for that now give up their places, if they still have them.
    fn give_up_again(&mut self) {
        self.gives_up_later = false;
        let release = self.options.shared.on_timeout == OnTimeout::Release;
        for (participant, there) in &mut self.waiting {
            let by_store = release && there.end == End::Expired; // decided there
            if there.is_held && !by_store {
                there.is_held = false;
                self.queue.push_back(end_item(participant, there, false));
            }
        }
    }

    /// What the store may have forgotten: groups first, since some who wait elsewhere are in them; then who waits, in order, so that
    /// all of them stand there when groups form again; then whose time is over. Who has left, or whose calls have ended
    /// meanwhile, does not come again.
    fn say_again(&mut self) {
        let queued = take(&mut self.queue);
        self.keep_heard(queued);
        if self.processes > 1 || self.settling {
            self.queue
                .extend(self.known.iter().map(|g| Item::Known(Arc::clone(g))));
        }
        if !self.closing {
            self.join_again();
        }
        self.queue.push_back(Item::Said);
        self.is_saying = true;
    }

    fn join_again(&mut self) {
        let release = self.options.shared.on_timeout == OnTimeout::Release;
        let mut joins: BTreeMap<Join, (&Participant, &mut Waiting)> = BTreeMap::new();
        for (participant, there) in &mut self.waiting {
            there.is_held = false;
            joins.insert(there.join, (participant, there));
        }
        let mut ends = Vec::new();
        for (join, (participant, there)) in joins {
            let ends_wait = there.end != End::Open;
            let for_all = release && there.end == End::Expired;
            // Where others have yet to speak, one of them may have heard of the group of one who gives up.
            let must_wait = there.has_calls() && (for_all || self.settling);
            if ends_wait && !must_wait {
                self.queue.push_back(end_item(participant, there, false));
                continue;
            }
            self.queue.push_back(Item::Join {
                join,
                participant: participant.clone(),
                payload: there.payload.clone(),
            });
            if ends_wait {
                ends.push(end_item(participant, there, for_all));
            } else if !there.ending.is_empty() {
                let participant = participant.clone();
                ends.push(Item::Ask { join, participant });
            }
        }
        self.queue.extend(ends);
    }

    fn item(&mut self, item: &Item, answer: ItemAnswer, events: &mut Vec<Event>) {
        let (Item::Join {
            join, participant, ..
        }
        | Item::Ask { join, participant }
        | Item::Leave { join, participant }
        | Item::GiveUp { join, participant }
        | Item::Expire { join, participant }) = item
        else {
            return;
        };
        let Some(there) = self.waiting.get_mut(participant) else {
            return; // its group is known by now
        };
        if there.join != *join {
            return;
        }
        match (item, answer) {
            (Item::Expire { .. }, ItemAnswer::Waits) => there.is_held = true,
            (Item::GiveUp { .. }, ItemAnswer::Waits) => {
                there.is_held = true;
                self.gives_up_later = true;
            }
            (Item::Ask { .. }, ItemAnswer::Waits | ItemAnswer::Left) => {
                let over = take(&mut there.ending);
                let others = self.waits_there;
                events.extend(
                    over.into_iter()
                        .map(|t| Event::Failed(t, self.too_long(others))),
                );
            }
            (_, ItemAnswer::Conflict) => {
                if let Some(there) = self.waiting.remove(participant) {
                    let error = conflict(participant, "another process");
                    let calls = there.joiners.into_iter().chain(there.ending);
                    events.extend(calls.map(|t| Event::Failed(t, error.clone())));
                    let leavers = there.leavers.into_iter();
                    events.extend(leavers.map(|t| Event::Left(t, false)));
                }
            }
            (Item::Leave { .. } | Item::GiveUp { .. } | Item::Expire { .. }, ItemAnswer::Left) => {
                if let Some(there) = self.waiting.remove(participant) {
                    let others = self.waits_there;
                    for ticket in there.joiners {
                        events.push(match there.end {
                            End::Expired => Event::Failed(ticket, self.too_long(others)),
                            End::Open | End::Leaves => Event::GaveUp(ticket),
                        });
                    }
                    let over = there.ending.into_iter();
                    events.extend(over.map(|t| Event::Failed(t, self.too_long(others))));
                    let leavers = there.leavers.into_iter();
                    events.extend(leavers.map(|t| Event::Left(t, true)));
                }
            }
            _ => {}
        }
    }

    fn too_long(&self, others: u32) -> Error {
        let size = self.options.shared.size;
        let name = &self.options.name;
        Error::Timeout(format!(
            "group {name}: no group of {size} formed in time; {others} others wait"
        ))
    }

    /// A group formed, as an answer or a message says.
    fn formed(&mut self, formed: &Arc<Formed>, events: &mut Vec<Event>) {
        self.floor = self.floor.max(formed.group);
        let mut is_elsewhere = false;
        let mut is_here = false;
        for (at, member) in formed.members.iter().enumerate() {
            if member.process != self.process {
                is_elsewhere = true;
                if !self.others.contains(&member.process) {
                    self.others.insert(member.process.clone());
                }
                continue;
            }
            let participant = &member.participant;
            if self
                .waiting
                .get(participant)
                .is_none_or(|there| there.join != member.join)
            {
                continue; // heard of before
            }
            is_here = true;
            let Some(there) = self.waiting.remove(participant) else {
                continue;
            };
            let index = u32::try_from(at + 1).unwrap_or(u32::MAX);
            self.counted += u32::from(at == 0);
            let calls = there.joiners.into_iter().chain(there.ending);
            let counted = self.counted;
            events.extend(calls.map(|ticket| {
                let formed = Arc::clone(formed);
                let placed = Placed {
                    formed,
                    index,
                    counted,
                };
                Event::Formed(ticket, placed)
            }));
            let leavers = there.leavers.into_iter();
            events.extend(leavers.map(|t| Event::Left(t, false)));
            self.heard.push(Item::Heard {
                join: member.join,
                participant: participant.clone(),
            });
        }
        if is_here && is_elsewhere {
            if self.known.len() == KNOWN_MAX {
                self.known.pop_front();
            }
            self.known.push_back(Arc::clone(formed));
        }
    }

    /// The store has a group again that this process has heard of long ago: it need not keep it for those who do not wait for it.
    fn hear_again(&mut self, formed: &Formed) {
        for member in formed.members.iter().filter(|m| m.process == self.process) {
            let there = self.waiting.get(&member.participant);
            if there.is_none_or(|there| there.join != member.join) {
                self.heard.push(Item::Heard {
                    join: member.join,
                    participant: member.participant.clone(),
                });
            }
        }
    }

    /// A message from the store.
    pub fn pushed(&mut self, push: &Push, events: &mut Vec<Event>) {
        match push {
            Push::Groups { formed } => {
                for formed in formed {
                    self.formed(formed, events);
                }
            }
            Push::Restored { formed } => {
                for formed in formed {
                    self.hear_again(formed);
                    self.formed(formed, events);
                }
            }
            Push::Hello { process } if *process != self.process => {
                self.others.insert(process.clone());
                self.wants_beat = true;
            }
            Push::Hello { .. } => {}
        }
    }

    /// The store will not take these groups, now or later.
    pub fn refuse(&mut self, error: &Error, events: &mut Vec<Event>) {
        let calls = self.take_all().into_iter();
        events.extend(calls.map(|t| Event::Failed(t, error.clone())));
        self.waiting.clear();
        self.queue.clear();
        self.refused = Some(error.clone());
    }
}
