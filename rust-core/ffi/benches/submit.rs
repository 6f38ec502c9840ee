//! What a call through the C ABI costs its caller: an arrival that is the first, and one that stands already.

#![allow(missing_docs, reason = "criterion_group makes a public function")]

use std::hint::black_box;
use std::io::Read as _;
use std::os::fd::IntoRawFd as _;
use std::thread;

use barrier_ffi::{
    KBAR_ARRIVE, KBAR_EXPLICIT, KBAR_OK, KbarFrame, KbarRequest, kbar_close, kbar_open, kbar_start,
    kbar_submit,
};
use criterion::{Criterion, criterion_group, criterion_main};

fn submit(barrier: u64, user: u64) -> i32 {
    let text = user.to_string();
    let request = KbarRequest {
        barrier,
        token: 10 + user,
        owner: user,
        participant_len: u32::try_from(text.len()).expect("short"),
        kind: KBAR_ARRIVE,
        flags: KBAR_EXPLICIT,
        ..KbarRequest::default()
    };
    let mut frame = KbarFrame::default();
    // SAFETY: request and text are readable, the frame is writable.
    unsafe {
        kbar_submit(
            &raw const request,
            text.as_ptr(),
            text.len(),
            &raw mut frame,
        )
    }
}

fn arrivals(c: &mut Criterion) {
    let (read, write) = rustix::pipe::pipe().expect("a pipe");
    let mut engine = 0;
    // SAFETY: the options are readable, the place for the handle is writable, the descriptor is handed over.
    let status = unsafe { kbar_start(b"{}".as_ptr(), 2, write.into_raw_fd(), &raw mut engine) };
    assert_eq!(status, KBAR_OK);
    // Nobody may be kept waiting by a full pipe.
    let reader = thread::spawn(move || {
        let mut frames = std::fs::File::from(read);
        let mut bytes = [0; 4096];
        while frames.read(&mut bytes).is_ok_and(|n| n > 0) {}
    });
    let json = br#"{"name":"bench","parties":10000000}"#;
    let mut barrier = 0;
    // SAFETY: the JSON is readable, the place for the handle is writable.
    unsafe { kbar_open(engine, 1, json.as_ptr(), json.len(), &raw mut barrier) };

    let mut group = c.benchmark_group("kbar_submit");
    let mut user = 0;
    group.bench_function("first arrival, memory store", |b| {
        b.iter(|| {
            user += 1;
            black_box(submit(barrier, user))
        });
    });
    group.bench_function("repeated arrival", |b| {
        submit(barrier, 1);
        b.iter(|| black_box(submit(barrier, 1)));
    });
    group.finish();
    kbar_close(engine, 1000);
    reader.join().expect("the reader ends with the engine");
}

criterion_group!(benches, arrivals);
criterion_main!(benches);
