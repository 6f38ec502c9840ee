//! A metric in k6's summary: whether it is there, whether it has samples, and what its statistics are.

use serde_json::Value as Json;

use crate::suite::schema::MetricKind;

/// What the summary says about a statistic of a metric.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Found {
    Value(f64),
    /// There is no such metric: nothing was ever added to it, and no threshold made it.
    Absent,
    /// The metric is there and says nothing; why.
    Silent(String),
}

/// How many samples a metric has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Samples {
    Counted(f64),
    /// Some; k6 was not asked to count them.
    Some,
    /// k6 shows what it also shows for none.
    Unknown,
    /// Of a gauge: k6 keeps its last value alone.
    Uncounted,
}

/// Looks for a statistic. A metric that only a threshold made has no samples, whatever k6 prints for it; the sum of a
/// counter is 0 then, which is a value.
pub(crate) fn look(summary: &Json, metric: &str, stat: &str) -> Found {
    let Some(entry) = find(summary, metric) else {
        return Found::Absent;
    };
    match samples_of(entry) {
        Samples::Counted(count) if count <= 0.0 && kind_of(entry) != MetricKind::Counter => {
            Found::Silent("no samples".to_owned())
        }
        Samples::Unknown if kind_of(entry) == MetricKind::Gauge => {
            Found::Silent("k6 shows the same 0 for a gauge without samples".to_owned())
        }
        Samples::Unknown => Found::Silent(
            "k6 shows the same for a metric without samples, and did not count them (`count` in summaryTrendStats)".to_owned(),
        ),
        _ => entry["values"][stat].as_f64().map_or_else(
            || Found::Silent(format!("k6 kept no `{stat}` of this {}", kind_of(entry).name())),
            Found::Value,
        ),
    }
}

/// Why the absence of a metric says nothing: k6 sums up by tags only what a threshold names, and samples that have them may be
/// among those of the whole metric.
pub(super) fn unnamed(summary: &Json, metric: &str) -> Option<String> {
    let (name, _) = tagged(metric)?;
    let hidden = match samples(summary, name)? {
        Samples::Counted(count) => count > 0.0,
        Samples::Some | Samples::Unknown | Samples::Uncounted => true,
    };
    hidden.then(|| {
        format!(
            "k6 sums up by tag only where the harness has a threshold on just these tags, and {name} has samples that may have them: declare one on {metric}"
        )
    })
}

/// A statistic of a metric that has samples.
pub(crate) fn statistic(summary: &Json, metric: &str, stat: &str) -> Option<f64> {
    match look(summary, metric, stat) {
        Found::Value(value) => Some(value),
        Found::Absent | Found::Silent(_) => None,
    }
}

/// How many samples a metric has; `None` without the metric.
pub(crate) fn samples(summary: &Json, metric: &str) -> Option<Samples> {
    find(summary, metric).map(samples_of)
}

/// The type of a metric that is there.
pub(crate) fn kind(summary: &Json, metric: &str) -> Option<MetricKind> {
    find(summary, metric).map(kind_of)
}

/// The metric of that name. k6 writes tags as the harness does, so their order and blanks do not count.
fn find<'a>(summary: &'a Json, metric: &str) -> Option<&'a Json> {
    let metrics = summary.get("metrics")?.as_object()?;
    metrics.get(metric).or_else(|| {
        let wanted = tagged(metric)?;
        let same = |(name, entry): (&String, &'a Json)| (tagged(name)? == wanted).then_some(entry);
        metrics.iter().find_map(same)
    })
}

/// Name and sorted tags of `name{tag:value,…}`.
fn tagged(metric: &str) -> Option<(&str, Vec<&str>)> {
    let (name, tags) = metric.strip_suffix('}')?.split_once('{')?;
    let mut tags: Vec<&str> = tags.split(',').map(str::trim).collect();
    tags.sort_unstable();
    Some((name.trim(), tags))
}

