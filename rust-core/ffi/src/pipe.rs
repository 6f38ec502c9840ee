//! The write end of the pipe to the host.

use std::io::ErrorKind;
use std::sync::Arc;

use once_cell::sync::OnceCell;

use crate::system::{Condvar, Mutex, WriteEnd, start_thread};

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
    file: Option<Arc<WriteEnd>>,
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
            match file.write(bytes) {
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
    pub(crate) fn new(write_end: WriteEnd) -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::new(Queue {
                file: Some(Arc::new(write_end)),
                bytes: Vec::new(),
            }),
            more: Condvar::new(),
            drainer: OnceCell::new(),
        })
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

    #[cfg(test)]
    pub(crate) fn has_drainer(&self) -> bool {
        self.drainer.get().is_some()
    }

    fn start_drainer(self: &Arc<Self>) -> std::io::Result<()> {
        let pipe = Arc::clone(self);
        start_thread("pipe", move || pipe.drain())
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
            file.wait();
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
