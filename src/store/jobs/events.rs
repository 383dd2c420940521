//! A job's history. An event is appended in the transaction that makes the change it tells of.

use sqlx::SqliteConnection;

use super::super::{StoreError, json, moment};
use crate::id::JobId;
use crate::job::{JobEvent, JobEventKind};

/// How many progress events a job keeps, the newest: what a late watcher may still want to draw. Other events are few, and
/// all stay.
pub(super) const PROGRESS_EVENTS_KEPT: i64 = 500;

pub(super) async fn append(
    connection: &mut SqliteConnection,
    job: JobId,
    at: i64,
    event: &JobEventKind,
) -> Result<(), StoreError> {
    let (job, text) = (job.uuid(), json::encode(event)?);
    let is_progress = matches!(event, JobEventKind::Progress { .. });
    sqlx::query!(
        "INSERT INTO job_events (job, sequence, at, event, is_progress)
         SELECT ?1, 1 + coalesce(max(sequence), 0), ?2, ?3, ?4 FROM job_events WHERE job = ?1",
        job,
        at,
        text,
        is_progress
    )
    .execute(&mut *connection)
    .await?;
    if is_progress {
        sqlx::query!(
            "DELETE FROM job_events WHERE job = ?1 AND is_progress = 1 AND sequence <= (
                 SELECT sequence FROM job_events WHERE job = ?1 AND is_progress = 1
                 ORDER BY sequence DESC LIMIT 1 OFFSET ?2
             )",
            job,
            PROGRESS_EVENTS_KEPT
        )
        .execute(connection)
        .await?;
    }
    Ok(())
}

pub(super) async fn read(
    connection: &mut SqliteConnection,
    job: JobId,
    after: i64,
    limit: u32,
) -> Result<Vec<JobEvent>, StoreError> {
    let (job, limit) = (job.uuid(), i64::from(limit));
    let found = sqlx::query!(
        "SELECT sequence, at, event FROM job_events WHERE job = ? AND sequence > ? ORDER BY sequence LIMIT ?",
        job,
        after,
        limit
    )
    .fetch_all(connection)
    .await?;
    found
        .into_iter()
        .map(|record| {
            Ok(JobEvent {
                sequence: record.sequence,
                at: moment::to_time(record.at)?,
                kind: json::decode("event", &record.event)?,
            })
        })
        .collect()
}
