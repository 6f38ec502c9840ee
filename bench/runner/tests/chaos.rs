//! Faults that are injected while a run goes on: what they do, what is expected meanwhile, and that they are always taken back, by
//! whoever is left to do it. Targets are real chat services; commands stand for k6 where no load is needed.

mod common;
#[path = "chaos/switches.rs"]
mod switches;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::life::{Ends, chat_service, send, wait_for};
use common::own::{EXTERNAL, Own};
use common::series::Verdict;
use common::{finish, json, start_target, text};
use rustix::process::Signal;
use serde_json::{Value as Json, json};

/// A port that nobody has now.
fn port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// A chat service that the runner starts at an address that the suite says.
fn started(port: u16) -> String {
    let program = chat_service().display().to_string();
    format!(
        "[[target]]\nid = \"app\"\nkind = \"process\"\n\
         start = [\"{program}\", \"--listen\", \"127.0.0.1:{port}\", \"--stream-listen\", \"127.0.0.1:0\", \"--port-file\", \"{{port_file}}\"]\n\
         ready = {{ url = \"${{BASE_URL}}/health\", status = 200, every = \"10ms\", limit = \"60s\" }}\n"
    )
}

/// A scenario whose only command lasts for so long.
fn lasting(seconds: &str) -> String {
    format!(
        "[[scenario]]\nid = \"main\"\ntime_limit = \"120s\"\n[[scenario.command]]\nid = \"work\"\nrun = [\"sleep\", \"{seconds}\"]\n"
    )
}

/// A scenario whose only command lasts until a fault is taken back, and a moment longer.
fn until_gone(fault: &str) -> String {
    let script = format!(
        "until grep -q '{fault} is taken back' ../evidence/*/events.jsonl; do sleep 0.05; done; sleep 1"
    );
    format!(
        "[[scenario]]\nid = \"main\"\ntime_limit = \"120s\"\n[[scenario.command]]\nid = \"work\"\nrun = [\"sh\", \"-c\", \"{script}\"]\n"
    )
}

fn own(suite: &str, harness: &str) -> Own {
    let own = Own::new(suite, harness);
    if harness.is_empty() {
        let path = own.folder.join("suite.toml");
        let whole = text(&path).replace("needs = [\"k6\"]\n", "");
        own.write("suite.toml", &whole);
    }
    own
}

fn fault(own: &Own, id: &str) -> Json {
    let record = json(&own.place.run_folder("main").join("chaos.json"));
    let faults = record["faults"].as_array().expect("faults");
    let found = faults.iter().find(|fault| fault["id"] == id);
    found
        .unwrap_or_else(|| panic!("no {id}: {record:#}"))
        .clone()
}

fn verdict(own: &Own) -> Verdict {
    Verdict(json(&own.place.run_folder("main").join("verdict.json")))
}

/// Entries of the journal.
fn journal(own: &Own) -> Vec<PathBuf> {
    let home = own.folder.parent().expect("the place").to_owned();
    let entries = std::fs::read_dir(home.join(".local/state/k6-barrier/undo"));
    let entries = entries.into_iter().flatten();
    entries.map(|entry| entry.expect("entry").path()).collect()
}

