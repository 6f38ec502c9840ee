//! The program itself: what it prints, what it is told, and how it explains what it cannot do.

mod common;

use std::net::TcpListener;
use target_kit::test_postgres::Database;

use common::{Target, program};

#[tokio::test]
async fn profiles_and_metrics_are_beside_the_load() {
    let database = Database::start().await;
    let service = Target::service(&database, &[]);
    let handler = Target::handler(&database, &[]);
    for target in [&service, &handler] {
        let get = async |path: &str| {
            let answer = reqwest::get(target.admin(path)).await.expect("it answers");
            (
                answer.status().as_u16(),
                answer.bytes().await.expect("it has a body"),
            )
        };
        let (status, profile) = get("/debug/pprof/profile?seconds=1").await;
        assert_eq!(status, 200, "{profile:?}");
        assert!(!profile.is_empty());
        assert_eq!(get("/debug/pprof/profile?seconds=601").await.0, 400);
        assert_eq!(get("/debug/pprof/goroutine").await.0, 404);
        let (status, metrics) = get("/metrics").await;
        let metrics = String::from_utf8_lossy(&metrics);
        assert!(status == 200 && metrics.ends_with("# EOF\n"), "{metrics}");
        assert!(metrics.contains("pool_connections_max "), "{metrics}");
        assert!(metrics.contains("pool_connections_used "), "{metrics}");
        assert_eq!(get("/health").await.0, 200);
    }
    // Both are of one database, and each says who it is.
    let named = "SELECT count(DISTINCT application_name) FROM pg_stat_activity WHERE application_name LIKE 'challenge-%'";
    assert_eq!(database.number(named).await, 2);
}

#[tokio::test]
async fn the_table_can_be_made_before_anything_serves() {
    let database = Database::start().await;
    for time in ["first", "second"] {
        let mut command = program();
        command.arg("schema").env("DATABASE_URL", &database.url);
        let output = command.output().expect("the program starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{time}: {said}");
    }
    let rows = "SELECT count(*) FROM user_goal_progress";
    assert_eq!(database.number(rows).await, 0);
}

#[test]
fn wrong_arguments_are_explained() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it is bound").to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let not_a_list = folder.path().join("challenges.json");
    std::fs::write(&not_a_list, "[]").expect("it is written");
    let not_a_list = format!("--challenges={}", not_a_list.display());
    for (arguments, expected) in [
        (
            vec!["service", "--listen", &address],
            "cannot listen on 127.0.0.1:",
        ),
        (
            vec!["service", "--fault=latency=1"],
            "there is no fault \"latency\"; there are error-share, ",
        ),
        (vec!["service", "--pool-size=0"], "from 1 to 1000"),
        (vec!["service", "--rewards=real"], "mock"),
        (
            vec!["service", "--base-path=challenge"],
            "a path such as /challenge",
        ),
        (
            vec!["service", "--challenges=/nowhere/file"],
            "cannot read /nowhere/file",
        ),
        (vec!["service", &not_a_list], "is no list of challenges"),
        (vec!["service", "--auth=true"], "only false is allowed"),
        (
            vec!["service", "--database-url=secret word"],
            "--database-url: an address such as",
        ),
        (vec!["event-handler", "--workers=33"], "1..=32"),
        (
            vec!["event-handler", "--fault=flush-stall-ms=x"],
            "fault flush-stall-ms: got \"x\"",
        ),
        (
            vec![
                "event-handler",
                "--db-port=1",
                "--listen=127.0.0.1:0",
                "--admin-listen=127.0.0.1:0",
            ],
            "the database at 127.0.0.1:1/challenge_db",
        ),
    ] {
        let output = program().args(&arguments).output().expect("program runs");
        assert!(!output.status.success(), "{arguments:?}");
        assert!(output.stdout.is_empty());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains(expected), "{arguments:?}: {errors}");
        assert!(!errors.contains("secret"), "{errors}");
    }
}

#[test]
fn fixtures_are_written_and_checked() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("fixtures");
    let run = |arguments: &[&str]| {
        let output = program()
            .arg("fixtures")
            .arg("--out")
            .arg(&out)
            .args(arguments)
            .output();
        let output = output.expect("program runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.success(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    assert!(!run(&["--check"]).0, "there is nothing yet");
    let (well, told, _) = run(&[]);
    assert!(well && told.lines().count() == 3, "{told}");
    let bytes = || {
        ["users", "challenges", "tokens"]
            .map(|name| std::fs::read(out.join(format!("{name}.json"))).expect("it is there"))
    };
    let first = bytes();
    assert!(run(&["--check"]).0);
    assert!(run(&["--only=users", "--only=tokens"]).0);
    assert!(first == bytes(), "the same call writes the same bytes");
    std::fs::write(out.join("users.json"), "[]").expect("it is written");
    let (well, _, error) = run(&["--check"]);
    assert!(
        !well && error.contains("users.json: line 1 is \"[]\"; expected \"[\""),
        "{error}"
    );
}

#[tokio::test]
async fn written_challenges_are_what_is_served() {
    let database = Database::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let written = program()
        .args(["fixtures", "--only=challenges", "--out"])
        .arg(folder.path())
        .output();
    assert!(written.expect("program runs").status.success());
    let file = format!(
        "--challenges={}",
        folder.path().join("challenges.json").display()
    );
    let with = Target::service(&database, &[&file]);
    let without = Target::service(&database, &[]);
    let list = async |service: &Target| {
        let answer = reqwest::get(service.url("/challenge/v1/challenges")).await;
        answer
            .expect("it answers")
            .text()
            .await
            .expect("body is text")
    };
    assert_eq!(list(&with).await, list(&without).await);
}
