//! What is measured inside the target, where neither k6 nor HTTP adds to it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use crate::answer::{Failure, micros, processor_time, resident, unavailable};

/// Durations up to this long are told apart, in nanoseconds; longer ones count as this.
const LONGEST: u64 = 3_600_000_000_000;

/// Values that stand for a batch: each for as many operations as any other.
const SAMPLES: u32 = 100;

/// So long a batch lasts that a fault slows: with all its operations it would outlast whoever asked for it.
const SLOWED: Duration = Duration::from_secs(1);

/// Whether a batch has a further operation after so many, where a fault adds this to each. It has one at least.
pub(crate) fn goes_on(done: u64, began: Instant, delay: Duration) -> bool {
    done == 0 || delay.is_zero() || began.elapsed() < SLOWED
}

/// Durations of one kind, to the nanosecond.
#[derive(Debug, Clone)]
pub(crate) struct Durations(Histogram<u64>);

impl Default for Durations {
    fn default() -> Self {
        let empty = Histogram::new_with_bounds(1, LONGEST, 3);
        Self(empty.expect("bounds and digits are within what a histogram allows"))
    }
}

impl Durations {
    pub(crate) fn record(&mut self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.0.saturating_record(nanos.max(1));
    }

    /// Takes over what others recorded.
    pub(crate) fn add(&mut self, other: &Self) {
        // Both have the same bounds.
        let _ = self.0.add(&other.0);
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    pub(crate) fn at(&self, share: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_quantile(share))
    }

    /// `n`, and the least, mean, median, p95, p99 and largest value in microseconds. Their names end in `suffix`.
    fn summary(&self, suffix: &str) -> Map<String, Value> {
        let at = |share: f64| micros(self.at(share));
        let values = [
            ("min", micros(Duration::from_nanos(self.0.min()))),
            ("mean", self.0.mean() / 1000.0),
            ("p50", at(0.5)),
            ("p95", at(0.95)),
            ("p99", at(0.99)),
            ("max", micros(Duration::from_nanos(self.0.max()))),
        ];
        let values = values.map(|(name, value)| (format!("{name}{suffix}"), json!(value)));
        let count = ("n".to_owned(), json!(self.0.len()));
        values.into_iter().chain([count]).collect()
    }

    /// What a batch answers: its summary, how long it took as a whole, and a hundred values that stand for all, so that a
    /// script that adds them to a trend has the distribution and not the percentile of percentiles.
    pub(crate) fn answer(&self, elapsed: Duration) -> Value {
        let mut answer = self.summary("_us");
        let per_second = self.0.len() as f64 / elapsed.as_secs_f64().max(1e-9);
        let samples = (0..SAMPLES).map(|nth| {
            let share = (f64::from(nth) + 0.5) / f64::from(SAMPLES);
            micros(self.at(share))
        });
        answer.insert("ok".to_owned(), json!(true));
        answer.insert("elapsed_us".to_owned(), json!(micros(elapsed)));
        answer.insert("per_second".to_owned(), json!(per_second));
        answer.insert("sample_us".to_owned(), samples.collect());
        Value::Object(answer)
    }
}

/// What one phase has recorded since the start, or since it was told to begin anew.
#[derive(Debug, Default)]
struct Phase {
    durations: BTreeMap<&'static str, Durations>,
    counts: BTreeMap<&'static str, u64>,
    /// The largest value of each.
    most: BTreeMap<&'static str, u64>,
}

/// What all phases have recorded.
#[derive(Debug, Default)]
pub(crate) struct Stats(Mutex<BTreeMap<u8, Phase>>);

impl Stats {
    // A std mutex: it is held for an entry, without an await.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u8, Phase>> {
        // No code that holds the lock can leave the map half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one duration.
    pub(crate) fn record(&self, phase: u8, what: &'static str, took: Duration) {
        let mut phases = self.lock();
        let durations = &mut phases.entry(phase).or_default().durations;
        durations.entry(what).or_default().record(took);
    }

    /// Adds the durations of a batch, and gives what it answers. One in which nothing was done is no fast one: it has no durations.
    pub(crate) fn batch(
        &self,
        phase: u8,
        what: &'static str,
        durations: &Durations,
        began: Instant,
    ) -> Result<Value, Failure> {
        if durations.count() == 0 {
            return Err(unavailable(format!(
                "{what}: none of the batch's operations was carried out, so there is nothing to tell"
            )));
        }
        let answer = durations.answer(began.elapsed());
        let mut phases = self.lock();
        let all = &mut phases.entry(phase).or_default().durations;
        all.entry(what).or_default().add(durations);
        Ok(answer)
    }

    /// Counts.
    pub(crate) fn count(&self, phase: u8, what: &'static str, more: u64) {
        *self
            .lock()
            .entry(phase)
            .or_default()
            .counts
            .entry(what)
            .or_default() += more;
    }

    /// Keeps the largest value.
    pub(crate) fn most(&self, phase: u8, what: &'static str, value: u64) {
        let mut phases = self.lock();
        let most = phases.entry(phase).or_default().most.entry(what);
        let most = most.or_default();
        *most = value.max(*most);
    }

    /// Forgets what a phase has recorded.
    pub(crate) fn forget(&self, phase: u8) {
        self.lock().remove(&phase);
    }

    /// What `GET /phase/NN/stats` answers.
    pub(crate) fn told(&self, phase: u8) -> Value {
        let phases = self.lock();
        let empty = Phase::default();
        let recorded = phases.get(&phase).unwrap_or(&empty);
        let durations = recorded.durations.iter();
        let durations: Map<_, _> = durations
            .map(|(what, durations)| ((*what).to_owned(), Value::Object(durations.summary(""))))
            .collect();
        json!({
            "ok": true,
            "phase": phase,
            "unit": "us",
            "durations": durations,
            "counts": recorded.counts,
            "most": recorded.most,
            "memory_bytes": resident(),
            "processor_us": micros(processor_time()),
            "processors": std::thread::available_parallelism().map_or(1, usize::from),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_told_as_it_was_and_kept() {
        let stats = Stats::default();
        let mut durations = Durations::default();
        for micros in 1..=100 {
            durations.record(Duration::from_micros(micros));
        }
        let empty = Durations::default();
        let error = stats.batch(2, "spawn", &empty, Instant::now());
        assert!(error.is_err(), "a batch without operations");
        let batch = |durations| stats.batch(2, "message", durations, Instant::now());
        let answer = batch(&durations).expect("it has operations");
        assert_eq!((&answer["n"], &answer["ok"]), (&json!(100), &json!(true)));
        let p95 = answer["p95_us"].as_f64().expect("a number");
        assert!((p95 - 95.0).abs() < 0.5, "{p95}");
        let samples = answer["sample_us"].as_array().expect("a list");
        assert_eq!(samples.len(), 100);
        let over = |limit: f64| {
            let values = samples.iter().filter_map(Value::as_f64);
            values.filter(|&value| value > limit).count()
        };
        assert_eq!((over(90.2), over(50.2)), (10, 50));
        batch(&durations).expect("it has operations");
        assert_eq!(stats.told(2)["durations"]["message"]["n"], 200);
        assert_eq!(stats.told(2)["durations"]["spawn"], Value::Null);
        stats.count(2, "lost", 3);
        stats.most(2, "depth", 7);
        stats.most(2, "depth", 5);
        assert_eq!(stats.told(2)["counts"]["lost"], 3);
        assert_eq!(stats.told(2)["most"]["depth"], 7);
        stats.forget(2);
        assert_eq!(stats.told(2)["counts"], json!({}));
    }
}
