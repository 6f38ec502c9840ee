//! What follows from the looks of a monitor, and what does not.

use std::fmt::Write as _;
use std::time::Duration;

use super::Value;
use super::samples::{How, Samples};
use super::window::Window;
use crate::suite::schema::MetricKind::{self, Counter, Gauge};
use crate::suite::stat::Stat;

const WINDOW: Window = Window {
    from_ms: 2000,
    to_ms: 7000,
};

/// A look: its value, why there is none, or that it was asked too early.
#[derive(Clone, Copy)]
enum Look {
    Is(f64),
    Failed,
    Absent,
}
use Look::{Absent, Failed, Is};

fn how(kind: MetricKind, every: Duration) -> How {
    How {
        kind,
        grows: false,
        every,
    }
}

/// Looks at these moments.
fn at(looks: &[(i64, Look)], how: How) -> Samples {
    let mut text = String::new();
    for (t, look) in looks {
        let rest = match look {
            Is(value) => format!(r#""values":{{"v":{value}}}"#),
            Failed => r#""values":{},"error":"gone""#.to_owned(),
            Absent => r#""values":{},"error":"no such sample","absent":["v"]"#.to_owned(),
        };
        writeln!(text, "{{\"t\":{t},{rest}}}").expect("a text");
    }
    Samples::read(&text, "v", how)
}

/// A look each second from 1 s on.
fn samples(looks: &[Look], how: How) -> Samples {
    let looks: Vec<_> = (1..)
        .zip(looks)
        .map(|(second, look)| (second * 1000, *look))
        .collect();
    at(&looks, how)
}

fn each_second(kind: MetricKind) -> How {
    how(kind, Duration::from_secs(1))
}

fn is(values: &[f64]) -> Vec<Look> {
    values.iter().copied().map(Is).collect()
}

fn taken(samples: &Samples, stat: Stat) -> Result<(f64, u64), String> {
    let band = Some([95.0, 105.0]);
    let found = samples.stat(stat, WINDOW, band)?;
    assert_eq!(found.least, None, "{stat:?}");
    Ok((found.value, found.samples))
}

fn why(samples: &Samples, stat: Stat, window: Window) -> String {
    let found = samples.stat(stat, window, Some([0.0, 1.0]));
    found.expect_err("no value")
}

#[test]
fn only_samples_in_the_window_count() {
    let values = is(&[500.0, 100.0, 96.0, 94.0, 105.0, 100.0, 0.0]);
    let all = samples(&values, each_second(Gauge));
    for (stat, value) in [
        (Stat::Avg, 99.0),
        (Stat::Min, 94.0),
        (Stat::Max, 105.0),
        (Stat::Value, 100.0),
        (Stat::Quantile(0.5), 100.0),
        (Stat::Quantile(0.2), 94.0),
        (Stat::ShareInBand, 0.8),
        (Stat::LongestGap, 1.0),
    ] {
        assert_eq!(taken(&all, stat), Ok((value, 5)), "{stat:?}");
    }
}

#[test]
fn too_many_looks_without_a_value_are_told_and_never_judged() {
    // Ten looks in the window.
    let window = Window {
        from_ms: 1000,
        to_ms: 11_000,
    };
    let mut looks = is(&[100.0; 10]);
    let found = |looks: &[Look]| {
        let all = samples(looks, each_second(Gauge));
        all.stat(Stat::Avg, window, None)
    };
    let looks_told = |found: Result<Value, String>| found.expect("a value").looks;
    assert_eq!(looks_told(found(&looks)).as_deref(), Some("10 of 10 looks"));
    looks[4] = Failed;
    assert_eq!(looks_told(found(&looks)).as_deref(), Some("9 of 10 looks"));
    looks[6] = Failed;
    let told = found(&looks).expect_err("too few");
    assert!(
        told.starts_with("8 of 10 looks in the window gave one")
            && told.contains("2 failed, the last with: gone, 0 were not taken"),
        "{told}"
    );
    // A monitor that was held up for half of the time.
    let held = [1000, 2000, 3000, 9000, 10_000].map(|t| (t, Is(1.0)));
    let told = at(&held, each_second(Gauge)).stat(Stat::Avg, window, None);
    let told = told.expect_err("too few");
    assert!(
        told.starts_with("5 of 9 looks") && told.contains("0 failed, 4 were not taken in time"),
        "{told}"
    );
    let none = samples(&[Failed; 6], each_second(Gauge));
    for stat in [Stat::Avg, Stat::LongestGap, Stat::ShareInBand] {
        assert_eq!(
            why(&none, stat, WINDOW),
            "no samples in the window; 6 looks failed, the last with: gone"
        );
    }
}

#[test]
fn a_counter_tells_its_growth_and_where_it_stood() {
    // The service began anew at 5 s.
    let all = samples(
        &is(&[50.0, 150.0, 250.0, 250.0, 30.0, 130.0]),
        each_second(Counter),
    );
    assert_eq!(taken(&all, Stat::Count), Ok((230.0, 5)));
    assert_eq!(taken(&all, Stat::Rate), Ok((57.5, 5)));
    assert_eq!(taken(&all, Stat::LongestGap), Ok((2.0, 5)));
    assert_eq!(taken(&all, Stat::ShareInBand), Ok((0.6, 5)));
    let still = samples(&is(&[7.0; 6]), each_second(Counter));
    assert_eq!(taken(&still, Stat::LongestGap), Ok((5.0, 5)));
}

#[test]
fn a_counter_that_appears_in_the_run_grew_from_nothing() {
    let looks = [Absent, Absent, Absent, Is(40.0), Is(50.0), Is(50.0)];
    let all = samples(&looks, each_second(Counter));
    assert_eq!(taken(&all, Stat::Count), Ok((50.0, 5)));
    // Of a look that failed nothing follows.
    let looks = [
        Is(0.0),
        Absent,
        Failed,
        Is(40.0),
        Is(50.0),
        Is(50.0),
        Is(50.0),
    ];
    let all = samples(&looks, each_second(Counter));
    assert!(why(&all, Stat::Count, WINDOW).starts_with("4 of 5 looks"));
    // Nor where there is none at all.
    let none = samples(&[Absent; 6], each_second(Counter));
    assert!(why(&none, Stat::Count, WINDOW).contains("6 looks failed, the last with: no such"));
    // A gauge that is not there is not 0.
    let gauge = samples(&looks, each_second(Gauge));
    assert!(why(&gauge, Stat::Min, WINDOW).starts_with("3 of 5 looks"));
}

#[test]
fn growth_that_may_be_of_before_the_window_is_not_known() {
    let window = Window {
        from_ms: 20_000,
        to_ms: 60_000,
    };
    let looks = |first: i64, last: i64, before: f64| {
        let mut looks = vec![(first, Is(before))];
        looks.extend((21..=58).map(|second| (second * 1000, Is(500.0))));
        looks.push((last, Is(700.0)));
        at(&looks, each_second(Counter))
    };
    let of = |samples: Samples| {
        let found = samples.stat(Stat::Count, window, None)?;
        Ok::<_, String>(found.value)
    };
    // As fast as each second, the step over an edge belongs to the window.
    assert_eq!(of(looks(20_000, 59_000, 400.0)), Ok(300.0));
    assert_eq!(of(looks(19_600, 60_400, 400.0)), Ok(300.0));
    let told = of(looks(5000, 59_000, 400.0)).expect_err("unknown");
    assert!(
        told.contains("no look between -15 s and 1 s of the window"),
        "{told}"
    );
    let told = of(looks(20_000, 65_000, 400.0)).expect_err("unknown");
    assert!(told.contains("between 38 s and 45 s"), "{told}");
    // What stood still did so all the time.
    assert_eq!(of(looks(5000, 59_000, 500.0)), Ok(200.0));
}

#[test]
fn a_look_that_is_missing_is_no_stall() {
    let window = Window {
        from_ms: 10_000,
        to_ms: 40_000,
    };
    let every = Duration::from_millis(500);
    let gap = |missing: std::ops::RangeInclusive<i64>, stood: std::ops::Range<i64>, late: i64| {
        let mut looks = Vec::new();
        for number in 0..80 {
            let mut t = number * 500;
            // What it has counted by then: 100 in a second.
            let stands = stood.end - stood.start;
            let ticks = (t.min(stood.start) + (t - stood.end).max(0)) / 10;
            assert!(stands >= 0);
            if missing.contains(&number) {
                looks.push((t, Failed));
                continue;
            }
            if number == 60 {
                t += late;
            }
            #[expect(clippy::cast_precision_loss, reason = "a small number")]
            looks.push((t, Is(ticks as f64)));
        }
        let all = at(&looks, how(Counter, every));
        let found = all.stat(Stat::LongestGap, window, None).expect("a value");
        (found.least, found.value)
    };
    let never = 90_000..90_000;
    assert_eq!(gap(100..=100, never.clone(), 0), (None, 0.5));
    assert_eq!(gap(100..=100, never.clone(), 200), (None, 0.7));
    assert_eq!(gap(100..=100, never.clone(), 450), (Some(0.5), 0.95));
    // Two looks failed while it ticked, or while it stood: only growth behind them leaves it open.
    assert_eq!(gap(40..=41, never, 0), (Some(0.5), 1.5));
    assert_eq!(gap(100..=100, 20_000..22_000, 0), (None, 2.5));
    assert_eq!(gap(41..=42, 20_000..22_000, 0), (None, 2.5));
    assert_eq!(gap(43..=44, 20_000..22_000, 0), (Some(1.0), 2.5));
}

#[test]
fn what_each_look_counts_anew_is_summed_up_to_the_last() {
    let grows = How {
        grows: true,
        ..each_second(Counter)
    };
    let found = is(&[9.0, 0.0, 2.0, 0.0, 0.0, 1.0, 4.0, 8.0]);
    let all = samples(&found, grows);
    // The step over the end of the window is taken in, what came later is not.
    assert_eq!(taken(&all, Stat::Count), Ok((7.0, 5)));
    assert_eq!(taken(&all, Stat::LongestGap), Ok((3.0, 5)));
    let over = Window {
        from_ms: 1000,
        to_ms: 6500,
    };
    let count = |window| all.stat(Stat::Count, window, None).map(|found| found.value);
    assert_eq!(count(over), Ok(16.0), "with what the first look found");
    assert_eq!(all.up_to_the_last(over).to_ms, 8001);
    assert_eq!(count(all.up_to_the_last(over)), Ok(24.0));
    let gauge = samples(&found, each_second(Gauge));
    assert_eq!(gauge.up_to_the_last(over), over);
}
