//! What a container engine runs for a monitor. It is removed by a label that nobody else's container has, whatever that is called, and
//! also where what started it has been killed: an engine's container ends with no process of ours.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::place::Place;
use crate::values::exit;

/// What all containers of a suite have, with its id as the value: those of `compose.yaml` too. A rollback goes by it.
const OF_SUITE: &str = "io.k6-barrier.suite";
/// What those of one monitor have, with a value of its own.
const OF_MONITOR: &str = "io.k6-barrier.monitor";
/// Where a monitor keeps what it has marked, for as long as there may be a container.
const FILE: &str = "container.json";

/// A container that a monitor may have started. Dropped, it is removed.
#[derive(Debug)]
pub(super) struct Container {
    marked: Marked,
    file: PathBuf,
}

impl Container {
    /// One that is about to be started. What is known of it is kept first: whoever is killed meanwhile has left it to be found.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn mark(place: &Place, engine: &Path) -> anyhow::Result<Self> {
        // Of one that could not be removed the mark stays, so that both are found.
        let before: Option<Marked> = place.read_json(FILE);
        let marked = Marked {
            engine: engine.to_owned(),
            monitor: before.map_or_else(
                || format!("{:032x}", rand::random::<u128>()),
                |before| before.monitor,
            ),
        };
        place.write_json(FILE, &marked)?;
        Ok(Self {
            marked,
            file: place.file(FILE),
        })
    }

    /// The labels that it is started with.
    pub(super) fn labels(&self, suite: &str) -> [String; 2] {
        [
            format!("{OF_SUITE}={suite}"),
            format!("{OF_MONITOR}={}", self.marked.monitor),
        ]
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // Where it fails, what is known of it stays for the next one who looks.
        let _ = self.marked.remove(&self.file);
    }
}

/// Removes what a monitor that has ended left of its container, and nothing of anybody else's.
///
/// # Errors
/// The engine did not; the text says how it is done by hand.
pub(super) fn remove_left(place: &Place) -> anyhow::Result<()> {
    let Some(marked) = place.read_json::<Marked>(FILE) else {
        return Ok(());
    };
    marked.remove(&place.file(FILE)).map_err(exit::set_up)
}

/// By what a container is known again.
#[derive(Debug, Serialize, Deserialize)]
struct Marked {
    /// The program.
    engine: PathBuf,
    /// The value of [`OF_MONITOR`].
    monitor: String,
}

impl Marked {
    /// Removes what has the mark, then `file`, which says that there may be something.
    fn remove(&self, file: &Path) -> Result<(), String> {
        let engine = &self.engine;
        let filter = format!("label={OF_MONITOR}={}", self.monitor);
        let list = ["ps", "--all", "--quiet", "--filter", &filter];
        let by_hand = |why: String| {
            format!(
                "Grafana's container may be there still ({why}); remove what this lists: {} {}",
                engine.display(),
                list.join(" ")
            )
        };
        let found = ask(engine, &list).map_err(by_hand)?;
        let ids: Vec<&str> = found.split_whitespace().collect();
        if !ids.is_empty() {
            let removed = ask(
                engine,
                &[&["rm", "--force", "--volumes"], &ids[..]].concat(),
            );
            // One that has ended may be removed by the engine itself at the same time.
            if let Err(why) = removed
                && !ask(engine, &list).is_ok_and(|left| left.trim().is_empty())
            {
                return Err(by_hand(why));
            }
        }
        // Whoever finds it again looks in vain, and nothing else.
        let _ = std::fs::remove_file(file);
        Ok(())
    }
}

/// What an engine answers.
fn ask(engine: &Path, words: &[&str]) -> Result<String, String> {
    let told = |why: String| format!("`{} {}`: {why}", engine.display(), words.join(" "));
    let asked = Command::new(engine)
        .args(words)
        .stdin(Stdio::null())
        .output();
    let output = asked.map_err(|error| told(error.to_string()))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        Err(told(format!("{}: {}", output.status, said.trim())))
    }
}
