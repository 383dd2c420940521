//! Problem details (RFC 9457), and the one place that gives errors their status.

use std::error::Error;
use std::iter::successors;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::graph::format::Located;
use crate::scorer::{PermitError, ScoreError};
use crate::store::StoreError;

/// The media type of every error.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// A client is asked to wait this long where nothing better is known: a restart takes about that.
const RETRY_AFTER_RESTART: u64 = 5;

/// An error as clients see it. `request_id` and `instance` are filled in by the outermost layer.
#[derive(Debug, Clone)]
pub struct Problem {
    pub status: StatusCode,
    /// A stable word; the `type` is made of it.
    pub code: &'static str,
    pub title: &'static str,
    pub detail: String,
    pub errors: Vec<Located>,
    /// Whole seconds for `Retry-After`.
    pub retry_after: Option<u64>,
    /// What went wrong inside, for the log alone.
    cause: Option<Box<str>>,
}

impl Problem {
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, title, detail: detail.into(), errors: Vec::new(), retry_after: None, cause: None }
    }

    /// 400: a parameter or header that can't be read.
    #[must_use]
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", "The request cannot be read", detail)
    }

    /// 400: a body that is not what its content type says.
    #[must_use]
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed-body", "The body cannot be read", detail)
    }

    /// 401. The `WWW-Authenticate` header goes with it.
    #[must_use]
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "A valid key is needed", detail)
    }

    /// 403.
    #[must_use]
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "insufficient-scope", "The key's scope is too small", detail)
    }

    /// 404.
    #[must_use]
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    /// 405. The router adds the `Allow` header.
    #[must_use]
    pub fn method_not_allowed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed", detail)
    }

    /// 408: the client stopped sending.
    #[must_use]
    pub fn too_slow(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "upload-stalled", "The body did not arrive in time", detail)
    }

    /// 409.
    #[must_use]
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", "In conflict with what is there", detail)
    }

    /// 413.
    #[must_use]
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large", detail)
    }

    /// 415.
    #[must_use]
    pub fn unsupported_media_type(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Unsupported content type", detail)
    }

    /// 422 with the places that make no sense.
    #[must_use]
    pub fn invalid(errors: Vec<Located>) -> Self {
        let detail = match errors.as_slice() {
            [] => "the request makes no sense".to_owned(),
            [only] if only.pointer.is_empty() => only.detail.clone(),
            [only] => format!("{}: {}", only.pointer, only.detail),
            [first, rest @ ..] => {
                format!("{} places are wrong, the first: {}: {}", rest.len() + 1, first.pointer, first.detail)
            }
        };
        Self { errors, ..Self::unprocessable(detail) }
    }

    /// 422 with one place that makes no sense.
    #[must_use]
    pub fn invalid_at(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::invalid(vec![Located { pointer: pointer.into(), detail: detail.into() }])
    }

    /// 422 about the request as a whole, or about a part of it that is not JSON.
    #[must_use]
    pub fn unprocessable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "The request makes no sense", detail)
    }

    /// 429: a key is over its rate, or a queue is full.
    #[must_use]
    pub fn too_many_requests(detail: impl Into<String>, retry_after: std::time::Duration) -> Self {
        let problem =
            Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", "More than the service can take now", detail);
        Self { retry_after: Some(whole_seconds(retry_after)), ..problem }
    }

    /// 500. `cause` and what caused it go to the log, not to the client.
    #[must_use]
    pub fn internal(cause: &(dyn Error + 'static)) -> Self {
        let chain: Vec<String> = chain(cause).map(ToString::to_string).collect();
        Self::internal_because(chain.join(": "))
    }

    /// 500, where the cause is no error value.
    #[must_use]
    pub fn internal_because(cause: impl Into<String>) -> Self {
        let problem = Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Internal error",
            "the service failed; the log says why under this request's id",
        );
        Self { cause: Some(cause.into().into_boxed_str()), ..problem }
    }

    /// 503: starting or stopping.
    #[must_use]
    pub fn unavailable(detail: impl Into<String>) -> Self {
        let problem =
            Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The service cannot answer now", detail);
        Self { retry_after: Some(RETRY_AFTER_RESTART), ..problem }
    }

    /// 504.
    #[must_use]
    pub fn deadline(limit: std::time::Duration) -> Self {
        Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            "deadline",
            "The request's deadline passed",
            format!("no answer within {} s", limit.as_secs_f64()),
        )
    }

    /// What went wrong inside, for the log.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// The answer's body for the request `request_id` to the path `instance`.
    pub(super) fn body(&self, instance: &str, request_id: &str) -> ProblemBody {
        ProblemBody {
            r#type: format!("urn:graphkin:problem:{}", self.code),
            title: self.title.to_owned(),
            status: self.status.as_u16(),
            detail: self.detail.clone(),
            instance: instance.to_owned(),
            request_id: request_id.to_owned(),
            errors: self
                .errors
                .iter()
                .map(|place| ProblemPlace { pointer: place.pointer.clone(), detail: place.detail.clone() })
                .collect(),
        }
    }
}

/// An error, what caused it, what caused that.
pub(super) fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |&error| error.source())
}

/// At least one second: a `Retry-After: 0` invites the same answer again.
fn whole_seconds(duration: std::time::Duration) -> u64 {
    (duration.as_secs_f64().ceil() as u64).max(1)
}

