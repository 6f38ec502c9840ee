//! Objects that are only asked: queue counters and operators. And all rare questions.

use std::sync::Arc;

use barrier_core::engine::{
    CounterOptions, Emission, Engine, OperatorOptions, OperatorQuestion, Sink,
};
use barrier_core::error::{Error, OptionError};
use serde::Deserialize;

use crate::abi::*;
use crate::completion::Host;
use crate::guard::guard;
use crate::memory::{bytes, copy_out, put};
use crate::{Entry, HANDLES, Object, invalid, refuse};

/// Makes a queue counter; it connects at its first question. Options: {"redis","keys","tls"?,"connectTimeoutMs"?,"opTimeoutMs"?}.
///
/// Threads: any. Blocks: no. Ownership: the caller keeps all memory.
///
/// # Safety
/// `json` is readable for `len` bytes, `handle` writable, `buffer` (for the text of an error) writable for `capacity`, `needed` writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kbar_open_counter(
    engine: u64,
    json: *const u8,
    len: usize,
    handle: *mut u64,
    buffer: *mut u8,
    capacity: usize,
    needed: *mut usize,
) -> i32 {
    let open = |engine: &Engine, json: &[u8]| {
        let counter = engine.counter(CounterOptions::from_json(json)?)?;
        Ok(Object::Counter(Arc::new(counter)))
    };
    // SAFETY: the caller's contract is that of `open_object`.
    guard(|| unsafe { open_object(engine, json, len, handle, buffer, capacity, needed, open) })
}

/// Makes an operator, who sees and ends the barriers of a Redis store from outside; it connects at its first question.
/// Options: {"redis","tls"?,"timeoutMs"?}.
///
/// Threads: any. Blocks: no. Ownership: the caller keeps all memory.
///
/// # Safety
/// As [`kbar_open_counter`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kbar_open_operator(
    engine: u64,
    json: *const u8,
    len: usize,
    handle: *mut u64,
    buffer: *mut u8,
    capacity: usize,
    needed: *mut usize,
) -> i32 {
    let open = |engine: &Engine, json: &[u8]| {
        let operator = engine.operator(OperatorOptions::from_json(json)?)?;
        Ok(Object::Operator(Arc::new(operator)))
    };
    // SAFETY: the caller's contract is that of `open_object`.
    guard(|| unsafe { open_object(engine, json, len, handle, buffer, capacity, needed, open) })
}

/// # Safety
/// `json` is readable for `len` bytes, `handle` writable, `buffer` writable for `capacity`, `needed` writable.
#[expect(clippy::too_many_arguments)] // the C ABI's
pub(crate) unsafe fn open_object(
    engine: u64,
    json: *const u8,
    len: usize,
    handle: *mut u64,
    buffer: *mut u8,
    capacity: usize,
    needed: *mut usize,
    open: impl FnOnce(&Engine, &[u8]) -> Result<Object, Error>,
) -> i32 {
    let Some((host, engine)) = crate::engine(engine) else {
        return KBAR_CLOSED;
    };
    // SAFETY: the caller's contract is that of `bytes`.
    let json = unsafe { bytes(json, len) };
    let opened = json
        .ok_or_else(|| OptionError::new("options", "a null pointer", "JSON").into())
        .and_then(|json| open(&engine, json));
    match opened {
        Ok(object) => {
            // SAFETY: `handle` is writable by the caller's contract.
            if unsafe { put(handle, HANDLES.insert(Entry { host, object })) } {
                KBAR_OK
            } else {
                KBAR_INVALID
            }
        }
        Err(error) => {
            // SAFETY: the caller's contract is that of `copy_out`.
            match unsafe { copy_out(&error_text(&error), buffer, capacity, needed) } {
                KBAR_OK => status_of(&error),
                other => other,
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "lowercase", deny_unknown_fields)]
enum BarrierQuestion {
    Missing { limit: usize },
}

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "lowercase", deny_unknown_fields)]
enum EngineQuestion {
    Tally {},
}

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "lowercase", deny_unknown_fields)]
enum CounterQuestion {
    Counts,
    Command { words: Vec<String> },
}

