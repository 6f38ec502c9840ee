//! Running k6: which binary, with what environment, and never longer than its bound.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::Signal;
use serde_json::{Map, Value as Json};

use crate::events::{Ending, Event, Stream};
use crate::evidence::Folder;
use crate::run::driver::{self, Finished, Watch};
use crate::run::environment::{NO_HOME, clean_environment};
use crate::run::inbox::{Inbox, Message, Needs};
use crate::run::process::{self, Supervised, find_on_path, homes};
use crate::run::scratch;
use crate::suite::load::LOAD;
use crate::suite::vars::Vars;
use crate::values::ask::ask;
use crate::values::exit;
use crate::values::shortcut;
use crate::values::text::CORE;
use crate::verdict::facts::Cause;

/// After an interrupt k6 runs teardown and writes its summary; this is its time for both.
const END_LIMIT: Duration = Duration::from_secs(90);
pub(super) const KILL_GRACE: Duration = Duration::from_secs(2);
/// k6 fetches extensions it does not know and reports usage unless told not to.
const QUIET: [(&str, &str); 3] = [
    ("K6_AUTO_EXTENSION_RESOLUTION", "false"),
    ("K6_NO_USAGE_REPORT", "true"),
    ("K6_NO_COLOR", "true"),
];

/// A k6 binary.
#[derive(Debug, Clone)]
pub(crate) struct Binary {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// What `k6 version` prints, and a line with the build id of the core if it has one.
    pub(crate) version: String,
}

/// The subcommand that tells the core's build id, in the words of `k6 version`.
const TELLS_CORE: &str = "barrier [subcommand]";

impl Binary {
    /// Finds k6: `K6_BIN`, `k6` in the current folder, where the suite's paths begin, or with the runner, then the path; asks
    /// for its version.
    ///
    /// # Errors
    /// There is none, or it does not run.
    pub(crate) fn find(root: &Path) -> anyhow::Result<Self> {
        let path = match std::env::var_os("K6_BIN").filter(|given| !given.is_empty()) {
            Some(given) => PathBuf::from(given),
            None => {
                let places: Vec<PathBuf> = homes(root)
                    .into_iter()
                    .map(|home| home.join("k6"))
                    .collect();
                let found = places.iter().find(|path| path.is_file()).cloned();
                found.or_else(|| find_on_path("k6")).ok_or_else(|| {
                    let places: Vec<String> =
                        places.iter().map(|path| path.display().to_string()).collect();
                    exit::set_up(format!(
                        "no k6: neither K6_BIN nor {} nor the path has one; build it with `make k6` in a checkout, and give K6_BIN where the runner is called elsewhere",
                        places.join(" nor ")
                    ))
                })?
            }
        };
        // k6 runs in a folder of its own, so a relative path would not be found there.
        let path =
            std::path::absolute(&path).with_context(|| format!("resolving {}", path.display()))?;
        let (status, said) = tell(&path, &["version"]).map_err(|error| {
            exit::set_up(format!(
                "{} does not run: {error}; build k6 with `make k6`",
                path.display()
            ))
        })?;
        let mut version = said.trim().to_owned();
        if !status.success() || version.is_empty() {
            return Err(exit::set_up(format!(
                "{} version: {}; build k6 with `make k6`",
                path.display(),
                status
            )));
        }
        if version.contains(TELLS_CORE)
            && let Some(core) = core(&path)
        {
            version.push_str(&format!("\n{CORE}{core}"));
        }
        Ok(Self { path, version })
    }

    /// In place of one, where no run of a plan needs it.
    pub(crate) fn none() -> Self {
        Self {
            path: PathBuf::new(),
            version: "none: no scenario of the plan has a script".to_owned(),
        }
    }

    /// The first line of the version.
    pub(crate) fn version_line(&self) -> &str {
        self.version.lines().next().unwrap_or_default()
    }

