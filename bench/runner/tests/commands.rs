//! Scenarios of commands: their values, gates and verdicts, live and judged again, without any k6.

mod common;

use std::process::Stdio;

use common::life::wait_for;
use common::own::{EXTERNAL, Own};
use common::{finish, json, text, wait};
use serde_json::Value as Json;

/// A suite with one scenario of commands; `more` follows its head.
fn own(more: &str) -> Own {
    let suite =
        format!("[[scenario]]\nid = \"main\"\ntarget = \"none\"\ntime_limit = \"60s\"\n{more}");
    // No k6 is there, and none is needed.
    let own = Own::new(&suite, "");
    let path = own.folder.join("suite.toml");
    let whole = text(&path).replace("needs = [\"k6\"]\n", "");
    own.write("suite.toml", &whole);
    own
}

/// A gate on a metric.
fn gate(id: &str, metric: &str, stat: &str, limit: &str) -> String {
    format!(
        "[[gate]]\nid = \"{id}\"\nclass = \"slo\"\nmetric = \"{metric}\"\nstat = \"{stat}\"\nop = \"==\"\nlimit = {limit}\n"
    )
}

fn run(own: &Own, more: &[&str]) -> (i32, String) {
    let mut command = own.call("run", more);
    finish(command.env("K6_BIN", "/nonexistent/k6"))
}

fn gates(own: &Own) -> (Json, Vec<(String, bool, String)>) {
    let verdict = json(&own.place.run_folder("main").join("verdict.json"));
    let gates = verdict["gates"].as_array().expect("gates").iter();
    let gates = gates.map(|gate| {
        let text = |name: &str| gate[name].as_str().expect("a text").to_owned();
        (text("id"), gate["holds"] == true, text("text"))
    });
    (verdict["verdict"].clone(), gates.collect())
}

#[test]
fn exit_codes_json_and_expressions_are_values_that_gates_judge() {
    let own = own(&format!(
        "repeats = 3\npass_env = [\"GIVEN\"]\n\
         [[scenario.command]]\nid = \"count\"\nrun = [\"./count.sh\", \"{{work}}/out.json\"]\nexit_codes = [0, 7]\n\
         [[scenario.command.value]]\nmetric = \"cases\"\nregex = 'ran (\\d+) cases'\n\
         [[scenario.command.value]]\nmetric = \"percent\"\nfile = \"out.json\"\njson = \"totals.1.percent\"\n\
         [[scenario.command]]\nid = \"env\"\nrun = [\"sh\", \"env.sh\"]\n\
         [[scenario.command.value]]\nmetric = \"given\"\njson = \"given\"\n\
         [[scenario.command.value]]\nmetric = \"other\"\njson = \"other\"\n\
         {}{}{}{}{}{}",
        gate("cases", "cases", "med", "12"),
        gate("percent", "percent", "max", "91.5"),
        gate("code", "command_exit_code{command:count}", "max", "7"),
        gate("rounds", "round_duration", "count", "3"),
        gate("given", "given", "avg", "5"),
        gate("kept-out", "other", "max", "0"),
    ));
    let script = "#!/bin/sh\necho ran 3 cases\necho 'ran 99 cases' >&2\necho ran 12 cases\n\
        echo '{\"totals\":[{},{\"percent\":91.5}]}' > \"$1\"\nexit 7\n";
    own.write("count.sh", script);
    own.write(
        "env.sh",
        "echo \"{\\\"given\\\": $GIVEN, \\\"other\\\": ${OTHER:-0}}\"\n",
    );
    executable(&own, "count.sh");
    let mut command = own.call("run", &[]);
    command
        .env("K6_BIN", "/nonexistent/k6")
        .env("GIVEN", "5")
        .env("OTHER", "6");
    let (code, printed) = finish(&mut command);
    assert_eq!(code, 0, "{printed}");
    let (verdict, all) = gates(&own);
    assert_eq!(verdict, "PASS", "{all:?}");
    let folder = own.place.run_folder("main");
    let calls = text(&folder.join("commands.jsonl"));
    assert_eq!(
        calls.lines().count(),
        6,
        "two commands in three repeats: {calls}"
    );
    assert!(text(&folder.join("stdout.txt")).contains("ran 99 cases"));
    // What is stored says the same, and so does nobody who touched it.
    let (code, printed) = finish(own.place.runner().arg("judge").arg(&folder));
    assert_eq!(code, 0, "{printed}");
    assert!(own.place.left_over().is_empty());
}

