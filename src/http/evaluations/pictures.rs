//! An evaluation's result as pictures.

use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::http::AppState;
use crate::http::blocking::blocking;
use crate::http::error::Problem;
use crate::http::svg;
use crate::job::{Job, JobState};
use crate::picture::{self, Picture};

/// Which picture.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PictureQuery {
    /// With `.svg`: `roc`, `nonconformity`, `nll`, `completion`, `edges-and-non-edges` or `clusters`; all of them when absent.
    #[param(example = "roc")]
    picture: Option<String>,
}

/// # Errors
/// 400 for a picture that isn't; 409 while there is no result.
pub(super) async fn answer(state: &AppState, job: Job, query: PictureQuery) -> Result<Response, Problem> {
    let picture = query.picture.as_deref().map(parse).transpose()?;
    if !matches!(job.state, JobState::Succeeded { .. }) {
        let detail = format!("evaluation {} is {}: it has no result to draw", job.id, job.state.as_str());
        return Err(Problem::conflict(detail));
    }
    let report = state.store.evaluation_report(job.id).await?;
    svg::answer(blocking(move || picture::evaluation(&report, picture)).await?)
}

fn parse(text: &str) -> Result<Picture, Problem> {
    text.parse().map_err(|()| {
        let known: Vec<&str> = Picture::ALL.into_iter().map(Picture::as_str).collect();
        Problem::bad_request(format!("picture: `{text}` is none of {}", known.join(", ")))
    })
}
