//! Targets: which one a run uses, starting it, asking whether it answers, ending it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tempfile::TempDir;

use crate::evidence::Folder;
use crate::plan::target::ADDRESS;
use crate::run::compose::{self, Containers};
use crate::run::environment::{NO_HOME, clean_environment};
use crate::run::inbox::Inbox;
use crate::run::limits;
use crate::run::logs;
use crate::run::lookout::{Lookout, Spans};
use crate::run::probe::{Question, Unwell};
use crate::run::process::{self, Supervised, find_on_path, tail};
use crate::run::program;
use crate::run::scratch;
use crate::run::start::{STOP_GRACE, command, host_and_port, line_of};
use crate::suite::Suite;
use crate::suite::schema::{TargetKind, TargetTable};
use crate::suite::target::{self, By, Told};
use crate::suite::vars::{Origin, RunValues, Value, Vars};
use crate::values::ask::ask;
use crate::values::exit;

/// The program of a target that the runner starts; of containers the compose file, which says all that is started.
///
/// # Errors
/// It is not there; the text says how to get it.
pub(crate) fn program(suite: &Suite, target: &TargetTable) -> anyhow::Result<PathBuf> {
    if let Some(table) = &target.compose {
        return compose::file(suite, target, table);
    }
    let name = target
        .start
        .first()
        .map(|word| word.get_ref().as_str())
        .unwrap_or_default();
    if target.kind == TargetKind::Process {
        let path = if name.contains('/') {
            Some(suite.resolve(name)).filter(|path| path.is_file())
        } else {
            find_on_path(name)
        };
        return path.ok_or_else(|| {
            exit::set_up(format!(
                "target {}: no program `{name}` ({}); install it, or mend `start` in {}",
                target.id,
                if name.contains('/') {
                    format!("{} is no file", suite.resolve(name).display())
                } else {
                    "it is not on the path".to_owned()
                },
                suite.path.display()
            ))
        });
    }
    program::of_project(suite, name)?.map_err(|places| {
        exit::set_up(format!(
            "no program `{name}` for target {}: {places}; build it with `make` in a checkout, or give {}_BIN",
            target.id,
            name.to_ascii_uppercase().replace('-', "_")
        ))
    })
}

/// What a program of this project says about its version.
pub(crate) fn version(target: &TargetTable, program: &Path) -> Option<String> {
    if target.kind != TargetKind::Builtin {
        return None;
    }
    let mut command = Command::new(program);
    clean_environment(&mut command, NO_HOME);
    let (status, text) = ask(command.arg("--version")).ok()?;
    let text = text.trim().to_owned();
    (status.success() && !text.is_empty()).then_some(text)
}

/// A target that answers.
#[derive(Debug)]
pub(crate) struct Target {
    id: String,
    pub(super) question: Question,
    pub(super) started: Option<Started>,
    /// Where it listens, if it tells.
    told: Option<String>,
    /// How one that the runner has not started is looked after, and who does.
    looked_after: Option<Spans>,
    lookout: Option<Lookout>,
}

#[derive(Debug)]
pub(super) struct Started {
    pub(super) process: Supervised,
    /// They are removed once what shows their output has ended.
    containers: Option<Containers>,
    pub(super) limits: Option<limits::Applied>,
    pub(super) log: String,
    pub(super) folder: TempDir,
    /// What it was started with.
    pub(super) program: PathBuf,
    pub(super) vars: Vars,
    /// Where it listened before it was started again.
    pub(super) was: Vec<(String, String)>,
}

impl Target {
    /// Starts the target if that is the runner's task, and waits until it answers. Its address becomes `BASE_URL`, unless it is a
    /// service; its other addresses become the variables that `addresses` names. `program` is what is started, which
    /// [`program`] finds where nobody gave another build.
    ///
    /// # Errors
    /// It does not start or does not answer within its limit (exit code 2), or a signal arrived.
    pub(crate) fn start(
        suite: &Suite,
        table: &TargetTable,
        given: Option<&Path>,
        vars: &mut Vars,
        folder: &Folder,
        inbox: &mut Inbox,
    ) -> anyhow::Result<Self> {
        let until = Until {
            every: table.ready.every,
            deadline: Instant::now() + table.ready.limit,
        };
        let id = table.id.clone();
        if !table.is_started() {
            let question = Question::new(suite, table, vars, &RunValues::new())?;
            wait(&id, &question, None, &until, folder, inbox)?;
            return Ok(Self {
                id,
                question,
                started: None,
                told: None,
                looked_after: Spans::of(&table.ready),
                lookout: None,
            });
        }
        let mut started = Started::new(suite, table, given, vars, folder, inbox)?;
        match started.reach(suite, table, &until, vars, folder, inbox) {
            Ok((question, told)) => Ok(Self {
                id,
                question,
                started: Some(started),
                told,
                looked_after: None,
                lookout: None,
            }),
            // What it said until then is evidence, too.
            Err(error) => {
                started.stop(folder);
                Err(error)
            }
        }
    }

