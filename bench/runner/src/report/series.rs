//! What monitors wrote over time, as far as a report draws it.

use std::fs;
use std::path::Path;

use serde_json::Value as Json;

use crate::compare::stored::StoredRun;
use crate::suite::schema::RecordTable;
use crate::verdict::health::{self, Health, Measured, Share};

/// Points that a line has at most; more cannot be told apart on a screen.
const POINTS: usize = 150;

/// A value over seconds.
pub(crate) type Points = Vec<(f64, f64)>;

/// The series of one run; empty where no monitor ran. Seconds count from the time that the
/// suite's report names where that is known, else from k6's start.
#[derive(Debug, Default)]
pub(crate) struct Series {
    /// Whether seconds count from there.
    pub(crate) since_record: bool,
    /// From which moment they count, epoch ms.
    pub(super) zero: Option<f64>,
    /// Users in all queues together.
    pub(crate) queue: Points,
    /// Users that left the queues, per second.
    pub(crate) promotions: Points,
    pub(crate) processes: Vec<Process>,
    /// What k6 and the whole machine used of what they may use.
    pub(crate) shares: Vec<Share>,
}

/// One process over time.
#[derive(Debug, Default)]
pub(crate) struct Process {
    pub(crate) name: String,
    /// Percent of one core.
    pub(crate) cpu: Points,
    /// MiB.
    pub(crate) memory: Points,
    pub(crate) connections: Points,
}

impl Series {
    /// Reads every `monitor-*.jsonl` of a run; a line that is not JSON is skipped.
    ///
    /// `windowed`: whether k6's values are judged over the run's window alone.
    pub(crate) fn of(run: &StoredRun, since: Option<&RecordTable>, windowed: bool) -> Self {
        let since = since.and_then(|record| run.meta.others.get(record.id.get_ref())?.as_f64());
        let mut series = Self {
            since_record: since.is_some(),
            ..Self::default()
        };
        let zero = since.or(run.meta.k6_run.start_ms);
        series.zero = zero;
        for line in lines(&run.path) {
            let Some(t) = line["t"].as_f64() else {
                continue;
            };
            let seconds = (t - zero.unwrap_or(t)) / 1000.0;
            if let Some(total) = line["total"].as_f64() {
                series.queue.push((seconds, total));
            }
            for (name, values) in line["processes"].as_object().into_iter().flatten() {
                series.process(name).sample(seconds, values);
            }
        }
        let health = fs::read_to_string(run.path.join(health::FILE));
        let window = run.window.filter(|_| windowed);
        let part = Measured::of(window, run.summary.as_ref());
        series.shares = health.map_or_else(|_| Vec::new(), |text| Health::read(&text).shares(part));
        for share in &mut series.shares {
            let seconds = |&(t, value): &(f64, f64)| ((t - zero.unwrap_or(t)) / 1000.0, value);
            share.points = thinned(&share.points.iter().map(seconds).collect());
            share.beyond = share.beyond.iter().map(seconds).collect();
        }
        series.promotions = per_second(&series.queue);
        series.queue = thinned(&series.queue);
        for process in &mut series.processes {
            for points in [
                &mut process.cpu,
                &mut process.memory,
                &mut process.connections,
            ] {
                *points = thinned(points);
            }
        }
        series
    }

    fn process(&mut self, name: &str) -> &mut Process {
        let known = self
            .processes
            .iter()
            .position(|process| process.name == name);
        let index = known.unwrap_or_else(|| {
            self.processes.push(Process {
                name: name.to_owned(),
                ..Process::default()
            });
            self.processes.len() - 1
        });
        &mut self.processes[index]
    }
}

impl Process {
    fn sample(&mut self, seconds: f64, values: &Json) {
        let mib = f64::from(1 << 20);
        for (name, scale, points) in [
            ("cpu", 1.0, &mut self.cpu),
            ("rss", mib, &mut self.memory),
            ("connections", 1.0, &mut self.connections),
        ] {
            if let Some(value) = values[name].as_f64() {
                points.push((seconds, value / scale));
            }
        }
    }
}

/// Seconds from a moment to another, epoch ms; from the epoch where none is known.
#[expect(clippy::cast_precision_loss, reason = "a time in ms is far below 2^53")]
pub(super) fn seconds_since(zero: Option<f64>, t: i64) -> f64 {
    (t as f64 - zero.unwrap_or_default()) / 1000.0
}

fn lines(folder: &Path) -> Vec<Json> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("monitor-") && name.ends_with(".jsonl")
        })
        .collect();
    files.sort();
    files
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|text| {
            text.lines()
                .filter_map(|line| serde_json::from_str(line).ok())
                .collect::<Vec<Json>>()
        })
        .collect()
}

/// How many left per second: what the length lost within each second. Those who came in the same moment hide as many who left, so this counts promotions only once all have joined.
fn per_second(queue: &Points) -> Points {
    let mut rates: Points = Vec::new();
    for pair in queue.windows(2) {
        let (second, lost) = (pair[1].0.floor(), (pair[0].1 - pair[1].1).max(0.0));
        match rates.last_mut() {
            Some((known, rate)) if *known >= second => *rate += lost,
            _ => rates.push((second, lost)),
        }
    }
    thinned(&rates)
}

/// At most [`POINTS`] points: the mean of neighbours.
pub(super) fn thinned(points: &Points) -> Points {
    let size = points.len().div_ceil(POINTS).max(1);
    points
        .chunks(size)
        .map(|chunk| {
            let n = chunk.iter().fold(0.0, |n, _| n + 1.0);
            let sum = chunk
                .iter()
                .fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
            (sum.0 / n, sum.1 / n)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promotions_are_what_the_queue_loses() {
        let queue = vec![
            (0.0, 0.0),
            (0.5, 10.0),
            (1.2, 6.0),
            (1.7, 5.0),
            (2.1, 5.0),
            (3.0, 0.0),
        ];
        assert_eq!(
            per_second(&queue),
            [(0.0, 0.0), (1.0, 5.0), (2.0, 0.0), (3.0, 5.0)]
        );
        assert!(per_second(&Vec::new()).is_empty());
    }

    #[test]
    fn long_series_are_thinned() {
        let long: Points = (0..1000).map(|i| (f64::from(i), 2.0)).collect();
        let thin = thinned(&long);
        assert!(thin.len() <= POINTS && thin.iter().all(|point| point.1 == 2.0));
        assert_eq!(thin[0], (3.0, 2.0), "the mean of 0 to 6");
    }
}
