//! The stores that the model drives: the one in memory, the real script, or both side by side.

use std::collections::BTreeSet;

use barrier_core::ids::Phase;
use barrier_core::options::BarrierOptions;
use barrier_core::protocol::{Answer, Push, Reply, Request, StoreTime};
use barrier_core::store::memory::MemoryStore;
use barrier_core::store::redis::{Scripts, decode};

/// A store that can be asked, wiped, saved and rolled back.
pub(crate) trait Store {
    fn apply(&mut self, request: &Request, pushes: &mut Vec<Push>) -> Reply;
    fn wipe(&mut self);
    fn save(&mut self);
    fn roll_back(&mut self);
    /// The clock is set by so many microseconds, or nobody says anything for so long.
    fn pass(&mut self, micros: i64);
    /// What outside readers see of those who arrived in the phase, where there are outside readers.
    fn joined(&mut self, _phase: Phase) -> Option<BTreeSet<String>> {
        None
    }
}

/// In microseconds since the epoch: in 2026.
const TODAY: i64 = 1_790_000_000_000_000;

/// The memory store, with a clock that ticks at every operation.
#[derive(Default)]
pub(crate) struct Memory {
    now: i64,
    store: MemoryStore,
    saved: MemoryStore,
}

impl Store for Memory {
    fn apply(&mut self, request: &Request, pushes: &mut Vec<Push>) -> Reply {
        self.now += 1;
        self.store
            .apply(request, StoreTime(TODAY + self.now), pushes)
    }

    fn wipe(&mut self) {
        self.store = MemoryStore::default();
    }

    fn save(&mut self) {
        self.saved = self.store.clone();
    }

    fn roll_back(&mut self) {
        self.store = self.saved.clone();
    }

    fn pass(&mut self, micros: i64) {
        self.now += micros;
    }
}

/// The script over a clock that can be set.
fn with_clock(source: &str) -> String {
    let clock = "local time = redis.call('TIME')";
    let set = format!(
        "{clock}\ntime[1] = string.format('%d', time[1] + (redis.call('GET', '{AHEAD}') or 0))"
    );
    let source_with = source.replace(clock, &set);
    assert_ne!(source_with, source, "the script asks for the time");
    source_with
}

/// By how many seconds it is ahead.
const AHEAD: &str = "seconds-ahead";

/// The real script in a real server; with `twin`, every answer is compared with the memory store's.
pub(crate) struct Real<'a> {
    connection: &'a mut redis::Connection,
    scripts: Scripts,
    twin: Option<(MemoryStore, MemoryStore)>,
    saved: Vec<(String, Vec<u8>)>,
    ahead: i64,
}

impl<'a> Real<'a> {
    pub(crate) fn new(
        connection: &'a mut redis::Connection,
        options: &BarrierOptions,
        source: &str,
        compare: bool,
    ) -> Self {
        redis::cmd("FLUSHALL")
            .exec(connection)
            .expect("the test's own server");
        Self {
            connection,
            scripts: Scripts::with_source(options, &with_clock(source)),
            twin: compare.then(Default::default),
            saved: Vec::new(),
            ahead: 0,
        }
    }
}

impl Store for Real<'_> {
    fn joined(&mut self, phase: Phase) -> Option<BTreeSet<String>> {
        let key = self.scripts.keys().joined(phase);
        let members = redis::cmd("SMEMBERS").arg(key).query(self.connection);
        Some(members.expect("a set"))
    }

    fn apply(&mut self, request: &Request, pushes: &mut Vec<Push>) -> Reply {
        let value = self
            .scripts
            .invocation(request)
            .invoke(self.connection)
            .unwrap_or_else(|e| panic!("the script fails for {request:?}: {e}"));
        let reply = decode(value).expect("an answer");
        let mut twin_pushes = Vec::new();
        if let Some((twin, _)) = &mut self.twin {
            let expected = twin.apply(request, reply.now, &mut twin_pushes);
            assert_eq!(
                reply, expected,
                "script and memory store differ for {request:?}"
            );
        } else {
            // What the script published is derived from its answer: the server's channel is not read here.
            published(request, &reply, &mut twin_pushes);
        }
        pushes.append(&mut twin_pushes);
        reply
    }

    fn wipe(&mut self) {
        redis::cmd("FLUSHALL")
            .exec(self.connection)
            .expect("the test's own server");
        if let Some((twin, _)) = &mut self.twin {
            *twin = MemoryStore::default();
        }
        self.pass(0);
    }

    fn pass(&mut self, micros: i64) {
        self.ahead += micros / 1_000_000;
        redis::cmd("SET")
            .arg(AHEAD)
            .arg(self.ahead)
            .exec(self.connection)
            .expect("the test's own server");
    }

    fn save(&mut self) {
        let keys: Vec<String> = redis::cmd("KEYS")
            .arg("*")
            .query(self.connection)
            .expect("keys");
        self.saved = keys
            .into_iter()
            .map(|key| {
                let dump = redis::cmd("DUMP")
                    .arg(&key)
                    .query(self.connection)
                    .expect("a dump");
                (key, dump)
            })
            .collect();
        if let Some((twin, saved)) = &mut self.twin {
            *saved = twin.clone();
        }
    }

    fn roll_back(&mut self) {
        redis::cmd("FLUSHALL")
            .exec(self.connection)
            .expect("the test's own server");
        for (key, dump) in &self.saved {
            redis::cmd("RESTORE")
                .arg(key)
                .arg(0)
                .arg(dump)
                .exec(self.connection)
                .expect("a restore");
        }
        if let Some((twin, saved)) = &mut self.twin {
            *twin = saved.clone();
        }
        self.pass(0);
    }
}

fn published(request: &Request, reply: &Reply, pushes: &mut Vec<Push>) {
    let Some(inc) = reply.incarnation.clone() else {
        return;
    };
    if matches!(reply.answer, Answer::Released) {
        return;
    }
    let _ = request;
    if let Some(release) = reply.newest.clone() {
        pushes.push(Push::Release {
            inc: inc.clone(),
            release,
        });
    }
    if let Some(broken) = reply.broken.clone() {
        pushes.push(Push::Broken { inc, broken });
    }
}
