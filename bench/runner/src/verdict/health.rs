//! The generator's health over time: whether k6, or the whole machine, had nothing left to give for some seconds.
//!
//! A mean over a run hides them: half a minute without a free processor amid five quiet ones. The users of these seconds
//! measured the generator, not the target.

use serde_json::Value as Json;

use super::gates::Judged;
use crate::series::window::Window;

/// The file with a sample per second.
pub(crate) const FILE: &str = "monitor-generator.jsonl";

/// What k6 may take after its run to sum it up and end, before the last sample.
const AFTERWARDS_MS: f64 = 2000.0;

/// A run of this length has samples.
const UNWATCHED_MS: f64 = 5000.0;

/// One share over time and what is too much of it.
struct Bound {
    /// In a sample.
    key: &'static str,
    what: &'static str,
    /// Percent of what may be used.
    share: f64,
    /// For so long at a stretch, seconds.
    seconds: f64,
}

const BOUNDS: [Bound; 2] = [
    Bound {
        key: "generatorCpu",
        what: "k6",
        share: 90.0,
        seconds: 5.0,
    },
    // k6, the target and all others: beyond this everybody waits for everybody, which k6 measures as well.
    Bound {
        key: "machineCpu",
        what: "the machine",
        share: 98.0,
        seconds: 10.0,
    },
];

/// In a sample: the share of the machine where the services of the run count at most as much as all others together.
const CONTENTION: &str = "contention";

/// The same where k6 has processors of its own: what the services do with theirs is no burden to it, but others may be on both.
const APART: [Bound; 2] = {
    let [generator, machine] = BOUNDS;
    let others = Bound {
        key: CONTENTION,
        what: "the machine, of which the services count at most a half,",
        ..machine
    };
    [generator, others]
};

/// The samples of a run, in their order.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Health {
    samples: Vec<Json>,
}

/// The longest time at a stretch beyond a bound, epoch ms.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Stretch {
    from: f64,
    to: f64,
}

impl Stretch {
    fn seconds(&self) -> f64 {
        (self.to - self.from) / 1000.0
    }
}

/// One share over time, to be drawn.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Share {
    /// What it is, and what is too much of it.
    pub(crate) caption: String,
    /// Percent by epoch ms.
    pub(crate) points: Vec<(f64, f64)>,
    /// Both ends of the stretch that is too long, at the height of the bound.
    pub(crate) beyond: Vec<(f64, f64)>,
}

/// The part of a run in which somebody was measured: while k6 makes its users it takes all that there is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Measured {
    /// All of it: nobody said more.
    Whole,
    /// What came last, so many ms without the making of users.
    Last(f64),
    /// The suite's window, over which everything is judged, epoch ms; and how long of it k6 ran, ms, where its summary tells.
    From(f64, f64, Option<f64>),
}

impl Measured {
    /// `window`: the one over which k6's values are judged. `summary`: k6's.
    pub(crate) fn of(window: Option<Window>, summary: Option<&Json>) -> Self {
        let lasted = || summary?.pointer("/state/testRunDurationMs")?.as_f64();
        match (window, lasted()) {
            (Some(window), lasted) => {
                let from = epoch(window.from_ms);
                let length = 1000.0 * window.seconds();
                // No part is longer than the whole.
                Self::From(from, from + length, lasted.map(|lasted| lasted.min(length)))
            }
            (None, Some(lasted)) => Self::Last(lasted),
            (None, None) => Self::Whole,
        }
    }

