//! The scripts of the load ladders with a real k6, on service, handler and database.

mod common;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use target_kit::test_postgres::Database;

use common::Target;
use serde_json::Value;

const ROWS: &str = "SELECT count(*) FROM user_goal_progress";

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    root.canonicalize().expect("the crate is in its repository")
}

struct Run {
    code: Option<i32>,
    output: String,
    summary: Value,
}

impl Run {
    fn value(&self, metric: &str, statistic: &str) -> f64 {
        let value = &self.summary["metrics"][metric]["values"][statistic];
        value
            .as_f64()
            .unwrap_or_else(|| panic!("{metric} has no {statistic}: {}", self.output))
    }
}

/// Runs a script as its users do, on a blocking thread: the service is this process's, and goes on.
async fn k6(
    script: impl AsRef<Path>,
    settings: &[(&str, &str)],
    service: &Target,
    handler: &Target,
) -> Run {
    let folder = tempfile::tempdir().expect("a folder");
    let k6 = std::env::var_os("K6_BIN").map_or_else(|| root().join("k6"), PathBuf::from);
    let mut command = Command::new(k6);
    command
        .args(["run", "--quiet", "--no-usage-report"])
        .arg(root().join("js/m2").join(script))
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .env("BASE_URL", service.url("/challenge"))
        .env(
            "EVENT_HANDLER_ADDR",
            handler.urls["main"].replace("http://", ""),
        );
    command.envs(settings.iter().copied());
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    let output = output
        .expect("it was waited for")
        .expect("k6 runs; make k6 builds it");
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let summary = std::fs::read(folder.path().join("summary.json")).unwrap_or_default();
    Run {
        code: output.status.code(),
        summary: serde_json::from_slice(&summary).unwrap_or_default(),
        output: text,
    }
}

#[tokio::test]
async fn api_load_claims_what_was_completed() {
    let database = Database::start().await;
    let service = Target::service(&database, &[]);
    let handler = Target::handler(&database, &[]);
    let settings = [
        ("TARGET_RPS", "20"),
        ("DURATION", "5s"),
        ("SEED_USERS", "5"),
        ("CLAIM_SHARE", "0.5"),
    ];
    let run = k6("scenario1_api_load.js", &settings, &service, &handler).await;
    let claims = run.value("claims", "count");
    assert!(claims > 0.0, "{}", run.output);
    let claimed = database
        .number(&format!("{ROWS} WHERE status = 'claimed'"))
        .await;
    assert!(
        (claims - claimed as f64).abs() < f64::EPSILON,
        "{claims} claims, {claimed} rows"
    );
    assert!(
        run.value("http_req_failed{load:api}", "rate") < 0.01,
        "{}",
        run.output
    );
    // Users vary: their lists were asked for by many names.
    assert!(run.output.contains("rewards claimed"), "{}", run.output);
}

#[tokio::test]
async fn event_load_is_reconciled_with_the_database() {
    let database = Database::start().await;
    let service = Target::service(&database, &[]);
    let handler = Target::handler(&database, &[]);
    let settings = [
        ("TARGET_EPS", "20"),
        ("DURATION", "5s"),
        ("E2E", "1"),
        ("E2E_RATE", "1"),
    ];
    let run = k6("scenario2_event_load.js", &settings, &service, &handler).await;
    assert!(
        run.value("grpc_req_failed", "rate") < 0.01,
        "{}",
        run.output
    );
    assert!(
        run.value("e2e_visibility_ms", "count") >= 1.0,
        "{}",
        run.output
    );
    handler
        .until_counter("updatesPending", |pending| pending == 0)
        .await;
    let counts = handler.tells("/counters").await;
    let count = |name: &str| {
        counts[name]
            .as_i64()
            .unwrap_or_else(|| panic!("{name} is counted"))
    };
    let sent = run.value("grpc_req_failed", "fails") + run.value("grpc_req_failed", "passes");
    assert!(
        (sent - count("eventsBuffered") as f64).abs() < f64::EPSILON,
        "{sent} sent: {counts}"
    );
    assert_eq!(
        count("updatesBuffered"),
        count("updatesOverwritten") + count("flushRowsChanged")
    );
    let users =
        "SELECT count(DISTINCT user_id) FROM user_goal_progress WHERE user_id LIKE 'user-%'";
    assert!(database.number(users).await > 20, "users vary");
    let logins = "SELECT count(*) FROM user_goal_progress WHERE goal_id = 'challenge-005-goal-01'";
    assert!(database.number(logins).await > 0, "some events are logins");
}

