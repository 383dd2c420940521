//! Problem details (RFC 9457), and the one place that gives errors their status.

use axum::response::{IntoResponse, Response};

use crate::graph::format::Located;

/// An error as clients see it. `request_id` and `instance` are filled in by the outermost layer.
#[derive(Debug, Clone)]
pub struct Problem {
    pub status: axum::http::StatusCode,
    /// A stable word; the `type` is made of it.
    pub code: &'static str,
    pub title: &'static str,
    pub detail: String,
    pub errors: Vec<Located>,
    /// Whole seconds for `Retry-After`.
    pub retry_after: Option<u64>,
}

impl Problem {
    /// 404.
    #[must_use]
    pub fn not_found(_detail: impl Into<String>) -> Self {
        todo!()
    }

    /// 422 with the places that make no sense.
    #[must_use]
    pub fn invalid(_errors: Vec<Located>) -> Self {
        todo!()
    }

    /// 409.
    #[must_use]
    pub fn conflict(_detail: impl Into<String>) -> Self {
        todo!()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        todo!()
    }
}

impl From<crate::store::StoreError> for Problem {
    fn from(_error: crate::store::StoreError) -> Self {
        todo!()
    }
}

impl From<crate::scorer::PermitError> for Problem {
    fn from(_error: crate::scorer::PermitError) -> Self {
        todo!()
    }
}

impl From<crate::scorer::ScoreError> for Problem {
    fn from(_error: crate::scorer::ScoreError) -> Self {
        todo!()
    }
}
