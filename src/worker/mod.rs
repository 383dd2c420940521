//! The worker pool: claims jobs, runs each in a child process of this binary, follows its events, commits.

use std::path::PathBuf;
use std::time::Duration;

use crate::artifact::Artifacts;
use crate::id::JobId;
use crate::registry::Registry;
use crate::store::Store;

#[derive(Debug, Clone)]
pub struct Config {
    /// Jobs trained at once.
    pub workers: usize,
    /// How long a worker may be silent before its job is taken from it.
    pub lease: Duration,
    /// Deaths of a worker before its job is failed.
    pub max_attempts: u32,
    /// Numeric threads of a training process.
    pub threads: usize,
    /// The binary to start; this one by default.
    pub executable: Option<PathBuf>,
    pub data_dir: PathBuf,
}

/// A cheap handle on the running pool.
#[derive(Debug, Clone)]
pub struct WorkerPool {
    _todo: (),
}

impl WorkerPool {
    #[must_use]
    pub fn start(_config: Config, _store: Store, _artifacts: Artifacts, _registry: Registry) -> Self {
        todo!()
    }

    /// A pool that runs nothing: its jobs stay queued (`--workers 0`, and tests of the API alone).
    #[must_use]
    pub fn idle() -> Self {
        todo!()
    }

    /// Tells the pool that a job waits, or that artefacts may have lost their rows.
    pub fn wake(&self) {
        todo!()
    }

    /// Ends the job's process if it runs here; the store already says `cancelled`.
    pub fn cancel(&self, _job: JobId) {
        todo!()
    }

    /// Stops every child: each checkpoints, its job goes back to the queue.
    pub async fn stop(&self, _deadline: Duration) {
        todo!()
    }
}
