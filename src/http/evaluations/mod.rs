//! Evaluations: jobs that compare a family's detectors with graphs of other families. `/v1/evaluations`.

mod pictures;
mod report;
mod wire;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::Event as Frame;
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::pictures::PictureQuery;
use self::wire::{Evaluation, EvaluationDetail, NewEvaluation};
use super::AppState;
use super::error::Problem;
use super::extract::{Json, Path, Query};
use super::jobs::events::{Followed, MAX_STREAMS, Streams};
use super::jobs::wire::{After, EventList};
use super::jobs::{self, RETRY_LOOK};
use super::page::{List, PageQuery, Pagination};
use crate::evaluate::{EvaluationSpec, NamedFamily, PinnedDetector};
use crate::graph::format::Located;
use crate::graph::split::SplitCounts;
use crate::id::JobId;
use crate::job::{Job, JobState, Task, TaskName};
use crate::model::Kind;
use crate::store::{FamilyOverview, NewJob, Page, StoreError};

const TASK: TaskName = TaskName::Evaluation;

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(create_evaluation))
        .routes(routes!(list_evaluations))
        .routes(routes!(get_evaluation, delete_evaluation))
        .routes(routes!(get_evaluation_events))
        .routes(routes!(cancel_evaluation))
        .routes(routes!(retry_evaluation))
        .layer(Extension(Streams::new(MAX_STREAMS)))
}

/// Evaluate a family's detectors
///
/// Queues a job, which scores the test graphs of `normal` and all graphs of the `anomalous` families as the service does,
/// and tells how well each detector, all of them together, and some floors that need no learning tell them apart. It is
/// pinned to the detectors that are active now. With an `Idempotency-Key`, sending the same request again gives the
/// evaluation that the first one made.
#[utoipa::path(post, path = "/v1/admin/evaluations", tag = "evaluations", operation_id = "create_evaluation",
    security(("key" = ["admin"])),
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters of your choice, one value for each evaluation you mean.")),
    request_body = NewEvaluation,
    responses(
        (status = 202, description = "It is queued.", body = Evaluation, headers(
            ("Location" = String, description = "Its path."),
            ("Retry-After" = u64, description = "How soon it is worth looking, in seconds."),
        )),
        (status = 400, description = "The body is not JSON, or the key is not one."),
        (status = 409, description = "The normal family has no active detector: train one first."),
        (status = 413, description = "The body is too large."),
        (status = 415, description = "The body is not `application/json`."),
        (status = 422, description = "A family that isn't there, has no graphs or is named twice; a normal family without train or test graphs; a kind without an active detector; or an `Idempotency-Key` that came with another request before."),
        (status = 429, description = "Too many jobs wait. `Retry-After` says when to come back."),
    ))]
async fn create_evaluation(
    State(state): State<AppState>,
    headers: HeaderMap,
    Json(body): Json<NewEvaluation>,
) -> Result<Response, Problem> {
    body.check()?;
    let idempotency = jobs::idempotency(&headers, &body)?;
    let normal = compared_family(&state, "/normal", &body.normal).await?;
    if normal.splits.train == 0 || normal.splits.test == 0 {
        let detail = format!("family `{}` has no train or no test graphs", body.normal);
        return Err(Problem::invalid_at("/normal", detail));
    }
    let mut anomalous = Vec::new();
    for (index, name) in body.anomalous.iter().enumerate() {
        let found = compared_family(&state, &format!("/anomalous/{index}"), name).await?;
        anomalous.push(NamedFamily { id: found.family.id, name: name.clone() });
    }
    let detectors = pinned_detectors(&state, &body.normal, body.kinds.as_deref()).await?;
    jobs::expect_room(&state).await?;
    let task = Task::Evaluation(EvaluationSpec { anomalous, detectors, seed: body.seed });
    let job = NewJob { family: normal.family.id, task, idempotency };
    let job = state.store.enqueue_job(job).await.map_err(|error| match error {
        StoreError::Conflict { what } => Problem::unprocessable(what),
        error => error.into(),
    })?;
    state.worker.wake();
    let location = format!("/v1/evaluations/{}", job.id);
    let headers = [(header::LOCATION, location), (header::RETRY_AFTER, RETRY_LOOK.to_owned())];
    Ok((StatusCode::ACCEPTED, headers, axum::Json(Evaluation::try_from(job)?)).into_response())
}

