//! Ladders with a real k6, at a service that gives way from a known rate on.

mod common;

use common::bench::{background, signal, until};
use common::climb::{Climb, Way};
use common::own::EXTERNAL;
use common::{finish, json, text};
use rustix::process::Signal;
use serde_json::{Value as Json, json};

#[test]
fn the_limit_of_a_service_that_refuses_from_a_known_rate_on_is_that_rate() {
    let after = "[[scenario]]\nid = \"after\"\nscript = \"run.js\"\nwindow = \"1s\"\n\
        load = [{ name = \"api\", executor = \"constant-arrival-rate\", rate = 1, pre_vus = 5 }]\n[[gate]]";
    let report = "limit = 0.01\n[report]\nformats = [\"html\", \"md\", \"json\"]\nsections = [\"ladders\"]\n";
    let edits = [("[[gate]]", after), ("limit = 0.01\n", report)];
    let climb = Climb::new(8, Way::Refuses, &edits);
    let suite = text(&climb.own.folder.join("suite.toml"));
    let suite = suite.replace("order = [\"main\"]", "order = [\"main\", \"after\"]");
    climb.own.write("suite.toml", &suite);
    let (code, printed) = climb.run(&[]);
    assert_eq!(code, 3, "an objective was missed: {printed}");
    let limit = "main: limit: RPS=4 holds, RPS=8 does not (errors)";
    assert!(printed.contains(&format!("ladder   {limit}")), "{printed}");
    assert_eq!(
        climb.levels(),
        [
            "2 PASS: PASS",
            "4 PASS: PASS PASS",
            "8 FAIL: FAIL FAIL",
            "16 NOT_RUN:"
        ]
    );
    let ladder = climb.ladder();
    assert_eq!(ladder["end"], "limit");
    assert_eq!(ladder["lastPassing"], json!({ "RPS": "4" }));
    assert_eq!(ladder["firstFailing"], json!({ "RPS": "8" }));
    assert_eq!(ladder["failedGates"], json!(["errors"]));
    assert_eq!(ladder["text"], limit);
    let failing = &ladder["levels"][2]["runs"][0]["gates"][0];
    assert_eq!(
        (&failing["value"], &failing["limit"]),
        (&json!(1.0), &json!(0.01))
    );
    assert_eq!(
        climb.folders(),
        [
            "after/1",
            "main/2/cycle-01",
            "main/4/cycle-01",
            "main/4/cycle-02",
            "main/8/cycle-01",
            "main/8/cycle-02"
        ],
        "the next scenario ran, and nothing above the limit"
    );
    let last = "plan     7 runs: 2 FAIL, 1 NOT_RUN, 4 PASS";
    assert!(printed.contains(last), "{printed}");
    let verdict = json(&climb.plan().join("main/4/cycle-01/verdict.json"));
    let shared = "k6 and the services may run on the same processors: listener is no process that the runner starts";
    assert_eq!(verdict["warnings"], json!([shared]));
    let figures = json(&climb.plan().join("figures.json"));
    assert_eq!(figures["ladders"][0]["text"], limit);
    assert_eq!(figures["missing"], json!([]), "nothing else is missing");
    let page = text(&climb.plan().join("report.html"));
    assert!(page.contains(&format!("<h3>{limit}</h3>")), "{page}");
    assert!(
        page.contains("<tr><th>RPS=16</th><td>NOT_RUN</td>"),
        "{page}"
    );
    let rate = "Iterations per second of the whole run, main";
    for chart in [rate, "errors, main"] {
        assert!(
            page.contains(&format!("aria-label=\"{chart}\"")),
            "{chart}: {page}"
        );
    }
    let lines = text(&climb.plan().join("report.md"));
    assert!(lines.contains("| RPS=8 | FAIL | FAIL FAIL |"), "{lines}");
    // Nothing is left of it, and what is stored says the same.
    let (code, printed) = climb.at_plan("resume");
    assert!(code == 3 && printed.contains("are complete"), "{printed}");
    assert!(printed.contains(limit), "{printed}");
    let (code, printed) = climb.at_plan("judge");
    assert!(code == 3 && printed.contains(limit), "{printed}");
    assert!(!printed.contains("never begun"), "{printed}");
}

