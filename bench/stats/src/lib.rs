//! What a benchmark needs beside its runs: the order they take, the machine they ran on, the statistics of their values.
//!
//! [`order`] puts the variants of a cycle in order, [`host`] looks at the machine, [`ratio`] and [`difference`]
//! compare two variants cycle by cycle, [`median`] sums up the values of one without assuming anything about them. Nothing here starts a process of the
//! benchmark or knows what is measured.

pub mod difference;
pub mod host;
pub mod median;
pub mod order;
pub mod ratio;

/// A number of values, to reckon with.
#[expect(
    clippy::cast_precision_loss,
    reason = "numbers of values are far below 2^52"
)]
fn count(n: usize) -> f64 {
    n as f64
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}
