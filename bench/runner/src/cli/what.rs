//! Which runs of a suite a call means.

use std::path::PathBuf;

use clap::Args;

use crate::plan::Selection;
use crate::plan::build::Builds;
use crate::suite::Suite;
use crate::suite::given::Given;
use crate::values::exit;

/// Which runs of a suite are meant.
#[derive(Debug, Default, Args)]
pub(super) struct What {
    /// Suite file, or the name of one in bench/suites/
    pub(super) suite: String,
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

/// How its plan is made.
#[derive(Debug, Default, Args)]
pub(super) struct How {
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
    /// All that a suite runs by itself, by these values of its variables.
    pub(super) fn whole(suite: String, set: Vec<String>, env_file: Option<PathBuf>) -> Self {
        Self {
            suite,
            set,
            env_file,
            ..Self::default()
        }
    }

    /// The suite, and what is asked of it.
    ///
    /// # Errors
    /// The suite does not hold together, or an argument is none.
    pub(super) fn load(self, how: How) -> anyhow::Result<(Suite, Selection)> {
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
