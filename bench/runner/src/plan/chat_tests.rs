//! What the chat suite makes of its variables.

use std::path::Path;

use serde_json::{Value as Json, json};

use super::target::own_of_suite;
use super::{Plan, Selection};
use crate::suite::Suite;
use crate::suite::given::Given;

fn suite() -> Suite {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../suites/chat.toml");
    Suite::load(&path.display().to_string()).expect("the chat suite")
}

fn selection(scenario: &str, environment: &[(&str, &str)]) -> Selection {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Selection {
        scenarios: vec![scenario.to_owned()],
        given: Given {
            environment: environment.iter().map(own).collect(),
            ..Given::default()
        },
        ..Selection::default()
    }
}

/// What `meta.json` will say of a run of this scenario.
fn of_record(scenario: &str, environment: &[(&str, &str)], quick: bool) -> Json {
    let suite = suite();
    let selection = Selection {
        quick,
        ..selection(scenario, environment)
    };
    let plan = Plan::new(&suite, &selection).expect("a plan");
    let run = plan.runs.last().expect("a run");
    let mut tables = suite.file.meta.iter();
    let table = tables.find(|table| table.id.get_ref() == "ofRecord");
    let value = table.and_then(|table| table.value.as_ref());
    let value = value.expect("an expression").get_ref();
    run.vars.try_evaluate(value).expect("a value")
}

#[test]
fn a_run_of_record_is_the_test_itself_as_it_is_declared() {
    let test = "websocket-streaming";
    for environment in [
        &[][..],
        &[("DURATION", "300s")],
        &[("DURATION", "10m"), ("VUS", "1500")],
        &[("ERROR_RATE_THRESHOLD", "0.005"), ("DEBUG_MODE", "false")],
        &[("K6_LOG_LEVEL", "info"), ("DIALECT", "stream_event")],
    ] {
        let found = of_record(test, environment, false);
        assert_eq!(found, json!(true), "{environment:?}");
    }
    for lesser in [
        ("VUS", "999"),
        ("DURATION", "299s"),
        ("DEBUG_MODE", "true"),
        ("K6_LOG_LEVEL", "debug"),
        ("ERROR_RATE_THRESHOLD", "0.5"),
        ("HZ_AVERAGE_THRESHOLD", "90"),
        ("HZ_BAND_THRESHOLD", "0.9"),
        ("HZ_MIN_THRESHOLD", "10"),
        ("HZ_DIFFERENCE_THRESHOLD", "5"),
        ("WS_CONNECTION_TIME_P95", "6000"),
        ("MESSAGE_RESPONSE_TIME_P90", "20000"),
        ("MACHINE_BUSY_MAX", "0"),
        ("HZ", "on"),
        ("PAUSE_MS", "0"),
        ("TARGET_ARGS", "--fault loop-hz=90"),
    ] {
        let found = of_record(test, &[lesser], false);
        assert_eq!(found, json!(false), "{lesser:?}");
    }
    for other in ["health", "quiet", "together", "comprehensive", "load-test"] {
        let usual = [("VUS", "1000"), ("DURATION", "5m")];
        assert_eq!(of_record(other, &usual, false), json!(false), "{other}");
    }
    assert_eq!(of_record(test, &[], true), json!(false));
}

/// The scripts know more settings than a run can follow; what it cannot is refused, as it would be ignored without a word.
#[test]
fn settings_that_only_the_scripts_have_are_refused() {
    let suite = suite();
    let plan = |environment: &[(&str, &str)]| {
        let plan = Plan::new(&suite, &selection("websocket-streaming", environment));
        plan.map(|plan| plan.runs.len())
            .map_err(|error| format!("{error:#}"))
    };
    for (given, expected) in [
        (
            ("HZ_METRIC", "worker_hz"),
            "HZ_METRIC=worker_hz is of the scripts alone",
        ),
        (
            ("METRICS_URL", "http://localhost:4000/own"),
            "METRICS_URL=http://localhost:4000/own is of the scripts alone",
        ),
    ] {
        let refused = plan(&[given]).expect_err("a refusal");
        assert!(refused.contains(expected), "{refused}");
    }
    let usual = [
        ("HZ_METRIC", "backend_loop_hz"),
        ("TEST_PASSWORD", "another one"),
    ];
    assert_eq!(plan(&usual), Ok(2));
}

#[test]
fn a_run_of_the_suites_own_service_says_so() {
    let suite = suite();
    let said = |environment: &[(&str, &str)]| {
        let plan = Plan::new(&suite, &selection("websocket-streaming", environment));
        let runs = plan.expect("a plan").runs;
        let targets = runs.iter().map(|run| (run.target, run.variant.as_deref()));
        own_of_suite(&suite, targets)
    };
    let own = "target   without BASE_URL the suite's own target is tested: chat";
    assert_eq!(said(&[]).as_deref(), Some(own));
    assert_eq!(said(&[("BASE_URL", "http://localhost:4000")]), None);
}

#[test]
fn each_load_has_its_own_number_of_users_unless_somebody_says_another() {
    let suite = suite();
    let course = |scenario: &str, environment: &[(&str, &str)]| {
        let plan = Plan::new(&suite, &selection(scenario, environment)).expect("a plan");
        let run = plan.runs.last().expect("a run");
        assert_eq!(run.scenario.id.get_ref(), scenario);
        let load = run.load.scenarios.values().next().expect("a load");
        let stages = load["stages"].as_array().expect("stages").iter();
        let stages = stages.map(|stage| (stage["target"].as_i64(), stage["duration"].clone()));
        let users = stages.clone().filter_map(|(users, _)| users).collect();
        let hold = stages.rev().nth(1).expect("the stage that counts").1;
        (users, hold)
    };
    let expect = |users: [i64; 5], hold: &str| (users.to_vec(), json!(hold));
    let minute = [("VUS", "200"), ("DURATION", "1m")];
    for (scenario, environment, expected) in [
        (
            "comprehensive",
            &[][..],
            expect([10, 20, 50, 50, 0], "300s"),
        ),
        (
            "comprehensive",
            &minute,
            expect([40, 80, 200, 200, 0], "60s"),
        ),
        ("load-test", &[], expect([100, 500, 1000, 1000, 0], "60s")),
        (
            "websocket-streaming",
            &[],
            expect([250, 500, 1000, 1000, 0], "300s"),
        ),
    ] {
        let found: (Vec<i64>, Json) = course(scenario, environment);
        assert_eq!(found, expected, "{scenario} {environment:?}");
    }
}

#[test]
fn no_load_is_sent_before_the_health_check_has_passed() {
    let suite = suite();
    let scenarios = suite.file.scenario.iter();
    let scenarios = scenarios.filter(|scenario| !scenario.preflight);
    let mut looked = 0;
    for scenario in scenarios {
        let id = scenario.id.get_ref();
        let environment = [("CUSTOM_SCRIPT", "/somewhere/own.js")];
        let plan = Plan::new(&suite, &selection(id, &environment)).expect("a plan");
        let runs = plan.runs.iter();
        let runs: Vec<_> = runs
            .map(|run| (run.scenario.id.get_ref().as_str(), run.preflight))
            .collect();
        assert_eq!(runs, [("health", true), (id.as_str(), false)]);
        looked += 1;
    }
    assert!(looked >= 6, "{looked} scenarios");
}
