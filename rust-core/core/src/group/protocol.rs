//! What a process says to the store of its groups, and what it hears from it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{Incarnation, Participant, ProcessId};
use crate::protocol::StoreTime;

/// The number of a join within its process: 1, 2, …; a participant that comes again has a greater one.
pub type Join = u64;

/// One operation. The store takes the operations of a process in their order, each once, or none.
#[derive(Debug, Clone)]
pub struct Request {
    /// Who asks.
    pub process: ProcessId,
    /// The life of the record that the process knows; none before it is open.
    pub incarnation: Option<Incarnation>,
    /// How often the process has opened the record.
    pub epoch: u32,
    /// The number of this operation since then: 1, 2, …
    pub number: u32,
    /// The newest group that the process has heard of: a store that knows fewer has lost something.
    pub floor: u32,
    /// What is asked.
    pub op: Op,
}

/// What is asked.
#[derive(Debug, Clone)]
pub enum Op {
    /// Create the record, or find it; the process begins anew in it.
    Open {
        /// The life of the record, where it is created.
        new_incarnation: Incarnation,
        /// [`super::options::Shared::canonical`].
        options: String,
        /// How many processes may be there, itself included, as far as this one knows; 0 at its first.
        expected: u32,
        /// Epoch and number of the last operation that was answered: a store that knows less of it has lost something.
        acknowledged: (u32, u32),
    },
    /// What participants do, in order.
    Items(Vec<Item>),
    /// The process is alive.
    Beat {
        /// It goes.
        closing: bool,
    },
}

/// What one participant does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// It comes.
    Join {
        /// The number of the join.
        join: Join,
        /// Who.
        participant: Participant,
        /// What the other members of its group are told.
        payload: Option<Arc<str>>,
    },
    /// Does it wait? It goes on doing so.
    Ask {
        /// The number of the join.
        join: Join,
        /// Who.
        participant: Participant,
    },
    /// It gives up its place.
    Leave {
        /// The number of the join.
        join: Join,
        /// Who.
        participant: Participant,
    },
    /// The same of one who is to know whether it was in a group by then. While no group forms it goes on waiting, and the process
    /// says so again when groups form.
    GiveUp {
        /// The number of the join.
        join: Join,
        /// Who.
        participant: Participant,
    },
    /// It has waited long enough: all who wait are a group. While no group forms that is decided when groups form again.
    Expire {
        /// The number of the join.
        join: Join,
        /// Who.
        participant: Participant,
    },
    /// The process has heard of its group; the store need not keep it for this member.
    Heard {
        /// The number of the join.
        join: Join,
        /// Who.
        participant: Participant,
    },
    /// The process has heard of this group, which the store may have forgotten.
    Known(Arc<Formed>),
    /// The process has said all that it knows of groups.
    Said,
}

/// The answer to one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemAnswer {
    /// It waits. One whose time is over waits until groups form again.
    Waits,
    /// It is in a group: [`Reply::formed`] has it.
    Formed,
    /// It does not wait any more, and was in no group.
    Left,
    /// Another process has this participant.
    Conflict,
    /// Nothing more is to be said.
    Done,
}

/// Why a group formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FormedBy {
    /// As many came as it has members.
    All,
    /// Somebody had waited long enough.
    Timeout,
}

impl FormedBy {
    /// The name that scripts see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Timeout => "timeout",
        }
    }
}

/// A member of a group. As JSON a list: process, join, participant, and the payload where there is one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Listed")]
pub struct Member {
    /// Its process.
    pub process: ProcessId,
    /// The number of its join.
    pub join: Join,
    /// Who.
    pub participant: Participant,
    /// What it told the others.
    pub payload: Option<Arc<str>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Listed {
    With(ProcessId, Join, Participant, Arc<str>),
    Without(ProcessId, Join, Participant),
}

impl From<Listed> for Member {
    fn from(listed: Listed) -> Self {
        let (process, join, participant, payload) = match listed {
            Listed::With(process, join, who, payload) => (process, join, who, Some(payload)),
            Listed::Without(process, join, who) => (process, join, who, None),
        };
        Self {
            process,
            join,
            participant,
            payload,
        }
    }
}

impl Serialize for Member {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let (process, join, who) = (&self.process, self.join, &self.participant);
        match &self.payload {
            Some(payload) => (process, join, who, payload).serialize(to),
            None => (process, join, who).serialize(to),
        }
    }
}

/// A group: decided once, and never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Formed {
    /// Its number: 1, 2, …
    pub group: u32,
    /// Why it formed.
    pub why: FormedBy,
    /// When, on the store's clock.
    pub at: StoreTime,
    /// Its members, in the order in which they came.
    pub members: Vec<Member>,
}

/// How the store took an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is done.
    Ok,
    /// The same, with the answer to each item.
    Items(Vec<ItemAnswer>),
    /// Nothing was done: the store has another record, none, or has missed or forgotten something. The process opens again.
    Reopen,
    /// The record has other options.
    Options(String),
}

/// The store's answer to an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// How it was taken.
    pub answer: Answer,
    /// The life of the record.
    pub incarnation: Option<Incarnation>,
    /// The number of the newest group.
    pub groups: u32,
    /// How many wait.
    pub waiting: u32,
    /// How many processes there are.
    pub processes: u32,
    /// No group forms until the other processes have been heard.
    pub settling: bool,
    /// More groups form with the next operation.
    pub more: bool,
    /// Groups that formed now, and those that items were answered with.
    pub formed: Vec<Arc<Formed>>,
    /// When the store answered, on its own clock.
    pub now: StoreTime,
}

/// A message to all processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Push {
    /// Groups formed.
    Groups {
        /// They.
        formed: Vec<Arc<Formed>>,
    },
    /// The store knows these groups again, by what a process said. Who has heard of them says so once more.
    Restored {
        /// They.
        formed: Vec<Arc<Formed>>,
    },
    /// A process has come, or is back: whoever is there says so.
    Hello {
        /// It.
        process: ProcessId,
    },
}
