//! Phase 15, a model that is served: inferences, batches, and a swap to another version while it serves.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};
use serde::Deserialize;
use serde_json::json;

use crate::answer::{Answer, Failure, asked, busy, micros, refused, unavailable, within};
use crate::app::App;
use crate::measure::{Durations, goes_on};

const PHASE: u8 = 15;
/// Numbers that an inference looks at, and neurons of the stub's only layer.
const INPUTS: usize = 64;
const NEURONS: usize = 512;
/// Versions that there are: their weights follow from their number.
const VERSIONS: u64 = 1000;
const MOST_ITEMS: u64 = 100_000;

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/phase/15/infer", post(infer))
        .route("/phase/15/batch", post(infer_all))
        .route("/phase/15/swap", post(swap))
}

/// A stub of a model: its answers tell its version, so that a swap is seen.
struct Model {
    version: u64,
    weights: Vec<[f32; INPUTS]>,
}

impl Model {
    fn load(version: u64) -> Self {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(version);
        let neuron = |_| std::array::from_fn(|_| random.random_range(-1.0..1.0));
        Self {
            version,
            weights: (0..NEURONS).map(neuron).collect(),
        }
    }

    fn infer(&self, input: &[f32; INPUTS]) -> f32 {
        let neuron = |weights: &[f32; INPUTS]| {
            let sum: f32 = weights
                .iter()
                .zip(input)
                .map(|(weight, value)| weight * value)
                .sum();
            sum.max(0.0)
        };
        self.weights.iter().map(neuron).sum::<f32>() / NEURONS as f32
    }
}

/// The model that answers now.
pub(crate) struct Models {
    // A std lock: it is held for a copy, without an await. Nobody is there only during the fault `swap-drops`.
    serving: RwLock<Option<Arc<Model>>>,
}

impl Default for Models {
    fn default() -> Self {
        Self {
            serving: RwLock::new(Some(Arc::new(Model::load(1)))),
        }
    }
}

impl Models {
    fn serving(&self) -> Result<Arc<Model>, Failure> {
        let serving = self
            .serving
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        serving.ok_or_else(|| unavailable("no model is loaded"))
    }

    fn serve(&self, model: Option<Arc<Model>>) {
        *self.serving.write().unwrap_or_else(PoisonError::into_inner) = model;
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Asked {
    /// What the input is made of.
    seed: u64,
}

fn input(seed: u64) -> [f32; INPUTS] {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    std::array::from_fn(|_| random.random_range(-1.0..1.0))
}

async fn infer(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let Asked { seed } = asked(&body)?;
    let began = Instant::now();
    let delay = app.faults.with(|faults| faults.infer_delay);
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let model = app.models.serving()?;
    let answer = model.infer(&input(seed));
    app.stats.record(PHASE, "infer", began.elapsed());
    let elapsed = micros(began.elapsed());
    Ok(Json(
        json!({ "ok": true, "version": model.version, "answer": answer, "elapsed_us": elapsed }),
    ))
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Items {
    n: u64,
}

impl Default for Items {
    fn default() -> Self {
        Self { n: 1000 }
    }
}

async fn infer_all(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let count = within("n", asked::<Items>(&body)?.n, MOST_ITEMS)?;
    let batch = Instant::now();
    let model = app.models.serving()?;
    let delay = app.faults.with(|faults| faults.infer_delay);
    let durations = busy(move || {
        let mut durations = Durations::default();
        for seed in 0..count {
            if !goes_on(seed, batch, delay) {
                break;
            }
            let began = Instant::now();
            if !delay.is_zero() {
                std::thread::sleep(delay);
            }
            std::hint::black_box(model.infer(&input(seed)));
            durations.record(began.elapsed());
        }
        durations
    });
    let durations = durations.await?;
    let told = app.stats.batch(PHASE, "item", &durations, batch)?;
    app.stats.count(PHASE, "items", durations.count());
    Ok(Json(told))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Version {
    version: u64,
}

/// Loads another version beside the one that serves, and then lets it serve. It is answered at once.
async fn swap(State(app): State<Arc<App>>, body: Bytes) -> Result<Response, Failure> {
    let Version { version } = asked(&body)?;
    let version = within("version", version, VERSIONS)?;
    let before = app.models.serving()?.version;
    if before == version {
        return Err(refused(format!("version: {version} is serving already")));
    }
    let began = Instant::now();
    tokio::spawn(async move {
        let (delay, drops) = app
            .faults
            .with(|faults| (faults.swap_delay, faults.swap_drops));
        if drops {
            app.models.serve(None);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        tokio::time::sleep(delay).await;
        let loading = Instant::now();
        match busy(move || Model::load(version)).await {
            Ok(model) => {
                app.stats.record(PHASE, "load", loading.elapsed());
                app.models.serve(Some(Arc::new(model)));
                app.stats.record(PHASE, "swap", began.elapsed());
            }
            Err(error) => tracing::error!(?error, "the model was not loaded"),
        }
    });
    let told = json!({ "ok": true, "from": before, "to": version });
    Ok((StatusCode::ACCEPTED, Json(told)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_differ_and_each_is_the_same_each_time() {
        let answer = |version| Model::load(version).infer(&input(7)).to_bits();
        assert_eq!(answer(1), answer(1));
        assert_ne!(answer(1), answer(2));
    }
}
