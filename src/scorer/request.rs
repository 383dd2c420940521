//! One admitted request on its way through the compute threads.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::admission::Permit;
use super::compute::Compute;
use super::{ScoreError, Timing};
use crate::model::Cost;

type Answer<T> = Result<(Vec<T>, Timing), ScoreError>;

/// Units computed by `compute` and answered together, in order.
///
/// The permit lives in here: a client that leaves frees nothing while a unit of its request is still being computed.
pub(super) struct Request<C: Compute> {
    pub(super) compute: C,
    units: Vec<(C::Unit, Cost)>,
    submitted: Instant,
    state: Mutex<State<C::Output>>,
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

impl<C: Compute> Request<C> {
    /// There is at least one unit.
    pub(super) fn new(
        compute: C,
        units: Vec<C::Unit>,
        permit: Permit,
    ) -> (Arc<Self>, oneshot::Receiver<Answer<C::Output>>) {
        let (reply, answer) = oneshot::channel();
        let state = State {
            permit: Some(permit),
            reply: Some(reply),
            results: units.iter().map(|_| None).collect(),
            left: units.len(),
            running: 0,
            failed: false,
            started: None,
        };
        let estimated = |unit: C::Unit| {
            let cost = compute.cost(&unit);
            (unit, cost)
        };
        let units = units.into_iter().map(estimated).collect();
        (Arc::new(Self { compute, units, submitted: Instant::now(), state: Mutex::new(state) }), answer)
    }

    pub(super) fn len(&self) -> usize {
        self.units.len()
    }

    pub(super) fn unit(&self, index: usize) -> &C::Unit {
        &self.units[index].0
    }

    pub(super) fn cost(&self, index: usize) -> Cost {
        self.units[index].1
    }

    /// Estimated multiply-adds of all units together.
    pub(super) fn multiply_adds(&self) -> u64 {
        self.units.iter().fold(0, |sum, (_, cost)| sum.saturating_add(cost.multiply_adds))
    }

    /// Whether somebody still waits for it: the client has not left, and no unit has failed.
    pub(super) fn wanted(&self) -> bool {
        let state = self.state();
        !state.failed && state.reply.as_ref().is_some_and(|reply| !reply.is_closed())
    }

    /// Told once when it is taken off the queue unfinished because nobody wants it.
    pub(super) fn dropped(&self) {
        if !self.state().failed {
            metrics::counter!("graphkin_score_dropped_total").increment(1);
        }
    }

    /// Told when a thread takes a unit: each is ended later.
    pub(super) fn begin(&self) {
        let mut state = self.state();
        state.running += 1;
        if state.started.is_none() {
            state.started = Some(Instant::now());
            metrics::histogram!("graphkin_score_queue_seconds").record(self.submitted.elapsed().as_secs_f64());
        }
    }

    /// Told the result of a unit, none when it panicked, and the time that it took.
    pub(super) fn end(&self, unit: usize, result: Option<C::Output>, took: Duration) {
        let mut state = self.state();
        state.running -= 1;
        match result {
            Some(result) => {
                if let Some(permit) = &state.permit {
                    permit.measured(self.cost(unit).multiply_adds as f64, took);
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

    fn state(&self) -> MutexGuard<'_, State<C::Output>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
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
