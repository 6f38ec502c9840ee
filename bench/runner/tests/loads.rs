//! Loads that a suite declares: what of them reaches k6, what is refused, and what quick mode makes of them.

mod common;

use common::own::{EXTERNAL, LINES, Own};
use common::{finish, json, text};
use serde_json::{Value as Json, json};

/// It tells which scenarios k6 has, and how many iterations each had.
const HARNESS: &str = r#"
import exec from 'k6/execution';
import { sleep } from 'k6';
import { Counter } from 'k6/metrics';
import { declared } from 'LIB/load.js';

const scenarios = declared({ by_itself: { executor: 'shared-iterations', vus: 1, iterations: 1 } });
export const options = { scenarios };
const counters = {};
for (const name of Object.keys(scenarios)) {
  counters[name] = new Counter(`of_${name.replaceAll('-', '_')}`);
}

export function setup() {
  return { scenarios: exec.test.options.scenarios, load: __ENV.LOAD ?? null };
}

export default function () {
  counters[exec.scenario.name].add(1);
  sleep(0.1);
}

export function other() {
  counters[exec.scenario.name].add(1, { by: exec.vu.metrics.tags.by });
  sleep(0.1);
}

export function handleSummary(data) {
  return { 'summary.json': JSON.stringify(data) };
}
"#;

fn own(scenarios: &str) -> Own {
    Own::new(&format!("{EXTERNAL}{scenarios}"), HARNESS)
}

/// Runs the scenario `main`, which passes, and returns its summary.
fn summary(own: &Own, more: &[&str]) -> Json {
    let (code, printed) = own.at_listener("run", more);
    assert_eq!(code, 0, "{printed}");
    json(&own.place.run_folder("main").join("summary.json"))
}

const EACH: &str = r#"
[env.USERS]
type = "int"
default = 2
[env.DURATION]
type = "duration"
default = "1s"
[computed]
twice = "USERS * 2"

[[scenario]]
id = "main"
script = "run.js"
load = [
  { name = "steady", executor = "constant-vus", vus = "${USERS}", duration = "${DURATION}", graceful_stop = "2s" },
  { name = "waves", executor = "ramping-vus", start = 1, stages = [["500ms", "{twice}"], ["500ms", 0]], graceful_ramp_down = "1s" },
  { name = "calls", executor = "constant-arrival-rate", rate = 10, time_unit = "2s", pre_vus = 3, max_vus = "${USERS}3", duration = "1s" },
  { name = "more-calls", executor = "ramping-arrival-rate", start = 5, time_unit = "1s", stages = [["1s", 10]], pre_vus = 5 },
  { name = "each", executor = "per-vu-iterations", vus = 2, iterations = 3, duration = "10s", start_time = "100ms" },
  { name = "shared", executor = "shared-iterations", vus = 2, iterations = 5, exec = "other", tags = { by = "${USERS} users" } },
]
"#;

#[test]
fn a_load_of_each_executor_reaches_k6_as_its_own_scenarios() {
    let own = own(EACH);
    let summary = summary(&own, &[]);
    let expected = json!({
        "steady": { "executor": "constant-vus", "vus": 2, "duration": "1s", "gracefulStop": "2s" },
        "waves": {
            "executor": "ramping-vus", "startVUs": 1, "gracefulRampDown": "1s",
            "stages": [{ "duration": "500ms", "target": 4 }, { "duration": "500ms", "target": 0 }],
        },
        "calls": {
            "executor": "constant-arrival-rate", "rate": 10, "timeUnit": "2s", "preAllocatedVUs": 3, "maxVUs": 23, "duration": "1s",
        },
        "more-calls": {
            "executor": "ramping-arrival-rate", "startRate": 5, "timeUnit": "1s", "preAllocatedVUs": 5,
            "stages": [{ "duration": "1s", "target": 10 }],
        },
        "each": { "executor": "per-vu-iterations", "vus": 2, "iterations": 3, "maxDuration": "10s", "startTime": "100ms" },
        "shared": {
            "executor": "shared-iterations", "vus": 2, "iterations": 5, "exec": "other", "tags": { "by": "2 users" },
        },
    });
    let handed: Json =
        serde_json::from_str(summary["setup_data"]["load"].as_str().expect("LOAD")).expect("JSON");
    assert_eq!(handed, expected);
    let meta = json(&own.place.run_folder("main").join("meta.json"));
    assert_eq!(meta["load"], expected);
    // k6 adds its defaults to what it was given, and loses nothing of it.
    let taken = &summary["setup_data"]["scenarios"];
    for (name, options) in expected.as_object().expect("scenarios") {
        for (key, value) in options.as_object().expect("options") {
            assert_eq!(&taken[name][key], value, "{name} {key}: {taken:#}");
        }
        let metric = format!("of_{}", name.replace('-', "_"));
        let count = &summary["metrics"][&metric]["values"]["count"];
        assert!(count.as_u64() > Some(0), "{name} had iterations: {count}");
    }
    let count = |metric: &str| summary["metrics"][metric]["values"]["count"].clone();
    assert_eq!((count("of_each"), count("of_shared")), (6.into(), 5.into()));
}