/// Where the acknowledgement is false, nothing that k6 sees says so; the database does.
#[tokio::test]
async fn lost_events_are_seen_by_reconciling_alone() {
    let database = Database::start().await;
    let service = Target::service(&database, &[]);
    let handler = Target::handler(
        &database,
        &["--fault=error-share=50%", "--fault=false-acknowledgement"],
    );
    let settings = [("TARGET_EPS", "20"), ("DURATION", "3s")];
    let run = k6("scenario2_event_load.js", &settings, &service, &handler).await;
    assert!(
        run.value("grpc_req_failed", "rate") < 0.01,
        "{}",
        run.output
    );
    assert!(run.value("checks", "rate") > 0.99);
    let acknowledged = run.value("grpc_req_failed", "fails");
    let lost = handler.counter("eventsAcknowledgedFalsely").await as f64;
    assert!(
        lost > 0.0 && (lost - acknowledged / 2.0).abs() <= 1.0,
        "{lost} of {acknowledged}"
    );

    handler
        .change_faults(serde_json::json!({ "false-acknowledgement": false }))
        .await;
    let run = k6("scenario2_event_load.js", &settings, &service, &handler).await;
    assert!(run.value("grpc_req_failed", "rate") > 0.4, "{}", run.output);
    assert_eq!(run.code, Some(99), "{}", run.output);
}

#[tokio::test]
async fn both_loads_are_told_apart() {
    let database = Database::start().await;
    let service = Target::service(&database, &["--fault=error-share=100%"]);
    let handler = Target::handler(&database, &[]);
    let settings = [
        ("TARGET_RPS", "10"),
        ("TARGET_EPS", "10"),
        ("DURATION", "4s"),
    ];
    let run = k6("scenario3_combined.js", &settings, &service, &handler).await;
    assert!(
        run.value("http_req_failed{load:api}", "rate") > 0.99,
        "{}",
        run.output
    );
    assert!(
        run.value("grpc_req_failed{load:events}", "rate") < 0.01,
        "{}",
        run.output
    );
    assert!(run.value("iterations{scenario:api}", "count") >= 1.0);
    assert!(run.value("iterations{scenario:events}", "count") >= 1.0);
    assert_eq!(run.code, Some(99), "{}", run.output);
    assert!(
        run.output.contains("FAILS  http_req_failed{load:api}"),
        "{}",
        run.output
    );
    assert!(
        run.output.contains("holds  grpc_req_failed{load:events}"),
        "{}",
        run.output
    );
}

/// Without the files of the messages: the handler tells them.
#[tokio::test]
async fn the_handler_tells_what_it_takes() {
    let database = Database::start().await;
    let handler = Target::handler(&database, &[]);
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("reflect.js");
    std::fs::write(
        &script,
        r#"
        import { Client, StatusOK } from 'k6/net/grpc';
        import { check } from 'k6';
        export const options = { thresholds: { checks: ['rate==1'] } };
        const client = new Client();
        export default function () {
          client.connect(__ENV.EVENT_HANDLER_ADDR, { plaintext: true, reflect: true });
          const service = 'accelbyte.iam.account.v1.UserAuthenticationUserLoggedInService';
          const answer = client.invoke(`${service}/OnMessage`, { id: '1', userId: 'a', namespace: 'test' });
          check(answer, { acknowledged: ({ status }) => status === StatusOK });
          // 1 is SERVING.
          check(JSON.stringify(client.healthCheck()), { serving: (health) => health === '{"status":1}' });
        }
        "#,
    )
    .expect("script is written");
    let run = k6(&script, &[], &handler, &handler).await;
    assert_eq!(run.code, Some(0), "{}", run.output);
    database.until(ROWS, 100).await;
}

