//! The store of groups inside one process: the rules, in Rust.
//!
//! It is also the reference that the Redis script is compared with, operation by operation, by the model test.

use std::collections::HashMap;
use std::sync::Arc;

use crate::ids::{Incarnation, Participant, ProcessId};
use crate::protocol::StoreTime;

use super::options::Shared;
use super::protocol::{
    Answer, Formed, FormedBy, Item, ItemAnswer, Join, Member, Op, Push, Reply, Request,
};

/// A process that has not been heard of for so many microseconds has gone: it has missed three heartbeats.
pub const SILENT_MAX: i64 = 15_000_000;
/// While no group forms because the store waits to hear of the other processes, one that was silent for so many microseconds is
/// not waited for any longer. One that speaks is, however long it takes.
pub const SETTLE_MAX: i64 = 3_000_000;
/// Between two operations the record grows older by so many microseconds at most, and never younger: the server's clock may be
/// set, and a server that stood still has heard nobody. More than the time between two heartbeats.
pub const GAP_MAX: i64 = 6_000_000;
/// The same while no group forms, when each process asks ten times as often and more.
pub const SETTLING_GAP_MAX: i64 = 1_000_000;

/// So many users are put into full groups by one operation, where more wait: the script does it for a server with other users.
pub const FORM_MAX: usize = 1000;

/// A time on the record's own clock, in microseconds since it was created.
type Age = i64;

#[derive(Debug, Clone)]
struct Process {
    epoch: u32,
    number: u32,
    seen: Age,
    gone: bool,
    /// It has said what it knows of groups since it opened the record.
    said: bool,
}

/// One who waits.
#[derive(Debug, Clone)]
struct Place {
    member: Member,
    /// Its time is over, and it has yet to be decided what that brings.
    is_due: bool,
}

impl Place {
    fn is_of(&self, me: &ProcessId, participant: &Participant, join: Join) -> bool {
        let Member {
            process,
            join: its,
            participant: who,
            ..
        } = &self.member;
        who == participant && process == me && *its == join
    }
}

/// Where a participant is whose process has yet to hear of it.
#[derive(Debug, Clone)]
struct Standing {
    process: ProcessId,
    join: Join,
    group: u32,
}

#[derive(Debug, Clone, Copy)]
struct Settling {
    since: Age,
    expected: u32,
}

#[derive(Debug, Clone)]
struct Record {
    incarnation: Incarnation,
    canonical: String,
    size: usize,
    groups: u32,
    /// The store's clock at the newest operation.
    at: StoreTime,
    age: Age,
    waiting: Vec<Place>,
    processes: HashMap<ProcessId, Process>,
    standing: HashMap<Participant, Standing>,
    /// Groups of which somebody has yet to hear, and how many those are.
    kept: HashMap<u32, (Arc<Formed>, usize)>,
    settling: Option<Settling>,
}

/// What an operation brought.
#[derive(Default)]
struct Brought {
    answered: Vec<Arc<Formed>>,
    /// Users who were put into full groups.
    placed: usize,
    told: Vec<Arc<Formed>>,
    restored: Vec<Arc<Formed>>,
}

/// The store of one name's groups. It may forget everything at any time, as another store may.
#[derive(Debug, Default, Clone)]
pub struct GroupStore {
    record: Option<Record>,
}

impl GroupStore {
    /// Carries out an operation; what all processes are told goes to `pushes`.
    pub fn apply(&mut self, request: &Request, now: StoreTime, pushes: &mut Vec<Push>) -> Reply {
        let me = &request.process;
        let mut brought = Brought::default();
        if let Op::Open {
            new_incarnation,
            options,
            expected,
            acknowledged,
        } = &request.op
        {
            let record = self
                .record
                .get_or_insert_with(|| Record::new(new_incarnation, options, now));
            if record.canonical != *options {
                return refused(Answer::Options(record.canonical.clone()), now);
            }
            record.grow_older(now);
            record.open(request, *expected, *acknowledged, pushes);
            record.settle(me, now, &mut brought);
            return record.reply(Answer::Ok, brought, now, pushes);
        }
        let Some(record) = self
            .record
            .as_mut()
            .filter(|r| Some(&r.incarnation) == request.incarnation.as_ref())
        else {
            return refused(Answer::Reopen, now);
        };
        let behind = request.floor > record.groups;
        let process = record.processes.get_mut(me).filter(|p| {
            !p.gone && p.epoch == request.epoch && p.number + 1 == request.number && !behind
        });
        let Some(process) = process else {
            return refused(Answer::Reopen, now);
        };
        process.number = request.number;
        record.grow_older(now);
        if let Some(process) = record.processes.get_mut(me) {
            process.seen = record.age;
        }
        record.settle(me, now, &mut brought);
        let answer = match &request.op {
            Op::Items(items) => {
                let answers = items.iter().map(|i| record.item(me, i, now, &mut brought));
                Answer::Items(answers.collect())
            }
            Op::Beat { closing } => {
                let silent = record.age - SILENT_MAX;
                record.send_away(|id, p| (*closing && id == me) || p.seen < silent);
                record.settle(me, now, &mut brought);
                Answer::Ok
            }
            Op::Open { .. } => Answer::Ok, // does not come here
        };
        record.reply(answer, brought, now, pushes)
    }

