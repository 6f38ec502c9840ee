//! What a suite's own text says about secrets.

use std::ops::Range;

use super::schema::File;

/// The words of a suite's text but for the defaults of its secrets: what stands elsewhere as well hides nothing.
pub(super) fn words(file: &File, text: &str) -> Vec<String> {
    let of_word = |c: char| c.is_alphanumeric() || "_-.%+@!$&*~".contains(c);
    let secret = file.env.values().filter(|table| table.secret);
    let places: Vec<Range<usize>> = secret
        .filter_map(|table| Some(table.default.as_ref()?.span()))
        .collect();
    let mut words = Vec::new();
    let mut from = 0;
    for word in text.split(|c| !of_word(c)) {
        if !word.is_empty() && !places.iter().any(|place| place.contains(&from)) {
            words.push(word.to_owned());
        }
        from += word.len();
        from += text[from..].chars().next().map_or(0, char::len_utf8);
    }
    words
}
