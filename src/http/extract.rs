//! Extractors whose rejections are located problems.

use axum::extract::{FromRequest, Request};
use serde::de::DeserializeOwned;

use super::error::Problem;

/// A JSON body. 415 for another content type, 400 for what is not JSON, 422 with a JSON Pointer for what doesn't fit `T`.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(_request: Request, _state: &S) -> Result<Self, Problem> {
        todo!()
    }
}
