//! The brokers: joining, positions, heartbeats and leaving.

use std::sync::Arc;
use std::time::Duration;

use redis::RedisResult;
use redis::aio::ConnectionManager;
use target_kit::next_full_second;
use tokio::sync::mpsc;

use crate::app::App;
use crate::auth::number_of;
use crate::queue::{self, Joined, Place};
use crate::registry::{Answer, Closed, Opened, Phase, Registry};
use crate::rounds::{OutageLog, RoundErrors};
use crate::sse::{Frame, HEARTBEAT, greeting};

/// Positions sent before other tasks get their turn.
const BATCH: usize = 256;

/// One of the brokers, among which the users are divided.
pub(crate) struct Broker {
    /// Counted from 1.
    pub(crate) number: u32,
    pub(crate) registry: Registry,
    /// Its name in Redis, different at each start.
    pub(crate) instance: String,
}

impl Broker {
    /// Whether the fault `dead-brokers` has this one dead. Dead brokers release nothing.
    pub(crate) fn is_dead(&self, app: &App) -> bool {
        app.faults.with(|faults| faults.dead_brokers) >= self.number
    }
}

/// What a join request came to.
#[derive(Debug)]
pub(crate) enum JoinOutcome {
    /// The stream of the new member of the queue.
    Stream(mpsc::Receiver<Frame>),
    /// The user was in the queue already.
    AlreadyQueued,
}

/// Puts the user into the event's queue and registers the stream.
pub(crate) async fn join(app: &App, user: &str, event: &str) -> RedisResult<JoinOutcome> {
    tokio::time::sleep(app.config.life.join).await;
    let event: Arc<str> = event.into();
    let greeting = greeting(&app.config.life.greeting, user);
    let registry = &app.broker_of(user).registry;
    let Opened { id, end, replaced } = registry.open_stream(user, &event, greeting);
    Ok(match enter(app, user, &event, id, replaced).await? {
        Joined::Queued => JoinOutcome::Stream(end),
        // The registration stands although its stream ends here, so the next message to it fails and closes it.
        Joined::AlreadyQueued => JoinOutcome::AlreadyQueued,
    })
}

/// The answer of a user who asks for the place in the event's queue. The first question joins.
pub(crate) async fn ask(app: &App, user: &str, event: &str) -> RedisResult<Answer> {
    let registry = &app.broker_of(user).registry;
    if let Some(answer) = registry.ask(user, event) {
        return Ok(answer);
    }
    tokio::time::sleep(app.config.life.join).await;
    let event: Arc<str> = event.into();
    let Opened { id, end, replaced } = registry.open_mailbox(user, &event);
    // A user who is in the queue from before has a place, but nobody knows which until the next round of positions.
    let joined = enter(app, user, &event, id, replaced).await?;
    registry.has_joined(user, id);
    if joined == Joined::Queued {
        let mut redis = app.redis.requests.clone();
        let last = app.queue.length(&mut redis, &event).await?;
        registry.answer_if_first(user, id, app.encoder.position(user, &event, last));
    }
    Ok(end)
}

/// Puts a user who is registered already into the event's queue.
async fn enter(
    app: &App,
    user: &str,
    event: &str,
    id: u64,
    replaced: Option<Closed>,
) -> RedisResult<Joined> {
    let mut redis = app.redis.requests.clone();
    // A queued one leaves its place in the queue to the new one; a promoted one has a slot to give back.
    let promoted = replaced.filter(|closed| closed.phase == Phase::Promoted);
    if let Some(closed) = promoted {
        release(app, &mut redis, vec![closed]).await?;
    }
    let seats = if app.config.events.iter().any(|known| *known == event) {
        app.config.seats
    } else {
        0
    };
    let broker = app.broker_of(user);
    let joined = app
        .queue
        .join(&mut redis, event, user, seats, &broker.instance);
    match joined.await {
        Ok(joined) => {
            // Disconnected or broken while joining: what was written since would wait for nobody.
            if joined == Joined::Queued && !broker.registry.is_registered(user) {
                app.queue.remove(&mut redis, &[(event, user)]).await?;
            }
            Ok(joined)
        }
        Err(error) => {
            if let Some(closed) = broker.registry.close_id(user, id) {
                // Best effort: Redis has just failed, and the request fails either way.
                let _ = release(app, &mut redis, vec![closed]).await;
            }
            Err(error)
        }
    }
}

