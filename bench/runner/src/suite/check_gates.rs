//! Checks of gates: whether what one asks of a metric can be judged.

use toml::Spanned;

use super::command::{Work, metric};
use super::gate::too_short;
use super::monitor::MonitorTable;
use super::over_time::{self, Selector, Source};
use super::problem::{Problem, known, placeholders, placeholders_in, problem};
use super::scenario::looks_at;
use super::schema::{Class, File, GateTable, MetricKind};
use super::served;
use super::stat::{LONGEST_GAP, Of, SHARE_IN_BAND};
use crate::values::template::{Part, parts};

/// Checks a `[[gate]]`.
pub(super) fn gate(file: &File, gate: &GateTable, scenarios: &[&str]) -> Result<(), Problem> {
    for name in &gate.scenarios {
        known(name, scenarios, "scenario")?;
    }
    let of = of(file, gate)?;
    has(of, &gate.metric, &gate.stat)?;
    over_time(gate, of)?;
    samples(gate, of)?;
    limit(file, gate)?;
    gap(gate, of)?;
    excuses(file, gate)?;
    if let Some(say) = &gate.say {
        placeholders(file, say, &[])?;
    }
    if gate.absent.is_some() && gate.class == Class::Watch {
        return Err(problem(
            &gate.id,
            "a gate of class watch judges nothing and takes no `absent`",
        ));
    }
    Ok(())
}

/// Whether what is compared has the statistic that is asked of it.
pub(super) fn compared(
    file: &File,
    metric: &Spanned<String>,
    stat: &Spanned<String>,
) -> Result<(), Problem> {
    let of = if is_derived(file, metric) {
        Of::Derived
    } else {
        Of::Summary(kind_of(metric.get_ref()))
    };
    has(of, metric, stat)
}

fn is_derived(file: &File, metric: &Spanned<String>) -> bool {
    let mut derived = file.derive.iter();
    derived.any(|table| table.id.get_ref() == metric.get_ref())
}

/// What the value of a gate is taken from.
fn of(file: &File, gate: &GateTable) -> Result<Of, Problem> {
    if is_derived(file, &gate.metric) {
        return Ok(Of::Derived);
    }
    if served::of(file, gate.metric.get_ref()).is_some() {
        return Ok(Of::Summary(gate.kind));
    }
    if let Some(table) = over_time::monitor(file, gate.metric.get_ref()) {
        return of_monitor(file, gate, table);
    }
    let kind = gate.kind.or_else(|| kind_of(gate.metric.get_ref()));
    let kind = kind.or_else(|| of_command(file, gate));
    let commands = over_time::works(file, gate).any(|work| work == Work::Commands);
    if file.series.is_none() || (commands && over_time::source(file, gate).is_none()) {
        return Ok(Of::Summary(kind));
    }
    if commands {
        let text = "commands have no values over time, and scripts are judged by theirs: name scenarios of one kind in `scenarios`";
        return Err(problem(&gate.id, text));
    }
    Selector::parse(gate.metric.get_ref()).map_err(|why| problem(&gate.metric, why))?;
    Ok(Of::Series(kind))
}

/// The type of what commands give; `None` of anything else.
fn of_command(file: &File, gate: &GateTable) -> Option<MetricKind> {
    let name = gate.metric.get_ref().split('{').next().unwrap_or_default();
    if name == metric::FAILED {
        return Some(MetricKind::Rate);
    }
    let mut scenarios = file.scenario.iter();
    let read = metric::ALL.contains(&name) || scenarios.any(|scenario| scenario.reads(name));
    read.then_some(MetricKind::Trend)
}

