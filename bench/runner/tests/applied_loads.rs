//! Whether k6 gets what the suite declares for it: loads that the harness applies, settings of its process; and that nobody reads a
//! secret in them.

mod common;

use common::own::{EXTERNAL, Own};
use common::{finish, json, text};

/// It applies the declared loads.
const HARNESS: &str = r#"
import { sleep } from 'k6';
import { declared } from 'LIB/load.js';

const scenarios = declared({ by_itself: { executor: 'shared-iterations', vus: 1, iterations: 1 } });
export const options = { scenarios };

export function setup() {
  return { heap: __ENV.GOGC ?? null };
}

export default function () {
  sleep(0.1);
}

export function handleSummary(data) {
  return { 'summary.json': JSON.stringify(data) };
}
"#;

const STEADY: &str = r#"
[[scenario]]
id = "main"
script = "run.js"
load = [{ name = "steady", executor = "constant-vus", vus = 2, duration = "1s" }]
"#;

#[test]
fn a_harness_that_applies_other_loads_is_not_run() {
    let all = "export const options = { scenarios };";
    for (options, expected) in [
        (
            "export const options = { vus: 1, iterations: 1 };",
            "it has no scenario `steady`;",
        ),
        (
            "export const options = { scenarios: { ...scenarios, more: { executor: 'shared-iterations' } } };",
            "it has a scenario `more`, which is not declared;",
        ),
        (
            "scenarios.steady.vus = 1; export const options = { scenarios };",
            "`vus` of `steady` is 1, declared is 2;",
        ),
    ] {
        let own = Own::new(
            &format!("{EXTERNAL}{STEADY}"),
            &HARNESS.replace(all, options),
        );
        let (code, printed) = own.at_listener("run", &[]);
        let expected = format!("the harness does not apply the declared loads: {expected}");
        assert!(
            code == 2 && printed.contains(&expected) && printed.contains("js/lib/load.js"),
            "{expected}: {printed}"
        );
        let folder = own.place.run_folder("main");
        assert_eq!(json(&folder.join("verdict.json"))["verdict"], "NOT_RUN");
        assert!(!folder.join("stdout.txt").exists(), "k6 was not started");
    }
}

#[test]
fn a_harness_that_chooses_its_loads_by_arguments_is_asked_with_them() {
    let chosen = HARNESS.replace(
        "const scenarios = declared(",
        "const scenarios = (__ENV.OWN ? (own) => own : declared)(",
    );
    let args = STEADY.replace("load =", "args = \"-e OWN=1\"\nload =");
    let own = Own::new(&format!("{EXTERNAL}{args}"), &chosen);
    let (code, printed) = own.at_listener("run", &[]);
    assert!(
        code == 2 && printed.contains("it has no scenario `steady`"),
        "{printed}"
    );
}

#[test]
fn a_harness_that_k6_refuses_is_run_so_that_k6_says_why() {
    let broken = format!("{HARNESS}\nthrow new Error('not today');\n");
    let own = Own::new(&format!("{EXTERNAL}{STEADY}"), &broken);
    let (code, printed) = own.at_listener("run", &[]);
    assert_eq!(code, 3, "{printed}");
    let folder = own.place.run_folder("main");
    assert_eq!(json(&folder.join("verdict.json"))["verdict"], "INVALID");
    assert!(text(&folder.join("stdout.txt")).contains("not today"));
}

#[test]
fn loads_and_arguments_take_no_secrets() {
    let env = "[env.CODE]\ntype = \"string\"\nsecret = true\n\
        [env.PLACE]\ntype = \"url\"\nrole = \"place\"\n";
    for (key, in_load, args) in [
        ("tags", ", tags = { by = \"${NAME}\" }", ""),
        ("exec", ", exec = \"${NAME}\"", ""),
        ("args", "", "args = \"--tag by=${NAME}\"\n"),
    ] {
        let suite = |name: &str| {
            let load = in_load.replace("${NAME}", name);
            let args = args.replace("${NAME}", name);
            let steady = STEADY.replace(" }]", &format!("{load} }}]"));
            let steady = steady.replace("load =", &format!("{args}load ="));
            Own::new(&format!("{EXTERNAL}{env}{steady}"), HARNESS)
        };
        let declared = suite("${CODE}");
        let (code, printed) = finish(&mut declared.call("validate", &[]));
        let expected = format!("`{key}`: CODE is a secret, and what stands here can be read");
        assert!(
            code == 2 && printed.contains(&expected),
            "{expected}: {printed}"
        );
        // A password makes an address one.
        let address = suite("${PLACE}");
        let set = "PLACE=http://me:pass-word-1@127.0.0.1:9";
        let (code, printed) = address.at_listener("run", &["--set", set]);
        let expected = format!("scenario main: `{key}`: PLACE is a secret");
        assert!(
            code == 2 && printed.contains(&expected),
            "{expected}: {printed}"
        );
        assert!(!address.place.evidence().exists());
    }
}

#[test]
fn settings_of_the_runtime_reach_the_process_of_k6_and_no_others() {
    let set = |setting: &str| {
        let line = format!("id = \"main\"\nk6_env = {{ {setting} }}\n");
        let scenario = STEADY.replace("id = \"main\"\n", &line);
        Own::new(&format!("{EXTERNAL}{scenario}"), HARNESS)
    };
    let heap = |own: &Own| {
        let (code, printed) = own.at_listener("run", &[]);
        assert_eq!(code, 0, "{printed}");
        json(&own.place.run_folder("main").join("summary.json"))["setup_data"]["heap"].clone()
    };
    assert_eq!(heap(&set("")), serde_json::Value::Null, "k6's own defaults");
    assert_eq!(heap(&set("GOGC = \"33\"")), "33");
    let (code, printed) = finish(&mut set("K6_VUS = \"10\"").call("validate", &[]));
    let expected =
        "`k6_env`: received `K6_VUS`, expected one of GODEBUG, GOGC, GOMAXPROCS, GOMEMLIMIT";
    assert!(code == 2 && printed.contains(expected), "{printed}");
}
