//! Phase 14, the list of all parts of a piece of software (SBOM), as CycloneDX has it: of the lock files of a workspace.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::answer::{Answer, busy, failure, micros};
use crate::app::App;

const PHASE: u8 = 14;
/// Where Go modules of a workspace may be, beside its root.
const GO_FOLDERS: [&str; 3] = [".", "xk6-barrier", "tools"];

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new().route("/phase/14/sbom", post(sbom))
}

#[derive(Deserialize)]
struct CargoLock {
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    checksum: Option<String>,
}

/// All parts, each once.
fn parts(workspace: &Path) -> anyhow::Result<Vec<Value>> {
    let lock = workspace.join("Cargo.lock");
    let text = std::fs::read_to_string(&lock);
    let text = text.with_context(|| format!("--workspace: cannot read {}", lock.display()))?;
    let lock: CargoLock = toml::from_str(&text).context("Cargo.lock cannot be understood")?;
    let mut parts = Vec::new();
    for Package {
        name,
        version,
        checksum,
    } in lock.package
    {
        let mut part = json!({
            "type": "library", "name": name, "version": version, "purl": format!("pkg:cargo/{name}@{version}"),
        });
        if let Some(checksum) = checksum {
            part["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
        }
        parts.push(part);
    }
    let mut modules = BTreeSet::new();
    for folder in GO_FOLDERS {
        // A workspace need not have any.
        let sums = std::fs::read_to_string(workspace.join(folder).join("go.sum"));
        for line in sums.unwrap_or_default().lines() {
            let mut words = line.split_whitespace();
            if let (Some(name), Some(version)) = (words.next(), words.next())
                && !version.ends_with("/go.mod")
            {
                modules.insert((name.to_owned(), version.to_owned()));
            }
        }
    }
    parts.extend(modules.into_iter().map(|(name, version)| {
        json!({ "type": "library", "name": name, "version": version, "purl": format!("pkg:golang/{name}@{version}") })
    }));
    ensure!(!parts.is_empty(), "the lock files name nothing");
    Ok(parts)
}

async fn sbom(State(app): State<Arc<App>>) -> Answer {
    let began = Instant::now();
    let workspace = app.workspace.clone();
    let parts = busy(move || parts(&workspace)).await?;
    let parts = parts.map_err(|error| failure(StatusCode::CONFLICT, format!("{error:#}")))?;
    let count = parts.len();
    let sbom = json!({ "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": parts });
    app.stats.record(PHASE, "sbom", began.elapsed());
    let elapsed = micros(began.elapsed());
    Ok(Json(
        json!({ "ok": true, "components": count, "sbom": sbom, "elapsed_us": elapsed }),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_this_workspace_are_listed_once() {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
        let parts = parts(&workspace).expect("it has lock files");
        let purls: Vec<&str> = parts
            .iter()
            .filter_map(|part| part["purl"].as_str())
            .collect();
        for start in [
            "pkg:cargo/axum@0.",
            "pkg:cargo/phases@",
            "pkg:golang/go.k6.io/k6",
        ] {
            assert!(purls.iter().any(|purl| purl.starts_with(start)), "{start}");
        }
        let once: BTreeSet<&str> = purls.iter().copied().collect();
        assert_eq!(once.len(), purls.len());
    }

    #[test]
    fn a_folder_without_lock_files_is_named() {
        let error = parts(Path::new("/nowhere")).expect_err("there is nothing");
        let told = format!("{error:#}");
        assert!(
            told.starts_with("--workspace: cannot read /nowhere/Cargo.lock"),
            "{told}"
        );
    }
}
