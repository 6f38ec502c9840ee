//! Servers of our own, for runs whose user has named none: a Redis, a PostgreSQL.

use anyhow::Context as _;
use barrier_procs::{Identity, PrivatePostgres, PrivateRedis, allowed_processors};

use crate::events::{Event, Stream};
use crate::evidence::Folder;
use crate::plan::{Plan, PlannedRun};
use crate::run::inbox::Inbox;
use crate::run::meta::{RedisFacts, ServerFacts};
use crate::run::process::comm;
use crate::run::processors::Split;
use crate::run::redis::access::Access;
use crate::run::redis::client::Server;
use crate::run::redis::server::{self as redis_server, info_field};
use crate::run::sql::client::Database;
use crate::run::sql::server::{self as postgres_server, Facts};
use crate::suite::Suite;
use crate::suite::private::{POSTGRES, REDIS};
use crate::suite::vars::{Origin, Value, Vars};
use crate::values::mask::masked_address;

/// Connections for k6, the target and the runner beside one per user.
const REDIS_RESERVE: i64 = 1024;

/// The servers that the runner has started for the runs of a call. They end with it.
#[derive(Debug, Default)]
pub(super) struct Servers {
    redis: Option<PrivateRedis>,
    postgres: Option<Postgres>,
}

#[derive(Debug)]
struct Postgres {
    server: PrivatePostgres,
    facts: Facts,
}

/// A server that the runner has started.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) id: &'static str,
    /// Without password.
    pub(super) address: String,
    pub(super) process: Identity,
}

impl Servers {
    /// Starts those that the runs need and nobody has given. Where a run seeks a limit, they have the processors of the services.
    ///
    /// # Errors
    /// There is no program for one, it does not start, or a signal arrived.
    pub(super) fn start(
        suite: &Suite,
        plan: &Plan<'_>,
        inbox: &mut Inbox,
        stream: &Stream,
    ) -> anyhow::Result<Self> {
        let split = plan.runs.iter().find_map(|run| Split::of(run)?.ok());
        let bound = split.as_ref().map(Split::services).transpose()?;
        let redis = start_redis(suite, plan, inbox, stream)?;
        let postgres = start_postgres(suite, plan, bound.is_some(), inbox, stream)?;
        drop(bound);
        Ok(Self { redis, postgres })
    }

    /// Gives the variables of a run the addresses.
    pub(super) fn supply(&self, vars: &mut Vars) {
        if let Some(redis) = &self.redis {
            let address = Value::Text(redis.address().to_owned());
            vars.supply(REDIS.variable, address, Origin::Started);
        }
        if let Some(postgres) = &self.postgres {
            let address = Value::Text(postgres.server.url());
            vars.supply(POSTGRES.variable, address, Origin::Started);
        }
    }

    /// What is told of the servers of a run, also of those that the user gave.
    pub(super) fn facts(&self, suite: &Suite, vars: &Vars, inbox: &mut Inbox) -> ServerFacts {
        let redis = match &self.redis {
            Some(redis) => RedisFacts {
                version: Some(redis.version().to_owned()),
                private: true,
                process: Some(redis.id()),
            },
            None => vars
                .text(REDIS.variable)
                .and_then(|address| given_redis(&Access::new(&address, vars).ok()?))
                .unwrap_or_default(),
        };
        let postgres = match &self.postgres {
            Some(postgres) => Some(postgres.facts.clone()),
            None => given_postgres(suite, vars, inbox),
        };
        ServerFacts { redis, postgres }
    }

    /// What was started.
    ///
    /// # Errors
    /// One has ended.
    pub(super) fn started(&self) -> anyhow::Result<Vec<Started>> {
        let redis = self.redis.as_ref();
        let redis = redis.map(|redis| (REDIS.need, redis.address().to_owned(), redis.id()));
        let postgres = self.postgres.as_ref().map(|own| &own.server);
        let postgres = postgres.map(|server| (POSTGRES.need, server.url(), server.id()));
        let all = redis.into_iter().chain(postgres);
        all.map(|(id, address, process)| {
            Ok(Started {
                id,
                address: masked_address(&address),
                process: Identity::of(process)?,
            })
        })
        .collect()
    }

