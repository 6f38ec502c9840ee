//! Monitors that read a server's own values, with real servers and logs: what they keep, and how gates judge it.

mod common;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;

use common::series::{Recording, Stage, Verdict, gate};
use common::{finish, text};
use serde_json::Value as Json;

const SCENARIO: &str = "[[scenario]]\nid = \"load\"\nscript = \"s.js\"\nlimit = \"60s\"\n";

/// A server that answers each read with what is made of its number, from 0 on. Once it has answered so many since there was a
/// file `begun`, it makes one that is called `done`.
fn serve(
    folder: PathBuf,
    enough: usize,
    answer: impl Fn(usize) -> (u16, String) + Send + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        let (mut number, mut since) = (0, 0);
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut lines = BufReader::new(stream.try_clone().expect("the same")).lines();
            while let Some(Ok(line)) = lines.next() {
                if !line.is_empty() {
                    continue;
                }
                let (status, body) = answer(number);
                let head = format!(
                    "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                // Who asked may be gone: a run that ends does not wait for its last answer.
                let _ = stream.write_all((head + &body).as_bytes());
                number += 1;
                since += usize::from(folder.join("begun").exists());
                if since == enough {
                    std::fs::write(folder.join("done"), "").expect("written");
                }
            }
        }
    });
    address
}

/// A stage whose load lasts until the server has been read so many times.
fn stage(
    tables: &str,
    enough: usize,
    answer: impl Fn(usize) -> (u16, String) + Send + 'static,
) -> Stage {
    // Its address has to be known before the suite is written.
    let folder = tempfile::tempdir().expect("a folder").keep();
    let address = serve(folder.clone(), enough, answer);
    let stage = Stage::new(&format!(
        "{SCENARIO}{}",
        tables.replace("ADDRESS", &address)
    ));
    stage.work(&format!(
        "cd '{}'; : > begun\nwhile [ ! -e done ]; do sleep 0.01; done\ncd - > /dev/null; rm -r '{}'\n",
        folder.display(),
        folder.display()
    ));
    stage
}

fn lines(stage: &Stage, id: &str) -> Vec<Json> {
    let text = text(&stage.run_folder().join(format!("monitor-{id}.jsonl")));
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().expect("JSON")
}

/// The verdict, and what `judge` says of the same evidence.
fn judged(stage: &Stage, code: i32, is: &str) -> Verdict {
    let (live, printed, verdict) = stage.run();
    assert_eq!((live, verdict.is()), (code, is), "{printed}");
    let (later, told) = stage.judge();
    assert_eq!(later, code, "{told}");
    for reason in verdict.reasons() {
        assert!(told.contains(reason), "{reason}: {told}");
    }
    verdict
}

const PROM: &str = "[[monitor]]\nid = \"loop\"\nkind = \"prom\"\nevery = \"200ms\"\nsource = \"ADDRESS/metrics\"\n";

/// A loop that is out of its band in each fourth sample, and ticks in each fifth.
fn metrics(number: usize) -> (u16, String) {
    let pace = if number % 4 == 2 { 90 } else { 100 };
    let ticks = number / 5 * 5;
    let text = format!(
        "# TYPE loop_hz gauge\nloop_hz {pace}\n# TYPE ticks_total counter\nticks_total{{loop=\"a\"}} {ticks}\nticks_total{{loop=\"b\"}} 1\n"
    );
    (200, text)
}

