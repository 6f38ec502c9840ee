//! A target in a container: the engine of this machine starts a service of a compose file, and removes it again.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::environment::{NO_HOME, clean_environment};
use crate::run::process::find_on_path;
use crate::suite::Suite;
use crate::suite::compose::ComposeTable;
use crate::suite::schema::TargetTable;
use crate::suite::vars::Vars;
use crate::values::ask::ask;
use crate::values::exit;

/// In the order in which they are looked for.
const ENGINES: [&str; 2] = ["docker", "podman"];

/// By what an engine knows its server and its own settings; it gets them beside what every child gets.
const OF_ENGINES: [&str; 10] = [
    "HOME",
    "XDG_RUNTIME_DIR",
    "DOCKER_HOST",
    "DOCKER_CONFIG",
    "DOCKER_CONTEXT",
    "DOCKER_CERT_PATH",
    "DOCKER_TLS_VERIFY",
    "CONTAINER_HOST",
    "CONTAINERS_CONF",
    "CONTAINERS_STORAGE_CONF",
];

/// A program that starts containers, and whose server runs.
#[derive(Debug, Clone)]
pub(crate) struct Engine {
    program: PathBuf,
}

impl Engine {
    /// The first engine of this machine that has `compose` and whose server answers.
    ///
    /// # Errors
    /// There is none: what each of them lacks, and what else can be done (exit code 2).
    pub(crate) fn find(table: &TargetTable) -> anyhow::Result<Self> {
        let mut lacks = Vec::new();
        for name in ENGINES {
            let Some(program) = find_on_path(name) else {
                lacks.push(format!("{name} is not on the path"));
                continue;
            };
            let engine = Self { program };
            let asked = [&["compose", "version"][..], &["info"]];
            let missing = asked.into_iter().find_map(|words| {
                let why = match ask(engine.command(&Vars::default()).args(words)) {
                    Ok((status, _)) if status.success() => return None,
                    Ok((status, _)) => status.to_string(),
                    Err(error) => error.to_string(),
                };
                Some(format!("`{name} {}`: {why}", words.join(" ")))
            });
            match missing {
                None => return Ok(engine),
                Some(why) => lacks.push(why),
            }
        }
        Err(exit::set_up(format!(
            "target {} needs a container engine with compose, and none runs here: {}; start one, or declare a target of kind `process` that starts the same program without a container",
            table.id,
            lacks.join("; ")
        )))
    }

    /// The program.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// A call of it with the suite's variables, which the compose file may take.
    fn command(&self, vars: &Vars) -> Command {
        let mut command = Command::new(&self.program);
        clean_environment(&mut command, NO_HOME);
        command.envs(
            vars.iter()
                .map(|(name, value, _)| (name.to_owned(), value.to_string())),
        );
        for name in OF_ENGINES {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
    }
}

/// The compose file of a target, as it is now.
///
/// # Errors
/// It is not there, or would start what the suite may not start (exit code 2).
pub(crate) fn file(
    suite: &Suite,
    table: &TargetTable,
    compose: &ComposeTable,
) -> anyhow::Result<PathBuf> {
    let file = suite.resolve(compose.file.get_ref());
    let looked = compose.look(&file);
    looked.map_err(|why| exit::set_up(format!("target {}: {why}", table.id)))?;
    Ok(file)
}

/// The containers of one start. They are one project of the engine, under a name that nobody else has: what is removed is
/// what has this name as its label, with its networks and volumes.
#[derive(Debug)]
pub(super) struct Containers {
    engine: Engine,
    project: String,
    file: PathBuf,
    service: String,
    vars: Vars,
    begun: bool,
}

impl Containers {
    /// Those of a service; nothing is started yet.
    ///
    /// # Errors
    /// As [`Engine::find`].
    pub(super) fn new(
        table: &TargetTable,
        compose: &ComposeTable,
        file: &Path,
        vars: &Vars,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            engine: Engine::find(table)?,
            project: format!(
                "barrier-bench-{}-{:08x}",
                std::process::id(),
                rand::random::<u32>()
            ),
            file: file.to_owned(),
            service: compose.service.get_ref().clone(),
            vars: vars.clone(),
            begun: false,
        })
    }

    /// What starts them and stays, with what they say as its output. It stops them when it is asked to end.
    pub(super) fn up(&mut self) -> Command {
        self.begun = true;
        let mut command = self.compose();
        command.arg("up").arg(&self.service);
        command
    }

    /// Where a port inside is reached from outside, as `HOST:PORT`; `None` while nothing listens.
    pub(super) fn outside(&self, port: u16) -> Option<String> {
        let mut command = self.compose();
        command.arg("port").arg(&self.service).arg(port.to_string());
        let (status, text) = ask(&mut command).ok()?;
        let told = text.lines().next().unwrap_or_default().trim();
        (status.success() && !told.is_empty() && !told.ends_with(":0")).then(|| told.to_owned())
    }

    /// Removes them, with their networks and volumes.
    ///
    /// # Errors
    /// The engine did not; the text says how it is done by hand.
    pub(super) fn down(&mut self) -> Result<(), String> {
        if !std::mem::take(&mut self.begun) {
            return Ok(());
        }
        let mut command = self.compose();
        command.args(["down", "--volumes", "--timeout", "5"]);
        let why = match ask(&mut command) {
            Ok((status, _)) if status.success() => return Ok(()),
            Ok((status, _)) => status.to_string(),
            Err(error) => error.to_string(),
        };
        let words: Vec<_> = command
            .get_args()
            .map(|word| word.to_string_lossy())
            .collect();
        Err(format!(
            "the containers were not removed ({why}); do it by hand: {} {}",
            self.engine.program.display(),
            words.join(" ")
        ))
    }

    fn compose(&self) -> Command {
        let mut command = self.engine.command(&self.vars);
        command
            .args(["compose", "--project-name", &self.project, "--file"])
            .arg(&self.file);
        command
    }
}

/// Also where the start fails half-way, and where a panic unwinds.
impl Drop for Containers {
    fn drop(&mut self) {
        let _ = self.down();
    }
}
