//! What a monitor picked, sample by sample.

use serde_json::Value as Json;

use super::k6::in_band;
use super::window::{Window, float, seconds};
use super::{Points, Taken};
use crate::suite::schema::MetricKind;
use crate::suite::stat::Stat;

/// One value over time.
#[derive(Debug, Default)]
pub(super) struct Samples {
    /// As they were read; of a counter they may fall back where what counted began anew.
    points: Points,
    counter: bool,
    /// Looks that gave no value, and why the last of them did not.
    failed: u64,
    why: Option<String>,
}

impl Samples {
    /// Reads a value from the lines of a monitor. `grows`: each sample says by how much it grew.
    pub(super) fn read(text: &str, name: &str, kind: MetricKind, grows: bool) -> Self {
        let mut samples = Self {
            counter: kind == MetricKind::Counter,
            ..Self::default()
        };
        let mut sum = 0.0;
        for line in text.lines() {
            let Ok(line) = serde_json::from_str::<Json>(line) else {
                continue;
            };
            match (line["t"].as_i64(), line["values"][name].as_f64()) {
                (Some(t), Some(value)) if grows => {
                    sum += value;
                    samples.points.push((t, sum));
                }
                (Some(t), Some(value)) => samples.points.push((t, value)),
                _ => {
                    samples.failed += 1;
                    samples.why = line["error"].as_str().map(str::to_owned);
                }
            }
        }
        samples
    }

    /// A statistic over a window, and how many samples it is of.
    pub(super) fn stat(&self, stat: Stat, window: Window, band: Option<[f64; 2]>) -> Taken {
        let points = self.points(window);
        let n = points.len() as u64;
        let values = || points.iter().map(|(_, value)| *value);
        let (Some((_, last)), false) = (points.last(), window.seconds() <= 0.0) else {
            return Err(self.none());
        };
        let inside = |band| float(values().filter(|value| in_band(*value, band)).count() as u64);
        let value = match stat {
            Stat::ShareInBand => match band {
                Some(band) => inside(band) / float(n),
                None => return Err("it has no band".to_owned()),
            },
            Stat::LongestGap => {
                let steps = self.steps();
                let steps = steps
                    .iter()
                    .filter(|(t, _, grown)| window.contains(*t) && *grown > 0.0);
                let moments: Vec<i64> = if self.counter {
                    steps.map(|(t, _, _)| *t).collect()
                } else {
                    points.iter().map(|(t, _)| *t).collect()
                };
                window.longest_gap(moments.into_iter().map(|t| (t, t)))
            }
            Stat::Count | Stat::Rate if self.counter => {
                let steps = self.steps();
                let steps = steps.iter().filter(|(t, _, _)| window.contains(*t));
                let (mut time, mut grown) = (0, 0.0);
                for (_, since, by) in steps {
                    time += since;
                    grown += by;
                }
                match stat {
                    Stat::Count => grown,
                    _ if time > 0 => grown / seconds(time),
                    _ => return Err("one sample tells no rate".to_owned()),
                }
            }
            Stat::Value => *last,
            Stat::Avg => values().sum::<f64>() / float(n),
            Stat::Min => values().fold(f64::INFINITY, f64::min),
            Stat::Max => values().fold(f64::NEG_INFINITY, f64::max),
            Stat::Quantile(share) => {
                let mut sorted: Vec<f64> = values().collect();
                sorted.sort_by(f64::total_cmp);
                nearest_rank(&sorted, share)
            }
            Stat::Count | Stat::Rate => return Err("it has no such statistic".to_owned()),
        };
        Ok((value, n))
    }

    /// The values in a window; of a counter, how fast it grew since the sample before.
    pub(super) fn points(&self, window: Window) -> Points {
        let points = if self.counter {
            let steps = self.steps().into_iter();
            let steps = steps.filter(|(_, since, _)| *since > 0);
            steps
                .map(|(t, since, grown)| (t, grown / seconds(since)))
                .collect()
        } else {
            self.points.clone()
        };
        let inside = points.into_iter().filter(|(t, _)| window.contains(*t));
        inside.collect()
    }

    /// Of a counter: when it was looked at, how long after the look before, and by how much it had grown.
    fn steps(&self) -> Vec<(i64, i64, f64)> {
        let pairs = self.points.windows(2);
        let step = |pair: &[(i64, f64)]| {
            let ((before, was), (t, is)) = (pair[0], pair[1]);
            // What fell back has begun anew, at 0.
            (t, t - before, if is < was { is } else { is - was })
        };
        pairs.map(step).collect()
    }

