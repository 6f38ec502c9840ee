//! The running system: what its parts share, its start and its end.

use std::collections::HashSet;
use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use target_kit::{Latencies, ServeError, Stop, Switches};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::auth::{Tokens, number_of};
use crate::broker::{self, Broker};
use crate::faults::{Faults, Silence};
use crate::gateway::{Line, Pool};
use crate::queue::Queue;
use crate::registry::Registry;
use crate::sse::Encoder;
use crate::ticks::{self, Ticks};
use crate::{Config, Hop, RedisUrl, hop, http, promote};

/// The server cannot start or go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// Redis did not answer at start-up.
    #[error("cannot reach Redis at {url}")]
    Redis {
        /// The address, without secrets.
        url: Box<RedisUrl>,
        /// Why.
        source: redis::RedisError,
    },
    /// It started and cannot go on.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// What the parts share.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) redis: Connections,
    pub(crate) queue: Queue,
    pub(crate) brokers: Vec<Broker>,
    pub(crate) encoder: Encoder,
    pub(crate) tokens: Tokens,
    /// Users whose first login has failed.
    pub(crate) failed_once: Mutex<HashSet<u32>>,
    pub(crate) authentication: Line,
    pub(crate) gateway: Line,
    pub(crate) connections: Arc<Pool>,
    pub(crate) faults: Switches<Faults>,
    pub(crate) silence: Arc<Silence>,
    pub(crate) latencies: Latencies,
    pub(crate) ticks: Ticks,
    pub(crate) stop: Stop,
}

impl App {
    /// The broker that a user's streams are led to.
    pub(crate) fn broker_of(&self, user: &str) -> &Broker {
        let index = number_of(user) % self.config.life.brokers;
        &self.brokers[index as usize]
    }
}

/// One connection per kind of work, so that a long reply of one does not hold up the others.
pub(crate) struct Connections {
    pub(crate) requests: ConnectionManager,
    pub(crate) promotion: ConnectionManager,
    /// One for each broker.
    pub(crate) positions: Vec<ConnectionManager>,
    /// With a hop by streams: the dispatcher's, then one for each broker. They are held up by waiting for messages.
    pub(crate) streams: Vec<ConnectionManager>,
}

impl Connections {
    async fn open(config: &Config) -> Result<Self, redis::RedisError> {
        let client = redis::Client::open(config.redis.connection_info())?;
        let brokers = config.life.brokers.get();
        let streams = match config.life.hop {
            Hop::Memory => 0,
            Hop::Streams => 1 + brokers,
        };
        // One attempt per use: a request must fail soon when Redis is down, and the rounds try again every second.
        let manager = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(Duration::from_secs(2)))
            .set_response_timeout(Some(Duration::from_secs(5)));
        let connect = || ConnectionManager::new_with_config(client.clone(), manager.clone());
        let several = async |count| {
            let mut connections = Vec::new();
            for _ in 0..count {
                connections.push(connect().await?);
            }
            Ok::<_, redis::RedisError>(connections)
        };
        Ok(Self {
            requests: connect().await?,
            promotion: connect().await?,
            positions: several(brokers).await?,
            streams: several(streams).await?,
        })
    }
}

/// A waiting room that has reached its Redis and waits to be given a socket.
pub struct WaitingRoom(Arc<App>);

impl WaitingRoom {
    /// Connects to Redis. Nothing is read or written there before the first request.
    ///
    /// # Errors
    ///
    /// [`StartError::Redis`] if Redis does not answer.
    pub async fn connect(config: Config) -> Result<Self, StartError> {
        let redis = Connections::open(&config)
            .await
            .map_err(|source| StartError::Redis {
                url: Box::new(config.redis.clone()),
                source,
            })?;
        let faults = Switches::new(config.faults.clone());
        let silence = Arc::new(Silence::new(faults.clone()));
        let start = format!("{:016x}", rand::random::<u64>());
        let broker = |number| Broker {
            number,
            registry: Registry::new(
                Arc::clone(&silence),
                faults.clone(),
                config.cut_after_silence,
            ),
            instance: format!("{start}-{number}"),
        };
        Ok(Self(Arc::new(App {
            queue: Queue::new(config.queue),
            brokers: (1..=config.life.brokers.get()).map(broker).collect(),
            failed_once: Mutex::default(),
            authentication: Line::new(NonZeroUsize::MIN),
            gateway: Line::new(config.life.gateway_parallel),
            connections: Arc::default(),
            encoder: Encoder::new(faults.clone()),
            faults,
            latencies: Latencies::default(),
            tokens: Tokens::new(),
            stop: Stop::new(),
            ticks: Ticks::new(),
            silence,
            redis,
            config,
        })))
    }

    /// Serves until `shutdown` completes, then ends all streams. The queues in Redis stay there.
    ///
    /// # Errors
    ///
    /// If the socket fails or a periodic round panics. A Redis that stops answering is no error: joins fail, rounds are
    /// tried again.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), StartError> {
        let app = self.0;
        let mut rounds = JoinSet::new();
        let entries = match app.config.life.hop {
            Hop::Memory => {
                let (entries, promoted) = promote::memory();
                rounds.spawn(promote::notifications(Arc::clone(&app), promoted));
                entries
            }
            Hop::Streams => hop::spawn(&app, &mut rounds),
        };
        rounds.spawn(promote::promotion_rounds(Arc::clone(&app), entries));
        for broker in 0..app.brokers.len() {
            rounds.spawn(broker::position_rounds(Arc::clone(&app), broker));
            rounds.spawn(broker::heartbeat_rounds(Arc::clone(&app), broker));
        }
        if app.config.ticks {
            rounds.spawn(ticks::tick_rounds(Arc::clone(&app)));
        }

        let router = http::router(Arc::clone(&app));
        let served = target_kit::serve(listener, router, rounds, app.stop.clone(), shutdown).await;
        hop::clean_up(&app).await;
        Ok(served?)
    }
}

/// Connects to Redis and serves on `listener` until `shutdown` completes.
///
/// # Errors
///
/// As [`WaitingRoom::connect`] and [`WaitingRoom::serve`].
pub async fn run(
    listener: TcpListener,
    config: Config,
    shutdown: impl Future<Output = ()>,
) -> Result<(), StartError> {
    WaitingRoom::connect(config)
        .await?
        .serve(listener, shutdown)
        .await
}
