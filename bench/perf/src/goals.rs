//! The rows of the table, with their goals.

use crate::cases::Scale;
use crate::rows::{Compare, Goal, Row, Take};

const PLAIN: &str = "plain k6";

/// All rows, in their order. Those of cases that were not run are left out later.
pub(crate) fn rows(scale: Scale) -> Vec<Row> {
    let users = thousands(scale.users);
    let crowd = thousands(scale.crowd());
    let segments = thousands(scale.segments());
    let mut rows = Vec::new();

    let release = |of, name: &str, goal| {
        let title = format!(
            "release, {users} users in one process, {name}: last arrival to last user's next statement"
        );
        Row {
            peer: Some(("release/plain", PLAIN)),
            compare: Compare::Ratio,
            goal,
            ..row(title, of, "release_ms", "ms")
        }
    };
    rows.push(release("release/memory", "memory", Some(Goal::AtMost(1.1))));
    rows.push(release("release/redis", "Redis", Some(Goal::AtMost(1.1))));
    rows.push(release(
        "release/polling-200ms",
        "polling every 200 ms",
        None,
    ));
    rows.push(release("release/polling-50ms", "polling every 50 ms", None));
    let title =
        format!("stretch: release, {users} users, memory, beside Gatling's 46 ms (not run here)");
    rows.push(Row {
        goal: Some(Goal::AtMost(46.0)),
        ..row(title, "release/memory", "release_ms", "ms")
    });

    let wake = |of, name: &str, goal| Row {
        goal,
        ..row(
            format!("controller's wake after the last arrival, {name}"),
            of,
            "wake_ms",
            "ms",
        )
    };
    rows.push(wake("arrive/memory", "memory", Some(Goal::AtMost(1.0))));
    rows.push(wake("arrive/redis", "Redis", Some(Goal::AtMost(3.0))));
    rows.push(wake("arrive/polling-200ms", "polling every 200 ms", None));
    rows.push(wake("arrive/polling-50ms", "polling every 50 ms", None));

    let spread = |of, name: &str, goal| {
        let title = format!("{users} users arrive at once, {name}: first to last arrival recorded");
        Row {
            peer: Some(("arrive/plain", "plain k6, nothing there")),
            compare: Compare::Ratio,
            goal,
            ..row(title, of, "spread_ms", "ms")
        }
    };
    rows.push(spread("arrive/memory", "memory", Some(Goal::AtMost(1.35))));
    // Over Redis each user sleeps until the acknowledgement has come, and wakes a second time.
    rows.push(spread("arrive/redis", "Redis", Some(Goal::AtMost(2.2))));
    rows.push(spread("arrive/polling-200ms", "by k6/x/redis", None));

    let decision = |of, name: &str, goal| {
        let title = format!(
            "{users} users call arriveAndWait at once, {name}: first call to the decision to release, as the store records it"
        );
        Row {
            peer: Some(("arrive/plain", "plain k6, reading its clock")),
            peer_figure: Some("spread_ms"),
            compare: Compare::Ratio,
            goal: Some(Goal::AtMost(goal)),
            ..row(title, of, "decision_ms", "ms")
        }
    };
    rows.push(decision("arrive/memory-waiting", "memory", 1.35));
    rows.push(decision("arrive/redis-waiting", "Redis", 1.6));

    let core = |peer, name, goal| Row {
        peer: Some((peer, name)),
        compare: Compare::Ratio,
        goal,
        ..row(
            "arrivals through the core on one connection".to_owned(),
            "core/core",
            "arrivals_per_s",
            "/s",
        )
    };
    rows.push(Row {
        peer: None,
        compare: Compare::Alone,
        ..core("core/core", "", Some(Goal::AtLeast(500_000.0)))
    });
    rows.push(core(
        "core/redis-benchmark",
        "redis-benchmark, the same calls",
        Some(Goal::AtLeast(0.8)),
    ));
    rows.push(core(
        "core/redis-benchmark-single",
        "redis-benchmark, one arrival a call",
        None,
    ));

    let memory = |of, name: &str, what: &str, figure, goal| {
        let title = format!("{what} per waiting user above plain k6, {name}");
        let each = Compare::Above(f64::from(scale.users));
        Row {
            peer: Some(("memory/plain", PLAIN)),
            compare: each,
            goal,
            ..row(title, of, figure, "KB")
        }
    };
    let most = Some(Goal::AtMost(6.0));
    for (of, name, goal) in [
        ("memory/memory", "memory", most),
        ("memory/redis", "Redis", most),
        ("memory/polling-200ms", "polling", None),
    ] {
        rows.push(memory(of, name, "memory", "memory_kb", goal));
        rows.push(memory(of, name, "of it heap", "heap_kb", None));
        rows.push(memory(of, name, "of it stacks", "stacks_kb", None));
    }

    let connections = |of, name: &str, goal| {
        let title = format!("Redis connections of a k6 process with {users} users, {name}");
        Row {
            take: Take::Largest,
            goal,
            ..row(title, of, "connections", "")
        }
    };
    rows.push(connections(
        "release/redis",
        "barrier",
        Some(Goal::AtMost(1.0)),
    ));
    rows.push(connections("release/polling-200ms", "polling", None));

    let large = |of, name: &str| {
        let title = format!("release, {crowd} users in one process, {name}");
        Row {
            peer: Some(("crowd/plain", PLAIN)),
            compare: Compare::Ratio,
            goal: Some(Goal::AtMost(1.2)),
            ..row(title, of, "release_ms", "ms")
        }
    };
    rows.push(large("crowd/memory", "memory"));
    rows.push(large("crowd/redis", "Redis"));

    let turns = |of, name: &str, goal| {
        let title = format!(
            "a release of {users} users over 2 s, {name}: how late the next statement is, 99th percentile"
        );
        Row {
            peer: Some(("turns/plain", "plain k6, sleeping until the same instants")),
            compare: Compare::Ratio,
            goal,
            ..row(title, of, "off_ms", "ms")
        }
    };
    rows.push(turns("turns/memory", "memory", Some(Goal::AtMost(1.5))));
    rows.push(turns("turns/redis", "Redis", Some(Goal::AtMost(1.5))));

    rows.extend(of_groups(scale));

    let count = |keys: u32, figure, peer_figure, goal| Row {
        peer: Some(("queues/both", "TYPE, then ZCARD or HLEN, in the script")),
        peer_figure: Some(peer_figure),
        compare: Compare::Faster,
        goal: Some(Goal::AtLeast(goal)),
        ..row(
            format!("counting {keys} queues"),
            "queues/both",
            figure,
            "ms",
        )
    };
    rows.push(count(5, "counter_5_ms", "script_5_ms", 5.0));
    rows.push(count(100, "counter_100_ms", "script_100_ms", 50.0));
    let title = "round trips of a count".to_owned();
    rows.push(Row {
        take: Take::Largest,
        goal: Some(Goal::AtMost(1.0)),
        ..row(title, "queues/both", "round_trips", "")
    });

    let first_wakes = |of, what: &str| Row {
        take: Take::P99,
        ..row(
            format!(
                "four processes, {segments} users{what}: spread of the processes' first wakes, 99th percentile"
            ),
            of,
            "spread_ms",
            "ms",
        )
    };
    let of_instant = |of, what: &str, figure| Row {
        take: Take::P99,
        ..row(
            format!("the same, {what} from the instant on, in the last process, 99th percentile"),
            of,
            figure,
            "ms",
        )
    };
    let and_why = |of| {
        [
            of_instant(of, "news of the release", "news_ms"),
            of_instant(of, "first wake", "first_wake_ms"),
        ]
    };
    rows.push(Row {
        goal: Some(Goal::AtMost(3.0)),
        ..first_wakes("segments/redis", "")
    });
    rows.extend(and_why("segments/redis"));
    let again = format!(", {} meetings a cycle", scale.meetings());
    rows.push(Row {
        peer: Some((
            "processes/sleepers",
            "four processes that sleep until one instant",
        )),
        compare: Compare::Ratio,
        goal: Some(Goal::AtMost(1.5)),
        ..first_wakes("processes/redis", &again)
    });
    rows.extend(and_why("processes/redis"));

    let title = format!("{users} open streams at one event a second, 60 s: events lost");
    let worst = |title, of, figure, unit, goal| Row {
        take: Take::Largest,
        goal: Some(goal),
        ..row(title, of, figure, unit)
    };
    rows.push(worst(title, "streams/sse", "lost", "", Goal::AtMost(0.0)));
    let title = format!("{users} open streams at one event a second, 60 s: streams that failed");
    rows.push(worst(title, "streams/sse", "failed", "", Goal::AtMost(0.0)));

    rows.extend(of_series(scale));
    for (of, name) in [("target/zset", "zset"), ("target/hash", "hash")] {
        let what = |text: &str| format!("scenario target, {name}: {text}");
        rows.push(worst(
            what("runs that are not valid"),
            of,
            "invalid",
            "",
            Goal::AtMost(0.0),
        ));
        rows.push(worst(
            what("users that did not finish"),
            of,
            "missing",
            "",
            Goal::AtMost(0.0),
        ));
        rows.push(worst(
            what("memory of k6 at most, with LEAN=1"),
            of,
            "k6_gb",
            "GB",
            Goal::AtMost(3.2),
        ));
        rows.push(worst(
            what("open files of k6 per user at most"),
            of,
            "k6_files",
            "",
            Goal::AtMost(1.05),
        ));
    }
    let title = "make bench: time beyond that of k6's test runs".to_owned();
    rows.push(Row {
        goal: Some(Goal::AtMost(2.0)),
        ..row(title, "bench/smoke", "overhead_s", "s")
    });
    rows.extend(of_scale(scale));
    rows
}

