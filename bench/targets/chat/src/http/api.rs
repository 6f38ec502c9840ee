//! The API: accounts, files, messages without a stream, and what is told about the service.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::fields::{Fields, is_multipart, parts_of, unreadable};
use super::{Failure, bearer, common, failure, health, measured};
use crate::accounts::{Profile, Refused, Said};
use crate::app::App;

pub(crate) fn router(app: &Arc<App>) -> Router {
    let api = common()
        .route("/api/health", get(health))
        .route("/api/auth/login", post(log_in))
        .route("/api/auth/research-login", post(log_in_anybody))
        .route("/api/auth/register", post(register))
        .route("/api/user/profile", get(profile))
        .route("/api/upload", post(upload))
        .route("/api/data/upload", post(upload_data))
        .route("/api/files/{id}/status", get(file_status))
        .route("/api/chat/message", post(message))
        .route("/api/chat/history", get(history))
        .route("/api/chat/conversations", get(conversations))
        .route("/api/chat/sessions", get(sessions))
        .route("/api/datasets", get(datasets))
        .route("/api/system/performance", get(performance));
    measured(api, app)
        .route("/counters", get(counters))
        .merge(app.latencies.routes())
        .merge(app.faults.routes())
        .with_state(Arc::clone(app))
}

fn refused(why: Refused) -> Failure {
    let (status, error) = match why {
        Refused::Password => (StatusCode::UNAUTHORIZED, "the password is wrong"),
        Refused::Taken => (StatusCode::CONFLICT, "the account is there already"),
        Refused::Full => (
            StatusCode::SERVICE_UNAVAILABLE,
            "there is no room for more accounts",
        ),
        Refused::Long => (
            StatusCode::PAYLOAD_TOO_LARGE,
            "the address, the name or the password has more than 1024 bytes",
        ),
    };
    failure(status, error)
}

async fn log_in(State(app): State<Arc<App>>, fields: Fields) -> Result<Response, Failure> {
    let email = fields.require(&["email", "username"])?;
    let password = fields.require(&["password"])?;
    logged_in(&app, email, password)
}

/// Who does research is let in whatever the body is; where it names nobody, as this one.
const RESEARCHER: &str = "researcher@example.com";

async fn log_in_anybody(State(app): State<Arc<App>>, body: Bytes) -> Result<Response, Failure> {
    let fields = Fields::of_any(&body);
    let email = fields.any(&["email", "username"]).unwrap_or(RESEARCHER);
    let password = fields.any(&["password"]).unwrap_or_default();
    logged_in(&app, email, password)
}

fn logged_in(app: &App, email: &str, password: &str) -> Result<Response, Failure> {
    let token = app.accounts.log_in(email, password).map_err(refused)?;
    let user = app.accounts.profile(&token);
    Ok(Json(json!({ "token": token, "accessToken": token, "user": user })).into_response())
}

async fn register(State(app): State<Arc<App>>, fields: Fields) -> Result<Response, Failure> {
    let email = fields.require(&["email", "username"])?;
    let password = fields.require(&["password"])?;
    let profile = app
        .accounts
        .register(email, fields.any(&["name"]), password)
        .map_err(refused)?;
    Ok((StatusCode::CREATED, Json(profile)).into_response())
}

async fn profile(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Json<Profile>, Failure> {
    let profile = bearer(&headers).and_then(|token| app.accounts.profile(token));
    profile.map(Json).ok_or_else(|| {
        failure(
            StatusCode::UNAUTHORIZED,
            "a token that a login gave is needed, as in Authorization: Bearer TOKEN",
        )
    })
}

/// Takes the part `file` of a body, and forgets what is in it.
async fn take_file(app: &App, request: Request) -> Result<Value, Failure> {
    if !is_multipart(&request) {
        let error = "expected multipart/form-data with a part named file";
        return Err(failure(StatusCode::UNPROCESSABLE_ENTITY, error));
    }
    let mut parts = parts_of(request, &()).await?;
    let mut names = Vec::new();
    while let Some(part) = parts.next_field().await.map_err(|why| unreadable(&why))? {
        let name = part.name().unwrap_or_default().to_owned();
        let file_name = part.file_name().map(str::to_owned);
        let size = part.bytes().await.map_err(|why| unreadable(&why))?.len();
        if name == "file" {
            let id = format!("file-{}", app.files.next());
            return Ok(json!({ "fileId": id, "name": file_name, "size": size }));
        }
        names.push(name);
    }
    let error = format!("expected a part named file; got {names:?}");
    Err(failure(StatusCode::UNPROCESSABLE_ENTITY, error))
}

async fn upload(State(app): State<Arc<App>>, request: Request) -> Result<Json<Value>, Failure> {
    take_file(&app, request).await.map(Json)
}

async fn upload_data(State(app): State<Arc<App>>, request: Request) -> Result<Response, Failure> {
    let file = take_file(&app, request).await?;
    Ok((StatusCode::CREATED, Json(file)).into_response())
}

async fn file_status(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Failure> {
    if app.files.has("file", &id) {
        // There is nothing to be done with a file.
        return Ok(Json(json!({ "fileId": id, "status": "processed" })));
    }
    Err(failure(
        StatusCode::NOT_FOUND,
        format!("there is no file {id:?}"),
    ))
}

/// A reply that comes whole, when the first chunk of a stream would.
async fn message(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    fields: Fields,
) -> Result<Json<Value>, Failure> {
    let asked = fields.require(&["message", "content"])?;
    app.metrics.messages.inc();
    let delay = app.faults.with(|faults| faults.chunk_delay);
    tokio::time::sleep(app.config.reply.first.saturating_add(delay)).await;
    let reply = app.text.whole();
    let said = |role, content: &str| Said {
        role,
        content: content.to_owned(),
    };
    let token = bearer(&headers).unwrap_or_default();
    let both = [said("user", asked), said("assistant", reply)];
    app.accounts.remember(token, both);
    app.metrics.replies.inc();
    Ok(Json(json!({ "response": reply })))
}

async fn history(State(app): State<Arc<App>>, headers: HeaderMap) -> Json<Value> {
    let messages = app.accounts.history(bearer(&headers).unwrap_or_default());
    Json(json!({ "messages": messages }))
}

/// Everybody has one, once something was said.
async fn conversations(State(app): State<Arc<App>>, headers: HeaderMap) -> Json<Value> {
    let said = app.accounts.history(bearer(&headers).unwrap_or_default());
    let conversation = json!({ "id": "conversation-1", "messages": said.len() });
    let conversations = if said.is_empty() {
        Vec::new()
    } else {
        vec![conversation]
    };
    Json(json!({ "conversations": conversations }))
}

async fn sessions(State(app): State<Arc<App>>) -> Json<Value> {
    Json(json!({ "sessions": [], "openStreams": app.metrics.open.get() }))
}

async fn datasets(State(app): State<Arc<App>>) -> Json<Value> {
    Json(json!({ "datasets": [], "uploaded": app.datasets.count() }))
}

async fn performance(State(app): State<Arc<App>>) -> Json<Value> {
    Json(json!({
        "hz": app.hz(),
        "uptimeSeconds": app.pace.uptime().as_secs_f64(),
        "openStreams": app.metrics.open.get(),
        "messages": app.metrics.messages.get(),
    }))
}

async fn counters(State(app): State<Arc<App>>) -> Json<Value> {
    Json(app.metrics.counts())
}
