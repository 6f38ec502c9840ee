//! Phase 5, data: simple and complex queries, writes and transactions on a PostgreSQL.

use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::{Executor as _, PgPool};
use tokio::sync::Mutex;

use crate::answer::{Answer, Failure, asked, failure, micros, unavailable, within};
use crate::app::App;

const PHASE: u8 = 5;
/// Orders in the table, unless told otherwise.
const ORDERS: i64 = 1_000_000;
const MOST_ORDERS: u64 = 10_000_000;
/// Who ordered, and what.
const CUSTOMERS: i64 = 10_000;
const PRODUCTS: i64 = 1000;
/// Longer nobody waits for a connection.
const WAIT_LIMIT: Duration = Duration::from_secs(10);

/// All tables of this subject stand in a schema of their own.
const SCHEMA: &str = "
CREATE SCHEMA IF NOT EXISTS phases;
CREATE TABLE IF NOT EXISTS phases.regions (id INT PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS phases.customers (id INT PRIMARY KEY, region_id INT NOT NULL REFERENCES phases.regions, name TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS phases.products (id INT PRIMARY KEY, name TEXT NOT NULL, price INT NOT NULL, stock INT NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS phases.orders (id BIGINT PRIMARY KEY, customer_id INT NOT NULL, product_id INT NOT NULL, quantity INT NOT NULL);
CREATE TABLE IF NOT EXISTS phases.written (id BIGSERIAL PRIMARY KEY, customer_id INT NOT NULL, product_id INT NOT NULL, quantity INT NOT NULL);
";

/// The same rows at each run: all of them follow from their numbers.
const FIXTURES: [&str; 3] = [
    "INSERT INTO phases.regions SELECT n, 'region_' || n FROM generate_series(1, 20) AS n ON CONFLICT DO NOTHING",
    "INSERT INTO phases.customers SELECT n, 1 + n % 20, 'customer_' || n FROM generate_series(1, $1) AS n ON CONFLICT DO NOTHING",
    "INSERT INTO phases.products SELECT n, 'product_' || n, 100 + n * 7 % 900 FROM generate_series(1, $1) AS n ON CONFLICT DO NOTHING",
];
const FILL: &str = "INSERT INTO phases.orders SELECT n, 1 + n * 7919 % $2, 1 + n * 104729 % $3, 1 + n % 5 \
     FROM generate_series(1, $1) AS n";
const INDEX: &str = "CREATE INDEX IF NOT EXISTS orders_customer ON phases.orders (customer_id)";

const SIMPLE: &str = "SELECT quantity FROM phases.orders WHERE id = $1";
/// Nothing can be looked up by a sum.
const SIMPLE_WITHOUT_INDEX: &str = "SELECT quantity FROM phases.orders WHERE id + 0 = $1";
/// Three joins and a sum over what one customer ordered.
const COMPLEX: &str = "SELECT r.name, count(*), sum(o.quantity * p.price) FROM phases.orders AS o \
     JOIN phases.customers AS c ON c.id = o.customer_id JOIN phases.regions AS r ON r.id = c.region_id \
     JOIN phases.products AS p ON p.id = o.product_id WHERE o.customer_id = $1 GROUP BY r.name";
const WRITE: &str = "INSERT INTO phases.written (customer_id, product_id, quantity) VALUES ($1, $2, $3) RETURNING id";
const TAKE: &str = "UPDATE phases.products SET stock = stock - $2 WHERE id = $1";

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/phase/05/prepare", post(prepare))
        .route("/phase/05/simple", post(simple))
        .route("/phase/05/complex", post(complex))
        .route("/phase/05/write", post(write))
        .route("/phase/05/transaction", post(transaction))
        .route("/phase/05/checkout", post(checkout))
}

/// The database, if there is one, and how many orders are in it.
pub(crate) struct Sql {
    pool: Option<PgPool>,
    orders: AtomicI64,
    /// Held while rows are made.
    preparing: Mutex<()>,
}

impl Sql {
    /// Nothing is connected before it is needed.
    pub(crate) fn new(url: Option<&str>, connections: u32) -> anyhow::Result<Self> {
        let options = url.map(|url| {
            let scheme = url.starts_with("postgres://") || url.starts_with("postgresql://");
            let options = scheme.then(|| PgConnectOptions::from_str(url).ok()).flatten();
            // What the address says may be a secret, and so may what is wrong with it.
            options.context("--database-url: an address such as postgres://USER:PASSWORD@HOST:PORT/DATABASE is allowed")
        });
        let pool = options.transpose()?.map(|options| {
            let pool = PgPoolOptions::new().max_connections(connections);
            let pool = pool.acquire_timeout(WAIT_LIMIT).test_before_acquire(false);
            let options = options.ssl_mode(PgSslMode::Disable);
            pool.connect_lazy_with(options.application_name("phases"))
        });
        Ok(Self {
            pool,
            orders: AtomicI64::new(0),
            preparing: Mutex::new(()),
        })
    }

    /// Whether there is a database with rows.
    pub(crate) fn ready(&self) -> bool {
        self.pool.is_some() && self.orders.load(Ordering::Relaxed) > 0
    }

    fn pool(&self) -> Result<&PgPool, Failure> {
        self.pool.as_ref().ok_or_else(|| {
            unavailable("there is no database: the target was started without DATABASE_URL")
        })
    }

    /// One of the orders, by any number.
    fn order(&self, number: i64) -> Result<i64, Failure> {
        match self.orders.load(Ordering::Relaxed) {
            0 => Err(failure(
                StatusCode::CONFLICT,
                "there are no rows: POST /phase/05/prepare makes them",
            )),
            orders => Ok(1 + number.rem_euclid(orders)),
        }
    }

    /// Writes one order.
    pub(crate) async fn write(&self, number: i64) -> Result<i64, Failure> {
        let id = sqlx::query_scalar(WRITE)
            .bind(i32_of(1 + number.rem_euclid(CUSTOMERS)))
            .bind(i32_of(1 + number.rem_euclid(PRODUCTS)))
            .bind(1_i32)
            .fetch_one(self.pool()?);
        id.await.map_err(told)
    }

    pub(crate) async fn close(&self) {
        if let Some(pool) = &self.pool {
            pool.close().await;
        }
    }
}

fn i32_of(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

// Used where errors are mapped by name.
#[allow(clippy::needless_pass_by_value)]
fn told(error: sqlx::Error) -> Failure {
    unavailable(format!("the database: {error}"))
}

/// `{"n": …}`: the rows to be made, or which of them is meant.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Number {
    n: Option<u64>,
}

fn number(body: &Bytes) -> Result<i64, Failure> {
    let number = asked::<Number>(body)?.n.unwrap_or(0);
    Ok(i64::try_from(number).unwrap_or(i64::MAX))
}

/// Makes tables and rows, unless there are as many as asked for.
async fn prepare(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let rows = asked::<Number>(&body)?.n.unwrap_or(ORDERS.unsigned_abs());
    let rows = within("n", rows, MOST_ORDERS)?;
    let rows = i64::try_from(rows).unwrap_or(i64::MAX);
    let began = Instant::now();
    let pool = app.sql.pool()?;
    let _preparing = app.sql.preparing.lock().await;
    pool.execute(SCHEMA).await.map_err(told)?;
    let [regions, customers, products] = FIXTURES;
    sqlx::query(regions).execute(pool).await.map_err(told)?;
    for (statement, count) in [(customers, CUSTOMERS), (products, PRODUCTS)] {
        let made = sqlx::query(statement).bind(i32_of(count)).execute(pool);
        made.await.map_err(told)?;
    }
    let there: i64 = sqlx::query_scalar("SELECT count(*) FROM phases.orders")
        .fetch_one(pool)
        .await
        .map_err(told)?;
    if there != rows {
        pool.execute("TRUNCATE phases.orders").await.map_err(told)?;
        let filled = sqlx::query(FILL).bind(rows).bind(CUSTOMERS).bind(PRODUCTS);
        filled.execute(pool).await.map_err(told)?;
        pool.execute(INDEX).await.map_err(told)?;
        pool.execute("ANALYZE phases.orders").await.map_err(told)?;
    }
    pool.execute("TRUNCATE phases.written")
        .await
        .map_err(told)?;
    app.sql.orders.store(rows, Ordering::Relaxed);
    let elapsed = micros(began.elapsed());
    Ok(Json(
        json!({ "ok": true, "n": rows, "made": there != rows, "elapsed_us": elapsed }),
    ))
}

/// The answer of one operation, which is recorded.
fn done(app: &App, what: &'static str, began: Instant, more: Value) -> Answer {
    app.stats.record(PHASE, what, began.elapsed());
    let mut answer = json!({ "ok": true, "elapsed_us": micros(began.elapsed()) });
    if let (Value::Object(answer), Value::Object(more)) = (&mut answer, more) {
        answer.extend(more);
    }
    Ok(Json(answer))
}

async fn simple(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let began = Instant::now();
    let order = app.sql.order(number(&body)?)?;
    let slow = app.faults.with(|faults| faults.no_index);
    let statement = if slow { SIMPLE_WITHOUT_INDEX } else { SIMPLE };
    let quantity = sqlx::query_scalar(statement)
        .bind(order)
        .fetch_one(app.sql.pool()?);
    let quantity: i32 = quantity.await.map_err(told)?;
    done(&app, "simple", began, json!({ "quantity": quantity }))
}

async fn complex(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let began = Instant::now();
    let customer = 1 + app.sql.order(number(&body)?)?.rem_euclid(CUSTOMERS);
    let rows = sqlx::query_as(COMPLEX)
        .bind(i32_of(customer))
        .fetch_all(app.sql.pool()?);
    let rows: Vec<(String, i64, Option<i64>)> = rows.await.map_err(told)?;
    let orders: i64 = rows.iter().map(|(_, orders, _)| orders).sum();
    done(&app, "complex", began, json!({ "orders": orders }))
}

async fn write(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let began = Instant::now();
    let id = app.sql.write(number(&body)?).await?;
    app.stats.count(PHASE, "writes", 1);
    done(&app, "write", began, json!({ "id": id }))
}

/// An order and what it takes from the stock, together or not at all.
async fn transaction(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let began = Instant::now();
    let number = number(&body)?;
    let product = i32_of(1 + number.rem_euclid(PRODUCTS));
    let mut transaction = app.sql.pool()?.begin().await.map_err(told)?;
    sqlx::query(TAKE)
        .bind(product)
        .bind(1_i32)
        .execute(&mut *transaction)
        .await
        .map_err(told)?;
    let id: i64 = sqlx::query_scalar(WRITE)
        .bind(i32_of(1 + number.rem_euclid(CUSTOMERS)))
        .bind(product)
        .bind(1_i32)
        .fetch_one(&mut *transaction)
        .await
        .map_err(told)?;
    transaction.commit().await.map_err(told)?;
    done(&app, "transaction", began, json!({ "id": id }))
}

/// From asking the pool for a connection until it is there.
async fn checkout(State(app): State<Arc<App>>) -> Answer {
    let began = Instant::now();
    let connection = app.sql.pool()?.acquire().await.map_err(told)?;
    let answer = done(&app, "checkout", began, json!({}));
    drop(connection);
    answer
}