/// Groups of four beside one barrier, of as many users.
fn of_groups(scale: Scale) -> [Row; 2] {
    let users = thousands(scale.users / 4 * 4);
    let groups = |of, peer, name: &str, goal| {
        let title = format!(
            "{users} users come at once, in groups of 4, {name}: first call to the last user's next statement"
        );
        Row {
            peer: Some((peer, "one barrier for all")),
            compare: Compare::Ratio,
            goal,
            ..row(title, of, "meeting_ms", "ms")
        }
    };
    [
        groups(
            "groups/memory",
            "groups/memory-barrier",
            "memory",
            Some(Goal::AtMost(1.3)),
        ),
        groups("groups/redis", "groups/redis-barrier", "Redis", None),
    ]
}

/// What keeping values over time costs, and under which load, which may be less than was asked for.
fn of_series(scale: Scale) -> [Row; 3] {
    let requests = thousands(scale.requests());
    let series = |what: &str, figure, unit| {
        let title = format!("--out hdrlog, {requests} requests a second asked for: {what}");
        row(title, "series/hdrlog", figure, unit)
    };
    [
        Row {
            take: Take::Largest,
            goal: Some(Goal::AtMost(3.0)),
            ..series("its share of k6's processor time", "share", "%")
        },
        series("requests that k6 made", "requests_per_s", "/s"),
        series("processors that k6 kept busy", "cpus", ""),
    ]
}

