//! The broker: who holds a stream, joining, positions, heartbeats and leaving.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use redis::RedisResult;
use redis::aio::ConnectionManager;
use target_kit::next_full_second;
use tokio::sync::mpsc::{self, error::TrySendError};

use crate::app::App;
use crate::faults::Silence;
use crate::queue::{self, Joined};
use crate::rounds::{OutageLog, RoundErrors};
use crate::sse::{BACKLOG, Encoder, HEARTBEAT};

/// Positions sent before other tasks get their turn.
const BATCH: usize = 256;

/// Where the user of a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// `IN_ENTRY`: waits in the queue.
    Queued,
    /// `IN_PROGRESS`: promoted, holds a slot.
    Promoted,
}

#[derive(Debug)]
struct Connection {
    id: u64,
    event: Arc<str>,
    phase: Phase,
    frames: mpsc::Sender<Bytes>,
}

/// A connection that is no longer registered. Whoever gets it releases what it held, so that this happens once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Closed {
    user: String,
    event: Arc<str>,
    phase: Phase,
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

/// The connections of this process, one per user.
#[derive(Debug)]
pub(crate) struct Registry {
    silence: Arc<Silence>,
    // A std mutex: it is held for short loops without an await in them.
    connections: Mutex<Connections>,
}

#[derive(Debug, Default)]
struct Connections {
    by_user: HashMap<String, Connection>,
    last_id: u64,
}

