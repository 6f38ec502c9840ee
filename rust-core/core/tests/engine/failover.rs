//! The server becomes a replica while its clients stay connected, and the address leads to another one.

use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use super::host::{Process, arrival, call};
use super::proxy::Proxy;
use super::redis_cluster::until;
use super::support::RedisServer;

fn follow(server: &RedisServer, primary: &RedisServer) {
    let port = primary.port().to_string();
    let _: String = server.ask(&["REPLICAOF", "127.0.0.1", &port]);
}

fn promote(server: &RedisServer) {
    let _: String = server.ask(&["REPLICAOF", "NO", "ONE"]);
}

fn in_sync(replica: &RedisServer) {
    until("the replica's data", || {
        let info: String = replica.ask(&["INFO", "replication"]);
        info.contains("master_link_status:up")
    });
}

fn options(way: &Proxy, parties: u32, cyclic: bool) -> String {
    format!(
        r#"{{"store":"redis://127.0.0.1:{}","runId":"failover","name":"gate","parties":{parties},"cyclic":{cyclic}}}"#,
        way.port()
    )
}

#[test]
fn the_new_primary_is_found_behind_the_same_address() {
    let runtime = Runtime::new().expect("a runtime");
    let (old, new) = (RedisServer::start(), RedisServer::start());
    follow(&new, &old);
    in_sync(&new);
    let way = Proxy::start(runtime.handle(), old.port());
    let process = Process::start();
    let barrier = process.open(&options(&way, 3, true)).expect("open");
    process.arrive(&barrier, 1).expect("recorded");
    let _: u32 = old.ask(&["WAIT", "1", "0"]);

    promote(&new);
    way.lead_to(new.port());
    follow(&old, &new);
    process
        .arrive(&barrier, 2)
        .expect("recorded by the new one");
    process
        .arrive(&barrier, 3)
        .expect("recorded by the new one");
    process.released(&barrier, 0);
    let info = barrier.release_info(barrier_core::ids::Phase(0));
    assert_eq!(info.expect("released").arrived, 3);

    // And back again, by now with all of them under way.
    in_sync(&old);
    promote(&old);
    way.lead_to(old.port());
    follow(&new, &old);
    for participant in 1..=3 {
        process.arrive(&barrier, participant).expect("recorded");
    }
    process.released(&barrier, 1);
    process.check();
}

#[test]
fn what_a_failover_lost_is_told_again() {
    let runtime = Runtime::new().expect("a runtime");
    let (old, new) = (RedisServer::start(), RedisServer::start());
    follow(&new, &old);
    in_sync(&new);
    let way = Proxy::start(runtime.handle(), old.port());
    let processes = [Process::start(), Process::start()];
    let json = options(&way, 20, false);
    let barriers = processes.each_ref().map(|p| p.open(&json).expect("open"));
    let arrive = |participants: std::ops::RangeInclusive<u32>| {
        for n in participants {
            let at = usize::from(n % 2 == 0);
            processes[at].arrive(&barriers[at], n).expect("recorded");
        }
    };
    arrive(1..=6);
    let _: u32 = old.ask(&["WAIT", "1", "0"]);
    promote(&new); // hears nothing of the next ones
    arrive(7..=12);
    way.lead_to(new.port());
    follow(&old, &new);
    arrive(13..=20);
    for (process, barrier) in processes.iter().zip(&barriers) {
        process.released(barrier, 0);
        let info = barrier.release_info(barrier_core::ids::Phase(0));
        assert_eq!(info.expect("released").arrived, 20);
        process.check();
    }
    let joined: u32 = new.ask(&["SCARD", "K6_BARRIER_JOINED:failover:gate"]);
    assert_eq!(joined, 20);
}

#[test]
fn a_server_that_refuses_right_after_the_connection_is_asked_less_and_less_often() {
    let server = RedisServer::start();
    let process = Process::start();
    let barrier = process
        .open(&super::options(&server, "refuses", 1))
        .expect("open");
    let mut connection = server.connection();
    let mut connections = || -> u32 {
        let info: String = redis::cmd("INFO")
            .arg("stats")
            .query(&mut connection)
            .expect("the test's own server");
        let line = info
            .lines()
            .find_map(|l| l.strip_prefix("total_connections_received:"));
        line.expect("Redis counts")
            .trim()
            .parse()
            .expect("a number")
    };
    let before = connections();
    let started = Instant::now();
    let port = server.port().to_string();
    let _: String = server.ask(&["REPLICAOF", "127.0.0.1", &port]); // of nobody: its own is no primary
    process.submit(&barrier, call(1, arrival(1)));
    // The test's own, and ten of the process.
    until("ten attempts", || connections() >= before + 11);
    let took = started.elapsed();
    assert!(took > Duration::from_secs(2), "ten attempts took {took:?}");
    promote(&server);
    process.released(&barrier, 0);
}

/// A replica has the record too, with the processes in it. None of them answers there.
#[test]
fn a_first_opening_at_a_replica_says_that_it_is_one() {
    let (primary, replica) = (RedisServer::start(), RedisServer::start());
    follow(&replica, &primary);
    in_sync(&replica);
    let (here, there) = (Process::start(), Process::start());
    let barrier = here.open(&super::options(&primary, "r", 2)).expect("open");
    let _: u32 = primary.ask(&["WAIT", "1", "0"]);
    let refused = there.open(&super::options(&replica, "r", 2));
    let said = refused.err().expect("a replica").to_string();
    assert!(said.contains("READONLY"), "{said}");
    here.arrive(&barrier, 1).expect("recorded");
}
