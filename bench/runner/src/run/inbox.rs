//! Signals and child exits in one queue, so that every wait can be interrupted and has a bound.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::values::exit::Stop;

/// Whether [`ignore_hangups`] has been called.
static DEAF: AtomicBool = AtomicBool::new(false);

/// From now on a terminal that goes away ends nothing. Call it before [`Inbox::install`].
///
/// # Errors
/// The system refuses a handler.
pub(crate) fn ignore_hangups() -> anyhow::Result<()> {
    DEAF.store(true, Ordering::Relaxed);
    // A handler that does nothing that anybody looks at: without one the signal would end the process.
    let unread = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGHUP, unread).context("ignoring SIGHUP")?;
    Ok(())
}

/// Whether a terminal that goes away ends nothing, by us or by whoever started us.
fn hangups_are_ignored() -> bool {
    let ignored = |status: procfs::process::Status| status.sigign & 1 << (SIGHUP - 1) != 0;
    DEAF.load(Ordering::Relaxed)
        || procfs::process::Process::myself()
            .and_then(|own| own.status())
            .is_ok_and(ignored)
}

/// Something the main thread waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message {
    /// SIGINT, SIGTERM or SIGHUP reached the runner.
    Interrupt,
    /// The watched process with this id has ended (and is not reaped yet).
    Exited(u32),
    /// Nobody is there any more where a target of somebody else's was, by the number of who looked after it.
    Gone(u32),
}

/// What a run needs: the end of one of them ends it. Clones are the same list, which changes where a process is ended and started
/// again on purpose.
#[derive(Debug, Clone, Default)]
pub(crate) struct Needs(Arc<Mutex<Needed>>);

#[derive(Debug, Default)]
struct Needed {
    /// Processes that the runner started, by their ids.
    processes: Vec<u32>,
    /// Targets that somebody else started, by the numbers of who looks after them.
    others: Vec<u32>,
}

impl Needs {
    /// The run needs this one from now on.
    pub(crate) fn add(&self, id: u32) {
        self.list().processes.push(id);
    }

    /// The run needs a target of somebody else's, which this one looks after.
    pub(super) fn add_other(&self, number: u32) {
        self.list().others.push(number);
    }

    /// It does without this one from now on.
    pub(super) fn remove(&self, id: u32) {
        self.list().processes.retain(|known| *known != id);
    }

    /// Whether it needs it.
    pub(crate) fn contains(&self, id: u32) -> bool {
        self.list().processes.contains(&id)
    }

    /// Whether it needs the target that this one looks after.
    pub(super) fn contains_other(&self, number: u32) -> bool {
        self.list().others.contains(&number)
    }

    fn list(&self) -> MutexGuard<'_, Needed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The receiving end; owned by the main thread.
#[derive(Debug)]
pub(crate) struct Inbox {
    sender: Sender<Message>,
    receiver: Receiver<Message>,
    interrupts: u32,
}

impl Inbox {
    /// Has the signals of the process come here. Call once.
    ///
    /// A terminal that goes away (SIGHUP) interrupts, unless whoever started the runner had that ignored, as `nohup` does, or
    /// [`ignore_hangups`] has been called.
    ///
    /// # Errors
    /// The system refuses a handler, or a thread.
    pub(crate) fn install() -> anyhow::Result<Self> {
        let inbox = Self::without_signals();
        let sender = inbox.sender.clone();
        let mut wanted = vec![SIGINT, SIGTERM];
        if !hangups_are_ignored() {
            wanted.push(SIGHUP);
        }
        let mut signals = Signals::new(wanted).context("installing the signal handler")?;
        let hear = move || {
            for _ in &mut signals {
                // The receiver lives until the process ends; a failed send means that there is nothing left to stop.
                let _ = sender.send(Message::Interrupt);
            }
        };
        let thread = std::thread::Builder::new().name("signals".to_owned());
        thread.spawn(hear).context("listening to signals")?;
        Ok(inbox)
    }

    /// An inbox without a signal handler.
    pub(super) fn without_signals() -> Self {
        let (sender, receiver) = channel();
        Self {
            sender,
            receiver,
            interrupts: 0,
        }
    }

    /// A sender for the threads that watch processes.
    pub(super) fn sender(&self) -> Sender<Message> {
        self.sender.clone()
    }

    /// How many interrupts have been seen.
    pub(super) fn interrupts(&self) -> u32 {
        self.interrupts
    }

    /// The next message, or `None` at the deadline.
    pub(crate) fn next(&mut self, deadline: Instant) -> Option<Message> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.receiver.recv_timeout(left) {
            Ok(message) => {
                if message == Message::Interrupt {
                    self.interrupts += 1;
                }
                Some(message)
            }
            // `self` holds a sender, so the channel cannot be disconnected.
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => None,
        }
    }

    /// Waits for the pause; exits of processes that nobody waits for any more are passed over.
    ///
    /// # Errors
    /// [`Stop::Interrupted`] if a signal has arrived, now or earlier.
    pub(crate) fn pause(&mut self, pause: Duration) -> Result<(), Stop> {
        let deadline = Instant::now() + pause;
        while self.interrupts == 0 {
            if self.next(deadline).is_none() {
                return Ok(());
            }
        }
        Err(Stop::Interrupted)
    }

    /// Fails if a signal has arrived.
    ///
    /// # Errors
    /// [`Stop::Interrupted`].
    pub(crate) fn check(&mut self) -> Result<(), Stop> {
        self.pause(Duration::ZERO)
    }
}
