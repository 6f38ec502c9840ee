//! The program itself: what it prints, what it is told, and how it explains what it cannot do.

mod common;

use common::{Target, audit_folders, program};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

#[tokio::test]
async fn the_address_is_announced_and_a_signal_ends_it_well() {
    let mut target = Target::alone(&[]);
    assert_eq!(
        target.announced,
        format!("listening on {}\n", target.urls["main"])
    );
    assert_eq!(target.tells("/health").await["status"], "UP");
    assert_eq!(target.temporary().len(), 1);
    target.signal(Signal::TERM);
    assert!(target.ended_well());
    assert!(target.temporary().is_empty(), "{:?}", target.temporary());
}

/// A target that is killed cannot remove its folder: that goes with the folder of the test that started it.
#[tokio::test]
async fn a_target_that_its_test_kills_leaves_no_files() {
    let target = Target::alone(&[]);
    let id = format!("{}-", target.id());
    drop(target);
    let left = audit_folders(&std::env::temp_dir(), &id);
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn each_fault_is_documented_and_can_be_set() {
    let target = Target::alone(&[]);
    let faults = target.tells("/faults").await;
    let readme = include_str!("../README.md");
    for (name, value) in faults.as_object().expect("faults have names") {
        assert!(
            readme.contains(&format!("`{name}`")),
            "{name} is not in the README"
        );
        let other = match value {
            Value::Bool(_) => json!(true),
            // Names of nodes, of which there are none here; tests of the cluster set them.
            Value::String(text) if text.is_empty() => {
                let named = json!({ name: "node1" });
                let refused = target.ask(Method::PUT, "/faults", Some(named)).await;
                assert_eq!(refused.status(), 400, "{name}");
                continue;
            }
            _ => json!(1),
        };
        target.change_faults(json!({ name: other })).await;
        assert_eq!(target.tells("/faults").await[name], other);
        target.change_faults(json!({ name: null })).await;
    }
    let unknown = target
        .ask(Method::PUT, "/faults", Some(json!({ "delay": 1 })))
        .await;
    assert_eq!(unknown.status(), 400);
}

#[tokio::test]
async fn a_delay_holds_every_answer_back() {
    let target = Target::alone(&["--fault=delay-ms=120"]);
    let began = std::time::Instant::now();
    target.tells("/health").await;
    assert!(began.elapsed().as_millis() >= 120);
}

#[test]
fn wrong_arguments_are_explained() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it is bound").to_string();
    for (arguments, expected) in [
        (vec!["--nodes", "21"], "0..=20"),
        (
            vec!["--restart-after-ms", "soon"],
            "a whole number of milliseconds",
        ),
        (
            vec!["--fault", "delay=1"],
            "there is no fault \"delay\"; there are abrupt-restart, ",
        ),
        (vec!["--listen", &address], "cannot listen on 127.0.0.1:"),
        (
            vec!["--audit", "/proc/nothing"],
            "--audit: cannot write to /proc/nothing",
        ),
    ] {
        let mut command = program();
        if arguments[0] != "--nodes" {
            command.arg("--nodes=0");
        }
        let output = command.args(&arguments).output().expect("program runs");
        assert!(
            !output.status.success() && output.stdout.is_empty(),
            "{arguments:?}"
        );
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains(expected), "{errors}");
    }
}
