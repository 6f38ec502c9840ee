//! k6's own values over time.

use hdrhistogram::Histogram;

use super::hlog::{self, Log};
use super::lines::{Bucket, Described, Lines};
use super::window::{Window, float, seconds};
use super::{LOG, Points, Taken};
use crate::suite::over_time::{SCENARIO, Selector};
use crate::suite::schema::MetricKind;
use crate::suite::stat::Stat;

/// How many users are at work; k6 tells it each second, also before there are any.
const USERS: &str = "vus";
/// How many k6 has made, told likewise.
const MADE: &str = "vus_max";

/// What k6's output wrote in a run.
#[derive(Debug)]
pub(crate) struct Series {
    lines: Lines,
    log: Log,
}

/// A metric, or a part of it: all series that have the tags.
#[derive(Debug)]
pub(super) struct Metric<'a> {
    of: &'a Series,
    numbers: Vec<u32>,
    pub(super) kind: MetricKind,
    scale: f64,
}

impl Series {
    /// Reads both files from their content.
    ///
    /// # Errors
    /// One cannot be read; the text says which, and where.
    pub(super) fn read(lines: &str, log: &[u8]) -> Result<Self, String> {
        let lines = Lines::read(lines)?;
        let log = Log::read(log, lines.base_ms)?;
        Ok(Self { lines, log })
    }

    /// Whether it was written to its end.
    pub(crate) fn is_whole(&self) -> bool {
        self.lines.ended
    }

    /// From the first sample of a scenario, or the first second with users at work, up to the end of the last interval; `None`
    /// without a sample.
    ///
    /// k6 tells how many users it has from before it makes them on, and what `setup()` does is no load: neither begins the run.
    pub(crate) fn extent(&self) -> Option<Window> {
        let first = |counts: &dyn Fn(&Described, &Bucket) -> bool| {
            let buckets = self.lines.buckets.iter();
            let counted = buckets.filter(|((number, _), bucket)| {
                let described = self.lines.described.get(number);
                described.is_some_and(|series| counts(series, bucket))
            });
            counted.map(|((_, t), _)| *t).min()
        };
        let of_load = |series: &Described, bucket: &Bucket| {
            let at_work = series.metric == USERS && bucket.max > 0.0;
            at_work || series.tags.contains_key(SCENARIO)
        };
        let of_work =
            |series: &Described, _: &Bucket| ![USERS, MADE].contains(&series.metric.as_str());
        let moments = || self.lines.buckets.keys().map(|(_, t)| *t);
        let from_ms = first(&of_load)
            .or_else(|| first(&of_work))
            .or_else(|| moments().min())?;
        Some(Window {
            from_ms,
            to_ms: moments().max()? + self.lines.interval_ms,
        })
    }

    /// The metric that is meant; `None` if nothing was ever added to it.
    ///
    /// # Errors
    /// Its parts by these tags were not kept apart, or its series cannot be put together.
    pub(super) fn metric(&self, selector: &Selector) -> Result<Option<Metric<'_>>, String> {
        for (name, _) in &selector.tags {
            if !self.lines.tags.contains(name) {
                return Err(format!(
                    "k6 did not keep the tag {name} apart; it kept: {}",
                    self.lines.tags.join(", ")
                ));
            }
        }
        if !selector.tags.is_empty() && self.lines.dropped_series > 0 {
            return Err(format!(
                "{} sets of tags were too many for k6 to keep apart, so nobody knows what part has these tags; keep fewer tags",
                self.lines.dropped_series
            ));
        }
        let is_meant = |series: &Described| {
            let has = |(name, value): &(String, String)| series.tags.get(name) == Some(value);
            series.metric == selector.metric && selector.tags.iter().all(has)
        };
        let all = self.lines.described.iter();
        let named: Vec<_> = all.filter(|(_, series)| is_meant(series)).collect();
        let Some((_, first)) = named.first() else {
            return Ok(None);
        };
        #[expect(
            clippy::float_cmp,
            reason = "one metric has one scale, as it is written"
        )]
        let alike = |series: &Described| series.kind == first.kind && series.scale == first.scale;
        if !named.iter().all(|(_, series)| alike(series)) {
            return Err("its series are of different types or scales".to_owned());
        }
        Ok(Some(Metric {
            of: self,
            numbers: named.iter().map(|(number, _)| **number).collect(),
            kind: first.kind,
            scale: first.scale,
        }))
    }
}

