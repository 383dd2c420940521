//! The scorer: a cheap handle outside, a bounded cost-budgeted queue and compute threads inside.

use std::time::Duration;

use thiserror::Error;

use crate::detector::{Score, ScoreOptions, Verdict};
use crate::graph::Graph;
use crate::id::DetectorId;
use crate::registry::Registry;

#[derive(Debug, Clone)]
pub struct Config {
    /// Compute threads; 0 is one per core.
    pub threads: usize,
    /// Requests that may wait or run at once.
    pub max_requests: usize,
    /// Estimated multiply-adds that may wait or run at once.
    pub max_cost: u64,
}

/// Room for one piece of work in the queue. It travels with the work and is given back when the work ends, not when the
/// client leaves.
#[derive(Debug)]
pub struct Permit {
    _todo: (),
}

#[derive(Debug, Error)]
pub enum PermitError {
    /// The queue is full; `retry_after` is computed from the work in it and the measured speed.
    #[error("the scoring queue is full")]
    Overloaded { retry_after: Duration },
    /// The work would not fit even an empty queue.
    #[error("scoring this takes about {cost} multiply-adds; at most {limit} are allowed at once")]
    TooCostly { cost: u64, limit: u64 },
    #[error("the service is stopping")]
    Stopping,
}

#[derive(Debug, Error)]
pub enum ScoreError {
    #[error("detector {0} cannot be loaded")]
    Unavailable(DetectorId, #[source] std::sync::Arc<crate::artifact::ArtifactError>),
    /// The computation panicked; the service goes on.
    #[error("scoring failed")]
    Failed,
    #[error("the service is stopping")]
    Stopping,
}

/// What the family's detectors say of one graph.
#[derive(Debug, Clone)]
pub struct Scored {
    /// In the order of the detectors asked for.
    pub scores: Vec<(DetectorId, Score)>,
    pub verdict: Verdict,
}

/// How long the work waited and computed, for metrics and headers.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    pub queued: Duration,
    pub computed: Duration,
}

/// A cheap handle on the compute threads.
#[derive(Debug, Clone)]
pub struct Scorer {
    _todo: (),
}

impl Scorer {
    #[must_use]
    pub fn start(_config: &Config, _registry: Registry) -> Self {
        todo!()
    }

    /// Admission: sum the costs (`detector::cost`) of all graphs under all detectors asked.
    ///
    /// # Errors
    /// See [`PermitError`].
    pub fn permit(&self, _cost: u64) -> Result<Permit, PermitError> {
        todo!()
    }

    /// Scores graphs under detectors of one family; results in the order of the graphs. Work whose caller has gone is
    /// dropped before it starts.
    ///
    /// # Errors
    /// See [`ScoreError`].
    pub async fn score(
        &self,
        _permit: Permit,
        _detectors: &[DetectorId],
        _graphs: Vec<Graph>,
        _options: ScoreOptions,
    ) -> Result<(Vec<Scored>, Timing), ScoreError> {
        todo!()
    }

    /// Whether a compute thread did real work recently or does now: scores a tiny graph under a loaded detector, or under
    /// none when none is loaded.
    pub async fn probe(&self) -> bool {
        todo!()
    }

    /// Drops a deleted detector from memory.
    pub async fn forget(&self, _detector: DetectorId) {
        todo!()
    }

    /// Finishes what is queued, refuses more, joins the threads.
    pub async fn stop(&self) {
        todo!()
    }
}
