//! Admission and compute threads together, whatever they compute.

use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::admission::{Admission, Permit};
use super::batch::Budget;
use super::compute::Compute;
use super::pool::Pool;
use super::request::Request;
use super::watch::Watch;
use super::{Config, PermitError, ScoreError, Timing};
use crate::model::device::DeviceError;

/// How long a success vouches for the threads before a probe computes again.
const RECENT: Duration = Duration::from_secs(10);
/// How long a probe may take: longer than any unit that isn't stuck.
const PROBE_DEADLINE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Engine<C: Compute> {
    admission: Arc<Admission>,
    pool: Pool<C>,
    watch: Arc<Watch>,
    /// Multiply-adds that a request may cost whose own thread computes it, when nothing waits.
    quick: u64,
    /// When a request last ended well. A lock for one copy, never held across a wait.
    succeeded: Mutex<Option<Instant>>,
}

impl<C: Compute> Engine<C> {
    /// With `threads` of them, 0 being one per core, on the device that `watch` looks at. What costs at most `quick` they
    /// need not be woken for.
    pub(super) fn start(config: &Config, threads: usize, quick: u64, watch: Watch) -> std::io::Result<Self> {
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, NonZero::get),
            threads => threads,
        };
        let watch = Arc::new(watch);
        let admission = Arc::new(Admission::new(config, threads));
        // What one graph may take in memory, a batch may: then the bound holds for a thread, whatever it computes.
        let budget = Budget { multiply_adds: config.max_batch_cost, bytes: config.max_graph_memory };
        let pool = Pool::start(threads, budget, &watch)?;
        Ok(Self { admission, pool, watch, quick, succeeded: Mutex::default() })
    }

    pub(super) fn permit(&self, cost: u64) -> Result<Permit, PermitError> {
        if self.watch.is_lost() {
            return Err(PermitError::Stopping);
        }
        self.admission.permit(cost)
    }

    /// Of work that is done already.
    pub(super) fn pass(&self) -> Permit {
        self.admission.pass()
    }

    /// Computes every unit; results in their order.
    pub(super) async fn compute(
        &self,
        permit: Permit,
        compute: C,
        units: Vec<C::Unit>,
    ) -> Result<(Vec<C::Output>, Timing), ScoreError> {
        if units.is_empty() {
            return Ok((Vec::new(), Timing { queued: Duration::ZERO, computed: Duration::ZERO }));
        }
        let (request, answer) = Request::new(compute, units, permit);
        let is_quick = request.multiply_adds() <= self.quick;
        if !(is_quick && self.pool.compute_here(&request, &self.watch)) {
            self.pool.submit(request).map_err(|_| ScoreError::Stopping)?;
        }
        // Of a device that doesn't come back there is no answer.
        let answer = tokio::select! {
            biased;
            answer = answer => answer.map_err(|_| ScoreError::Stopping)?,
            () = self.watch.lost() => Err(ScoreError::DeviceLost),
        };
        match answer {
            Ok(_) => self.note_success(),
            Err(_) if self.watch.is_lost() => return Err(ScoreError::DeviceLost),
            Err(_) => {}
        }
        answer
    }

    /// Whether a request ended well recently, or `work` does now, before anything that waits. It needs no permit: a full
    /// queue is a healthy one.
    pub(super) async fn probe(&self, work: impl FnOnce() -> Result<(), DeviceError> + Send + 'static) -> bool {
        if self.watch.is_lost() {
            return false;
        }
        if self.succeeded_within(RECENT) {
            return true;
        }
        let (reply, answer) = oneshot::channel();
        let watch = Arc::clone(&self.watch);
        let errand = move || {
            // Nothing that the work could leave half-done is looked at afterwards.
            let ended_well = matches!(catch_unwind(AssertUnwindSafe(work)), Ok(Ok(())));
            if !ended_well {
                watch.look();
            }
            // Whoever asked may have lost patience.
            let _ = reply.send(ended_well);
        };
        if self.pool.submit_first(Box::new(errand)).is_err() {
            return false;
        }
        let answered = matches!(tokio::time::timeout(PROBE_DEADLINE, answer).await, Ok(Ok(true)));
        if answered {
            self.note_success();
        }
        answered
    }

    /// To be called now and then.
    pub(super) fn keep_up(&self) {
        self.watch.look_at_the_clock();
    }

    /// Comes when the device has failed for good.
    pub(super) async fn lost(&self) {
        self.watch.lost().await;
    }

    #[cfg(test)]
    pub(super) fn lose_device(&self) {
        self.watch.lose();
    }

    pub(super) fn is_lost(&self) -> bool {
        self.watch.is_lost()
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