/// A monitor's value is a counter or a gauge, and there is one wherever the gate judges.
fn of_monitor(file: &File, gate: &GateTable, table: &MonitorTable) -> Result<Of, Problem> {
    let (name, id) = (gate.metric.get_ref(), table.id.get_ref());
    let judged = file.scenario.iter().map(|scenario| scenario.id.get_ref());
    let mut judged = judged.filter(|id| looks_at(&gate.scenarios, id));
    if let Some(scenario) = judged.find(|id| !looks_at(&table.scenarios, id)) {
        let text = format!("{name}: the monitor {id} does not watch scenario {scenario}");
        return Err(problem(&gate.metric, text));
    }
    match over_time::source(file, gate) {
        Some(Source::Monitor { kind, .. })
            if matches!(kind, MetricKind::Counter | MetricKind::Gauge) =>
        {
            Ok(Of::Monitor(kind))
        }
        _ => {
            let text = format!("{name}: a monitor's value is of type counter or gauge");
            Err(problem(&gate.metric, text))
        }
    }
}

fn has(of: Of, metric: &Spanned<String>, stat: &Spanned<String>) -> Result<(), Problem> {
    if of.has(stat.get_ref()) {
        return Ok(());
    }
    let (metric, asked) = (metric.get_ref(), stat.get_ref());
    // Without values over time no metric has it, and with them some have.
    let over_time = [SHARE_IN_BAND, LONGEST_GAP].contains(&asked.as_str());
    let mend = match of {
        Of::Summary(_) if over_time => {
            "; it is judged by values over time, which k6 writes where the suite has a table [series]"
        }
        Of::Series(None) if asked == LONGEST_GAP => {
            "; say `type = \"counter\"` or `type = \"gauge\"` where it is one, which has"
        }
        _ => "",
    };
    Err(problem(
        stat,
        format!(
            "{metric}: {} has no `{asked}`; allowed: {}{mend}",
            of.name(),
            of.stats().join(", ")
        ),
    ))
}

/// The keys of values over time.
fn over_time(gate: &GateTable, of: Of) -> Result<(), Problem> {
    if let Some(tag) = &gate.tag {
        over_time::tag(tag.get_ref()).map_err(|why| problem(tag, why))?;
        let why = match of {
            Of::Series(_) if gate.metric.get_ref().contains('{') => {
                "the metric names its tags in braces already"
            }
            Of::Series(_) => "",
            Of::Derived => "a derived value has no tags",
            Of::Monitor(_) => "a monitor's value has no tags; pick one sample by `match`",
            Of::Summary(_) => {
                "k6's summary has no part by tag; add a table [series], or write metric = \"METRIC{tag:value}\" and a threshold of the harness on it"
            }
        };
        if !why.is_empty() {
            let text = format!("{}: `tag`: {why}", gate.metric.get_ref());
            return Err(problem(tag, text));
        }
    }
    let in_band = gate.stat.get_ref() == SHARE_IN_BAND;
    band(&gate.stat, gate.band.as_ref(), in_band)
}

/// Whether there is a band where one is needed, and nowhere else. `asks`: what would need one.
pub(super) fn band<T>(
    asks: &Spanned<T>,
    band: Option<&Spanned<[f64; 2]>>,
    needed: bool,
) -> Result<(), Problem> {
    match band {
        None if needed => Err(problem(
            asks,
            "`share_in_band` needs `band`, the lowest and the highest value inside, as in [95, 105]",
        )),
        Some(band) if !needed => {
            let text = format!("`band` is of `{SHARE_IN_BAND}` alone");
            Err(problem(band, text))
        }
        Some(band) => {
            let [low, high] = *band.get_ref();
            if low <= high && (high - low).is_finite() {
                return Ok(());
            }
            let text = format!("`band` is [{low}, {high}]; allowed: the lower value first");
            Err(problem(band, text))
        }
        None => Ok(()),
    }
}

/// `min_samples` and `absent`, where samples are counted or may be absent.
fn samples(gate: &GateTable, of: Of) -> Result<(), Problem> {
    let least = gate.min_samples.as_ref();
    if let Some(least) = least.filter(|least| *least.get_ref() == 0) {
        return Err(problem(
            least,
            "`min_samples` is at least 1: nothing is judged without a sample",
        ));
    }
    if of == Of::Derived && gate.absent.is_some() {
        return Err(problem(
            &gate.metric,
            format!(
                "{}: a derived value takes no `absent`; say `how = \"copy_or_zero\"` where absence is 0",
                gate.metric.get_ref()
            ),
        ));
    }
    if matches!(of, Of::Monitor(_)) && gate.absent.is_some() {
        return Err(problem(
            &gate.metric,
            format!(
                "{}: a monitor's value takes no `absent`: one that was not read is not known",
                gate.metric.get_ref()
            ),
        ));
    }
    let uncounted = matches!(of, Of::Derived | Of::Summary(Some(MetricKind::Gauge)));
    if let Some(least) = least.filter(|_| uncounted) {
        return Err(problem(
            least,
            format!(
                "{}: the samples of {} are not counted; leave out `min_samples`",
                gate.metric.get_ref(),
                of.name()
            ),
        ));
    }
    Ok(())
}

