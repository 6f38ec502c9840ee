//! Phase 6, the web: pages, JSON, live views and a room of messages over WebSocket; and the cart that older load scripts use.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use axum::extract::{State, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use dashmap::DashMap;
use futures_util::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio_util::task::TaskTracker;

use crate::answer::{Answer, Failure, asked, micros, refused, resident};
use crate::app::App;

const PHASE: u8 = 6;
/// Categories of products; a filter shows one of them.
const CATEGORIES: [&str; 4] = ["books", "electronics", "garden", "music"];
const PRODUCTS: u32 = 40;
/// Messages that a slow listener may be behind; what it misses beyond is counted.
const BEHIND: usize = 4096;
/// What a socket is read with at once. Frames are short, and there are many sockets.
const READ_BUFFER: usize = 4 * 1024;
const FRAME_LIMIT: usize = 64 * 1024;
/// How long a client has to take the closing frame.
const FAREWELL: Duration = Duration::from_secs(1);

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(|| async { Html(page("Products and phases")) }))
        .route("/products", get(products_page))
        .route("/products/filter", post(filter))
        .route("/api/products", get(products))
        .route("/api/cart", get(cart))
        .route("/api/cart/items", post(add_to_cart))
        .route("/phase/06/live", any(live))
        .route("/phase/06/views", get(views))
        .route("/socket/websocket", any(room))
}

/// What is open, and who hears whom.
pub(crate) struct Web {
    views: AtomicU64,
    most_views: AtomicU64,
    sockets: AtomicU64,
    rooms: DashMap<String, broadcast::Sender<Arc<str>>>,
    cart: DashMap<u64, u64>,
    messages: AtomicU32,
    /// Resident memory when no view was open.
    before: AtomicU64,
    pub(crate) open: TaskTracker,
}

impl Default for Web {
    fn default() -> Self {
        Self {
            views: AtomicU64::default(),
            most_views: AtomicU64::default(),
            sockets: AtomicU64::default(),
            rooms: DashMap::new(),
            cart: DashMap::new(),
            messages: AtomicU32::default(),
            before: AtomicU64::default(),
            open: TaskTracker::new(),
        }
    }
}

/// One of the things that are counted, for as long as it is there.
struct Counted<'a>(&'a AtomicU64);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicU64) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn page(title: &str) -> String {
    format!(
        "<!doctype html><html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
    )
}

fn list(category: Option<&str>) -> Vec<Value> {
    let all = (1..=PRODUCTS).zip(CATEGORIES.iter().cycle());
    let shown = all.filter(|(_, of)| category.is_none_or(|category| category == **of));
    let shown = shown.map(|(id, category)| {
        json!({ "id": id, "name": format!("product_{id}"), "category": category, "price": 100 + id * 7 })
    });
    shown.collect()
}

