//! Bugs, caught: what a panic said and where it was, for whoever goes on after it.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use futures_util::FutureExt;

/// The core's own threads have names that begin like this.
pub const THREADS: &str = "k6-barrier";

thread_local! {
    static MESSAGE: RefCell<Option<String>> = const { RefCell::new(None) };
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Keeps messages of the core's own panics instead of printing them over the host's screen. Panics of others, such as
/// another Rust library in the same process, go the way they went.
pub fn install_hook() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let thread = std::thread::current();
            if GUARDED.get() || thread.name().is_some_and(|n| n.starts_with(THREADS)) {
                MESSAGE.with(|m| *m.borrow_mut() = Some(info.to_string()));
            } else {
                others(info);
            }
        }));
    });
}

/// What the newest caught panic of this thread said, and where it was; once.
fn take_message() -> String {
    let message = MESSAGE.with(|m| m.borrow_mut().take());
    message.unwrap_or_else(|| "it panicked".into())
}

/// Runs something; a panic becomes its message.
///
/// State that a panic leaves behind is plain data behind locks that know no poisoning, so asserting unwind safety is sound.
///
/// # Errors
/// What the panic said, and where it was.
pub fn guarded<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    let outer = GUARDED.replace(true);
    let done = catch_unwind(AssertUnwindSafe(body)).map_err(|_| take_message());
    GUARDED.set(outer);
    done
}

/// The same for a task.
pub(crate) async fn guarded_task<T>(task: impl Future<Output = T>) -> Result<T, String> {
    // A task is caught within the poll that panics, and so on the thread that keeps the message.
    let caught = AssertUnwindSafe(task).catch_unwind().await;
    caught.map_err(|_| take_message())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_its_message_with_its_place() {
        install_hook();
        let message = guarded(|| panic!("on purpose")).expect_err("caught");
        assert!(message.contains("on purpose"), "{message}");
        assert!(message.contains("panics.rs"), "{message}");
    }
}
