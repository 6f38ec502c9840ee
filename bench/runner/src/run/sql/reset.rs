//! Guarded reset of a PostgreSQL database: the statements that a suite lists under `reset`, at a host and in a database that it allows.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

use super::client::{Database, Pause, Session};
use crate::run::clean::heading;
use crate::run::program;
use crate::suite::Suite;
use crate::suite::schema::{CleanKind, CleanTable, Schema};
use crate::suite::scope::{Condition, Moment};
use crate::suite::statement::{one, sql};
use crate::suite::vars::{RunValues, Vars};
use crate::values::duration::parse_time;
use crate::values::exit;
use crate::values::mask::masked;

/// For a statement that waits for a lock which nobody gives back.
const LIMIT: Duration = Duration::from_secs(60);

/// A database and what is done to it before a run.
#[derive(Debug)]
pub(crate) struct Reset {
    database: Database,
    /// What makes the tables, unless something else does.
    schema: Option<Step>,
    /// How long each step may take.
    limit: Duration,
    /// What only reads, and is recorded before and after.
    statements: Vec<String>,
    /// What changes data, in its order.
    reset: Vec<String>,
}

/// What makes or migrates tables.
#[derive(Debug)]
enum Step {
    File(PathBuf),
    Program {
        path: PathBuf,
        arguments: Vec<String>,
        vars: Box<Vars>,
        shown: String,
    },
}

impl Step {
    fn new(suite: &Suite, table: &CleanTable, vars: &Vars) -> anyhow::Result<Option<Self>> {
        let expand = |text: &str| vars.expand(text, &RunValues::new());
        Ok(match table.schema() {
            None => None,
            Some(Schema::File(file)) => Some(Self::File(suite.resolve(&expand(file)?))),
            Some(Schema::Program(words)) => {
                let (name, arguments) = words.split_first().context("a program has a name")?;
                let arguments = arguments.iter().map(|word| expand(word));
                let arguments: Vec<String> = arguments.collect::<anyhow::Result<_>>()?;
                Some(Self::Program {
                    path: program::of_step(suite, &format!("clean {}", table.id), name)?,
                    shown: masked(&format!("{name} {}", arguments.join(" "))),
                    arguments,
                    vars: Box::new(vars.clone()),
                })
            }
        })
    }

    fn shown(&self) -> String {
        match self {
            Self::File(file) => file.display().to_string(),
            Self::Program { shown, .. } => shown.clone(),
        }
    }

    /// What it said.
    fn run(
        &self,
        database: &Database,
        limit: Duration,
        pause: Pause<'_>,
    ) -> anyhow::Result<String> {
        match self {
            Self::File(file) => database.apply(file, limit, pause),
            Self::Program {
                path,
                arguments,
                vars,
                ..
            } => program::said(path, arguments, vars, limit, pause),
        }
    }
}

impl Reset {
    /// Plans what is reset before a run, one plan for each database; none if the suite declares none. Nothing is asked or changed.
    ///
    /// # Errors
    /// A variable is missing, a host or a database is not allowed, or there is no `psql`.
    pub(crate) fn all(suite: &Suite, vars: &Vars) -> anyhow::Result<Vec<Self>> {
        let mut all = Vec::new();
        for table in &suite.file.clean {
            let condition = Condition::parse(table.when.get_ref()).map_err(exit::set_up)?;
            if table.kind != CleanKind::Sql || !condition.holds(Moment::BeforeRun, vars) {
                continue;
            }
            let expand =
                |text: &toml::Spanned<String>| vars.expand(text.get_ref(), &RunValues::new());
            let address = expand(&table.target)?;
            let statements = table.statements.iter().map(expand);
            let reset = table.reset.iter().map(expand);
            let plan = Self {
                database: Database::new(suite, &format!("clean {}", table.id), &address)?,
                schema: Step::new(suite, table, vars)?,
                limit: limit(table)?,
                statements: statements.collect::<anyhow::Result<_>>()?,
                reset: reset.collect::<anyhow::Result<_>>()?,
            };
            let what = |text: String| exit::set_up(format!("clean {}: {text}", table.id));
            plan.reset
                .iter()
                .try_for_each(|text| sql(text))
                .map_err(what)?;
            plan.statements
                .iter()
                .try_for_each(|text| one(text))
                .map_err(what)?;
            all.push(plan);
        }
        Ok(all)
    }