/// A question that fits the object it is put to, ready to be asked under the token.
fn question(host: Arc<Host>, object: Object, json: &[u8]) -> Option<Box<dyn FnOnce(u64)>> {
    match object {
        Object::Barrier(barrier) => {
            let BarrierQuestion::Missing { limit } = serde_json::from_slice(json).ok()?;
            Some(Box::new(move |token| barrier.missing(limit, token)))
        }
        Object::Counter(counter) => {
            let question: CounterQuestion = serde_json::from_slice(json).ok()?;
            Some(Box::new(move |token| match question {
                CounterQuestion::Counts => counter.counts(token),
                CounterQuestion::Command { words } => counter.command(words, token),
            }))
        }
        Object::Operator(operator) => {
            let question: OperatorQuestion = serde_json::from_slice(json).ok()?;
            Some(Box::new(move |token| operator.ask(question, token)))
        }
        Object::Group(group) => crate::group::question(host, group, json),
        Object::Engine(engine) => {
            let EngineQuestion::Tally {} = serde_json::from_slice(json).ok()?;
            Some(Box::new(move |token| {
                let handles = HANDLES.count(|entry| Arc::ptr_eq(&entry.host, &host));
                let mut tally = serde_json::json!(engine.tally());
                tally["handles"] = handles.into();
                let news = Emission::Text {
                    ticket: token.into(),
                    result: Ok(tally.to_string()),
                };
                host.emit(&mut vec![news]);
            }))
        }
    }
}

/// A rare question, answered by a completion whose text is JSON. To an engine, which handle 0 names too, {"op":"tally"} gives
/// {"barriers":n,"retired":n,"retiredBytes":n,"handles":n}: how many barriers and handles there are. To a barrier {"op":"missing","limit":n} gives
/// {"count":n,"ids":[...]}; to a counter {"op":"counts"} gives {"counts":[n,...]} in the order of its keys, and {"op":"command","words":[name,key,...]}
/// gives {"answer":text|number|null}. To an operator
/// {"op":"list","runId"?,"limit":n} gives {"barriers":[...],"complete":bool}, {"op":"groups","runId"?,"limit":n} {"groups":[...],"complete":bool}, {"op":"servers"} {"servers":[{"at","version","maxMemory","eviction"},...]},
/// {"op":"look","runId","name","missing":n} gives {"barrier":{...}|null}, and {"op":"release","runId","name","phase"} and {"op":"abort","runId","name","message"}
/// give {"answer":"done"|"released"|"broken","barrier":{...}|null}, where another answer than done says what stood before. To groups
/// {"op":"join","participant","owner","payload"?,"waitUs"} gives [group,index,size,"all"|"timeout",releasedAt,serverReleasedAt|null,counted,
/// [[participant,payload|null],...]] once the group has formed, times in ms, and counted the groups so far whose first member is of this
/// process, or {"left":true} where the place was given up; {"op":"leave","participant"} gives {"left":bool}; {"op":"withdraw","participant","token"} gives up what was joined under that
/// token, which the caller has cancelled; and {"op":"status"} gives what the process knows.
///
/// Threads: any. Blocks: no. Ownership: the caller keeps all memory.
///
/// # Safety
/// `json` is readable for `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kbar_query(
    engine: u64,
    handle: u64,
    token: u64,
    json: *const u8,
    len: usize,
) -> i32 {
    guard(|| {
        let named = if handle == 0 { engine } else { handle };
        let (Some((host, _)), Some(entry)) = (crate::engine(engine), HANDLES.get(named)) else {
            return KBAR_CLOSED;
        };
        // SAFETY: the caller's contract is that of `bytes`.
        let json = unsafe { bytes(json, len) };
        let Some(ask) = json.and_then(|json| question(Arc::clone(&host), entry.object, json))
        else {
            return invalid(&host, token, "this handle does not take that question");
        };
        if let Err(refused) = host.begin(token, 0) {
            return refuse(&host, token, &refused);
        }
        ask(token);
        KBAR_PENDING
    })
}
