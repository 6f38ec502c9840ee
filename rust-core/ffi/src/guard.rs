//! No panic crosses the boundary: each becomes a status, a line of the log, and a message for the text.

use std::cell::RefCell;

use barrier_core::engine::Level;
use barrier_core::panics::guarded;

use crate::abi::KBAR_PANIC;
use crate::{HANDLES, Object};

thread_local! {
    static MESSAGE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The newest panic of an export on this thread, once.
pub(crate) fn take_message() -> Option<String> {
    MESSAGE.with(|m| m.borrow_mut().take())
}

/// Runs an export's body.
pub(crate) fn guard(body: impl FnOnce() -> i32) -> i32 {
    guarded(body).unwrap_or_else(|message| {
        // Every host of this process has a log: which of them called is not known any more. Nor may this panic again.
        let told = guarded(|| tell(&message));
        MESSAGE.with(|m| *m.borrow_mut() = Some(told.err().unwrap_or(message)));
        KBAR_PANIC
    })
}

fn tell(message: &str) {
    HANDLES.each(|entry| {
        if let Object::Engine(engine) = &entry.object {
            engine.tell(Level::Error, format!("a bug in the core: {message}"));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error() {
        barrier_core::panics::install_hook();
        assert_eq!(guard(|| panic!("on purpose")), KBAR_PANIC);
        let message = take_message().expect("kept");
        assert!(message.contains("on purpose"), "{message}");
        assert_eq!(take_message(), None);
    }
}
