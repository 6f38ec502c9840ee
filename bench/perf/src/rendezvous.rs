//! Users of one process that meet: in memory, over Redis, by polling; and plain k6, where nobody meets.

use anyhow::{Context as _, ensure};

use crate::cases::{Bench, Figures, all_of, float, trend};
use crate::k6::{Seen, Spec};

/// A run of k6 with one of the peers' scripts.
fn with_peers(
    bench: &mut Bench,
    scripts: [&'static str; 3],
    variant: &str,
    users: u32,
    rounds: u32,
    weighed: bool,
) -> anyhow::Result<Seen> {
    let [plain, barrier, polling] = scripts;
    let interval = variant
        .strip_prefix("polling-")
        .and_then(|rest| rest.strip_suffix("ms")?.parse().ok());
    let script = match (variant, interval) {
        ("plain", _) => plain,
        (_, None) => barrier,
        (_, Some(_)) => polling,
    };
    // Who polls needs a connection per user and much longer for everything; fewer rounds tell as much.
    let (rounds, patience) = if interval.is_some() {
        (rounds.min(3), 2)
    } else {
        (rounds, 1)
    };
    let spec = Spec {
        script,
        users,
        rounds,
        patience,
        interval: interval.unwrap_or(0),
        weighed,
    };
    let redis = (variant == "redis" || interval.is_some()).then_some(&mut bench.redis);
    let seen = bench.k6.run(&spec, redis)?;
    ensure!(
        seen.rounds.len() + 1 == rounds as usize,
        "{script} reported {} of {} rounds",
        seen.rounds.len(),
        rounds - 1
    );
    Ok(seen)
}

const RELEASE: [&str; 3] = [
    "release-plain.js",
    "release-barrier.js",
    "release-polling.js",
];

/// Last arrival to the last user's next statement.
///
/// # Errors
/// k6 fails, or users do not come through.
pub(crate) fn release(
    bench: &mut Bench,
    variant: &str,
    users: u32,
    rounds: u32,
) -> anyhow::Result<Figures> {
    let seen = with_peers(bench, RELEASE, variant, users, rounds, false)?;
    let mut lasted = Vec::new();
    for round in &seen.rounds {
        let (ended, last) = (trend(round, "ended")?, trend(round, "last")?);
        all_of(users, ended.count)?;
        // With a barrier the last user has seen all others wait; sleepers have to be asleep in time.
        if round.get("ready").is_none_or(|ready| ready.max < last.max) {
            lasted.push(ended.max - last.max);
        }
    }
    some_of(&lasted, seen.rounds.len())?;
    let mut figures = vec![("release_ms", lasted)];
    if let Some(connections) = seen.connections {
        figures.push(("connections", vec![float(connections as u64)]));
    }
    Ok(figures)
}

/// What reading the wall clock in a script may be wrong by, in ms.
const CLOCKS_APART: f64 = 1.0;

/// How far from their own instants the users of a spread release make their next statements: the 99th percentile of each round. Nobody
/// goes before its instant, so that it is how late they are; a round that says otherwise has compared its clocks wrongly.
///
/// # Errors
/// As [`release`].
pub(crate) fn turns(bench: &mut Bench, variant: &str) -> anyhow::Result<Figures> {
    let users = bench.scale.users;
    let scripts = ["turns-plain.js", "turns-barrier.js", "turns-barrier.js"];
    let seen = with_peers(bench, scripts, variant, users, 3, false)?;
    let mut off = Vec::new();
    for round in &seen.rounds {
        let late = trend(round, "off")?;
        all_of(users, late.count)?;
        // Of a barrier the script tells the difference of two clocks and how far these are apart.
        let apart = round.get("wall").map_or(0.0, |wall| wall.med);
        ensure!(
            late.min - apart >= -CLOCKS_APART,
            "a user went {} ms before its instant",
            apart - late.min
        );
        let ready = round.get("ready").zip(round.get("last"));
        if ready.is_none_or(|(ready, first)| ready.max < first.max) {
            off.push(late.p99 - apart);
        }
    }
    some_of(&off, seen.rounds.len())?;
    Ok(vec![("off_ms", off)])
}

/// A round counts only if all users were ready when it began.
fn some_of(counted: &[f64], rounds: usize) -> anyhow::Result<()> {
    ensure!(
        !counted.is_empty(),
        "in none of {rounds} rounds were all users ready when it began: the machine is too busy for so many"
    );
    Ok(())
}

/// What Go's runtime uses while all wait.
///
/// # Errors
/// As [`release`].
pub(crate) fn memory(bench: &mut Bench, variant: &str) -> anyhow::Result<Figures> {
    let users = bench.scale.users;
    let seen = with_peers(bench, RELEASE, variant, users, 1, true)?;
    let memory = seen
        .memory
        .context("the run was over before its memory was looked at")?;
    let kb = |bytes: u64| vec![float(bytes / 1024)];
    Ok(vec![
        ("memory_kb", kb(memory.heap + memory.stacks)),
        ("heap_kb", kb(memory.heap)),
        ("stacks_kb", kb(memory.stacks)),
    ])
}

/// All arrive at once: first to last arrival and then the wake of one who waits, or where all wait, the decision to release.
///
/// # Errors
/// As [`release`].
pub(crate) fn arrive(bench: &mut Bench, variant: &str) -> anyhow::Result<Figures> {
    if let Some(store) = variant.strip_suffix("-waiting") {
        return decision(bench, store);
    }
    let users = bench.scale.users;
    let scripts = ["arrive-plain.js", "arrive-barrier.js", "arrive-polling.js"];
    let seen = with_peers(bench, scripts, variant, users, 4, false)?;
    let waits = variant != "plain";
    let (mut spread, mut wake) = (Vec::new(), Vec::new());
    for (round, opened) in seen.rounds.iter().zip(&seen.opened) {
        all_of(users - u32::from(waits), trend(round, "ended")?.count)?;
        if trend(round, "ready")?.max < *opened {
            spread.push(trend(round, "ended")?.max - trend(round, "began")?.min);
        }
        if waits {
            wake.push(trend(round, "woke")?.max - trend(round, "last")?.max);
        }
    }
    some_of(&spread, seen.rounds.len())?;
    let mut figures = vec![("spread_ms", spread)];
    if waits {
        figures.push(("wake_ms", wake));
    }
    Ok(figures)
}

/// First call to the decision to release, as the store records it.
fn decision(bench: &mut Bench, store: &str) -> anyhow::Result<Figures> {
    let users = bench.scale.users;
    let scripts = ["arrive-waiting.js"; 3];
    let seen = with_peers(bench, scripts, store, users, 4, false)?;
    let mut decision = Vec::new();
    for (round, opened) in seen.rounds.iter().zip(&seen.opened) {
        all_of(users, trend(round, "ended")?.count)?;
        if trend(round, "ready")?.max < *opened {
            decision.push(trend(round, "decided")?.max - trend(round, "began")?.min);
        }
    }
    some_of(&decision, seen.rounds.len())?;
    Ok(vec![("decision_ms", decision)])
}

/// All come at once, to be put into groups of four or to meet at one barrier: first call to the last user's next statement.
///
/// # Errors
/// As [`release`].
pub(crate) fn groups(bench: &mut Bench, variant: &str) -> anyhow::Result<Figures> {
    let users = bench.scale.users / 4 * 4;
    let (store, script) = match variant.strip_suffix("-barrier") {
        Some(store) => (store, "meet-barrier.js"),
        None => (variant, "meet-groups.js"),
    };
    let seen = with_peers(bench, [script; 3], store, users, 4, false)?;
    let mut lasted = Vec::new();
    for (round, opened) in seen.rounds.iter().zip(&seen.opened) {
        let ended = trend(round, "ended")?;
        all_of(users, ended.count)?;
        if trend(round, "ready")?.max < *opened {
            lasted.push(ended.max - trend(round, "began")?.min);
        }
    }
    some_of(&lasted, seen.rounds.len())?;
    Ok(vec![("meeting_ms", lasted)])
}
