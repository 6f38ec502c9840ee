//! What a monitor picked, sample by sample.

use std::time::Duration;

use serde_json::Value as Json;

use super::k6::in_band;
use super::window::{Window, float, seconds};
use super::{Points, Value};
use crate::suite::schema::MetricKind;
use crate::suite::stat::Stat;

/// A look is late only by more than this, however often a monitor looks.
const SLACK_MS: i64 = 100;
/// Of so many looks one may be without a value.
const FEW: u64 = 10;

/// How a value was looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct How {
    pub(super) kind: MetricKind,
    /// Each sample says by how much it grew.
    pub(super) grows: bool,
    /// From one look to the next.
    pub(super) every: Duration,
}

/// One value over time.
#[derive(Debug, Default)]
pub(super) struct Samples {
    /// As they were read; of a counter they may fall back where what counted began anew.
    points: Points,
    counter: bool,
    grows: bool,
    every_ms: i64,
    /// When looks gave no value, and why the last of them did not.
    failed: Vec<i64>,
    why: Option<String>,
}

/// From one look at a counter that gave a value to the next one, and by how much it had grown.
#[derive(Debug, Clone, Copy)]
struct Step {
    from: i64,
    to: i64,
    grown: f64,
}

impl Samples {
    /// Reads a value from the lines of a monitor.
    pub(super) fn read(text: &str, name: &str, how: How) -> Self {
        let mut samples = Self {
            counter: how.kind == MetricKind::Counter,
            grows: how.grows,
            every_ms: i64::try_from(how.every.as_millis()).unwrap_or(i64::MAX),
            ..Self::default()
        };
        let (mut sum, mut absent) = (0.0, Vec::new());
        for line in text.lines() {
            let Ok(line) = serde_json::from_str::<Json>(line) else {
                continue;
            };
            let Some(t) = line["t"].as_i64() else {
                continue;
            };
            match line["values"][name].as_f64() {
                Some(value) if how.grows => {
                    sum += value;
                    samples.points.push((t, sum));
                }
                Some(value) => samples.points.push((t, value)),
                None => {
                    let not_yet = line["absent"].as_array();
                    if not_yet.is_some_and(|names| names.iter().any(|absent| absent == name)) {
                        absent.push(t);
                    } else {
                        samples.failed.push(t);
                    }
                    samples.why = line["error"].as_str().map(str::to_owned);
                }
            }
        }
        // Who answers without a counter that there is at other times has counted nothing.
        if samples.counter && !samples.points.is_empty() {
            samples.points.extend(absent.into_iter().map(|t| (t, 0.0)));
            samples.points.sort_by_key(|(t, _)| *t);
        } else {
            samples.failed.extend(absent);
        }
        samples
    }

    /// A window without an end of its own: a counter counts up to its last sample.
    pub(super) fn up_to_the_last(&self, window: Window) -> Window {
        match self.points.last() {
            Some((last, _)) if self.counter => Window {
                to_ms: window.to_ms.max(last + 1),
                ..window
            },
            _ => window,
        }
    }