    /// As many groups as have formed; who waits, in order; and of how many members the process has yet to hear of the group.
    #[must_use]
    pub fn look(&self) -> (u32, Vec<Participant>, usize) {
        self.record.as_ref().map_or_else(Default::default, |r| {
            let waiting = r.waiting.iter().map(|p| p.member.participant.clone());
            (r.groups, waiting.collect(), r.standing.len())
        })
    }
}

fn refused(answer: Answer, now: StoreTime) -> Reply {
    Reply {
        answer,
        incarnation: None,
        groups: 0,
        waiting: 0,
        processes: 0,
        settling: false,
        more: false,
        formed: Vec::new(),
        now,
    }
}

impl Record {
    fn new(incarnation: &Incarnation, canonical: &str, now: StoreTime) -> Self {
        let size = serde_json::from_str(canonical).map_or(1, |shared: Shared| shared.size);
        Self {
            incarnation: incarnation.clone(),
            canonical: canonical.to_owned(),
            size: usize::try_from(size).unwrap_or(usize::MAX),
            groups: 0,
            at: now,
            age: 0,
            waiting: Vec::new(),
            processes: HashMap::new(),
            standing: HashMap::new(),
            kept: HashMap::new(),
            settling: None,
        }
    }

    fn grow_older(&mut self, now: StoreTime) {
        let most = match self.settling {
            Some(_) => SETTLING_GAP_MAX,
            None => GAP_MAX,
        };
        self.age += (now.0 - self.at.0).clamp(0, most);
        self.at = now;
    }

    fn alive(&self) -> u32 {
        let alive = self.processes.values().filter(|p| !p.gone).count();
        u32::try_from(alive).unwrap_or(u32::MAX)
    }

    /// The process begins anew. What it was in may be what it has left long ago in a record that was lost and came back: it says
    /// again what is still so.
    fn open(
        &mut self,
        request: &Request,
        expected: u32,
        acknowledged: (u32, u32),
        pushes: &mut Vec<Push>,
    ) {
        let me = &request.process;
        let known = self.processes.get(me);
        let known = known.map_or((0, 0), |p| (p.epoch, p.number));
        let is_behind = known < acknowledged || request.floor > self.groups;
        let expected = if is_behind { expected } else { 0 };
        self.waiting.retain(|p| p.member.process != *me);
        self.groups = self.groups.max(request.floor);
        let process = Process {
            epoch: request.epoch,
            number: 0,
            seen: self.age,
            gone: false,
            said: false,
        };
        self.processes.insert(me.clone(), process);
        if self.alive() > 1 || expected > 1 {
            let since = self.settling.map_or(self.age, |s| s.since);
            let known = self.settling.map_or(0, |s| s.expected);
            self.settling = Some(Settling {
                since,
                expected: known.max(expected),
            });
        }
        pushes.push(Push::Hello {
            process: me.clone(),
        });
    }

    /// Ends the wait for the other processes where it may end: whoever has not said what it knows was silent for too long. Who was
    /// not heard at all has gone.
    fn settle(&mut self, me: &ProcessId, now: StoreTime, brought: &mut Brought) {
        let Some(Settling { since, expected }) = self.settling else {
            self.form_full(me, now, brought);
            return;
        };
        let is_patient = |heard: Age| heard + SETTLE_MAX > self.age;
        let mut alive = self.processes.values().filter(|p| !p.gone);
        let speaks = |p: &Process| !(p.said && p.seen >= since) && is_patient(p.seen.max(since));
        if alive.any(speaks) || self.alive() < expected && is_patient(since) {
            return;
        }
        self.settling = None;
        self.send_away(|_, p| p.seen < since);
        self.form_full(me, now, brought);
    }

