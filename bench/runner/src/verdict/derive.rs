//! Derived values: what a suite takes out of k6's summary, the monitors and the run's variables.

use serde_json::{Map, Value as Json};

use crate::suite::schema::{DeriveTable, How};
use crate::suite::vars::{Value, Vars};

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
        let value = match (found, table.how, summary) {
            (Some(value), _, _) => value,
            // Without a summary nothing is known, so nothing is zero either.
            (None, How::CopyOrZero, Some(_)) => Json::from(0),
            (None, _, _) => Json::Null,
        };
        derived.insert(table.id.get_ref().clone(), value);
    }
    derived
}

fn source(from: &str, summary: Option<&Json>, vars: &Vars, machine: &Json) -> Option<Json> {
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

/// How many samples of a metric k6 counted, as far as its summary tells: a trend needs `count` among the script's
/// `summaryTrendStats`.
pub(crate) fn samples(summary: &Json, metric: &str) -> Option<f64> {
    let values = summary.get("metrics")?.get(metric)?.get("values")?;
    let number = |name: &str| values.get(name)?.as_f64();
    number("count").or_else(|| Some(number("passes")? + number("fails")?))
}

/// A statistic of a metric in k6's summary.
pub(crate) fn statistic(summary: &Json, metric: &str, stat: &str) -> Option<f64> {
    summary
        .get("metrics")?
        .get(metric)?
        .get("values")?
        .get(stat)?
        .as_f64()
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
        let without = derive(&suite.file.derive, None, &vars, &Json::Null);
        assert_eq!(without["sseFailures"], Json::Null);
    }
}
