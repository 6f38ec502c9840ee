//! Each export with what a careless host may hand it, and one whole barrier through the ABI. Runs under Miri too.

use std::io::Read;
use std::os::fd::IntoRawFd;
use std::ptr::{null, null_mut};

use barrier_ffi::*;

/// An engine and the read end of its pipe.
struct Host {
    engine: u64,
    frames: std::fs::File,
}

impl Host {
    fn start() -> Self {
        Self::start_with(b"{}")
    }

    fn start_with(options: &[u8]) -> Self {
        let (read, write) = rustix::pipe::pipe().expect("a pipe");
        let mut engine = 0;
        // SAFETY: the options are readable, the place for the handle is writable, the descriptor is handed over.
        let status = unsafe {
            kbar_start(
                options.as_ptr(),
                options.len(),
                write.into_raw_fd(),
                &raw mut engine,
            )
        };
        assert_eq!(status, KBAR_OK);
        Self {
            engine,
            frames: read.into(),
        }
    }

    fn open(&self, token: u64, json: &str) -> (i32, u64) {
        let mut barrier = 0;
        // SAFETY: the JSON is readable, the place for the handle is writable.
        let status = unsafe {
            kbar_open(
                self.engine,
                token,
                json.as_ptr(),
                json.len(),
                &raw mut barrier,
            )
        };
        (status, barrier)
    }

    fn frame(&mut self) -> KbarFrame {
        let mut bytes = [0u8; 32];
        self.frames.read_exact(&mut bytes).expect("a frame");
        let number = |range: std::ops::Range<usize>| {
            let mut eight = [0u8; 8];
            eight[..range.len()].copy_from_slice(&bytes[range]);
            u64::from_le_bytes(eight)
        };
        #[expect(clippy::cast_possible_truncation)]
        KbarFrame {
            token: number(0..8),
            kind: number(8..10) as u16,
            outcome: bytes[10],
            flags: bytes[11],
            status: i32::from_le_bytes(bytes[12..16].try_into().expect("four")),
            phase: number(16..20) as u32,
            index: number(20..24) as u32,
            time_us: number(24..32),
        }
    }

    fn text(&self, token: u64) -> String {
        let mut needed = 0;
        // SAFETY: a null buffer of length 0, a writable place for the length.
        let status = unsafe { kbar_take_text(self.engine, token, null_mut(), 0, &raw mut needed) };
        assert_eq!(status, KBAR_BUFFER, "there is a text");
        let mut text = vec![0u8; needed];
        // SAFETY: the buffer is writable for its length.
        let status = unsafe {
            kbar_take_text(
                self.engine,
                token,
                text.as_mut_ptr(),
                text.len(),
                &raw mut needed,
            )
        };
        assert_eq!(status, KBAR_OK);
        String::from_utf8(text).expect("UTF-8")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        assert_eq!(kbar_close(self.engine, 1000), KBAR_OK);
        assert_eq!(kbar_close(self.engine, 1000), KBAR_CLOSED);
        read_to_the_end(&mut self.frames);
    }
}

/// Waits until nobody can write any more. (`read_to_end` seeks first, which Miri does not know for pipes.)
fn read_to_the_end(frames: &mut std::fs::File) -> usize {
    let mut total = 0;
    let mut bytes = [0u8; 1024];
    loop {
        match frames.read(&mut bytes).expect("a pipe") {
            0 => return total,
            n => total += n,
        }
    }
}

fn submit(request: &KbarRequest, text: &[u8]) -> (i32, KbarFrame) {
    let mut frame = KbarFrame::default();
    // SAFETY: request and text are readable, the frame is writable.
    let status = unsafe { kbar_submit(request, text.as_ptr(), text.len(), &raw mut frame) };
    (status, frame)
}

const OPTIONS: &str = r#"{"name":"default","parties":2}"#;

