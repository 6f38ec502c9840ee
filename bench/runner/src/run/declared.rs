//! Whether a harness applies the loads that the suite declares: k6 runs what the harness has in its options, and nothing else
//! would tell that this is another load than the recorded one.

use std::time::Duration;

use serde_json::{Map, Value as Json};

use crate::run::inspect::Said;
use crate::suite::load::LOAD;
use crate::values::exit;

/// Compares the declared loads with what the harness has in its options.
///
/// # Errors
/// The harness has other loads, or nobody knows which (exit code 2).
pub(super) fn check(declared: &Map<String, Json>, said: &Said) -> anyhow::Result<()> {
    let options = match said {
        _ if declared.is_empty() => return Ok(()),
        Said::Refused => return Ok(()),
        Said::Options(options) => options,
        Said::Nothing => {
            return Err(exit::set_up(
                "`k6 inspect` does not tell the options of the harness, so nobody knows whether it applies the declared \
                 loads; call `k6 inspect` with the script to see why",
            ));
        }
    };
    let none = Map::new();
    let taken = options["scenarios"].as_object().unwrap_or(&none);
    let found = differences(declared, taken);
    if found.is_empty() {
        return Ok(());
    }
    Err(exit::set_up(format!(
        "the harness does not apply the declared loads: {}; its `options.scenarios` must be what declared() of js/lib/load.js \
         returns, which reads {LOAD}",
        found.join("; ")
    )))
}

fn differences(declared: &Map<String, Json>, taken: &Map<String, Json>) -> Vec<String> {
    let mut found = Vec::new();
    for (name, load) in declared {
        match taken.get(name) {
            None => found.push(format!("it has no scenario `{name}`")),
            Some(own) => found.extend(other_values(name, load, own)),
        }
    }
    let more = taken.keys().filter(|name| !declared.contains_key(*name));
    found.extend(more.map(|name| format!("it has a scenario `{name}`, which is not declared")));
    found
}

fn other_values(name: &str, load: &Json, own: &Json) -> Vec<String> {
    let keys = load.as_object().into_iter().flatten();
    let others = keys.filter(|(key, value)| !same(value, &own[key.as_str()]));
    others
        .map(|(key, value)| {
            let own = &own[key.as_str()];
            format!("`{key}` of `{name}` is {own}, declared is {value}")
        })
        .collect()
}

/// Whether k6 has taken a value: it writes durations in another way, and adds what is not said.
fn same(declared: &Json, own: &Json) -> bool {
    match (declared, own) {
        (Json::Object(declared), own) => {
            let mut values = declared.iter();
            values.all(|(key, value)| same(value, &own[key.as_str()]))
        }
        (Json::Array(declared), Json::Array(own)) => {
            declared.len() == own.len() && declared.iter().zip(own).all(|(one, own)| same(one, own))
        }
        (Json::String(declared), Json::String(own)) => {
            let times = [declared, own].map(|text| time(text));
            declared == own || (times[0].is_some() && times[0] == times[1])
        }
        _ => declared == own,
    }
}

/// A duration as k6 shows it, as in `1m30.5s`.
fn time(text: &str) -> Option<Duration> {
    let (mut total, mut rest) = (Duration::ZERO, text);
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let behind = &rest[number..];
        let unit = behind.find(|c: char| c.is_ascii_digit());
        let unit = &behind[..unit.unwrap_or(behind.len())];
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let number: f64 = rest[..number].parse().ok()?;
        total += Duration::try_from_secs_f64(number * seconds).ok()?;
        rest = &behind[unit.len()..];
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn checked(own: &Json) -> Result<(), String> {
        let declared = json!({
            "users": {
                "executor": "ramping-vus", "gracefulStop": "90500ms", "tags": { "by": "x" },
                "stages": [{ "duration": "60s", "target": 5 }, { "duration": "1500ms", "target": 0 }],
            },
        });
        let declared = declared.as_object().expect("scenarios");
        let said = Said::Options(json!({ "vus": null, "scenarios": own }));
        check(declared, &said).map_err(|error| error.to_string())
    }

    #[test]
    fn what_k6_writes_in_its_own_way_is_the_same() {
        let own = json!({
            "users": {
                "executor": "ramping-vus", "gracefulStop": "1m30.5s", "tags": { "by": "x", "more": "y" }, "exec": null,
                "stages": [{ "duration": "1m0s", "target": 5 }, { "duration": "1.5s", "target": 0 }],
            },
        });
        assert_eq!(checked(&own), Ok(()));
    }

    #[test]
    fn each_difference_is_named() {
        let stages =
            json!([{ "duration": "1m0s", "target": 5 }, { "duration": "1.5s", "target": 0 }]);
        let with = |executor: &str, stages: &Json| json!({ "executor": executor, "gracefulStop": "90.5s", "tags": { "by": "x" }, "stages": stages });
        for (own, expected) in [
            (Json::Null, "it has no scenario `users`"),
            (
                json!({ "own": {} }),
                "it has no scenario `users`; it has a scenario `own`, which is not declared",
            ),
            (
                json!({ "users": with("ramping-vus", &stages), "own": {} }),
                "it has a scenario `own`, which is not declared",
            ),
            (
                json!({ "users": with("constant-vus", &stages) }),
                "`executor` of `users` is \"constant-vus\", declared is \"ramping-vus\"",
            ),
            (
                json!({ "users": with("ramping-vus", &json!([{ "duration": "1m0s", "target": 5 }])) }),
                "`stages` of `users` is [",
            ),
            (
                json!({ "users": with("ramping-vus", &json!([{ "duration": "1m0s", "target": 4 }, { "duration": "1.5s", "target": 0 }])) }),
                "`stages` of `users` is [",
            ),
        ] {
            let why = checked(&own).expect_err(expected);
            assert!(
                why.contains(&format!("declared loads: {expected}")),
                "{why}"
            );
        }
    }

    #[test]
    fn who_says_nothing_is_not_believed_and_who_refuses_will_do_so_again() {
        let declared = json!({ "users": { "executor": "constant-vus" } });
        let declared = declared.as_object().expect("scenarios");
        assert!(check(declared, &Said::Nothing).is_err());
        assert!(check(declared, &Said::Refused).is_ok());
        assert!(check(&Map::new(), &Said::Nothing).is_ok());
    }
}
