//! The sockets of the streams: upgrades, and the health of the loop.

use std::sync::Arc;

use axum::extract::{Query, State, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;

use super::{bearer, common, failure};
use crate::app::App;
use crate::stream::{Dialect, Session};

/// A loop that is slower than this, and not at a standstill, makes `/healthz` ill.
const SLOWEST: f64 = 95.0;

/// What a stream is read with at once. Frames are short, and there are many streams.
const READ_BUFFER: usize = 4 * 1024;

/// A message that is longer ends its stream; frames that are merely too long are answered.
const MESSAGE_LIMIT: usize = 1024 * 1024;

pub(crate) fn router(app: &Arc<App>) -> Router {
    let mut routes = common().route("/healthz", get(health));
    for (path, dialect) in [
        ("/api/chat", Dialect::Message),
        ("/chat", Dialect::StreamEvent),
        ("/", Dialect::Token),
        ("/research-chat", Dialect::Research),
        ("/consciousness", Dialect::Analysis),
    ] {
        let open = move |app, asked, headers: HeaderMap, upgrade| async move {
            open(app, asked, &headers, upgrade, dialect)
        };
        routes = routes.route(path, any(open));
    }
    routes.with_state(Arc::clone(app))
}

async fn health(State(app): State<Arc<App>>) -> Response {
    let hz = app.hz();
    // A pace of 0 is that of a loop that has not begun; clients know it as well.
    let slow = hz.is_some_and(|hz| hz > 0.0 && hz < SLOWEST);
    let (code, status) = if slow {
        (StatusCode::SERVICE_UNAVAILABLE, "degraded")
    } else {
        (StatusCode::OK, "healthy")
    };
    let mut body = json!({
        "status": status,
        "timestamp": format!("{:.3}", jiff::Timestamp::now()),
        "uptime": app.pace.uptime().as_secs_f64(),
        "backend": { "ticks": app.metrics.ticks.get() },
    });
    if let Some(hz) = hz {
        body["hz"] = hz.into();
    }
    (code, Json(body)).into_response()
}

/// What an address may say beside its path.
#[derive(Debug, Deserialize)]
struct Asked {
    token: Option<String>,
}

fn open(
    State(app): State<Arc<App>>,
    Query(asked): Query<Asked>,
    headers: &HeaderMap,
    upgrade: WebSocketUpgrade,
    dialect: Dialect,
) -> Response {
    let known = |token: &str| app.accounts.knows(token);
    let shown = [bearer(headers), asked.token.as_deref()];
    if app.config.require_token && !shown.into_iter().flatten().any(known) {
        app.metrics.refused.inc();
        let error = "a token that a login gave is needed, as in Authorization: Bearer TOKEN or ?token=TOKEN";
        return failure(StatusCode::FORBIDDEN, error).into_response();
    }
    let share = app.faults.with(|faults| faults.refuse_share);
    if app.shares.refused.hits(share) {
        app.metrics.refused.inc();
        let error = "refused because the fault refuse-share is on";
        return failure(StatusCode::FORBIDDEN, error).into_response();
    }
    app.metrics.upgrades.inc();
    let streams = app.streams.clone();
    let session = Session::new(app, dialect);
    upgrade
        .read_buffer_size(READ_BUFFER)
        .max_message_size(MESSAGE_LIMIT)
        .max_frame_size(MESSAGE_LIMIT)
        .on_upgrade(move |socket| streams.track_future(session.run(socket)))
}
