//! The lines beside the interval log: which series there are, and counts and sums of each second.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::LINES;
use super::window::float;
use crate::suite::schema::MetricKind;

/// What the first line says it is.
const FORMAT: &str = "k6-barrier series";
const VERSION: u64 = 1;

/// The samples of a series in an interval.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bucket {
    pub(super) n: u64,
    /// Of a rate, how many were true.
    pub(super) sum: f64,
    pub(super) min: f64,
    pub(super) max: f64,
    /// Of a gauge.
    pub(super) last: Option<f64>,
    /// How many were below 0, which stand in histograms as 0.
    pub(super) negative: u64,
}

impl Default for Bucket {
    fn default() -> Self {
        Self {
            n: 0,
            sum: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            last: None,
            negative: 0,
        }
    }
}

impl Bucket {
    /// Adds what came later.
    pub(super) fn add(&mut self, later: &Self) {
        self.n += later.n;
        self.sum += later.sum;
        self.min = self.min.min(later.min);
        self.max = self.max.max(later.max);
        self.last = later.last.or(self.last);
        self.negative += later.negative;
    }

    /// The mean; of a rate, the share that was true.
    pub(super) fn mean(&self) -> Option<f64> {
        (self.n > 0).then(|| self.sum / float(self.n))
    }
}

/// A series: a metric with one set of tags.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Described {
    pub(super) metric: String,
    pub(super) kind: MetricKind,
    pub(super) tags: BTreeMap<String, String>,
    /// What a value is multiplied by to stand in a histogram.
    pub(super) scale: f64,
}

/// The file, read.
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) base_ms: i64,
    pub(super) interval_ms: i64,
    /// The tags by which samples are kept apart.
    pub(super) tags: Vec<String>,
    pub(super) described: BTreeMap<u32, Described>,
    /// By series and the beginning of the interval, epoch ms.
    pub(super) buckets: BTreeMap<(u32, i64), Bucket>,
    /// Whether it was written to its end.
    pub(super) ended: bool,
    /// How many sets of tags were too many to be kept apart.
    pub(super) dropped_series: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    format: String,
    version: u64,
    base_ms: i64,
    interval_ms: i64,
    #[serde(default)]
    tags: Vec<String>,
}

/// Every kind of line; which it is, its first key tells.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    series: Option<u32>,
    metric: Option<String>,
    #[serde(rename = "type")]
    kind: Option<MetricKind>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    scale: Option<f64>,
    s: Option<u32>,
    t: Option<i64>,
    #[serde(default)]
    n: u64,
    sum: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    last: Option<f64>,
    #[serde(default)]
    neg: u64,
    #[serde(default)]
    end: bool,
    #[serde(default)]
    dropped_series: u64,
}

impl Lines {
    /// Reads the file. A last line that was cut off is passed over: its writer was killed.
    ///
    /// # Errors
    /// It is of another format, or a line that is not the last one cannot be read; the text names it.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let mut rest = text.lines().enumerate();
        let (_, first) = rest.next().ok_or_else(|| format!("{LINES} is empty"))?;
        let head: Head = serde_json::from_str(first)
            .map_err(|error| format!("{LINES}, line 1: not the head of a series file: {error}"))?;
        if head.format != FORMAT || head.version != VERSION || head.interval_ms <= 0 {
            return Err(format!(
                "{LINES} is `{}`, version {}, every {} ms; allowed: `{FORMAT}`, version {VERSION}, and more than 0 ms",
                head.format, head.version, head.interval_ms
            ));
        }
        let mut lines = Self {
            base_ms: head.base_ms,
            interval_ms: head.interval_ms,
            tags: head.tags,
            described: BTreeMap::new(),
            buckets: BTreeMap::new(),
            ended: false,
            dropped_series: 0,
        };
        let count = text.lines().count();
        for (number, line) in rest.filter(|(_, line)| !line.trim().is_empty()) {
            let read = serde_json::from_str(line).map_err(|error| error.to_string());
            match read.and_then(|line| lines.add(line)) {
                Ok(()) => {}
                Err(_) if number + 1 == count && !text.ends_with('\n') => break,
                Err(why) => return Err(format!("{LINES}, line {}: {why}", number + 1)),
            }
        }
        Ok(lines)
    }

    fn add(&mut self, line: Line) -> Result<(), String> {
        if let (Some(s), Some(t)) = (line.s, line.t) {
            let bucket = Bucket {
                n: line.n,
                sum: line.sum.unwrap_or_default(),
                min: line.min.unwrap_or(f64::INFINITY),
                max: line.max.unwrap_or(f64::NEG_INFINITY),
                last: line.last,
                negative: line.neg,
            };
            self.buckets.entry((s, t)).or_default().add(&bucket);
        } else if let (Some(series), Some(metric), Some(kind)) =
            (line.series, line.metric, line.kind)
        {
            let scale = line.scale.unwrap_or(1.0);
            if !(scale.is_finite() && scale > 0.0) {
                return Err(format!("`scale` is {scale}; allowed: a number above 0"));
            }
            let described = Described {
                metric,
                kind,
                tags: line.tags,
                scale,
            };
            self.described.insert(series, described);
        } else if line.end {
            self.ended = true;
            self.dropped_series = line.dropped_series;
        } else {
            return Err("neither a series nor values nor the end".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        r#"{"format":"k6-barrier series","version":1,"baseMs":1000,"intervalMs":1000,"tags":[]}"#;
    const SERIES: &str =
        r#"{"series":1,"metric":"m","type":"trend","contains":"time","tags":{},"scale":1000}"#;

    #[test]
    fn late_lines_are_merged() {
        let text = format!(
            "{HEAD}\n{SERIES}\n{}\n{}\n{}\n",
            r#"{"s":1,"t":2000,"n":2,"sum":5.5,"min":2,"max":3.5}"#,
            r#"{"s":1,"t":3000,"n":1,"sum":1,"min":1,"max":1}"#,
            r#"{"s":1,"t":2000,"n":1,"sum":-4,"min":-4,"max":-4,"neg":1}"#,
        );
        let lines = Lines::read(&text).expect("read");
        let merged = &lines.buckets[&(1, 2000)];
        assert_eq!((merged.n, merged.negative), (3, 1));
        assert_eq!((merged.sum, merged.min, merged.max), (1.5, -4.0, 3.5));
        assert!(!lines.ended, "nobody said so");
        let whole = format!("{text}{{\"end\":true,\"droppedSeries\":2}}\n");
        let lines = Lines::read(&whole).expect("read");
        assert_eq!((lines.ended, lines.dropped_series), (true, 2));
    }

    #[test]
    fn only_the_last_line_may_be_cut_off() {
        let cut = format!("{HEAD}\n{SERIES}\n{{\"s\":1,\"t\":20");
        assert!(Lines::read(&cut).expect("read").buckets.is_empty());
        let told = Lines::read(&format!("{cut}\n")).expect_err("refused");
        assert!(told.starts_with("series.hlog.jsonl, line 3: "), "{told}");
        for (from, to, why) in [
            ("series\"", "other\"", "is `k6-barrier other`"),
            ("\"version\":1", "\"version\":2", "version 2"),
            ("\"intervalMs\":1000", "\"intervalMs\":0", "every 0 ms"),
            ("\"baseMs\":1000,", "", "not the head"),
        ] {
            let told = Lines::read(&HEAD.replacen(from, to, 1)).expect_err(why);
            assert!(told.contains(why), "{told}");
        }
        assert!(Lines::read("").is_err());
    }
}
