//! Users with just the permissions that the documentation asks for, and with less.

use barrier_core::engine::CounterOptions;
use barrier_core::group::options::GroupOptions;
use barrier_core::group::protocol::{Answer, Item, ItemAnswer, Op, Request};
use barrier_core::group::redis::{GroupScript, decode};
use barrier_core::ids::{Incarnation, Participant, ProcessId};

use super::host::Process;
use super::support::RedisServer;

const GUIDE: &str = include_str!("../../../../docs/how-to/connect-to-redis.md");

/// The rules of the guide's `ACL SETUSER`, user name and password aside.
fn documented() -> Vec<String> {
    let (_, rules) = GUIDE
        .split_once("ACL SETUSER k6 on '>password' ")
        .expect("the guide makes a user");
    let command = rules.replace("\\\n", " ");
    let words = command.lines().next().unwrap_or_default();
    words
        .split_whitespace()
        .map(|word| word.replace('\'', ""))
        .collect()
}

fn set_user(server: &RedisServer, rules: &[impl redis::ToRedisArgs]) {
    redis::cmd("ACL")
        .arg("SETUSER")
        .arg("k6")
        .arg("reset")
        .arg("on")
        .arg(">sEcret")
        .arg(rules)
        .exec(&mut server.connection())
        .expect("the test's own server takes the rules");
}

fn url(server: &RedisServer, path: &str) -> String {
    format!("redis://k6:sEcret@127.0.0.1:{}{path}", server.port())
}

/// A whole phased run: every operation of the script, a message heard, and who is missing.
fn meet(url: &str) -> Result<(), barrier_core::error::Error> {
    let processes = [Process::start(), Process::start()];
    let json = format!(
        r#"{{"store":"{url}","runId":"acl","name":"gate","parties":4,"cyclic":true,"reasons":["login"]}}"#
    );
    let mut barriers = Vec::new();
    for process in &processes {
        barriers.push(process.open(&json)?);
    }
    for phase in 0..3 {
        for participant in 1..=4 {
            let at = usize::from(participant > 2);
            if participant == 4 && phase == 1 {
                let reason = super::failure("login");
                processes[at].report(&barriers[at], participant, reason)?;
            } else {
                processes[at].arrive(&barriers[at], participant)?;
            }
        }
        for (process, barrier) in processes.iter().zip(&barriers) {
            process.released(barrier, phase);
        }
    }
    processes[0].missing(&barriers[0], 5)?;
    processes[1].abort(&barriers[1], "enough")?;
    processes[0].broken(&barriers[0]);
    Ok(())
}

#[test]
fn the_documented_user_can_do_all_that_a_barrier_does() {
    let server = RedisServer::start();
    set_user(&server, &documented());
    meet(&url(&server, "")).expect("permitted");
}

#[test]
fn another_database_needs_one_permission_more() {
    let server = RedisServer::start();
    let mut rules = documented();
    set_user(&server, &rules);
    let error = meet(&url(&server, "/3")).expect_err("refused").to_string();
    assert!(
        error.contains("'select'") && error.contains("+select"),
        "{error}"
    );
    rules.push("+select".to_owned());
    set_user(&server, &rules);
    meet(&url(&server, "/3")).expect("permitted");
    let keys: Vec<String> = redis::pipe()
        .cmd("SELECT")
        .arg(3)
        .ignore()
        .cmd("KEYS")
        .arg("K6_BARRIER_STATE:*")
        .query::<(Vec<String>,)>(&mut server.connection())
        .expect("keys")
        .0;
    assert_eq!(keys, ["K6_BARRIER_STATE:acl:gate"]);
}

#[test]
fn each_missing_permission_is_an_error_that_says_what_is_needed() {
    let server = RedisServer::start();
    let rules = documented();
    for missing in rules.iter().filter(|rule| *rule != "resetchannels") {
        let mut fewer = rules.clone();
        fewer.retain(|rule| rule != missing);
        set_user(&server, &fewer);
        let error = meet(&url(&server, "")).expect_err(missing);
        let text = error.to_string();
        assert!(text.contains(missing), "{missing}: {text}");
        assert!(!text.contains("sEcret"), "{text}");
        redis::cmd("FLUSHALL")
            .exec(&mut server.connection())
            .expect("own server");
        redis::cmd("SCRIPT")
            .arg("FLUSH")
            .exec(&mut server.connection())
            .expect("own server");
    }
}

#[test]
fn a_counter_needs_its_commands_and_its_keys() {
    let server = RedisServer::start();
    redis::cmd("ZADD")
        .arg("WAITING:a")
        .arg(1)
        .arg("x")
        .exec(&mut server.connection())
        .expect("own server");
    let process = Process::start();
    let count = |rules: &[&str]| {
        set_user(&server, rules);
        let json = serde_json::json!({ "redis": url(&server, ""), "keys": ["WAITING:a"] });
        let options = CounterOptions::from_json(json.to_string().as_bytes())?;
        let token = process.fresh_token();
        process.engine.counter(options)?.counts(token);
        process.text(token)
    };
    let enough = ["~WAITING:*", "+type", "+zcard", "+hlen"];
    assert_eq!(count(&enough).expect("permitted"), r#"{"counts":[1]}"#);
    for missing in ["~WAITING:*", "+type", "+zcard"] {
        let mut fewer = enough.to_vec();
        fewer.retain(|rule| *rule != missing);
        let error = count(&fewer).expect_err("refused").to_string();
        assert!(
            error.contains("key WAITING:a") && error.contains("and their keys"),
            "{missing}: {error}"
        );
    }
}

#[test]
fn groups_need_no_more_than_the_guide_says() {
    let server = RedisServer::start();
    set_user(&server, &documented());
    let url = url(&server, "");
    let json = format!(r#"{{"store":"{url}","runId":"acl","name":"lobby","size":2}}"#);
    let options = GroupOptions::from_json(json.as_bytes()).expect("valid options");
    let script = GroupScript::new(&options);
    let client = redis::Client::open(url).expect("a URL");
    let mut connection = client.get_connection().expect("the user may connect");
    let mut request = Request {
        process: ProcessId::random(),
        incarnation: None,
        epoch: 1,
        number: 0,
        floor: 0,
        op: Op::Open {
            new_incarnation: Incarnation::random(),
            options: options.shared.canonical(),
            expected: 0,
            acknowledged: (0, 0),
        },
    };
    let mut ask = |request: &Request| {
        let answer = script.invocation(request).invoke(&mut connection);
        decode(answer.expect("nothing is forbidden")).expect("an answer")
    };
    request.incarnation = ask(&request).incarnation;
    let ids = ["a", "b"].map(|id| Participant::new(id).expect("valid"));
    let join = |participant: Participant| Item::Join {
        join: 1,
        participant,
        payload: None,
    };
    let heard = |participant: Participant| Item::Heard {
        join: 1,
        participant,
    };
    for items in [ids.clone().map(join), ids.map(heard)] {
        request.number += 1;
        let is_join = matches!(items[0], Item::Join { .. });
        request.op = Op::Items(items.into());
        let expected = match is_join {
            true => [ItemAnswer::Waits, ItemAnswer::Formed],
            false => [ItemAnswer::Done, ItemAnswer::Done],
        };
        assert_eq!(ask(&request).answer, Answer::Items(expected.into()));
    }
    let left: Vec<String> = server.ask(&["HKEYS", script.key()]);
    assert!(
        left.iter().all(|field| !field.starts_with("@g:")),
        "{left:?}"
    );
    assert!(!left.contains(&"a".to_owned()), "{left:?}");
}