    /// The modules of a list that this k6 does not contain.
    pub(crate) fn missing<'a>(&self, modules: &[&'a str]) -> Vec<&'a str> {
        let has = |module: &str| {
            self.version
                .split([' ', ',', '\n'])
                .any(|word| word == module)
        };
        modules
            .iter()
            .copied()
            .filter(|module| !has(module))
            .collect()
    }
}

/// Asks k6 something that it answers at once.
fn tell(path: &Path, arguments: &[&str]) -> std::io::Result<(ExitStatus, String)> {
    let mut command = Command::new(path);
    clean_environment(&mut command, NO_HOME);
    ask(command.envs(QUIET).args(arguments))
}

/// The build id of the core. To `k6 version` a module that was built from a folder is `(devel)`, whatever it is made of.
fn core(path: &Path) -> Option<String> {
    let (status, said) = tell(path, &["x", "barrier", "version", "--json"]).ok()?;
    // A k6 of before it could tell prints its help.
    let told: Json = serde_json::from_str(&said).ok()?;
    let id = told.get("core")?.as_str()?;
    (status.success() && !id.is_empty()).then(|| id.to_owned())
}

/// A k6 command line, complete.
#[derive(Debug)]
pub(crate) struct Call {
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    /// How the environment is shown.
    settings: Vec<String>,
    /// Options of `run` alone.
    more: Vec<String>,
}

impl Call {
    /// Builds the call: every variable of the suite reaches the harness, nothing of the runner's own environment does.
    ///
    /// Plain values go by `-e`, so that the command can be read and repeated. Secrets go by the process environment: the
    /// command line of a process can be read by every user of the machine. So do loads, which may hold one in their tags.
    pub(crate) fn new(binary: &Path, script: &Path, vars: &Vars, run_id: &str) -> Self {
        let mut environment: Vec<(String, String)> = QUIET
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let mut shown: Vec<String> = environment
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mut arguments = vec!["run".to_owned(), "--include-system-env-vars".to_owned()];
        let mut plain = |name: &str, value: &str| {
            arguments.extend(["-e".to_owned(), format!("{name}={value}")]);
        };
        for (name, value, _) in vars.iter() {
            if vars.is_secret(name) {
                environment.push((name.to_owned(), value.to_string()));
                shown.push(format!("{name}={}", vars.shown(name).unwrap_or_default()));
            } else {
                plain(name, &value.to_string());
            }
        }
        plain("RUN_ID", run_id);
        // Where paths in settings of a harness begin, as a shell would tell it: k6 works in a folder of its own.
        if let Ok(here) = std::env::current_dir() {
            environment.push(("PWD".to_owned(), here.display().to_string()));
        }
        arguments.push(script.display().to_string());
        Self {
            program: binary.to_owned(),
            arguments,
            environment,
            settings: shown,
            more: Vec::new(),
        }
    }

