//! What gates judged over time, to be drawn: one picture for each gate, with its limit and the part of the run that counts.

use super::chart::Line;
use super::series::{Points, seconds_since, thinned};
use crate::compare::stored::StoredRun;
use crate::evidence::Folder;
use crate::series::recorded::Recorded;
use crate::series::window::Window;
use crate::suite::gate::of_scenario;
use crate::suite::over_time::{Selector, Source, asks, source};
use crate::suite::schema::{File, GateTable, MetricKind};
use crate::suite::stat::Stat;
use crate::values::text::figure;

/// The picture of a gate.
#[derive(Debug)]
pub(super) struct Picture {
    pub(super) caption: String,
    pub(super) lines: Vec<Line>,
    /// Where lines from side to side are.
    pub(super) limits: Vec<f64>,
    /// From where to where the part of the run goes that counts, seconds.
    pub(super) window: Option<(f64, f64)>,
    /// Whether the axis begins at 0.
    pub(super) from_zero: bool,
}

/// The pictures of a scenario, in the order of its gates. `runs`: each with the number of its variant, and the moment from
/// which seconds count.
pub(super) fn pictures(
    file: &File,
    scenario: &str,
    runs: &[(usize, &StoredRun, Option<f64>)],
) -> Vec<Picture> {
    let gates: Vec<&GateTable> = of_scenario(&file.gate, scenario)
        .filter(|gate| source(file, gate).is_some())
        .collect();
    if gates.is_empty() {
        return Vec::new();
    }
    let read = |&(variant, run, zero): &(usize, &'_ StoredRun, Option<f64>)| {
        let recorded = Recorded::read(
            &Folder::open(&run.path),
            file,
            scenario,
            asks(file, scenario),
        );
        (variant, whole(run), zero, recorded)
    };
    let recorded: Vec<_> = runs.iter().map(read).collect();
    let window = runs.iter().find_map(|(_, run, zero)| {
        let Window { from_ms, to_ms } = run.window?;
        Some((seconds_since(*zero, from_ms), seconds_since(*zero, to_ms)))
    });
    let picture = |gate: &GateTable| {
        let lines = recorded
            .iter()
            .filter_map(|(variant, whole, zero, recorded)| {
                let points = recorded.points(file, gate, (*whole)?);
                let points = points.iter();
                let points: Points = points
                    .map(|(t, value)| (seconds_since(*zero, *t), *value))
                    .collect();
                Some(Line {
                    variant: *variant,
                    points: thinned(&points),
                })
            });
        let mut gates = runs.iter().flat_map(|(_, run, _)| &run.gates);
        let judged = gates.find(|judged| judged.id == *gate.id.get_ref());
        let limit = judged.and_then(|judged| judged.limit);
        let (what, limits, from_zero) = told(file, gate, limit);
        Picture {
            caption: what,
            lines: lines.filter(|line| !line.points.is_empty()).collect(),
            limits,
            window,
            from_zero,
        }
    };
    gates.into_iter().map(picture).collect()
}

/// From k6's start to its end.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a time in ms is far below 2^53"
)]
fn whole(run: &StoredRun) -> Option<Window> {
    let from = run.meta.k6_run.start_ms?;
    let to = from + run.meta.k6_run.wall_clock_ms?;
    Some(Window {
        from_ms: from as i64,
        to_ms: to as i64,
    })
}

/// What a picture shows, in words; its lines from side to side; and whether its axis begins at 0.
fn told(file: &File, gate: &GateTable, limit: Option<f64>) -> (String, Vec<f64>, bool) {
    let metric = Selector::of(gate).map_or_else(
        |_| gate.metric.get_ref().clone(),
        |selector| selector.to_string(),
    );
    let stat = gate.stat.get_ref();
    let unit = gate.unit.as_deref();
    let unit = unit.map(|unit| format!(" {unit}")).unwrap_or_default();
    let expected = limit.map(|limit| format!("{} {}{unit}", gate.op.sign(), figure(limit)));
    let expected = expected.unwrap_or_else(|| "a limit".to_owned());
    let is_counter = match source(file, gate) {
        Some(Source::Monitor { kind, .. }) => kind == MetricKind::Counter,
        _ => gate.kind != Some(MetricKind::Gauge),
    };
    match (Stat::parse(stat), &gate.band) {
        (Some(Stat::ShareInBand), Some(band)) => {
            let [low, high] = *band.get_ref();
            let text = format!(
                "{metric}: a share {expected} is to be between the lines at {} and {}",
                figure(low),
                figure(high)
            );
            (text, vec![low, high], false)
        }
        (Some(Stat::LongestGap), _) => {
            let shown = if is_counter {
                ", growth per second"
            } else {
                ""
            };
            let text = format!("{metric}{shown}: the longest gap is to be {expected}");
            (text, Vec::new(), true)
        }
        (Some(Stat::Count), _) => {
            let text = format!("{metric} each second: {stat} over the window is to be {expected}");
            (text, Vec::new(), true)
        }
        _ => {
            let text = format!(
                "{metric} each second: {stat} over the window is to be {expected}, the line"
            );
            (text, limit.into_iter().collect(), true)
        }
    }
}
