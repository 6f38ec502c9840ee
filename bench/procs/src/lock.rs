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
    file: File,
    what: String,
    earlier: Option<PathBuf>,
    /// The file may be written to.
    own: bool,
}

/// Who took the lock last, as the file says it. That process may have ended since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastHolder {
    /// What it said about itself.
    pub holder: String,
    /// Where it keeps what it measures, if it said so.
    pub place: Option<PathBuf>,
    /// The same of the last one before it that said so.
    pub earlier: Option<PathBuf>,
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
        let (file, own) = match writable {
            Ok(file) => (file, true),
            // Another user's file: it locks just as well, it only cannot be told who holds it.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                (doing(opening, options.open(path))?, false)
            }
            Err(error) => return doing(opening, Err(error)),
        };
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let LastHolder { holder, place, .. } = read(&file);
            return Err(Error::Busy { holder, place });
        }
        if own {
            // Whatever the umask says, other users have to open it.
            let _ = file.set_permissions(Permissions::from_mode(0o644));
        }
        let last = read(&file);
        let mut lock = Self {
            file,
            what: what.to_owned(),
            earlier: last.place.or(last.earlier),
            own,
        };
        lock.write(None)?;
        Ok(lock)
    }

    /// Tells others where the holder keeps what it measures.
    ///
    /// # Errors
    /// [`Error::System`] if the file cannot be written.
    pub fn tell(&mut self, place: &Path) -> Result<(), Error> {
        self.write(Some(place))
    }

    /// Who took the lock last; `None` if nobody has, or the file cannot be read.
    #[must_use]
    pub fn last() -> Option<LastHolder> {
        let file = File::open(place(std::env::var_os(LOCK_VARIABLE))).ok()?;
        Some(read(&file)).filter(|last| !last.holder.is_empty())
    }

    fn write(&mut self, place: Option<&Path>) -> Result<(), Error> {
        if !self.own {
            return Ok(());
        }
        let shown =
            |path: Option<&Path>| path.map_or_else(String::new, |path| path.display().to_string());
        let text = format!(
            "{}, process {}\n{}\n{}\n",
            self.what,
            std::process::id(),
            shown(place),
            shown(self.earlier.as_deref())
        );
        let written = self
            .file
            .set_len(0)
            .and_then(|()| self.file.rewind())
            .and_then(|()| self.file.write_all(text.as_bytes()));
        doing(|| "writing the lock".to_owned(), written)
    }
}

/// The first line says who, the second where, the third where somebody was before.
fn read(mut file: &File) -> LastHolder {
    let mut text = String::new();
    let _ = file.rewind().and_then(|()| file.read_to_string(&mut text));
    let mut lines = text.lines().map(str::trim);
    let holder = lines.next().unwrap_or_default().to_owned();
    let mut path = || {
        lines
            .next()
            .filter(|line| !line.is_empty())
            .map(PathBuf::from)
    };
    LastHolder {
        holder,
        place: path(),
        earlier: path(),
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
        let mut first = first;
        first.tell(Path::new("/evidence/1")).expect("written");
        let error = MachineLock::at(&path, "other").expect_err("taken");
        let Error::Busy {
            holder: told,
            place,
        } = error
        else {
            panic!("{error}");
        };
        assert_eq!((told, place), (holder, Some(PathBuf::from("/evidence/1"))));
        drop(first);
        let next = MachineLock::at(&path, "other").expect("free again");
        let last = read(&File::open(&path).expect("the file"));
        assert_eq!(
            (last.place, last.earlier),
            (None, Some(PathBuf::from("/evidence/1")))
        );
        drop(next);
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
