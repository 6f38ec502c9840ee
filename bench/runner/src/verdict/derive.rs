//! Derived values: what a suite takes out of k6's summary, the monitors and the run's variables.

use serde_json::{Map, Value as Json};

use crate::series::recorded;
use crate::suite::schema::{DeriveTable, File, How};
use crate::suite::vars::{Value, Vars};
use crate::values::number::as_written;
use crate::verdict::metric::{Found, look, unnamed};
use crate::verdict::over_time::OverTime;

/// What values are derived from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sources<'a> {
    pub(crate) summary: Option<&'a Json>,
    pub(crate) vars: &'a Vars,
    pub(crate) machine: &'a Json,
    pub(crate) over_time: &'a OverTime,
    /// What servers were asked for, by the ids of the records; `meta.json` holds them.
    pub(crate) records: &'a Json,
}

/// Computes the values in the order of the suite file; what cannot be found is `null`.
pub(crate) fn derive(file: &File, sources: Sources<'_>) -> Map<String, Json> {
    let mut derived = Map::new();
    for table in &file.derive {
        let value = match table.how.get_ref() {
            How::Copy | How::CopyOrZero => sources.copied(file, table, &derived),
            How::FirstAfter => {
                let seconds = sources.over_time.first_after(file, table);
                seconds.map_or(Json::Null, as_written)
            }
            how => sources.computed(file, table, &derived, *how),
        };
        derived.insert(table.id.get_ref().clone(), value);
    }
    derived
}

impl Sources<'_> {
    fn copied(self, file: &File, table: &DeriveTable, above: &Map<String, Json>) -> Json {
        let summary = self.summary;
        let found = table
            .from
            .iter()
            .find_map(|from| self.source(file, table, above, from.get_ref()));
        // A metric that is there without a sample or without that statistic is not absent; nor is a part that k6 did not sum up.
        let silent = || {
            let mut from = table.from.iter();
            from.any(|from| {
                let of_summary = metric_of(from.get_ref()).is_some_and(|(name, stat)| {
                    summary.is_some_and(|summary| {
                        look(summary, name, stat) != Found::Absent
                            || unnamed(summary, name).is_some()
                    })
                });
                let over_time = self.over_time.derived(file, table, from.get_ref());
                of_summary || over_time.is_some_and(|found| found != recorded::Found::Absent)
            })
        };
        match (found, table.how.get_ref(), summary) {
            (Some(value), _, _) => value,
            // Without a summary nothing is known, so nothing is zero either.
            (None, How::CopyOrZero, Some(_)) if !silent() => Json::from(0),
            (None, _, _) => Json::Null,
        }
    }

    /// Of all values together; of a missing one nothing follows.
    fn computed(
        self,
        file: &File,
        table: &DeriveTable,
        above: &Map<String, Json>,
        how: How,
    ) -> Json {
        let numbers = table.from.iter().map(|from| {
            let value = self.source(file, table, above, from.get_ref());
            value.as_ref().and_then(Json::as_f64)
        });
        let Some(numbers) = numbers.collect::<Option<Vec<f64>>>() else {
            return Json::Null;
        };
        let all = || numbers.iter().copied();
        let value = match (how, numbers.as_slice()) {
            (How::Difference, [first, others @ ..]) => first - others.iter().sum::<f64>(),
            (How::Ratio, [first, second]) => first / second,
            (How::Min, _) => all().fold(f64::INFINITY, f64::min),
            (How::Max, _) => all().fold(f64::NEG_INFINITY, f64::max),
            (How::Sum, _) => all().sum(),
            (How::ShareInBand | How::LongestGap, [value]) => *value,
            _ => return Json::Null,
        };
        // By 0 nothing is divided.
        if value.is_finite() {
            as_written(value)
        } else {
            Json::Null
        }
    }

    /// `above`: what was derived before.
    fn source(
        self,
        file: &File,
        table: &DeriveTable,
        above: &Map<String, Json>,
        from: &str,
    ) -> Option<Json> {
        if let Some((metric, stat)) = metric_of(from) {
            let Found::Value(number) = look(self.summary?, metric, stat) else {
                return None;
            };
            return Some(as_written(number));
        }
        if let Some(path) = from.strip_prefix("chaos.") {
            return self.over_time.faults().value(path).map(as_written);
        }
        match self.over_time.derived(file, table, from) {
            // Of what may be more or less nothing follows.
            Some(recorded::Found::Value(found)) if found.least.is_none() => {
                return Some(as_written(found.value));
            }
            Some(_) => return None,
            None => {}
        }
        match from.split_once('.')? {
            ("summary", path) => path
                .split('.')
                .try_fold(self.summary?, |place, key| place.get(key))
                .filter(|found| !found.is_null())
                .cloned(),
            ("machine", name) => {
                let found = self.machine.get(name);
                found.filter(|found| !found.is_null()).cloned()
            }
            ("derived", id) => above.get(id).filter(|found| !found.is_null()).cloned(),
            ("record", id) => {
                let found = self.records.get(id);
                found.filter(|found| !found.is_null()).cloned()
            }
            ("env", name) => self.vars.get(name).map(|value| match value {
                Value::Int(number) => Json::from(*number),
                Value::Float(number) => Json::from(*number),
                Value::Text(_) | Value::List(_) => Json::from(self.vars.shown(name)),
            }),
            _ => None,
        }
    }
}

