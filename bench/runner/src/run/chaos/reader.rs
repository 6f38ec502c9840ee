//! Who looks whether a service answers while a fault is there: one reader, on a thread of its own.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::suite::chaos::{After, ExpectTable};
use crate::verdict::chaos::Expected;

/// A reader that looks.
#[derive(Debug)]
pub(super) struct Reader {
    /// Says from which instant on an answer comes too late to count.
    end: Sender<Instant>,
    thread: JoinHandle<Expected>,
}

/// What a reader asks.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) url: String,
    pub(super) status: u16,
    pub(super) every: Duration,
    pub(super) timeout: Duration,
    pub(super) first_after: After,
}

impl Question {
    /// That of an expectation.
    pub(super) fn of(table: &ExpectTable, url: String) -> Self {
        Self {
            url,
            status: table.status,
            every: table.every,
            timeout: table.timeout,
            first_after: table.first_after,
        }
    }

    /// Whether the answer is the right one. Each request has a connection of its own: one that is kept may end at a process that is no
    /// more, and tell nothing about who would answer now.
    fn ask(&self) -> bool {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(self.timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_idle_connections(0)
            .proxy(None)
            .build();
        let answer = ureq::Agent::from(config).get(&self.url).call();
        answer.is_ok_and(|answer| answer.status().as_u16() == self.status)
    }
}

impl Reader {
    /// Begins to look; everything is reckoned from now.
    ///
    /// # Errors
    /// There is no thread.
    pub(super) fn begin(question: Question) -> anyhow::Result<Self> {
        let since = Instant::now();
        let (end, ended) = channel();
        let thread = Builder::new()
            .name("chaos".to_owned())
            .spawn(move || look(&question, since, &ended))
            .context("a thread that looks who answers")?;
        Ok(Self { end, thread })
    }

    /// What answers until now count; those that are under way do not.
    pub(super) fn end(&self) {
        let _ = self.end.send(Instant::now());
    }

    /// What was seen.
    pub(super) fn seen(self) -> Expected {
        self.end();
        self.thread.join().unwrap_or_default()
    }
}

fn look(question: &Question, since: Instant, ended: &Receiver<Instant>) -> Expected {
    let ms = |at: Instant| at.duration_since(since).as_secs_f64() * 1000.0;
    let mut seen = Expected {
        first_after: question.first_after,
        ..Expected::default()
    };
    loop {
        let next = Instant::now() + question.every;
        let good = question.ask();
        let at = Instant::now();
        let end = ended.try_recv().ok();
        if end.is_some_and(|end| end < at) {
            break;
        }
        seen.asked += 1;
        if good {
            seen.first_good_ms = seen.first_good_ms.or(Some(ms(at)));
        } else {
            seen.bad += 1;
            seen.last_bad_ms = Some(ms(at));
        }
        if end.is_some() {
            break;
        }
        let pause = next.saturating_duration_since(Instant::now());
        match ended.recv_timeout(pause) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(_) | Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    // Where nobody failed to answer, it was steady from the first instant on.
    if seen.asked > 0 {
        seen.last_bad_ms = seen.last_bad_ms.or(Some(0.0));
    }
    seen
}
