//! Who holds a connection to a broker, and how messages get to them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use target_kit::Switches;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::watch;

use crate::Faults;
use crate::auth::number_of;
use crate::faults::Silence;
use crate::sse::{BACKLOG, Frame, framed};

/// Where the user of a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// `IN_ENTRY`: waits in the queue.
    Queued,
    /// `IN_PROGRESS`: promoted, holds a slot.
    Promoted,
}

/// What a user is sent.
#[derive(Debug, Clone)]
pub(crate) enum Message {
    /// Greetings and heartbeats, which only a stream has.
    Bytes(Bytes),
    /// What users are told of their place.
    Text(Arc<str>),
}

/// What a user who asks hears; nothing until something is known.
pub(crate) type Answer = watch::Receiver<Option<Arc<str>>>;

/// How messages get to a user.
#[derive(Debug)]
enum Outlet {
    Stream(mpsc::Sender<Frame>),
    /// The last message waits to be asked for.
    Mailbox {
        answer: watch::Sender<Option<Arc<str>>>,
        asked: Instant,
        /// The user's join is complete: Redis knows of it.
        joined: bool,
    },
}

/// Somebody who asks again and again, and whom Redis knew when this was made.
#[derive(Debug)]
pub(crate) struct Asker {
    user: String,
    id: u64,
}

#[derive(Debug)]
struct Connection {
    id: u64,
    event: Arc<str>,
    phase: Phase,
    number: u32,
    outlet: Outlet,
}

/// A connection that is no longer registered. Whoever gets it releases what it held, so that this happens once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Closed {
    pub(crate) user: String,
    pub(crate) event: Arc<str>,
    pub(crate) phase: Phase,
}

/// A connection that has just been registered.
#[derive(Debug)]
pub(crate) struct Opened<T> {
    pub(crate) id: u64,
    /// The user's end of it.
    pub(crate) end: T,
    /// The user's earlier connection, which hears nothing more.
    pub(crate) replaced: Option<Closed>,
}

/// How a promotion met the user's connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Marked {
    /// The connection is promoted now.
    Promoted {
        /// The connection's id.
        id: u64,
    },
    /// The user has no connection, or one that holds a slot already: the new slot is not used.
    Unused,
    /// The user waits for another event by now.
    OtherEvent,
}

/// The connections of one broker, one per user.
#[derive(Debug)]
pub(crate) struct Registry {
    silence: Arc<Silence>,
    faults: Switches<Faults>,
    /// A user who has not asked for so long is gone.
    patience: Duration,
    // A std mutex: it is held for short loops without an await in them.
    connections: Mutex<Connections>,
}

#[derive(Debug, Default)]
struct Connections {
    by_user: HashMap<String, Connection>,
    last_id: u64,
}

