//! The types and numbers of the ABI. A change of any of them is a change of [`KBAR_ABI_VERSION`].

use barrier_core::error::Error;
use barrier_core::protocol::Outcome;

/// Version of this ABI: compare with kbar_abi_version() before any other call.
pub const KBAR_ABI_VERSION: u32 = 2;

/// Done.
pub const KBAR_OK: i32 = 0;
/// Accepted: one completion with the call's token follows, or, for a call that waits, the news that ends it.
pub const KBAR_PENDING: i32 = 1;
/// The handle is closed, or never was one.
pub const KBAR_CLOSED: i32 = -1;
/// An argument is malformed: a null pointer, bad UTF-8, JSON that does not parse, an unknown number.
pub const KBAR_INVALID: i32 = -2;
/// Too many calls are under way.
pub const KBAR_BUSY: i32 = -3;
/// A bug in the core, caught.
pub const KBAR_PANIC: i32 = -4;
/// A bad option, or options that differ from those of another opener.
pub const KBAR_OPTION: i32 = -5;
/// The store did not answer or refused. With "pending":true in the text the outcome stands and is delivered later.
pub const KBAR_STORE: i32 = -6;
/// Two callers claim one participant, or the run id holds left-overs of an earlier run.
pub const KBAR_CONFLICT: i32 = -7;
/// The barrier is broken for everyone.
pub const KBAR_BROKEN: i32 = -8;
/// The phase was not released in time.
pub const KBAR_TIMEOUT: i32 = -9;
/// The call was cancelled.
pub const KBAR_CANCELLED: i32 = -10;
/// The buffer is too small; *needed says how large it must be.
pub const KBAR_BUFFER: i32 = -11;
/// A queue key holds a type that is not counted.
pub const KBAR_QUEUE_TYPE: i32 = -12;
/// There is nothing: no such release, no text, no line.
pub const KBAR_EMPTY: i32 = -13;

/// KbarRequest.kind: the participant arrives.
pub const KBAR_ARRIVE: u16 = 1;
/// KbarRequest.kind: the participant failed; the bytes behind it are the reason.
pub const KBAR_FAIL: u16 = 2;
/// KbarRequest.kind: the participant leaves.
pub const KBAR_LEAVE: u16 = 3;
/// KbarRequest.kind: a wait for .phase has expired. One last bounded look at the store, then what the option onTimeout
/// says. Completes with KBAR_OK (the phase is released: its frame was or will be sent), KBAR_BROKEN, KBAR_TIMEOUT, KBAR_STORE.
pub const KBAR_EXPIRE: u16 = 4;
/// KbarRequest.kind: break the barrier for everyone; the bytes are the message. Completes with KBAR_OK and the outcome
/// KBAR_OUTCOME_BROKEN, or KBAR_OUTCOME_NONE where a one-shot barrier was released before and nothing was done.
pub const KBAR_ABORT: u16 = 5;
/// KbarRequest.kind: release .phase by hand.
pub const KBAR_RELEASE_NOW: u16 = 6;
/// KbarRequest.kind: deliver what is owed, say goodbye to the store, and let go of the barrier in this process: whoever waits
/// there ends, and its handle names nothing any more. Completes with KBAR_OK, or KBAR_STORE where the store does not take it in
/// time and the barrier stays.
pub const KBAR_CLOSE: u16 = 7;
/// KbarRequest.kind: wait for .phase. KBAR_OK where the news of its end is told already, an error where nothing can end it any
/// more. Else KBAR_PENDING, and a completion only where .wait_us are over before that news: KBAR_TIMEOUT, or where the engine
/// ends: KBAR_CLOSED. The news is KBAR_FRAME_RELEASE of this or a later phase, KBAR_FRAME_BROKEN or KBAR_FRAME_FORGOTTEN.
/// With a participant, which has arrived in .phase, and a release that is spread, it ends as KBAR_AND_WAIT does.
pub const KBAR_WAIT: u16 = 8;
/// KbarRequest.kind: the participant runs from now on. A barrier whose parties are those who run waits for its outcome; any other
/// ignores it. KBAR_OK at once: the store is told in its own time.
pub const KBAR_BEGIN: u16 = 9;
/// KbarRequest.kind: the participant does not run any more. An outcome that it has stands. KBAR_OK at once.
pub const KBAR_END: u16 = 10;

