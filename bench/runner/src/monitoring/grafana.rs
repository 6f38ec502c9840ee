//! Grafana, where there is one.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use barrier_procs::{Output, Supervised, find_on_path, last_lines};

use super::api::Api;
use super::container::{Container, Engine};
use super::place::Place;
use crate::values::exit::{self, Stop};
use crate::values::mask;

/// The variable with the password of Grafana's user `admin`.
const PASSWORD: &str = "GRAFANA_PASSWORD";
/// What a container engine runs.
const IMAGE: &str = "grafana/grafana:12.0.2";
const GRACE: Duration = Duration::from_secs(20);
/// An image may have to be fetched first.
const READY_LIMIT: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(200);

/// How Grafana can run here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// A program, with the folder of its files where it has to be told.
    Program {
        program: PathBuf,
        home: Option<PathBuf>,
    },
    /// Docker or Podman, with a daemon that answers.
    Engine(Engine, PathBuf),
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Program { program, .. } => write!(f, "{}", program.display()),
            Self::Engine(_, engine) => write!(f, "{IMAGE} by {}", engine.display()),
        }
    }
}

/// Looks for it: `GRAFANA_HOME`, the path, a container engine.
///
/// # Errors
/// `GRAFANA_HOME` has none, or there is none; the text says what was looked for.
pub(super) fn find() -> Result<Found, String> {
    let names = ["grafana", "grafana-server"];
    if let Some(home) = std::env::var_os("GRAFANA_HOME").filter(|home| !home.is_empty()) {
        let home = PathBuf::from(home);
        let programs = names.map(|name| home.join("bin").join(name));
        return match programs.iter().find(|path| path.is_file()) {
            Some(program) => Ok(Found::Program {
                program: program.clone(),
                home: Some(home),
            }),
            None => Err(format!(
                "GRAFANA_HOME={} has no bin/grafana",
                home.display()
            )),
        };
    }
    if let Some(program) = names.iter().find_map(|name| find_on_path(name)) {
        let home = PathBuf::from("/usr/share/grafana");
        return Ok(Found::Program {
            program,
            home: Some(home).filter(|home| home.is_dir()),
        });
    }
    let engines = Engine::ALL.map(|engine| Some((engine, find_on_path(engine.name())?)));
    for (engine, program) in engines.into_iter().flatten() {
        let mut command = Command::new(&program);
        command.args(["info", "--format", "{{json .}}"]);
        let answers = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if answers.is_ok_and(|status| status.success()) {
            return Ok(Found::Engine(engine, program));
        }
    }
    Err(
        "no Grafana: neither GRAFANA_HOME nor the path has one, and no container engine answers"
            .to_owned(),
    )
}

/// What Grafana is to show.
#[derive(Debug)]
pub(super) struct Show<'a> {
    pub(super) place: &'a Place,
    pub(super) port: u16,
    /// The address of Prometheus.
    pub(super) prometheus: &'a str,
    /// Files by which it is provisioned.
    pub(super) provision: &'a Path,
    /// The folder of the dashboard's file.
    pub(super) dashboards: &'a Path,
}

/// A Grafana that answers. Dropped, it ends, with its container where it has one.
#[derive(Debug)]
pub(super) struct Running {
    _process: Supervised,
    _container: Option<Container>,
}

/// Starts it on this machine's own address, provisioned from files.
///
/// # Errors
/// It ends, or does not answer in time; the text holds its last words. Or `is_asked` says that the monitor is to end.
pub(super) fn start(
    found: &Found,
    show: &Show<'_>,
    is_asked: &dyn Fn() -> bool,
) -> anyhow::Result<Running> {
    let path = show.place.file("grafana.log");
    let log = File::create(&path).with_context(|| format!("making {}", path.display()))?;
    let container = match found {
        Found::Engine(engine, _) => Some(Container::mark(show.place, *engine)?),
        Found::Program { .. } => None,
    };
    let label = container.as_ref().map(Container::label);
    let mut command = command(found, show, label.as_deref());
    let mut process = Supervised::start("grafana", &mut command, Output::File(log), GRACE)?;
    let api = Api::new(&format!("http://127.0.0.1:{}", show.port));
    let deadline = Instant::now() + READY_LIMIT;
    loop {
        let failed = |why: &str| {
            let said = mask::masked(&last_lines(&path, 5));
            exit::set_up(format!("{found} {why}; its last words:\n{said}"))
        };
        if let Some(status) = process.ended()? {
            return Err(failed(&format!("ended ({status})")));
        }
        if api.status("/api/health") == Ok(200) {
            return Ok(Running {
                _process: process,
                _container: container,
            });
        }
        if is_asked() {
            return Err(Stop::Interrupted.into());
        }
        if Instant::now() > deadline {
            return Err(failed("does not answer"));
        }
        std::thread::sleep(POLL);
    }
}

