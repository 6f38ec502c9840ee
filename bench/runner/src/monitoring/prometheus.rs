//! Prometheus: which one, whether it takes the rules, and starting it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use barrier_procs::{Output, Supervised, find_on_path, given_program, last_lines};

use super::api::Api;
use super::place::Place;
use crate::values::exit::{self, Stop};

/// It writes its data when it is asked to end.
const GRACE: Duration = Duration::from_secs(20);
/// A log of earlier data is read at the start.
const READY_LIMIT: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(50);
/// What is kept of earlier runs.
const RETENTION: &str = "30d";

/// The program: `PROMETHEUS_BIN`, else on the path, else what the script unpacked.
///
/// # Errors
/// There is none; the text says how to get it.
pub(super) fn find(root: &Path) -> anyhow::Result<PathBuf> {
    let given = given_program("PROMETHEUS_BIN")
        .map_err(|error| exit::set_up(format!("{error}; name a prometheus, or unset it")))?;
    let here = std::env::current_dir().ok();
    let homes = here.iter().map(PathBuf::as_path).chain([root]);
    let mut unpacked = homes.map(|home| home.join(".cache/prometheus/bin/prometheus"));
    given
        .or_else(|| find_on_path("prometheus"))
        .or_else(|| unpacked.find(|path| path.is_file()))
        .ok_or_else(|| {
            exit::set_up(
                "no Prometheus: neither PROMETHEUS_BIN nor the path has one; run scripts/ensure-prometheus.sh in a checkout, or install it (Debian: apt-get install prometheus)",
            )
        })
}

/// Whether Prometheus takes the rules, as promtool says.
///
/// # Errors
/// It does not, or there is no promtool.
pub(super) fn check_rules(prometheus: &Path, rules: &Path) -> anyhow::Result<()> {
    let beside = |path: &Path| {
        path.parent()
            .map(|folder| folder.join("promtool"))
            .filter(|promtool| promtool.is_file())
    };
    let linked = std::fs::canonicalize(prometheus).ok();
    let promtool = beside(prometheus)
        .or_else(|| beside(linked.as_deref()?))
        .or_else(|| find_on_path("promtool"))
        .ok_or_else(|| {
            exit::set_up(format!(
                "no promtool beside {}, nor on the path; it comes with Prometheus",
                prometheus.display()
            ))
        })?;
    let output = Command::new(&promtool)
        .args(["check", "rules"])
        .arg(rules)
        .output()
        .with_context(|| format!("starting {}", promtool.display()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    Err(exit::set_up(format!(
        "Prometheus does not take the suite's alerts ({}):\n{}",
        rules.display(),
        said.trim()
    )))
}

/// A Prometheus that answers.
#[derive(Debug)]
pub(super) struct Prometheus {
    pub(super) process: Supervised,
    /// Its address.
    pub(super) address: String,
}

/// Starts it in a place, on a port of this machine alone; 0 is a free one.
///
/// # Errors
/// It ends, or does not answer in time; the text holds its last words. Or `is_asked` says that the monitor is to end.
pub(super) fn start(
    program: &Path,
    place: &Place,
    port: u16,
    is_asked: &dyn Fn() -> bool,
) -> anyhow::Result<Prometheus> {
    let path = place.file("prometheus.log");
    let log = File::create(&path).with_context(|| format!("making {}", path.display()))?;
    let mut command = Command::new(program);
    command
        .arg(format!(
            "--config.file={}",
            place.file("prometheus.yml").display()
        ))
        .arg(format!(
            "--storage.tsdb.path={}",
            place.file("data").display()
        ))
        .arg(format!("--storage.tsdb.retention.time={RETENTION}"))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg("--web.enable-remote-write-receiver")
        .current_dir(place.folder());
    let process = Supervised::start("prometheus", &mut command, Output::File(log), GRACE)?;
    let mut prometheus = Prometheus {
        process,
        address: String::new(),
    };
    let deadline = Instant::now() + READY_LIMIT;
    loop {
        let failed = |why: &str| {
            exit::set_up(format!(
                "{} {why}; its last words:\n{}",
                program.display(),
                last_lines(&path, 5)
            ))
        };
        if let Some(status) = prometheus.process.ended()? {
            return Err(failed(&format!("ended ({status})")));
        }
        if let Some(address) = listening(&path) {
            prometheus.address = format!("http://{address}");
            if Api::new(&prometheus.address).status("/-/ready") == Ok(200) {
                return Ok(prometheus);
            }
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

/// Where it says in its log that it listens: the one place that tells a port that it chose.
fn listening(log: &Path) -> Option<String> {
    let text = std::fs::read_to_string(log).ok()?;
    let line = text.lines().find(|line| line.contains("Listening on"))?;
    let (_, address) = line.rsplit_once("address=")?;
    let address = address.split_whitespace().next()?.trim_matches('"');
    Some(address.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read_from_the_log_of_either_form() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("log");
        for line in [
            "ts=2026-11-22T09:25:51.463Z caller=tls_config.go:232 level=info component=web msg=\"Listening on\" address=127.0.0.1:36023",
            "time=2026-11-22T09:25:51.463Z level=INFO source=tls_config.go:347 msg=\"Listening on\" component=web address=127.0.0.1:36023",
        ] {
            let first = "level=info msg=\"Start listening for connections\" address=127.0.0.1:0";
            std::fs::write(&log, format!("{first}\n{line}\n")).expect("a log");
            assert_eq!(listening(&log).as_deref(), Some("127.0.0.1:36023"));
        }
        std::fs::write(&log, "nothing yet\n").expect("a log");
        assert_eq!(listening(&log), None);
    }
}
