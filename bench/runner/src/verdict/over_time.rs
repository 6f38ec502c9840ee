//! Values over time, as gates see them: which part of the run counts, and what is there.

use serde_json::Value as Json;

use crate::evidence::Folder;
use crate::series::LINES;
use crate::series::recorded::{Found, Part, Recorded};
use crate::series::window::{Window, seconds};
use crate::suite::Suite;
use crate::suite::faults::During;
use crate::suite::over_time::{Declared, asks, part, source};
use crate::suite::quick::Shares;
use crate::suite::schema::{DeriveTable, File, GateTable};
use crate::suite::vars::Vars;
use crate::verdict::chaos::Faults;

/// k6's last values may begin so long before its end: it looks at its users once a second.
const TAIL_MS: i64 = 2000;
/// A second.
const SECOND_MS: i64 = 1000;

/// The values over time of a run, and the part of it that counts.
#[derive(Debug, Default)]
pub(crate) struct OverTime {
    recorded: Recorded,
    /// Whether the suite asks k6 for its values over time.
    asked: bool,
    /// Or why there is none.
    window: Option<Result<Window, String>>,
    /// Whether nothing but the end of the run ends it.
    to_the_end: bool,
    /// What was injected meanwhile.
    faults: Faults,
}

/// A run, as far as its window follows from it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ran<'a> {
    pub(crate) scenario: &'a str,
    pub(crate) vars: &'a Vars,
    /// From k6's start to its end, if it is known.
    pub(crate) k6: Option<Window>,
    /// Something ended it before its end.
    pub(crate) cut: bool,
    /// Its times were scaled down.
    pub(crate) quick: bool,
}

impl OverTime {
    /// Reads the values over time that gates of the scenario judge; nothing where none does.
    ///
    /// # Errors
    /// A text of the scenario's window takes a variable without a value.
    pub(crate) fn read(suite: &Suite, folder: &Folder, ran: Ran<'_>) -> anyhow::Result<Self> {
        let file = &suite.file;
        let table = || {
            file.scenario
                .iter()
                .find(|table| table.id.get_ref() == ran.scenario)
        };
        let asked = asks(file, ran.scenario);
        let mut derived = file.derive.iter().flat_map(|table| &table.from);
        let derived = derived.any(|from| matches!(part(file, from.get_ref()), Ok(Some(_))));
        let judged = file.gate.iter().any(|gate| source(file, gate).is_some());
        let faults = Faults::read(folder);
        if !asked && !judged && !derived {
            return Ok(Self {
                faults,
                ..Self::default()
            });
        }
        let recorded = Recorded::read(folder, file, ran.scenario, asked);
        let declared = match table() {
            Some(table) => Declared::of(table, ran.vars, Shares::of(file, ran.quick))?,
            None => Declared::default(),
        };
        let of_series = match recorded.series() {
            Some(Ok(series)) => Ok(series.extent()),
            Some(Err(why)) if !asked => Err(why.to_owned()),
            _ => Ok(None),
        };
        // The last second of k6's values ends where k6 did.
        let ended = |whole: Window| match ran.k6 {
            Some(k6) if k6.to_ms > whole.from_ms => Window {
                to_ms: whole.to_ms.min(k6.to_ms),
                ..whole
            },
            _ => whole,
        };
        let whole = of_series.map(|found| found.map(ended).or(ran.k6));
        let window = whole.and_then(|whole| match whole {
            Some(whole) => window(declared, whole, ran.cut),
            None => Err("k6 left no sample, so no window begins".to_owned()),
        });
        Ok(Self {
            recorded,
            asked,
            window: Some(window),
            to_the_end: declared.window.is_none(),
            faults,
        })
    }

    /// The part of the run that counts, where something is judged over it.
    pub(crate) fn window(&self) -> Option<Window> {
        self.window.clone()?.ok()
    }

    fn part(&self, window: Window) -> Part {
        Part {
            window,
            to_the_end: self.to_the_end,
        }
    }

