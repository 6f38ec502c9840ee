//! Scenarios that nobody has implemented yet, and plans that end at the first scenario that does not pass.

mod common;

use common::own::Own;
use common::{finish, json, text};

/// A suite of three scenarios of commands in their order, of which these fail.
fn three(failing: &[&str]) -> Own {
    let scenario = |id: &str| {
        let program = if failing.contains(&id) {
            "false"
        } else {
            "true"
        };
        format!(
            "[[scenario]]\nid = \"{id}\"\ntarget = \"none\"\ntime_limit = \"30s\"\n[[scenario.command]]\nid = \"work\"\nrun = [\"{program}\"]\n"
        )
    };
    let own = Own::new(&["one", "two", "three"].map(scenario).concat(), "");
    let path = own.folder.join("suite.toml");
    let whole = text(&path).replace("needs = [\"k6\"]\n", "").replace(
        "order = [\"main\"]",
        "order = [\"one\", \"two\", \"three\"]",
    );
    own.write("suite.toml", &whole);
    own
}

#[test]
fn the_first_scenario_that_does_not_pass_ends_the_plan_and_the_rest_is_named() {
    let own = three(&["two"]);
    let ci = own.folder.join("ci");
    let (code, printed) = finish(own.call("run", &["--ci"]).arg(&ci));
    assert_eq!(code, 3, "{printed}");
    let rest = printed.lines().find(|line| line.starts_with("NOT_RUN"));
    assert_eq!(rest, Some("NOT_RUN  three"), "{printed}");
    let verdicts = json(&ci.join("verdicts.json"));
    let verdicts = verdicts["runs"].as_array().expect("runs").iter();
    let verdicts: Vec<&str> = verdicts
        .map(|run| run["verdict"].as_str().expect("a verdict"))
        .collect();
    assert_eq!(verdicts, ["PASS", "FAIL", "NOT_RUN"]);
}

#[test]
fn with_keep_going_all_of_them_run() {
    let own = three(&["one", "two"]);
    let (code, printed) = finish(&mut own.call("run", &["--keep-going"]));
    assert_eq!(code, 3, "{printed}");
    assert!(!printed.contains("NOT_RUN"), "{printed}");
    assert_eq!(
        json(&own.place.run_folder("three").join("verdict.json"))["verdict"],
        "PASS"
    );
}

#[test]
fn a_new_gate_is_a_stub_that_passes_nothing() {
    let own = three(&[]);
    let path = own.folder.join("suite.toml");
    let before = text(&path);
    let new = |id: &str| finish(own.place.runner().arg("new-gate").arg(&path).arg(id));
    let (code, printed) = new("four");
    assert_eq!(code, 0, "{printed}");
    let after = text(&path);
    assert!(
        after.contains("order = [\"one\", \"two\", \"three\", \"four\"]"),
        "{after}"
    );
    let (code, printed) = finish(own.place.runner().arg("list").arg(&path));
    assert!(
        code == 0 && printed.contains("(not implemented)"),
        "{printed}"
    );
    for taken in ["four", "a b"] {
        let (code, printed) = new(taken);
        assert_eq!(code, 2, "{printed}");
        assert_eq!(text(&path), after, "{taken}: nothing was written");
    }

    let ci = own.folder.join("ci");
    let (code, printed) = finish(own.call("run", &["--ci"]).arg(&ci));
    assert_eq!(code, 3, "{printed}");
    assert!(printed.contains("NOT_IMPLEMENTED"), "{printed}");
    let folder = own.place.run_folder("four");
    let verdict = json(&folder.join("verdict.json"));
    assert_eq!(verdict["verdict"], "NOT_IMPLEMENTED");
    assert!(
        verdict["reasons"][0]
            .as_str()
            .expect("a reason")
            .contains("nobody has written it yet")
    );
    assert!(!folder.join("stdout.txt").exists(), "nothing ran");
    let junit = text(&ci.join("junit.xml"));
    assert!(
        junit.contains("<skipped message=\"nobody has written it yet"),
        "{junit}"
    );
    let (code, _) = finish(own.place.runner().arg("judge").arg(&folder));
    assert_eq!(code, 3);
    // It has its verdict: there is nothing to go on with.
    let plan = folder.parent().expect("the plan");
    let (code, printed) = finish(own.place.runner().arg("resume").arg(plan));
    assert!(
        code == 3 && printed.contains("all 4 runs are complete"),
        "{printed}"
    );

    own.write("suite.toml", &before);
    let (code, _) = finish(own.place.runner().arg("validate").arg(&path));
    assert_eq!(code, 0);
}

#[test]
fn a_stub_ends_a_plan_as_a_failure_does() {
    let own = three(&[]);
    let path = own.folder.join("suite.toml");
    let stub = "stub = \"later\"\n";
    let whole = text(&path).replacen("target = \"none\"\ntime_limit = \"30s\"\n[[scenario.command]]\nid = \"work\"\nrun = [\"true\"]\n", stub, 1);
    own.write("suite.toml", &whole);
    let (code, printed) = finish(&mut own.call("run", &["--dry-run"]));
    assert_eq!(code, 0, "{printed}");
    assert!(
        printed.contains("nothing   later") && printed.contains("commands  work"),
        "{printed}"
    );
    let (code, printed) = finish(&mut own.call("run", &[]));
    assert_eq!(code, 3, "{printed}");
    assert!(printed.contains("NOT_RUN  two, three"), "{printed}");
}
