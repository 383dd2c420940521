//! Training jobs: `/v1/admin/training-jobs`.

mod wire;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::Event as Frame;
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::wire::{NewTrainingJob, TrainingJob};
use super::AppState;
use super::blocking::blocking;
use super::error::Problem;
use super::extract::{Json, Path, Query};
use super::jobs::events::{Followed, MAX_STREAMS, Streams};
use super::jobs::wire::{After, EventList};
use super::jobs::{self, RETRY_LOOK};
use super::page::{List, PageQuery, Pagination};
use crate::graph::split::SplitCounts;
use crate::id::{FamilyId, JobId};
use crate::job::{Job, Task, TaskName};
use crate::store::{NewJob, Page, StoreError};

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_training_jobs, create_training_job))
        .routes(routes!(get_training_job))
        .routes(routes!(get_training_job_events))
        .routes(routes!(cancel_training_job))
        .routes(routes!(retry_training_job))
        .layer(Extension(Streams::new(MAX_STREAMS)))
}

/// Train a detector
///
/// Queues a job; jobs run one after the other, each in a process of its own, and survive restarts. The detector becomes
/// the family's active one of its kind when the job succeeds. With an `Idempotency-Key`, sending the same request again
/// gives the job that the first one made.
#[utoipa::path(post, path = "/v1/admin/training-jobs", tag = "training-jobs", operation_id = "create_training_job",
    security(("key" = ["admin"])),
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters of your choice, one value for each job you mean.")),
    request_body = NewTrainingJob,
    responses(
        (status = 202, description = "It is queued.", body = TrainingJob, headers(
            ("Location" = String, description = "Its path."),
            ("Retry-After" = u64, description = "How soon it is worth looking, in seconds."),
        )),
        (status = 400, description = "The body is not JSON, or the key is not one."),
        (status = 413, description = "The body is too large."),
        (status = 415, description = "The body is not `application/json`."),
        (status = 422, description = "An unknown kind; hyper-parameters that can't be used; a device that this service hasn't; a family that isn't there or has no graphs; or an `Idempotency-Key` that came with another request before."),
        (status = 429, description = "Too many jobs wait. `Retry-After` says when to come back."),
    ))]
async fn create_training_job(
    State(state): State<AppState>,
    headers: HeaderMap,
    Json(body): Json<NewTrainingJob>,
) -> Result<Response, Problem> {
    let body = body.with_default(state.config.device);
    let (body, spec) = blocking(move || {
        let spec = body.spec();
        (body, spec)
    })
    .await?;
    let spec = spec?;
    let idempotency = jobs::idempotency(&headers, &body)?;
    let family = trainable_family(&state, &body.family).await?;
    jobs::expect_room(&state).await?;
    let job = state
        .store
        .enqueue_job(NewJob { family, task: Task::Training(spec), idempotency })
        .await
        .map_err(refused_job)?;
    state.worker.wake();
    let headers = [(header::LOCATION, location(job.id)), (header::RETRY_AFTER, RETRY_LOOK.to_owned())];
    Ok((StatusCode::ACCEPTED, headers, axum::Json(TrainingJob::try_from(job)?)).into_response())
}

fn location(id: JobId) -> String {
    format!("/v1/admin/training-jobs/{id}")
}

/// # Errors
/// 422 when the family isn't there or is empty.
async fn trainable_family(state: &AppState, name: &str) -> Result<FamilyId, Problem> {
    let overview = state.store.family_overview(name).await.map_err(refused_job)?;
    if overview.splits == SplitCounts::default() {
        return Err(Problem::invalid_at("/family", format!("family `{name}` has no graphs to train on")));
    }
    Ok(overview.family.id)
}

/// What the store says of a job that can't be made, as a fault of the body: it alone named the family (so the path is no
/// 404), and the only conflict is an idempotency key that came with another body.
fn refused_job(error: StoreError) -> Problem {
    match error {
        StoreError::NotFound { what } => Problem::invalid_at("/family", format!("there is no {what}")),
        StoreError::Conflict { what } => Problem::unprocessable(what),
        error => error.into(),
    }
}

/// List the training jobs
///
/// The newest first.
#[utoipa::path(get, path = "/v1/admin/training-jobs", tag = "training-jobs", operation_id = "list_training_jobs",
    security(("key" = ["admin"])), params(PageQuery),
    responses(
        (status = 200, description = "A page of jobs.", body = List<TrainingJob>),
        (status = 400, description = "No such page."),
    ))]
