//! A node as a process: what it counts is its own, and is gone when it ends.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::Read as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use dashmap::DashMap;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use target_kit::Stop;
use tokio::task::JoinSet;

use super::ring::owner;
use super::{FINAL, LIMIT};
use crate::answer::{Answer, Failure, asked, failure, refused, unavailable};
use crate::cli::NodeArgs;

/// A node that was told to die answers first.
const LAST_WORDS: Duration = Duration::from_millis(20);
/// A call may ask to be held so long.
const LONGEST_HOLD: u64 = 10_000;
/// Keys that a node remembers; more are refused, as nothing is ever forgotten.
const MOST_KEYS: usize = 5_000_000;

/// What the parts of a node share.
struct Node {
    name: String,
    incarnation: u64,
    counts: DashMap<String, i64>,
    /// Where the others are reached, by name.
    peers: BTreeMap<String, String>,
    // A std lock: it is held to look at a short list, without an await.
    members: RwLock<Vec<String>>,
    client: reqwest::Client,
    dying: AtomicBool,
}

/// Runs a node until it is told to stop, or whoever started it has gone.
pub(crate) async fn node(arguments: &NodeArgs) -> anyhow::Result<()> {
    let opening = arguments.listen.open().await?;
    let node = Arc::new(Node {
        name: arguments.name.clone(),
        incarnation: arguments.incarnation,
        counts: DashMap::new(),
        peers: arguments.peers.iter().cloned().collect(),
        members: RwLock::new(vec![arguments.name.clone()]),
        client: reqwest::Client::builder().timeout(LIMIT).build()?,
        dying: AtomicBool::new(false),
    });
    let (listener, shutdown) = opening.announce()?;
    let shutdown = or_orphaned(shutdown);
    target_kit::serve(
        listener,
        router(node),
        JoinSet::new(),
        Stop::new(),
        shutdown,
    )
    .await?;
    Ok(())
}

/// Completes with this, or when the other end of the standard input is gone: it is held by the front as long as that lives.
async fn or_orphaned(shutdown: impl Future<Output = ()>) {
    let orphaned = Stop::new();
    let told = orphaned.clone();
    // A thread of its own, as a read cannot be given up, and would hold the end of the runtime up.
    std::thread::spawn(move || {
        let mut nothing = [0; 64];
        while std::io::stdin()
            .read(&mut nothing)
            .is_ok_and(|count| count > 0)
        {}
        told.cancel();
    });
    tokio::select! {
        () = shutdown => {}
        () = orphaned.cancelled() => {}
    }
}

fn router(node: Arc<Node>) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/api/cluster/health", get(health))
        .route("/api/cluster/rpc", post(rpc))
        .route("/phase/09/rpc", post(rpc))
        .route("/api/cluster/kill", post(kill))
        .route("/members", put(members))
        .with_state(node)
}

async fn health(State(node): State<Arc<Node>>) -> Response {
    let known = node
        .members
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .len();
    let details = [
        ("node".to_owned(), Value::from(node.name.clone())),
        ("incarnation".to_owned(), Value::from(node.incarnation)),
        ("nodes_available".to_owned(), Value::from(known)),
    ];
    let up = !node.dying.load(Ordering::Relaxed);
    target_kit::health(up, Map::from_iter(details))
}

/// The front tells who is there.
async fn members(State(node): State<Arc<Node>>, body: Bytes) -> Answer {
    #[derive(Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Members {
        members: Vec<String>,
    }
    let Members { members } = asked(&body)?;
    *node.members.write().unwrap_or_else(PoisonError::into_inner) = members;
    Ok(Json(json!({ "ok": true })))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Call {
    key: String,
    operation: Operation,
    value: i64,
    /// The call is under way for so long.
    hold_ms: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Operation {
    #[default]
    Get,
    Increment,
}

impl Node {
    /// Where the node is that has the key, unless it is this one.
    fn elsewhere(&self, key: &str) -> Option<&str> {
        let members = self.members.read().unwrap_or_else(PoisonError::into_inner);
        let owner = owner(key, members.iter(), String::as_str)?;
        // Nobody but this node is known by no address.
        self.peers.get(owner).map(String::as_str)
    }

    async fn here(&self, call: Call) -> Answer {
        if call.key.is_empty() {
            return Err(refused("key: got none; a text is needed"));
        }
        if call.hold_ms > LONGEST_HOLD {
            let got = call.hold_ms;
            return Err(refused(format!(
                "hold_ms: got {got}; 0 to {LONGEST_HOLD} are allowed"
            )));
        }
        let value = match call.operation {
            Operation::Get => self.counts.get(&call.key).map_or(0, |count| *count),
            Operation::Increment => {
                if self.counts.len() >= MOST_KEYS && !self.counts.contains_key(&call.key) {
                    let status = StatusCode::INSUFFICIENT_STORAGE;
                    return Err(failure(
                        status,
                        format!("{MOST_KEYS} keys are counted already"),
                    ));
                }
                let mut count = self.counts.entry(call.key.clone()).or_default();
                *count = count.wrapping_add(call.value);
                *count
            }
        };
        if call.hold_ms > 0 {
            tokio::time::sleep(Duration::from_millis(call.hold_ms)).await;
        }
        Ok(Json(json!({
            "ok": true, "key": call.key, "value": value, "node": self.name, "incarnation": self.incarnation,
        })))
    }

    async fn pass_on(&self, to: &str, body: Bytes) -> Result<Response, Failure> {
        let sent = self
            .client
            .post(format!("{to}/api/cluster/rpc"))
            .header(FINAL, "1");
        let gone = |error: reqwest::Error| {
            failure(
                StatusCode::BAD_GATEWAY,
                format!("the node that has the key: {error}"),
            )
        };
        let answer = sent.body(body).send().await.map_err(gone)?;
        let status = answer.status();
        let body: Value = answer.json().await.map_err(gone)?;
        Ok((status, Json(body)).into_response())
    }
}

/// Done here, or passed on to the node that has the key.
async fn rpc(
    State(node): State<Arc<Node>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Failure> {
    if node.dying.load(Ordering::Relaxed) {
        return Err(unavailable("the node was told to die"));
    }
    let call: Call = asked(&body)?;
    if !headers.contains_key(FINAL)
        && let Some(peer) = node.elsewhere(&call.key)
    {
        return node.pass_on(peer, body).await;
    }
    Ok(node.here(call).await?.into_response())
}

/// It says so, and dies as one that is killed.
async fn kill(State(node): State<Arc<Node>>) -> Response {
    node.dying.store(true, Ordering::Relaxed);
    tokio::spawn(async {
        tokio::time::sleep(LAST_WORDS).await;
        let this = rustix::process::getpid();
        let _ = rustix::process::kill_process(this, rustix::process::Signal::KILL);
    });
    let told = json!({ "ok": true, "node": node.name, "incarnation": node.incarnation });
    (StatusCode::ACCEPTED, Json(told)).into_response()
}
