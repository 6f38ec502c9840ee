//! What goes wrong in a waiting room, and what the suite says of it: which gates, in which words, while the run goes on and in
//! its verdict.

mod common;

use std::collections::BTreeSet;
use std::process::Command;

use common::room::{FAIL, INVALID, PASS, Services, gates, reasons, run};
use common::{Place, finish, json, root, text};

/// A fault of the reference, and what a run with it comes to.
struct Case {
    /// Arguments of the reference.
    faults: &'static str,
    /// Further settings.
    set: &'static [&'static str],
    verdict: &'static str,
    /// The gates that do not hold.
    gates: &'static [&'static str],
    /// In `verdict.json`.
    reasons: &'static [&'static str],
    /// In what is printed while the run goes on.
    printed: &'static [&'static str],
    /// Derived values.
    derived: &'static [(&'static str, i64)],
}

/// What keeps users from the queue.
const BEFORE_IT_OPENS: &[Case] = &[
    Case {
        faults: "--fault fail-first-logins=1",
        set: &[],
        verdict: PASS,
        gates: &[],
        reasons: &[],
        printed: &[],
        derived: &[
            ("completedUsers", 10),
            ("loginFailures", 1),
            ("loginFinalFailures", 0),
        ],
    },
    Case {
        faults: "--fault expire-tokens=10%",
        set: &[],
        verdict: INVALID,
        gates: &["k6-exit", "all-arrived", "streams-held", "all-escaped"],
        reasons: &["expected 0: Barrier failed: 9 arrived, 1 failed (sse 1)"],
        printed: &["user 10 lost the place at event", "status 401"],
        derived: &[("sseFailures", 1)],
    },
    Case {
        faults: "--fault connections=6 --connection-wait-ms 1000",
        // One user after the other, so that it is logins that find no connection any more.
        set: &["LOGIN_BATCH_SIZE=1", "LOGIN_BATCH_INTERVAL_MS=300"],
        verdict: INVALID,
        gates: &["k6-exit", "all-arrived", "no-login-loss", "all-escaped"],
        reasons: &["expected 0: Barrier failed: 6 arrived, 4 failed (login 4)"],
        printed: &["could not log in: status 500"],
        derived: &[("loginFinalFailures", 4)],
    },
    Case {
        faults: "--fault silence-users=20%",
        set: &[],
        verdict: INVALID,
        gates: &["k6-exit", "all-arrived", "streams-held", "all-escaped"],
        reasons: &["expected 0: Barrier failed: 8 arrived, 2 failed (sse 2)"],
        printed: &["nothing was received within 6s"],
        derived: &[("sseFailures", 2)],
    },
    Case {
        faults: "--fault dead-brokers=1",
        set: &[],
        verdict: INVALID,
        gates: &["k6-exit", "all-arrived", "streams-held", "all-escaped"],
        reasons: &["expected 0: Barrier failed: 0 arrived, 10 failed (sse 10)"],
        printed: &["lost the place at event", "status 500"],
        derived: &[("sseFailures", 10)],
    },
];

/// What the summary says of users whom a second promotion makes no difference to.
const LET_IN_ONCE: &[&str] = &[
    "Completed users: 10\n",
    "Success rate: 100.00%\n",
    "Disconnect failures: 0\n",
    "Promoted before release: 0\n",
];