/// As many users as the machine holds, and as many participants as clients without k6 have.
fn of_scale(scale: Scale) -> [Row; 9] {
    let processes = match scale.processes {
        1 => "one process".to_owned(),
        n => format!("{n} processes"),
    };
    let many = |of, what: &str, figure, unit| {
        let users = thousands(scale.many());
        row(
            format!("{users} users in {processes}, Redis: {what}"),
            of,
            figure,
            unit,
        )
    };
    let clients = |what: &str, figure, unit| {
        let participants = u32::try_from(scale.participants()).unwrap_or(u32::MAX);
        let participants = thousands(participants);
        let title = format!("{participants} participants of 100 clients without k6: {what}");
        row(title, "scale/clients", figure, unit)
    };
    let (gb, none) = (scale.memory_gb, Some(Goal::AtMost(0.0)));
    [
        Row {
            goal: Some(Goal::AtLeast(f64::from(scale.many()))),
            ..many(
                "scale/redis",
                &format!("how many of them fit into {gb} GB; the next rows are of these"),
                "users",
                "",
            )
        },
        Row {
            peer: Some(("scale/plain", PLAIN)),
            compare: Compare::Ratio,
            goal: Some(Goal::AtMost(1.2)),
            ..many(
                "scale/redis",
                "last arrival to last user's next statement",
                "release_ms",
                "ms",
            )
        },
        Row {
            take: Take::Largest,
            goal: none,
            ..many("scale/redis", "users that were not released", "lost", "")
        },
        Row {
            take: Take::Largest,
            peer: Some(("scale/plain", PLAIN)),
            goal: Some(Goal::AtMost(gb)),
            ..many(
                "scale/redis",
                "memory of k6 and Redis at most",
                "memory_gb",
                "GB",
            )
        },
        Row {
            goal: Some(Goal::AtLeast(150_000.0)),
            ..clients("arrivals", "arrivals_per_s", "/s")
        },
        Row {
            take: Take::Largest,
            goal: none,
            ..clients("participants that were lost", "lost", "")
        },
        Row {
            goal: Some(Goal::AtMost(100.0)),
            ..clients("last call to the decision to release", "decision_ms", "ms")
        },
        clients("from decision to instant", "delay_ms", "ms"),
        clients(
            "first to last client that is told of the release",
            "skew_ms",
            "ms",
        ),
    ]
}

