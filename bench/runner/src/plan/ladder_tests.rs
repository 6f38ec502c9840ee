//! What a ladder asks for, and what it finds.

use super::ladder::{Ladder, Outcome, Rung, Step};
use super::{Plan, Selection, points, rungs};
use crate::suite::scenario::LadderTable;
use crate::suite::tests::suite;

fn rungs(levels: usize, between: usize, confirm: u32) -> Vec<Rung> {
    let all = (0..levels).flat_map(|level| {
        (0..=confirm).map(move |repeat| Rung {
            level,
            repeat,
            between: level % (between + 1) != 0,
        })
    });
    all.collect()
}

fn failed() -> Outcome {
    Outcome::Failed(vec!["fast".to_owned()])
}

/// Climbs a ladder to its end, with what each run comes to; the runs as `LEVEL.REPEAT`, and the answer.
fn climbed(
    table: LadderTable,
    rungs: &[Rung],
    mut come: impl FnMut(Rung) -> Outcome,
) -> (String, String) {
    let mut ladder = Ladder::new(table, rungs.iter().copied());
    let mut made = Vec::new();
    loop {
        match ladder.next() {
            Step::Run(rung) => {
                assert!(rungs.contains(&rung), "{rung:?} is planned");
                made.push(format!("{}.{}", rung.level, rung.repeat));
                assert!(ladder.note(rung, come(rung)), "{rung:?} is the next one");
            }
            Step::Ended(answer) => {
                return (made.join(" "), answer.told(|level| format!("L{level}")));
            }
        }
        assert!(made.len() < 100, "{made:?}");
    }
}

const ONCE: LadderTable = LadderTable {
    confirm: 1,
    refine: 0,
};

#[test]
fn the_limit_lies_between_a_level_that_passed_twice_and_one_that_failed_twice() {
    let from = |limit: usize| {
        climbed(ONCE, &rungs(5, 0, 1), |rung| {
            if rung.level < limit {
                Outcome::Passed
            } else {
                failed()
            }
        })
    };
    let told = |made: &str, text: &str| (made.to_owned(), text.to_owned());
    assert_eq!(
        from(2),
        told("0.0 1.0 2.0 2.1 1.1", "L1 holds, L2 does not (fast)")
    );
    assert_eq!(
        from(0),
        told(
            "0.0 0.1",
            "below L0, the lowest level, which does not hold (fast)"
        )
    );
    assert_eq!(
        from(5),
        told(
            "0.0 1.0 2.0 3.0 4.0 4.1",
            "at least L4, limit not reached: there is no higher level"
        )
    );
}

#[test]
fn without_confirmation_each_level_is_run_once() {
    let table = LadderTable { confirm: 0, ..ONCE };
    let (made, text) = climbed(table, &rungs(4, 0, 0), |rung| match rung.level {
        0 | 1 => Outcome::Passed,
        _ => failed(),
    });
    assert_eq!(made, "0.0 1.0 2.0");
    assert_eq!(text, "L1 holds, L2 does not (fast)");
}

#[test]
fn a_failure_that_does_not_come_again_is_no_limit_and_such_a_level_no_last_pass() {
    let (made, text) = climbed(ONCE, &rungs(4, 0, 1), |rung| {
        match (rung.level, rung.repeat) {
            (1, 0) | (2, _) => failed(),
            _ => Outcome::Passed,
        }
    });
    assert_eq!(made, "0.0 1.0 1.1 2.0 2.1 0.1");
    assert_eq!(text, "L0 holds, L2 does not (fast); not settled: L1");
}

#[test]
fn a_last_pass_that_fails_when_repeated_is_sought_below() {
    let (made, text) = climbed(ONCE, &rungs(4, 0, 1), |rung| {
        match (rung.level, rung.repeat) {
            (1, 1) | (2, _) => failed(),
            _ => Outcome::Passed,
        }
    });
    assert_eq!(made, "0.0 1.0 2.0 2.1 1.1 0.1");
    assert_eq!(text, "L0 holds, L2 does not (fast); not settled: L1");
    let (_, text) = climbed(ONCE, &rungs(2, 0, 1), |rung| {
        match (rung.level, rung.repeat) {
            (0, 0) => Outcome::Passed,
            _ => failed(),
        }
    });
    assert_eq!(
        text,
        "below L1, which does not hold (fast); no level is known to hold; not settled: L0"
    );
}

