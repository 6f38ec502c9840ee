//! `barrier-bench` executes benchmark suites.
//!
//! A suite is a TOML file that declares targets, cleaning, scenarios, derived values and gates. For each run the
//! program checks the preconditions, starts the target, cleans Redis within the declared scope, runs k6, and then
//! always collects the evidence, derives the values and judges the gates, whatever k6's exit code was.
//!
//! Reading order: `suite` (what can be declared), `plan` (which runs follow from it), `session` (working it off), `run`
//! (one attempt, from precondition to verdict), `verdict` (what its evidence is worth), `compare` and `report` (what the
//! evidence of several says). What happens on the way goes through `events`. Each room uses those below it only.

mod cli;
mod compare;
mod doctor;
mod events;
mod evidence;
mod monitoring;
mod plan;
mod report;
mod run;
mod series;
mod session;
mod suite;
mod terminal;
mod values;
mod verdict;

pub use cli::main;