async fn list_training_jobs(State(state): State<AppState>, Pagination(page): Pagination) -> Result<Response, Problem> {
    let Page { items, next } = state.store.list_jobs(TaskName::Training, &page).await?;
    let items = items.into_iter().map(TrainingJob::try_from).collect::<Result<Vec<_>, _>>()?;
    Ok(axum::Json(List::new(Page { items, next }, |job| job)).into_response())
}

/// Get a training job
#[utoipa::path(get, path = "/v1/admin/training-jobs/{id}", tag = "training-jobs", operation_id = "get_training_job",
    security(("key" = ["admin"])), params(("id" = uuid::Uuid, Path, description = "Its id.")),
    responses(
        (status = 200, description = "The job.", body = TrainingJob),
        (status = 404, description = "There is none of this id."),
    ))]
async fn get_training_job(State(state): State<AppState>, Path(id): Path<JobId>) -> Result<Response, Problem> {
    let job = jobs::find(&state, TaskName::Training, id).await?;
    Ok(axum::Json(TrainingJob::try_from(job)?).into_response())
}

/// Follow a training job
///
/// By default as server-sent events: `id` is the event's `sequence`, `event` its name, `data` the event in JSON. All
/// events from the first (or after `Last-Event-ID`, or `?after=`) are sent, then each as it happens; when the job has
/// ended, a last `done` event carries the job, and the stream closes. With `Accept: application/json`, what there is so
/// far as a list. A comment is sent at least every 15 s. The stream also ends when the service stops: connect again with
/// `Last-Event-ID`. Browsers' `EventSource` can't send a key; read the stream with `fetch`.
#[utoipa::path(get, path = "/v1/admin/training-jobs/{id}/events", tag = "training-jobs",
    operation_id = "get_training_job_events", security(("key" = ["admin"])),
    params(
        ("id" = uuid::Uuid, Path, description = "The job's id."),
        ("Last-Event-ID" = Option<i64>, Header, description = "The `sequence` of the last event received."),
        After,
    ),
    responses(
        (status = 200, description = "The events.", content(
            (String = "text/event-stream", example = "id: 1\nevent: queued\ndata: {\"sequence\":1,\"event\":\"queued\",\"at\":\"2026-01-02T03:04:05Z\"}\n\n"),
            (EventList = "application/json"),
        )),
        (status = 400, description = "`after` or `Last-Event-ID` is not a number."),
        (status = 404, description = "There is no such job."),
        (status = 429, description = "Too many streams are open. `Retry-After` says when to come back."),
    ))]
async fn get_training_job_events(
    State(state): State<AppState>,
    Extension(streams): Extension<Streams>,
    Path(id): Path<JobId>,
    Query(after): Query<After>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let followed = Followed { task: TaskName::Training, id, after, ended };
    jobs::events::answer(state, &streams, followed, &headers).await
}

fn ended(job: Job) -> Result<Frame, Problem> {
    let frame = Frame::default().event("done").json_data(TrainingJob::try_from(job)?);
    frame.map_err(|error| Problem::internal(&error))
}

/// Cancel a training job
///
/// A queued one never runs; a running one is stopped within a second or two, and its checkpoint stays. Cancelling again
/// changes nothing.
#[utoipa::path(post, path = "/v1/admin/training-jobs/{id}/cancel", tag = "training-jobs",
    operation_id = "cancel_training_job", security(("key" = ["admin"])),
    params(("id" = uuid::Uuid, Path, description = "Its id.")),
    responses(
        (status = 200, description = "It is cancelled.", body = TrainingJob),
        (status = 404, description = "There is none of this id."),
        (status = 409, description = "It has succeeded or failed already."),
    ))]
async fn cancel_training_job(State(state): State<AppState>, Path(id): Path<JobId>) -> Result<Response, Problem> {
    let job = jobs::cancel(&state, TaskName::Training, id).await?;
    Ok(axum::Json(TrainingJob::try_from(job)?).into_response())
}

/// Run a training job again
///
/// One that failed or was cancelled goes back to the queue, and on from its checkpoint where it has one.
#[utoipa::path(post, path = "/v1/admin/training-jobs/{id}/retry", tag = "training-jobs",
    operation_id = "retry_training_job", security(("key" = ["admin"])),
    params(("id" = uuid::Uuid, Path, description = "Its id.")),
    responses(
        (status = 202, description = "It is queued.", body = TrainingJob),
        (status = 404, description = "There is none of this id."),
        (status = 409, description = "It is queued or running, or has succeeded."),
    ))]
async fn retry_training_job(State(state): State<AppState>, Path(id): Path<JobId>) -> Result<Response, Problem> {
    let job = jobs::retry(&state, TaskName::Training, id).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(TrainingJob::try_from(job)?)).into_response())
}
