//! Groups that form by themselves.

use std::sync::Arc;
use std::time::Duration;

use barrier_core::engine::{Emission, Engine, Group, JoinCall, Sink};
use barrier_core::error::Error;
use barrier_core::group::options::GroupOptions;
use barrier_core::ids::Participant;
use serde::Deserialize;

use crate::completion::Host;
use crate::guard::guard;
use crate::query::open_object;
use crate::{LONGEST_WAIT_US, Object};

/// Checks the options of groups: KBAR_OK, or KBAR_OPTION with {"option","got","allowed","message"} in the buffer.
///
/// Threads: any. Blocks: no. Ownership: the caller keeps all memory.
///
/// # Safety
/// As [`crate::kbar_check_options`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kbar_check_group(
    json: *const u8,
    len: usize,
    buffer: *mut u8,
    capacity: usize,
    needed: *mut usize,
) -> i32 {
    let check = |json: &[u8]| GroupOptions::from_json(json).map(drop);
    // SAFETY: the caller's contract is that of `check`.
    guard(|| unsafe { crate::check(json, len, buffer, capacity, needed, check) })
}

/// Opens the groups of one name, or finds those that this process has; the store is asked at the first join. Options:
/// {"name","size","store"?,"runId"?,"onTimeout"?,"tls"?,"ttlMs"?,"connectTimeoutMs"?,"opTimeoutMs"?}. What is done with
/// them are questions: see kbar_query.
///
/// Threads: any. Blocks: no. Ownership: the caller keeps all memory.
///
/// # Safety
/// As [`crate::kbar_open_counter`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kbar_open_group(
    engine: u64,
    json: *const u8,
    len: usize,
    handle: *mut u64,
    buffer: *mut u8,
    capacity: usize,
    needed: *mut usize,
) -> i32 {
    let open = |engine: &Engine, json: &[u8]| {
        let group = engine.group(GroupOptions::from_json(json)?)?;
        Ok(Object::Group(group))
    };
    // SAFETY: the caller's contract is that of `open_object`.
    guard(|| unsafe { open_object(engine, json, len, handle, buffer, capacity, needed, open) })
}

#[derive(Deserialize)]
#[serde(
    tag = "op",
    rename_all = "lowercase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
enum Question {
    Join {
        participant: String,
        owner: u64,
        payload: Option<String>,
        wait_us: u64,
    },
    Leave {
        participant: String,
    },
    Withdraw {
        participant: String,
        token: u64,
    },
    Status,
}

/// A question to groups, ready to be asked under the token.
pub(crate) fn question(
    host: Arc<Host>,
    group: Arc<Group>,
    json: &[u8],
) -> Option<Box<dyn FnOnce(u64)>> {
    let question: Question = serde_json::from_slice(json).ok()?;
    Some(Box::new(move |token| {
        let answer = match ask(&group, question, token) {
            Ok(None) => return, // it comes by the token
            Ok(Some(text)) => Ok(text),
            Err(error) => Err(error),
        };
        host.emit(&mut vec![Emission::Text {
            ticket: token.into(),
            result: answer,
        }]);
    }))
}

fn ask(group: &Group, question: Question, token: u64) -> Result<Option<String>, Error> {
    match question {
        Question::Join {
            participant,
            owner,
            payload,
            wait_us,
        } => {
            let call = JoinCall {
                participant: Participant::new(&participant)?,
                owner,
                payload,
                wait: Duration::from_micros(wait_us.min(LONGEST_WAIT_US)),
            };
            group.join(&call, token)?;
            Ok(None)
        }
        Question::Leave { participant } => {
            group.leave(&Participant::new(&participant)?, token)?;
            Ok(None)
        }
        Question::Withdraw {
            participant,
            token: join,
        } => {
            group.withdraw(&Participant::new(&participant)?, join);
            Ok(Some("{}".into()))
        }
        Question::Status => Ok(Some(group.status())),
    }
}
