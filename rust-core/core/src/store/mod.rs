//! Where a barrier's truth lives: in this process, or in a Redis that processes share.

pub mod memory;
pub mod redis;