    /// What a gate judges; `None` if that is nothing over time.
    pub(super) fn value(&self, file: &File, gate: &GateTable) -> Option<Found> {
        match self.window.as_ref()? {
            Ok(window) => {
                let Some(during) = During::of(gate) else {
                    return self.recorded.value(file, gate, self.part(*window));
                };
                let spans = self.spans(during, *window);
                if spans.is_empty() {
                    let why = "there was no such time in the window".to_owned();
                    return source(file, gate).map(|_| Found::Silent(why));
                }
                let part = Part {
                    window: *window,
                    to_the_end: false,
                };
                self.recorded.value_within(file, gate, part, &spans)
            }
            Err(why) => source(file, gate).map(|_| Found::Silent(why.clone())),
        }
    }

    /// The stretches of a window in which a fault was there, or none was; to whole seconds outwards where faults were.
    fn spans(&self, during: During<'_>, window: Window) -> Vec<Window> {
        let faults = self.faults.windows(window.to_ms).into_iter();
        let mut there: Vec<Window> = faults
            .filter(|(id, _)| !matches!(during, During::Of(own) if own != *id))
            .map(|(_, fault)| outwards(fault, window))
            .filter(|fault| fault.from_ms < fault.to_ms)
            .collect();
        there.sort_by_key(|fault| fault.from_ms);
        match during {
            During::Of(_) => there,
            During::Chaos => joined(there),
            During::Calm => between(&joined(there), window),
        }
    }

    /// Seconds from a fault to the first good answer to what it expects, or to the first sample inside the band of the table.
    pub(super) fn first_after(&self, file: &File, table: &DeriveTable) -> Option<f64> {
        let (fault, looked_at) = table.from.split_first()?;
        let fault = self.faults.of(fault.get_ref().strip_prefix("chaos.")?)?;
        let Some(from) = looked_at.first() else {
            return Some(fault.expected.as_ref()?.first_good_ms? / 1000.0);
        };
        let window = self.window()?;
        let since = Window {
            from_ms: fault.injected_ms?,
            ..window
        };
        let band = *table.band.as_ref()?.get_ref();
        let t = self
            .recorded
            .first_in_band(file, from.get_ref(), since, band)?;
        Some(seconds(t - since.from_ms))
    }

    /// What was injected while the run went on.
    pub(super) fn faults(&self) -> &Faults {
        &self.faults
    }

    /// What a derived value takes; `None` if that is nothing over time.
    pub(super) fn derived(&self, file: &File, table: &DeriveTable, from: &str) -> Option<Found> {
        match self.window.as_ref()? {
            Ok(window) => self.recorded.derived(file, table, from, self.part(*window)),
            Err(why) => match part(file, from) {
                Ok(Some(_)) => Some(Found::Silent(why.clone())),
                _ => None,
            },
        }
    }

    /// Whether k6's values over time are there up to the end, and how that is told; `None` where the suite asks for none.
    pub(super) fn whole(&self) -> Option<Result<(), String>> {
        if !self.asked {
            return None;
        }
        Some(match self.recorded.series() {
            Some(Ok(series)) if series.is_whole() => Ok(()),
            Some(Ok(_)) => Err(format!(
                "{LINES} has no end: k6's output was cut off, so nobody knows what is missing"
            )),
            Some(Err(why)) => Err(why.to_owned()),
            None => Err(format!("{LINES} is missing")),
        })
    }
}

/// A stretch within a window, to whole seconds of it outwards: k6's values are known second by second.
fn outwards(stretch: Window, window: Window) -> Window {
    let whole = |ms: i64| ms.div_euclid(SECOND_MS) * SECOND_MS;
    let from = whole(stretch.from_ms - window.from_ms);
    let to = whole(stretch.to_ms - window.from_ms + SECOND_MS - 1);
    Window {
        from_ms: (window.from_ms + from).max(window.from_ms),
        to_ms: (window.from_ms + to).min(window.to_ms),
    }
}

/// Stretches in their order, those that meet as one.
fn joined(stretches: Vec<Window>) -> Vec<Window> {
    let mut joined: Vec<Window> = Vec::new();
    for stretch in stretches {
        match joined.last_mut() {
            Some(last) if stretch.from_ms <= last.to_ms => {
                last.to_ms = last.to_ms.max(stretch.to_ms);
            }
            _ => joined.push(stretch),
        }
    }
    joined
}

