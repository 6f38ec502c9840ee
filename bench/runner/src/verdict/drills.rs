//! The gates that every run with faults has.

use crate::suite::chaos::{After, ChaosTable};
use crate::suite::faults::of_scenario;
use crate::suite::schema::{Class, File};
use crate::verdict::chaos::{End, FILE, Fault, Faults};
use crate::verdict::gates::Judged;

/// A fault may come so much later, or stay so much longer or shorter than it is declared to.
const TOLERANCE_MS: i64 = 1000;

impl Faults {
    /// The gates of a scenario's faults.
    pub(super) fn judge(&self, file: &File, scenario: &str) -> Vec<Judged> {
        let tables = of_scenario(file, scenario);
        tables.flat_map(|table| self.of_table(table)).collect()
    }

    fn of_table(&self, table: &ChaosTable) -> Vec<Judged> {
        let id = table.id.get_ref();
        let fault = self.of(id);
        let made = match fault {
            None => Err(format!("{FILE} tells nothing of it")),
            Some(fault) => made(fault),
        };
        let good = "it was injected, held for its time, and taken back".to_owned();
        let mut gates = vec![Judged::built_in(
            &format!("chaos-{id}-made"),
            made.is_ok(),
            made.err().unwrap_or(good),
        )];
        let Some(expect) = table.expect.as_ref().map(|expect| expect.get_ref()) else {
            return gates;
        };
        let from = match expect.first_after {
            After::Inject => "the injection",
            After::Undo => "it was taken back",
        };
        let found = fault.and_then(|fault| fault.expected.as_ref());
        let asked = found.map_or(0, |found| found.asked);
        let (good, bad) = found.map_or((None, None), |found| {
            (found.first_good_ms, found.last_bad_ms)
        });
        let limits = [
            ("the first good answer", expect.first_good_within, good),
            ("the last bad answer", expect.steady_within, bad),
        ];
        let (mut texts, mut holds) = (Vec::new(), true);
        let (mut value, mut limit) = (None, None);
        for (what, within, came) in limits {
            let Some(within) = within else { continue };
            let within = within.as_secs_f64() * 1000.0;
            let kept = came.is_some_and(|came| came < within);
            holds &= kept;
            (value, limit) = (value.or(came), limit.or(Some(within)));
            let came = came.map_or_else(
                || "none".to_owned(),
                |came| format!("{came:.0} ms after {from}"),
            );
            texts.push(format!("{what}: {came}; expected < {within:.0} ms"));
        }
        gates.push(Judged {
            class: Class::Slo,
            value,
            limit,
            // Who was never asked is not known to be slow.
            missing: asked == 0,
            ..Judged::built_in(
                &format!("chaos-{id}"),
                holds && asked > 0,
                format!("{} ({asked} requests)", texts.join("; ")),
            )
        });
        gates
    }
}

/// Whether a fault was there as it was declared, or what went wrong.
fn made(fault: &Fault) -> Result<(), String> {
    if let Some(error) = &fault.error {
        return Err(error.clone());
    }
    let when = match fault.end {
        End::Held if fault.undone_ms.is_some() => return in_time(fault),
        End::Held => "it could not be taken back",
        End::Never => "the run was over before it was injected",
        End::RunEnded => "the run was over before its time was",
        End::Interrupted => "a signal ended it before its time was over",
        End::Failed => "it could not be injected",
    };
    Err(when.to_owned())
}

/// Whether it began and stayed as it was declared. What is not in the record, which older evidence has not, is not judged.
fn in_time(fault: &Fault) -> Result<(), String> {
    let spans = [
        (
            "began",
            fault.began_ms,
            fault.inject_ms,
            fault.at_ms,
            " after the start",
        ),
        (
            "was held for",
            fault.injected_ms,
            fault.undo_ms,
            fault.hold_ms,
            "",
        ),
    ];
    for (what, from, to, declared, more) in spans {
        let (Some(from), Some(to), Some(declared)) = (from, to, declared) else {
            continue;
        };
        let came = to - from;
        if (came - declared).abs() > TOLERANCE_MS {
            return Err(format!(
                "it {what} {came} ms{more}, declared are {declared} ms"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::chaos::Kind;
    use crate::verdict::chaos::Expected;
    use crate::verdict::gates::{Verdict, verdict};

    fn fault(end: End, expected: Option<Expected>) -> Fault {
        Fault {
            id: "kill".to_owned(),
            kind: Kind::Process,
            began_ms: Some(9000),
            at_ms: Some(1000),
            hold_ms: Some(20_000),
            inject_ms: Some(10_000),
            injected_ms: Some(10_100),
            undo_ms: Some(30_000),
            undone_ms: Some(31_000),
            settle_ms: 2000,
            end,
            error: None,
            expected,
        }
    }

    fn judged(fault: Option<Fault>) -> Verdict {
        let suite = crate::suite::tests::suite(
            "[[scenario]]\nid = \"smoke\"\nscript = \"s.js\"\nlimit = \"30s\"\n\
             [[chaos]]\nid = \"kill\"\nkind = \"faults\"\nurl = \"http://h/faults\"\ninject = \"{}\"\nundo = \"{}\"\nat = \"1s\"\nhold = \"2s\"\n\
             expect = { url = \"http://h\", first_good_within = \"5s\", steady_within = \"6s\" }\n",
        )
        .expect("suite");
        let faults = Faults(fault.into_iter().collect());
        verdict(&faults.judge(&suite.file, "smoke"))
    }

    #[test]
    fn a_fault_counts_only_where_it_was_made_and_its_expectation_was_looked_at() {
        let seen = |first: Option<f64>, last: f64, asked| {
            Some(Expected {
                first_good_ms: first,
                last_bad_ms: Some(last),
                asked,
                ..Expected::default()
            })
        };
        let good = || seen(Some(4999.0), 5500.0, 9);
        assert_eq!(judged(Some(fault(End::Held, good()))), Verdict::Pass);
        let late = [
            seen(Some(5000.0), 0.0, 9),
            seen(None, 0.0, 9),
            seen(Some(1.0), 6000.0, 9),
        ];
        for late in late {
            assert_eq!(judged(Some(fault(End::Held, late))), Verdict::Fail);
        }
        assert_eq!(judged(None), Verdict::Invalid);
        assert_eq!(
            judged(Some(fault(End::Held, seen(None, 0.0, 0)))),
            Verdict::Invalid
        );
        for end in [End::Never, End::RunEnded, End::Failed, End::Interrupted] {
            assert_eq!(
                judged(Some(fault(end, good()))),
                Verdict::Invalid,
                "{end:?}"
            );
        }
        let others = [(Some(3001), Some(20_000)), (Some(1000), Some(18_000))];
        for (at_ms, hold_ms) in others {
            let other = Fault {
                at_ms,
                hold_ms,
                ..fault(End::Held, good())
            };
            assert_eq!(
                judged(Some(other)),
                Verdict::Invalid,
                "{at_ms:?}, {hold_ms:?}"
            );
        }
        let open = Fault {
            undone_ms: None,
            ..fault(End::Held, good())
        };
        assert_eq!(judged(Some(open)), Verdict::Invalid);
    }

    #[test]
    fn its_window_goes_from_the_injection_until_it_has_settled() {
        let faults = Faults(vec![fault(End::Held, None)]);
        let window = |to_ms| faults.windows(to_ms)[0].1;
        assert_eq!(
            (window(90_000).from_ms, window(90_000).to_ms),
            (10_000, 33_000)
        );
        assert_eq!(window(32_000).to_ms, 32_000, "the run ended before");
    }
}
