//! `barrier-bench` executes benchmark suites.
//!
//! A suite is a TOML file that declares targets, cleaning, scenarios, derived values and gates. For each run the
//! program checks the preconditions, starts the target, cleans Redis within the declared scope, runs k6, and then
//! always collects the evidence, derives the values and judges the gates, whatever k6's exit code was.
//!
//! Reading order: [`suite`] (what can be declared), [`plan`] (which runs follow from it), [`session`] (working it off),
//! [`run`] (one run from precondition to verdict), [`compare`] and [`report`] (what stored evidence says).

mod clean;
mod cli;
mod compare;
mod derive;
mod doctor;
mod events;
mod evidence;
mod exit;
mod facts;
mod gates;
mod hash;
mod judge;
mod k6;
mod limits;
mod lock;
mod logs;
mod mask;
mod meta;
mod monitor;
mod plan;
mod presets;
mod process;
mod progress;
mod redis_access;
mod redis_client;
mod redis_server;
mod rejudge;
mod report;
mod run;
mod scope;
mod scratch;
mod screen;
mod session;
mod show;
mod suite;
mod target;

use clap::Parser;

fn main() {
    let cli = cli::Cli::parse();
    // A panic has been reported by its hook, and unwinding has ended what was started.
    let result = std::panic::catch_unwind(|| cli::dispatch(cli));
    let code = match result {
        Err(_) => exit::FAULT,
        Ok(Ok(code)) => code,
        Ok(Err(error)) => {
            eprintln!("barrier-bench: {}", mask::masked(&format!("{error:#}")));
            exit::code_of(&error)
        }
    };
    std::process::exit(code);
}
