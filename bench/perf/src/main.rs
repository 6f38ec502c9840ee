//! `barrier-perf` measures the barrier beside its peers, on this machine and over loopback only.
//!
//! The peers run in the same minutes: plain k6, a rendezvous that polls Redis by `k6/x/redis`, and `redis-benchmark`. A
//! cycle runs each once; the order turns from cycle to cycle.
//!
//! Reading order: [`cases`] (what is run), [`goals`] (what is shown), [`rows`] (how a row is made of values).

mod cases;
mod child;
mod clients;
mod core;
mod ear;
mod goals;
mod k6;
mod machine;
mod many;
mod plot;
mod processes;
mod profile;
mod rendezvous;
mod report;
mod rows;
mod run;
mod samples;
mod series;
mod server;
mod suite;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measures the barrier beside plain k6, polling through Redis, and redis-benchmark.
///
/// Everything runs on this machine, over loopback, with a Redis of its own. The table and a picture per case go into a
/// folder below --out and are renewed after each cycle.
#[derive(Debug, Parser)]
#[command(name = "barrier-perf", version, max_term_width = 120, after_help = AFTER, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    peer: Option<Peer>,
    /// Cases to run, as a comma list; when left out, all but what --list says is run only when it is named
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    cases: Vec<String>,
    /// Variants to run, as a comma list; all when left out
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    variants: Vec<String>,
    /// How often each is run
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    cycles: u32,
    /// Users of one process; the larger and smaller cases follow it
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    users: u32,
    /// k6 processes that share the users of the case scale; when left out, as many as there are CPUs
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=64))]
    processes: Option<u32>,
    /// Memory that the case scale may use, in GB: where that is not enough for all users, it runs fewer
    #[arg(long, value_name = "GB", default_value_t = 20.0, value_parser = memory)]
    memory: f64,
    /// Nothing new is begun after so many minutes
    #[arg(long, default_value_t = 18, value_parser = clap::value_parser!(u64).range(1..=600))]
    minutes: u64,
    /// Where the folder of results is made
    #[arg(long, value_name = "FOLDER", default_value = "evidence/perf")]
    out: PathBuf,
    /// The folder of the scripts
    #[arg(long, value_name = "FOLDER", default_value = "bench/perf/cases")]
    scripts: PathBuf,
    /// List the cases and end
    #[arg(long)]
    list: bool,
}

/// What this program starts of itself.
#[derive(Debug, Clone, Copy, Subcommand)]
enum Peer {
    #[command(hide = true)]
    Sleep(processes::Sleep),
}

const AFTER: &str = "Programs: K6_BIN, else ./k6. REDIS_SERVER_BIN, else redis-server on the path. REDIS_BENCHMARK_BIN, else \
    redis-benchmark on the path.\n\n\
    Exit codes: 0 everything was measured, whether goals were reached or not; 1 something could not be; 2 wrong use.";

fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.list {
        list();
        return ExitCode::SUCCESS;
    }
    let outcome = match cli.peer {
        Some(Peer::Sleep(sleep)) => sleep.run().map(|()| true),
        None => run::run(&cli),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("barrier-perf: {error:#}");
            ExitCode::from(if error.is::<run::WrongUse>() { 2 } else { 1 })
        }
    }
}

fn memory(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(gb) if (0.1..1000.0).contains(&gb) => Ok(gb),
        _ => Err("a number of GB, from 0.1 to 1000".to_owned()),
    }
}

fn list() {
    for case in cases::CASES {
        let name = |v: &cases::Variant| match v.by_name && !case.by_name() {
            true => format!("{} (only when its case is named)", v.name),
            false => v.name.to_owned(),
        };
        let variants: Vec<_> = case.variants.iter().map(name).collect();
        let note = match case.by_name() {
            true => " (only when it is named)",
            false => "",
        };
        println!("{:<10} {}{note}", case.name, case.about);
        println!("{:<10}   {}", "", variants.join(", "));
    }
}