/// The head of the answer. Its body is written by the outermost layer ([`super::request_id`]), which alone knows the
/// request's id and path; the problem travels there as an extension, past the layer that logs it.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"graphkin\""));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// An error (RFC 9457).
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemBody {
    /// A stable name of the sort of problem, `urn:graphkin:problem:` and a word. Branch on this or on `status`.
    #[schema(example = "urn:graphkin:problem:invalid")]
    r#type: String,
    /// What the sort of problem is, for people.
    #[schema(example = "The request makes no sense")]
    title: String,
    /// The HTTP status.
    #[schema(example = 422)]
    status: u16,
    /// What is wrong this time, for people.
    #[schema(example = "/edges/7/1: edge 7 names node 12, but the graph has 12 nodes (0 to 11)")]
    detail: String,
    /// The path asked for.
    #[schema(example = "/v1/families/aids-0/graphs")]
    instance: String,
    /// The request's id, as in the `x-request-id` header and the service's log.
    #[schema(example = "019a1b2c-3d4e-7f50-8a9b-0c1d2e3f4a5b")]
    request_id: String,
    /// The places that are wrong, where there are such. Bounded: a body that is wrong everywhere is not listed whole.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<ProblemPlace>,
}

/// A place in the body that was sent, and what is wrong there.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct ProblemPlace {
    /// A JSON Pointer (RFC 6901); empty for the whole document, or for what is not JSON.
    #[schema(example = "/edges/7/1")]
    pointer: String,
    #[schema(example = "edge 7 names node 12, but the graph has 12 nodes (0 to 11)")]
    detail: String,
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound { what } => Self::not_found(format!("there is no {what}")),
            StoreError::Conflict { what } => Self::conflict(what),
            StoreError::BadCursor => Self::bad_request(error.to_string()),
            StoreError::Fenced | StoreError::Damaged { .. } | StoreError::Database(_) | StoreError::Migration(_) => {
                Self::internal(&error)
            }
        }
    }
}

impl From<PermitError> for Problem {
    fn from(error: PermitError) -> Self {
        match error {
            PermitError::Overloaded { retry_after } => Self::too_many_requests(error.to_string(), retry_after),
            PermitError::TooCostly { .. } | PermitError::TooLarge { .. } => Self::unprocessable(error.to_string()),
            PermitError::Stopping => Self::unavailable(error.to_string()),
        }
    }
}

impl From<ScoreError> for Problem {
    fn from(error: ScoreError) -> Self {
        match error {
            ScoreError::Unavailable(..) | ScoreError::Failed => Self::internal(&error),
            ScoreError::DeviceLost | ScoreError::Stopping => Self::unavailable(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::id::DetectorId;

    #[test]
    fn a_cause_stays_inside() {
        let error = StoreError::Database(sqlx_error());
        let problem = Problem::from(error);
        assert_eq!(problem.status, StatusCode::INTERNAL_SERVER_ERROR);
        let cause = problem.cause().expect("a cause for the log");
        assert!(cause.contains("the database failed: "), "{cause}");
        let shown = serde_json::to_string(&problem.body("/v1/families", "r1")).unwrap();
        assert!(!shown.contains("database"), "{shown}");
    }

    /// A database error with a source, made the only way that needs no database.
    fn sqlx_error() -> sqlx::Error {
        sqlx::Error::Io(std::io::Error::other("/secret/path/graphkin.db is gone"))
    }

    #[test]
    fn retry_after_is_at_least_a_second_and_rounded_up() {
        for (given, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (61_000, 61)] {
            let error = PermitError::Overloaded { retry_after: Duration::from_millis(given) };
            let response = Problem::from(error).into_response();
            assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
            assert_eq!(response.headers()[header::RETRY_AFTER], seconds.to_string());
        }
    }

    #[test]
    fn every_error_of_other_rooms_has_its_status() {
        let id = DetectorId::new(uuid::Uuid::nil());
        let missing = std::sync::Arc::new(crate::artifact::ArtifactError::Missing(id));
        let cases: Vec<(Problem, u16)> = vec![
            (StoreError::NotFound { what: "family `x`".into() }.into(), 404),
            (StoreError::Conflict { what: "taken".into() }.into(), 409),
            (StoreError::BadCursor.into(), 400),
            (StoreError::Fenced.into(), 500),
            (PermitError::TooCostly { cost: 2, limit: 1 }.into(), 422),
            (PermitError::TooLarge { bytes: 2, limit: 1 }.into(), 422),
            (PermitError::Stopping.into(), 503),
            (ScoreError::Unavailable(id, missing).into(), 500),
            (ScoreError::Failed.into(), 500),
            (ScoreError::DeviceLost.into(), 503),
            (ScoreError::Stopping.into(), 503),
        ];
        for (problem, status) in cases {
            assert_eq!(problem.status.as_u16(), status, "{problem:?}");
            assert_eq!(problem.retry_after.is_some(), status == 503, "{problem:?}");
        }
    }

    #[test]
    fn the_first_of_several_places_is_in_the_detail() {
        let place = |pointer: &str| Located { pointer: pointer.to_owned(), detail: "no".to_owned() };
        assert_eq!(Problem::invalid(vec![place("/a")]).detail, "/a: no");
        assert_eq!(Problem::invalid(vec![place("")]).detail, "no");
        assert_eq!(Problem::invalid(vec![place("/a"), place("/b")]).detail, "2 places are wrong, the first: /a: no");
    }
}
