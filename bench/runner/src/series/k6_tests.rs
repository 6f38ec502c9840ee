//! What follows from k6's values over time: where a run begins, gaps, shares and last values.

use std::fmt::Write as _;

use super::Taken;
use super::k6::Series;
use super::window::Window;
use crate::suite::over_time::Selector;
use crate::suite::stat::Stat;

/// Metric, type, tags; and in which seconds it has a sample of which value.
type Told<'a> = (&'a str, &'a str, &'a str, &'a [(i64, f64)]);

fn series(told: &[Told<'_>]) -> Series {
    let head = r#"{"format":"k6-barrier series","version":1,"baseMs":0,"intervalMs":1000,"tags":["scenario","kind"]}"#;
    let mut text = format!("{head}\n");
    for (number, (metric, kind, tags, values)) in told.iter().enumerate() {
        writeln!(
            text,
            r#"{{"series":{number},"metric":"{metric}","type":"{kind}","tags":{{{tags}}}}}"#
        )
        .expect("a text");
        for (second, value) in *values {
            let t = second * 1000;
            writeln!(
                text,
                r#"{{"s":{number},"t":{t},"n":1,"sum":{value},"min":{value},"max":{value},"last":{value}}}"#
            )
            .expect("a text");
        }
    }
    Series::read(&text, b"").expect("read")
}

fn extent(told: &[Told<'_>]) -> Option<(i64, i64)> {
    let extent = series(told).extent()?;
    Some((extent.from_ms / 1000, extent.to_ms / 1000))
}

const LOAD: &str = r#""scenario":"load""#;

#[test]
fn a_run_begins_with_the_first_sample_of_its_users() {
    let users: Told<'_> = ("vus", "gauge", "", &[(0, 0.0), (1, 0.0), (9, 2.0)]);
    let most: Told<'_> = ("vus_max", "gauge", "", &[(0, 2.0)]);
    let setup: Told<'_> = ("http_reqs", "counter", "", &[(3, 1.0)]);
    let load: Told<'_> = ("http_reqs", "counter", LOAD, &[(5, 1.0), (8, 1.0)]);
    assert_eq!(extent(&[users, most, setup, load]), Some((5, 10)));
    // Users at work whose first sample is still to come.
    let early: Told<'_> = ("vus", "gauge", "", &[(0, 0.0), (4, 2.0), (9, 2.0)]);
    assert_eq!(extent(&[early, most, setup, load]), Some((4, 10)));
    let users: Told<'_> = ("vus", "gauge", "", &[(0, 0.0), (1, 0.0), (9, 0.0)]);
    // Where k6 kept no such tag apart, what k6 tells of itself is left out.
    assert_eq!(extent(&[users, most, setup]), Some((3, 10)));
    assert_eq!(extent(&[users, most]), Some((0, 10)));
    assert_eq!(extent(&[]), None);
}

const WINDOW: Window = Window {
    from_ms: 2000,
    to_ms: 12_000,
};

fn taken(told: &[Told<'_>], stat: Stat, window: Window) -> Taken {
    let series = series(told);
    let selector = Selector::parse("m").expect("a metric");
    let metric = series.metric(&selector).expect("alike").expect("there");
    metric.stat(stat, window, Some([95.0, 105.0]))
}

#[test]
fn a_second_without_a_sample_is_in_no_band() {
    let inside: &[_] = &[(2, 100.0), (3, 100.0), (4, 100.0), (5, 100.0), (11, 200.0)];
    for kind in ["gauge", "trend", "rate", "counter"] {
        let told: Told<'_> = ("m", kind, LOAD, inside);
        let (share, n) = taken(&[told], Stat::ShareInBand, WINDOW).expect("a share");
        assert!((share - 0.4).abs() < 1e-9, "{kind}: {share}");
        assert_eq!(n, if kind == "counter" { 10 } else { 5 }, "{kind}");
    }
}

#[test]
fn a_gap_is_as_long_as_it_may_have_been() {
    let gap = |values: &[(i64, f64)]| {
        let told: Told<'_> = ("m", "counter", LOAD, values);
        taken(&[told], Stat::LongestGap, WINDOW).expect("a gap").0
    };
    let each: Vec<_> = (2..12).map(|second| (second, 1.0)).collect();
    // Between the first moment of a second and the last of the next one.
    assert!((gap(&each) - 2.0).abs() < 1e-9);
    let mut missing = each.clone();
    missing[4].1 = 0.0;
    assert!((gap(&missing) - 3.0).abs() < 1e-9);
    assert!((gap(&[(2, 1.0)]) - 10.0).abs() < 1e-9);
    assert!((gap(&[(9, 1.0)]) - 8.0).abs() < 1e-9);
    assert!((gap(&[(20, 1.0)]) - 10.0).abs() < 1e-9);
}

#[test]
fn which_of_several_last_values_came_last_is_not_guessed() {
    let (a, b) = (r#""kind":"a""#, r#""kind":"b""#);
    let value = |first: &[(i64, f64)], second: &[(i64, f64)]| {
        let told: [Told<'_>; 2] = [("m", "gauge", a, first), ("m", "gauge", b, second)];
        taken(&told, Stat::Value, WINDOW)
    };
    assert_eq!(value(&[(3, 1.0), (9, 2.0)], &[(4, 7.0)]), Ok((2.0, 3)));
    assert_eq!(value(&[(3, 1.0)], &[(4, 7.0), (20, 8.0)]), Ok((7.0, 2)));
    let told = value(&[(9, 2.0)], &[(9, 7.0)]).expect_err("not known");
    assert!(told.contains("2 sets of tags"), "{told}");
}