#[test]
fn a_generator_that_gives_out_ends_the_ladder_and_is_no_limit() {
    let dropped = || Outcome::GaveOut("nothing-dropped: 9".to_owned());
    let (made, text) = climbed(ONCE, &rungs(5, 0, 1), |rung| match rung.level {
        2 => dropped(),
        _ => Outcome::Passed,
    });
    assert_eq!(made, "0.0 1.0 2.0 1.1");
    assert_eq!(
        text,
        "at least L1, limit not reached: at L2 the generator gave out (nothing-dropped: 9)"
    );
    let (made, text) = climbed(ONCE, &rungs(5, 0, 1), |rung| {
        match (rung.level, rung.repeat) {
            (2, 0) => failed(),
            (2, _) => dropped(),
            _ => Outcome::Passed,
        }
    });
    assert_eq!(
        made, "0.0 1.0 2.0 2.1 1.1",
        "a failure that nobody confirmed"
    );
    assert!(
        text.starts_with("at least L1, limit not reached: at L2"),
        "{text}"
    );
}

#[test]
fn what_cannot_be_judged_ends_the_ladder_until_it_is_gone_on_with() {
    let (made, text) = climbed(ONCE, &rungs(5, 0, 1), |rung| match rung.level {
        2 => Outcome::Unsound("INVALID: target-healthy".to_owned()),
        _ => Outcome::Passed,
    });
    assert_eq!(made, "0.0 1.0 2.0", "nothing is repeated meanwhile");
    assert_eq!(
        text,
        "no level is known to hold, limit not known: the evidence of L2 is not good enough (INVALID: target-healthy)"
    );
    // The next call does not take note of it, and goes on there.
    let mut ladder = Ladder::new(ONCE, rungs(5, 0, 1).into_iter());
    let rung = |level| Rung {
        level,
        repeat: 0,
        between: false,
    };
    assert!(ladder.note(rung(0), Outcome::Passed) && ladder.note(rung(1), Outcome::Passed));
    assert!(!ladder.note(rung(1), Outcome::Passed), "noted already");
    assert_eq!(ladder.next(), Step::Run(rung(2)));
}

#[test]
fn a_limit_whose_last_pass_could_not_be_judged_again_is_not_known() {
    let unsound = || Outcome::Unsound("INTERRUPTED".to_owned());
    let unknown = "no level is known to hold, limit not known: the evidence of L1 is not good enough (INTERRUPTED)";
    for top in [2, 9] {
        let (_, text) = climbed(ONCE, &rungs(4, 0, 1), |rung| {
            match (rung.level, rung.repeat) {
                (1, 1) | (3, 1) => unsound(),
                (level, _) if level >= top => failed(),
                _ => Outcome::Passed,
            }
        });
        let of_top = unknown.replace("L1", "L3");
        assert_eq!(text, if top == 2 { unknown } else { of_top.as_str() });
    }
    let halved = LadderTable { refine: 1, ..ONCE };
    let (made, text) = climbed(halved, &rungs(3, 1, 1), |rung| match rung.level {
        0 => Outcome::Passed,
        1 => unsound(),
        _ => failed(),
    });
    assert_eq!((made.as_str(), text.as_str()), ("0.0 2.0 2.1 1.0", unknown));
}

#[test]
fn a_last_pass_that_the_generator_did_not_confirm_is_named() {
    let (made, text) = climbed(ONCE, &rungs(4, 0, 1), |rung| {
        match (rung.level, rung.repeat) {
            (1, 1) => Outcome::GaveOut("nothing-dropped: 1".to_owned()),
            (2, _) => failed(),
            _ => Outcome::Passed,
        }
    });
    assert_eq!(made, "0.0 1.0 2.0 2.1 1.1 0.1");
    assert_eq!(text, "L0 holds, L2 does not (fast); not settled: L1");
}

#[test]
fn the_gap_is_halved_as_often_as_is_asked_for() {
    let table = LadderTable {
        confirm: 1,
        refine: 3,
    };
    // Declared are 0, 8 and 16.
    let all = rungs(17, 7, 1);
    for limit in 1..=15 {
        let (_, text) = climbed(table, &all, |rung| {
            if rung.level < limit {
                Outcome::Passed
            } else {
                failed()
            }
        });
        assert_eq!(
            text,
            format!("L{} holds, L{limit} does not (fast)", limit - 1)
        );
    }
    let (made, _) = climbed(table, &all, |rung| {
        if rung.level < 11 {
            Outcome::Passed
        } else {
            failed()
        }
    });
    assert_eq!(made, "0.0 8.0 16.0 16.1 12.0 12.1 10.0 11.0 11.1 10.1");
}

