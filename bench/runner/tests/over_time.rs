//! Gates over k6's values over time: the part of the run that counts, tags, bands and gaps; live and judged again.

mod common;

use std::fs;

use common::series::{Recording, Stage, gate, is_there};
use common::{finish, text};
use serde_json::{Value as Json, json};

/// Two seconds of warm-up and five that count, of eight.
const SCENARIO: &str = "[[scenario]]\nid = \"load\"\nscript = \"s.js\"\nlimit = \"60s\"\nwarmup = \"2s\"\nwindow = \"5s\"\n";

const SERIES: &str = "[series]\n";

/// Eight seconds; the first two and the last one are bad in every respect.
fn recording() -> Recording {
    let mut recording = Recording::new(&["kind"]);
    let (chat, poll, none) = (
        json!({ "kind": "chat" }),
        json!({ "kind": "poll" }),
        json!({}),
    );
    let tens: Vec<f64> = (1..=10).map(|n| f64::from(n) * 10.0).collect();
    for second in 0..8 {
        let counts = (2..7).contains(&second);
        recording.gauge("vus", second, 1.0);
        if counts {
            recording.trend("reply", &chat, second, &tens);
            recording.trend("reply", &poll, second, &[500.0]);
            recording.rate("ok", &none, second, (9, 10));
            let load = [97.0, 100.0, 103.0, 110.0, 100.0];
            let place = usize::try_from(second - 2).expect("a place");
            recording.gauge("load", second, load[place]);
        } else {
            recording.trend("reply", &chat, second, &[9000.0; 10]);
            recording.rate("ok", &none, second, (0, 10));
            recording.gauge("load", second, 0.0);
        }
        match second {
            4 => {}
            2..7 => recording.counter("sent", &none, second, 100.0),
            _ => recording.counter("sent", &none, second, 1000.0),
        }
        if [2, 6].contains(&second) {
            recording.gauge("pulse", second, 1.0);
        }
        if second == 0 {
            recording.trend("early", &none, second, &[1.0]);
            recording.rate("early_ok", &none, second, (1, 1));
            recording.gauge("early_load", second, 1.0);
        }
    }
    recording
}

fn whole() -> Recording {
    let mut recording = recording();
    recording.end(0);
    recording
}

fn stage(gates: &str) -> Stage {
    Stage::new(&format!("{SCENARIO}{SERIES}{gates}"))
}

