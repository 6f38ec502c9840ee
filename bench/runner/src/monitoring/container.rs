//! What a container engine runs for a monitor. It is removed by a label that nobody else's container has, whatever that is called, and
//! also where what started it has been killed: an engine's container ends with no process of ours.

use std::path::{Path, PathBuf};
use std::process::Command;

use barrier_procs::find_on_path;
use serde::{Deserialize, Serialize};

use super::place::Place;
use crate::values::ask::ask;
use crate::values::exit;

/// What those of one monitor have, with a value of its own. The label of a suite they do not have: whoever rolls a suite back removes
/// all that have it, and a monitor of another checkout is not theirs.
const OF_MONITOR: &str = "io.k6-barrier.monitor";
/// Where a monitor keeps what it has marked, for as long as there may be a container.
const FILE: &str = "container.json";

/// Container engines that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Engine {
    Docker,
    Podman,
}

impl Engine {
    /// In the order in which they are looked for.
    pub(super) const ALL: [Self; 2] = [Self::Docker, Self::Podman];

    /// That of its program.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }
}

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
    pub(super) fn mark(place: &Place, engine: Engine) -> anyhow::Result<Self> {
        // Of one that could not be removed the mark stays, so that both are found.
        let before: Option<Marked> = place.read_json(FILE);
        let marked = Marked {
            engine,
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

    /// The label that it is started with.
    pub(super) fn label(&self) -> String {
        format!("{OF_MONITOR}={}", self.marked.monitor)
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
    /// By name. It is looked for on the path: no file of evidence says which program is run.
    engine: Engine,
    /// The value of [`OF_MONITOR`].
    monitor: String,
}

impl Marked {
    /// Removes what has the mark, then `file`, which says that there may be something.
    fn remove(&self, file: &Path) -> Result<(), String> {
        let name = self.engine.name();
        let filter = format!("label={OF_MONITOR}={}", self.monitor);
        let list = ["ps", "--all", "--quiet", "--filter", &filter];
        let by_hand = |why: String| {
            format!(
                "Grafana's container may be there still ({why}); remove what this lists: {name} {}; where there is none any more, \
                 delete {}",
                list.join(" "),
                file.display()
            )
        };
        let engine = find_on_path(name).ok_or_else(|| by_hand(format!("no {name} on the path")))?;
        let found = answer(&engine, &list).map_err(by_hand)?;
        let ids: Vec<&str> = found.split_whitespace().collect();
        if !ids.is_empty() {
            let removed = answer(
                &engine,
                &[&["rm", "--force", "--volumes"], &ids[..]].concat(),
            );
            // One that has ended may be removed by the engine itself at the same time.
            if let Err(why) = removed
                && !answer(&engine, &list).is_ok_and(|left| left.trim().is_empty())
            {
                return Err(by_hand(why));
            }
        }
        // Whoever finds it again looks in vain, and nothing else.
        let _ = std::fs::remove_file(file);
        Ok(())
    }
}

/// What an engine answers, in time: one whose daemon hangs must not hold up the end of a monitor.
fn answer(engine: &Path, words: &[&str]) -> Result<String, String> {
    let told = |why: String| format!("`{} {}`: {why}", engine.display(), words.join(" "));
    let (status, said) =
        ask(Command::new(engine).args(words)).map_err(|error| told(error.to_string()))?;
    status
        .success()
        .then_some(said)
        .ok_or_else(|| told(status.to_string()))
}
