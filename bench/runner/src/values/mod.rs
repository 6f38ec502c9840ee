//! What every room uses: errors with their exit codes, masking, hashes, values in words.

pub(crate) mod address;
pub(crate) mod exit;
pub(crate) mod hash;
pub(crate) mod mask;
pub(crate) mod text;
pub(crate) mod writer;
