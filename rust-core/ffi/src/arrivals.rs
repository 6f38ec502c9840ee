//! What has become of arrivals whose calls wait.

use barrier_core::engine::Arrival;

use crate::abi::{
    KBAR_ARRIVAL_ACKNOWLEDGED, KBAR_ARRIVAL_OVER, KBAR_ARRIVAL_OWED, KBAR_CLOSED, KBAR_INVALID,
    KBAR_OK,
};
use crate::guard::guard;
use crate::memory::numbers;

/// What has become of the arrivals of calls with KBAR_AND_WAIT: writes one KBAR_ARRIVAL_* for each token. Nobody is woken
/// by an acknowledgement, so that whoever counts them asks.
///
/// Threads: any. Blocks: no. Ownership: the caller keeps all memory.
///
/// # Safety
/// `tokens` is readable and `arrivals` writable for `len` items each.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kbar_arrivals(
    barrier: u64,
    tokens: *const u64,
    len: usize,
    arrivals: *mut u8,
) -> i32 {
    guard(|| {
        let Some((_, barrier)) = crate::barrier(barrier) else {
            return KBAR_CLOSED;
        };
        // SAFETY: the caller's contract is that of `numbers`.
        let Some(tokens) = (unsafe { numbers(tokens, len) }) else {
            return KBAR_INVALID;
        };
        if len > 0 && arrivals.is_null() {
            return KBAR_INVALID;
        }
        let found = barrier.arrivals(tokens.iter().copied());
        for (at, arrival) in found.into_iter().enumerate() {
            let code = match arrival {
                Arrival::Owed => KBAR_ARRIVAL_OWED,
                Arrival::Acknowledged => KBAR_ARRIVAL_ACKNOWLEDGED,
                Arrival::Over => KBAR_ARRIVAL_OVER,
            };
            // SAFETY: `at` is below `len`, for which `arrivals` is writable by the caller's contract.
            unsafe { arrivals.add(at).write(code) };
        }
        KBAR_OK
    })
}
