//! Phase 1, the core language: tables of comma-separated values and statistics, by pure functions over much data.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Instant;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::answer::{Answer, Failure, asked, batch, busy, micros, refused, resident};
use crate::app::App;
use crate::measure::Durations;

const PHASE: u8 = 1;
/// Rows of the table that is read again and again, and numbers of the list.
const ROWS: u64 = 10_000;
const NUMBERS: usize = 100_000;
/// The same data at each run.
const KEY: u64 = 0x7068_6173_6573;
/// How often memory is looked at while a long table is read.
const LOOK_EVERY: u64 = 10_000;

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/api/csv/parse", post(parse))
        .route("/api/stats/calculate", post(calculate))
        .route("/phase/01/parse", post(parse_batch))
        .route("/phase/01/statistics", post(statistics_batch))
        .route("/phase/01/stream", post(stream))
}

/// Reads a table: how many rows it has, and the mean of its column `value`.
pub(super) fn read(table: impl Read) -> Result<(u64, f64), csv::Error> {
    let mut reader = csv::Reader::from_reader(table);
    let column = reader.headers()?.iter().position(|name| name == "value");
    let (mut rows, mut sum) = (0, 0.0);
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record)? {
        rows += 1;
        let value = column.and_then(|column| record.get(column)?.parse().ok());
        sum += value.unwrap_or(0.0);
    }
    Ok((
        rows,
        sum / f64::from(u32::try_from(rows.max(1)).unwrap_or(u32::MAX)),
    ))
}

