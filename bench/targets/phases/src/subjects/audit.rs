//! Phase 14, what is accounted for: an audit log whose entries hold each other and are sealed with a key that can be changed, its
//! backup, and its recovery.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Deserialize;
use serde_json::json;
use sha2::Sha256;

use crate::answer::{Answer, Failure, asked, busy, failure, micros, refused};
use crate::app::App;

const PHASE: u8 = 14;
/// What is said of an action may be so long.
const LONGEST: usize = 10_000;
/// What the first entry holds on to.
const ROOT: &str = "0000000000000000000000000000000000000000000000000000000000000000";

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/phase/14/action", post(action))
        .route("/phase/14/audit", post(switch))
        .route("/phase/14/verify", post(verify))
        .route("/phase/14/backup", post(backup))
        .route("/phase/14/disaster", post(disaster))
        .route("/phase/14/recover", post(recover))
        .route("/phase/14/rotate", post(rotate))
}

/// The log: a line for each action, with the seal of the line before it.
pub(crate) struct Audit {
    on: AtomicBool,
    folder: PathBuf,
    /// Whether the folder goes with the program.
    temporary: bool,
    // A std mutex: it is held for a write to a file, without an await.
    log: Mutex<Log>,
}

/// What an entry is sealed with: without it nobody can write one that follows.
type Key = [u8; 32];

struct Log {
    /// Those that were ever used, the one of new entries last: they outlive the log.
    keys: Vec<Key>,
    file: std::fs::File,
    last: String,
    entries: u64,
}

impl Audit {
    /// Begins a log in this folder, or in a temporary one.
    pub(crate) fn open(folder: Option<&Path>) -> anyhow::Result<Self> {
        let temporary = folder.is_none();
        let folder = folder.map_or_else(
            || {
                let own = format!("{}-{:08x}", std::process::id(), rand::random::<u32>());
                std::env::temp_dir().join(format!("phases-audit-{own}"))
            },
            Path::to_owned,
        );
        let log = std::fs::create_dir_all(&folder).map_err(anyhow::Error::from);
        let log = log.and_then(|()| Log::begin(&folder, vec![rand::random()]));
        let log = log.with_context(|| format!("--audit: cannot write to {}", folder.display()))?;
        Ok(Self {
            on: AtomicBool::new(true),
            folder,
            temporary,
            log: Mutex::new(log),
        })
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        // What a panic may leave is a torn last line, and `verify` names it.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        if self.temporary {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join("audit.log")
}

fn backup_path(folder: &Path) -> PathBuf {
    folder.join("audit.backup")
}

impl Log {
    fn begin(folder: &Path, keys: Vec<Key>) -> anyhow::Result<Self> {
        Ok(Self {
            keys,
            file: std::fs::File::create(path(folder))?,
            last: ROOT.to_owned(),
            entries: 0,
        })
    }

    /// What is there already, if it holds together.
    fn resume(folder: &Path, keys: Vec<Key>) -> anyhow::Result<Self> {
        let (entries, last) = verified(&path(folder), &keys)?;
        let file = std::fs::File::options().append(true).open(path(folder))?;
        Ok(Self {
            keys,
            file,
            last,
            entries,
        })
    }

