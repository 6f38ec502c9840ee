//! What a PostgreSQL says of a run: over time, once its load is over, and as text; and waiting until everything is written.

mod common;

use barrier_procs::PrivatePostgres;
use common::life::wait_for;
use common::own::{EXTERNAL, Own, SLEEPS};
use common::{finish, json, postgres, text};
use serde_json::Value as Json;

const SUITE: &str = r#"
[env.SECONDS]
type = "float"
default = 2.5

[[scenario]]
id = "main"
script = "run.js"
limit = "60s"
"#;

/// A target that writes a row ten times a second, as long as it runs; `PSQL` is the program.
const WRITER: &str = r#"
[[target]]
id = "writer"
kind = "process"
start = ["sh", "-c", 'echo "$0" > "$1"; echo "buffer flush rows=1"; while "$2" "$DATABASE_URL" -qc "INSERT INTO progress VALUES (1)"; do sleep 0.1; done', "${LISTENER}", "{port_file}", "PSQL"]
ready = { tcp = "${LISTENER}", every = "20ms", limit = "20s" }
"#;

struct Place {
    server: PrivatePostgres,
    own: Own,
}

impl Place {
    fn new(target: &str, more: &str) -> Self {
        let server = postgres::start("shop_db");
        let statement =
            "CREATE TABLE progress (id int, written bool DEFAULT true); CREATE SEQUENCE numbers";
        postgres::ask(&server, statement);
        let psql = postgres::program().with_file_name("psql");
        let target = target.replace("PSQL", &psql.display().to_string());
        let own = postgres::suite(&format!("{target}{SUITE}{more}"), SLEEPS, false);
        Self { server, own }
    }

    fn run(&self, more: &[&str]) -> (i32, String) {
        let mut call = self.own.call("run", more);
        if text(&self.own.folder.join("suite.toml")).contains("\"external\"") {
            call.env("BASE_URL", self.own.address());
        }
        finish(call.env("DATABASE_URL", self.server.url()))
    }

    fn folder(&self) -> std::path::PathBuf {
        self.own.place.run_folder("main")
    }
}

/// The samples of a monitor.
fn samples(place: &Place, id: &str) -> Vec<Json> {
    let text = text(&place.folder().join(format!("monitor-{id}.jsonl")));
    let lines = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    lines.collect()
}

/// A gate of a verdict.
fn gate(place: &Place, id: &str) -> Json {
    let verdict = json(&place.folder().join("verdict.json"));
    let gates = verdict["gates"].as_array().expect("gates").iter();
    let mut gates = gates.filter(|gate| gate["id"] == id);
    gates
        .next()
        .unwrap_or_else(|| panic!("{id}: {verdict}"))
        .clone()
}

const MONITORS: &str = r#"
[[monitor]]
id = "connections"
kind = "sql"
every = "1s"
source = "${DATABASE_URL}"
statement = """
SELECT coalesce(state, 'none') AS state, count(*) AS connections, count(*) FILTER (WHERE pid = pg_backend_pid()) AS own
FROM pg_stat_activity WHERE datname = current_database() GROUP BY 1 -- by state
"""
match = { active = 'connections{state="active"}', own = 'own{state="active"}', nobody = 'connections{state="disabled"}' }

[[monitor]]
id = "rows"
kind = "sql"
every = "1s"
source = "${DATABASE_URL}"
statement = "SELECT count(*) AS rows_total FROM progress"
match = ["rows_total"]

[[monitor]]
id = "slowest"
kind = "sql"
every = "1s"
source = "${DATABASE_URL}"
statement = "SELECT left(query, 11) AS query, calls FROM pg_stat_statements WHERE query ILIKE 'insert into progress%'"

[[monitor]]
id = "writes"
kind = "sql"
every = "1s"
source = "${DATABASE_URL}"
statement = "SELECT nextval('numbers') AS id"
match = ["id"]

[[gate]]
id = "stored"
class = "slo"
metric = "rows_total"
stat = "count"
op = ">"
limit = 2