    /// A statistic over a window.
    ///
    /// # Errors
    /// Why there is none: also where too many looks failed or are missing.
    pub(super) fn stat(
        &self,
        stat: Stat,
        window: Window,
        band: Option<[f64; 2]>,
    ) -> Result<Value, String> {
        let points = self.points(window);
        let n = points.len() as u64;
        let values = || points.iter().map(|(_, value)| *value);
        let looks = self.looks(window)?;
        let (Some((_, last)), false) = (points.last(), window.seconds() <= 0.0) else {
            return Err(self.none());
        };
        let inside = |band| float(values().filter(|value| in_band(*value, band)).count() as u64);
        let mut least = None;
        let value = match stat {
            Stat::ShareInBand => match band {
                Some(band) => inside(band) / float(n),
                None => return Err("it has no band".to_owned()),
            },
            Stat::LongestGap if self.counter => {
                let (surely, at_most) = self.longest_stand(window);
                least = Some(surely).filter(|surely| *surely < at_most);
                at_most
            }
            Stat::LongestGap => window.longest_gap(points.iter().map(|(t, _)| (*t, *t))),
            Stat::Count if self.counter => self.grown(window)?,
            Stat::Rate if self.counter => {
                let known = self.steps(window).into_iter();
                let known = known.filter(|step| self.is_of(step, window));
                let (time, grown) = known.fold((0, 0.0), |(time, grown), step| {
                    (time + step.to - step.from, grown + step.grown)
                });
                if time == 0 {
                    return Err("one sample tells no rate".to_owned());
                }
                grown / seconds(time)
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
        Ok(Value {
            value,
            least,
            samples: n,
            looks: Some(looks),
        })
    }

    /// The values in a window; of a counter, how fast it grew since the sample before.
    pub(super) fn points(&self, window: Window) -> Points {
        let inside = |points: Points| -> Points {
            let inside = points.into_iter().filter(|(t, _)| window.contains(*t));
            inside.collect()
        };
        if !self.counter {
            return inside(self.points.clone());
        }
        let steps = self.all_steps().into_iter();
        let steps = steps.filter(|step| step.to > step.from);
        let speed = |step: Step| (step.to, step.grown / seconds(step.to - step.from));
        inside(steps.map(speed).collect())
    }

    /// How many of the looks in a window gave a value, in words.
    ///
    /// # Errors
    /// More than one in ten did not, or none was taken at its time.
    fn looks(&self, window: Window) -> Result<String, String> {
        let inside = |t: &i64| window.contains(*t);
        let good = self.points.iter().filter(|(t, _)| inside(t)).count() as u64;
        if good == 0 {
            return Err(self.none());
        }
        let failed = self.failed.iter().filter(|t| inside(t)).count() as u64;
        // One may fall out at the edges without being missed.
        let times = (window.to_ms - window.from_ms) / self.every_ms.max(1) - 1;
        let all = (good + failed).max(u64::try_from(times).unwrap_or(0));
        let told = format!("{good} of {all} looks");
        if (all - good) * FEW <= all {
            return Ok(told);
        }
        let late = all - good - failed;
        let why = self.why.as_ref().filter(|_| failed > 0);
        let why = why.map(|why| format!(", the last with: {why}"));
        Err(format!(
            "{told} in the window gave one, at least 9 of 10 are needed; {failed} failed{}, {late} were not taken in time",
            why.unwrap_or_default()
        ))
    }

    /// How long it takes until a look is late.
    fn late_ms(&self) -> i64 {
        self.every_ms
            .saturating_add(SLACK_MS.max(self.every_ms / 2))
    }

    /// Every step.
    fn all_steps(&self) -> Vec<Step> {
        let pairs = self.points.windows(2).map(|pair| {
            let ((from, was), (to, is)) = (pair[0], pair[1]);
            // What fell back has begun anew, at 0.
            let grown = if is < was { is } else { is - was };
            Step { from, to, grown }
        });
        // What is counted anew with each look is counted from the monitor's start on, which is just before its first look.
        let first = self.points.first().filter(|_| self.grows);
        let first = first.map(|(t, grown)| Step {
            from: *t,
            to: *t,
            grown: *grown,
        });
        first.into_iter().chain(pairs).collect()
    }

    /// The steps that reach into a window, those over its edges included.
    fn steps(&self, window: Window) -> Vec<Step> {
        let mut steps = self.all_steps();
        steps.retain(|step| {
            step.from < window.to_ms
                && (step.to > window.from_ms || step.from == step.to && step.to == window.from_ms)
        });
        steps
    }

    /// Whether a step belongs to a window, give or take a look.
    fn is_of(&self, step: &Step, window: Window) -> bool {
        let late = self.late_ms();
        window.from_ms - step.from <= late && step.to - window.to_ms <= late
    }

    /// By how much a counter grew.
    fn grown(&self, window: Window) -> Result<f64, String> {
        let steps = self.steps(window);
        let unknown = |from: i64, to: i64| {
            let from_start = |t: i64| seconds(t - window.from_ms);
            Err(format!(
                "no look between {} s and {} s of the window, so nobody knows by how much it grew in the window",
                from_start(from),
                from_start(to)
            ))
        };
        let (Some(first), Some(last)) = (steps.first(), steps.last()) else {
            return Err("one sample tells no growth".to_owned());
        };
        if first.from - window.from_ms > self.late_ms() {
            return unknown(window.from_ms, first.from);
        }
        if window.to_ms - last.to > self.late_ms() {
            return unknown(last.to, window.to_ms);
        }
        let astride = |step: &&Step| !self.is_of(step, window) && step.grown > 0.0;
        match steps.iter().find(astride) {
            Some(step) => unknown(step.from, step.to),
            None => Ok(steps.iter().map(|step| step.grown).sum()),
        }
    }

    /// The longest time in seconds that a counter stood still: at least, and at most. They differ where looks that would tell
    /// are missing.
    fn longest_stand(&self, window: Window) -> (f64, f64) {
        let late = self.late_ms();
        let steps = self.steps(window);
        let (from, to) = (window.from_ms, window.to_ms);
        let (mut surely, mut at_most) = (0, 0);
        // Since when it may have stood, since when it surely did, and up to where that is known.
        let (mut since, mut certain, mut seen) = (from, from, from);
        for step in steps {
            let end = step.to.min(to);
            if step.from - seen > late {
                certain = step.from;
            }
            if step.grown > 0.0 {
                let known = if step.to - step.from.max(seen) > late {
                    step.from.clamp(certain, end)
                } else {
                    end
                };
                surely = surely.max(known - certain);
                at_most = at_most.max(end - since);
                (since, certain) = (end, end);
            }
            seen = end;
        }
        let known = if to - seen > late { seen } else { to };
        surely = surely.max(known - certain);
        (seconds(surely), seconds(at_most.max(to - since)))
    }

    fn none(&self) -> String {
        let failed = match (&self.why, self.failed.len()) {
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