/// What happens to those who are in it.
const WHILE_IT_DRAINS: &[Case] = &[
    // More of them than there are slots: whoever is let in last, the slots are theirs while others still wait.
    Case {
        faults: "--fault lose-promotions=50%",
        set: &[],
        verdict: INVALID,
        gates: &[
            "nobody-cut-off",
            "streams-held",
            "all-escaped",
            "k6-exit",
            "promotion-went-on",
        ],
        reasons: &[
            "nobody was let in for so long although users waited",
            "SEATS=2",
            "HOLD_MS=",
        ],
        printed: &[
            "promotion has stalled: nobody has been let in for 3 s;",
            "cut off by SSE_TIMEOUT_MS=12000",
        ],
        derived: &[],
    },
    Case {
        faults: "--fault leak-slots=10%",
        set: &[],
        verdict: INVALID,
        gates: &["slots-came-back"],
        reasons: &[
            "slots_at_end min: 1; expected >= 2: after all had left an event had fewer slots than SEATS=2 say: they leak",
        ],
        printed: &["has 1 slots after all users have left, where SEATS=2"],
        derived: &[("completedUsers", 10)],
    },
    // Half of them, so that some are still in the queue when positions are told.
    Case {
        faults: "--fault cut-streams=50%",
        set: &[],
        verdict: INVALID,
        gates: &["streams-held", "all-escaped", "k6-exit"],
        reasons: &["sse_failures count: "],
        printed: &["lost the place at event", "the connection was lost"],
        derived: &[("cutOffUsers", 0)],
    },
    Case {
        faults: "--fault promote-twice=100%",
        set: &[],
        verdict: PASS,
        gates: &[],
        reasons: &[],
        printed: LET_IN_ONCE,
        derived: &[("completedUsers", 10), ("disconnectFailures", 0)],
    },
    Case {
        faults: "--fault late-slots-ms=60000",
        set: &[],
        verdict: INVALID,
        gates: &[
            "slots-came-back",
            "nobody-cut-off",
            "streams-held",
            "all-escaped",
            "k6-exit",
            "promotion-went-on",
        ],
        reasons: &[
            "slots_at_end min: 0; expected >= 2",
            "they leak, or come back late",
        ],
        printed: &[
            "8 waiting, slots 0 (SEATS=2)",
            "has 0 slots after all users have left, where SEATS=2",
        ],
        derived: &[("completedUsers", 2), ("cutOffUsers", 8)],
    },
    Case {
        faults: "--fault stall-promotion=true",
        set: &[],
        verdict: INVALID,
        gates: &[
            "nobody-cut-off",
            "streams-held",
            "all-escaped",
            "k6-exit",
            "promotion-went-on",
        ],
        reasons: &["promotion has stalled: nobody was let in for so long although users waited"],
        printed: &[
            "promotion has stalled: nobody has been let in for 3 s;",
            "10 waiting, slots 2 (SEATS=2)",
        ],
        derived: &[("completedUsers", 0), ("cutOffUsers", 10)],
    },
];

/// The same where the room takes its time: promotions come by the streams of two brokers, in three chunks.
const IN_A_LIFELIKE_ROOM: &[Case] = &[
    Case {
        faults: "--fault promote-twice=100%",
        set: &["LIKE=real", "SSE_TIMEOUT_MS=60000", "STALL_MS=10000"],
        verdict: PASS,
        gates: &[],
        reasons: &[],
        printed: LET_IN_ONCE,
        derived: &[("completedUsers", 10), ("disconnectFailures", 0)],
    },
    Case {
        faults: "--fault leak-slots=10%",
        set: &["LIKE=real", "SSE_TIMEOUT_MS=60000", "STALL_MS=10000"],
        verdict: INVALID,
        gates: &["slots-came-back"],
        reasons: &["slots_at_end min: 1; expected >= 2"],
        printed: &["has 1 slots after all users have left, where SEATS=2"],
        derived: &[("completedUsers", 10)],
    },
];

const BELOW: &str = "zset/1/seat-limited/custom";

#[test]
fn faults_before_the_events_open_are_said_by_their_gates_and_in_words() {
    each_is_said(BEFORE_IT_OPENS);
}

#[test]
fn faults_of_the_drain_are_said_by_their_gates_and_in_words() {
    each_is_said(WHILE_IT_DRAINS);
}

#[test]
fn faults_of_a_lifelike_room_are_said_by_their_gates_and_in_words() {
    each_is_said(IN_A_LIFELIKE_ROOM);
}

/// The table of the waiting room's page, by which a reader finds out what a fault comes to.
#[test]
fn the_page_names_the_gates_of_each_fault() {
    let suite: toml::Table = text(&root().join("bench/suites/waiting-room.toml"))
        .parse()
        .expect("a suite");
    let declared = suite["gate"].as_array().expect("a list");
    // How k6 ended is a gate of every suite.
    let mut known: Vec<&str> = declared
        .iter()
        .filter_map(|gate| gate["id"].as_str())
        .collect();
    known.push("k6-exit");
    let page = text(&root().join("bench/targets/waiting-room/README.md"));
    let (_, table) = page
        .split_once("| Fault | Gate that does not hold | Words |\n|---|---|---|\n")
        .expect("the table of gates");
    let mut rows = BTreeSet::new();
    for row in table.lines().take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let fault = cells[1].trim_matches('`');
        rows.insert(fault);
        let words = cells[2].split('`').skip(1).step_by(2);
        let (verdicts, named): (Vec<&str>, Vec<&str>) =
            words.partition(|word| [PASS, FAIL, INVALID].contains(word));
        assert_eq!(named.is_empty(), verdicts == [PASS], "{row}");
        for case in cases().filter(|case| fault_of(case) == fault) {
            assert_eq!(case.verdict == PASS, verdicts == [PASS], "{row}");
            for gate in &named {
                assert!(known.contains(gate), "no gate is called {gate}: {row}");
                assert!(case.gates.contains(gate), "{gate} holds: {row}");
            }
        }
    }
    let tried: BTreeSet<&str> = cases().map(fault_of).collect();
    assert_eq!(rows, tried);
}

