//! Temporary folders that go with the runner, however it ends.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use tempfile::TempDir;

/// The folder of the run that is active, if one is.
static PARENT: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Waits for the end of its input, which comes with the end of the runner, and removes the folder. Processes that are
/// still ending may put something into it meanwhile.
const JANITOR: &str = "trap '' HUP INT TERM; read -r _; until rm -rf \"$1\"; do sleep 0.1; done";

/// The folder that holds all temporary folders of a run. Nothing of a killed runner could remove it any more, so a shell
/// of its own waits for that.
#[derive(Debug)]
pub(crate) struct Scratch {
    // Dropped by hand, before the janitor is let go.
    folder: Option<TempDir>,
    janitor: Child,
}

impl Scratch {
    /// Makes the folder; from now on [`folder`] makes all others inside it.
    ///
    /// # Errors
    /// The folder cannot be made, or there is no shell.
    pub(crate) fn open() -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix("barrier-bench-").context("making a temporary folder")?;
        let janitor = Command::new("/bin/sh")
            .args(["-c", JANITOR, "barrier-bench-janitor"])
            .arg(folder.path())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("starting /bin/sh, which removes temporary files after a kill")?;
        *parent() = Some(folder.path().to_owned());
        Ok(Self {
            folder: Some(folder),
            janitor,
        })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        *parent() = None;
        self.folder.take();
        self.janitor.stdin.take();
        // It finds nothing left to do; a fault here changes nothing for the run.
        let _ = self.janitor.wait();
    }
}

/// A temporary folder, removed when dropped.
///
/// # Errors
/// It cannot be made.
pub(crate) fn folder(prefix: &str) -> std::io::Result<TempDir> {
    match parent().as_ref() {
        Some(parent) => TempDir::with_prefix_in(prefix, parent),
        None => TempDir::with_prefix(prefix),
    }
}

/// The same, with a way to it for a program that runs as another user: who knows its name gets there, and lists nothing above it.
///
/// # Errors
/// It cannot be made.
pub(crate) fn folder_for_another(prefix: &str) -> std::io::Result<TempDir> {
    let made = folder(prefix)?;
    if let Some(parent) = parent().as_ref() {
        fs::set_permissions(parent, Permissions::from_mode(0o711))?;
    }
    Ok(made)
}

fn parent() -> MutexGuard<'static, Option<PathBuf>> {
    PARENT.lock().unwrap_or_else(PoisonError::into_inner)
}
