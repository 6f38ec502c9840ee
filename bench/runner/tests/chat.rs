//! The chat suite at a service with faults that are changed while it runs: each fault has its verdict, in compressed time.
//!
//! With `CHAT_DECLARED=1`, as `make chat-faults` has it, the checks run with the users, durations and limits that the suite declares, one
//! after another for more than an hour; `CHAT_VUS` and `CHAT_DURATION` make that less.
//!
//! | Acceptance check of the suite | Test |
//! |---|---|
//! | 3, an address is down | `check_03_…` |
//! | 4, a healthy target; 10, a smaller load; 15, reads of `/metrics` | `check_04_10_15_…` |
//! | 5, a slow loop | `check_05_…` |
//! | 6, a stall amid the right average | `check_06_…` |
//! | 7, no sample of the pace | `check_07_…` |
//! | 8, errors, and a higher limit | `check_08_…` |
//! | 9, lost chunks | `check_09_…` |
//! | 11, a host that is not allowed | `check_11_…` |

mod common;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::chat::Chat;
use common::monitor::Monitor;
use common::wire::{Fault, Wire};
use common::{Place, finish, json, k6, pause, wait};
use serde_json::{Value as Json, json};

/// Whether checks run as the suite declares it.
fn declared() -> bool {
    given("CHAT_DECLARED").is_some()
}

