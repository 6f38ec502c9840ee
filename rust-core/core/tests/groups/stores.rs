//! The stores that the runs drive: the one in memory, or the real script beside it.

use barrier_core::group::memory::GroupStore;
use barrier_core::group::options::GroupOptions;
use barrier_core::group::protocol::{Push, Reply, Request};
use barrier_core::group::redis::{GroupScript, decode};
use barrier_core::ids::Participant;
use barrier_core::protocol::StoreTime;

/// A store that can be asked, wiped, saved and rolled back.
pub(crate) trait Store {
    fn apply(&mut self, request: &Request, pushes: &mut Vec<Push>) -> Reply;
    fn wipe(&mut self);
    fn save(&mut self);
    fn roll_back(&mut self);
    /// So many microseconds pass; false where that cannot be.
    fn pass(&mut self, micros: i64) -> bool;
    /// As many groups as have formed, and who waits.
    fn look(&self) -> (u32, Vec<Participant>);
}

/// The memory store, with a clock that ticks at every operation.
#[derive(Default)]
pub(crate) struct Memory {
    now: i64,
    store: GroupStore,
    saved: GroupStore,
}

impl Store for Memory {
    fn apply(&mut self, request: &Request, pushes: &mut Vec<Push>) -> Reply {
        self.now += 1;
        self.store.apply(request, StoreTime(self.now), pushes)
    }

    fn wipe(&mut self) {
        self.store = GroupStore::default();
    }

    fn save(&mut self) {
        self.saved = self.store.clone();
    }

    fn roll_back(&mut self) {
        self.store = self.saved.clone();
    }

    fn pass(&mut self, micros: i64) -> bool {
        self.now += micros;
        true
    }

    fn look(&self) -> (u32, Vec<Participant>) {
        self.store.look()
    }
}

/// The real script in a real server, whose every answer is compared with the memory store's where `compare`; else the memory store
/// only says who waits.
pub(crate) struct Real<'a> {
    connection: &'a mut redis::Connection,
    script: GroupScript,
    compare: bool,
    twin: GroupStore,
    twin_saved: GroupStore,
    saved: Option<Vec<u8>>,
}

impl<'a> Real<'a> {
    pub(crate) fn new(
        connection: &'a mut redis::Connection,
        options: &GroupOptions,
        source: &str,
        compare: bool,
    ) -> Self {
        redis::cmd("FLUSHALL")
            .exec(connection)
            .expect("the test's own server");
        Self {
            connection,
            script: GroupScript::with_source(options, source),
            compare,
            twin: GroupStore::default(),
            twin_saved: GroupStore::default(),
            saved: None,
        }
    }
}

impl Store for Real<'_> {
    fn apply(&mut self, request: &Request, pushes: &mut Vec<Push>) -> Reply {
        let value = self
            .script
            .invocation(request)
            .invoke(self.connection)
            .unwrap_or_else(|e| panic!("the script fails for {request:?}: {e}"));
        let reply = decode(value).expect("an answer");
        let expected = self.twin.apply(request, reply.now, pushes);
        if self.compare {
            assert_eq!(
                reply, expected,
                "script and memory store differ for {request:?}"
            );
        }
        reply
    }

    fn wipe(&mut self) {
        redis::cmd("FLUSHALL")
            .exec(self.connection)
            .expect("the test's own server");
        self.twin = GroupStore::default();
    }

    fn save(&mut self) {
        self.saved = redis::cmd("DUMP")
            .arg(self.script.key())
            .query(self.connection)
            .expect("a dump");
        self.twin_saved = self.twin.clone();
    }

    fn roll_back(&mut self) {
        redis::cmd("FLUSHALL")
            .exec(self.connection)
            .expect("the test's own server");
        if let Some(dump) = &self.saved {
            redis::cmd("RESTORE")
                .arg(self.script.key())
                .arg(0)
                .arg(dump)
                .exec(self.connection)
                .expect("a restore");
        }
        self.twin = self.twin_saved.clone();
    }

    /// What the record has of times is so much older.
    fn pass(&mut self, micros: i64) -> bool {
        if self.compare {
            return false; // the memory store has other times
        }
        let get = |field: &str, connection: &mut redis::Connection| -> String {
            let mut command = redis::cmd("HGET");
            command.arg(self.script.key()).arg(field);
            command.query(connection).expect("a record")
        };
        let older = |text: &str| {
            let time: i64 = text.parse().expect("a time");
            (time - micros).to_string()
        };
        let processes = get("@procs", self.connection);
        let processes = processes.split_terminator(';').map(|process| {
            let mut words: Vec<String> = process.split(' ').map(ToOwned::to_owned).collect();
            words[3] = older(&words[3]);
            words.join(" ") + ";"
        });
        let processes: String = processes.collect();
        let since = get("@since", self.connection);
        let since = if since.is_empty() {
            since
        } else {
            older(&since)
        };
        redis::cmd("HSET")
            .arg(self.script.key())
            .arg("@procs")
            .arg(processes)
            .arg("@since")
            .arg(since)
            .exec(self.connection)
            .expect("the test's own server");
        true
    }

    fn look(&self) -> (u32, Vec<Participant>) {
        self.twin.look()
    }
}
