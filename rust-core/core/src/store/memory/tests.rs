use super::*;
use crate::options::BarrierOptions;

#[test]
fn a_process_that_was_silent_for_long_delays_no_release() {
    let json = br#"{"name":"b","parties":9,"cyclic":true}"#;
    let options = BarrierOptions::from_json(json).expect("options").shared;
    let (here, gone) = (ProcessId::random(), ProcessId::random());
    let mut store = MemoryStore::default();
    let mut apply = |process: &ProcessId, phase, at, incarnation, op| {
        let request = Request {
            process: process.clone(),
            incarnation,
            phase: Phase(phase),
            resend: false,
            census: None,
            reasons: Vec::new(),
            op,
        };
        store.apply(&request, StoreTime(at), &mut Vec::new())
    };
    let open = |push_latency| Op::Open {
        new_incarnation: Incarnation::random(),
        options: options.canonical(),
        reasons: Vec::new(),
        last_release: None,
        broken: None,
        others: Others::Accept,
        push_latency: Micros(push_latency),
    };
    let record = apply(&here, 0, 0, None, open(1)).incarnation;
    apply(&gone, 0, 0, None, open(7));
    let mut delay = |phase, at| {
        let reply = apply(&here, phase, at, record.clone(), Op::Release(Why::Operator));
        reply.newest.expect("released").delay
    };
    assert_eq!(delay(0, SILENT_MAX.0), Micros(7));
    assert_eq!(delay(1, SILENT_MAX.0 + 1), Micros(0));
}

#[test]
fn a_release_names_the_hosts_of_several_processes() {
    let json = br#"{"name":"b","parties":9}"#;
    let options = BarrierOptions::from_json(json).expect("options").shared;
    let mut store = MemoryStore::default();
    let mut last = None;
    for host in [7, 2, 7, 5, 2, 7] {
        let open = Op::Open {
            new_incarnation: Incarnation::random(),
            options: options.canonical(),
            reasons: Vec::new(),
            last_release: None,
            broken: None,
            others: Others::Accept,
            push_latency: Micros(1),
        };
        let mut request = Request {
            process: ProcessId::random_on(host),
            incarnation: None,
            phase: Phase(0),
            resend: false,
            census: None,
            reasons: Vec::new(),
            op: open,
        };
        request.incarnation = store
            .apply(&request, StoreTime(0), &mut Vec::new())
            .incarnation;
        last = Some(request);
    }
    let mut request = last.expect("processes");
    request.op = Op::Release(Why::Operator);
    let reply = store.apply(&request, StoreTime(1), &mut Vec::new());
    let crowded = reply.newest.expect("released").crowded;
    assert_eq!(crowded, ["00000002", "00000007"]);
}
