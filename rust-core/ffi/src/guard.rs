//! No panic crosses the boundary: each becomes a status, and its message is kept for the text.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use crate::abi::KBAR_PANIC;

thread_local! {
    static MESSAGE: RefCell<Option<String>> = const { RefCell::new(None) };
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Keeps messages of the core's own panics instead of printing them over the host's screen. Panics of others, such as
/// another Rust library in the same process, go the way they went.
pub(crate) fn install_hook() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let thread = std::thread::current();
            if GUARDED.get() || thread.name().is_some_and(|n| n.starts_with("k6-barrier")) {
                MESSAGE.with(|m| *m.borrow_mut() = Some(info.to_string()));
            } else {
                others(info);
            }
        }));
    });
}

/// The newest panic of this thread, once.
pub(crate) fn take_message() -> Option<String> {
    MESSAGE.with(|m| m.borrow_mut().take())
}

/// Runs an export's body.
///
/// State that a panic leaves behind is plain data behind locks that ignore poisoning, so asserting unwind safety is sound.
pub(crate) fn guard(body: impl FnOnce() -> i32) -> i32 {
    let outer = GUARDED.replace(true);
    let status = catch_unwind(AssertUnwindSafe(body)).unwrap_or(KBAR_PANIC);
    GUARDED.set(outer);
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error() {
        install_hook();
        assert_eq!(guard(|| panic!("on purpose")), KBAR_PANIC);
        let message = take_message().expect("kept");
        assert!(message.contains("on purpose"), "{message}");
        assert_eq!(take_message(), None);
    }
}
