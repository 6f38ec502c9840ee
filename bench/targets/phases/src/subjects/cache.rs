//! Phase 8, a cache: reads of a concurrent map, and one load for a key however many ask for it at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use dashmap::DashMap;
use rand::SeedableRng as _;
use rand::rngs::Xoshiro256PlusPlus;
use rand_distr::{Distribution as _, Zipf};
use serde::Deserialize;
use serde_json::json;

use crate::answer::{Answer, asked, batch, micros, refused, resident, within};
use crate::app::App;
use crate::measure::Durations;

const PHASE: u8 = 8;
/// Keys that are read, and how often by their rank: the 50,000 that are read most are 97 of 100 reads.
const KEYS: u32 = 100_000;
const SKEW: f64 = 1.1;
/// Entries that are kept; with the fault `small-cache`, the other.
const ENTRIES: u64 = 50_000;
const FEW_ENTRIES: u64 = 100;
/// Entries that may be held to see what they take.
const MOST_HELD: u64 = 2_000_000;
/// The same reads at each run.
const KEY: u64 = 0x0063_6163_6865;
/// Between two looks at what else is to be done.
const YIELD_EVERY: u64 = 1024;
/// How long a load of a cold key may be told to last.
const LONGEST_LOAD: u64 = 60_000;

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/phase/08/read", post(read))
        .route("/phase/08/write", post(write))
        .route("/phase/08/memory", post(memory))
        .route("/phase/08/stampede", post(stampede))
}

/// What is kept, and how often each cold key was loaded.
pub(crate) struct Cache {
    entries: moka::future::Cache<u64, u64>,
    few: moka::future::Cache<u64, u64>,
    cold: moka::future::Cache<String, u64>,
    loads: DashMap<String, u64>,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            entries: moka::future::Cache::new(ENTRIES),
            few: moka::future::Cache::new(FEW_ENTRIES),
            cold: moka::future::Cache::new(ENTRIES),
            loads: DashMap::new(),
        }
    }
}

impl Cache {
    fn used(&self, small: bool) -> &moka::future::Cache<u64, u64> {
        if small { &self.few } else { &self.entries }
    }

    /// What the key leads to, from the cache if it is there; whether it was.
    pub(crate) async fn price(&self, key: u64) -> (u64, bool) {
        match self.entries.get(&key).await {
            Some(price) => (price, true),
            None => (self.entries.get_with(key, async { load(key) }).await, false),
        }
    }
}

fn load(key: u64) -> u64 {
    key.wrapping_mul(31) % 1000
}

/// Reads by a known distribution; the first ones find a cache that is warm.
async fn read(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let count = batch(&body, 200_000)?;
    let cache = app
        .cache
        .used(app.faults.with(|faults| faults.small_cache))
        .clone();
    let zipf = Zipf::new(f64::from(KEYS), SKEW).map_err(|error| refused(error.to_string()))?;
    let mut random = Xoshiro256PlusPlus::seed_from_u64(KEY);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank is a whole number from 1 to KEYS"
    )]
    let mut next = move || zipf.sample(&mut random) as u64;
    if cache.entry_count() == 0 {
        // The most read ones last, as a cache that has been read for long would have them.
        for key in (1..=ENTRIES).rev() {
            cache.get_with(key, async move { load(key) }).await;
        }
        cache.run_pending_tasks().await;
    }
    let began = Instant::now();
    let (mut durations, mut hits) = (Durations::default(), 0_u64);
    for nth in 1..=count {
        let key = next();
        let began = Instant::now();
        let found = cache.get(&key).await;
        durations.record(began.elapsed());
        match found {
            Some(_) => hits += 1,
            None => {
                cache.get_with(key, async move { load(key) }).await;
            }
        }
        if nth % YIELD_EVERY == 0 {
            tokio::task::yield_now().await;
        }
    }
    app.stats.count(PHASE, "hits", hits);
    app.stats.count(PHASE, "reads", count);
    let mut told = app.stats.batch(PHASE, "read", &durations, began)?;
    told["hit_share"] = json!(hits as f64 / count as f64);
    Ok(Json(told))
}

async fn write(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let count = batch(&body, 50_000)?;
    let began = Instant::now();
    let mut durations = Durations::default();
    for key in 0..count {
        let began = Instant::now();
        app.cache.entries.insert(key, load(key)).await;
        durations.record(began.elapsed());
        if key % YIELD_EVERY == 0 {
            tokio::task::yield_now().await;
        }
    }
    Ok(Json(app.stats.batch(PHASE, "write", &durations, began)?))
}

/// The growth of resident memory by so many entries, of which none is dropped, and what a million of them take of it.
async fn memory(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let count = within("n", batch(&body, 1_000_000)?, MOST_HELD)?;
    let began = Instant::now();
    let before = resident();
    let entries = moka::future::Cache::new(count);
    for key in 0..count {
        entries.insert(key, load(key)).await;
        if key % YIELD_EVERY == 0 {
            tokio::task::yield_now().await;
        }
    }
    entries.run_pending_tasks().await;
    let (growth, held) = (resident().saturating_sub(before), entries.entry_count());
    app.stats.most(PHASE, "memory_growth_bytes", growth);
    let per_million = growth as f64 * 1e6 / held.max(1) as f64 / 1e6;
    let elapsed = micros(began.elapsed());
    Ok(Json(
        json!({ "ok": true, "n": held, "mb_per_million": per_million, "elapsed_us": elapsed }),
    ))
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Cold {
    key: String,
    load_ms: u64,
}

impl Default for Cold {
    fn default() -> Self {
        Self {
            key: "cold".to_owned(),
            load_ms: 100,
        }
    }
}

/// Reads a key that is loaded if it is not there. How often it was loaded is part of the answer.
async fn stampede(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let Cold { key, load_ms } = asked(&body)?;
    let load_ms = within("load_ms", load_ms, LONGEST_LOAD)?;
    let began = Instant::now();
    let cache = &app.cache;
    let load = async {
        *cache.loads.entry(key.clone()).or_default() += 1;
        app.stats.count(PHASE, "loads", 1);
        tokio::time::sleep(Duration::from_millis(load_ms)).await;
        load_ms
    };
    if app.faults.with(|faults| faults.no_stampede_guard) {
        if cache.cold.get(&key).await.is_none() {
            let value = load.await;
            cache.cold.insert(key.clone(), value).await;
        }
    } else {
        cache.cold.get_with(key.clone(), load).await;
    }
    let loads = cache.loads.get(&key).map_or(0, |loads| *loads);
    app.stats.record(PHASE, "stampede", began.elapsed());
    Ok(Json(
        json!({ "ok": true, "key": key, "loads": loads, "elapsed_us": micros(began.elapsed()) }),
    ))
}