#[test]
fn a_program_that_is_killed_is_started_again_and_the_run_goes_on() {
    let own = own(
        &format!(
            "{}{}\
             [[chaos]]\nid = \"kill\"\nkind = \"process\"\nof = \"app\"\nat = \"200ms\"\nhold = \"300ms\"\nsettle = \"100ms\"\n\
             expect = {{ url = \"{{address}}/health\", first_after = \"undo\", first_good_within = \"60s\" }}\n\
             [[monitor]]\nid = \"processes\"\nkind = \"process\"\nof = [\"target\"]\nevery = \"50ms\"\n\
             [[derive]]\nid = \"back_s\"\nhow = \"first_after\"\nfrom = [\"chaos.kill\"]\n\
             [[gate]]\nid = \"back\"\nclass = \"slo\"\nmetric = \"back_s\"\nstat = \"value\"\nop = \"<\"\nlimit = 60\n",
            started(port()),
            until_gone("kill")
        ),
        "",
    );
    let (code, printed) = finish(&mut own.call("run", &[]));
    assert_eq!(code, 0, "{printed}");
    let kill = fault(&own, "kill");
    assert_eq!(kill["end"], "held", "{kill:#}");
    let at = |name: &str| kill[name].as_i64().expect(name);
    assert!(at("injectMs") <= at("injectedMs") && at("undoMs") - at("injectedMs") >= 300);
    assert!(at("undoneMs") >= at("undoMs"));
    assert!(
        kill["asked"].as_u64() > Some(0) && kill["firstGoodMs"].as_f64().is_some(),
        "{kill:#}"
    );
    let judged = verdict(&own);
    assert_eq!(judged.is(), "PASS");
    for gate in ["chaos-kill", "chaos-kill-made", "back"] {
        assert_eq!(judged.gate(gate)["holds"], true, "{gate}");
    }
    let seen = text(&own.place.run_folder("main").join("monitor-processes.jsonl"));
    let mut last = seen.lines().rev();
    assert!(
        last.any(|line| line.contains("\"target\"")),
        "the new one is watched, too: {seen}"
    );
    let log = text(&own.place.run_folder("main").join("app.log"));
    assert_eq!(
        log.matches("listening on").count(),
        2,
        "one log of both: {log}"
    );
    assert!(journal(&own).is_empty() && own.place.left_over().is_empty());
    // What is stored says the same.
    let folder = own.place.run_folder("main");
    let (code, printed) = finish(own.place.runner().arg("judge").arg(&folder));
    assert_eq!(code, 0, "{printed}");
    std::fs::remove_file(folder.join("chaos.json")).expect("removed");
    let (code, printed) = finish(own.place.runner().arg("judge").arg(&folder));
    assert_eq!(
        code, 3,
        "without its record nothing of it is known: {printed}"
    );
}

#[test]
fn who_does_not_answer_in_time_has_failed() {
    let own = own(
        &format!(
            "{}{}\
             [[chaos]]\nid = \"kill\"\nkind = \"process\"\nof = \"app\"\nsignal = \"TERM\"\nat = \"100ms\"\nhold = \"500ms\"\n\
             expect = {{ url = \"{{address}}/health\", first_good_within = \"200ms\", steady_within = \"100ms\" }}\n",
            started(port()),
            until_gone("kill")
        ),
        "",
    );
    let (code, printed) = finish(&mut own.call("run", &[]));
    assert_eq!(code, 3, "{printed}");
    let judged = verdict(&own);
    assert_eq!(judged.is(), "FAIL", "{:#}", judged.0);
    assert!(
        judged
            .text("chaos-kill")
            .contains("the first good answer: none"),
        "{}",
        judged.text("chaos-kill")
    );
    assert_eq!(judged.gate("chaos-kill-made")["holds"], true);
    let kill = fault(&own, "kill");
    assert_eq!(kill["asked"], kill["bad"], "nobody answered: {kill:#}");
}

/// A chat service that the test has started, and that nothing but the test ends.
struct Service {
    child: Child,
    address: String,
}

impl Service {
    fn start(place: &Path) -> Self {
        let file = place.join("address");
        let (child, address) = start_target(
            Command::new(chat_service()).args([
                "--listen",
                "127.0.0.1:0",
                "--stream-listen",
                "127.0.0.1:0",
            ]),
            &file,
        );
        let address = address.lines().next().expect("an address").to_owned();
        Self { child, address }
    }

    /// How its switch for chunks stands.
    fn delay(&self) -> Json {
        let mut answer = ureq::get(format!("{}/faults", self.address))
            .call()
            .expect("it answers");
        let body = answer.body_mut().read_to_string().expect("a text");
        let faults: Json = serde_json::from_str(&body).expect("JSON");
        faults["chunk-delay-ms"].clone()
    }