impl Registry {
    pub(crate) fn new(silence: Arc<Silence>, faults: Switches<Faults>, patience: Duration) -> Self {
        Self {
            silence,
            faults,
            patience,
            connections: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        // No code that holds the lock can leave the map half changed.
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a stream with its greeting. It takes the place of the user's earlier connection.
    pub(crate) fn open_stream(
        &self,
        user: &str,
        event: &Arc<str>,
        greeting: Bytes,
    ) -> Opened<mpsc::Receiver<Frame>> {
        let (frames, receiver) = mpsc::channel(BACKLOG);
        if self.silence.admit_message(number_of(user)) {
            // A new channel has room and a receiver.
            let _ = frames.try_send(Frame::Bytes(greeting));
        }
        self.open(user, event, Outlet::Stream(frames), receiver)
    }

    /// Registers a user who will ask again and again. It takes the place of the user's earlier connection.
    pub(crate) fn open_mailbox(&self, user: &str, event: &Arc<str>) -> Opened<Answer> {
        let (answer, receiver) = watch::channel(None);
        let asked = Instant::now();
        let outlet = Outlet::Mailbox {
            answer,
            asked,
            joined: false,
        };
        self.open(user, event, outlet, receiver)
    }

    fn open<T>(&self, user: &str, event: &Arc<str>, outlet: Outlet, end: T) -> Opened<T> {
        let mut connections = self.lock();
        connections.last_id += 1;
        let id = connections.last_id;
        let connection = Connection {
            id,
            event: Arc::clone(event),
            phase: Phase::Queued,
            number: number_of(user),
            outlet,
        };
        let replaced = connections.by_user.insert(user.to_owned(), connection);
        Opened {
            id,
            end,
            replaced: replaced.map(|connection| connection.close(user)),
        }
    }

    /// The answer of a user who asks, if there is one to come for this event.
    pub(crate) fn ask(&self, user: &str, event: &str) -> Option<Answer> {
        let mut connections = self.lock();
        let connection = connections.by_user.get_mut(user)?;
        match &mut connection.outlet {
            Outlet::Mailbox { answer, asked, .. } if *connection.event == *event => {
                *asked = Instant::now();
                Some(answer.subscribe())
            }
            _ => None,
        }
    }

    /// Redis knows of this user who asks.
    pub(crate) fn has_joined(&self, user: &str, id: u64) {
        let mut connections = self.lock();
        let connection = connections.by_user.get_mut(user);
        if let Some(Connection { outlet, .. }) = connection.filter(|connection| connection.id == id)
            && let Outlet::Mailbox { joined, .. } = outlet
        {
            *joined = true;
        }
    }

    /// Those who ask, by their events.
    pub(crate) fn askers(&self) -> HashMap<Arc<str>, Vec<Asker>> {
        let mut askers: HashMap<Arc<str>, Vec<Asker>> = HashMap::new();
        for (user, connection) in &self.lock().by_user {
            if let Outlet::Mailbox { joined: true, .. } = connection.outlet {
                let of_event = askers.entry(Arc::clone(&connection.event));
                of_event.or_default().push(Asker {
                    user: user.clone(),
                    id: connection.id,
                });
            }
        }
        askers
    }

    /// Forgets those who ask. Nothing is released.
    pub(crate) fn forget(&self, askers: &[Asker]) {
        let mut connections = self.lock();
        for asker in askers {
            connections.close_if(&asker.user, |connection| connection.id == asker.id);
        }
    }

    /// The first answer of a user who asks, unless a round was faster.
    pub(crate) fn answer_if_first(&self, user: &str, id: u64, text: Arc<str>) {
        let connections = self.lock();
        let connection = connections.by_user.get(user);
        if let Some(Connection { outlet, .. }) = connection.filter(|connection| connection.id == id)
            && let Outlet::Mailbox { answer, .. } = outlet
        {
            answer.send_if_modified(|known| {
                let first = known.is_none();
                if first {
                    *known = Some(text);
                }
                first
            });
        }
    }

    pub(crate) fn is_registered(&self, user: &str) -> bool {
        self.lock().by_user.contains_key(user)
    }

    pub(crate) fn waits_for(&self, user: &str, event: &str) -> bool {
        self.lock()
            .by_user
            .get(user)
            .is_some_and(|connection| connection.waits_for(event))
    }

    pub(crate) fn close_id(&self, user: &str, id: u64) -> Option<Closed> {
        self.lock().close_if(user, |connection| connection.id == id)
    }

    pub(crate) fn close_event(&self, user: &str, event: &str) -> Option<Closed> {
        self.lock()
            .close_if(user, |connection| *connection.event == *event)
    }

    /// Promotes the user's connection for this event.
    pub(crate) fn mark_promoted(&self, user: &str, event: &str) -> Marked {
        match self.lock().by_user.get_mut(user) {
            None => Marked::Unused,
            Some(connection) if *connection.event != *event => Marked::OtherEvent,
            Some(connection) if connection.phase == Phase::Promoted => Marked::Unused,
            Some(connection) => {
                connection.phase = Phase::Promoted;
                Marked::Promoted { id: connection.id }
            }
        }
    }

    /// Sends to one connection. `Err` if it is not registered any more, `Ok(Some(…))` if it had to be closed.
    pub(crate) fn send(
        &self,
        user: &str,
        id: u64,
        message: Message,
    ) -> Result<Option<Closed>, Gone> {
        let mut connections = self.lock();
        let connection = connections
            .by_user
            .get(user)
            .filter(|connection| connection.id == id);
        let connection = connection.ok_or(Gone)?;
        if self.deliver(connection, message) {
            return Ok(None);
        }
        Ok(connections.close_if(user, |_| true))
    }

    /// Sends positions to those who still wait for the event; returns the connections that broke.
    pub(crate) fn send_positions<'a>(
        &self,
        event: &str,
        positions: impl IntoIterator<Item = (&'a str, Arc<str>)>,
    ) -> Vec<Closed> {
        let cut = self.faults.with(|faults| faults.cut_streams);
        let mut connections = self.lock();
        let mut closed = Vec::new();
        for (user, position) in positions {
            let Some(connection) = connections.by_user.get(user) else {
                continue;
            };
            if !connection.waits_for(event) {
                continue;
            }
            let delivered = self.deliver(connection, Message::Text(position));
            let cut = cut.hits(connection.number);
            if cut {
                connection.cut();
            }
            if cut || !delivered {
                closed.extend(connections.close_if(user, |_| true));
            }
        }
        closed
    }

    /// Sends the same to everybody; returns the connections that broke.
    pub(crate) fn broadcast(&self, bytes: &Bytes) -> Vec<Closed> {
        let message = Message::Bytes(bytes.clone());
        self.lock()
            .by_user
            .extract_if(|_, connection| !self.deliver(connection, message.clone()))
            .map(|(user, connection)| connection.close(&user))
            .collect()
    }

    /// Breaks all streams off and forgets them, and whoever asks. Nothing is released.
    pub(crate) fn cut_all(&self) {
        for (_, connection) in self.lock().by_user.drain() {
            connection.cut();
        }
    }

    /// False if the connection is broken: its client is gone, has not read for so long that its channel is full, or has not
    /// asked for too long.
    fn deliver(&self, connection: &Connection, message: Message) -> bool {
        match (&connection.outlet, message) {
            (Outlet::Stream(frames), message) => {
                if !self.silence.admit_message(connection.number) {
                    // Nothing is written while all are silent, so nothing fails either.
                    return self.silence.reached() || !frames.is_closed();
                }
                let bytes = match message {
                    Message::Bytes(bytes) => bytes,
                    Message::Text(text) => framed(&text),
                };
                match frames.try_send(Frame::Bytes(bytes)) {
                    Ok(()) => true,
                    Err(TrySendError::Closed(_) | TrySendError::Full(_)) => false,
                }
            }
            (Outlet::Mailbox { answer, asked, .. }, message) => {
                if let Message::Text(text) = message
                    && self.silence.admit_message(connection.number)
                {
                    answer.send_replace(Some(text));
                }
                asked.elapsed() <= self.patience
            }
        }
    }
}

/// The connection is not registered any more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Gone;

impl Connection {
    fn waits_for(&self, event: &str) -> bool {
        self.phase == Phase::Queued && *self.event == *event
    }

    /// Breaks the stream off, where there is one.
    fn cut(&self) {
        if let Outlet::Stream(frames) = &self.outlet {
            // A stream without room or without a reader is at its end anyway.
            let _ = frames.try_send(Frame::Cut);
        }
    }

    fn close(self, user: &str) -> Closed {
        Closed {
            user: user.to_owned(),
            event: self.event,
            phase: self.phase,
        }
    }
}

impl Connections {
    fn close_if(&mut self, user: &str, condition: impl Fn(&Connection) -> bool) -> Option<Closed> {
        if !self.by_user.get(user).is_some_and(condition) {
            return None;
        }
        self.by_user
            .remove(user)
            .map(|connection| connection.close(user))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sse::HEARTBEAT;

    fn registry() -> Registry {
        let faults = Switches::default();
        let silence = Arc::new(Silence::new(faults.clone()));
        Registry::new(silence, faults, Duration::from_secs(30))
    }

    type Parts = (u64, mpsc::Receiver<Frame>, Option<Closed>);

    fn open_for(registry: &Registry, user: &str, event: &str) -> Parts {
        let opened = registry.open_stream(user, &event.into(), Bytes::from_static(b"data:\n\n"));
        (opened.id, opened.end, opened.replaced)
    }

    fn open(registry: &Registry, event: &str) -> Parts {
        open_for(registry, "acc-1", event)
    }

    fn heartbeat() -> Message {
        Message::Bytes(HEARTBEAT)
    }

    #[test]
    fn connection_is_closed_once() {
        let registry = registry();
        let (id, _frames, _) = open(&registry, "e1");
        assert_eq!(
            registry.mark_promoted("acc-1", "e1"),
            Marked::Promoted { id }
        );
        let closed = Closed {
            user: "acc-1".into(),
            event: "e1".into(),
            phase: Phase::Promoted,
        };
        assert_eq!(registry.close_event("acc-1", "e1"), Some(closed));
        assert_eq!(registry.close_event("acc-1", "e1"), None);
        assert_eq!(registry.send("acc-1", id, heartbeat()), Err(Gone));
        assert_eq!(registry.broadcast(&HEARTBEAT), []);
    }

    #[test]
    fn second_stream_takes_over_and_the_first_gets_nothing_more() {
        let registry = registry();
        let (first, mut first_frames, _) = open(&registry, "e1");
        let (second, mut second_frames, replaced) = open(&registry, "e1");
        assert_eq!(replaced.map(|closed| closed.phase), Some(Phase::Queued));
        assert_eq!(registry.send("acc-1", first, heartbeat()), Err(Gone));
        assert_eq!(registry.send("acc-1", second, heartbeat()), Ok(None));
        assert!(first_frames.try_recv().is_ok_and(
            |frame| matches!(frame, Frame::Bytes(bytes) if bytes.starts_with(b"data:"))
        ));
        assert!(first_frames.try_recv().is_err());
        assert!(second_frames.try_recv().is_ok() && second_frames.try_recv().is_ok());
    }

    #[test]
    fn promotion_finds_only_a_queued_connection_for_its_event() {
        let registry = registry();
        assert_eq!(registry.mark_promoted("acc-1", "e1"), Marked::Unused);
        let (id, _frames, _) = open(&registry, "e1");
        assert_eq!(registry.mark_promoted("acc-1", "e2"), Marked::OtherEvent);
        assert_eq!(
            registry.mark_promoted("acc-1", "e1"),
            Marked::Promoted { id }
        );
        assert_eq!(registry.mark_promoted("acc-1", "e1"), Marked::Unused);
        assert!(!registry.waits_for("acc-1", "e1"));
    }

    #[test]
    fn client_that_does_not_read_is_closed_and_others_are_not() {
        let registry = registry();
        let (_, _unread, _) = open(&registry, "e1");
        let (_, mut read, _) = open_for(&registry, "acc-2", "e1");
        for _ in 0..2 * BACKLOG {
            registry.broadcast(&HEARTBEAT);
            while read.try_recv().is_ok() {}
        }
        assert!(!registry.is_registered("acc-1"));
        assert!(registry.is_registered("acc-2"));
    }
}
