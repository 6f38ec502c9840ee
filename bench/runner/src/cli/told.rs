//! Work that tells of itself, and those who hear it.

use crate::events::{Aside, Listener, Stream};

/// Does what tells listeners of itself. All of it is heard when this returns, also where it panics.
pub(super) fn told(
    listeners: Vec<Box<dyn Listener>>,
    work: impl FnOnce(&Stream) -> anyhow::Result<i32>,
) -> anyhow::Result<i32> {
    struct Said(Stream);
    impl Drop for Said {
        fn drop(&mut self) {
            self.0.close();
        }
    }
    let stream = Said(Stream::default());
    for listener in listeners {
        let aside = Aside::of(listener)
            .map_err(|error| anyhow::anyhow!("the terminal needs a thread: {error}"))?;
        stream.0.attach(aside);
    }
    work(&stream.0)
}
