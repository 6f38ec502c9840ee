//! Numbers in JSON.

use serde_json::Value as Json;

/// Whole numbers without a fraction, as k6 writes them.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a whole number below 2^53 is exact"
)]
pub(crate) fn as_written(number: f64) -> Json {
    if number.fract() == 0.0 && number.abs() < 9e15 {
        Json::from(number as i64)
    } else {
        Json::from(number)
    }
}