    /// The statements that change data, for the terminal.
    pub(crate) fn summary(&self) -> &[String] {
        &self.reset
    }

    /// The database, without password.
    pub(crate) fn shown_address(&self) -> &str {
        self.database.shown()
    }

    /// Carries the plan out; with `dry_run` it only reads. Every statement and its answer is added to `log`, also when an error ends the
    /// work. `pause` passes the time until each answer; where it fails, nothing more is asked.
    ///
    /// # Errors
    /// The server cannot be reached or refuses a statement that changes data, or `pause` fails.
    pub(crate) fn execute(
        &self,
        dry_run: bool,
        log: &mut Vec<String>,
        pause: Pause<'_>,
    ) -> anyhow::Result<()> {
        let count = format!("{} statements", self.reset.len());
        log.push(heading(dry_run, &count, self.shown_address()));
        let schema = self.schema.iter();
        log.extend(schema.map(|step| format!("[plan] schema: {}", step.shown())));
        let plan = self.reset.iter();
        log.extend(plan.map(|statement| format!("[plan] {statement}")));
        log.push("[cleanup] state before".to_owned());
        self.read(log, pause)?;
        if dry_run {
            log.push("[cleanup] dry run: nothing was changed".to_owned());
            return Ok(());
        }
        if let Some(step) = &self.schema {
            log.push("[cleanup] schema".to_owned());
            let made = step.run(&self.database, self.limit, pause);
            let answer = self.refused(&step.shown(), made, pause)?;
            log.push(said(&step.shown(), &answer));
        }
        log.push("[cleanup] statements".to_owned());
        for statement in &self.reset {
            pause(Duration::ZERO)?;
            let answer = self
                .database
                .ask(statement, Session::Writes, self.limit, pause);
            let answer = self.refused(&format!("`{statement}`"), answer, pause)?;
            log.push(said(statement, &answer));
        }
        log.push("[cleanup] state after".to_owned());
        self.read(log, pause)?;
        log.push("[cleanup] done".to_owned());
        Ok(())
    }

    /// What a step said, or a fault of the set-up.
    fn refused(
        &self,
        step: &str,
        answer: anyhow::Result<String>,
        pause: Pause<'_>,
    ) -> anyhow::Result<String> {
        // An interrupt is no refusal of the server's.
        pause(Duration::ZERO)?;
        answer.map_err(|error| {
            exit::set_up(masked(&format!(
                "reset of {}: {step}: {error:#}",
                self.shown_address()
            )))
        })
    }

    /// A question that cannot be answered (no such table yet) is a finding, not a fault.
    fn read(&self, log: &mut Vec<String>, pause: Pause<'_>) -> anyhow::Result<()> {
        for statement in &self.statements {
            let answer = self
                .database
                .ask(statement, Session::Reads, self.limit, pause);
            pause(Duration::ZERO)?;
            log.push(match answer {
                Ok(answer) => said(statement, &answer),
                Err(error) => said(statement, &format!("{error:#}")),
            });
        }
        Ok(())
    }
}

/// How long each step may take.
fn limit(table: &CleanTable) -> anyhow::Result<Duration> {
    let Some(limit) = &table.limit else {
        return Ok(LIMIT);
    };
    parse_time(limit.get_ref())
        .map_err(|why| exit::set_up(format!("clean {}: `limit`: {why}", table.id)))
}

fn said(statement: &str, answer: &str) -> String {
    let answer = answer.trim().replace('\n', "; ");
    masked(&format!("> {statement}\n{answer}"))
}
