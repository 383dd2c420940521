//! What the resources that are jobs have in common: how a job is asked for once, found, followed and told.

pub(super) mod events;
pub(super) mod wire;

use std::time::Duration;

use axum::http::HeaderMap;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::AppState;
use super::error::Problem;
use crate::id::JobId;
use crate::job::{Job, TaskName};
use crate::store::{Idempotency, StoreError};

/// Jobs that may wait at once. A queue this long is a mistake in somebody's loop.
const MAX_QUEUED: u64 = 100;
/// A job takes minutes; there will be room after about one.
const RETRY_QUEUE: Duration = Duration::from_secs(60);
/// How soon it is worth looking at a new job.
pub(super) const RETRY_LOOK: &str = "1";
const MAX_IDEMPOTENCY_KEY_BYTES: usize = 255;

/// The `Idempotency-Key` of a request, bound to its body as understood, whatever its spelling.
///
/// # Errors
/// 400 for a key that can't be one.
pub(super) fn idempotency(headers: &HeaderMap, body: &impl Serialize) -> Result<Option<Idempotency>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| (1..=MAX_IDEMPOTENCY_KEY_BYTES).contains(&key.len()));
    let key = key.ok_or_else(|| {
        Problem::bad_request(format!("Idempotency-Key: send 1 to {MAX_IDEMPOTENCY_KEY_BYTES} visible ASCII characters"))
    })?;
    let request_sha256 = sha256(body).map_err(|error| Problem::internal(&error))?;
    Ok(Some(Idempotency { key: key.to_owned(), request_sha256 }))
}

pub(super) fn sha256(body: &impl Serialize) -> Result<String, serde_json::Error> {
    Ok(hex::encode(Sha256::digest(serde_json::to_vec(body)?)))
}

/// # Errors
/// 429 when the queue is full. Two requests at once may overfill it by one, which does no harm.
pub(super) async fn expect_room(state: &AppState) -> Result<(), Problem> {
    if state.store.count_queued_jobs().await? >= MAX_QUEUED {
        return Err(Problem::too_many_requests(format!("{MAX_QUEUED} jobs wait already"), RETRY_QUEUE));
    }
    Ok(())
}

/// The job of this id and task.
///
/// # Errors
/// 404 when there is none, or one of another task.
pub(super) async fn find(state: &AppState, task: TaskName, id: JobId) -> Result<Job, Problem> {
    match state.store.find_job(id).await {
        Ok(job) if job.task.name() == task => Ok(job),
        Ok(_) | Err(StoreError::NotFound { .. }) => {
            Err(Problem::not_found(format!("there is no {} job {id}", task.as_str())))
        }
        Err(error) => Err(error.into()),
    }
}

/// Cancels a job of this task, and ends its process where it runs.
///
/// # Errors
/// 404 as [`find`]; 409 when it has succeeded or failed.
pub(super) async fn cancel(state: &AppState, task: TaskName, id: JobId) -> Result<Job, Problem> {
    find(state, task, id).await?;
    let job = state.store.cancel_job(id).await?;
    state.worker.cancel(id);
    Ok(job)
}

/// Queues a failed or cancelled job of this task again.
///
/// # Errors
/// 404 as [`find`]; 409 in any other state.
pub(super) async fn retry(state: &AppState, task: TaskName, id: JobId) -> Result<Job, Problem> {
    find(state, task, id).await?;
    let job = state.store.retry_job(id).await?;
    state.worker.wake();
    Ok(job)
}
