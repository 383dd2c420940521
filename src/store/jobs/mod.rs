//! Jobs: the queue, leases, attempts and events.
//!
//! This file is a job as users see it; `attempts` is what workers do to it, `events` its history.

mod attempts;
mod events;
#[cfg(test)]
mod tests;

use sqlx::SqliteConnection;
use uuid::Uuid;

use super::cursor::List;
use super::graphs::no_such_family;
use super::idempotency::{self, Idempotency};
use super::{Page, PageRequest, Store, StoreError, json, moment};
use crate::id::{DetectorId, FamilyId, JobId};
use crate::job::{CheckpointMark, Job, JobEvent, JobEventKind, JobState, Product, Task, TaskName};

#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    pub family: FamilyId,
    pub task: Task,
    pub idempotency: Option<Idempotency>,
}

/// A job that this process now holds.
///
/// `job.attempts` counts this attempt too. It is above the number allowed when the last one allowed ended without saying so
/// (its lease ran out, or the service was killed): such a job is to be failed, not run.
#[derive(Debug, Clone, PartialEq)]
pub struct ClaimedJob {
    pub job: Job,
    /// The fence of every later commit: never the same for two attempts at a job.
    pub attempt: u32,
}

impl Store {
    /// Queues a job. With an idempotency key used before: the same request gives the job it made, another body is a
    /// [`StoreError::Conflict`].
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the family is gone; [`StoreError::Conflict`] as above.
    pub async fn enqueue_job(&self, job: NewJob) -> Result<Job, StoreError> {
        let mut transaction = self.write().await?;
        if let Some(idempotency) = &job.idempotency
            && let Some(earlier) = idempotency::find(&mut transaction, idempotency).await?
        {
            return read_job(&mut transaction, earlier).await;
        }
        let id = JobId::new(Uuid::now_v7());
        let (uuid, family, now) = (id.uuid(), job.family.get(), moment::now());
        let (task, spec) = (job.task.name().as_str(), encode_spec(&job.task)?);
        sqlx::query!(
            "INSERT INTO jobs (id, family, task, spec, state, queued_at, not_before, created_at)
             VALUES (?1, ?2, ?3, ?4, 'queued', ?5, ?5, ?5)",
            uuid,
            family,
            task,
            spec,
            now
        )
        .execute(&mut *transaction)
        .await
        .map_err(|error| match &error {
            sqlx::Error::Database(database) if database.is_foreign_key_violation() => no_such_family(),
            _ => error.into(),
        })?;
        events::append(&mut transaction, id, now, &JobEventKind::Queued).await?;
        if let Some(idempotency) = &job.idempotency {
            idempotency::keep(&mut transaction, idempotency, id).await?;
        }
        let job = read_job(&mut transaction, id).await?;
        transaction.commit().await?;
        Ok(job)
    }

