//! The command line.

mod accept;
mod board;
mod ci;
mod clean;
mod detach;
mod fixtures;
mod judge;
mod life;
mod list;
mod monitor;
pub(crate) mod show;
mod told;
mod up;
mod what;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::compare;
use crate::compare::plan_verdict::PlanVerdict;
use crate::events::{Listener, Stream};
use crate::monitoring::place::Place;
use crate::monitoring::serve;
use crate::plan::Plan;
use crate::report;
use crate::run::chaos::undo::{Who, leftovers};
use crate::session;
use crate::session::{Manner, lock};
use crate::suite::Suite;
use crate::suite::given::Given;
use crate::terminal::{Terminal, say};
use crate::values::exit;
use crate::values::mask::masked;
use accept::BaselineVerb;
use monitor::MonitorVerb;
use told::told;
use what::{How, What};

/// Runs benchmark suites with k6 and keeps evidence of every run.
///
/// A suite (bench/suites/*.toml) declares targets, cleaning, scenarios, derived values and gates. A run checks its preconditions,
/// starts the target, cleans Redis within the declared scope, runs k6, and then always collects the evidence, derives the
/// values and judges the gates, whatever k6 said.
#[derive(Debug, Parser)]
#[command(name = "barrier-bench", version, after_help = AFTER, max_term_width = 120)]
pub(crate) struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

const AFTER: &str = "Exit codes: 0 all runs pass; 1 fault of the runner; 2 wrong use or set-up, nothing judged; \
    3 a gate failed; 4 interrupted; 5 of status and attach: it goes on; anything else is k6's own code (99 a threshold was crossed, 107 exception, 108 aborted \
    by the script), handed on where the suite says exit = \"k6_first\".\n\n\
    Programs: K6_BIN, else ./k6, else k6 on the path. REDIS_SERVER_BIN, else redis-server on the path, else what \
    scripts/ensure-redis.sh unpacked. POSTGRES_BIN, else postgres on the path, where packages put it, or as scripts/ensure-postgres.sh \
    unpacked it. A target that comes with the project: NAME_BIN, else NAME beside this program or in bin/.";

