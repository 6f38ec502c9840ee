//! The way of promotions as the real system has it: the stream `ENTRY`, from which a dispatcher leads each promotion to the
//! stream `DISPATCH:{instanceId}` of the broker that holds the user.

use std::sync::Arc;
use std::time::Duration;

use redis::RedisResult;
use redis::aio::ConnectionManager;
use redis::streams::StreamReadReply;
use tokio::task::JoinSet;

use crate::app::App;
use crate::promote::{Entries, Promoted, notify};
use crate::queue::ENTRY;
use crate::rounds::OutageLog;

const ENTRY_GROUP: &str = "ENTRY_QUEUE";
const ENTRY_CONSUMER: &str = "ENTRY_QUEUE_CONSUMER";

/// Messages that are read at once.
const BATCH: usize = 256;
/// How long Redis holds a question for messages. Shorter than the time in which it has to answer.
const BLOCK: Duration = Duration::from_secs(1);
/// Redis is tried again after this.
const RETRY: Duration = Duration::from_secs(1);

/// A consumer of a stream, as the one of its group.
struct Consumer {
    stream: String,
    group: String,
    name: String,
    redis: ConnectionManager,
}

/// A message of a stream.
struct Routed {
    id: String,
    /// The broker that held the user at promotion.
    instance: String,
    promoted: Promoted,
}

/// Starts the way from `ENTRY`, which promotion appends to, to the users.
pub(crate) fn spawn(app: &Arc<App>, tasks: &mut JoinSet<()>) -> Entries {
    let mut connections = app.redis.streams.iter().cloned();
    tasks.extend(connections.next().map(|redis| {
        let entries = Consumer {
            stream: ENTRY.to_owned(),
            group: ENTRY_GROUP.to_owned(),
            name: ENTRY_CONSUMER.to_owned(),
            redis,
        };
        dispatch(entries)
    }));
    for ((index, broker), redis) in app.brokers.iter().enumerate().zip(connections) {
        let stream = dispatch_key(&broker.instance);
        let dispatches = Consumer {
            group: format!("{stream}:GROUP"),
            stream,
            name: broker.instance.clone(),
            redis,
        };
        tasks.spawn(tell(Arc::clone(app), index, dispatches));
    }
    Entries::Streams {
        stray: app.brokers[0].instance.clone(),
    }
}

/// Removes the streams that nobody will read again: the next start has other instances.
pub(crate) async fn clean_up(app: &App) {
    for broker in app.brokers.iter().take(app.redis.streams.len()) {
        let mut redis = app.redis.requests.clone();
        let mut delete = redis::cmd("DEL");
        let deleted: RedisResult<()> = delete
            .arg(dispatch_key(&broker.instance))
            .query_async(&mut redis)
            .await;
        if let Err(error) = deleted {
            tracing::debug!(%error, "a dispatch stream is left over");
        }
    }
}

fn dispatch_key(instance: &str) -> String {
    format!("DISPATCH:{instance}")
}

/// Appends a promotion to the stream of a broker.
async fn append(
    redis: &mut ConnectionManager,
    stream: &str,
    promoted: &Promoted,
    instance: &str,
) -> RedisResult<()> {
    redis::cmd("XADD")
        .arg(stream)
        .arg("*")
        .arg("userId")
        .arg(&promoted.user)
        .arg("eventId")
        .arg(&*promoted.event)
        .arg("instanceId")
        .arg(instance)
        .query_async(redis)
        .await
}

/// Leads promotions from `ENTRY` to the broker of each, one after another.
async fn dispatch(mut entries: Consumer) {
    let mut log = OutageLog::new("dispatch");
    entries.group("$").await;
    loop {
        let outcome = dispatch_batch(&mut entries).await;
        log.note(&outcome);
        if outcome.is_err() {
            entries.recover().await;
        }
    }
}