    /// Cancels a queued or running job; a cancelled one stays so (idempotent).
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Conflict`] when it has succeeded or failed.
    pub async fn cancel_job(&self, job: JobId) -> Result<Job, StoreError> {
        let (uuid, now) = (job.uuid(), moment::now());
        let mut transaction = self.write().await?;
        let cancelled = sqlx::query!(
            "UPDATE jobs SET state = 'cancelled', finished_at = ?, not_before = NULL, lease_until = NULL, eta_seconds = NULL
             WHERE id = ? AND state IN ('queued', 'running')",
            now,
            uuid
        )
        .execute(&mut *transaction)
        .await?
        .rows_affected();
        if cancelled == 1 {
            events::append(&mut transaction, job, now, &JobEventKind::Cancelled).await?;
        }
        let job = read_job(&mut transaction, job).await?;
        match job.state {
            JobState::Cancelled { .. } => transaction.commit().await?,
            _ => return Err(ended(&job)),
        }
        Ok(job)
    }

    /// Queues a failed or cancelled job again, attempts counted anew; it goes on from its checkpoint.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Conflict`] in any other state.
    pub async fn retry_job(&self, job: JobId) -> Result<Job, StoreError> {
        let (uuid, now) = (job.uuid(), moment::now());
        let mut transaction = self.write().await?;
        let queued = sqlx::query!(
            "UPDATE jobs SET state = 'queued', queued_at = ?1, not_before = ?1, counted_attempts = 0, finished_at = NULL,
                 failure = NULL
             WHERE id = ?2 AND state IN ('failed', 'cancelled')",
            now,
            uuid
        )
        .execute(&mut *transaction)
        .await?
        .rows_affected();
        if queued == 0 {
            let job = read_job(&mut transaction, job).await?;
            let what =
                format!("job {} is {}; only a failed or cancelled one can be run again", job.id, job.state.as_str());
            return Err(StoreError::Conflict { what });
        }
        events::append(&mut transaction, job, now, &JobEventKind::Queued).await?;
        let job = read_job(&mut transaction, job).await?;
        transaction.commit().await?;
        Ok(job)
    }

    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn find_job(&self, job: JobId) -> Result<Job, StoreError> {
        let mut reader = self.readers.acquire().await?;
        read_job(&mut reader, job).await
    }

    /// Those of a task, the newest first.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`].
    pub async fn list_jobs(&self, task: TaskName, page: &PageRequest) -> Result<Page<Job>, StoreError> {
        let list = List::Jobs(task);
        let (before, rows, task) = (list.number(page, i64::MAX)?, page.rows(), task.as_str());
        let found = sqlx::query_as!(
            JobRecord,
            r#"
            SELECT
                sequence, id AS "id: Uuid", family, family_name, task, spec, state, attempt AS "attempt: u32",
                counted_attempts AS "counted_attempts: u32", started_at, finished_at, progress, eta_seconds,
                checkpoint_epoch AS "checkpoint_epoch: u64", checkpoint_at, product AS "product: Uuid", failure, created_at
            FROM job_details WHERE task = ? AND sequence < ? ORDER BY sequence DESC LIMIT ?
            "#,
            task,
            before,
            rows
        )
        .fetch_all(&self.readers)
        .await?;
        page.fill(found, |record| list.cursor(record.sequence), Job::try_from)
    }

    /// Events with a sequence above `after`, ascending, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn job_events(&self, job: JobId, after: i64, limit: u32) -> Result<Vec<JobEvent>, StoreError> {
        let mut reader = self.readers.acquire().await?;
        let events = events::read(&mut reader, job, after, limit).await?;
        if events.is_empty() {
            read_job(&mut reader, job).await?;
        }
        Ok(events)
    }

    /// How many jobs wait: for the metrics.
    ///
    /// # Errors
    /// The database.
    pub async fn count_queued_jobs(&self) -> Result<u64, StoreError> {
        let count = sqlx::query_scalar!(r#"SELECT count(*) AS "count!: u64" FROM jobs WHERE state = 'queued'"#)
            .fetch_one(&self.readers)
            .await?;
        Ok(count)
    }

    /// Jobs that may still want their checkpoint (queued, running, failed or cancelled): others' can be deleted.
    ///
    /// # Errors
    /// The database.
    pub async fn jobs_with_checkpoints(&self) -> Result<Vec<JobId>, StoreError> {
        let ids =
            sqlx::query_scalar!(r#"SELECT id AS "id: Uuid" FROM jobs WHERE state <> 'succeeded' ORDER BY sequence"#)
                .fetch_all(&self.readers)
                .await?;
        Ok(ids.into_iter().map(JobId::new).collect())
    }
}

fn no_job(job: JobId) -> StoreError {
    StoreError::NotFound { what: format!("job {job}") }
}

fn ended(job: &Job) -> StoreError {
    StoreError::Conflict { what: format!("job {} has {} already", job.id, job.state.as_str()) }
}

async fn read_job(connection: &mut SqliteConnection, job: JobId) -> Result<Job, StoreError> {
    let id = job.uuid();
    sqlx::query_as!(
        JobRecord,
        r#"
        SELECT
            sequence, id AS "id: Uuid", family, family_name, task, spec, state, attempt AS "attempt: u32",
            counted_attempts AS "counted_attempts: u32", started_at, finished_at, progress, eta_seconds,
            checkpoint_epoch AS "checkpoint_epoch: u64", checkpoint_at, product AS "product: Uuid", failure, created_at
        FROM job_details WHERE id = ?
        "#,
        id
    )
    .fetch_optional(connection)
    .await?
    .ok_or_else(|| no_job(job))?
    .try_into()
}

struct JobRecord {
    sequence: i64,
    id: Uuid,
    family: i64,
    family_name: String,
    task: String,
    spec: String,
    state: String,
    attempt: u32,
    counted_attempts: u32,
    started_at: Option<i64>,
    finished_at: Option<i64>,
    progress: Option<String>,
    eta_seconds: Option<f64>,
    checkpoint_epoch: Option<u64>,
    checkpoint_at: Option<i64>,
    product: Option<Uuid>,
    failure: Option<String>,
    created_at: i64,
}

fn encode_spec(task: &Task) -> Result<String, StoreError> {
    match task {
        Task::Training(spec) => json::encode(spec),
        Task::Evaluation(spec) => json::encode(spec),
    }
}

impl JobRecord {
    fn task(&self) -> Result<Task, StoreError> {
        match self.task.as_str() {
            "training" => Ok(Task::Training(json::decode("spec", &self.spec)?)),
            "evaluation" => Ok(Task::Evaluation(json::decode("spec", &self.spec)?)),
            other => Err(StoreError::Damaged { what: "job", detail: format!("`{other}` is not a task") }),
        }
    }

    /// The state with what belongs to it. The table's `CHECK`s promise that it is all there.
    fn state(&self, task: TaskName) -> Result<JobState, StoreError> {
        let missing = || StoreError::Damaged { what: "job", detail: format!("a {} job lacks its facts", self.state) };
        let finished_at = || moment::to_time(self.finished_at.ok_or_else(missing)?);
        Ok(match self.state.as_str() {
            "queued" => JobState::Queued,
            "running" => JobState::Running { attempt: self.attempt },
            "succeeded" => JobState::Succeeded {
                product: match (task, self.product.ok_or_else(missing)?) {
                    (TaskName::Training, product) => Product::Detector(DetectorId::new(product)),
                    (TaskName::Evaluation, _) => Product::Evaluation,
                },
                finished_at: finished_at()?,
            },
            "failed" => JobState::Failed {
                failure: json::decode("failure", self.failure.as_deref().ok_or_else(missing)?)?,
                finished_at: finished_at()?,
            },
            "cancelled" => JobState::Cancelled { finished_at: finished_at()? },
            other => return Err(StoreError::Damaged { what: "job", detail: format!("`{other}` is not a state") }),
        })
    }
}

impl TryFrom<JobRecord> for Job {
    type Error = StoreError;

    fn try_from(record: JobRecord) -> Result<Self, StoreError> {
        let task = record.task()?;
        Ok(Self {
            state: record.state(task.name())?,
            id: JobId::new(record.id),
            family: FamilyId::new(record.family),
            family_name: record.family_name,
            task,
            attempts: record.counted_attempts,
            created_at: moment::to_time(record.created_at)?,
            started_at: record.started_at.map(moment::to_time).transpose()?,
            progress: record.progress.as_deref().map(|text| json::decode("progress", text)).transpose()?,
            eta_seconds: record.eta_seconds,
            checkpoint: match (record.checkpoint_epoch, record.checkpoint_at) {
                (Some(epoch), Some(at)) => Some(CheckpointMark { epoch, at: moment::to_time(at)? }),
                _ => None,
            },
        })
    }
}
