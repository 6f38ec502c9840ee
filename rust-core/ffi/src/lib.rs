//! The C ABI of the core: exports only. Each is a guarded shell over a function that returns a status.
//!
//! The contract on one page is the generated `include/barrier.h`. Rules: every export is safe to call from any thread;
//! none blocks but [`kbar_close`]; nothing is kept of the caller's memory after a call; no panic crosses.

mod abi;
mod arrivals;
mod calls;
mod completion;
#[cfg(test)]
mod completion_tests;
mod group;
mod guard;
mod handle;
mod memory;
mod pipe;
mod query;
mod signals;
mod system;

use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use barrier_core::engine::{
    Barrier, Call, Engine, Group, Limit, Operator, QueueCounter, Submitted,
};
use barrier_core::error::{Error, OptionError};
use barrier_core::ids::{Participant, Phase, Reason};
use barrier_core::ledger::Report;
use barrier_core::options::{BarrierOptions, StoreAddress};
use libc::{c_char, c_int};
use serde::Deserialize;

pub use abi::*;
pub use arrivals::kbar_arrivals;
use calls::Refused;
use completion::{Host, TOKENS_MAX};
pub use group::{kbar_check_group, kbar_open_group};
use guard::{guard, take_message};
use handle::Handles;
use memory::{bytes, copy_out, put};
pub use query::{kbar_open_counter, kbar_open_operator, kbar_query};
use system::WriteEnd;

#[derive(Clone)]
enum Object {
    Engine(Arc<Engine>),
    Barrier(Arc<Barrier>),
    Counter(Arc<QueueCounter>),
    Operator(Arc<Operator>),
    Group(Arc<Group>),
}

/// An object and the host that its completions go to.
#[derive(Clone)]
struct Entry {
    host: Arc<Host>,
    object: Object,
}

static HANDLES: Handles<Entry> = Handles::new();

/// The handle names nothing any more.
fn forget_handle(handle: u64) {
    HANDLES.take(handle);
}

fn engine(handle: u64) -> Option<(Arc<Host>, Arc<Engine>)> {
    match HANDLES.get(handle)? {
        Entry {
            host,
            object: Object::Engine(engine),
        } => Some((host, engine)),
        _ => None,
    }
}

fn barrier(handle: u64) -> Option<(Arc<Host>, Arc<Barrier>)> {
    match HANDLES.get(handle)? {
        Entry {
            host,
            object: Object::Barrier(barrier),
        } => Some((host, barrier)),
        _ => None,
    }
}

/// Keeps the error's text under the token and gives its status.
fn fail(host: &Host, token: u64, error: &Error) -> i32 {
    host.keep_text(token, error_text(error));
    status_of(error)
}

fn invalid(host: &Host, token: u64, message: &str) -> i32 {
    host.keep_text(token, serde_json::json!({ "message": message }).to_string());
    KBAR_INVALID
}

fn refuse(host: &Host, token: u64, refused: &Refused) -> i32 {
    match refused {
        Refused::TooMany => fail(host, token, &Error::Busy(TOKENS_MAX)),
        // Its text would be taken for that of the other one.
        Refused::Twice => KBAR_INVALID,
    }
}

/// Version of the ABI that this library speaks.
///
/// Threads: any. Blocks: no. Ownership: none.
#[unsafe(no_mangle)]
pub extern "C" fn kbar_abi_version() -> u32 {
    KBAR_ABI_VERSION
}

/// Hash of all that this library was built from, as text that ends in a zero byte.
///
/// Threads: any. Blocks: no. Ownership: static, never freed.
#[unsafe(no_mangle)]
pub extern "C" fn kbar_build_id() -> *const c_char {
    concat!(env!("KBAR_BUILD_ID"), "\0").as_ptr().cast()
}

/// Checks the options of a barrier: KBAR_OK, or KBAR_OPTION with {"option","got","allowed","message"} in the buffer.
///
/// Threads: any. Blocks: no. Ownership: the caller keeps all memory.
///
/// # Safety
/// `json` is readable for `len` bytes, `buffer` writable for `capacity`, `needed` writable; each may be null where it is empty.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kbar_check_options(
    json: *const u8,
    len: usize,
    buffer: *mut u8,
    capacity: usize,
    needed: *mut usize,
) -> i32 {
    let check = barrier_core::engine::check_options;
    // SAFETY: the caller's contract is that of `check`.
    guard(|| unsafe { self::check(json, len, buffer, capacity, needed, check) })
}

