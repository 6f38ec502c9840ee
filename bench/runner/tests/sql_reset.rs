//! The reset of a database before a run, and one that does not answer in time after it, at a real PostgreSQL.

mod common;

use barrier_procs::PrivatePostgres;
use common::bench::{background, signal};
use common::life::{Seen, children, wait_for};
use common::own::{EXTERNAL, Own, SLEEPS};
use common::{finish, json, postgres, text};
use rustix::process::Signal;

const HARNESS: &str = r#"
export const options = { vus: 1, iterations: 1 };
export default function () {}
export function handleSummary(data) {
  return { 'summary.json': JSON.stringify(data) };
}
"#;

const SUITE: &str = r#"
[[clean]]
id = "progress"
kind = "sql"
when = "before_run"
target = "${DATABASE_URL}"
statements = ["SELECT 'rows', count(*) FROM progress"]
reset = ["TRUNCATE TABLE progress", "SELECT pg_stat_statements_reset() IS NOT NULL"]

[[scenario]]
id = "main"
script = "run.js"
limit = "60s"
"#;

struct Database {
    server: PrivatePostgres,
    own: Own,
}

impl Database {
    /// With three rows in a table.
    fn new(edits: &[(&str, &str)]) -> Self {
        let server = postgres::start("shop_db");
        let mut suite = SUITE.to_owned();
        for (old, new) in edits {
            assert!(suite.contains(old), "{old}");
            suite = suite.replace(old, new);
        }
        let own = postgres::suite(&format!("{EXTERNAL}{suite}"), HARNESS, false);
        let database = Self { server, own };
        database.ask("CREATE TABLE progress (id int); INSERT INTO progress VALUES (1), (2), (3)");
        database
    }

    fn ask(&self, statement: &str) -> String {
        postgres::ask(&self.server, statement)
    }

    fn rows(&self) -> String {
        self.ask("SELECT count(*) FROM progress")
    }

    fn call(&self, verb: &str, address: &str, more: &[&str]) -> (i32, String) {
        let set = format!("DATABASE_URL={address}");
        let mut call = self.own.call(verb, more);
        call.env("BASE_URL", self.own.address());
        finish(call.args(["--set", &set]))
    }
}

#[test]
fn a_database_is_reset_before_a_run_and_that_is_recorded() {
    let database = Database::new(&[]);
    let (code, printed) = database.call("run", &database.server.url(), &[]);
    assert_eq!(code, 0, "{printed}");
    assert_eq!(database.rows(), "0");
    let folder = database.own.place.run_folder("main");
    let log = text(&folder.join("cleanup.txt"));
    let lines = [
        "[plan] TRUNCATE TABLE progress",
        "rows|3",
        "[cleanup] statements",
        "[cleanup] state after",
        "rows|0",
        "[cleanup] done",
    ];
    let mut rest = log.as_str();
    for line in lines {
        let found = rest.split_once(&format!("{line}\n"));
        rest = found.unwrap_or_else(|| panic!("{line}: {log}")).1;
    }
    let password = database.server.password();
    assert!(!printed.contains(password) && !log.contains(password));
    assert!(!text(&folder.join("meta.json")).contains(password));
    assert_eq!(json(&folder.join("verdict.json"))["verdict"], "PASS");
}

#[test]
fn a_dry_run_prints_the_statements_and_changes_nothing() {
    let database = Database::new(&[]);
    for verb in ["clean", "run"] {
        let (code, printed) = database.call(verb, &database.server.url(), &["--dry-run"]);
        assert_eq!(code, 0, "{printed}");
        assert!(printed.contains("TRUNCATE TABLE progress"), "{printed}");
    }
    assert_eq!(database.rows(), "3");
    let (code, printed) = database.call("clean", &database.server.url(), &[]);
    assert!(code == 0 && printed.contains("[cleanup] done"), "{printed}");
    assert_eq!(database.rows(), "0");
}

