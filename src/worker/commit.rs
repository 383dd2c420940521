//! Writes the end of an attempt: artefact durable first, then one transaction, then the registry.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tracing::{error, info, warn};

use super::attempt::{Attempt, Ending, Errand};
use super::pool::Pool;
use crate::artifact::ArtifactError;
use crate::evaluate::Evaluation;
use crate::id::DetectorId;
use crate::job::JobFailure;
use crate::store::{NewDetector, StoreError};

const LONGEST_DELAY: Duration = Duration::from_secs(300);

pub(super) async fn commit(pool: &Pool, attempt: &Attempt<'_>, ending: Ending) {
    match ending {
        Ending::Finished { report } => match attempt.errand {
            Errand::Detector(detector) => trained(pool, attempt, detector).await,
            Errand::Report => evaluated(pool, attempt, &report).await,
        },
        Ending::Failed(failure) => failed(pool, attempt, &failure).await,
        Ending::Broken(failure) => again_or_failed(pool, attempt, &failure.detail.clone(), failure).await,
        Ending::Died(detail) => died(pool, attempt, &detail).await,
        Ending::Stopped => released(pool, attempt, "the service stopped", Duration::ZERO, false).await,
        Ending::Lost => info!(job.id = %attempt.job.id, job.attempt = attempt.number, "the job was taken away"),
    }
}

/// The worker died: another attempt, or after the last one the end of the job.
pub(super) async fn died(pool: &Pool, attempt: &Attempt<'_>, detail: &str) {
    let deaths = attempt.job.attempts.min(pool.config.max_attempts);
    let failure = JobFailure {
        code: "worker_died".to_owned(),
        detail: format!("The {} died {deaths} times; the last time, {detail}.", attempt.errand.noun()),
    };
    again_or_failed(pool, attempt, detail, failure).await;
}

async fn again_or_failed(pool: &Pool, attempt: &Attempt<'_>, detail: &str, failure: JobFailure) {
    warn!(job.id = %attempt.job.id, job.attempt = attempt.number, detail, "an attempt broke off");
    if attempt.job.attempts >= pool.config.max_attempts {
        failed(pool, attempt, &failure).await;
    } else {
        let delay = retry_delay(pool.config.retry_delay, attempt.job.attempts);
        released(pool, attempt, detail, delay, true).await;
    }
}

async fn trained(pool: &Pool, attempt: &Attempt<'_>, detector: DetectorId) {
    match publish(pool, attempt, detector).await {
        Ok(()) => {
            info!(job.id = %attempt.job.id, detector.id = %detector, "trained");
            count(attempt.errand, "succeeded");
        }
        Err(Unpublished::Artifact(error)) => {
            error!(job.id = %attempt.job.id, error = &error as &dyn Error, "the new detector cannot be used");
            died(pool, attempt, "the detector that it made cannot be read").await;
        }
        Err(Unpublished::Store(error)) => unstored(pool, attempt, error).await,
    }
}

async fn evaluated(pool: &Pool, attempt: &Attempt<'_>, report: &str) {
    let report: Evaluation = match serde_json::from_str(report) {
        Ok(report) => report,
        Err(error) => {
            error!(job.id = %attempt.job.id, error = &error as &dyn Error, "the report cannot be read");
            return died(pool, attempt, "the report that it made cannot be read").await;
        }
    };
    match pool.store.finish_evaluation(attempt.job.id, attempt.number, &report).await {
        Ok(()) => {
            info!(job.id = %attempt.job.id, "evaluated");
            count(attempt.errand, "succeeded");
        }
        Err(error) => unstored(pool, attempt, error).await,
    }
}

async fn unstored(pool: &Pool, attempt: &Attempt<'_>, error: StoreError) {
    note(attempt, Err(error));
    // Where this fails too, the lease runs out and the job is claimed again.
    released(pool, attempt, "the result could not be stored", pool.config.retry_delay, true).await;
}

fn count(errand: Errand, state: &'static str) {
    match errand {
        Errand::Detector(_) => metrics::counter!("graphkin_training_jobs_total", "state" => state).increment(1),
        Errand::Report => metrics::counter!("graphkin_evaluations_total", "state" => state).increment(1),
    }
}

#[derive(Debug)]
enum Unpublished {
    Artifact(ArtifactError),
    Store(StoreError),
}

/// The detector is loaded once before a row names it: what can't be read back must not become active.
async fn publish(pool: &Pool, attempt: &Attempt<'_>, id: DetectorId) -> Result<(), Unpublished> {
    let job = attempt.job;
    let artifact = pool.artifacts.summary(id).await.map_err(Unpublished::Artifact)?;
    let detector = pool.artifacts.load_detector(id).await.map_err(Unpublished::Artifact)?;
    let row = NewDetector { id, family: job.family, job: Some(job.id), artifact };
    pool.store.finish_job(job.id, attempt.number, row).await.map_err(Unpublished::Store)?;
    pool.registry.publish(id, Arc::new(detector)).await;
    if let Err(error) = pool.artifacts.delete_checkpoint(job.id).await {
        warn!(job.id = %job.id, error = &error as &dyn Error, "a checkpoint is left for the janitor");
    }
    Ok(())
}

async fn failed(pool: &Pool, attempt: &Attempt<'_>, failure: &JobFailure) {
    warn!(job.id = %attempt.job.id, code = failure.code, detail = failure.detail, "the {} failed", attempt.errand.noun());
    count(attempt.errand, "failed");
    note(attempt, pool.store.fail_job(attempt.job.id, attempt.number, failure).await);
}

async fn released(pool: &Pool, attempt: &Attempt<'_>, detail: &str, delay: Duration, counts: bool) {
    note(attempt, pool.store.release_job(attempt.job.id, attempt.number, detail, delay, counts).await);
}

/// Logs a commit that didn't happen. Nothing else is left to do: a fenced attempt has no say any more, and with a
/// database that fails the lease runs out and the job is claimed again.
fn note(attempt: &Attempt<'_>, committed: Result<(), StoreError>) {
    match committed {
        Ok(()) => {}
        Err(StoreError::Fenced) => info!(job.id = %attempt.job.id, "the job was taken away before its end was stored"),
        Err(error) => {
            error!(job.id = %attempt.job.id, error = &error as &dyn Error, "the end of an attempt was not stored");
        }
    }
}

/// `first` after the first death, then twice as long each time.
fn retry_delay(first: Duration, deaths: u32) -> Duration {
    let delays = ExponentialBuilder::new().with_min_delay(first).with_max_delay(LONGEST_DELAY).without_max_times();
    delays.build().nth(deaths.saturating_sub(1) as usize).unwrap_or(LONGEST_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_a_bound() {
        let second = Duration::from_secs(1);
        let delays: Vec<u64> = (0..5).map(|deaths| retry_delay(second, deaths).as_secs()).collect();
        assert_eq!(delays, [1, 1, 2, 4, 8]);
        assert_eq!(retry_delay(second, 40), LONGEST_DELAY);
    }
}