#[test]
fn each_statistic_is_judged_over_the_window_and_judged_alike_later() {
    // What is asked, the value, a limit that holds and one that does not.
    let cases = [
        (
            "metric = \"reply\"\ntag = \"kind:chat\"\nstat = \"avg\"\nop = \"<\"",
            55.0,
            "56",
            "55",
        ),
        (
            "metric = \"reply{kind:chat}\"\nstat = \"min\"\nop = \">=\"",
            10.0,
            "10",
            "11",
        ),
        (
            "metric = \"reply{kind:chat}\"\nstat = \"max\"\nop = \"<=\"",
            100.0,
            "100",
            "99",
        ),
        (
            "metric = \"reply{kind:chat}\"\nstat = \"med\"\nop = \"<=\"",
            50.0,
            "50.1",
            "49",
        ),
        (
            "metric = \"reply{kind:chat}\"\nstat = \"p(90)\"\nop = \"<=\"",
            90.0,
            "90.1",
            "89",
        ),
        (
            "metric = \"reply\"\nstat = \"p(100)\"\nop = \"<=\"",
            500.0,
            "500",
            "499",
        ),
        (
            "metric = \"reply\"\nstat = \"count\"\nop = \"==\"",
            55.0,
            "55",
            "50",
        ),
        (
            "metric = \"reply{kind:poll}\"\nstat = \"count\"\nop = \"==\"",
            5.0,
            "5",
            "55",
        ),
        (
            "metric = \"sent\"\nstat = \"count\"\nop = \"==\"",
            400.0,
            "400",
            "500",
        ),
        (
            "metric = \"sent\"\nstat = \"rate\"\nop = \">=\"",
            80.0,
            "80",
            "81",
        ),
        (
            "metric = \"sent\"\ntype = \"counter\"\nstat = \"longest_gap\"\nop = \"<=\"",
            3.0,
            "3",
            "2",
        ),
        (
            "metric = \"sent\"\nstat = \"share_in_band\"\nband = [95, 105]\nop = \">=\"",
            0.8,
            "0.8",
            "0.99",
        ),
        (
            "metric = \"ok\"\nstat = \"rate\"\nop = \">=\"",
            0.9,
            "0.9",
            "0.95",
        ),
        (
            "metric = \"ok\"\nstat = \"share_in_band\"\nband = [0.85, 0.95]\nop = \"==\"",
            1.0,
            "1",
            "0",
        ),
        (
            "metric = \"load\"\nstat = \"value\"\nop = \"==\"",
            100.0,
            "100",
            "0",
        ),
        (
            "metric = \"load\"\ntype = \"gauge\"\nstat = \"avg\"\nop = \">\"",
            102.0,
            "101",
            "102",
        ),
        (
            "metric = \"load\"\nstat = \"min\"\nop = \">=\"",
            97.0,
            "97",
            "98",
        ),
        (
            "metric = \"load\"\nstat = \"max\"\nop = \"<=\"",
            110.0,
            "110",
            "105",
        ),
        (
            "metric = \"load\"\nstat = \"share_in_band\"\nband = [95, 105]\nop = \">=\"",
            0.8,
            "0.8",
            "0.99",
        ),
        (
            "metric = \"pulse\"\ntype = \"gauge\"\nstat = \"longest_gap\"\nop = \"<\"",
            5.0,
            "6",
            "5",
        ),
        (
            "metric = \"reply{kind:chat}\"\nstat = \"share_in_band\"\nband = [50, 60]\nop = \"==\"",
            1.0,
            "1",
            "0",
        ),
    ];
    let gates = (0..).zip(&cases).map(|(n, (keys, _, good, bad))| {
        let one = |how: &str, limit: &str| {
            gate(&format!("{how}-{n}"), &format!("{keys}\nlimit = {limit}"))
        };
        one("good", good) + &one("bad", bad)
    });
    let stage = stage(&gates.collect::<String>());
    stage.recorded(&whole());
    let (code, printed, verdict) = stage.run();
    assert_eq!((code, verdict.is()), (3, "FAIL"), "{printed}");
    for (n, (keys, value, _, _)) in (0..).zip(&cases) {
        for (how, holds) in [("good", true), ("bad", false)] {
            let gate = verdict.gate(&format!("{how}-{n}"));
            assert_eq!(gate["holds"], holds, "{keys}: {gate:#}");
            assert_eq!(gate["missing"], false, "{keys}: {gate:#}");
            let is = gate["value"].as_f64().expect("a value");
            // Histograms keep three digits; everything else is exact.
            let of_histogram = keys.contains("\"p(") || keys.contains("\"med\"");
            let apart = if of_histogram { 1e-3 } else { 1e-9 };
            assert!((is - value).abs() <= value * apart, "{keys}: {gate:#}");
        }
    }
    assert_eq!(verdict.gate("series-complete")["holds"], true);
    let window = json!({ "fromMs": 1_700_000_002_000_i64, "toMs": 1_700_000_007_000_i64 });
    assert_eq!(verdict.0["window"], window);
    // The tags that gates name are asked for.
    let out = text(&stage.path("out"));
    let asked = format!(
        "hdrlog={}/series.hlog?tags=kind,scenario\n",
        stage.run_folder().display()
    );
    assert_eq!(out, asked);

    let (code, later) = stage.judge();
    assert_eq!(code, 3, "{later}");
    assert!(
        later.contains("FAIL") && !later.contains("INVALID"),
        "{later}"
    );
    for reason in verdict.reasons() {
        assert!(later.contains(reason), "{reason}: {later}");
    }
}

#[test]
fn without_a_window_the_whole_run_counts() {
    let stage = Stage::new(&format!(
        "[[scenario]]\nid = \"load\"\nscript = \"s.js\"\nlimit = \"60s\"\n{SERIES}{}",
        gate(
            "all",
            "metric = \"sent\"\nstat = \"count\"\nop = \"==\"\nlimit = 3400\nmin_samples = 7"
        ) + &gate(
            "fast",
            "metric = \"sent\"\nstat = \"rate\"\nop = \"==\"\nlimit = 425"
        )
    ));
    stage.recorded(&whole());
    let (code, printed, verdict) = stage.run();
    assert_eq!((code, verdict.is()), (0, "PASS"), "{printed}");
}

