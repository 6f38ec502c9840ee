//! One run per machine: two runs at once would disturb each other's figures.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};

use anyhow::Context as _;
use rustix::fs::{FlockOperation, flock};

use crate::values::exit;

/// The lock; the kernel frees it when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct RunLock {
    _file: File,
}

impl RunLock {
    /// Takes the lock.
    ///
    /// # Errors
    /// Another run is active (exit code 2, the text names it), or the file cannot be used.
    pub(crate) fn take(what: &str) -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join("barrier-bench.lock");
        let writable = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let (mut file, own) = match writable {
            Ok(file) => (file, true),
            // Another user's file: it locks just as well, it only cannot be told who holds it.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                let file =
                    File::open(&path).with_context(|| format!("opening {}", path.display()))?;
                (file, false)
            }
            Err(error) => return Err(error).with_context(|| format!("opening {}", path.display())),
        };
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut active = String::new();
            file.read_to_string(&mut active).ok();
            return Err(exit::set_up(format!(
                "another run is active: {}; wait for it, or interrupt it",
                active.trim()
            )));
        }
        if own {
            file.set_len(0)
                .and_then(|()| file.rewind())
                .and_then(|()| writeln!(file, "{what}, process {}", std::process::id()))
                .context("writing the lock")?;
        }
        Ok(Self { _file: file })
    }
}
