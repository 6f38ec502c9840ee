//! Secrets never reach the terminal, an error or the evidence.
//!
//! A secret is registered once, when its value is read; everything that leaves the program passes [`masked`].

use std::sync::{Mutex, PoisonError};

use serde_json::Value as Json;

/// What stands in the place of a secret.
pub(crate) const MASK: &str = "***";

static SECRETS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Remembers a value that must never be shown. Empty values are ignored.
pub(crate) fn register(secret: &str) {
    if secret.is_empty() {
        return;
    }
    let mut secrets = SECRETS.lock().unwrap_or_else(PoisonError::into_inner);
    if !secrets.iter().any(|known| known == secret) {
        secrets.push(secret.to_owned());
        // A secret that contains another one must be replaced first.
        secrets.sort_by_key(|known| std::cmp::Reverse(known.len()));
    }
}

/// Registers the password of an address, as written and decoded; tells whether there is one.
pub(crate) fn register_url(address: &url::Url) -> bool {
    let Some(password) = address.password() else {
        return false;
    };
    register(password);
    register(&percent_decoded(password));
    true
}

/// The text with every registered secret replaced.
pub(crate) fn masked(text: &str) -> String {
    let secrets = SECRETS.lock().unwrap_or_else(PoisonError::into_inner);
    let text = secrets.iter().fold(text.to_owned(), |text, secret| {
        text.replace(secret.as_str(), MASK)
    });
    without_tokens(text)
}

/// How every JSON web token begins: the encoded `{"`.
const TOKEN: &str = "eyJ";

/// The text with every JSON web token replaced: whoever prints one, it opens an account as a password does.
fn without_tokens(text: String) -> String {
    if !text.contains(TOKEN) {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(start) = rest.find(TOKEN) {
        let word = &rest[start..];
        let inside = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let end = word.find(|c| !inside(c)).unwrap_or(word.len());
        let is_token = word[..end].matches('.').count() == 2;
        out.push_str(&rest[..start]);
        out.push_str(if is_token { MASK } else { &word[..end] });
        rest = &word[end..];
    }
    out + rest
}

/// A JSON text as it is, unless a secret occurs in it: then its strings are masked, and only those, so that a secret
/// that looks like a number cannot spoil the figures.
pub(crate) fn masked_json(bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    let hidden = masked(&text);
    if hidden == text {
        return bytes.to_vec();
    }
    match serde_json::from_slice::<Json>(bytes) {
        Ok(mut value) => {
            mask_strings(&mut value);
            format!("{value:#}\n").into_bytes()
        }
        Err(_) => hidden.into_bytes(),
    }
}

fn mask_strings(value: &mut Json) {
    match value {
        Json::String(text) => *text = masked(text),
        Json::Array(items) => items.iter_mut().for_each(mask_strings),
        Json::Object(fields) => fields.values_mut().for_each(mask_strings),
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}

/// An address for display: whatever stands between the user and the host is replaced, also if it does not parse.
pub(crate) fn masked_address(text: &str) -> String {
    if let Ok(mut address) = url::Url::parse(text)
        && address.password().is_some()
        && address.set_password(Some(MASK)).is_ok()
    {
        return address.to_string();
    }
    match (text.find("://"), text.rfind('@')) {
        (Some(start), Some(end)) if start + 3 < end && url::Url::parse(text).is_err() => {
            format!("{}{MASK}{}", &text[..start + 3], &text[end..])
        }
        _ => text.to_owned(),
    }
}

fn percent_decoded(text: &str) -> String {
    url::form_urlencoded::parse(format!("v={}", text.replace('+', "%2B")).as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_of_an_address_is_masked_in_both_spellings() {
        let address =
            url::Url::parse("redis://app:s%40cret%2Bone@127.0.0.1:6380/2").expect("valid");
        assert!(register_url(&address));
        assert_eq!(
            masked("AUTH s@cret+one via s%40cret%2Bone"),
            format!("AUTH {MASK} via {MASK}")
        );
        assert_eq!(
            masked_address(address.as_str()),
            format!("redis://app:{MASK}@127.0.0.1:6380/2")
        );
    }

    #[test]
    fn longer_secrets_are_replaced_first() {
        register("abcmask");
        register("abcmask-and-more");
        assert_eq!(masked("abcmask-and-more abcmask"), format!("{MASK} {MASK}"));
    }

    #[test]
    fn a_secret_that_looks_like_a_number_leaves_the_figures() {
        register("90210");
        let json = br#"{"count":90210,"text":"code 90210"}"#;
        let value: Json = serde_json::from_slice(&masked_json(json)).expect("still JSON");
        assert_eq!(
            value,
            serde_json::json!({ "count": 90210, "text": "code ***" })
        );
        assert_eq!(masked_json(b"{ \"a\": 1 }"), b"{ \"a\": 1 }");
    }

    #[test]
    fn tokens_are_replaced_wherever_they_are_printed() {
        let line = r#"Authorization: Bearer eyJhbGciOi.eyJzdWIiOiJhIn0.c2ln-_ and {"token":"eyJh.eyJi.Yw"} but eyJust a word"#;
        assert_eq!(
            masked(line),
            r#"Authorization: Bearer *** and {"token":"***"} but eyJust a word"#
        );
    }

    #[test]
    fn addresses_without_password_stay() {
        assert_eq!(masked_address("redis://127.0.0.1"), "redis://127.0.0.1");
        assert_eq!(
            masked_address("redis://app:pw@[broken"),
            format!("redis://{MASK}@[broken")
        );
    }
}