const WINDOW: &str = r#"
[env.USERS]
type = "int"
default = 2
[env.MINUTES]
type = "int"
default = 5

[[scenario]]
id = "main"
script = "run.js"
warmup = "30s"
window = "${MINUTES}m"
cooldown = "20s"
load = [
  { name = "steady", executor = "constant-vus", vus = "${USERS}" },
  { name = "poll", executor = "constant-arrival-rate", rate = 1, pre_vus = 1, start_time = "10s" },
]
"#;

/// The plan of a suite, line by line, without what comes before a line's first word.
fn dry_run(own: &Own, more: &[&str]) -> Vec<String> {
    let (code, printed) = own.at_listener("run", &[&["--dry-run"], more].concat());
    assert_eq!(code, 0, "{printed}");
    printed.lines().map(|line| line.trim().to_owned()).collect()
}

fn has(lines: &[String], expected: &[&str]) {
    for line in expected {
        assert!(lines.iter().any(|own| own == line), "{line}: {lines:#?}");
    }
}

#[test]
fn a_window_says_how_long_loads_last_and_how_long_k6_may_take() {
    let lines = dry_run(&own(WINDOW), &[]);
    has(
        &lines,
        &[
            "own: 1 runs, about 6 min",
            "load      steady: constant-vus duration=330s vus=2",
            "load      poll: constant-arrival-rate startTime=10s duration=330s rate=1 preAllocatedVUs=1",
            "measured  300s after 30s of warm-up",
            // The later load ends 340 s after the beginning, may take 30 s more, and k6 three minutes beside it.
            "bound     9 min",
        ],
    );
}

#[test]
fn loads_of_counted_iterations_without_a_window_stay_those_of_the_harness() {
    let counted = "[[scenario]]\nid = \"main\"\nscript = \"run.js\"\nlimit = \"60s\"\n\
        load = [{ name = \"users\", executor = \"per-vu-iterations\", vus = 3, iterations = 1 }]\n";
    let own = own(counted);
    let (code, printed) = finish(
        own.call("run", &[])
            .env("BASE_URL", own.address())
            // Nothing of the caller's environment reaches k6.
            .env("K6_VUS", "7"),
    );
    assert_eq!(code, 0, "{printed}");
    let folder = own.place.run_folder("main");
    let summary = json(&folder.join("summary.json"));
    assert_eq!(summary["setup_data"]["load"], Json::Null);
    assert_eq!(summary["metrics"]["of_by_itself"]["values"]["count"], 1);
    assert!(!text(&folder.join("stdout.txt")).contains("LOAD="));
}

#[test]
fn options_of_k6_that_would_replace_declared_loads_are_refused() {
    let own = own(WINDOW);
    for name in ["K6_DURATION", "K6_VUS", "K6_ITERATIONS", "K6_STAGES"] {
        for verb in ["run", "doctor"] {
            let mut command = own.call(verb, &[]);
            let (code, printed) = finish(command.env("BASE_URL", own.address()).env(name, "10"));
            let expected = format!("{name} would replace the declared loads of scenario main");
            assert!(code == 2 && printed.contains(&expected), "{printed}");
        }
        let file = own.folder.join("own.env");
        own.write("own.env", &format!("{name}=10\n"));
        let (code, printed) = own.at_listener("run", &["--env-file", &file.display().to_string()]);
        assert!(code == 2 && printed.contains(name), "{printed}");
    }
    assert!(!own.place.evidence().exists(), "nothing was run");

    let args = "[env.ARGS]\ntype = \"string\"\n[[scenario]]\nid = \"main\"\nargs = \"${ARGS}\"\n";
    let own = self::own(&WINDOW.replace("[[scenario]]\nid = \"main\"\n", args));
    for (option, word) in [
        ("--vus=10", "--vus=10"),
        ("-d 5s", "-d"),
        ("--tag a=b --iterations 3", "--iterations"),
        ("--stage 5s:10", "--stage"),
        ("-qu3", "-qu3"),
        ("--env LOAD={}", "LOAD={}"),
    ] {
        let (code, printed) = own.at_listener("run", &["--set", &format!("ARGS={option}")]);
        let expected = format!("`{word}` would replace the declared loads");
        assert!(
            code == 2 && printed.contains(&expected),
            "{expected}: {printed}"
        );
    }
    let lines = dry_run(&own, &["--set", "ARGS=--tag a=b"]);
    has(&lines, &["bound     9 min"]);
}

