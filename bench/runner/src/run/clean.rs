//! Scoped cleaning of Redis.
//!
//! A suite declares what may be touched; nothing else can be expressed: whole keys that carry an event id (or an earlier
//! run id), and single fields of shared hashes. There is no pattern, no `FLUSHDB`, and no way to delete a shared hash.
//! The plan is shown and recorded before anything is deleted, and the result is read back.

use crate::run::process::find_on_path;
use crate::run::redis::access::Access;
use crate::run::redis::client::Server;
use crate::suite::Suite;
use crate::suite::each::{items, lists};
use crate::suite::schema::{CleanKind, CleanTable};
use crate::suite::scope::{Condition, EARLIER_RUN, Moment, Scope, iterated};
use crate::suite::vars::{RunValues, Vars};
use crate::values::exit;

/// A command that changes Redis; there are no others.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    Delete {
        key: String,
    },
    RemoveField {
        hash: String,
        field: String,
    },
    SetField {
        hash: String,
        field: String,
        value: String,
    },
}

impl Action {
    fn words(&self) -> Vec<&str> {
        match self {
            Self::Delete { key } => vec!["DEL", key],
            Self::RemoveField { hash, field } => vec!["HDEL", hash, field],
            Self::SetField { hash, field, value } => vec!["HSET", hash, field, value],
        }
    }

    /// The question whose answer shows what is there, before and after.
    fn question(&self) -> Vec<&str> {
        match self {
            Self::Delete { key } => vec!["TYPE", key],
            Self::RemoveField { hash, field } | Self::SetField { hash, field, .. } => {
                vec!["HGET", hash, field]
            }
        }
    }

    fn expected(&self) -> &str {
        match self {
            Self::Delete { .. } => "none",
            Self::RemoveField { .. } => "(nil)",
            Self::SetField { value, .. } => value,
        }
    }
}

/// What will be done, in order.
#[derive(Debug)]
pub(crate) struct Plan {
    /// As the suite's tables name the server.
    address: String,
    access: Access,
    actions: Vec<(Action, Vec<String>)>,
    statements: Vec<String>,
    /// One line per scope entry, for the terminal.
    summary: Vec<String>,
}

/// The first line of what cleaning writes down. `count`: how many of what.
pub(super) fn heading(dry_run: bool, count: &str, address: &str) -> String {
    let what = if dry_run { "dry run" } else { "plan" };
    format!("[cleanup] {what} of {count} at {address}")
}

impl Plan {
    /// Plans the cleaning before a run; `None` if the suite declares none.
    ///
    /// # Errors
    /// A variable is missing, or the tables name different servers.
    pub(crate) fn new(
        suite: &Suite,
        vars: &Vars,
        earlier_runs: &[String],
    ) -> anyhow::Result<Option<Self>> {
        Self::at(Moment::BeforeRun, suite, vars, earlier_runs)
    }

    /// Plans what is taken back after a run; `None` if the suite declares nothing.
    ///
    /// # Errors
    /// A variable is missing, or the tables name different servers.
    pub(crate) fn after(suite: &Suite, vars: &Vars) -> anyhow::Result<Option<Self>> {
        Self::at(Moment::AfterRun, suite, vars, &[])
    }

    fn at(
        moment: Moment,
        suite: &Suite,
        vars: &Vars,
        earlier_runs: &[String],
    ) -> anyhow::Result<Option<Self>> {
        let mut plan: Option<Self> = None;
        for table in &suite.file.clean {
            let condition = Condition::parse(table.when.get_ref()).map_err(exit::set_up)?;
            if table.kind != CleanKind::Redis || !condition.holds(moment, vars) {
                continue;
            }
            let address = vars.expand(table.target.get_ref(), &RunValues::new())?;
            let plan = match &mut plan {
                Some(plan) => plan,
                empty => empty.insert(Self {
                    access: Access::new(&address, vars)?,
                    address: address.clone(),
                    actions: Vec::new(),
                    statements: Vec::new(),
                    summary: Vec::new(),
                }),
            };
            if plan.address != address {
                return Err(exit::set_up(format!(
                    "clean {}: names another server than the tables before it",
                    table.id
                )));
            }
            plan.add(suite, table, vars, earlier_runs)?;
        }
        Ok(plan)
    }

