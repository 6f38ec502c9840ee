//! An operator on a real Redis: what it sees, that looking changes nothing, and that what it ends is ended for all.

mod support;

use barrier_core::engine::{Emission, Engine, Operator, OperatorOptions, OperatorQuestion, Sink};
use barrier_core::error::Error;
use barrier_core::ids::{Incarnation, Participant, Phase, ProcessId, Reason};
use barrier_core::options::BarrierOptions;
use barrier_core::protocol::{
    Answer, BreakKind, Item, ItemKind, Micros, Op, Others, Reply, Request, Why,
};
use barrier_core::store::redis::{Scripts, decode};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use support::RedisServer;

struct NobodyListens;

impl Sink for NobodyListens {
    fn emit(&self, news: &mut Vec<Emission>) {
        // Nobody asks by ticket here.
        news.clear();
    }
}

struct Desk {
    runtime: tokio::runtime::Runtime,
    operator: Operator,
    _engine: Engine,
}

impl Desk {
    fn new(url: &str) -> Self {
        let engine = Engine::new(Arc::new(NobodyListens));
        let options = json!({ "redis": url, "timeoutMs": 60_000 }).to_string();
        let options = OperatorOptions::from_json(options.as_bytes()).expect("valid");
        Self {
            runtime: tokio::runtime::Runtime::new().expect("starts"),
            operator: engine.operator(options).expect("open"),
            _engine: engine,
        }
    }

    fn try_ask(&self, question: Value) -> Result<Value, Error> {
        let question: OperatorQuestion = serde_json::from_value(question).expect("a question");
        let answer = self.runtime.block_on(self.operator.answer(question))?;
        Ok(serde_json::from_str(&answer).expect("JSON"))
    }

    fn ask(&self, question: Value) -> Value {
        self.try_ask(question).expect("answered")
    }

    fn look(&self, run: &str) -> Value {
        self.ask(json!({ "op": "look", "runId": run, "name": "default", "missing": 10 }))["barrier"]
            .clone()
    }
}

/// A process of a run that speaks to the store itself, so that nothing is written but what the test says.
struct Process {
    id: ProcessId,
    incarnation: Option<Incarnation>,
    scripts: Scripts,
    options: BarrierOptions,
    connection: redis::Connection,
}

impl Process {
    fn open(server: &RedisServer, run: &str, more: &Value) -> Self {
        let mut options = json!({
            "name": "default", "parties": 4, "store": server.url(), "runId": run, "ttlMs": 600_000,
        });
        options
            .as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        let options =
            BarrierOptions::from_json(options.to_string().as_bytes()).expect("valid options");
        let mut process = Self {
            id: ProcessId::random(),
            incarnation: None,
            scripts: Scripts::new(&options),
            options,
            connection: server.connection(),
        };
        let op = Op::Open {
            new_incarnation: Incarnation::random(),
            options: process.options.shared.canonical(),
            reasons: Vec::new(),
            last_release: None,
            broken: None,
            others: Others::Accept,
            push_latency: Micros(0),
        };
        process.incarnation = process.ask(0, op).incarnation;
        process
    }

    fn ask(&mut self, phase: u32, op: Op) -> Reply {
        let request = Request {
            process: self.id.clone(),
            incarnation: self.incarnation.clone(),
            phase: Phase(phase),
            resend: false,
            census: None,
            reasons: vec!["login".into(), "sse".into()],
            op,
        };
        let call = self.scripts.invocation(&request);
        decode(call.invoke(&mut self.connection).expect("answered")).expect("readable")
    }

    fn arrive(&mut self, phase: u32, participant: &str) {
        self.report(phase, participant, ItemKind::Arrived);
    }

    fn report(&mut self, phase: u32, participant: &str, what: ItemKind) {
        let item = Item {
            participant: Participant::new(participant).expect("valid"),
            what,
            nameable: true,
        };
        self.ask(phase, Op::Outcomes(vec![item]));
    }

    fn beat(&mut self) -> Reply {
        let op = Op::Beat {
            push_latency: Micros(0),
            closing: false,
        };
        self.ask(0, op)
    }
}

/// Everything that the server holds, with the time of expiry of each key.
fn contents(server: &RedisServer) -> BTreeMap<String, (Vec<u8>, i64)> {
    let mut connection = server.connection();
    let mut ask = |command: &str, key: &str| -> redis::Value {
        redis::cmd(command)
            .arg(key)
            .query(&mut connection)
            .expect("answered")
    };
    let keys: Vec<String> = redis::from_redis_value(ask("KEYS", "*")).expect("keys");
    keys.into_iter()
        .map(|key| {
            let dump = redis::from_redis_value(ask("DUMP", &key)).expect("a dump");
            // PEXPIRETIME came with Redis 7: what is left of the time tells a prolonged life as well.
            let left = redis::from_redis_value(ask("PTTL", &key)).expect("a time");
            (key, (dump, left))
        })
        .collect()
}