#[test]
fn arguments_of_k6_reach_no_host_that_is_not_allowed() {
    let main = "[[scenario]]\nid = \"main\"\n";
    for host in ["there.example:80", "http://there.example"] {
        let args = format!("{main}args = \"--out x={host}\"\n");
        let own = own(&WINDOW.replace(main, &args));
        let (code, printed) = own.at_listener("run", &[]);
        let expected = "scenario main: the host there.example is not allowed";
        assert!(code == 2 && printed.contains(expected), "{printed}");
    }
}

#[test]
fn a_script_and_its_arguments_may_be_the_callers() {
    let custom = "[env.SCRIPT]\ntype = \"path\"\n[env.ARGS]\ntype = \"string\"\n\
        [[scenario]]\nid = \"main\"\nscript = \"${SCRIPT}\"\nargs = \"${ARGS}\"\nlimit = \"60s\"\n";
    let own = Own::new(&format!("{EXTERNAL}{custom}"), "");
    own.write("callers.js", "export default function () {}\nexport function handleSummary(data) {\n  return { 'summary.json': JSON.stringify(data) };\n}\n");
    let script = own.folder.join("callers.js");
    let script = format!("SCRIPT={}", script.display());
    let found = summary(
        &own,
        &["--set", &script, "--set", "ARGS=--iterations 3 --vus=2"],
    );
    assert_eq!(found["metrics"]["iterations"]["values"]["count"], 3);
    let stdout = text(&own.place.run_folder("main").join("stdout.txt"));
    assert!(stdout.contains(" run --iterations 3 --vus=2 "), "{stdout}");
    let (code, printed) = own.at_listener("run", &[]);
    assert!(
        code == 2 && printed.contains("SCRIPT is missing"),
        "{printed}"
    );
}

/// The lines of a load's scenario, and where the mistake is told: in the line of a text of the suite.
fn refused(load: &str, more: &str, at: &str, expected: &str) {
    let scenario = format!(
        "[env.NAME]\ntype = \"string\"\n[env.USERS]\ntype = \"int\"\n\
         [[scenario]]\nid = \"main\"\nscript = \"run.js\"\n{more}load = [\n  {{ name = \"a\", {load} }},\n]\n"
    );
    let own = own(&scenario);
    let suite = format!("{EXTERNAL}{scenario}");
    let place = suite.find(at).expect("the text");
    let line = LINES + suite[..place].matches('\n').count() + 1;
    let (code, printed) = finish(&mut own.call("validate", &[]));
    let expected = format!("suite.toml:{line}: {expected}");
    assert!(
        code == 2 && printed.contains(&expected),
        "{expected}\n{printed}"
    );
}

