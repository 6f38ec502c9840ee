//! Phase 13, all together: an order goes through cache, counter, cluster, pipeline and, where there is one, the database.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::body::Bytes;
use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::answer::{Answer, asked, micros, unavailable};
use crate::app::App;

const PHASE: u8 = 13;
/// Orders that may wait to be written down.
const WAITING: usize = 10_000;

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/phase/13/order", post(order))
        .route("/phase/13/orders", get(orders))
}

/// Orders on their way, and those that have arrived.
pub(crate) struct Orders {
    queue: mpsc::Sender<u64>,
    placed: AtomicU64,
    written: Arc<AtomicU64>,
}

impl Orders {
    /// Starts who writes them down.
    pub(crate) fn start() -> Self {
        let (queue, mut waiting) = mpsc::channel(WAITING);
        let written = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&written);
        tokio::spawn(async move {
            let mut orders = Vec::new();
            while waiting.recv_many(&mut orders, WAITING).await > 0 {
                count.fetch_add(orders.len() as u64, Ordering::Relaxed);
                orders.clear();
            }
        });
        Self {
            queue,
            placed: AtomicU64::default(),
            written,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Order {
    customer: u64,
    product: u64,
}

async fn order(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let Order { customer, product } = asked(&body)?;
    let began = Instant::now();
    let (price, _) = app.cache.price(product).await;
    let number = app.counter.call(1).await?;
    let key = format!("customer_{customer}");
    let message = json!({ "key": key, "operation": "increment", "value": 1 });
    let node = app.cluster.call(&key, &message).await?["node"].take();
    if app.sql.ready() {
        app.sql
            .write(i64::try_from(customer % 1_000_000).unwrap_or(0))
            .await?;
    }
    let placed = app.orders.placed.fetch_add(1, Ordering::Relaxed) + 1;
    let nth = u32::try_from(placed % u64::from(u32::MAX)).unwrap_or(0);
    if !app.faults.with(|faults| faults.lose_orders.hits(nth)) {
        let queued = app.orders.queue.send(customer).await;
        queued.map_err(|_| unavailable("nobody writes orders down"))?;
    }
    app.stats.record(PHASE, "order", began.elapsed());
    let elapsed = micros(began.elapsed());
    Ok(Json(
        json!({ "ok": true, "number": number, "price": price, "node": node, "elapsed_us": elapsed }),
    ))
}

/// Orders that were placed, and those of them that were written down: in the end as many.
async fn orders(State(app): State<Arc<App>>) -> Json<Value> {
    let placed = app.orders.placed.load(Ordering::Relaxed);
    let written = app.orders.written.load(Ordering::Relaxed);
    Json(json!({ "ok": true, "placed": placed, "written": written }))
}