#[test]
fn an_operator_sees_who_is_there_and_who_is_not() {
    let server = RedisServer::start();
    let desk = Desk::new(&server.url());
    assert_eq!(desk.look("run"), Value::Null, "there is no barrier yet");

    let mut process = Process::open(&server, "run", &json!({ "release": { "percent": 90 } }));
    process.arrive(0, "1");
    process.report(
        0,
        "3",
        ItemKind::Failed(Reason::new("reason", "login").expect("valid")),
    );
    let seen = desk.look("run");
    for (field, want) in [
        ("state", json!("open")),
        ("parties", json!(4)),
        ("quorum", json!(4)),
        ("phase", json!(0)),
        ("arrived", json!(1)),
        ("failed", json!({ "login": 1 })),
        ("missing", json!(2)),
        ("missingIds", json!(["2", "4"])),
        ("processes", json!(1)),
    ] {
        assert_eq!(seen[field], want, "{field} of {seen}");
    }
    let (since, now) = (seen["since"].as_f64(), seen["now"].as_f64());
    assert!(since.expect("a time") <= now.expect("a time"), "{seen}");
    assert!(seen["heardAt"].as_f64() >= since, "{seen}");
}

#[test]
fn the_last_user_goes_where_one_does() {
    let server = RedisServer::start();
    let desk = Desk::new(&server.url());
    let options = json!({ "parties": 2, "cyclic": true, "spread": { "pace": { "rate": 1 } } });
    let mut process = Process::open(&server, "run", &options);
    process.arrive(0, "1");
    process.arrive(0, "2");
    let release = desk.look("run")["newestRelease"].clone();
    let (at, last) = (release["at"].as_f64(), release["lastAt"].as_f64());
    assert_eq!(last, at.map(|at| at + 1000.0), "{release}");

    let failed = || ItemKind::Failed(Reason::new("reason", "login").expect("valid"));
    process.report(1, "1", failed());
    process.report(1, "2", failed());
    let release = desk.look("run")["newestRelease"].clone();
    assert_eq!(release["phase"], 1, "{release}");
    assert_eq!(release["lastAt"], Value::Null, "nobody goes: {release}");
}

#[test]
fn looking_changes_nothing() {
    let server = RedisServer::start();
    let mut process = Process::open(&server, "run", &json!({}));
    process.arrive(0, "1");
    let desk = Desk::new(&server.url());
    let before = contents(&server);
    desk.look("run");
    desk.ask(json!({ "op": "list", "limit": 100 }));
    let after = contents(&server);
    assert_eq!(
        before.keys().collect::<Vec<_>>(),
        after.keys().collect::<Vec<_>>()
    );
    for (key, (dump, left)) in &before {
        assert_eq!(&after[key].0, dump, "{key}");
        assert!(after[key].1 <= *left, "{key} lives longer");
    }
    assert_eq!(process.beat().processes, 1, "an operator is no process");
}

#[test]
fn a_list_names_each_barrier_once_and_says_when_it_is_cut() {
    let server = RedisServer::start();
    for run in ["run-1", "run-2", "run-22"] {
        Process::open(&server, run, &json!({}));
    }
    Process::open(&server, "run-2", &json!({ "name": "gate" }));
    let mut connection = server.connection();
    let _: () = redis::cmd("SET")
        .arg("K6_BARRIER_STATE:not a run")
        .arg("1")
        .query(&mut connection)
        .expect("set");
    for n in 0..2_000 {
        let _: () = redis::cmd("SET")
            .arg(format!("other:{n}"))
            .arg(n)
            .query(&mut connection)
            .expect("set");
    }

    let desk = Desk::new(&server.url());
    let listed = |question: Value| {
        let answer = desk.ask(question);
        let names: Vec<String> = answer["barriers"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|b| format!("{}/{}", b["runId"], b["name"]).replace('"', ""))
            .collect();
        (names, answer["complete"] == true)
    };
    let (all, complete) = listed(json!({ "op": "list", "limit": 100 }));
    assert_eq!(
        all,
        [
            "run-1/default",
            "run-2/default",
            "run-2/gate",
            "run-22/default"
        ]
    );
    assert!(complete);
    let (of_run, _) = listed(json!({ "op": "list", "runId": "run-2", "limit": 100 }));
    assert_eq!(of_run, ["run-2/default", "run-2/gate"]);
    let (cut, complete) = listed(json!({ "op": "list", "limit": 2 }));
    assert_eq!((cut.len(), complete), (2, false));
}

#[test]
fn a_release_reaches_the_store_once_and_registers_nobody() {
    let server = RedisServer::start();
    let mut process = Process::open(&server, "run", &json!({}));
    process.arrive(0, "1");
    let desk = Desk::new(&server.url());
    let release = json!({ "op": "release", "runId": "run", "name": "default", "phase": 0 });
    let before = contents(&server);
    let answer = desk.ask(release.clone());
    assert_eq!(answer["answer"], "done");
    assert_eq!(answer["barrier"]["state"], "released");
    assert_eq!(answer["barrier"]["newestRelease"]["reason"], "operator");
    for (key, (_, left)) in contents(&server) {
        assert!(left <= before[&key].1, "{key} lives longer");
    }

    let reply = process.beat();
    let release_seen = reply.newest.expect("a release");
    assert_eq!(release_seen.why, Why::Operator);
    assert_eq!(release_seen.counts.arrived, 1);
    assert_eq!(release_seen.delay, Micros(0), "one process is alone");
    assert_eq!(reply.processes, 1);

    assert_eq!(desk.ask(release)["answer"], "released");
    assert_eq!(
        process.beat().newest,
        Some(release_seen),
        "the first stands"
    );
    let abort = json!({ "op": "abort", "runId": "run", "name": "default", "message": "too late" });
    assert_eq!(desk.ask(abort)["answer"], "released");
}

