//! Everything over time in the folder of a run.

use std::collections::BTreeMap;
use std::fs;

pub(crate) use super::Value;
use super::k6::{Series, in_band};
use super::samples::{How as Looked, Samples};
use super::window::Window;
use super::{LINES, LOG, Points, Taken};
use crate::evidence::{Folder, component};
use crate::suite::monitor::MonitorKind;
use crate::suite::over_time::{Selector, Source};
use crate::suite::scenario::looks_at;
use crate::suite::schema::{DeriveTable, File, GateTable, How, MetricKind};
use crate::suite::{over_time, stat::Stat};

/// What k6 and the monitors wrote; nothing where no gate is judged over time.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    /// Or why it cannot be read; `None` where k6 was asked for nothing.
    series: Option<Result<Series, String>>,
    /// By the name that gates have for a value.
    samples: BTreeMap<String, Samples>,
}

/// A value over time that is there, or what is missing.
#[derive(Debug, PartialEq)]
pub(crate) enum Found {
    Value(Value),
    /// Nothing was ever added to the metric.
    Absent,
    /// It is there and says nothing; why.
    Silent(String),
}

/// What is asked of a value.
#[derive(Debug, Clone, Copy)]
struct Asked {
    stat: Option<Stat>,
    band: Option<[f64; 2]>,
    /// What a gate says that it is.
    kind: Option<MetricKind>,
    part: Part,
}

/// The part of a run that counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    pub(crate) window: Window,
    /// Whether it goes up to the end of the run: then monitors count to their last sample.
    pub(crate) to_the_end: bool,
}

/// The file of a monitor.
pub(crate) fn monitor_file(id: &str) -> String {
    format!("monitor-{}.jsonl", component(id))
}

impl Recorded {
    /// Reads what the suite declares for a scenario. `asked`: k6 was to write its values over time.
    pub(crate) fn read(folder: &Folder, file: &File, scenario: &str, asked: bool) -> Self {
        // Without a table [series] there may be some: monitors are judged from k6's first sample on.
        let lines = folder.text(LINES);
        let series = (asked || lines.is_some()).then(|| {
            let lines =
                lines.ok_or_else(|| format!("{LINES} is missing: k6 wrote no values over time"))?;
            // A run without a trend has no histograms.
            let log = fs::read(folder.path().join(LOG)).unwrap_or_default();
            Series::read(&lines, &log)
        });
        let gates = file.gate.iter();
        let gates = gates.filter(|gate| looks_at(&gate.scenarios, scenario));
        let gates = gates.filter_map(|gate| over_time::source(file, gate));
        let derived = file.derive.iter().flat_map(|table| &table.from);
        let derived = derived.filter_map(|from| Some(part(file, from.get_ref())?.0));
        let mut samples = BTreeMap::new();
        for source in gates.chain(derived) {
            if let Source::Monitor { id, name, kind } = source {
                let key = key(name, kind);
                samples.entry(key).or_insert_with(|| {
                    let text = folder.text(&monitor_file(id)).unwrap_or_default();
                    let table = over_time::monitor(file, name);
                    let how = Looked {
                        kind,
                        grows: table.is_some_and(|table| table.kind == MonitorKind::Log),
                        every: table.map(|table| table.every).unwrap_or_default(),
                    };
                    Samples::read(&text, name, how)
                });
            }
        }
        Self { series, samples }
    }

    /// k6's values, or why they cannot be read; `None` where k6 was asked for none.
    pub(crate) fn series(&self) -> Option<Result<&Series, &str>> {
        let series = self.series.as_ref()?;
        Some(series.as_ref().map_err(String::as_str))
    }

    /// What a gate judges, over a window; `None` if that is nothing over time.
    pub(crate) fn value(&self, file: &File, gate: &GateTable, part: Part) -> Option<Found> {
        let source = over_time::source(file, gate)?;
        let asked = Asked {
            stat: Stat::parse(gate.stat.get_ref()),
            band: gate.band.as_ref().map(|band| *band.get_ref()),
            kind: gate.kind,
            part,
        };
        Some(self.taken(&source, asked))
    }

    /// The same over stretches of the window; of several of them only sums, rates and the order of samples follow.
    pub(crate) fn value_within(
        &self,
        file: &File,
        gate: &GateTable,
        part: Part,
        stretches: &[Window],
    ) -> Option<Found> {
        if let [window] = *stretches {
            return self.value(file, gate, Part { window, ..part });
        }
        let Source::Series(selector) = over_time::source(file, gate)? else {
            return Some(Found::Silent(
                "a monitor is looked at over one stretch of time".to_owned(),
            ));
        };
        let Some(stat) = Stat::parse(gate.stat.get_ref()) else {
            return Some(Found::Silent("it has no such statistic".to_owned()));
        };
        let series = self.series().unwrap_or(Err("k6 wrote no values over time"));
        let metric = series
            .map_err(str::to_owned)
            .and_then(|series| series.metric(&selector));
        Some(match metric {
            Ok(Some(metric)) => match metric.stat_of_all(stat, stretches) {
                Ok((value, samples)) => Found::Value(Value {
                    value,
                    least: None,
                    samples,
                    looks: None,
                }),
                Err(why) => Found::Silent(why),
            },
            Ok(None) => Found::Absent,
            Err(why) => Found::Silent(why),
        })
    }

