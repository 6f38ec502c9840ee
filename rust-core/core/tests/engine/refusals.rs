//! What a server may refuse with, each shown by a real one brought into that state: what users are told, and that all goes
//! on by itself once it is mended.

use std::thread;

use barrier_core::error::Error;

use super::host::Process;
use super::redis_cluster::{RedisCluster, until};
use super::support::{RedisServer, free_port};
use super::{options, with};

/// Two meet: the first while the server refuses, the second when it is mended.
fn refused(
    server: &mut RedisServer,
    run: &str,
    bring: impl FnOnce(&mut RedisServer),
    said: &[&str],
    mend: impl FnOnce(&mut RedisServer),
) {
    let process = Process::start();
    let barrier = process
        .open(&with(server, run, 2, r#","opTimeoutMs":1000"#))
        .expect("open");
    bring(server);
    let error = process.arrive(&barrier, 1).expect_err("refused");
    assert!(
        matches!(error, Error::Store { pending: true, .. }),
        "{error}"
    );
    let text = error.to_string();
    for said in said {
        assert!(text.contains(said), "{run}: {text}");
    }
    mend(server);
    // It may still be on its way back.
    until("the second arrival", || process.arrive(&barrier, 2).is_ok());
    process.released(&barrier, 0);
    let info = barrier
        .release_info(barrier_core::ids::Phase(0))
        .expect("released");
    assert_eq!(info.arrived, 2, "{run}");
    process.check();
}

fn set(server: &RedisServer, name: &str, value: &str) {
    let _: String = server.ask(&["CONFIG", "SET", name, value]);
}

#[test]
fn readonly() {
    refused(
        &mut RedisServer::start(),
        "readonly",
        |server| {
            let _: String = server.ask(&["REPLICAOF", "127.0.0.1", &free_port().to_string()]);
        },
        &["READONLY", "replica", "name the primary"],
        |server| {
            let _: String = server.ask(&["REPLICAOF", "NO", "ONE"]);
        },
    );
}

#[test]
fn masterdown() {
    refused(
        &mut RedisServer::start(),
        "masterdown",
        |server| {
            set(server, "replica-serve-stale-data", "no");
            let _: String = server.ask(&["REPLICAOF", "127.0.0.1", &free_port().to_string()]);
        },
        &["MASTERDOWN", "no primary"],
        |server| {
            let _: String = server.ask(&["REPLICAOF", "NO", "ONE"]);
        },
    );
}

#[test]
fn oom() {
    refused(
        &mut RedisServer::start(),
        "oom",
        |server| set(server, "maxmemory", "1"),
        &["OOM", "raise maxmemory"],
        |server| set(server, "maxmemory", "0"),
    );
}

#[test]
fn misconf() {
    let status = |server: &RedisServer, wanted: &str| {
        until("the end of a save", || {
            let info: String = server.ask(&["INFO", "persistence"]);
            info.contains("rdb_bgsave_in_progress:0")
                && info.contains(&format!("rdb_last_bgsave_status:{wanted}"))
        });
    };
    refused(
        &mut RedisServer::start(),
        "misconf",
        |server| {
            set(server, "save", "3600 1000000");
            std::fs::create_dir(server.folder().join("dump.rdb")).expect("in the way of the file");
            let _: String = server.ask(&["BGSAVE"]);
            status(server, "err");
        },
        &["MISCONF", "cannot save"],
        |server| {
            std::fs::remove_dir(server.folder().join("dump.rdb")).expect("out of the way");
            let _: String = server.ask(&["BGSAVE"]);
            status(server, "ok");
        },
    );
}

#[test]
fn loading() {
    refused(
        &mut RedisServer::start(),
        "loading",
        |server| {
            set(server, "rdbcompression", "no");
            for n in 0..400 {
                let _: String = server.ask(&["SET", &format!("filler:{n}"), &"x".repeat(2000)]);
            }
            let _: String = server.ask(&["SAVE"]);
            let slowly = ["--key-load-delay", "10000"];
            let noticing = ["--loading-process-events-interval-bytes", "2048"];
            server.restart_loading(&[slowly, noticing].concat());
        },
        &["LOADING", "loading its data"],
        |_| {},
    );
}

#[test]
fn busy() {
    refused(
        &mut RedisServer::start(),
        "busy",
        |server| {
            // Called busy-reply-threshold from Redis 7 on, and by this name as well.
            set(server, "lua-time-limit", "10");
            let mut connection = server.connection();
            thread::spawn(move || {
                let endless = redis::cmd("EVAL").arg("while true do end").arg(0).clone();
                let _: Result<(), _> = endless.query(&mut connection); // until it is killed
            });
            until("a busy server", || {
                redis::cmd("PING")
                    .exec(&mut server.connection_unasked())
                    .is_err_and(|e| e.to_string().contains("BUSY"))
            });
        },
        &["BUSY", "script"],
        |server| {
            redis::cmd("SCRIPT")
                .arg("KILL")
                .exec(&mut server.connection_unasked())
                .expect("the endless one is killed");
        },
    );
}

#[test]
fn noauth() {
    refused(
        &mut RedisServer::start(),
        "noauth",
        |server| {
            let mut connection = server.connection();
            redis::pipe()
                .cmd("CONFIG")
                .arg("SET")
                .arg("requirepass")
                .arg("other")
                .cmd("CLIENT")
                .arg("KILL")
                .arg("TYPE")
                .arg("pubsub")
                .exec(&mut connection)
                .expect("the test's own server");
        },
        &["NOAUTH", "put them into the URL"],
        |server| {
            let url = format!("redis://:other@127.0.0.1:{}", server.port());
            let client = redis::Client::open(url).expect("a URL");
            redis::cmd("CONFIG")
                .arg("SET")
                .arg("requirepass")
                .arg("")
                .exec(&mut client.get_connection().expect("the password"))
                .expect("the test's own server");
        },
    );
}

#[test]
fn noperm() {
    refused(
        &mut RedisServer::start(),
        "noperm",
        |server| {
            let _: String = server.ask(&["ACL", "SETUSER", "default", "-hset"]);
        },
        &["hset", "the ACL user needs"],
        |server| {
            let _: String = server.ask(&["ACL", "SETUSER", "default", "+@all"]);
        },
    );
}

#[test]
fn noscript() {
    let server = RedisServer::start();
    let process = Process::start();
    let barrier = process
        .open(&options(&server, "noscript", 1))
        .expect("open");
    let _: String = server.ask(&["SCRIPT", "FLUSH"]);
    process.arrive(&barrier, 1).expect("told the script again");
    process.released(&barrier, 0);
}

#[test]
fn clusterdown_moved_ask_and_tryagain_on_a_cluster() {
    let cluster = RedisCluster::start();
    let run = cluster.run_on(0, "down");
    let (slot, _) = cluster.place(&run);
    let process = Process::start();
    let json = format!(
        r#"{{"store":"{}","runId":"{run}","name":"default","parties":3,"opTimeoutMs":1000}}"#,
        cluster.url(&[0, 1, 2])
    );
    let barrier = process.open(&json).expect("open");
    let slot_text = slot.to_string();
    cluster.text(0, &["CLUSTER", "DELSLOTS", &slot_text]);
    let error = process.arrive(&barrier, 1).expect_err("nobody serves it");
    let text = error.to_string();
    assert!(
        text.contains("CLUSTERDOWN") || text.contains("serves slot"),
        "{text}"
    );
    cluster.text(0, &["CLUSTER", "ADDSLOTS", &slot_text]);
    until("the second arrival", || process.arrive(&barrier, 2).is_ok());

    // While only some keys have moved the old node answers ASK or TRYAGAIN, afterwards MOVED.
    cluster.begin_move(slot, 0, 1);
    let mirror = format!("K6_BARRIER_JOINED:{{{run}}}");
    let port = cluster.nodes[1].port().to_string();
    let command = [
        "MIGRATE",
        "127.0.0.1",
        &port,
        &mirror,
        "0",
        "10000",
        "REPLACE",
    ];
    cluster.text(0, &command);
    let error = process.arrive(&barrier, 3).expect_err("half moved");
    let text = error.to_string();
    assert!(
        ["TRYAGAIN", "ASK"].iter().any(|word| text.contains(word))
            && text.contains("on their way to another node"),
        "{text}"
    );
    cluster.move_keys(slot, 0, 1);
    cluster.end_move(slot, 0, 1);
    process.released(&barrier, 0);
    process.check();
}

#[test]
fn noreplicas() {
    refused(
        &mut RedisServer::start(),
        "noreplicas",
        |server| set(server, "min-replicas-to-write", "1"),
        &["NOREPLICAS", "too few replicas"],
        |server| set(server, "min-replicas-to-write", "0"),
    );
}

/// Such a server repeats what it was asked, and the password is among that.
#[test]
fn a_server_without_hello_tells_no_password() {
    let arguments = ["--rename-command", "HELLO", ""];
    let server = RedisServer::start_with_arguments(&super::support::binary(), &arguments);
    set(&server, "requirepass", "topsecret-hello");
    let process = Process::start();
    let url = format!("redis://:topsecret-hello@127.0.0.1:{}", server.port());
    let text = format!(
        r#"{{"name":"b","parties":2,"store":"{url}","runId":"hello","connectTimeoutMs":1000}}"#
    );
    let error = match process.open(&text) {
        Ok(barrier) => process.arrive(&barrier, 1).expect_err("refused"),
        Err(error) => error,
    };
    let said = error.to_string();
    assert!(said.contains("older than Redis 6"), "{said}");
    assert!(!said.contains("topsecret"), "{said}");
}

#[test]
fn the_record_of_another_version() {
    let server = RedisServer::start();
    let key = "K6_BARRIER_STATE:layout";
    for (field, value, theirs) in [("inc", "0", "layout 1"), ("@layout", "99", "layout 99")] {
        let _: u32 = server.ask(&["HSET", key, field, value]);
        let opened = Process::start().open(&with(&server, "layout", 2, ""));
        let text = opened.err().expect("another version's").to_string();
        for said in [
            key,
            theirs,
            "another version of k6-barrier",
            "another run id",
        ] {
            assert!(text.contains(said), "{text}");
        }
        let left: Vec<String> = server.ask(&["HGETALL", key]);
        assert_eq!(left, [field, value], "nothing was written");
        let _: u32 = server.ask(&["DEL", key]);
    }
}
