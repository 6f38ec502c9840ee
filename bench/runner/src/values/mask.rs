//! Secrets never reach the terminal, an error or the evidence.
//!
//! A secret is registered once, when its value is read; everything that leaves the program passes [`masked`].

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value as Json;

use super::address::without_passwords;

/// What stands in the place of a secret.
pub(crate) const MASK: &str = "***";

/// Shorter values stand in too many other words: masking them would hide more than it protects.
const LEAST: usize = 8;

static SECRETS: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// Words that everybody can read in the suite.
static PLAIN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Words that are no secrets, even where somebody gives one as a password, as `postgres`.
pub(crate) fn plain_words(words: Vec<String>) {
    let mut plain = PLAIN.lock().unwrap_or_else(PoisonError::into_inner);
    plain.extend(words);
}

/// Remembers a value that must never be shown, unless it is shorter than eight characters or a word of the suite. (A
/// password in an address needs no memory: [`masked`] knows its place.)
pub(crate) fn register(secret: &str) {
    // As it is read, without the line end of the file it comes from; output is masked line by line.
    let secret = secret.trim();
    if secret.contains('\n') {
        secret.lines().for_each(register);
    }
    let plain = PLAIN.lock().unwrap_or_else(PoisonError::into_inner);
    if secret.chars().count() < LEAST || plain.contains(secret) {
        return;
    }
    drop(plain);
    let mut secrets = SECRETS.lock().unwrap_or_else(PoisonError::into_inner);
    for spelling in spellings(secret) {
        if !secrets.contains(&spelling) {
            secrets.push(spelling);
        }
    }
    // A secret that contains another one must be replaced first.
    secrets.sort_by_key(|known| std::cmp::Reverse(known.len()));
}

/// What a value is called that opens a door.
const SECRET_NAMES: [&str; 9] = [
    "auth",
    "cookie",
    "credential",
    "key",
    "pass",
    "secret",
    "session",
    "sig",
    "token",
];

/// Whether what has this name, as a header or a part of a query, is a secret by its name.
fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|word| name.contains(word))
}

/// Remembers the value of a header or of a part of a query, of which nobody said whether it is secret: unless its name does not
/// say so and it is an ordinary word, as the `production` of a tenant, which masked would take the word out of everything.
pub(crate) fn register_named(name: &str, value: &str) {
    let letter = |c: char| c.is_ascii_lowercase() || "-_./".contains(c);
    if is_secret_name(name) || !value.trim().chars().all(letter) {
        register(value);
    }
}

/// As a secret stands in logs, queries and headers.
fn spellings(secret: &str) -> Vec<String> {
    // Logs and JSON write quotes and backslashes with their escapes, a log of JSON twice.
    let escaped = |text: &str| {
        let quoted = Json::from(text).to_string();
        quoted[1..quoted.len() - 1].to_owned()
    };
    let once = escaped(secret);
    // Go writes what HTML knows as code, other languages all that is not ASCII.
    let go = in_codes(&once, |c| "&<>".contains(c));
    let ascii = in_codes(&once, |c| !c.is_ascii());
    let mut all = vec![secret.to_owned()];
    for text in [once, go, ascii] {
        all.extend([escaped(&text), text]);
    }
    // In addresses and forms, by what each encodes.
    let mut encoded: Vec<String> = [
        &KEPT_IN_QUERIES,
        &KEPT_BY_COMPONENTS,
        &KEPT_IN_PATHS,
        &KEPT_BY_ADDRESSES,
        NON_ALPHANUMERIC,
    ]
    .map(|keeps| utf8_percent_encode(secret, keeps).to_string())
    .into();
    encoded.push(url::form_urlencoded::byte_serialize(secret.as_bytes()).collect());
    all.extend(encoded.iter().map(|text| lower_codes(text)));
    all.extend(encoded);
    // In pages.
    let page = secret.replace('&', "&amp;").replace('<', "&lt;");
    all.push(page.replace('>', "&gt;"));
    // In dumps.
    let hex = super::hash::hex(secret.as_bytes());
    all.extend([hex.to_ascii_uppercase(), hex]);
    // In headers, behind a name or by itself: the letters that follow from the secret alone, wherever it begins.
    for begins in 0..3 {
        let bytes = [&[0; 2][..begins], secret.as_bytes()].concat();
        let inner = (begins * 8).div_ceil(6)..bytes.len() * 8 / 6;
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            all.push(engine.encode(&bytes)[inner.clone()].to_owned());
        }
    }
    all
}

/// Letters as JSON writes them in codes, as `\u0026`.
fn in_codes(text: &str, which: impl Fn(char) -> bool) -> String {
    let code = |unit: &u16| format!("\\u{unit:04x}");
    let of = |c: char| match which(c) {
        true => c.encode_utf16(&mut [0; 2]).iter().map(code).collect(),
        false => c.to_string(),
    };
    text.chars().map(of).collect::<String>()
}

