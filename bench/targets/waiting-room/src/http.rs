//! The HTTP surface: gateway, authentication and event service in front of the broker.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Path, Query, Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, COOKIE, RETRY_AFTER, SET_COOKIE,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use target_kit::Share;
use tokio::sync::mpsc::Receiver;

use crate::app::App;
use crate::auth::{Account, BadToken, REFRESH_LIFETIME, Role};
use crate::broker::{self, JoinOutcome};
use crate::queue::EVENT_STATUSES;
use crate::registry::Answer;
use crate::sse::{EventStream, Frame};
use crate::{Transport, gateway};

const REFRESH_COOKIE: &str = "refreshToken";
const BODY_LIMIT: usize = 16 * 1024;

pub(crate) fn router(app: Arc<App>) -> Router {
    let api = Router::new()
        .route("/api/v1/auth/login", post(login))
        .route("/api/v1/events/{event}", get(event).patch(set_event_status))
        .route(
            "/api/v1/broker/events/{event}/tickets/waiting",
            get(waiting),
        )
        .route(
            "/api/v1/broker/events/{event}/tickets/disconnect",
            post(disconnect),
        )
        .layer(DefaultBodyLimit::max(BODY_LIMIT));
    let api = api.layer(middleware::from_fn_with_state(
        Arc::clone(&app),
        through_gateway,
    ));
    let faults = app.faults.clone();
    let delay = move || faults.with(|faults| faults.delay);
    let api = app.latencies.of(target_kit::held_back(api, delay));
    let mut open = Router::new()
        .route("/health", get(health))
        .merge(app.latencies.routes())
        .merge(app.faults.routes());
    if app.config.ticks {
        open = open.route("/ticks", get(ticks));
    }
    open.merge(api).fallback(not_found).with_state(app)
}

/// Holds a connection for the request, and for the stream that it may become, and takes the gateway's time.
async fn through_gateway(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let wait = app.config.connection_wait;
    let Some(permit) = app.connections.take(&app.faults, wait).await else {
        return Failure::NoConnection(wait).into_response();
    };
    app.gateway.pass(app.config.life.gateway).await;
    gateway::holding(permit, next.run(request).await)
}

/// An answer in the form of the gateway's services.
fn answer(status: StatusCode, message: &str, data: &Value) -> Response {
    let code = status.as_u16().to_string();
    (
        status,
        Json(json!({ "code": code, "message": message, "data": data })),
    )
        .into_response()
}

