//! Groups that form by themselves: whoever comes waits until `size` have come, and these are a group.
//!
//! | module | what it holds |
//! |---|---|
//! | [`options`] | what groups are opened with |
//! | [`protocol`] | what a process says to the store of its groups and hears from it |
//! | [`session`] | the process's side, without clock or socket |
//! | [`memory`] | the store's side in this process; the reference of the script |
//! | [`redis`] | the same as a script |

pub mod memory;
pub mod options;
pub mod protocol;
pub mod redis;
pub mod session;
