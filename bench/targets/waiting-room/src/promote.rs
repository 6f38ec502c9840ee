//! The dispatcher: lets users in as slots become free, and the part of the broker that tells them.

use std::sync::Arc;

use redis::RedisResult;
use redis::aio::ConnectionManager;
use target_kit::Rounds;
use tokio::sync::mpsc;

use crate::app::App;
use crate::auth::{ENTRY_LIFETIME, number_of};
use crate::broker::release;
use crate::queue;
use crate::registry::{Gone, Marked, Message};
use crate::rounds::{OutageLog, RoundErrors};

/// Promoted users that may wait to be told. A full channel slows promotion down instead of growing.
const UNTOLD: usize = 4096;

/// Promoted users that are told together.
const BATCH: usize = 256;

/// A user who has left the queue and holds a slot.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Promoted {
    pub(crate) event: Arc<str>,
    pub(crate) user: String,
}

/// The way from the dispatcher to the broker.
pub(crate) enum Entries {
    /// Inside the process.
    Memory(mpsc::Sender<Promoted>),
    /// By the Redis stream `ENTRY`, which the promotion itself appends to: in its script, or by one more command.
    Streams {
        /// The broker that is named where no index record says who holds the user.
        stray: String,
    },
}

/// The two ends of the way inside the process.
pub(crate) fn memory() -> (Entries, mpsc::Receiver<Promoted>) {
    let (entries, promoted) = mpsc::channel(UNTOLD);
    (Entries::Memory(entries), promoted)
}

/// Promotes in rounds from start-up.
pub(crate) async fn promotion_rounds(app: Arc<App>, entries: Entries) {
    let mut redis = app.redis.promotion.clone();
    let mut log = OutageLog::new("promotion");
    let mut rounds = Rounds::default();
    loop {
        let slowdown = app.faults.with(|faults| faults.promotion_slowdown);
        rounds.next(slowdown.added_to(app.config.life.round)).await;
        let stalls = app.faults.with(|faults| faults.stall_promotion);
        if !stalls && !app.silence.reached() {
            log.note(&promotion_round(&app, &mut redis, &entries).await);
        }
    }
}

async fn promotion_round(
    app: &App,
    redis: &mut ConnectionManager,
    entries: &Entries,
) -> RedisResult<()> {
    let mut errors = RoundErrors::default();
    for event in queue::waiting_events(redis).await? {
        let status: RedisResult<Option<String>> = redis::cmd("HGET")
            .arg(queue::EVENT_STATUSES)
            .arg(&event)
            .query_async(redis)
            .await;
        let status = errors.note(status)?.flatten();
        if status.is_some_and(|status| status.trim().eq_ignore_ascii_case("OPEN")) {
            errors.note(app.queue.promote(redis, &event.into(), entries).await)?;
        }
    }
    errors.finish()
}

/// Tells promoted users, until the dispatcher is gone.
pub(crate) async fn notifications(app: Arc<App>, mut entries: mpsc::Receiver<Promoted>) {
    let mut redis = app.redis.promotion.clone();
    let mut log = OutageLog::new("notification");
    let mut batch = Vec::with_capacity(BATCH);
    while entries.recv_many(&mut batch, BATCH).await > 0 {
        log.note(&notify(&app, &mut redis, &batch).await.done);
        batch.clear();
    }
}

/// What became of promotions that users were to be told of.
pub(crate) struct Notified {
    /// Those that nobody took, by their places in the batch.
    pub(crate) left: Vec<usize>,
    /// Whether Redis took part. Users hold their slots even if it did not.
    pub(crate) done: RedisResult<()>,
}

/// Tells users that they are promoted.
pub(crate) async fn notify(
    app: &App,
    redis: &mut ConnectionManager,
    batch: &[Promoted],
) -> Notified {
    let (lost, twice) = app
        .faults
        .with(|faults| (faults.lose_promotions, faults.promote_twice));
    let mut pipeline = redis::pipe();
    let mut told = Vec::with_capacity(batch.len());
    let mut left = Vec::new();
    for (place, Promoted { event, user }) in batch.iter().enumerate() {
        match app.broker_of(user).registry.mark_promoted(user, event) {
            Marked::Promoted { id } => {
                let token = app.tokens.entry(user, event);
                let lifetime = ENTRY_LIFETIME.as_secs();
                pipeline
                    .set_ex(queue::entry_token_key(user), &token, lifetime)
                    .ignore();
                let message = Message::Text(app.encoder.promotion(user, event, &token));
                let number = number_of(user);
                if !lost.hits(number) {
                    told.push((user, id, message.clone()));
                }
                if twice.hits(number) {
                    told.push((user, id, message));
                }
            }
            Marked::Unused => {
                pipeline.add_command(queue::return_slot(event)).ignore();
            }
            // Not acknowledged in the real system: the slot stays taken.
            Marked::OtherEvent => {
                tracing::warn!(user, %event, "promoted user waits for another event; the slot stays taken");
                left.push(place);
            }
        }
    }
    // What follows is done even if this fails: the users hold their slots either way.
    let stored = queue::run(&pipeline, redis).await;
    let mut closed = Vec::new();
    let mut orphaned = redis::pipe();
    for (user, id, message) in told {
        match app.broker_of(user).registry.send(user, id, message) {
            Ok(broken) => closed.extend(broken),
            // Disconnected between the two steps, perhaps before the token was stored.
            Err(Gone) => {
                orphaned.del(queue::entry_token_key(user)).ignore();
            }
        }
    }
    let cleared = queue::run(&orphaned, redis).await;
    let released = release(app, redis, closed).await;
    Notified {
        left,
        done: stored.and(cleared).and(released),
    }
}