/// KbarRequest.flags: the participant was given by the caller rather than derived from it.
pub const KBAR_EXPLICIT: u16 = 1;
/// KbarRequest.flags, of KBAR_ARRIVE: and waits for the release. KBAR_PENDING with the outcome KBAR_OUTCOME_ARRIVED: the
/// news of the release is for this call too (see KBAR_FRAME_OWED for the exception). A completion comes only where the
/// outcome is another one after all, or an error ends the call: KBAR_TIMEOUT after .wait_us, or, with an outcome, .store_us
/// later if the store has not even acknowledged the arrival, which stands. Where the release is spread, a completion with
/// .time_us comes before its news or after, and tells when the call goes on.
pub const KBAR_AND_WAIT: u16 = 2;
/// KbarRequest.flags: no completion is wanted. For barriers whose store is this process's memory, which answer at once, and
/// for calls that do not wait: others are refused.
pub const KBAR_AT_ONCE: u16 = 4;
/// KbarFrame.outcome: none.
pub const KBAR_OUTCOME_NONE: u8 = 0;
/// KbarFrame.outcome: arrived; .index counts from 1.
pub const KBAR_OUTCOME_ARRIVED: u8 = 1;
/// KbarFrame.outcome: failed. Where it stood before the call, the text is {"reason":...} and .index its length.
pub const KBAR_OUTCOME_FAILED: u8 = 2;
/// KbarFrame.outcome: left; .phase is the first one without the participant.
pub const KBAR_OUTCOME_LEFT: u8 = 3;
/// KbarFrame.outcome: came after the release of .phase.
pub const KBAR_OUTCOME_LATE: u8 = 4;
/// KbarFrame.outcome: the barrier is broken now, or was before.
pub const KBAR_OUTCOME_BROKEN: u8 = 5;

/// KbarFrame.kind: the call with .token ended.
pub const KBAR_FRAME_DONE: u16 = 1;
/// KbarFrame.kind: .phase and all before it of the barrier with handle .token are released now. One per phase, not per waiter;
/// it may overtake the completion of the arrival that caused it.
pub const KBAR_FRAME_RELEASE: u16 = 2;
/// KbarFrame.kind: the barrier with handle .token is broken for good; comes after the releases decided before.
pub const KBAR_FRAME_BROKEN: u16 = 3;
/// KbarFrame.kind: lines wait for kbar_next_log.
pub const KBAR_FRAME_LOG: u16 = 4;
/// KbarFrame.kind: what address does a host stand for? kbar_take_text gives `host:port` (an IPv6 address in brackets) by
/// .token, which has the top bit set; kbar_resolved takes the answer. Only where kbar_start was told "hostResolves".
pub const KBAR_FRAME_RESOLVE: u16 = 5;
/// KbarFrame.kind: the process has forgotten the barrier with handle .token, or let go of it: the handle names nothing any more.
/// Nothing of the barrier comes after it. Whoever opens it again gets another handle.
pub const KBAR_FRAME_FORGOTTEN: u16 = 6;
/// KbarFrame.kind: the KBAR_FRAME_RELEASE that follows is that of the phase in which the call with .token waits, but the
/// store has not acknowledged its arrival: its own completion comes later.
pub const KBAR_FRAME_OWED: u16 = 7;

/// KbarFrame.flags: this call made the outcome; count it. Unset: a repeat found it.
pub const KBAR_FIRST: u8 = 1;
/// KbarFrame.flags, of KBAR_FRAME_RELEASE: other processes on this host let their users go at the same instant.
pub const KBAR_SHARED: u8 = 2;
/// KbarFrame.flags, of the answer KBAR_PENDING to KBAR_AND_WAIT: the store has acknowledged the arrival.
pub const KBAR_ACKNOWLEDGED: u8 = 4;

/// What kbar_arrivals says of a call with KBAR_AND_WAIT: the store has not answered yet.
pub const KBAR_ARRIVAL_OWED: u8 = 0;
/// What kbar_arrivals says: it is acknowledged, and the call waits.
pub const KBAR_ARRIVAL_ACKNOWLEDGED: u8 = 1;
/// What kbar_arrivals says: the call does not wait any more. A frame that says why is on its way or was read.
pub const KBAR_ARRIVAL_OVER: u8 = 2;

/// One completion: 32 bytes in the host's byte order.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KbarFrame {
    /// The token of the call (of KBAR_FRAME_OWED too), or of the question of KBAR_FRAME_RESOLVE; of KBAR_FRAME_RELEASE,
    /// KBAR_FRAME_BROKEN and KBAR_FRAME_FORGOTTEN the barrier's handle; of KBAR_FRAME_LOG 0.
    pub token: u64,
    /// KBAR_FRAME_*.
    pub kind: u16,
    /// KBAR_OUTCOME_*.
    pub outcome: u8,
    /// KBAR_FIRST, KBAR_SHARED, KBAR_ACKNOWLEDGED.
    pub flags: u8,
    /// KBAR_OK or an error, whose text kbar_take_text gives.
    pub status: i32,
    /// Phase of the outcome, of the release, or the one open when the barrier was opened.
    pub phase: u32,
    /// Arrival index (0 where the arrival is promised, or was acknowledged without a frame), or length of the text that
    /// kbar_take_text gives.
    pub index: u32,
    /// Of KBAR_FRAME_RELEASE: the release's instant in microseconds since the epoch, on this process's clock. The same of a call
    /// that waits with an arrival whose release is spread: its own instant, which may lie ahead and is the host's to wait for.
    pub time_us: u64,
}

