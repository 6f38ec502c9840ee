//! Makes the trouble of a run, and ends it.

use std::time::{Duration, Instant};

use crate::ground::Ground;
use crate::host::{Process, failure};
use crate::plan::{Fault, KINDS, Plan};
use crate::proxy::Proxy;

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

/// What trouble is made for.
pub(crate) struct Scene<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) ground: &'a mut Ground,
    pub(crate) proxies: &'a [Proxy],
    pub(crate) processes: &'a [Process],
}

/// Lets every fault of the plan happen at its time; afterwards the server runs and the ways are clear.
pub(crate) fn make(mut scene: Scene<'_>) -> Done {
    let start = Instant::now();
    let mut done = Done::default();
    let mut saved = None;
    let mut lasting: Vec<Until> = Vec::new();
    for (at, fault) in &scene.plan.faults {
        wait_until(start + *at, scene.proxies, &mut lasting);
        let happened = scene.happen(*fault, &mut saved, &mut lasting);
        if let (Some(kind), true) = (fault.kind(), happened) {
            done.by_kind[kind] += 1;
            done.amnesia |= fault.is_amnesia();
        }
    }
    while let Some(last) = lasting.iter().map(|l| l.at).max() {
        wait_until(last, scene.proxies, &mut lasting);
    }
    for proxy in scene.proxies {
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

impl Scene<'_> {
    /// Asks every server.
    fn ask(&self, command: &[&str]) {
        for server in self.ground.servers() {
            let _: redis::Value = server.ask(command);
        }
    }

    /// False where the fault had nothing to work on.
    fn happen(
        &mut self,
        fault: Fault,
        saved: &mut Option<Saved>,
        lasting: &mut Vec<Until>,
    ) -> bool {
        let Self {
            plan,
            proxies,
            processes,
            ..
        } = *self;
        match fault {
            Fault::KillConnections => {
                // Connections that are subscribed are filed under pubsub, those that are about to be under normal.
                self.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
                self.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
            }
            Fault::Freeze(how_long) => {
                let server = self.ground.server();
                server.signal("-STOP");
                wait_until(Instant::now() + how_long, proxies, lasting);
                server.signal("-CONT");
            }
            Fault::RestartEmpty => self.ground.restart_empty(),
            Fault::FlushAll => self.ask(&["FLUSHALL"]),
            Fault::ScriptFlush => self.ask(&["SCRIPT", "FLUSH"]),
            Fault::Save => {
                let all = redis::cmd("EVAL")
                    .arg(SAVE)
                    .arg(0)
                    .arg(format!("K6_BARRIER_*{}*", plan.run_id()))
                    .query(&mut self.ground.connection());
                *saved = Some(all.expect("the test's own server"));
            }
            Fault::RollBack => {
                let Some(saved) = saved else {
                    return false;
                };
                roll_back(self.ground, saved);
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
            Fault::Failover(how) => self.ground.fail_over(how, |port| {
                for (proxy, process) in proxies.iter().zip(processes) {
                    if !process.is_dead() {
                        proxy.lead_to(port);
                    }
                }
            }),
            Fault::MoveSlot(by, pause) => self.ground.move_slot(by, pause),
            Fault::Kill(whom) => {
                proxies[whom].end();
                processes[whom].kill();
                let heir = &processes[(whom + 1) % processes.len()];
                for n in plan.inherited() {
                    heir.report(n, failure("sse"));
                }
            }
            Fault::Abort(whom) => {
                // A killed process says nothing.
                if processes[whom].is_dead() {
                    return false;
                }
                processes[whom].abort();
            }
        }
        true
    }
}

/// In one transaction: nobody sees a half of it.
fn roll_back(ground: &Ground, saved: &Saved) {
    let mut all = redis::pipe();
    all.atomic().cmd("FLUSHALL");
    for (key, ttl, dump) in saved {
        all.cmd("RESTORE").arg(key).arg(*ttl).arg(dump.as_slice());
    }
    all.exec(&mut ground.connection())
        .expect("the test's own server");
}