#[test]
fn a_whole_barrier_through_the_abi() {
    let mut host = Host::start();
    let (status, barrier) = host.open(1, OPTIONS);
    assert_eq!(status, KBAR_PENDING);
    let opened = host.frame();
    assert_eq!(
        (opened.token, opened.kind, opened.status),
        (1, KBAR_FRAME_DONE, KBAR_OK)
    );
    assert_eq!(
        host.open(2, OPTIONS),
        (KBAR_PENDING, barrier),
        "the same barrier has the same handle"
    );
    assert_eq!(host.frame().token, 2);

    let mut request = KbarRequest {
        barrier,
        token: 3,
        owner: 1,
        participant_len: 1,
        kind: KBAR_ARRIVE,
        flags: KBAR_EXPLICIT,
        ..KbarRequest::default()
    };
    let (status, frame) = submit(&request, b"1");
    assert_eq!(
        (status, frame.outcome, frame.index),
        (KBAR_OK, KBAR_OUTCOME_ARRIVED, 1)
    );
    assert_eq!(frame.flags & KBAR_FIRST, KBAR_FIRST);

    (request.token, request.owner) = (4, 2);
    let (status, _) = submit(&request, b"1");
    assert_eq!(
        status, KBAR_CONFLICT,
        "another VU with the same participant"
    );
    assert!(host.text(4).contains("another VU"));

    (request.token, request.kind) = (5, KBAR_FAIL);
    let (status, frame) = submit(&request, b"2login");
    assert_eq!((status, frame.outcome), (KBAR_OK, KBAR_OUTCOME_FAILED));
    let release = host.frame();
    assert_eq!(
        (release.kind, release.token, release.phase),
        (KBAR_FRAME_RELEASE, barrier, 0)
    );
    assert!(release.time_us > 0);

    (request.token, request.kind) = (6, KBAR_ARRIVE);
    let (_, frame) = submit(&request, b"2");
    assert_eq!(
        (frame.outcome, frame.flags & KBAR_FIRST),
        (KBAR_OUTCOME_FAILED, 0)
    );
    assert_eq!(host.text(6), r#"{"reason":"login"}"#);
}

fn arrivals(barrier: u64, tokens: &[u64]) -> Vec<u8> {
    let mut arrivals = vec![99; tokens.len()];
    // SAFETY: tokens and arrivals are live memory of the stated length.
    let status = unsafe {
        kbar_arrivals(
            barrier,
            tokens.as_ptr(),
            tokens.len(),
            arrivals.as_mut_ptr(),
        )
    };
    assert_eq!(status, KBAR_OK);
    arrivals
}

#[test]
fn whoever_waits_goes_by_one_frame_for_all() {
    let mut host = Host::start();
    let (_, barrier) = host.open(1, OPTIONS);
    assert_eq!(host.frame().token, 1);
    let hour = 3_600_000_000;
    let watching = KbarRequest {
        barrier,
        token: 2,
        kind: KBAR_WAIT,
        wait_us: hour,
        ..KbarRequest::default()
    };
    assert_eq!(submit(&watching, b"").0, KBAR_PENDING);
    let arrival = |token, owner| KbarRequest {
        token,
        owner,
        participant_len: 1,
        kind: KBAR_ARRIVE,
        flags: KBAR_AND_WAIT,
        ..watching
    };
    let (status, frame) = submit(&arrival(3, 1), b"1");
    assert_eq!(
        (status, frame.outcome),
        (KBAR_PENDING, KBAR_OUTCOME_ARRIVED)
    );
    assert_eq!(frame.flags, KBAR_FIRST | KBAR_ACKNOWLEDGED);
    let all = [KBAR_ARRIVAL_ACKNOWLEDGED, KBAR_ARRIVAL_OVER];
    assert_eq!(arrivals(barrier, &[3, 77]), all);

    let (status, frame) = submit(&arrival(4, 2), b"2");
    assert_eq!((status, frame.outcome), (KBAR_OK, KBAR_OUTCOME_ARRIVED));
    let release = host.frame();
    assert_eq!(
        (release.kind, release.token, release.phase),
        (KBAR_FRAME_RELEASE, barrier, 0)
    );
    assert_eq!(arrivals(barrier, &[2, 3, 4]), [KBAR_ARRIVAL_OVER; 3]);
    assert_eq!(submit(&watching, b"").0, KBAR_OK, "the news has been told");

    // Nothing came beside the release: the next frame is that of a wait whose time is over.
    let cyclic = r#"{"name":"cyclic","parties":2,"cyclic":true}"#;
    let (_, other) = host.open(5, cyclic);
    assert_eq!(host.frame().token, 5);
    let hasty = KbarRequest {
        barrier: other,
        wait_us: 1000,
        ..watching
    };
    assert_eq!(submit(&hasty, b"").0, KBAR_PENDING);
    let over = host.frame();
    assert_eq!((over.token, over.status), (2, KBAR_TIMEOUT));
    assert!(host.text(2).contains("long enough"));
}

#[test]
fn a_wait_that_is_cancelled_is_not_kept() {
    let mut host = Host::start();
    let (_, barrier) = host.open(1, OPTIONS);
    host.frame();
    let waits = KbarRequest {
        barrier,
        token: 2,
        kind: KBAR_WAIT,
        wait_us: 3_600_000_000,
        ..KbarRequest::default()
    };
    assert_eq!(submit(&waits, b"").0, KBAR_PENDING);
    assert_eq!(arrivals(barrier, &[2]), [KBAR_ARRIVAL_ACKNOWLEDGED]);
    assert_eq!(kbar_cancel(host.engine, 2), KBAR_OK);
    assert_eq!(arrivals(barrier, &[2]), [KBAR_ARRIVAL_OVER]);
    assert_eq!(kbar_cancel(host.engine, 2), KBAR_OK, "twice is nothing");
}

#[test]
fn what_a_store_in_memory_answers_at_once_takes_no_token() {
    let mut host = Host::start_with(br#"{"hostResolves":true}"#);
    let (_, barrier) = host.open(1, OPTIONS);
    assert_eq!(host.frame().token, 1);
    let arrival = KbarRequest {
        barrier,
        token: 2,
        owner: 1,
        participant_len: 1,
        kind: KBAR_ARRIVE,
        flags: KBAR_AT_ONCE,
        ..KbarRequest::default()
    };
    let (status, frame) = submit(&arrival, b"1");
    assert_eq!((status, frame.outcome), (KBAR_OK, KBAR_OUTCOME_ARRIVED));
    let waits = KbarRequest {
        flags: KBAR_AT_ONCE | KBAR_AND_WAIT,
        ..arrival
    };
    assert_eq!(submit(&waits, b"2").0, KBAR_INVALID);
    let options = r#"{"store":"redis://redis.test","runId":"r","name":"d","parties":1}"#;
    let (_, remote) = host.open(3, options);
    let remote = KbarRequest {
        barrier: remote,
        ..arrival
    };
    assert_eq!(submit(&remote, b"1").0, KBAR_INVALID);
}

#[test]
fn malformed_arguments_are_refused_and_touch_nothing() {
    let mut host = Host::start();
    let (_, barrier) = host.open(1, OPTIONS);
    host.frame();
    let good = KbarRequest {
        barrier,
        token: 2,
        participant_len: 1,
        kind: KBAR_ARRIVE,
        ..KbarRequest::default()
    };
    let too_long = KbarRequest {
        participant_len: 3,
        ..good
    };
    let unknown = KbarRequest { kind: 99, ..good };
    let no_token = KbarRequest { token: 0, ..good };
    assert_eq!(submit(&too_long, b"1").0, KBAR_INVALID);
    assert_eq!(submit(&unknown, b"1").0, KBAR_INVALID);
    assert_eq!(submit(&no_token, b"1").0, KBAR_INVALID);
    assert_eq!(submit(&good, &[0xff]).0, KBAR_INVALID, "bad UTF-8");
    let empty = KbarRequest {
        participant_len: 0,
        ..good
    };
    assert_eq!(submit(&empty, b"").0, KBAR_OPTION, "an empty participant");
    let reason = KbarRequest {
        kind: KBAR_FAIL,
        ..good
    };
    assert_eq!(submit(&reason, b"1Not a reason").0, KBAR_OPTION);
    // The place of this barrier in another generation; the next place may be another test's.
    let stale = barrier + (1 << 32);
    for wrong in [0, 1, stale, u64::MAX, host.engine] {
        let stale = KbarRequest {
            barrier: wrong,
            ..good
        };
        assert_eq!(submit(&stale, b"1").0, KBAR_CLOSED, "handle {wrong}");
    }
    let mut frame = KbarFrame::default();
    // SAFETY: null pointers with lengths are what this test is about; the ABI refuses them.
    unsafe {
        assert_eq!(
            kbar_submit(null(), b"1".as_ptr(), 1, &raw mut frame),
            KBAR_INVALID
        );
        assert_eq!(
            kbar_submit(&raw const good, null(), 1, &raw mut frame),
            KBAR_INVALID
        );
        assert_eq!(
            kbar_open(host.engine, 9, null(), 5, null_mut()),
            KBAR_INVALID
        );
        assert_eq!(
            kbar_check_options(null(), 5, null_mut(), 0, null_mut()),
            KBAR_INVALID
        );
        assert_eq!(
            kbar_query(host.engine, barrier, 9, b"{}".as_ptr(), 2),
            KBAR_INVALID
        );
        assert_eq!(
            kbar_query(host.engine, 77, 9, b"{}".as_ptr(), 2),
            KBAR_CLOSED
        );
        assert_eq!(kbar_status(77, null_mut(), 0, null_mut()), KBAR_CLOSED);
        assert_eq!(
            kbar_release_info(barrier, 0, null_mut(), 0, null_mut()),
            KBAR_EMPTY
        );
        assert_eq!(
            kbar_next_log(host.engine, null_mut(), 0, null_mut()),
            KBAR_EMPTY
        );
        assert_eq!(
            kbar_take_text(host.engine, 12345, null_mut(), 0, null_mut()),
            KBAR_EMPTY
        );
        assert_eq!(kbar_start(b"{}".as_ptr(), 2, -1, null_mut()), KBAR_INVALID);
        let token = 2u64;
        assert_eq!(kbar_arrivals(barrier, null(), 1, null_mut()), KBAR_INVALID);
        assert_eq!(
            kbar_arrivals(barrier, &raw const token, 1, null_mut()),
            KBAR_INVALID
        );
        assert_eq!(kbar_arrivals(77, null(), 0, null_mut()), KBAR_CLOSED);
    }
    assert_eq!(kbar_cancel(77, 1), KBAR_CLOSED);
    // Nobody arrived by any of this.
    let (status, frame) = submit(&good, b"1");
    assert_eq!((status, frame.index), (KBAR_OK, 1));
}

#[test]
fn options_are_explained_and_a_short_buffer_says_what_it_needs() {
    let json = r#"{"name":"default","parties":0}"#;
    let mut needed = 0;
    let mut text = vec![0u8; 1024];
    // SAFETY: all pointers are to live memory of the stated lengths.
    let status = unsafe {
        kbar_check_options(
            json.as_ptr(),
            json.len(),
            text.as_mut_ptr(),
            text.len(),
            &raw mut needed,
        )
    };
    assert_eq!(status, KBAR_OPTION);
    let text = String::from_utf8(text[..needed].to_vec()).expect("UTF-8");
    assert!(text.contains(r#""option":"parties""#), "{text}");
    let mut short = [0u8; 4];
    // SAFETY: as above.
    let status = unsafe {
        kbar_check_options(
            json.as_ptr(),
            json.len(),
            short.as_mut_ptr(),
            short.len(),
            &raw mut needed,
        )
    };
    assert_eq!((status, needed), (KBAR_BUFFER, text.len()));
    assert_eq!(short, [0; 4], "nothing is copied by halves");
}

#[test]
fn the_descriptor_is_closed_where_the_start_fails() {
    let (read, write) = rustix::pipe::pipe().expect("a pipe");
    // SAFETY: the options are readable; the descriptor is handed over; the handle is not needed.
    let status = unsafe { kbar_start(b"[1]".as_ptr(), 3, write.into_raw_fd(), null_mut()) };
    assert_eq!(status, KBAR_INVALID);
    assert_eq!(read_to_the_end(&mut read.into()), 0);
}

#[test]
fn addresses_are_asked_of_the_host() {
    let mut host = Host::start_with(br#"{"hostResolves":true}"#);
    let options = br#"{"store":"redis://redis.test","runId":"r","name":"d","parties":1}"#;
    let (status, _) = host.open(7, std::str::from_utf8(options).expect("text"));
    assert_eq!(status, KBAR_PENDING);
    let question = host.frame();
    assert_eq!(question.kind, KBAR_FRAME_RESOLVE);
    assert_eq!(question.token >> 63, 1, "no token of a caller's");
    assert_eq!(host.text(question.token), "redis.test:6379");
    let answer = |token: u64, json: &[u8]| {
        // SAFETY: the JSON is readable.
        unsafe { kbar_resolved(host.engine, token, json.as_ptr(), json.len()) }
    };
    for nonsense in [&b"{}"[..], br#"{"addr":"redis.test:1"}"#, b"\xff"] {
        assert_eq!(answer(question.token, nonsense), KBAR_INVALID);
    }
    assert_eq!(
        answer(question.token + 1, br#"{"error":"x"}"#),
        KBAR_OK,
        "nobody asked"
    );
    assert_eq!(answer(question.token, br#"{"error":"blocked"}"#), KBAR_OK);
    let frame = host.frame();
    assert_eq!((frame.token, frame.status), (7, KBAR_STORE));
    assert!(
        host.text(7)
            .contains("the address redis.test:6379 could not be resolved: blocked")
    );
}

#[test]
fn a_barrier_that_is_let_go_of_leaves_no_handle() {
    let mut host = Host::start();
    let tally = |host: &mut Host, token| {
        let question = br#"{"op":"tally"}"#;
        // SAFETY: the question is readable.
        let status =
            unsafe { kbar_query(host.engine, 0, token, question.as_ptr(), question.len()) };
        assert_eq!(status, KBAR_PENDING);
        assert_eq!(host.frame().token, token);
        serde_json::from_str::<serde_json::Value>(&host.text(token)).expect("a tally is JSON")
    };
    let (_, barrier) = host.open(1, OPTIONS);
    assert_eq!(host.frame().token, 1);
    let of = |barriers: u32, handles: u32| serde_json::json!({"barriers": barriers, "handles": handles, "retired": 0, "retiredBytes": 0});
    assert_eq!(tally(&mut host, 2), of(1, 2));

    let mut request = KbarRequest {
        barrier,
        token: 3,
        kind: KBAR_CLOSE,
        ..KbarRequest::default()
    };
    assert_eq!(submit(&request, b"").0, KBAR_OK);
    let forgotten = host.frame();
    assert_eq!(
        (forgotten.kind, forgotten.token),
        (KBAR_FRAME_FORGOTTEN, barrier)
    );
    request.token = 4;
    assert_eq!(submit(&request, b"").0, KBAR_CLOSED);
    assert_eq!(tally(&mut host, 5), of(0, 1));

    let (_, again) = host.open(6, OPTIONS);
    assert_eq!(host.frame().token, 6);
    assert_ne!(again, barrier, "its place may be the same");
}

#[test]
fn who_runs_is_waited_for() {
    let mut host = Host::start();
    let (_, barrier) = host.open(1, r#"{"name":"default","parties":{"running":["users"]}}"#);
    assert_eq!(host.frame().token, 1);
    let mut token = 1;
    let mut call = |kind, id: &str| {
        token += 1;
        let request = KbarRequest {
            barrier,
            token,
            owner: 7,
            participant_len: u32::try_from(id.len()).expect("short"),
            kind,
            flags: KBAR_AT_ONCE,
            ..KbarRequest::default()
        };
        submit(&request, id.as_bytes()).0
    };
    assert_eq!(call(KBAR_BEGIN, ""), KBAR_OPTION, "an id is needed");
    for (kind, id) in [(KBAR_BEGIN, "1"), (KBAR_BEGIN, "2"), (KBAR_ARRIVE, "1")] {
        assert_eq!(call(kind, id), KBAR_OK);
    }
    assert_eq!(released(barrier), KBAR_EMPTY, "2 still runs");
    assert_eq!(call(KBAR_END, "2"), KBAR_OK);
    let release = host.frame();
    assert_eq!((release.kind, release.phase), (KBAR_FRAME_RELEASE, 0));
    assert_eq!(released(barrier), KBAR_BUFFER, "there is a record");
}

/// Whether there is a record of the release of phase 0.
fn released(barrier: u64) -> i32 {
    let mut needed = 0;
    // SAFETY: a null buffer of length 0, a writable place for the length.
    unsafe { kbar_release_info(barrier, 0, null_mut(), 0, &raw mut needed) }
}