    /// What it is called.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Where it listens, as it tells or as it is asked.
    pub(crate) fn address(&self) -> &str {
        self.told.as_deref().unwrap_or(self.question.address())
    }

    /// What the suite lets its program take, and how that was seen to.
    pub(super) fn limits(&self) -> Option<&limits::Applied> {
        self.started.as_ref()?.limits.as_ref()
    }

    /// The process id of a target that the runner started. What runs in a container is no child of the runner's.
    pub(crate) fn process(&self) -> Option<u32> {
        let started = self.started.as_ref()?;
        started.containers.is_none().then(|| started.process.id())
    }

    /// Has the inbox hear of the end of a program that the runner started.
    pub(super) fn watch(&self, inbox: &Inbox) {
        if let Some(started) = &self.started {
            process::watch(&started.process, inbox);
        }
    }

    /// Has the inbox hear of it where one that the runner has not started is gone. Returns by which number, if that is looked for.
    ///
    /// # Errors
    /// There is no thread.
    pub(super) fn look_after(&mut self, inbox: &Inbox) -> anyhow::Result<Option<u32>> {
        if let Some(spans) = self.looked_after {
            self.lookout = Some(Lookout::begin(self.question.clone(), spans, inbox)?);
        }
        Ok(self.lookout.as_ref().map(Lookout::number))
    }

    /// Whether it runs, if the runner started it, and answers now.
    ///
    /// # Errors
    /// What came instead.
    pub(super) fn healthy(&mut self) -> Result<(), Unwell> {
        let ended = self.started.as_mut().map(|started| started.process.ended());
        match ended {
            Some(Ok(Some(status))) => {
                Err(Unwell::gone(format!("its program has ended ({status})")))
            }
            _ => self.question.ask(),
        }
    }

    /// Ends a target that the runner started and completes its log.
    pub(crate) fn stop(self, folder: &Folder) {
        if let Some(started) = self.started {
            started.stop(folder);
        }
    }
}

/// Asks until it answers. `started`: its process, where the runner has started it.
fn wait(
    id: &str,
    question: &Question,
    mut started: Option<&mut Started>,
    until: &Until,
    folder: &Folder,
    inbox: &mut Inbox,
) -> anyhow::Result<()> {
    loop {
        inbox.check()?;
        let Err(Unwell { text: answer, .. }) = question.ask() else {
            return Ok(());
        };
        if let Some(started) = &mut started {
            started.still_runs(id, folder)?;
        }
        if Instant::now() >= until.deadline {
            let who = if started.is_some() {
                ""
            } else {
                "; start its services, or leave out its address to use the reference target"
            };
            return Err(exit::set_up(format!(
                "target {id} is not ready: {answer}{who}"
            )));
        }
        inbox.pause(until.every)?;
    }
}

/// How long somebody waits, and how often it is looked.
struct Until {
    every: Duration,
    deadline: Instant,
}

impl Started {
    /// Starts the program of a target.
    fn new(
        suite: &Suite,
        table: &TargetTable,
        given: Option<&Path>,
        vars: &Vars,
        folder: &Folder,
        inbox: &mut Inbox,
    ) -> anyhow::Result<Self> {
        let private = scratch::folder("target-").context("making a folder for the target")?;
        let program = match given {
            Some(given) => given.to_owned(),
            None => program(suite, table)?,
        };
        let mut containers = match &table.compose {
            Some(compose) => Some(Containers::new(table, compose, &program, vars)?),
            None => None,
        };
        let mut command = command(table, &program, vars, private.path())?;
        // After a signal nothing is started any more.
        inbox.check()?;
        if let Some(containers) = &mut containers {
            command = containers.up();
        }
        let log = logs::own(table);
        let output = folder.begin(&log)?;
        let process = process::start(&table.id, &mut command, output, None, STOP_GRACE);
        let begun = process.and_then(|process| Ok((limits::apply(table, process.id())?, process)));
        let (limits, process) = begun.inspect_err(|_| folder.finish(&log))?;
        Ok(Self {
            process,
            containers,
            limits,
            log,
            folder: private,
            program,
            vars: vars.clone(),
            was: Vec::new(),
        })
    }