/// One call of kbar_submit: 48 bytes without a pointer.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KbarRequest {
    /// The barrier's handle.
    pub barrier: u64,
    /// The caller's number for the call: never 0 nor with the top bit set, and never one that was given before. (An answer to
    /// a cancelled call may still be on its way.)
    pub token: u64,
    /// Who makes the call (the VU's id), so that two callers that share a participant are found out.
    pub owner: u64,
    /// How many of the bytes are the participant's id; the rest is the reason or the message.
    pub participant_len: u32,
    /// Of KBAR_EXPIRE, KBAR_RELEASE_NOW and KBAR_WAIT.
    pub phase: u32,
    /// KBAR_ARRIVE to KBAR_END.
    pub kind: u16,
    /// KBAR_EXPLICIT, KBAR_AND_WAIT, KBAR_AT_ONCE.
    pub flags: u16,
    /// Of KBAR_AND_WAIT: for how many microseconds after .wait_us the store may still acknowledge the arrival.
    pub store_us: u32,
    /// Of KBAR_AND_WAIT and KBAR_WAIT: for how many microseconds the call waits.
    pub wait_us: u64,
}

impl KbarFrame {
    pub(crate) fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[0..8].copy_from_slice(&self.token.to_ne_bytes());
        bytes[8..10].copy_from_slice(&self.kind.to_ne_bytes());
        bytes[10] = self.outcome;
        bytes[11] = self.flags;
        bytes[12..16].copy_from_slice(&self.status.to_ne_bytes());
        bytes[16..20].copy_from_slice(&self.phase.to_ne_bytes());
        bytes[20..24].copy_from_slice(&self.index.to_ne_bytes());
        bytes[24..32].copy_from_slice(&self.time_us.to_ne_bytes());
        bytes
    }
}

pub(crate) const fn outcome_code(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::Arrived => KBAR_OUTCOME_ARRIVED,
        Outcome::Failed(_) => KBAR_OUTCOME_FAILED,
        Outcome::Left => KBAR_OUTCOME_LEFT,
        Outcome::Late => KBAR_OUTCOME_LATE,
    }
}

pub(crate) const fn status_of(error: &Error) -> i32 {
    match error {
        Error::Option(_) => KBAR_OPTION,
        Error::Conflict(_) => KBAR_CONFLICT,
        Error::Broken(_) => KBAR_BROKEN,
        Error::Timeout(_) => KBAR_TIMEOUT,
        Error::QueueType { .. } => KBAR_QUEUE_TYPE,
        Error::Closed | Error::Gone => KBAR_CLOSED,
        Error::Busy(_) => KBAR_BUSY,
        Error::Bug(_) => KBAR_PANIC,
        // The enum may grow; a new kind is the store's until it has a number of its own.
        _ => KBAR_STORE,
    }
}

/// The text that goes with an error: JSON with `message` and what else the error knows.
pub(crate) fn error_text(error: &Error) -> String {
    let message = error.to_string();
    let json = match error {
        Error::Option(e) => serde_json::json!({
            "message": message, "option": e.option, "got": e.got, "allowed": e.allowed,
        }),
        Error::Store { pending, .. } => {
            serde_json::json!({ "message": message, "pending": pending })
        }
        Error::QueueType { key, kind } => {
            serde_json::json!({ "message": message, "key": key, "type": kind })
        }
        _ => serde_json::json!({ "message": message }),
    };
    json.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::{offset_of, size_of};

    /// Go and C read these by offset: a change here is a change of `KBAR_ABI_VERSION`, of the committed header and of
    /// `xk6-barrier/internal/core/reader.go`.
    #[test]
    fn the_layout_is_that_of_version_2() {
        assert_eq!(size_of::<KbarFrame>(), 32);
        assert_eq!(offset_of!(KbarFrame, token), 0);
        assert_eq!(offset_of!(KbarFrame, kind), 8);
        assert_eq!(offset_of!(KbarFrame, outcome), 10);
        assert_eq!(offset_of!(KbarFrame, flags), 11);
        assert_eq!(offset_of!(KbarFrame, status), 12);
        assert_eq!(offset_of!(KbarFrame, phase), 16);
        assert_eq!(offset_of!(KbarFrame, index), 20);
        assert_eq!(offset_of!(KbarFrame, time_us), 24);
        assert_eq!(size_of::<KbarRequest>(), 48);
        assert_eq!(offset_of!(KbarRequest, participant_len), 24);
        assert_eq!(offset_of!(KbarRequest, phase), 28);
        assert_eq!(offset_of!(KbarRequest, kind), 32);
        assert_eq!(offset_of!(KbarRequest, flags), 34);
        assert_eq!(offset_of!(KbarRequest, store_us), 36);
        assert_eq!(offset_of!(KbarRequest, wait_us), 40);
    }

    #[test]
    fn a_frames_bytes_are_its_memory() {
        let frame = KbarFrame {
            token: 1,
            kind: 2,
            outcome: 3,
            flags: 4,
            status: -5,
            phase: 6,
            index: 7,
            time_us: 8,
        };
        let bytes = frame.to_bytes();
        assert_eq!(bytes[0..8], 1u64.to_ne_bytes());
        assert_eq!(bytes[10..12], [3, 4]);
        assert_eq!(bytes[12..16], (-5i32).to_ne_bytes());
        assert_eq!(bytes[24..32], 8u64.to_ne_bytes());
    }
}