/// An answer other than success.
#[derive(Debug)]
enum Failure {
    Unauthorized(&'static str),
    BadRequest(String),
    WrongRole,
    UnknownStatus(String),
    UnknownEvent(String),
    AlreadyQueued {
        /// The answer comes by a gateway, which says that it is a stream.
        gateway: bool,
    },
    Left,
    Unavailable,
    NoConnection(Duration),
    Internal,
}

impl Failure {
    /// The cause stays in the server's own log.
    fn redis(error: &redis::RedisError) -> Self {
        tracing::debug!(%error, "request failed in Redis");
        Self::Internal
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let json = |status, message: &str| answer(status, message, &Value::Null);
        let text = |status, message: String| (status, message).into_response();
        match self {
            Self::Unauthorized(message) => json(StatusCode::UNAUTHORIZED, message),
            Self::BadRequest(message) => json(StatusCode::BAD_REQUEST, &message),
            Self::UnknownEvent(event) => json(
                StatusCode::NOT_FOUND,
                &format!("there is no event {event:?}"),
            ),
            Self::Unavailable => json(StatusCode::SERVICE_UNAVAILABLE, "service unavailable"),
            Self::AlreadyQueued { gateway } => {
                let conflict = (StatusCode::CONFLICT, "already waiting for this event");
                if gateway {
                    let content_type = "text/event-stream;charset=UTF-8";
                    ([(CONTENT_TYPE, content_type)], conflict).into_response()
                } else {
                    conflict.into_response()
                }
            }
            Self::Left => json(StatusCode::GONE, "no longer waiting for this event"),
            // The real system answers the following with 500 too.
            Self::WrongRole => text(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the account's role does not allow this".to_owned(),
            ),
            Self::UnknownStatus(status) => text(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("unknown status {status:?}; allowed are OPEN and CLOSED"),
            ),
            Self::NoConnection(wait) => text(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("no connection became free within {} ms", wait.as_millis()),
            ),
            Self::Internal => text(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal error".to_owned(),
            ),
        }
    }
}

/// The account that a call is made for.
struct Caller(Account);

impl Caller {
    fn require(self, role: Role) -> Result<Account, Failure> {
        if self.0.role == role {
            Ok(self.0)
        } else {
            Err(Failure::WrongRole)
        }
    }
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Failure> {
        let bearer = parts
            .headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "))
            .ok_or(Failure::Unauthorized("the access token is missing"))?;
        if !has_refresh_cookie(&parts.headers) {
            return Err(Failure::Unauthorized("the cookie refreshToken is missing"));
        }
        let account = app.tokens.verify_access(bearer);
        account.map(Self).map_err(|bad| {
            Failure::Unauthorized(match bad {
                BadToken::Invalid => "the access token is not valid",
                BadToken::Expired => "the access token has expired",
            })
        })
    }
}

fn has_refresh_cookie(headers: &HeaderMap) -> bool {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .any(|(name, value)| name == REFRESH_COOKIE && !value.is_empty())
}

#[derive(Deserialize)]
struct Credentials {
    email: String,
    password: String,
}

async fn login(State(app): State<Arc<App>>, body: Bytes) -> Result<Response, Failure> {
    let credentials: Credentials = serde_json::from_slice(&body).map_err(|error| {
        // Only the place: the serialiser's own text can repeat the password.
        Failure::BadRequest(format!(
            "expected a JSON object with email and password; unusable at line {}, column {}",
            error.line(),
            error.column()
        ))
    })?;
    app.authentication.pass(app.config.life.login).await;
    let fails = |user| app.faults.with(|faults| faults.fail_logins.hits(user));
    let account = Account::authenticate(&app.config, &credentials.email, &credentials.password)
        .filter(|account| !fails(account.number))
        .ok_or(Failure::Unauthorized("email or password is wrong"))?;
    if fails_first(&app, account.number) {
        return Err(Failure::Unavailable);
    }
    let expires = app.faults.with(|faults| faults.expire_tokens);
    let token = if expires.hits(account.number) {
        app.tokens.expired_access(&account)
    } else {
        app.tokens.access(&account)
    };
    let cookie = format!(
        "{REFRESH_COOKIE}={}; Max-Age={}; Path=/; Secure; SameSite=None",
        app.tokens.refresh(&account),
        REFRESH_LIFETIME.as_secs()
    );
    let headers = [(AUTHORIZATION, token), (SET_COOKIE, cookie)];
    let data = json!({ "accountId": account.id, "role": account.role });
    Ok((headers, answer(StatusCode::OK, "logged in", &data)).into_response())
}

/// Whether this is the first login of a user whose first one fails.
fn fails_first(app: &App, user: u32) -> bool {
    let share = app.faults.with(|faults| faults.fail_first_logins);
    let mut failed = app
        .failed_once
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    if share == Share::None {
        // When the fault comes back, first logins are those after that.
        failed.clear();
    }
    share.hits(user) && failed.insert(user)
}

fn require_event(app: &App, event: String) -> Result<String, Failure> {
    if app.config.events.contains(&event) {
        Ok(event)
    } else {
        Err(Failure::UnknownEvent(event))
    }
}

fn require_broker(app: &App, user: &Account) -> Result<(), Failure> {
    if app.broker_of(&user.id).is_dead(app) {
        return Err(Failure::Internal);
    }
    Ok(())
}

/// The one call that asks for no token, as in the real system.
async fn event(
    State(app): State<Arc<App>>,
    Path(event): Path<String>,
) -> Result<Response, Failure> {
    let event = require_event(&app, event)?;
    let data = json!({ "eventId": event, "seatCount": app.config.seats });
    Ok(answer(StatusCode::OK, "event found", &data))
}

#[derive(Deserialize)]
struct StatusQuery {
    #[serde(default)]
    status: String,
}

async fn set_event_status(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(event): Path<String>,
    Query(StatusQuery { status }): Query<StatusQuery>,
) -> Result<Response, Failure> {
    caller.require(Role::Manager)?;
    let is = |name: &str| status.trim().eq_ignore_ascii_case(name);
    if !is("OPEN") && !is("CLOSED") {
        return Err(Failure::UnknownStatus(status));
    }
    let event = require_event(&app, event)?;
    let mut redis = app.redis.requests.clone();
    let () = redis::cmd("HSET")
        .arg(EVENT_STATUSES)
        .arg(&event)
        .arg(&status)
        .query_async(&mut redis)
        .await
        .map_err(|error| Failure::redis(&error))?;
    if is("OPEN") {
        app.silence.event_opened();
    }
    let data = json!({ "eventId": event, "status": status });
    Ok(answer(StatusCode::OK, "status changed", &data))
}

async fn waiting(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(event): Path<String>,
) -> Result<Response, Failure> {
    let user = caller.require(Role::User)?;
    if app
        .faults
        .with(|faults| faults.fail_streams.hits(user.number))
    {
        return Err(Failure::Unavailable);
    }
    require_broker(&app, &user)?;
    // A task of its own: a client that hangs up early must not leave a join half done.
    let joining = tokio::spawn({
        let (app, user) = (Arc::clone(&app), user.id.clone());
        async move {
            Ok(match app.config.transport {
                Transport::Sse => Waiting::Joined(broker::join(&app, &user, &event).await?),
                Transport::Polling => Waiting::Asked(broker::ask(&app, &user, &event).await?),
            })
        }
    });
    let outcome = joining.await.map_err(|_panicked| Failure::Internal)?;
    match outcome.map_err(|error| Failure::redis(&error))? {
        Waiting::Joined(JoinOutcome::Stream(frames)) => Ok(stream(&app, &user, frames)),
        Waiting::Joined(JoinOutcome::AlreadyQueued) => Err(Failure::AlreadyQueued {
            gateway: !app.config.life.gateway.is_zero(),
        }),
        Waiting::Asked(answer) => told(&app, answer).await,
    }
}

/// What a waiting call came to.
enum Waiting {
    Joined(JoinOutcome),
    Asked(Answer),
}

fn stream(app: &App, user: &Account, frames: Receiver<Frame>) -> Response {
    let stream = EventStream {
        frames,
        user: user.number,
        cut_after: app.config.cut_after_silence,
        silence: Arc::clone(&app.silence),
        stop: app.stop.clone(),
        chunks: app.config.life.chunks,
        rest: VecDeque::new(),
        cut: false,
    };
    ([(CONTENT_TYPE, "text/event-stream")], stream.into_body()).into_response()
}

/// The answer to a question, as soon as there is one.
async fn told(app: &App, mut answer: Answer) -> Result<Response, Failure> {
    let text = tokio::select! {
        // An error: disconnected meanwhile.
        known = answer.wait_for(Option::is_some) => known.map_err(|_| Failure::Left)?.clone(),
        () = app.stop.cancelled() => None,
    };
    let text = text.ok_or(Failure::Unavailable)?;
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-store"),
        (RETRY_AFTER, "1"),
    ];
    Ok((headers, text.to_string()).into_response())
}