#[test]
fn what_the_suite_does_not_allow_is_not_reset() {
    let database = Database::new(&[]);
    let url = database.server.url();
    let port = database.server.port();
    for (address, expected) in [
        (
            url.replace("/shop_db", "/postgres"),
            "the database `postgres` is not allowed; allowed: shop_db",
        ),
        (
            url.replace("127.0.0.1", "localhost"),
            "the host localhost is not allowed; allowed: 127.0.0.1",
        ),
        (
            format!("{url}?dbname=postgres"),
            "the parameter `dbname` of its address could name another server or database",
        ),
        (
            format!("postgres://127.0.0.1\\@localhost:{port}/shop_db"),
            "the host `localhost` of its address is not allowed; allowed: 127.0.0.1",
        ),
        (
            "postgres://127.0.0.1,localhost:/shop_db".to_owned(),
            "the host `127.0.0.1,localhost` of its address is not allowed; allowed: 127.0.0.1",
        ),
        (
            format!("{url}#/postgres"),
            "its address has a fragment (`#`)",
        ),
        (
            url.replace("/shop_db", "//shop_db"),
            "the database `/shop_db` is not allowed; allowed: shop_db",
        ),
        (
            format!("{url}/postgres"),
            "the database `shop_db/postgres` is not allowed; allowed: shop_db",
        ),
        (
            url.replace("postgres://", "mysql://"),
            "received an address of mysql; allowed: postgres://",
        ),
    ] {
        let (code, printed) = database.call("clean", &address, &[]);
        assert!(
            code == 2 && printed.contains(expected),
            "{expected}: {printed}"
        );
    }
    assert_eq!(database.rows(), "3");
}

#[test]
fn what_is_declared_to_read_cannot_write() {
    let edits = [(
        "SELECT 'rows', count(*) FROM progress",
        "DELETE FROM progress",
    )];
    let database = Database::new(&edits);
    let (code, printed) = database.call("clean", &database.server.url(), &["--dry-run"]);
    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains("in a read-only transaction"), "{printed}");
    assert_eq!(database.rows(), "3");
}

#[test]
fn what_could_leave_its_session_is_not_asked() {
    let (reads, resets) = (
        "SELECT 'rows', count(*) FROM progress",
        "TRUNCATE TABLE progress",
    );
    for (old, new, expected) in [
        (
            reads,
            "BEGIN READ WRITE; TRUNCATE progress; COMMIT",
            "more than one statement",
        ),
        (reads, "\\\\! touch gone", "a command to psql"),
        (resets, " \\\\connect postgres", "a command to psql"),
    ] {
        let database = Database::new(&[(old, new)]);
        for more in [&["--dry-run"][..], &[]] {
            let (code, printed) = database.call("clean", &database.server.url(), more);
            assert!(
                code == 2 && printed.contains(expected),
                "{expected}: {printed}"
            );
        }
        assert_eq!(database.rows(), "3");
    }
}

#[test]
fn a_statement_that_fails_keeps_the_run_from_being_made() {
    let edits = [("TRUNCATE TABLE progress", "TRUNCATE TABLE nowhere")];
    let database = Database::new(&edits);
    let (code, printed) = database.call("run", &database.server.url(), &[]);
    assert_eq!(code, 2, "{printed}");
    assert!(
        printed.contains("relation \"nowhere\" does not exist"),
        "{printed}"
    );
    let folder = database.own.place.run_folder("main");
    assert_eq!(json(&folder.join("verdict.json"))["verdict"], "NOT_RUN");
    let log = text(&folder.join("cleanup.txt"));
    assert!(
        log.contains("[cleanup] failed: reset of postgres://"),
        "{log}"
    );
}

#[test]
fn a_file_makes_the_tables_of_an_empty_database_before_it_is_reset() {
    let edits = [("reset = [", "schema = \"schema.sql\"\nreset = [")];
    let database = Database::new(&edits);
    database.ask("DROP TABLE progress");
    let file = "CREATE TABLE IF NOT EXISTS progress (id int);\nINSERT INTO progress VALUES (7);\n";
    database.own.write("schema.sql", file);
    let (code, printed) = database.call("clean", &database.server.url(), &["--dry-run"]);
    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains("[plan] schema: /"), "{printed}");
    assert_eq!(database.ask("SELECT to_regclass('progress') IS NULL"), "t");
    for _ in 0..2 {
        let (code, printed) = database.call("clean", &database.server.url(), &[]);
        assert_eq!(code, 0, "{printed}");
        assert_eq!(database.rows(), "0", "reset behind the file, not before");
    }
    let broken = "DROP TABLE progress;\nCREATE TABLE progress (id nonsense);\n";
    database.own.write("schema.sql", broken);
    let (code, printed) = database.call("clean", &database.server.url(), &[]);
    assert_eq!(code, 2, "{printed}");
    assert!(
        printed.contains("type \"nonsense\" does not exist"),
        "{printed}"
    );
    assert_eq!(database.rows(), "0", "as a whole or not at all");
}