    /// Ends them and keeps their logs.
    ///
    /// # Errors
    /// A log cannot be read or kept.
    pub(super) fn end(&mut self, folder: &Folder) -> anyhow::Result<()> {
        if let Some(redis) = self.redis.take() {
            let log = std::fs::read(redis.log()).context("reading the log of Redis")?;
            drop(redis);
            keep(folder, REDIS.need, &log)?;
        }
        if let Some(Postgres { server, .. }) = self.postgres.take() {
            let log = std::fs::read(server.log()).context("reading the log of PostgreSQL")?;
            drop(server);
            keep(folder, POSTGRES.need, &log)?;
        }
        Ok(())
    }
}

/// Each call that works in a folder leaves a log of its own.
fn keep(folder: &Folder, name: &str, log: &[u8]) -> anyhow::Result<()> {
    let names = (1..).map(|number| match number {
        1 => format!("{name}.log"),
        _ => format!("{name}-{number}.log"),
    });
    let mut free = names.filter(|name| !folder.has(name));
    let name = free.next().context("no free name for a log")?;
    folder.write(&name, log)
}

fn start_redis(
    suite: &Suite,
    plan: &Plan<'_>,
    inbox: &mut Inbox,
    stream: &Stream,
) -> anyhow::Result<Option<PrivateRedis>> {
    let given = |run: &PlannedRun<'_>| run.vars.get(REDIS.variable).is_some();
    if !suite.file.needs(REDIS) || plan.runs.iter().all(given) {
        return Ok(None);
    }
    let users = plan
        .runs
        .iter()
        .filter_map(|run| run.users)
        .max()
        .unwrap_or(0);
    let redis = redis_server::start(
        &redis_server::find_program(&suite.root)?,
        (users + REDIS_RESERVE).max(10_000),
        inbox,
    )?;
    stream.tell(Event::RedisStarted {
        version: redis.version().to_owned(),
        address: redis.address().to_owned(),
    });
    Ok(Some(redis))
}

fn start_postgres(
    suite: &Suite,
    plan: &Plan<'_>,
    bound: bool,
    inbox: &mut Inbox,
    stream: &Stream,
) -> anyhow::Result<Option<Postgres>> {
    let given = |run: &PlannedRun<'_>| run.vars.get(POSTGRES.variable).is_some();
    if !suite.file.needs(POSTGRES) || plan.runs.iter().all(given) {
        return Ok(None);
    }
    let processors = bound.then(allowed_processors).transpose()?;
    let server = postgres_server::start(
        &postgres_server::find_program(&suite.root)?,
        postgres_server::database_of(suite),
        inbox,
    )?;
    let database = Database::new(suite, "private PostgreSQL", &server.url())?;
    let facts = Facts::ask(&database, &mut |time| Ok(inbox.pause(time)?))?;
    let facts = facts.of_private(&server, processors);
    stream.tell(Event::PostgresStarted {
        version: server.version().to_owned(),
        address: masked_address(&server.url()),
    });
    Ok(Some(Postgres { server, facts }))
}

/// Version of a Redis that the user gave, and its process if that is on this machine.
fn given_redis(access: &Access) -> Option<RedisFacts> {
    let info = Server::connect(access)
        .ok()?
        .ask(&["INFO", "server"], &mut Vec::new())
        .ok()?;
    let process = info_field(&info, "process_id").and_then(|id| id.parse().ok());
    Some(RedisFacts {
        version: info_field(&info, "redis_version"),
        private: false,
        // The number of a process on another machine may be taken here by another program.
        process: process.filter(|&id| {
            comm(id).is_some_and(|name| name.starts_with("redis") || name.starts_with("valkey"))
        }),
    })
}

/// What a PostgreSQL says that the user gave; `None` where the suite needs none. One that does not answer is no fault here: what
/// needs it says so, and so does the run after a signal.
fn given_postgres(suite: &Suite, vars: &Vars, inbox: &mut Inbox) -> Option<Facts> {
    let address = vars.text(POSTGRES.variable);
    let address = address.filter(|_| suite.file.needs(POSTGRES))?;
    let asked = Database::new(suite, POSTGRES.variable, &address)
        .and_then(|database| Facts::ask(&database, &mut |time| Ok(inbox.pause(time)?)));
    Some(asked.unwrap_or_default())
}
