//! What `src/system.rs` is to the core: here of loom, which decides who goes on.

use std::collections::VecDeque;
use std::io::{Error, ErrorKind};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

pub(crate) use loom::sync::atomic::AtomicUsize;

/// With the face of the core's locks.
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

pub(crate) struct Guard<'a, T>(Option<loom::sync::MutexGuard<'a, T>>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> Guard<'_, T> {
        Guard(Some(self.0.lock().expect("no panic under a lock")))
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("held but while it waits")
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("held but while it waits")
    }
}

pub(crate) struct Condvar(loom::sync::Condvar);

impl Condvar {
    pub(crate) fn new() -> Self {
        Self(loom::sync::Condvar::new())
    }

    pub(crate) fn wait<T>(&self, guard: &mut Guard<'_, T>) {
        let inner = guard.0.take().expect("held");
        guard.0 = Some(self.0.wait(inner).expect("no panic under a lock"));
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    fn notify_all(&self) {
        self.0.notify_all();
    }
}

pub(crate) fn start_thread(
    _name: &str,
    body: impl FnOnce() + Send + 'static,
) -> std::io::Result<()> {
    loom::thread::spawn(body);
    Ok(())
}

/// A pipe of the system, as far as its users can tell.
struct Shared {
    state: Mutex<State>,
    /// Somebody has read, written or gone.
    news: Condvar,
}

struct State {
    bytes: VecDeque<u8>,
    room: usize,
    writer: bool,
    reader: bool,
}

/// A pipe that holds so many bytes.
pub(crate) fn pipe_of(room: usize) -> (WriteEnd, ReadEnd) {
    let state = State {
        bytes: VecDeque::new(),
        room,
        writer: true,
        reader: true,
    };
    let shared = Arc::new(Shared {
        state: Mutex::new(state),
        news: Condvar::new(),
    });
    (WriteEnd(Arc::clone(&shared)), ReadEnd(shared))
}

pub(crate) struct WriteEnd(Arc<Shared>);

impl WriteEnd {
    pub(crate) fn write(&self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut state = self.0.state.lock();
        if !state.reader {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let n = bytes.len().min(state.room - state.bytes.len());
        if n == 0 {
            return Err(Error::from(ErrorKind::WouldBlock));
        }
        state.bytes.extend(&bytes[..n]);
        self.0.news.notify_all();
        Ok(n)
    }

    pub(crate) fn wait(&self) {
        let mut state = self.0.state.lock();
        while state.reader && state.bytes.len() == state.room {
            self.0.news.wait(&mut state);
        }
    }
}

impl Drop for WriteEnd {
    fn drop(&mut self) {
        self.0.state.lock().writer = false;
        self.0.news.notify_all();
    }
}

pub(crate) struct ReadEnd(Arc<Shared>);

impl ReadEnd {
    /// The next byte, once there is one; none at the end.
    pub(crate) fn read(&mut self) -> Option<u8> {
        let mut state = self.0.state.lock();
        loop {
            if let Some(byte) = state.bytes.pop_front() {
                self.0.news.notify_all();
                return Some(byte);
            }
            if !state.writer {
                return None;
            }
            self.0.news.wait(&mut state);
        }
    }
}

impl Drop for ReadEnd {
    fn drop(&mut self) {
        self.0.state.lock().reader = false;
        self.0.news.notify_all();
    }
}