#[test]
fn only_the_phase_that_was_seen_is_released() {
    let server = RedisServer::start();
    let mut process = Process::open(&server, "run", &json!({ "cyclic": true, "parties": 1 }));
    process.arrive(0, "1");
    let desk = Desk::new(&server.url());
    let release =
        |phase: u32| json!({ "op": "release", "runId": "run", "name": "default", "phase": phase });
    assert_eq!(desk.ask(release(0))["answer"], "released");
    assert_eq!(desk.look("run")["phase"], 1, "phase 1 is still open");
    let error = desk.try_ask(release(2)).expect_err("no such phase");
    assert!(error.to_string().contains("phase"), "{error}");
    assert_eq!(desk.ask(release(1))["answer"], "done");
    let seen = desk.look("run");
    assert_eq!(
        (&seen["state"], &seen["phase"]),
        (&json!("open"), &json!(2))
    );
    assert_eq!(seen["since"], seen["newestRelease"]["at"]);
}

#[test]
fn an_abort_breaks_the_barrier_for_everyone() {
    let server = RedisServer::start();
    let mut process = Process::open(&server, "run", &json!({}));
    let desk = Desk::new(&server.url());
    let abort =
        |why: &str| json!({ "op": "abort", "runId": "run", "name": "default", "message": why });
    let answer = desk.ask(abort("wrong build"));
    assert_eq!(answer["answer"], "done");
    assert_eq!(answer["barrier"]["state"], "broken");
    let reply = process.beat();
    let broken = reply.broken.expect("broken");
    assert_eq!(
        (broken.kind, broken.message.as_str()),
        (BreakKind::Abort, "wrong build")
    );
    assert_eq!(reply.answer, Answer::Ok);
    assert_eq!(desk.ask(abort("again"))["answer"], "broken");
    assert_eq!(desk.look("run")["broken"]["message"], "wrong build");
    let release = json!({ "op": "release", "runId": "run", "name": "default", "phase": 0 });
    assert_eq!(desk.ask(release)["answer"], "broken");
}

#[test]
fn what_cannot_be_done_says_why() {
    let server = RedisServer::start();
    let desk = Desk::new(&server.url());
    let nobody = desk
        .try_ask(json!({ "op": "abort", "runId": "run", "name": "default", "message": "why" }))
        .expect_err("there is none");
    assert!(
        nobody.to_string().contains("no barrier default of run run"),
        "{nobody}"
    );
    for question in [
        json!({ "op": "look", "runId": "a b", "name": "default", "missing": 0 }),
        json!({ "op": "look", "runId": "a", "name": "a:b", "missing": 0 }),
        json!({ "op": "list", "limit": 10_001 }),
        json!({ "op": "abort", "runId": "a", "name": "b", "message": "" }),
    ] {
        let error = desk.try_ask(question.clone()).expect_err("refused");
        assert!(matches!(error, Error::Option(_)), "{question}: {error}");
    }
}

#[test]
fn servers_say_what_they_are_to_those_who_may_ask() {
    let server = RedisServer::start();
    let mut redis = server.connection();
    // One at a time: before Redis 7, CONFIG SET takes one.
    for setting in [
        ["maxmemory", "104857600"],
        ["maxmemory-policy", "allkeys-lru"],
    ] {
        redis::cmd("CONFIG")
            .arg("SET")
            .arg(&setting)
            .exec(&mut redis)
            .expect("set");
    }
    redis::cmd("ACL")
        .arg("SETUSER")
        .arg(&["narrow", "on", ">word", "~K6_BARRIER_*", "+@all", "-info"])
        .exec(&mut redis)
        .expect("a user");
    let url = server.url();
    let at = url.trim_start_matches("redis://").to_owned();
    let told = Desk::new(&url).ask(json!({ "op": "servers" }));
    let told = &told["servers"][0];
    assert_eq!(told["at"], at);
    // Tests run with either.
    assert!(
        told["version"]
            .as_str()
            .is_some_and(|version| version.starts_with("Redis ") || version.starts_with("Valkey ")),
        "{told}"
    );
    assert_eq!(told["maxMemory"], 104_857_600);
    assert_eq!(told["eviction"], "allkeys-lru");
    let narrow = url.replace("redis://", "redis://narrow:word@");
    assert_eq!(
        Desk::new(&narrow).ask(json!({ "op": "servers" })),
        json!({ "servers": [{ "at": at, "version": null, "maxMemory": null, "eviction": null }] })
    );
}
