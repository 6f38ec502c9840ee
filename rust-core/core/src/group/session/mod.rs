//! A process's side of its groups, without a clock and without a socket.
//!
//! A session says what to send next and is told what came back, or that nothing did. One operation is on its way at a time:
//! what is queued meanwhile goes in one.

use std::collections::{HashMap, HashSet, VecDeque};
use std::mem::take;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::ids::{Incarnation, Participant, ProcessId};
use crate::ticket::{Ticket, Token};

use super::options::{GroupOptions, OnTimeout};
use super::protocol::{Formed, Item, Join, Op, Request};

mod exchange;

/// How many items one operation carries at most; a group that is said again counts as its members.
pub const BATCH_MAX: usize = 1000;
/// Groups with members elsewhere that a process keeps, to tell a store that has lost them.
const KNOWN_MAX: usize = 10_000;

/// What a session has to tell.
#[derive(Debug)]
pub enum Event {
    /// A call of join ends: its user is in a group.
    Formed(Ticket, Placed),
    /// A call of leave ends: whether it gave up a place.
    Left(Ticket, bool),
    /// A call of join ends because its user gave up the place.
    GaveUp(Ticket),
    /// A call ends with an error.
    Failed(Ticket, Error),
}

/// A user's place in its group.
#[derive(Debug)]
pub struct Placed {
    /// The group.
    pub formed: Arc<Formed>,
    /// Its place, from 1.
    pub index: u32,
    /// How many groups this process has heard of whose first member is of this process: each group counts for one process.
    pub counted: u32,
}

/// One who waits.
struct Waiting {
    join: Join,
    owner: u64,
    payload: Option<Arc<str>>,
    joiners: Vec<Ticket>,
    /// Calls whose time is over while others of the same user go on waiting: the store has the last word on them.
    ending: Vec<Ticket>,
    leavers: Vec<Ticket>,
    end: End,
    /// The store has said that it decides later what the end of its wait brings.
    is_held: bool,
    /// When its calls were last found to wait for more than the store's answer.
    patient_at: Option<Instant>,
}

impl Waiting {
    /// Whether anybody waits for the answer.
    const fn has_calls(&self) -> bool {
        !self.joiners.is_empty() || !self.ending.is_empty()
    }
}

/// Whether somebody wants the wait to end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// Nobody does.
    Open,
    /// The user leaves.
    Leaves,
    /// It has waited long enough.
    Expired,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    Down,
    MustOpen,
    Opening,
    Live,
}

enum Sent {
    Open,
    Items(Vec<Item>),
    /// A heartbeat; the last one says that the process goes.
    Beat {
        closing: bool,
    },
}

/// See the [module's](self) description.
pub struct Session {
    process: ProcessId,
    options: Arc<GroupOptions>,
    link: Link,
    incarnation: Option<Incarnation>,
    epoch: u32,
    number: u32,
    acknowledged: (u32, u32),
    sent: Option<Sent>,
    waiting: HashMap<Participant, Waiting>,
    last_join: Join,
    queue: VecDeque<Item>,
    heard: Vec<Item>,
    known: VecDeque<Arc<Formed>>,
    floor: u32,
    /// Processes that were heard of.
    others: HashSet<ProcessId>,
    processes: u32,
    waits_there: u32,
    settling: bool,
    wants_beat: bool,
    /// The store has not yet been told all that it may have forgotten.
    is_saying: bool,
    /// Somebody gives up its place once groups form again.
    gives_up_later: bool,
    closing: bool,
    /// The store knows that the process has gone, or has nothing to hear of that.
    is_gone: bool,
    /// Groups whose first member is of this process.
    counted: u32,
    refused: Option<Error>,
}

impl Session {
    /// A session that nothing has been asked of.
    #[must_use]
    pub fn new(process: ProcessId, options: Arc<GroupOptions>) -> Self {
        Self {
            process,
            options,
            link: Link::Down,
            incarnation: None,
            epoch: 0,
            number: 0,
            acknowledged: (0, 0),
            sent: None,
            waiting: HashMap::new(),
            last_join: 0,
            queue: VecDeque::new(),
            heard: Vec::new(),
            known: VecDeque::new(),
            floor: 0,
            others: HashSet::new(),
            processes: 0,
            waits_there: 0,
            settling: false,
            wants_beat: false,
            is_saying: false,
            gives_up_later: false,
            closing: false,
            is_gone: false,
            counted: 0,
            refused: None,
        }
    }

