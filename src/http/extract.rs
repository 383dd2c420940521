//! Extractors whose rejections are located problems.

use std::fmt;
use std::marker::PhantomData;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use serde_path_to_error::{Path as ErrorPath, Segment};

use super::error::{Problem, chain};

/// A JSON body. 415 for another content type, 400 for what is not JSON, 422 with a JSON Pointer for what doesn't fit `T`.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        expect_json(request.headers())?;
        let bytes = read_body(request).await?;
        from_json(&bytes).map(Self)
    }
}

/// The parts of the path. 404 for what can't be one: it names nothing, so the store need not be asked.
#[derive(Debug)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        axum::extract::Path::<T>::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Path(inner)| Self(inner))
            .map_err(|rejection| Problem::not_found(format!("nothing is here: {}", rejection.body_text())))
    }
}

/// The query string. 400 for what doesn't fit `T`.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        axum::extract::Query::<T>::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Query(inner)| Self(inner))
            .map_err(|rejection| Problem::bad_request(rejection.body_text()))
    }
}

/// The essence of the request's content type, in lower case and without parameters.
#[must_use]
pub fn content_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let essence = value.split(';').next().unwrap_or_default();
    Some(essence.trim().to_ascii_lowercase())
}

/// # Errors
/// 415 unless the content type is JSON.
pub fn expect_json(headers: &HeaderMap) -> Result<(), Problem> {
    match content_type(headers).as_deref() {
        Some("application/json") => Ok(()),
        other => Err(unsupported(other, "application/json")),
    }
}

/// 415 naming what would have been taken.
#[must_use]
pub fn unsupported(given: Option<&str>, expected: &str) -> Problem {
    Problem::unsupported_media_type(match given {
        Some(given) => format!("`{given}` is not taken here; send {expected}"),
        None => format!("the request has no content type; send {expected}"),
    })
}

/// The whole body, within the limit that the layer `limits` set for it.
///
/// # Errors
/// 413 over the limit, 408 when it stalls, 400 when it breaks off.
pub async fn read_body(request: Request) -> Result<Bytes, Problem> {
    let body = request.into_body().collect().await.map_err(|error| body_problem(&error))?;
    Ok(body.to_bytes())
}

/// What a body's error means, found in its chain of sources: the layers wrap them.
#[must_use]
pub fn body_problem(error: &(dyn std::error::Error + 'static)) -> Problem {
    chain(error)
        .find_map(|cause| {
            if cause.is::<LengthLimitError>() {
                Some(Problem::too_large("the body is over the limit for requests of this content type"))
            } else if cause.is::<tower_http::timeout::TimeoutError>() {
                Some(Problem::too_slow("no more of the body arrived in time"))
            } else {
                None
            }
        })
        .unwrap_or_else(|| Problem::malformed("the body broke off"))
}

/// An object, whose fields are those of `T`. serde would take an array for it, too, of its fields in their order.
#[derive(Debug)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = T;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields))
            }
        }

        deserializer.deserialize_map(Fields(PhantomData)).map(Self)
    }
}

/// Reads an object.
///
/// # Errors
/// 400 for what is not JSON, 422 with a JSON Pointer for what doesn't fit `T`.
pub fn from_json<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let Object(value) = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let pointer = json_pointer(error.path());
        json_problem(error.inner(), pointer)
    })?;
    deserializer.end().map_err(|error| json_problem(&error, String::new()))?;
    Ok(value)
}

fn json_problem(error: &serde_json::Error, pointer: String) -> Problem {
    match error.classify() {
        Category::Data => Problem::invalid_at(pointer, without_position(error)),
        Category::Syntax | Category::Eof | Category::Io => Problem::malformed(format!("not JSON: {error}")),
    }
}

/// serde's message without its "at line 1 column 7": the pointer says where.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// The path as a JSON Pointer (RFC 6901).
fn json_pointer(path: &ErrorPath) -> String {
    path.iter()
        .filter_map(|segment| match segment {
            Segment::Seq { index } => Some(index.to_string()),
            Segment::Map { key } => Some(key.replace('~', "~0").replace('/', "~1")),
            // An enum's variant is a key of the document only where it is externally tagged, and a Map then too.
            Segment::Enum { .. } | Segment::Unknown => None,
        })
        .fold(String::new(), |pointer, segment| pointer + "/" + &segment)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::StatusCode;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[serde(rename = "a/b~c")]
        inner: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        count: u32,
    }

    fn problem(text: &str) -> Problem {
        from_json::<Outer>(text.as_bytes()).expect_err("a problem")
    }

    #[test]
    fn what_does_not_fit_is_located() {
        let cases = [
            (r#"{"a/b~c": [{"count": 1}, {"count": -1}]}"#, "/a~1b~0c/1/count"),
            (r#"{"a/b~c": [{"count": "x"}]}"#, "/a~1b~0c/0/count"),
            (r#"{"a/b~c": [{}]}"#, "/a~1b~0c/0"),
            (r#"{"a/b~c": [{"count": 1, "colour": 2}]}"#, "/a~1b~0c/0/colour"),
            ("[]", ""),
            (r#"[[{"count": 1}]]"#, ""),
            ("3", ""),
        ];
        for (text, pointer) in cases {
            let problem = problem(text);
            assert_eq!(problem.status, StatusCode::UNPROCESSABLE_ENTITY, "{text}");
            assert_eq!(problem.errors.len(), 1, "{text}");
            assert_eq!(problem.errors[0].pointer, pointer, "{text}");
            assert!(!problem.detail.contains("line"), "{}", problem.detail);
        }
    }

    #[test]
    fn what_is_not_json_is_400() {
        let deep = r#"{"a":"#.repeat(100_000);
        for text in ["", "{", "nope", r#"{"a/b~c": []} x"#, deep.as_str()] {
            let bytes = text.as_bytes();
            let problem = from_json::<serde_json::Value>(bytes).expect_err("a problem");
            assert_eq!(problem.status, StatusCode::BAD_REQUEST);
            assert!(problem.detail.starts_with("not JSON: "), "{}", problem.detail);
        }
        let not_utf8 = from_json::<serde_json::Value>(b"{\"a\": \"\xff\"}").expect_err("a problem");
        assert_eq!(not_utf8.status, StatusCode::BAD_REQUEST);
    }

    #[test]
    fn what_fits_is_read() {
        let outer: Outer = from_json(br#" {"a/b~c": [{"count": 7}]} "#).unwrap();
        assert_eq!(outer.inner[0].count, 7);
    }

    #[tokio::test]
    async fn another_content_type_is_415() {
        for given in [None, Some("text/plain"), Some("application/x-ndjson"), Some("\u{1f600}")] {
            let mut request = Request::new(Body::from("{}"));
            if let Some(given) = given {
                let value = axum::http::HeaderValue::from_bytes(given.as_bytes()).unwrap();
                request.headers_mut().insert(header::CONTENT_TYPE, value);
            }
            let problem = Json::<serde_json::Value>::from_request(request, &()).await.expect_err("a problem");
            assert_eq!(problem.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
        let request = Request::builder()
            .header(header::CONTENT_TYPE, "Application/JSON; charset=utf-8")
            .body(Body::from("{}"))
            .unwrap();
        assert!(Json::<serde_json::Value>::from_request(request, &()).await.is_ok());
    }
}
