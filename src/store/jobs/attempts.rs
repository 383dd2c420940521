//! What workers do to a job: claim it, keep it, end it. Each commit is fenced by the attempt's number.

use std::time::Duration;

use sqlx::SqliteConnection;
use uuid::Uuid;

use super::super::{NewDetector, Store, StoreError, detectors, evaluations, json, moment};
use super::{ClaimedJob, events, read_job};
use crate::evaluate::Evaluation;
use crate::id::JobId;
use crate::job::{JobEventKind, JobFailure, Progress};

impl Store {
    /// The oldest queued job whose retry delay has passed, or one whose lease has run out, now running under a new
    /// attempt.
    ///
    /// # Errors
    /// The database.
    pub async fn claim_job(&self, lease: Duration) -> Result<Option<ClaimedJob>, StoreError> {
        let now = moment::now();
        let lease_until = moment::after(now, lease);
        let mut transaction = self.write().await?;
        requeue(&mut transaction, now, Overdue::At(now)).await?;
        let claimed = sqlx::query!(
            r#"
            UPDATE jobs SET state = 'running', attempt = attempt + 1, counted_attempts = counted_attempts + 1,
                not_before = NULL, lease_until = ?1, started_at = ?2
            WHERE sequence = (
                SELECT sequence FROM jobs WHERE state = 'queued' AND not_before <= ?2
                ORDER BY queued_at, sequence LIMIT 1
            )
            RETURNING id AS "id!: Uuid", attempt AS "attempt!: u32"
            "#,
            lease_until,
            now
        )
        .fetch_optional(&mut *transaction)
        .await?;
        let claimed = match claimed {
            Some(record) => {
                let (id, attempt) = (JobId::new(record.id), record.attempt);
                events::append(&mut transaction, id, now, &JobEventKind::Started { attempt }).await?;
                Some(ClaimedJob { job: read_job(&mut transaction, id).await?, attempt })
            }
            None => None,
        };
        transaction.commit().await?;
        Ok(claimed)
    }

