//! Which node has a key: of all that are there the one whose name and the key make the largest hash. When one goes, nothing but its
//! own keys moves.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// The one of these that has the key.
pub(crate) fn owner<'a, T>(
    key: &str,
    of: impl IntoIterator<Item = &'a T>,
    name: impl Fn(&T) -> &str,
) -> Option<&'a T> {
    of.into_iter().max_by_key(|&candidate| {
        let mut hasher = DefaultHasher::new();
        (key, name(candidate)).hash(&mut hasher);
        hasher.finish()
    })
}

/// Whether a list such as "node1,node3@localhost" names this node, with or without its host.
pub(crate) fn named(list: &str, name: &str) -> bool {
    let short = name.split('@').next().unwrap_or(name);
    let mut names = list.split(',').map(str::trim);
    names.any(|listed| listed == name || listed == short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_keys_of_the_one_that_went_move() {
        let all = ["node1", "node2", "node3", "node4", "node5"].map(String::from);
        let left: Vec<String> = all
            .iter()
            .filter(|name| *name != "node3")
            .cloned()
            .collect();
        let of = |key: &str, names: &[String]| owner(key, names, String::as_str).cloned();
        let keys: Vec<String> = (0..1000).map(|number| format!("user_{number}")).collect();
        let mut moved = 0;
        for key in &keys {
            let (before, after) = (of(key, &all), of(key, &left));
            if before.as_deref() == Some("node3") {
                moved += 1;
            } else {
                assert_eq!(before, after, "{key}");
            }
        }
        assert!((120..280).contains(&moved), "{moved} of 1000 were node3's");
        assert_eq!(of("a", &[]), None);
    }

    #[test]
    fn nodes_are_named_with_and_without_their_host() {
        for (list, expected) in [
            ("node1", true),
            ("node3, node1@localhost", true),
            ("", false),
            ("node10", false),
            ("node", false),
        ] {
            assert_eq!(named(list, "node1@localhost"), expected, "{list}");
        }
    }
}