fn executable(own: &Own, name: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(own.folder.join(name), mode).expect("executable");
}

#[test]
fn a_command_that_fails_is_named_and_those_after_it_do_not_run() {
    let commands = "[[scenario.command]]\nid = \"lint\"\nrun = [\"sh\", \"-c\", \"echo it is untidy; exit 3\"]\n\
        [[scenario.command]]\nid = \"tests\"\nrun = [\"touch\", \"ran\"]\n";
    let own = own(commands);
    let (code, printed) = run(&own, &[]);
    assert_eq!(code, 3, "{printed}");
    let (verdict, all) = gates(&own);
    assert_eq!(verdict, "FAIL");
    let failed: Vec<&String> = all
        .iter()
        .filter(|gate| !gate.1)
        .map(|gate| &gate.2)
        .collect();
    assert_eq!(failed.len(), 1, "{all:?}");
    assert!(
        failed[0].contains("lint: failed") && failed[0].contains("it is untidy"),
        "{failed:?}"
    );
    assert!(!own.folder.join("ran").exists(), "it ended the repeat");

    let own = self::own(&format!("keep_going = true\n{commands}"));
    let (code, _) = run(&own, &[]);
    assert_eq!((code, own.folder.join("ran").exists()), (3, true));
}

#[test]
fn one_repeat_in_ten_that_fails_is_a_flake_rate() {
    let script = "n=$(cat n 2>/dev/null || echo 0); n=$((n+1)); echo $n > n; [ $n -ne 4 ]";
    let own = own(&format!(
        "repeats = 10\n[[scenario.command]]\nid = \"tests\"\nrun = [\"sh\", \"-c\", '{script}']\n{}",
        gate("flakes", "command_failed{command:tests}", "rate", "0")
    ));
    let (code, printed) = run(&own, &[]);
    assert_eq!(code, 3, "{printed}");
    let (verdict, all) = gates(&own);
    assert_eq!(verdict, "FAIL");
    let flakes = all.iter().find(|gate| gate.0 == "flakes").expect("judged");
    assert!(!flakes.1 && flakes.2.contains("0.1"), "{flakes:?}");
    let others = all.iter().filter(|gate| !gate.1).count();
    assert_eq!(others, 1, "it is left to the gate on it: {all:?}");
}

#[test]
fn what_has_no_time_left_is_ended_with_all_that_it_started() {
    let own = own(
        "[[scenario.command]]\nid = \"slow\"\ntime_limit = \"2s\"\nrun = [\"sh\", \"-c\", \"sleep 600 & echo $! > child; wait\"]\n",
    );
    let (code, printed) = run(&own, &[]);
    assert_eq!(code, 3, "{printed}");
    let (verdict, all) = gates(&own);
    assert_eq!(verdict, "FAIL");
    let late = all.iter().find(|gate| gate.0 == "commands-in-time");
    let late = late.expect("judged");
    assert!(!late.1 && late.2.contains("slow: ended after"), "{late:?}");
    let child = text(&own.folder.join("child"));
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.trim()));
    assert!(
        stat.is_err() || stat.is_ok_and(|stat| stat.contains(") Z")),
        "it ended, too"
    );
}

#[test]
fn a_value_that_is_not_there_is_invalid() {
    let own = own(&format!(
        "[[scenario.command]]\nid = \"tests\"\nrun = [\"echo\", \"nothing to see\"]\n\
         [[scenario.command.value]]\nmetric = \"cases\"\nregex = 'ran (\\d+) cases'\n{}",
        gate("cases", "cases", "max", "1")
    ));
    let (code, printed) = run(&own, &[]);
    assert_eq!(code, 3, "{printed}");
    let (verdict, all) = gates(&own);
    assert_eq!(verdict, "INVALID", "{all:?}");
    let read = all
        .iter()
        .find(|gate| gate.0 == "values-read")
        .expect("judged");
    assert!(!read.1 && read.2.contains("ran (\\d+) cases"), "{read:?}");
}