    /// How long it is, ms, as far as that is known.
    fn lasts(self) -> Option<f64> {
        match self {
            Self::Whole => None,
            Self::Last(lasted) => Some(lasted),
            Self::From(_, _, lasts) => lasts,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a time in ms is far below 2^53")]
fn epoch(ms: i64) -> f64 {
    ms as f64
}

impl Health {
    /// Reads the samples from the text of the file.
    pub(crate) fn read(text: &str) -> Self {
        let samples = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        Self {
            samples: samples.collect(),
        }
    }

    /// What is looked at.
    fn bounds(&self) -> impl Iterator<Item = &'static Bound> {
        let apart = self
            .samples
            .iter()
            .any(|sample| sample["generator"]["generatorProcessors"].is_u64());
        if apart { &APART } else { &BOUNDS }.iter()
    }

    /// Whether anything is known of the generator.
    pub(super) fn is_measured(&self) -> bool {
        let figures = self
            .samples
            .iter()
            .map(|sample| &sample["generator"][BOUNDS[0].key]);
        figures.into_iter().any(Json::is_number)
    }

    /// The mean share of k6 in that part, in percent; `None` without a sample of it.
    pub(super) fn mean(&self, part: Measured) -> Option<f64> {
        let (mut sum, mut seconds) = (0.0, 0.0);
        for (stretch, sample) in self.within(part) {
            if let Some(share) = sample["generator"][BOUNDS[0].key].as_f64() {
                sum += share * stretch.seconds();
                seconds += stretch.seconds();
            }
        }
        (seconds > 0.0).then(|| (10.0 * sum / seconds).round() / 10.0)
    }

    /// The gate that follows from them.
    pub(crate) fn judge(&self, part: Measured) -> Judged {
        let lasted = part.lasts();
        if !self.is_measured() && lasted.is_some_and(|ms| ms > UNWATCHED_MS) {
            return Judged::built_in(
                "generator-health",
                false,
                format!(
                    "{FILE} has no sample of a run of {:.0} s, so nobody knows whether k6 had processors enough; run again, and see there that /proc can be read",
                    lasted.unwrap_or_default() / 1000.0
                ),
            );
        }
        let found: Vec<(&Bound, Stretch)> = self
            .bounds()
            .map(|bound| (bound, self.longest(bound.key, bound.share, part)))
            .collect();
        let beyond = |(bound, stretch): &&(&Bound, Stretch)| stretch.seconds() >= bound.seconds;
        let zero = self.samples.first().and_then(time).unwrap_or_default();
        let text = match found.iter().find(beyond) {
            Some((bound, stretch)) => format!(
                "{} used more than {} % of what processors there are for {:.0} s at a stretch, from {:.0} s on; expected less than {} s: use fewer users, or a larger or quieter machine",
                bound.what,
                bound.share,
                stretch.seconds(),
                (stretch.from - zero) / 1000.0,
                bound.seconds
            ),
            None => {
                let each = found.iter().map(|(bound, stretch)| {
                    format!(
                        "{} beyond {} % for {:.0} s at most (below {})",
                        bound.what,
                        bound.share,
                        stretch.seconds(),
                        bound.seconds
                    )
                });
                each.collect::<Vec<_>>().join(", ")
            }
        };
        Judged::built_in(
            "generator-health",
            !found.iter().any(|one| beyond(&one)),
            text,
        )
    }

    /// Whether nothing but a full machine was wrong, and the services of the run took more of it than all others together: they made it
    /// full themselves. Of evidence that does not tell it, no.
    pub(super) fn filled_by_services(&self, part: Measured) -> bool {
        let beyond =
            |bound: &Bound, key| self.longest(key, bound.share, part).seconds() >= bound.seconds;
        let [generator, machine] = &BOUNDS;
        let told = |sample: &Json| sample["generator"][CONTENTION].is_number();
        beyond(machine, machine.key)
            && self.samples.iter().any(told)
            && !beyond(machine, CONTENTION)
            && !beyond(generator, generator.key)
    }

    /// The shares, for a chart; what is too much of them is marked in that part.
    pub(crate) fn shares(&self, part: Measured) -> Vec<Share> {
        let of_bound = |bound: &Bound| {
            let points = self.samples.iter().filter_map(|sample| {
                Some((time(sample)?, sample["generator"][bound.key].as_f64()?))
            });
            let stretch = self.longest(bound.key, bound.share, part);
            let beyond = [(stretch.from, bound.share), (stretch.to, bound.share)];
            let too_long = stretch.seconds() >= bound.seconds;
            Share {
                caption: format!(
                    "{}: percent of the processors that may be used; a bar marks more than {} % for {} s",
                    bound.what, bound.share, bound.seconds
                ),
                points: points.collect(),
                beyond: beyond.into_iter().filter(|_| too_long).collect(),
            }
        };
        self.bounds().map(of_bound).collect()
    }

    /// Each sample tells of the time since the one before it: what of that lies in the part, beside the sample.
    fn within(&self, part: Measured) -> impl Iterator<Item = (Stretch, &Json)> {
        let end = self.samples.iter().filter_map(time).next_back();
        let (begin, end) = match part {
            Measured::Whole => (f64::NEG_INFINITY, f64::INFINITY),
            Measured::Last(lasted) => {
                let begin = end.map(|end| end - lasted - AFTERWARDS_MS);
                (begin.unwrap_or(f64::NEG_INFINITY), f64::INFINITY)
            }
            Measured::From(from, to, _) => (from, to),
        };
        self.samples.windows(2).filter_map(move |pair| {
            let (before, after) = (time(&pair[0])?, time(&pair[1])?);
            let (from, to) = (before.max(begin), after.min(end));
            (to > from).then_some((Stretch { from, to }, &pair[1]))
        })
    }

    fn longest(&self, key: &str, limit: f64, part: Measured) -> Stretch {
        let (mut longest, mut begun) = (Stretch::default(), None);
        for (own, sample) in self.within(part) {
            let share = sample["generator"][key].as_f64();
            if share.is_some_and(|share| share > limit) {
                let from = *begun.get_or_insert(own.from);
                let stretch = Stretch { from, to: own.to };
                if stretch.seconds() > longest.seconds() {
                    longest = stretch;
                }
            } else {
                begun = None;
            }
        }
        longest
    }
}

fn time(sample: &Json) -> Option<f64> {
    sample["t"].as_f64()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    /// A sample per second with these shares of k6; the machine had always something left.
    fn health(shares: &[f64]) -> Health {
        let mut text = String::new();
        for (second, share) in shares.iter().enumerate() {
            let t = 1_000_000 + 1000 * second;
            writeln!(
                text,
                r#"{{"t":{t},"generator":{{"generatorCpu":{share},"machineCpu":{share}}}}}"#
            )
            .expect("text");
        }
        Health::read(&text)
    }

    #[test]
    fn a_stretch_counts_and_the_mean_does_not() {
        let mut shares = vec![5.0; 60];
        shares[20..24].fill(95.0);
        shares[30..34].fill(95.0);
        let gate = health(&shares).judge(Measured::Last(60_000.0));
        assert!(gate.holds, "two short ones: {gate:?}");
        assert!(health(&shares).shares(Measured::Whole)[0].beyond.is_empty());
        shares[24] = 95.0;
        let beyond = health(&shares).shares(Measured::Whole).remove(0).beyond;
        assert_eq!(
            beyond,
            [(1_019_000.0, 90.0), (1_024_000.0, 90.0)],
            "on the chart"
        );
        let gate = health(&shares).judge(Measured::Last(60_000.0));
        assert!(!gate.holds, "{gate:?}");
        assert!(
            gate.text.starts_with("k6 used more than 90 %")
                && gate.text.contains("for 5 s at a stretch, from 19 s on"),
            "{gate:?}"
        );
    }

    /// Ten thousand users take k6 half a minute of all processors.
    #[test]
    fn while_k6_makes_its_users_nobody_is_measured() {
        let mut shares = vec![5.0; 60];
        shares[..30].fill(98.0);
        assert!(!health(&shares).judge(Measured::Whole).holds);
        let gate = health(&shares).judge(Measured::Last(29_000.0));
        assert!(gate.holds, "{gate:?}");
        assert!(
            health(&shares).shares(Measured::Last(29_000.0))[0]
                .beyond
                .is_empty()
        );
        let gate = health(&shares).judge(Measured::Last(34_000.0));
        assert!(!gate.holds, "six seconds of the run itself: {gate:?}");
    }

    /// The same of the mean; and of a suite's window nothing but the window counts, whatever k6 did before and behind it.
    #[test]
    fn the_mean_is_that_of_the_part_in_which_somebody_was_measured() {
        let mut shares = vec![20.0; 60];
        shares[..30].fill(100.0);
        let health = health(&shares);
        let whole = health.mean(Measured::Whole).expect("a mean");
        assert!(whole > 55.0, "{whole}");
        assert_eq!(health.mean(Measured::Last(20_000.0)), Some(20.0));
        let window = |from: i64, to: i64| {
            let window = Window {
                from_ms: 1_000_000 + 1000 * from,
                to_ms: 1_000_000 + 1000 * to,
            };
            Measured::of(Some(window), None)
        };
        assert_eq!(health.mean(window(0, 20)), Some(100.0));
        assert_eq!(health.mean(window(35, 45)), Some(20.0));
        assert!(health.judge(window(30, 59)).holds);
        assert!(!health.judge(window(20, 59)).holds, "nine seconds of it");
        assert_eq!(health.mean(window(70, 80)), None, "nobody looked");
        let said = serde_json::json!({ "state": { "testRunDurationMs": 20_000.0 } });
        assert_eq!(Measured::of(None, Some(&said)), Measured::Last(20_000.0));
        assert_eq!(Measured::of(None, None), Measured::Whole);
    }

    #[test]
    fn the_whole_machine_counts_too() {
        let line = |t: u32, machine: f64| {
            format!(
                "{{\"t\":{t},\"generator\":{{\"generatorCpu\":40,\"machineCpu\":{machine}}}}}\n"
            )
        };
        let full: String = (0..11).map(|second| line(second * 1000, 100.0)).collect();
        let gate = Health::read(&full).judge(Measured::Last(60_000.0));
        assert!(
            !gate.holds && gate.text.starts_with("the machine"),
            "{gate:?}"
        );
        let most: String = (0..11).map(|second| line(second * 1000, 97.0)).collect();
        assert!(Health::read(&most).judge(Measured::Last(60_000.0)).holds);
    }

    #[test]
    fn who_filled_the_machine_is_known() {
        let line = |t: u32, k6: u32, contention: &str| {
            format!(
                "{{\"t\":{t},\"generator\":{{\"generatorCpu\":{k6},\"machineCpu\":100{contention}}}}}\n"
            )
        };
        let of = |k6: u32, contention: &str| {
            let lines = (0..31).map(|second| line(second * 1000, k6, contention));
            Health::read(&lines.collect::<String>())
        };
        let lasted = Measured::Last(60_000.0);
        for (k6, contention, expected) in [
            (9, r#","contention":30"#, true),
            (9, r#","contention":100"#, false),
            (9, "", false),
            (95, r#","contention":30"#, false),
        ] {
            let health = of(k6, contention);
            assert!(!health.judge(lasted).holds, "full is full");
            let by_services = health.filled_by_services(lasted);
            assert_eq!(by_services, expected, "{k6} {contention}");
        }
    }

    #[test]
    fn a_full_machine_is_no_burden_to_a_generator_with_processors_of_its_own() {
        let lines = |k6: u32, contention: u32| {
            let line = |t: u32| {
                format!(
                    "{{\"t\":{},\"generator\":{{\"generatorCpu\":{k6},\"machineCpu\":100,\"contention\":{contention},\"generatorProcessors\":1}}}}\n",
                    t * 1000
                )
            };
            (0..20).map(line).collect::<String>()
        };
        assert!(
            Health::read(&lines(40, 80))
                .judge(Measured::Last(60_000.0))
                .holds
        );
        let crowded = Health::read(&lines(40, 100)).judge(Measured::Last(60_000.0));
        assert!(!crowded.holds, "others are on its processors");
        let gate = Health::read(&lines(95, 80)).judge(Measured::Last(60_000.0));
        assert!(!gate.holds && gate.text.starts_with("k6 used"), "{gate:?}");
    }

    #[test]
    fn a_run_without_a_full_second_has_nothing_to_judge() {
        for samples in ["", "{\"t\":1,\"generator\":{\"generatorCpu\":null}}\n"] {
            let health = Health::read(samples);
            assert!(
                health.judge(Measured::Whole).holds && health.judge(Measured::Last(900.0)).holds
            );
            let gate = health.judge(Measured::Last(6000.0));
            assert!(
                !gate.holds && gate.text.contains("of a run of 6 s"),
                "{gate:?}"
            );
        }
    }
}
