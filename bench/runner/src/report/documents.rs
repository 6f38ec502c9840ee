//! Texts for people that a suite has filled from the evidence of a plan: its templates, and what they may take.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use minijinja::value::{Serde, Value, ValueKind};
use minijinja::{Environment, UndefinedBehavior, context};

use super::figures::Figures;
use super::markdown::escaped;
use super::template;
use crate::compare::stored::Stored;
use crate::suite::resource::DocumentTable;
use crate::values::text::figure;

/// What stands where the evidence has no value.
const NOTHING: &str = "–";

/// The text of a document.
///
/// # Errors
/// The template cannot be read, or does not fit the evidence.
pub(super) fn render(
    table: &DocumentTable,
    figures: &Figures,
    stored: &Stored,
) -> anyhow::Result<String> {
    let suite = &stored.suite;
    let kept = suite.path.with_file_name(table.kept());
    // Of a single run there is no plan, and so no copy.
    let path = if kept.is_file() {
        kept
    } else {
        suite.resolve(table.template.get_ref())
    };
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let mut environment = Environment::new();
    environment.set_syntax(template::syntax()?);
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment.set_formatter(|out, _, value| {
        let text = match (value.kind(), f64::try_from(value.clone())) {
            (ValueKind::Undefined | ValueKind::None, _) => NOTHING.to_owned(),
            (ValueKind::Number, Ok(number)) => figure(number),
            _ => value.to_string(),
        };
        Ok(out.write_str(&text)?)
    });
    environment.add_filter("md", |text: String| escaped(&text));
    environment.add_filter("percent", |share: Value| {
        f64::try_from(share).map_or_else(
            |_| NOTHING.to_owned(),
            |share| format!("{} %", figure((100.0 * share).round())),
        )
    });
    environment.add_filter("from", linked);
    let root: Arc<Path> = stored.root.as_path().into();
    environment.add_function("text", move |folder: Value, file: String| {
        evidence(&root, folder.as_str()?, &file)
    });
    let figures = Serde(figures);
    let rendered = environment
        .render_str(&text, context! { figures })
        .with_context(|| format!("filling {}", path.display()))?;
    Ok(rendered)
}

/// A value with a link to the evidence that it is from. What is missing has none; the folder of the plan is "".
fn linked(value: &Value, folder: &Value, file: &str) -> String {
    let text = match (value.kind(), f64::try_from(value.clone())) {
        (ValueKind::Undefined | ValueKind::None, _) => return NOTHING.to_owned(),
        (ValueKind::Number, Ok(number)) => figure(number),
        _ => escaped(&value.to_string()),
    };
    let Some(folder) = folder.as_str().filter(|_| text != NOTHING) else {
        return text;
    };
    let place = [folder, file].join("/").replace(' ', "%20");
    format!("[{text}]({})", place.trim_start_matches('/'))
}

/// The text of a file of a run, if it is there; nothing outside the evidence.
fn evidence(root: &Path, folder: &str, file: &str) -> Option<String> {
    let path = root.join(folder).join(file);
    let inside = path.canonicalize().ok()?;
    if !inside.starts_with(root.canonicalize().ok()?) {
        return None;
    }
    fs::read_to_string(inside).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_told_with_where_it_is_from() {
        let of = |value: Value| linked(&value, &"main/1".into(), "derived.json");
        assert_eq!(of(Value::from(1234.5)), "[1,234](main/1/derived.json)");
        assert_eq!(of(Value::from("a|b")), "[a\\|b](main/1/derived.json)");
        assert_eq!(of(Value::UNDEFINED), "–");
        assert_eq!(of(Value::from(())), "–");
        let two = |folder: Value| linked(&Value::from(2), &folder, "plan.json");
        assert_eq!(two("".into()), "[2](plan.json)");
        assert_eq!(two(Value::from(())), "2", "nobody knows where it is from");
    }

    #[test]
    fn nothing_outside_the_evidence_is_read() {
        let folder = tempfile::tempdir().expect("folder");
        let root = folder.path().join("plan");
        fs::create_dir_all(root.join("run")).expect("made");
        fs::write(root.join("run/a.txt"), "own").expect("written");
        fs::write(folder.path().join("b.txt"), "other").expect("written");
        assert_eq!(evidence(&root, "run", "a.txt").as_deref(), Some("own"));
        assert_eq!(evidence(&root, "run", "../../b.txt"), None);
        assert_eq!(evidence(&root, "run", "c.txt"), None);
    }
}
