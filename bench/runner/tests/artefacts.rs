//! What a call leaves for others: one folder however it ends, and evidence that can be judged elsewhere.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::life::{Ends, call, plan, send, verb, wait_for, waits};
use common::own::Own;
use common::{files, finish, json, text};
use rustix::process::Signal;

fn folder(own: &Own) -> PathBuf {
    own.place.evidence().with_file_name("artefacts")
}

fn with_ci(own: &Own, more: &[&str]) -> Command {
    let mut command = call(own, "run", more);
    command.arg("--ci").arg(folder(own));
    command
}

/// What is there after any end; more after one that had evidence.
fn check(own: &Own, code: i32, verdict: Option<&str>) -> String {
    let folder = folder(own);
    let verdicts = json(&folder.join("verdicts.json"));
    assert_eq!(verdicts["exitCode"], code, "{verdicts}");
    assert!(folder.join("stdout.txt").is_file());
    let runs = &verdicts["runs"];
    match verdict {
        Some(verdict) => {
            assert_eq!(runs[0]["verdict"], verdict, "{verdicts}");
            assert!(text(&folder.join("stdout.txt")).contains("waiting now"));
            for name in [
                "evidence/main/stdout.txt",
                "evidence/main/verdict.json",
                "evidence/plan.json",
            ] {
                assert!(folder.join(name).is_file(), "{name}: {:?}", files(&folder));
            }
        }
        None => assert_eq!(runs.as_array().map(Vec::len), Some(0), "{verdicts}"),
    }
    text(&folder.join("junit.xml"))
}