    // ---- what participants do ----

    /// A participant comes. Who waits already goes on waiting where the same user asks.
    ///
    /// # Errors
    /// Another user of this process has the participant, it is about to leave, or the store has refused these options.
    pub fn join(
        &mut self,
        participant: &Participant,
        owner: u64,
        payload: Option<Arc<str>>,
        ticket: Ticket,
    ) -> Result<(), Error> {
        let refuse = |ticket: Ticket, error| {
            let _answered = ticket.redeem();
            Err(error)
        };
        if let Some(error) = &self.refused {
            return refuse(ticket, error.clone());
        }
        if let Some(there) = self.waiting.get_mut(participant) {
            if there.owner != owner {
                return refuse(ticket, conflict(participant, "another virtual user"));
            }
            if there.end != End::Open {
                let text = format!("participant {participant} is about to give up its place");
                return refuse(ticket, Error::Conflict(text));
            }
            there.joiners.push(ticket);
            return Ok(());
        }
        self.last_join += 1;
        let join = self.last_join;
        self.queue.push_back(Item::Join {
            join,
            participant: participant.clone(),
            payload: payload.clone(),
        });
        let waiting = Waiting {
            join,
            owner,
            payload,
            joiners: vec![ticket],
            ending: Vec::new(),
            leavers: Vec::new(),
            end: End::Open,
            is_held: false,
            patient_at: None,
        };
        self.waiting.insert(participant.clone(), waiting);
        Ok(())
    }

    /// A participant gives up its place.
    pub fn leave(&mut self, participant: &Participant, ticket: Ticket, events: &mut Vec<Event>) {
        let Some(there) = self.waiting.get_mut(participant) else {
            events.push(Event::Left(ticket, false));
            return;
        };
        there.leavers.push(ticket);
        if there.end != End::Leaves {
            there.end = End::Leaves;
            self.queue.push_back(end_item(participant, there, false));
        }
    }

    /// Nobody waits for the answer to these calls any more; a participant of which that was all gives up its place.
    pub fn withdraw(&mut self, participant: &Participant, token: Token) {
        let Some(there) = self.waiting.get_mut(participant) else {
            return;
        };
        for calls in [&mut there.joiners, &mut there.ending] {
            let gone = calls.extract_if(.., |t| t.token() == token);
            gone.for_each(|ticket| _ = ticket.redeem());
        }
        if there.joiners.is_empty() && there.end != End::Leaves {
            there.end = End::Leaves;
            self.queue.push_back(Item::Leave {
                join: there.join,
                participant: participant.clone(),
            });
        }
    }

    /// Ends the waits that have lasted long enough: the store has the last word on them. Where another call of the same user goes
    /// on waiting, its place stays, unless the end of one wait is the end of all.
    pub fn expire(&mut self, now: Instant) {
        let release = self.options.shared.on_timeout == OnTimeout::Release;
        for (participant, there) in &mut self.waiting {
            let is_over = |ticket: &Ticket| ticket.is_overdue(now);
            if there.end != End::Open || !there.joiners.iter().any(is_over) {
                continue;
            }
            if release || there.joiners.iter().all(is_over) {
                there.end = End::Expired;
                self.queue.push_back(end_item(participant, there, release));
            } else if there.ending.is_empty() {
                let over = there.joiners.extract_if(.., |t| t.is_overdue(now));
                there.ending.extend(over);
                self.queue.push_back(Item::Ask {
                    join: there.join,
                    participant: participant.clone(),
                });
            }
        }
    }

