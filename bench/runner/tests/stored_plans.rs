//! A plan as it lies on the disk: what was changed, removed or added there says nothing good of its runs.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::bench::{Bench, copy};
use common::{finish, json};
use serde_json::Value as Json;

/// The matrix suite with a limit that every run keeps.
fn limited(bench: &Bench) -> String {
    let gate = "[[gate]]\nid = \"in-time\"\n";
    let table = "[[compare]]\nid = \"users\"\nmetric = \"completedUsers\"\nstat = \"value\"\nbase = \"a\"\nworse_than = 9.0\n\n";
    let edit = (gate, &*format!("{table}{gate}"));
    copy(bench, &[edit]).display().to_string()
}

/// A copy of a folder, to be changed.
fn twin(bench: &Bench, folder: &Path, name: &str) -> PathBuf {
    let twin = bench.place.evidence().with_file_name(name);
    let done = Command::new("cp").arg("-a").arg(folder).arg(&twin).status();
    assert!(done.expect("cp").success());
    twin
}

fn call(bench: &Bench, verb: &str, folder: &Path) -> (i32, String) {
    finish(&mut bench.call(&[verb, &folder.display().to_string()]))
}

fn change(path: &Path, change: impl FnOnce(&mut Json)) {
    let mut value = json(path);
    change(&mut value);
    fs::write(path, value.to_string()).expect("written");
}

