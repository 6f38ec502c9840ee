//! Derived values: what a suite takes out of k6's summary, the monitors and the run's variables.

use serde_json::{Map, Value as Json};

use crate::suite::schema::{DeriveTable, How};
use crate::suite::vars::{Value, Vars};
use crate::verdict::metric::{Found, look, unnamed};

/// Computes the values in the order of the suite file; what cannot be found is `null`.
pub(crate) fn derive(
    tables: &[DeriveTable],
    summary: Option<&Json>,
    vars: &Vars,
    machine: &Json,
) -> Map<String, Json> {
    let mut derived = Map::new();
    for table in tables {
        let found = table
            .from
            .iter()
            .find_map(|from| source(from.get_ref(), summary, vars, machine));
        // A metric that is there without a sample or without that statistic is not absent; nor is a part that k6 did not sum up.
        let silent = || {
            let mut from = table.from.iter();
            from.any(|from| {
                metric_of(from.get_ref()).is_some_and(|(name, stat)| {
                    summary.is_some_and(|summary| {
                        look(summary, name, stat) != Found::Absent
                            || unnamed(summary, name).is_some()
                    })
                })
            })
        };
        let value = match (found, table.how, summary) {
            (Some(value), _, _) => value,
            // Without a summary nothing is known, so nothing is zero either.
            (None, How::CopyOrZero, Some(_)) if !silent() => Json::from(0),
            (None, _, _) => Json::Null,
        };
        derived.insert(table.id.get_ref().clone(), value);
    }
    derived
}

/// Metric and statistic of `summary.metrics.NAME.values.STAT`; both may hold dots.
pub(crate) fn metric_of(from: &str) -> Option<(&str, &str)> {
    from.strip_prefix("summary.metrics.")?
        .split_once(".values.")
}

fn source(from: &str, summary: Option<&Json>, vars: &Vars, machine: &Json) -> Option<Json> {
    if let Some((metric, stat)) = metric_of(from) {
        let Found::Value(number) = look(summary?, metric, stat) else {
            return None;
        };
        return Some(as_written(number));
    }
    match from.split_once('.')? {
        ("summary", path) => path
            .split('.')
            .try_fold(summary?, |place, key| place.get(key))
            .filter(|found| !found.is_null())
            .cloned(),
        ("machine", name) => machine.get(name).filter(|found| !found.is_null()).cloned(),
        ("env", name) => vars.get(name).map(|value| match value {
            Value::Int(number) => Json::from(*number),
            Value::Float(number) => Json::from(*number),
            Value::Text(_) | Value::List(_) => Json::from(vars.shown(name)),
        }),
        _ => None,
    }
}

/// Whole numbers without a fraction, as k6 writes them.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a whole number below 2^53 is exact"
)]
fn as_written(number: f64) -> Json {
    if number.fract() == 0.0 && number.abs() < 9e15 {
        Json::from(number as i64)
    } else {
        Json::from(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::tests::suite;
    use crate::suite::vars::Origin;

    #[test]
    fn values_come_from_the_summary_and_the_variables() {
        let suite = suite(
            "[env.VUS]\ntype = \"int\"\n[[scenario]]\nid = \"smoke\"\nscript = \"s.js\"\nlimit = \"30s\"\n\
             [[derive]]\nid = \"expectedVUs\"\nfrom = [\"env.VUS\"]\nhow = \"copy\"\n\
             [[derive]]\nid = \"testRunDurationMs\"\nfrom = [\"summary.state.testRunDurationMs\"]\nhow = \"copy\"\n\
             [[derive]]\nid = \"drainMs\"\nfrom = [\"summary.metrics.open_to_promote_ms.values.max\"]\nhow = \"copy\"\n\
             [[derive]]\nid = \"sseFailures\"\nfrom = [\"summary.metrics.sse_failures.values.count\"]\nhow = \"copy_or_zero\"\n",
        )
        .expect("suite");
        let mut vars = Vars::default();
        vars.supply("VUS", Value::Int(50), Origin::CommandLine);
        let summary =
            serde_json::json!({ "state": { "testRunDurationMs": 18495.147025 }, "metrics": {} });
        let text = serde_json::to_string(&derive(
            &suite.file.derive,
            Some(&summary),
            &vars,
            &Json::Null,
        ))
        .expect("json");
        assert_eq!(
            text,
            r#"{"expectedVUs":50,"testRunDurationMs":18495.147025,"drainMs":null,"sseFailures":0}"#
        );
        let made = serde_json::json!({ "metrics": {
            "open_to_promote_ms": { "type": "trend", "values": { "max": 0, "count": 0 } },
            "sse_failures": { "type": "rate", "values": { "rate": 0, "passes": 0, "fails": 0 } },
        } });
        let silent = derive(&suite.file.derive, Some(&made), &vars, &Json::Null);
        assert_eq!(silent["drainMs"], Json::Null, "a threshold made it");
        assert_eq!(
            silent["sseFailures"],
            Json::Null,
            "it is there, without a sample"
        );
        let without = derive(&suite.file.derive, None, &vars, &Json::Null);
        assert_eq!(without["sseFailures"], Json::Null);
    }

    #[test]
    fn a_part_by_tag_that_k6_did_not_sum_up_is_not_zero() {
        let suite = suite(
            "[[scenario]]\nid = \"smoke\"\nscript = \"s.js\"\nlimit = \"30s\"\n\
             [[derive]]\nid = \"unpaid\"\nfrom = [\"summary.metrics.lost{step:pay}.values.count\"]\nhow = \"copy_or_zero\"\n",
        )
        .expect("suite");
        let unpaid = |metrics: Json| {
            let summary = serde_json::json!({ "metrics": metrics });
            let vars = Vars::default();
            derive(&suite.file.derive, Some(&summary), &vars, &Json::Null)["unpaid"].clone()
        };
        let whole = serde_json::json!({ "lost": { "type": "counter", "values": { "count": 4 } } });
        assert_eq!(unpaid(whole), Json::Null);
        assert_eq!(unpaid(serde_json::json!({})), 0);
    }

    #[test]
    fn what_a_suite_may_take_of_the_machine_is_measured() {
        let machine = crate::verdict::facts::Machine::default();
        let measured = serde_json::to_value(machine).expect("JSON");
        for name in crate::suite::schema::MACHINE_VALUES {
            assert!(measured.get(name).is_some(), "{name}");
        }
    }
}
