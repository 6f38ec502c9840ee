//! Listeners that may take their time.

use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use jiff::Timestamp;

use super::stream::{Event, Listener};

/// Somebody who listens on a thread of their own, so that nobody who tells something waits for them: a stopped terminal takes
/// no byte, and who tells may be on the way from k6's output to its file. What was told is heard before this is dropped.
#[derive(Debug)]
pub(crate) struct Aside {
    /// `None` once it ends.
    events: Option<Sender<(Timestamp, Event)>>,
    thread: Option<JoinHandle<()>>,
}

impl Aside {
    /// Lets the listener hear on its own thread.
    ///
    /// # Errors
    /// There can be no further thread.
    pub(crate) fn of(mut listener: impl Listener + 'static) -> std::io::Result<Self> {
        let (events, told) = channel::<(Timestamp, Event)>();
        let hear = move || {
            for (at, event) in told {
                listener.hear(at, &event);
            }
        };
        let thread = std::thread::Builder::new().name("listener".to_owned());
        Ok(Self {
            events: Some(events),
            thread: Some(thread.spawn(hear)?),
        })
    }
}

impl Listener for Aside {
    fn hear(&mut self, at: Timestamp, event: &Event) {
        if let Some(events) = &self.events {
            // Who listened may have ended with a panic, which has been reported.
            let _ = events.send((at, event.clone()));
        }
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        self.events = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, sync_channel};
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::events::Stream;

    /// Hears nothing before it is let.
    struct Stopped {
        may: Receiver<()>,
        heard: Arc<Mutex<usize>>,
    }

    impl Listener for Stopped {
        fn hear(&mut self, _: Timestamp, _: &Event) {
            // Who lets it has gone once it may hear everything.
            let _ = self.may.recv();
            *self.heard.lock().expect("heard") += 1;
        }
    }

    #[test]
    fn who_tells_waits_for_no_stopped_listener_and_nothing_is_lost() {
        let (let_it, may) = sync_channel(0);
        let heard = Arc::new(Mutex::new(0));
        let stopped = Stopped {
            may,
            heard: Arc::clone(&heard),
        };
        let stream = Stream::to(Aside::of(stopped).expect("a thread"));
        for _ in 0..100 {
            stream.tell(Event::RunEnded);
        }
        assert_eq!(*heard.lock().expect("heard"), 0);
        drop(let_it);
        stream.close();
        assert_eq!(*heard.lock().expect("heard"), 100);
    }
}