/// `%2F` as `%2f`.
fn lower_codes(text: &str) -> String {
    let mut parts = text.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let (code, rest) = part.split_at(part.len().min(2));
        format!("{text}%{}{rest}", code.to_ascii_lowercase())
    })
}

/// What Go and most libraries leave as it is.
const KEPT_IN_QUERIES: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');
/// What `encodeURIComponent` of scripts leaves as it is.
const KEPT_BY_COMPONENTS: AsciiSet = KEPT_IN_QUERIES
    .remove(b'!')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// What Go leaves as it is in paths.
const KEPT_IN_PATHS: AsciiSet = KEPT_IN_QUERIES
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b',')
    .remove(b'/')
    .remove(b':')
    .remove(b';')
    .remove(b'=')
    .remove(b'@');
/// What `encodeURI` of scripts leaves as it is.
const KEPT_BY_ADDRESSES: AsciiSet = KEPT_IN_PATHS
    .remove(b'!')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'?')
    .remove(b'#');

/// Registers the password of an address, as written and decoded; tells whether there is one.
pub(crate) fn register_url(address: &url::Url) -> bool {
    let Some(password) = address.password() else {
        return false;
    };
    register(password);
    register(&percent_decoded(password));
    true
}

/// The text with every registered secret, and every password of an address, replaced.
pub(crate) fn masked(text: &str) -> String {
    let secrets = SECRETS.lock().unwrap_or_else(PoisonError::into_inner);
    let text = secrets.iter().fold(text.to_owned(), |text, secret| {
        if text.contains(secret.as_str()) {
            text.replace(secret.as_str(), MASK)
        } else {
            text
        }
    });
    without_passwords(&without_tokens(text), MASK)
}

