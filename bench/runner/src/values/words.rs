//! Words for messages.

/// `, did you mean …?` if a known name is near enough to be a slip of the finger.
pub(crate) fn suggestion(name: &str, known: &[&str]) -> String {
    known
        .iter()
        .map(|candidate| {
            (
                strsim::normalized_damerau_levenshtein(name, candidate),
                candidate,
            )
        })
        .filter(|(likeness, _)| *likeness > 0.5)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or_else(String::new, |(_, candidate)| {
            format!(", did you mean `{candidate}`?")
        })
}
