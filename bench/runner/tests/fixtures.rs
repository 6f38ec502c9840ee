//! Fixtures: made in the order in which they need each other, checked, hashed into the evidence, and installed for a run.

mod common;

use std::path::PathBuf;

use common::life::{Ends, Stops, wait_for};
use common::own::{EXTERNAL, Own, SLEEPS};
use common::{finish, json, text};

/// What evidence would mask, and a fixture is not.
const TOKEN: &str = "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.c2lnbmF0dXJl";

/// Tokens are made of users, and stand before them in the file.
const SUITE: &str = r#"
[env.SECONDS]
type = "float"
default = 0.1

[[fixture]]
id = "tokens"
after = ["users"]
run = ["sh", "-c", 'sed "s/./[9,/" "$0/users.json" > "$1"', "{folder}", "{out}"]
out = "own/tokens.json"
expect = { "." = 4 }

[[fixture]]
id = "users"
key = "7"
run = ["sh", "-c", 'echo "[{key}1, {key}2, \"eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.c2lnbmF0dXJl\"]" > "$0"', "{out}"]
out = "own/made/users.json"
expect = { '.' = 3 }
install = ["own/config.json"]

[[scenario]]
id = "main"
script = "run.js"
limit = "20m"
"#;

/// A suite whose fixtures lie beside it.
fn own(target: &str) -> Own {
    let own = Own::new(&format!("{target}{SUITE}"), SLEEPS);
    let here = own.folder.display().to_string();
    own.edit("\"own/", &format!("\"{here}/"));
    own
}

fn place(own: &Own, name: &str) -> PathBuf {
    own.folder.join(name)
}

fn fixtures(own: &Own, more: &[&str]) -> (i32, String) {
    own.at_listener("fixtures", more)
}

#[test]
fn they_are_made_in_their_order_and_the_same_again() {
    let own = own(EXTERNAL);
    let (code, printed) = fixtures(&own, &["--check"]);
    assert_eq!(code, 2, "{printed}");
    assert!(
        printed.contains("is not there; make it by: barrier-bench fixtures"),
        "{printed}"
    );
    assert!(!place(&own, "tokens.json").exists() && !place(&own, "made").exists());
    let (code, printed) = fixtures(&own, &[]);
    assert_eq!(code, 0, "{printed}");
    let (users, tokens) = (
        printed.find("written  users:"),
        printed.find("written  tokens:"),
    );
    assert!(users.is_some() && users < tokens, "{printed}");
    assert_eq!(
        text(&place(&own, "tokens.json")),
        format!("[9,71, 72, \"{TOKEN}\"]\n"),
        "as it was made"
    );
    let (code, printed) = fixtures(&own, &["--check"]);
    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains("same     users:"), "{printed}");
    own.write("tokens.json", "[9]\n");
    let (code, printed) = fixtures(&own, &["--check"]);
    assert_eq!(code, 2, "{printed}");
    assert!(
        printed.contains("fixture tokens: ") && printed.contains("holds other bytes"),
        "{printed}"
    );
    assert!(
        own.place.left_over().is_empty(),
        "{:?}",
        own.place.left_over()
    );
}

#[test]
fn one_that_holds_something_else_than_expected_writes_nothing() {
    let own = own(EXTERNAL);
    own.edit("{ \".\" = 4 }", "{ \".\" = 5 }");
    let (code, printed) = fixtures(&own, &[]);
    assert_eq!(code, 2, "{printed}");
    assert!(
        printed.contains("4 elements at `.`, expected 5"),
        "{printed}"
    );
    assert!(!place(&own, "made").exists());
    own.edit("> \"$1\"'", "> \"$1\"; echo no users left; exit 3'");
    let (code, printed) = fixtures(&own, &[]);
    assert_eq!(code, 2, "{printed}");
    assert!(
        printed.contains("exit status: 3; it said: no users left"),
        "{printed}"
    );
}

#[test]
fn a_run_has_them_in_its_evidence_and_in_place_of_the_targets_file() {
    let own = own(EXTERNAL);
    let (code, printed) = own.at_listener("run", &[]);
    assert_eq!(code, 2, "{printed}");
    assert!(
        printed.contains("make it by: barrier-bench fixtures"),
        "{printed}"
    );
    assert_eq!(fixtures(&own, &[]).0, 0);
    own.write("config.json", "a person's own\n");
    let (code, printed) = own.at_listener("run", &[]);
    assert_eq!(code, 0, "{printed}");
    let meta = json(&own.place.run_folder("main").join("meta.json"));
    let users = &meta["fixtures"]["users"];
    assert_eq!(users["key"], "7");
    assert_eq!(users["sha256"].as_str().map(str::len), Some(64), "{meta}");
    assert_eq!(text(&place(&own, "config.json")), "a person's own\n");
    let left: Vec<_> = common::files(&own.folder);
    assert!(
        !left
            .iter()
            .any(|path| path.to_string_lossy().contains("barrier-bench")),
        "{left:?}"
    );
}

