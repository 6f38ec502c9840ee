//! Objectives beside what was accepted: a run that is worse and inside its limits passes, and says so. And the difference of paired runs.

mod common;

use common::evidence::{Plan, call, run};
use common::own::Own;
use common::{Place, finish, json, text};

/// A scenario whose only command says how long it took and how much it did.
fn measuring() -> Own {
    let own = Own::new(
        "[[scenario]]\nid = \"main\"\ntarget = \"none\"\ntime_limit = \"30s\"\nrepeats = 3\npass_env = [\"PACE\"]\n\
         [[scenario.command]]\nid = \"work\"\nrun = [\"sh\", \"-c\", \"echo took $PACE ms, $((100000 / PACE)) a second\"]\n\
         [[scenario.command.value]]\nmetric = \"took\"\nregex = 'took (\\d+) ms'\n\
         [[scenario.command.value]]\nmetric = \"pace\"\nregex = '(\\d+) a second'\n\
         [[gate]]\nid = \"fast\"\nclass = \"slo\"\nmetric = \"took\"\nstat = \"p(95)\"\nop = \"<\"\nlimit = 150\nunit = \"ms\"\n\
         [[gate]]\nid = \"many\"\nclass = \"slo\"\nmetric = \"pace\"\nstat = \"avg\"\nop = \">=\"\nlimit = 500\n",
        "",
    );
    let path = own.folder.join("suite.toml");
    let whole = text(&path).replace("needs = [\"k6\"]\n", "regression = 0.1\n")
        + "[report]\nformats = [\"json\"]\nsections = [\"validity\"]\n";
    own.write("suite.toml", &whole);
    own
}

/// A run at this pace: the exit code, what was printed, and its folder.
fn made(own: &Own, pace: &str) -> (i32, String, String) {
    let (code, printed) = finish(own.call("run", &[]).env("PACE", pace));
    let line = printed
        .lines()
        .find_map(|line| line.strip_prefix("evidence: "));
    let folder = line
        .unwrap_or_else(|| panic!("no evidence: {printed}"))
        .trim()
        .to_owned();
    (code, printed, folder)
}

#[test]
fn a_run_that_is_slower_but_inside_its_limits_passes_with_a_warning() {
    let own = measuring();
    let (code, printed, first) = made(&own, "100");
    assert!(code == 0 && !printed.contains("regression"), "{printed}");
    let (code, printed) = finish(own.place.runner().args(["baseline", "accept", &first]));
    assert!(
        code == 0 && printed.contains("fast 100 (1 run)"),
        "{printed}"
    );

    let (code, printed, same) = made(&own, "105");
    assert!(
        code == 0 && !printed.contains("regression"),
        "five percent are none: {printed}"
    );
    let (code, printed, slower) = made(&own, "120");
    assert_eq!(code, 0, "it is inside its limits: {printed}");
    for expected in [
        "regression: main: fast is worse by 20 %: 120 ms now, 100 ms accepted on ",
        "regression: main: many is worse by 16",
    ] {
        assert!(printed.contains(expected), "{expected}: {printed}");
    }
    let verdict = json(&std::path::Path::new(&slower).join("main/verdict.json"));
    assert_eq!(verdict["verdict"], "PASS");
    let figures = json(&std::path::Path::new(&slower).join("figures.json"));
    assert_eq!(figures["regressions"][0]["gate"], "fast", "{figures:#}");

    let (code, printed) = finish(own.place.runner().args(["compare", &slower]));
    assert!(
        code == 0 && printed.contains("PASS  main") && printed.contains("fast is worse by 20 %"),
        "{printed}"
    );
    for quiet in [&same, &first] {
        let (code, printed) = finish(own.place.runner().args(["compare", quiet]));
        assert!(code == 0 && !printed.contains("regression"), "{printed}");
    }
    let (code, printed, _) = made(&own, "200");
    assert_eq!(code, 3, "beyond its limit it fails: {printed}");
}

#[test]
fn another_way_of_measuring_is_no_regression() {
    let own = measuring();
    let (_, _, first) = made(&own, "100");
    finish(own.place.runner().args(["baseline", "accept", &first]));
    let path = own.folder.join("suite.toml");
    let other = text(&path).replace("repeats = 3", "repeats = 2");
    own.write("suite.toml", &other);
    let (code, printed, _) = made(&own, "120");
    assert!(code == 0 && !printed.contains("regression"), "{printed}");
}