fn cases() -> impl Iterator<Item = &'static Case> {
    [BEFORE_IT_OPENS, WHILE_IT_DRAINS, IN_A_LIFELIKE_ROOM]
        .into_iter()
        .flatten()
}

/// The fault's name, as in `--fault name=value`.
fn fault_of(case: &'static Case) -> &'static str {
    let (_, given) = case.faults.split_once("--fault ").expect("a fault");
    given.split_once('=').expect("a value").0
}

fn each_is_said(cases: &[Case]) {
    for case in cases {
        let place = Place::new();
        let faults = format!("TARGET_ARGS={}", case.faults);
        let settings = [&[faults.as_str()], case.set].concat();
        let (_, printed) = finish(run(&place, &settings).args(["--variant", "zset"]));
        let folder = place.run_folder(BELOW);
        let found = reasons(&place, BELOW, case.verdict);
        assert_eq!(gates(&found), case.gates, "{}: {found:#?}", case.faults);
        for words in case.reasons {
            let said = found.iter().any(|reason| reason.contains(words));
            assert!(said, "{}: {words} in {found:#?}", case.faults);
        }
        for words in case.printed {
            assert!(
                printed.contains(words),
                "{}: {words} in {printed}",
                case.faults
            );
        }
        let derived = json(&folder.join("derived.json"));
        for (name, value) in case.derived {
            assert_eq!(derived[name], *value, "{}: {name}", case.faults);
        }
    }
}

#[test]
fn a_run_whose_slots_changed_is_invalid_and_says_so_in_one_line() {
    let services = Services::start(&["--seats", "2"]);
    // As users of an earlier run do who leave late.
    let late = || assert!(services.ask("HINCRBY ENTRY_QUEUE_SLOTS e1 3") > 0);
    let printed = services.run_and(&[], "all events are OPEN", late);
    assert_eq!(
        services.reasons(INVALID),
        [
            "slots-never-above: slots_most max: 5; expected <= 2: an event had more slots than SEATS=2 allow: \
          they are not those of the event, or users of an earlier run gave some back"
        ],
        "{printed}"
    );
}

#[test]
fn a_run_whose_slots_were_not_the_seats_at_the_join_is_invalid_and_says_so_in_one_line() {
    let services = Services::start(&["--seats", "8"]);
    // As a user of an earlier run does who leaves after the cleaning and before the first join: the field is made anew, and the
    // join does not set it any more.
    let late = || assert_eq!(services.ask("HINCRBY ENTRY_QUEUE_SLOTS e1 5"), 5);
    // The warning of a setting without effect is what the harness begins with; nobody logs in before the burst.
    let settings = [
        "SEATS=8",
        "BURST_OFFSET_MS=5000",
        "BARRIER_POLL_INTERVAL_MS=100",
    ];
    let printed = services.run_and(
        &settings,
        "BARRIER_POLL_INTERVAL_MS has no effect: the barrier",
        late,
    );
    let reasons = services.reasons(INVALID);
    assert_eq!(
        gates(&reasons),
        ["slots-at-join", "slots-came-back"],
        "{printed}"
    );
    assert_eq!(
        reasons[0],
        "slots-at-join: slots_at_join min: 5; expected >= 8: once all had joined an event had too few slots for SEATS=8: \
         they are not those of the event, or users of an earlier run left after the cleaning"
    );
    assert!(
        printed.contains("event e1 has 5 slots now that all users have joined, where SEATS=8"),
        "{printed}"
    );
}

#[test]
fn slots_that_are_not_the_seats_are_named_with_both() {
    let services = Services::start(&["--seats", "3"]);
    let (code, printed) = finish(&mut services.run(&["SEATS=8"]));
    assert_eq!(
        code, 2,
        "a service that a person started is tried first: {printed}"
    );
    assert!(
        printed.contains("event e1 has 3 seats, SEATS is 8"),
        "{printed}"
    );
}

#[test]
fn a_run_whose_users_were_cut_off_is_invalid_and_says_so_in_one_line() {
    // What is tried before the run cannot know that nobody will be let in.
    let services = Services::start(&["--seats", "2", "--fault", "stall-promotion=true"]);
    let (_, printed) = finish(&mut services.run(&[]));
    let reasons = services.reasons(INVALID);
    let one = reasons
        .iter()
        .find(|reason| reason.starts_with("nobody-cut-off: "));
    let one = one.unwrap_or_else(|| panic!("{printed}"));
    assert!(
        one.contains("expected == 0: their time was up, by HOLD_MS=")
            && one.contains("SEATS=2, which must be those of the events"),
        "{one}"
    );
    assert!(
        printed.contains(
            "cut off by SSE_TIMEOUT_MS=12000: give the SEATS that the events have (SEATS=2)"
        ),
        "{printed}"
    );
    let derived = json(
        &services
            .place
            .run_folder("gateway/1/seat-limited/custom")
            .join("derived.json"),
    );
    assert!(derived["cutOffUsers"].as_i64() > Some(0), "{derived}");
}

#[test]
fn a_run_that_was_released_by_hand_is_invalid_and_says_so_in_one_line() {
    let services = Services::start(&["--seats", "2"]);
    let release = || {
        let key: Vec<String> =
            common::ask(&mut services.redis.connect(), "KEYS K6_BARRIER_JOINED:*");
        let id = key[0].trim_start_matches("K6_BARRIER_JOINED:");
        let mut k6 = Command::new(common::k6());
        k6.args(["x", "barrier", "release", "--run-id", id, "--yes"])
            .env("K6_BARRIER_REDIS", &services.redis.address);
        let (code, said) = finish(&mut k6);
        assert_eq!(code, 0, "{said}");
    };
    let slowly = [
        "LOGIN_BATCH_SIZE=5",
        "LOGIN_BATCH_INTERVAL_MS=8000",
        "SSE_TIMEOUT_MS=30000",
        "VERBOSE_LOGS=1",
    ];
    let printed = services.run_and(&slowly, "joined the queue", release);
    let reasons = services.reasons(INVALID);
    assert!(
        reasons[0].starts_with("k6-exit: k6's exit code: 108; expected 0: Barrier failed: released by hand before all were there: "),
        "{reasons:#?}, {printed}"
    );
}

#[test]
fn a_run_whose_promotion_stalled_is_a_fail_and_says_so_in_one_line() {
    let services = Services::start(&["--seats", "2", "--fault", "stall-promotion=true"]);
    // It goes on as soon as it was named, so everybody is let in at last.
    let go_on = || {
        let mut call = Command::new("curl");
        call.args(["-sf", "-X", "PUT", "-d", "{\"stall-promotion\":null}"]);
        let (code, said) = finish(call.arg(format!("{}/faults", services.address)));
        assert_eq!(code, 0, "{said}");
    };
    let printed = services.run_and(&[], "promotion has stalled", go_on);
    let reasons = services.reasons(FAIL);
    assert_eq!(gates(&reasons), ["promotion-went-on"], "{printed}");
    assert!(
        reasons[0].contains("promotion has stalled: nobody was let in for so long"),
        "{reasons:#?}"
    );
    assert!(
        printed.contains("the queue of event e1 has become shorter, after "),
        "{printed}"
    );
}

#[test]
fn cleaning_waits_for_promoted_users_of_an_earlier_run_or_names_them() {
    let services = Services::start(&["--seats", "2"]);
    assert_eq!(services.ask("HSET ENTRY_QUEUE_SLOTS e1 1"), 1);
    let (code, printed) = finish(&mut services.run(&[]));
    assert_eq!(code, 0, "{printed}");
    let named = "ENTRY_QUEUE_SLOTS[e1] is 1 after 10 s, expected 2 or 10000: promoted users of an earlier run still hold slots";
    assert!(printed.contains(named), "{printed}");
    let cleanup = services
        .place
        .run_folder("gateway/1/seat-limited/custom")
        .join("cleanup.txt");
    assert!(text(&cleanup).contains(named));

    // By itself as before a run, and also where the slots were preset.
    assert_eq!(services.ask("HSET ENTRY_QUEUE_SLOTS e1 9999"), 0);
    let mut command = services.place.runner();
    command
        .args([
            "clean",
            "bench/suites/waiting-room.toml",
            "--scenario",
            "custom",
        ])
        .args(["--set", "VUS=10", "--set", "SEATS=2"])
        .env("BASE_URL", &services.address)
        .env("REDIS_URL", &services.redis.address)
        .env("EVENT_IDS", "e1");
    let (code, printed) = finish(&mut command);
    assert_eq!(code, 0, "{printed}");
    assert!(
        printed
            .contains("[cleanup] ENTRY_QUEUE_SLOTS[e1] is 9999 after 10 s, expected 2 or 10000: "),
        "{printed}"
    );
    assert!(
        printed.contains("> HDEL ENTRY_QUEUE_SLOTS e1\n< (integer) 1"),
        "{printed}"
    );
}

#[test]
fn preset_slots_are_taken_back_after_a_run_whatever_became_of_it() {
    let services = Services::start(&["--seats", "2"]);
    let (code, printed) = finish(&mut services.run(&["SLOT_BOOST=1"]));
    assert_eq!(code, 0, "{printed}");
    let left = || {
        let question = "HGET ENTRY_QUEUE_SLOTS e1";
        common::ask::<Option<String>>(&mut services.redis.connect(), question)
    };
    assert_eq!(left(), None, "{printed}");
    let cleanup = services
        .place
        .run_folder("gateway/1/slot-boosted/custom")
        .join("cleanup.txt");
    let cleanup = text(&cleanup);
    let (before, after) = cleanup
        .split_once("[cleanup] the run is over")
        .expect("two cleanings");
    assert!(before.contains("> HSET ENTRY_QUEUE_SLOTS e1 10000"));
    assert!(after.contains("> HDEL ENTRY_QUEUE_SLOTS e1\n< (integer) 1"));
}

#[test]
fn a_run_that_let_in_more_users_than_slots_is_invalid_and_says_so_in_one_line() {
    let services = Services::start(&["--seats", "2"]);
    let slots = |n: i64| assert_eq!(services.ask(&format!("HSET ENTRY_QUEUE_SLOTS e1 {n}")), 0);
    let named = "slots while it drains: more users were let in than it had slots for";
    let printed = services.run_and_each(
        &[],
        &[
            ("all events are OPEN", &|| slots(-3)),
            (named, &|| slots(2)),
        ],
    );
    let reasons = services.reasons(INVALID);
    assert!(
        gates(&reasons).contains(&"slots-never-below"),
        "{reasons:#?}, {printed}"
    );
}

#[test]
fn a_run_whose_events_somebody_else_opened_is_invalid_and_says_so_in_one_line() {
    let services = Services::start(&["--seats", "2"]);
    let open = || assert_eq!(services.ask("HSET event_statuses e1 OPEN"), 0);
    let slowly = [
        "LOGIN_BATCH_SIZE=5",
        "LOGIN_BATCH_INTERVAL_MS=3000",
        "SSE_TIMEOUT_MS=30000",
        "VERBOSE_LOGS=true",
    ];
    let printed = services.run_and(&slowly, "joined the queue", open);
    let reasons = services.reasons(INVALID);
    assert!(
        reasons[0].starts_with("nobody-let-in-before: promoted_before_release count: ")
            && reasons[0].ends_with(
                "somebody else has opened the events, or a user of the trial or of an earlier run was still let in"
            ),
        "{reasons:#?}, {printed}"
    );
    assert!(
        printed.contains("was promoted before all had met: somebody else has opened event e1"),
        "{printed}"
    );
}

#[test]
fn a_run_whose_slots_could_not_be_looked_at_is_invalid_and_says_so_in_one_line() {
    let services = Services::start(&["--seats", "2"]);
    let rules = "ACL SETUSER bench on >topsecret9 ~* &* +@all";
    common::ask::<String>(&mut services.redis.connect(), rules);
    let forbid = || {
        let rules = "ACL SETUSER bench resetkeys ~K6_* ~WAITING*";
        common::ask::<String>(&mut services.redis.connect(), rules);
    };
    let as_bench = [
        "REDIS_USERNAME=bench",
        "REDIS_PASSWORD=topsecret9",
        "VERBOSE_LOGS=1",
    ];
    let printed = services.run_and(&as_bench, "joined the queue", forbid);
    let reasons = services.reasons(INVALID);
    let said = "the queues and slots could not be read each time: what they were is not known";
    assert!(
        reasons
            .iter()
            .any(|reason| reason.starts_with("looks-succeeded: ") && reason.contains(said)),
        "{reasons:#?}, {printed}"
    );
}
