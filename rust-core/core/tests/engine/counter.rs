//! Queues of any type.

use std::collections::BTreeMap;

use barrier_core::engine::CounterOptions;
use barrier_core::error::Error;

use tokio::runtime::Runtime;

use super::Process;
use super::proxy::Proxy;
use super::support::RedisServer;

pub(crate) fn count(
    process: &Process,
    server: &RedisServer,
    keys: &[&str],
) -> Result<BTreeMap<String, u64>, Error> {
    let json = serde_json::json!({ "redis": server.url(), "keys": keys }).to_string();
    let options = CounterOptions::from_json(json.as_bytes())?;
    let token = process.fresh_token();
    process.engine.counter(options)?.counts(token);
    let text = process.text(token)?;
    let answer: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let sizes: Vec<u64> = serde_json::from_value(answer["counts"].clone()).expect("counts");
    assert_eq!(sizes.len(), keys.len());
    let keys = keys.iter().map(|key| (*key).to_owned());
    Ok(keys.zip(sizes).collect())
}

#[test]
fn each_type_is_counted_in_its_own_way() {
    let server = RedisServer::start();
    let process = Process::start();
    redis::pipe()
        .cmd("ZADD")
        .arg("z")
        .arg(1)
        .arg("a")
        .arg(2)
        .arg("b")
        .cmd("HSET")
        .arg("h")
        .arg("a")
        .arg(1)
        .arg("b")
        .arg(2)
        .arg("c")
        .arg(3)
        .exec(&mut server.connection())
        .expect("the test's own server");
    let counts = count(&process, &server, &["z", "h", "none"]).expect("counted");
    assert_eq!(
        counts,
        BTreeMap::from([("h".into(), 3), ("none".into(), 0), ("z".into(), 2)])
    );
}

#[test]
fn another_type_is_an_error_that_names_key_and_type() {
    let server = RedisServer::start();
    let process = Process::start();
    redis::cmd("SET")
        .arg("WAITING:e1")
        .arg("x")
        .exec(&mut server.connection())
        .expect("the test's own server");
    let error = count(&process, &server, &["z", "WAITING:e1"]).expect_err("a string is no queue");
    assert_eq!(
        error,
        Error::QueueType {
            key: "WAITING:e1".into(),
            kind: "string".into()
        }
    );
}

/// A counter remembers what a key was; the key may have become anything since.
#[test]
fn a_key_may_change_its_type_between_two_counts() {
    let server = RedisServer::start();
    let process = Process::start();
    let json = serde_json::json!({ "redis": server.url(), "keys": ["q", "z"] }).to_string();
    let options = CounterOptions::from_json(json.as_bytes()).expect("options");
    let counter = process.engine.counter(options).expect("open");
    let run = |commands: &[&[&str]]| {
        for command in commands {
            let mut cmd = redis::cmd(command[0]);
            cmd.arg(&command[1..]);
            cmd.exec(&mut server.connection())
                .expect("the test's own server");
        }
        let token = process.fresh_token();
        counter.counts(token);
        let text = process.text(token)?;
        let answer: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        Ok::<_, Error>((answer["counts"][0].as_u64(), answer["counts"][1].as_u64()))
    };
    assert_eq!(run(&[&["ZADD", "z", "1", "a"]]), Ok((Some(0), Some(1))));
    assert_eq!(
        run(&[&["ZADD", "q", "1", "a", "2", "b"]]),
        Ok((Some(2), Some(1)))
    );
    assert_eq!(run(&[]), Ok((Some(2), Some(1))));
    let becomes_a_hash: [&[&str]; 2] = [&["DEL", "q"], &["HSET", "q", "a", "1"]];
    assert_eq!(run(&becomes_a_hash), Ok((Some(1), Some(1))));
    assert_eq!(run(&[&["HSET", "q", "b", "1"]]), Ok((Some(2), Some(1))));
    assert_eq!(run(&[&["DEL", "q"]]), Ok((Some(0), Some(1))));
    let error = run(&[&["SET", "q", "x"]]).expect_err("a string is no queue");
    assert!(matches!(error, Error::QueueType { key, .. } if key == "q"));
    let becomes_a_zset: [&[&str]; 2] = [&["DEL", "q"], &["ZADD", "q", "1", "a"]];
    assert_eq!(run(&becomes_a_zset), Ok((Some(1), Some(1))));
}