    /// Extends the lease; when there is progress, keeps it and adds a progress event.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when the job is no longer this attempt's (cancelled, or claimed again).
    pub async fn heartbeat_job(
        &self,
        job: JobId,
        attempt: u32,
        lease: Duration,
        progress: Option<(&Progress, Option<f64>)>,
    ) -> Result<(), StoreError> {
        let (id, now) = (job.uuid(), moment::now());
        let lease_until = moment::after(now, lease);
        let mut transaction = self.write().await?;
        let extended = sqlx::query!(
            "UPDATE jobs SET lease_until = ? WHERE id = ? AND state = 'running' AND attempt = ?",
            lease_until,
            id,
            attempt
        )
        .execute(&mut *transaction)
        .await?;
        fence(&extended)?;
        if let Some((progress, eta_seconds)) = progress {
            let text = json::encode(progress)?;
            sqlx::query!("UPDATE jobs SET progress = ?, eta_seconds = ? WHERE id = ?", text, eta_seconds, id)
                .execute(&mut *transaction)
                .await?;
            let event = JobEventKind::Progress { progress: progress.clone(), eta_seconds };
            events::append(&mut transaction, job, now, &event).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Notes that a checkpoint of `epoch` is durable.
    ///
    /// # Errors
    /// [`StoreError::Fenced`].
    pub async fn note_checkpoint(&self, job: JobId, attempt: u32, epoch: u64) -> Result<(), StoreError> {
        let (id, epoch, now) = (job.uuid(), epoch as i64, moment::now());
        let mut transaction = self.write().await?;
        let noted = sqlx::query!(
            "UPDATE jobs SET checkpoint_epoch = ?, checkpoint_at = ? WHERE id = ? AND state = 'running' AND attempt = ?",
            epoch,
            now,
            id,
            attempt
        )
        .execute(&mut *transaction)
        .await?;
        fence(&noted)?;
        transaction.commit().await?;
        Ok(())
    }

    /// In one transaction: the detector's row, its distributions, the family's active detector of that kind, and the job
    /// closed as succeeded.
    ///
    /// # Errors
    /// [`StoreError::Fenced`].
    pub async fn finish_job(&self, job: JobId, attempt: u32, detector: NewDetector) -> Result<(), StoreError> {
        let mut transaction = self.write().await?;
        succeed(&mut transaction, job, attempt, detector.id.uuid()).await?;
        let detector = NewDetector { job: Some(job), ..detector };
        detectors::insert(&mut transaction, &detector).await?;
        detectors::activate(&mut transaction, detector.family, detector.artifact.manifest.kind, detector.id).await?;
        let event = JobEventKind::Succeeded { detector_id: Some(detector.id) };
        events::append(&mut transaction, job, moment::now(), &event).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// In one transaction: the evaluation's report, and the job closed as succeeded.
    ///
    /// # Errors
    /// [`StoreError::Fenced`].
    pub async fn finish_evaluation(&self, job: JobId, attempt: u32, report: &Evaluation) -> Result<(), StoreError> {
        let report = json::encode(report)?;
        let mut transaction = self.write().await?;
        succeed(&mut transaction, job, attempt, job.uuid()).await?;
        evaluations::insert(&mut transaction, job, &report).await?;
        let event = JobEventKind::Succeeded { detector_id: None };
        events::append(&mut transaction, job, moment::now(), &event).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// The job failed for good.
    ///
    /// # Errors
    /// [`StoreError::Fenced`].
    pub async fn fail_job(&self, job: JobId, attempt: u32, failure: &JobFailure) -> Result<(), StoreError> {
        let (id, text, now) = (job.uuid(), json::encode(failure)?, moment::now());
        let mut transaction = self.write().await?;
        let failed = sqlx::query!(
            "UPDATE jobs SET state = 'failed', failure = ?, finished_at = ?, lease_until = NULL, eta_seconds = NULL
             WHERE id = ? AND state = 'running' AND attempt = ?",
            text,
            now,
            id,
            attempt
        )
        .execute(&mut *transaction)
        .await?;
        fence(&failed)?;
        events::append(&mut transaction, job, now, &JobEventKind::Failed { failure: failure.clone() }).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// The attempt ended without a result: back to the queue, not before `delay` has passed. With `counts` false (a
    /// shutdown) the attempt is forgiven.
    ///
    /// # Errors
    /// [`StoreError::Fenced`].
    pub async fn release_job(
        &self,
        job: JobId,
        attempt: u32,
        detail: &str,
        delay: Duration,
        counts: bool,
    ) -> Result<(), StoreError> {
        let (id, now, forgiven) = (job.uuid(), moment::now(), !counts);
        let not_before = moment::after(now, delay);
        let mut transaction = self.write().await?;
        let released = sqlx::query!(
            "UPDATE jobs SET state = 'queued', not_before = ?, lease_until = NULL, eta_seconds = NULL,
                 counted_attempts = counted_attempts - ?
             WHERE id = ? AND state = 'running' AND attempt = ?",
            not_before,
            forgiven,
            id,
            attempt
        )
        .execute(&mut *transaction)
        .await?;
        fence(&released)?;
        let event = JobEventKind::Interrupted { attempt, detail: detail.to_owned() };
        events::append(&mut transaction, job, now, &event).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// At start, with no other process on the database: running jobs go back to the queue; gives how many.
    ///
    /// Their attempts count: a job that takes the whole service down with it must not do so for ever.
    ///
    /// # Errors
    /// The database.
    pub async fn recover_jobs(&self) -> Result<u64, StoreError> {
        let mut transaction = self.write().await?;
        let recovered = requeue(&mut transaction, moment::now(), Overdue::All).await?;
        transaction.commit().await?;
        Ok(recovered)
    }
}

/// Closes a job that has made `product`.
async fn succeed(connection: &mut SqliteConnection, job: JobId, attempt: u32, product: Uuid) -> Result<(), StoreError> {
    let (id, now) = (job.uuid(), moment::now());
    let finished = sqlx::query!(
        "UPDATE jobs SET state = 'succeeded', product = ?, finished_at = ?, lease_until = NULL, eta_seconds = NULL
         WHERE id = ? AND state = 'running' AND attempt = ?",
        product,
        now,
        id,
        attempt
    )
    .execute(connection)
    .await?;
    fence(&finished)
}

/// Whose worker is taken for dead.
#[derive(Debug, Clone, Copy)]
enum Overdue {
    /// Those whose lease has run out at this moment.
    At(i64),
    /// Everybody's: no worker outlives the service.
    All,
}

/// Puts running jobs whose worker is dead back into the queue, at their old places; gives how many.
async fn requeue(connection: &mut SqliteConnection, now: i64, overdue: Overdue) -> Result<u64, StoreError> {
    let (limit, detail) = match overdue {
        Overdue::At(moment) => (moment, "its worker fell silent"),
        Overdue::All => (i64::MAX, "the service was stopped while it ran"),
    };
    let requeued = sqlx::query!(
        r#"
        UPDATE jobs SET state = 'queued', not_before = ?1, lease_until = NULL, eta_seconds = NULL
        WHERE state = 'running' AND lease_until <= ?2
        RETURNING id AS "id!: Uuid", attempt AS "attempt!: u32"
        "#,
        now,
        limit
    )
    .fetch_all(&mut *connection)
    .await?;
    for record in &requeued {
        let event = JobEventKind::Interrupted { attempt: record.attempt, detail: detail.to_owned() };
        events::append(connection, JobId::new(record.id), now, &event).await?;
    }
    Ok(requeued.len() as u64)
}

/// An attempt's commit must have found its job still running under its number.
fn fence(result: &sqlx::sqlite::SqliteQueryResult) -> Result<(), StoreError> {
    if result.rows_affected() == 1 { Ok(()) } else { Err(StoreError::Fenced) }
}