#[test]
fn the_line_of_a_suite_follows_from_the_verdict_alone() {
    let values = "[[scenario.command.value]]\nmetric = \"cases\"\nregex = 'ran (\\d+) cases'\n";
    let command = |run: &str| format!("[[scenario.command]]\nid = \"work\"\nrun = {run}\n{values}");
    let good = command(r#"["echo", "ran 1 cases"]"#);
    for (commands, more, code, line) in [
        (&good, &[][..], 0, "Gate: PASSED"),
        (&good, &["--quick"][..], 0, "Gate: PASSED (SMOKE)"),
        (
            &command(r#"["echo", "ran 2 cases"]"#),
            &[][..],
            3,
            "Gate: FAILED",
        ),
        // What was measured holds nothing that could be judged.
        (
            &command(r#"["echo", "nothing"]"#),
            &[][..],
            3,
            "Gate: FAILED (INVALID)",
        ),
        (
            &command(r#"["no-such-program-here"]"#),
            &[][..],
            2,
            "Gate: FAILED (NOT_RUN)",
        ),
    ] {
        let own = own(&format!(
            "repeats = 2\nsay = {{ pass = \"Gate: PASSED\", fail = \"Gate: FAILED\" }}\n{commands}{}[quick]\nmin_samples = 0.5\n",
            gate("cases", "cases", "max", "1")
        ));
        let (found, printed) = run(&own, more);
        assert_eq!(found, code, "{line}: {printed}");
        let lines: Vec<&str> = printed
            .lines()
            .filter(|line| line.contains("Gate: "))
            .collect();
        assert_eq!(lines, [line], "{printed}");
        let folder = own.place.run_folder("main");
        assert_eq!(json(&folder.join("verdict.json"))["said"], line);
        if code != 2 {
            let (_, judged) = finish(own.place.runner().arg("judge").arg(&folder));
            assert!(judged.lines().any(|said| said == line), "{judged}");
        }
    }
}

#[test]
fn a_program_that_is_missing_is_named_before_anything_runs() {
    let own = own(
        "[[scenario.command]]\nid = \"first\"\nrun = [\"touch\", \"ran\"]\n\
         [[scenario.command]]\nid = \"tests\"\nrun = [\"no-such-program-here\"]\n",
    );
    let (code, printed) = run(&own, &[]);
    assert_eq!(code, 2, "{printed}");
    assert!(
        printed.contains("command tests: no program `no-such-program-here`"),
        "{printed}"
    );
    assert!(!own.folder.join("ran").exists());
}

#[test]
fn quick_makes_fewer_repeats_and_says_smoke() {
    let own = own(
        "repeats = 20\n[[scenario.command]]\nid = \"tests\"\nrun = [\"true\"]\n[quick]\nmin_samples = 0.1\n",
    );
    let (code, printed) = run(&own, &["--quick"]);
    assert_eq!(code, 0, "{printed}");
    let folder = own.place.run_folder("main");
    assert_eq!(json(&folder.join("verdict.json"))["verdict"], "SMOKE");
    assert_eq!(text(&folder.join("commands.jsonl")).lines().count(), 2);
}

#[test]
fn commands_know_the_target_that_they_are_for() {
    let own = Own::new(
        &format!(
            "{EXTERNAL}\n[[scenario]]\nid = \"main\"\ntime_limit = \"60s\"\n\
             [[scenario.command]]\nid = \"ask\"\nrun = [\"sh\", \"-c\", 'echo told $0 and $BASE_URL', \"{{address}}\"]\n"
        ),
        "",
    );
    let (code, printed) = own.at_listener("run", &[]);
    assert_eq!(code, 0, "{printed}");
    let said = text(&own.place.run_folder("main").join("stdout.txt"));
    let address = own.address();
    assert!(
        said.contains(&format!("told {address} and {address}")),
        "{said}"
    );
}

#[test]
fn a_command_ends_with_the_target_of_somebody_elses_that_it_is_for() {
    let patient = EXTERNAL.replace("every = \"20ms\"", "every = \"200ms\", gone = \"500ms\"");
    assert_ne!(patient, EXTERNAL);
    let own = Own::new(
        &format!(
            "{patient}\n[[scenario]]\nid = \"main\"\ntime_limit = \"20m\"\n\
             [[scenario.command]]\nid = \"waits\"\nrun = [\"sh\", \"-c\", \"touch begun; exec sleep 1200\"]\n"
        ),
        "",
    );
    let target = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = target.local_addr().expect("an address");
    let mut command = own.call("run", &[]);
    command
        .env("BASE_URL", format!("http://{address}"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let running = command.spawn().expect("the runner starts");
    wait_for("the command begins", || {
        own.folder.join("begun").exists().then_some(())
    });
    drop(target);
    let (code, printed) = wait(running);
    assert_eq!(code, 3, "{printed}");
    let verdict = json(&own.place.run_folder("main").join("verdict.json"));
    assert_eq!(verdict["verdict"], "INVALID", "{verdict:#}");
    let reasons = verdict["reasons"].to_string();
    let gone = format!("target-healthy: connecting to http://{address}");
    assert!(reasons.contains(&gone), "{reasons}");
}

#[test]
fn what_is_of_scripts_or_of_commands_alone_is_refused() {
    let command = "[[scenario.command]]\nid = \"a\"\nrun = [\"true\"]\n";
    for (suite, expected) in [
        (
            String::from("[[scenario]]\nid = \"main\"\n"),
            "needs one of `script`, `command` and `stub`",
        ),
        (
            format!("[[scenario]]\nid = \"main\"\nscript = \"run.js\"\nlimit = \"5s\"\n{command}"),
            "needs one of",
        ),
        (
            format!("[[scenario]]\nid = \"main\"\ntarget = \"none\"\n{command}"),
            "needs `time_limit`",
        ),
        (
            format!(
                "[[scenario]]\nid = \"main\"\ntarget = \"none\"\ntime_limit = \"5s\"\nlimit = \"5s\"\n{command}"
            ),
            "`limit` is of a scenario with a `script`",
        ),
        (
            format!(
                "[[scenario]]\nid = \"main\"\ntarget = \"none\"\ntime_limit = \"5s\"\nrepeats = 0\n{command}"
            ),
            "allowed: 1 to 1000",
        ),
        (
            format!(
                "[[scenario]]\nid = \"main\"\ntarget = \"nowhere\"\ntime_limit = \"5s\"\n{command}"
            ),
            "no target `nowhere`",
        ),
        (
            String::from(
                "[[scenario]]\nid = \"main\"\nscript = \"run.js\"\nlimit = \"5s\"\nrepeats = 2\n",
            ),
            "`repeats` is of a scenario with commands",
        ),
        (
            format!(
                "[[scenario]]\nid = \"main\"\ntarget = \"none\"\ntime_limit = \"5s\"\n{command}[[scenario.command.value]]\nmetric = \"m\"\nregex = 'none'\n"
            ),
            "needs a group",
        ),
        (
            format!(
                "[[scenario]]\nid = \"main\"\ntarget = \"none\"\ntime_limit = \"5s\"\n{command}[[scenario.command.value]]\nmetric = \"m\"\njson = \"a\"\nfile = \"../up\"\n"
            ),
            "inside {work}",
        ),
        (
            format!(
                "[[scenario]]\nid = \"main\"\ntarget = \"none\"\ntime_limit = \"5s\"\nsay = {{ pass = \"a\", fail = \"a\" }}\n{command}"
            ),
            "a line each, and not the same",
        ),
    ] {
        let own = Own::new(&suite, "");
        let path = own.folder.join("suite.toml");
        let (code, printed) = finish(own.place.runner().arg("validate").arg(path));
        assert_eq!(code, 2, "{expected}: {printed}");
        assert!(printed.contains(expected), "{expected}: {printed}");
    }
}