    /// What a derived value takes, over a window; `None` if that is nothing over time.
    pub(crate) fn derived(
        &self,
        file: &File,
        table: &DeriveTable,
        from: &str,
        counts: Part,
    ) -> Option<Found> {
        let (source, stat) = part(file, from)?;
        let stat = match table.how.get_ref() {
            How::ShareInBand => Some(Stat::ShareInBand),
            How::LongestGap => Some(Stat::LongestGap),
            _ => stat.and_then(Stat::parse),
        };
        let asked = Asked {
            stat,
            band: table.band.as_ref().map(|band| *band.get_ref()),
            kind: None,
            part: counts,
        };
        Some(self.taken(&source, asked))
    }

    fn taken(&self, source: &Source<'_>, asked: Asked) -> Found {
        let Some(stat) = asked.stat else {
            return Found::Silent("it has no such statistic".to_owned());
        };
        let Part { window, to_the_end } = asked.part;
        let taken = match source {
            Source::Monitor { name, kind, .. } => match self.samples.get(&key(name, *kind)) {
                Some(samples) => {
                    let window = if to_the_end {
                        samples.up_to_the_last(window)
                    } else {
                        window
                    };
                    samples.stat(stat, window, asked.band)
                }
                None => Err("no samples in the window".to_owned()),
            },
            Source::Series(selector) => match self.of_k6(selector, stat, asked) {
                Ok(Some(taken)) => taken.map(|(value, samples)| Value {
                    value,
                    least: None,
                    samples,
                    looks: None,
                }),
                Ok(None) => return Found::Absent,
                Err(why) => Err(why),
            },
        };
        match taken {
            Ok(value) => Found::Value(value),
            Err(why) => Found::Silent(why),
        }
    }

    fn of_k6(
        &self,
        selector: &Selector,
        stat: Stat,
        asked: Asked,
    ) -> Result<Option<Taken>, String> {
        let series = self
            .series()
            .unwrap_or(Err("k6 wrote no values over time"))?;
        let Some(metric) = series.metric(selector)? else {
            return Ok(None);
        };
        if let Some(declared) = asked.kind.filter(|kind| *kind != metric.kind) {
            let [is, declared] = [metric.kind, declared].map(MetricKind::name);
            return Err(format!("it is a {is}, and the gate says a {declared}"));
        }
        Ok(Some(metric.stat(stat, asked.part.window, asked.band)))
    }

    /// When the first sample of a window is inside a band; k6's are known second by second, each by its mean.
    pub(crate) fn first_in_band(
        &self,
        file: &File,
        from: &str,
        window: Window,
        band: [f64; 2],
    ) -> Option<i64> {
        let (source, _) = part(file, from)?;
        let points = match source {
            Source::Monitor { name, kind, .. } => {
                self.samples.get(&key(name, kind))?.points(window)
            }
            Source::Series(selector) => {
                let metric = self.series()?.ok()?.metric(&selector).ok()??;
                metric.points(Stat::Avg, window).ok()?
            }
        };
        let mut inside = points
            .into_iter()
            .filter(|(_, value)| in_band(*value, band));
        inside.next().map(|(t, _)| t)
    }

    /// What a chart of a gate shows, over a window; empty where there is nothing.
    pub(crate) fn points(&self, file: &File, gate: &GateTable, window: Window) -> Points {
        let stat = Stat::parse(gate.stat.get_ref());
        let (Some(source), Some(stat)) = (over_time::source(file, gate), stat) else {
            return Points::new();
        };
        match source {
            Source::Monitor { name, kind, .. } => self
                .samples
                .get(&key(name, kind))
                .map_or_else(Points::new, |samples| samples.points(window)),
            Source::Series(selector) => {
                let series = self.series().and_then(Result::ok);
                let metric = series.and_then(|series| series.metric(&selector).ok().flatten());
                let points = metric.and_then(|metric| metric.points(stat, window).ok());
                points.unwrap_or_default()
            }
        }
    }
}

/// What a derived value takes from values over time.
fn part<'f>(file: &'f File, from: &'f str) -> Option<(Source<'f>, Option<&'f str>)> {
    over_time::part(file, from).ok().flatten()
}

/// One value may be looked at as a counter by one gate, and as a gauge by another.
fn key(name: &str, kind: MetricKind) -> String {
    format!("{name} {}", kind.name())
}