/// # Errors
/// 422 at `pointer` when the family isn't there or is empty.
async fn compared_family(state: &AppState, pointer: &str, name: &str) -> Result<FamilyOverview, Problem> {
    match state.store.family_overview(name).await {
        Ok(overview) if overview.splits == SplitCounts::default() => {
            Err(Problem::invalid_at(pointer, format!("family `{name}` has no graphs")))
        }
        Err(StoreError::NotFound { what }) => Err(Problem::invalid_at(pointer, format!("there is no {what}"))),
        found => Ok(found?),
    }
}

/// The family's active detectors, of these kinds where given.
///
/// # Errors
/// 409 without any; 422 for a kind that has none.
async fn pinned_detectors(
    state: &AppState,
    family: &str,
    kinds: Option<&[Kind]>,
) -> Result<Vec<PinnedDetector>, Problem> {
    let panel = state.store.panel(family).await?;
    if panel.detectors.is_empty() {
        return Err(Problem::conflict(format!(
            "family `{family}` has no active detector: train one by POST /v1/admin/training-jobs"
        )));
    }
    let has = |kind: &Kind| panel.detectors.iter().any(|active| active.kind == *kind);
    let absent: Vec<Located> = kinds
        .unwrap_or_default()
        .iter()
        .enumerate()
        .filter(|(_, kind)| !has(kind))
        .map(|(index, kind)| Located {
            pointer: format!("/kinds/{index}"),
            detail: format!("family `{family}` has no active {kind} detector"),
        })
        .collect();
    if !absent.is_empty() {
        return Err(Problem::invalid(absent));
    }
    let chosen = panel.detectors.iter().filter(|active| kinds.is_none_or(|kinds| kinds.contains(&active.kind)));
    Ok(chosen.map(|active| PinnedDetector { id: active.id, kind: active.kind }).collect())
}

/// List the evaluations
///
/// The newest first, without their results.
#[utoipa::path(get, path = "/v1/evaluations", tag = "evaluations", operation_id = "list_evaluations",
    security(("key" = ["read"])), params(PageQuery),
    responses(
        (status = 200, description = "A page of evaluations.", body = List<Evaluation>),
        (status = 400, description = "No such page."),
    ))]
async fn list_evaluations(State(state): State<AppState>, Pagination(page): Pagination) -> Result<Response, Problem> {
    let Page { items, next } = state.store.list_jobs(TASK, &page).await?;
    let items = items.into_iter().map(Evaluation::try_from).collect::<Result<Vec<_>, _>>()?;
    Ok(axum::Json(List::new(Page { items, next }, |evaluation| evaluation)).into_response())
}

/// Get an evaluation, or its pictures
///
/// With its result once it has succeeded. With `.svg` after the id, the result as pictures: one above the other, or the one
/// that `?picture=` names.
#[utoipa::path(get, path = "/v1/evaluations/{id}", tag = "evaluations", operation_id = "get_evaluation",
    security(("key" = ["read"])),
    params(("id" = String, Path, description = "Its id, with `.svg` after it for the pictures.", example = "019a1b2c-3d4e-7f50-8a9b-0c1d2e3f4a5b.svg"), PictureQuery),
    responses(
        (status = 200, description = "The evaluation.", content(
            (EvaluationDetail = "application/json"),
            (String = "image/svg+xml"),
        )),
        (status = 400, description = "There is no such picture."),
        (status = 404, description = "There is none of this id."),
        (status = 409, description = "It has no result to draw: it has not succeeded (yet)."),
    ))]
async fn get_evaluation(
    State(state): State<AppState>,
    Path(name): Path<String>,
    Query(query): Query<PictureQuery>,
) -> Result<Response, Problem> {
    match name.strip_suffix(".svg") {
        Some(id) => pictures::answer(&state, jobs::find(&state, TASK, parse_id(id)?).await?, query).await,
        None => {
            let job = jobs::find(&state, TASK, parse_id(&name)?).await?;
            let report = match job.state {
                JobState::Succeeded { .. } => Some(state.store.evaluation_report(job.id).await?),
                _ => None,
            };
            Ok(axum::Json(EvaluationDetail::new(Evaluation::try_from(job)?, report)).into_response())
        }
    }
}