    /// Takes the calls that the store has not answered in time; a call of join has so much more time for that, and longer where
    /// the store has to hear of the processes first. And when the next call is due for anything.
    pub fn take_unanswered(
        &mut self,
        now: Instant,
        look: Duration,
    ) -> (Vec<Ticket>, Option<Instant>) {
        let (mut overdue, mut next) = (Vec::new(), None);
        let is_live = self.link == Link::Live;
        for there in self.waiting.values_mut() {
            let is_patient = is_live && (self.is_saying || there.is_held);
            if is_patient {
                there.patient_at = Some(now);
            }
            let asked_at = there.patient_at;
            let last = |until: Instant| asked_at.map_or(until, |at| at.max(until)) + look;
            let late = |t: &mut Ticket| !is_patient && t.until().is_some_and(|u| last(u) <= now);
            overdue.extend(there.joiners.extract_if(.., late));
            overdue.extend(there.ending.extract_if(.., late));
            overdue.extend(there.leavers.extract_if(.., late));
            let is_open = there.end == End::Open;
            let joiners = there.joiners.iter().filter_map(Ticket::until);
            let joiners = joiners.map(|until| if is_open { until } else { last(until) });
            let ending = there.ending.iter().filter_map(Ticket::until).map(last);
            let leavers = there.leavers.iter().filter_map(Ticket::until).map(last);
            next = joiners.chain(ending).chain(leavers).chain(next).min();
        }
        (overdue, next)
    }

    /// All calls, because nothing will answer them.
    pub fn take_all(&mut self) -> Vec<Ticket> {
        let mut all = Vec::new();
        for there in self.waiting.values_mut() {
            all.append(&mut there.joiners);
            all.append(&mut there.ending);
            all.append(&mut there.leavers);
        }
        all
    }

    // ---- what goes to the store ----

    /// A connection is there.
    pub fn connected(&mut self) {
        self.take_back();
        self.link = Link::MustOpen;
    }

    /// The connection is gone, and with it the answer to what was sent.
    pub fn disconnected(&mut self) {
        self.take_back();
        self.link = Link::Down;
    }

    /// What was on its way may be done or not: what is not said again anyway goes once more.
    fn take_back(&mut self) {
        match self.sent.take() {
            Some(Sent::Items(items)) => self.keep_heard(items),
            Some(Sent::Beat { closing }) => self.wants_beat |= closing,
            Some(Sent::Open) | None => {}
        }
    }

    /// Of these only what the store is not told again by saying who waits.
    fn keep_heard(&mut self, items: impl IntoIterator<Item = Item>) {
        let heard = items.into_iter();
        self.heard
            .extend(heard.filter(|i| matches!(i, Item::Heard { .. })));
    }

    /// The store refused what was sent; nobody knows whether it was done.
    pub fn no_answer(&mut self) {
        self.take_back();
        if self.link != Link::Down {
            self.link = Link::MustOpen;
        }
    }

    /// What there is to send now.
    pub fn next_request(&mut self) -> Option<Request> {
        if self.sent.is_some() || self.is_over() {
            return None;
        }
        let op = match self.link {
            Link::MustOpen => {
                self.link = Link::Opening;
                self.epoch += 1;
                self.number = 0;
                self.sent = Some(Sent::Open);
                return Some(self.request(Op::Open {
                    new_incarnation: Incarnation::random(),
                    options: self.options.shared.canonical(),
                    expected: self.expected(),
                    acknowledged: self.acknowledged,
                }));
            }
            Link::Live if !self.queue.is_empty() => {
                let mut items = take(&mut self.heard);
                let n = batch(&self.queue);
                let waiting = &self.waiting;
                // Some have heard of their group since they asked: the store must not take them for new ones.
                let queued = self.queue.drain(..n);
                items.extend(queued.filter_map(|item| current(waiting, item)));
                self.sent = Some(Sent::Items(items.clone()));
                Op::Items(items)
            }
            Link::Live if self.wants_beat => {
                self.wants_beat = false;
                let closing = self.closing;
                self.sent = Some(Sent::Beat { closing });
                Op::Beat { closing }
            }
            Link::Down | Link::Opening | Link::Live => return None,
        };
        self.number += 1;
        Some(self.request(op))
    }

    /// How many processes may be there. Others may have come of whom the last answer knew nothing.
    fn expected(&self) -> u32 {
        let heard_of = u32::try_from(self.others.len() + 1).unwrap_or(u32::MAX);
        match self.epoch {
            1 => 0,
            _ => self.processes.max(heard_of).max(2),
        }
    }