    /// Settings of k6's own process.
    pub(super) fn settings<'a>(&mut self, settings: impl Iterator<Item = (&'a str, &'a str)>) {
        for (name, value) in settings {
            self.settings.push(quoted(&format!("{name}={value}")));
            self.environment.push((name.to_owned(), value.to_owned()));
        }
    }

    /// Hands the declared loads on to the harness, and further options to k6.
    pub(super) fn load(&mut self, scenarios: &Map<String, Json>, more: &[String]) {
        more.clone_into(&mut self.more);
        if !scenarios.is_empty() {
            let text = Json::Object(scenarios.clone()).to_string();
            self.settings.push(quoted(&format!("{LOAD}={text}")));
            self.environment.push((LOAD.to_owned(), text));
        }
    }

    /// Variables that further options give to the harness, as options.
    pub(super) fn given_variables(&self) -> Vec<String> {
        let given = shortcut::variables_of(&self.more).into_iter();
        given
            .flat_map(|pair| ["-e".to_owned(), pair.to_owned()])
            .collect()
    }

    /// Whether k6 gets no further options.
    pub(super) fn is_bare(&self) -> bool {
        self.more.is_empty()
    }

    /// Which statistics of trends k6 keeps, in place of the harness's own list.
    pub(super) fn trend_stats(&mut self, list: &str) {
        self.arguments
            .splice(1..1, ["--summary-trend-stats".to_owned(), list.to_owned()]);
    }

    /// Has k6 write its values to an output, too.
    pub(super) fn output(&mut self, output: &str) {
        self.arguments
            .splice(1..1, ["--out".to_owned(), output.to_owned()]);
    }

    /// Gives all of k6's values a tag.
    pub(super) fn tag(&mut self, name: &str, value: &str) {
        self.arguments
            .splice(1..1, ["--tag".to_owned(), format!("{name}={value}")]);
    }

    /// Sets a variable of k6's process; `shown` is what is told of its value where that is another one.
    pub(super) fn setting(&mut self, name: &str, value: &str, shown: Option<&str>) {
        self.environment.push((name.to_owned(), value.to_owned()));
        let shown = quoted(&format!("{name}={}", shown.unwrap_or(value)));
        self.settings.push(shown);
    }

    /// The binary.
    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// What k6's process environment holds beside the usual.
    pub(super) fn environment(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.environment.iter();
        pairs.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// What follows `run`: options, and the script at the end.
    pub(super) fn arguments(&self) -> &[String] {
        &self.arguments[1..]
    }

    /// The command as it could be typed, secrets masked.
    pub(crate) fn shown(&self) -> String {
        let program = self.program.display().to_string();
        let (verb, rest) = self.arguments.split_at(1);
        let words = std::iter::once(&program).chain(verb);
        let words = words.chain(&self.more).chain(rest);
        let words = words.map(|word| quoted(word));
        let all: Vec<String> = self.settings.iter().cloned().chain(words).collect();
        all.join(" ")
    }

    /// Leaves nothing on k6's output but what the script logs, line by line as it logs it.
    pub(super) fn log_alone(&mut self) {
        let options = [
            "--quiet",
            "--log-format",
            "raw",
            "--summary-mode",
            "disabled",
        ];
        self.arguments.splice(1..1, options.map(str::to_owned));
    }

    /// What is to be started, with a working directory that is empty.
    pub(super) fn command(&self, work: &Path) -> anyhow::Result<Command> {
        let mut command = Command::new(&self.program);
        let home = work.join("home");
        std::fs::create_dir(&home).context("making a home for k6")?;
        clean_environment(&mut command, &home);
        command
            .envs(self.environment())
            .args(&self.arguments[..1])
            .args(&self.more)
            .args(&self.arguments[1..])
            .current_dir(work);
        Ok(command)
    }

    /// Runs k6 in a fresh working directory, so that a summary found there is of this run. Its output is told as it
    /// comes, and kept in `stdout.txt`. It is asked to end where something that it `needs`, which the inbox hears of, has ended.
    ///
    /// # Errors
    /// k6 cannot be started or its output cannot be kept.
    pub(crate) fn run(
        &self,
        folder: &Folder,
        limit: Duration,
        needs: &Needs,
        inbox: &mut Inbox,
        stream: &Stream,
        watch: &mut dyn Watch,
    ) -> anyhow::Result<Finished> {
        let work = scratch::folder("k6-").context("making a working directory for k6")?;
        let mut output = folder.begin("stdout.txt")?;
        output.add(&format!("[k6] {}\n", self.shown()));
        let mut command = self.command(work.path())?;
        let began = jiff::Zoned::now();
        let mut k6 = process::start("k6", &mut command, output, Some(stream), KILL_GRACE)?;
        process::watch(&k6, inbox);
        watch.began(Some(k6.id()));
        let cause = wait(&mut k6, limit, needs, inbox, stream, watch);
        let ended = jiff::Zoned::now();
        watch.ended()?;
        let status = k6.end()?;
        folder.finish("stdout.txt");
        Ok(Finished {
            code: status.code(),
            wall_clock_ms: ended.timestamp().as_millisecond() - began.timestamp().as_millisecond(),
            began,
            ended,
            cause,
            calls: None,
            work,
        })
    }
}

