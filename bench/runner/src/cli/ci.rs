//! `--ci FOLDER`: everything that a call leaves for others to look at, in one folder, however the call ends.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use jiff::Timestamp;

use super::told::told;
use crate::events::{Event, Listener, Stream};
use crate::evidence::Folder;
use crate::report::artefacts::{self, Ending};
use crate::terminal::Terminal;
use crate::values::exit;
use crate::values::mask::masked;

/// Remembers the folder in which the session keeps its evidence.
struct Place(Arc<Mutex<Option<PathBuf>>>);

impl Listener for Place {
    fn hear(&mut self, _: Timestamp, event: &Event) {
        let place = match event {
            Event::SessionBegan { folder, .. } | Event::EvidenceKept { folder } => folder,
            _ => return,
        };
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get_or_insert_with(|| PathBuf::from(place));
    }
}

/// Does the work with these listeners, and leaves what became of it in a folder.
///
/// # Errors
/// Those of the work; else the folder is there and not empty, or cannot be written.
pub(super) fn kept(
    path: &Path,
    what: &str,
    mut listeners: Vec<Box<dyn Listener>>,
    work: impl FnOnce(&Stream) -> anyhow::Result<i32>,
) -> anyhow::Result<i32> {
    let folder = made(path)?;
    let place = Arc::default();
    listeners.push(Box::new(Terminal::into_file(folder.begin("stdout.txt")?)));
    listeners.push(Box::new(Place(Arc::clone(&place))));
    let result = catch_unwind(AssertUnwindSafe(|| told(listeners, work)));
    folder.finish("stdout.txt");
    let place = place.lock().unwrap_or_else(PoisonError::into_inner).take();
    let (code, error) = match &result {
        Ok(Ok(code)) => (*code, None),
        Ok(Err(error)) => (exit::code_of(error), Some(masked(&format!("{error:#}")))),
        Err(_) => (exit::FAULT, Some("the runner panicked".to_owned())),
    };
    let ending = Ending { what, code, error };
    let written = artefacts::write(&folder, place.as_deref(), &ending)
        .with_context(|| format!("writing {}", path.display()));
    match result {
        Err(panic) => resume_unwind(panic),
        Ok(Ok(exit::OK)) => written.map(|()| exit::OK),
        // Why the call ended as it did is worth more than what is missing here.
        Ok(result) => {
            if let Err(error) = written {
                eprintln!("barrier-bench: {}", masked(&format!("{error:#}")));
            }
            result
        }
    }
}

/// Nothing in it is ever overwritten, so it has to be empty.
fn made(path: &Path) -> anyhow::Result<Folder> {
    std::fs::create_dir_all(path).with_context(|| format!("making {}", path.display()))?;
    let mut entries =
        std::fs::read_dir(path).with_context(|| format!("reading {}", path.display()))?;
    if entries.next().is_some() {
        return Err(exit::set_up(format!(
            "--ci {}: the folder is not empty, and nothing in it is overwritten; name a new one",
            path.display()
        )));
    }
    Ok(Folder::open(path))
}
