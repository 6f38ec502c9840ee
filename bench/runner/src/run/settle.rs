//! Waiting, before anything is cleaned, for what an earlier run still holds: given back later, it would spoil this one.

use std::time::{Duration, Instant};

use crate::run::redis::access::Access;
use crate::run::redis::client::Server;
use crate::suite::Suite;
use crate::suite::each::items;
use crate::suite::schema::{CleanTable, SettleTable};
use crate::suite::scope::{Condition, Moment, Watched};
use crate::suite::vars::{RunValues, Vars};
use crate::values::exit;

/// Between two looks.
const EVERY: Duration = Duration::from_millis(200);

/// Waits for what the suite declares. Each value that has not settled in time is told, in the order of the suite.
///
/// # Errors
/// Redis cannot be reached or refuses, a variable is missing, or `pause` refuses.
pub(crate) fn settle(
    suite: &Suite,
    vars: &Vars,
    mut pause: impl FnMut(Duration) -> anyhow::Result<()>,
    mut tell: impl FnMut(String),
) -> anyhow::Result<()> {
    for table in &suite.file.clean {
        let Some(declared) = &table.settle else {
            continue;
        };
        let condition = Condition::parse(table.when.get_ref()).map_err(exit::set_up)?;
        if condition.holds(Moment::BeforeRun, vars) {
            settle_one(suite, table, declared, vars, &mut pause, &mut tell)?;
        }
    }
    Ok(())
}

fn settle_one(
    suite: &Suite,
    table: &CleanTable,
    declared: &SettleTable,
    vars: &Vars,
    pause: &mut impl FnMut(Duration) -> anyhow::Result<()>,
    tell: &mut impl FnMut(String),
) -> anyhow::Result<()> {
    let address = vars.expand(table.target.get_ref(), &RunValues::new())?;
    let mut server = Server::connect(&Access::new(&address, vars)?)?;
    let mut full = Vec::new();
    for text in &declared.one_of {
        let text = vars.expand(text.get_ref(), &RunValues::new())?;
        let number: i64 = text
            .parse()
            .map_err(|_| exit::set_up(format!("clean {}: `one_of` has {text}", table.id)))?;
        full.push(number);
    }
    let deadline = Instant::now() + declared.limit;
    for entry in &declared.of {
        for item in items(&suite.file, entry.get_ref(), vars)? {
            let Ok(Watched::Field { hash, field }) = Watched::parse(entry.get_ref()) else {
                return Err(exit::set_up(format!(
                    "clean {}: `{}` is no field of a hash",
                    table.id,
                    entry.get_ref()
                )));
            };
            let (hash, field) = (vars.expand(hash, &item)?, vars.expand(field, &item)?);
            // What is not there is not held either.
            while let Some(value) = server.number(&hash, &field)?
                && !full.contains(&value)
            {
                if Instant::now() >= deadline {
                    let say = vars.expand_shown(declared.say.get_ref())?;
                    tell(format!(
                        "{hash}[{field}] is {value} after {} s, expected {}: {say}",
                        declared.limit.as_secs(),
                        full.iter()
                            .map(i64::to_string)
                            .collect::<Vec<_>>()
                            .join(" or ")
                    ));
                    break;
                }
                pause(EVERY)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
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
[env.SEATS]
type = "int"
default = 8
[each]
event = "${EVENT_IDS}"
[[clean]]
id = "held"
kind = "redis"
when = "before_run"
target = "${REDIS_URL}"
settle = { of = ["SLOTS[{event}]"], one_of = ["${SEATS}", "70"], limit = "LIMIT", say = "of ${SEATS}" }
[[scenario]]
id = "smoke"
script = "s.js"
limit = "30s"
"#;

    #[test]
    fn only_fields_of_hashes_are_waited_for() {
        let text = TABLES.replace("LIMIT", "1s");
        suite(&text).expect("suite");
        for (wrong, expected) in [
            (text.replace("SLOTS[{event}]", "SLOTS"), "HASH[{item}]"),
            (text.replace("of ${SEATS}", "of ${SEAT}"), "SEAT"),
        ] {
            let refused = suite(&wrong).expect_err("refused").to_string();
            assert!(refused.contains(expected), "{refused}");
        }
    }

    #[test]
    fn what_comes_back_is_waited_for_and_what_does_not_is_told() {
        let mut inbox = Inbox::without_signals();
        let program = find_program(std::path::Path::new("..")).expect("a redis-server");
        let redis = redis_server::start(&program, 100, &mut inbox).expect("a private Redis starts");
        let mut vars = Vars::default();
        vars.supply("SEATS", Value::Int(8), Origin::Default);
        let events = ["e1", "e2", "e3"].map(str::to_owned).to_vec();
        vars.supply("EVENT_IDS", Value::List(events), Origin::CommandLine);
        let address = Value::Text(redis.address().to_owned());
        vars.supply("REDIS_URL", address, Origin::Started);
        let access = Access::new(redis.address(), &vars).expect("valid");
        let mut server = Server::connect(&access).expect("connection");
        let mut set = |command: &str| {
            let words: Vec<&str> = command.split(' ').collect();
            server.ask(&words, &mut Vec::new()).expect("set");
        };
        // Of those that were preset some are held too.
        set("HSET SLOTS e1 70 e2 69");

        let patient = suite(&TABLES.replace("LIMIT", "1h")).expect("suite");
        let (mut looks, mut told) = (0, Vec::new());
        let back = |_| {
            looks += 1;
            if looks == 3 {
                set("HSET SLOTS e2 70");
            }
            Ok(())
        };
        settle(&patient, &vars, back, |text| told.push(text)).expect("settled");
        assert_eq!((looks, told.as_slice()), (3, [].as_slice()));

        set("HSET SLOTS e1 8 e2 5");
        let hasty = suite(&TABLES.replace("LIMIT", "0s")).expect("suite");
        settle(&hasty, &vars, |_| Ok(()), |text| told.push(text)).expect("looked");
        let expected = "SLOTS[e2] is 5 after 0 s, expected 8 or 70: of 8";
        assert_eq!(told, [expected]);
    }
}
