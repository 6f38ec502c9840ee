//! What every room uses: errors with their exit codes, masking, hashes, typed values, the texts that take them, and
//! questions to programs.

pub(crate) mod address;
pub(crate) mod ask;
pub(crate) mod duration;
pub(crate) mod exit;
pub(crate) mod exposition;
pub(crate) mod hash;
pub(crate) mod http;
pub(crate) mod mask;
pub(crate) mod number;
pub(crate) mod place;
pub(crate) mod shortcut;
pub(crate) mod template;
pub(crate) mod text;
pub(crate) mod trend;
pub(crate) mod value;
pub(crate) mod writer;
