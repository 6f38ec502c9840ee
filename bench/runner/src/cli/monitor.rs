//! The verb `monitor`.

use clap::{Args, Subcommand, ValueEnum};

use crate::monitoring::life::{self, Options, Stopped};
use crate::monitoring::place::{Place, Record};
use crate::plan::Plan;
use crate::suite::Suite;
use crate::suite::vars::Vars;
use crate::terminal::say;
use crate::values::exit;
use crate::values::text::shown;

/// What is done with a monitor.
#[derive(Debug, Subcommand)]
pub(super) enum MonitorVerb {
    /// Start it, and leave it running
    ///
    /// Prometheus scrapes what the suite names in [dashboard] and takes in what k6 sends; the suite's alerts are checked and loaded.
    /// Grafana is started where GRAFANA_HOME, the path or a container engine has one; else a page of the runner's own shows the same panels.
    /// Everything listens on 127.0.0.1 alone. Runs of the suite that begin from now on are watched.
    Start(StartArgs),
    /// End it, with all that it started; what it kept stays
    Stop,
    /// Print where to look
    Url {
        /// Print this address alone
        which: Option<Which>,
    },
    /// Say whether it is up, where, and which alerts fire now; exit code 2 if it is not, or Prometheus does not answer
    Status,
    /// Print the suite's alerts as a file of rules, for a Prometheus of one's own
    Rules {
        /// As after `start --quick`
        #[arg(long)]
        quick: bool,
        /// The limits of the gates too, as series, so that a dashboard without a monitor has its lines
        #[arg(long)]
        limits: bool,
    },
}

/// How it is started.
#[derive(Debug, Args)]
pub(super) struct StartArgs {
    /// Port of Prometheus; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 9090)]
    prometheus_port: u16,
    /// Port of Grafana, or of the runner's own page; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 3001)]
    dashboard_port: u16,
    /// Show the runner's own page even where there is a Grafana
    #[arg(long)]
    without_grafana: bool,
    /// Scale how long alerts wait before they fire by the suite's [quick], as fits runs with --quick
    #[arg(long)]
    quick: bool,
}

/// One of the addresses.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Which {
    /// Grafana's dashboard, or the runner's own page
    Dashboard,
    /// Prometheus
    Prometheus,
}

/// Does what was asked for with the monitor of a suite. `plan` would run now: its values count.
///
/// # Errors
/// As the rooms below say.
pub(super) fn monitor(suite: &Suite, plan: &Plan<'_>, what: &MonitorVerb) -> anyhow::Result<i32> {
    let Some(run) = plan.runs.last() else {
        return Err(exit::set_up("the plan holds no run"));
    };
    let vars = &run.vars;
    let place = Place::of_plan(suite, plan)?;
    match what {
        MonitorVerb::Start(args) => start(suite, vars, &place, args),
        MonitorVerb::Stop => stop(suite, &place).map(|()| exit::OK),
        MonitorVerb::Url { which } => {
            let record = up(suite, &place)?;
            match which {
                Some(Which::Dashboard) => say(&record.dashboard),
                Some(Which::Prometheus) => say(&record.prometheus),
                None => addresses(&record),
            }
            Ok(exit::OK)
        }
        MonitorVerb::Status => {
            let record = up(suite, &place)?;
            addresses(&record);
            let (lines, healthy) = life::status(&place, &record);
            lines.iter().for_each(|line| say(line));
            Ok(if healthy { exit::OK } else { exit::SET_UP })
        }
        MonitorVerb::Rules { quick, limits } => {
            let scenario = run.scenario.id.get_ref().as_str();
            let of = limits.then_some(scenario);
            say(life::rules(suite, vars, *quick, of)?.trim_end());
            Ok(exit::OK)
        }
    }
}

/// Ends the monitor and says so.
///
/// # Errors
/// It does not end.
pub(super) fn stop(suite: &Suite, place: &Place) -> anyhow::Result<()> {
    let id = &suite.file.suite.id;
    say(&match life::stop(place)? {
        Stopped::Ended => format!(
            "the monitor of {id} has ended; what it kept is in {}",
            shown(place.folder())
        ),
        Stopped::Gone => format!("the monitor of {id} had ended before"),
        Stopped::None => format!("no monitor of {id} is up"),
    });
    Ok(())
}

fn start(suite: &Suite, vars: &Vars, place: &Place, args: &StartArgs) -> anyhow::Result<i32> {
    let before = place.up().is_some();
    let record = life::start(
        suite,
        vars,
        place,
        Options {
            prometheus_port: args.prometheus_port,
            dashboard_port: args.dashboard_port,
            without_grafana: args.without_grafana,
            quick: args.quick,
        },
    )?;
    if before {
        say("the monitor is up already");
    }
    addresses(&record);
    say(&format!("data       {}", shown(place.folder())));
    Ok(exit::OK)
}

fn up(suite: &Suite, place: &Place) -> anyhow::Result<Record> {
    life::refuse_elsewhere(place, "not asked")?;
    place.up().ok_or_else(|| {
        exit::set_up(format!(
            "no monitor of {} is up beside its evidence ({}); start it with: barrier-bench monitor {} start",
            suite.file.suite.id,
            shown(place.folder()),
            suite.file.suite.id
        ))
    })
}

fn addresses(record: &Record) {
    say(&format!("dashboard  {}", record.dashboard));
    say(&format!("prometheus {}", record.prometheus));
    say(&format!("grafana    {}", record.grafana));
}