#[test]
fn each_end_leaves_its_folder() {
    for (set, expected_code, verdict, cases) in [
        (
            vec!["SECONDS=1"],
            0,
            "PASS",
            vec![
                r#"<testcase name="done" classname="own.main"/>"#,
                r#"<skipped message="only watched: done count: 1"#,
                r#"failures="0" errors="0""#,
            ],
        ),
        (
            vec!["SECONDS=1", "DOES=twice"],
            3,
            "FAIL",
            vec![r#"<failure message="done count: 2; expected &lt; 2"#],
        ),
        (
            vec!["SECONDS=1", "DOES=abort"],
            4,
            "ABORTED",
            vec![
                r#"<testcase name="run" classname="own.main">"#,
                "enough &lt;seen&gt;",
                r#"type="ABORTED""#,
            ],
        ),
    ] {
        let own = waits();
        let mut command = with_ci(&own, &[]);
        for set in set {
            command.args(["--set", set]);
        }
        let (code, printed) = finish(&mut command);
        assert_eq!(code, expected_code, "{printed}");
        let junit = check(&own, code, Some(verdict));
        for case in cases {
            assert!(junit.contains(case), "{case}\n{junit}");
        }
        // What is there is never written over.
        let (code, printed) = finish(&mut with_ci(&own, &[]));
        assert!(
            code == 2 && printed.contains("the folder is not empty"),
            "{printed}"
        );
    }
}

#[test]
fn an_interruption_leaves_its_folder() {
    let own = waits();
    let mut runner = Ends(with_ci(&own, &[]).spawn().expect("the runner starts"));
    let plan = plan(&own.place.evidence());
    wait_for("k6 says something", || {
        let said = std::fs::read_to_string(plan.join("main/stdout.txt.partial")).ok()?;
        said.contains("waiting now").then_some(())
    });
    send(i32::try_from(runner.0.id()).expect("an id"), Signal::INT);
    let code = runner.0.wait().expect("end").code();
    assert_eq!(code, Some(4));
    let junit = check(&own, 4, Some("INTERRUPTED"));
    assert!(junit.contains(r#"type="INTERRUPTED""#), "{junit}");
    assert!(
        junit.contains("not judged, the run is INTERRUPTED"),
        "{junit}"
    );
}

#[test]
fn what_never_began_leaves_its_folder() {
    let own = waits();
    let (code, printed) = finish(with_ci(&own, &[]).env("K6_BIN", "/nowhere/k6"));
    assert_eq!(code, 2, "{printed}");
    let junit = check(&own, 2, None);
    assert!(
        junit.contains("<error message=") && junit.contains("/nowhere/k6"),
        "{junit}"
    );
}

/// Evidence of a run, and where it shall go.
fn evidence() -> (Own, PathBuf, PathBuf) {
    let own = waits();
    let (code, printed) = finish(&mut call(&own, "run", &["--set", "SECONDS=1"]));
    assert_eq!(code, 0, "{printed}");
    let plan = plan(&own.place.evidence());
    let elsewhere = own.place.evidence().with_file_name("elsewhere");
    (own, plan, elsewhere)
}

fn export(own: &Own, plan: &Path, out: &Path) -> (i32, String) {
    finish(
        own.place
            .runner()
            .arg("export")
            .arg(plan)
            .arg("--out")
            .arg(out),
    )
}

#[test]
fn evidence_is_packed_and_judged_elsewhere() {
    let (own, plan, elsewhere) = evidence();
    let packed = elsewhere.with_extension("tar.gz");
    let (code, printed) = export(&own, &plan, &packed);
    assert_eq!(code, 0, "{printed}");
    std::fs::create_dir(&elsewhere).expect("a folder");
    let unpacked = Command::new("tar")
        .arg("xzf")
        .arg(&packed)
        .arg("-C")
        .arg(&elsewhere)
        .status();
    assert!(unpacked.expect("tar").success());
    // Whoever has them needs nothing else.
    let copy = elsewhere.join(plan.file_name().expect("a name"));
    let names = |folder: &Path| {
        let mut names: Vec<PathBuf> = files(folder)
            .into_iter()
            .map(|path| path.strip_prefix(folder).expect("below").to_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(&copy), names(&plan));
    std::fs::remove_dir_all(&plan).expect("removed");
    let (code, printed) = verb(&own, &["judge", &copy.display().to_string()]);
    assert!(
        code == 0 && printed.contains("stored   the same verdict, PASS"),
        "{printed}"
    );

    // The same as a folder, and nothing is written over.
    let folder = elsewhere.with_file_name("folder");
    let (code, printed) = export(&own, &copy, &folder);
    assert_eq!(code, 0, "{printed}");
    assert_eq!(
        names(&folder.join(copy.file_name().expect("a name"))),
        names(&copy)
    );
    for out in [&folder, &packed] {
        let (code, printed) = export(&own, &copy, out);
        assert!(
            code == 2 && printed.contains("it is there already"),
            "{printed}"
        );
    }
}

#[test]
fn evidence_that_is_not_as_it_was_judged_is_not_exported() {
    let (own, plan, elsewhere) = evidence();
    let path = plan.join("main/stdout.txt");
    let was = text(&path);
    std::fs::write(&path, format!("{was}and more\n")).expect("changed");
    let out = elsewhere.with_extension("tar.gz");
    let (code, printed) = export(&own, &plan, &out);
    assert_eq!(code, 3, "{printed}");
    assert!(
        printed.contains("main: stdout.txt was changed after the run"),
        "{printed}"
    );
    assert!(!out.exists());
}

#[test]
fn evidence_that_tells_a_secret_is_not_exported() {
    let own = waits();
    let mut command = call(&own, "run", &["--set", "SECONDS=1"]);
    let (code, printed) = finish(command.env("PASSWORD", "hunter2-of-export"));
    assert_eq!(code, 0, "{printed}");
    let plan = plan(&own.place.evidence());
    let out = own.place.evidence().with_file_name("out.tar.gz");
    let export = |password: &str| {
        let mut command = own.place.runner();
        command.arg("export").arg(&plan).arg("--out").arg(&out);
        finish(command.env("PASSWORD", password))
    };
    let notes = plan.join("notes.txt");
    std::fs::write(&notes, "the password is hunter2-of-export\n").expect("written");
    let (code, printed) = export("hunter2-of-export");
    assert_eq!(code, 3, "{printed}");
    assert!(
        printed.contains("notes.txt: it holds the value of a secret"),
        "{printed}"
    );
    assert!(!printed.contains("hunter2") && !out.exists(), "{printed}");
    std::fs::remove_file(notes).expect("removed");
    let (code, printed) = export("");
    assert_eq!(code, 0, "{printed}");
    assert!(
        printed.contains("not searched for, as not given: the values of PASSWORD"),
        "{printed}"
    );
    std::fs::remove_file(&out).expect("removed");
    let (code, printed) = export("hunter2-of-export");
    assert!(
        code == 0 && !printed.contains("not searched for"),
        "{printed}"
    );
}
