//! Servers that the runner starts for a suite that needs one, where nobody names one.

use barrier_procs::{DATABASE_NAMES, is_database_name};

use super::problem::{Problem, problem};
use super::schema::File;
use crate::values::value::Kind;

/// A server that a suite can need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Private {
    /// How `needs` of `[suite]` asks for it; also what its log and its process are called.
    pub(crate) need: &'static str,
    /// The variable that holds its address, given or made.
    pub(crate) variable: &'static str,
}

/// A Redis.
pub(crate) const REDIS: Private = Private {
    need: "redis",
    variable: "REDIS_URL",
};
/// A PostgreSQL, with the first database of `allow_databases`.
pub(crate) const POSTGRES: Private = Private {
    need: "postgres",
    variable: "DATABASE_URL",
};

/// Where a private server listens.
const HERE: &str = "127.0.0.1";

impl File {
    /// Whether the suite needs such a server.
    pub(crate) fn needs(&self, server: Private) -> bool {
        let mut needs = self.suite.needs.iter();
        needs.any(|need| need.get_ref() == server.need)
    }
}

/// Checks what a private PostgreSQL takes from the suite.
pub(super) fn servers(file: &File) -> Result<(), Problem> {
    let mut needs = file.suite.needs.iter();
    let Some(need) = needs.find(|need| need.get_ref() == POSTGRES.need) else {
        return Ok(());
    };
    let refuse = |text: &str| Err(problem(need, format!("`{}`: {text}", POSTGRES.need)));
    match file.env.get(POSTGRES.variable) {
        Some(table) if table.kind == Kind::Url => {}
        _ => return refuse("needs [env.DATABASE_URL] of type url, which gets its address"),
    }
    let Some(name) = file.suite.allow_databases.first() else {
        return refuse("needs `allow_databases`, whose first name a private one gets");
    };
    if !is_database_name(name) {
        return refuse(&format!(
            "a private one cannot be called `{name}`, the first of `allow_databases`; {DATABASE_NAMES}"
        ));
    }
    if !file.suite.allow_hosts.iter().any(|host| host == HERE) {
        return refuse("a private one listens at 127.0.0.1, which `allow_hosts` has to name");
    }
    Ok(())
}
