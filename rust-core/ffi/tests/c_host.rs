//! The ABI is not Go's alone: a C program links the shared library and does one whole barrier, in each store.

#[path = "../../core/tests/support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles `host.c` against the shared library that belongs to this test run.
fn host(folder: &Path) -> (PathBuf, PathBuf) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let exe = std::env::current_exe().expect("this test");
    let libraries = exe.parent().expect("a folder").to_path_buf();
    assert!(
        libraries.join("libbarrier_ffi.so").exists(),
        "no libbarrier_ffi.so in {}",
        libraries.display()
    );
    let binary = folder.join("host");
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let output = Command::new(&compiler)
        .args([
            "-std=c11",
            "-D_POSIX_C_SOURCE=200809L",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-o",
        ])
        .arg(&binary)
        .arg(here.join("tests/host.c"))
        .arg("-I")
        .arg(here.join("include"))
        .arg("-L")
        .arg(&libraries)
        .arg("-lbarrier_ffi")
        .output()
        .unwrap_or_else(|e| panic!("{compiler} runs ({e}); install a C compiler"));
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    (binary, libraries)
}

fn output(arguments: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (binary, libraries) = host(folder.path());
    let output = Command::new(binary)
        .args(arguments)
        .env("LD_LIBRARY_PATH", libraries)
        .output()
        .expect("the host runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {stderr}", output.status);
    output.stdout
}

fn run(store: &str) -> serde_json::Value {
    serde_json::from_slice(&output(&[store])).expect("one line of JSON")
}

fn assert_met(release: &serde_json::Value) {
    assert_eq!(release["reason"], "all", "{release}");
    assert_eq!(release["arrived"], 2, "{release}");
    assert_eq!(release["failed"]["login"], 1, "{release}");
    assert_eq!(release["parties"], 3, "{release}");
    assert!(
        release["releasedAt"].as_f64().expect("a time") > 1.6e12,
        "{release}"
    );
}

#[test]
fn a_c_program_meets_in_memory() {
    assert_met(&run("memory"));
}

#[test]
fn a_c_program_meets_in_redis() {
    let server = support::RedisServer::start();
    assert_met(&run(&server.url()));
    let arrived: i64 = redis::cmd("SCARD")
        .arg("K6_BARRIER_JOINED:c-host")
        .query(&mut server.connection())
        .expect("the mirror");
    assert_eq!(arrived, 2);
}

#[test]
fn a_reader_that_goes_away_does_not_end_the_process() {
    let server = support::RedisServer::start();
    output(&[&server.url(), "deaf"]);
}