    /// Waits until it answers, and makes its addresses known: how it is asked, and where it listens if it tells.
    fn reach(
        &mut self,
        suite: &Suite,
        table: &TargetTable,
        until: &Until,
        vars: &mut Vars,
        folder: &Folder,
        inbox: &mut Inbox,
    ) -> anyhow::Result<(Question, Option<String>)> {
        let told = self.places(suite, table, until, folder, inbox)?;
        let address = told.text(target::ADDRESS);
        if let Some(address) = address.clone().filter(|_| !table.is_service()) {
            vars.supply(ADDRESS, Value::Text(address), Origin::Started);
        }
        for (name, text) in &table.addresses {
            let own = vars.expand(text.get_ref(), &told)?;
            suite.allow_now(name.get_ref(), &own)?;
            vars.supply(name.get_ref(), Value::Text(own), Origin::Started);
        }
        let question = Question::new(suite, table, vars, &told)?;
        wait(&table.id, &question, Some(self), until, folder, inbox)?;
        Ok((question, address))
    }

    /// Ends it and completes its log.
    fn stop(mut self, folder: &Folder) {
        self.process.stop();
        if let Some(Err(why)) = self.containers.as_mut().map(Containers::down) {
            let log = std::fs::OpenOptions::new()
                .append(true)
                .open(folder.partial(&self.log));
            // Where nothing can be written, the folder's own faults say so.
            let _ = log.and_then(|mut log| writeln!(log, "[runner] {why}"));
        }
        folder.finish(&self.log);
    }

    /// Where it listens: `address` as it tells it, and host and port of each further place by its name.
    fn places(
        &mut self,
        suite: &Suite,
        table: &TargetTable,
        until: &Until,
        folder: &Folder,
        inbox: &mut Inbox,
    ) -> anyhow::Result<RunValues> {
        let mut told = RunValues::new();
        for place in table.told() {
            let address = self.address(&table.id, &place, until, folder, inbox)?;
            let what = format!("the address that target {} tells", table.id);
            suite.allow_now(&what, &address)?;
            if place.name == target::ADDRESS {
                told.insert(target::HOST_PORT, host_and_port(&address));
                told.insert(place.name, address);
            } else {
                told.insert(place.name, host_and_port(&address));
            }
        }
        Ok(told)
    }

    fn address(
        &mut self,
        id: &str,
        place: &Told<'_>,
        until: &Until,
        folder: &Folder,
        inbox: &mut Inbox,
    ) -> anyhow::Result<String> {
        loop {
            if let Some(address) = self.told(place) {
                return Ok(address);
            }
            self.still_runs(id, folder)?;
            if Instant::now() >= until.deadline {
                let what = match &place.by {
                    By::File { file, line: None } => format!("the address of {{{file}}}"),
                    By::File {
                        line: Some(name), ..
                    } => format!("the address of its port `{name}`"),
                    By::Container(port) => format!("the address of its container's port {port}"),
                };
                return Err(exit::set_up(format!(
                    "target {id} did not tell {what}; its last words:\n{}",
                    self.tail(folder)
                )));
            }
            inbox.pause(until.every)?;
        }
    }

    /// Where it listens, as it, or who started its container, says by now.
    pub(super) fn told(&self, place: &Told<'_>) -> Option<String> {
        match &place.by {
            By::File { file, line } => {
                let text = std::fs::read_to_string(self.folder.path().join(file)).ok()?;
                line_of(&text, *line).map(str::to_owned)
            }
            By::Container(port) => {
                let outside = self.containers.as_ref()?.outside(*port)?;
                Some(format!("http://{outside}"))
            }
        }
    }

    fn still_runs(&mut self, id: &str, folder: &Folder) -> anyhow::Result<()> {
        let Some(status) = self.process.ended()? else {
            return Ok(());
        };
        self.process.stop();
        Err(exit::set_up(format!(
            "target {id} ended during its start ({status}); its last words:\n{}",
            self.tail(folder)
        )))
    }

