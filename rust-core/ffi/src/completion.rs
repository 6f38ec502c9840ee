//! Completions: fixed frames through one pipe, and texts that the host fetches by token.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use barrier_core::engine::{Emission, Sink};
use barrier_core::error::Error;
use barrier_core::ledger::Answered;
use barrier_core::protocol::Outcome;
use barrier_core::session::Done;
use parking_lot::{Condvar, Mutex};
use rustix::event::{PollFd, PollFlags, poll};

use crate::abi::{
    KBAR_FIRST, KBAR_FRAME_BROKEN, KBAR_FRAME_DONE, KBAR_FRAME_LOG, KBAR_FRAME_RELEASE,
    KBAR_FRAME_RESOLVE, KBAR_OK, KBAR_OUTCOME_BROKEN, KBAR_SHARED, KbarFrame, error_text,
    outcome_code, status_of,
};

/// Calls that may be under way at once.
pub(crate) const TOKENS_MAX: usize = 1 << 20;
/// Texts that nobody fetched; beyond it new ones are dropped.
const TEXTS_MAX: usize = 1 << 17;
/// As large a pipe as an ordinary user may have: a burst of 10,000 completions takes a third of it.
const PIPE_SIZE: usize = 1 << 20;

/// The write end of the pipe. Whoever has frames writes them at once; what the pipe does not take at once is left to a
/// thread, so that no caller ever waits for the reader.
struct Pipe {
    queue: Mutex<Queue>,
    more: Condvar,
}

struct Queue {
    /// None once nothing can or shall be written any more: dropping it is what the reader sees as the end.
    file: Option<Arc<File>>,
    bytes: Vec<u8>,
}

impl Queue {
    fn close(&mut self) {
        self.file = None;
        self.bytes.clear();
    }

    /// Writes what the pipe takes; the rest comes back.
    fn write_some<'a>(&mut self, mut bytes: &'a [u8]) -> &'a [u8] {
        while let (Some(file), false) = (&self.file, bytes.is_empty()) {
            match (&**file).write(bytes) {
                Ok(0) => break,
                Ok(n) => bytes = &bytes[n..],
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {
                    // The reader is gone: nobody can be told anything any more.
                    self.close();
                    return &[];
                }
            }
        }
        bytes
    }
}

impl Pipe {
    fn send(&self, frames: &[u8]) {
        let mut queue = self.queue.lock();
        let mut rest = frames;
        if queue.bytes.is_empty() {
            rest = queue.write_some(rest);
        }
        if !rest.is_empty() && queue.file.is_some() {
            queue.bytes.extend_from_slice(rest);
            self.more.notify_one();
        }
    }

    fn drain(&self) {
        let mut queue = self.queue.lock();
        while let Some(file) = queue.file.clone() {
            if queue.bytes.is_empty() {
                drop(file);
                self.more.wait(&mut queue);
                continue;
            }
            drop(queue);
            // An interrupted poll is tried again by the loop; a reader that is gone ends it.
            let _ = poll(&mut [PollFd::new(&file, PollFlags::OUT)], None);
            queue = self.queue.lock();
            let bytes = std::mem::take(&mut queue.bytes);
            let rest = queue.write_some(&bytes).len();
            if queue.file.is_some() {
                queue.bytes = bytes;
                let sent = queue.bytes.len() - rest;
                queue.bytes.drain(..sent);
            }
        }
    }
}

/// What one engine tells its host.
pub(crate) struct Host {
    pipe: Arc<Pipe>,
    texts: Mutex<HashMap<u64, String>>,
    cancelled: Mutex<HashSet<u64>>,
    under_way: AtomicUsize,
}

impl Host {
    /// Takes the write end of the host's pipe.
    pub(crate) fn new(write_end: OwnedFd) -> std::io::Result<Self> {
        use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
        fcntl_setfl(&write_end, fcntl_getfl(&write_end)? | OFlags::NONBLOCK)?;
        #[cfg(all(target_os = "linux", not(miri)))]
        let _ = rustix::pipe::fcntl_setpipe_size(&write_end, PIPE_SIZE); // a smaller one works too
        let pipe = Arc::new(Pipe {
            queue: Mutex::new(Queue {
                file: Some(Arc::new(File::from(write_end))),
                bytes: Vec::new(),
            }),
            more: Condvar::new(),
        });
        let drainer = Arc::clone(&pipe);
        std::thread::Builder::new()
            .name("k6-barrier-pipe".into())
            .spawn(move || drainer.drain())?;
        Ok(Self {
            pipe,
            texts: Mutex::default(),
            cancelled: Mutex::default(),
            under_way: AtomicUsize::new(0),
        })
    }

    /// Ends the pipe: what is not in it yet is lost.
    pub(crate) fn close(&self) {
        self.pipe.queue.lock().close();
        self.pipe.more.notify_one();
    }

    /// Reserves a place for a call's completion; false where there are too many.
    pub(crate) fn reserve(&self) -> bool {
        self.under_way.fetch_add(1, Ordering::Relaxed) < TOKENS_MAX || {
            self.release();
            false
        }
    }