async fn parse(State(app): State<Arc<App>>, body: Bytes) -> Result<Response, Failure> {
    let began = Instant::now();
    let (rows, mean) = busy(move || read(&body[..]))
        .await?
        .map_err(|error| refused(format!("no table: {error}")))?;
    app.stats.record(PHASE, "parse", began.elapsed());
    let memory = [("X-Memory-MB", (resident() / 1_000_000).to_string())];
    let told =
        json!({ "ok": true, "rows": rows, "mean": mean, "elapsed_us": micros(began.elapsed()) });
    Ok((memory, Json(told)).into_response())
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Numbers {
    numbers: Vec<f64>,
}

/// Mean, median and so on. There is at least one number.
pub(super) fn statistics(mut numbers: Vec<f64>) -> Value {
    numbers.sort_unstable_by(f64::total_cmp);
    let count = numbers.len();
    let mean = numbers.iter().sum::<f64>() / count as f64;
    let median = f64::midpoint(numbers[(count - 1) / 2], numbers[count / 2]);
    let squares = numbers.iter().map(|number| (number - mean).powi(2));
    let deviation = (squares.sum::<f64>() / count as f64).sqrt();
    json!({
        "ok": true, "count": count, "mean": mean, "median": median, "stddev": deviation,
        "min": numbers[0], "max": numbers[count - 1], "p95": numbers[(count * 95).div_ceil(100) - 1],
    })
}

async fn calculate(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> Answer {
    let began = Instant::now();
    let answer = busy(move || {
        let Numbers { numbers } = asked(&body)?;
        if numbers.is_empty() {
            let length = headers
                .get("content-length")
                .and_then(|text| text.to_str().ok());
            let length = length.unwrap_or("?");
            return Err(refused(format!(
                "numbers: got none in {length} bytes; at least one is needed"
            )));
        }
        Ok(statistics(numbers))
    });
    let mut answer = answer.await??;
    app.stats.record(PHASE, "statistics", began.elapsed());
    answer["elapsed_us"] = json!(micros(began.elapsed()));
    Ok(Json(answer))
}

/// A table of the same rows at each run, made while it is read.
struct Table {
    random: Xoshiro256PlusPlus,
    row: u64,
    rows: u64,
    line: Vec<u8>,
    at: usize,
}

impl Table {
    fn of(rows: u64) -> Self {
        Self {
            random: Xoshiro256PlusPlus::seed_from_u64(KEY),
            row: 0,
            rows,
            line: b"id,name,value,timestamp\n".to_vec(),
            at: 0,
        }
    }
}

impl Read for Table {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.line.len() {
            if self.row == self.rows {
                return Ok(0);
            }
            self.row += 1;
            let (row, value) = (self.row, self.random.random_range(0.0..1000.0));
            let line = format!("{row},name_{row},{value:.3},{}\n", 1_700_000_000 + row);
            self.line = line.into_bytes();
            self.at = 0;
        }
        let rest = &self.line[self.at..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        Ok(count)
    }
}

async fn parse_batch(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let times = batch(&body, 20)?;
    let began = Instant::now();
    let durations = busy(move || {
        let mut table = Vec::new();
        Table::of(ROWS)
            .read_to_end(&mut table)
            .map_err(|error| refused(error.to_string()))?;
        let mut durations = Durations::default();
        for _ in 0..times {
            let began = Instant::now();
            let (rows, _) = read(&table[..]).map_err(|error| refused(error.to_string()))?;
            durations.record(began.elapsed());
            debug_assert_eq!(rows, ROWS);
        }
        Ok::<_, Failure>(durations)
    });
    let durations = durations.await??;
    Ok(Json(app.stats.batch(PHASE, "parse", &durations, began)?))
}

async fn statistics_batch(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let times = batch(&body, 20)?;
    let began = Instant::now();
    let durations = busy(move || {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(KEY);
        let numbers: Vec<f64> = (0..NUMBERS)
            .map(|_| random.random_range(0.0..1000.0))
            .collect();
        let mut durations = Durations::default();
        for _ in 0..times {
            let numbers = numbers.clone();
            let began = Instant::now();
            std::hint::black_box(statistics(numbers));
            durations.record(began.elapsed());
        }
        durations
    });
    let durations = durations.await?;
    Ok(Json(app.stats.batch(
        PHASE,
        "statistics",
        &durations,
        began,
    )?))
}

/// A table that would not fit is read as it comes: the growth of resident memory at its highest, in MB.
async fn stream(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let rows = batch(&body, 1_000_000)?;
    let hold = app.faults.with(|faults| faults.hold_rows);
    let began = Instant::now();
    let outcome = busy(move || {
        let before = resident();
        let mut reader = csv::Reader::from_reader(Table::of(rows));
        let (mut count, mut most, mut held) = (0_u64, before, Vec::new());
        let mut record = csv::StringRecord::new();
        while reader.read_record(&mut record)? {
            count += 1;
            if hold {
                held.push(record.clone());
            }
            if count % LOOK_EVERY == 0 {
                most = most.max(resident());
            }
        }
        Ok::<_, csv::Error>((count, most.max(resident()) - before))
    });
    let (count, growth) = outcome
        .await?
        .map_err(|error| refused(format!("no table: {error}")))?;
    app.stats.most(PHASE, "memory_growth_bytes", growth);
    app.stats.count(PHASE, "rows", count);
    let megabytes = growth as f64 / 1e6;
    let elapsed = micros(began.elapsed());
    Ok(Json(
        json!({ "ok": true, "n": count, "memory_growth_mb": megabytes, "elapsed_us": elapsed }),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_without_a_last_line_end_has_all_its_rows() {
        let table = "id,name,value,timestamp\n1,a,2.5,9\n2,\"b,\nc\",3.5,9";
        assert_eq!(read(table.as_bytes()).expect("a table"), (2, 3.0));
        assert!(read("a,b\n1\n".as_bytes()).is_err());
    }

    #[test]
    fn the_made_table_is_the_same_each_time() {
        let text = || {
            let mut text = String::new();
            Table::of(1000).read_to_string(&mut text).expect("text");
            text
        };
        assert_eq!(text(), text());
        assert_eq!(read(Table::of(1000)).expect("a table").0, 1000);
    }

    #[test]
    fn statistics_are_those_of_the_numbers() {
        let told = statistics(vec![4.0, 1.0, 3.0, 2.0]);
        assert_eq!(told["mean"], 2.5);
        assert_eq!(told["median"], 2.5);
        assert_eq!(told["max"], 4.0);
        assert_eq!(statistics(vec![3.0, 1.0, 2.0])["median"], 2.0);
    }
}
