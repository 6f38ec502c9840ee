//! A Redis of one's own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use redis::InfoDict;
use tempfile::TempDir;

use crate::{Error, Output, Supervised, doing, free_port, last_lines};

const START_LIMIT: Duration = Duration::from_secs(20);
const STOP_GRACE: Duration = Duration::from_secs(5);
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(10);
/// Another process may take the port between the choice and the start.
const ATTEMPTS: u32 = 5;
/// How much of its log an error quotes.
const LAST_LINES: usize = 8;

/// A server of one's own: on a free port of the loopback alone, nothing on disk, ended when dropped.
#[derive(Debug)]
pub struct PrivateRedis {
    // Before the folder, so that the server has ended when the folder goes.
    process: Supervised,
    port: u16,
    address: String,
    version: String,
    folder: TempDir,
}

impl PrivateRedis {
    /// Starts the program with these further arguments and waits until it answers. Its log and what it writes are in the
    /// folder, which goes with it.
    ///
    /// `pause` is what passes the time between two questions, at least once. Where it fails, the server is ended and its
    /// error is this one's: so signals interrupt the start.
    ///
    /// # Errors
    /// What `pause` says; [`Error::NotStarted`] where the program ends, or does not answer within 20 s;
    /// [`Error::System`].
    pub fn start<E: From<Error>>(
        program: &Path,
        arguments: &[&str],
        folder: TempDir,
        mut pause: impl FnMut(Duration) -> Result<(), E>,
    ) -> Result<Self, E> {
        for _ in 0..ATTEMPTS {
            let port = free_port()?;
            let mut process = spawn(program, port, arguments, folder.path())?;
            let deadline = Instant::now() + START_LIMIT;
            while process.ended()?.is_none() && Instant::now() < deadline {
                pause(POLL)?;
                if let Some(version) = version_of(&process, port) {
                    return Ok(Self {
                        process,
                        port,
                        address: address(port),
                        version,
                        folder,
                    });
                }
            }
            if process.ended()?.is_none() {
                break;
            }
        }
        Err(E::from(Error::NotStarted {
            program: program.to_owned(),
            last_words: last_lines(&log_in(folder.path()), LAST_LINES),
        }))
    }

    /// Its address, `redis://127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Where its log is, as long as it lives.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        log_in(self.folder.path())
    }
}

fn address(port: u16) -> String {
    format!("redis://127.0.0.1:{port}")
}

fn log_in(folder: &Path) -> PathBuf {
    folder.join("redis.log")
}

fn spawn(
    program: &Path,
    port: u16,
    arguments: &[&str],
    folder: &Path,
) -> Result<Supervised, Error> {
    let mut command = Command::new(program);
    command
        .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
        .args(["--save", "", "--appendonly", "no", "--dir"])
        .arg(folder)
        .args(arguments)
        .current_dir(folder);
    let log = doing(
        || "making the log of Redis".to_owned(),
        File::create(log_in(folder)),
    )?;
    Supervised::start("redis-server", &mut command, Output::File(log), STOP_GRACE)
}

/// The version, if the server on the port is this process and not a stranger.
fn version_of(process: &Supervised, port: u16) -> Option<String> {
    let client = redis::Client::open(address(port)).ok()?;
    let mut connection = client.get_connection_with_timeout(ANSWER_LIMIT).ok()?;
    connection.set_read_timeout(Some(ANSWER_LIMIT)).ok()?;
    let info: InfoDict = redis::cmd("INFO")
        .arg("server")
        .query(&mut connection)
        .ok()?;
    let ours = info.get::<u32>("process_id")? == process.id();
    ours.then(|| info.get("redis_version"))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{find_on_path, given_program};

    #[derive(Debug, thiserror::Error)]
    enum Failed {
        #[error(transparent)]
        Procs(#[from] Error),
        #[error("interrupted")]
        Interrupted,
    }

    fn folder() -> TempDir {
        tempfile::tempdir().expect("a folder")
    }

    fn program() -> PathBuf {
        given_program("REDIS_SERVER_BIN")
            .expect("a program, if it is set")
            .or_else(|| find_on_path("redis-server"))
            .expect("a redis-server; scripts/ensure-redis.sh gets one")
    }

    fn sleep(pause: Duration) -> Result<(), Failed> {
        std::thread::sleep(pause);
        Ok(())
    }

    fn start(arguments: &[&str]) -> PrivateRedis {
        PrivateRedis::start(&program(), arguments, folder(), sleep).expect("start")
    }

    fn connect(port: u16) -> redis::RedisResult<redis::Connection> {
        redis::Client::open(address(port))?.get_connection_with_timeout(Duration::from_secs(30))
    }

    /// Whether the process answers on the port, which may be another's by now.
    fn answers(port: u16, id: u32) -> bool {
        let info = connect(port).and_then(|mut c| redis::cmd("INFO").query::<InfoDict>(&mut c));
        info.is_ok_and(|info| info.get("process_id") == Some(id))
    }

    #[test]
    fn a_private_server_answers_and_ends_with_its_guard() {
        let server = start(&["--maxclients", "100"]);
        let (port, id, log) = (server.port(), server.id(), server.log());
        let mut connection = connect(port).expect("it answers");
        let (_, most): (String, String) = redis::cmd("CONFIG")
            .arg(&["GET", "maxclients"])
            .query(&mut connection)
            .expect("a reply");
        assert_eq!(most, "100");
        assert!(server.version().starts_with(|c: char| c.is_ascii_digit()));
        assert!(log.is_file());
        drop(server);
        assert!(!answers(port, id));
        assert!(!log.exists());
    }

    #[test]
    fn a_panic_ends_it_too() {
        let panic = std::panic::catch_unwind(|| {
            let server = start(&[]);
            std::panic::panic_any((server.port(), server.id()));
        })
        .expect_err("it panics");
        let (port, id) = *panic.downcast::<(u16, u32)>().expect("its payload");
        assert!(!answers(port, id));
    }

    #[test]
    fn a_program_that_ends_is_named_with_its_last_words() {
        let program = find_on_path("ls").expect("every machine has one");
        let error = PrivateRedis::start(&program, &[], folder(), sleep).expect_err("no server");
        let text = error.to_string();
        let start = format!("{} did not start; its last words:\n", program.display());
        assert!(
            text.starts_with(&start) && text.contains("--bind"),
            "{text}"
        );
    }

    #[test]
    fn a_signal_interrupts_the_start_and_leaves_nothing() {
        let folder = folder();
        let path = folder.path().to_owned();
        let interrupt = |_| Err(Failed::Interrupted);
        let error = PrivateRedis::start(&program(), &[], folder, interrupt).expect_err("it fails");
        assert!(matches!(error, Failed::Interrupted), "{error}");
        assert!(!path.exists());
    }
}
