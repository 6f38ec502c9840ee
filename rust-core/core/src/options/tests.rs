//! What options are taken, and what is said of the others.

use super::*;

fn parse(json: &str) -> Result<BarrierOptions, OptionError> {
    BarrierOptions::from_json(json.as_bytes())
}

#[test]
fn defaults_are_those_of_the_reference() {
    let o = parse(r#"{"name":"default","parties":3}"#).expect("valid");
    assert_eq!(o.store, StoreAddress::Memory);
    assert_eq!(o.ttl, Duration::from_secs(3600));
    assert_eq!(o.shared.late, Late::Pass);
    assert!(!o.late_is_explicit);
}

#[test]
fn every_bad_value_is_named() {
    for (json, option) in [
        (r#"{"name":"a b","parties":1}"#, "name"),
        (r#"{"name":"d","parties":0}"#, "parties"),
        (r#"{"name":"d","parties":1.5}"#, "parties"),
        (r#"{"name":"d","parties":-1}"#, "parties"),
        (
            r#"{"name":"d","parties":{"running":[]}}"#,
            "parties.running",
        ),
        (
            r#"{"name":"d","parties":{"running":[""]}}"#,
            "parties.running",
        ),
        (
            r#"{"name":"d","parties":{"running":["a"],"atLeast":0}}"#,
            "parties.atLeast",
        ),
        (
            r#"{"name":"d","parties":{"running":["a"]},"release":{"percent":90}}"#,
            "release",
        ),
        (
            r#"{"name":"d","parties":2,"release":{"count":3}}"#,
            "release",
        ),
        (
            r#"{"name":"d","parties":2,"release":{"percent":101}}"#,
            "release",
        ),
        (
            r#"{"name":"d","parties":2,"maxFailures":-1}"#,
            "maxFailures",
        ),
        (r#"{"name":"d","parties":2,"reasons":["Login"]}"#, "reasons"),
        (r#"{"name":"d","parties":2,"ttlMs":59999}"#, "ttl"),
        (r#"{"name":"d","parties":2,"store":"redis://h"}"#, "runId"),
        (
            r#"{"name":"d","parties":2,"store":"http://h","runId":"r"}"#,
            "store",
        ),
        (
            r#"{"name":"d","parties":2,"store":"redis://h","runId":"r/1"}"#,
            "runId",
        ),
        (
            r#"{"name":"d","parties":2,"connectTimeoutMs":0}"#,
            "connectTimeout",
        ),
        (
            r#"{"name":"d","parties":2,"spread":{"pace":{"spanMs":0}}}"#,
            "release.spread",
        ),
        (
            r#"{"name":"d","parties":2,"spread":{"pace":{"rate":0}}}"#,
            "release.rate",
        ),
        (
            r#"{"name":"d","parties":2,"releaseAt":1800000000}"#,
            "releaseAt",
        ),
        (r#"{"name":"d","parties":2,"partys":2}"#, "options"),
    ] {
        let error = parse(json).expect_err(json);
        assert_eq!(error.option, option, "{json}: {error}");
    }
}

#[test]
fn a_percentage_is_of_those_who_have_not_left_and_rounds_up() {
    assert_eq!(Quorum::Percent(95).arrivals(10, 0), 10);
    assert_eq!(Quorum::Percent(95).arrivals(20, 0), 19);
    assert_eq!(Quorum::Percent(50).arrivals(10, 3), 4);
    assert_eq!(Quorum::Count(7).arrivals(10, 3), 7);
}

#[test]
fn openers_that_differ_are_told_where() {
    let a = parse(r#"{"name":"d","parties":2}"#).expect("valid").shared;
    let b = parse(r#"{"name":"d","parties":3}"#).expect("valid").shared;
    let e = SharedOptions::difference(&b.canonical(), &a.canonical());
    assert_eq!((e.option.as_str(), e.got.as_str()), ("parties", "3"));
    assert!(e.allowed.starts_with('2'), "{e}");
    let c = parse(r#"{"name":"d","parties":2,"spread":{"pace":{"rate":5}}}"#);
    let c = c.expect("valid").shared;
    let e = SharedOptions::difference(&a.canonical(), &c.canonical());
    let got = (e.option.as_str(), e.got.as_str());
    assert_eq!(got, ("release", "neither spread nor rate"));
    assert!(e.allowed.starts_with("{ rate: 5 }, which"), "{e}");
}
