//! Values over time, as far as a suite declares them: which gates are judged by them, which tags k6 keeps for that, and
//! which part of a run counts.

use std::time::Duration;

use toml::Spanned;

use super::command::Work;
use super::monitor::{MonitorKind, MonitorTable};
use super::quick::Shares;
use super::scenario::{ScenarioTable, looks_at};
use super::schema::{File, GateTable, MetricKind};
use super::served;
use super::vars::Vars;
use crate::values::duration::parse_time;
use crate::values::exit;
use crate::values::template::RunValues;

/// k6's output that writes values over time.
pub(crate) const OUTPUT: &str = "hdrlog";

/// The tag of k6 that samples of users have, and those of `setup()` have not.
pub(crate) const SCENARIO: &str = "scenario";

/// A metric, or the part of it whose samples have these tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selector {
    pub(crate) metric: String,
    /// Names and values.
    pub(crate) tags: Vec<(String, String)>,
}

impl Selector {
    /// Reads `metric` or `metric{tag:value,…}`.
    ///
    /// # Errors
    /// What was received, and what is allowed.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let Some((metric, tags)) = text.split_once('{') else {
            return Ok(Self {
                metric: text.to_owned(),
                tags: Vec::new(),
            });
        };
        let tags = tags.strip_suffix('}').ok_or_else(|| {
            format!("`{text}`: a brace is not closed; allowed: METRIC{{tag:value}}")
        })?;
        let tags = tags.split(',').map(tag).collect::<Result<_, _>>()?;
        Ok(Self {
            metric: metric.trim().to_owned(),
            tags,
        })
    }

    /// That of a gate.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub(crate) fn of(gate: &GateTable) -> Result<Self, String> {
        let mut selector = Self::parse(gate.metric.get_ref())?;
        if let Some(text) = &gate.tag {
            selector.tags.push(tag(text.get_ref())?);
        }
        Ok(selector)
    }
}

impl std::fmt::Display for Selector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.metric)?;
        if self.tags.is_empty() {
            return Ok(());
        }
        let tags = self.tags.iter();
        let tags: Vec<String> = tags
            .map(|(name, value)| format!("{name}:{value}"))
            .collect();
        write!(f, "{{{}}}", tags.join(","))
    }
}

/// Reads `name:value`; the value may hold further colons.
///
/// # Errors
/// What was received, and what is allowed.
pub(crate) fn tag(text: &str) -> Result<(String, String), String> {
    let refused = || format!("`{text}` is no tag; allowed: name:value");
    let (name, value) = text.split_once(':').ok_or_else(refused)?;
    let (name, value) = (name.trim(), value.trim());
    if !is_tag_name(name) || value.is_empty() {
        return Err(refused());
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// Whether k6's output can be asked for a tag of this name.
pub(super) fn is_tag_name(name: &str) -> bool {
    let of_name = |c: char| c.is_alphanumeric() || "_-.".contains(c);
    !name.is_empty() && name.chars().all(of_name)
}

/// Where the value of a gate over time comes from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Source<'f> {
    /// k6's own values.
    Series(Selector),
    /// What a monitor picked, of this type.
    Monitor {
        id: &'f str,
        name: &'f str,
        kind: MetricKind,
    },
}

/// Where the value of a gate comes from if it is judged over time; `None` for a gate on the summary or a derived value.
pub(crate) fn source<'f>(file: &'f File, gate: &'f GateTable) -> Option<Source<'f>> {
    let metric = gate.metric.get_ref();
    if file.derive.iter().any(|table| table.id.get_ref() == metric) {
        return None;
    }
    if served::of(file, metric).is_some() || is_of_commands(file, gate) {
        return None;
    }
    if let Some(table) = monitor(file, metric) {
        return Some(Source::Monitor {
            id: table.id.get_ref(),
            name: metric,
            kind: gate.kind.unwrap_or_else(|| usual_kind(table, metric)),
        });
    }
    file.series.as_ref()?;
    Selector::of(gate).ok().map(Source::Series)
}

/// What a derived value takes from values over time, and which statistic of it if it names one; `None` if it takes it from
/// somewhere else.
///
/// # Errors
/// What was received, and what is allowed.
pub(crate) fn part<'f>(
    file: &'f File,
    from: &'f str,
) -> Result<Option<(Source<'f>, Option<&'f str>)>, String> {
    if let Some(rest) = from.strip_prefix("series.") {
        if file.series.is_none() {
            let why = "k6 writes values over time only where the suite has a table [series]";
            return Err(format!("`{from}`: {why}"));
        }
        let end = match rest.find('}') {
            Some(brace) => brace + 1,
            None => rest.find('.').unwrap_or(rest.len()),
        };
        let (metric, stat) = rest.split_at(end);
        let selector = Selector::parse(metric)?;
        return Ok(Some((Source::Series(selector), stat.strip_prefix('.'))));
    }
    let Some(rest) = from.strip_prefix("monitor.") else {
        return Ok(None);
    };
    for table in &file.monitor {
        let value = rest.strip_prefix(table.id.get_ref().as_str());
        let Some(value) = value.and_then(|value| value.strip_prefix('.')) else {
            continue;
        };
        for pick in table.picks() {
            let stat = value.strip_prefix(pick.name.as_str());
            if let Some(stat) = stat.filter(|stat| stat.is_empty() || stat.starts_with('.')) {
                let name = &value[..pick.name.len()];
                let source = Source::Monitor {
                    id: table.id.get_ref(),
                    name,
                    kind: usual_kind(table, name),
                };
                return Ok(Some((source, stat.strip_prefix('.'))));
            }
        }
    }
    Err(format!(
        "`{from}`: no monitor picks that; allowed: monitor.ID.NAME, with a name of its `match`"
    ))
}