#[test]
fn loads_that_k6_would_not_take_are_located() {
    for (load, at, expected) in [
        (
            "executor = \"constant-vus\", vus = 1, duration = \"5s\", rate = 3",
            "{ name",
            "constant-vus takes no `rate`; allowed: vus, duration, graceful_stop, start_time, exec, tags",
        ),
        (
            "executor = \"constant-arrival-rate\", rate = 3, duration = \"5s\"",
            "{ name",
            "constant-arrival-rate needs `pre_vus`; it needs rate, pre_vus, and takes time_unit, max_vus, duration",
        ),
        (
            "executor = \"ramping-vus\", stages = []",
            "{ name",
            "`stages` is empty",
        ),
        (
            "executor = \"ramping-vus\", stages = [\n[\"5s\", 3],\n[\"soon\", 3]]",
            "[\"soon\"",
            "`stages`: not a duration: `soon`",
        ),
        (
            "executor = \"ramping-vus\", stages = [\n[\"5s\", 3],\n[\"5s\", \"many\"]]",
            "\"many\"",
            "`stages`: received `many`; allowed: a whole number from 0 on",
        ),
        (
            "executor = \"constant-vus\", vus = 0, duration = \"5s\"",
            "{ name",
            "`vus`: received `0`; allowed: a whole number from 1 on",
        ),
        (
            "executor = \"constant-vus\", vus = \"${NAME}\", duration = \"5s\"",
            "{ name",
            "`vus`: NAME holds no whole number",
        ),
        (
            "executor = \"constant-vus\", vus = \"${USER}\", duration = \"5s\"",
            "{ name",
            "no table [env.USER], did you mean `USERS`?",
        ),
        (
            "executor = \"constant-vus\", vus = 1",
            "{ name",
            "constant-vus needs `duration`, or `window` of the scenario",
        ),
        (
            "executor = \"constant-vus\", vus = 1, duration = \"500ms\"",
            "{ name",
            "`duration`: received `500ms`; k6 takes 1s or more",
        ),
        (
            "executor = \"constant-users\", vus = 1",
            "{ name",
            "`executor`: `constant-users` is not known here",
        ),
        (
            "executor = \"constant-vus\", vuz = 1",
            "{ name",
            "unknown key `vuz`, did you mean `vus`?",
        ),
    ] {
        refused(load, "", at, expected);
    }
    let steady = "executor = \"constant-vus\", vus = 1";
    for (more, at, expected) in [
        (
            "window = \"0s\"\n",
            "window",
            "`window` must be more than 0",
        ),
        (
            "window = \"five\"\n",
            "window",
            "`window`: not a duration: `five`",
        ),
        (
            "window = \"5s\"\n[env.LOAD]\ntype = \"string\"\n[[scenario]]\nid = \"other\"\nscript = \"run.js\"\nwindow = \"5s\"\n",
            "[env.LOAD]",
            "LOAD is the variable by which the harness of scenario",
        ),
    ] {
        refused(steady, more, at, expected);
    }
    let counted = "executor = \"per-vu-iterations\", vus = 1, iterations = 1";
    refused(
        counted,
        "",
        "id = \"main\"",
        "needs `limit`, the bound of k6",
    );
}

#[test]
fn what_only_a_run_knows_of_its_loads_is_said_before_it() {
    let short = WINDOW.replace(
        "executor = \"constant-vus\", vus = \"${USERS}\"",
        "executor = \"constant-vus\", vus = \"${USERS}\", duration = \"60s\"",
    );
    let poll = "  { name = \"poll\", executor = \"constant-arrival-rate\", rate = 1, pre_vus = 1, start_time = \"10s\" },\n";
    for (suite, set, expected) in [
        (
            WINDOW.to_owned(),
            "USERS=0",
            "scenario main: `vus` becomes `0`; allowed: a whole number from 1 on",
        ),
        (
            WINDOW.to_owned(),
            "MINUTES=0",
            "scenario main: `window` is 0; allowed: more than 0",
        ),
        (
            short.replace(poll, ""),
            "USERS=1",
            "scenario main: `load` ends after 60s, and `warmup` and `window` take 330s",
        ),
        (
            WINDOW.replace("pre_vus = 1,", "pre_vus = 5, max_vus = \"${USERS}\","),
            "USERS=2",
            "scenario main: `max_vus` is 2; allowed: `pre_vus`, 5, or more",
        ),
    ] {
        let own = own(&suite);
        let (code, printed) = own.at_listener("run", &["--set", set]);
        assert!(
            code == 2 && printed.contains(expected),
            "{expected}: {printed}"
        );
        assert!(!own.place.evidence().exists());
    }
}

const QUICK: &str = r#"
[quick]
time = 0.05
vus = 0.1
min_samples = 0.01

[env.USERS]
type = "int"
default = 200
[env.DURATION]
type = "duration"
default = "5m"

[[scenario]]
id = "main"
script = "run.js"
warmup = "2m"
window = "${DURATION}"
cooldown = "10m"
load = [
  { name = "ramp", executor = "ramping-vus", start = 0, stages = [["1m", 50], ["1m", "${USERS}"], ["${DURATION}", "${USERS}"], ["5s", 0]] },
  { name = "calls", executor = "constant-arrival-rate", rate = 100, pre_vus = 40, start_time = "40s" },
]
"#;

#[test]
fn quick_mode_scales_times_and_users_and_no_rates() {
    let own = own(QUICK);
    let lines = dry_run(&own, &["--quick", "--cycles", "2"]);
    has(
        &lines,
        &[
            "load      ramp: ramping-vus startVUs=0 stages=3s→5 3s→20 15s→20 1s→0",
            // The rate needs its users, whatever else is scaled.
            "load      calls: constant-arrival-rate startTime=2s duration=21s rate=100 preAllocatedVUs=40",
            "measured  15s after 6s of warm-up",
            "then      30 s to cool down",
        ],
    );
    let shared = lines
        .iter()
        .find(|line| line.starts_with("all runs"))
        .expect("variables");
    assert!(
        shared.contains("DURATION=15s") && shared.contains("USERS=20"),
        "{shared}"
    );
    let whole = dry_run(&own, &[]);
    has(
        &whole,
        &[
            "load      ramp: ramping-vus startVUs=0 stages=60s→50 60s→200 300s→200 5s→0",
            "measured  300s after 120s of warm-up",
        ],
    );
}

