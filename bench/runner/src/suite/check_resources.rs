//! Checks of resources and of the documents of a report.

use super::problem::{Problem, known, placeholders_in, problem, unique};
use super::resource::{PROCESSORS, ResourceTable};
use super::schema::File;
use crate::values::value::{number, plain};

/// Checks every `[[resource]]` and `[[report.document]]`.
pub(super) fn resources(file: &File, scenarios: &[&str]) -> Result<(), Problem> {
    unique(file.resource.iter().map(|table| &table.id), "resource")?;
    for table in &file.resource {
        resource(file, table, scenarios)?;
    }
    let documents = file.report.iter().flat_map(|report| &report.document);
    unique(documents.clone().map(|table| &table.file), "document")?;
    for table in documents {
        let name = table.file.get_ref();
        let letters = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if !name.ends_with(".md") || name.starts_with('.') || !name.chars().all(letters) {
            let text = format!(
                "`{name}` is no name of a document; allowed: letters, digits, `_`, `-` and `.`, with `.md` at its end"
            );
            return Err(problem(&table.file, text));
        }
        if name == "report.md" {
            let text = "`report.md` is the report itself; give the document another name";
            return Err(problem(&table.file, text));
        }
    }
    Ok(())
}

fn resource(file: &File, table: &ResourceTable, scenarios: &[&str]) -> Result<(), Problem> {
    for name in &table.scenarios {
        known(name, scenarios, "scenario")?;
    }
    if table.value.is_some() != table.parts.is_empty() {
        return Err(problem(&table.id, "needs either `value` or `parts`"));
    }
    let derived: Vec<&str> = file
        .derive
        .iter()
        .map(|table| table.id.get_ref().as_str())
        .collect();
    for name in table.values() {
        known(name, &derived, "derived value")?;
    }
    if let Some(limit) = &table.limit {
        let text = plain(limit.get_ref());
        placeholders_in(file, limit, &text, &[])?;
        let positive = number(limit.get_ref()).is_some_and(|number| number > 0.0);
        if !positive && text != PROCESSORS && !text.contains('{') {
            let text = format!(
                "`{text}` is no limit; allowed: a number above 0, \"${{NAME}}\", \"{{name}}\", \"{PROCESSORS}\""
            );
            return Err(problem(limit, text));
        }
    }
    match (&table.at, &table.limit) {
        (Some(at), None) => Err(problem(at, "`at` is a share of `limit`, which is missing")),
        (Some(at), Some(_)) if !(*at.get_ref() > 0.0 && *at.get_ref() <= 1.0) => Err(problem(
            at,
            format!("is {}; allowed: a share above 0 and up to 1", at.get_ref()),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::suite::tests::suite;

    #[test]
    fn a_resource_takes_derived_values_and_a_limit_above_nothing() {
        let refused = |rest: &str| {
            let text = format!(
                "[[scenario]]\nid = \"smoke\"\nscript = \"s.js\"\nlimit = \"30s\"\n\
                 [[derive]]\nid = \"used\"\nfrom = [\"summary.metrics.vus.values.max\"]\nhow = \"copy\"\n{rest}"
            );
            suite(&text).err().map(|error| error.to_string())
        };
        let table = |rest: &str| {
            let text = refused(&format!("[[resource]]\nid = \"r\"\ntitle = \"R\"\n{rest}"));
            text.unwrap_or_default()
        };
        assert_eq!(table("value = \"used\"\nlimit = 5\nat = 0.8\n"), "");
        assert_eq!(
            table("parts = { a = \"used\" }\nlimit = \"processors\"\n"),
            ""
        );
        for (rest, expected) in [
            ("limit = 5\n", "needs either `value` or `parts`"),
            (
                "value = \"used\"\nparts = { a = \"used\" }\n",
                "needs either `value` or `parts`",
            ),
            ("value = \"usde\"\n", "did you mean `used`?"),
            ("value = \"used\"\nlimit = 0\n", "`0` is no limit"),
            ("value = \"used\"\nlimit = \"many\"\n", "`many` is no limit"),
            ("value = \"used\"\nat = 0.5\n", "which is missing"),
            ("value = \"used\"\nlimit = 1\nat = 2.0\n", "is 2; allowed"),
            (
                "value = \"used\"\nscenarios = [\"smok\"]\n",
                "did you mean `smoke`?",
            ),
        ] {
            let text = table(rest);
            assert!(text.contains(expected), "{rest}: {text}");
        }
        let report =
            "[report]\nformats = []\nsections = []\n[[report.document]]\ntemplate = \"t.md\"\n";
        for (name, expected) in [
            ("a/b.md", "no name of a document"),
            ("plan.json", "no name of a document"),
            ("report.md", "the report itself"),
        ] {
            let text = refused(&format!("{report}file = \"{name}\"\n")).unwrap_or_default();
            assert!(text.contains(expected), "{name}: {text}");
        }
    }
}
