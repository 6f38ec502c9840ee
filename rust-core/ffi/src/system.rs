//! What completions need of the system: locks, a thread, the descriptor. `tests/orders` has another one of the same shape,
//! in which every order of the threads is tried.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

use barrier_core::panics::THREADS;
#[cfg(not(miri))]
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use crate::signals::block_sigpipe;

pub(crate) use parking_lot::{Condvar, Mutex};
pub(crate) use std::sync::atomic::AtomicUsize;

/// As large a pipe as an ordinary user may have: a burst of 10,000 completions takes a third of it.
#[cfg(all(target_os = "linux", not(miri)))]
const PIPE_SIZE: usize = 1 << 20;

/// The end of a pipe that is written to. Closed when dropped.
pub(crate) struct WriteEnd(File);

impl WriteEnd {
    pub(crate) fn new(descriptor: OwnedFd) -> std::io::Result<Self> {
        fcntl_setfl(&descriptor, fcntl_getfl(&descriptor)? | OFlags::NONBLOCK)?;
        #[cfg(all(target_os = "linux", not(miri)))]
        let _ = rustix::pipe::fcntl_setpipe_size(&descriptor, PIPE_SIZE); // a smaller one works too
        Ok(Self(File::from(descriptor)))
    }

    /// Writes what the pipe takes at once.
    pub(crate) fn write(&self, bytes: &[u8]) -> std::io::Result<usize> {
        (&self.0).write(bytes)
    }

    /// Waits until the pipe takes something or its reader is gone. May end sooner.
    pub(crate) fn wait(&self) {
        #[cfg(not(miri))]
        let _ = poll(&mut [PollFd::new(&self.0, PollFlags::OUT)], None);
        #[cfg(miri)]
        std::thread::yield_now(); // it knows no poll
    }
}

/// Starts one of the core's own threads.
pub(crate) fn start_thread(
    name: &str,
    body: impl FnOnce() + Send + 'static,
) -> std::io::Result<()> {
    let thread = std::thread::Builder::new().name(format!("{THREADS}-{name}"));
    let body = move || {
        block_sigpipe();
        body();
    };
    thread.spawn(body).map(drop)
}