/// Waits for the end. One interrupt is handed on to k6 (a second would keep it from its teardown), and the end of what it
/// `needs` is one; a further one, or the end of its time, kills it.
pub(super) fn wait(
    process: &mut Supervised,
    limit: Duration,
    needs: &Needs,
    inbox: &mut Inbox,
    stream: &Stream,
    watch: &mut dyn Watch,
) -> Cause {
    let mut cause = Cause::Own;
    let mut deadline = Instant::now() + limit;
    loop {
        let next = driver::next(inbox, deadline, watch);
        let (why, reason, limit) = match next {
            Some(Message::Exited(id)) if id == process.id() => return cause,
            Some(Message::Exited(id)) if needs.contains(id) && cause == Cause::Own => {
                (Cause::TargetEnded, Ending::TargetEnded, END_LIMIT)
            }
            Some(Message::Gone(number)) if needs.contains_other(number) && cause == Cause::Own => {
                (Cause::TargetGone, Ending::TargetGone, END_LIMIT)
            }
            Some(Message::Exited(_) | Message::Gone(_)) => continue,
            Some(Message::Interrupt) if cause == Cause::Own => {
                (Cause::Interrupt, Ending::Interrupted, END_LIMIT)
            }
            None if cause == Cause::Own => (Cause::Limit, Ending::OverLimit, limit),
            Some(Message::Interrupt) | None => {
                process.signal(Signal::KILL);
                return if inbox.interrupts() > 0 {
                    Cause::Interrupt
                } else {
                    cause
                };
            }
        };
        stream.tell(Event::Ending {
            reason,
            limit_s: limit.as_secs(),
        });
        cause = why;
        process.signal(Signal::INT);
        watch.ending(why, inbox);
        deadline = Instant::now() + END_LIMIT;
    }
}

