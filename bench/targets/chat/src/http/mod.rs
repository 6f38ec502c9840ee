//! What is served over HTTP: one router for each kind of socket.

mod api;
mod fields;
mod research;
mod streams;

pub(crate) use api::router as api;
pub(crate) use research::{analysis as consciousness, data as research};
pub(crate) use streams::router as streams;

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::metrics::TEXT;

/// Longer bodies are answered with 413.
const BODY_LIMIT: usize = 1024 * 1024;

/// An answer other than success, with what was wrong.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    error: String,
}

fn failure(status: StatusCode, error: impl Into<String>) -> Failure {
    let error = error.into();
    Failure { status, error }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.error }))).into_response()
    }
}

/// What each socket has: `/health` and `/metrics`.
fn common() -> Router<Arc<App>> {
    Router::new()
        .route("/health", get(health))
        .route("/metrics", get(metrics))
}

/// The router with its answers counted by route and code, and with how long they took.
fn measured(router: Router<Arc<App>>, app: &Arc<App>) -> Router<Arc<App>> {
    let router = router.layer(DefaultBodyLimit::max(BODY_LIMIT));
    let counted = middleware::from_fn_with_state(Arc::clone(app), counted);
    app.latencies.of(router.route_layer(counted))
}

async fn counted(
    State(app): State<Arc<App>>,
    route: MatchedPath,
    request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let response = next.run(request).await;
    let took = began.elapsed();
    app.metrics
        .answered(route.as_str(), response.status(), took);
    response
}

async fn health(State(app): State<Arc<App>>) -> Response {
    let mut details = Map::new();
    if let Some(hz) = app.hz() {
        details.insert("hz".to_owned(), Value::from(hz));
    }
    let open = Value::from(app.metrics.open.get());
    details.insert("openStreams".to_owned(), open);
    target_kit::health(true, details)
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    app.metrics.reads.inc();
    ([(CONTENT_TYPE, TEXT)], app.metrics.text(app.hz())).into_response()
}

/// The token of `Authorization: Bearer …`.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}
