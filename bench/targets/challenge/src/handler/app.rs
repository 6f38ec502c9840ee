//! The running handler: what its parts share, its start and its end.

use std::future::Future;
use std::sync::Arc;

use anyhow::Context as _;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use target_kit::{Latencies, Stop, Switches};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::service::Routes;

use super::HandlerConfig;
use super::buffer::Buffer;
use super::flush;
use super::intake::events::account::user_authentication_user_logged_in_service_server::UserAuthenticationUserLoggedInServiceServer;
use super::intake::events::statistic::statistic_stat_item_updated_service_server::StatisticStatItemUpdatedServiceServer;
use super::intake::{DESCRIPTORS, Intake};
use super::metrics::Metrics;
use crate::HandlerFaults;
use crate::admin::{self, METRICS};
use crate::database::Pool;
use crate::faults::{Counted, Pace};

/// What the parts share.
pub(super) struct App {
    pub(super) config: HandlerConfig,
    pub(super) pool: Pool,
    pub(super) buffer: Buffer,
    pub(super) metrics: Metrics,
    pub(super) faults: Switches<HandlerFaults>,
    pub(super) pace: Pace,
    pub(super) hit: Counted,
    pub(super) latencies: Latencies,
    /// No event comes any more.
    pub(super) stop: Stop,
}

/// An event handler that flushes, and waits to be given its sockets.
pub struct EventHandler {
    app: Arc<App>,
    flushes: JoinSet<()>,
}

impl EventHandler {
    /// Connects to the database, makes its table unless it is there, and begins to flush.
    ///
    /// # Errors
    ///
    /// If the database is not to be had.
    pub async fn start(config: HandlerConfig) -> anyhow::Result<Self> {
        let pool = Pool::open(config.reach.clone(), config.pool_size).await?;
        let app = Arc::new(App {
            pool,
            buffer: Buffer::new(config.workers, config.limits),
            metrics: Metrics::default(),
            faults: Switches::new(config.faults.clone()),
            pace: Pace::default(),
            hit: Counted::default(),
            latencies: Latencies::default(),
            stop: Stop::new(),
            config,
        });
        let mut flushes = JoinSet::new();
        for (number, part) in app.buffer.parts.iter().enumerate() {
            flushes.spawn(flush::run(Arc::clone(&app), number, Arc::clone(part)));
        }
        Ok(Self { app, flushes })
    }

    /// Serves events and what is asked about them until `shutdown` completes. Then no event comes any more, and what is buffered is
    /// written.
    ///
    /// # Errors
    ///
    /// If a socket fails.
    pub async fn serve(
        self,
        events: TcpListener,
        admin: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        let Self { app, mut flushes } = self;
        let sized = admin::resized(&app.faults, |faults| faults.pool_size, {
            let app = Arc::clone(&app);
            move |size| app.pool.resize(size.unwrap_or(app.config.pool_size))
        });
        let mut rounds = JoinSet::new();
        rounds.spawn(sized);
        let intake = Intake(Arc::clone(&app));
        let logins = UserAuthenticationUserLoggedInServiceServer::new(intake.clone());
        let statistics = StatisticStatItemUpdatedServiceServer::new(intake);
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(DESCRIPTORS)
        };
        let (_, health) = tonic_health::server::health_reporter();
        let services = Routes::new(logins)
            .add_service(statistics)
            .add_service(health)
            // Clients ask by one version or the other.
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?)
            .into_axum_router();
        let sockets = [(events, services), (admin, routes(&app))];
        // Without one of its flushes a part of the buffer would fill for ever.
        let mut ended_early = None;
        let end = async {
            tokio::select! {
                () = shutdown => {}
                ended = flushes.join_next() => ended_early = ended,
            }
        };
        let outcome = target_kit::serve_all(sockets, rounds, Stop::new(), end).await;
        // Only now: an event that was acknowledged is written.
        app.stop.cancel();
        while let Some(ended) = match ended_early.take() {
            None => flushes.join_next().await,
            early => early,
        } {
            ended.context("a flush ended unexpectedly")?;
        }
        app.pool.close().await;
        Ok(outcome?)
    }
}

fn routes(app: &Arc<App>) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .route("/counters", get(counters))
        .with_state(Arc::clone(app))
        .merge(app.faults.routes())
        .merge(app.latencies.routes())
        .merge(admin::profiles())
}

async fn health(State(app): State<Arc<App>>) -> Response {
    let up = target_kit::in_time(crate::database::answers(&app.pool.get())).await;
    let pending = app.buffer.pending().into();
    target_kit::health(
        up,
        [("updatesPending".to_owned(), pending)]
            .into_iter()
            .collect(),
    )
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    let text = app.metrics.text(app.buffer.pending(), app.pool.counts());
    (METRICS, text).into_response()
}

async fn counters(State(app): State<Arc<App>>) -> Response {
    Json(app.metrics.counts(app.buffer.pending())).into_response()
}
