//! What the thing under test is: never the folder that the runner was called from, which says nothing about a service that
//! somebody started elsewhere.

use std::path::PathBuf;

use serde_json::{Value as Json, json};

use crate::plan::PlannedRun;
use crate::plan::target::ADDRESS;
use crate::run::{probe, target};
use crate::suite::Suite;
use crate::suite::schema::TargetKind;
use crate::suite::vars::{RunValues, Vars};
use crate::values::exit;
use crate::values::hash::{self, Harness};

/// Digits of a hash that name a program.
const SHORT: usize = 12;
/// No version is longer.
const LONGEST: usize = 200;

/// What tells one build from another, and how that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    /// Empty if nobody knows.
    pub(super) id: String,
    pub(super) from: &'static str,
}

impl Identity {
    /// Of a program that the runner starts.
    pub(super) fn of_program(program: &Started) -> Self {
        let all = if program.files.is_empty() {
            program.sha256.clone()
        } else {
            let hashes = program.files.iter().map(|(_, hash)| hash.as_str());
            let lines: Vec<&str> = std::iter::once(program.sha256.as_str())
                .chain(hashes)
                .collect();
            hash::sha256(lines.join("\n").as_bytes())
        };
        Self {
            id: all.get(..SHORT).unwrap_or(&all).to_owned(),
            from: "program",
        }
    }

    /// Of commands, where nothing else is under test.
    pub(super) fn of_commands(harness: &Harness) -> Self {
        let all = &harness.sha256;
        Self {
            id: all.get(..SHORT).unwrap_or(all).to_owned(),
            from: "commands",
        }
    }

    /// The same with what the target answers: a program may load what no argument names, and a version may stay although
    /// the program was built again.
    pub(super) fn and_version(self, version: Option<String>) -> Self {
        match version {
            None => self,
            Some(version) => Self {
                id: format!("{version} {}", self.id),
                from: "version",
            },
        }
    }
}

/// A program that the runner starts.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) path: PathBuf,
    pub(super) sha256: String,
    /// Files that its arguments name, with their hashes: to an interpreter they are the program.
    pub(super) files: Vec<(PathBuf, String)>,
}

impl Started {
    /// Looks at a program and at what its arguments name.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn look(path: PathBuf, run: &PlannedRun<'_>) -> anyhow::Result<Self> {
        let mut files = Vec::new();
        // A program of this project is whole by itself; its arguments are those of the suite.
        if run.target.kind == TargetKind::Process {
            for path in named(run, &run.vars) {
                let hash = hash::file(&path)?;
                files.push((path, hash));
            }
        }
        Ok(Self {
            sha256: hash::file(&path)?,
            path,
            files,
        })
    }
}

/// The files that are there before the start, of those that arguments name: whole arguments, what follows `=`, parts of a
/// list, words of a command.
fn named(run: &PlannedRun<'_>, vars: &Vars) -> Vec<PathBuf> {
    let later = run.target.not_yet();
    let arguments = run.target.start.iter().skip(1);
    // What has no value is told when the target is started.
    let texts = arguments.filter_map(|word| vars.expand(word.get_ref(), &later).ok());
    let mut found: Vec<PathBuf> = Vec::new();
    for text in texts {
        for part in parts(&text) {
            let path = PathBuf::from(part);
            if path.is_file() && !found.contains(&path) {
                found.push(path);
            }
        }
    }
    found
}