fn samples_of(entry: &Json) -> Samples {
    let number = |name: &str| entry["values"][name].as_f64();
    // Without samples every statistic is 0.
    let some = || {
        let mut values = entry["values"].as_object()?.values();
        values.find(|value| value.as_f64().is_some_and(|value| value != 0.0))
    };
    let counted = match kind_of(entry) {
        // What a target tells is no artefact of k6's.
        MetricKind::Gauge if entry["source"] == "server" => return Samples::Uncounted,
        MetricKind::Gauge if some().is_some() => return Samples::Uncounted,
        MetricKind::Gauge => return Samples::Unknown,
        MetricKind::Counter | MetricKind::Trend => number("count"),
        MetricKind::Rate => number("passes").zip(number("fails")).map(|(a, b)| a + b),
    };
    match counted {
        Some(count) => Samples::Counted(count),
        None if some().is_some() => Samples::Some,
        None => Samples::Unknown,
    }
}

/// The type, as the summary names it or as the statistics tell it.
fn kind_of(entry: &Json) -> MetricKind {
    match entry["type"].as_str() {
        Some("counter") => return MetricKind::Counter,
        Some("gauge") => return MetricKind::Gauge,
        Some("rate") => return MetricKind::Rate,
        Some("trend") => return MetricKind::Trend,
        _ => {}
    }
    let has = |name: &str| entry["values"].get(name).is_some();
    let mut names = entry["values"].as_object().into_iter().flatten();
    if has("passes") || has("fails") {
        MetricKind::Rate
    } else if has("count") && names.all(|(name, _)| matches!(name.as_str(), "count" | "rate")) {
        MetricKind::Counter
    } else if has("value") {
        MetricKind::Gauge
    } else {
        MetricKind::Trend
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn summary(name: &str, kind: &str, values: &Json) -> Json {
        json!({ "metrics": { name: { "type": kind, "values": values } } })
    }

    #[test]
    fn zeros_that_a_threshold_made_are_no_samples() {
        let silent = |kind: &str, stat: &str, values: &Json| {
            matches!(
                look(&summary("m", kind, values), "m", stat),
                Found::Silent(_)
            )
        };
        assert!(silent("trend", "p(95)", &json!({ "p(95)": 0, "count": 0 })));
        assert!(
            silent("trend", "p(95)", &json!({ "p(95)": 0 })),
            "nobody counted"
        );
        assert!(silent(
            "rate",
            "rate",
            &json!({ "rate": 0, "passes": 0, "fails": 0 })
        ));
        assert!(
            silent("trend", "p(99)", &json!({ "max": 3, "count": 1 })),
            "not kept"
        );
        let gauge = json!({ "value": 0, "min": 0, "max": 0 });
        assert!(silent("gauge", "value", &gauge), "k6 shows it for none too");
        let back = summary("m", "gauge", &json!({ "value": 0, "min": 0, "max": 3 }));
        assert_eq!(look(&back, "m", "value"), Found::Value(0.0));
        let zero = summary("m", "counter", &json!({ "count": 0, "rate": 0 }));
        assert_eq!(look(&zero, "m", "count"), Found::Value(0.0));
        assert_eq!(look(&zero, "other", "count"), Found::Absent);
        let kept = summary("m", "trend", &json!({ "max": 3 }));
        assert_eq!(
            look(&kept, "m", "max"),
            Found::Value(3.0),
            "of older evidence"
        );
    }

    #[test]
    fn tags_are_found_in_any_order() {
        let values = json!({ "rate": 0.25, "passes": 1, "fails": 3 });
        let summary = summary("ok{ step:login, area:eu }", "rate", &values);
        assert_eq!(
            statistic(&summary, "ok{area:eu,step:login}", "rate"),
            Some(0.25)
        );
        assert_eq!(look(&summary, "ok{step:login}", "rate"), Found::Absent);
        assert_eq!(look(&summary, "ok", "rate"), Found::Absent);
    }

    #[test]
    fn absence_by_tag_says_nothing_where_the_metric_has_samples() {
        let summary = serde_json::json!({ "metrics": {
            "lost": { "type": "counter", "values": { "count": 4, "rate": 1 } },
            "late": { "type": "counter", "values": { "count": 0, "rate": 0 } },
        } });
        assert!(unnamed(&summary, "lost{step:pay}").is_some());
        for metric in ["late{step:pay}", "gone{step:pay}", "gone", "lost"] {
            assert_eq!(unnamed(&summary, metric), None, "{metric}");
        }
    }
}