#[tokio::test]
async fn a_setting_of_the_wrong_kind_is_refused() {
    let database = Database::start().await;
    let service = Target::service(&database, &[]);
    let settings = [("TARGET_RPS", "fast")];
    let run = k6("scenario1_api_load.js", &settings, &service, &service).await;
    assert_eq!(run.code, Some(108), "{}", run.output);
    assert!(
        run.output
            .contains("TARGET_RPS must be a whole number of at least 1"),
        "{}",
        run.output
    );
}

/// A line of CSV at once, with as many values as names, and the password where nobody reads it.
#[tokio::test]
async fn the_database_is_watched_by_lines_of_csv() {
    let database = Database::start().await;
    let _service = Target::service(&database, &[]);
    database.run("CREATE EXTENSION pg_stat_statements").await;
    database
        .number("SELECT count(*) FROM user_goal_progress")
        .await;
    // The server asks nobody for it.
    let url = database.url.replace("postgres@", "postgres:se%20cret@");
    assert_ne!(url, database.url);
    let mut command = Command::new(root().join("js/m2/monitor_db.sh"));
    command
        .arg("-")
        .env("DATABASE_URL", &url)
        .stdout(Stdio::piped());
    let read = move || {
        let mut child = command.spawn().expect("it starts");
        let output = child.stdout.take().expect("output is piped");
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        let lines = [lines.next(), lines.next()].map(Option::unwrap_or_default);
        // The script has become psql.
        let of = format!("/proc/{}/", child.id());
        let arguments = std::fs::read(format!("{of}cmdline")).unwrap_or_default();
        let environment = std::fs::read(format!("{of}environ")).unwrap_or_default();
        child.kill().expect("a signal");
        child.wait().expect("its end");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (lines, text(arguments), text(environment))
    };
    let ([head, line], arguments, environment) = tokio::task::spawn_blocking(read)
        .await
        .expect("it was waited for");
    assert_eq!(
        head,
        "time,active,idle,idle_in_transaction,waiting_for_locks,calls,total_ms,mean_ms"
    );
    let values: Vec<&str> = line.split(',').collect();
    assert_eq!(values.len(), 8, "{line}");
    assert!(
        values[0].starts_with("20") && values[0].ends_with('Z'),
        "{line}"
    );
    let number = |place: usize| values[place].parse::<f64>().expect("a number");
    assert!((1..8).all(|place| number(place) >= 0.0), "{line}");
    assert!(number(5) >= 1.0, "the table was asked: {line}");
    assert!(
        arguments.contains("psql") && !arguments.contains("cret"),
        "{arguments}"
    );
    assert!(environment.contains("PGPASSWORD=se cret"));
}

/// What it is not told it asks for, and changes nothing.
#[test]
fn watching_the_database_needs_a_file_and_an_address() {
    let says = |arguments: &[&str], database: Option<&str>| {
        let mut command = Command::new(root().join("js/m2/monitor_db.sh"));
        command.args(arguments).env_remove("DATABASE_URL");
        command.envs(database.map(|url| ("DATABASE_URL", url)));
        let output = command.output().expect("it runs");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (code, text) = says(&[], Some("postgres://postgres@127.0.0.1/challenge_db"));
    assert!(
        code == Some(2) && text.contains("received nothing"),
        "{text}"
    );
    let (code, text) = says(&["-"], None);
    assert!(
        code == Some(2) && text.contains("DATABASE_URL is missing"),
        "{text}"
    );
}
