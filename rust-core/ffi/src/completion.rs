//! Completions: fixed frames through one pipe, and texts that the host fetches by token.

use std::collections::HashMap;
use std::sync::Arc;

use barrier_core::engine::{Emission, Sink};
use barrier_core::error::Error;
use barrier_core::ledger::Answered;
use barrier_core::protocol::Outcome;
use barrier_core::session::Done;

use crate::abi::{
    KBAR_FIRST, KBAR_FRAME_BROKEN, KBAR_FRAME_DONE, KBAR_FRAME_FORGOTTEN, KBAR_FRAME_LOG,
    KBAR_FRAME_OWED, KBAR_FRAME_RELEASE, KBAR_FRAME_RESOLVE, KBAR_OK, KBAR_OUTCOME_BROKEN,
    KBAR_SHARED, KbarFrame, error_text, outcome_code, status_of,
};
use crate::calls::{Calls, Refused};
use crate::pipe::Pipe;
use crate::system::{Mutex, WriteEnd};

/// Calls that may be under way at once.
pub(crate) const TOKENS_MAX: usize = 1 << 20;
/// Texts that nobody fetched; beyond it new ones are dropped.
const TEXTS_MAX: usize = 1 << 17;

/// What one engine tells its host.
pub(crate) struct Host {
    pipe: Arc<Pipe>,
    texts: Mutex<HashMap<u64, String>>,
    calls: Calls,
}

impl Host {
    /// Takes the write end of the host's pipe. At most so many calls may be under way at once.
    pub(crate) fn new(write_end: WriteEnd, calls_max: usize) -> Self {
        Self {
            pipe: Pipe::new(write_end),
            texts: Mutex::new(HashMap::new()),
            calls: Calls::at_most(calls_max),
        }
    }

    /// Calls under way, and texts that nobody has fetched.
    #[cfg(test)]
    pub(crate) fn owes(&self) -> (usize, usize) {
        (self.calls.len(), self.texts.lock().len())
    }

    /// Ends the pipe: what is not in it yet is lost.
    pub(crate) fn close(&self) {
        self.pipe.close();
    }

    /// A call of a barrier begins, whose completion is owed.
    pub(crate) fn begin(&self, token: u64, barrier: u64) -> Result<(), Refused> {
        self.calls.enter(token, barrier)
    }

    /// The call needs no completion after all; false where one is on its way, or the host does not want it any more.
    pub(crate) fn end(&self, token: u64) -> bool {
        self.calls.leave(token)
    }

    /// The host does not want to hear of the token any more. The handle of its barrier, where it is still under way.
    pub(crate) fn cancel(&self, token: u64) -> Option<u64> {
        let barrier = self.calls.take(token);
        if barrier.is_none() {
            // Its completion is on the way, which the host ignores, and nobody fetches the text of that.
            self.texts.lock().remove(&token);
        }
        barrier
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

    /// The frame where the host still wants it. A text is kept before it is known that nobody cancelled, so that whoever
    /// comes second of the two takes it away.
    fn wanted(&self, frame: KbarFrame) -> Option<KbarFrame> {
        if self.calls.leave(frame.token) {
            return Some(frame);
        }
        self.texts.lock().remove(&frame.token);
        None
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
        Done::OutcomeAt(answered, at) => {
            describe_outcome(frame, &answered);
            frame.time_us = u64::try_from(at).unwrap_or(0);
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
        let mut over = Vec::new();
        for item in news.drain(..) {
            let frame = match item {
                Emission::Done {
                    ticket,
                    result,
                    standing,
                } => {
                    let frame = self.frame(ticket.redeem(), result, standing.as_ref());
                    match self.wanted(frame) {
                        Some(frame) => frame,
                        None => continue,
                    }
                }
                Emission::Text { ticket, result } => {
                    let frame = self.text_frame(ticket.redeem(), result);
                    match self.wanted(frame) {
                        Some(frame) => frame,
                        None => continue,
                    }
                }
                Emission::Owed { token } => KbarFrame {
                    token,
                    kind: KBAR_FRAME_OWED,
                    ..KbarFrame::default()
                },
                Emission::Over(tickets) => {
                    over.extend(tickets);
                    continue;
                }
                Emission::Released {
                    barrier,
                    phase,
                    at,
                    on_crowded_host,
                } => KbarFrame {
                    token: barrier,
                    kind: KBAR_FRAME_RELEASE,
                    flags: if on_crowded_host { KBAR_SHARED } else { 0 },
                    phase: phase.0,
                    time_us: u64::try_from(at).unwrap_or(0),
                    ..KbarFrame::default()
                },
                Emission::Broken { barrier } => KbarFrame {
                    token: barrier,
                    kind: KBAR_FRAME_BROKEN,
                    ..KbarFrame::default()
                },
                Emission::Forgotten { barrier } => {
                    crate::forget_handle(barrier);
                    KbarFrame {
                        token: barrier,
                        kind: KBAR_FRAME_FORGOTTEN,
                        ..KbarFrame::default()
                    }
                }
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
        // They are woken by what was just sent.
        for ticket in over {
            self.calls.leave(ticket.redeem());
        }
    }
}
