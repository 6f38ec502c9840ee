//! A monitor whose Grafana runs in a container: what is removed of it, and what is not. A script stands for the engine, whose containers
//! outlive whoever asked for them, as those of a daemon do.

mod common;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use common::life::{Stops, send};
use common::monitor::{call, chat_service, folder, until};
use common::{Place, finish, json, root, text};
use rustix::process::Signal;

/// It keeps a folder for each container: its labels, and the process that is inside. A call that is ended leaves its container to the
/// engine. `refuses`: a file that has it fail.
const ENGINE: &str = r#"#!/bin/sh
PATH=/usr/bin:/bin
state=STATE
echo "$*" >>"$state/calls"
test ! -e "$state/refuses" || { echo "no daemon answers" >&2; exit 1; }
case "$1" in
info) ;;
run)
  own="$state/containers/c$$"
  mkdir "$own"
  while test $# -gt 0; do
    test "$1" != --label || echo "$2" >>"$own/labels"
    shift
  done
  setsid CHAT --listen "$GF_SERVER_HTTP_ADDR:$GF_SERVER_HTTP_PORT" --stream-listen 127.0.0.1:0 </dev/null >/dev/null 2>&1 &
  echo $! >"$own/inside"
  exec sleep 600
  ;;
ps)
  test "$1 $2 $3 $4" = "ps --all --quiet --filter" || exit 2
  for own in "$state"/containers/*; do
    if grep -qxF -e "${5#label=}" "$own/labels"; then echo "${own##*/}"; fi
  done
  ;;
rm)
  test "$1 $2 $3" = "rm --force --volumes" || exit 2
  shift 3
  for id; do
    inside=$(cat "$state/containers/$id/inside")
    kill -9 "$inside"
    # One that nobody waits for stays as a zombie, which holds nothing.
    while test -e "/proc/$inside" && ! grep -q "^State:.Z" "/proc/$inside/status"; do sleep 0.02; done
    rm -r "$state/containers/$id"
  done
  ;;
*) exit 2 ;;
esac
"#;

/// The engine, which is the only program on the path.
struct Engine(PathBuf);

impl Engine {
    /// With containers of others: one that is called as ours are and has no label, and one of another monitor of the same suite.
    fn new(place: &Place) -> Self {
        let state = place.evidence().with_file_name("engine");
        fs::create_dir_all(state.join("path")).expect("a folder");
        let script = ENGINE.replace("STATE", &state.display().to_string());
        let script = script.replace("CHAT", &chat_service().display().to_string());
        let program = state.join("path/docker");
        fs::write(&program, script).expect("written");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("runs");
        for (name, labels) in [
            ("grafana", "maintainer=somebody\n"),
            (
                "of-another",
                "io.k6-barrier.suite=chat\nio.k6-barrier.monitor=another\n",
            ),
        ] {
            let own = state.join("containers").join(name);
            fs::create_dir_all(&own).expect("a folder");
            fs::write(own.join("labels"), labels).expect("written");
            // Who removes it by mistake ends nobody.
            fs::write(own.join("inside"), "2147483647\n").expect("written");
        }
        Self(state)
    }

    fn call(&self, place: &Place, arguments: &[&str]) -> (i32, String) {
        let mut command = call(place, arguments);
        if std::env::var_os("PROMETHEUS_BIN").is_none() {
            let path = std::env::var_os("PATH").expect("a path");
            let folders = std::env::split_paths(&path);
            let mut found = folders
                .chain([root().join(".cache/prometheus/bin")])
                .map(|folder| folder.join("prometheus"));
            let found = found.find(|program| program.is_file());
            command.env("PROMETHEUS_BIN", found.expect("a prometheus"));
        }
        finish(
            command
                .env("PATH", self.0.join("path"))
                .env_remove("GRAFANA_HOME"),
        )
    }