#[test]
fn any_number_of_keys_is_one_round_trip() {
    let server = RedisServer::start();
    let process = Process::start();
    let keys: Vec<String> = (0..100).map(|n| format!("q{n}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let reads = || -> u64 {
        let info: String = redis::cmd("INFO")
            .arg("stats")
            .query(&mut server.connection())
            .expect("stats");
        let line = info
            .lines()
            .find_map(|l| l.strip_prefix("total_reads_processed:"));
        line.expect("Redis 6 counts reads")
            .trim()
            .parse()
            .expect("a number")
    };
    count(&process, &server, &keys).expect("connected");
    let before = reads();
    count(&process, &server, &keys).expect("counted");
    // One read of the counter's; this test's own connection takes up to three for itself.
    assert!(reads() - before <= 5, "{} reads", reads() - before);
}

#[test]
fn what_stands_beside_a_queue_is_read_and_written_by_commands() {
    let server = RedisServer::start();
    let process = Process::start();
    let json = serde_json::json!({ "redis": server.url(), "keys": ["q"] }).to_string();
    let options = CounterOptions::from_json(json.as_bytes()).expect("options");
    let counter = process.engine.counter(options).expect("open");
    let command = |words: &[&str]| {
        let token = process.fresh_token();
        counter.command(words.iter().map(|word| (*word).to_owned()).collect(), token);
        process.text(token)
    };
    let answer = |text: &str| Ok(format!(r#"{{"answer":{text}}}"#));
    assert_eq!(command(&["HGET", "idx", "e1"]), answer("null"));
    assert_eq!(command(&["hset", "idx", "e1", "7"]), answer("1"));
    assert_eq!(command(&["HGET", "idx", "e1"]), answer(r#""7""#));
    assert_eq!(
        command(&["SET", "at", "1 \r\n2", "EX", "60"]),
        answer(r#""OK""#)
    );
    assert_eq!(command(&["GET", "at"]), answer(r#""1 \r\n2""#));

    let refused = |words: &[&str]| command(words).expect_err("refused").to_string();
    assert!(refused(&["GET", "idx"]).starts_with("key idx: "));
    // Others use the connection as well: nothing that blocks it or changes what it is.
    for name in ["BLPOP", "SELECT", "MULTI", "FLUSHALL", ""] {
        let text = refused(&[name, "idx"]);
        assert!(
            text.starts_with(&format!("option command: got {name:?}, allowed is DEL, ")),
            "{text}"
        );
    }
    assert!(refused(&["GET"]).starts_with("option key: got nothing"));
    assert!(refused(&[]).starts_with("option command: got nothing"));
}

/// Counts until the other server answers, behind the same address.
fn leaves_for_another(server: &RedisServer, spoil: impl FnOnce(&RedisServer)) {
    let runtime = Runtime::new().expect("a runtime");
    let other = RedisServer::start();
    let _: u32 = other.ask(&["ZADD", "q", "1", "a"]);
    let way = Proxy::start(runtime.handle(), server.port());
    let process = Process::start();
    let url = format!("redis://127.0.0.1:{}", way.port());
    let json = serde_json::json!({ "redis": url, "keys": ["q"], "opTimeoutMs": 500 }).to_string();
    let options = CounterOptions::from_json(json.as_bytes()).expect("options");
    let counter = process.engine.counter(options).expect("open");
    let count = || {
        let token = process.fresh_token();
        counter.counts(token);
        process.text(token)
    };
    assert_eq!(count(), Ok(r#"{"counts":[0]}"#.into()));
    spoil(server);
    way.lead_to(other.port());
    count().expect_err("this server is of no use any more");
    super::redis_cluster::until("the other server's count", || {
        count() == Ok(r#"{"counts":[1]}"#.into())
    });
}

#[test]
fn a_connection_of_counters_alone_is_given_up_when_its_server_is_of_no_use() {
    let server = RedisServer::start();
    leaves_for_another(&server, |server| {
        let _: String = server.ask(&["CONFIG", "SET", "replica-serve-stale-data", "no"]);
        let _: String = server.ask(&["REPLICAOF", "127.0.0.1", "1"]);
    });
}

#[test]
fn a_connection_of_counters_alone_is_given_up_when_nobody_answers() {
    let server = RedisServer::start();
    leaves_for_another(&server, |server| server.signal("-STOP"));
    server.signal("-CONT");
}
