//! A batch brings what its items bring one by one, on either store: what the script does for many at once is no shortcut in
//! what it means.

use barrier_core::ids::{Incarnation, Participant, Phase, ProcessId, Reason};
use barrier_core::options::BarrierOptions;
use barrier_core::protocol::{
    Answer, Item, ItemAnswer, ItemKind, Micros, Op, Others, Reply, Request,
};
use barrier_core::store::redis::SCRIPT;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::stores::{Real, Store};
use super::support::RedisServer;

/// One process that asks a store.
struct Asker<'a> {
    store: &'a mut dyn Store,
    process: ProcessId,
    incarnation: Option<Incarnation>,
}

impl<'a> Asker<'a> {
    fn open(store: &'a mut dyn Store, options: &BarrierOptions) -> Self {
        let mut asker = Self {
            store,
            process: ProcessId::random(),
            incarnation: None,
        };
        asker.incarnation = asker
            .ask(Op::Open {
                new_incarnation: Incarnation::random(),
                options: options.shared.canonical(),
                reasons: Vec::new(),
                last_release: None,
                broken: None,
                others: Others::Accept,
                push_latency: Micros(0),
            })
            .incarnation;
        asker
    }

    fn ask(&mut self, op: Op) -> Reply {
        let request = Request {
            process: self.process.clone(),
            incarnation: self.incarnation.clone(),
            phase: Phase(0),
            resend: false,
            census: None,
            reasons: Vec::new(),
            op,
        };
        self.store.apply(&request, &mut Vec::new())
    }

    /// The answers to these items, in batches of this size, and the counts after them.
    fn report(&mut self, items: &[Item], batch: usize) -> (Vec<ItemAnswer>, Reply) {
        let mut answers = Vec::new();
        for batch in items.chunks(batch) {
            let reply = self.ask(Op::Outcomes(batch.to_vec()));
            let Answer::Items(some) = reply.answer else {
                panic!("{reply:?}");
            };
            answers.extend(some);
        }
        let mut last = self.ask(Op::Beat {
            push_latency: Micros(0),
            closing: false,
        });
        // Two runs of a test differ in their clock and their names.
        last.now = Default::default();
        last.incarnation = None;
        for release in [&mut last.release, &mut last.newest].into_iter().flatten() {
            release.at = Default::default();
        }
        if let Some(broken) = &mut last.broken {
            broken.at = Default::default();
        }
        (answers, last)
    }
}

/// Mostly arrivals of new participants; some come twice, some fail, some leave.
fn items(rng: &mut StdRng) -> Vec<Item> {
    let crowd = rng.random_range(1..60);
    let others = rng.random_range(0.0..0.3);
    (0..rng.random_range(1..120))
        .map(|nth: u32| {
            let again = rng.random_bool(0.1);
            let number = if again {
                rng.random_range(0..crowd)
            } else {
                nth
            };
            let name = ["", "@", "@@p:"][rng.random_range(0..3)];
            let what = match rng.random_bool(others).then(|| rng.random_range(0..3)) {
                Some(0) => ItemKind::Left { from: Phase(0) },
                Some(_) => ItemKind::Failed(Reason::new("reason", "login").expect("valid")),
                None => ItemKind::Arrived,
            };
            Item {
                participant: Participant::new(&format!("{name}{number}")).expect("valid"),
                what,
                nameable: rng.random_bool(0.9),
            }
        })
        .collect()
}

#[test]
fn a_batch_brings_what_its_items_bring_one_by_one() {
    let server = RedisServer::start();
    let mut connection = server.connection();
    for seed in 0..150 {
        let mut rng = StdRng::seed_from_u64(seed);
        let items = items(&mut rng);
        let parties = rng.random_range(1..100);
        let cyclic = rng.random_bool(0.5);
        let more = match rng.random_range(0..4) {
            0 => r#","release":{"percent":60}"#,
            1 => r#","maxFailures":2"#,
            _ => "",
        };
        let json = format!(
            r#"{{"name":"b","store":"redis://127.0.0.1","runId":"r","parties":{parties},"cyclic":{cyclic}{more}}}"#
        );
        let options = BarrierOptions::from_json(json.as_bytes()).expect("valid");
        let mut brought = [1, 7, 120].map(|size| {
            let mut store = Real::new(&mut connection, &options, SCRIPT, true);
            Asker::open(&mut store, &options).report(&items, size)
        });
        for (_, reply) in &mut brought {
            // Which operation proved that the store was behind is another matter.
            reply.was_behind = false;
        }
        assert_eq!(brought[0], brought[1], "seed {seed}: {items:?}");
        assert_eq!(brought[0], brought[2], "seed {seed}: {items:?}");
    }
}