    /// These processes have gone, and the places of their users are free.
    fn send_away(&mut self, which: impl Fn(&ProcessId, &Process) -> bool) {
        for (id, process) in &mut self.processes {
            if !process.gone && which(id, process) {
                process.gone = true;
                self.waiting.retain(|p| p.member.process != *id);
            }
        }
    }

    /// Groups that are full form, and once there are no more, what time-outs bring is decided.
    fn form_full(&mut self, me: &ProcessId, now: StoreTime, brought: &mut Brought) {
        if self.settling.is_some() {
            return;
        }
        while self.waiting.len() >= self.size {
            if brought.placed > 0 && brought.placed + self.size > FORM_MAX {
                return; // the next operation goes on
            }
            brought.placed += self.size;
            self.form(me, self.size, FormedBy::All, now, brought);
        }
        if self.waiting.iter().any(|p| p.is_due) {
            self.form(me, self.waiting.len(), FormedBy::Timeout, now, brought);
        }
    }

    /// The first so many who wait are a group.
    fn form(
        &mut self,
        me: &ProcessId,
        n: usize,
        why: FormedBy,
        now: StoreTime,
        brought: &mut Brought,
    ) {
        self.groups += 1;
        let formed = Arc::new(Formed {
            group: self.groups,
            why,
            at: now,
            members: self.waiting.drain(..n).map(|p| p.member).collect(),
        });
        for member in &formed.members {
            self.drop_standing(&member.participant);
            let standing = Standing {
                process: member.process.clone(),
                join: member.join,
                group: formed.group,
            };
            self.standing.insert(member.participant.clone(), standing);
        }
        if formed.members.iter().any(|m| m.process != *me) {
            brought.told.push(Arc::clone(&formed));
        }
        brought.answered.push(Arc::clone(&formed));
        self.kept.insert(formed.group, (formed, n));
    }

    /// Nobody needs to be told of its group any more.
    fn drop_standing(&mut self, participant: &Participant) {
        if let Some(standing) = self.standing.remove(participant)
            && let Some((_, owed)) = self.kept.get_mut(&standing.group)
        {
            *owed -= 1;
            if *owed == 0 {
                self.kept.remove(&standing.group);
            }
        }
    }

    /// The participant's group by this join, where its process has yet to hear of it.
    fn group_of(
        &self,
        me: &ProcessId,
        participant: &Participant,
        join: Join,
    ) -> Option<Arc<Formed>> {
        let standing = self.standing.get(participant)?;
        let is_it = standing.process == *me && standing.join == join;
        let (formed, _) = self.kept.get(&standing.group).filter(|_| is_it)?;
        Some(Arc::clone(formed))
    }

    fn place_of(&self, me: &ProcessId, participant: &Participant, join: Join) -> Option<usize> {
        let mut waiting = self.waiting.iter();
        waiting.position(|p| p.is_of(me, participant, join))
    }

