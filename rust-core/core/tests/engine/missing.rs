//! Who is missing among many: the server is asked in small steps, and not without end.

use super::host::Process;
use super::options;
use super::support::RedisServer;

const RECORD: &str = "K6_BARRIER_STATE:many";
/// What the search does at once, and in all.
const STEP: u32 = 1000;
const LOOKED_AT: u32 = 100_000;

/// How often a script has run.
fn scripts(server: &RedisServer) -> u32 {
    let stats: String = server.ask(&["INFO", "commandstats"]);
    let line = stats
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    let calls = line.and_then(|line| line.split(',').next()?.parse().ok());
    calls.expect("there were some")
}

#[test]
fn many_are_looked_at_in_steps_and_beyond_a_bound_they_are_only_counted() {
    let server = RedisServer::start();
    let process = Process::start();
    let parties = LOOKED_AT + 20_000;
    let json = options(&server, "many", parties);
    let barrier = process.open(&json).expect("open");
    // All but two, as if they had arrived.
    let arrive = "for n = 1, ARGV[1] do redis.call('HSET', KEYS[1], n, '0|A|' .. n .. '|1|') end \
                  redis.call('HDEL', KEYS[1], 50000, ARGV[1]) \
                  return redis.call('HSET', KEYS[1], '@arrived', ARGV[1] - 2)";
    let _: u32 = server.ask(&["EVAL", arrive, "1", RECORD, &parties.to_string()]);

    let before = scripts(&server);
    let named = process.missing(&barrier, 1).expect("missing");
    assert_eq!(named, r#"{"count":2,"ids":["50000"]}"#);
    let steps = scripts(&server) - before;
    assert!((50..60).contains(&steps), "{steps} steps of {STEP}");

    let before = scripts(&server);
    let counted = process.missing(&barrier, 10).expect("missing");
    assert_eq!(counted, r#"{"count":2,"ids":[]}"#);
    let steps = scripts(&server) - before;
    assert!((100..110).contains(&steps), "{steps} steps of {STEP}");
}
