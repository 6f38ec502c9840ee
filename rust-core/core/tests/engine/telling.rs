//! What a host is told while others go on.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use barrier_core::engine::{Barrier, Call, Emission, Engine, Limit, Sink, Submitted};
use barrier_core::ids::Phase;
use barrier_core::options::BarrierOptions;
use barrier_core::session::Done;
use barrier_core::ticket::Ticket;

use super::host::{arrival, call, id};

/// Reached only where something hangs.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, PartialEq, Eq)]
enum Told {
    Released(Phase),
    Broken,
    Over(usize),
}

/// A host that is slow to take the news of a release.
struct Slow {
    told: Mutex<Vec<Told>>,
    begins: Sender<()>,
    go_on: Mutex<Receiver<()>>,
}

impl Sink for Slow {
    fn emit(&self, news: &mut Vec<Emission>) {
        for item in news.drain(..) {
            let told = match item {
                Emission::Released { phase, .. } => {
                    self.begins.send(()).expect("the test waits");
                    let go_on = self.go_on.lock().expect("no panic");
                    go_on.recv_timeout(PATIENCE).expect("the test goes on");
                    Told::Released(phase)
                }
                Emission::Broken { .. } => Told::Broken,
                Emission::Over(tickets) => {
                    Told::Over(tickets.into_iter().map(Ticket::redeem).count())
                }
                Emission::Done { ticket, .. } => panic!("{ticket:?} is answered at once"),
                _ => continue,
            };
            self.told.lock().expect("no panic").push(told);
        }
    }
}

fn open(engine: &Engine, parties: u32) -> Arc<Barrier> {
    let json = format!(r#"{{"name":"default","parties":{parties},"cyclic":true}}"#);
    let options = BarrierOptions::from_json(json.as_bytes()).expect("options");
    let barrier = engine.barrier(options).expect("a barrier");
    barrier.handle_or_init(|| 1);
    assert!(matches!(barrier.open(1), Submitted::Done(Ok(_))));
    barrier
}

#[test]
fn nobody_waits_for_the_news_of_others_which_keep_their_order() {
    let ((begins, begun), (go_on, may_go_on)) = (channel(), channel());
    let slow = Arc::new(Slow {
        told: Mutex::default(),
        begins,
        go_on: Mutex::new(may_go_on),
    });
    let engine = Engine::new(Arc::clone(&slow) as Arc<dyn Sink>);
    let barrier = open(&engine, 1);
    let (done, answers) = channel();
    std::thread::scope(|scope| {
        let arrive = || barrier.submit(call(1, arrival(1)), 2);
        let teller = scope.spawn(arrive);
        begun.recv_timeout(PATIENCE).expect("the release is told");
        scope.spawn(|| {
            assert_eq!(barrier.status().phase, Phase(1));
            let aborted = barrier.submit(Call::Abort("enough".into()), 3);
            done.send(aborted).expect("the test waits");
        });
        let aborted = answers.recv_timeout(PATIENCE);
        go_on.send(()).expect("it waits");
        let aborted = aborted.expect("an answer, while the release is still being told");
        assert!(matches!(
            aborted,
            Submitted::Done(Ok(Done::BrokenNow(Phase(1))))
        ));
        let arrived = teller.join().expect("no panic");
        assert!(matches!(arrived, Submitted::Done(Ok(Done::Outcome(_)))));
    });
    let told = slow.told.lock().expect("no panic");
    assert_eq!(*told, [Told::Released(Phase(0)), Told::Broken]);
}

/// A host that only listens, and wakes nobody.
#[derive(Default)]
struct Listening(Mutex<Vec<Told>>);

impl Sink for Listening {
    fn emit(&self, news: &mut Vec<Emission>) {
        for item in news.drain(..) {
            let told = match item {
                Emission::Released { phase, .. } => Told::Released(phase),
                Emission::Over(tickets) => {
                    Told::Over(tickets.into_iter().map(Ticket::redeem).count())
                }
                _ => continue,
            };
            self.0.lock().expect("no panic").push(told);
        }
    }
}

#[test]
fn releases_that_many_threads_bring_about_are_told_in_order_and_to_all() {
    const THREADS: u32 = 4;
    const PHASES: u32 = 500;
    let host = Arc::new(Listening::default());
    let engine = Engine::new(Arc::clone(&host) as Arc<dyn Sink>);
    let barrier = open(&engine, THREADS);
    let together = std::sync::Barrier::new(THREADS as usize);
    let limit = Limit {
        wait: PATIENCE,
        store: PATIENCE,
    };
    std::thread::scope(|scope| {
        for n in 1..=THREADS {
            let (barrier, together) = (&barrier, &together);
            scope.spawn(move || {
                for phase in 0..PHASES {
                    let arrival = Call::ArriveAndWait {
                        participant: id(n),
                        owner: n.into(),
                        explicit: true,
                        limit,
                    };
                    let token = 2 + u64::from(phase * THREADS + n);
                    let _waits = barrier.submit(arrival, token);
                    together.wait();
                }
            });
        }
    });
    let told = host.0.lock().expect("no panic");
    let others = THREADS as usize - 1; // the last one hears of it by its answer
    let expected = (0..PHASES).flat_map(|n| [Told::Released(Phase(n)), Told::Over(others)]);
    assert_eq!(*told, expected.collect::<Vec<_>>());
}
