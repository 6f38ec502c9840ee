//! The plan: the ordered list of runs, and everything about each of them that is known before it begins.

pub(crate) mod build;
pub(crate) mod file;
pub(crate) mod ladder;
pub(crate) mod points;

mod computed;
mod load;
mod planned;
mod quick;
mod rungs;
mod runs;
mod selection;
pub(crate) mod target;

pub(crate) use planned::{PlannedRun, Probe};
pub(crate) use runs::Plan;
pub(crate) use selection::Selection;

#[cfg(test)]
mod chat_tests;
#[cfg(test)]
mod ladder_tests;
#[cfg(test)]
mod suite_tests;