/// Metric and statistic of `summary.metrics.NAME.values.STAT`; both may hold dots.
pub(crate) fn metric_of(from: &str) -> Option<(&str, &str)> {
    from.strip_prefix("summary.metrics.")?
        .split_once(".values.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::Suite;
    use crate::suite::tests::suite;
    use crate::suite::vars::Origin;

    fn derived(suite: &Suite, summary: Option<&Json>, vars: &Vars) -> Map<String, Json> {
        let sources = Sources {
            summary,
            vars,
            machine: &Json::Null,
            over_time: &OverTime::default(),
            records: &Json::Null,
        };
        derive(&suite.file, sources)
    }

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
        let text = serde_json::to_string(&derived(&suite, Some(&summary), &vars)).expect("json");
        assert_eq!(
            text,
            r#"{"expectedVUs":50,"testRunDurationMs":18495.147025,"drainMs":null,"sseFailures":0}"#
        );
        let made = serde_json::json!({ "metrics": {
            "open_to_promote_ms": { "type": "trend", "values": { "max": 0, "count": 0 } },
            "sse_failures": { "type": "rate", "values": { "rate": 0, "passes": 0, "fails": 0 } },
        } });
        let silent = derived(&suite, Some(&made), &vars);
        assert_eq!(silent["drainMs"], Json::Null, "a threshold made it");
        assert_eq!(
            silent["sseFailures"],
            Json::Null,
            "it is there, without a sample"
        );
        let without = derived(&suite, None, &vars);
        assert_eq!(without["sseFailures"], Json::Null);
    }

    #[test]
    fn a_value_may_follow_from_those_above_it() {
        let table = |id: &str, from: &str, how: &str| {
            format!("[[derive]]\nid = \"{id}\"\nfrom = {from}\nhow = \"{how}\"\n")
        };
        let head = "[env.N]\ntype = \"int\"\n[[scenario]]\nid = \"smoke\"\nscript = \"s.js\"\nlimit = \"30s\"\n";
        let sum = table("sum", "[\"env.N\", \"env.N\"]", "sum");
        let share = table("share", "[\"env.N\", \"derived.sum\"]", "ratio");
        let mut vars = Vars::default();
        vars.supply("N", Value::Int(3), Origin::CommandLine);
        let found = suite(&format!("{head}{sum}{share}")).expect("suite");
        assert_eq!(derived(&found, None, &vars)["share"], 0.5);
        let turned = suite(&format!("{head}{share}{sum}")).expect_err("it stands below");
        let text = turned.to_string();
        assert!(text.contains("no derived value above"), "{text}");
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
            derived(&suite, Some(&summary), &vars)["unpaid"].clone()
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
