//! Suites of one's own, elsewhere: their probes, and folders from which the runner is called.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Place, finish, k6, root, text};

/// A suite of one's own in a folder of its own, with this probe; the runner is called from yet another folder.
struct Own {
    place: Place,
    folder: PathBuf,
    listener: std::net::TcpListener,
}

impl Own {
    /// With a probe that finds all in order.
    fn ringing() -> Self {
        let rings = says(&[r#"{"check":"bell","ok":true,"seen":"it rings"}"#]);
        Self::new(&rings, "30s")
    }

    fn new(probe: &str, limit: &str) -> Self {
        let place = Place::new();
        let folder = place.evidence().with_file_name("elsewhere");
        std::fs::create_dir_all(folder.join("scripts")).expect("a folder");
        std::fs::create_dir(folder.join("cwd")).expect("a folder");
        let suite = text(&root().join("bench/runner/tests/fixtures/suites/probe.toml"));
        let suite = suite.replace("script = \"probe.js\"", "script = \"scripts/run.js\"");
        let table = format!(
            "[probe]\nscript = \"scripts/own.js\"\nlimit = \"{limit}\"\nbefore_run = true\n\n[each]\n"
        );
        std::fs::write(folder.join("suite.toml"), suite.replace("[each]\n", &table))
            .expect("written");
        let run = root().join("bench/runner/tests/fixtures/probe.js");
        std::fs::copy(run, folder.join("scripts/run.js")).expect("copied");
        std::fs::write(folder.join("scripts/own.js"), probe).expect("written");
        Self {
            place,
            folder,
            listener: std::net::TcpListener::bind("127.0.0.1:0").expect("listener"),
        }
    }

    fn call(&self, verb: &str) -> Command {
        let address = self.listener.local_addr().expect("address");
        let mut command = self.place.runner();
        command
            .arg(verb)
            .arg("../suite.toml")
            .current_dir(self.folder.join("cwd"))
            .env("K6_BIN", k6())
            .env("BASE_URL", format!("http://{address}"));
        command
    }

    fn finds(&self, code: i32, expected: &[&str]) {
        let (seen, printed) = finish(&mut self.call("doctor"));
        assert_eq!(seen, code, "{printed}");
        for text in expected {
            assert!(printed.contains(text), "{text}: {printed}");
        }
    }
}

/// Lines of a probe, said by its only iteration.
fn says(lines: &[&str]) -> String {
    let lines: Vec<String> = lines
        .iter()
        .map(|line| format!("  console.log({line:?});\n"))
        .collect();
    format!("export default function () {{\n{}}}\n", lines.concat())
}

#[test]
fn the_runner_runs_any_probe_and_prints_what_it_says() {
    let good = r#"{"check":"bell","ok":true,"seen":"it rings"}"#;
    let know = r#"{"check":"door","ok":true,"seen":"it creaks","mend":"oil it"}"#;
    let bad = r#"{"check":"roof","ok":false,"seen":"it leaks topsecret-default","mend":"mend it"}"#;
    let own = Own::new(&says(&[good, "not a check", know]), "30s");
    own.finds(
        0,
        &[
            "ok       listener, bell: it rings\n",
            "warning  listener, door: it creaks\n         mend: oil it\n",
        ],
    );
    let own = Own::new(&says(&[good, bad]), "30s");
    own.finds(
        2,
        &["fault    listener, roof: it leaks ***\n         mend: mend it\n"],
    );
    let (code, printed) = finish(&mut own.call("run"));
    assert_eq!(code, 2, "{printed}");
    assert!(
        printed.contains("the run cannot start:\n  fault    listener, roof: it leaks ***"),
        "{printed}"
    );
    assert!(!own.place.evidence().exists());

    let own = Own::new(
        "export default function () { throw new Error('no bell at all'); }\n",
        "30s",
    );
    own.finds(
        2,
        &[
            "fault    listener: the probe ",
            "own.js broke off",
            "no bell at all",
            "mend: put right what it names",
        ],
    );
    let slow = format!(
        "import {{ sleep }} from 'k6';\n{}",
        says(&[good]).replace("}\n", "  sleep(600);\n}\n")
    );
    let own = Own::new(&slow, "2s");
    own.finds(
        2,
        &[
            "ok       listener, bell: it rings\n",
            "own.js did not end within 2 s, after the look at `bell`\n         mend: see whether the target answers at all",
        ],
    );
    assert!(own.place.left_over().is_empty());
}

#[test]
fn a_run_that_is_active_is_not_disturbed() {
    let own = Own::ringing();
    let mut run = own.call("run");
    run.args(["--set", "MODE=hang"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut run = run.spawn().expect("the runner starts");
    let output = std::io::BufReader::new(run.stdout.take().expect("stdout"));
    let mut lines = std::io::BufRead::lines(output).map(|line| line.expect("text"));
    lines
        .find(|line| line.starts_with("run 1 of 1"))
        .expect("the run is active");
    let (code, printed) = finish(&mut own.call("doctor"));
    let pid = rustix::process::Pid::from_child(&run);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("signal");
    lines.for_each(drop);
    assert_eq!(run.wait().expect("end").code(), Some(4));
    assert_eq!(code, 0, "{printed}");
    assert!(
        printed.contains(
            "warning  what the runs will do was not tried: another run is active: suite probe"
        ) && !printed.contains("it rings"),
        "{printed}"
    );
}

#[test]
fn a_suite_elsewhere_works_from_any_folder() {
    let own = Own::ringing();
    let mut run = own.call("run");
    let (code, printed) = finish(run.env_remove("EVIDENCE_ROOT"));
    assert_eq!(code, 0, "{printed}");
    assert!(own.folder.join("evidence").is_dir(), "beside the suite");
    assert_eq!(
        std::fs::read_dir(own.folder.join("cwd"))
            .expect("a folder")
            .count(),
        0
    );
    for verb in ["list", "validate"] {
        let (code, printed) = finish(&mut own.call(verb));
        assert_eq!(code, 0, "{verb}: {printed}");
    }
    // k6 of the folder that the runner is called from.
    std::os::unix::fs::symlink(k6(), own.folder.join("cwd/k6")).expect("linked");
    let (code, printed) = finish(own.call("doctor").env_remove("K6_BIN"));
    assert!(
        code == 0 && printed.contains("elsewhere/cwd/k6) with "),
        "{printed}"
    );
    std::fs::remove_file(own.folder.join("cwd/k6")).expect("removed");

    let root = std::fs::canonicalize(&own.folder).expect("the folder");
    let shown = |path: &Path| path.display().to_string();
    let doctor = |command: &mut Command| finish(command.env("PATH", "/nowhere"));
    let (code, printed) = doctor(own.call("doctor").env_remove("K6_BIN"));
    assert_eq!(code, 2, "{printed}");
    for place in [root.join("cwd/k6"), root.join("k6")] {
        assert!(
            printed.contains(&shown(&place)),
            "{}: {printed}",
            place.display()
        );
    }
    for name in ["run.js", "own.js"] {
        std::fs::remove_file(own.folder.join("scripts").join(name)).expect("removed");
    }
    let (code, printed) = finish(&mut own.call("doctor"));
    assert_eq!(code, 2, "{printed}");
    for (what, name) in [("harness", "run.js"), ("probe", "own.js")] {
        let expected = format!(
            "fault    the {what} {} is missing\n         mend: paths in ../suite.toml begin at {}: put it there, or mend `script`",
            shown(&root.join("scripts").join(name)),
            shown(&root)
        );
        assert!(printed.contains(&expected), "{expected}: {printed}");
    }
    let mut unknown = own.place.runner();
    let (code, printed) = finish(
        unknown
            .args(["doctor", "nosuch"])
            .current_dir(own.folder.join("cwd")),
    );
    assert_eq!(code, 2, "{printed}");
    assert!(
        printed.contains(&format!(
            "no suite `nosuch`: neither {}",
            shown(&root.join("cwd/nosuch"))
        )),
        "{printed}"
    );
}
