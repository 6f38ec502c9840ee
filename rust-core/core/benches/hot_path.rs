//! What an arrival costs on its way through the core, part by part, and what a count of queues costs with a real Redis.

#![allow(missing_docs, reason = "criterion_group makes a public function")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::hint::black_box;
use std::sync::Arc;

use barrier_core::engine::{Call, CounterOptions, Emission, Engine, Sink};
use barrier_core::ids::{Incarnation, Participant, Phase, ProcessId};
use barrier_core::ledger::{BATCH_MAX, Ledger, Report};
use barrier_core::options::BarrierOptions;
use barrier_core::protocol::{Item, ItemAnswer, ItemKind, Op, Request};
use barrier_core::store::redis::{Scripts, decode};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const USERS: u32 = 10_000;

struct Deaf;

impl Sink for Deaf {
    fn emit(&self, news: &mut Vec<Emission>) {
        for item in news.drain(..) {
            if let Emission::Done { ticket, .. } = item {
                black_box(ticket.redeem());
            }
        }
    }
}

fn participants(n: u32) -> Vec<Participant> {
    (1..=n)
        .map(|user| Participant::new(&user.to_string()).expect("valid"))
        .collect()
}

/// Users arrive, go out in batches, and are acknowledged.
fn ledger(c: &mut Criterion) {
    let users = participants(USERS);
    let mut group = c.benchmark_group("ledger");
    group.throughput(Throughput::Elements(USERS.into()));
    group.bench_function("arrivals", |b| {
        b.iter_batched(
            || Ledger::new(false),
            |mut ledger| {
                for (token, user) in (1..).zip(&users) {
                    let report = Report::Arrive { owner: token };
                    black_box(ledger.report(user, &report, true, token.into()))
                        .expect("an arrival");
                }
                let mut done = Vec::new();
                while let Some((batch, items)) = ledger.next_batch() {
                    let answers = vec![ItemAnswer::Recorded(1); items.len()];
                    ledger.acknowledge(batch, answers, &mut done);
                }
                done
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

/// The same through an engine whose store is in memory, release included.
fn memory_store(c: &mut Criterion) {
    let users = participants(USERS);
    let engine = Engine::new(Arc::new(Deaf));
    let mut run = 0_u64;
    let mut group = c.benchmark_group("memory store");
    group.throughput(Throughput::Elements(USERS.into()));
    group.bench_function("arrivals", |b| {
        b.iter_batched(
            || {
                run += 1;
                let json = format!(r#"{{"name":"b{run}","parties":{USERS},"store":"memory"}}"#);
                let options = BarrierOptions::from_json(json.as_bytes()).expect("options");
                let barrier = engine.barrier(options).expect("a barrier");
                barrier.handle_or_init(|| run);
                barrier.open(1);
                barrier
            },
            |barrier| {
                for (token, participant) in (2..).zip(users.iter().cloned()) {
                    let report = Report::Arrive { owner: token };
                    let call = Call::Report {
                        participant,
                        report,
                        explicit: true,
                    };
                    black_box(barrier.submit(call, token));
                }
                barrier
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

/// A full batch becomes a call of the script, and the script's answer a reply.
fn script_call(c: &mut Criterion) {
    let server = support::RedisServer::start();
    let json = format!(
        r#"{{"name":"bench","runId":"bench","parties":10000000,"store":"{}"}}"#,
        server.url()
    );
    let options = BarrierOptions::from_json(json.as_bytes()).expect("options");
    let canonical = options.shared.canonical();
    let scripts = Scripts::new(&options);
    let mut connection = server.connection();
    let process = ProcessId::random();
    let request = |incarnation: Option<Incarnation>, op| Request {
        process: process.clone(),
        incarnation,
        phase: Phase(0),
        resend: false,
        census: None,
        reasons: Vec::new(),
        op,
    };
    let open = Op::Open {
        new_incarnation: Incarnation::random(),
        options: canonical,
        reasons: Vec::new(),
        last_release: None,
        broken: None,
        others: barrier_core::protocol::Others::Refuse,
        push_latency: barrier_core::protocol::Micros(0),
    };
    let opened: redis::Value = scripts
        .invocation(&request(None, open))
        .invoke(&mut connection)
        .expect("an answer");
    let opened = decode(opened).expect("a reply");
    let batch = participants(u32::try_from(BATCH_MAX).expect("small"))
        .into_iter()
        .map(|participant| Item {
            participant,
            what: ItemKind::Arrived,
            nameable: true,
        })
        .collect();
    let outcomes = request(opened.incarnation, Op::Outcomes(batch));
    let answer: redis::Value = scripts
        .invocation(&outcomes)
        .invoke(&mut connection)
        .expect("an answer");

    let mut group = c.benchmark_group("script");
    group.throughput(Throughput::Elements(BATCH_MAX as u64));
    group.bench_function("arguments of a full batch", |b| {
        b.iter(|| {
            black_box(scripts.invocation(&outcomes));
        });
    });
    group.bench_function("answer to a full batch", |b| {
        b.iter_batched(
            || answer.clone(),
            |answer| decode(answer).expect("a reply"),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn counting(c: &mut Criterion) {
    let server = support::RedisServer::start();
    let mut connection = server.connection();
    let engine = Engine::new(Arc::new(Deaf));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let mut group = c.benchmark_group("counting");
    for queues in [5, 100] {
        let keys: Vec<String> = (0..queues)
            .map(|at| format!("WAITING:{queues}:{at}"))
            .collect();
        for (at, key) in keys.iter().enumerate() {
            let command = if at % 2 == 0 { "ZADD" } else { "HSET" };
            let _: i64 = redis::cmd(command)
                .arg(key)
                .arg(1)
                .arg("member")
                .query(&mut connection)
                .expect("a queue");
        }
        let options = serde_json::json!({ "redis": server.url(), "keys": keys });
        let options = CounterOptions::from_json(options.to_string().as_bytes()).expect("options");
        let counter = engine.counter(options).expect("a counter");
        group.throughput(Throughput::Elements(queues));
        group.bench_function(BenchmarkId::from_parameter(queues), |b| {
            b.iter(|| runtime.block_on(counter.count()).expect("counts"));
        });
    }
    group.finish();
}

criterion_group!(benches, ledger, memory_store, script_call, counting);
criterion_main!(benches);
