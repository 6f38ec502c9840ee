//! Phase 1, what holds of the pure functions for any data: tried with data of which nobody thought.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;

use super::table::{read, statistics};
use crate::answer::{Answer, batch, busy, micros};
use crate::app::App;

const PHASE: u8 = 1;
/// Rows of a table and numbers of a list, at most.
const MOST: u32 = 100;
/// What a field may hold that has a meaning in a table.
const CHARACTERS: [char; 6] = ['a', ',', '"', '\n', ' ', 'é'];

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new().route("/phase/01/properties", post(properties))
}

/// So many cases of each property, with other data in each and the same at each run; the first that does not hold is named.
async fn properties(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let cases = batch(&body, 1000)?;
    let began = Instant::now();
    let failed = busy(move || first_wrong(cases)).await?;
    let took = began.elapsed();
    app.stats.record(PHASE, "properties", took);
    Ok(Json(json!({
        "ok": true, "n": cases, "failed": failed, "elapsed_us": micros(took),
    })))
}

fn first_wrong(cases: u64) -> Option<String> {
    let properties = [
        ("a table is read as it was written", as_written as Property),
        ("statistics lie between the extremes", within_extremes),
        ("the order of numbers is no matter", without_order),
    ];
    let mut all = (0..cases).flat_map(|case| properties.map(|(name, holds)| (case, name, holds)));
    let wrong = all.find(|(case, _, holds)| !holds(&mut Xoshiro256PlusPlus::seed_from_u64(*case)));
    wrong.map(|(case, name, _)| format!("{name}: not in case {case}"))
}

type Property = fn(&mut Xoshiro256PlusPlus) -> bool;

fn as_written(random: &mut Xoshiro256PlusPlus) -> bool {
    let rows = random.random_range(0..=MOST);
    let mut table = csv::Writer::from_writer(Vec::new());
    let mut written = table.write_record(["id", "name", "value"]).is_ok();
    let mut sum = 0.0;
    for row in 0..rows {
        let length = random.random_range(0..8);
        let name: String = (0..length)
            .map(|_| CHARACTERS[random.random_range(0..CHARACTERS.len())])
            .collect();
        let value: f64 = random.random_range(-1e6..1e6);
        sum += value;
        let fields = [row.to_string(), name, value.to_string()];
        written &= table.write_record(&fields).is_ok();
    }
    let Ok(table) = table.into_inner() else {
        return false;
    };
    let told = read(&table[..]);
    // To the last bit: a number is written so that it is read as it was.
    let right = |(count, mean): (u64, f64)| {
        count == u64::from(rows) && mean.to_bits() == (sum / f64::from(rows.max(1))).to_bits()
    };
    written && told.is_ok_and(right)
}

fn numbers(random: &mut Xoshiro256PlusPlus) -> Vec<f64> {
    let count = random.random_range(1..=MOST);
    (0..count).map(|_| random.random_range(-1e6..1e6)).collect()
}

fn within_extremes(random: &mut Xoshiro256PlusPlus) -> bool {
    let told = statistics(numbers(random));
    let of = |name: &str| told[name].as_f64().unwrap_or(f64::NAN);
    // A mean is rounded at each addition.
    let (low, high) = (of("min") - 1e-3, of("max") + 1e-3);
    let names = ["mean", "median", "p95"];
    names.iter().all(|name| (low..=high).contains(&of(name))) && of("stddev") >= 0.0
}

fn without_order(random: &mut Xoshiro256PlusPlus) -> bool {
    let numbers = numbers(random);
    let mut mixed = numbers.clone();
    mixed.shuffle(random);
    let (one, other) = (statistics(numbers), statistics(mixed));
    let names = ["count", "min", "median", "p95", "max"];
    names.iter().all(|name| one[name] == other[name])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_hold_for_a_thousand_cases() {
        assert_eq!(first_wrong(1000), None);
    }
}