/// What comes before the window, and what one load does beside another, is no rate of this one.
#[test]
fn the_rate_that_is_drawn_is_that_of_the_measured_part() {
    let rate = |load: &str| {
        format!(
            "[[gate]]\nid = \"{load}-rate\"\nclass = \"watch\"\nmetric = \"iterations\"\n\
             tag = \"scenario:{load}\"\nstat = \"rate\"\nop = \">=\"\nlimit = 0\n"
        )
    };
    let gates = format!("[series]\n{}{}[[gate]]", rate("api"), rate("other"));
    let report = "limit = 0.01\n[report]\nformats = [\"html\"]\nsections = [\"ladders\"]\n";
    let edits = [
        ("levels = [2, 4, 8, 16]", "levels = [10, 20]"),
        (
            "window = \"1s\"",
            "ladder = { confirm = 0 }\nwarmup = \"1s\"\nwindow = \"3s\"",
        ),
        (
            "pre_vus = 20 }",
            "pre_vus = 20 }, { name = \"other\", executor = \"constant-arrival-rate\", rate = 5, pre_vus = 5 }",
        ),
        ("[[gate]]", &gates),
        ("limit = 0.01\n", report),
    ];
    let climb = Climb::new(99, Way::Refuses, &edits);
    climb
        .own
        .edit("needs = [\"k6\"]", "needs = [\"k6+hdrlog\"]");
    let script = text(&climb.own.folder.join("run.js"));
    let slow = "import { sleep } from 'k6';\nexport function setup() {\n  sleep(3);";
    let script = script.replace("export function setup() {", slow);
    climb.own.write("run.js", &script);
    let (code, printed) = climb.run(&[]);
    assert_eq!(code, 0, "{printed}");
    let ladder = climb.ladder();
    for (level, offered) in [(0, 10.0), (1, 20.0)] {
        let rates = &ladder["levels"][level]["runs"][0]["rates"];
        for (place, load, expected) in [(0, "api-rate", offered), (1, "other-rate", 5.0)] {
            assert_eq!(rates[place]["gate"], load, "{ladder:#}");
            let seen = rates[place]["perSecond"].as_f64().expect("a rate");
            assert!((seen - expected).abs() <= 0.15 * expected, "{ladder:#}");
        }
    }
    let page = text(&climb.plan().join("report.html"));
    for load in ["api", "other"] {
        let chart = format!("aria-label=\"Iterations per second, {load}-rate, main\"");
        assert!(page.contains(&chart), "{load}: {page}");
    }
}

#[test]
fn the_gap_is_halved_until_the_rate_is_known() {
    let edits = [("window =", "ladder = { refine = 3 }\nwindow =")];
    let climb = Climb::new(6, Way::Refuses, &edits);
    let (_, printed) = climb.run(&[]);
    let limit = "main: limit: RPS=5 holds, RPS=6 does not (errors)";
    assert!(printed.contains(limit), "{printed}");
    assert_eq!(
        climb.levels(),
        [
            "2 PASS: PASS",
            "4 PASS: PASS",
            "5 PASS: PASS PASS",
            "6 FAIL: FAIL FAIL",
            "8 FAIL: FAIL FAIL",
            "16 NOT_RUN:"
        ]
    );
}

const FAST: &str = r#"metric = "http_req_duration"
stat = "p(95)"
op = "<"
limit = 2500"#;

const ERRORS: &str = r#"metric = "http_req_failed"
stat = "rate"
op = "<"
limit = 0.01"#;

/// k6 may have no more users than are busy at once at a service that does not wait.
const FEW: (&str, &str) = ("pre_vus = 20", "pre_vus = 2, max_vus = 2");
const SHORT: (&str, &str) = ("levels = [2, 4, 8, 16]", "levels = [1, 8, 16]");

#[test]
fn users_that_all_wait_for_a_slow_service_are_its_failure() {
    let climb = Climb::new(8, Way::Waits, &[FEW, SHORT, (ERRORS, FAST)]);
    let (code, printed) = climb.run(&[]);
    assert_eq!(code, 3, "{printed}");
    let limit = "main: limit: RPS=1 holds, RPS=8 does not (";
    assert!(printed.contains(limit), "{printed}");
    let ladder = climb.ladder();
    let gates = ladder["failedGates"].as_array().expect("gates");
    assert!(gates.contains(&json!("errors")), "{ladder:#}");
    assert!(gates.contains(&json!("nothing-dropped")), "{ladder:#}");
}

