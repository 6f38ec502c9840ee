//! A private PostgreSQL, as the runner uses it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use barrier_procs::{Error, PrivatePostgres, find_on_path, given_program};
use tempfile::TempDir;

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Procs(#[from] Error),
    #[error("interrupted")]
    Interrupted,
}

fn program() -> PathBuf {
    given_program("POSTGRES_BIN")
        .expect("a program, if it is set")
        .or_else(|| find_on_path("postgres"))
        .expect("a postgres; scripts/ensure-postgres.sh gets one")
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn sleep(pause: Duration) -> Result<(), Failed> {
    std::thread::sleep(pause);
    Ok(())
}

fn start(program: &Path, database: &str, settings: &[&str]) -> Result<PrivatePostgres, Failed> {
    PrivatePostgres::start(program, database, settings, folder(), sleep)
}

/// What the server answers, or why it does not.
fn ask(server: &PrivatePostgres, statement: &str) -> Result<String, String> {
    let mut command = server.psql();
    let output = command.args(["--command", statement]).output();
    let output = output.expect("psql runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}

#[test]
fn a_private_server_is_as_declared_and_ends_with_its_guard() {
    let server = start(&program(), "some_db", &["max_connections=40"]).expect("start");
    let (id, log) = (server.id(), server.log());
    let settings = [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("shared_preload_libraries", "pg_stat_statements"),
        ("listen_addresses", "127.0.0.1"),
        ("max_connections", "40"),
    ];
    for (setting, value) in settings {
        assert_eq!(
            ask(&server, &format!("SHOW {setting}")).as_deref(),
            Ok(value)
        );
    }
    assert_eq!(
        ask(&server, "SELECT current_database()").as_deref(),
        Ok("some_db")
    );
    ask(&server, "SELECT 'counted once'").expect("it answers");
    let counted = "SELECT sum(calls) FROM pg_stat_statements WHERE query LIKE 'SELECT $1'";
    assert_eq!(ask(&server, counted).as_deref(), Ok("1"));
    let url = format!(
        "postgres://{}:{}@127.0.0.1:{}/{}",
        server.user(),
        server.password(),
        server.port(),
        server.database()
    );
    assert_eq!(server.url(), url);
    assert!(server.version().starts_with(|c: char| c.is_ascii_digit()));
    assert!(!format!("{server:?}").contains(server.password()));

    // Somebody who is connected does not hold up the end.
    let mut sleeper = server.psql();
    sleeper.args(["--command", "SELECT pg_sleep(600)"]);
    let mut sleeper = sleeper
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("psql runs");
    let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    while ask(&server, sleeping).as_deref() != Ok("1") {
        let ended = sleeper.try_wait().expect("its state");
        assert!(ended.is_none(), "it sleeps: {ended:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(server);
    assert!(!sleeper.wait().expect("it ends").success());
    assert!(!log.exists());
    assert!(!Path::new(&format!("/proc/{id}")).exists());
}

#[test]
fn nobody_gets_in_without_the_password() {
    let server = start(&program(), "some_db", &[]).expect("start");
    let mut command = server.psql();
    command.env_remove("PGPASSWORD").arg("--no-password");
    let output = command
        .args(["--command", "SELECT 1"])
        .output()
        .expect("psql runs");
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("no password supplied"), "{error}");
}

#[test]
fn what_keeps_a_server_from_its_start_is_told() {
    let error = start(&program(), "some_db", &["no_such_setting=1"]).expect_err("it is refused");
    let text = error.to_string();
    assert!(
        text.contains("did not start") && text.contains("no_such_setting"),
        "{text}"
    );

    // Where the caller says that nothing is to be preloaded, the statistics refuse.
    let error = start(&program(), "some_db", &["shared_preload_libraries="]);
    let text = error.expect_err("it is noticed").to_string();
    assert!(text.contains("shared_preload_libraries"), "{text}");

    let error = start(&program(), "some-db", &[]).expect_err("it is refused");
    assert_eq!(error.to_string(), "naming a database \"some-db\"");

    let elsewhere = folder();
    let lonely = elsewhere.path().join("postgres");
    std::fs::copy(
        find_on_path("true").expect("every machine has one"),
        &lonely,
    )
    .expect("a copy");
    let error = start(&lonely, "some_db", &[]).expect_err("there is no psql");
    let Failed::Procs(error) = error else {
        unreachable!("nothing was interrupted");
    };
    let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref());
    let source: &io::Error = source.expect("the system said something");
    assert_eq!(source.to_string(), "there is no psql beside it");
}

#[test]
fn a_signal_interrupts_the_start_and_leaves_nothing() {
    let folder = folder();
    let path = folder.path().to_owned();
    let interrupt = |_| Err(Failed::Interrupted);
    let error = PrivatePostgres::start(&program(), "some_db", &[], folder, interrupt);
    assert!(matches!(error, Err(Failed::Interrupted)), "{error:?}");
    assert!(!path.exists());
}
