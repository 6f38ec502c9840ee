//! Answers over HTTP that targets have in common.

use std::future::Future;
use std::time::Duration;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::{Map, Value};

/// A part that takes longer to tell whether it is well counts as ill.
const HEALTH_LIMIT: Duration = Duration::from_secs(1);

/// The answer of `/health`: 200 and `"status": "UP"`, or 503 and `"DOWN"`, with what the target tells of its set-up.
pub fn health(up: bool, details: Map<String, Value>) -> Response {
    let (code, status) = if up {
        (StatusCode::OK, "UP")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "DOWN")
    };
    let mut body = Map::from_iter([("status".to_owned(), Value::from(status))]);
    body.extend(details);
    (code, Json(body)).into_response()
}

/// What a probe says within a second; one that says nothing says no.
pub async fn in_time(probe: impl Future<Output = bool>) -> bool {
    tokio::time::timeout(HEALTH_LIMIT, probe)
        .await
        .unwrap_or(false)
}

/// Holds every answer of a router back for as long as `delay` says at the time of the request.
pub fn held_back<S>(
    router: Router<S>,
    delay: impl Fn() -> Duration + Clone + Send + Sync + 'static,
) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    router.layer(middleware::from_fn(move |request: Request, next: Next| {
        let delay = delay();
        async move {
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            next.run(request).await
        }
    }))
}
