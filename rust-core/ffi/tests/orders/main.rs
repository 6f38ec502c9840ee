//! Completions in every order that their threads can take, by loom: the sources of the core's pipe and calls, on locks, threads
//! and a pipe that loom has a say in.

#[allow(dead_code, unreachable_pub)]
#[path = "../../src/abi.rs"]
mod abi;
#[path = "../../src/calls.rs"]
mod calls;
#[allow(dead_code)]
#[path = "../../src/completion.rs"]
mod completion;
#[allow(dead_code)]
#[path = "../../src/pipe.rs"]
mod pipe;
mod system;

use std::sync::Arc;

use barrier_core::engine::{Emission, Sink};
use barrier_core::error::Error;
use loom::thread;

use calls::{Calls, Refused};
use completion::Host;
use pipe::Pipe;
use system::pipe_of;

/// Handles have no part in this.
fn forget_handle(_: u64) {}

/// Every order with at most so many switches that no thread asked for: faults seldom need more.
fn in_every_order(body: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(body);
}

fn done(host: &Host, token: u64) {
    host.emit(&mut vec![Emission::Done {
        ticket: token.into(),
        result: Err(Error::Closed), // which has a text
        standing: None,
    }]);
}

#[test]
fn a_full_pipe_keeps_everything_in_order() {
    in_every_order(|| {
        let (write_end, mut reader) = pipe_of(2);
        let pipe = Pipe::new(write_end);
        let other = {
            let pipe = Arc::clone(&pipe);
            thread::spawn(move || pipe.send(&[11, 12]))
        };
        pipe.send(&[1, 2]);
        pipe.send(&[3]);
        let seen: Vec<u8> = (0..5).map(|_| reader.read().expect("a byte")).collect();
        let of = |range: std::ops::Range<u8>| {
            let mut of = seen.clone();
            of.retain(|byte| range.contains(byte));
            of
        };
        assert_eq!((of(0..10), of(10..20)), (vec![1, 2, 3], vec![11, 12]));
        let at = |byte| seen.iter().position(|b| *b == byte);
        assert_eq!(at(12), at(11).map(|at| at + 1), "a frame is in one piece");
        other.join().expect("sent");
        pipe.close();
        assert_eq!(reader.read(), None);
    });
}

#[test]
fn nobody_waits_for_a_reader_that_has_gone() {
    in_every_order(|| {
        let (write_end, reader) = pipe_of(1);
        let pipe = Pipe::new(write_end);
        let gone = thread::spawn(move || drop(reader));
        pipe.send(&[1, 2]);
        pipe.send(&[3]);
        gone.join().expect("gone");
        // loom fails where a thread, such as the one of the pipe, can never go on.
        pipe.close();
    });
}

#[test]
fn a_pipe_is_closed_while_its_thread_writes() {
    in_every_order(|| {
        let (write_end, mut reader) = pipe_of(1);
        let pipe = Pipe::new(write_end);
        let closing = Arc::clone(&pipe);
        pipe.send(&[1, 2, 3]);
        let closer = thread::spawn(move || closing.close());
        let mut seen = Vec::new();
        while let Some(byte) = reader.read() {
            seen.push(byte);
        }
        assert!([1, 2, 3].starts_with(&seen), "{seen:?}");
        closer.join().expect("closed");
    });
}

/// A call with token 1 is cancelled by another thread while something happens; says how many bytes were written by the end.
fn cancelled_during(happens: impl FnOnce(&Arc<Host>)) -> usize {
    let (write_end, mut reader) = pipe_of(1000);
    let host = Arc::new(Host::new(write_end, 9));
    host.begin(1, 0).expect("begins");
    let canceller = {
        let host = Arc::clone(&host);
        thread::spawn(move || host.cancel(1))
    };
    happens(&host);
    canceller.join().expect("cancelled");
    assert_eq!(host.owes(), (0, 0));
    host.close();
    std::iter::from_fn(|| reader.read()).count()
}

#[test]
fn a_call_that_is_cancelled_as_it_ends_leaves_nothing() {
    in_every_order(|| {
        let bytes = cancelled_during(|host| done(host, 1));
        assert!(bytes == 0 || bytes == 32, "{bytes} bytes of one frame");
    });
}

#[test]
fn a_wait_that_is_cancelled_as_all_go_leaves_nothing() {
    in_every_order(|| {
        let bytes = cancelled_during(|host| {
            let (barrier, ticket) = (7, 1.into());
            let news = vec![Emission::Broken { barrier }, Emission::Over(vec![ticket])];
            host.emit(&mut { news });
        });
        assert_eq!(bytes, 32, "the news for all, and nothing for the call");
    });
}

#[test]
fn a_token_that_two_give_is_under_way_once() {
    in_every_order(|| {
        let calls = Arc::new(Calls::at_most(9));
        let other = {
            let calls = Arc::clone(&calls);
            thread::spawn(move || calls.enter(1, 0))
        };
        let mine = calls.enter(1, 0);
        let both = [mine, other.join().expect("answered")];
        assert!(both.contains(&Ok(())) && both.contains(&Err(Refused::Twice)));
        assert_eq!(calls.len(), 1);
    });
}

#[test]
fn no_more_calls_than_the_limit_are_under_way() {
    in_every_order(|| {
        let calls = Arc::new(Calls::at_most(1));
        let enter = |token: u64| {
            let calls = Arc::clone(&calls);
            thread::spawn(move || {
                let entered = calls.enter(token, 0).is_ok();
                if entered {
                    assert!(calls.leave(token));
                }
                entered
            })
        };
        let (one, two) = (enter(1), enter(2));
        let any = one.join().expect("answered") | two.join().expect("answered");
        assert!(any, "both were refused");
        assert_eq!(calls.len(), 0);
        assert_eq!(calls.enter(3, 0), Ok(()));
    });
}
