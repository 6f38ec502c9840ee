//! A private PostgreSQL for tests of targets.
//!
//! The runner has one too, which no target may use: what is measured shares nothing with who measures it.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;

/// How long a condition may take to come true, on whatever machine.
const CONDITION_LIMIT: Duration = Duration::from_secs(60);

/// A server on a free port of the loopback, with one empty database. It is ended when dropped.
#[derive(Debug)]
pub struct Database {
    server: Child,
    /// Where its database is.
    pub url: String,
    _folder: TempDir,
}

impl Database {
    /// Starts it by the `postgres` that `POSTGRES_BIN` names, or that is on the path.
    ///
    /// # Panics
    /// It does not start.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("folder can be made");
        let account = account();
        if let Some((user, group)) = account {
            std::os::unix::fs::chown(folder.path(), Some(user), Some(group)).expect("root may");
        }
        let command = |name: &str, log: &str| {
            let log = File::create(folder.path().join(log)).expect("log can be made");
            let mut command = Command::new(programs().join(name));
            command.current_dir(folder.path()).stdin(Stdio::null());
            command.stdout(log.try_clone().expect("log has a copy"));
            command.stderr(log);
            if let Some((user, group)) = account {
                command.uid(user).gid(group);
            }
            command
        };
        let data = folder.path().join("data");
        let made = command("initdb", "initdb.log")
            .args(["--username=postgres", "--auth=trust", "--no-sync"])
            .args(["--encoding=UTF8", "--locale=C", "--pgdata"])
            .arg(&data)
            .status()
            .expect("initdb runs");
        assert!(made.success(), "{}", log_of(folder.path(), "initdb.log"));
        let started = Instant::now();
        loop {
            let port = free_port();
            let mut server = command("postgres", "postgres.log")
                .args(["-p", &port.to_string(), "-D"])
                .arg(&data)
                .args(["-c", "listen_addresses=127.0.0.1"])
                .args(["-c", "unix_socket_directories="])
                .args(["-c", "shared_preload_libraries=pg_stat_statements"])
                .args(["-c", "max_connections=300"])
                .spawn()
                .expect("postgres runs");
            let url = format!("postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable");
            // One whose port was taken meanwhile ends, and is tried again with another.
            while server.try_wait().expect("state is known").is_none() {
                if is_this(&url, &data).await {
                    return Self {
                        server,
                        url,
                        _folder: folder,
                    };
                }
                let log = || log_of(folder.path(), "postgres.log");
                assert!(started.elapsed() < CONDITION_LIMIT, "{}", log());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let log = || log_of(folder.path(), "postgres.log");
            assert!(started.elapsed() < CONDITION_LIMIT, "{}", log());
        }
    }

    /// A connection to its database.
    ///
    /// # Panics
    /// It does not answer.
    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.expect("it answers")
    }

    /// The one value that a statement gives, as a number.
    ///
    /// # Panics
    /// The statement fails, or gives none.
    pub async fn number(&self, statement: &str) -> i64 {
        let mut connection = self.connect().await;
        let number = sqlx::query_scalar(statement).fetch_one(&mut connection);
        number
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error}"))
    }

    /// Waits until a statement gives this number.
    ///
    /// # Panics
    /// It does not within a minute.
    pub async fn until(&self, statement: &str, expected: i64) {
        let started = Instant::now();
        loop {
            let number = self.number(statement).await;
            if number == expected {
                return;
            }
            assert!(
                started.elapsed() < CONDITION_LIMIT,
                "{statement}: stays at {number}, expected {expected}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The rows that a statement gives.
    ///
    /// # Panics
    /// The statement fails.
    pub async fn run(&self, statement: &str) -> Vec<PgRow> {
        let mut connection = self.connect().await;
        let rows = sqlx::query(statement).fetch_all(&mut connection).await;
        rows.unwrap_or_else(|error| panic!("{statement}: {error}"))
    }

    /// Stops the server for a while (`STOP`), or lets it go on (`CONT`), with all its processes.
    ///
    /// # Panics
    /// There is no `pgrep`.
    pub fn signal(&self, name: &str) {
        let id = self.server.id().to_string();
        let children = Command::new("pgrep").args(["-P", &id]).output();
        let children = children.expect("pgrep runs").stdout;
        let children = String::from_utf8(children).expect("ids are text");
        let all = children.lines().chain([id.as_str()]);
        // One of them may have ended meanwhile.
        let _ = Command::new("kill").args(["-s", name]).args(all).status();
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let id = self.server.id().to_string();
        // At once, whoever is connected; it ends its own processes.
        let _ = Command::new("kill").args(["-s", "QUIT", &id]).status();
        let _ = self.server.wait();
    }
}

async fn is_this(url: &str, data: &Path) -> bool {
    let options: Result<PgConnectOptions, _> = url.parse();
    let Ok(mut connection) = PgConnection::connect_with(&options.expect("valid")).await else {
        return false;
    };
    let folder = sqlx::query_scalar("SELECT current_setting('data_directory')");
    let folder: Result<String, _> = folder.fetch_one(&mut connection).await;
    folder.is_ok_and(|folder| Path::new(&folder) == data)
}

fn log_of(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap_or_default()
}

/// Where `postgres` and `initdb` are.
fn programs() -> PathBuf {
    let given = std::env::var_os("POSTGRES_BIN").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_the_path = std::env::split_paths(&path).map(|folder| folder.join("postgres"));
    let program = given
        .into_iter()
        .chain(on_the_path)
        .find(|path| path.is_file());
    let program = program.expect("a postgres; scripts/ensure-postgres.sh gets one");
    if program.with_file_name("initdb").is_file() {
        return program.parent().expect("a file is in a folder").to_owned();
    }
    let real = fs::canonicalize(program).expect("it is there");
    real.parent().expect("a file is in a folder").to_owned()
}

/// PostgreSQL refuses to run as root: user and group of somebody else, where this is root.
fn account() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").expect("the system has users");
    let of = |name: &str| {
        let line = users
            .lines()
            .find(|line| line.starts_with(&format!("{name}:")))?;
        let mut fields = line.split(':').skip(2).map(|id| id.parse().ok());
        Some((fields.next()??, fields.next()??))
    };
    Some(
        of("postgres")
            .or_else(|| of("nobody"))
            .expect("there is somebody else"),
    )
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it is bound").port()
}