/// Ends the user's connection for this event, if there is one. The stream itself stays open and falls silent.
pub(crate) async fn disconnect(app: &App, user: &str, event: &str) -> RedisResult<()> {
    match app.broker_of(user).registry.close_event(user, event) {
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
    let (leaks, late) = app
        .faults
        .with(|faults| (faults.leak_slots, faults.late_slots));
    for chunk in promoted.chunks(queue::PIPELINE / 2) {
        let mut now = redis::pipe();
        let mut later = redis::pipe();
        for closed in chunk {
            if !leaks.hits(number_of(&closed.user)) {
                let slots = if late.is_zero() { &mut now } else { &mut later };
                slots
                    .add_command(queue::return_slot(&closed.event))
                    .ignore();
            }
            now.del(queue::entry_token_key(&closed.user)).ignore();
        }
        if !later.is_empty() {
            tokio::spawn(return_late(redis.clone(), later, late));
        }
        queue::run(&now, redis).await?;
    }
    Ok(())
}

async fn return_late(mut redis: ConnectionManager, slots: redis::Pipeline, late: Duration) {
    tokio::time::sleep(late).await;
    if let Err(error) = queue::run(&slots, &mut redis).await {
        tracing::warn!(%error, "slots that were to come back late are lost");
    }
}

/// Waits for the next full second, and then for as long as rounds are late in this room.
async fn next_round(app: &App) -> u64 {
    let second = next_full_second().await;
    let late = app.config.life.late_rounds;
    if !late.is_zero() {
        tokio::time::sleep(rand::random_range(Duration::ZERO..=late)).await;
    }
    second
}

/// Sends positions at every full second.
pub(crate) async fn position_rounds(app: Arc<App>, broker: usize) {
    let mut redis = app.redis.positions[broker].clone();
    let mut log = OutageLog::new("positions");
    loop {
        next_round(&app).await;
        let broker = &app.brokers[broker];
        if broker.is_dead(&app) {
            broker.registry.cut_all();
        } else if !app.silence.reached() {
            log.note(&position_round(&app, &broker.registry, &mut redis).await);
        }
    }
}

async fn position_round(
    app: &App,
    registry: &Registry,
    redis: &mut ConnectionManager,
) -> RedisResult<()> {
    let mut errors = RoundErrors::default();
    for event in queue::waiting_events(redis).await? {
        let outcome = positions_of(app, registry, redis, &event).await;
        errors.note(outcome)?;
    }
    errors.finish()
}

async fn positions_of(
    app: &App,
    registry: &Registry,
    redis: &mut ConnectionManager,
    event: &str,
) -> RedisResult<()> {
    let life = &app.config.life;
    let mut places = app.queue.places(redis, event).await?;
    places.retain(|place| registry.waits_for(&place.user, event));
    for chunk in places.chunks(life.pipeline.get()) {
        let ranks = app
            .queue
            .ranks(redis, event, chunk, life.index_records)
            .await?;
        // Without a rank the user left the queue since it was listed.
        let ranked: Vec<(&Place, u64)> = chunk
            .iter()
            .zip(&ranks)
            .filter_map(|(place, rank)| Some((place, (*rank)?)))
            .collect();
        for batch in ranked.chunks(BATCH) {
            let positions = batch.iter().map(|(place, rank)| {
                let user = &*place.user;
                (user, app.encoder.position(user, event, rank + 1))
            });
            let closed = registry.send_positions(event, positions);
            release(app, redis, closed).await?;
            tokio::task::yield_now().await;
        }
        // As in the real system, whose loop over the users ends there.
        if life.pipeline.get() == 1 && ranked.is_empty() {
            break;
        }
    }
    Ok(())
}

/// Forgets those who ask for their place in a queue that was cleaned since they joined: a stream of theirs would have ended
/// with their client. What they held was cleaned as well, and their next question joins anew.
async fn forget_cleaned(registry: &Registry, redis: &mut ConnectionManager) -> RedisResult<()> {
    for (event, askers) in registry.askers() {
        // Who has joined has an index, and only cleaning lowers the last one.
        let known: bool = redis::cmd("HEXISTS")
            .arg(queue::LAST_INDEX)
            .arg(&*event)
            .query_async(redis)
            .await?;
        if !known {
            registry.forget(&askers);
        }
    }
    Ok(())
}

/// Sends heartbeats at the seconds divisible by 3, to promoted users too.
pub(crate) async fn heartbeat_rounds(app: Arc<App>, broker: usize) {
    let mut redis = app.redis.requests.clone();
    let mut log = OutageLog::new("requests");
    loop {
        let second = next_round(&app).await;
        let registry = &app.brokers[broker].registry;
        let closed = if second.is_multiple_of(3) {
            registry.broadcast(&HEARTBEAT)
        } else {
            Vec::new()
        };
        let released = release(&app, &mut redis, closed).await;
        let forgotten = forget_cleaned(registry, &mut redis).await;
        // A lost connection is made anew only when it is used: by this, not by the first user after an outage.
        let answered: RedisResult<()> = redis::cmd("PING").query_async(&mut redis).await;
        log.note(&released.and(forgotten).and(answered));
    }
}