    /// Whether there is anything to send now.
    #[must_use]
    pub fn has_request(&self) -> bool {
        let live = !self.queue.is_empty() || self.wants_beat;
        let wants = match self.link {
            Link::Down | Link::Live => live,
            Link::MustOpen => true,
            Link::Opening => false,
        };
        wants && self.sent.is_none() && !self.is_over()
    }

    /// Whether the store has heard the last of this process: where it goes and nobody needs to hear of its groups, it does not
    /// come to the record only to leave it.
    fn is_over(&self) -> bool {
        let has_nothing_to_say = self.link != Link::Live && self.known.is_empty();
        self.refused.is_some() || self.is_gone || self.closing && has_nothing_to_say
    }

    fn request(&self, op: Op) -> Request {
        Request {
            process: self.process.clone(),
            incarnation: self.incarnation.clone(),
            epoch: self.epoch,
            number: self.number,
            floor: self.floor,
            op,
        }
    }

    /// A heartbeat is due, or the store waits to hear of this process.
    pub fn want_beat(&mut self) {
        self.wants_beat = true;
    }

    /// What the store may forget goes with whatever goes next, and now where nothing does.
    pub fn flush(&mut self) {
        if self.link == Link::Live && self.queue.is_empty() {
            self.queue.extend(take(&mut self.heard));
        }
    }

    /// The process ends: the last thing to be said is that it goes.
    pub fn close(&mut self) {
        self.closing = true;
        self.wants_beat = true;
    }

    /// Whether nothing is on its way and nothing can be sent.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let is_quiet = self.sent.is_none() && !self.wants_beat && self.queue.is_empty();
        self.is_over()
            || match self.link {
                Link::Down => true,
                Link::MustOpen | Link::Opening => false,
                Link::Live => is_quiet,
            }
    }

    /// Whether the record was opened over this connection.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.link == Link::Live
    }

    /// Whether the store waits to hear of processes.
    #[must_use]
    pub const fn is_settling(&self) -> bool {
        self.settling
    }

    /// How many groups this process has heard of whose first member is its own.
    #[must_use]
    pub const fn counted(&self) -> u32 {
        self.counted
    }

    /// The newest group heard of, those who wait in this process, and those who wait at all as far as is known.
    #[must_use]
    pub fn tally(&self) -> (u32, usize, u32, u32) {
        let here = self.waiting.len();
        (self.floor, here, self.waits_there, self.processes)
    }
}

/// How many items the next operation carries.
fn batch(queue: &VecDeque<Item>) -> usize {
    let mut weight = 0;
    let fits = |item: &&Item| {
        weight += match item {
            Item::Known(formed) => formed.members.len(),
            _ => 1,
        };
        weight <= BATCH_MAX
    };
    queue.iter().take_while(fits).count().max(1)
}

/// The item, where it is of one who still waits or of nobody. Of a user whose calls have all ended only that it leaves.
fn current(waiting: &HashMap<Participant, Waiting>, item: Item) -> Option<Item> {
    let there = |participant: &Participant, join: Join| {
        waiting.get(participant).filter(|there| there.join == join)
    };
    match &item {
        Item::Heard { .. } | Item::Known(_) | Item::Said => {}
        Item::Leave { join, participant } => _ = there(participant, *join)?,
        Item::Join {
            join, participant, ..
        }
        | Item::Ask { join, participant } => {
            if !there(participant, *join)?.has_calls() {
                return None;
            }
        }
        Item::GiveUp { join, participant } | Item::Expire { join, participant } => {
            let there = there(participant, *join)?;
            if !there.has_calls() {
                return Some(end_item(participant, there, false));
            }
        }
    }
    Some(item)
}

/// How a wait ends: by the end of all waits, or by giving up its place. Where nobody wants to know whether it was in a group by
/// then, the place is free at once.
fn end_item(participant: &Participant, there: &Waiting, release: bool) -> Item {
    let (join, participant) = (there.join, participant.clone());
    if release {
        Item::Expire { join, participant }
    } else if there.has_calls() {
        Item::GiveUp { join, participant }
    } else {
        Item::Leave { join, participant }
    }
}

fn conflict(participant: &Participant, holder: &str) -> Error {
    Error::Conflict(format!(
        "participant {participant} waits already, for {holder}; run the processes with execution segments, or give \
         each user an id of its own"
    ))
}