    /// The call needs no completion after all.
    pub(crate) fn release(&self) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
    }

    /// The host does not want to hear of the token any more.
    pub(crate) fn cancel(&self, token: u64) {
        // Its text is there only if its completion is on the way, and then no other comes.
        if self.texts.lock().remove(&token).is_none() && self.under_way.load(Ordering::Relaxed) > 0
        {
            self.cancelled.lock().insert(token);
        }
    }

    pub(crate) fn keep_text(&self, token: u64, text: String) {
        let mut texts = self.texts.lock();
        if texts.len() < TEXTS_MAX {
            texts.insert(token, text);
        }
    }

    /// The token's text; it is gone once `taken` says that it was copied.
    pub(crate) fn take_text(&self, token: u64, taken: impl FnOnce(&str) -> i32) -> Option<i32> {
        let mut texts = self.texts.lock();
        let status = taken(texts.get(&token)?);
        if status == KBAR_OK {
            texts.remove(&token);
        }
        Some(status)
    }

    /// The frame of a call that ended; its text, if it has one, is kept under the token.
    pub(crate) fn frame(
        &self,
        token: u64,
        result: Result<Done, Error>,
        standing: Option<&Answered>,
    ) -> KbarFrame {
        let mut frame = KbarFrame {
            token,
            kind: KBAR_FRAME_DONE,
            ..KbarFrame::default()
        };
        let text = match result {
            Ok(done) => describe(&mut frame, done),
            Err(error) => {
                if let Some(standing) = standing {
                    describe_outcome(&mut frame, standing);
                }
                frame.status = status_of(&error);
                Some(error_text(&error))
            }
        };
        if let Some(text) = text {
            if frame.status == KBAR_OK {
                frame.index = u32::try_from(text.len()).unwrap_or(u32::MAX);
            }
            self.keep_text(token, text);
        }
        frame
    }

    /// The frame of an outcome that the store has not confirmed; keeps no text.
    pub(crate) fn peek(token: u64, standing: &Answered) -> KbarFrame {
        let mut frame = KbarFrame {
            token,
            kind: KBAR_FRAME_DONE,
            ..KbarFrame::default()
        };
        describe_outcome(&mut frame, standing);
        frame
    }

    fn text_frame(&self, token: u64, result: Result<String, Error>) -> KbarFrame {
        let (status, text) = match result {
            Ok(text) => (KBAR_OK, text),
            Err(error) => (status_of(&error), error_text(&error)),
        };
        let frame = KbarFrame {
            token,
            kind: KBAR_FRAME_DONE,
            status,
            index: u32::try_from(text.len()).unwrap_or(u32::MAX),
            ..KbarFrame::default()
        };
        self.keep_text(token, text);
        frame
    }

    fn wanted(&self, token: u64) -> bool {
        self.release();
        let mut cancelled = self.cancelled.lock();
        cancelled.is_empty() || !cancelled.remove(&token)
    }
}

fn describe_outcome(frame: &mut KbarFrame, answered: &Answered) {
    frame.outcome = outcome_code(&answered.outcome);
    frame.phase = answered.phase.0;
    frame.index = answered.index;
    if answered.first {
        frame.flags |= KBAR_FIRST;
    }
}

fn describe(frame: &mut KbarFrame, done: Done) -> Option<String> {
    match done {
        Done::Opened(phase) | Done::NothingToAbort(phase) => frame.phase = phase.0,
        Done::Outcome(answered) => {
            describe_outcome(frame, &answered);
            if let (Outcome::Failed(reason), false) = (&answered.outcome, answered.first) {
                return Some(serde_json::json!({ "reason": reason }).to_string());
            }
        }
        Done::BrokenNow(phase) => {
            frame.outcome = KBAR_OUTCOME_BROKEN;
            frame.phase = phase.0;
        }
        Done::Over => {}
    }
    None
}

impl Sink for Host {
    fn emit(&self, news: &mut Vec<Emission>) {
        if news.is_empty() {
            return;
        }
        let mut bytes = Vec::with_capacity(news.len() * size_of::<KbarFrame>());
        for item in news.drain(..) {
            let frame = match item {
                Emission::Done {
                    ticket,
                    result,
                    standing,
                } => {
                    let token = ticket.redeem();
                    if !self.wanted(token) {
                        continue;
                    }
                    self.frame(token, result, standing.as_ref())
                }
                Emission::Text { ticket, result } => {
                    let token = ticket.redeem();
                    if !self.wanted(token) {
                        continue;
                    }
                    self.text_frame(token, result)
                }
                Emission::Released {
                    barrier,
                    phase,
                    at,
                    in_common,
                } => KbarFrame {
                    token: barrier,
                    kind: KBAR_FRAME_RELEASE,
                    flags: if in_common { KBAR_SHARED } else { 0 },
                    phase: phase.0,
                    time_us: u64::try_from(at).unwrap_or(0),
                    ..KbarFrame::default()
                },
                Emission::Broken { barrier } => KbarFrame {
                    token: barrier,
                    kind: KBAR_FRAME_BROKEN,
                    ..KbarFrame::default()
                },
                Emission::Log => KbarFrame {
                    kind: KBAR_FRAME_LOG,
                    ..KbarFrame::default()
                },
                Emission::Resolve { token, host } => {
                    let frame = KbarFrame {
                        token,
                        kind: KBAR_FRAME_RESOLVE,
                        index: u32::try_from(host.len()).unwrap_or(u32::MAX),
                        ..KbarFrame::default()
                    };
                    self.keep_text(token, host);
                    frame
                }
            };
            bytes.extend_from_slice(&frame.to_bytes());
        }
        self.pipe.send(&bytes);
    }
}
