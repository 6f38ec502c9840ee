//! The command line.

mod monitor;
pub(crate) mod show;

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};

use crate::compare::plan_verdict::PlanVerdict;
use crate::compare::{self, baseline};
use crate::events::{Aside, Stream};
use crate::monitoring::place::Place;
use crate::monitoring::serve;
use crate::plan::build::Builds;
use crate::plan::{Plan, Selection};
use crate::report;
use crate::run::clean;
use crate::run::settle::settle;
use crate::session;
use crate::session::lock;
use crate::suite::given::Given;
use crate::suite::schema::TargetKind;
use crate::suite::{self, Suite};
use crate::terminal::{self, Terminal, say};
use crate::values::exit;
use crate::values::mask::masked;
use crate::values::text::from_here;
use crate::verdict::stored::Now;
use monitor::MonitorVerb;

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
    3 a gate failed; 4 interrupted; anything else is k6's own code (99 a threshold was crossed, 107 exception, 108 aborted \
    by the script), handed on where the suite says exit = \"k6_first\".\n\n\
    Programs: K6_BIN, else ./k6, else k6 on the path. REDIS_SERVER_BIN, else redis-server on the path, else what \
    scripts/ensure-redis.sh unpacked. A target that comes with the project: NAME_BIN, else NAME beside this program or in bin/.";

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
    /// REDIS_URL a private Redis is started, without BASE_URL the reference target; both are ended again, also by Ctrl-C, which
    /// keeps what is complete.
    #[command(after_long_help = EXAMPLES)]
    Run {
        #[command(flatten)]
        what: What,
        #[command(flatten)]
        how: How,
        /// Print the plan with its time; start, clean and write nothing
        #[arg(long)]
        dry_run: bool,
        /// Go on with the other runs even if one could not be started
        #[arg(long)]
        keep_going: bool,
        /// End the suite's monitor after a plan that does not pass; its evidence is complete by then
        #[arg(long)]
        stop_monitoring_on_fail: bool,
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
        /// Go on with the other runs even if one could not be started
        #[arg(long)]
        keep_going: bool,
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
    /// Clean Redis within the suite's scope, as before a run
    ///
    /// Only keys and fields of the given events are touched; the plan is printed first, the result is read back. Needs
    /// REDIS_URL: a private Redis has nothing to clean.
    Clean {
        #[command(flatten)]
        what: What,
        /// Print what would be deleted and what is there; change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Look for what would spoil a run, and say how to mend it
    ///
    /// k6 and its modules, Redis, targets, harness, open files, ports, time limits. Where all this is in order and the suite has a
    /// probe, it tries what the runs will do: at BASE_URL, else at a target that it starts, with a private Redis, and ends again.
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

#[derive(Debug, Subcommand)]
enum BaselineVerb {
    /// Accept the runs of a plan
    ///
    /// Their values are kept beside the plan, in the folder baselines/, and replace what was accepted before under the same
    /// conditions: suite, harness, parameters, k6, machine. `compare` and reports of later plans show them.
    Accept {
        /// Folder of the plan, as `run` printed it
        folder: PathBuf,
    },
    /// List what was accepted
    List {
        /// Root of the evidence
        #[arg(default_value = "evidence/k6", env = "EVIDENCE_ROOT")]
        root: PathBuf,
    },
}

#[derive(Debug, Default, Args)]
struct What {
    /// Suite file, or the name of one in bench/suites/
    suite: String,
    /// Scenario to run; may be repeated or a comma list
    ///
    /// Without it the environment variable that the suite names for that counts, else the suite's own order.
    #[arg(long, short, value_name = "ID", value_delimiter = ',')]
    scenario: Vec<String>,
    /// Variant to run; may be repeated or a comma list
    #[arg(long, short = 'V', value_name = "NAME", value_delimiter = ',')]
    variant: Vec<String>,
    /// Value of a variable of the suite; may be repeated
    ///
    /// Order: --set, the level of an axis, the scenario's own value, the environment variable NAME, --env-file, the suite's
    /// default. An empty value counts as not given.
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// File with NAME=VALUE lines for variables of the suite
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
    /// Only the points with these levels of a scenario's axes
    ///
    /// Several levels of one axis are alternatives: --level NAME=1,NAME=2,OTHER=0.
    #[arg(long, value_name = "NAME=VALUE", value_delimiter = ',')]
    level: Vec<String>,
}

#[derive(Debug, Default, Args)]
struct How {
    /// Judged cycles; in each, every variant runs once
    #[arg(long, value_name = "N")]
    cycles: Option<u32>,
    /// Cycles before the judged ones that only warm up the machine
    #[arg(long, value_name = "N")]
    discard: Option<u32>,
    /// Scale the loads down to see that everything works; such runs are SMOKE and never compared
    #[arg(long)]
    quick: bool,
    /// A word for the evidence
    #[arg(long, value_name = "TEXT", default_value = "")]
    label: String,
    /// A build of the thing under test; may be repeated, and the others are compared with the first
    ///
    /// NAME=PATH puts a program in the place of the one that the target starts, with its arguments; NAME=TARGET:PATH where
    /// several targets have a program. NAME=http://HOST:PORT is a target that a person started. NAME alone says what it is that
    /// runs there.
    #[arg(long, value_name = "NAME=PLACE")]
    build: Vec<String>,
    /// Draw random orders from this number, to repeat those of another plan
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

impl What {
    fn load(self, how: How) -> anyhow::Result<(Suite, Selection)> {
        let suite = Suite::load(&self.suite)?;
        let given = Given::new(&self.set, self.env_file.as_deref())?;
        let levels = self
            .level
            .iter()
            .map(|item| match item.split_once('=') {
                Some((name, value)) if !name.is_empty() => {
                    Ok((name.trim().to_owned(), value.trim().to_owned()))
                }
                _ => Err(exit::set_up(format!(
                    "--level {item}: not of the form NAME=VALUE"
                ))),
            })
            .collect::<anyhow::Result<_>>()?;
        let mut scenarios = self.scenario;
        if scenarios.is_empty() {
            scenarios = suite.scenarios_of(&given.environment);
        }
        scenarios.retain(|name| !name.is_empty());
        let builds = Builds::new(&suite, &how.build, &given, &how.label)?;
        Ok((
            suite,
            Selection {
                builds,
                scenarios,
                variants: self.variant,
                levels,
                cycles: how.cycles,
                discard: how.discard,
                quick: how.quick,
                label: how.label,
                // Small enough for readers of JSON that know no whole numbers beyond 2^53.
                seed: how.seed.unwrap_or_else(|| rand::random::<u32>().into()),
                given,
            },
        ))
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
            keep_going,
            stop_monitoring_on_fail,
        } => {
            let (suite, selection) = what.load(how)?;
            let plan = Plan::new(&suite, &selection)?;
            if dry_run {
                show::plan(&suite, &plan, &selection)?;
                return Ok(exit::OK);
            }
            let place = Place::of_plan(&suite, &plan)?;
            let ended = told(|stream| session::run(&suite, plan, &selection, keep_going, stream));
            if stop_monitoring_on_fail && !matches!(ended, Ok(exit::OK)) {
                monitor::stop(&suite, &place)?;
            }
            ended
        }
        Verb::Resume {
            folder,
            set,
            env_file,
            keep_going,
        } => {
            let given = Given::new(&set, env_file.as_deref())?;
            told(|stream| session::resume(&folder, &given, keep_going, stream))
        }
        Verb::Judge { folder, suite } => judge(&folder, suite.as_deref()),
        Verb::Clean { what, dry_run } => clean(what, dry_run),
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
        Verb::Baseline { what } => {
            let (baselines, none) = match what {
                BaselineVerb::Accept { folder } => (baseline::accept(&folder)?, ""),
                BaselineVerb::List { root } => (baseline::list(&root)?, "nothing was accepted"),
            };
            baselines.iter().for_each(|baseline| say(&baseline.line()));
            if baselines.is_empty() {
                say(none);
            }
            Ok(exit::OK)
        }
        Verb::Report {
            folder,
            allow_differences,
        } => told(|stream| report::report(&folder, &allow_differences, stream)),
        Verb::Monitor {
            suite,
            set,
            env_file,
            what,
        } => {
            let with = What {
                suite,
                set,
                env_file,
                ..What::default()
            };
            let (suite, selection) = with.load(How::default())?;
            monitor::monitor(&suite, &Plan::new(&suite, &selection)?, &what)
        }
        Verb::ServeMonitor { folder } => serve::serve(&Place::at(&folder)).map(|()| exit::OK),
        Verb::List { suite } => {
            let suites = match suite {
                Some(name) => vec![Suite::load(&name)?],
                None => load_all(&[])?,
            };
            suites.iter().for_each(show::suite);
            Ok(exit::OK)
        }
        Verb::Validate { files } => {
            for suite in load_all(&files)? {
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

/// Does what tells the terminal of itself. All of it is said when this returns, also where it panics.
fn told(work: impl FnOnce(&Stream) -> anyhow::Result<i32>) -> anyhow::Result<i32> {
    struct Said(Stream);
    impl Drop for Said {
        fn drop(&mut self) {
            self.0.close();
        }
    }
    let terminal = Aside::of(Terminal::new())
        .map_err(|error| anyhow::anyhow!("the terminal needs a thread: {error}"))?;
    let stream = Said(Stream::to(terminal));
    work(&stream.0)
}

fn judge(folder: &Path, suite: Option<&str>) -> anyhow::Result<i32> {
    let again = session::again::judge(folder, suite)?;
    for run in &again.judged.runs {
        match &run.now {
            Now::Nothing { title, doubts } if doubts.is_empty() => say(&format!(
                "verdict  {}  {title}\n         k6 did not come to its end, so there is nothing to judge",
                run.before.as_deref().unwrap_or("NOT_RUN")
            )),
            Now::Nothing { title, doubts } => say(&format!(
                "verdict  INVALID  {title}\n         {}",
                doubts.join("\n         ")
            )),
            Now::Judged {
                run: now, notes, ..
            } => {
                terminal::judged(now).iter().for_each(|line| say(line));
                for note in notes {
                    say(&format!("beware   {note}; the verdict does not rest on it"));
                }
                say(&match &run.before {
                    Some(before) if *before == now.verdict => {
                        format!("stored   the same verdict, {before}")
                    }
                    Some(before) => format!(
                        "stored   differs: the stored verdict is {before}, judged again it is {}",
                        now.verdict
                    ),
                    None => "stored   no verdict".to_owned(),
                });
            }
        }
    }
    let (begun, never) = (again.judged.runs.len(), &again.judged.never_begun);
    for folder in never {
        say(&format!("verdict  NOT_RUN  {folder}\n         never begun"));
    }
    for folder in &again.judged.strangers {
        say(&format!(
            "verdict  INVALID  {folder}\n         its folder is not in the plan"
        ));
    }
    if !never.is_empty() {
        say(&format!(
            "plan     not whole: {begun} of {} runs were begun; `barrier-bench resume` goes on",
            begun + never.len()
        ));
    }
    for folder in &again.torn {
        say(&format!(
            "plan     {folder}: of an earlier attempt at its block than the runs beside it; `barrier-bench resume` makes the block again"
        ));
    }
    if let Some(verdict) = &again.verdict {
        say(&verdict.to_string());
    }
    Ok(again.code)
}

fn load_all(files: &[PathBuf]) -> anyhow::Result<Vec<Suite>> {
    let found = if files.is_empty() {
        suite::in_folder(Path::new(suite::FOLDER)).map_err(|_| {
            exit::set_up(format!(
                "no folder {}; call from the root of a checkout, or name the files",
                from_here(Path::new(suite::FOLDER)).display()
            ))
        })?
    } else {
        files.to_vec()
    };
    found
        .iter()
        .map(|path| Suite::load(&path.display().to_string()))
        .collect()
}

fn clean(what: What, dry_run: bool) -> anyhow::Result<i32> {
    let (suite, selection) = what.load(How::default())?;
    // Somebody else's run must not lose its queues.
    let _lock = if dry_run {
        None
    } else {
        Some(lock::take(&format!("{}, cleaning", suite.file.suite.id))?)
    };
    let plan = Plan::new(&suite, &selection)?;
    let Some(run) = plan.runs.into_iter().next() else {
        return Err(exit::set_up("the plan holds no run"));
    };
    if !run.point.is_empty() {
        say(&format!("as before {}", run.title()));
    }
    let vars = run.vars;
    if vars.get("REDIS_URL").is_none() {
        return Err(exit::set_up(
            "REDIS_URL is missing: a private Redis starts empty; name the Redis to clean",
        ));
    }
    let Some(cleaning) = clean::Plan::new(&suite, &vars, &[])? else {
        say("the suite declares nothing to clean");
        return Ok(exit::OK);
    };
    terminal::cleaning(cleaning.shown_address(), cleaning.summary())
        .iter()
        .for_each(|line| say(line));
    if run.target.kind == TargetKind::External && !dry_run {
        let pause = |time| {
            std::thread::sleep(time);
            Ok(())
        };
        settle(&suite, &vars, pause, |text| {
            say(&format!("[cleanup] {text}"));
        })?;
    }
    let mut log = Vec::new();
    let result = cleaning.execute(dry_run, &mut log, || Ok(()));
    log.iter().for_each(|line| say(line));
    result.map(|()| exit::OK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definition_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }
}