    fn add(
        &mut self,
        suite: &Suite,
        table: &CleanTable,
        vars: &Vars,
        earlier_runs: &[String],
    ) -> anyhow::Result<()> {
        let each = lists(&suite.file);
        let items_of = |name: &str| match each.get(name) {
            Some(list) => vars.list(list),
            None => Ok(earlier_runs),
        };
        let names: Vec<&str> = each.keys().copied().collect();
        for entry in &table.scope {
            let scope = Scope::parse(entry.get_ref(), &names).map_err(exit::set_up)?;
            let name = iterated(entry.get_ref(), &names).unwrap_or(EARLIER_RUN);
            let every = items_of(name)?;
            for item in every {
                let run = RunValues::from([(name, item.clone())]);
                let action = match scope {
                    Scope::Key(key) => Action::Delete {
                        key: vars.expand(key, &run)?,
                    },
                    Scope::Field { hash, field, value } => {
                        let (hash, field) = (vars.expand(hash, &run)?, vars.expand(field, &run)?);
                        match value {
                            None => Action::RemoveField { hash, field },
                            Some(value) => Action::SetField {
                                hash,
                                field,
                                value: vars.expand(value, &run)?,
                            },
                        }
                    }
                };
                self.actions.push((action, table.types.clone()));
            }
            let (verb, rest) = match scope {
                Scope::Key(key) => ("DEL", key.to_owned()),
                Scope::Field {
                    hash,
                    field,
                    value: None,
                } => ("HDEL", format!("{hash} {field}")),
                Scope::Field {
                    hash,
                    field,
                    value: Some(value),
                } => (
                    "HSET",
                    format!("{hash} {field} {}", vars.expand(value, &RunValues::new())?),
                ),
            };
            self.summary
                .push(format!("{verb} {rest} ({} × {name})", every.len()));
        }
        for statement in &table.statements {
            for item in items(&suite.file, statement.get_ref(), vars)? {
                self.statements
                    .push(vars.expand(statement.get_ref(), &item)?);
            }
        }
        Ok(())
    }

    /// The plan for the terminal.
    pub(crate) fn summary(&self) -> &[String] {
        &self.summary
    }

    /// The server, without password.
    pub(crate) fn shown_address(&self) -> &str {
        self.access.shown()
    }

    /// Carries the plan out; with `dry_run` it only looks. Every command and its reply is added to `log`, also when an
    /// error ends the work. `go_on` is asked before each command that changes anything.
    ///
    /// # Errors
    /// Redis cannot be reached or refuses, a key has a type that the suite does not own, something is left over, or
    /// `go_on` refuses.
    pub(crate) fn execute(
        &self,
        dry_run: bool,
        log: &mut Vec<String>,
        mut go_on: impl FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let count = format!("{} commands", self.actions.len());
        log.push(heading(dry_run, &count, self.shown_address()));
        log.extend(
            self.actions
                .iter()
                .map(|(action, _)| format!("[plan] {}", action.words().join(" "))),
        );
        if find_on_path("redis-cli").is_none() {
            log.push("[cleanup] note: redis-cli is not on the path; the commands ran through the runner's own client".to_owned());
        }
        let mut server = Server::connect(&self.access)?;
        log.push("[cleanup] state before".to_owned());
        for statement in &self.statements {
            // A reading command may fail (no such consumer group): that is a finding, not a fault.
            let words: Vec<&str> = statement.split_whitespace().collect();
            server.ask(&words, log).ok();
        }
        for (action, types) in &self.actions {
            let found = server.ask(&action.question(), log)?;
            if let Action::Delete { key } = action
                && found != "none"
                && !types.is_empty()
                && !types.contains(&found)
            {
                return Err(exit::set_up(format!(
                    "cleaning: {key} is of type {found}, which this suite does not own (allowed: {}); nothing was deleted",
                    types.join(", ")
                )));
            }
        }
        if dry_run {
            log.push("[cleanup] dry run: nothing was changed".to_owned());
            return Ok(());
        }
        log.push("[cleanup] commands".to_owned());
        for (action, _) in &self.actions {
            go_on()?;
            server.ask(&action.words(), log)?;
        }
        self.read_back(&mut server, log)
    }

    /// Looks once more, directly before k6: a target that has started meanwhile must not have brought anything back.
    ///
    /// # Errors
    /// Redis cannot be reached, or something is left over.
    pub(super) fn verify(&self, log: &mut Vec<String>) -> anyhow::Result<()> {
        log.push("[cleanup] the target is ready".to_owned());
        self.read_back(&mut Server::connect(&self.access)?, log)
    }