/// `label`: of its container.
fn command(found: &Found, show: &Show<'_>, label: Option<&str>) -> Command {
    let data = show.place.file("grafana");
    let port = show.port.to_string();
    let (data, provision, dashboards) = match found {
        Found::Program { .. } => (
            data.display().to_string(),
            show.provision.display().to_string(),
            show.dashboards.display().to_string(),
        ),
        // Where the files are inside.
        Found::Engine(..) => (
            "/var/lib/grafana".to_owned(),
            "/etc/grafana/provisioning".to_owned(),
            "/etc/grafana/dashboards".to_owned(),
        ),
    };
    // Who opens the dashboard needs no password; who changes something does, and without one nobody can.
    let password = std::env::var(PASSWORD).ok();
    let password = password.filter(|given| !given.is_empty());
    if let Some(given) = &password {
        mask::register(given);
    }
    let password = password.unwrap_or_else(|| format!("{:032x}", rand::random::<u128>()));
    let settings = [
        ("GF_SERVER_HTTP_ADDR", "127.0.0.1"),
        ("GF_SERVER_HTTP_PORT", &port),
        ("GF_PATHS_DATA", &data),
        ("GF_PATHS_PROVISIONING", &provision),
        ("GF_SECURITY_ADMIN_PASSWORD", &password),
        ("GF_AUTH_ANONYMOUS_ENABLED", "true"),
        ("GF_AUTH_ANONYMOUS_ORG_ROLE", "Viewer"),
        ("GF_ANALYTICS_REPORTING_ENABLED", "false"),
        ("GF_ANALYTICS_CHECK_FOR_UPDATES", "false"),
        ("GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES", "false"),
        ("PROMETHEUS_URL", show.prometheus),
        ("DASHBOARDS_FOLDER", &dashboards),
    ];
    let mut command = match found {
        Found::Program { program, home } => {
            let mut command = Command::new(program);
            if program.file_name().is_some_and(|name| name == "grafana") {
                command.arg("server");
            }
            if let Some(home) = home {
                command.arg("--homepath").arg(home);
            }
            command
        }
        Found::Engine(_, engine) => {
            let mut command = Command::new(engine);
            // Its own network would neither reach what listens on 127.0.0.1 nor be reached there alone.
            command.args(["run", "--rm", "--network", "host"]);
            command.args(label.iter().flat_map(|own| ["--label", own]));
            for (from, to) in [(show.provision, &provision), (show.dashboards, &dashboards)] {
                command
                    .arg("--volume")
                    .arg(format!("{}:{to}:ro", from.display()));
            }
            // By name: values stand in the environment, not on a command line that everybody can read.
            for (name, _) in settings {
                command.args(["--env", name]);
            }
            command.arg(IMAGE);
            command
        }
    };
    command.envs(settings).current_dir(show.place.folder());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_stands_on_a_command_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = Place::at(folder.path());
        let show = Show {
            place: &place,
            port: 3001,
            prometheus: "http://127.0.0.1:9090",
            provision: Path::new("/p"),
            dashboards: Path::new("/d"),
        };
        for found in [
            Found::Engine(Engine::Docker, PathBuf::from("docker")),
            Found::Program {
                program: PathBuf::from("/g/bin/grafana"),
                home: Some(PathBuf::from("/g")),
            },
        ] {
            let command = command(&found, &show, None);
            let mut settings = command.get_envs();
            let password = settings.find(|(name, _)| *name == "GF_SECURITY_ADMIN_PASSWORD");
            let password = password.and_then(|(_, value)| value).expect("a password");
            assert!(
                command.get_args().all(|word| word != password),
                "{command:?}"
            );
            let address = command
                .get_envs()
                .find(|(name, _)| *name == "GF_SERVER_HTTP_ADDR");
            assert_eq!(
                address.and_then(|(_, value)| value),
                Some("127.0.0.1".as_ref())
            );
        }
    }
}
