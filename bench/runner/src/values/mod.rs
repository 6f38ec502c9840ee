//! What every room uses: errors with their exit codes, masking, hashes.

pub(crate) mod exit;
pub(crate) mod hash;
pub(crate) mod mask;