fn limit(file: &File, gate: &GateTable) -> Result<(), Problem> {
    match gate.limit.get_ref() {
        toml::Value::Integer(_) => Ok(()),
        toml::Value::Float(number) if number.is_finite() => Ok(()),
        toml::Value::String(text) => {
            placeholders_in(file, &gate.limit, text, &[])?;
            limit_is_number(file, gate, text)
        }
        _ => Err(problem(
            &gate.limit,
            "`limit` must be a number or a text with a variable, as in \"${VUS}\"",
        )),
    }
}

/// A gate that excuses names objectives, and is none.
fn excuses(file: &File, gate: &GateTable) -> Result<(), Problem> {
    let Some(first) = gate.excuses.first() else {
        return Ok(());
    };
    if gate.class != Class::Validity {
        let text = "`excuses` is of gates of class validity: an objective excuses nothing";
        return Err(problem(first, text));
    }
    let objectives = file.gate.iter().filter(|gate| gate.class == Class::Slo);
    let objectives: Vec<&str> = objectives.map(|gate| gate.id.get_ref().as_str()).collect();
    let mut named = gate.excuses.iter();
    named.try_for_each(|name| known(name, &objectives, "gate of class slo"))
}

/// A longest gap that k6's values cannot show. That of a variable is known before a run, and refused then.
fn gap(gate: &GateTable, of: Of) -> Result<(), Problem> {
    let limit = match gate.limit.get_ref() {
        toml::Value::Integer(number) => number.to_string().parse().ok(),
        toml::Value::Float(number) => Some(*number),
        _ => None,
    };
    let refused = limit.and_then(|limit| too_short(gate, limit));
    match refused.filter(|_| matches!(of, Of::Series(_))) {
        Some(text) => Err(problem(&gate.limit, text)),
        None => Ok(()),
    }
}

/// Whether the text of a limit can become a number.
fn limit_is_number(file: &File, gate: &GateTable, text: &str) -> Result<(), Problem> {
    let parts = parts(text).map_err(|text| problem(&gate.limit, text))?;
    for part in &parts {
        if let Part::Variable(name) = part
            && let Some(table) = file.env.get(*name)
            && !table.kind.is_number()
        {
            let text = format!(
                "{name} holds no number; a limit takes variables of type int, float, millis or flag"
            );
            return Err(problem(&gate.limit, text));
        }
    }
    let literal = parts.iter().all(|part| matches!(part, Part::Text(_)));
    if literal && !text.parse::<f64>().is_ok_and(f64::is_finite) {
        let text = format!("the limit `{text}` is not a number");
        return Err(problem(&gate.limit, text));
    }
    Ok(())
}

/// Types of the metrics that k6 itself records, by tag as well.
pub(super) fn kind_of(metric: &str) -> Option<MetricKind> {
    match metric.split('{').next().unwrap_or_default().trim() {
        "http_req_failed" | "checks" => Some(MetricKind::Rate),
        "http_reqs" | "iterations" | "data_sent" | "data_received" | "dropped_iterations" => {
            Some(MetricKind::Counter)
        }
        "vus" | "vus_max" => Some(MetricKind::Gauge),
        "iteration_duration"
        | "group_duration"
        | "http_req_duration"
        | "http_req_blocked"
        | "http_req_connecting"
        | "http_req_tls_handshaking"
        | "http_req_sending"
        | "http_req_waiting"
        | "http_req_receiving" => Some(MetricKind::Trend),
        _ => None,
    }
}
