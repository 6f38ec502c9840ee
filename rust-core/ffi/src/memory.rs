//! The caller's memory: read for the length of a call, written to by copies.

use crate::abi::{KBAR_BUFFER, KBAR_OK};

/// The caller's bytes for the length of a call; `None` for a null pointer with a length.
///
/// # Safety
/// `pointer` is null or readable for `len` bytes that nobody writes during the call.
pub(crate) unsafe fn bytes<'a>(pointer: *const u8, len: usize) -> Option<&'a [u8]> {
    if len == 0 {
        return Some(&[]);
    }
    if pointer.is_null() || len > isize::MAX as usize {
        return None;
    }
    // SAFETY: not null, and readable for `len` bytes by this function's own contract.
    Some(unsafe { std::slice::from_raw_parts(pointer, len) })
}

/// The caller's numbers for the length of a call, likewise.
///
/// # Safety
/// `pointer` is null or readable for `len` numbers that nobody writes during the call.
pub(crate) unsafe fn numbers<'a>(pointer: *const u64, len: usize) -> Option<&'a [u64]> {
    if len == 0 {
        return Some(&[]);
    }
    if !pointer.is_aligned() || pointer.is_null() || len > isize::MAX as usize / size_of::<u64>() {
        return None;
    }
    // SAFETY: aligned, not null, and readable for `len` numbers by this function's own contract.
    Some(unsafe { std::slice::from_raw_parts(pointer, len) })
}

/// Writes a result through a pointer of the caller's; false for a null pointer.
///
/// # Safety
/// `pointer` is null or writable for a `T`.
pub(crate) unsafe fn put<T>(pointer: *mut T, value: T) -> bool {
    if pointer.is_null() {
        return false;
    }
    // SAFETY: not null, and writable by this function's own contract; `write` drops nothing and needs no initialised value.
    unsafe { pointer.write(value) };
    true
}

/// Copies text into the caller's buffer, or says how large it must be.
///
/// # Safety
/// `buffer` is null or writable for `capacity` bytes, `needed` is null or writable.
pub(crate) unsafe fn copy_out(
    text: &str,
    buffer: *mut u8,
    capacity: usize,
    needed: *mut usize,
) -> i32 {
    // SAFETY: `needed` is as `put` wants it by this function's own contract.
    unsafe { put(needed, text.len()) };
    if text.len() > capacity || (buffer.is_null() && !text.is_empty()) {
        return KBAR_BUFFER;
    }
    if !text.is_empty() {
        // SAFETY: the source is a live string; the target is writable for `capacity >= text.len()` bytes by contract; a
        // caller's buffer and a string of ours do not overlap.
        unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), buffer, text.len()) };
    }
    KBAR_OK
}