    fn none(&self) -> String {
        let failed = match (&self.why, self.failed) {
            (_, 0) => String::new(),
            (Some(why), n) => format!("; {n} looks failed, the last with: {why}"),
            (None, n) => format!("; {n} looks failed"),
        };
        format!("no samples in the window{failed}")
    }
}

/// The least value that a share of the sorted values is not above.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place in a list"
)]
fn nearest_rank(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * float(sorted.len() as u64)).ceil() as usize;
    let place = rank.clamp(1, sorted.len().max(1)) - 1;
    sorted.get(place).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window {
        from_ms: 2000,
        to_ms: 7000,
    };

    /// A sample each second from 1 s on; a look without a value failed.
    fn samples(values: &[Option<f64>], kind: MetricKind, grows: bool) -> Samples {
        let lines = (1..).zip(values).map(|(second, value)| match value {
            Some(value) => format!("{{\"t\":{second}000,\"values\":{{\"v\":{value}}}}}\n"),
            None => format!("{{\"t\":{second}000,\"values\":{{}},\"error\":\"gone\"}}\n"),
        });
        Samples::read(&lines.collect::<String>(), "v", kind, grows)
    }

    fn some(values: &[f64]) -> Vec<Option<f64>> {
        values.iter().copied().map(Some).collect()
    }

    #[test]
    fn only_samples_in_the_window_count() {
        let all = samples(
            &some(&[500.0, 100.0, 96.0, 94.0, 105.0, 100.0, 0.0]),
            MetricKind::Gauge,
            false,
        );
        let taken = |stat, band| all.stat(stat, WINDOW, band).expect("samples");
        assert_eq!(taken(Stat::Avg, None), (99.0, 5));
        assert_eq!(taken(Stat::Min, None), (94.0, 5));
        assert_eq!(taken(Stat::Max, None), (105.0, 5));
        assert_eq!(taken(Stat::Value, None), (100.0, 5));
        assert_eq!(taken(Stat::Quantile(0.5), None), (100.0, 5));
        assert_eq!(taken(Stat::Quantile(0.2), None), (94.0, 5));
        assert_eq!(taken(Stat::ShareInBand, Some([95.0, 105.0])), (0.8, 5));
        assert_eq!(taken(Stat::LongestGap, None), (1.0, 5));
    }

    #[test]
    fn a_look_that_failed_is_a_gap_and_never_a_zero() {
        let mut values = some(&[100.0; 6]);
        values[2] = None;
        let all = samples(&values, MetricKind::Gauge, false);
        assert_eq!(all.stat(Stat::Min, WINDOW, None), Ok((100.0, 4)));
        assert_eq!(all.stat(Stat::LongestGap, WINDOW, None), Ok((2.0, 4)));
        let none = samples(&[None; 6], MetricKind::Gauge, false);
        for stat in [Stat::Avg, Stat::LongestGap, Stat::ShareInBand] {
            let why = none.stat(stat, WINDOW, Some([0.0, 1.0]));
            let why = why.expect_err("no value");
            assert_eq!(
                why,
                "no samples in the window; 6 looks failed, the last with: gone"
            );
        }
    }

    #[test]
    fn a_counter_tells_its_growth_and_where_it_stood() {
        // From the sample before the window on; the service began anew at 5 s.
        let all = samples(
            &some(&[50.0, 150.0, 250.0, 250.0, 30.0, 130.0]),
            MetricKind::Counter,
            false,
        );
        assert_eq!(all.stat(Stat::Count, WINDOW, None), Ok((330.0, 5)));
        assert_eq!(all.stat(Stat::Rate, WINDOW, None), Ok((66.0, 5)));
        assert_eq!(all.stat(Stat::LongestGap, WINDOW, None), Ok((2.0, 5)));
        let share = all.stat(Stat::ShareInBand, WINDOW, Some([95.0, 105.0]));
        assert_eq!(share, Ok((0.6, 5)));
        let still = samples(&some(&[7.0; 6]), MetricKind::Counter, false);
        assert_eq!(still.stat(Stat::LongestGap, WINDOW, None), Ok((5.0, 5)));
    }

    #[test]
    fn what_each_look_counts_anew_is_summed_up() {
        let found = some(&[9.0, 0.0, 2.0, 0.0, 0.0, 1.0]);
        let all = samples(&found, MetricKind::Counter, true);
        assert_eq!(all.stat(Stat::Count, WINDOW, None), Ok((3.0, 5)));
        assert_eq!(all.stat(Stat::LongestGap, WINDOW, None), Ok((3.0, 5)));
    }
}