async fn dispatch_batch(entries: &mut Consumer) -> RedisResult<()> {
    for message in entries.read().await? {
        let stream = dispatch_key(&message.instance);
        append(
            &mut entries.redis,
            &stream,
            &message.promoted,
            &message.instance,
        )
        .await?;
        entries.acknowledge([&*message.id]).await?;
    }
    Ok(())
}

/// Tells the users of one broker.
async fn tell(app: Arc<App>, broker: usize, mut dispatches: Consumer) {
    let mut log = OutageLog::new("notification");
    dispatches.group("0").await;
    loop {
        if app.brokers[broker].is_dead(&app) {
            tokio::time::sleep(RETRY).await;
            continue;
        }
        let outcome = tell_batch(&app, broker, &mut dispatches).await;
        log.note(&outcome);
        if outcome.is_err() {
            dispatches.recover().await;
        }
    }
}

async fn tell_batch(app: &App, broker: usize, dispatches: &mut Consumer) -> RedisResult<()> {
    let messages = dispatches.read().await?;
    // Dead since it began to wait for them: they stay unacknowledged.
    if app.brokers[broker].is_dead(app) {
        return Ok(());
    }
    let (ids, batch): (Vec<_>, Vec<_>) = messages
        .into_iter()
        .map(|message| (message.id, message.promoted))
        .unzip();
    let mut redis = app.redis.promotion.clone();
    let notified = notify(app, &mut redis, &batch).await;
    let taken = ids
        .iter()
        .enumerate()
        .filter(|(place, _)| !notified.left.contains(place))
        .map(|(_, id)| &**id);
    dispatches.acknowledge(taken).await?;
    notified.done
}

impl Consumer {
    /// Makes the group, if there is none. An error comes again when the group is used.
    async fn group(&mut self, from: &str) {
        let made: RedisResult<()> = redis::cmd("XGROUP")
            .arg("CREATE")
            .arg(&self.stream)
            .arg(&self.group)
            .arg(from)
            .arg("MKSTREAM")
            .query_async(&mut self.redis)
            .await;
        if let Err(error) = made
            && error.code() != Some("BUSYGROUP")
        {
            tracing::debug!(%error, "cannot make the consumer group");
        }
    }

    /// After an error: a Redis that has lost its memory has lost the group, and all messages with it.
    async fn recover(&mut self) {
        tokio::time::sleep(RETRY).await;
        self.group("0").await;
    }

    async fn read(&mut self) -> RedisResult<Vec<Routed>> {
        let reply: Option<StreamReadReply> = redis::cmd("XREADGROUP")
            .arg("GROUP")
            .arg(&self.group)
            .arg(&self.name)
            .arg("COUNT")
            .arg(BATCH)
            .arg("BLOCK")
            .arg(BLOCK.as_millis().to_string())
            .arg("STREAMS")
            .arg(&self.stream)
            .arg(">")
            .query_async(&mut self.redis)
            .await?;
        let streams = reply.map(|reply| reply.keys).unwrap_or_default();
        let messages = streams.into_iter().flat_map(|stream| stream.ids);
        // Redis is shared: a message that is not ours is passed over, and stays unacknowledged.
        let routed = messages.filter_map(|message| {
            let field = |name: &str| message.get::<String>(name);
            Some(Routed {
                instance: field("instanceId")?,
                promoted: Promoted {
                    event: field("eventId")?.into(),
                    user: field("userId")?,
                },
                id: message.id.clone(),
            })
        });
        Ok(routed.collect())
    }

    async fn acknowledge<'a>(&mut self, ids: impl IntoIterator<Item = &'a str>) -> RedisResult<()> {
        let mut command = redis::cmd("XACK");
        command.arg(&self.stream).arg(&self.group);
        let mut any = false;
        for id in ids {
            command.arg(id);
            any = true;
        }
        if any {
            command.query_async(&mut self.redis).await
        } else {
            Ok(())
        }
    }
}
