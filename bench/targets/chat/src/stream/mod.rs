//! Replies that are streamed over WebSocket.

mod dialect;
mod session;

pub use dialect::Dialect;
pub(crate) use session::Session;

use std::num::NonZeroU32;

/// What replies say: the same each time, and made once.
#[derive(Debug)]
pub(crate) struct Text {
    chunks: Vec<String>,
    whole: String,
}

impl Text {
    pub(crate) fn new(chunks: NonZeroU32) -> Self {
        let part =
            |number| format!("Part {number} of {chunks} of a reply that always says the same. ");
        let chunks: Vec<String> = (1..=chunks.get()).map(part).collect();
        let whole = chunks.concat();
        Self { chunks, whole }
    }

    /// The chunk with this number, from 0. There is always one.
    fn chunk(&self, seq: u32) -> &str {
        let at = usize::try_from(seq).unwrap_or(usize::MAX);
        self.chunks.get(at).map_or("", String::as_str)
    }

    /// All chunks in one.
    pub(crate) fn whole(&self) -> &str {
        self.whole.trim_end()
    }
}
