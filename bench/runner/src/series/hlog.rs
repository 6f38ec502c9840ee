//! The interval log of HdrHistogram: one histogram for each series and interval.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

use super::LOG;

/// Digits that a sum of histograms keeps: as many as the finest of them may have.
const DIGITS: u8 = 3;

/// The histograms, still encoded, by series and the beginning of the interval, epoch ms.
#[derive(Debug, Default)]
pub(super) struct Log {
    encoded: BTreeMap<(u32, i64), Vec<String>>,
}

impl Log {
    /// Reads a log. A last line that was cut off is passed over: its writer was killed.
    ///
    /// # Errors
    /// Something else than an interval stands there.
    pub(super) fn read(bytes: &[u8], base_ms: i64) -> Result<Self, String> {
        // The iterator takes whole lines only.
        let whole = bytes.iter().rposition(|&byte| byte == b'\n');
        let bytes = &bytes[..whole.map_or(0, |end| end + 1)];
        let (mut log, mut base_ms) = (Self::default(), base_ms);
        for entry in IntervalLogIterator::new(bytes) {
            let line_of =
                |offset: usize| 1 + bytes[..offset].iter().filter(|b| **b == b'\n').count();
            let entry = entry.map_err(|error| {
                let hdrhistogram::serialization::interval_log::LogIteratorError::ParseError {
                    offset,
                } = error;
                format!("{LOG}, line {}: no interval", line_of(offset))
            })?;
            match entry {
                LogEntry::StartTime(_) => {}
                LogEntry::BaseTime(base) => base_ms = ms(base)?,
                LogEntry::Interval(interval) => {
                    let tag = interval.tag().map(|tag| tag.as_str()).unwrap_or_default();
                    let series = tag
                        .parse()
                        .map_err(|_| format!("{LOG}: `Tag={tag}` is no number of a series"))?;
                    let t = base_ms + ms(interval.start_timestamp())?;
                    let encoded = interval.encoded_histogram().to_owned();
                    log.encoded.entry((series, t)).or_default().push(encoded);
                }
            }
        }
        Ok(log)
    }

    /// The moments at which a series has a histogram, from one on and up to another.
    pub(super) fn moments(&self, series: u32, from_ms: i64, to_ms: i64) -> Vec<i64> {
        let found = self.encoded.range((series, from_ms)..(series, to_ms));
        found.map(|((_, t), _)| *t).collect()
    }

    /// Adds the histograms of a series at a moment to a sum.
    ///
    /// # Errors
    /// One cannot be read; the text says which.
    pub(super) fn add(&self, series: u32, t: i64, sum: &mut Histogram<u64>) -> Result<(), String> {
        for encoded in self.encoded.get(&(series, t)).into_iter().flatten() {
            let unreadable = |why: String| {
                format!("{LOG}: the histogram of series {series} at {t} ms cannot be read: {why}")
            };
            let bytes = STANDARD
                .decode(encoded)
                .map_err(|error| unreadable(error.to_string()))?;
            let histogram: Histogram<u64> = Deserializer::new()
                .deserialize(&mut bytes.as_slice())
                .map_err(|error| unreadable(error.to_string()))?;
            sum.add(histogram)
                .map_err(|error| unreadable(format!("{error:?}")))?;
        }
        Ok(())
    }
}

/// An empty sum.
///
/// # Errors
/// Never, with the digits that this file asks for.
pub(super) fn empty() -> Result<Histogram<u64>, String> {
    Histogram::new(DIGITS).map_err(|error| format!("{error:?}"))
}

/// The nearest whole number of milliseconds.
fn ms(time: Duration) -> Result<i64, String> {
    let rounded = (time.as_nanos() + 500_000) / 1_000_000;
    i64::try_from(rounded).map_err(|_| format!("{LOG}: a time of {time:?} is out of reach"))
}
