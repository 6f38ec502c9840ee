//! The cluster by the front: where a key is, calls, the end of nodes, and who is there.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::header::HOST;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::{StreamExt as _, TryStreamExt as _};
use rustix::process::Signal;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Cluster, Node, PHASE};
use crate::answer::{Answer, Failure, asked, batch, failure, micros, refused, unavailable, within};
use crate::app::App;
use crate::measure::Durations;

/// Calls of a batch that are under way at the same time, and how many keys they are of.
const AT_ONCE: usize = 50;
const KEYS: u64 = 10_000;
/// Of a cluster that is formed to be timed.
const MOST_NODES: u64 = 20;
/// The phase of delivery.
const DELIVERY: u8 = 12;

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/api/cluster/shard", get(shard))
        .route("/api/cluster/rpc", post(rpc))
        .route("/phase/09/rpc", post(rpc))
        .route("/phase/09/calls", post(calls))
        .route("/phase/09/form", post(form))
        .route("/api/cluster/kill", post(kill))
        .route("/phase/09/kill", post(kill))
        .route("/api/cluster/failover", get(failover))
        .route("/api/cluster/health", get(health))
        .route("/api/cluster/nodes", get(nodes))
        .route("/phase/12/work", post(work))
        .route("/phase/12/rolling-restart", post(restart))
}

#[derive(Debug, Deserialize)]
struct Key {
    key: Option<String>,
}

async fn shard(State(app): State<Arc<App>>, Query(Key { key }): Query<Key>) -> Answer {
    let began = Instant::now();
    let key = key.filter(|key| !key.is_empty());
    let key = key.ok_or_else(|| refused("key: got none; such as /api/cluster/shard?key=user_1"))?;
    let node = app.cluster.owner(&key)?;
    app.stats.record(PHASE, "shard", began.elapsed());
    Ok(Json(
        json!({ "ok": true, "key": key, "node": node.name, "node_url": node.url }),
    ))
}

/// The key of a call, and the call itself.
fn keyed(body: &Bytes) -> Result<(String, Value), Failure> {
    let message: Map<String, Value> = asked(body)?;
    let key = message
        .get("key")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let key = key.to_owned();
    Ok((key, Value::Object(message)))
}

async fn rpc(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let (key, message) = keyed(&body)?;
    let began = Instant::now();
    let told = app.cluster.call(&key, &message).await?;
    app.stats.record(PHASE, "rpc", began.elapsed());
    Ok(Json(told))
}

/// Calls over all nodes, so many at once, timed by the front.
async fn calls(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let count = batch(&body, 1000)?;
    let began = Instant::now();
    let cluster = &app.cluster;
    let calls = futures_util::stream::iter(0..count).map(async |number| {
        let key = format!("key_{}", number % KEYS);
        let message = json!({ "key": key, "operation": "increment", "value": 1 });
        let began = Instant::now();
        cluster.call(&key, &message).await?;
        Ok::<_, Failure>(began.elapsed())
    });
    let record = |mut durations: Durations, took| {
        durations.record(took);
        std::future::ready(Ok(durations))
    };
    let calls = calls.buffer_unordered(AT_ONCE);
    let durations = calls.try_fold(Durations::default(), record).await?;
    Ok(Json(app.stats.batch(PHASE, "rpc", &durations, began)?))
}

/// How long it takes until so many nodes are there: those of a further cluster, which ends at once.
async fn form(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let count = within("n", batch(&body, 10)?, MOST_NODES)?;
    let began = Instant::now();
    let Ok(_alone) = app.cluster.forming.try_lock() else {
        let status = StatusCode::CONFLICT;
        return Err(failure(status, "another cluster is being formed"));
    };
    let stop = app.stop.child_token();
    // Not given up where nobody waits for it any more: its processes have to end.
    let formed = tokio::spawn(async move {
        let nodes = u8::try_from(count).unwrap_or(u8::MAX);
        Cluster::formed_of(nodes, &stop).await
    });
    let formed = formed
        .await
        .map_err(|error| unavailable(error.to_string()))?;
    let formed = formed.map_err(|error| unavailable(format!("{error:#}")))?;
    app.stats.record(PHASE, "formed", formed);
    let formed = micros(formed) / 1000.0;
    Ok(Json(json!({
        "ok": true, "n": count, "formed_ms": formed, "elapsed_us": micros(began.elapsed()),
    })))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Which {
    node: Option<String>,
}

/// The node that is meant: by its name, or, where a client takes the front for a node, by the host that it asked for.
fn meant<'a>(app: &'a App, named: Option<&str>, headers: &HeaderMap) -> Result<&'a Node, Failure> {
    let nodes = &app.cluster.nodes;
    if let Some(name) = named {
        return app.cluster.named(name).ok_or_else(|| {
            let all: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
            let status = StatusCode::NOT_FOUND;
            failure(
                status,
                format!("node: got {name:?}; there are {}", all.join(", ")),
            )
        });
    }
    let host = headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let host = host.split(':').next().unwrap_or_default();
    let any = || nodes.iter().rfind(|node| node.available());
    let node = app.cluster.named(host).or_else(any);
    node.ok_or_else(|| unavailable("no node is up"))
}

