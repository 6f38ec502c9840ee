//! Makes the trouble of a run, and ends it.

use std::time::{Duration, Instant};

use crate::host::Process;
use crate::plan::{Fault, KINDS, Plan};
use crate::proxy::Proxy;
use crate::support::RedisServer;

/// A key as it was: name, time to live in ms, `DUMP`.
type Saved = Vec<(String, i64, Vec<u8>)>;

const SAVE: &str = "local all = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do
  all[#all + 1] = {key, redis.call('PTTL', key), redis.call('DUMP', key)}
end
return all";

/// What was done.
#[derive(Debug, Clone, Default)]
pub(crate) struct Done {
    pub(crate) by_kind: [u64; KINDS.len()],
    /// The server forgot something.
    pub(crate) amnesia: bool,
}

struct Until {
    at: Instant,
    proxy: usize,
    what: Lasting,
}

enum Lasting {
    Latency,
    BlackHole,
}

/// Lets every fault of the plan happen at its time; afterwards the server runs and the ways are clear.
pub(crate) fn make(
    plan: &Plan,
    server: &mut RedisServer,
    proxies: &[Proxy],
    processes: &[Process],
) -> Done {
    let start = Instant::now();
    let mut done = Done::default();
    let mut saved = None;
    let mut lasting: Vec<Until> = Vec::new();
    let half = plan.faults.len() / 2;
    for (n, (at, fault)) in plan.faults.iter().enumerate() {
        wait_until(start + *at, proxies, &mut lasting);
        if plan.abort && n == half {
            processes[0].abort();
        }
        let happened = happen(*fault, plan, server, proxies, &mut saved, &mut lasting);
        if let (Some(kind), true) = (fault.kind(), happened) {
            done.by_kind[kind] += 1;
            done.amnesia |= fault.is_amnesia();
        }
    }
    while let Some(last) = lasting.iter().map(|l| l.at).max() {
        wait_until(last, proxies, &mut lasting);
    }
    for proxy in proxies {
        proxy.calm();
    }
    done
}

fn wait_until(until: Instant, proxies: &[Proxy], lasting: &mut Vec<Until>) {
    loop {
        let now = Instant::now();
        lasting.retain(|l| {
            if l.at <= now {
                match l.what {
                    Lasting::Latency => proxies[l.proxy].latency(Duration::ZERO),
                    Lasting::BlackHole => proxies[l.proxy].black_hole(false),
                }
            }
            l.at > now
        });
        if now >= until {
            return;
        }
        let next = lasting.iter().map(|l| l.at).min().unwrap_or(until);
        std::thread::sleep(next.min(until).saturating_duration_since(now));
    }
}

/// False where the fault had nothing to work on.
fn happen(
    fault: Fault,
    plan: &Plan,
    server: &mut RedisServer,
    proxies: &[Proxy],
    saved: &mut Option<Saved>,
    lasting: &mut Vec<Until>,
) -> bool {
    let run = |command: &[&str]| {
        let (name, arguments) = command.split_first().expect("a command");
        let answer: redis::RedisResult<redis::Value> = redis::cmd(name)
            .arg(arguments)
            .query(&mut server.connection());
        answer.unwrap_or_else(|e| panic!("{command:?}: {e}"))
    };
    match fault {
        Fault::KillConnections => {
            // Connections that are subscribed are filed under pubsub, those that are about to be under normal.
            run(&["CLIENT", "KILL", "TYPE", "pubsub"]);
            run(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        }
        Fault::Freeze(how_long) => {
            server.signal("-STOP");
            wait_until(Instant::now() + how_long, proxies, lasting);
            server.signal("-CONT");
        }
        Fault::RestartEmpty => server.restart_empty(),
        Fault::FlushAll => {
            run(&["FLUSHALL"]);
        }
        Fault::ScriptFlush => {
            run(&["SCRIPT", "FLUSH"]);
        }
        Fault::Save => {
            let all = redis::cmd("EVAL")
                .arg(SAVE)
                .arg(0)
                .arg(format!("K6_BARRIER_*{}*", plan.run_id()))
                .query(&mut server.connection());
            *saved = Some(all.expect("the test's own server"));
        }
        Fault::RollBack => {
            let Some(saved) = saved else {
                return false;
            };
            roll_back(server, saved);
        }
        Fault::Latency(proxy, latency) => {
            proxies[proxy].latency(latency);
            lasting.push(Until {
                at: Instant::now() + latency * 5,
                proxy,
                what: Lasting::Latency,
            });
        }
        Fault::Drop(proxy) => proxies[proxy].cut(),
        Fault::CutRequest(proxy, bytes) => proxies[proxy].cut_request(bytes),
        Fault::CutReply(proxy, bytes) => proxies[proxy].cut_reply(bytes),
        Fault::BlackHole(proxy, how_long) => {
            proxies[proxy].black_hole(true);
            lasting.push(Until {
                at: Instant::now() + how_long,
                proxy,
                what: Lasting::BlackHole,
            });
        }
    }
    true
}

/// In one transaction: nobody sees a half of it.
fn roll_back(server: &RedisServer, saved: &Saved) {
    let mut all = redis::pipe();
    all.atomic().cmd("FLUSHALL");
    for (key, ttl, dump) in saved {
        all.cmd("RESTORE").arg(key).arg(*ttl).arg(dump.as_slice());
    }
    all.exec(&mut server.connection())
        .expect("the test's own server");
}
