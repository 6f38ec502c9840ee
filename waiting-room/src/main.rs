//! Reference target.
fn main() {}
