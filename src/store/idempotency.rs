//! Answers to requests that carried an `Idempotency-Key`.

use sqlx::SqliteConnection;
use uuid::Uuid;

use super::StoreError;
use crate::id::JobId;

/// An `Idempotency-Key` with the hash of the request it came with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    pub key: String,
    pub request_sha256: String,
}

/// The job that the first request with this key made.
///
/// # Errors
/// [`StoreError::Conflict`] when that was another request.
pub(super) async fn find(
    connection: &mut SqliteConnection,
    idempotency: &Idempotency,
) -> Result<Option<JobId>, StoreError> {
    let found = sqlx::query!(
        r#"SELECT request_sha256, job AS "job: Uuid" FROM idempotency_keys WHERE key = ?"#,
        idempotency.key
    )
    .fetch_optional(connection)
    .await?;
    match found {
        Some(earlier) if earlier.request_sha256 != idempotency.request_sha256 => {
            Err(StoreError::Conflict { what: "this Idempotency-Key was used with another request".to_owned() })
        }
        earlier => Ok(earlier.map(|earlier| JobId::new(earlier.job))),
    }
}

pub(super) async fn keep(
    connection: &mut SqliteConnection,
    idempotency: &Idempotency,
    job: JobId,
) -> Result<(), StoreError> {
    let job = job.uuid();
    sqlx::query!(
        "INSERT INTO idempotency_keys (key, request_sha256, job) VALUES (?, ?, ?)",
        idempotency.key,
        idempotency.request_sha256,
        job
    )
    .execute(connection)
    .await?;
    Ok(())
}
