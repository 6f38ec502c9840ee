//! Looking after a target that somebody else has started, while a run is under way: the system tells of the end of our own programs
//! alone.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::run::inbox::{Inbox, Message};
use crate::run::probe::{Question, Unwell};
use crate::suite::target::Ready;

/// How often it is asked, and for how long nobody may be there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spans {
    every: Duration,
    gone: Duration,
}

impl Spans {
    /// Those of a target, if it is to be looked after.
    pub(super) fn of(ready: &Ready) -> Option<Self> {
        let every = ready.every;
        ready.gone.map(|gone| Self { every, gone })
    }
}

/// Somebody who looks after a target. Dropped, nobody does.
#[derive(Debug)]
pub(super) struct Lookout {
    number: u32,
    /// Its end ends the thread, after the question that it may be asking.
    _end: Sender<()>,
}

impl Lookout {
    /// Asks from now on, on a thread of its own. The inbox hears [`Message::Gone`] once.
    ///
    /// # Errors
    /// There is no thread.
    pub(super) fn begin(question: Question, spans: Spans, inbox: &Inbox) -> anyhow::Result<Self> {
        // One of an earlier run may still say something: by its number it is nobody's concern.
        static NUMBERS: AtomicU32 = AtomicU32::new(0);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let (end, ended) = channel();
        let sender = inbox.sender();
        let look = move || {
            let mut absence = Absence::default();
            while ended.recv_timeout(spans.every) == Err(RecvTimeoutError::Timeout) {
                let answer = question.ask();
                if absence.lasts(&answer, Instant::now()) >= Some(spans.gone) {
                    let _ = sender.send(Message::Gone(number));
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("lookout".to_owned());
        thread
            .spawn(look)
            .context("a thread that looks after a target")?;
        Ok(Self { number, _end: end })
    }

    /// By what the inbox hears of it.
    pub(super) fn number(&self) -> u32 {
        self.number
    }
}

/// Since when nobody has been there.
#[derive(Debug, Default)]
struct Absence(Option<Instant>);

impl Absence {
    /// For how long it has lasted by now; `None` where somebody is there. Who answers wrongly or late is: that is for gates to judge, and
    /// the run goes on.
    fn lasts(&mut self, answer: &Result<(), Unwell>, now: Instant) -> Option<Duration> {
        match answer {
            Err(unwell) if !unwell.there => Some(now - *self.0.get_or_insert(now)),
            _ => {
                self.0 = None;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_away_for_a_while_and_who_answers_late_are_not_gone() {
        let began = Instant::now();
        let gone = || Err(Unwell::gone("refused".to_owned()));
        let late = || {
            Err(Unwell {
                text: "timeout".to_owned(),
                there: true,
            })
        };
        let mut absence = Absence::default();
        let mut seen = |answer: Result<(), Unwell>, s: u64| {
            let lasts = absence.lasts(&answer, began + Duration::from_secs(s));
            lasts.map(|time| time.as_secs())
        };
        assert_eq!(seen(Ok(()), 1), None);
        assert_eq!(seen(gone(), 2), Some(0));
        assert_eq!(seen(gone(), 9), Some(7));
        assert_eq!(seen(Ok(()), 10), None, "it was started again");
        assert_eq!(seen(gone(), 11), Some(0));
        assert_eq!(seen(late(), 20), None, "it is there");
        assert_eq!(seen(gone(), 21), Some(0));
        assert_eq!(seen(gone(), 36), Some(15));
    }
}
