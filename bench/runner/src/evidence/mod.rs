//! Evidence: folders whose files appear whole or not at all, are never overwritten, and are sealed when a run is judged.

pub(crate) mod alerts;
pub(crate) mod copy;
mod folder;
mod manifest;
pub(crate) mod silence;

pub(crate) use folder::{Folder, Invocation, attempt, component, resolved};
pub(crate) use manifest::MANIFEST;