#[test]
fn nothing_is_judged_without_samples_in_the_window() {
    let cases = [
        ("early", "stat = \"avg\""),
        ("early", "stat = \"p(95)\""),
        ("early", "stat = \"count\"\ntype = \"trend\""),
        ("early", "stat = \"share_in_band\"\nband = [0, 9]"),
        ("early_ok", "stat = \"rate\""),
        ("early_ok", "stat = \"share_in_band\"\nband = [0, 9]"),
        ("early_load", "stat = \"value\""),
        ("early_load", "stat = \"longest_gap\"\ntype = \"gauge\""),
        ("never", "stat = \"count\""),
        ("never", "stat = \"rate\""),
        ("never", "stat = \"longest_gap\"\ntype = \"counter\""),
        ("reply{kind:other}", "stat = \"avg\""),
    ];
    for (metric, keys) in cases {
        // Even where nothing would be good.
        let keys = format!("metric = \"{metric}\"\n{keys}\nop = \">=\"\nlimit = 0");
        let stage = stage(&gate("silent", &keys));
        stage.recorded(&whole());
        let (code, printed, verdict) = stage.run();
        assert_eq!((code, verdict.is()), (3, "INVALID"), "{keys}: {printed}");
        assert_eq!(verdict.gate("silent")["missing"], true, "{keys}");
        let reasons = verdict.reasons();
        assert!(
            reasons.len() == 1 && reasons[0].starts_with(&format!("silent: {metric} ")),
            "{keys}: {reasons:?}"
        );
        let (code, later) = stage.judge();
        assert!(code == 3 && later.contains(reasons[0]), "{keys}: {later}");
    }
}

#[test]
fn too_few_samples_and_what_may_be_absent() {
    let stage = stage(
        &(gate(
            "few",
            "metric = \"load\"\nstat = \"avg\"\nop = \">\"\nlimit = 0\nmin_samples = 6",
        ) + &gate(
            "none",
            "metric = \"lost\"\nstat = \"count\"\nop = \"==\"\nlimit = 0\nabsent = 0",
        )),
    );
    stage.recorded(&whole());
    let (code, printed, verdict) = stage.run();
    assert_eq!((code, verdict.is()), (3, "INVALID"), "{printed}");
    let few = verdict.text("few");
    assert!(
        few.ends_with("5 samples, at least 6 are needed to judge"),
        "{few}"
    );
    assert_eq!(verdict.gate("none")["holds"], true);
}

const ALL: &str = "metric = \"reply\"\nstat = \"count\"\nop = \"==\"\nlimit = 55";
const BY_TAG: &str =
    "metric = \"reply\"\ntag = \"kind:chat\"\nstat = \"count\"\nop = \"==\"\nlimit = 50";

#[test]
fn values_are_derived_from_what_was_in_the_window() {
    let cases = [
        ("copy", "['series.reply{kind:chat}.p(100)']", json!(100)),
        (
            "difference",
            "['series.reply.count', 'series.reply{kind:chat}.count']",
            json!(5),
        ),
        ("ratio", "['series.sent.rate', 'env.RATE']", json!(0.8)),
        (
            "sum",
            "['series.reply{kind:chat}.count', 'series.reply{kind:poll}.count']",
            json!(55),
        ),
        (
            "min",
            "['series.load.max', 'series.load.min', 'env.RATE']",
            json!(97),
        ),
        (
            "max",
            "['series.load.max', 'series.load.min', 'env.RATE']",
            json!(110),
        ),
        (
            "share_in_band",
            "['series.load']\nband = [95, 105]",
            json!(0.8),
        ),
        ("longest_gap", "['series.sent']", json!(3)),
        ("copy_or_zero", "['series.lost.count']", json!(0)),
        // Of what is missing nothing follows.
        ("copy_or_zero", "['series.early.avg']", Json::Null),
        ("sum", "['series.early.avg', 'env.RATE']", Json::Null),
        ("ratio", "['env.RATE', 'env.NONE']", Json::Null),
    ];
    let tables = (0..).zip(&cases).map(|(n, (how, from, _))| {
        format!("[[derive]]\nid = \"d{n}\"\nhow = \"{how}\"\nfrom = {from}\n")
    });
    let stage = Stage::new(&format!(
        "[env.RATE]\ntype = \"int\"\ndefault = 100\n[env.NONE]\ntype = \"int\"\ndefault = 0\n{SCENARIO}{SERIES}{}{}",
        tables.collect::<String>(),
        gate(
            "share",
            "metric = \"d2\"\nstat = \"value\"\nop = \">\"\nlimit = 0.7"
        )
    ));
    stage.recorded(&whole());
    let (code, printed, verdict) = stage.run();
    assert_eq!((code, verdict.is()), (0, "PASS"), "{printed}");
    let derived = common::json(&stage.run_folder().join("derived.json"));
    for (n, (how, from, expected)) in (0..).zip(&cases) {
        assert_eq!(&derived[format!("d{n}")], expected, "{how} {from}");
    }
    let (code, later) = stage.judge();
    assert_eq!(code, 0, "{later}");
}