/// A node is killed. It is answered once its process is gone.
async fn kill(
    State(app): State<Arc<App>>,
    Query(asked_for): Query<Which>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Failure> {
    let named = asked_for.node.or(asked::<Which>(&body)?.node);
    let node = meant(&app, named.as_deref(), &headers)?;
    let incarnation = node.process.borrow().incarnation;
    let took = app.cluster.end_one(node, Signal::KILL).await?;
    app.stats.count(PHASE, "kills", 1);
    let told = json!({
        "ok": true, "node": node.name, "node_url": node.url, "incarnation": incarnation, "elapsed_us": micros(took),
    });
    Ok((StatusCode::ACCEPTED, Json(told)).into_response())
}

/// Whether a key that a node has is answered by another one: neither while nobody answers, nor while the node itself does.
async fn failover(State(app): State<Arc<App>>, Query(Which { node }): Query<Which>) -> Answer {
    let none = || refused("node: got none; such as /api/cluster/failover?node=node2");
    let name = node.ok_or_else(none)?;
    let node = meant(&app, Some(&name), &HeaderMap::new())?;
    let key = app.cluster.key_of(node);
    let key = key.ok_or_else(|| unavailable(format!("{} has none of 1000 keys", node.name)))?;
    let message = json!({ "key": key, "operation": "get" });
    let told = app.cluster.call(&key, &message).await?;
    if told["node"] == node.name.as_str() {
        let why = format!("{}: it answers for its key {key} itself", node.name);
        return Err(failure(StatusCode::CONFLICT, why));
    }
    Ok(Json(told))
}

async fn health(State(app): State<Arc<App>>) -> Response {
    let details = [
        ("nodes_available".to_owned(), Value::from(app.cluster.up())),
        ("nodes".to_owned(), Value::from(app.cluster.size())),
    ];
    target_kit::health(app.cluster.up() > 0, Map::from_iter(details))
}

async fn nodes(State(app): State<Arc<App>>) -> Json<Value> {
    let nodes = app.cluster.nodes.iter().map(|node| {
        let process = node.process.borrow();
        json!({
            "name": node.name, "status": node.status(), "url": node.url, "pid": process.pid,
            "incarnation": process.incarnation, "under_way": *node.under_way.borrow(),
        })
    });
    let formed = app.cluster.formed.as_secs_f64() * 1000.0;
    Json(json!({ "ok": true, "nodes": nodes.collect::<Vec<_>>(), "formed_ms": formed }))
}

/// A request that is under way for a while on one of the nodes: `{"key": …, "hold_ms": …}`.
async fn work(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let (key, mut message) = keyed(&body)?;
    message["operation"] = json!("increment");
    message["value"] = json!(1);
    let began = Instant::now();
    let told = app.cluster.call(&key, &message).await?;
    app.stats.record(DELIVERY, "work", began.elapsed());
    Ok(Json(told))
}

/// All nodes are replaced, one after another, while the cluster serves.
async fn restart(State(app): State<Arc<App>>) -> Answer {
    let began = Instant::now();
    let abrupt = app.faults.with(|faults| faults.abrupt_restart);
    let took = app.cluster.restart_all(!abrupt).await?;
    let mut longest = 0.0_f64;
    for (_, took) in &took {
        app.stats.record(DELIVERY, "shutdown", *took);
        longest = longest.max(took.as_secs_f64() * 1000.0);
    }
    app.stats.count(DELIVERY, "restarts", took.len() as u64);
    let nodes = took
        .iter()
        .map(|(name, took)| json!({ "name": name, "shutdown_ms": took.as_secs_f64() * 1000.0 }));
    let nodes: Vec<Value> = nodes.collect();
    let elapsed = micros(began.elapsed());
    Ok(Json(
        json!({ "ok": true, "nodes": nodes, "shutdown_ms": longest, "elapsed_us": elapsed }),
    ))
}