impl Metric<'_> {
    /// What was added in each interval of a window that has samples, in their order.
    fn intervals(&self, window: Window) -> Vec<(i64, Bucket)> {
        let mut found = std::collections::BTreeMap::<i64, Bucket>::new();
        for &number in &self.numbers {
            let ends = (number, window.from_ms)..(number, window.to_ms);
            for ((_, t), bucket) in self.of.lines.buckets.range(ends) {
                found.entry(*t).or_default().add(bucket);
            }
        }
        found.into_iter().collect()
    }

    fn total(&self, window: Window) -> Bucket {
        let mut total = Bucket::default();
        for (_, bucket) in self.intervals(window) {
            total.add(&bucket);
        }
        total
    }

    /// A statistic over a window, and how many samples it is of.
    pub(super) fn stat(&self, stat: Stat, window: Window, band: Option<[f64; 2]>) -> Taken {
        let total = self.total(window);
        let counter = self.kind == MetricKind::Counter;
        if total.n == 0 && !counter {
            return Err("no samples in the window".to_owned());
        }
        let none = || Err("it has no such statistic".to_owned());
        let value = match (stat, self.kind) {
            (Stat::Count, MetricKind::Counter) => total.sum,
            (Stat::Count, _) => float(total.n),
            (Stat::Rate, MetricKind::Counter) => total.sum / window.seconds(),
            (Stat::Rate, MetricKind::Rate) | (Stat::Avg, MetricKind::Trend | MetricKind::Gauge) => {
                total.sum / float(total.n)
            }
            (Stat::Value, MetricKind::Gauge) => match self.last(window)? {
                Some(last) => last,
                None => return none(),
            },
            (Stat::Min, MetricKind::Trend | MetricKind::Gauge) => total.min,
            (Stat::Max, MetricKind::Trend | MetricKind::Gauge) => total.max,
            (Stat::Quantile(share), MetricKind::Trend) => self.quantile(share, window, &total)?,
            (Stat::ShareInBand, _) => {
                let Some(band) = band else { return none() };
                let points = self.points(stat, window)?;
                let inside = points.iter().filter(|(_, value)| in_band(*value, band));
                let all = self.begins(window).count().max(points.len()) as u64;
                if all == 0 {
                    return Err("no whole second in the window".to_owned());
                }
                // A second without a sample is in no band.
                let share = float(inside.count() as u64) / float(all);
                return Ok((share, points.len() as u64));
            }
            (Stat::LongestGap, MetricKind::Counter | MetricKind::Gauge) => {
                let intervals = self.intervals(window).into_iter();
                let covered = intervals.filter(|(_, bucket)| !counter || bucket.sum > 0.0);
                self.longest_gap(window, covered.map(|(t, _)| t))
            }
            _ => return none(),
        };
        if value.is_finite() {
            Ok((value, total.n))
        } else {
            none()
        }
    }

    /// A statistic over several stretches of time together, and how many samples it is of.
    pub(super) fn stat_of_all(&self, stat: Stat, stretches: &[Window]) -> Taken {
        let mut total = Bucket::default();
        for stretch in stretches {
            total.add(&self.total(*stretch));
        }
        if total.n == 0 && self.kind != MetricKind::Counter {
            return Err("no samples in that time".to_owned());
        }
        let lasted: f64 = stretches.iter().map(|stretch| stretch.seconds()).sum();
        let value = match (stat, self.kind) {
            (Stat::Count, MetricKind::Counter) => total.sum,
            (Stat::Count, _) => float(total.n),
            (Stat::Rate, MetricKind::Counter) => total.sum / lasted,
            (Stat::Rate, MetricKind::Rate) | (Stat::Avg, MetricKind::Trend | MetricKind::Gauge) => {
                total.sum / float(total.n)
            }
            (Stat::Min, MetricKind::Trend | MetricKind::Gauge) => total.min,
            (Stat::Max, MetricKind::Trend | MetricKind::Gauge) => total.max,
            (Stat::Quantile(share), MetricKind::Trend) => {
                let mut sum = hlog::empty()?;
                for stretch in stretches {
                    self.add_to(&mut sum, *stretch)?;
                }
                self.of_histogram(share, &sum, &total)?
            }
            _ => return Err("of several stretches of time it has no such statistic".to_owned()),
        };
        if value.is_finite() {
            Ok((value, total.n))
        } else {
            Err("of several stretches of time it has no such statistic".to_owned())
        }
    }

    /// Where the whole intervals of a window begin.
    fn begins(&self, window: Window) -> impl Iterator<Item = i64> + use<> {
        let interval = self.of.lines.interval_ms;
        let behind = self.of.extent().map_or(0, |extent| {
            (window.from_ms - extent.from_ms).rem_euclid(interval)
        });
        let first = window.from_ms + (interval - behind) % interval;
        let moments = std::iter::successors(Some(first), move |t| Some(t + interval));
        moments.take_while(move |t| t + interval <= window.to_ms)
    }

    /// The longest time in seconds between two samples, or from an edge of the window to one: at most so long, for where in its
    /// interval a sample lies is not known.
    fn longest_gap(&self, window: Window, moments: impl Iterator<Item = i64>) -> f64 {
        let (mut longest, mut since) = (0, window.from_ms);
        for t in moments {
            let end = (t + self.of.lines.interval_ms).min(window.to_ms);
            longest = longest.max(end - since);
            since = t;
        }
        seconds(longest.max(window.to_ms - since))
    }

    /// The last value of a gauge.
    ///
    /// # Errors
    /// In the interval that decides several parts of it have one, and which of them came last is not known.
    fn last(&self, window: Window) -> Result<Option<f64>, String> {
        let mut found = Vec::<(i64, f64)>::new();
        for &number in &self.numbers {
            let ends = (number, window.from_ms)..(number, window.to_ms);
            let buckets = self.of.lines.buckets.range(ends).rev();
            let mut lasts = buckets.filter_map(|((_, t), bucket)| Some((*t, bucket.last?)));
            found.extend(lasts.next());
        }
        let latest = found.iter().map(|(t, _)| *t).max();
        found.retain(|(t, _)| Some(*t) == latest);
        match found.as_slice() {
            [] => Ok(None),
            [(_, one)] => Ok(Some(*one)),
            several => Err(format!(
                "{} sets of tags have a value in its last second, and which of them came last is not known; name one by `tag`",
                several.len()
            )),
        }
    }

    /// The value that a share of the samples is not above: from the histograms, with the exact values at both ends.
    fn quantile(&self, share: f64, window: Window, total: &Bucket) -> Result<f64, String> {
        let mut sum = hlog::empty()?;
        self.add_to(&mut sum, window)?;
        self.of_histogram(share, &sum, total)
    }

    /// Adds the samples of a window to a histogram.
    fn add_to(&self, sum: &mut Histogram<u64>, window: Window) -> Result<(), String> {
        for &number in &self.numbers {
            for t in self.of.log.moments(number, window.from_ms, window.to_ms) {
                self.of.log.add(number, t, sum)?;
            }
        }
        Ok(())
    }

    fn of_histogram(
        &self,
        share: f64,
        histogram: &Histogram<u64>,
        total: &Bucket,
    ) -> Result<f64, String> {
        if histogram.len() != total.n {
            return Err(format!(
                "{LOG} holds {} of its {} values, so it is not whole",
                histogram.len(),
                total.n
            ));
        }
        if share <= 0.0 {
            return Ok(total.min);
        }
        if share >= 1.0 {
            return Ok(total.max);
        }
        // Values below 0 come first, and stand there as 0.
        if (share * float(total.n)).ceil() <= float(total.negative) {
            return Err(format!(
                "it is one of the {} values below 0, which histograms do not hold",
                total.negative
            ));
        }
        let found = histogram.value_at_quantile(share);
        Ok((float(found) / self.scale).clamp(total.min, total.max))
    }

    /// What a chart of the statistic shows, and what a band is about: the value of each interval. Of a counter it is the growth
    /// per second, also where there was none.
    ///
    /// # Errors
    /// The histograms cannot be read.
    pub(super) fn points(&self, stat: Stat, window: Window) -> Result<Points, String> {
        let interval = self.of.lines.interval_ms;
        let intervals = self.intervals(window);
        if self.kind == MetricKind::Counter {
            let grown: std::collections::BTreeMap<i64, f64> = intervals
                .iter()
                .map(|(t, bucket)| (*t, bucket.sum))
                .collect();
            let moments = self.begins(window);
            return Ok(moments
                .map(|t| (t, grown.get(&t).copied().unwrap_or(0.0) / seconds(interval)))
                .collect());
        }
        let mut points = Points::new();
        for (t, bucket) in intervals {
            let value = match (stat, self.kind) {
                (Stat::Quantile(share), MetricKind::Trend) => {
                    let own = Window {
                        from_ms: t,
                        to_ms: t + 1,
                    };
                    Some(self.quantile(share, own, &bucket)?)
                }
                (Stat::Min, MetricKind::Trend | MetricKind::Gauge) => Some(bucket.min),
                (Stat::Max, MetricKind::Trend | MetricKind::Gauge) => Some(bucket.max),
                (Stat::Count, _) => Some(float(bucket.n)),
                (Stat::Avg, _) | (_, MetricKind::Trend | MetricKind::Rate) => bucket.mean(),
                (_, MetricKind::Gauge | MetricKind::Counter) => bucket.last,
            };
            points.extend(value.map(|value| (t, value)));
        }
        Ok(points)
    }
}

/// Whether a value is inside a band, whose ends belong to it.
pub(super) fn in_band(value: f64, [low, high]: [f64; 2]) -> bool {
    (low..=high).contains(&value)
}
