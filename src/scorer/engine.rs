//! Admission and compute threads together, whatever they compute.

use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::admission::{Admission, Permit};
use super::batch::Batch;
use super::pool::Pool;
use super::{Config, PermitError, ScoreError, Timing};

/// How long a success vouches for the threads before a probe computes again.
const RECENT: Duration = Duration::from_secs(10);
/// How long a probe may take: longer than any unit that isn't stuck.
const PROBE_DEADLINE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Engine {
    admission: Arc<Admission>,
    pool: Pool,
    /// When a unit last ended well. A lock for one copy, never held across a wait.
    succeeded: Mutex<Option<Instant>>,
}

impl Engine {
    pub(super) fn start(config: &Config) -> std::io::Result<Self> {
        let threads = match config.threads {
            0 => std::thread::available_parallelism().map_or(1, NonZero::get),
            threads => threads,
        };
        let admission = Arc::new(Admission::new(config, threads));
        Ok(Self { admission, pool: Pool::start(threads)?, succeeded: Mutex::default() })
    }

    pub(super) fn permit(&self, cost: u64) -> Result<Permit, PermitError> {
        self.admission.permit(cost)
    }

    /// Runs `compute` for every unit; results in their order.
    pub(super) async fn compute<T, F>(
        &self,
        permit: Permit,
        units: usize,
        compute: F,
    ) -> Result<(Vec<T>, Timing), ScoreError>
    where
        T: Send + 'static,
        F: Fn(usize) -> T + Send + Sync + 'static,
    {
        if units == 0 {
            return Ok((Vec::new(), Timing { queued: Duration::ZERO, computed: Duration::ZERO }));
        }
        let (batch, answer) = Batch::new(units, Some(permit), compute);
        self.pool.submit(batch).map_err(|_| ScoreError::Stopping)?;
        let answer = answer.await.map_err(|_| ScoreError::Stopping)?;
        if answer.is_ok() {
            self.note_success();
        }
        answer
    }

    /// Whether a unit ended well recently, or `work` does now, before anything that waits. It needs no permit: a full
    /// queue is a healthy one.
    pub(super) async fn probe<T: Send + 'static>(&self, work: impl Fn() -> T + Send + Sync + 'static) -> bool {
        if self.succeeded_within(RECENT) {
            return true;
        }
        let (batch, answer) = Batch::new(1, None, move |_| work());
        if self.pool.submit_first(batch).is_err() {
            return false;
        }
        let answered = matches!(tokio::time::timeout(PROBE_DEADLINE, answer).await, Ok(Ok(Ok(_))));
        if answered {
            self.note_success();
        }
        answered
    }

    /// Lets nothing in any more.
    pub(super) fn close(&self) {
        self.admission.close();
        self.pool.close();
    }

    /// Waits until what was queued is done, once closed. Blocks.
    pub(super) fn join(&self) {
        self.pool.join();
    }

    fn note_success(&self) {
        *self.succeeded.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn succeeded_within(&self, period: Duration) -> bool {
        self.succeeded.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|at| at.elapsed() < period)
    }
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
