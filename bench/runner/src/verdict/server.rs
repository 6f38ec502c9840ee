//! Values that a target measured itself, in the form of k6's summary: what they are, and where they stand among k6's own.

use serde_json::{Map, Value as Json, json};

use crate::suite::schema::File;
use crate::suite::served::of_scenario;
use crate::values::trend;

/// The file with what targets answered.
pub(crate) const FILE: &str = "server.json";

/// Statistics as targets name them, and as k6 does.
const STATS: [(&str, &str); 14] = [
    ("n", "count"),
    ("count", "count"),
    ("p50", "med"),
    ("med", "med"),
    ("median", "med"),
    ("p90", "p(90)"),
    ("p95", "p(95)"),
    ("p99", "p(99)"),
    ("p999", "p(99.9)"),
    ("avg", "avg"),
    ("mean", "avg"),
    ("min", "min"),
    ("max", "max"),
    ("sum", "sum"),
];

/// How an entry says that it is none of k6's: a number that is 0 is a value there.
pub(crate) const SOURCE: &str = "server";

/// What stands at a place of an answer, as a metric; the text of a refusal says what is allowed. `asked`: statistics that gates
/// judge.
pub(crate) fn metric<'a>(
    found: &Json,
    asked: impl IntoIterator<Item = &'a str>,
) -> Result<Json, String> {
    let entry = |kind: &str, values: Map<String, Json>| json!({ "type": kind, "source": SOURCE, "values": values });
    match found {
        Json::Number(number) => {
            let values =
                ["value", "min", "max"].map(|name| (name.to_owned(), number.clone().into()));
            Ok(entry("gauge", values.into_iter().collect()))
        }
        Json::Array(items) => {
            let samples: Option<Vec<f64>> = items.iter().map(Json::as_f64).collect();
            let samples = samples.ok_or("a list that holds something else than numbers")?;
            Ok(entry("trend", trend::values(&samples, asked)))
        }
        Json::Object(stats) => {
            let known = STATS.iter().filter_map(|(own, name)| {
                let number = stats.get(*own).filter(|value| value.is_number())?;
                Some(((*name).to_owned(), number.clone()))
            });
            let values: Map<String, Json> = known.collect();
            if values.keys().all(|name| name == "count") {
                let names: Vec<&str> = STATS.iter().map(|(own, _)| *own).collect();
                return Err(format!(
                    "an object without statistics; those that are known: {}",
                    names.join(", ")
                ));
            }
            Ok(entry("trend", values))
        }
        _ => {
            Err("neither a number, nor a list of numbers, nor an object with statistics".to_owned())
        }
    }
}

/// k6's summary with what was read of a scenario's target: a metric that a `[[server]]` picks is that one and no other, also where
/// the harness has one of its name.
pub(crate) fn merged(
    file: &File,
    scenario: &str,
    summary: Option<Json>,
    read: Option<&Json>,
) -> Option<Json> {
    let mut summary = summary?;
    let picked: Vec<&String> = of_scenario(file, scenario)
        .flat_map(|table| table.picked.keys())
        .map(|name| name.get_ref())
        .collect();
    if picked.is_empty() {
        return Some(summary);
    }
    if let Some(metrics) = summary.get_mut("metrics").and_then(Json::as_object_mut) {
        for name in picked {
            metrics.remove(name);
            if let Some(own) = read.and_then(|read| read.get("metrics")?.get(name)) {
                metrics.insert(name.clone(), own.clone());
            }
        }
    }
    Some(summary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::metric::{Found, Samples, look, samples};

    fn summary(found: &Json) -> Json {
        json!({ "metrics": { "m": metric(found, ["p(50)"]).expect("a metric") } })
    }

    #[test]
    fn numbers_lists_and_statistics_are_metrics() {
        assert_eq!(look(&summary(&json!(0)), "m", "value"), Found::Value(0.0));
        let list = summary(&json!([4, 2, 6]));
        assert_eq!(look(&list, "m", "p(50)"), Found::Value(4.0));
        assert_eq!(samples(&list, "m"), Some(Samples::Counted(3.0)));
        let none = summary(&json!([]));
        assert!(
            matches!(look(&none, "m", "max"), Found::Silent(_)),
            "no samples"
        );
        let stats = summary(&json!({ "n": 9, "p95": 1.5, "mean": 1, "unit": "us" }));
        assert_eq!(look(&stats, "m", "p(95)"), Found::Value(1.5));
        assert_eq!(look(&stats, "m", "avg"), Found::Value(1.0));
        assert!(
            matches!(look(&stats, "m", "max"), Found::Silent(_)),
            "not told"
        );
        let nothing = summary(&json!({ "n": 0, "p95": 0 }));
        assert!(matches!(look(&nothing, "m", "p(95)"), Found::Silent(_)));
        for refused in [json!("1"), json!(null), json!([1, "2"]), json!({ "n": 3 })] {
            metric(&refused, []).expect_err("refused");
        }
    }

    #[test]
    fn the_harness_does_not_stand_for_the_target() {
        let suite = crate::suite::tests::suite(
            "[[scenario]]\nid = \"smoke\"\nscript = \"s.js\"\nlimit = \"30s\"\n\
             [[server]]\nid = \"s\"\nsource = \"http://h\"\nmatch = { m = \"m\" }\n",
        )
        .expect("suite");
        let of_k6 = json!({ "metrics": { "m": { "type": "gauge", "values": { "value": 1 } } } });
        let look_at = |read: Option<&Json>| {
            let all = merged(&suite.file, "smoke", Some(of_k6.clone()), read).expect("a summary");
            look(&all, "m", "value")
        };
        assert_eq!(look_at(None), Found::Absent);
        assert_eq!(look_at(Some(&summary(&json!(7)))), Found::Value(7.0));
    }
}