#[test]
fn values_below_zero_are_in_no_percentile() {
    let mut recording = Recording::new(&[]);
    for second in 0..8 {
        recording.gauge("vus", second, 1.0);
        recording.trend("skew", &json!({}), second, &[-30.0, 10.0, 20.0, 30.0]);
    }
    recording.end(0);
    let gate = |id: &str, stat: &str, limit: &str| {
        let keys = format!("metric = \"skew\"\nstat = \"{stat}\"\nop = \"==\"\nlimit = {limit}");
        gate(id, &keys)
    };
    let gates = gate("min", "min", "-30")
        + &gate("avg", "avg", "7.5")
        + &gate("max", "p(100)", "30")
        + &gate("below", "p(25)", "0");
    let stage = stage(&gates);
    stage.recorded(&recording);
    let (_, printed, verdict) = stage.run();
    assert_eq!(verdict.is(), "INVALID", "{printed}");
    for id in ["min", "avg", "max"] {
        assert_eq!(verdict.gate(id)["holds"], true, "{:#}", verdict.gate(id));
    }
    let text = verdict.text("below");
    assert!(text.contains("one of the 5 values below 0"), "{text}");
}

#[test]
fn a_recording_that_was_cut_off_says_nothing() {
    let stage = stage(&gate("all", ALL));
    stage.recorded(&recording());
    let (code, printed, verdict) = stage.run();
    assert_eq!((code, verdict.is()), (3, "INVALID"), "{printed}");
    let reason = verdict.text("series-complete");
    assert!(reason.contains("series.hlog.jsonl has no end"), "{reason}");
    // What is there is judged all the same.
    assert_eq!(verdict.gate("all")["holds"], true);
    let (code, later) = stage.judge();
    assert!(code == 3 && later.contains(reason), "{later}");
}

#[test]
fn where_tags_were_dropped_only_the_whole_is_known() {
    let stage = stage(
        &(gate("all", ALL)
            + &gate("part", BY_TAG)
            + &gate(
                "absent",
                "metric = \"gone{kind:x}\"\nstat = \"count\"\nop = \"==\"\nlimit = 0\nabsent = 0",
            )),
    );
    let mut recording = recording();
    recording.end(3);
    stage.recorded(&recording);
    let (code, printed, verdict) = stage.run();
    assert_eq!((code, verdict.is()), (3, "INVALID"), "{printed}");
    assert_eq!(verdict.gate("all")["holds"], true);
    for id in ["part", "absent"] {
        let text = verdict.text(id);
        assert!(
            text.contains("no value, 3 sets of tags were too many"),
            "{text}"
        );
    }
}

#[test]
fn a_log_without_its_histograms_says_nothing_of_percentiles() {
    let stage = stage(
        &(gate(
            "p",
            "metric = \"reply\"\nstat = \"p(95)\"\nop = \"<\"\nlimit = 1000",
        ) + &gate("all", ALL)),
    );
    stage.recorded(&whole());
    stage.file("series.hlog", "#[Histogram log format version 1.3]\n");
    let (_, printed, verdict) = stage.run();
    assert_eq!(verdict.is(), "INVALID", "{printed}");
    let text = verdict.text("p");
    assert!(
        text.contains("series.hlog holds 0 of its 55 values"),
        "{text}"
    );
    assert_eq!(verdict.gate("all")["holds"], true);
}

#[test]
fn a_window_that_the_run_did_not_reach_is_not_judged() {
    let tables = SCENARIO.replace("\"5s\"", "\"9s\"");
    let stage = Stage::new(&format!("{tables}{SERIES}{}", gate("all", ALL)));
    stage.recorded(&whole());
    let (code, printed, verdict) = stage.run();
    assert_eq!((code, verdict.is()), (3, "INVALID"), "{printed}");
    let text = verdict.text("all");
    assert!(
        text.contains("k6's last values are of 3 s before the end of the window"),
        "{text}"
    );
}

