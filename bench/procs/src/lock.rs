//! One measurement per machine: two at once would disturb each other's figures.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};

use crate::{Error, doing};

/// The variable that names another path of the lock. It is for tests, which disturb nobody's figures.
pub const LOCK_VARIABLE: &str = "BARRIER_MACHINE_LOCK";

const NAME: &str = "k6-barrier.lock";
/// Folders of the machine, the better one first. A variable such as `TMPDIR` changes nothing about them.
const FOLDERS: [&str; 2] = ["/run/lock", "/tmp"];
/// Everybody may make files there, and nobody may remove those of others.
const FOR_ALL: u32 = 0o1007;

/// The right to measure on this machine; the kernel takes it back when the process ends, however it ends.
#[derive(Debug)]
pub struct MachineLock {
    _file: File,
}

impl MachineLock {
    /// Takes the lock. `what` tells others who holds it.
    ///
    /// # Errors
    /// [`Error::Busy`] if another process holds it, [`Error::System`] if the file cannot be used.
    pub fn take(what: &str) -> Result<Self, Error> {
        Self::at(&place(std::env::var_os(LOCK_VARIABLE)), what)
    }

    fn at(path: &Path, what: &str) -> Result<Self, Error> {
        let opening = || format!("opening the lock {}", path.display());
        let mut options = OpenOptions::new();
        let flags = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
        options.read(true).custom_flags(flags);
        let writable = options
            .clone()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path);
        let (mut file, own) = match writable {
            Ok(file) => (file, true),
            // Another user's file: it locks just as well, it only cannot be told who holds it.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                (doing(opening, options.open(path))?, false)
            }
            Err(error) => return doing(opening, Err(error)),
        };
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            return Err(Error::Busy {
                holder: holder.trim().to_owned(),
            });
        }
        if own {
            // Whatever the umask says, other users have to open it.
            let _ = file.set_permissions(Permissions::from_mode(0o644));
            let written = file
                .set_len(0)
                .and_then(|()| file.rewind())
                .and_then(|()| writeln!(file, "{what}, process {}", std::process::id()));
            doing(|| "writing the lock".to_owned(), written)?;
        }
        Ok(Self { _file: file })
    }
}

fn place(given: Option<OsString>) -> PathBuf {
    if let Some(given) = given.filter(|given| !given.is_empty()) {
        return given.into();
    }
    let for_all = |folder: &&&str| {
        fs::metadata(folder)
            .is_ok_and(|it| it.is_dir() && it.permissions().mode() & FOR_ALL == FOR_ALL)
    };
    let folder = FOLDERS.iter().find(for_all).unwrap_or(&FOLDERS[1]);
    Path::new(folder).join(NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_is_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lock");
        let first = MachineLock::at(&path, "suite probe").expect("free");
        let error = MachineLock::at(&path, "other").expect_err("taken");
        let holder = format!("suite probe, process {}", std::process::id());
        assert!(error.to_string().contains(&holder), "{error}");
        drop(first);
        MachineLock::at(&path, "other").expect("free again");
        assert_eq!(
            fs::metadata(&path).expect("it").permissions().mode() & 0o777,
            0o644
        );
    }

    #[test]
    fn its_place_is_of_the_machine() {
        let own = place(None);
        assert!(
            FOLDERS
                .iter()
                .any(|folder| own == Path::new(folder).join(NAME)),
            "{own:?}"
        );
        assert_eq!(place(Some(OsString::new())), own);
        assert_eq!(place(Some("/elsewhere".into())), Path::new("/elsewhere"));
    }
}
