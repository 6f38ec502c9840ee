//! Completions through real pipes: full ones, cancelled calls, as many calls as may be. `tests/orders` tries every order.

use std::fs::File;
use std::io::Read;
use std::sync::{Arc, Barrier};

use barrier_core::engine::{Emission, Sink};
use barrier_core::error::Error;

use crate::calls::{Calls, Refused};
use crate::completion::Host;
use crate::pipe::Pipe;
use crate::system::WriteEnd;

const FRAME: usize = 32;

fn pipe() -> (WriteEnd, File) {
    let (read, write) = rustix::pipe::pipe().expect("a pipe");
    let write_end = WriteEnd::new(write).expect("the write end");
    (write_end, File::from(read))
}

fn host(calls_max: usize) -> (Host, File) {
    let (write_end, read) = pipe();
    (Host::new(write_end, calls_max), read)
}

fn done(host: &Host, token: u64) {
    host.emit(&mut vec![Emission::Done {
        ticket: token.into(),
        result: Err(Error::Closed), // which has a text
        standing: None,
    }]);
}

/// The first eight bytes of the next frame; none at the end.
fn next(read: &mut File) -> Option<u64> {
    let mut frame = [0_u8; FRAME];
    let mut filled = 0;
    while filled < FRAME {
        match read.read(&mut frame[filled..]).expect("a pipe") {
            0 => {
                assert_eq!(filled, 0, "half a frame");
                return None;
            }
            n => filled += n,
        }
    }
    let (token, _) = frame.split_at(8);
    Some(u64::from_ne_bytes(token.try_into().expect("eight bytes")))
}

fn frame(number: u64) -> [u8; FRAME] {
    let mut frame = [0; FRAME];
    frame[..8].copy_from_slice(&number.to_ne_bytes());
    frame
}

#[test]
fn a_full_pipe_keeps_everything_in_order_and_nobody_waiting() {
    let (write_end, mut read) = pipe();
    let pipe = Pipe::new(write_end);
    // More than any pipe takes, from a thread that would never end if it waited for the reader.
    let frames = if cfg!(miri) { 8_000 } else { 100_000 };
    for n in 0..frames {
        pipe.send(&frame(n));
    }
    assert!(pipe.has_drainer());
    for n in 0..frames {
        assert_eq!(next(&mut read), Some(n));
    }
    pipe.close();
    assert_eq!(next(&mut read), None);
}

#[test]
fn several_writers_of_a_full_pipe_write_whole_frames_in_their_order() {
    const WRITERS: u64 = 4;
    let frames: u64 = if cfg!(miri) { 200 } else { 25_000 };
    let (write_end, mut read) = pipe();
    let pipe = Pipe::new(write_end);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let pipe = Arc::clone(&pipe);
            scope.spawn(move || (0..frames).for_each(|n| pipe.send(&frame(writer << 32 | n))));
        }
        let mut seen = [0; 4];
        for _ in 0..WRITERS * frames {
            let number = next(&mut read).expect("a frame");
            let (writer, n) = (number >> 32, number & u64::from(u32::MAX));
            let of_writer = &mut seen[usize::try_from(writer).expect("small")];
            assert_eq!(*of_writer, n);
            *of_writer += 1;
        }
    });
    pipe.close();
    assert_eq!(next(&mut read), None);
}

#[test]
fn a_full_pipe_whose_reader_goes_away_is_given_up() {
    let (write_end, read) = pipe();
    let pipe = Pipe::new(write_end);
    while !pipe.has_drainer() {
        pipe.send(&[0; FRAME]);
    }
    drop(read);
    // Whoever comes next, or the thread, finds out; the thread ends then, and lets go of the pipe.
    while Arc::strong_count(&pipe) > 1 {
        pipe.send(&[0; FRAME]);
    }
}

#[test]
fn a_pipe_that_never_was_full_has_no_thread() {
    let (write_end, _read) = pipe();
    let pipe = Pipe::new(write_end);
    pipe.send(&[0; FRAME]);
    assert!(!pipe.has_drainer());
}

#[test]
fn a_call_that_is_cancelled_first_is_not_completed() {
    let (host, mut frames) = host(9);
    host.begin(1, 0).expect("begins");
    let _ = host.cancel(1);
    done(&host, 1);
    assert_eq!(host.owes(), (0, 0));
    host.close();
    assert_eq!(next(&mut frames), None);
}

#[test]
fn a_cancel_that_comes_too_late_leaves_nothing() {
    let (host, mut frames) = host(9);
    host.begin(1, 0).expect("begins");
    host.begin(2, 0).expect("begins");
    done(&host, 1);
    assert!(!host.end(1), "it is answered by its frame");
    let _ = host.cancel(1);
    assert_eq!(next(&mut frames), Some(1));
    let _ = host.cancel(2);
    done(&host, 2);
    assert_eq!(host.owes(), (0, 0));
}

#[test]
fn of_cancels_and_completions_at_once_nothing_is_left() {
    let calls: u64 = if cfg!(miri) { 20 } else { 2_000 };
    let (host, mut frames) = host(9);
    let both = Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for token in 1..=calls {
                host.begin(token, 0).expect("begins");
                both.wait();
                done(&host, token);
                both.wait();
                assert_eq!(host.owes(), (0, 0), "after token {token}");
            }
        });
        for token in 1..=calls {
            both.wait();
            let _ = host.cancel(token);
            both.wait();
        }
    });
    host.close();
    let mut last = 0;
    while let Some(token) = next(&mut frames) {
        assert!(token > last, "{token} after {last}");
        last = token;
    }
}

#[test]
fn a_call_beyond_the_limit_is_refused_until_another_one_ends() {
    let (host, _frames) = host(2);
    assert_eq!(host.begin(1, 0), Ok(()));
    assert_eq!(host.begin(2, 0), Ok(()));
    assert_eq!(host.begin(3, 0), Err(Refused::TooMany));
    let _ = host.cancel(1);
    assert_eq!(host.begin(3, 0), Ok(()));
    assert_eq!(host.begin(4, 0), Err(Refused::TooMany));
    done(&host, 2);
    assert_eq!(host.begin(4, 0), Ok(()));
    host.end(3);
    assert_eq!(host.begin(5, 0), Ok(()));
    assert_eq!(host.begin(6, 0), Err(Refused::TooMany));
}

#[test]
fn a_token_is_under_way_once_and_so_many_at_most() {
    let calls = Calls::at_most(2);
    assert_eq!(calls.enter(1, 0), Ok(()));
    assert_eq!(calls.enter(1, 0), Err(Refused::Twice));
    assert_eq!(calls.enter(2, 0), Ok(()));
    assert_eq!(calls.enter(3, 0), Err(Refused::TooMany));
    assert!(calls.leave(1));
    assert!(!calls.leave(1));
    assert_eq!(calls.enter(3, 0), Ok(()));
    assert_eq!(calls.len(), 2);
}