#[test]
fn a_k6_without_the_output_is_refused_before_any_load() {
    let stage = stage(&gate("all", ALL));
    let program = text(&stage.path("k6")).replace("hdrlog [output]", "other [output]");
    stage.file("k6", &program);
    let (code, printed) = finish(&mut stage.call(&["run", &stage.suite()]));
    assert_eq!(code, 2, "{printed}");
    assert!(
        printed.contains("lacks hdrlog") && printed.contains("build k6 with `make k6`"),
        "{printed}"
    );
    assert!(!stage.place.evidence().exists(), "{printed}");
}

#[test]
fn values_over_time_are_evidence() {
    for name in ["series.hlog", "series.hlog.jsonl"] {
        let stage = stage(&gate("all", ALL));
        stage.recorded(&whole());
        let (code, printed, _) = stage.run();
        assert_eq!(code, 0, "{printed}");
        let folder = stage.run_folder();
        assert!(text(&folder.join("SHA256SUMS")).contains(&format!("  {name}\n")));
        let mut bytes = fs::read(folder.join(name)).expect("there");
        bytes.extend(b"#\n");
        fs::write(folder.join(name), bytes).expect("changed");
        let (code, later) = stage.judge();
        assert_eq!(code, 3, "{later}");
        assert!(
            later.contains("INVALID")
                && later.contains(&format!("{name} was changed after the run")),
            "{later}"
        );
    }
}

#[test]
fn no_secret_is_left_in_a_tag() {
    let stage = Stage::new(&format!(
        "[env.TOKEN]\ntype = \"string\"\nsecret = true\n{SCENARIO}{SERIES}tags = [\"kind\"]\n{}",
        gate(
            "all",
            "metric = \"m\"\nstat = \"count\"\nop = \"==\"\nlimit = 2"
        )
    ));
    let mut recording = Recording::new(&["kind"]);
    for second in 0..8 {
        recording.gauge("vus", second, 1.0);
    }
    let tags = json!({ "kind": "user 1234567890" });
    recording.counter("m", &tags, 3, 2.0);
    recording.end(0);
    stage.recorded(&recording);
    let (code, printed) = finish(
        stage
            .call(&["run", &stage.suite()])
            .env("TOKEN", "1234567890"),
    );
    assert_eq!(code, 0, "{printed}");
    let lines = text(&stage.run_folder().join("series.hlog.jsonl"));
    assert!(
        lines.contains("user ***") && !lines.contains("1234567890"),
        "{lines}"
    );
    assert!(lines.contains("1700000003000"), "figures stay: {lines}");
}

#[test]
fn a_suite_without_a_series_table_asks_k6_for_nothing() {
    let stage = Stage::new(&format!(
        "{SCENARIO}{}",
        gate(
            "none",
            "metric = \"lost\"\nstat = \"count\"\nop = \"==\"\nlimit = 0\nabsent = 0"
        )
    ));
    let (code, printed, verdict) = stage.run();
    assert_eq!((code, verdict.is()), (0, "PASS"), "{printed}");
    assert_eq!(text(&stage.path("out")), "\n");
    assert!(!is_there(&stage.run_folder(), "series.hlog.jsonl"));
    let gates = verdict.0["gates"].as_array().expect("gates");
    assert!(gates.iter().all(|gate| gate["id"] != "series-complete"));
    assert_eq!(verdict.0["window"], Json::Null);
}

#[test]
fn a_run_that_its_harness_ended_is_aborted_where_the_verdict_is_handed_on() {
    for (policy, code, is) in [("verdict", 4, "ABORTED"), ("k6_first", 108, "INVALID")] {
        let stage = stage(&gate("all", ALL));
        stage.recorded(&whole());
        stage.file("code", "108\n");
        stage.work("echo 'level=error msg=\"test aborted: the target is down at main (file:///s.js:1:1(1))\"'\n");
        let suite = text(&stage.path("suite.toml"));
        let needs = "needs = [\"k6\"]\n";
        stage.file(
            "suite.toml",
            &suite.replace(needs, &format!("{needs}exit = \"{policy}\"\n")),
        );
        let (live, printed, verdict) = stage.run();
        assert_eq!((live, verdict.is()), (code, is), "{printed}");
        let reasons = verdict.reasons();
        assert!(
            reasons[0].contains("108") && reasons[0].contains("the target is down"),
            "{reasons:?}"
        );
        let (later, told) = stage.judge();
        assert!(later == code && told.contains(is), "{later}: {told}");
    }
}