/// Whether a gate judges scenarios of commands alone, which have a summary and no values over time of their own; what a monitor
/// saw meanwhile is another thing.
fn is_of_commands(file: &File, gate: &GateTable) -> bool {
    let mut judged = works(file, gate).peekable();
    let any = judged.peek().is_some();
    any && judged.all(|work| work == Work::Commands)
        && monitor(file, gate.metric.get_ref()).is_none()
}

/// Whether the suite asks for k6's values over time in a scenario; commands have none of their own.
pub(crate) fn asks(file: &File, scenario: &str) -> bool {
    let mut scenarios = file.scenario.iter();
    let table = scenarios.find(|table| table.id.get_ref() == scenario);
    file.series.is_some() && table.is_none_or(|table| table.work() == Work::Script)
}

/// What the scenarios do that a gate judges; those that nobody has implemented do nothing.
pub(super) fn works<'f>(file: &'f File, gate: &'f GateTable) -> impl Iterator<Item = Work> + 'f {
    let scenarios = file.scenario.iter();
    let judged = scenarios.filter(|table| looks_at(&gate.scenarios, table.id.get_ref()));
    judged
        .map(ScenarioTable::work)
        .filter(|work| *work != Work::Stub)
}

/// The monitor that picks a value of this name.
pub(crate) fn monitor<'f>(file: &'f File, name: &str) -> Option<&'f MonitorTable> {
    file.monitor.iter().find(|table| table.has(name))
}

/// What a monitor's value is where nobody says more: matches in a log are counted, and by the custom of Prometheus a
/// counter has a name that ends in `_total`.
fn usual_kind(table: &MonitorTable, name: &str) -> MetricKind {
    let what = table.picks().into_iter().find(|pick| pick.name == name);
    let what = what.map(|pick| pick.what).unwrap_or_default();
    let sample = what.split('{').next().unwrap_or_default().trim_end();
    match table.kind {
        MonitorKind::Log => MetricKind::Counter,
        MonitorKind::Prom if sample.ends_with("_total") => MetricKind::Counter,
        _ => MetricKind::Gauge,
    }
}

/// Whether k6 is to write its values over time in a scenario: where the suite asks for them, and where a monitor's values are
/// judged over a part of the run, which begins with k6's first sample.
pub(crate) fn is_recorded(file: &File, scenario: &ScenarioTable) -> bool {
    if file.series.is_some() {
        return true;
    }
    let partial = scenario.warmup.is_some() || scenario.window.is_some();
    let mut gates = file.gate.iter();
    let judged = gates.any(|gate| {
        looks_at(&gate.scenarios, scenario.id.get_ref()) && source(file, gate).is_some()
    });
    let mut derived = file.derive.iter().flat_map(|table| &table.from);
    let derived = derived.any(|from| matches!(part(file, from.get_ref()), Ok(Some(_))));
    partial && (judged || derived)
}