/// # Safety
/// `json` is readable for `len` bytes, `buffer` writable for `capacity`, `needed` writable; each may be null where it is empty.
unsafe fn check(
    json: *const u8,
    len: usize,
    buffer: *mut u8,
    capacity: usize,
    needed: *mut usize,
    check: fn(&[u8]) -> Result<(), OptionError>,
) -> i32 {
    // SAFETY: the caller's contract is that of `bytes`.
    let Some(json) = (unsafe { bytes(json, len) }) else {
        return KBAR_INVALID;
    };
    match check(json) {
        // SAFETY: the caller's contract is that of `copy_out`.
        Ok(()) => unsafe { copy_out("", buffer, capacity, needed) },
        Err(error) => {
            let text = error_text(&error.into());
            // SAFETY: as above.
            match unsafe { copy_out(&text, buffer, capacity, needed) } {
                KBAR_OK => KBAR_OPTION,
                other => other,
            }
        }
    }
}

/// Starts an engine: one per process is enough. Completions go to the pipe with the write end `write_fd`. Options:
/// {"hostResolves"?}; where true, the addresses of Redis servers are asked of the host by KBAR_FRAME_RESOLVE.
///
/// Threads: any. Blocks: no. Ownership: `write_fd` is the core's from now on, also where the call fails.
///
/// # Safety
/// `json` (at least `{}`) is readable for `len` bytes, `handle` writable, and `write_fd` an open descriptor that nobody else closes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kbar_start(
    json: *const u8,
    len: usize,
    write_fd: c_int,
    handle: *mut u64,
) -> i32 {
    guard(|| {
        if write_fd < 0 {
            return KBAR_INVALID;
        }
        // SAFETY: open and handed over, by the caller's contract.
        let write_end = unsafe { OwnedFd::from_raw_fd(write_fd) };
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct EngineOptions {
            #[serde(default)]
            host_resolves: bool,
        }
        // SAFETY: the caller's contract is that of `bytes`.
        let options = unsafe { bytes(json, len) };
        let Some(options) =
            options.and_then(|json| serde_json::from_slice::<EngineOptions>(json).ok())
        else {
            return KBAR_INVALID;
        };
        let Ok(write_end) = WriteEnd::new(write_end) else {
            return KBAR_INVALID;
        };
        let host = Arc::new(Host::new(write_end, TOKENS_MAX));
        let engine = Arc::new(Engine::with_host(
            Arc::clone(&host) as _,
            options.host_resolves,
            signals::block_sigpipe,
        ));
        let entry = Entry {
            host,
            object: Object::Engine(engine),
        };
        // SAFETY: `handle` is writable by the caller's contract.
        if unsafe { put(handle, HANDLES.insert(entry)) } {
            KBAR_OK
        } else {
            KBAR_INVALID
        }
    })
}

/// Delivers what is owed, says goodbye to the stores and ends the engine, its barriers and counters, by the deadline.
/// A second call answers KBAR_CLOSED and does nothing.
///
/// Threads: any. Blocks: up to `deadline_ms`. Ownership: closes the pipe's write end.
#[unsafe(no_mangle)]
pub extern "C" fn kbar_close(engine: u64, deadline_ms: u32) -> i32 {
    guard(|| {
        let Some((host, engine)) = self::engine(engine) else {
            return KBAR_CLOSED;
        };
        let of_this = |entry: &Entry| Arc::ptr_eq(&entry.host, &host);
        let removed = HANDLES.remove(of_this);
        if removed.is_empty() {
            return KBAR_CLOSED; // another thread was faster
        }
        engine.close(Duration::from_millis(deadline_ms.into()));
        host.close();
        KBAR_OK
    })
}

