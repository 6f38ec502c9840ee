//! What the suite of the waiting room makes of its variables.

use std::path::Path;
use std::time::Duration;

use super::{Plan, PlannedRun, Selection};
use crate::suite::Suite;
use crate::suite::given::Given;
use crate::values::exit;

fn suite() -> Suite {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../suites/waiting-room.toml");
    Suite::load(&path.display().to_string()).expect("the suite of the waiting room")
}

fn selection(scenario: &str, set: &[(&str, &str)]) -> Selection {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Selection {
        scenarios: vec![scenario.to_owned()],
        variants: vec!["zset".to_owned()],
        given: Given {
            set: set.iter().map(own).collect(),
            ..Given::default()
        },
        ..Selection::default()
    }
}

/// Looks at the first run of a scenario.
fn first<T>(scenario: &str, set: &[(&str, &str)], look: impl Fn(&PlannedRun<'_>) -> T) -> T {
    let suite = suite();
    let plan = Plan::new(&suite, &selection(scenario, set)).expect("a plan");
    look(&plan.runs[0])
}

fn figures<const N: usize>(scenario: &str, set: &[(&str, &str)], names: [&str; N]) -> [String; N] {
    first(scenario, set, |run| {
        names.map(|name| {
            let known = run.vars.known().text(name).or_else(|| run.vars.text(name));
            known.unwrap_or_else(|| panic!("{name} has a value"))
        })
    })
}

fn refused(scenario: &str, set: &[(&str, &str)]) -> String {
    let suite = suite();
    let error = Plan::new(&suite, &selection(scenario, set)).expect_err("refused");
    assert_eq!(exit::code_of(&error), exit::SET_UP);
    error.to_string()
}

#[test]
fn figures_of_the_presets() {
    for (scenario, set, expected) in [
        (
            "baseline",
            &[][..],
            (["2000", "19000", "322000", "baseline"], None),
        ),
        (
            "target",
            &[],
            (["10000", "99000", "702000", "target"], Some("1")),
        ),
        (
            "stress",
            &[("HOLD_MS", "60000"), ("SEATS", "1000")],
            (["30000", "299000", "362000", "stress"], Some("1")),
        ),
        ("smoke", &[], (["50", "0", "60000", "smoke"], None)),
    ] {
        let names = ["VUS", "skew_ms", "main_limit_ms", "load"];
        let (expected, lean) = expected;
        assert_eq!(figures(scenario, set, names), expected, "{scenario}");
        let found = first(scenario, set, |run| run.vars.text("LEAN"));
        assert_eq!(found.as_deref(), lean, "LEAN of {scenario}");
    }
    let [users, hold] = figures("matrix", &[], ["VUS", "HOLD_MS"]);
    assert_eq!([users, hold], ["2000", "300000"]);
}

#[test]
fn an_axis_of_presets_gives_each_run_what_its_preset_has() {
    let suite = suite();
    let plan = Plan::new(&suite, &selection("matrix", &[])).expect("a plan");
    let mut large = 0;
    for run in &plan.runs {
        let found = ["SCENARIO", "VUS", "LEAN"].map(|name| run.vars.text(name));
        let found = found.each_ref().map(Option::as_deref);
        let is_large = found[0] == Some("target");
        large += usize::from(is_large);
        let expected = if is_large {
            [Some("target"), Some("10000"), Some("1")]
        } else {
            [Some("baseline"), Some("2000"), None]
        };
        assert_eq!(found, expected);
    }
    assert_eq!((large, plan.runs.len()), (4, 8));
}

#[test]
fn comparisons_are_lifelike_and_what_tries_a_machine_is_fast() {
    let users = &[("VUS", "10")];
    for (scenario, set, expected) in [
        ("smoke", &[][..], "fast"),
        ("target", &[], "fast"),
        ("stress", &[], "fast"),
        ("baseline", &[], "real"),
        ("matrix", &[], "real"),
        ("custom", users, "real"),
    ] {
        let [like] = figures(scenario, set, ["LIKE"]);
        assert_eq!(like, expected, "{scenario}");
    }
    let suite = suite();
    let matrix = |selection: &Selection| {
        let matrix = Plan::new(&suite, selection).expect("a plan");
        assert_eq!(matrix.runs.len(), 8);
        let text = |run: &PlannedRun<'_>, name: &str| run.vars.text(name).expect("a value");
        let likes = matrix.runs.iter();
        likes
            .map(|run| (text(run, "SCENARIO"), text(run, "LIKE")))
            .collect::<Vec<_>>()
    };
    for (scenario, like) in matrix(&selection("matrix", &[])) {
        let expected = if scenario == "target" { "fast" } else { "real" };
        assert_eq!(like, expected, "{scenario}");
    }
    // Whoever says which, by whatever way, is heard.
    let mut exported = selection("matrix", &[]);
    exported
        .given
        .environment
        .insert("LIKE".to_owned(), "real".to_owned());
    for (scenario, like) in matrix(&exported) {
        assert_eq!(like, "real", "{scenario}");
    }
    let [chosen] = figures("smoke", &[("LIKE", "real")], ["LIKE"]);
    assert_eq!(chosen, "real");
    // A room that a person started is what it is.
    let own = [("BASE_URL", "http://localhost:1"), ("EVENT_IDS", "a")];
    for scenario in ["smoke", "target"] {
        let mut selection = selection(scenario, &own);
        selection.variants.clear();
        let plan = Plan::new(&suite, &selection).expect("a plan");
        assert_eq!(plan.runs[0].vars.text("LIKE").as_deref(), Some("real"));
    }
}

#[test]
fn times_and_flags_are_written_as_the_harness_takes_them() {
    let set = [
        ("HOLD_MS", "60000ms"),
        ("VERBOSE_LOGS", "true"),
        ("LEAN", "false"),
        ("SLOT_BOOST", "true"),
    ];
    let names = ["HOLD_MS", "VERBOSE_LOGS", "LEAN", "slot_mode"];
    let expected = ["60000", "1", "0", "slot-boosted"];
    assert_eq!(figures("smoke", &set, names), expected);
}

#[test]
fn the_reference_speaks_as_the_system_of_the_harness() {
    for (system, expected) in [
        (&[][..], "sse"),
        (&[("SYSTEM", "sse")], "sse"),
        (&[("SYSTEM", "polling")], "polling"),
        (&[("SYSTEM", "own.js")], "sse"),
    ] {
        assert_eq!(figures("smoke", system, ["transport"]), [expected]);
    }
}

#[test]
fn stream_limits_hold_target_with_one_event() {
    let names = ["drain_ms", "SSE_P95_THRESHOLD", "SSE_TIMEOUT_MS", "slots"];
    let one = &[("EVENT_COUNT", "1")];
    assert_eq!(
        figures("target", one, names),
        ["200000", "429000", "559000", "50"]
    );
    assert_eq!(
        figures("smoke", &[], names),
        ["1000", "60000", "120000", "50"]
    );
    let boosted = &[("EVENT_COUNT", "1"), ("SLOT_BOOST", "1")];
    let names = ["drain_ms", "slots", "slot_mode"];
    assert_eq!(
        figures("target", boosted, names),
        ["1000", "10000", "slot-boosted"]
    );
}

#[test]
fn impossible_plans_are_refused_with_the_limit_to_raise() {
    for (scenario, set, expected) in [
        (
            "stress",
            &[("BARRIER_TIMEOUT_MS", "300000")][..],
            ["BARRIER_TIMEOUT_MS=300000", "302000 ms"],
        ),
        (
            "custom",
            &[
                ("VUS", "2000"),
                ("HOLD_MS", "0"),
                ("EVENT_COUNT", "1"),
                ("SEATS", "8"),
            ],
            [
                "HOLD_MS=0",
                "250000 ms with VUS=2000, 1 events and 8 slots per event",
            ],
        ),
        (
            "target",
            &[("EVENT_COUNT", "1"), ("SSE_TIMEOUT_MS", "120000")],
            ["SSE_TIMEOUT_MS=120000", "299000 ms"],
        ),
        ("smoke", &[("VUS", "0")], ["VUS=0", "1 or more"]),
        ("smoke", &[("SEATS", "0")], ["SEATS=0", "1 or more"]),
        (
            "smoke",
            &[("SLOT_BOOST", "1"), ("SLOT_BOOST_VALUE", "0")],
            ["SLOT_BOOST_VALUE=0", "1 or more"],
        ),
        (
            "smoke",
            &[("STALL_MS", "500")],
            ["STALL_MS=500 is not allowed", "3000 or more"],
        ),
        (
            "smoke",
            &[
                ("EVENT_IDS", "a,b"),
                ("EVENT_COUNT", "1"),
                ("HOT_EVENT_ID", "b"),
            ],
            ["HOT_EVENT_ID=b is none of the events", "allowed: one of a"],
        ),
        ("custom", &[], ["VUS is missing", "--set VUS=…"]),
        (
            "smoke",
            &[("BASE_URL", "http://localhost:1")],
            ["EVENT_IDS is missing", "a comma-separated list"],
        ),
        (
            "smoke",
            &[("BROKER_BASE_URL", "http://u:topsecret@localhost:1")],
            [
                "BROKER_BASE_URL=http://u:***@localhost:1/ is given without BASE_URL",
                "give both",
            ],
        ),
    ] {
        let text = refused(scenario, set);
        for part in expected {
            assert!(text.contains(part), "{scenario} {set:?}: {part}: {text}");
        }
    }
}

#[test]
fn a_hot_event_lengthens_the_drain() {
    for (ratio, expected) in [
        ("0.5", "10000"),
        ("30", "6000"),
        ("1", "20000"),
        ("0", "4000"),
    ] {
        let set = [
            ("VUS", "1000"),
            ("EVENT_IDS", "a,b,c,d,e"),
            ("HOT_EVENT_ID", "e"),
            ("HOT_RATIO", ratio),
        ];
        assert_eq!(figures("smoke", &set, ["drain_ms"]), [expected], "{ratio}");
    }
}

#[test]
fn the_wall_clock_bound_exceeds_what_the_harness_allows() {
    let admin = Duration::from_millis(10 * 10_000 + 5 * 10_500 + 60_000);
    let bound = first("target", &[], |run| run.bound);
    assert_eq!(bound, Duration::from_secs(702 + 30 + 60) + 2 * admin);
}

#[test]
fn one_event_is_the_first_and_several_are_the_last() {
    for (count, expected) in [("1", "a"), ("4", "b,c,d,e"), ("5", "a,b,c,d,e")] {
        let set = [("EVENT_IDS", "a,b,c,d,e"), ("EVENT_COUNT", count)];
        let [events, number] = figures("smoke", &set, ["EVENT_IDS", "events"]);
        assert_eq!((events.as_str(), number.as_str()), (expected, count));
    }
    for count in ["0", "6", "-1"] {
        let text = refused("smoke", &[("EVENT_COUNT", count)]);
        assert!(
            text.starts_with(&format!("EVENT_COUNT={count} is not possible")),
            "{text}"
        );
    }
}
