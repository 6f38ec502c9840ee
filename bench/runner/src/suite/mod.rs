//! Suite files: their tables, reading and checking them, and the variables of a run.

pub(crate) mod alert;
pub(crate) mod answer;
pub(crate) mod append;
pub(crate) mod asked;
pub(crate) mod chaos;
pub(crate) mod class;
pub(crate) mod command;
pub(crate) mod compose;
pub(crate) mod each;
pub(crate) mod expression;
pub(crate) mod faults;
pub(crate) mod fixture;
pub(crate) mod gate;
pub(crate) mod given;
pub(crate) mod hosts;
pub(crate) mod load;
pub(crate) mod monitor;
pub(crate) mod over_time;
pub(crate) mod post;
pub(crate) mod private;
pub(crate) mod process;
pub(crate) mod profile;
pub(crate) mod quick;
pub(crate) mod resource;
pub(crate) mod scenario;
pub(crate) mod schema;
pub(crate) mod scope;
pub(crate) mod section;
pub(crate) mod served;
pub(crate) mod server;
pub(crate) mod stat;
pub(crate) mod statement;
pub(crate) mod target;
pub(crate) mod vars;
pub(crate) mod waits;

mod check;
mod check_alerts;
mod check_asked;
mod check_chaos;
mod check_clean;
pub(crate) mod check_command;
mod check_derive;
mod check_fixtures;
mod check_gates;
mod check_ladder;
mod check_load;
mod check_monitors;
mod check_names;
mod check_plan;
mod check_post;
mod check_profiles;
mod check_quick;
mod check_resources;
mod check_server;
mod check_targets;
mod file;
mod problem;
mod schema1;
mod secrets;

#[cfg(test)]
pub(crate) use file::tests;
#[cfg(test)]
mod vars_tests;
pub(crate) use file::{FOLDER, Suite, in_folder};