fn parts(argument: &str) -> Vec<&str> {
    let words = argument.split_whitespace();
    let words = words.map(|word| word.trim_matches(|c| "'\"`;()&|<>".contains(c)));
    let mut parts = vec![argument];
    for word in words {
        let value = word.split_once('=').map_or(word, |(_, value)| value);
        parts.extend([word, value]);
        parts.extend(value.split([':', ',']));
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// The programs of the services that the runner starts for a run, as `meta.json` holds them.
///
/// # Errors
/// One is not there, or cannot be read.
pub(super) fn services(suite: &Suite, run: &PlannedRun<'_>) -> anyhow::Result<Vec<Json>> {
    let started = run.services.iter().filter(|table| table.is_started());
    started
        .map(|table| {
            let path = target::program(suite, table)?;
            Ok(json!({
                "id": table.id,
                "version": target::version(table, &path),
                "sha256": hash::file(&path)?,
                "path": path,
            }))
        })
        .collect()
}

/// Of a target that a person started: what it says itself if the suite knows where to ask, else what the person says.
///
/// # Errors
/// The target does not say what the suite expects it to.
pub(super) fn of_external(suite: &Suite, run: &PlannedRun<'_>) -> anyhow::Result<Identity> {
    let said = &run.under_test.name;
    Ok(match answered(suite, run)? {
        Some(id) => Identity {
            id,
            from: "version",
        },
        None => Identity {
            id: said.clone(),
            from: if said.is_empty() { "unknown" } else { "said" },
        },
    })
}

/// What a target that answers says of its version; `None` if the suite does not know where to ask.
///
/// # Errors
/// The target does not say what the suite expects it to.
pub(super) fn answered(suite: &Suite, run: &PlannedRun<'_>) -> anyhow::Result<Option<String>> {
    let Some(version) = &run.target.version else {
        return Ok(None);
    };
    let mut known = RunValues::new();
    if let Some(own) = run.vars.text(ADDRESS) {
        known.insert("address", own);
    }
    let address = run.vars.expand(version.url.get_ref(), &known)?;
    suite.allow_now(&format!("target {}", run.target.id), &address)?;
    let refuse = |why: String| {
        exit::set_up(format!(
            "target {} does not say its version: {why}; mend `version` in the suite file, or the target",
            run.target.id
        ))
    };
    let text = probe::text(&address).map_err(refuse)?;
    let id = match &version.json {
        None => text.trim().to_owned(),
        Some(path) => {
            let json: Json = serde_json::from_str(&text)
                .map_err(|error| refuse(format!("GET {address} is not JSON: {error}")))?;
            let found = path.split('.').try_fold(&json, |value, key| value.get(key));
            match found {
                Some(Json::String(text)) => text.clone(),
                Some(value @ (Json::Number(_) | Json::Bool(_))) => value.to_string(),
                _ => return Err(refuse(format!("GET {address} has no `{path}`"))),
            }
        }
    };
    if id.is_empty() || id.chars().count() > LONGEST {
        let length = id.chars().count();
        return Err(refuse(format!(
            "GET {address} has {length} characters; allowed: 1 to {LONGEST}"
        )));
    }
    Ok(Some(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_name_files_in_many_ways() {
        for (argument, part) in [
            ("server.py", "server.py"),
            ("--config=prod.toml", "prod.toml"),
            ("lib/a.jar:lib/b.jar", "lib/b.jar"),
            ("-Dpaths=a.json,b.json", "b.json"),
            ("exec node 'x.js' --port 0;", "x.js"),
            ("(cd /srv; ./run.sh)", "./run.sh"),
            ("my server.py", "my server.py"),
        ] {
            assert!(parts(argument).contains(&part), "{argument}: {part}");
        }
        assert!(parts("").is_empty());
    }

    #[test]
    fn a_program_alone_is_its_hash_and_files_change_it() {
        let started = |files: &[&str]| Started {
            path: PathBuf::from("/bin/sh"),
            sha256: "0123456789abcdef".to_owned(),
            files: files
                .iter()
                .map(|hash| (PathBuf::from("f"), (*hash).to_owned()))
                .collect(),
        };
        let id = |files: &[&str]| Identity::of_program(&started(files)).id;
        assert_eq!(id(&[]), "0123456789ab");
        assert!(id(&["a"]) != id(&[]) && id(&["a"]) != id(&["b"]));
        let both = Identity::of_program(&started(&[])).and_version(Some("1.2".to_owned()));
        assert_eq!(
            (both.id.as_str(), both.from),
            ("1.2 0123456789ab", "version")
        );
    }
}