#[test]
fn a_servers_own_values_are_judged_as_those_of_k6() {
    let of = |metric: &str, keys: &str| format!("metric = \"{metric}\"\n{keys}");
    let cases = [
        (of("loop_hz", "stat = \"avg\"\nop = \">\""), "95", "99"),
        (of("loop_hz", "stat = \"min\"\nop = \">=\""), "90", "91"),
        (of("loop_hz", "stat = \"max\"\nop = \"<=\""), "100", "99"),
        (of("loop_hz", "stat = \"med\"\nop = \"==\""), "100", "90"),
        (of("loop_hz", "stat = \"p(5)\"\nop = \"==\""), "90", "100"),
        (
            of(
                "loop_hz",
                "stat = \"share_in_band\"\nband = [95, 105]\nop = \">=\"",
            ),
            "0.5",
            "0.99",
        ),
        (
            of("loop_hz", "stat = \"longest_gap\"\nop = \"<\""),
            "60",
            "0.001",
        ),
        (
            of("ticks", "stat = \"longest_gap\"\nop = \">\""),
            "0.09",
            "60",
        ),
        (of("ticks", "stat = \"count\"\nop = \">=\""), "5", "1000"),
        (of("ticks", "stat = \"rate\"\nop = \">\""), "0.001", "1000"),
        (
            of("ticks", "type = \"gauge\"\nstat = \"value\"\nop = \">=\""),
            "5",
            "1000",
        ),
    ];
    let gates = (0..).zip(&cases).map(|(n, (keys, good, bad))| {
        let one = |how: &str, limit: &str| {
            gate(
                &format!("{how}-{n}"),
                &format!("{keys}\nlimit = {limit}\nmin_samples = 8"),
            )
        };
        one("good", good) + &one("bad", bad)
    });
    let gates = gates.collect::<String>();
    let picks = "match = { loop_hz = 'loop_hz', ticks = 'ticks_total{loop=\"a\"}' }\n";
    let derived = "[[derive]]\nid = \"least\"\nhow = \"copy\"\nfrom = ['monitor.loop.loop_hz.min']\n\
        [[derive]]\nid = \"inside\"\nhow = \"share_in_band\"\nfrom = ['monitor.loop.loop_hz']\nband = [0, 200]\n";
    let stage = stage(&format!("{PROM}{picks}{derived}{gates}"), 12, metrics);
    let verdict = judged(&stage, 3, "FAIL");
    let told = verdict.text("good-0");
    assert!(told.contains(" looks); expected > 95"), "{told}");
    let derived = common::json(&stage.run_folder().join("derived.json"));
    assert_eq!(derived, serde_json::json!({ "least": 90, "inside": 1 }));
    for (n, (keys, _, _)) in (0..).zip(&cases) {
        for (how, holds) in [("good", true), ("bad", false)] {
            let gate = verdict.gate(&format!("{how}-{n}"));
            assert_eq!(gate["holds"], holds, "{keys}: {gate:#}");
            assert_eq!(gate["missing"], false, "{keys}: {gate:#}");
        }
    }
    let lines = lines(&stage, "loop");
    assert!(lines.len() >= 12, "{lines:?}");
    for (number, line) in lines.iter().enumerate() {
        let (_, text) = metrics(number);
        let pace = line["values"]["loop_hz"].as_f64().expect("a number");
        assert!(
            text.contains(&format!("loop_hz {pace}\n")),
            "one line for each read: {line}"
        );
    }
    // On a schedule with one read in an interval, and none after k6's end.
    let moments = lines.iter().map(|line| line["t"].as_i64().expect("a time"));
    let moments: Vec<i64> = moments.collect();
    let lasted = moments[moments.len() - 1] - moments[0];
    let intervals = i64::try_from(moments.len()).expect("few") - 2;
    assert!(lasted >= intervals * 200 - 1, "{moments:?}");
}

#[test]
fn what_a_server_does_not_tell_is_no_value() {
    let picks = "match = ['loop_hz', 'ticks_total', 'gone']\n";
    for (keys, why) in [
        ("metric = \"gone\"\nstat = \"avg\"", "gone: no such sample"),
        (
            "metric = \"gone\"\nstat = \"longest_gap\"",
            "gone: no such sample",
        ),
        (
            "metric = \"gone\"\nstat = \"share_in_band\"\nband = [0, 9]",
            "gone: no such sample",
        ),
        (
            "metric = \"ticks_total\"\nstat = \"rate\"",
            "2 samples have this name",
        ),
        (
            "metric = \"loop_hz\"\nstat = \"avg\"\nmin_samples = 9999",
            "at least 9999 are needed",
        ),
    ] {
        let gates = gate("g", &format!("{keys}\nop = \">=\"\nlimit = 0"));
        let stage = stage(&format!("{PROM}{picks}{gates}"), 4, metrics);
        let verdict = judged(&stage, 3, "INVALID");
        let text = verdict.text("g");
        let metric = keys.split('"').nth(1).expect("a name");
        assert!(text.starts_with(metric) && text.contains(why), "{text}");
        let lines = lines(&stage, "loop");
        assert!(
            lines.iter().all(|line| line["values"].get("gone").is_none()
                && line["values"]["loop_hz"].is_number()),
            "{lines:?}"
        );
    }
}