fn parse_id(text: &str) -> Result<JobId, Problem> {
    text.parse().map_err(|_| Problem::not_found(format!("`{text}` is not the id of an evaluation")))
}

/// Delete an evaluation
///
/// With its history and its result.
#[utoipa::path(delete, path = "/v1/evaluations/{id}", tag = "evaluations", operation_id = "delete_evaluation",
    security(("key" = ["admin"])), params(("id" = uuid::Uuid, Path, description = "Its id.")),
    responses(
        (status = 204, description = "It is gone."),
        (status = 404, description = "There is none of this id."),
        (status = 409, description = "It is queued or running: cancel it first."),
    ))]
async fn delete_evaluation(State(state): State<AppState>, Path(id): Path<JobId>) -> Result<StatusCode, Problem> {
    state.store.delete_evaluation(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Follow an evaluation
///
/// As the events of a training job are followed: server-sent events, resumable by `Last-Event-ID`, a last `done` event with
/// the evaluation; or a list with `Accept: application/json`.
#[utoipa::path(get, path = "/v1/evaluations/{id}/events", tag = "evaluations",
    operation_id = "get_evaluation_events", security(("key" = ["read"])),
    params(
        ("id" = uuid::Uuid, Path, description = "The evaluation's id."),
        ("Last-Event-ID" = Option<i64>, Header, description = "The `sequence` of the last event received."),
        After,
    ),
    responses(
        (status = 200, description = "The events.", content((String = "text/event-stream"), (EventList = "application/json"))),
        (status = 400, description = "`after` or `Last-Event-ID` is not a number."),
        (status = 404, description = "There is none of this id."),
        (status = 429, description = "Too many streams are open. `Retry-After` says when to come back."),
    ))]
async fn get_evaluation_events(
    State(state): State<AppState>,
    Extension(streams): Extension<Streams>,
    Path(id): Path<JobId>,
    Query(after): Query<After>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let followed = Followed { task: TASK, id, after, ended };
    jobs::events::answer(state, &streams, followed, &headers).await
}

fn ended(job: Job) -> Result<Frame, Problem> {
    let frame = Frame::default().event("done").json_data(Evaluation::try_from(job)?);
    frame.map_err(|error| Problem::internal(&error))
}

/// Cancel an evaluation
///
/// A queued one never runs; a running one is stopped within a second or two. Cancelling again changes nothing.
#[utoipa::path(post, path = "/v1/admin/evaluations/{id}/cancel", tag = "evaluations",
    operation_id = "cancel_evaluation", security(("key" = ["admin"])),
    params(("id" = uuid::Uuid, Path, description = "Its id.")),
    responses(
        (status = 200, description = "It is cancelled.", body = Evaluation),
        (status = 404, description = "There is none of this id."),
        (status = 409, description = "It has succeeded or failed already."),
    ))]
async fn cancel_evaluation(State(state): State<AppState>, Path(id): Path<JobId>) -> Result<Response, Problem> {
    let job = jobs::cancel(&state, TASK, id).await?;
    Ok(axum::Json(Evaluation::try_from(job)?).into_response())
}

/// Run an evaluation again
///
/// One that failed or was cancelled goes back to the queue, with the same detectors.
#[utoipa::path(post, path = "/v1/admin/evaluations/{id}/retry", tag = "evaluations",
    operation_id = "retry_evaluation", security(("key" = ["admin"])),
    params(("id" = uuid::Uuid, Path, description = "Its id.")),
    responses(
        (status = 202, description = "It is queued.", body = Evaluation),
        (status = 404, description = "There is none of this id."),
        (status = 409, description = "It is queued or running, or has succeeded."),
    ))]
async fn retry_evaluation(State(state): State<AppState>, Path(id): Path<JobId>) -> Result<Response, Problem> {
    let job = jobs::retry(&state, TASK, id).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(Evaluation::try_from(job)?)).into_response())
}
