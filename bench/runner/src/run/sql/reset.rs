//! Guarded reset of a PostgreSQL database: the statements that a suite lists under `reset`, at a host and in a database that it allows.

use std::time::Duration;

use super::client::{Database, Pause, Session, one, sql};
use crate::run::clean::heading;
use crate::suite::Suite;
use crate::suite::schema::CleanKind;
use crate::suite::scope::{Condition, Moment};
use crate::suite::vars::{RunValues, Vars};
use crate::values::exit;
use crate::values::mask::masked;

/// For a statement that waits for a lock which nobody gives back.
const LIMIT: Duration = Duration::from_secs(60);

/// A database and what is done to it before a run.
#[derive(Debug)]
pub(crate) struct Reset {
    database: Database,
    /// What only reads, and is recorded before and after.
    statements: Vec<String>,
    /// What changes data, in its order.
    reset: Vec<String>,
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
        let plan = self.reset.iter();
        log.extend(plan.map(|statement| format!("[plan] {statement}")));
        log.push("[cleanup] state before".to_owned());
        self.read(log, pause)?;
        if dry_run {
            log.push("[cleanup] dry run: nothing was changed".to_owned());
            return Ok(());
        }
        log.push("[cleanup] statements".to_owned());
        for statement in &self.reset {
            pause(Duration::ZERO)?;
            let answer = self
                .database
                .ask(statement, Session::Writes, LIMIT, pause);
            // An interrupt is no refusal of the server's.
            pause(Duration::ZERO)?;
            let answer = answer.map_err(|error| {
                exit::set_up(format!(
                    "reset of {}: `{statement}`: {error:#}",
                    self.shown_address()
                ))
            })?;
            log.push(said(statement, &answer));
        }
        log.push("[cleanup] state after".to_owned());
        self.read(log, pause)?;
        log.push("[cleanup] done".to_owned());
        Ok(())
    }

    /// A question that cannot be answered (no such table yet) is a finding, not a fault.
    fn read(&self, log: &mut Vec<String>, pause: Pause<'_>) -> anyhow::Result<()> {
        for statement in &self.statements {
            let answer = self.database.ask(statement, Session::Reads, LIMIT, pause);
            pause(Duration::ZERO)?;
            log.push(match answer {
                Ok(answer) => said(statement, &answer),
                Err(error) => said(statement, &format!("{error:#}")),
            });
        }
        Ok(())
    }
}

fn said(statement: &str, answer: &str) -> String {
    let answer = answer.trim().replace('\n', "; ");
    masked(&format!("> {statement}\n{answer}"))
}