    /// It reaches the system, but not necessarily the disk, before the action is answered.
    fn append(&mut self, what: &str) -> std::io::Result<()> {
        let number = self.entries + 1;
        let key = self.keys.len();
        let body = json!({ "number": number, "what": what, "after": self.last, "key": key });
        let body = body.to_string();
        let seal = self.keys.last().map(|key| seal(key, &body));
        let seal = seal.unwrap_or_default();
        self.file.write_all(format!("{seal} {body}\n").as_bytes())?;
        (self.last, self.entries) = (seal, number);
        Ok(())
    }
}

fn seal(key: &Key, text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length is allowed");
    mac.update(text.as_bytes());
    let bytes = mac.finalize().into_bytes();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The number of entries of a log, and the seal of the last one; the first that is wrong is named.
fn verified(log: &Path, keys: &[Key]) -> anyhow::Result<(u64, String)> {
    let file = std::fs::File::open(log).context("there is no log")?;
    let (mut entries, mut last, mut newest) = (0, ROOT.to_owned(), 0);
    for line in BufReader::new(file).lines() {
        let line = line?;
        let number = entries + 1;
        let (told, body) = line
            .split_once(' ')
            .with_context(|| format!("entry {number} is torn"))?;
        let entry: serde_json::Value =
            serde_json::from_str(body).with_context(|| format!("entry {number} is torn"))?;
        let nth = entry["key"]
            .as_u64()
            .and_then(|nth| usize::try_from(nth).ok());
        // Nobody seals with a key again that was changed: who has an old one, as it may be known, could write what follows.
        ensure!(
            nth.is_none_or(|nth| nth >= newest),
            "entry {number} has an older key than the one before it"
        );
        newest = nth.unwrap_or(newest);
        let key = nth.and_then(|nth| keys.get(nth.checked_sub(1)?));
        let key = key.with_context(|| format!("entry {number}: nobody has its key"))?;
        ensure!(seal(key, body) == told, "entry {number} was changed");
        let right = entry["after"] == last && entry["number"] == number;
        ensure!(right, "entry {number} does not follow the one before it");
        (entries, last) = (number, told.to_owned());
    }
    Ok((entries, last))
}

/// An action of somebody, which is written down before it is answered, unless that is switched off.
async fn action(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    #[derive(Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Action {
        what: String,
    }
    let Action { what } = asked(&body)?;
    if what.len() > LONGEST {
        let length = what.len();
        return Err(refused(format!(
            "what: got {length} bytes; {LONGEST} are allowed"
        )));
    }
    let began = Instant::now();
    let on = app.audit.on.load(Ordering::Relaxed);
    if on {
        let delay = app.faults.with(|faults| faults.audit_delay);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let written = app.audit.log().append(&what);
        written.map_err(|error| failure(StatusCode::INSUFFICIENT_STORAGE, error.to_string()))?;
        app.stats.count(PHASE, "entries", 1);
    }
    let took = began.elapsed();
    app.stats.record(PHASE, if on { "on" } else { "off" }, took);
    Ok(Json(
        json!({ "ok": true, "audit": on, "elapsed_us": micros(took) }),
    ))
}

async fn switch(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    #[derive(Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Switch {
        on: Option<bool>,
    }
    let on = asked::<Switch>(&body)?.on.unwrap_or(true);
    app.audit.on.store(on, Ordering::Relaxed);
    Ok(Json(json!({ "ok": true, "audit": on })))
}

/// Does something with the log while nobody writes to it.
async fn with_log<T: Send + 'static>(
    app: &Arc<App>,
    work: impl FnOnce(&Path, &mut Log) -> anyhow::Result<T> + Send + 'static,
) -> Result<T, Failure> {
    let app = Arc::clone(app);
    let done = busy(move || work(&app.audit.folder, &mut app.audit.log()));
    let wrong = |error: anyhow::Error| failure(StatusCode::CONFLICT, format!("{error:#}"));
    done.await?.map_err(wrong)
}

async fn verify(State(app): State<Arc<App>>) -> Answer {
    let began = Instant::now();
    let entries = with_log(&app, |folder, log| {
        let (entries, _) = verified(&path(folder), &log.keys)?;
        ensure!(
            entries == log.entries,
            "{entries} entries are there of {}",
            log.entries
        );
        Ok(entries)
    });
    let entries = entries.await?;
    let elapsed = micros(began.elapsed());
    Ok(Json(
        json!({ "ok": true, "n": entries, "elapsed_us": elapsed }),
    ))
}

async fn backup(State(app): State<Arc<App>>) -> Answer {
    let began = Instant::now();
    let short = app.faults.with(|faults| faults.short_backup);
    let (entries, last) = with_log(&app, move |folder, log| {
        std::fs::copy(path(folder), backup_path(folder))?;
        if short {
            let text = std::fs::read_to_string(backup_path(folder))?;
            let end = text.trim_end().rfind('\n').map_or(0, |at| at + 1);
            std::fs::write(backup_path(folder), &text[..end])?;
        }
        Ok((log.entries, log.last.clone()))
    })
    .await?;
    let elapsed = micros(began.elapsed());
    app.stats.record(PHASE, "backup", began.elapsed());
    Ok(Json(
        json!({ "ok": true, "n": entries, "last": last, "elapsed_us": elapsed }),
    ))
}