[[gate]]
id = "few"
class = "watch"
metric = "rows_total"
stat = "max"
type = "gauge"
op = "<"
limit = 1

[[gate]]
id = "in-use"
class = "slo"
metric = "own"
stat = "max"
op = "=="
limit = 1

[[gate]]
id = "absent"
class = "watch"
metric = "nobody"
stat = "max"
op = "<"
limit = 9
"#;

#[test]
fn monitors_read_a_database_and_gates_judge_what_they_read() {
    let place = Place::new(WRITER, MONITORS);
    let (code, printed) = place.run(&[]);
    assert_eq!(code, 0, "{printed}");
    for sample in samples(&place, "connections") {
        assert_eq!(sample["values"]["own"], 1.0, "{sample}");
        assert_eq!(sample["absent"], serde_json::json!(["nobody"]), "{sample}");
    }
    assert_eq!(gate(&place, "stored")["holds"], true);
    assert_eq!(gate(&place, "few")["holds"], false, "{printed}");
    assert_eq!(gate(&place, "in-use")["value"], 1.0);
    assert_eq!(gate(&place, "absent")["missing"], true);
    let slowest = samples(&place, "slowest");
    let last = slowest.last().expect("a sample");
    assert_eq!(last["rows"][0]["query"], "INSERT INTO");
    assert!(
        last["rows"][0]["calls"]
            .as_u64()
            .is_some_and(|calls| calls > 2),
        "{last}"
    );
    for sample in samples(&place, "writes") {
        let why = sample["error"].as_str().unwrap_or_default();
        assert!(why.contains("read-only transaction"), "{sample}");
    }
    assert!(postgres::holding(&place.folder(), place.server.password()).is_empty());
}

const RECORDS: &str = r#"
[[record]]
id = "rowsStored"
kind = "sql"
source = "${DATABASE_URL}"
statement = "SELECT count(*) FROM progress"
grows = true

[[record]]
id = "rowsAtAll"
kind = "sql"
source = "${DATABASE_URL}"
statement = "SELECT count(*) FROM progress"

[[derive]]
id = "rowsBefore"
from = ["record.rowsAtAll", "record.rowsStored"]
how = "difference"

[[gate]]
id = "rows-changed"
class = "slo"
metric = "rowsStoredNow"
stat = "value"
op = ">"
limit = 0

[[derive]]
id = "rowsStoredNow"
from = ["record.rowsStored"]
how = "copy"

[[gate]]
id = "reconciled"
class = "slo"
metric = "rowsBefore"
stat = "value"
op = ">="
limit = 1000
"#;

#[test]
fn what_was_stored_is_reconciled_by_records_and_judged_again_offline() {
    let place = Place::new(WRITER, RECORDS);
    postgres::ask(
        &place.server,
        "INSERT INTO progress SELECT 1 FROM generate_series(1, 1000)",
    );
    let (code, printed) = place.run(&[]);
    assert_eq!(code, 0, "{printed}");
    let meta = json(&place.folder().join("meta.json"));
    let number = |name: &str| {
        meta[name]
            .as_u64()
            .unwrap_or_else(|| panic!("{name}: {meta}"))
    };
    let (stored, all) = (number("rowsStored"), number("rowsAtAll"));
    assert!(stored > 2 && all >= stored + 1000, "{stored} of {all}");
    assert!(gate(&place, "rows-changed")["value"].as_f64() >= Some(2.0));
    let folder = place.folder().display().to_string();
    let (code, printed) = finish(place.own.place.runner().args(["judge", &folder]));
    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains("PASS"), "{printed}");
}

#[test]
fn a_run_that_changed_no_row_fails() {
    let place = Place::new(EXTERNAL, RECORDS);
    let (code, printed) = place.run(&["--set", "SECONDS=0.1"]);
    assert_eq!(code, 3, "{printed}");
    assert_eq!(gate(&place, "rows-changed")["value"], 0.0);
    assert!(printed.contains("rows-changed"), "{printed}");
}

