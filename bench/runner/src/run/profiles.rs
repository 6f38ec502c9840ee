//! Profiles of targets at declared instants of a run, each on a thread of its own, so that nobody waits for them meanwhile.

use std::io::{Read as _, Write as _};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use crate::evidence::{Folder, component};
use crate::plan::PlannedRun;
use crate::suite::Suite;
use crate::suite::over_time::Declared;
use crate::suite::profile::{At, ProfileTable};
use crate::suite::quick::Shares;
use crate::suite::scenario::looks_at;
use crate::suite::vars::RunValues;
use crate::values::http::agent;
use crate::values::mask::masked;

/// How long a target may take beyond the time that it was asked to look: naming what was sampled takes long.
const BEYOND: Duration = Duration::from_secs(60);
/// No profile that anybody looks at is longer.
const MOST: u64 = 64 << 20;
/// What a file begins with that is compressed.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// A profile that is to be taken.
#[derive(Debug)]
struct Due {
    id: String,
    address: String,
    at: Duration,
    lasts: Duration,
}

/// The profiles of a run.
#[derive(Debug)]
pub(super) struct Profiles {
    due: Vec<Due>,
    active: Vec<Active>,
}

#[derive(Debug)]
struct Active {
    id: String,
    file: String,
    /// Dropped, it ends a thread that still waits for its time.
    stop: Sender<()>,
    thread: JoinHandle<Result<Vec<u8>, String>>,
}

impl Profiles {
    /// Those that a suite declares for a run.
    ///
    /// # Errors
    /// A variable is missing, or the suite does not allow an address.
    pub(super) fn of(suite: &Suite, run: &PlannedRun<'_>, quick: bool) -> anyhow::Result<Self> {
        let shares = Shares::of(&suite.file, quick);
        let scenario = run.scenario.id.get_ref();
        let declared = Declared::of(run.scenario, &run.vars, shares)?;
        let tables = suite.file.profile.iter();
        let due = tables
            .filter(|table| looks_at(&table.scenarios, scenario))
            .map(|table| {
                let (at, lasts) = when(table, declared, shares);
                let mut known = RunValues::from([("seconds", lasts.as_secs().to_string())]);
                if let Some(address) = run.vars.text("BASE_URL") {
                    known.insert("address", address);
                }
                let address = run.vars.expand(table.source.get_ref(), &known)?;
                let id = table.id.get_ref();
                suite.allow_now(&format!("profile {id}"), &address)?;
                Ok(Due {
                    id: id.clone(),
                    address,
                    at,
                    lasts,
                })
            });
        Ok(Self {
            due: due.collect::<anyhow::Result<_>>()?,
            active: Vec::new(),
        })
    }

    /// The load begins.
    pub(super) fn begin(&mut self) {
        for Due {
            id,
            address,
            at,
            lasts,
        } in self.due.drain(..)
        {
            let file = format!("profile-{}-{}s.pb.gz", component(&id), at.as_secs());
            let (stop, stopped) = channel();
            let thread = std::thread::spawn(move || take(&address, at, lasts, &stopped));
            self.active.push(Active {
                id,
                file,
                stop,
                thread,
            });
        }
    }

    /// The load is over: keeps the profiles, and waits for those that are being taken, unless nobody wants them any more. Returns what
    /// went wrong, in words.
    pub(super) fn end(self, folder: &Folder, wanted: bool) -> Vec<String> {
        let mut wrong = Vec::new();
        for Active {
            id,
            file,
            stop,
            thread,
        } in self.active
        {
            drop(stop);
            if !wanted && !thread.is_finished() {
                continue;
            }
            let taken = thread
                .join()
                .unwrap_or_else(|_| Err("its thread panicked".to_owned()));
            match taken {
                // A failure is among the faults of the folder.
                Ok(bytes) => drop(folder.write_bytes(&file, &bytes)),
                Err(why) => wrong.push(format!("profile {id}: {}", masked(&why))),
            }
        }
        wrong
    }
}

