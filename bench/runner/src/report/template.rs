//! How the templates of the reports are read.

/// Statements on lines of their own leave nothing behind.
pub(crate) fn syntax() -> Result<minijinja::syntax::SyntaxConfig, minijinja::Error> {
    minijinja::syntax::SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .keep_trailing_newline(true)
        .build()
}