#[test]
fn answers_that_cannot_be_read_are_told_and_too_many_of_them_judge_nothing() {
    let answer = |number: usize| match number % 3 {
        0 => metrics(number),
        1 => (503, "busy".to_owned()),
        _ => (200, "<html>".to_owned()),
    };
    let gates = gate(
        "g",
        "metric = \"loop_hz\"\nstat = \"min\"\nop = \">=\"\nlimit = 90",
    );
    let stage = stage(&format!("{PROM}match = ['loop_hz']\n{gates}"), 9, answer);
    let verdict = judged(&stage, 3, "INVALID");
    let text = verdict.text("g");
    assert!(
        text.contains(" looks in the window gave one, at least 9 of 10 are needed; ")
            && text.contains(" failed, the last with: GET "),
        "{text}"
    );
    for (number, line) in lines(&stage, "loop").iter().enumerate() {
        let error = line["error"].as_str().unwrap_or_default();
        let expected = match number % 3 {
            0 => "",
            1 => "status 503, expected 200",
            _ => "line 1 is no sample",
        };
        assert!(
            error.contains(expected) && error.is_empty() == expected.is_empty(),
            "{line}"
        );
        assert_eq!(
            line["values"].get("loop_hz").is_some(),
            number % 3 == 0,
            "{line}"
        );
    }
}