    fn tail(&self, folder: &Folder) -> String {
        tail(&folder.partial(&self.log), 5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Invocation;
    use crate::plan::target::choose;
    use crate::suite::tests::suite;

    const ENV: &str = "[env.BASE_URL]\ntype = \"url\"\n[env.EVENT_IDS]\ntype = \"list\"\n[env.FAULT]\ntype = \"string\"\n\
        [[scenario]]\nid = \"smoke\"\nscript = \"s.js\"\nlimit = \"30s\"\n";
    const EXTERNAL: &str = "[[target]]\nid = \"gateway\"\nkind = \"external\"\n\
        ready = { tcp = \"${BASE_URL}\", every = \"10ms\", limit = \"50ms\" }\n";

    fn process(script: &str, ready: &str) -> String {
        format!(
            "[[target]]\nid = \"own\"\nkind = \"process\"\nvariant = \"zset\"\nfaults = \"${{FAULT}}\"\n\
             start = [\"sh\", \"-c\", '''{script}''', \"sh\", \"{{port_file}}\"]\nready = {ready}\n"
        )
    }

    fn start(suite: &Suite, vars: &mut Vars) -> anyhow::Result<(Target, Folder, TempDir)> {
        let root = tempfile::tempdir().expect("folder");
        let folder = Invocation::create(root.path(), "t")
            .and_then(|i| i.run_folder("r", 1))
            .expect("folder");
        let table = choose(suite, &suite.file.scenario[0], Some("zset"), vars)?;
        let target = Target::start(
            suite,
            table,
            None,
            vars,
            &folder,
            &mut Inbox::without_signals(),
        )?;
        Ok((target, folder, root))
    }

    #[test]
    fn an_external_address_wins_over_a_target_to_start() {
        let suite = suite(&format!(
            "{ENV}{}{EXTERNAL}",
            process(
                "exit 0",
                "{ url = \"{address}\", every = \"10ms\", limit = \"5s\" }"
            )
        ))
        .expect("suite");
        let mut vars = Vars::default();
        assert_eq!(
            choose(&suite, &suite.file.scenario[0], Some("zset"), &vars)
                .expect("target")
                .id,
            "own"
        );
        vars.supply(
            "BASE_URL",
            Value::Text("http://127.0.0.1:1".to_owned()),
            Origin::CommandLine,
        );
        assert_eq!(
            choose(&suite, &suite.file.scenario[0], Some("zset"), &vars)
                .expect("target")
                .id,
            "gateway"
        );
        let text = start(&suite, &mut vars)
            .expect_err("nothing answers there")
            .to_string();
        assert!(
            text.contains("gateway is not ready") && text.contains("127.0.0.1:1"),
            "{text}"
        );
    }

    #[test]
    fn a_started_target_tells_its_address_and_leaves_a_log() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listener");
        let address = format!("http://{}", listener.local_addr().expect("address"));
        let script = format!("echo \"with $2 $3\"; echo {address} > \"$1\"; exec sleep 60");
        let suite = suite(&format!(
            "{ENV}{}",
            process(
                &script,
                "{ tcp = \"{address}\", every = \"10ms\", limit = \"5s\" }"
            )
        ))
        .expect("suite");
        let mut vars = Vars::default();
        vars.supply(
            "FAULT",
            Value::Text("--fail-logins 3".to_owned()),
            Origin::CommandLine,
        );
        let (mut target, folder, _root) = start(&suite, &mut vars).expect("ready");
        assert_eq!(vars.text("BASE_URL"), Some(address));
        target.healthy().expect("healthy");
        target.stop(&folder);
        let log = std::fs::read_to_string(folder.path().join("own.log")).expect("log");
        assert_eq!(log, "with --fail-logins 3\n");
    }

    #[test]
    fn a_target_that_ends_early_is_quoted() {
        let suite = suite(&format!(
            "{ENV}{}",
            process(
                "echo no seats; exit 7",
                "{ tcp = \"{address}\", every = \"10ms\", limit = \"5s\" }"
            )
        ))
        .expect("suite");
        let error = start(&suite, &mut Vars::default()).expect_err("refused");
        assert_eq!(exit::code_of(&error), exit::SET_UP);
        let text = error.to_string();
        assert!(text.contains("no seats") && text.contains('7'), "{text}");
    }

    #[test]
    fn after_a_signal_no_target_is_started() {
        let root = tempfile::tempdir().expect("folder");
        let folder = Folder::open(root.path());
        let text = process(
            "exit 0",
            "{ tcp = \"{address}\", every = \"10ms\", limit = \"5s\" }",
        );
        let suite = suite(&format!("{ENV}{text}")).expect("suite");
        let mut inbox = Inbox::without_signals();
        inbox
            .sender()
            .send(crate::run::inbox::Message::Interrupt)
            .expect("sent");
        let table = &suite.file.target[0];
        let error = Target::start(
            &suite,
            table,
            None,
            &mut Vars::default(),
            &folder,
            &mut inbox,
        )
        .expect_err("interrupted");
        assert_eq!(exit::code_of(&error), exit::INTERRUPTED);
        assert!(!folder.partial("own.log").exists(), "it was never started");
    }
}