/// What is left of a window.
fn between(stretches: &[Window], window: Window) -> Vec<Window> {
    let mut left = Vec::new();
    let mut from_ms = window.from_ms;
    for stretch in stretches {
        let to_ms = stretch.from_ms;
        left.push(Window { from_ms, to_ms });
        from_ms = stretch.to_ms;
    }
    let to_ms = window.to_ms;
    left.push(Window { from_ms, to_ms });
    left.retain(|left| left.from_ms < left.to_ms);
    left
}

/// The declared part of a run.
fn window(declared: Declared, whole: Window, cut: bool) -> Result<Window, String> {
    let ms = |time: std::time::Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    let from_ms = whole.from_ms.saturating_add(ms(declared.warmup));
    let to_ms = declared
        .window
        .map_or(whole.to_ms, |window| from_ms.saturating_add(ms(window)));
    let late = to_ms - whole.to_ms;
    if from_ms >= whole.to_ms {
        return Err(format!(
            "the run lasted {} s, and its window begins after {} s",
            whole.seconds(),
            declared.warmup.as_secs_f64()
        ));
    }
    if late > TAIL_MS && !cut {
        return Err(format!(
            "k6's last values are of {} s before the end of the window",
            seconds(late)
        ));
    }
    // Behind the last values nothing stood still: nobody looked.
    Ok(Window {
        from_ms,
        to_ms: to_ms.min(whole.to_ms),
    })
}

/// From k6's start to its end, as `meta.json` tells it.
pub(crate) fn of_k6(meta: &Json) -> Option<Window> {
    let at = |name: &str| meta.get("k6Run")?.get(name)?.as_i64();
    Some(Window {
        from_ms: at("startMs")?,
        to_ms: at("endMs")?,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_window_lies_within_the_run() {
        let whole = Window {
            from_ms: 100_000,
            to_ms: 160_000,
        };
        let declared = |warmup: u64, window: Option<u64>| Declared {
            warmup: Duration::from_secs(warmup),
            window: window.map(Duration::from_secs),
        };
        let of = |warmup, length, cut| window(declared(warmup, length), whole, cut);
        let some = |from_ms, to_ms| Ok(Window { from_ms, to_ms });
        assert_eq!(of(0, None, false), some(100_000, 160_000));
        assert_eq!(of(10, None, false), some(110_000, 160_000));
        assert_eq!(of(10, Some(30), false), some(110_000, 140_000));
        // Its last second may have been without a sample, and says nothing.
        assert_eq!(of(10, Some(51), false), some(110_000, 160_000));
        let early = of(10, Some(55), false).expect_err("it ended early");
        assert!(early.contains("5 s before the end"), "{early}");
        assert_eq!(of(10, Some(55), true), some(110_000, 160_000));
        let never = of(60, Some(1), false).expect_err("it never began");
        assert!(never.contains("begins after 60 s"), "{never}");
    }

    #[test]
    fn the_time_of_faults_and_the_rest_are_all_of_the_window() {
        let of = |from_ms, to_ms| Window { from_ms, to_ms };
        let window = of(100_500, 160_500);
        // Whole seconds of the window, outwards, and never beyond it.
        assert_eq!(outwards(of(110_600, 112_400), window), of(110_500, 112_500));
        assert_eq!(outwards(of(90_000, 101_000), window), of(100_500, 101_500));
        assert_eq!(outwards(of(159_000, 170_000), window), of(158_500, 160_500));
        let faults = vec![
            of(110_500, 112_500),
            of(112_500, 115_500),
            of(130_500, 140_500),
        ];
        let joined = joined(faults);
        assert_eq!(joined, [of(110_500, 115_500), of(130_500, 140_500)]);
        let calm = between(&joined, window);
        let rest = [
            of(100_500, 110_500),
            of(115_500, 130_500),
            of(140_500, 160_500),
        ];
        assert_eq!(calm, rest);
        assert!(between(&[window], window).is_empty());
    }
}