    fn item(
        &mut self,
        me: &ProcessId,
        item: &Item,
        now: StoreTime,
        brought: &mut Brought,
    ) -> ItemAnswer {
        match item {
            Item::Join {
                join,
                participant,
                payload,
            } => {
                let mut waiting = self.waiting.iter();
                if let Some(there) = waiting.find(|p| p.member.participant == *participant) {
                    return match there.is_of(me, participant, *join) {
                        true => ItemAnswer::Waits,
                        false => ItemAnswer::Conflict,
                    };
                }
                if let Some(formed) = self.group_of(me, participant, *join) {
                    brought.answer(formed);
                    return ItemAnswer::Formed;
                }
                if let Some(standing) = self.standing.get(participant)
                    && standing.process != *me
                    && (self.processes.get(&standing.process)).is_some_and(|p| !p.gone)
                {
                    return ItemAnswer::Conflict;
                }
                let member = Member {
                    process: me.clone(),
                    join: *join,
                    participant: participant.clone(),
                    payload: payload.clone(),
                };
                self.waiting.push(Place {
                    member,
                    is_due: false,
                });
                self.form_full(me, now, brought);
                match self.place_of(me, participant, *join) {
                    Some(_) => ItemAnswer::Waits,
                    None => ItemAnswer::Formed,
                }
            }
            Item::Ask { join, participant } => {
                if let Some(formed) = self.group_of(me, participant, *join) {
                    brought.answer(formed);
                    return ItemAnswer::Formed;
                }
                match self.place_of(me, participant, *join) {
                    Some(_) => ItemAnswer::Waits,
                    None => ItemAnswer::Left,
                }
            }
            Item::Leave { join, participant } => {
                if let Some(formed) = self.group_of(me, participant, *join) {
                    brought.answer(formed);
                    return ItemAnswer::Formed;
                }
                if let Some(at) = self.place_of(me, participant, *join) {
                    self.waiting.remove(at);
                }
                ItemAnswer::Left
            }
            Item::GiveUp { join, participant } => {
                let forms = self.settling.is_none() && self.waiting.len() < self.size;
                if !forms && self.place_of(me, participant, *join).is_some() {
                    return ItemAnswer::Waits;
                }
                let (join, participant) = (*join, participant.clone());
                self.item(me, &Item::Leave { join, participant }, now, brought)
            }
            Item::Expire { join, participant } => {
                if let Some(formed) = self.group_of(me, participant, *join) {
                    brought.answer(formed);
                    return ItemAnswer::Formed;
                }
                let Some(at) = self.place_of(me, participant, *join) else {
                    return ItemAnswer::Left;
                };
                if self.settling.is_some() || self.waiting.len() >= self.size {
                    self.waiting[at].is_due = true;
                    return ItemAnswer::Waits;
                }
                self.form(me, self.waiting.len(), FormedBy::Timeout, now, brought);
                ItemAnswer::Formed
            }
            Item::Heard { join, participant } => {
                let is_it = |s: &Standing| s.process == *me && s.join == *join;
                if self.standing.get(participant).is_some_and(is_it) {
                    self.drop_standing(participant);
                }
                ItemAnswer::Done
            }
            Item::Said => {
                if let Some(process) = self.processes.get_mut(me) {
                    process.said = true;
                }
                self.settle(me, now, brought);
                ItemAnswer::Done
            }
            Item::Known(formed) => {
                self.remember(me, formed, brought);
                ItemAnswer::Done
            }
        }
    }

    /// A group that the process has heard of and this record has perhaps not: members of other processes may still wait for it.
    fn remember(&mut self, me: &ProcessId, formed: &Arc<Formed>, brought: &mut Brought) {
        let is_kept = self.kept.contains_key(&formed.group);
        for member in formed.members.iter().filter(|m| m.process == *me) {
            let is_over = |s: &Standing| s.process == *me && s.join <= member.join;
            if self.standing.get(&member.participant).is_some_and(is_over) {
                self.drop_standing(&member.participant); // it has heard of this one
            }
        }
        if is_kept {
            return;
        }
        let mut owed = 0;
        for member in formed.members.iter().filter(|m| m.process != *me) {
            let newer = |s: &Standing| s.process != member.process || s.join >= member.join;
            if self.standing.get(&member.participant).is_some_and(newer) {
                continue;
            }
            let mut waiting = self.waiting.iter();
            if let Some(at) = waiting.position(|p| p.member.participant == member.participant) {
                let waits = &self.waiting[at].member;
                if waits.process != member.process || waits.join != member.join {
                    continue;
                }
                self.waiting.remove(at);
            }
            self.drop_standing(&member.participant);
            let standing = Standing {
                process: member.process.clone(),
                join: member.join,
                group: formed.group,
            };
            self.standing.insert(member.participant.clone(), standing);
            owed += 1;
        }
        if owed > 0 {
            self.kept.insert(formed.group, (Arc::clone(formed), owed));
            brought.restored.push(Arc::clone(formed));
        }
    }

    fn reply(
        &self,
        answer: Answer,
        brought: Brought,
        now: StoreTime,
        pushes: &mut Vec<Push>,
    ) -> Reply {
        if !brought.told.is_empty() {
            pushes.push(Push::Groups {
                formed: brought.told,
            });
        }
        if !brought.restored.is_empty() {
            pushes.push(Push::Restored {
                formed: brought.restored,
            });
        }
        Reply {
            answer,
            incarnation: Some(self.incarnation.clone()),
            groups: self.groups,
            waiting: u32::try_from(self.waiting.len()).unwrap_or(u32::MAX),
            processes: self.alive(),
            settling: self.settling.is_some(),
            more: self.settling.is_none() && self.waiting.len() >= self.size,
            formed: brought.answered,
            now,
        }
    }
}

impl Brought {
    fn answer(&mut self, formed: Arc<Formed>) {
        if self.answered.iter().all(|f| f.group != formed.group) {
            self.answered.push(formed);
        }
    }
}
