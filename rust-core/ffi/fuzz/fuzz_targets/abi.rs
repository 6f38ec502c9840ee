//! Any sequence of calls with any handles, lengths and bytes: nothing may crash, block, or write past a buffer.
//!
//! `make fuzz` runs it for a minute.
#![no_main]

use std::os::fd::IntoRawFd;
use std::thread::JoinHandle;

use arbitrary::Arbitrary;
use barrier_ffi::*;
use libfuzzer_sys::fuzz_target;

/// A handle as a careless host may hold it.
#[derive(Arbitrary, Debug, Clone, Copy)]
enum Handle {
    Engine,
    Barrier(u8),
    Counter,
    Stale,
    Other(u64),
}

#[derive(Arbitrary, Debug)]
enum Operation<'a> {
    Check(&'a [u8]),
    Open(Handle, u64, &'a [u8]),
    OpenGood(u64, u8),
    Counter(Handle, &'a [u8], u8),
    Submit { barrier: Handle, token: u64, owner: u64, participant_len: u32, phase: u32, kind: u16, flags: u16, text: &'a [u8] },
    Query(Handle, Handle, u64, &'a [u8]),
    QueryGood(Handle, u64, bool),
    Cancel(Handle, u64),
    Status(Handle, u8),
    Release(Handle, u32, u8),
    Text(Handle, u64, u8),
    Log(Handle, u8),
    Resolved(Handle, u64, &'a [u8]),
    ResolvedGood(u64, &'a [u8]),
    Arrivals(Handle, [u64; 4], u8),
    Operator(Handle, &'a [u8], u8),
    Close,
}

struct World {
    reader: Option<JoinHandle<()>>,
    engine: u64,
    stale: u64,
    barriers: Vec<u64>,
    counter: u64,
}

impl World {
    fn start() -> Self {
        let (read, write) = rustix::pipe::pipe().expect("a pipe");
        // Read away what comes, so that a full pipe is not what is tested.
        let reader = std::thread::spawn(move || drop(std::io::copy(&mut std::fs::File::from(read), &mut std::io::sink())));
        let mut engine = 0;
        // SAFETY: live memory of the stated lengths; the descriptor is handed over.
        let status = unsafe { kbar_start(b"{}".as_ptr(), 2, write.into_raw_fd(), &raw mut engine) };
        assert_eq!(status, KBAR_OK);
        Self { reader: Some(reader), engine, stale: engine, barriers: Vec::new(), counter: 0 }
    }

    /// Closes the engine, and waits until it has let go of the pipe: one that keeps it hangs here.
    fn end(&mut self) {
        kbar_close(self.engine, 100);
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reader does not panic");
        }
    }

    fn handle(&self, handle: Handle) -> u64 {
        match handle {
            Handle::Engine => self.engine,
            Handle::Barrier(n) => self.barriers.get(usize::from(n) % self.barriers.len().max(1)).copied().unwrap_or(0),
            Handle::Counter => self.counter,
            Handle::Stale => self.stale,
            Handle::Other(n) => n,
        }
    }

    fn run(&mut self, operation: &Operation<'_>) {
        // The canary behind the buffer must survive whatever is copied.
        let mut buffer = [0xA5u8; 300];
        let mut needed = 0usize;
        let mut room = 0usize;
        // SAFETY: every pointer is to live memory of at least the stated length.
        unsafe {
            match *operation {
                Operation::Check(json) => {
                    room = 200;
                    kbar_check_options(json.as_ptr(), json.len(), buffer.as_mut_ptr(), room, &raw mut needed);
                }
                Operation::Open(engine, token, json) => {
                    let mut barrier = 0;
                    // A store of the fuzzer's choosing would be a host on the network.
                    if !json.windows(5).any(|w| w.eq_ignore_ascii_case(b"redis")) {
                        kbar_open(self.handle(engine), token, json.as_ptr(), json.len(), &raw mut barrier);
                    }
                }
                Operation::OpenGood(token, parties) => {
                    let json = format!(r#"{{"name":"b{parties}","parties":{},"cyclic":{}}}"#, u32::from(parties) + 1, parties % 2 == 0);
                    let mut barrier = 0;
                    if kbar_open(self.engine, token, json.as_ptr(), json.len(), &raw mut barrier) == KBAR_PENDING {
                        self.barriers.push(barrier);
                    }
                }
                Operation::Counter(engine, json, capacity) => {
                    room = usize::from(capacity);
                    if !json.windows(5).any(|w| w.eq_ignore_ascii_case(b"redis")) {
                        let at = &raw mut self.counter;
                        kbar_open_counter(self.handle(engine), json.as_ptr(), json.len(), at, buffer.as_mut_ptr(), room, &raw mut needed);
                    }
                }
                Operation::Submit { barrier, token, owner, participant_len, phase, kind, flags, text } => {
                    let request = KbarRequest { barrier: self.handle(barrier), token, owner, participant_len, phase, kind, flags, store_us: phase, wait_us: owner };
                    let mut frame = KbarFrame::default();
                    kbar_submit(&raw const request, text.as_ptr(), text.len(), &raw mut frame);
                }
                Operation::Query(engine, handle, token, json) => {
                    kbar_query(self.handle(engine), self.handle(handle), token, json.as_ptr(), json.len());
                }
                Operation::QueryGood(handle, token, missing) => {
                    let json = if missing { r#"{"op":"missing","limit":9}"# } else { r#"{"op":"counts"}"# };
                    kbar_query(self.engine, self.handle(handle), token, json.as_ptr(), json.len());
                }
                Operation::Cancel(engine, token) => {
                    kbar_cancel(self.handle(engine), token);
                }
                Operation::Status(barrier, capacity) => {
                    room = usize::from(capacity);
                    kbar_status(self.handle(barrier), buffer.as_mut_ptr(), room, &raw mut needed);
                }
                Operation::Release(barrier, phase, capacity) => {
                    room = usize::from(capacity);
                    kbar_release_info(self.handle(barrier), phase, buffer.as_mut_ptr(), room, &raw mut needed);
                }
                Operation::Text(engine, token, capacity) => {
                    room = usize::from(capacity);
                    kbar_take_text(self.handle(engine), token, buffer.as_mut_ptr(), room, &raw mut needed);
                }
                Operation::Log(engine, capacity) => {
                    room = usize::from(capacity);
                    kbar_next_log(self.handle(engine), buffer.as_mut_ptr(), room, &raw mut needed);
                }
                Operation::Resolved(engine, token, json) => {
                    kbar_resolved(self.handle(engine), token, json.as_ptr(), json.len());
                }
                Operation::ResolvedGood(token, text) => {
                    let error = String::from_utf8_lossy(text).escape_default().to_string();
                    let json = format!(r#"{{"error":"{}"}}"#, error.replace('\\', ""));
                    kbar_resolved(self.engine, token, json.as_ptr(), json.len());
                }
                Operation::Arrivals(barrier, tokens, count) => {
                    // One byte for each token is written, and none behind.
                    room = usize::from(count) % (tokens.len() + 1);
                    kbar_arrivals(self.handle(barrier), tokens.as_ptr(), room, buffer.as_mut_ptr());
                }
                Operation::Operator(engine, json, capacity) => {
                    room = usize::from(capacity);
                    if !json.windows(5).any(|w| w.eq_ignore_ascii_case(b"redis")) {
                        let mut operator = 0;
                        kbar_open_operator(self.handle(engine), json.as_ptr(), json.len(), &raw mut operator, buffer.as_mut_ptr(), room, &raw mut needed);
                    }
                }
                Operation::Close => {
                    self.end();
                    *self = Self { stale: self.engine, ..Self::start() };
                }
            }
        }
        assert!(buffer[room..].iter().all(|b| *b == 0xA5), "written past the buffer");
    }
}

fuzz_target!(|operations: Vec<Operation<'_>>| {
    let mut world = World::start();
    for operation in &operations {
        world.run(operation);
    }
    world.end();
});
