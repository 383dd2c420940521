//! Training jobs: the queue, leases, attempts and events.

use std::time::Duration;

use super::{Idempotency, NewDetector, Page, PageRequest, Store, StoreError};
use crate::id::{FamilyId, JobId};
use crate::job::{Job, JobEvent, JobFailure};
use crate::train::{Progress, TrainingSpec};

#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    pub family: FamilyId,
    pub spec: TrainingSpec,
    pub idempotency: Option<Idempotency>,
}

/// A job that this process now holds. `attempt` is the fence of every later commit.
#[derive(Debug, Clone, PartialEq)]
pub struct ClaimedJob {
    pub job: Job,
    pub attempt: u32,
}

impl Store {
    /// Queues a job. With an idempotency key used before: the same request gives the job it made, another body is a
    /// [`StoreError::Conflict`].
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the family is gone; [`StoreError::Conflict`] as above.
    pub async fn enqueue_job(&self, _job: NewJob) -> Result<Job, StoreError> {
        todo!()
    }

    /// The oldest queued job whose retry delay has passed, or one whose lease has run out, now running under a new
    /// attempt: one statement.
    ///
    /// # Errors
    /// The database.
    pub async fn claim_job(&self, _lease: Duration) -> Result<Option<ClaimedJob>, StoreError> {
        todo!()
    }

    /// Extends the lease; when there is progress, keeps it and adds a progress event.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when the job is no longer this attempt's (cancelled, or claimed again).
    pub async fn heartbeat_job(
        &self,
        _job: JobId,
        _attempt: u32,
        _lease: Duration,
        _progress: Option<(&Progress, Option<f64>)>,
    ) -> Result<(), StoreError> {
        todo!()
    }

    /// Notes that a checkpoint of `epoch` is durable.
    ///
    /// # Errors
    /// [`StoreError::Fenced`].
    pub async fn note_checkpoint(&self, _job: JobId, _attempt: u32, _epoch: u64) -> Result<(), StoreError> {
        todo!()
    }

    /// In one transaction: the detector's row, its distributions, the family's active detector of that kind, and the job
    /// closed as succeeded.
    ///
    /// # Errors
    /// [`StoreError::Fenced`].
    pub async fn finish_job(&self, _job: JobId, _attempt: u32, _detector: NewDetector) -> Result<(), StoreError> {
        todo!()
    }

    /// The job failed for good.
    ///
    /// # Errors
    /// [`StoreError::Fenced`].
    pub async fn fail_job(&self, _job: JobId, _attempt: u32, _failure: &JobFailure) -> Result<(), StoreError> {
        todo!()
    }

    /// The attempt ended without a result: back to the queue, not before `delay` has passed. With `counts` false (a
    /// shutdown) the attempt is forgiven.
    ///
    /// # Errors
    /// [`StoreError::Fenced`].
    pub async fn release_job(
        &self,
        _job: JobId,
        _attempt: u32,
        _detail: &str,
        _delay: Duration,
        _counts: bool,
    ) -> Result<(), StoreError> {
        todo!()
    }

    /// At start, with no other process on the database: running jobs go back to the queue; gives how many.
    ///
    /// # Errors
    /// The database.
    pub async fn recover_jobs(&self) -> Result<u64, StoreError> {
        todo!()
    }

    /// Cancels a queued or running job; a cancelled one stays so (idempotent).
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Conflict`] when it has succeeded or failed.
    pub async fn cancel_job(&self, _job: JobId) -> Result<Job, StoreError> {
        todo!()
    }

    /// Queues a failed or cancelled job again, attempts counted anew; it goes on from its checkpoint.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Conflict`] in any other state.
    pub async fn retry_job(&self, _job: JobId) -> Result<Job, StoreError> {
        todo!()
    }

    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn find_job(&self, _job: JobId) -> Result<Job, StoreError> {
        todo!()
    }

    /// The newest first.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`].
    pub async fn list_jobs(&self, _page: &PageRequest) -> Result<Page<Job>, StoreError> {
        todo!()
    }

    /// Events with a sequence above `after`, ascending, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn job_events(&self, _job: JobId, _after: i64, _limit: u32) -> Result<Vec<JobEvent>, StoreError> {
        todo!()
    }

    /// How many jobs wait: for the metrics.
    ///
    /// # Errors
    /// The database.
    pub async fn count_queued_jobs(&self) -> Result<u64, StoreError> {
        todo!()
    }

    /// Jobs that may still want their checkpoint (queued, running, failed or cancelled): others' can be deleted.
    ///
    /// # Errors
    /// The database.
    pub async fn jobs_with_checkpoints(&self) -> Result<Vec<JobId>, StoreError> {
        todo!()
    }
}
