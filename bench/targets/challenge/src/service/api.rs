//! The addresses of the API that every user asks for: health, list, claim.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{MatchedPath, Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::answers::{Refusal, is_locked, listed};
use super::app::App;
use super::selection;
use crate::database::{self, Claim};
use crate::faults::later;
use crate::rewards::MockRewards;

/// Who asks without saying who it is.
const NOBODY: &str = "test-user-id";
/// The column of the database is not longer.
const USER_LIMIT: usize = 100;
/// A claim that takes longer is given up, and nothing of it stays.
const CLAIM_LIMIT: Duration = Duration::from_secs(10);
/// A database that takes longer to say that it is there is not.
const HEALTH_LIMIT: Duration = Duration::from_secs(2);

/// All addresses of the API.
pub(super) fn router(app: &Arc<App>) -> Router {
    let base = &app.config.base_path;
    let at = |path: &str| format!("{base}/v1/challenges{path}");
    let api = selection::routes(&at)
        .route(&at(""), get(list))
        .route(&at("/{challenge}/goals/{goal}/claim"), post(claim))
        .route_layer(middleware::from_fn_with_state(Arc::clone(app), faulty))
        .route(&format!("{base}/healthz"), get(health));
    let measured = middleware::from_fn_with_state(Arc::clone(app), measured);
    app.latencies
        .of(api.route_layer(measured))
        .fallback(|| async { Refusal::not_found("Not Found") })
        .with_state(Arc::clone(app))
}

/// Answers late or not at all, where that is asked for.
async fn faulty(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let (latency, above, share) = app
        .faults
        .with(|faults| (faults.latency, faults.latency_above, faults.error_share));
    let latency = later(latency, above, &app.pace);
    if latency > Duration::ZERO {
        tokio::time::sleep(latency).await;
    }
    if app.hit.hits(share) {
        return Refusal::unavailable("refused on purpose").into_response();
    }
    next.run(request).await
}

async fn measured(
    State(app): State<Arc<App>>,
    route: MatchedPath,
    request: Request,
    next: Next,
) -> Response {
    let began = std::time::Instant::now();
    let what = format!("{} {}", request.method(), route.as_str());
    let response = next.run(request).await;
    app.metrics
        .answered(what, response.status(), began.elapsed());
    response
}

/// Whom the request is for: nobody looks at tokens.
pub(super) fn user(headers: &HeaderMap) -> Result<&str, Refusal> {
    let Some(user) = headers.get("x-mock-user-id") else {
        return Ok(NOBODY);
    };
    let user = user.to_str().unwrap_or_default();
    if (1..=USER_LIMIT).contains(&user.len()) {
        Ok(user)
    } else {
        Err(Refusal::invalid(
            "X-Mock-User-Id must have 1 to 100 letters",
        ))
    }
}

/// The body as JSON; one that is empty is none.
pub(super) fn body<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, Refusal> {
    if bytes.is_empty() {
        return Err(Refusal::invalid(
            "EOF: the body is empty; a JSON object is expected",
        ));
    }
    serde_json::from_slice(bytes).map_err(|error| Refusal::invalid(format!("the body: {error}")))
}

async fn health(State(app): State<Arc<App>>) -> Response {
    let pool = app.pool.get();
    let answers = tokio::time::timeout(HEALTH_LIMIT, database::answers(&pool)).await;
    if answers.unwrap_or(false) {
        Json(json!({ "status": "healthy" })).into_response()
    } else {
        let body = Json(json!({ "status": "unhealthy" }));
        (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
    }
}

#[derive(Deserialize)]
struct Which {
    #[serde(default)]
    active_only: bool,
}

async fn list(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Query(Which { active_only }): Query<Which>,
) -> Result<Response, Refusal> {
    let rows = database::of_user(&app.pool.get(), user(&headers)?, app.slow()).await?;
    Ok(Json(listed(&app.config.index, &rows, active_only)).into_response())
}

/// What a request says that has nothing to say.
#[derive(Deserialize)]
pub(super) struct Empty {}

async fn claim(
    State(app): State<Arc<App>>,
    Path((challenge, goal)): Path<(String, String)>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Refusal> {
    let user = user(&headers)?;
    let found = app.config.index.goal_of(&challenge, &goal);
    let (_, found) = found.ok_or_else(|| Refusal::not_found("goal not found"))?;
    let Empty {} = body(&bytes)?;
    let pool = app.pool.get();
    if !found.prerequisites.is_empty() {
        let rows = database::of_user(&pool, user, app.slow()).await?;
        if is_locked(found, &rows) {
            return Err(Refusal::not_yet("the goal is locked"));
        }
    }
    let reward = MockRewards.grant(user, &found.reward);
    let claiming = database::claim(&pool, user, &goal, app.slow(), reward);
    let claimed = tokio::time::timeout(CLAIM_LIMIT, claiming).await;
    match claimed.map_err(|_| Refusal::unavailable("the claim took too long"))?? {
        Claim::Claimed(at) => Ok(Json(json!({
            "goalId": goal, "status": "claimed", "reward": found.reward, "claimedAt": at,
        }))
        .into_response()),
        Claim::Before => Err(Refusal::before("the reward was claimed before")),
        Claim::Not(why) => Err(Refusal::not_yet(why)),
    }
}