const SUITE: &str = r#"
[env.RPS]
type = "int"
[env.LEVEL]
type = "float"
[[target]]
id = "shop"
kind = "process"
start = ["true"]
ready = { tcp = "{address}", every = "1s", limit = "1s" }
[[scenario]]
id = "smoke"
script = "s.js"
limit = "30s"
plan = "ladder"
AXIS
[[gate]]
id = "fast"
class = "slo"
metric = "http_req_duration"
stat = "p(95)"
op = "<"
limit = 5
"#;

/// The runs of a ladder, as point and repetition; those that may not be needed in brackets.
fn asked_for(axis: &str) -> Vec<String> {
    let suite = suite(&SUITE.replace("AXIS", axis)).expect("a suite");
    let scenario = &suite.file.scenario[0];
    let table = scenario.ladder().expect("a ladder");
    let runs = rungs::of(scenario, table).expect("runs").into_iter();
    let runs = runs.map(|(rung, point)| match points::shown(&point) {
        point if rung.is_spare() => format!("[{point} {}]", rung.repeat),
        point => point,
    });
    runs.collect()
}

#[test]
fn the_plan_holds_what_the_ladder_may_ask_for() {
    let axis = "axis = [{ env = \"RPS\", levels = [50, 100, 102] }]\n";
    let refined = format!("{axis}ladder = {{ confirm = 0, refine = 2 }}");
    assert_eq!(
        asked_for(&refined),
        [
            "RPS=50",
            "RPS=100",
            "RPS=102",
            "[RPS=63 0]",
            "[RPS=75 0]",
            "[RPS=88 0]",
            "[RPS=101 0]"
        ]
    );
    assert_eq!(
        asked_for("points = [{ RPS = 9, priority = \"Low\" }, { RPS = 4, priority = \"High\" }]"),
        ["RPS=4", "RPS=9", "[RPS=4 1]", "[RPS=9 1]"]
    );
    assert_eq!(
        asked_for(
            "axis = [{ env = \"LEVEL\", levels = [0.5, 1] }]\nladder = { confirm = 0, refine = 1 }"
        ),
        ["LEVEL=0.5", "LEVEL=1", "[LEVEL=0.75 0]"]
    );
}

#[test]
fn levels_that_a_person_picks_are_run_once_and_options_of_cycles_are_refused() {
    let axis = "axis = [{ env = \"RPS\", levels = [50, 100] }]";
    let suite = suite(&SUITE.replace("AXIS", axis)).expect("a suite");
    let picked = Selection {
        levels: vec![("RPS".to_owned(), "100".to_owned())],
        ..Selection::default()
    };
    let plan = Plan::new(&suite, &picked).expect("a plan");
    let runs: Vec<_> = plan
        .runs
        .iter()
        .map(|run| (run.title(), run.rung))
        .collect();
    assert_eq!(runs, [("smoke / shop, RPS=100".to_owned(), None)]);
    let cycles = Selection {
        cycles: Some(3),
        ..Selection::default()
    };
    let why = Plan::new(&suite, &cycles).expect_err("refused").to_string();
    assert!(
        why.starts_with("--cycles: scenario smoke is a ladder"),
        "{why}"
    );
}

#[test]
fn a_ladder_that_could_not_begin_or_end_is_refused() {
    let axis = "axis = [{ env = \"RPS\", levels = [1, 2] }]";
    for (scenario, expected) in [
        ("", "needs `axis` with one variable, or `points`"),
        (
            "axis = [{ env = \"RPS\", levels = [2, 1] }]",
            "each above the one before; received 1",
        ),
        (
            "axis = [{ env = \"RPS\", levels = [1] }]\npoints = [{ RPS = 1 }]",
            "not both",
        ),
        (&format!("{axis}\ncycles = 2"), "neither `cycles` nor"),
        (&format!("{axis}\npreflight = true"), "no `preflight`"),
        (
            &format!("{axis}\nladder = {{ confirm = 6 }}"),
            "`confirm` of `ladder`: received 6; allowed: 0 to 5",
        ),
        (
            "points = [{ RPS = 1 }]\nladder = { refine = 1 }",
            "`refine` needs `axis`",
        ),
    ] {
        let why = suite(&SUITE.replace("AXIS", scenario)).expect_err("refused");
        assert!(why.to_string().contains(expected), "{expected}: {why}");
    }
    let text = SUITE.replace("AXIS", axis);
    for (from, to, expected) in [
        ("\"slo\"", "\"watch\"", "needs a gate of class slo"),
        (
            "plan = \"ladder\"\naxis",
            "ladder = {}\nplan = \"product\"\naxis",
            "`ladder` needs `plan = \"ladder\"`",
        ),
    ] {
        assert!(text.contains(from), "{from}");
        let why = suite(&text.replace(from, to)).expect_err("refused");
        assert!(why.to_string().contains(expected), "{expected}: {why}");
    }
}