async fn products_page(State(app): State<Arc<App>>) -> Html<String> {
    let began = Instant::now();
    let products = list(None);
    let items = products.iter().map(|product| {
        format!(
            "<li phx-value-id=\"{}\">{}</li>",
            product["id"], product["name"]
        )
    });
    let items: String = items.collect();
    let html = format!(
        "<!doctype html><html><body><main data-phx-main phx-session=\"view\"><form phx-change=\"filter\"></form><ul>{items}</ul></main></body></html>"
    );
    app.stats.record(PHASE, "mount", began.elapsed());
    Html(html)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Filter {
    category: Option<String>,
}

async fn filter(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let Filter { category } = asked(&body)?;
    let began = Instant::now();
    let shown = list(category.as_deref());
    app.stats.record(PHASE, "patch", began.elapsed());
    Ok(Json(
        json!({ "ok": true, "data": shown, "elapsed_us": micros(began.elapsed()) }),
    ))
}

async fn products() -> Json<Value> {
    Json(json!({ "ok": true, "data": list(None) }))
}

async fn cart(State(app): State<Arc<App>>) -> Json<Value> {
    let items = app.web.cart.iter();
    let items = items.map(|item| json!({ "product_id": item.key(), "quantity": item.value() }));
    Json(json!({ "ok": true, "data": items.collect::<Vec<_>>() }))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Item {
    product_id: u64,
    quantity: u64,
}

async fn add_to_cart(State(app): State<Arc<App>>, body: Bytes) -> Result<Response, Failure> {
    let Item {
        product_id,
        quantity,
    } = asked(&body)?;
    if !(1..=1000).contains(&product_id) || !(1..=1000).contains(&quantity) {
        return Err(refused(format!(
            "product_id and quantity: got {product_id} and {quantity}; 1 to 1000 are allowed for each"
        )));
    }
    *app.web.cart.entry(product_id).or_default() += quantity;
    Ok((StatusCode::CREATED, Json(json!({ "ok": true }))).into_response())
}

/// How many views are open, how many were at most, and what one takes of memory.
async fn views(State(app): State<Arc<App>>) -> Json<Value> {
    let web = &app.web;
    let open = web.views.load(Ordering::Relaxed);
    let growth = resident().saturating_sub(web.before.load(Ordering::Relaxed));
    let per_view = (open > 0).then(|| growth as f64 / open as f64 / 1024.0);
    Json(json!({
        "ok": true, "open": open, "most": web.most_views.load(Ordering::Relaxed),
        "sockets": web.sockets.load(Ordering::Relaxed), "kb_per_view": per_view,
    }))
}

fn opened(upgrade: WebSocketUpgrade) -> WebSocketUpgrade {
    let limited = upgrade.read_buffer_size(READ_BUFFER);
    limited
        .max_message_size(FRAME_LIMIT)
        .max_frame_size(FRAME_LIMIT)
}

async fn live(State(app): State<Arc<App>>, upgrade: WebSocketUpgrade) -> Response {
    let open = app.web.open.clone();
    opened(upgrade).on_upgrade(move |socket| open.track_future(view(app, socket)))
}

/// A view: its first frame is what it shows, and each filter changes that.
async fn view(app: Arc<App>, mut socket: WebSocket) {
    let web = &app.web;
    if web.views.load(Ordering::Relaxed) == 0 {
        web.before.store(resident(), Ordering::Relaxed);
    }
    let _open = Counted::new(&web.views);
    web.most_views
        .fetch_max(web.views.load(Ordering::Relaxed), Ordering::Relaxed);
    let mounted = json!({ "event": "mount", "rendered": list(None) }).to_string();
    if socket.send(Message::text(mounted)).await.is_err() {
        return;
    }
    loop {
        let received = tokio::select! {
            received = socket.recv() => received,
            () = app.stop.cancelled() => return farewell(socket).await,
        };
        let text = match received {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            Some(Ok(_)) => continue,
        };
        let began = Instant::now();
        let answer = match serde_json::from_str::<Filter>(&text) {
            Ok(Filter { category }) => {
                json!({ "event": "patch", "diff": list(category.as_deref()) })
            }
            Err(error) => json!({ "event": "error", "error": error.to_string() }),
        };
        app.stats.record(PHASE, "patch", began.elapsed());
        if socket
            .send(Message::text(answer.to_string()))
            .await
            .is_err()
        {
            return;
        }
    }
}

async fn farewell(mut socket: WebSocket) {
    let close = CloseFrame {
        code: close_code::AWAY,
        reason: "the target stops".into(),
    };
    let sent = socket.send(Message::Close(Some(close)));
    let _ = tokio::time::timeout(FAREWELL, sent).await;
}

async fn room(State(app): State<Arc<App>>, upgrade: WebSocketUpgrade) -> Response {
    let open = app.web.open.clone();
    opened(upgrade).on_upgrade(move |socket| open.track_future(member(app, socket)))
}

/// A frame in the object form of channels.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Frame {
    topic: String,
    event: String,
    payload: Value,
    #[serde(rename = "ref")]
    reference: Value,
}

/// One who may be in a room: what anybody says there is heard by all, who said it included.
///
/// A message is answered by nothing but itself: clients take each reply as the answer to their join.
async fn member(app: Arc<App>, socket: WebSocket) {
    let _open = Counted::new(&app.web.sockets);
    let (mut send, mut receive) = socket.split();
    let mut heard: Option<broadcast::Receiver<Arc<str>>> = None;
    loop {
        let message = async {
            match &mut heard {
                Some(room) => room.recv().await,
                None => std::future::pending().await,
            }
        };
        let frame = tokio::select! {
            message = message => {
                let text = match message {
                    Ok(text) => text,
                    Err(broadcast::error::RecvError::Lagged(missed)) => {
                        app.stats.count(PHASE, "missed_messages", missed);
                        continue;
                    }
                    Err(broadcast::error::RecvError::Closed) => return,
                };
                if send.send(Message::text(&*text)).await.is_err() {
                    return;
                }
                continue;
            }
            frame = receive.next() => frame,
            () = app.stop.cancelled() => {
                let close = CloseFrame { code: close_code::AWAY, reason: "the target stops".into() };
                let _ = tokio::time::timeout(FAREWELL, send.send(Message::Close(Some(close)))).await;
                return;
            }
        };
        let text = match frame {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            Some(Ok(_)) => continue,
        };
        let frame: Frame = serde_json::from_str(&text).unwrap_or_default();
        let reply = |status: &str, response: Value| {
            json!({
                "topic": frame.topic, "event": "phx_reply", "ref": frame.reference,
                "payload": { "status": status, "response": response },
            })
        };
        let answer = match frame.event.as_str() {
            "phx_join" => {
                let room = app.web.rooms.entry(frame.topic.clone());
                let room = room.or_insert_with(|| broadcast::channel(BEHIND).0);
                heard = Some(room.subscribe());
                reply("ok", json!({}))
            }
            "heartbeat" => reply("ok", json!({})),
            "new_msg" => {
                let number = app
                    .web
                    .messages
                    .fetch_add(1, Ordering::Relaxed)
                    .wrapping_add(1);
                if !app.faults.with(|faults| faults.lose_messages.hits(number))
                    && let Some(room) = app.web.rooms.get(&frame.topic)
                {
                    let said = json!({ "topic": frame.topic, "event": "new_msg", "payload": frame.payload, "ref": null });
                    let _ = room.send(said.to_string().into());
                    app.stats.count(PHASE, "messages", 1);
                }
                continue;
            }
            other => reply(
                "error",
                json!({ "reason": format!("there is no event {other:?}") }),
            ),
        };
        if send.send(Message::text(answer.to_string())).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_shows_one_category() {
        assert_eq!(list(None).len(), 40);
        let shown = list(Some("electronics"));
        assert_eq!(shown.len(), 10);
        assert!(
            shown
                .iter()
                .all(|product| product["category"] == "electronics")
        );
        assert!(list(Some("nothing")).is_empty());
    }
}