fn row(title: String, of: &'static str, figure: &'static str, unit: &'static str) -> Row {
    Row {
        title,
        of,
        figure,
        unit,
        take: Take::Median,
        peer: None,
        peer_figure: None,
        compare: Compare::Alone,
        goal: None,
    }
}

/// With commas, as in prose.
pub(crate) fn thousands(n: u32) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cases::CASES;
    use crate::samples::Samples;

    #[test]
    fn rows_speak_of_runs_that_exist() {
        let runs: BTreeSet<String> = CASES
            .iter()
            .flat_map(|c| c.variants.iter().map(|v| format!("{}/{}", c.name, v.name)))
            .collect();
        let scale = Scale {
            users: 10_000,
            processes: 2,
            memory_gb: 20.0,
        };
        for row in rows(scale) {
            assert!(runs.contains(row.of), "{}", row.of);
            assert!(
                row.peer.is_none_or(|(peer, _)| runs.contains(peer)),
                "{}",
                row.title
            );
        }
    }

    /// Figures are copied to the page by hand; a goal that is out of reach must not get lost on the way.
    #[test]
    fn the_page_has_each_row_with_its_goal() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/performance.md");
        let page = std::fs::read_to_string(page).expect("the page");
        let shown: Vec<(&str, &str)> = page
            .lines()
            .filter_map(|line| {
                let mut cells = line.strip_prefix("| ")?.split(" | ");
                let title = cells.next()?;
                let mut rest = line.strip_suffix('|')?.rsplit('|');
                Some((title, rest.nth(1)?.trim()))
            })
            .collect();
        let scale = Scale {
            users: 10_000,
            processes: 2,
            memory_gb: 20.0,
        };
        let missing: Vec<_> = rows(scale)
            .iter()
            .map(|row| row.fill(&Samples::default()))
            .map(|line| (line.title, line.goal.unwrap_or_default()))
            .filter(|(title, goal)| !shown.contains(&(title, goal)))
            .collect();
        assert!(missing.is_empty(), "{missing:#?}");
    }

    #[test]
    fn numbers_read_as_in_prose() {
        assert_eq!(
            [1, 999, 1000, 30_000, 1_234_567].map(thousands),
            ["1", "999", "1,000", "30,000", "1,234,567"]
        );
    }
}
