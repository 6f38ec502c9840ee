//! Everything that happens in a call of the runner, as one stream.
//!
//! Rooms that do something tell it here, and print nothing. Who wants to know listens: the terminal with its line of
//! progress, the log beside the plan. A listener that comes later is told first what it missed.

mod aside;
mod clock;
mod journal;
mod log;
mod stream;

pub(crate) use aside::Aside;
pub(crate) use clock::Clock;
pub(crate) use journal::Journal;
pub(crate) use log::Log;
pub(crate) use stream::{Ending, Event, JudgedRun, Listener, Stream};