/// A plan whose variants are compared by their difference.
fn by_difference(place: &Place, name: &str, worse_than: &str) -> Plan {
    let plan = Plan::new(place, name).limited(worse_than);
    let path = plan.folder.join("suite.toml");
    let suite = text(&path);
    let from = "[[compare]]\nid = \"drain-time\"\n";
    assert!(suite.contains(from));
    let to = format!("{from}method = \"paired-difference\"\n");
    let suite = suite
        .replace("method = \"paired-log-ratio\"\n", "")
        .replace(from, &to);
    std::fs::write(path, suite).expect("suite");
    plan
}

#[test]
fn what_something_costs_is_judged_in_its_own_unit_from_six_pairs_on() {
    let place = Place::new();
    for (name, cycles, cost, limit, verdict, says) in [
        (
            "cheap",
            6,
            4.0,
            "5.0",
            "PASS",
            "less than 5 higher than zset is allowed",
        ),
        ("dear", 6, 6.0, "5.0", "FAIL", "+6 (+5.72 to +6.28)"),
        ("near", 6, 4.9, "5.0", "INVALID", "more cycles tell"),
        (
            "few",
            5,
            4.0,
            "5.0",
            "INVALID",
            "5 valid cycles, 1 missing of the 6",
        ),
    ] {
        let mut plan = by_difference(&place, name, limit);
        for cycle in 1..=cycles {
            // Cycles differ by far more than the variants do.
            let luck = 100.0 + 37.0 * f64::from(cycle * 7 % 5);
            let noise = 0.3 * (f64::from(cycle * 5 % 3) - 1.0);
            plan.add(&run("zset", cycle, luck));
            plan.add(&run("hash", cycle, luck + cost + noise));
        }
        let (code, printed) = call(&place, "compare", &[&plan.folder], &[]);
        assert_eq!(
            code,
            if verdict == "PASS" { 0 } else { 3 },
            "{name}: {printed}"
        );
        assert!(
            printed.contains(&format!("verdict of the plan: {verdict}")),
            "{name}: {printed}"
        );
        assert!(printed.contains(says), "{name}: {printed}");
    }
}

#[test]
fn the_board_shows_every_scenario_with_its_distances() {
    let own = measuring();
    let path = own.folder.join("suite.toml");
    let whole = text(&path).replace("[\"validity\"]", "[\"validity\", \"board\"]")
        + "[[gate]]\nid = \"seen\"\nclass = \"watch\"\nmetric = \"took\"\nstat = \"max\"\nop = \"<\"\nlimit = 100\nunit = \"ms\"\n[[scenario]]\nid = \"later\"\nstub = \"when there is time <soon>\"\n[[scenario]]\nid = \"never\"\ntarget = \"none\"\ntime_limit = \"5s\"\n[[scenario.command]]\nid = \"c\"\nrun = [\"true\"]\n";
    own.write("suite.toml", &whole);
    let (_, _, first) = made(&own, "100");
    finish(own.place.runner().args(["baseline", "accept", &first]));
    let (code, printed, _) = made(&own, "120");
    assert_eq!(code, 0, "{printed}");
    let told = |text: &str| {
        let words: Vec<&str> = text.split_whitespace().collect();
        words.join(" ")
    };
    let board = finish(own.place.runner().arg("board").arg(&path));
    for (what, text) in [("run", &printed), ("board", &board.1)] {
        let text = told(text);
        for expected in [
            "Own: 3 scenarios: 1 PASS, 1 NOT_IMPLEMENTED, 1 NOT_RUN",
            "main PASS 20",
            "fast 120 ms < 150 ms 20 % left",
            "many 833 >= 500 66.6 % left",
            "· seen 120 ms < 100 ms 20 % beyond",
            "regression: main: fast is worse by 20 %",
            "later NOT_IMPLEMENTED when there is time <soon>",
            "never NOT_RUN",
        ] {
            assert!(text.contains(expected), "{what}: {expected}: {text}");
        }
    }
    let page = text(&own.place.evidence().join("board.html"));
    for expected in [
        "20 % left",
        "NOT_IMPLEMENTED",
        "when there is time &lt;soon&gt;",
        "fast is worse by 20 %",
    ] {
        assert!(page.contains(expected), "{expected}: {page}");
    }
    // A failure afterwards is what counts, and tells how far it is beyond.
    let (code, printed, _) = made(&own, "165");
    assert!(
        code == 3 && told(&printed).contains("! fast 165 ms < 150 ms 10 % beyond"),
        "{printed}"
    );
}
