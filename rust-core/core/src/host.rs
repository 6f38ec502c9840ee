//! The machine that this process runs on.

use std::sync::OnceLock;

/// A number that all processes on this host have in common, containers too, until it boots again. Where the system tells
/// none, a random one: then no other process is known to share the host.
pub(crate) fn number() -> u32 {
    static NUMBER: OnceLock<u32> = OnceLock::new();
    *NUMBER.get_or_init(|| {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
        boot.map_or_else(|_| rand::random(), |boot| fold(boot.trim()))
    })
}

/// FNV-1a, which is the same in every process and build.
fn fold(text: &str) -> u32 {
    let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    text.bytes().fold(0x811c_9dc5, step)
}