/// What follows from scaled variables may stand for what is scaled alike.
const FOLLOWING: &str = r#"
[computed]
more = "USERS + 10"
calls = "more * 2"
half = "DURATION"
[env.CALLS]
type = "int"
default = "{calls}"
"#;

#[test]
fn what_follows_from_scaled_variables_is_scaled_with_them() {
    let own = own(&format!(
        "{}{FOLLOWING}",
        QUICK.replace("start = 0, stages", "start = \"{more}\", stages")
    ));
    let lines = dry_run(&own, &["--quick"]);
    has(
        &lines,
        &["load      ramp: ramping-vus startVUs=30 stages=3s→5 3s→20 15s→20 1s→0"],
    );
}

#[test]
fn quick_mode_is_declared_once_and_without_contradictions() {
    for (from, to, expected) in [
        (
            "time = 0.05",
            "time = 1.5",
            "`time`: received 1.5; allowed: a share above 0 and up to 1",
        ),
        ("vus = 0.1", "vus = 0", "`vus`: received 0; allowed"),
        (
            "min_samples = 0.01",
            "samples = 0.01",
            "unknown key `samples`",
        ),
        (
            "rate = 100",
            "rate = \"${USERS}\"",
            "`rate`: USERS also stands for `stages`, which `--quick` scales otherwise; take two variables",
        ),
        (
            "rate = 100",
            "rate = \"{calls}\"",
            "`rate`: `{calls}` follows from USERS, which also stands for `stages`, and that `--quick` scales otherwise",
        ),
        (
            "rate = 100",
            "rate = \"${CALLS}\"",
            "`rate`: `${CALLS}` follows from USERS, which also stands for `stages`",
        ),
        (
            "start_time = \"40s\"",
            "graceful_stop = \"{half}\"",
            "`graceful_stop`: `{half}` follows from DURATION, which also stands for `window`",
        ),
    ] {
        let changed = format!("{}{FOLLOWING}", QUICK.replace(from, to));
        let own = own(&changed);
        let (code, printed) = finish(&mut own.call("validate", &[]));
        assert!(
            code == 2 && printed.contains(expected),
            "{expected}: {printed}"
        );
    }
    let own = own(QUICK);
    let suite = text(&own.folder.join("suite.toml"));
    own.write(
        "suite.toml",
        &suite.replace("needs =", "quick_scale = 0.1\nneeds ="),
    );
    let (code, printed) = finish(&mut own.call("validate", &[]));
    assert!(
        code == 2 && printed.contains("suite.toml:7: `quick_scale` and [quick] both say what"),
        "{printed}"
    );
    let without = self::own(WINDOW);
    let (code, printed) = without.at_listener("run", &["--quick", "--dry-run"]);
    assert!(
        code == 2 && printed.contains("declares neither [quick] nor `quick_scale`"),
        "{printed}"
    );
}

#[test]
fn quick_runs_are_judged_and_say_smoke_where_every_gate_holds() {
    let gated = r#"
[quick]
time = 0.05
min_samples = 0.001

[[scenario]]
id = "main"
script = "run.js"
window = "20s"
load = [{ name = "steady", executor = "constant-vus", vus = 1 }]

[[gate]]
id = "iterations"
class = "slo"
metric = "iteration_duration"
stat = "min"
op = "<"
limit = "${MOST}"
min_samples = 1000
unit = "ms"

[env.MOST]
type = "int"
default = 60000
"#;
    for (most, code, verdict) in [("60000", 0, "SMOKE"), ("1", 3, "FAIL")] {
        let own = own(gated);
        let (live, printed) =
            own.at_listener("run", &["--quick", "--set", &format!("MOST={most}")]);
        assert_eq!(live, code, "{printed}");
        let folder = own.place.run_folder("main");
        assert_eq!(json(&folder.join("verdict.json"))["verdict"], verdict);
        let meta = json(&folder.join("meta.json"));
        assert_eq!(
            (&meta["windowMs"], &meta["warmupMs"]),
            (&1000.into(), &0.into())
        );
        let stored = folder.parent().expect("a plan").display().to_string();
        let (later, printed) = finish(own.place.runner().args(["judge", &stored]));
        assert_eq!(later, code, "{printed}");
    }
}