fn given(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The service, whose replies are as short as the time.
fn service() -> Chat {
    if declared() {
        Chat::with(&[])
    } else {
        Chat::start()
    }
}

/// What a run came to.
struct Ran {
    code: i32,
    printed: String,
    folder: PathBuf,
    verdict: Json,
}

impl Ran {
    fn gate(&self, id: &str) -> &Json {
        let gates = self.verdict["gates"].as_array().expect("gates");
        let found = gates.iter().find(|gate| gate["id"] == id);
        found.unwrap_or_else(|| panic!("no gate {id}: {}", self.printed))
    }

    fn holds(&self, id: &str) -> bool {
        self.gate(id)["holds"] == true
    }

    /// Why the machine leaves no other verdict than `INVALID`, whatever the service did: other programs took its processors, or nobody
    /// looked at the loop in time. The gates are judged all the same.
    fn excuses(&self) -> Vec<&str> {
        let gates = self.verdict["gates"].as_array().expect("gates").iter();
        let excuses = gates.filter(|gate| {
            let id = gate["id"].as_str().expect("an id");
            let text = gate["text"].as_str().expect("a text");
            let of_machine = OF_MACHINE.contains(&id) && gate["class"] == "validity";
            // It says of how many looks there was a value.
            let unseen =
                id.starts_with("hz-") && gate["missing"] == true && text.contains(" looks");
            gate["holds"] == false && (of_machine || unseen)
        });
        excuses.filter_map(|gate| gate["id"].as_str()).collect()
    }

    /// Prints what the run came to: an excuse takes the place of the verdict that was looked for, and whoever reads of a series that
    /// passed is to know which verdicts were said.
    fn tell(&self, looked_for: &str, excuses: &[&str]) {
        let test = std::thread::current();
        let test = test.name().unwrap_or("a test");
        let said = self.verdict["verdict"].as_str().unwrap_or("no verdict");
        let mut lines = vec![format!("{test}: {said}, looked for {looked_for}\n")];
        // What was looked for all along is no excuse.
        let excuses = excuses.iter().filter(|_| looked_for != "INVALID");
        lines.extend(excuses.map(|id| {
            let text = self.gate(id)["text"].as_str().expect("a text");
            format!("{test}: excused by {id}: {text}\n")
        }));
        // What a test prints by a macro is shown only where it fails.
        let _ = std::io::stderr().write_all(lines.concat().as_bytes());
    }

    /// Fails unless this is the verdict, or the machine has an excuse, which is printed then, and these gates of others than the loop and
    /// the machine are all that do not hold.
    fn expect(&self, verdict: &str, missed: &[&str]) {
        let verdict = match verdict {
            "SMOKE" if declared() => "PASS",
            verdict => verdict,
        };
        let excuses = self.excuses();
        self.tell(verdict, &excuses);
        let verdict = if excuses.is_empty() {
            verdict
        } else {
            "INVALID"
        };
        assert_eq!(self.verdict["verdict"], verdict, "{}", self.printed);
        let code = match verdict {
            "SMOKE" | "PASS" => 0,
            _ => 3,
        };
        assert_eq!(self.code, code, "{}", self.printed);
        let gates = self.verdict["gates"].as_array().expect("gates").iter();
        let gates = gates.filter(|gate| gate["holds"] == false);
        let ids = gates.map(|gate| gate["id"].as_str().expect("an id"));
        let of_others =
            |id: &&str| missed.contains(id) || !id.starts_with("hz-") && !OF_MACHINE.contains(id);
        let ids: Vec<&str> = ids.filter(of_others).collect();
        assert_eq!(ids, missed, "{}", self.printed);
    }
}

/// Gates by which the machine excuses a run.
const OF_MACHINE: [&str; 4] = [
    "generator-cpu",
    "generator-health",
    "host-steal",
    "machine-busy",
];

/// Limits that a loop keeps on a machine that does other things as well: only a fault misses them.
const BUSY_MACHINE: [(&str, &str); 6] = [
    ("HZ_AVERAGE_THRESHOLD", "60"),
    ("HZ_BAND_THRESHOLD", "0.2"),
    ("HZ_MIN_THRESHOLD", "5"),
    ("HZ_DIFFERENCE_THRESHOLD", "50"),
    ("HOST_STEAL_MAX", "100"),
    ("MACHINE_BUSY_MAX", "100"),
];

impl Chat {
    /// Four users, 12 s of ramps, then 9 s that count; all of the suite's order where no scenario is named.
    fn command(&self, scenario: &str, set: &[&str]) -> Command {
        let mut command = self.place.runner();
        command.args(["run", "chat"]);
        if !scenario.is_empty() {
            command.args(["--scenario", scenario]);
        }
        command
            .env("K6_BIN", k6())
            .env("BASE_URL", format!("http://{}", self.api))
            .env("WS_URL", format!("ws://{}", self.stream));
        // Another time and other limits of the loop are for compressed runs alone.
        let as_declared = |value: &str| value.starts_with("DURATION=") || value.starts_with("HZ_");
        let set = set.iter();
        for value in set.filter(|value| !declared() || !as_declared(value)) {
            command.args(["--set", value]);
        }
        if declared() {
            for name in ["VUS", "DURATION"] {
                command.envs(given(&format!("CHAT_{name}")).map(|value| (name, value)));
            }
            return command;
        }
        command
            .arg("--quick")
            .envs(BUSY_MACHINE)
            .env("VUS", "80")
            .env("DURATION", "90s")
            .env("SESSION_MS", "2000-4000")
            .env("PAUSE_MS", "0")
            .env("THINK_MS", "50");
        command
    }

    /// Runs a scenario to its end. `change`: what happens to the service once users talk to it.
    fn run(&self, scenario: &str, set: &[&str], change: impl FnOnce(&Self)) -> Ran {
        let mut running = self
            .command(scenario, set)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the runner starts");
        let begun = || self.counter("messages") + self.counter("refusedUpgrades") > 0;
        let ended = loop {
            let ended = running.try_wait().expect("state").is_some();
            if ended || begun() {
                break ended;
            }
            pause();
        };
        if !ended {
            change(self);
        }
        let (code, printed) = wait(running);
        assert!(!ended, "it ended before it began: {printed}");
        let folder = self.place.run_folder("service").join(scenario);
        let verdict = json(&folder.join("verdict.json"));
        Ran {
            code,
            printed,
            folder,
            verdict,
        }
    }

    /// The scenario that the suite is about.
    fn judged(&self, set: &[&str], change: impl FnOnce(&Self)) -> Ran {
        self.run("websocket-streaming", set, change)
    }

    /// Waits, after the first message, until the window is a second old: it is a part of the run's own time.
    fn in_the_window() {
        let first = Instant::now();
        let ramps = if declared() { 120 } else { 12 };
        while first.elapsed() < Duration::from_secs(ramps + 1) {
            pause();
        }
    }
}

fn value(gate: &Json) -> f64 {
    gate["value"].as_f64().expect("a value")
}

#[test]
fn check_03_no_load_where_an_address_is_down() {
    let mut chat = service();
    // Nobody listens there, and nobody else can: it is this end of a connection.
    let taken = std::net::TcpStream::connect(&chat.api).expect("a connection");
    chat.stream = taken.local_addr().expect("an address").to_string();
    let named = format!("http://{}/health: not so: status is 2xx", chat.stream);
    // Whether all of the suite is asked for, or a load alone.
    for scenario in ["", "websocket-streaming"] {
        chat.place = Place::new();
        let (code, printed) = finish(&mut chat.command(scenario, &[]));
        assert_eq!(code, 2, "the preflight did not pass: {printed}");
        let folder = chat.place.run_folder("service/health");
        let told = common::text(&folder.join("stdout.txt"));
        assert!(told.contains(&named), "{told}");
        assert_eq!(json(&folder.join("verdict.json"))["verdict"], "FAIL");
        assert_eq!(chat.counter("upgrades"), 0, "no load was sent: {printed}");
    }
}

#[test]
fn check_04_10_15_a_healthy_service_is_smoke_and_is_read_twice_a_second() {
    let chat = service();
    let ran = chat.judged(&[], |_| {});
    ran.expect("SMOKE", &[]);
    assert!(!ran.printed.contains("own target"), "{}", ran.printed);
    for id in [
        "errors",
        "connected",
        "connect-time",
        "reply-time",
        "hz-average",
        "hz-ticks",
        "hz-told",
        "hz-band",
        "hz-stall",
        "hz-lowest",
        "host-steal",
        "machine-busy",
    ] {
        assert!(ran.holds(id), "{id}: {}", ran.printed);
    }
    let meta = json(&ran.folder.join("meta.json"));
    let whole = declared() && given("CHAT_VUS").is_none() && given("CHAT_DURATION").is_none();
    assert_eq!(
        meta["ofRecord"], whole,
        "a thousand users, for five minutes"
    );
    // Twice a second by the monitor, however many users there are, and once by the health check; on a machine that is slow less.
    let seconds = meta["k6Run"]["wallClockMs"].as_f64().expect("a time") / 1000.0;
    let reads = chat.counter("metricsReads");
    assert!(
        reads as f64 <= 2.0 * seconds + 4.0,
        "{reads} reads in {seconds} s"
    );
    assert!(reads >= 9, "{reads} reads in {seconds} s");
}

#[test]
fn the_loop_and_the_machine_without_load_are_on_record() {
    let chat = service();
    let mut command = chat.command("quiet", &["HZ_AVERAGE_THRESHOLD=101"]);
    let (code, printed) = finish(&mut command);
    assert_eq!(code, 0, "what is looked at here judges nothing: {printed}");
    let folder = chat.place.run_folder("service").join("quiet");
    let verdict = json(&folder.join("verdict.json"));
    let gates = verdict["gates"].as_array().expect("gates");
    for (id, holds) in [
        ("pace-without-load", Some(false)),
        ("machine-without-load", None),
    ] {
        let gate = gates.iter().find(|gate| gate["id"] == id);
        let gate = gate.unwrap_or_else(|| panic!("{id}: {printed}"));
        assert!(value(gate) > 0.0, "{gate}");
        assert!(holds.is_none_or(|holds| gate["holds"] == holds), "{gate}");
    }
    assert_eq!(chat.counter("upgrades") + chat.counter("messages"), 0);
}

#[test]
fn check_05_a_slow_loop_fails_on_its_pace_alone() {
    let chat = service();
    // In compressed time tests/watched.rs looks at the alerts.
    let monitor = declared().then(|| Monitor::declared(&chat.place));
    let slow = json!({ "loop-hz": 90 });
    let usual = "HZ_AVERAGE_THRESHOLD=95";
    let ran = chat.judged(&[usual], |chat| chat.set_faults(&slow));
    ran.expect("FAIL", &[]);
    let average = ran.gate("hz-average");
    assert_eq!(average["holds"], false, "{average}");
    assert!(value(average) < 95.0, "{average}");
    if monitor.is_some() {
        let alerts = json(&ran.folder.join("alerts.json"));
        let mut all = alerts["alerts"].as_array().expect("alerts").iter();
        let low = all.find(|alert| alert["title"] == "Low loop pace");
        let low = low.unwrap_or_else(|| panic!("no such alert: {alerts:#}"));
        assert!(low["fired"][0].is_object(), "{alerts:#}");
    }
}

/// A pace that is an average since the service's start, or that somebody invented: the ticks say how fast the loop was.
#[test]
fn a_loop_that_is_slower_than_it_tells_fails_by_its_ticks() {
    let chat = Chat::start();
    let lies = json!({ "loop-hz": 80, "gauge-hz": 100 });
    let set = ["HZ_AVERAGE_THRESHOLD=95", "HZ_DIFFERENCE_THRESHOLD=2"];
    let ran = chat.judged(&set, |chat| chat.set_faults(&lies));
    ran.expect("FAIL", &["hz-ticks", "hz-told"]);
    for id in ["hz-average", "hz-band", "hz-lowest"] {
        assert!(ran.holds(id), "{id}: {}", ran.printed);
    }
    assert!(value(ran.gate("hz-ticks")) < 95.0, "{}", ran.printed);
    for (id, said) in [
        ("hz-ticks", "whatever pace the service tells"),
        ("hz-told", "is not the one of its ticks"),
    ] {
        let text = ran.gate(id)["text"].to_string();
        assert!(text.contains(said), "{text}");
    }
}

#[test]
fn a_slow_loop_on_a_machine_without_a_free_processor_is_invalid() {
    let chat = service();
    let slow = json!({ "loop-hz": 90 });
    let set = ["HZ_AVERAGE_THRESHOLD=95", "MACHINE_BUSY_MAX=0"];
    let ran = chat.judged(&set, |chat| chat.set_faults(&slow));
    ran.expect("INVALID", &["machine-busy"]);
    let reasons = ran.verdict["reasons"].to_string();
    assert!(
        reasons.contains("machine-busy: contention_percent avg: ")
            && reasons.contains("the machine had no processor free"),
        "{reasons}"
    );
}

#[test]
fn check_06_a_stall_fails_though_the_average_is_right() {
    let chat = service();
    // A window of 18 s: the stall is in its middle, also where somebody is some seconds late.
    // Two of eighteen seconds that are lost for good leave an average of 89 Hz.
    let set = [
        "HZ_BAND_THRESHOLD=0.99",
        "HZ_AVERAGE_THRESHOLD=92",
        "DURATION=180s",
    ];
    let ran = chat.judged(&set, |chat| {
        Chat::in_the_window();
        chat.set_faults(&json!({ "loop-stall-ms": 2000 }));
    });
    ran.expect("FAIL", &[]);
    assert!(ran.holds("hz-average"), "{}", ran.printed);
    for id in ["hz-stall", "hz-lowest"] {
        assert!(!ran.holds(id), "{id}: {}", ran.printed);
    }
    // It fails on band or stall: of the declared five minutes two seconds put six looks out of the band, of 600, which is the share at
    // which that gate just holds, or just does not.
    assert!(declared() || !ran.holds("hz-band"), "{}", ran.printed);
    assert!(value(ran.gate("hz-band")) < 1.0, "{}", ran.printed);
    assert!(value(ran.gate("hz-stall")) >= 1.4, "{}", ran.printed);
}

#[test]
fn check_07_a_pace_that_is_not_told_is_invalid() {
    let chat = service();
    let ran = chat.judged(&[], |chat| chat.set_faults(&json!({ "no-hz": true })));
    ran.expect("INVALID", &[]);
    let reasons = ran.verdict["reasons"].to_string();
    assert!(reasons.contains("backend_loop_hz"), "{reasons}");
}

#[test]
fn check_08_errors_beyond_their_limit_fail_whatever_the_machine_does() {
    let chat = service();
    let errors = json!({ "error-share": "2%" });
    // That all processors are at work explains no error.
    let ran = chat.judged(&["MACHINE_BUSY_MAX=0"], |chat| chat.set_faults(&errors));
    ran.expect("FAIL", &["errors", "machine-busy"]);
    assert_eq!(ran.gate("machine-busy")["class"], "watch");
    let rate = value(ran.gate("errors"));
    assert!((0.005..0.045).contains(&rate), "{rate}");
}

#[test]
fn check_08_below_another_limit_they_pass_and_what_failed_before_the_window_does_not_count() {
    let chat = service();
    chat.set_faults(&json!({ "error-share": "2%", "refuse-share": "100%" }));
    let ran = chat.judged(&["ERROR_RATE_THRESHOLD=0.05"], |chat| {
        assert!(chat.counter("refusedUpgrades") > 0);
        chat.set_faults(&json!({ "refuse-share": null }));
    });
    ran.expect("SMOKE", &[]);
    let rate = value(ran.gate("errors"));
    assert!((0.005..0.045).contains(&rate), "{rate}");
    assert_eq!(ran.verdict["k6ExitCode"], 99, "over the whole run");
    let exit = ran.gate("k6-exit")["text"].as_str().expect("a text");
    assert!(exit.contains("ws_connected_ok: rate==1"), "{exit}");
}

#[test]
fn check_09_lost_chunks_are_errors() {
    let chat = service();
    let lost = json!({ "drop-chunk": "2%" });
    let ran = chat.judged(&[], |chat| chat.set_faults(&lost));
    ran.expect("FAIL", &["errors"]);
    let rate = value(ran.gate("errors"));
    assert!((0.005..0.045).contains(&rate), "{rate}");
    let told = common::text(&ran.folder.join("stdout.txt"));
    assert!(told.contains("sequence_gap: chunks were missing"), "{told}");
}

#[test]
fn check_11_other_hosts_get_no_load() {
    let place = Place::new();
    let mut command = place.runner();
    command
        .args(["run", "chat"])
        .env("K6_BIN", k6())
        .env("BASE_URL", "http://production-api:4000");
    let (code, printed) = finish(&mut command);
    assert_eq!(code, 2, "{printed}");
    assert!(
        printed.contains("production-api") && printed.contains("allow"),
        "{printed}"
    );
    assert!(!place.evidence().exists());
}

#[test]
fn users_who_did_not_meet_fail_a_start_together() {
    let chat = service();
    chat.set_faults(&json!({ "refuse-share": "4" }));
    let ran = chat.run("together", &["DURATION=60s"], |chat| {
        chat.set_faults(&json!({ "refuse-share": null }));
    });
    ran.expect("FAIL", &["met"]);
    assert_eq!(value(ran.gate("met")), 3.0, "{}", ran.printed);
}

#[test]
fn who_loses_the_connection_while_others_are_waited_for_has_not_met() {
    let mut chat = service();
    let wire = Wire::to(&chat.stream, Fault::CutsTheFirst);
    chat.stream.clone_from(&wire.address);
    let ran = chat.run("together", &["DURATION=60s"], |_| {});
    ran.expect("FAIL", &["met"]);
    assert_eq!(value(ran.gate("met")), 3.0, "{}", ran.printed);
    let derived = json(&ran.folder.join("derived.json"));
    assert_eq!(derived["arrived"], 4, "all came: {derived}");
}

/// The reply that stops would fail when its time is over, which is behind the window.
#[test]
fn a_part_of_the_users_that_is_not_replied_to_any_more_fails() {
    let mut chat = service();
    let wire = Wire::to(&chat.stream, Fault::HoldsTheNext);
    chat.stream.clone_from(&wire.address);
    let ran = chat.judged(&["SILENCE_MS=3000", "DURATION=180s"], |_| {
        Chat::in_the_window();
        wire.hold();
    });
    ran.expect("FAIL", &["replies-to-all"]);
    assert!(ran.holds("replies-went-on"), "{}", ran.printed);
    assert!(value(ran.gate("replies-to-all")) >= 1.0, "{}", ran.printed);
}

#[test]
fn a_start_together_has_a_scenario_of_its_own() {
    let place = Place::new();
    let mut command = place.runner();
    command
        .args([
            "run",
            "chat",
            "--dry-run",
            "--scenario",
            "websocket-streaming",
        ])
        .args(["--set", "START=together"])
        .env("K6_BIN", k6());
    let (code, printed) = finish(&mut command);
    assert_eq!(code, 2, "{printed}");
    assert!(printed.contains("--scenario together"), "{printed}");
}