/// Nobody is answered, so nothing is measured: that is the service's failure, as k6 had enough of everything.
#[test]
fn a_service_that_locks_up_has_failed() {
    // It is not started anew, so it stays locked up: one failure has to do.
    let edits = [
        SHORT,
        (ERRORS, FAST),
        ("window =", "ladder = { confirm = 0 }\nwindow ="),
        ("pre_vus = 20", "pre_vus = 20, graceful_stop = \"1s\""),
    ];
    let climb = Climb::new(8, Way::LocksUp, &edits);
    let suite = text(&climb.own.folder.join("suite.toml"));
    let asked = suite.replace("tcp = \"${BASE_URL}\"", "url = \"${BASE_URL}/\"");
    assert_ne!(asked, suite, "it is asked, not only connected to");
    climb.own.write("suite.toml", &asked);
    let (code, printed) = climb.run(&[]);
    assert_eq!(code, 3, "{printed}");
    let limit = "main: limit: RPS=1 holds, RPS=8 does not (";
    assert!(printed.contains(limit), "{printed}");
    let ladder = climb.ladder();
    let gates = ladder["failedGates"].as_array().expect("gates");
    assert!(gates.contains(&json!("target-healthy")), "{ladder:#}");
    assert!(gates.contains(&json!("errors")), "{ladder:#}");
    let (code, printed) = climb.at_plan("judge");
    assert!(code == 3 && printed.contains(limit), "{printed}");
}

#[test]
fn a_generator_that_gives_out_says_nothing_of_a_limit() {
    // The service is as good as it has to be, and k6 has too few users for it.
    let climb = Climb::new(8, Way::Waits, &[FEW, SHORT]);
    let (code, printed) = climb.run(&[]);
    assert_eq!(code, 3, "{printed}");
    let text = "main: at least RPS=1, limit not reached: at RPS=8 the generator gave out (nothing-dropped: iterations that k6 dropped: ";
    assert!(printed.contains(text), "{printed}");
    assert_eq!(climb.ladder()["end"], "generatorGaveOut");
    assert_eq!(
        climb.levels(),
        ["1 PASS: PASS PASS", "8 INVALID: INVALID", "16 NOT_RUN:"]
    );
    let (_, printed) = climb.at_plan("resume");
    assert!(
        printed.contains("are complete"),
        "that is an answer: {printed}"
    );
}

#[test]
fn a_service_that_holds_everything_has_a_limit_above_all_levels() {
    let climb = Climb::new(99, Way::Refuses, &[SHORT]);
    let (code, printed) = climb.run(&[]);
    assert_eq!(code, 0, "{printed}");
    let text = "main: at least RPS=16, limit not reached: there is no higher level";
    assert!(printed.contains(text), "{printed}");
    assert_eq!(climb.ladder()["end"], "limitNotReached");
    assert_eq!(climb.folders().len(), 4);
}

#[test]
fn levels_that_a_person_picks_seek_no_limit() {
    let climb = Climb::new(8, Way::Refuses, &[]);
    let (code, printed) = climb.run(&["--level", "RPS=8"]);
    assert_eq!(code, 3, "{printed}");
    assert_eq!(climb.folders(), ["main/8"]);
    assert!(!climb.plan().join("ladders.json").exists());
    assert!(!printed.contains("limit"), "{printed}");
}

#[test]
fn a_level_without_sound_evidence_is_where_resume_goes_on() {
    let climb = Climb::new(8, Way::Refuses, &[]);
    let flag = climb.own.folder.join("broken-4");
    climb.own.write("broken-4", "yes");
    let (code, printed) = climb.run(&[]);
    assert_eq!(code, 3, "{printed}");
    let text = "main: no level is known to hold, limit not known: the evidence of RPS=4 is not good enough (INVALID: k6-exit";
    assert!(printed.contains(text), "{printed}");
    assert!(printed.contains("left     3 in cycles"), "{printed}");
    let (code, printed) = climb.at_plan("judge");
    assert_eq!(code, 3, "{printed}");
    std::fs::remove_file(flag).expect("removed");
    let (code, printed) = climb.at_plan("resume");
    assert_eq!(code, 3, "{printed}");
    let limit = "main: limit: RPS=4 holds, RPS=8 does not (errors)";
    assert!(printed.contains(limit), "{printed}");
    assert_eq!(
        climb.folders(),
        [
            "main/2/cycle-01",
            "main/4/cycle-01",
            "main/4/cycle-01-attempt-2",
            "main/4/cycle-02",
            "main/8/cycle-01",
            "main/8/cycle-02"
        ],
        "no gap, and nothing twice"
    );
}