/// The log is lost, as if its disk had gone.
async fn disaster(State(app): State<Arc<App>>) -> Answer {
    let lost = with_log(&app, |folder, log| {
        let lost = log.entries;
        std::fs::remove_file(path(folder))?;
        *log = Log::begin(folder, log.keys.clone())?;
        Ok(lost)
    });
    let lost = lost.await?;
    Ok(Json(json!({ "ok": true, "lost": lost })))
}

/// The log is what the backup has, and holds together. Whether that is all is told by the number and the last seal.
async fn recover(State(app): State<Arc<App>>) -> Answer {
    let began = Instant::now();
    let (entries, last) = with_log(&app, |folder, log| {
        std::fs::copy(backup_path(folder), path(folder)).context("there is no backup")?;
        *log = Log::resume(folder, log.keys.clone())?;
        Ok((log.entries, log.last.clone()))
    })
    .await?;
    app.stats.record(PHASE, "recovery", began.elapsed());
    let elapsed = micros(began.elapsed());
    Ok(Json(
        json!({ "ok": true, "n": entries, "last": last, "elapsed_us": elapsed }),
    ))
}

/// From here on entries are sealed with another key. Those before keep theirs, and are looked through once more, so that nothing that
/// was changed under the old key passes for old.
async fn rotate(State(app): State<Arc<App>>) -> Answer {
    let began = Instant::now();
    let (entries, key) = with_log(&app, |folder, log| {
        let (entries, _) = verified(&path(folder), &log.keys)?;
        log.keys.push(rand::random());
        Ok((entries, log.keys.len()))
    })
    .await?;
    app.stats.record(PHASE, "rotation", began.elapsed());
    let elapsed = micros(began.elapsed());
    Ok(Json(
        json!({ "ok": true, "n": entries, "key": key, "elapsed_us": elapsed }),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_and_a_missing_entry_are_named() {
        let audit = Audit::open(None).expect("a folder");
        for what in ["a", "b", "c"] {
            audit.log().append(what).expect("it is written");
        }
        let (file, keys) = (path(&audit.folder), audit.log().keys.clone());
        assert_eq!(verified(&file, &keys).expect("it holds").0, 3);
        let text = std::fs::read_to_string(&file).expect("text");
        std::fs::write(&file, text.replace("\"b\"", "\"x\"")).expect("it is written");
        let error = verified(&file, &keys)
            .expect_err("it was changed")
            .to_string();
        assert_eq!(error, "entry 2 was changed");
        let without: Vec<&str> = text
            .lines()
            .filter(|line| !line.contains("\"b\""))
            .collect();
        std::fs::write(&file, without.join("\n")).expect("it is written");
        let error = verified(&file, &keys)
            .expect_err("one is missing")
            .to_string();
        assert_eq!(error, "entry 2 does not follow the one before it");
    }

    #[test]
    fn entries_of_both_keys_hold_and_the_old_key_makes_no_new_ones() {
        let audit = Audit::open(None).expect("a folder");
        audit.log().append("before").expect("it is written");
        audit.log().keys.push([7; 32]);
        audit.log().append("after").expect("it is written");
        let (file, keys) = (path(&audit.folder), audit.log().keys.clone());
        assert_eq!(verified(&file, &keys).expect("it holds").0, 2);
        let error = verified(&file, &keys[..1]).expect_err("one key is missing");
        assert_eq!(error.to_string(), "entry 2: nobody has its key");
        let old = [keys[0], keys[0]];
        let error = verified(&file, &old).expect_err("it is another key");
        assert_eq!(error.to_string(), "entry 2 was changed");
        let key = audit.log().keys.pop();
        audit.log().append("late").expect("it is written");
        audit.log().keys.extend(key);
        let error = verified(&file, &keys).expect_err("the old key was changed");
        let right = "entry 3 has an older key than the one before it";
        assert_eq!(error.to_string(), right);
    }
}