const EXAMPLES: &str = "Examples (`list` tells suites and scenarios):\n  \
    barrier-bench run SUITE                                  the suite's own order, every variant\n  \
    barrier-bench run SUITE -s smoke --cycles 7 --discard 1  a series that can be compared\n  \
    barrier-bench run SUITE -s preflight,matrix --dry-run    the whole plan and its time\n  \
    barrier-bench run SUITE -s matrix --level NAME=VALUE     a part of a matrix\n  \
    barrier-bench run SUITE -s smoke --quick                 does it work at all?";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run scenarios of a suite and judge them
    ///
    /// Without --scenario the suite's own order runs. A scenario runs at each of its points, there in cycles, in each of these
    /// once per variant; the whole plan is written down before it starts. The last line names the evidence folder. Without
    /// REDIS_URL a private Redis is started where the suite needs one, without DATABASE_URL a private PostgreSQL, without BASE_URL the
    /// reference target; all are ended again, also by Ctrl-C, which keeps what is complete.
    #[command(after_long_help = EXAMPLES)]
    Run {
        #[command(flatten)]
        what: What,
        #[command(flatten)]
        how: How,
        /// Print the plan with its time; start, clean and write nothing
        #[arg(long)]
        dry_run: bool,
        /// End the suite's monitor after a plan that does not pass; its evidence is complete by then
        #[arg(long)]
        stop_monitoring_on_fail: bool,
        #[command(flatten)]
        manner: Watched,
    },
    /// Go on where an interrupted plan stopped
    ///
    /// A cycle with a run that has no sound evidence (not run, interrupted, invalid) is run again as a whole, so that its runs
    /// stay side by side; each in a folder of its own, nothing is overwritten. The plan keeps its suite file and its values;
    /// secrets were not kept and have to be given again. Harness and k6 must be the ones that the plan began with.
    Resume {
        /// Folder of the plan, as `run` printed it
        folder: PathBuf,
        /// Secret that was given when the plan began; may be repeated
        #[arg(long, value_name = "NAME=VALUE")]
        set: Vec<String>,
        /// File with NAME=VALUE lines, for secrets
        #[arg(long, value_name = "FILE")]
        env_file: Option<PathBuf>,
        #[command(flatten)]
        manner: Watched,
    },
    /// Say what became of a run: it goes on, it has ended, or something ended its runner
    ///
    /// Which run of the plan is made, how much time is left, the verdicts so far. The exit code is that of the run once it has ended,
    /// 4 where its runner was killed, and 5 while it goes on. Nothing is started or written.
    Status {
        #[command(flatten)]
        which: life::Which,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Watch a run that another terminal has started, or none
    ///
    /// What it has said so far, then what it says, until it ends; the exit code is its own. Ctrl-C lets it go on (exit code 5). Of a
    /// run that has ended, it says the verdict. Nothing is started.
    Attach {
        #[command(flatten)]
        which: life::Which,
        /// Begin with the last N lines of what it has said; with all of them when left out
        #[arg(long, value_name = "N")]
        lines: Option<usize>,
    },
    /// End a run as Ctrl-C in its terminal does, and wait for that
    ///
    /// k6 ends its run and writes its summary; what is complete is kept. A second call ends k6 at once.
    Stop {
        #[command(flatten)]
        which: life::Which,
    },
    /// Pack the evidence of a run, to judge and report it elsewhere
    ///
    /// The manifests are checked first (exit code 3 where something was changed), and the secrets of the plan, as far as they are
    /// given again, are looked for in every file. Unpacked, the folder is one for `judge`, `compare` and `report`.
    Export {
        /// Folder of the plan, as `run` printed it, or one in it
        folder: String,
        /// File to write if its name ends in .tar.gz, else a folder
        #[arg(long, value_name = "PLACE")]
        out: PathBuf,
        /// Secret that was given when the plan began; may be repeated
        #[arg(long, value_name = "NAME=VALUE")]
        set: Vec<String>,
        /// File with NAME=VALUE lines, for secrets
        #[arg(long, value_name = "FILE")]
        env_file: Option<PathBuf>,
    },
    /// Start what a suite's runs are made with, without a run
    ///
    /// Its services and its target as in a run: the same arguments, faults and limits, and a private Redis or PostgreSQL where one is needed.
    /// Their addresses and logs are printed when all of them answer. They end by Ctrl-C, or by `down`. The machine is free for other
    /// runs meanwhile.
    Up {
        #[command(flatten)]
        what: What,
        /// Go on without this terminal: returns once all of them answer
        #[arg(long)]
        detach: bool,
        /// This is the call that has no terminal
        #[arg(long, hide = true)]
        in_background: bool,
    },
    /// End what `up` started, and nothing else
    Down {
        /// Suite, or the folder that `up` printed
        #[arg(value_name = "SUITE|FOLDER")]
        what: String,
    },
    /// Judge stored evidence again
    ///
    /// Reads the files of a run, or of every run of a plan, and applies the gates of the suite file as it was then. Nothing is
    /// started or written. Says where the verdict differs from the stored one; the exit code follows the new one. Of a plan the
    /// limits of comparisons are judged too, and runs that were never begun are named (exit code 4).
    Judge {
        /// Folder of a run or of a plan
        folder: PathBuf,
        /// Apply the gates of this suite file instead; needed for the folder of a run that was moved out of its plan
        #[arg(long, value_name = "SUITE")]
        suite: Option<String>,
    },
    /// Clean Redis within the suite's scope, and reset its databases, as before a run
    ///
    /// Only keys and fields of the given events are touched, and only databases that the suite allows; the plan is printed first, the
    /// result is read back. Cleaning Redis needs REDIS_URL: a private one has nothing to clean.
    Clean {
        #[command(flatten)]
        what: What,
        /// Print what would be deleted and what is there; change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Make the files that a suite's runs need, or look whether they are there
    ///
    /// Each by the program that the suite names, those first that others need; nothing is written unless all of them hold what is
    /// expected. The same call makes the same bytes.
    Fixtures {
        #[command(flatten)]
        what: What,
        /// Write nothing; fail unless each file is there and as it would be made
        #[arg(long)]
        check: bool,
        /// Put back what a run that was killed has left in the place of a target's own files
        #[arg(long, conflicts_with = "check")]
        restore: bool,
    },
    /// Look for what would spoil a run, and say how to mend it
    ///
    /// k6 and its modules, Redis, PostgreSQL, targets, harness, open files, ports, time limits. Where all this is in order and the suite has a
    /// probe, it tries what the runs will do: at BASE_URL, else at a target that it starts, with private servers, and ends again.
    Doctor {
        #[command(flatten)]
        what: What,
    },
    /// Compare variants over the cycles of a plan, or two folders of evidence with each other
    ///
    /// One folder: the variants of each scenario and point against the base that the suite names, paired by cycle. Two
    /// folders: the same variants in two builds, the ratio of B to A without a verdict. Values, median, spread and the ratio
    /// with its 95 % interval; a verdict from 6 valid cycles on. Exit code 3 where a limit of the suite (worse_than) is not
    /// kept, or cannot be judged. Reads stored evidence only.
    Compare {
        /// Folder of evidence: of a call of the runner, or one that holds several
        #[arg(required = true, num_args = 1..=2, value_name = "FOLDER")]
        folders: Vec<PathBuf>,
        /// Compare although these differ: names of variables, or others as they were told; a comma list
        #[arg(long, value_name = "NAME", value_delimiter = ',')]
        allow_differences: Vec<String>,
        /// Print the figures as JSON
        #[arg(long)]
        json: bool,
    },
    /// Keep what was measured, to compare later runs with it
    Baseline {
        #[command(subcommand)]
        what: BaselineVerb,
    },
    /// Write the report of a folder of evidence again
    ///
    /// report.html (one file, loads nothing), report.md for a pull request and figures.json, as far as the suite's table
    /// [report] asks for them. A plan writes its report when it ends.
    Report {
        /// Folder of evidence, as the runner printed it after `evidence:`
        folder: PathBuf,
        /// Compare although these differ: names as they were told; a comma list
        #[arg(long, value_name = "NAME", value_delimiter = ',')]
        allow_differences: Vec<String>,
    },
    /// Watch runs of a suite live: Prometheus, the suite's alerts, and its panels in Grafana or on a page
    ///
    /// `start` leaves a monitor running, `stop` ends it; runs that begin in between are watched, and keep in alerts.json which
    /// alerts fired. What the monitor keeps is in the folder monitoring/ beside the evidence.
    Monitor {
        /// Suite file, or the name of one in bench/suites/
        suite: String,
        /// Value of a variable of the suite; may be repeated
        #[arg(long, value_name = "NAME=VALUE")]
        set: Vec<String>,
        /// File with NAME=VALUE lines for variables of the suite
        #[arg(long, value_name = "FILE")]
        env_file: Option<PathBuf>,
        #[command(subcommand)]
        what: MonitorVerb,
    },
    /// The process that `monitor start` leaves behind
    #[command(hide = true)]
    ServeMonitor {
        /// Folder of the monitor
        folder: PathBuf,
    },
    /// Show how each scenario of a suite stands
    ///
    /// From all evidence below the suite's root: the last verdict, when that was, and of each objective the value, the limit and how far
    /// it is from it.
    Board {
        /// Suite file, or the name of one in bench/suites/
        suite: String,
        /// Value of a variable of the suite; may be repeated
        #[arg(long, value_name = "NAME=VALUE")]
        set: Vec<String>,
        /// Write it as a page, too
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
    },
    /// Take back the faults that runs have left whose runner was killed
    ///
    /// A fault is written down before it is injected. Its own run takes it back, however that ends; where something ended the runner,
    /// the next `run` does it, or this. Exit code 2 where one could not be taken back.
    Undo {
        /// Forget those that cannot be taken back: you have done it by hand
        #[arg(long)]
        forget: bool,
    },
    /// Add a scenario to a suite that nobody has implemented yet
    ///
    /// It is the last in the suite's order, and its verdict is NOT_IMPLEMENTED.
    NewGate {
        /// Suite file, or the name of one in bench/suites/
        suite: String,
        /// What it is called
        id: String,
    },
    /// List suites with their scenarios and variants
    List {
        /// Suite file, or the name of one in bench/suites/; all when left out
        suite: Option<String>,
    },
    /// Check suite files for unknown keys, wrong references and impossible gates
    Validate {
        /// Suite files; all of bench/suites/ when left out
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

/// Who is told what a call does.
#[derive(Debug, Args)]
struct Watched {
    /// Go on with the other runs even if one does not pass, or could not be started
    #[arg(long)]
    keep_going: bool,
    /// Go on without this terminal: returns once the first run may begin
    ///
    /// `status`, `attach` and `stop` see to it from then on. Exit code 0 says that it has begun; where it cannot, the call ends as it
    /// does without this option.
    #[arg(long)]
    detach: bool,
    /// This is the call that has no terminal
    #[arg(long, hide = true)]
    in_background: bool,
    /// Leave everything that a person or a CI service wants to see in this new folder, however the call ends
    ///
    /// junit.xml (a suite per run, a case per gate), verdicts.json, stdout.txt, the report, and the evidence.
    #[arg(long, value_name = "FOLDER")]
    ci: Option<PathBuf>,
}

impl Watched {
    fn manner(&self) -> Manner {
        Manner {
            keep_going: self.keep_going,
            detached: self.in_background,
        }
    }

    /// Does the work here, or has it done in the background.
    fn see_to(
        &self,
        suite: &str,
        work: impl FnOnce(&Stream) -> anyhow::Result<i32>,
    ) -> anyhow::Result<i32> {
        if self.detach && !self.in_background {
            return detach::start(life::hints);
        }
        let mut listeners: Vec<Box<dyn Listener>> = Vec::new();
        if self.in_background {
            detach::leave_terminal()?;
            listeners.push(Box::new(detach::Handover(Terminal::new())));
        } else {
            listeners.push(Box::new(Terminal::new()));
        }
        match &self.ci {
            Some(folder) => ci::kept(folder, suite, listeners, work),
            None => told(listeners, work),
        }
    }
}

/// The program: reads its arguments, does what they say, and ends the process with the exit code.
pub fn main() {
    let cli = <Cli as clap::Parser>::parse();
    // A panic has been reported by its hook, and unwinding has ended what was started.
    let result = std::panic::catch_unwind(|| dispatch(cli));
    let code = match result {
        Err(_) => exit::FAULT,
        Ok(Ok(code)) => code,
        Ok(Err(error)) => {
            eprintln!("barrier-bench: {}", masked(&format!("{error:#}")));
            exit::code_of(&error)
        }
    };
    std::process::exit(code);
}

/// Does what the command line says and returns the exit code.
///
/// # Errors
/// See [`exit::code_of`] for the codes that errors become.
fn dispatch(cli: Cli) -> anyhow::Result<i32> {
    match cli.verb {
        Verb::Run {
            what,
            how,
            dry_run,
            stop_monitoring_on_fail,
            manner,
        } => {
            if dry_run {
                let (suite, selection) = what.load(how)?;
                let plan = Plan::new(&suite, &selection)?;
                show::plan(&suite, &plan, &selection)?;
                return Ok(exit::OK);
            }
            let name = what.suite.clone();
            manner.see_to(&name, |stream| {
                let (suite, selection) = what.load(how)?;
                let plan = Plan::new(&suite, &selection)?;
                let place = Place::of_plan(&suite, &plan)?;
                let ended = session::run(&suite, plan, &selection, manner.manner(), stream);
                // Where another run is active, perhaps the one for which this call was refused, the monitor is watching that.
                if stop_monitoring_on_fail
                    && !matches!(ended, Ok(exit::OK))
                    && let Ok(_alone) = lock::take(&suite.file.suite.id)
                    && let Err(error) = monitor::stop(&suite, &place)
                {
                    say(&format!("monitor  {error:#}"));
                }
                ended
            })
        }
        Verb::Resume {
            folder,
            set,
            env_file,
            manner,
        } => manner.see_to(&folder.display().to_string(), |stream| {
            let given = Given::new(&set, env_file.as_deref())?;
            session::resume(&folder, &given, manner.manner(), stream)
        }),
        Verb::Status { which, json } => life::status(&which, json),
        Verb::Attach { which, lines } => life::attach(&which, lines),
        Verb::Stop { which } => life::stop(&which),
        Verb::Export {
            folder,
            out,
            set,
            env_file,
        } => life::export(&folder, &out, &Given::new(&set, env_file.as_deref())?),
        Verb::Up {
            what,
            detach,
            in_background,
        } => up::up(what, detach, in_background),
        Verb::Down { what } => up::down(&what),
        Verb::Judge { folder, suite } => judge::judge(&folder, suite.as_deref()),
        Verb::Clean { what, dry_run } => clean::clean(what, dry_run),
        Verb::Fixtures {
            what,
            check,
            restore,
        } => fixtures::fixtures(what, check, restore),
        Verb::Doctor { what } => {
            let (suite, selection) = what.load(How::default())?;
            let plan = Plan::new(&suite, &selection)?;
            let report = session::trial::examine(&suite, &plan)?;
            report
                .findings
                .iter()
                .for_each(|finding| say(&finding.to_string()));
            Ok(if report.healthy() {
                exit::OK
            } else {
                exit::SET_UP
            })
        }
        Verb::Compare {
            folders,
            allow_differences,
            json,
        } => {
            let comparison = compare::compare(&folders, &allow_differences)?;
            if json {
                say(&format!("{:#}", comparison.json()));
            } else {
                comparison.lines().iter().for_each(|line| say(line));
            }
            let passed = comparison.verdict().is_none_or(PlanVerdict::passed);
            Ok(if passed { exit::OK } else { exit::GATE })
        }
        Verb::Baseline { what } => accept::baseline(what),
        Verb::Report {
            folder,
            allow_differences,
        } => told(vec![Box::new(Terminal::new())], |stream| {
            report::report(&folder, &allow_differences, stream)
        }),
        Verb::Monitor {
            suite,
            set,
            env_file,
            what,
        } => {
            let with = What::whole(suite, set, env_file);
            let (suite, selection) = with.load(How::default())?;
            monitor::monitor(&suite, &Plan::new(&suite, &selection)?, &what)
        }
        Verb::ServeMonitor { folder } => serve::serve(&Place::at(&folder)).map(|()| exit::OK),
        Verb::Board { suite, set, html } => {
            board::board(What::whole(suite, set, None), html.as_deref())
        }
        Verb::Undo { forget } => {
            let done = leftovers(Who::Person { forget })?;
            done.iter().for_each(|done| say(done));
            if done.is_empty() {
                say("no fault is left");
            }
            Ok(exit::OK)
        }
        Verb::NewGate { suite, id } => board::new_gate(&suite, &id),
        Verb::List { suite } => {
            let suites = match suite {
                Some(name) => vec![Suite::load(&name)?],
                None => list::load_all(&[])?,
            };
            suites.iter().for_each(list::list);
            Ok(exit::OK)
        }
        Verb::Validate { files } => {
            for suite in list::load_all(&files)? {
                say(&format!(
                    "{}: valid, {} scenarios",
                    suite.path.display(),
                    suite.file.scenario.len()
                ));
            }
            Ok(exit::OK)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definition_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn a_monitor_has_the_ports_that_everybody_knows_unless_others_are_given() {
        let ports = |more: &[&str]| {
            let words = ["barrier-bench", "monitor", "chat", "start"];
            let words = words.iter().chain(more);
            let parsed = <Cli as clap::Parser>::try_parse_from(words).expect("a call");
            format!("{:?}", parsed.verb)
        };
        let usual = ports(&[]);
        assert!(
            usual.contains("prometheus_port: 9090") && usual.contains("dashboard_port: 3001"),
            "{usual}"
        );
        let other = ports(&["--prometheus-port", "0", "--dashboard-port", "7"]);
        assert!(
            other.contains("prometheus_port: 0") && other.contains("dashboard_port: 7"),
            "{other}"
        );
    }
}