#[test]
fn quick_mode_scales_no_rate_of_a_ladder() {
    let users = [
        (
            "executor = \"constant-arrival-rate\", rate = \"${RPS}\", pre_vus = 20",
            "executor = \"constant-vus\", vus = \"${RPS}\"",
        ),
        ("limit = 0.01\n", "limit = 0.01\n[quick]\nvus = 0.5\n"),
    ];
    let climb = Climb::new(4, Way::Refuses, &users);
    let (_, printed) = climb.run(&["--quick", "--dry-run"]);
    for line in ["vus=2", "vus=4", "vus=8", "vus=16"] {
        assert!(
            printed.lines().any(|own| own.ends_with(line)),
            "{line}: {printed}"
        );
    }
    assert!(printed.contains("own: 4 runs"), "{printed}");
    assert!(printed.contains("at most 4 runs more"), "{printed}");
}

#[test]
fn an_interrupted_ladder_keeps_its_levels_and_goes_on_where_it_was() {
    let levels = ("levels = [2, 4, 8, 16]", "levels = [1, 4]");
    let climb = Climb::new(4, Way::Waits, &[levels]);
    let mut call = climb.own.call("run", &[]);
    call.env("BASE_URL", &climb.address)
        .env("FLAGS", &climb.own.folder);
    let (runner, mut lines) = background(call);
    until(&mut lines, "run 2: main / listener, RPS=4");
    signal(&runner, Signal::INT);
    let said: Vec<String> = lines.collect();
    let (code, _) = common::wait(runner);
    assert_eq!(code, 4, "{said:#?}");
    assert_eq!(climb.levels(), ["1 PASS: PASS", "4 INVALID: INTERRUPTED"]);
    let (code, printed) = climb.at_plan("resume");
    assert_eq!(code, 0, "{printed}");
    assert!(
        printed.contains("main: at least RPS=4, limit not reached"),
        "{printed}"
    );
    assert_eq!(
        climb.folders(),
        [
            "main/1/cycle-01",
            "main/4/cycle-01",
            "main/4/cycle-01-attempt-2",
            "main/4/cycle-02"
        ],
        "the level that was complete is not run again"
    );
}

#[test]
fn k6_and_what_the_runner_starts_have_processors_of_their_own() {
    let levels = ("levels = [2, 4, 8, 16]", "levels = [1]");
    // Longer than k6 takes to start, which counts as well where it has one processor.
    let window = ("window = \"1s\"", "window = \"8s\"");
    let climb = Climb::new(99, Way::Refuses, &[levels, window]);
    let suite = text(&climb.own.folder.join("suite.toml"));
    let started = r#"
[[target]]
id = "listener"
kind = "process"
start = ["sh", "-c", "grep Cpus_allowed_list /proc/self/status; echo ADDRESS > \"$0\"; exec sleep 600", "{port_file}"]
ready = { tcp = "{address}", every = "20ms", limit = "30s" }
"#;
    let started = started.replace("ADDRESS", &climb.address);
    climb
        .own
        .write("suite.toml", &suite.replace(EXTERNAL, &started));
    let mut call = climb.own.call("run", &[]);
    let (code, printed) = finish(call.env("FLAGS", &climb.own.folder));
    assert_eq!(code, 0, "{printed}");
    let run = climb.plan().join("main/1/cycle-01");
    let meta = json(&run.join("meta.json"));
    let own = |name: &str| {
        meta["processors"][name]
            .as_array()
            .expect("processors")
            .clone()
    };
    let (k6, services) = (own("k6"), own("services"));
    assert!(
        k6.iter().all(|number| !services.contains(number)),
        "{meta:#}"
    );
    let first = services.first().and_then(Json::as_u64).expect("one");
    let log = text(&run.join("listener.log"));
    let said = log.split_whitespace().nth(1).expect("a list of processors");
    assert!(said.starts_with(&first.to_string()), "{log}");
    let count = format!("\"generatorProcessors\":{}", k6.len());
    let health = text(&run.join("monitor-generator.jsonl"));
    assert!(health.lines().all(|line| line.contains(&count)), "{health}");
}
