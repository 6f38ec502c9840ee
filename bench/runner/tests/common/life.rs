//! Processes that outlive the call that started them, and runs that go on until somebody ends them.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::own::{EXTERNAL, Own};
use super::{finish, program, root};

/// How long anything may take here, on whatever machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// Waits for a condition.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        super::pause();
    }
}

/// Id, parent, group, session and terminal of a process that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) id: i32,
    parent: i32,
    group: i32,
    pub(crate) session: i32,
    pub(crate) terminal: i32,
    pub(crate) command: String,
}

pub(crate) fn processes() -> Vec<Seen> {
    let seen = |path: PathBuf| {
        let stat = std::fs::read_to_string(path.join("stat")).ok()?;
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        // What is only left to be reaped has ended.
        (!matches!(fields.next()?, "Z" | "X")).then_some(())?;
        let mut number = || fields.next()?.parse().ok();
        let line = std::fs::read(path.join("cmdline")).ok()?;
        Some(Seen {
            id: path.file_name()?.to_str()?.parse().ok()?,
            parent: number()?,
            group: number()?,
            session: number()?,
            terminal: number()?,
            command: String::from_utf8_lossy(&line).replace('\0', " "),
        })
    };
    let entries = std::fs::read_dir("/proc").expect("processes");
    let entries = entries.filter_map(|entry| seen(entry.ok()?.path()));
    entries.collect()
}

/// What a process has started, as it is now.
pub(crate) fn children(parent: i32) -> Vec<Seen> {
    let mut all = processes();
    all.retain(|process| process.parent == parent);
    all
}

/// The child whose program is called so.
pub(crate) fn child(parent: i32, name: &str) -> Option<Seen> {
    let named = |process: &Seen| {
        let program = process.command.split(' ').next().unwrap_or_default();
        Path::new(program)
            .file_name()
            .is_some_and(|own| own == name)
    };
    children(parent).into_iter().find(named)
}

/// Waits until nobody is left of the groups of these.
pub(crate) fn all_end(started: &[Seen]) {
    wait_for("nothing of it runs", || {
        let left = processes().into_iter();
        let mut left = left.filter(|now| started.iter().any(|was| was.group == now.group));
        left.next().is_none().then_some(())
    });
}

pub(crate) fn send(id: i32, signal: Signal) {
    kill_process(Pid::from_raw(id).expect("an id"), signal).expect("signal");
}

/// The number behind `process ` in what was printed.
pub(crate) fn process_in(printed: &str) -> i32 {
    let after = printed.split("process ").nth(1).expect("a process");
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("a number")
}

/// A runner that is ended with the test, also where that fails.
pub(crate) struct Ends(pub(crate) Child);

impl Drop for Ends {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
            let _ = self.0.wait();
        }
    }
}

/// A harness that waits for as long as it is told, and what a gate says of it.
pub(crate) fn waits() -> Own {
    let suite = format!(
        "{EXTERNAL}\n[env.SECONDS]\ntype = \"int\"\ndefault = 900\n[env.PASSWORD]\ntype = \"string\"\nsecret = true\n[env.DOES]\ntype = \"string\"\ndefault = \"\"\n\
         [[scenario]]\nid = \"main\"\nscript = \"run.js\"\nlimit = \"20m\"\nestimate = \"20m\"\n\
         [[gate]]\nid = \"done\"\nclass = \"slo\"\nmetric = \"done\"\nstat = \"count\"\nop = \"<\"\nlimit = 2\n\
         [[gate]]\nid = \"seen\"\nclass = \"watch\"\nmetric = \"done\"\nstat = \"count\"\nop = \"<\"\nlimit = 1\n"
    );
    let harness = "import { sleep } from 'k6';\nimport exec from 'k6/execution';\nimport { Counter } from 'k6/metrics';\n\
        export const options = { vus: 1, iterations: 1 };\nconst done = new Counter('done');\n\
        export default function () {\n  console.log('waiting now');\n  sleep(Number(__ENV.SECONDS));\n\
        done.add(__ENV.DOES === 'twice' ? 2 : 1);\n  if (__ENV.DOES === 'abort') exec.test.abort('enough <seen>');\n}\n\
        export function handleSummary(data) { return { 'summary.json': JSON.stringify(data), stdout: 'summed up\\n' }; }\n";
    Own::new(&suite, harness)
}

/// A call of the runner for such a suite.
pub(crate) fn call(own: &Own, verb: &str, more: &[&str]) -> Command {
    let mut command = own.call(verb, more);
    command.env("BASE_URL", own.address());
    command
}

/// A call without a suite.
pub(crate) fn verb(own: &Own, arguments: &[&str]) -> (i32, String) {
    finish(own.place.runner().args(arguments))
}

/// The reference chat service: `CHAT_SERVICE_BIN`, else beside the runner, else the one in `bin/`.
pub(crate) fn chat_service() -> PathBuf {
    let beside = Path::new(env!("CARGO_BIN_EXE_barrier-bench")).with_file_name("chat-service");
    let installed = root().join("bin/chat-service");
    program("CHAT_SERVICE_BIN", &[beside, installed], "make binaries")
}

/// The only folder of evidence, once its plan is there.
pub(crate) fn plan(evidence: &Path) -> PathBuf {
    wait_for("a plan", || {
        let mut entries = std::fs::read_dir(evidence).ok()?.flatten();
        let found = entries.find(|entry| entry.path().join("plan.json").is_file());
        found.map(|entry| entry.path())
    })
}

/// How many runs the folder of the evidence holds.
pub(crate) fn plans(evidence: &Path) -> usize {
    let entries = std::fs::read_dir(evidence).expect("evidence").flatten();
    let plans = entries.filter(|entry| entry.path().join("plan.json").is_file());
    plans.count()
}

/// A call without a suite in a place.
pub(crate) fn verb_in(place: &super::Place, arguments: &[&str]) -> (i32, String) {
    finish(place.runner().args(arguments))
}

/// Ends what a test began in the background, where the test fails before it does.
pub(crate) struct Stops<'a>(pub(crate) &'a super::Place, pub(crate) &'a [&'a str]);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.0.runner().args(self.1).output();
        }
    }
}

/// A record of processes as one that was made in another container reads here: their numbers are of another system, and of no
/// machine that is known.
pub(crate) fn of_another_container(record: &str) -> String {
    before_a_restart(record).replace("\"machine\":", "\"noMachine\":")
}

/// A record of processes as it reads after a restart of the machine.
pub(crate) fn before_a_restart(record: &str) -> String {
    let (_, after) = record.split_once("\"system\":").expect("a process");
    let system = after.split('"').nth(1).expect("its system");
    record.replace(system, "another boot pid:[1]")
}