/// Opens a barrier, or finds the one that this process has. Its handle is in `*handle` at once; the completion says when
/// it is open, and which phase was open then.
///
/// Threads: any. Blocks: no. Ownership: the caller keeps all memory.
///
/// # Safety
/// `json` is readable for `len` bytes, `handle` writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kbar_open(
    engine: u64,
    token: u64,
    json: *const u8,
    len: usize,
    handle: *mut u64,
) -> i32 {
    guard(|| {
        let Some((host, engine)) = self::engine(engine) else {
            return KBAR_CLOSED;
        };
        // SAFETY: the caller's contract is that of `bytes`.
        let Some(json) = (unsafe { bytes(json, len) }) else {
            return invalid(&host, token, "the options are a null pointer");
        };
        let barrier = match BarrierOptions::from_json(json)
            .map_err(Error::from)
            .and_then(|options| engine.barrier(options))
        {
            Ok(barrier) => barrier,
            Err(error) => return fail(&host, token, &error),
        };
        let key = barrier.handle_or_init(|| {
            HANDLES.insert(Entry {
                host: Arc::clone(&host),
                object: Object::Barrier(Arc::clone(&barrier)),
            })
        });
        // SAFETY: `handle` is writable by the caller's contract.
        if !unsafe { put(handle, key) } {
            return invalid(&host, token, "the place for the handle is a null pointer");
        }
        if let Err(refused) = host.begin(token, key) {
            return refuse(&host, token, &refused);
        }
        match barrier.open(token) {
            Submitted::Pending(_) | Submitted::Waits(_) => KBAR_PENDING,
            Submitted::Done(result) => {
                // The answer goes through the pipe all the same: one way for callers to wait.
                let mut news = vec![barrier_core::engine::Emission::Done {
                    ticket: token.into(),
                    result,
                    standing: None,
                }];
                barrier_core::engine::Sink::emit(&*host, &mut news);
                KBAR_PENDING
            }
        }
    })
}

/// The hot call: a participant's outcome, an expired wait, an abort. KBAR_OK with `*out` filled where the answer is known
/// at once, KBAR_PENDING (with what the process holds until then in `*out`), or an error whose text is under the token.
///
/// Threads: any. Blocks: no. Ownership: the caller keeps all memory.
///
/// # Safety
/// `request` is readable, `text` readable for `len` bytes, `out` writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kbar_submit(
    request: *const KbarRequest,
    text: *const u8,
    len: usize,
    out: *mut KbarFrame,
) -> i32 {
    let mut frame = KbarFrame::default();
    let mut status = guard(|| {
        if request.is_null() {
            return KBAR_INVALID;
        }
        // SAFETY: not null and readable by the caller's contract; the type is plain data.
        let request = unsafe { request.read() };
        // SAFETY: the caller's contract is that of `bytes`.
        let text = unsafe { bytes(text, len) };
        submit(&request, text, &mut frame)
    });
    frame.status = status;
    // SAFETY: `out` is writable by the caller's contract.
    if !unsafe { put(out, frame) } && status >= KBAR_OK {
        status = KBAR_INVALID;
    }
    status
}

fn submit(request: &KbarRequest, text: Option<&[u8]>, out: &mut KbarFrame) -> i32 {
    let Some((host, barrier)) = barrier(request.barrier) else {
        return KBAR_CLOSED;
    };
    let token = request.token;
    out.token = token;
    let call = match parse(request, text) {
        Ok(call) => call,
        Err(Parse::Option(error)) => return fail(&host, token, &error.into()),
        Err(Parse::Invalid(message)) => return invalid(&host, token, message),
    };
    let completes = request.flags & KBAR_AT_ONCE == 0;
    let is_here = matches!(barrier.options().store, StoreAddress::Memory);
    if !completes && (!is_here || matches!(call, Call::ArriveAndWait { .. } | Call::Wait(..))) {
        let message = "only a store in memory answers at once, and not to a call that waits";
        return invalid(&host, token, message);
    }
    if completes && let Err(refused) = host.begin(token, request.barrier) {
        return refuse(&host, token, &refused);
    }
    match barrier.submit(call, token) {
        // After a panic the completion may be on its way, and one is enough.
        Submitted::Done(_) if completes && !host.end(token) => KBAR_PENDING,
        Submitted::Done(result) => {
            *out = host.frame(token, result, None);
            out.status
        }
        Submitted::Pending(standing) => {
            if let Some(standing) = &standing {
                *out = Host::peek(token, standing);
            }
            KBAR_PENDING
        }
        Submitted::Waits(standing) => {
            *out = Host::peek(token, &standing);
            out.flags |= KBAR_ACKNOWLEDGED;
            KBAR_PENDING
        }
    }
}

