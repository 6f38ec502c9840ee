//! Checks of values that a target measures itself.

use super::over_time::monitor;
use super::problem::{Problem, known, placeholders, problem, unique};
use super::schema::File;

/// Checks every `[[server]]`.
pub(super) fn servers(file: &File, scenarios: &[&str]) -> Result<(), Problem> {
    unique(file.server.iter().map(|table| &table.id), "server")?;
    let metrics = file.server.iter().flat_map(|table| table.picked.keys());
    unique(metrics, "value of a server")?;
    for table in &file.server {
        for name in &table.scenarios {
            known(name, scenarios, "scenario")?;
        }
        placeholders(file, &table.source, &["address"])?;
        if table.picked.is_empty() {
            return Err(problem(
                &table.id,
                "`match` is empty; it gives a metric its place in the answer, as in { wait_ms = \"wait\" }",
            ));
        }
        for name in table.picked.keys() {
            let text = name.get_ref();
            let letters = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if text.is_empty() || !text.chars().all(letters) {
                let text = format!("metric `{text}`: allowed are letters, digits and `_`");
                return Err(problem(name, text));
            }
            let taken = monitor(file, text).is_some()
                || file.derive.iter().any(|table| table.id.get_ref() == text)
                || file.scenario.iter().any(|scenario| scenario.reads(text));
            if taken {
                let text = format!("`{text}` is another value of this suite already");
                return Err(problem(name, text));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::suite::tests::suite;

    const SCENARIO: &str = "[[scenario]]\nid = \"smoke\"\nscript = \"s.js\"\nlimit = \"30s\"\n";

    #[test]
    fn what_cannot_be_read_is_refused() {
        let table = |rest: &str| format!("{SCENARIO}[[server]]\nid = \"s\"\n{rest}");
        suite(&table(
            "source = \"{address}/stats\"\nmatch = { a = \"b.c\" }\n",
        ))
        .expect("a suite");
        for (rest, expected) in [
            (
                "source = \"{adress}\"\nmatch = { a = \"b\" }\n",
                "did you mean",
            ),
            ("source = \"http://h\"\nmatch = {}\n", "`match` is empty"),
            (
                "source = \"http://h\"\nmatch = { \"a b\" = \"b\" }\n",
                "allowed are letters",
            ),
            (
                "source = \"http://h\"\nmatch = { a = \"b\" }\nscenarios = [\"smok\"]\n",
                "smok",
            ),
            (
                "source = \"http://h\"\nmatch = { a = \"b\" }\n[[server]]\nid = \"t\"\nsource = \"http://h\"\nmatch = { a = \"c\" }\n",
                "a second value of a server",
            ),
        ] {
            let text = suite(&table(rest)).expect_err("refused").to_string();
            assert!(text.contains(expected), "{expected}: {text}");
        }
    }
}
