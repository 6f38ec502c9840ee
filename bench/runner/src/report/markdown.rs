//! The Markdown twin, short enough for a pull request.

use minijinja::value::Serde;
use minijinja::{Environment, context};

use super::figures::Figures;
use super::template;
use super::view::View;
use crate::compare::stored::Stored;
use crate::suite::section::Section;

const TEMPLATE: &str = include_str!("templates/report.md");

/// The report as Markdown.
///
/// # Errors
/// The template does not fit the figures.
pub(crate) fn render(
    figures: &Figures,
    stored: &Stored,
    sections: &[Section],
) -> anyhow::Result<String> {
    let mut environment = Environment::new();
    environment.set_syntax(template::syntax()?);
    environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    environment.add_filter("md", escaped);
    let template = environment.template_from_str(TEMPLATE)?;
    Ok(template.render(context! { view => Serde(View::of(figures, stored, sections)) })?)
}

/// A text that must neither end a table cell nor begin markup.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '*' | '_' | '`' | '<' | '>' | '[' | ']' | '\\' => {
                escaped.push('\\');
                escaped.push(c);
            }
            '\n' | '\r' => escaped.push(' '),
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_shown_as_text() {
        assert_eq!(escaped("a|b <c>\n*"), "a\\|b \\<c\\> \\*");
    }
}