/// A year: longer than any test lasts, and within what the queue of deadlines takes, which is two.
const LONGEST_WAIT_US: u64 = 365 * 24 * 3600 * 1_000_000;

enum Parse {
    Option(OptionError),
    Invalid(&'static str),
}

fn parse(request: &KbarRequest, text: Option<&[u8]>) -> Result<Call, Parse> {
    let text = text.ok_or(Parse::Invalid("the text is a null pointer"))?;
    if request.token == 0 {
        return Err(Parse::Invalid("the token is 0"));
    }
    let split = usize::try_from(request.participant_len)
        .ok()
        .filter(|at| *at <= text.len())
        .ok_or(Parse::Invalid("the participant is longer than the text"))?;
    let utf8 =
        |bytes| std::str::from_utf8(bytes).map_err(|_| Parse::Invalid("the text is not UTF-8"));
    let (participant, rest) = text.split_at(split);
    let (participant, rest) = (utf8(participant)?, utf8(rest)?);
    let limit = Limit {
        wait: Duration::from_micros(request.wait_us.min(LONGEST_WAIT_US)),
        store: Duration::from_micros(request.store_us.into()),
    };
    let explicit = request.flags & KBAR_EXPLICIT != 0;
    let report = match request.kind {
        KBAR_WAIT => {
            let own = (!participant.is_empty()).then(|| Participant::new(participant));
            let own = own.transpose().map_err(Parse::Option)?;
            return Ok(Call::Wait(Phase(request.phase), own, limit));
        }
        KBAR_ARRIVE if request.flags & KBAR_AND_WAIT != 0 => {
            return Ok(Call::ArriveAndWait {
                participant: Participant::new(participant).map_err(Parse::Option)?,
                owner: request.owner,
                explicit,
                limit,
            });
        }
        KBAR_ARRIVE => Report::Arrive {
            owner: request.owner,
        },
        KBAR_FAIL => Report::Fail(Reason::new("reason", rest).map_err(Parse::Option)?),
        KBAR_LEAVE => Report::Leave,
        KBAR_BEGIN | KBAR_END => {
            let participant = Participant::new(participant).map_err(Parse::Option)?;
            return Ok(Call::Runs(participant, request.kind == KBAR_BEGIN));
        }
        KBAR_EXPIRE => return Ok(Call::Expire(Phase(request.phase))),
        KBAR_RELEASE_NOW => return Ok(Call::ReleaseNow(Phase(request.phase))),
        KBAR_ABORT => return Ok(Call::Abort(rest.to_owned())),
        KBAR_CLOSE => return Ok(Call::Close),
        _ => return Err(Parse::Invalid("the kind of the request is unknown")),
    };
    Ok(Call::Report {
        participant: Participant::new(participant).map_err(Parse::Option)?,
        report,
        explicit,
    })
}

/// Answers a KBAR_FRAME_RESOLVE with its token: {"addr":"ip:port"}, or {"error":"why"} where there is none. An answer that
/// nobody waits for any more is ignored.
///
/// Threads: any. Blocks: no. Ownership: the caller keeps all memory.
///
/// # Safety
/// `json` is readable for `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kbar_resolved(
    engine: u64,
    token: u64,
    json: *const u8,
    len: usize,
) -> i32 {
    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase", deny_unknown_fields)]
    enum Resolved {
        Addr(std::net::SocketAddr),
        Error(String),
    }
    guard(|| {
        let Some((_, engine)) = self::engine(engine) else {
            return KBAR_CLOSED;
        };
        // SAFETY: the caller's contract is that of `bytes`.
        let json = unsafe { bytes(json, len) };
        let answer = match json.map(serde_json::from_slice::<Resolved>) {
            Some(Ok(Resolved::Addr(addr))) => Ok(addr),
            Some(Ok(Resolved::Error(why))) => Err(why),
            None | Some(Err(_)) => return KBAR_INVALID,
        };
        engine.resolved(token, answer);
        KBAR_OK
    })
}

