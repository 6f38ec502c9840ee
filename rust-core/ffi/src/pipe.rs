//! The write end of the pipe to the host.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use barrier_core::panics::THREADS;
use once_cell::sync::OnceCell;
use parking_lot::{Condvar, Mutex};
use rustix::event::{PollFd, PollFlags, poll};

use crate::signals::block_sigpipe;

/// As large a pipe as an ordinary user may have: a burst of 10,000 completions takes a third of it.
#[cfg(all(target_os = "linux", not(miri)))]
const PIPE_SIZE: usize = 1 << 20;

/// The write end of the pipe. Whoever has frames writes them at once; what the pipe does not take at once is left to a
/// thread, so that no caller ever waits for the reader.
pub(crate) struct Pipe {
    queue: Mutex<Queue>,
    more: Condvar,
    /// Writes what is left over; started when there is something for the first time.
    drainer: OnceCell<()>,
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
    /// Takes the write end of the host's pipe.
    pub(crate) fn new(write_end: OwnedFd) -> std::io::Result<Arc<Self>> {
        use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
        fcntl_setfl(&write_end, fcntl_getfl(&write_end)? | OFlags::NONBLOCK)?;
        #[cfg(all(target_os = "linux", not(miri)))]
        let _ = rustix::pipe::fcntl_setpipe_size(&write_end, PIPE_SIZE); // a smaller one works too
        Ok(Arc::new(Self {
            queue: Mutex::new(Queue {
                file: Some(Arc::new(File::from(write_end))),
                bytes: Vec::new(),
            }),
            more: Condvar::new(),
            drainer: OnceCell::new(),
        }))
    }

    /// Ends the pipe: what is not in it yet is lost.
    pub(crate) fn close(&self) {
        self.queue.lock().close();
        self.more.notify_one();
    }

    pub(crate) fn send(self: &Arc<Self>, frames: &[u8]) {
        let mut queue = self.queue.lock();
        let mut rest = frames;
        if queue.bytes.is_empty() {
            rest = queue.write_some(rest);
        }
        if !rest.is_empty() && queue.file.is_some() {
            queue.bytes.extend_from_slice(rest);
            if self
                .drainer
                .get_or_try_init(|| self.start_drainer())
                .is_err()
            {
                // Nobody writes the rest: the end of the pipe is what the host understands.
                queue.close();
            }
            self.more.notify_one();
        }
    }

    fn start_drainer(self: &Arc<Self>) -> std::io::Result<()> {
        let pipe = Arc::clone(self);
        let drainer = std::thread::Builder::new().name(format!("{THREADS}-pipe"));
        let drain = move || {
            block_sigpipe();
            pipe.drain();
        };
        drainer.spawn(drain).map(drop)
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

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_full_pipe_keeps_everything_in_order_and_nobody_waiting() {
        let (read, write) = rustix::pipe::pipe().expect("a pipe");
        let pipe = Pipe::new(write).expect("the write end");
        // More than any pipe takes, from a thread that would never end if it waited for the reader.
        let frames = 100_000_u64;
        for n in 0..frames {
            let mut frame = [0_u8; 32];
            frame[..8].copy_from_slice(&n.to_ne_bytes());
            pipe.send(&frame);
        }
        let mut read = File::from(read);
        for n in 0..frames {
            let mut frame = [0_u8; 32];
            read.read_exact(&mut frame).expect("a frame");
            assert_eq!(frame[..8], n.to_ne_bytes());
        }
        pipe.close();
        assert_eq!(read.read(&mut [0; 1]).expect("the end"), 0);
    }

    #[test]
    fn a_pipe_that_never_was_full_has_no_thread() {
        let (_read, write) = rustix::pipe::pipe().expect("a pipe");
        let pipe = Pipe::new(write).expect("the write end");
        pipe.send(&[0; 32]);
        assert!(pipe.drainer.get().is_none());
    }
}
