//! The variables of a run.

use std::collections::BTreeMap;

use super::given::Given;
use super::tests::suite;
use super::vars::{Origin, Point, Value, Vars};
use crate::values::mask;

fn resolve(
    env: &str,
    scenario: &str,
    set: &[(&str, &str)],
    environment: &[(&str, &str)],
) -> anyhow::Result<Vars> {
    let suite = suite(&format!("{env}\n{scenario}")).expect("suite");
    let own = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    };
    let given = Given {
        set: own(set),
        environment: own(environment),
        file: BTreeMap::new(),
    };
    Vars::resolve(&suite.file, &suite.file.scenario[0], &Point::new(), &given)
}

const SCENARIO: &str = "[[scenario]]\nid = \"smoke\"\nscript = \"s.js\"\nlimit = \"30s\"\n";

#[test]
fn command_line_wins_then_scenario_then_environment_then_default() {
    let env = "[env.VUS]\ntype = \"int\"\ndefault = 1";
    let with_set = format!("{SCENARIO}set = {{ VUS = 3 }}");
    let value = |scenario: &str, set: &[(&str, &str)], environment: &[(&str, &str)]| {
        let vars = resolve(env, scenario, set, environment).expect("vars");
        (
            vars.int("VUS").expect("int"),
            vars.origin("VUS").expect("origin"),
        )
    };
    assert_eq!(
        value(&with_set, &[("VUS", "4")], &[("VUS", "2")]),
        (4, Origin::CommandLine)
    );
    assert_eq!(
        value(&with_set, &[], &[("VUS", "2")]),
        (3, Origin::Scenario)
    );
    assert_eq!(
        value(SCENARIO, &[], &[("VUS", "2")]),
        (2, Origin::Environment)
    );
    assert_eq!(value(SCENARIO, &[], &[("VUS", " ")]), (1, Origin::Default));
}

#[test]
fn wrong_values_name_the_variable_and_what_is_allowed() {
    let text = |env: &str, set: (&str, &str)| {
        resolve(env, SCENARIO, &[set], &[])
            .expect_err("refused")
            .to_string()
    };
    assert_eq!(
        text("[env.VUS]\ntype = \"int\"", ("VUS", "many")),
        "VUS: received `many`; allowed: a whole number"
    );
    let clean = "[env.AGGRESSIVE_CLEAN]\ntype = \"int\"\nallowed = [0]";
    assert_eq!(
        text(clean, ("AGGRESSIVE_CLEAN", "1")),
        "AGGRESSIVE_CLEAN=1 is not allowed; allowed: 0"
    );
    let unknown = text("[env.VUS]\ntype = \"int\"", ("VSU", "1"));
    assert!(
        unknown.contains("--set VSU") && unknown.contains("did you mean `VUS`?"),
        "{unknown}"
    );
    let address = text(
        "[env.REDIS_URL]\ntype = \"url\"",
        ("REDIS_URL", "redis://a:pw@[x"),
    );
    assert!(
        !address.contains("pw") && address.contains("REDIS_URL"),
        "{address}"
    );
}

#[test]
fn secrets_are_not_shown() {
    let env = "[env.REDIS_URL]\ntype = \"url\"\n[env.PASSWORD]\ntype = \"string\"\nsecret = true";
    let vars = resolve(
        env,
        SCENARIO,
        &[
            ("REDIS_URL", "redis://u:topsecret1@h:1/2"),
            ("PASSWORD", "topsecret2"),
        ],
        &[],
    )
    .expect("vars");
    assert_eq!(
        vars.shown("REDIS_URL").as_deref(),
        Some("redis://u:***@h:1/2")
    );
    assert_eq!(vars.shown("PASSWORD").as_deref(), Some("***"));
    assert!(vars.is_secret("REDIS_URL"));
}

#[test]
fn what_is_composed_of_secrets_is_one() {
    let env = "[env.TOKEN]\ntype = \"string\"\nsecret = true\n[env.HEADER]\ntype = \"string\"\ndefault = \"Bearer ${TOKEN}\"\n\
        [env.WORD]\ntype = \"string\"\nsecret = true\ndefault = \"word-{part}\"\n[env.DB]\ntype = \"url\"\ndefault = \"redis://u:{part}@h:1\"\n\
        [computed]\npart = \"'composed7'\"";
    let mut vars = resolve(env, SCENARIO, &[("TOKEN", "topsecret3")], &[]).expect("vars");
    vars.know("part", "composed7");
    vars.fill().expect("fill");
    for name in ["HEADER", "WORD", "DB"] {
        assert!(vars.is_secret(name), "{name}");
    }
    assert_eq!(vars.shown("HEADER").as_deref(), Some("***"));
    let told = mask::masked("Bearer topsecret3, word-composed7");
    assert_eq!(told, "***, ***");
}

#[test]
fn lists_are_trimmed_and_unique() {
    let vars = resolve(
        "[env.EVENT_IDS]\ntype = \"list\"",
        SCENARIO,
        &[("EVENT_IDS", " a ,,b,a ")],
        &[],
    )
    .expect("vars");
    assert_eq!(vars.list("EVENT_IDS").expect("list"), ["a", "b"]);
    let empty = resolve(
        "[env.EVENT_IDS]\ntype = \"list\"",
        SCENARIO,
        &[],
        &[("EVENT_IDS", "")],
    )
    .expect("vars");
    assert!(
        empty
            .list("EVENT_IDS")
            .expect_err("missing")
            .to_string()
            .contains("EVENT_IDS")
    );
}

#[test]
fn computed_defaults_wait_for_run_values() {
    let env = "[env.A]\ntype = \"int\"\ndefault = \"{sse_timeout_ms}\"\n\
        [computed]\nsse_timeout_ms = \"3 + 4\"";
    let mut vars = resolve(env, SCENARIO, &[], &[]).expect("vars");
    assert_eq!(vars.get("A"), None);
    vars.know("sse_timeout_ms", 7);
    vars.fill().expect("fill");
    assert_eq!(
        (vars.get("A"), vars.origin("A")),
        (Some(&Value::Int(7)), Some(Origin::Computed))
    );
}