    /// Starts a monitor; returns the folder of its container, and where it answers.
    fn start(&self, place: &Place) -> (PathBuf, String) {
        let (code, told) = self.call(
            place,
            &["start", "--prometheus-port", "0", "--dashboard-port", "0"],
        );
        assert_eq!(code, 0, "{told}");
        let record = json(&folder(place).join("monitor.json"));
        let grafana = record["grafana"].as_str().expect("a text");
        assert!(grafana.contains("path/docker"), "{grafana}");
        let dashboard = record["dashboard"].as_str().expect("an address");
        let address = dashboard.strip_suffix("/d/testing").expect("its uid");
        assert!(answers(address));
        let mut own = self.containers();
        own.retain(|name| name.starts_with('c'));
        assert_eq!(own.len(), 1, "{own:?}");
        let own = self.0.join("containers").join(&own[0]);
        (own, address.to_owned())
    }

    /// Those that there are, by their names.
    fn containers(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.join("containers")).expect("containers");
        let names = entries.map(|entry| entry.expect("one").file_name());
        let mut names: Vec<String> = names
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

/// What a test that fails has left inside of a container ends.
impl Drop for Engine {
    fn drop(&mut self) {
        for name in self
            .containers()
            .iter()
            .filter(|name| name.starts_with('c'))
        {
            send(inside(&self.0.join("containers").join(name)), Signal::KILL);
        }
    }
}

fn inside(container: &Path) -> i32 {
    let id = text(&container.join("inside"));
    id.trim().parse().expect("a number")
}

fn answers(address: &str) -> bool {
    ureq::get(format!("{address}/api/health")).call().is_ok()
}

fn is_free(address: &str) -> bool {
    let (_, address) = address.split_once("://").expect("a scheme");
    TcpListener::bind(address).is_ok()
}

const OF_OTHERS: [&str; 2] = ["grafana", "of-another"];

#[test]
fn the_container_of_a_monitor_ends_with_it_and_nobody_elses() {
    let place = Place::new();
    let engine = Engine::new(&place);
    let stop = ["monitor", "chat", "stop"];
    let _stops = Stops(&place, &stop);
    let (container, address) = engine.start(&place);
    let labels = text(&container.join("labels"));
    let own = labels.trim().split_once('=').expect("a label alone");
    assert_eq!(own.0, "io.k6-barrier.monitor");
    assert!(own.1.len() == 32 && own.1 != "another", "{own:?}");

    let (code, told) = engine.call(&place, &["stop"]);
    assert_eq!(code, 0, "{told}");
    assert_eq!(engine.containers(), OF_OTHERS, "{told}");
    assert!(is_free(&address), "{address}");
    assert!(!folder(&place).join("container.json").exists());
}

#[test]
fn the_container_of_a_killed_monitor_is_removed_by_stop_and_by_the_next_start() {
    let place = Place::new();
    let engine = Engine::new(&place);
    let stop = ["monitor", "chat", "stop"];
    let _stops = Stops(&place, &stop);
    let kill = || {
        let record = json(&folder(&place).join("monitor.json"));
        let process = i32::try_from(record["process"].as_i64().expect("a process"));
        let process = process.expect("a number");
        send(process, Signal::KILL);
        until("the monitor ends", || {
            let stat = procfs::process::Process::new(process).and_then(|own| own.stat());
            stat.map_or(true, |stat| stat.state == 'Z').then_some(())
        });
    };
    let (_, first) = engine.start(&place);
    kill();
    assert!(answers(&first), "an engine's container ends with nobody");
    let (second, address) = engine.start(&place);
    assert!(is_free(&first), "the next start has removed it: {first}");

    kill();
    fs::write(engine.0.join("refuses"), "").expect("written");
    let (code, told) = engine.call(&place, &["stop"]);
    assert_eq!(code, 2, "{told}");
    let by_hand = "ps --all --quiet --filter label=io.k6-barrier.monitor=";
    assert!(
        told.contains("exit status: 1") && told.contains(by_hand),
        "{told}"
    );
    fs::remove_file(engine.0.join("refuses")).expect("removed");
    assert!(second.exists() && answers(&address));
    let (code, told) = engine.call(&place, &["stop"]);
    assert_eq!(code, 0, "{told}");
    assert_eq!(engine.containers(), OF_OTHERS, "{told}");
    assert!(is_free(&address), "{address}");
}