const DRAIN: &str = r#"
[[drain]]
id = "flushed"
kind = "sql"
source = "${DATABASE_URL}"
statement = "SELECT count(*) FROM progress WHERE NOT written"
every = "20ms"
limit = "WITHIN"
say = "the handler still writes"

[[clean]]
id = "progress"
kind = "sql"
when = "before_run"
target = "${DATABASE_URL}"
reset = ["DELETE FROM progress WHERE written"]
"#;

#[test]
fn nothing_is_reset_before_everything_is_written() {
    let place = Place::new(EXTERNAL, &DRAIN.replace("WITHIN", "100s"));
    postgres::ask(
        &place.server,
        "INSERT INTO progress VALUES (1, false), (2, true)",
    );
    let mut call = place.own.call("run", &["--set", "SECONDS=0.1"]);
    call.env("BASE_URL", place.own.address())
        .env("DATABASE_URL", place.server.url());
    let output = std::process::Stdio::piped;
    let child = call
        .stdout(output())
        .stderr(output())
        .spawn()
        .expect("the runner");
    // It has asked, and waits.
    let asked = "SELECT sum(calls) > 1 FROM pg_stat_statements WHERE query LIKE '%NOT written%'";
    wait_for("a look", || {
        (postgres::ask(&place.server, asked) == "t").then_some(())
    });
    assert_eq!(
        postgres::ask(&place.server, "SELECT count(*) FROM progress"),
        "2"
    );
    postgres::ask(&place.server, "UPDATE progress SET written = true");
    let (code, printed) = common::wait(child);
    assert_eq!(code, 0, "{printed}");
    assert_eq!(
        postgres::ask(&place.server, "SELECT count(*) FROM progress"),
        "0"
    );
    let log = text(&place.folder().join("cleanup.txt"));
    assert!(
        log.starts_with("[cleanup] drain flushed: 0 after "),
        "{log}"
    );
    assert_eq!(gate(&place, "drained")["holds"], true);
}

#[test]
fn what_is_not_written_in_time_keeps_the_reset_from_being_made() {
    let place = Place::new(EXTERNAL, &DRAIN.replace("WITHIN", "50ms"));
    postgres::ask(
        &place.server,
        "INSERT INTO progress VALUES (1, false), (2, true)",
    );
    for verb in ["run", "clean"] {
        let mut call = place.own.call(verb, &[]);
        call.env("BASE_URL", place.own.address())
            .env("DATABASE_URL", place.server.url());
        let (code, printed) = finish(&mut call);
        assert_eq!(code, 2, "{printed}");
        let expected = "`SELECT count(*) FROM progress WHERE NOT written` is 1 after ";
        assert!(printed.contains(expected), "{printed}");
        assert!(
            printed.contains("expected 0 within 0.05 s: the handler still writes"),
            "{printed}"
        );
        assert_eq!(
            postgres::ask(&place.server, "SELECT count(*) FROM progress"),
            "2"
        );
    }
}

