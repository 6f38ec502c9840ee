//! Whether the servers that a suite needs can be reached, or started.

use super::findings::{Level, Report};
use crate::plan::PlannedRun;
use crate::run::redis::access::Access;
use crate::run::redis::client::Server;
use crate::run::redis::server::{self as redis_server, info_field};
use crate::run::sql::client::Database;
use crate::run::sql::server::{self as postgres_server, Facts};
use crate::suite::Suite;
use crate::suite::private::{POSTGRES, REDIS};
use crate::values::mask;

pub(super) fn redis_usable(suite: &Suite, run: &PlannedRun<'_>, report: &mut Report) {
    let Some(address) = run.vars.text(REDIS.variable) else {
        let found = redis_server::find_program(&suite.root).map(|path| {
            format!(
                "private Redis from {} (REDIS_URL is not given)",
                path.display()
            )
        });
        return report.note(found, None);
    };
    let shown = mask::masked_address(&address);
    let mut log = Vec::new();
    let access = Access::new(&address, &run.vars);
    let server = access
        .and_then(|access| Server::connect(&access))
        .and_then(|mut server| {
            let info = server.ask(&["INFO", "server"], &mut log)?;
            let clients = server.ask(&["CONFIG", "GET", "maxclients"], &mut log).ok();
            Ok((
                info_field(&info, "redis_version").unwrap_or_default(),
                clients,
            ))
        });
    match server {
        Err(error) => report.add(
            Level::Fault,
            format!("{error:#}"),
            Some("start Redis, mend REDIS_URL, or leave it out for a private one"),
        ),
        Ok((version, clients)) => {
            report.good(format!("Redis {version} at {shown}"));
            let most = clients.and_then(|text| {
                text.trim_matches(['[', ']'])
                    .rsplit(", ")
                    .next()?
                    .parse::<i64>()
                    .ok()
            });
            let users = run.users.unwrap_or(0);
            match most {
                Some(most) if most < users => report.add(
                    Level::Warning,
                    format!("Redis allows {most} connections, the run has {users} users; a target with one connection per user fails"),
                    Some(&format!("redis-cli CONFIG SET maxclients {}", users + 1024)),
                ),
                Some(most) => report.good(format!("Redis allows {most} connections")),
                None => report.add(
                    Level::Warning,
                    "Redis does not tell how many connections it allows",
                    Some(&format!("see that its `maxclients` is above {users}")),
                ),
            }
        }
    }
}

pub(super) fn postgres_usable(suite: &Suite, run: &PlannedRun<'_>, report: &mut Report) {
    let Some(address) = run.vars.text(POSTGRES.variable) else {
        let found = postgres_server::find_program(&suite.root).map(|path| {
            format!(
                "private PostgreSQL from {} ({} is not given)",
                path.display(),
                POSTGRES.variable
            )
        });
        return report.note(found, None);
    };
    let mut pause = |time| {
        std::thread::sleep(time);
        Ok(())
    };
    let asked = Database::new(suite, POSTGRES.variable, &address)
        .and_then(|database| Facts::ask(&database, &mut pause));
    let shown = mask::masked_address(&address);
    match asked {
        Err(error) => report.add(
            Level::Fault,
            format!("PostgreSQL at {shown}: {error:#}"),
            Some("start it, mend DATABASE_URL, or leave it out for a private one"),
        ),
        Ok(facts) => {
            let version = facts.version.as_deref().unwrap_or("of unknown version");
            report.good(format!("PostgreSQL {version} at {shown}"));
            match facts.no_statements() {
                None => report.good("PostgreSQL counts statements (pg_stat_statements)"),
                Some(why) => report.add(
                    Level::Warning,
                    format!("PostgreSQL does not count statements: {why}"),
                    Some("set shared_preload_libraries = 'pg_stat_statements', start it again, and CREATE EXTENSION pg_stat_statements in the database"),
                ),
            }
        }
    }
}
