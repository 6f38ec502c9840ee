//! Values over time, read back: what k6's output and the monitors wrote, and what follows from it over a part of a run.

mod hlog;
mod k6;
#[cfg(test)]
mod k6_tests;
mod lines;
pub(crate) mod recorded;
mod samples;
#[cfg(test)]
mod samples_tests;
pub(crate) mod window;

/// The histograms of trends: the interval log of HdrHistogram, version 1.3.
pub(crate) const LOG: &str = "series.hlog";
/// Counts and sums of every metric, a line of JSON for each series and second.
pub(crate) const LINES: &str = "series.hlog.jsonl";

/// A value, as a gate judges it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Value {
    pub(crate) value: f64,
    /// Where looks are missing that would tell: it may be as little as this.
    pub(crate) least: Option<f64>,
    pub(crate) samples: u64,
    /// Of a monitor: how many of its looks gave a value, in words.
    pub(crate) looks: Option<String>,
}

/// A value, and from how many samples it was taken; or why there is none.
pub(crate) type Taken = Result<(f64, u64), String>;

/// A value over epoch ms.
pub(crate) type Points = Vec<(i64, f64)>;
