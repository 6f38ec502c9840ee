//! The report as one HTML file that loads nothing.

use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, context};
use serde::Serialize;

use super::chart::{self, Axes, Line};
use super::figures::Figures;
use super::ladder;
use super::over_time::pictures;
use super::series::{Points, Process, Series};
use super::template;
use super::view::View;
use crate::compare::cells::title;
use crate::compare::places::{groups, order};
use crate::compare::stored::{Stored, StoredRun};
use crate::suite::schema::{File, RecordTable};
use crate::suite::section::Section;
use crate::verdict::health::Share;
use crate::verdict::ladders::Found;
use crate::verdict::metric::statistic;

const TEMPLATE: &str = include_str!("templates/report.html");
/// Stands in the page, which loads nothing.
const STYLE: &str = include_str!("templates/report.css");

/// Charts of one section that share a legend.
#[derive(Debug, Serialize)]
struct Group {
    section: String,
    title: String,
    /// How to read them.
    note: String,
    legend: Vec<(String, String)>,
    charts: Vec<Chart>,
}

#[derive(Debug, Serialize)]
struct Chart {
    caption: String,
    svg: Value,
}

/// The report as HTML.
///
/// # Errors
/// A chart cannot be drawn, or the template does not fit the figures.
pub(crate) fn render(
    figures: &Figures,
    stored: &Stored,
    sections: &[Section],
) -> anyhow::Result<String> {
    let mut groups = comparison(figures)?;
    for found in &figures.ladders {
        groups.push(ladder_group(found)?);
    }
    let places = places(stored);
    for place in &places {
        groups.extend(place.charts(sections)?);
    }
    let first = places.iter().map(Place::first).find_map(Result::transpose);
    let first = first.transpose()?;
    groups.retain(|group| !group.charts.is_empty());
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_syntax(template::syntax()?);
    environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    environment.add_filter("breakable", breakable);
    let template = environment.template_from_str(TEMPLATE)?;
    let view = View::of(figures, stored, sections);
    Ok(template.render(context! {
        view => Serde(view),
        groups => Serde(groups),
        first => Serde(first),
        style => Value::from_safe_string(STYLE.to_owned()),
    })?)
}

/// A name in camel case that may be broken between its words.
fn breakable(name: &str) -> Value {
    let mut text = String::new();
    let mut before = ' ';
    for c in name.chars() {
        if c.is_ascii_uppercase() && before.is_ascii_lowercase() {
            text.push_str("<wbr>");
        }
        text.push_str(&super::hover::escaped(&c.to_string()));
        before = c;
    }
    Value::from_safe_string(text)
}

fn drawn(caption: impl Into<String>, svg: String) -> Option<Chart> {
    (!svg.is_empty()).then(|| Chart {
        caption: caption.into(),
        svg: Value::from_safe_string(svg),
    })
}

fn ladder_group(found: &Found) -> anyhow::Result<Group> {
    let pictures = ladder::pictures(found)?.into_iter();
    let charts = pictures.filter_map(|picture| drawn(picture.caption, picture.svg));
    let names = ladder::NAMES.iter().enumerate();
    Ok(Group {
        section: "ladders".to_owned(),
        title: found.scenario.clone(),
        note: "A point for each level. The limit lies in the shaded part: its left end holds, its right end does not. A dashed line is what an objective allows."
            .to_owned(),
        legend: names
            .map(|(i, name)| (chart::colour_name(i), (*name).to_owned()))
            .collect(),
        charts: charts.collect(),
    })
}

fn comparison(figures: &Figures) -> anyhow::Result<Vec<Group>> {
    let cells = &figures.comparisons;
    let mut charts = Vec::new();
    let caption = "Difference from the base with its 95 % interval; the line is no difference";
    charts.extend(drawn(caption, chart::ratios(cells, caption)?));
    for cell in cells.iter().filter(|cell| {
        cell.variants
            .iter()
            .any(|variant| !variant.values.is_empty())
    }) {
        let caption = title(cell);
        charts.extend(drawn(caption.clone(), chart::values(cell, &caption)?));
    }
    Ok(vec![Group {
        section: "comparison".to_owned(),
        title: String::new(),
        note: "One mark per cycle, from left to right in their order; beside them the geometric mean of the variant with its 95 % interval. The verdict rests on the ratios within the cycles, not on whether these bars overlap."
            .to_owned(),
        legend: Vec::new(),
        charts,
    }])
}

/// One of a process's series.
type Pick = fn(&Process) -> &Points;

/// Scenario and point, with the runs that are drawn.
struct Place<'a> {
    title: String,
    file: &'a File,
    scenario: &'a str,
    variants: Vec<&'a str>,
    runs: Vec<(usize, &'a StoredRun, Series)>,
    /// From whose time on seconds count.
    since: Option<&'a RecordTable>,
}