/// The caller does not wait for the token any more, at a gate neither; its completion is dropped. What it reported stands.
///
/// Threads: any. Blocks: no. Ownership: none.
#[unsafe(no_mangle)]
pub extern "C" fn kbar_cancel(engine: u64, token: u64) -> i32 {
    guard(|| match self::engine(engine) {
        Some((host, _)) => {
            if let Some((_, barrier)) = host.cancel(token).and_then(self::barrier) {
                barrier.cancel(token);
            }
            KBAR_OK
        }
        None => KBAR_CLOSED,
    })
}

/// What the process knows of a barrier, without asking the store, as JSON.
///
/// Threads: any. Blocks: no. Ownership: the caller keeps all memory.
///
/// # Safety
/// `buffer` is writable for `capacity` bytes, `needed` writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kbar_status(
    barrier: u64,
    buffer: *mut u8,
    capacity: usize,
    needed: *mut usize,
) -> i32 {
    guard(|| {
        let Some((_, barrier)) = self::barrier(barrier) else {
            return KBAR_CLOSED;
        };
        let text = serde_json::to_string(&barrier.status()).unwrap_or_default();
        // SAFETY: the caller's contract is that of `copy_out`.
        unsafe { copy_out(&text, buffer, capacity, needed) }
    })
}

/// How a phase was released, as JSON; KBAR_EMPTY until its instant has come, or its users have been told theirs.
///
/// Threads: any. Blocks: no. Ownership: the caller keeps all memory.
///
/// # Safety
/// `buffer` is writable for `capacity` bytes, `needed` writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kbar_release_info(
    barrier: u64,
    phase: u32,
    buffer: *mut u8,
    capacity: usize,
    needed: *mut usize,
) -> i32 {
    guard(|| {
        let Some((_, barrier)) = self::barrier(barrier) else {
            return KBAR_CLOSED;
        };
        let Some(info) = barrier.release_info(Phase(phase)) else {
            return KBAR_EMPTY;
        };
        let text = serde_json::to_string(&info).unwrap_or_default();
        // SAFETY: the caller's contract is that of `copy_out`.
        unsafe { copy_out(&text, buffer, capacity, needed) }
    })
}

/// The text that belongs to a token: of an error, of an answer. It is gone once it was copied. After KBAR_PANIC token 0
/// gives what the calling thread's last panic said.
///
/// Threads: any. Blocks: no. Ownership: the caller keeps all memory.
///
/// # Safety
/// `buffer` is writable for `capacity` bytes, `needed` writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kbar_take_text(
    engine: u64,
    token: u64,
    buffer: *mut u8,
    capacity: usize,
    needed: *mut usize,
) -> i32 {
    guard(|| {
        let Some((host, _)) = self::engine(engine) else {
            return KBAR_CLOSED;
        };
        // SAFETY: the caller's contract is that of `copy_out`.
        let copy = |text: &str| unsafe { copy_out(text, buffer, capacity, needed) };
        if token == 0 {
            return take_message().map_or(KBAR_EMPTY, |message| copy(&message));
        }
        host.take_text(token, copy).unwrap_or(KBAR_EMPTY)
    })
}

/// The oldest line that nobody has read, as JSON {"level","message"}; KBAR_EMPTY when there is none.
///
/// Threads: any. Blocks: no. Ownership: the caller keeps all memory.
///
/// # Safety
/// `buffer` is writable for `capacity` bytes, `needed` writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kbar_next_log(
    engine: u64,
    buffer: *mut u8,
    capacity: usize,
    needed: *mut usize,
) -> i32 {
    guard(|| {
        let Some((_, engine)) = self::engine(engine) else {
            return KBAR_CLOSED;
        };
        let mut status = KBAR_EMPTY;
        engine.log().next(|line| {
            let text = serde_json::to_string(line).unwrap_or_default();
            // SAFETY: the caller's contract is that of `copy_out`.
            status = unsafe { copy_out(&text, buffer, capacity, needed) };
            status != KBAR_OK
        });
        status
    })
}