impl Registry {
    pub(crate) fn new(silence: Arc<Silence>) -> Self {
        Self {
            silence,
            connections: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        // No code that holds the lock can leave the map half changed.
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a stream with its greeting. It takes the place of the user's earlier one, which falls silent and is
    /// returned.
    fn open(&self, user: &str, event: &Arc<str>) -> (u64, mpsc::Receiver<Bytes>, Option<Closed>) {
        let (frames, receiver) = mpsc::channel(BACKLOG);
        if self.silence.admit_message() {
            // A new channel has room and a receiver.
            let _ = frames.try_send(Encoder::greeting(user));
        }
        let mut connections = self.lock();
        connections.last_id += 1;
        let id = connections.last_id;
        let connection = Connection {
            id,
            event: Arc::clone(event),
            phase: Phase::Queued,
            frames,
        };
        let replaced = connections.by_user.insert(user.to_owned(), connection);
        (
            id,
            receiver,
            replaced.map(|connection| connection.close(user)),
        )
    }

    fn is_registered(&self, user: &str) -> bool {
        self.lock().by_user.contains_key(user)
    }

    fn waits_for(&self, user: &str, event: &str) -> bool {
        self.lock()
            .by_user
            .get(user)
            .is_some_and(|connection| connection.waits_for(event))
    }

    fn close_id(&self, user: &str, id: u64) -> Option<Closed> {
        self.lock().close_if(user, |connection| connection.id == id)
    }

    fn close_event(&self, user: &str, event: &str) -> Option<Closed> {
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
    pub(crate) fn send(&self, user: &str, id: u64, frame: Bytes) -> Result<Option<Closed>, Gone> {
        let mut connections = self.lock();
        let connection = connections
            .by_user
            .get(user)
            .filter(|connection| connection.id == id);
        let connection = connection.ok_or(Gone)?;
        if self.deliver(connection, frame) {
            return Ok(None);
        }
        Ok(connections.close_if(user, |_| true))
    }

    /// Sends positions to those who still wait for the event; returns the connections that broke.
    fn send_positions(
        &self,
        encoder: &Encoder,
        event: &str,
        ranks: &[(String, u64)],
    ) -> Vec<Closed> {
        let mut connections = self.lock();
        let mut closed = Vec::new();
        for (user, rank) in ranks {
            let Some(connection) = connections.by_user.get(user) else {
                continue;
            };
            if connection.waits_for(event)
                && !self.deliver(connection, encoder.position(user, event, rank + 1))
            {
                closed.extend(connections.close_if(user, |_| true));
            }
        }
        closed
    }

    /// Sends the same to everybody; returns the connections that broke.
    fn broadcast(&self, frame: &Bytes) -> Vec<Closed> {
        self.lock()
            .by_user
            .extract_if(|_, connection| !self.deliver(connection, frame.clone()))
            .map(|(user, connection)| connection.close(&user))
            .collect()
    }

    /// False if the connection is broken: its client is gone, or has not read for so long that its channel is full.
    fn deliver(&self, connection: &Connection, frame: Bytes) -> bool {
        if !self.silence.admit_message() {
            return true;
        }
        match connection.frames.try_send(frame) {
            Ok(()) => true,
            Err(TrySendError::Closed(_) | TrySendError::Full(_)) => false,
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

/// What a join request came to.
#[derive(Debug)]
pub(crate) enum JoinOutcome {
    /// The stream of the new member of the queue.
    Stream(mpsc::Receiver<Bytes>),
    /// The user was in the queue already.
    AlreadyQueued,
}

/// Puts the user into the event's queue and registers the stream.
pub(crate) async fn join(app: &App, user: &str, event: &str) -> RedisResult<JoinOutcome> {
    let event: Arc<str> = event.into();
    let (id, frames, replaced) = app.registry.open(user, &event);
    let mut redis = app.redis.requests.clone();
    // A queued one leaves its place in the queue to the new stream; a promoted one has a slot to give back.
    let promoted = replaced.filter(|closed| closed.phase == Phase::Promoted);
    if let Some(closed) = promoted {
        release(app, &mut redis, vec![closed]).await?;
    }
    let seats = if app.config.events.iter().any(|known| **known == *event) {
        app.config.seats
    } else {
        0
    };
    match app.queue.join(&mut redis, &event, user, seats).await {
        Ok(Joined::Queued) => {
            // Disconnected or broken while joining: what was written since would wait for nobody.
            if !app.registry.is_registered(user) {
                app.queue.remove(&mut redis, &[(&*event, user)]).await?;
            }
            Ok(JoinOutcome::Stream(frames))
        }
        // The registration stands although its stream ends here, so the next message to it fails and closes it.
        Ok(Joined::AlreadyQueued) => Ok(JoinOutcome::AlreadyQueued),
        Err(error) => {
            if let Some(closed) = app.registry.close_id(user, id) {
                // Best effort: Redis has just failed, and the request fails either way.
                let _ = release(app, &mut redis, vec![closed]).await;
            }
            Err(error)
        }
    }
}

/// Ends the user's connection for this event, if there is one. The stream itself stays open and falls silent.
pub(crate) async fn disconnect(app: &App, user: &str, event: &str) -> RedisResult<()> {
    match app.registry.close_event(user, event) {
        Some(closed) => release(app, &mut app.redis.requests.clone(), vec![closed]).await,
        None => Ok(()),
    }
}

/// Gives back what closed connections held: the place in the queue, or the slot and the entry token.
pub(crate) async fn release(
    app: &App,
    redis: &mut ConnectionManager,
    closed: Vec<Closed>,
) -> RedisResult<()> {
    let (queued, promoted): (Vec<_>, Vec<_>) = closed
        .iter()
        .partition(|closed| closed.phase == Phase::Queued);
    let queued: Vec<_> = queued
        .iter()
        .map(|closed| (&*closed.event, &*closed.user))
        .collect();
    app.queue.remove(redis, &queued).await?;
    for chunk in promoted.chunks(queue::PIPELINE / 2) {
        let mut pipeline = redis::pipe();
        for closed in chunk {
            pipeline
                .add_command(queue::return_slot(&closed.event))
                .ignore();
            pipeline.del(queue::entry_token_key(&closed.user)).ignore();
        }
        queue::run(&pipeline, redis).await?;
    }
    Ok(())
}

/// Sends positions at every full second.
pub(crate) async fn position_rounds(app: Arc<App>) {
    let mut redis = app.redis.positions.clone();
    let mut log = OutageLog::new("positions");
    loop {
        next_full_second().await;
        if !app.silence.reached() {
            log.note(&position_round(&app, &mut redis).await);
        }
    }
}

async fn position_round(app: &App, redis: &mut ConnectionManager) -> RedisResult<()> {
    let mut errors = RoundErrors::default();
    for event in queue::waiting_events(redis).await? {
        let wanted = |user: &str| app.registry.waits_for(user, &event);
        let ranks = app.queue.ranks(redis, &event, wanted).await;
        for batch in errors.note(ranks)?.unwrap_or_default().chunks(BATCH) {
            let closed = app.registry.send_positions(&app.encoder, &event, batch);
            errors.note(release(app, redis, closed).await)?;
            tokio::task::yield_now().await;
        }
    }
    errors.finish()
}

/// Sends heartbeats at the seconds divisible by 3, to promoted users too.
pub(crate) async fn heartbeat_rounds(app: Arc<App>) {
    let mut redis = app.redis.requests.clone();
    let mut log = OutageLog::new("requests");
    loop {
        let second = next_full_second().await;
        let closed = if second.is_multiple_of(3) {
            app.registry.broadcast(&HEARTBEAT)
        } else {
            Vec::new()
        };
        let released = release(&app, &mut redis, closed).await;
        // A lost connection is made anew only when it is used: by this, not by the first user after an outage.
        let answered: RedisResult<()> = redis::cmd("PING").query_async(&mut redis).await;
        log.note(&released.and(answered));
    }
}

#[cfg(test)]
mod tests {
    use target_kit::Switches;

    use super::*;

    fn registry() -> Registry {
        Registry::new(Arc::new(Silence::new(Switches::default())))
    }

    fn open(registry: &Registry, event: &str) -> (u64, mpsc::Receiver<Bytes>, Option<Closed>) {
        registry.open("acc-1", &event.into())
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
        assert_eq!(registry.send("acc-1", id, HEARTBEAT), Err(Gone));
        assert_eq!(registry.broadcast(&HEARTBEAT), []);
    }

    #[test]
    fn second_stream_takes_over_and_the_first_gets_nothing_more() {
        let registry = registry();
        let (first, mut first_frames, _) = open(&registry, "e1");
        let (second, mut second_frames, replaced) = open(&registry, "e1");
        assert_eq!(replaced.map(|closed| closed.phase), Some(Phase::Queued));
        assert_eq!(registry.send("acc-1", first, HEARTBEAT), Err(Gone));
        assert_eq!(registry.send("acc-1", second, HEARTBEAT), Ok(None));
        assert!(
            first_frames
                .try_recv()
                .is_ok_and(|frame| frame.starts_with(b"data:"))
        );
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
        let (_, mut read, _) = registry.open("acc-2", &"e1".into());
        for _ in 0..2 * BACKLOG {
            registry.broadcast(&HEARTBEAT);
            while read.try_recv().is_ok() {}
        }
        assert!(!registry.is_registered("acc-1"));
        assert!(registry.is_registered("acc-2"));
    }
}
