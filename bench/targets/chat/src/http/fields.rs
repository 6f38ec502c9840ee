//! Bodies as named texts, whatever their content type says they are.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::multipart::MultipartError;
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use serde_json::{Map, Value};

use super::{Failure, failure};

/// The fields of a body: a JSON object, a form, or several parts.
///
/// Load scripts send forms that they call JSON, so that what a body is goes by how it begins. Only several parts have to be
/// called what they are, as the border between them is told there.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Fields(BTreeMap<String, String>);

impl Fields {
    /// The first of these fields that says something.
    pub(crate) fn any(&self, names: &[&str]) -> Option<&str> {
        names
            .iter()
            .filter_map(|&name| self.0.get(name))
            .map(String::as_str)
            .find(|value| !value.is_empty())
    }

    /// The same, or the answer for where there is none.
    pub(crate) fn require(&self, names: &[&str]) -> Result<&str, Failure> {
        self.any(names).ok_or_else(|| {
            let got: Vec<&str> = self.0.keys().map(String::as_str).collect();
            let got = if got.is_empty() {
                "no fields".to_owned()
            } else {
                format!("fields {}", got.join(", "))
            };
            let wanted = names.join(" or ");
            let error = format!("expected {wanted} in a form or a JSON object; got {got}");
            failure(StatusCode::BAD_REQUEST, error)
        })
    }

    /// Those of a body that may be anything: none where it cannot be read.
    pub(super) fn of_any(body: &[u8]) -> Self {
        Self::read(body).unwrap_or_default()
    }

    fn read(body: &[u8]) -> Result<Self, serde_json::Error> {
        if body.trim_ascii_start().starts_with(b"{") {
            let object: Map<String, Value> = serde_json::from_slice(body)?;
            let texts = object.into_iter().map(|(name, value)| match value {
                Value::String(text) => (name, text),
                Value::Null => (name, String::new()),
                other => (name, other.to_string()),
            });
            return Ok(Self(texts.collect()));
        }
        Ok(Self(form_urlencoded::parse(body).into_owned().collect()))
    }
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        if !is_multipart(&request) {
            let body = Bytes::from_request(request, state).await;
            let body = body.map_err(|why| failure(why.status(), why.body_text()))?;
            return Self::read(&body).map_err(|error| {
                let error = format!("expected a form or a JSON object: {error}");
                failure(StatusCode::BAD_REQUEST, error)
            });
        }
        let mut parts = parts_of(request, state).await?;
        let mut fields = BTreeMap::new();
        while let Some(part) = parts.next_field().await.map_err(|why| unreadable(&why))? {
            let name = part.name().unwrap_or_default().to_owned();
            let body = part.bytes().await.map_err(|why| unreadable(&why))?;
            fields.insert(name, String::from_utf8_lossy(&body).into_owned());
        }
        Ok(Self(fields))
    }
}

/// Whether the content type names the border of several parts.
pub(super) fn is_multipart(request: &Request) -> bool {
    let kind = request.headers().get(CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.trim_start()
        .get(..10)
        .is_some_and(|start| start.eq_ignore_ascii_case("multipart/"))
}

/// The parts of a body that has several.
pub(super) async fn parts_of<S: Send + Sync>(
    request: Request,
    state: &S,
) -> Result<Multipart, Failure> {
    let parts = Multipart::from_request(request, state).await;
    parts.map_err(|why| failure(why.status(), why.body_text()))
}

/// The answer to parts that cannot be read: 413 where they are too long, 400 otherwise.
pub(super) fn unreadable(error: &MultipartError) -> Failure {
    failure(error.status(), error.body_text())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_and_objects_are_told_apart_by_their_beginning() {
        let expected = Fields(BTreeMap::from([
            ("email".to_owned(), "ann@example.com".to_owned()),
            ("stream".to_owned(), "false".to_owned()),
        ]));
        for body in [
            "email=ann%40example.com&stream=false",
            r#" {"email": "ann@example.com", "stream": false}"#,
        ] {
            let fields = Fields::read(body.as_bytes()).expect("body is readable");
            assert_eq!(fields, expected, "{body}");
        }
        assert_eq!(
            expected.any(&["username", "email"]),
            Some("ann@example.com")
        );
        assert!(expected.require(&["password"]).is_err());
        assert!(Fields::read(b"{\"email\"").is_err());
        assert_eq!(
            Fields::read(b"").expect("nothing is a form"),
            Fields::default()
        );
    }
}
