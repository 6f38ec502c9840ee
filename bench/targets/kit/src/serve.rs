//! Serving until the end, and the end.

use std::future::{Future, IntoFuture as _};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt as _;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::Stop;

/// Open requests and streams have this long to end when the server stops.
pub const GRACE: Duration = Duration::from_millis(1500);

/// The server cannot go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The listening socket failed.
    #[error("the HTTP server failed")]
    Http(#[from] io::Error),
    /// A periodic round panicked; going on without it would distort what is measured.
    #[error("a periodic round ended unexpectedly")]
    Round,
}

/// Serves until `shutdown` completes. Then `stop` is cancelled, which streams have to heed, the rounds are ended, and
/// requests that are under way have 1.5 s to end.
///
/// # Errors
///
/// If the socket fails or one of the rounds, which should go on for ever, ends.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    rounds: JoinSet<()>,
    stop: Stop,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    serve_all([(listener, router)], rounds, stop, shutdown).await
}

/// The same for a target with several sockets, each with a router of its own. They end together.
///
/// # Errors
///
/// If one of the sockets fails or one of the rounds, which should go on for ever, ends.
pub async fn serve_all(
    sockets: impl IntoIterator<Item = (TcpListener, Router)>,
    mut rounds: JoinSet<()>,
    stop: Stop,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let mut servers = JoinSet::new();
    for (listener, router) in sockets {
        // Small messages must not wait for each other.
        let listener = listener.tap_io(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "cannot switch off delayed sending");
            }
        });
        // Who asks matters where the switches are changed.
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let server =
            axum::serve(listener, service).with_graceful_shutdown(stop.clone().cancelled_owned());
        servers.spawn(server.into_future());
    }
    let any_round_ends = async {
        if rounds.join_next().await.is_none() {
            std::future::pending::<()>().await;
        }
    };
    let outcome = tokio::select! {
        Some(ended) = servers.join_next() => match ended {
            Ok(served) => served.map_err(ServeError::from),
            Err(panic) => Err(ServeError::Http(io::Error::other(panic))),
        },
        () = any_round_ends => Err(ServeError::Round),
        () = shutdown => Ok(()),
    };
    stop.cancel();
    rounds.shutdown().await;
    let ended = async { while servers.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, ended).await.is_err() {
        tracing::info!("some clients did not take the end of their stream; leaving them");
    }
    outcome
}
