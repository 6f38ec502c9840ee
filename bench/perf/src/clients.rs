//! More participants than k6 has room for: a hundred clients that are the core and nothing else, each with an engine and a
//! connection of its own, at one barrier in one Redis.

use std::sync::{Arc, Barrier as Start};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use barrier_core::engine::{Barrier, Call, Engine};
use barrier_core::ids::{Participant, Phase};
use barrier_core::ledger::Report;
use barrier_core::options::BarrierOptions;

use crate::cases::{Bench, Figures, float};
use crate::ear::{Ear, engine};
use crate::k6::run_id;

const CLIENTS: u64 = 100;
/// So many arrivals of a client have not been answered at any time: of all clients together, somewhat more than in the case
/// `core`.
const OUTSTANDING: u64 = 100;
const NAME: &str = "clients";

struct Client {
    // Before the engine: it holds the engine's barrier.
    barrier: Arc<Barrier>,
    engine: Engine,
    ear: Arc<Ear>,
}

/// When a client made its last call, and when all of them had been answered.
struct Arrived {
    last: SystemTime,
    answered: Instant,
}

impl Client {
    /// Begins to connect.
    fn new(options: &serde_json::Value) -> anyhow::Result<Self> {
        let (ear, engine) = engine();
        let options = BarrierOptions::from_json(options.to_string().as_bytes())?;
        let barrier = engine.barrier(options)?;
        barrier.handle_or_init(|| 1);
        ear.submitted(barrier.open(1));
        Ok(Self {
            barrier,
            engine,
            ear,
        })
    }

    /// These arrive as fast as they are answered, once all clients are ready.
    fn arrive(
        &self,
        participants: impl Iterator<Item = u64>,
        start: &Start,
    ) -> anyhow::Result<Arrived> {
        let participants = participants
            .map(|number| Participant::new(&number.to_string()))
            .collect::<Result<Vec<_>, _>>();
        start.wait();
        // The first token was that of the opening.
        let mut token: u64 = 1;
        let mut last = SystemTime::now();
        for participant in participants? {
            token += 1;
            if token.is_multiple_of(OUTSTANDING / 4) {
                self.ear.until(token.saturating_sub(OUTSTANDING))?;
            }
            let call = Call::Report {
                participant,
                report: Report::Arrive { owner: token },
                explicit: true,
            };
            last = SystemTime::now();
            self.ear.submitted(self.barrier.submit(call, token));
        }
        self.ear.until(token)?;
        let answered = Instant::now();
        Ok(Arrived { last, answered })
    }
}

/// All arrive at once, by all clients.
///
/// # Errors
/// The core or Redis fails.
pub(crate) fn clients(bench: &mut Bench) -> anyhow::Result<Figures> {
    let participants = bench.scale.participants();
    let run_id = run_id();
    bench.redis.forget()?;
    let options = serde_json::json!({
        "store": bench.redis.url(), "runId": run_id, "name": NAME, "parties": participants,
    });
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| Client::new(&options))
        .collect::<Result<_, _>>()?;
    for client in &clients {
        client.ear.until(1)?;
    }
    let connections = bench.redis.foreign_connections()?;
    let before = bench.redis.calls("evalsha")?;

    let start = Start::new(clients.len() + 1);
    let (began, arrived) = thread::scope(|scope| {
        let arrive = |(client, first)| {
            // Numbers from 1 on, each client's its own.
            let own = (1..=participants).skip(first).step_by(clients.len());
            let start = &start;
            let client: &Client = client;
            scope.spawn(move || client.arrive(own, start))
        };
        let threads: Vec<_> = clients.iter().zip(0..).map(arrive).collect();
        start.wait();
        let began = Instant::now();
        let arrived: anyhow::Result<Vec<_>> = threads
            .into_iter()
            .map(|thread| thread.join().expect("a client does not panic"))
            .collect();
        (began, arrived)
    });
    let arrived = arrived?;
    let heard = clients
        .iter()
        .map(|client| client.ear.released())
        .collect::<Result<Vec<_>, _>>()?;

    let calls = bench.redis.calls("evalsha")? - before;
    let answered = arrived.iter().map(|client| client.answered).max();
    let lasted = answered.context("there are clients")? - began;
    let last = arrived.iter().map(|client| client.last).max();
    let last = last
        .context("there are clients")?
        .duration_since(UNIX_EPOCH)?;
    let (earliest, latest) = (heard.iter().min(), heard.iter().max());
    let skew = *latest.context("there are clients")? - *earliest.context("there are clients")?;

    let release = clients[0].barrier.release_info(Phase(0));
    let release = release.context("a release that was told of is known")?;
    let decided = release.server_released_at - release.delay_ms;
    // Who has arrived as the clients were told, as the release says, and as the record stands.
    let told: u64 = clients.iter().map(|client| client.ear.arrived()).sum();
    let key = format!("K6_BARRIER_JOINED:{run_id}:{NAME}");
    let recorded: u64 = bench.redis.ask(&["SCARD", &key])?;
    let least = told.min(u64::from(release.arrived)).min(recorded);
    ensure!(
        told <= participants && recorded <= participants,
        "of {participants} participants {told} were told that they have arrived, and {recorded} are recorded"
    );
    for client in clients {
        drop(client.barrier);
        client.engine.close(Duration::from_secs(5));
    }
    Ok(vec![
        (
            "arrivals_per_s",
            vec![float(participants) / lasted.as_secs_f64()],
        ),
        (
            "arrivals_per_call",
            vec![float(participants) / float(calls.max(1))],
        ),
        ("lost", vec![float(participants - least)]),
        ("decision_ms", vec![decided - last.as_secs_f64() * 1000.0]),
        ("skew_ms", vec![skew.as_secs_f64() * 1000.0]),
        ("delay_ms", vec![release.delay_ms]),
        ("connections", vec![float(connections as u64)]),
    ])
}
