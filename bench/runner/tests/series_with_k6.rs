//! Values over time as a real k6 writes them: judged over the window, judged again, and drawn.

mod common;

use std::process::Command;

use common::series::{Stage, gate};
use common::{finish, k6, text};

/// Five seconds behind a setup of three; the first one is slow, and each part has its tag.
const SCRIPT: &str = "import { sleep } from 'k6';
import exec from 'k6/execution';
import { Counter, Gauge, Rate, Trend } from 'k6/metrics';

const reply = new Trend('reply', true);
const sent = new Counter('sent');
const ok = new Rate('ok');
const open = new Gauge('open');

export const options = { scenarios: { load: { executor: 'constant-vus', vus: 2, duration: '5s', gracefulStop: '0s' } } };

export function setup() {
  sleep(3);
  sent.add(1);
}

export default function () {
  const early = Date.now() - exec.scenario.startTime < 1000;
  reply.add(early ? 5000 : 20 + (exec.vu.idInTest % 2) * 20, { kind: exec.vu.idInTest % 2 ? 'odd' : 'even' });
  sent.add(1);
  ok.add(!early);
  open.add(early ? 0 : 2);
  if (__ENV.MODE === 'abort' && !early) {
    exec.test.abort('the service is gone');
  }
  sleep(0.05);
}

export function handleSummary(data) {
  return { 'summary.json': JSON.stringify(data) };
}
";

fn stage() -> Stage {
    let gates = gate(
        "reply",
        "metric = \"reply\"\nstat = \"p(95)\"\nop = \"<\"\nlimit = 100\nunit = \"ms\"\nmin_samples = 2",
    ) + &gate(
        "odd",
        "metric = \"reply\"\ntag = \"kind:odd\"\nstat = \"avg\"\nop = \"==\"\nlimit = 40",
    ) + &gate(
        "even",
        "metric = \"reply{kind:even}\"\nstat = \"max\"\nop = \"==\"\nlimit = 20",
    ) + &gate(
        "sent",
        "metric = \"sent\"\nstat = \"rate\"\nop = \">\"\nlimit = 0",
    ) + &gate(
        "moves",
        "metric = \"sent\"\ntype = \"counter\"\nstat = \"longest_gap\"\nop = \"<=\"\nlimit = 2",
    ) + &gate(
        "ok",
        "metric = \"ok\"\nstat = \"rate\"\nop = \"==\"\nlimit = 1",
    ) + &gate(
        "open",
        "metric = \"open\"\nstat = \"share_in_band\"\nband = [1, 3]\nop = \"==\"\nlimit = 1",
    ) + &gate(
        "users",
        "metric = \"vus\"\nstat = \"max\"\nop = \"==\"\nlimit = 2",
    );
    let stage = Stage::new(&format!(
        "[env.MODE]\ntype = \"string\"\ndefault = \"pass\"\n\
         [[scenario]]\nid = \"load\"\nscript = \"s.js\"\nlimit = \"60s\"\nwarmup = \"2s\"\nwindow = \"2s\"\n\
         [series]\n{gates}[report]\nformats = [\"html\"]\nsections = [\"over_time\"]\n"
    ));
    stage.file("s.js", SCRIPT);
    stage
}

fn run(stage: &Stage, mode: &str) -> Command {
    let mut command = stage.call(&["run", &stage.suite(), "--set", &format!("MODE={mode}")]);
    command.env("K6_BIN", k6());
    command
}

#[test]
fn what_k6_writes_is_judged_over_the_window_and_drawn() {
    let stage = stage();
    let (code, printed) = finish(&mut run(&stage, "pass"));
    assert_eq!(code, 0, "{printed}");
    let (code, later) = stage.judge();
    assert!(code == 0 && later.contains("PASS"), "{later}");
    let report = text(&stage.run_folder().with_file_name("report.html"));
    for part in [
        "Values over time",
        "reply each second: p(95) over the window is to be &lt; 100 ms, the line",
        "open: a share == 1 is to be between the lines at 1 and 3",
        "sent, growth per second: the longest gap is to be &lt;= 2",
        "reply{kind:odd}",
    ] {
        assert!(report.contains(part), "{part}");
    }
    let svg = report.split("<svg ").nth(1).expect("a chart");
    assert!(
        svg.contains("opacity=\"0.4\""),
        "the window is shaded: {svg}"
    );
}

#[test]
fn a_run_that_the_script_ends_is_aborted_and_its_values_are_whole() {
    let stage = stage();
    let (code, printed) = finish(&mut run(&stage, "abort"));
    assert_eq!(code, 4, "{printed}");
    let verdict = common::json(&stage.run_folder().join("verdict.json"));
    assert_eq!(verdict["verdict"], "ABORTED", "{printed}");
    let gates = verdict["gates"].as_array().expect("gates");
    let whole = gates.iter().find(|gate| gate["id"] == "series-complete");
    assert_eq!(whole.expect("a gate")["holds"], true, "{printed}");
    let (code, later) = stage.judge();
    assert!(code == 4 && later.contains("ABORTED"), "{later}");
}