#[test]
fn a_status_and_numbers_of_json_are_picked() {
    let answer = |number: usize| match number {
        9 => (500, r#"{"queue":{"length":9999}}"#.to_owned()),
        _ => (
            200,
            format!(r#"{{"queue":{{"length":{number}}},"workers":[{{"busy":2}}],"name":"x"}}"#),
        ),
    };
    let monitor = "[[monitor]]\nid = \"state\"\nkind = \"http\"\nevery = \"200ms\"\nsource = \"ADDRESS/state\"\n\
        match = { status = 'status', length = 'queue.length', busy = 'workers.0.busy', name = 'name' }\n";
    let gates = gate(
        "length",
        "metric = \"length\"\nstat = \"max\"\nop = \"<\"\nlimit = 9999",
    ) + &gate(
        "busy",
        "metric = \"busy\"\nstat = \"avg\"\nop = \"==\"\nlimit = 2",
    ) + &gate(
        "status",
        "metric = \"status\"\nstat = \"max\"\nop = \"<\"\nlimit = 500",
    );
    let stage = stage(&format!("{monitor}{gates}"), 16, answer);
    let verdict = judged(&stage, 3, "FAIL");
    for (id, holds) in [("length", true), ("busy", true), ("status", false)] {
        assert_eq!(verdict.gate(id)["holds"], holds, "{id}");
    }
    let lines = lines(&stage, "state");
    assert_eq!(lines[9]["values"], serde_json::json!({ "status": 500.0 }));
    assert!(
        lines[0]["error"]
            .as_str()
            .is_some_and(|why| why.contains("no number at name")),
        "{}",
        lines[0]
    );
}

#[test]
fn matches_in_the_targets_log_are_counted() {
    let monitor = "[[monitor]]\nid = \"faults\"\nkind = \"log\"\nevery = \"200ms\"\nmatch = { errors = 'level=error', warnings = 'level=warn' }\n";
    let gates = gate(
        "errors",
        "metric = \"errors\"\nstat = \"count\"\nop = \"==\"\nlimit = 4",
    ) + &gate(
        "warnings",
        "metric = \"warnings\"\nstat = \"count\"\nop = \"<\"\nlimit = 1",
    );
    let stage = Stage::new(&format!("{SCENARIO}{monitor}{gates}"));
    let log = stage.path("target.log");
    stage.file("target.log", "level=error of before\n");
    let suite = text(&stage.path("suite.toml"));
    let target = "id = \"there\"\n";
    let logs = format!("{target}logs = [\"{}\"]\n", log.display());
    stage.file("suite.toml", &suite.replace(target, &logs));
    // Until the monitor has looked at it, nothing is added.
    stage.work(
        "file=$(dirname \"$here\")/evidence/*/load/monitor-faults.jsonl.partial\n\
         looks() { cat $file | wc -l; }\n\
         until [ \"$(looks)\" -ge 1 ]; do sleep 0.01; done\n\
         printf 'level=error 1\\nlevel=info\\nlevel=error 2\\nlevel=error unfin' >> \"$here/target.log\"\n\
         enough=$(($(looks) + 2))\n\
         until [ \"$(looks)\" -ge \"$enough\" ]; do sleep 0.01; done\n\
         printf 'ished\\nlevel=error at the end\\n' >> \"$here/target.log\"\n",
    );
    let verdict = judged(&stage, 0, "PASS");
    assert_eq!(verdict.gate("errors")["value"], 4.0);
    assert_eq!(verdict.gate("warnings")["value"], 0.0);
}

#[test]
fn a_window_of_monitors_begins_with_the_load() {
    let tables = format!(
        "warmup = \"2s\"\nwindow = \"5s\"\n{PROM}match = ['loop_hz']\n{}",
        gate(
            "g",
            "metric = \"loop_hz\"\nstat = \"min\"\nop = \">=\"\nlimit = 90"
        )
    );
    let stage = stage(&tables, 2, metrics);
    // Three seconds of making users and of setup.
    let mut recording = Recording::new(&["scenario"]);
    for second in 0..12 {
        recording.gauge("vus", second, if second < 3 { 0.0 } else { 1.0 });
        let tags = if second < 3 {
            serde_json::json!({})
        } else {
            serde_json::json!({ "scenario": "load" })
        };
        recording.counter("http_reqs", &tags, second, 1.0);
    }
    recording.end(0);
    stage.recorded(&recording);
    let (_, printed, verdict) = stage.run();
    let window =
        serde_json::json!({ "fromMs": 1_700_000_005_000_i64, "toMs": 1_700_000_010_000_i64 });
    assert_eq!(verdict.0["window"], window, "{printed}");
    let asked = text(&stage.path("out"));
    assert!(
        asked.contains("hdrlog=") && asked.ends_with("?tags=scenario\n"),
        "{asked}"
    );
}

#[test]
fn nobody_is_read_who_is_not_allowed() {
    for source in [
        "http://metrics.example/metrics",
        "http://10.0.0.9:9100/metrics",
    ] {
        let stage = Stage::new(&format!(
            "{SCENARIO}{}match = ['up']\n",
            PROM.replace("ADDRESS/metrics", source)
        ));
        let (code, printed) = finish(&mut stage.call(&["run", &stage.suite()]));
        assert_eq!(code, 2, "{printed}");
        assert!(
            printed.contains("monitor loop: the host ")
                && printed.contains("is not allowed; allowed: 127.0.0.1"),
            "{printed}"
        );
        assert!(!stage.place.evidence().exists(), "{printed}");
    }
}

#[test]
fn a_profile_is_taken_at_its_time_and_kept_compressed() {
    let profile = |id: &str, at: &str| {
        format!(
            "[[profile]]\nid = \"{id}\"\nsource = \"ADDRESS/profile?seconds={{seconds}}\"\nat = \"{at}\"\nlasts = \"2s\"\n"
        )
    };
    // It has the load last until the server has been read some times.
    let looks = "[[monitor]]\nid = \"looks\"\nkind = \"http\"\nevery = \"200ms\"\nsource = \"ADDRESS/health\"\nmatch = [\"status\"]\n";
    let tables = [looks, &profile("cpu", "0s"), &profile("late", "1h")].concat();
    let stage = stage(&tables, 6, |_| {
        (200, "samples of where time goes".to_owned())
    });
    let (code, printed, verdict) = stage.run();
    assert_eq!((code, verdict.is()), (0, "PASS"), "{printed}");
    let folder = stage.run_folder();
    let packed = std::fs::File::open(folder.join("profile-cpu-0s.pb.gz")).expect("a profile");
    let unpacked = std::io::read_to_string(flate2::read::GzDecoder::new(packed));
    assert_eq!(unpacked.expect("gzip"), "samples of where time goes");
    let late = "profile late: the load was over before its time, 3600 s";
    assert!(printed.contains(&format!("warning  {late}")), "{printed}");
    assert!(verdict.0["warnings"].to_string().contains(late));
    assert!(!folder.join("profile-late-3600s.pb.gz").exists());
}
