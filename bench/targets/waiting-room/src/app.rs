//! The running system: what its parts share, its start and its end.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use target_kit::{Latencies, ServeError, Stop, Switches};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::auth::Tokens;
use crate::broker::{self, Registry};
use crate::faults::{Faults, Silence};
use crate::queue::Queue;
use crate::sse::Encoder;
use crate::ticks::{self, Ticks};
use crate::{Config, RedisUrl, http, promote};

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
    pub(crate) registry: Registry,
    pub(crate) encoder: Encoder,
    pub(crate) tokens: Tokens,
    pub(crate) faults: Switches<Faults>,
    pub(crate) silence: Arc<Silence>,
    pub(crate) latencies: Latencies,
    pub(crate) ticks: Ticks,
    pub(crate) stop: Stop,
}

/// One connection per kind of work, so that a long reply of one does not hold up the others.
pub(crate) struct Connections {
    pub(crate) requests: ConnectionManager,
    pub(crate) positions: ConnectionManager,
    pub(crate) promotion: ConnectionManager,
}

impl Connections {
    async fn open(url: &RedisUrl) -> Result<Self, redis::RedisError> {
        let client = redis::Client::open(url.connection_info())?;
        // One attempt per use: a request must fail soon when Redis is down, and the rounds try again every second.
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(Duration::from_secs(2)))
            .set_response_timeout(Some(Duration::from_secs(5)));
        let connect = || ConnectionManager::new_with_config(client.clone(), config.clone());
        Ok(Self {
            requests: connect().await?,
            positions: connect().await?,
            promotion: connect().await?,
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
        let redis = Connections::open(&config.redis)
            .await
            .map_err(|source| StartError::Redis {
                url: Box::new(config.redis.clone()),
                source,
            })?;
        let faults = Switches::new(config.faults.clone());
        let silence = Arc::new(Silence::new(faults.clone()));
        Ok(Self(Arc::new(App {
            queue: Queue::new(config.queue, format!("{:016x}", rand::random::<u64>())),
            registry: Registry::new(Arc::clone(&silence)),
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

    /// Serves until `shutdown` completes, then ends all streams. What is in Redis stays there.
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
        let (entries, promoted) = promote::entries();
        rounds.spawn(broker::position_rounds(Arc::clone(&app)));
        rounds.spawn(broker::heartbeat_rounds(Arc::clone(&app)));
        rounds.spawn(promote::promotion_rounds(Arc::clone(&app), entries));
        rounds.spawn(promote::notifications(Arc::clone(&app), promoted));
        if app.config.ticks {
            rounds.spawn(ticks::tick_rounds(Arc::clone(&app)));
        }

        let router = http::router(Arc::clone(&app));
        target_kit::serve(listener, router, rounds, app.stop.clone(), shutdown).await?;
        Ok(())
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
