//! The machine that this process runs on.

use std::sync::OnceLock;

/// A number that all processes on this host have in common, containers too, until it boots again: the first of the digits
/// that the system draws at its start. Where it tells none, a random one: then no other process is known to share the host.
pub(crate) fn number() -> u32 {
    static NUMBER: OnceLock<u32> = OnceLock::new();
    *NUMBER.get_or_init(|| {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let digits = boot.get(..8).unwrap_or_default();
        u32::from_str_radix(digits, 16).unwrap_or_else(|_| rand::random())
    })
}
