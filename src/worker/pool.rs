//! The loop that claims jobs and starts attempts.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};
use uuid::Uuid;

use super::attempt::{Attempt, Errand, Signals};
use super::{Config, commit, janitor};
use crate::artifact::Artifacts;
use crate::id::{DetectorId, JobId};
use crate::job::Task;
use crate::registry::Registry;
use crate::store::{ClaimedJob, Store};

/// How often the queue is looked at unasked: a retry's delay passes without a wake.
const POLL: Duration = Duration::from_secs(1);

/// What the pool and its attempts share.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) config: Config,
    pub(super) store: Store,
    pub(super) artifacts: Artifacts,
    pub(super) registry: Registry,
    wake: Notify,
    /// Asks children to end.
    stop: CancellationToken,
    /// Ends them.
    kill: CancellationToken,
    /// Jobs that run here, with what each makes. A std lock: held for a few lines, never across a wait.
    running: Mutex<HashMap<JobId, Running>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Running {
    errand: Errand,
    cancel: CancellationToken,
}

impl Pool {
    pub(super) fn start(config: Config, store: Store, artifacts: Artifacts, registry: Registry) -> Arc<Self> {
        let pool = Arc::new(Self {
            config,
            store,
            artifacts,
            registry,
            wake: Notify::new(),
            stop: CancellationToken::new(),
            kill: CancellationToken::new(),
            running: Mutex::default(),
            task: Mutex::default(),
        });
        let task = tokio::spawn(Arc::clone(&pool).run());
        *pool.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        pool
    }

    pub(super) fn wake(&self) {
        // One permit is kept when nobody waits, so a wake between two looks at the queue is not lost.
        self.wake.notify_one();
    }

    pub(super) fn cancel(&self, job: JobId) {
        if let Some(running) = self.running().get(&job) {
            running.cancel.cancel();
        }
    }

    pub(super) async fn stop(&self, deadline: Duration) {
        self.stop.cancel();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut task) = task else { return };
        if tokio::time::timeout(deadline, &mut task).await.is_err() {
            self.kill.cancel();
            if let Err(error) = task.await {
                error!(%error, "the worker pool ended badly");
            }
        }
    }

    /// The detectors that running attempts make: their artefacts have no row yet.
    pub(super) fn detectors_in_making(&self) -> Vec<DetectorId> {
        let detector = |running: &Running| match running.errand {
            Errand::Detector(detector) => Some(detector),
            Errand::Report => None,
        };
        self.running().values().filter_map(detector).collect()
    }

    fn running(&self) -> MutexGuard<'_, HashMap<JobId, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(self: Arc<Self>) {
        let mut attempts = JoinSet::new();
        let mut untidy = true;
        while !self.stop.is_cancelled() {
            while attempts.len() < self.config.workers && !self.stop.is_cancelled() {
                match self.store.claim_job(self.config.lease).await {
                    Ok(Some(claimed)) => {
                        attempts.spawn(Arc::clone(&self).attempt(claimed));
                    }
                    Ok(None) => break,
                    Err(error) => {
                        error!(error = &error as &dyn std::error::Error, "no job could be claimed");
                        break;
                    }
                }
            }
            if std::mem::take(&mut untidy) {
                janitor::tidy(&self).await;
            }
            tokio::select! {
                () = self.wake.notified() => untidy = true,
                () = self.stop.cancelled() => {}
                Some(_) = attempts.join_next() => untidy = true,
                () = tokio::time::sleep(POLL) => {}
            }
        }
        while attempts.join_next().await.is_some() {}
    }

    /// One attempt at a job, from its claim to its commit. A panic in here costs the attempt, not the pool.
    async fn attempt(self: Arc<Self>, claimed: ClaimedJob) {
        let ClaimedJob { job, attempt: number } = claimed;
        let errand = match &job.task {
            Task::Training(_) => Errand::Detector(DetectorId::new(Uuid::now_v7())),
            Task::Evaluation(_) => Errand::Report,
        };
        let cancel = CancellationToken::new();
        self.running().insert(job.id, Running { errand, cancel: cancel.clone() });
        let signals = Signals { cancel, stop: self.stop.clone(), kill: self.kill.clone() };
        let attempt = Attempt { job: &job, number, errand, signals };
        info!(job.id = %job.id, job.attempt = number, family = job.family_name, "{}", errand.noun());
        let conducted = AssertUnwindSafe(async {
            if job.attempts > self.config.max_attempts {
                // The last attempt took the whole service down with it, so nobody could count it then.
                return commit::died(&self, &attempt, "the service died while it ran").await;
            }
            let ending = attempt.conduct(&self).await;
            commit::commit(&self, &attempt, ending).await;
        });
        if conducted.catch_unwind().await.is_err() {
            error!(job.id = %job.id, job.attempt = number, "following the job panicked");
            commit::died(&self, &attempt, "the service met an error while it followed it").await;
        }
        self.running().remove(&job.id);
    }
}