/// Warm-ups and repeated runs are not drawn; invalid ones are, for they show what went wrong.
fn places(stored: &Stored) -> Vec<Place<'_>> {
    let file = &stored.suite.file;
    let (since, windowed) = (file.since(), file.series.is_some());
    groups(stored)
        .into_iter()
        .map(|((scenario, point), runs)| {
            let variants = order(stored, &runs);
            let drawn = runs
                .iter()
                .copied()
                .filter(|run| !run.meta.discarded && run.superseded.is_none());
            let drawn = drawn.map(|run| {
                let variant = variants.iter().position(|name| *name == run.meta.variant);
                (
                    variant.unwrap_or_default(),
                    run,
                    Series::of(run, since, windowed),
                )
            });
            Place {
                title: format!("{scenario} {point}").trim().to_owned(),
                file: &stored.suite.file,
                scenario: runs.first().map_or("", |run| &run.meta.scenario),
                runs: drawn.collect(),
                since,
                variants: variants
                    .iter()
                    .map(|name| {
                        let run = runs.iter().find(|run| run.meta.variant == *name);
                        run.map_or(*name, |run| run.variant())
                    })
                    .collect(),
            }
        })
        .collect()
}

impl Place<'_> {
    fn charts(&self, sections: &[Section]) -> anyhow::Result<Vec<Group>> {
        let mut groups = Vec::new();
        for section in sections {
            match section {
                Section::Distribution(metric) => groups.push(self.distribution(metric)?),
                Section::Queues => groups.push(self.queues()?),
                Section::Resources => groups.push(self.resources()?),
                Section::OverTime => groups.push(self.over_time()?),
                _ => {}
            }
        }
        Ok(groups)
    }

    fn group(&self, section: &str, note: &str, charts: Vec<Chart>) -> Group {
        let legend = self.variants.iter().enumerate();
        Group {
            section: section.to_owned(),
            title: self.title.clone(),
            note: note.to_owned(),
            legend: legend
                .map(|(i, name)| (chart::colour_name(i), (*name).to_owned()))
                .collect(),
            charts,
        }
    }

    fn lines(&self, points: impl Fn(&StoredRun, &Series) -> Points) -> Vec<Line> {
        self.runs
            .iter()
            .map(|(variant, run, series)| Line {
                variant: *variant,
                points: points(run, series),
            })
            .filter(|line| !line.points.is_empty())
            .collect()
    }

    fn chart(&self, caption: &str, x: &str, lines: &[Line]) -> anyhow::Result<Option<Chart>> {
        if lines.is_empty() {
            return Ok(None);
        }
        let label = format!("{caption}, {}", self.title);
        let axes = Axes {
            x,
            names: &self.variants,
            // At 0 is what the record tells the time of, if that is what the chart counts from.
            gate: self.since_record() && x == self.time(),
            ..Axes::default()
        };
        Ok(drawn(caption, chart::lines(lines, axes, &label)?))
    }

    /// The picture beside the answer: the queue fills, the gate opens, the queue drains. One line for each variant, of its run
    /// in the middle.
    fn first(&self) -> anyhow::Result<Option<Group>> {
        let mut lines = Vec::new();
        for variant in 0..self.variants.len() {
            let mut runs: Vec<&(usize, &StoredRun, Series)> = self
                .runs
                .iter()
                .filter(|(own, run, series)| {
                    *own == variant && run.left_out().is_none() && !series.queue.is_empty()
                })
                .collect();
            let end =
                |run: &(usize, &StoredRun, Series)| run.2.queue.last().map_or(0.0, |last| last.0);
            runs.sort_by(|a, b| end(a).total_cmp(&end(b)));
            if let Some((_, _, series)) = runs.get(runs.len().saturating_sub(1) / 2) {
                lines.push(Line {
                    variant,
                    points: series.queue.clone(),
                });
            }
        }
        let caption = "Users in the queues";
        let Some(chart) = self.chart(caption, &self.time(), &lines)? else {
            return Ok(None);
        };
        let note = if self.runs.len() > self.variants.len() {
            "The queue fills, the gate opens, the queue drains; of each variant the run in the middle."
        } else {
            "The queue fills, the gate opens, the queue drains."
        };
        Ok(Some(self.group("first", note, vec![chart])))
    }

    fn distribution(&self, metric: &str) -> anyhow::Result<Group> {
        let lines = self.lines(|run, _| {
            run.summary
                .as_ref()
                .map_or_else(Vec::new, |summary| quantiles(summary, metric))
        });
        let caption = format!("{metric}, ms");
        let chart = self.chart(&caption, "percent of users", &lines)?;
        let note = "One line per run, through the quantiles that k6 keeps.";
        Ok(self.group(
            &format!("distribution:{metric}"),
            note,
            chart.into_iter().collect(),
        ))
    }

    /// Whether every run knows the time from which charts count.
    fn since_record(&self) -> bool {
        self.runs.iter().all(|(_, _, series)| series.since_record)
    }

    fn time(&self) -> String {
        match self.since {
            Some(record) if self.since_record() => {
                let title = record.title.as_ref().unwrap_or(record.id.get_ref());
                format!("seconds since {title}")
            }
            _ => "seconds since k6 started".to_owned(),
        }
    }

    fn queues(&self) -> anyhow::Result<Group> {
        let charts = [
            (
                "Users in the queues",
                self.lines(|_, series| series.queue.clone()),
            ),
            (
                "Users promoted per second",
                self.lines(|_, series| series.promotions.clone()),
            ),
        ];
        let charts = charts
            .iter()
            .filter_map(|(caption, lines)| self.chart(caption, &self.time(), lines).transpose())
            .collect::<anyhow::Result<_>>()?;
        Ok(self.group("queues", "One line per run.", charts))
    }

    fn over_time(&self) -> anyhow::Result<Group> {
        let runs: Vec<_> = self
            .runs
            .iter()
            .map(|(variant, run, series)| (*variant, *run, series.zero))
            .collect();
        let mut charts = Vec::new();
        for picture in pictures(self.file, self.scenario, &runs) {
            let axes = Axes {
                x: &self.time(),
                names: &self.variants,
                gate: self.since_record(),
                limits: &picture.limits,
                window: picture.window,
                not_from_zero: !picture.from_zero,
            };
            let label = format!("{}, {}", picture.caption, self.title);
            let svg = chart::lines(&picture.lines, axes, &label)?;
            charts.extend(drawn(picture.caption, svg));
        }
        let note =
            "One line per run, a point for each second or sample. Gates judge the shaded part.";
        Ok(self.group("over_time", note, charts))
    }

    fn resources(&self) -> anyhow::Result<Group> {
        let mut names: Vec<&str> = Vec::new();
        for process in self
            .runs
            .iter()
            .flat_map(|(_, _, series)| &series.processes)
        {
            if !names.contains(&process.name.as_str()) {
                names.push(&process.name);
            }
        }
        let mut charts = Vec::new();
        let shares = self.runs.iter().map(|(_, _, series)| &series.shares);
        for (place, share) in shares
            .max_by_key(|shares| shares.len())
            .into_iter()
            .flatten()
            .enumerate()
        {
            let of = |pick: fn(&Share) -> &Points| {
                self.lines(|_, series| {
                    series
                        .shares
                        .get(place)
                        .map_or_else(Vec::new, |share| pick(share).clone())
                })
            };
            let bars = of(|share| &share.beyond);
            let lines: Vec<Line> = of(|share| &share.points).into_iter().chain(bars).collect();
            charts.extend(self.chart(&share.caption, &self.time(), &lines)?);
        }
        for name in names {
            let of = |pick: Pick| {
                self.lines(|_, series| {
                    let process = series.processes.iter().find(|process| process.name == name);
                    process.map_or_else(Vec::new, |process| pick(process).clone())
                })
            };
            let kinds: [(&str, Pick); 3] = [
                ("processor, percent of one core", |process| &process.cpu),
                ("memory, MiB", |process| &process.memory),
                ("connections", |process| &process.connections),
            ];
            for (what, pick) in kinds {
                charts.extend(self.chart(&format!("{name}: {what}"), &self.time(), &of(pick))?);
            }
        }
        Ok(self.group("resources", "One line per run.", charts))
    }
}

/// Quantiles of a trend, by percent of the samples.
fn quantiles(summary: &serde_json::Value, metric: &str) -> Points {
    let values = summary["metrics"][metric]["values"].as_object();
    let mut points: Points = values
        .into_iter()
        .flat_map(|values| values.keys())
        .filter_map(|stat| {
            let percent = match stat.as_str() {
                "min" => 0.0,
                "med" => 50.0,
                "max" => 100.0,
                other => other.strip_prefix("p(")?.strip_suffix(')')?.parse().ok()?,
            };
            Some((percent, statistic(summary, metric, stat)?))
        })
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_that_k6_keeps() {
        let summary = serde_json::json!({ "metrics": { "wait": { "values": {
            "avg": 9, "p(95)": 8, "max": 10, "min": 1, "med": 5
        } } } });
        assert_eq!(
            quantiles(&summary, "wait"),
            [(0.0, 1.0), (50.0, 5.0), (95.0, 8.0), (100.0, 10.0)]
        );
        assert!(quantiles(&summary, "other").is_empty());
    }
}