fn quoted(word: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(safe) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Invocation;
    use crate::suite::vars::{Origin, Value};
    use crate::values::value::{Kind, parse};

    #[test]
    fn missing_modules_are_found_by_whole_names() {
        let binary = Binary {
            path: PathBuf::from("k6"),
            version:
                "k6 v2.2.0\nExtensions:\n  github.com/grafana/xk6-redis v0.4.3, k6/x/redis [js]"
                    .to_owned(),
        };
        assert_eq!(
            binary.missing(&["k6/x/redis", "k6/x/red", "k6/x/sse"]),
            ["k6/x/red", "k6/x/sse"]
        );
        assert_eq!(binary.version_line(), "k6 v2.2.0");
    }

    #[test]
    fn plain_values_are_arguments_and_run_ids_too() {
        let mut vars = Vars::default();
        vars.supply("VUS", Value::Int(50), Origin::Default);
        vars.supply(
            "TITLE",
            parse("TITLE", Kind::String, "it's two").expect("text"),
            Origin::Default,
        );
        let mut call = Call::new(Path::new("/bin/k6"), Path::new("/s.js"), &vars, "1-2");
        assert_eq!(
            call.arguments,
            [
                "run",
                "--include-system-env-vars",
                "-e",
                "TITLE=it's two",
                "-e",
                "VUS=50",
                "-e",
                "RUN_ID=1-2",
                "/s.js"
            ]
        );
        call.settings([("GOGC", "20")].into_iter());
        assert!(call.shown().contains(" GOGC=20 "), "{}", call.shown());
        assert!(call.shown().ends_with("/bin/k6 run --include-system-env-vars -e 'TITLE=it'\\''s two' -e VUS=50 -e RUN_ID=1-2 /s.js"));
    }

    #[test]
    fn loads_stand_on_no_command_line() {
        let mut call = Call::new(
            Path::new("/bin/k6"),
            Path::new("/s.js"),
            &Vars::default(),
            "1-2",
        );
        let scenarios = serde_json::json!({ "users": { "tags": { "by": "it's me" } } });
        let scenarios = scenarios.as_object().expect("scenarios");
        call.load(scenarios, &["--tag".to_owned(), "a=b".to_owned()]);
        let work = tempfile::tempdir().expect("folder");
        let command = call.command(work.path()).expect("a command");
        assert!(!format!("{:?}", command.get_args()).contains("users"));
        let text = r#"{"users":{"tags":{"by":"it's me"}}}"#;
        let mut pairs = command.get_envs();
        assert!(pairs.any(|(name, value)| name == LOAD && value == Some(text.as_ref())));
        // What is shown can be typed.
        let typed = r#" 'LOAD={"users":{"tags":{"by":"it'\''s me"}}}' "#;
        assert!(call.shown().contains(typed), "{}", call.shown());
    }

    struct Nobody;

    impl Watch for Nobody {
        fn began(&mut self, _: Option<u32>) {}

        fn ended(&mut self) -> anyhow::Result<()> {
            Ok(())
        }
    }

    fn shell(script: &str, limit: Duration, inbox: &mut Inbox) -> (Finished, String) {
        let root = tempfile::tempdir().expect("folder");
        let folder = Invocation::create(root.path(), "t")
            .and_then(|i| i.run_folder("r", 1))
            .expect("folder");
        // A shell cannot trap what was ignored when it began, as SIGINT is in the background of another shell. (k6 can.)
        let arguments = ["--default-signal=INT", "sh", "-c", script].map(str::to_owned);
        let call = Call {
            program: PathBuf::from("/usr/bin/env"),
            arguments: arguments.to_vec(),
            environment: Vec::new(),
            settings: Vec::new(),
            more: Vec::new(),
        };
        let finished = call
            .run(
                &folder,
                limit,
                &Needs::default(),
                inbox,
                &Stream::default(),
                &mut Nobody,
            )
            .expect("run");
        (
            finished,
            std::fs::read_to_string(folder.path().join("stdout.txt")).expect("stdout"),
        )
    }

    #[test]
    fn the_exit_code_and_the_summary_are_those_of_this_run() {
        let mut inbox = Inbox::without_signals();
        let limit = Duration::from_secs(20);
        let (finished, output) = shell(
            "echo out; echo err >&2; echo '{}' > summary.json; exit 99",
            limit,
            &mut inbox,
        );
        assert_eq!((finished.code, finished.cause), (Some(99), Cause::Own));
        assert_eq!(
            (finished.summary().as_deref(), output.as_str()),
            (
                Some(b"{}\n".as_slice()),
                "[k6] /usr/bin/env --default-signal=INT sh -c 'echo out; echo err >&2; echo '\\''{}'\\'' > summary.json; exit 99'\nout\nerr\n"
            )
        );
        let (finished, _) = shell("exit 0", limit, &mut inbox);
        assert_eq!(finished.summary(), None);
    }

    #[test]
    fn a_run_beyond_its_bound_is_interrupted_and_still_sums_up() {
        let script =
            "trap 'echo \"{}\" > summary.json; exit 105' INT; while :; do sleep 0.05; done";
        let (finished, _) = shell(
            script,
            Duration::from_secs(1),
            &mut Inbox::without_signals(),
        );
        assert_eq!((finished.code, finished.cause), (Some(105), Cause::Limit));
        assert!(finished.summary().is_some());
    }

    #[test]
    fn the_second_interrupt_kills() {
        let mut inbox = Inbox::without_signals();
        let sender = inbox.sender();
        sender
            .send(Message::Interrupt)
            .and_then(|()| sender.send(Message::Interrupt))
            .expect("sent");
        let (finished, _) = shell(
            "trap '' INT; while :; do sleep 0.05; done",
            Duration::from_secs(60),
            &mut inbox,
        );
        assert_eq!((finished.code, finished.cause), (None, Cause::Interrupt));
    }
}