async fn disconnect(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(event): Path<String>,
) -> Result<StatusCode, Failure> {
    let user = caller.require(Role::User)?;
    require_broker(&app, &user)?;
    // A task of its own, as for joining: who hangs up early must not keep the slot.
    let leaving = tokio::spawn(async move { broker::disconnect(&app, &user.id, &event).await });
    let outcome = leaving.await.map_err(|_panicked| Failure::Internal)?;
    outcome
        .map(|()| StatusCode::OK)
        .map_err(|error| Failure::redis(&error))
}

async fn health(State(app): State<Arc<App>>) -> Response {
    let mut redis = app.redis.requests.clone();
    let up = target_kit::in_time(async {
        let command = redis::cmd("PING");
        command.query_async::<String>(&mut redis).await.is_ok()
    });
    let details = [
        ("queue", json!(app.config.queue.to_string())),
        ("events", json!(app.config.events)),
        ("redis", json!(app.config.redis.to_string())),
        ("transport", json!(app.config.transport)),
        ("life", json!(app.config.life)),
    ];
    let details = details.map(|(name, value)| (name.to_owned(), value));
    target_kit::health(up.await, details.into_iter().collect())
}

#[derive(Deserialize)]
struct TicksQuery {
    seconds: u64,
}

async fn ticks(
    State(app): State<Arc<App>>,
    Query(TicksQuery { seconds }): Query<TicksQuery>,
) -> Response {
    let body = app.ticks.stream(seconds);
    ([(CONTENT_TYPE, "text/event-stream")], body).into_response()
}

async fn not_found() -> Response {
    answer(StatusCode::NOT_FOUND, "there is no such path", &Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refresh_cookie_is_found_among_others() {
        let has = |cookies: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for cookie in cookies {
                headers.append(COOKIE, axum::http::HeaderValue::from_static(cookie));
            }
            has_refresh_cookie(&headers)
        };
        assert!(has(&["a=1; refreshToken=x"]));
        assert!(has(&["a=1", "refreshToken=x"]));
        assert!(!has(&[]));
        assert!(!has(&["refreshToken="]));
        assert!(!has(&["xrefreshToken=x", "refreshToken"]));
    }
}
