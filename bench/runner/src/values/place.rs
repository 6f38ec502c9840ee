//! Places in JSON that somebody else wrote.

use serde_json::Value as Json;

/// What stands at names joined by dots; in a list the name is a number, from 0 on.
pub(crate) fn at<'a>(answer: &'a Json, path: &str) -> Option<&'a Json> {
    path.split('.').try_fold(answer, |place, name| match place {
        Json::Array(items) => items.get(name.parse::<usize>().ok()?),
        place => place.get(name),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_lead_to_a_place() {
        let answer = serde_json::json!({ "a": [{ "b": 1 }, { "b": 2 }] });
        assert_eq!(at(&answer, "a.1.b"), Some(&Json::from(2)));
        for path in ["a.2.b", "a.b", "a.-1", "", "c"] {
            assert_eq!(at(&answer, path), None, "{path}");
        }
    }
}
