//! Answers that are pictures.

use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::error::Problem;
use crate::picture::PictureError;

/// A picture, to be shown where it is: no script in it would run.
///
/// # Errors
/// 500 when it couldn't be drawn.
pub(super) fn answer(picture: Result<String, PictureError>) -> Result<Response, Problem> {
    let svg = picture.map_err(|error| Problem::internal(&error))?;
    let headers = [(header::CONTENT_TYPE, "image/svg+xml"), (header::CONTENT_SECURITY_POLICY, "default-src 'none'")];
    Ok((headers, svg).into_response())
}