/// Whether a registered secret stands in the text.
pub(crate) fn is_told(text: &str) -> bool {
    let secrets = SECRETS.lock().unwrap_or_else(PoisonError::into_inner);
    secrets.iter().any(|secret| text.contains(secret.as_str()))
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

/// A JSON text as it is, unless a secret occurs in its strings: then these are masked, and only these, so that a secret
/// that looks like a number cannot spoil the figures, nor one with quotes hide behind their escapes.
pub(crate) fn masked_json(bytes: &[u8]) -> Vec<u8> {
    match hidden(bytes) {
        Ok(Some(value)) => format!("{value:#}\n").into_bytes(),
        Ok(None) => bytes.to_vec(),
        Err(_) => masked(&String::from_utf8_lossy(bytes)).into_bytes(),
    }
}

/// The same for a text of one line, without its end.
pub(crate) fn masked_json_line(line: &str) -> String {
    match hidden(line.as_bytes()) {
        Ok(Some(value)) => value.to_string(),
        Ok(None) => line.to_owned(),
        Err(_) => masked(line),
    }
}

/// The masked value; `None` if there is nothing to mask.
fn hidden(bytes: &[u8]) -> serde_json::Result<Option<Json>> {
    let mut value: Json = serde_json::from_slice(bytes)?;
    Ok(mask_strings(&mut value).then_some(value))
}

fn mask_strings(value: &mut Json) -> bool {
    match value {
        Json::String(text) => {
            let hidden = masked(text);
            let differs = hidden != *text;
            *text = hidden;
            differs
        }
        Json::Array(items) => items
            .iter_mut()
            .fold(false, |any, item| mask_strings(item) | any),
        Json::Object(fields) => {
            let mut any = fields
                .values_mut()
                .fold(false, |any, field| mask_strings(field) | any);
            if fields.keys().any(|name| masked(name) != *name) {
                any = true;
                let own = std::mem::take(fields).into_iter();
                *fields = own.map(|(name, field)| (masked(&name), field)).collect();
            }
            any
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => false,
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

/// An address of which only the place is known to be no secret, for display: the password (or the user, where there is none) and the
/// values of its query are replaced, and remembered.
pub(crate) fn address_alone(mut address: url::Url) -> String {
    register_url(&address);
    if !address.username().is_empty() && address.password().is_none() {
        // Of some services a token stands there.
        register(&percent_decoded(address.username()));
        register(address.username());
        let _ = address.set_username(MASK);
    }
    if address.password().is_some() {
        let _ = address.set_password(Some(MASK));
    }
    for pair in address.query().unwrap_or_default().split('&') {
        match pair.split_once('=') {
            Some((name, value)) => register_named(name, value),
            // What stands alone may be a token.
            None => register(pair),
        }
    }
    let names: Vec<String> = address
        .query_pairs()
        .map(|(name, value)| {
            register_named(&name, &value);
            let known = if value.is_empty() { "" } else { name.as_ref() };
            if known.is_empty() {
                MASK.to_owned()
            } else {
                format!("{known}={MASK}")
            }
        })
        .collect();
    if address.query().is_some() {
        address.set_query(Some(&names.join("&")));
    }
    address.to_string()
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
    fn of_an_address_alone_the_place_is_shown() {
        let address = "https://us-er-token@h:1/p?a=short&token=query%2Ftoken&alone-token";
        let address = url::Url::parse(address).expect("valid");
        assert_eq!(
            address_alone(address),
            format!("https://{MASK}@h:1/p?a={MASK}&token={MASK}&{MASK}")
        );
        assert_eq!(
            masked("us-er-token query/token query%2Ftoken alone-token short"),
            format!("{MASK} {MASK} {MASK} {MASK} short")
        );
    }

    #[test]
    fn ordinary_words_that_nobody_calls_secret_stay_readable() {
        let address = "https://h:1/p?tenant=observability&api_key=letters-alone&name=With4Digits";
        let address = url::Url::parse(address).expect("valid");
        assert_eq!(
            address_alone(address),
            format!("https://h:1/p?tenant={MASK}&api_key={MASK}&name={MASK}")
        );
        assert_eq!(
            masked("observability letters-alone With4Digits"),
            format!("observability {MASK} {MASK}")
        );
    }

    #[test]
    fn longer_secrets_are_replaced_first() {
        register("abc-mask");
        register("abc-mask-and-more");
        assert_eq!(
            masked("abc-mask-and-more abc-mask"),
            format!("{MASK} {MASK}")
        );
    }

    #[test]
    fn a_secret_from_a_file_is_known_without_its_line_end_and_line_by_line() {
        register("hunter2-mounted\r\n");
        register("first-line-of-a-key\nsecond-line-of-a-key");
        assert_eq!(
            masked("hunter2-mounted and second-line-of-a-key"),
            format!("{MASK} and {MASK}")
        );
    }

    #[test]
    fn a_secret_that_looks_like_a_number_leaves_the_figures() {
        register("90210902");
        register("quote\"d-word");
        let json =
            br#"{"count":90210902,"text":"code 90210902","key quote\"d-word":"quote\"d-word"}"#;
        let value: Json = serde_json::from_slice(&masked_json(json)).expect("still JSON");
        assert_eq!(
            value,
            serde_json::json!({ "count": 90_210_902, "text": "code ***", "key ***": "***" })
        );
        assert_eq!(masked_json(b"{ \"a\": 1 }"), b"{ \"a\": 1 }");
    }

    #[test]
    fn a_secret_is_known_in_addresses_forms_and_headers() {
        let secret = "p/ss w+rd&ünd ~(more)";
        register(secret);
        let encoded = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        for text in [
            "?p=p%2Fss%20w%2Brd%26%C3%BCnd%20~%28more%29",
            "?p=p%2fss%20w%2brd%26%c3%bcnd%20~%28more%29",
            "?p=p%2Fss%20w%2Brd%26%C3%BCnd%20~(more)",
            "p=p%2Fss+w%2Brd%26%C3%BCnd+%7E%28more%29&q=1",
        ] {
            let hidden = masked(text);
            assert!(hidden.contains(MASK) && !hidden.contains("ss"), "{hidden}");
        }
        for name in ["", "a:", "me:", "user:"] {
            let header = format!(
                "Authorization: Basic {}",
                encoded(&format!("{name}{secret}"))
            );
            let hidden = masked(&header);
            let kept = hidden
                .split_once("Basic ")
                .expect("a header")
                .1
                .replace(MASK, "");
            // What is left is of the name, and of the letters that both share.
            assert!(kept.len() <= encoded(name).len() + 4, "{name}: {hidden}");
        }
    }

    #[test]
    fn a_secret_is_known_in_the_codes_of_json_pages_and_dumps() {
        register("pa&ss‹wörd>/x=1!Z");
        for text in [
            r#"{"p":"pa\u0026ss‹wörd\u003e/x=1!Z"}"#,
            r#"{"p":"pa&ss\u2039w\u00f6rd>/x=1!Z"}"#,
            "GET /pa&ss%E2%80%B9w%C3%B6rd%3E/x=1%21Z",
            "GET /pa&ss%E2%80%B9w%C3%B6rd%3E/x=1!Z",
            "<p>pa&amp;ss‹wörd&gt;/x=1!Z</p>",
            "7061267373e280b977c3b672643e2f783d31215a",
            "7061267373E280B977C3B672643E2F783D31215A",
        ] {
            let hidden = masked(text);
            assert!(hidden.contains(MASK) && !hidden.contains("pa"), "{hidden}");
            assert!(!hidden.contains("7061"), "{hidden}");
        }
    }

    #[test]
    fn short_values_and_words_of_the_suite_hide_nothing() {
        plain_words(vec!["postgres".to_owned()]);
        for word in ["postgres", "short12", ""] {
            register(word);
        }
        let text = "postgres at short12";
        assert_eq!(masked(text), text);
        assert_eq!(
            masked("postgres://postgres:short12@h"),
            format!("postgres://postgres:{MASK}@h"),
            "its place tells a password"
        );
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
