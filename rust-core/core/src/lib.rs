//! Barrier accounting.
