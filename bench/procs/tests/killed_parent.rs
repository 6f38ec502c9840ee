//! What becomes of a child whose parent is killed. The parent is this program once more, as one test of it alone.

use std::fs::File;
use std::io::{PipeReader, Read as _};
use std::os::fd::IntoRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use barrier_procs::{Output, Supervised};
use rustix::process::{Pid, Signal, getpid, getppid, kill_process};

/// Set where this program is the parent: the folder of the test.
const FOLDER: &str = "BARRIER_PROCS_TEST_FOLDER";

/// Starts this program as the parent of the named test. Nobody holds the other end of the pipe any more once parent,
/// child and whatever that started have ended.
fn parent(test: &str, folder: &Path) -> (Child, PipeReader) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let parent = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", test, "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::null())
        .stderr(writer)
        .spawn()
        .expect("the parent");
    (parent, reader)
}

/// Where this program is the parent: starts the child, which inherits the pipe, and lives on.
fn live_with(script: &str, folder: &Path, before: impl FnOnce(&mut Command)) -> ! {
    let pipe = rustix::io::dup(std::io::stderr()).expect("a copy of the pipe");
    let _ = pipe.into_raw_fd();
    let mut command = Command::new("sh");
    command.args(["-c", script]).current_dir(folder);
    before(&mut command);
    let log = File::create(folder.join("log")).expect("a log");
    let grace = Duration::from_secs(60);
    let _child = Supervised::start("the shell", &mut command, Output::File(log), grace);
    loop {
        thread::park();
    }
}

fn folder_of_the_parent() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

fn all_have_ended(mut pipe: PipeReader) -> bool {
    let (sender, ended) = channel();
    thread::spawn(move || sender.send(pipe.read_to_end(&mut Vec::new())));
    ended.recv_timeout(Duration::from_secs(60)).is_ok()
}

#[test]
fn a_child_ends_when_its_parent_is_killed() {
    if let Some(folder) = folder_of_the_parent() {
        live_with("touch ready; exec sleep 600", &folder, |_| {});
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (mut parent, pipe) = parent("a_child_ends_when_its_parent_is_killed", folder.path());
    while !folder.path().join("ready").exists() {
        assert_eq!(parent.try_wait().expect("a state"), None, "it waits");
        thread::sleep(Duration::from_millis(5));
    }
    parent.kill().expect("a signal");
    parent.wait().expect("its end");
    assert!(all_have_ended(pipe));
}

#[test]
fn nothing_is_started_for_a_parent_that_has_died() {
    if let Some(folder) = folder_of_the_parent() {
        let parent = getpid();
        live_with("touch started", &folder, |command| {
            // SAFETY: between fork and exec it makes async-signal-safe system calls alone (kill, getppid).
            unsafe { command.pre_exec(move || die(parent)) };
        });
    }
    let folder = tempfile::tempdir().expect("a folder");
    let test = "nothing_is_started_for_a_parent_that_has_died";
    let (mut parent, pipe) = parent(test, folder.path());
    assert!(!parent.wait().expect("its end").success());
    assert!(all_have_ended(pipe));
    assert!(folder.path().join("log").exists(), "it came as far as that");
    assert!(!folder.path().join("started").exists());
}

/// In the child, before the parent-death signal is asked for: kills the parent and sees to it that it is dead.
fn die(parent: Pid) -> std::io::Result<()> {
    kill_process(parent, Signal::KILL)?;
    while getppid() == Some(parent) {}
    Ok(())
}