/// From the beginning of the load to a profile, and how long that lasts. `declared`: the window of the run, as it became.
fn when(table: &ProfileTable, declared: Declared, shares: Shares) -> (Duration, Duration) {
    let lasts = shares.time(table.lasts);
    match table.at {
        At::Time(at) => (shares.time(at), lasts),
        At::Share(share) => {
            let window = declared.window.unwrap_or_default();
            let at = window.mul_f64(share);
            let left = Duration::from_secs((window - at).as_secs().max(1));
            (declared.warmup + at, lasts.min(left))
        }
    }
}

/// Reads the address at its time.
fn take(
    address: &str,
    at: Duration,
    lasts: Duration,
    stopped: &Receiver<()>,
) -> Result<Vec<u8>, String> {
    if stopped.recv_timeout(at) != Err(RecvTimeoutError::Timeout) {
        return Err(format!(
            "the load was over before its time, {} s",
            at.as_secs()
        ));
    }
    let told = |error: ureq::Error| format!("GET {address}: {error}");
    let mut answer = agent(lasts + BEYOND).get(address).call().map_err(told)?;
    let status = answer.status().as_u16();
    let body = answer.body_mut().with_config().limit(MOST);
    let bytes = body.read_to_vec().map_err(told)?;
    if status != 200 {
        let text = String::from_utf8_lossy(&bytes);
        return Err(format!("GET {address}: status {status}: {}", text.trim()));
    }
    packed(bytes).map_err(|why| format!("GET {address}: {why}"))
}

/// The bytes, compressed, where they hold no secret.
fn packed(bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    let is_packed = bytes.starts_with(&GZIP);
    let mut plain = Vec::new();
    let looked = if is_packed {
        let mut unpacked = GzDecoder::new(bytes.as_slice()).take(MOST);
        unpacked
            .read_to_end(&mut plain)
            .map_err(|why| format!("no gzip: {why}"))?;
        &plain
    } else {
        &bytes
    };
    if looked.is_empty() {
        return Err("it is empty".to_owned());
    }
    // What is no text cannot be masked without being spoilt.
    let text = String::from_utf8_lossy(looked);
    if masked(&text) != text {
        return Err("it holds a secret, so it is not kept".to_owned());
    }
    if is_packed {
        return Ok(bytes);
    }
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    let written = packed.write_all(&bytes).and_then(|()| packed.finish());
    written.map_err(|why| why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_of_a_share_lies_within_the_window_however_long_that_is() {
        let table = |at: &str, lasts: &str| -> ProfileTable {
            let text = format!("id = \"cpu\"\nsource = \"u\"\nat = \"{at}\"\nlasts = \"{lasts}\"");
            toml::from_str(&text).expect("a profile")
        };
        let seconds = Duration::from_secs;
        let when = |at: &str, lasts: &str, warmup: u64, window: u64| {
            let declared = Declared {
                warmup: seconds(warmup),
                window: Some(seconds(window)),
            };
            super::when(&table(at, lasts), declared, Shares::WHOLE)
        };
        assert_eq!(when("50%", "30s", 60, 1800), (seconds(960), seconds(30)));
        assert_eq!(when("50%", "30s", 60, 60), (seconds(90), seconds(30)));
        assert_eq!(when("50%", "30s", 1, 8), (seconds(5), seconds(4)));
        let half = Duration::from_millis(500);
        assert_eq!(when("50%", "30s", 1, 1), (seconds(1) + half, seconds(1)));
        assert_eq!(when("15m", "30s", 60, 60), (seconds(900), seconds(30)));
    }

    #[test]
    fn what_is_kept_is_compressed_once_and_holds_no_secret() {
        let unpack = |bytes: &[u8]| {
            let mut plain = Vec::new();
            GzDecoder::new(bytes).read_to_end(&mut plain).expect("gzip");
            plain
        };
        let once = packed(vec![0xff, 0x00, b'x']).expect("packed");
        assert_eq!(unpack(&once), [0xff, 0x00, b'x']);
        assert_eq!(packed(once.clone()), Ok(once));
        assert!(packed(Vec::new()).is_err_and(|why| why.contains("empty")));
        crate::values::mask::register("hunter2-profile");
        let secret = b"\xffhunter2-profile\x00".to_vec();
        assert!(packed(secret).is_err_and(|why| why.contains("a secret")));
    }
}