#[test]
fn a_target_that_leaves_something_unwritten_fails_and_one_that_does_not_tell_is_invalid() {
    let unwritten = WRITER.replace("VALUES (1)", "VALUES (1, false)");
    let place = Place::new(&unwritten, &DRAIN.replace("WITHIN", "50ms"));
    let (code, printed) = place.run(&["--set", "SECONDS=0.5"]);
    assert_eq!(code, 3, "{printed}");
    assert_eq!(
        json(&place.folder().join("verdict.json"))["verdict"],
        "FAIL"
    );
    let drained = gate(&place, "drained");
    assert_eq!(
        (&drained["class"], &drained["holds"]),
        (&"slo".into(), &false.into())
    );

    // Another drain's precondition, which is not so either, is told apart.
    let both = DRAIN.replace("WITHIN", "50ms");
    let other = both.replace("\"flushed\"", "\"alone\"");
    let (other, _) = other.split_once("[[clean]]").expect("a drain first");
    let other = other.replace("[[drain]]", "[[drain]]\nclass = \"validity\"");
    let place = Place::new(&unwritten, &format!("{both}{other}"));
    let (code, printed) = place.run(&["--set", "SECONDS=0.5"]);
    assert_eq!(code, 3, "{printed}");
    for (id, class, of) in [
        ("drained", "slo", "flushed: "),
        ("countable", "validity", "alone: "),
    ] {
        let gate = gate(&place, id);
        assert_eq!(
            (&gate["class"], &gate["holds"]),
            (&class.into(), &false.into())
        );
        assert!(
            gate["text"]
                .as_str()
                .is_some_and(|text| text.starts_with(of)),
            "{gate}"
        );
    }
    assert_eq!(
        json(&place.folder().join("verdict.json"))["verdict"],
        "INVALID"
    );

    let nobody = DRAIN
        .replace("WITHIN", "50ms")
        .replace("NOT written", "NOT wrought");
    let place = Place::new(WRITER, &nobody);
    let (code, printed) = place.run(&["--set", "SECONDS=0.1"]);
    assert_eq!(code, 3, "{printed}");
    assert_eq!(
        json(&place.folder().join("verdict.json"))["verdict"],
        "INVALID"
    );
    assert!(
        printed.contains("column \"wrought\" does not exist"),
        "{printed}"
    );
}

#[test]
fn a_value_that_comes_late_is_waited_for_until_it_stays() {
    let drain = DRAIN.replace("WITHIN", "100s").replace(
        "SELECT count(*) FROM progress WHERE NOT written\"",
        "SELECT count(*) FROM progress\"\nstill = \"3s\"",
    );
    // It writes for a while behind the load's end.
    let late = WRITER
        .replace(
            "while \"$2\"",
            "n=0; while [ $((n += 1)) -lt 15 ] && \"$2\"",
        )
        .replace("done'", "done; exec sleep 900'");
    let record = "[[record]]\nid = \"rowsAtAll\"\nkind = \"sql\"\nsource = \"${DATABASE_URL}\"\nstatement = \"SELECT count(*) FROM progress\"\n";
    let place = Place::new(&late, &format!("{drain}\n{record}"));
    let (code, printed) = place.run(&["--set", "SECONDS=0.1"]);
    assert_eq!(code, 0, "{printed}");
    let stored = json(&place.folder().join("meta.json"))["rowsAtAll"].clone();
    assert_eq!(stored, 14, "{printed}");
    assert!(
        gate(&place, "drained")["text"]
            .as_str()
            .is_some_and(|text| text.contains("14 after "))
    );
}

const POSTS: &str = r#"
[[post]]
id = "analysis"
kind = "sql"
source = "${DATABASE_URL}"
file = "analyse.sql"
out = "query_analysis.txt"
limit = "1s"

[[post]]
id = "flushes"
kind = "log"
source = "writer"
match = ["buffer flush", "ERROR"]
out = "flush_timing.log"
"#;

#[test]
fn what_people_read_later_is_kept_in_text_files() {
    let place = Place::new(WRITER, POSTS);
    let statements = "\\echo statements\nSELECT query, calls FROM pg_stat_statements WHERE query LIKE 'INSERT%';\n";
    place.own.write("analyse.sql", statements);
    let (code, printed) = place.run(&["--set", "SECONDS=0.5"]);
    assert_eq!(code, 0, "{printed}");
    let analysis = text(&place.folder().join("query_analysis.txt"));
    assert!(analysis.starts_with("statements\n"), "{analysis}");
    assert!(
        analysis.contains("INSERT INTO progress VALUES ($1)"),
        "{analysis}"
    );
    let flushes = text(&place.folder().join("flush_timing.log"));
    assert_eq!(flushes, "buffer flush rows=1\n");
}

