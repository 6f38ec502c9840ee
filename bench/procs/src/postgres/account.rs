//! Under whom a server runs that refuses to be root's.

use std::fs;
use std::io;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use crate::{Error, doing};

/// Where the system's users are.
const USERS: &str = "/etc/passwd";
/// Users that may be taken, the best first. Both have no rights of their own.
const NAMES: [&str; 2] = ["postgres", "nobody"];

/// Whose a server is: another user's where the caller is root, else the caller's.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Account(Option<(u32, u32)>);

impl Account {
    /// The one that the server is to have.
    pub(super) fn of_the_server() -> Result<Self, Error> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self(None));
        }
        let doing_it = || "looking for a user that is not root".to_owned();
        let users = doing(doing_it, fs::read_to_string(USERS))?;
        let found = NAMES.iter().find_map(|name| ids_of(name, &users));
        let missing = || io::Error::other(format!("{USERS} has neither {}", NAMES.join(" nor ")));
        doing(doing_it, found.ok_or_else(missing)).map(|ids| Self(Some(ids)))
    }

    /// Gives it a file or folder.
    pub(super) fn own(&self, path: &Path) -> Result<(), Error> {
        let Some((user, group)) = self.0 else {
            return Ok(());
        };
        let giving = || format!("giving {} to user {user}", path.display());
        doing(giving, chown(path, Some(user), Some(group)))
    }

    /// Lets it run the command. Its groups are its own alone.
    pub(super) fn run<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        if let Some((user, group)) = self.0 {
            command.uid(user).gid(group);
        }
        command
    }
}

/// User and group of a name, in the lines of the system's list.
fn ids_of(name: &str, users: &str) -> Option<(u32, u32)> {
    let fields = users
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.first() == Some(&name))?;
    Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_the_name() {
        let users = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65533:nobody:/:/bin/false\n";
        assert_eq!(ids_of("nobody", users), Some((65534, 65533)));
        assert_eq!(ids_of("postgres", users), None);
        assert_eq!(ids_of("bad", "bad:x:none:0:::"), None);
    }
}
