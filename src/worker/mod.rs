//! The worker pool: claims jobs, runs each in a child process of this binary, follows its events, commits.
//!
//! `pool` claims and counts, `attempt` follows one child, `commit` writes its end; `trainer` and `evaluator` are the child
//! itself, `child` what both do, and `protocol` what they say to each other. The child never writes to the database: everything that happened to a job
//! was committed by the pool, under the attempt's fence.

mod attempt;
mod child;
mod commit;
mod eta;
mod evaluator;
mod janitor;
mod pool;
mod protocol;
#[cfg(test)]
mod tests;
mod trainer;

pub use child::AttemptConfig;
pub use evaluator::evaluate;
pub use janitor::drop_lost_detectors;
pub use trainer::{THREADS_VARIABLE, by_split, compute_environment, train, with_training_stack};

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use self::pool::Pool;
use crate::artifact::Artifacts;
use crate::id::JobId;
use crate::registry::Registry;
use crate::store::Store;

#[derive(Debug, Clone)]
pub struct Config {
    /// Jobs run at once.
    pub workers: usize,
    /// How long a worker may be silent before its job is taken from it.
    pub lease: Duration,
    /// Deaths of a worker before its job is failed.
    pub max_attempts: u32,
    /// The delay before the attempt after the first death; each later one is twice as long.
    pub retry_delay: Duration,
    /// The least time between two checkpoints of a training.
    pub checkpoint_interval: Duration,
    /// Numeric threads of a job's process.
    pub threads: usize,
    /// The binary to start: this one, or in tests another.
    pub executable: PathBuf,
    pub data_dir: PathBuf,
    /// Where the artefacts are, when not below `data_dir`.
    pub artifact_url: Option<String>,
}

/// A cheap handle on the running pool.
#[derive(Debug, Clone)]
pub struct WorkerPool {
    /// `None` in a pool that runs nothing.
    pool: Option<Arc<Pool>>,
}

impl WorkerPool {
    /// Starts the pool on the current runtime.
    #[must_use]
    pub fn start(config: Config, store: Store, artifacts: Artifacts, registry: Registry) -> Self {
        Self { pool: Some(Pool::start(config, store, artifacts, registry)) }
    }

    /// A pool that runs nothing: its jobs stay queued (tests of the API alone).
    #[must_use]
    pub const fn idle() -> Self {
        Self { pool: None }
    }

    /// Tells the pool that a job waits, or that artefacts may have lost their rows.
    pub fn wake(&self) {
        if let Some(pool) = &self.pool {
            pool.wake();
        }
    }

    /// Ends the job's process if it runs here; the store already says `cancelled`.
    pub fn cancel(&self, job: JobId) {
        if let Some(pool) = &self.pool {
            pool.cancel(job);
        }
    }

    /// Stops every child: each checkpoints, its job goes back to the queue. What still runs at the deadline is killed.
    pub async fn stop(&self, deadline: Duration) {
        if let Some(pool) = &self.pool {
            pool.stop(deadline).await;
        }
    }
}
