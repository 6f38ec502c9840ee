//! The running service: what its parts share, its start and its end.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use target_kit::{Latencies, Stop, Switches};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::metrics::Metrics;
use super::{ServiceConfig, api};
use crate::ServiceFaults;
use crate::admin::{self, METRICS};
use crate::database::Pool;
use crate::faults::{Counted, Pace};

/// What the parts share.
pub(super) struct App {
    pub(super) config: ServiceConfig,
    pub(super) pool: Pool,
    pub(super) metrics: Metrics,
    pub(super) faults: Switches<ServiceFaults>,
    pub(super) pace: Pace,
    pub(super) hit: Counted,
    pub(super) latencies: Latencies,
}

impl App {
    /// How long a statement is to take on purpose.
    pub(super) fn slow(&self) -> Duration {
        self.faults.with(|faults| faults.slow_statement)
    }
}

/// A service that is connected, and waits to be given its sockets.
pub struct ChallengeService {
    app: Arc<App>,
}

impl ChallengeService {
    /// Connects to the database, and makes its table unless it is there.
    ///
    /// # Errors
    ///
    /// If the database is not to be had.
    pub async fn start(config: ServiceConfig) -> anyhow::Result<Self> {
        let pool = Pool::open(config.reach.clone(), config.pool_size).await?;
        let app = App {
            pool,
            metrics: Metrics::default(),
            faults: Switches::new(config.faults.clone()),
            pace: Pace::default(),
            hit: Counted::default(),
            latencies: Latencies::default(),
            config,
        };
        Ok(Self { app: Arc::new(app) })
    }

    /// Serves the API and what is asked about it until `shutdown` completes. Requests that are under way have 1.5 s to end then.
    ///
    /// # Errors
    ///
    /// If a socket fails.
    pub async fn serve(
        self,
        api: TcpListener,
        admin: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        let Self { app } = self;
        let sized = admin::resized(&app.faults, |faults| faults.pool_size, {
            let app = Arc::clone(&app);
            move |size| app.pool.resize(size.unwrap_or(app.config.pool_size))
        });
        let mut rounds = JoinSet::new();
        rounds.spawn(sized);
        let api_router = api::router(&app);
        let sockets = [(api, api_router), (admin, routes(&app))];
        target_kit::serve_all(sockets, rounds, Stop::new(), shutdown).await?;
        Ok(())
    }
}

fn routes(app: &Arc<App>) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .with_state(Arc::clone(app))
        .merge(app.faults.routes())
        .merge(app.latencies.routes())
        .merge(admin::profiles())
}

async fn health(State(app): State<Arc<App>>) -> Response {
    let up = target_kit::in_time(crate::database::answers(&app.pool.get())).await;
    target_kit::health(up, serde_json::Map::new())
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    (METRICS, app.metrics.text(app.pool.counts())).into_response()
}
