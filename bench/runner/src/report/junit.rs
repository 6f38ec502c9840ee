//! The verdicts of a plan for programs that show tests: a suite per run, a case per gate.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use serde_json::Value as Json;

use crate::values::exit;

/// A run, as far as it is told.
#[derive(Debug)]
pub(super) struct Run {
    /// Of its folder, below that of the plan.
    pub(super) name: String,
    /// As its folder holds it; `None` where there is none.
    pub(super) verdict: Option<Json>,
    /// Why there is none.
    pub(super) missing: &'static str,
    /// It has begun.
    pub(super) begun: bool,
    /// How long k6 ran, ms.
    pub(super) took_ms: Option<u64>,
}

/// The runs of a suite as XML. `error`: why the call ended without a verdict, if it did. An exit `code` that says no good stands
/// there also where each run is good: a comparison beyond its limit, a plan that was interrupted between two runs.
///
/// # Errors
/// A text cannot be XML.
pub(super) fn xml(
    suite: &str,
    runs: &[Run],
    error: Option<&str>,
    code: i32,
) -> anyhow::Result<String> {
    let mut report = Report::new(suite);
    let suites: Vec<TestSuite> = runs.iter().map(|run| suite_of(suite, run)).collect();
    let silent = suites
        .iter()
        .all(|suite| suite.failures + suite.errors == 0);
    let told = format!("exit code {code}, though no gate of a run failed; stdout.txt says why");
    let told = (code != exit::OK && silent).then_some(told.as_str());
    if let Some(error) = error.or(told) {
        let mut of_call = TestSuite::new(suite);
        let mut case = TestCase::new("call", failed(NonSuccessKind::Error, "FAULT", error));
        case.set_classname(suite);
        of_call.add_test_case(case);
        report.add_test_suite(of_call);
    }
    report.add_test_suites(suites);
    Ok(report.to_string()?)
}

fn suite_of(suite: &str, run: &Run) -> TestSuite {
    let mut cases = TestSuite::new(&run.name);
    if let Some(ms) = run.took_ms {
        cases.set_time(std::time::Duration::from_millis(ms));
    }
    let class = format!("{suite}.{}", run.name);
    let mut add = |id: &str, status: TestCaseStatus| {
        let mut case = TestCase::new(id, status);
        case.set_classname(&class);
        cases.add_test_case(case);
    };
    let Some(verdict) = &run.verdict else {
        let status = if run.begun {
            failed(NonSuccessKind::Error, "INTERRUPTED", run.missing)
        } else {
            skipped(run.missing)
        };
        add("run", status);
        return cases;
    };
    let word = verdict
        .get("verdict")
        .and_then(Json::as_str)
        .unwrap_or_default();
    // It ended before its end: what was measured until then is no proof of anything.
    let cut = matches!(word, "INTERRUPTED" | "ABORTED" | "NOT_RUN");
    if cut {
        let reasons = verdict.get("reasons").and_then(Json::as_array);
        let reasons = reasons.into_iter().flatten().filter_map(Json::as_str);
        let reasons: Vec<&str> = reasons.collect();
        add(
            "run",
            failed(NonSuccessKind::Error, word, &reasons.join("\n")),
        );
    }
    if word == "NOT_IMPLEMENTED" {
        let reason = verdict.pointer("/reasons/0").and_then(Json::as_str);
        add("run", skipped(reason.unwrap_or_default()));
    }
    for gate in verdict
        .get("gates")
        .and_then(Json::as_array)
        .into_iter()
        .flatten()
    {
        let text = |name: &str| gate.get(name).and_then(Json::as_str).unwrap_or_default();
        let is = |name: &str| gate.get(name) == Some(&Json::Bool(true));
        let status = match text("class") {
            "watch" => skipped(&format!("only watched: {}", text("text"))),
            _ if is("holds") => TestCaseStatus::success(),
            _ if cut => skipped(&format!("not judged, the run is {word}: {}", text("text"))),
            "slo" if !is("missing") => failed(NonSuccessKind::Failure, "FAIL", text("text")),
            _ => failed(NonSuccessKind::Error, "INVALID", text("text")),
        };
        add(text("id"), status);
    }
    cases
}

fn failed(kind: NonSuccessKind, word: &str, text: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(word).set_message(text);
    status
}

fn skipped(text: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::skipped();
    status.set_message(text);
    status
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(verdict: Option<Json>, begun: bool) -> Run {
        Run {
            name: "a/smoke".to_owned(),
            verdict,
            missing: "never begun",
            begun,
            took_ms: Some(1500),
        }
    }

    fn gate(id: &str, class: &str, holds: bool, missing: bool) -> Json {
        json!({ "id": id, "class": class, "holds": holds, "missing": missing, "text": format!("{id} <&> says") })
    }

    #[test]
    fn each_gate_is_a_case_of_its_kind() {
        let gates = [
            gate("good", "slo", true, false),
            gate("slow", "slo", false, false),
            gate("silent", "slo", false, true),
            gate("unsound", "validity", false, false),
            gate("seen", "watch", false, false),
        ];
        let judged = run(Some(json!({ "verdict": "INVALID", "gates": gates })), true);
        let text = xml("chat", &[judged], None, 3).expect("XML");
        for expected in [
            r#"<testsuites name="chat" tests="5" skipped="1" failures="1" errors="2""#,
            r#"<testsuite name="a/smoke" tests="5" skipped="1" errors="2" failures="1" time="1.500">"#,
            r#"<failure message="slow &lt;&amp;&gt; says" type="FAIL"/>"#,
            r#"<error message="silent &lt;&amp;&gt; says" type="INVALID"/>"#,
            r#"<skipped message="only watched: seen &lt;&amp;&gt; says"/>"#,
            r#"<testcase name="good" classname="chat.a/smoke"#,
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
    }

    #[test]
    fn a_call_that_failed_is_never_all_green() {
        let gates = json!({ "verdict": "PASS", "gates": [gate("good", "slo", true, false)] });
        let runs = || [run(Some(gates.clone()), true)];
        let good = xml("chat", &runs(), None, 0).expect("XML");
        assert!(!good.contains("name=\"call\""), "{good}");
        let beyond = xml("chat", &runs(), None, 3).expect("XML");
        assert!(beyond.contains("exit code 3, though no gate"), "{beyond}");
    }

    #[test]
    fn a_run_without_its_end_proves_nothing() {
        let gates = [
            gate("good", "slo", true, false),
            gate("slow", "slo", false, false),
        ];
        let verdict = json!({ "verdict": "ABORTED", "reasons": ["by the script"], "gates": gates });
        let text = xml("chat", &[run(Some(verdict), true)], None, 4).expect("XML");
        assert!(
            text.contains(r#"<error message="by the script" type="ABORTED"/>"#),
            "{text}"
        );
        assert!(
            text.contains("not judged, the run is ABORTED: slow"),
            "{text}"
        );
        assert!(!text.contains("<failure"), "{text}");
        let text = xml(
            "chat",
            &[run(None, true), run(None, false)],
            Some("no k6"),
            2,
        )
        .expect("XML");
        for expected in [
            r#"<error message="no k6" type="FAULT"/>"#,
            r#"<error message="never begun" type="INTERRUPTED"/>"#,
            r#"<skipped message="never begun"/>"#,
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
    }
}