/// The tags that k6's output keeps: those that the suite lists, those that gates and derived values name, and the one that tells
/// where the load begins.
pub(crate) fn tags(file: &File) -> Vec<String> {
    let Some(series) = &file.series else {
        return vec![SCENARIO.to_owned()];
    };
    let listed = series.tags.iter().map(|name| name.get_ref().clone());
    let named = file
        .gate
        .iter()
        .filter_map(|gate| match source(file, gate) {
            Some(Source::Series(selector)) => Some(selector.tags),
            _ => None,
        });
    let derived = file.derive.iter().flat_map(|table| &table.from);
    let derived = derived.filter_map(|from| match part(file, from.get_ref()) {
        Ok(Some((Source::Series(selector), _))) => Some(selector.tags),
        _ => None,
    });
    let named = named.chain(derived).flatten().map(|(name, _)| name);
    let mut tags: Vec<String> = Vec::new();
    for name in listed.chain(named).chain([SCENARIO.to_owned()]) {
        if !tags.contains(&name) {
            tags.push(name);
        }
    }
    tags
}

/// The part of a run that counts, as a scenario declares it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Declared {
    /// What is passed over first.
    pub(crate) warmup: Duration,
    /// How long it lasts from there; `None` is up to the end.
    pub(crate) window: Option<Duration>,
}

impl Declared {
    /// That of a scenario, with the values of a run and what quick mode makes of them.
    ///
    /// # Errors
    /// A text takes a variable without a value, or becomes no duration.
    pub(crate) fn of(
        scenario: &ScenarioTable,
        vars: &Vars,
        shares: Shares,
    ) -> anyhow::Result<Self> {
        let time = |key: &str, text: &Option<Spanned<String>>| -> anyhow::Result<_> {
            let Some(text) = text else { return Ok(None) };
            let text = text.get_ref();
            let time = parse_time(&vars.expand(text, &RunValues::new())?);
            let id = scenario.id.get_ref();
            time.map(|time| Some(shares.time_of(text, time)))
                .map_err(|why| exit::set_up(format!("scenario {id}: `{key}`: {why}")))
        };
        Ok(Self {
            warmup: time("warmup", &scenario.warmup)?.unwrap_or_default(),
            window: time("window", &scenario.window)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::tests::suite;
    use crate::suite::vars::{Origin, Value};

    #[test]
    fn tags_are_read_with_or_without_blanks() {
        let tagged = |metric: &str, tags: &[(&str, &str)]| Selector {
            metric: metric.to_owned(),
            tags: tags
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        };
        for (text, expected) in [
            ("m", tagged("m", &[])),
            ("m{step:login}", tagged("m", &[("step", "login")])),
            (
                "m{ step : login, url:http://h/x }",
                tagged("m", &[("step", "login"), ("url", "http://h/x")]),
            ),
        ] {
            assert_eq!(Selector::parse(text), Ok(expected), "{text}");
        }
        for text in ["m{", "m{}", "m{step}", "m{:x}", "m{step:}", "m{a b:c}"] {
            Selector::parse(text).expect_err(text);
        }
        let shown = Selector::parse("m{b:1, a:2}").map(|selector| selector.to_string());
        assert_eq!(shown.as_deref(), Ok("m{b:1,a:2}"));
    }

    #[test]
    fn tags_that_gates_name_are_kept_beside_those_that_are_listed() {
        let gate = |id: &str, metric: &str, more: &str| {
            format!(
                "[[gate]]\nid = \"{id}\"\nclass = \"slo\"\nmetric = \"{metric}\"\nstat = \"count\"\nop = \">\"\nlimit = 1\n{more}\n"
            )
        };
        let text = format!(
            "[[scenario]]\nid = \"smoke\"\nscript = \"s.js\"\nlimit = \"30s\"\n[series]\ntags = [\"status\"]\n{}{}{}",
            gate("a", "m{step:login}", ""),
            gate("b", "m", "tag = \"kind:x\""),
            gate("c", "m{step:pay,status:200}", ""),
        );
        let suite = suite(&text).expect("suite");
        assert_eq!(tags(&suite.file), ["status", "step", "kind", "scenario"]);
    }

    #[test]
    fn quick_mode_judges_the_window_that_it_made() {
        let text = "[quick]\ntime = 0.1\n[env.LONG]\ntype = \"duration\"\n[[scenario]]\nid = \"smoke\"\nscript = \"s.js\"\n\
            warmup = \"30s\"\nwindow = \"${LONG}\"\n";
        let file = suite(text).expect("suite").file;
        let mut vars = Vars::default();
        // As the plan has scaled it.
        let long = Value::Text("30s".to_owned());
        vars.supply("LONG", long, Origin::Computed);
        let declared = |quick| {
            let shares = Shares::of(&file, quick);
            let declared = Declared::of(&file.scenario[0], &vars, shares).expect("times");
            [declared.warmup, declared.window.unwrap_or_default()].map(|time| time.as_secs())
        };
        assert_eq!((declared(true), declared(false)), ([3, 30], [30, 30]));
    }
}