const READER: &str = r#"
[[target]]
id = "reader"
kind = "process"
start = ["sh", "-c", 'echo "$0" > "$1"; cat "$2"; exec sleep 900', "${LISTENER}", "{port_file}", "own/config.json"]
ready = { tcp = "${LISTENER}", every = "20ms", limit = "20s" }
"#;

#[test]
fn what_a_killed_run_left_in_a_targets_place_is_put_back() {
    let own = own(READER);
    assert_eq!(finish(&mut own.call("fixtures", &[])).0, 0);
    own.write("config.json", "a person's own\n");
    let mut call = own.call("run", &["--set", "SECONDS=900"]);
    let output = std::process::Stdio::null;
    let runner = call
        .stdout(output())
        .stderr(output())
        .spawn()
        .expect("the runner");
    let mut runner = Ends(runner);
    wait_for("a target that has read it", || {
        let evidence = own.place.evidence();
        let mut files = evidence
            .is_dir()
            .then(|| common::files(&evidence))?
            .into_iter();
        let log = files.find(|path| path.to_string_lossy().contains("reader.log"))?;
        std::fs::read_to_string(log)
            .ok()?
            .contains("71")
            .then_some(())
    });
    let started = common::life::children(i32::try_from(runner.0.id()).expect("an id"));
    runner.0.kill().expect("a signal");
    runner.0.wait().expect("its end");
    common::life::all_end(&started);
    assert!(text(&place(&own, "config.json")).contains("71"));
    let (code, printed) = finish(&mut own.call("fixtures", &["--restore"]));
    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains("put back "), "{printed}");
    assert_eq!(text(&place(&own, "config.json")), "a person's own\n");
    let (code, printed) = finish(&mut own.call("fixtures", &["--restore"]));
    assert!(
        code == 0 && printed.contains("nothing is to be put back"),
        "{printed}"
    );
}

#[test]
fn targets_that_are_up_without_a_run_read_them_too() {
    let own = own(READER);
    let (code, printed) = finish(&mut own.call("up", &["--detach"]));
    assert_eq!(code, 2, "{printed}");
    assert!(
        printed.contains("make it by: barrier-bench fixtures"),
        "{printed}"
    );
    assert_eq!(finish(&mut own.call("fixtures", &[])).0, 0);
    own.write("config.json", "a person's own\n");
    let suite = own.folder.join("suite.toml").display().to_string();
    let down = ["down", suite.as_str()];
    let _stops = Stops(&own.place, &down);
    let (code, printed) = finish(&mut own.call("up", &["--detach"]));
    assert_eq!(code, 0, "{printed}");
    assert!(
        text(&place(&own, "config.json")).contains("71"),
        "{printed}"
    );
    let (code, printed) = finish(own.place.runner().args(down));
    assert_eq!(code, 0, "{printed}");
    assert_eq!(text(&place(&own, "config.json")), "a person's own\n");
}

#[test]
fn what_cannot_be_made_is_refused() {
    for (old, new, expected) in [
        (
            "after = [\"users\"]",
            "after = [\"user\"]",
            "no fixture `user`",
        ),
        (
            "key = \"7\"",
            "after = [\"tokens\"]\nkey = \"7\"",
            "waits, by `after`, for itself",
        ),
        ("key = \"7\"", "", "no run value `{key}`"),
        (
            "made/users.json\"",
            "made/tokens.json\"",
            "a second fixture makes a file `tokens.json`",
        ),
        ("{ '.' = 3 }", "{ 'a.' = 3 }", "no place; allowed"),
        (
            "made/users.json\"",
            "made/${SECONDS}\"",
            "without a placeholder",
        ),
    ] {
        let own = own(EXTERNAL);
        own.edit(old, new);
        let (code, printed) = finish(&mut own.call("validate", &[]));
        assert!(
            code == 2 && printed.contains(expected),
            "{expected}: {printed}"
        );
    }
}
