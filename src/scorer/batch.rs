//! One admitted request on its way through the compute threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::admission::Permit;
use super::pool::Work;
use super::{ScoreError, Timing};

type Answer<T> = Result<(Vec<T>, Timing), ScoreError>;

/// Units computed by `compute` and answered together, in order.
///
/// The permit lives in here: a client that leaves frees nothing while a unit of its batch is still being computed.
pub(super) struct Batch<T, F> {
    units: usize,
    compute: F,
    submitted: Instant,
    state: Mutex<State<T>>,
}

struct State<T> {
    permit: Option<Permit>,
    reply: Option<oneshot::Sender<Answer<T>>>,
    results: Vec<Option<T>>,
    left: usize,
    running: usize,
    failed: bool,
    started: Option<Instant>,
}

impl<T, F> Batch<T, F>
where
    T: Send + 'static,
    F: Fn(usize) -> T + Send + Sync + 'static,
{
    /// `units` is at least 1.
    pub(super) fn new(units: usize, permit: Option<Permit>, compute: F) -> (Arc<Self>, oneshot::Receiver<Answer<T>>) {
        let (reply, answer) = oneshot::channel();
        let state = State {
            permit,
            reply: Some(reply),
            results: (0..units).map(|_| None).collect(),
            left: units,
            running: 0,
            failed: false,
            started: None,
        };
        (Arc::new(Self { units, compute, submitted: Instant::now(), state: Mutex::new(state) }), answer)
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the unit shall run. A batch that failed or lost its client since it was queued starts no more units.
    fn begin(&self) -> bool {
        let mut state = self.state();
        if !state.wanted() {
            return false;
        }
        state.running += 1;
        if state.started.is_none() {
            state.started = Some(Instant::now());
            metrics::histogram!("graphkin_score_queue_seconds").record(self.submitted.elapsed().as_secs_f64());
        }
        true
    }

    fn end(&self, unit: usize, result: Option<T>, took: Duration) {
        let mut state = self.state();
        state.running -= 1;
        match result {
            Some(result) => {
                if let Some(permit) = &state.permit {
                    permit.measured(permit.cost() as f64 / self.units as f64, took);
                }
                state.results[unit] = Some(result);
                state.left -= 1;
            }
            None => state.failed = true,
        }
        let over = state.left == 0 || (state.failed && state.running == 0);
        if !over {
            return;
        }
        let answer = state.answer(self.submitted);
        let (permit, reply) = (state.permit.take(), state.reply.take());
        drop(state);
        // The room is given back before the answer goes out: a client that asks again at once must find it free.
        drop(permit);
        if let Some(reply) = reply {
            // The client may have left; its answer is then lost on nobody.
            let _ = reply.send(answer);
        }
    }
}

impl<T> State<T> {
    fn wanted(&self) -> bool {
        !self.failed && self.reply.as_ref().is_some_and(|reply| !reply.is_closed())
    }

    fn answer(&mut self, submitted: Instant) -> Answer<T> {
        let started = self.started.unwrap_or(submitted);
        let timing = Timing { queued: started - submitted, computed: started.elapsed() };
        metrics::histogram!("graphkin_score_compute_seconds").record(timing.computed.as_secs_f64());
        if self.failed {
            metrics::counter!("graphkin_score_failed_total").increment(1);
        }
        let results: Option<Vec<T>> = std::mem::take(&mut self.results).into_iter().collect();
        results.map(|results| (results, timing)).ok_or(ScoreError::Failed)
    }
}

impl<T, F> Work for Batch<T, F>
where
    T: Send + 'static,
    F: Fn(usize) -> T + Send + Sync + 'static,
{
    fn units(&self) -> usize {
        self.units
    }

    fn wanted(&self) -> bool {
        self.state().wanted()
    }

    fn run(&self, unit: usize) {
        if !self.begin() {
            return;
        }
        let started = Instant::now();
        // Nothing that the computation could leave half-done is looked at afterwards: its result is all it gives.
        let result = catch_unwind(AssertUnwindSafe(|| (self.compute)(unit)));
        self.end(unit, result.ok(), started.elapsed());
    }

    fn dropped(&self) {
        if !self.state().failed {
            metrics::counter!("graphkin_score_dropped_total").increment(1);
        }
    }
}