#[test]
fn what_was_changed_beside_or_in_a_plan_is_invalid() {
    let bench = Bench::new();
    let suite = limited(&bench);
    let run = ["run", &suite, "--level", "LEVEL=1", "--cycles", "6"];
    let (code, printed) = finish(&mut bench.call(&run));
    assert_eq!(code, 0, "{printed}");
    let plan = bench.plan();
    for verb in ["judge", "compare"] {
        let (code, printed) = call(&bench, verb, &plan);
        assert_eq!(code, 0, "{printed}");
    }
    let own = "b/matrix/1/cycle-02";
    let forget = |meta: &mut Json| {
        meta.as_object_mut().expect("object").remove("observed");
    };
    type Change<'a> = &'a dyn Fn(&Path);
    let changes: [(&str, Change<'_>, &str); 7] = [
        (
            "an entry of the plan is gone",
            &|plan| {
                change(&plan.join("plan.json"), |plan| {
                    plan["runs"].as_array_mut().expect("runs").pop();
                });
            },
            "plan.json beside the plan was changed after the run",
        ),
        (
            "what was observed is gone, and the verdict says that all is well",
            &|plan| change(&plan.join(own).join("meta.json"), forget),
            "meta.json was changed after the run",
        ),
        (
            "the same without a seal",
            &|plan| {
                let folder = plan.join(own);
                change(&folder.join("meta.json"), |meta| {
                    forget(meta);
                    meta.as_object_mut().expect("object").remove("manifest");
                });
                fs::remove_file(folder.join("SHA256SUMS")).expect("removed");
            },
            "verdict.json says PASS, and meta.json tells of no run that it could follow from",
        ),
        (
            "a run without a seal",
            &|plan| {
                let folder = plan.join(own);
                change(&folder.join("meta.json"), |meta| {
                    meta.as_object_mut().expect("object").remove("manifest");
                });
                fs::remove_file(folder.join("SHA256SUMS")).expect("removed");
            },
            "meta.json knows of no SHA256SUMS, which every run of this plan has",
        ),
        (
            "a run became a warm-up",
            &|plan| {
                change(&plan.join(own).join("meta.json"), |meta| {
                    meta["discarded"] = true.into();
                });
            },
            "meta.json was changed after the run",
        ),
        (
            "a run stands in the place of another",
            &|plan| {
                fs::remove_dir_all(plan.join(own)).expect("removed");
                let other = plan.join("b/matrix/1/cycle-01");
                let done = Command::new("cp")
                    .arg("-a")
                    .arg(other)
                    .arg(plan.join(own))
                    .status();
                assert!(done.expect("cp").success());
            },
            "it is not the run that was planned for its folder: block, cycle differs",
        ),
        (
            "a run of another plan stands in the place of one",
            &|plan| {
                let meta = plan.join(own).join("meta.json");
                change(&meta, |meta| meta["planSha256"] = "another".into());
            },
            "plan.json beside the plan was changed after the run",
        ),
    ];
    for (number, (name, change, expected)) in changes.into_iter().enumerate() {
        let twin = twin(&bench, &plan, &format!("twin-{number}"));
        change(&twin);
        let (code, printed) = call(&bench, "judge", &twin);
        assert_eq!(code, 3, "{name}: {printed}");
        assert!(
            printed.contains("verdict  INVALID") && printed.contains(expected),
            "{name}: {printed}"
        );
    }

    let edited = twin(&bench, &plan, "edited");
    change(&edited.join("plan.json"), |plan| {
        plan["title"] = "another".into();
    });
    let (code, printed) = call(&bench, "resume", &edited);
    assert_eq!(code, 2, "{printed}");
    assert!(
        printed.contains("plan.json beside the plan was changed after the run; begin a new plan"),
        "{printed}"
    );

    // What the plan does not hold is named, and counts for nobody.
    let more = twin(&bench, &plan, "more");
    let from = more.join(own);
    let done = Command::new("cp")
        .arg("-a")
        .arg(&from)
        .arg(more.join("b/matrix/1/cycle-09"))
        .status();
    assert!(done.expect("cp").success());
    let (code, printed) = call(&bench, "judge", &more);
    assert_eq!(code, 3, "{printed}");
    assert!(
        printed.contains(
            "verdict  INVALID  b/matrix/1/cycle-09\n         its folder is not in the plan"
        ),
        "{printed}"
    );
    let (_, printed) = call(&bench, "compare", &more);
    let line = "left out: b/matrix/1/cycle-09: INVALID (its folder is not in the plan)";
    assert!(printed.contains(line), "{printed}");

    // A copy of a folder is no further attempt.
    let copied = twin(&bench, &plan, "copied");
    let name = format!("{own}-attempt-03");
    let done = Command::new("cp")
        .arg("-a")
        .arg(copied.join(own))
        .arg(copied.join(&name))
        .status();
    assert!(done.expect("cp").success());
    let (code, printed) = call(&bench, "judge", &copied);
    let line = format!("verdict  INVALID  {name}\n         its folder is not in the plan");
    assert!(code == 3 && printed.contains(&line), "{printed}");

    // A run that belongs elsewhere is made again.
    let misplaced = copied.with_file_name("twin-5");
    let (code, printed) = call(&bench, "resume", &misplaced);
    assert_eq!(code, 0, "{printed}");
    let again = misplaced.join(format!("{own}-attempt-2"));
    assert!(again.is_dir(), "{printed}");

    // A plan is the same one whichever way leads there.
    let link = plan.with_file_name("link");
    std::os::unix::fs::symlink(&plan, &link).expect("a link");
    for way in [plan.join("b").join(".."), link] {
        for verb in ["judge", "compare"] {
            let (code, printed) = call(&bench, verb, &way);
            assert_eq!(code, 0, "{}: {printed}", way.display());
        }
    }
    let way = plan.join(own).join("../cycle-03");
    let (code, printed) = call(&bench, "judge", &way);
    assert_eq!(code, 0, "{printed}");

    // Without the plan nobody knows what is missing; a part of it is still a part of it.
    let part = plan.join("b");
    let (code, printed) = call(&bench, "compare", &part);
    assert!(code == 3 && printed.contains("never ran"), "{printed}");
    let torn = twin(&bench, &plan, "torn");
    fs::remove_file(torn.join("plan.json")).expect("removed");
    let (code, printed) = call(&bench, "compare", &torn);
    assert_eq!(code, 2, "{printed}");
}

#[test]
fn a_block_of_two_attempts_is_not_whole() {
    let bench = Bench::new();
    let mode = bench.place.evidence().with_file_name("mode");
    fs::write(&mode, "pass few").expect("written");
    let mut run = bench.run(&["--level", "LEVEL=1", "--cycles", "1"]);
    let (code, printed) = finish(run.env("MODE_FILE", &mode));
    assert_eq!(code, 3, "{printed}");
    fs::write(&mode, "").expect("written");
    let plan = bench.plan();
    let (code, printed) = call(&bench, "resume", &plan);
    assert_eq!(code, 0, "{printed}");
    let (code, printed) = call(&bench, "judge", &plan);
    assert_eq!(code, 0, "{printed}");

    fs::remove_dir_all(plan.join("a/matrix/1-attempt-2")).expect("removed");
    let (code, printed) = call(&bench, "judge", &plan);
    assert_eq!(code, 4, "{printed}");
    assert!(
        printed.contains(
            "plan     a/matrix/1: of an earlier attempt at its block than the runs beside it"
        ),
        "{printed}"
    );
    // An attempt that is gone hides no later one.
    fs::remove_dir_all(plan.join("b/matrix/1")).expect("removed");
    let (code, printed) = call(&bench, "judge", &plan);
    assert!(
        code == 4 && printed.contains("b/matrix/1-attempt-2") && !printed.contains("never begun"),
        "{printed}"
    );
}