    fn waits_for(&self, delay: u32) {
        wait_for("the switch", || {
            (self.delay() == json!(delay)).then_some(())
        });
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A suite that sets the switch of a service that somebody has started, and holds it for long.
fn switching(seconds: &str) -> Own {
    own(
        &format!(
            "{EXTERNAL}\n{}\
             [[chaos]]\nid = \"slow\"\nkind = \"faults\"\nurl = \"{{address}}/faults\"\n\
             inject = '{{\"chunk-delay-ms\": 7}}'\nundo = '{{\"chunk-delay-ms\": 0}}'\nat = \"100ms\"\nhold = \"600s\"\n",
            lasting(seconds)
        ),
        "",
    )
}

fn at_service(own: &Own, service: &Service) -> Command {
    let mut command = own.call("run", &[]);
    command
        .env("BASE_URL", &service.address)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

#[test]
fn an_interrupt_takes_the_fault_back() {
    let own = switching("600");
    let service = Service::start(&own.folder);
    let mut runner = Ends(
        at_service(&own, &service)
            .spawn()
            .expect("the runner starts"),
    );
    service.waits_for(7);
    assert_eq!(journal(&own).len(), 1, "it was written down before");
    send(i32::try_from(runner.0.id()).expect("an id"), Signal::INT);
    assert_eq!(runner.0.wait().expect("end").code(), Some(4));
    assert_eq!(service.delay(), json!(0));
    assert_eq!(fault(&own, "slow")["end"], "interrupted");
    assert!(journal(&own).is_empty());
}

#[test]
fn what_a_killed_runner_left_is_taken_back_by_undo_or_by_the_next_run() {
    for by_run in [false, true] {
        let own = switching("600");
        let service = Service::start(&own.folder);
        let mut runner = at_service(&own, &service)
            .spawn()
            .expect("the runner starts");
        service.waits_for(7);
        runner.kill().expect("killed");
        runner.wait().expect("end");
        assert_eq!((service.delay(), journal(&own).len()), (json!(7), 1));
        let (code, printed) = if by_run {
            let suite = own.folder.join("suite.toml");
            let short = text(&suite).replace("\"600\"", "\"0\"");
            own.write("suite.toml", &short);
            finish(own.call("run", &[]).env("BASE_URL", &service.address))
        } else {
            finish(own.place.runner().arg("undo"))
        };
        assert!(
            printed.contains("fault slow of ") && printed.contains("taken back"),
            "{printed}"
        );
        // The short run was over before its own fault was due, which is told.
        assert_eq!(code, if by_run { 3 } else { 0 }, "{printed}");
        assert_eq!(service.delay(), json!(0));
        assert!(journal(&own).is_empty());
        let (code, printed) = finish(own.place.runner().arg("undo"));
        assert_eq!((code, printed.as_str()), (0, "no fault is left\n"));
    }
}

#[test]
fn what_cannot_be_taken_back_keeps_runs_from_beginning_until_it_is() {
    let own = switching("600");
    let service = Service::start(&own.folder);
    let mut runner = at_service(&own, &service)
        .spawn()
        .expect("the runner starts");
    service.waits_for(7);
    runner.kill().expect("killed");
    runner.wait().expect("end");
    drop(service);
    for verb in ["undo", "run"] {
        let (code, printed) = match verb {
            "undo" => finish(own.place.runner().arg("undo")),
            _ => own.at_listener("run", &[]),
        };
        assert_eq!(code, 2, "{verb}: {printed}");
        assert!(
            printed.contains("fault slow of ") && printed.contains("undo --forget"),
            "{printed}"
        );
        assert_eq!(journal(&own).len(), 1);
    }
    let (code, printed) = finish(own.place.runner().args(["undo", "--forget"]));
    assert!(code == 0 && printed.contains("forgotten"), "{printed}");
    assert!(journal(&own).is_empty());
}

#[test]
fn a_run_that_ends_early_takes_back_what_a_command_broke() {
    let own = own(
        &format!(
            "{EXTERNAL}\n[[scenario]]\nid = \"main\"\ntime_limit = \"60s\"\n[[scenario.command]]\nid = \"work\"\nrun = [\"sh\", \"-c\", \"until test -e broken; do sleep 0.01; done; exit 9\"]\n\
             [[chaos]]\nid = \"break\"\nkind = \"command\"\ninject = [\"sh\", \"-c\", \"ls ../.local/state/k6-barrier/undo/*-break.json && echo $LISTENER > broken\"]\nundo = [\"rm\", \"broken\"]\nat = \"10ms\"\nhold = \"600s\"\n"
        ),
        "",
    );
    let (code, printed) = own.at_listener("run", &[]);
    assert_eq!(code, 3, "{printed}");
    assert!(!own.folder.join("broken").exists(), "{printed}");
    let judged = verdict(&own);
    assert_eq!(judged.is(), "INVALID", "it was not there for its time");
    assert!(
        judged
            .text("chaos-break-made")
            .contains("the run was over before its time was")
    );
    assert_eq!(fault(&own, "break")["end"], "runEnded");
}

#[test]
fn what_a_command_leaves_behind_lives_for_the_hold_and_ends_with_it() {
    let own = own(
        &format!(
            "{EXTERNAL}\n{}[[chaos]]\nid = \"burn\"\nkind = \"command\"\ninject = [\"sh\", \"-c\", \"sleep 600 & echo $! > burning\"]\n\
             undo = [\"sh\", \"-c\", \"grep -q ') S ' /proc/$(cat burning)/stat && touch burned\"]\nat = \"10ms\"\nhold = \"1s\"\n",
            until_gone("burn")
        ),
        "",
    );
    let (code, printed) = own.at_listener("run", &[]);
    assert_eq!(code, 0, "{printed}");
    assert!(own.folder.join("burned").exists(), "it lived until then");
    let id = text(&own.folder.join("burning"));
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", id.trim()));
    assert!(
        stat.is_err() || stat.is_ok_and(|stat| stat.contains(") Z ")),
        "it ended with the fault"
    );
}

#[test]
fn an_injection_that_fails_is_named_and_its_undo_is_done_all_the_same() {
    let own = own(
        &format!(
            "{EXTERNAL}\n{}[[chaos]]\nid = \"break\"\nkind = \"command\"\ninject = [\"sh\", \"-c\", \"echo no such node; exit 5\"]\nundo = [\"touch\", \"undone\"]\nat = \"10ms\"\nhold = \"1s\"\n",
            lasting("2")
        ),
        "",
    );
    let (code, printed) = own.at_listener("run", &[]);
    assert_eq!(code, 3, "{printed}");
    let judged = verdict(&own);
    assert_eq!(judged.is(), "INVALID");
    let made = judged.text("chaos-break-made");
    assert!(
        made.contains("could not be injected") && made.contains("no such node"),
        "{made}"
    );
    assert!(own.folder.join("undone").exists());
}

#[test]
fn a_partition_needs_no_privileges() {
    let own = own(
        &format!(
            "[env.THROUGH]\ntype = \"url\"\nrole = \"place\"\n{EXTERNAL}\n{}\
             [[proxy]]\nid = \"front\"\nto = \"${{BASE_URL}}\"\naddress = \"THROUGH\"\n\
             [[chaos]]\nid = \"cut\"\nkind = \"proxy\"\nof = \"front\"\nat = \"100ms\"\nhold = \"300ms\"\n\
             expect = {{ url = \"${{THROUGH}}/health\", first_good_within = \"100ms\" }}\n\
             [[chaos]]\nid = \"silence\"\nkind = \"proxy\"\nof = \"front\"\nhow = \"silence\"\nat = \"600ms\"\nhold = \"300ms\"\n\
             expect = {{ url = \"${{THROUGH}}/health\", first_after = \"undo\", first_good_within = \"30s\", timeout = \"50ms\" }}\n",
            until_gone("silence")
        ),
        "",
    );
    let service = Service::start(&own.folder);
    let (code, printed) = finish(own.call("run", &[]).env("BASE_URL", &service.address));
    assert_eq!(code, 3, "{printed}");
    let judged = verdict(&own);
    assert_eq!(judged.is(), "FAIL", "{:#}", judged.0);
    assert_eq!(
        judged.gate("chaos-cut")["holds"],
        false,
        "nothing passes what is cut"
    );
    for gate in ["chaos-cut-made", "chaos-silence-made", "chaos-silence"] {
        assert_eq!(judged.gate(gate)["holds"], true, "{}", judged.text(gate));
    }
}

#[test]
fn gates_tell_the_time_of_a_fault_from_the_rest() {
    let harness = "import http from 'k6/http';\nimport { sleep } from 'k6';\n\
        export const options = { scenarios: { load: { executor: 'constant-vus', vus: 2, duration: '9s', gracefulStop: '2s' } } };\n\
        export default function () {\n  http.get(`${__ENV.BASE_URL}/health`, { timeout: '1s' });\n  sleep(0.05);\n}\n\
        export function handleSummary(data) { return { 'summary.json': JSON.stringify(data) }; }\n";
    let gate = |id: &str, during: &str, op: &str, limit: &str| {
        format!(
            "[[gate]]\nid = \"{id}\"\nclass = \"slo\"\nmetric = \"http_req_failed\"\nstat = \"rate\"\nop = \"{op}\"\nlimit = {limit}\nduring = \"{during}\"\n"
        )
    };
    let own = own(
        &format!(
            "{}[series]\n[[scenario]]\nid = \"main\"\nscript = \"run.js\"\nlimit = \"60s\"\n\
             [[chaos]]\nid = \"kill\"\nkind = \"process\"\nof = \"app\"\nat = \"3s\"\nhold = \"2s\"\nsettle = \"1s\"\n\
             [[derive]]\nid = \"noticed_s\"\nhow = \"first_after\"\nfrom = [\"chaos.kill\", \"series.http_req_failed\"]\nband = [0.5, 1]\n\
             [[gate]]\nid = \"noticed\"\nclass = \"slo\"\nmetric = \"noticed_s\"\nstat = \"value\"\nop = \"<\"\nlimit = 2\n{}{}{}{}",
            started(port()),
            gate("hit", "chaos:kill", ">", "0.2"),
            gate("hit-too", "chaos", ">", "0.2"),
            gate("calm", "calm", "==", "0"),
            gate("refused", "chaos:kill", "<", "0.01"),
        ),
        harness,
    );
    let (code, printed) = finish(&mut own.call("run", &[]));
    assert_eq!(code, 3, "{printed}");
    let judged = verdict(&own);
    assert_eq!(judged.is(), "FAIL", "{:#}", judged.0);
    for (gate, holds) in [
        ("hit", true),
        ("hit-too", true),
        ("calm", true),
        ("refused", false),
        ("noticed", true),
    ] {
        assert_eq!(judged.gate(gate)["holds"], holds, "{}", judged.text(gate));
    }
    assert_eq!(judged.gate("chaos-kill-made")["holds"], true, "k6 ran on");
}

/// Two faults: the switches of a slow target, and a command soon after.
fn beside_a_slow_one(seconds: &str) -> Own {
    own(
        &format!(
            "{EXTERNAL}\n{}\
             [[chaos]]\nid = \"slow\"\nkind = \"faults\"\nurl = \"{{address}}/faults\"\n\
             inject = '{{\"broken\": true}}'\nundo = '{{\"broken\": false}}'\nat = \"100ms\"\nhold = \"1s\"\n\
             [[chaos]]\nid = \"quick\"\nkind = \"command\"\ninject = [\"true\"]\nundo = [\"true\"]\nat = \"300ms\"\nhold = \"1s\"\n",
            lasting(seconds)
        ),
        "",
    )
}

#[test]
fn a_target_that_is_slow_to_break_holds_nothing_else_up() {
    let own = beside_a_slow_one("8");
    let (address, told) = switches::slow_switches(std::time::Duration::from_secs(3));
    let (_, printed) = finish(own.call("run", &[]).env("BASE_URL", &address));
    let slow = fault(&own, "slow");
    let at = |fault: &Json, name: &str| {
        fault[name]
            .as_i64()
            .unwrap_or_else(|| panic!("{name}: {fault:#}"))
    };
    assert!(
        at(&slow, "injectedMs") - at(&slow, "injectMs") >= 3000,
        "{printed}"
    );
    let quick = fault(&own, "quick");
    // It began, and was over, while the other one was still waited for.
    assert!(
        at(&quick, "undoneMs") < at(&slow, "injectedMs"),
        "{slow:#} {quick:#}"
    );
    for fault in [&slow, &quick] {
        assert_eq!(fault["end"], "held", "{fault:#}");
    }
    assert_eq!(
        *told.lock().expect("told"),
        [r#"{"broken": true}"#, r#"{"broken": false}"#]
    );
}

#[test]
fn a_fault_waits_while_another_one_changes_the_same_switches() {
    let fault_of = |id: &str, at: &str| {
        format!(
            "[[chaos]]\nid = \"{id}\"\nkind = \"faults\"\nurl = \"{{address}}/faults\"\n\
             inject = '{{\"{id}\": true}}'\nundo = '{{\"{id}\": false}}'\nat = \"{at}\"\nhold = \"5s\"\n"
        )
    };
    let faults = [fault_of("one", "100ms"), fault_of("two", "200ms")].concat();
    let own = own(&format!("{EXTERNAL}\n{}{faults}", lasting("12")), "");
    let (address, _) = switches::slow_switches(std::time::Duration::from_secs(1));
    let (_, printed) = finish(own.call("run", &[]).env("BASE_URL", &address));
    let (one, two) = (fault(&own, "one"), fault(&own, "two"));
    let at = |fault: &Json, name: &str| fault[name].as_i64().expect("an instant");
    assert!(
        at(&two, "injectMs") >= at(&one, "injectedMs"),
        "{one:#} {two:#} {printed}"
    );
    assert_eq!((&one["end"], &two["end"]), (&"held".into(), &"held".into()));
}

#[test]
fn a_target_that_does_not_say_whether_it_broke_is_mended_twice() {
    let own = beside_a_slow_one("15");
    let (address, told) = switches::slow_switches(std::time::Duration::from_secs(600));
    let (code, printed) = finish(own.call("run", &[]).env("BASE_URL", &address));
    assert_eq!(code, 3, "{printed}");
    let slow = fault(&own, "slow");
    assert_eq!(slow["end"], "failed", "{slow:#}");
    let mend = r#"{"broken": false}"#;
    assert_eq!(
        *told.lock().expect("told"),
        [r#"{"broken": true}"#, mend, mend]
    );
    assert!(journal(&own).is_empty());
}

#[test]
fn an_undo_that_needs_a_password_gets_it_or_says_so() {
    let own = own(
        &format!(
            "[env.DB]\ntype = \"string\"\nrole = \"place\"\n[env.TOKEN]\ntype = \"string\"\nrole = \"place\"\nsecret = true\n{EXTERNAL}\n{}\
             [[chaos]]\nid = \"break\"\nkind = \"command\"\ninject = [\"sh\", \"-c\", \"echo $TOKEN > broken\"]\n\
             undo = [\"sh\", \"-c\", \"echo $DB $TOKEN > mended\"]\nat = \"10ms\"\nhold = \"600s\"\n",
            lasting("600")
        ),
        "",
    );
    let secrets = [
        ("DB", "postgres://u:hunter2@127.0.0.1/d"),
        ("TOKEN", "hunter3hunter3"),
    ];
    let mut command = own.call("run", &[]);
    command.env("BASE_URL", own.address()).envs(secrets);
    let mut runner = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the runner starts");
    let broken = own.folder.join("broken");
    wait_for("the fault", || {
        let written = std::fs::read_to_string(&broken).ok()?;
        written.contains("hunter3hunter3").then_some(())
    });
    runner.kill().expect("killed");
    runner.wait().expect("its end");
    let entry = text(&journal(&own)[0]);
    assert!(!entry.contains("hunter"), "{entry}");
    let mended = own.folder.join("mended");
    let (code, printed) = finish(own.place.runner().arg("undo"));
    assert!(
        code == 2
            && printed.contains("DB (it led to postgres://u@127.0.0.1/d), TOKEN, which no file")
            && !mended.exists(),
        "{printed}"
    );
    let elsewhere = [("DB", "postgres://u:hunter2@localhost/d"), secrets[1]];
    let (code, printed) = finish(own.place.runner().arg("undo").envs(elsewhere));
    assert!(
        code == 2 && printed.contains("leads elsewhere now") && !mended.exists(),
        "{printed}"
    );
    assert_eq!(journal(&own).len(), 1);
    let (code, printed) = finish(own.place.runner().arg("undo").envs(secrets));
    assert!(code == 0 && printed.contains("taken back"), "{printed}");
    assert!(text(&mended).contains("hunter2@127.0.0.1/d hunter3hunter3"));
    assert!(journal(&own).is_empty());
    for file in common::files(&own.place.evidence()) {
        let bytes = std::fs::read(&file).expect("a file");
        assert!(
            !String::from_utf8_lossy(&bytes).contains("hunter"),
            "{}",
            file.display()
        );
    }
}
