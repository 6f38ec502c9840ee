//! The research platform: analyses and data sets, as far as load scripts ask for them.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::fields::Fields;
use super::{Failure, common, failure, measured};
use crate::app::App;

/// The socket that analyses.
pub(crate) fn analysis(app: &Arc<App>) -> Router {
    let routes = common()
        .route("/analyze", post(analyze))
        .route("/models/status", get(models))
        .route("/metrics/consciousness", get(state));
    measured(routes, app).with_state(Arc::clone(app))
}

/// The socket that takes data.
pub(crate) fn data(app: &Arc<App>) -> Router {
    let routes = common()
        .route("/datasets/upload", post(upload))
        .route("/datasets/processing/{id}", get(processing))
        .route("/validation/integrity", get(integrity));
    measured(routes, app).with_state(Arc::clone(app))
}

/// The analysis itself is what `/consciousness` streams.
async fn analyze(State(app): State<Arc<App>>, fields: Fields) -> Result<Response, Failure> {
    fields.require(&["query"])?;
    let id = format!("analysis-{}", app.analyses.next());
    let body = json!({ "analysis_id": id, "status": "accepted" });
    Ok((StatusCode::ACCEPTED, Json(body)).into_response())
}

async fn models() -> Json<Value> {
    Json(json!({ "status": "ready", "models": ["reference"] }))
}

async fn state(State(app): State<Arc<App>>) -> Json<Value> {
    Json(json!({ "hz": app.hz(), "analyses": app.analyses.count() }))
}

/// A data set is whatever the body is; a name is handed back where there is one.
async fn upload(State(app): State<Arc<App>>, body: Bytes) -> Response {
    let fields = Fields::of_any(&body);
    let id = format!("dataset-{}", app.datasets.next());
    let body = json!({ "processing_id": id, "name": fields.any(&["name"]) });
    (StatusCode::CREATED, Json(body)).into_response()
}

/// There is nothing to be done with a data set.
async fn processing(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Failure> {
    if app.datasets.has("dataset", &id) {
        let body = json!({ "processing_id": id, "status": "completed", "insights_count": 5 });
        return Ok(Json(body));
    }
    let error = format!("there is no data set {id:?}");
    Err(failure(StatusCode::NOT_FOUND, error))
}

async fn integrity(State(app): State<Arc<App>>) -> Json<Value> {
    Json(json!({ "status": "valid", "datasets": app.datasets.count() }))
}
