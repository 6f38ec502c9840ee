//! Signals and child exits in one queue, so that every wait can be interrupted and has a bound.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::values::exit::Stop;

/// Something the main thread waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message {
    /// SIGINT, SIGTERM or SIGHUP reached the runner.
    Interrupt,
    /// The watched process with this id has ended (and is not reaped yet).
    Exited(u32),
}

/// The receiving end; owned by the main thread.
#[derive(Debug)]
pub(crate) struct Inbox {
    sender: Sender<Message>,
    receiver: Receiver<Message>,
    interrupts: u32,
}

impl Inbox {
    /// Installs the signal handler of the process. Call once.
    ///
    /// # Errors
    /// A handler exists already, or the system refuses one.
    pub(crate) fn install() -> anyhow::Result<Self> {
        let inbox = Self::without_signals();
        let sender = inbox.sender.clone();
        ctrlc::set_handler(move || {
            // The receiver lives until the process ends; a failed send means that there is nothing left to stop.
            let _ = sender.send(Message::Interrupt);
        })
        .context("installing the signal handler")?;
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
