//! Faults that are injected while a run goes on, and always taken back: by the run itself, or from a journal by whoever comes next.

mod going;
pub(crate) mod journal;
pub(crate) mod proxies;
mod proxy;
mod reader;
pub(crate) mod timeline;
pub(crate) mod undo;