    fn read_back(&self, server: &mut Server, log: &mut Vec<String>) -> anyhow::Result<()> {
        log.push("[cleanup] read back".to_owned());
        for (action, _) in &self.actions {
            let found = server.ask(&action.question(), log)?;
            if found != action.expected() {
                return Err(exit::set_up(format!(
                    "cleaning: after `{}` {} answers {found}, expected {}; is a target or a run still active on these events?",
                    action.words().join(" "),
                    action.question().join(" "),
                    action.expected()
                )));
            }
        }
        log.push("[cleanup] done".to_owned());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use barrier_procs::PrivateRedis;

    use super::*;
    use crate::run::inbox::Inbox;
    use crate::run::redis::server::{self as redis_server, find_program};
    use crate::suite::tests::suite;
    use crate::suite::vars::{Origin, Value};

    const TABLES: &str = r#"
[env.EVENT_IDS]
type = "list"
[env.REDIS_URL]
type = "url"
[env.SLOT_BOOST]
type = "int"
default = 0
[each]
event = "${EVENT_IDS}"
[[clean]]
id = "keys"
kind = "redis"
when = "before_run"
target = "${REDIS_URL}"
scope = ["WAITING:{event}", "K6_OPEN_AT_MS:{earlier_run}", "WAITING_QUEUE_IDX[{event}]"]
types = ["zset", "hash", "string"]
statements = ["XPENDING ENTRY ENTRY_QUEUE"]
[[clean]]
id = "slots"
kind = "redis"
when = "before_run if SLOT_BOOST=0"
target = "${REDIS_URL}"
scope = ["ENTRY_QUEUE_SLOTS[{event}]"]
[[clean]]
id = "boost"
kind = "redis"
when = "before_run if SLOT_BOOST=1"
target = "${REDIS_URL}"
scope = ["ENTRY_QUEUE_SLOTS[{event}]=10000"]
[[scenario]]
id = "smoke"
script = "s.js"
limit = "30s"
"#;

    struct Fixture {
        server: Server,
        suite: Suite,
        vars: Vars,
        _redis: PrivateRedis,
    }

    fn fixture(boost: i64) -> Fixture {
        let mut inbox = Inbox::without_signals();
        let program = find_program(std::path::Path::new("..")).expect("a redis-server");
        let redis = redis_server::start(&program, 100, &mut inbox).expect("a private Redis starts");
        let suite = suite(TABLES).expect("suite");
        let mut vars = Vars::default();
        vars.supply("SLOT_BOOST", Value::Int(boost), Origin::CommandLine);
        vars.supply(
            "EVENT_IDS",
            Value::List(vec!["e1".to_owned(), "e2".to_owned()]),
            Origin::CommandLine,
        );
        vars.supply(
            "REDIS_URL",
            Value::Text(redis.address().to_owned()),
            Origin::Started,
        );
        let access = Access::new(redis.address(), &vars).expect("valid");
        let server = Server::connect(&access).expect("connection");
        Fixture {
            server,
            suite,
            vars,
            _redis: redis,
        }
    }

    impl Fixture {
        fn ask(&mut self, command: &str) -> String {
            self.server
                .ask(&command.split(' ').collect::<Vec<_>>(), &mut Vec::new())
                .expect(command)
        }

        fn clean(&self, dry_run: bool) -> (anyhow::Result<()>, String) {
            let plan = Plan::new(&self.suite, &self.vars, &["1-2".to_owned()])
                .expect("plan")
                .expect("declared");
            let mut log = Vec::new();
            let result = plan.execute(dry_run, &mut log, || Ok(()));
            (result, log.join("\n"))
        }
    }

    fn left_over(f: &mut Fixture) {
        for command in [
            "ZADD WAITING:e1 1 u1",
            "HSET WAITING:e2 u2 2",
            "ZADD WAITING:other 1 u3",
            "HSET WAITING_QUEUE_IDX e1 7 other 9",
            "HSET ENTRY_QUEUE_SLOTS e1 3 other 4",
            "SET K6_OPEN_AT_MS:1-2 5",
            "SET K6_OPEN_AT_MS:9-9 5",
            "SET foreign yes",
        ] {
            f.ask(command);
        }
    }

    #[test]
    fn only_the_scope_is_cleaned() {
        let mut f = fixture(0);
        left_over(&mut f);
        let (result, log) = f.clean(false);
        result.expect("cleaned");
        for (question, answer) in [
            ("TYPE WAITING:e1", "none"),
            ("TYPE WAITING:e2", "none"),
            ("HGET WAITING_QUEUE_IDX e1", "(nil)"),
            ("HGET ENTRY_QUEUE_SLOTS e1", "(nil)"),
            ("EXISTS K6_OPEN_AT_MS:1-2", "(integer) 0"),
            ("ZCARD WAITING:other", "(integer) 1"),
            ("HGET WAITING_QUEUE_IDX other", "9"),
            ("HGET ENTRY_QUEUE_SLOTS other", "4"),
            ("EXISTS K6_OPEN_AT_MS:9-9", "(integer) 1"),
            ("GET foreign", "yes"),
        ] {
            assert_eq!(f.ask(question), answer, "{question}");
        }
        assert!(
            log.contains("[plan] DEL WAITING:e1")
                && log.contains("> DEL WAITING:e1\n< (integer) 1"),
            "{log}"
        );
        assert!(
            log.contains("> XPENDING ENTRY ENTRY_QUEUE\n< (error)"),
            "{log}"
        );
    }

    #[test]
    fn boosted_slots_are_read_back() {
        let mut f = fixture(1);
        left_over(&mut f);
        let (result, log) = f.clean(false);
        result.expect("cleaned");
        assert_eq!(f.ask("HGET ENTRY_QUEUE_SLOTS e1"), "10000");
        assert_eq!(f.ask("HGET ENTRY_QUEUE_SLOTS other"), "4");
        assert!(
            log.ends_with("> HGET ENTRY_QUEUE_SLOTS e2\n< 10000\n[cleanup] done"),
            "{log}"
        );
    }

    #[test]
    fn a_dry_run_changes_nothing() {
        let mut f = fixture(1);
        left_over(&mut f);
        let before = f.ask("DBSIZE");
        let (result, log) = f.clean(true);
        result.expect("looked");
        assert_eq!(f.ask("DBSIZE"), before);
        assert_eq!(f.ask("HGET ENTRY_QUEUE_SLOTS e1"), "3");
        assert!(
            log.contains("> TYPE WAITING:e1\n< zset") && !log.contains("> DEL"),
            "{log}"
        );
    }

    #[test]
    fn a_key_of_a_foreign_type_stops_everything() {
        let mut f = fixture(0);
        left_over(&mut f);
        f.ask("DEL WAITING:e2");
        f.ask("RPUSH WAITING:e2 x");
        let (result, _) = f.clean(false);
        let text = result.expect_err("refused").to_string();
        assert!(text.contains("WAITING:e2 is of type list"), "{text}");
        assert_eq!(f.ask("TYPE WAITING:e1"), "zset");
    }

    #[test]
    fn after_a_signal_nothing_more_is_deleted() {
        let mut f = fixture(0);
        left_over(&mut f);
        let plan = Plan::new(&f.suite, &f.vars, &[])
            .expect("plan")
            .expect("declared");
        let mut inbox = Inbox::without_signals();
        let sender = inbox.sender();
        let mut asked = 0;
        let mut log = Vec::new();
        let result = plan.execute(false, &mut log, || {
            asked += 1;
            if asked == 2 {
                sender
                    .send(crate::run::inbox::Message::Interrupt)
                    .expect("sent");
            }
            Ok(inbox.check()?)
        });
        let error = result.expect_err("interrupted");
        assert_eq!(exit::code_of(&error), exit::INTERRUPTED);
        assert_eq!(f.ask("TYPE WAITING:e1"), "none", "before the signal");
        assert_eq!(f.ask("TYPE WAITING:e2"), "hash", "after it");
    }

    #[test]
    fn an_unreachable_server_is_named_without_its_password() {
        let address = "redis://app:topsecret3@127.0.0.1:1/0";
        let access = Access::new(address, &Vars::default()).expect("valid");
        let error = Server::connect(&access).map(|_| ()).expect_err("refused");
        assert_eq!(exit::code_of(&error), exit::SET_UP);
        let text = format!("{error:#}");
        assert!(
            text.contains("127.0.0.1:1") && !text.contains("topsecret3"),
            "{text}"
        );
    }
}
