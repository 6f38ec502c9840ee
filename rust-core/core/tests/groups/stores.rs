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
    /// As many groups as have formed, who waits, and how many members the store keeps their group for.
    fn look(&mut self) -> (u32, Vec<Participant>, usize);
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

    fn look(&mut self) -> (u32, Vec<Participant>, usize) {
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

    /// The newest operation was so much earlier.
    fn pass(&mut self, micros: i64) -> bool {
        if self.compare {
            return false; // the memory store has other times
        }
        let mut ask = redis::cmd("HGET");
        ask.arg(self.script.key()).arg("@at");
        let at: i64 = ask.query(self.connection).expect("a record");
        redis::cmd("HSET")
            .arg(self.script.key())
            .arg("@at")
            .arg(at - micros)
            .exec(self.connection)
            .expect("the test's own server");
        true
    }

    fn look(&mut self) -> (u32, Vec<Participant>, usize) {
        let look = self.twin.look();
        if self.compare {
            let mut ask = redis::cmd("HKEYS");
            let fields: Vec<String> = ask
                .arg(self.script.key())
                .query(self.connection)
                .expect("fields");
            let is_participant = |f: &&String| !f.starts_with('@') || f.starts_with("@@");
            let standing = fields.iter().filter(is_participant).count();
            assert_eq!(
                standing, look.2,
                "whose process has yet to hear: {fields:?}"
            );
        }
        look
    }
}