#[test]
fn a_program_makes_the_tables_with_the_variables_of_the_suite() {
    let psql = postgres::program().with_file_name("psql");
    let schema = format!(
        "schema = [\"sh\", \"-c\", '\"$0\" \"$DATABASE_URL\" -qc \"CREATE TABLE IF NOT EXISTS progress (id int)\" && echo made', \"{}\"]\nreset = [",
        psql.display()
    );
    let database = Database::new(&[("reset = [", &schema)]);
    database.ask("DROP TABLE progress");
    let (code, printed) = database.call("run", &database.server.url(), &[]);
    assert_eq!(code, 0, "{printed}");
    assert_eq!(database.rows(), "0");
    let folder = database.own.place.run_folder("main");
    let log = text(&folder.join("cleanup.txt"));
    assert!(
        log.contains("\n[cleanup] schema\n") && log.contains("\nmade\n"),
        "{log}"
    );
    assert!(!log.contains(database.server.password()), "{log}");

    let failing = Database::new(&[(
        "reset = [",
        "schema = [\"sh\", \"-c\", \"echo no room; exit 3\"]\nreset = [",
    )]);
    let (code, printed) = failing.call("clean", &failing.server.url(), &[]);
    assert_eq!(code, 2, "{printed}");
    assert!(
        printed.contains("exit status: 3; it said: no room"),
        "{printed}"
    );
    assert_eq!(failing.rows(), "3");
}

#[test]
fn a_statement_that_waits_for_a_lock_ends_in_its_time() {
    let edits = [("reset = [", "limit = \"300ms\"\nreset = [")];
    let database = Database::new(&edits);
    let held = "BEGIN; LOCK TABLE progress IN SHARE MODE; SELECT pg_sleep(900)";
    let mut holder = postgres::psql(&database.server.url(), held)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("psql runs");
    let asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    common::life::wait_for("a lock", || (database.ask(asleep) == "1").then_some(()));
    let (code, printed) = database.call("clean", &database.server.url(), &[]);
    assert_eq!(code, 2, "{printed}");
    assert!(printed.contains("statement timeout"), "{printed}");
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'barrier-bench'";
    assert_eq!(database.ask(waiting), "0");
    holder.kill().expect("a signal");
    holder.wait().expect("its end");
    assert_eq!(database.rows(), "3");
}

#[test]
fn what_a_reset_may_not_say_is_refused_before_anything_starts() {
    for (old, new, expected) in [
        (
            "reset = [",
            "schema = 3\nreset = [",
            "`schema` is a file of SQL, or a list",
        ),
        (
            "reset = [",
            "schema = []\nreset = [",
            "`schema` is a file of SQL, or a list",
        ),
        (
            "reset = [",
            "limit = \"0s\"\nreset = [",
            "`limit` must be more than 0",
        ),
        (
            "\"TRUNCATE TABLE progress\"",
            "\"\\\\\\\\! rm\"",
            "a command to psql",
        ),
    ] {
        let mut suite = SUITE.to_owned();
        assert!(suite.contains(old), "{old}");
        suite = suite.replace(old, new);
        let own = postgres::suite(&format!("{EXTERNAL}{suite}"), HARNESS, false);
        let (code, printed) = finish(&mut own.call("validate", &[]));
        assert!(
            code == 2 && printed.contains(expected),
            "{expected}: {printed}"
        );
    }
}

/// Whoever ends a run does not wait for the half minute that a database may take to answer.
#[test]
fn a_record_holds_an_interrupted_run_up_for_some_seconds_at_most() {
    let record = "[env.SECONDS]\ntype = \"int\"\ndefault = 50\n[[record]]\nid = \"slow\"\nkind = \"sql\"\nsource = \"${DATABASE_URL}\"\n\
        statement = \"SELECT 1 FROM pg_sleep(25)\"\n[[scenario]]";
    let database = Database::new(&[("[[scenario]]", record)]);
    database.own.write("run.js", SLEEPS);
    let mut call = database.own.call("run", &["--set"]);
    call.arg(format!("DATABASE_URL={}", database.server.url()))
        .env("BASE_URL", database.own.address());
    let (runner, lines) = background(call);
    let id = i32::try_from(runner.id()).expect("an id");
    wait_for("a k6 that runs", || {
        let children = children(id);
        let k6 = |child: &Seen| child.command.contains(" run ") && child.command.contains("run.js");
        children.iter().any(k6).then_some(())
    });
    signal(&runner, Signal::INT);
    let said: Vec<String> = lines.collect();
    let (code, _) = common::wait(runner);
    assert_eq!(code, 4, "{said:#?}");
    let late = "warning  record slow: no answer within 5 s after the run was interrupted";
    assert!(said.iter().any(|line| line.contains(late)), "{said:#?}");
}