#[test]
fn a_step_that_fails_is_told_and_loses_nothing() {
    let place = Place::new(WRITER, POSTS);
    for (statements, expected) in [
        (
            "SELECT 1 AS first;\nDELETE FROM progress;\n",
            "read-only transaction",
        ),
        (
            "SELECT 1 AS first;\nSELECT pg_sleep(900);\n",
            "statement timeout",
        ),
    ] {
        place.own.write("analyse.sql", statements);
        let (code, printed) = place.run(&["--set", "SECONDS=0.1"]);
        assert_eq!(code, 0, "{printed}");
        assert!(
            printed.contains("warning  post step analysis: "),
            "{printed}"
        );
        let mut calls: Vec<_> = std::fs::read_dir(place.own.place.evidence())
            .expect("evidence")
            .collect();
        let call = calls.pop().expect("a call").expect("an entry").path();
        let folder = call.join("main");
        let analysis = text(&folder.join("query_analysis.txt"));
        assert!(analysis.contains("first"), "{analysis}");
        let (_, failed) = analysis.split_once("[post] failed: ").expect("why");
        assert!(failed.contains(expected), "{failed}");
        let verdict = json(&folder.join("verdict.json"));
        assert_eq!(verdict["verdict"], "PASS");
        assert!(
            verdict["warnings"]
                .to_string()
                .contains("post step analysis"),
            "{verdict}"
        );
        std::fs::remove_dir_all(call).expect("removed");
    }
}

#[test]
fn what_may_not_be_declared_is_refused() {
    let monitor = MONITORS;
    for (suite, old, new, expected) in [
        (
            monitor,
            "every = \"1s\"",
            "every = \"900ms\"",
            "`every` of a sql monitor is at least 1s",
        ),
        (
            monitor,
            "match = [\"id\"]",
            "of = [\"k6\"]\nmatch = [\"id\"]",
            "`of` is of monitors",
        ),
        (
            monitor,
            "statement = \"SELECT nextval('numbers') AS id\"",
            "",
            "a sql monitor needs `statement`",
        ),
        (
            monitor,
            "AS id\"",
            "AS id; COMMIT\"",
            "more than one statement",
        ),
        (
            monitor,
            "match = [\"id\"]",
            "match = [\"9\"]",
            "a name is missing",
        ),
        (
            RECORDS,
            "record.rowsAtAll",
            "record.rowsAtall",
            "no [[record]] has this id",
        ),
        (
            RECORDS,
            "from = [\"record.rowsAtAll\", ",
            "from = [",
            "takes two values or more",
        ),
        (DRAIN, "WITHIN", "10ms", "`limit` at least as long"),
        (
            DRAIN,
            "limit = \"WITHIN\"",
            "limit = \"1s\"\nstill = \"1s\"",
            "`still` must be at least `every`, and less than `limit`",
        ),
        (
            DRAIN,
            "limit = \"WITHIN\"",
            "limit = \"9s\"\nstill = \"1s\"\nis = 0",
            "either `is` or `still`",
        ),
        (
            POSTS,
            "out = \"flush_timing.log\"",
            "out = \"../flush.log\"",
            "the name of a text file",
        ),
        (
            POSTS,
            "out = \"flush_timing.log\"",
            "out = \"query_analysis.txt\"",
            "a second post step that writes",
        ),
        (
            POSTS,
            "out = \"flush_timing.log\"",
            "out = \"stdout.txt\"",
            "the name of a text file",
        ),
        (
            POSTS,
            "source = \"writer\"",
            "source = \"reader\"",
            "no target `reader`",
        ),
        (
            POSTS,
            "match = [\"buffer flush\", ",
            "match = [\"(\", ",
            "unclosed group",
        ),
        (POSTS, "file = \"analyse.sql\"", "", "needs `file`"),
    ] {
        assert!(suite.contains(old), "{old}");
        let suite = format!("{WRITER}{SUITE}{}", suite.replace(old, new));
        let own = postgres::suite(&suite, SLEEPS, false);
        let (code, printed) = finish(&mut own.call("validate", &[]));
        assert!(
            code == 2 && printed.contains(expected),
            "{expected}: {printed}"
        );
    }
}
