//! A reference target shares code with the kit alone, and the kit with nothing: otherwise it would prove nothing about what
//! it is used to test.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

const KIT: &str = "target-kit";
const TARGETS: &str = "bench/targets/";

/// The packages of this project, as `cargo metadata` tells them.
fn metadata() -> Value {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--format-version=1",
            "--manifest-path",
        ])
        .arg(manifest)
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("metadata is JSON")
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().expect("field is text")
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().expect("field is a list")
}

/// What must not be, one sentence for each.
fn offences(metadata: &Value) -> Vec<String> {
    let folder = format!("{}/{TARGETS}", text(metadata, "workspace_root"));
    let packages = list(metadata, "packages");
    let is_target = |package: &Value| text(package, "manifest_path").starts_with(&folder);
    let names = |of: &dyn Fn(&Value) -> bool| -> BTreeSet<&str> {
        packages
            .iter()
            .filter(|package| of(package))
            .map(|package| text(package, "name"))
            .collect()
    };
    let ours = names(&|_| true);
    let targets = names(&is_target);
    assert!(targets.contains(KIT) && targets.len() > 1, "{targets:?}");
    let mut offences = Vec::new();
    for package in packages {
        let name = text(package, "name");
        for dependency in list(package, "dependencies") {
            let other = text(dependency, "name");
            // By path too: a package outside the workspace, such as one for fuzzing, is ours as well.
            if !ours.contains(other) && dependency["path"].is_null() {
                continue;
            }
            let wrong = if name == KIT {
                "the kit must depend on nothing of ours"
            } else if !is_target(package) && targets.contains(other) {
                "nothing but targets may depend on the kit, and nothing on a target"
            } else if is_target(package) && other != KIT {
                "a target must depend on nothing of ours but the kit"
            } else {
                continue;
            };
            offences.push(format!("{name} depends on {other}: {wrong}"));
        }
    }
    offences
}

#[test]
fn targets_share_code_with_the_kit_alone() {
    assert_eq!(offences(&metadata()), [""; 0]);
}

#[test]
fn each_wrong_dependency_is_named() {
    for (name, other, expected) in [
        (
            "waiting-room",
            "barrier-core",
            "waiting-room depends on barrier-core: a target must",
        ),
        (
            KIT,
            "barrier-procs",
            "target-kit depends on barrier-procs: the kit must",
        ),
        (
            "barrier-bench",
            KIT,
            "barrier-bench depends on target-kit: nothing but targets",
        ),
        (
            "barrier-perf",
            "waiting-room",
            "barrier-perf depends on waiting-room: nothing but targets",
        ),
        (
            "waiting-room",
            "elsewhere",
            "waiting-room depends on elsewhere: a target must",
        ),
    ] {
        let mut metadata = metadata();
        let packages = metadata["packages"]
            .as_array_mut()
            .expect("packages are listed");
        let package = packages.iter_mut().find(|package| package["name"] == name);
        let dependencies = &mut package.expect("package is ours")["dependencies"];
        let dependencies = dependencies.as_array_mut().expect("they are listed");
        dependencies.push(json!({ "name": other, "path": "/elsewhere" }));
        let offences = offences(&metadata);
        assert_eq!(offences.len(), 1, "{offences:?}");
        assert!(offences[0].starts_with(expected), "{offences:?}");
    }
}
