//! The scorer: a cheap handle outside, a bounded cost-budgeted queue and compute threads inside.
//!
//! `admission` lets a `request` in, it waits in the `queue`, and the threads of the `pool` (its own, not the runtime's
//! blocking ones, which file reads share) take each a `batch` of what waits, of one request or of several. `engine` is
//! all of these together, whatever they compute, and `jury` is what they compute here. An `inquiry` is a request before
//! that: what the `cache` knows of its graphs waits for nobody. A score is a pure function of graph, detector and options,
//! so on the CPU neither the thread, nor the company it is computed in, nor when, can change a bit of it. Another device is a
//! `card`, fed by one thread; a `watch` tells when it has failed for good.

mod admission;
mod batch;
mod cache;
mod card;
mod compute;
mod engine;
mod inquiry;
mod jury;
mod pool;
mod queue;
mod request;
#[cfg(test)]
mod testing;
mod watch;

pub use admission::Permit;
pub use inquiry::Inquiry;
pub use jury::{Jury, Scored};

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use self::cache::Cache;
use self::card::Card;
use self::engine::Engine;
use self::jury::{Juror, Question};
use self::watch::Watch;
use crate::artifact::ArtifactError;
use crate::detector::ScoreOptions;
use crate::graph::Graph;
use crate::id::DetectorId;
use crate::model::device::ComputeDevice;
use crate::registry::Registry;

/// How long another device may be silent. It computes what is admitted in seconds; a kernel that hangs never ends.
const PATIENCE: Duration = Duration::from_secs(600);

/// Multiply-adds of about a hundred microseconds: waking a thread, and being woken by it, takes as long.
const QUICK: u64 = 2_000_000;

#[derive(Debug, Clone)]
pub struct Config {
    /// Compute threads; 0 is one per core.
    pub threads: usize,
    /// Requests that may wait or run at once.
    pub max_requests: usize,
    /// Estimated multiply-adds that may wait or run at once.
    pub max_cost: u64,
    /// Estimated multiply-adds of the graphs that a thread scores in one call; one graph may take more.
    pub max_batch_cost: u64,
    /// Estimated bytes of memory that scoring one graph may take.
    pub max_graph_memory: u64,
    /// Bytes of answers that are kept; 0 keeps none.
    pub cache_bytes: u64,
}

#[derive(Debug, Error)]
pub enum PermitError {
    /// The queue is full; `retry_after` is computed from the work in it and the measured speed.
    #[error("the scoring queue is full")]
    Overloaded { retry_after: Duration },
    /// The work would not fit even an empty queue.
    #[error("scoring this takes about {cost} multiply-adds; at most {limit} are allowed at once")]
    TooCostly { cost: u64, limit: u64 },
    /// One graph would take more memory than any may.
    #[error("scoring a graph of this takes about {bytes} bytes of memory; at most {limit} are allowed")]
    TooLarge { bytes: u64, limit: u64 },
    #[error("the service is stopping")]
    Stopping,
}

#[derive(Debug, Error)]
pub enum ScoreError {
    #[error("detector {0} cannot be loaded")]
    Unavailable(DetectorId, #[source] Arc<ArtifactError>),
    /// The computation panicked; the service goes on.
    #[error("scoring failed")]
    Failed,
    #[error("the device that scores has failed; the service ends, to be started anew")]
    DeviceLost,
    #[error("the service is stopping")]
    Stopping,
}

/// How long the work waited and computed, for metrics and headers.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    pub queued: Duration,
    pub computed: Duration,
}

/// A cheap handle on the compute threads. They end when the last handle is dropped.
#[derive(Debug, Clone)]
pub struct Scorer {
    registry: Registry,
    engine: Arc<Engine<Question>>,
    cache: Cache,
    card: Option<Arc<Card>>,
    max_graph_memory: u64,
}

impl Scorer {
    /// # Errors
    /// When the threads can't be started.
    pub fn start(config: &Config, registry: Registry, device: ComputeDevice) -> std::io::Result<Self> {
        // Another device is fed by one thread, and by no other.
        let (threads, quick) = if device.is_cpu() { (config.threads, QUICK) } else { (1, 0) };
        let watched = device.clone();
        let watch = Watch::new(move || watched.check(), (!device.is_cpu()).then_some(PATIENCE));
        let engine = Arc::new(Engine::start(config, threads, quick, watch)?);
        let card = (!device.is_cpu()).then(|| Arc::new(Card::new(device, registry.capacity())));
        let cache = Cache::new(config.cache_bytes);
        Ok(Self { registry, engine, cache, card, max_graph_memory: config.max_graph_memory })
    }

    /// Loads the detectors that are to score.
    ///
    /// # Errors
    /// [`ScoreError::Unavailable`].
    pub async fn load(&self, ids: &[DetectorId]) -> Result<Jury, ScoreError> {
        let mut jurors = Vec::with_capacity(ids.len());
        for &id in ids {
            let loaded = self.registry.get(id).await.map_err(|error| ScoreError::Unavailable(id, error))?;
            jurors.push(Juror { id, loaded });
        }
        Ok(Jury::new(jurors))
    }

    /// What the jury is to say of graphs, what it has said of them before looked up. It takes time in proportion to the
    /// graphs' size, so it belongs on a thread that may block.
    #[must_use]
    pub fn look_up(&self, jury: &Jury, graphs: Vec<Graph>, options: ScoreOptions) -> Inquiry {
        let question = Question { jury: jury.clone(), options, cache: self.cache.clone(), card: self.card.clone() };
        Inquiry::new(question, graphs)
    }

    /// Admission, by the work of all that has to be computed. What is known needs no room, so it waits for nobody.
    ///
    /// # Errors
    /// See [`PermitError`].
    pub fn permit(&self, inquiry: &Inquiry) -> Result<Permit, PermitError> {
        if inquiry.is_known() {
            return Ok(self.engine.pass());
        }
        let cost = inquiry.cost();
        if cost.bytes > self.max_graph_memory {
            return Err(PermitError::TooLarge { bytes: cost.bytes, limit: self.max_graph_memory });
        }
        self.engine.permit(cost.multiply_adds)
    }

    /// Scores the graphs of an inquiry; results in their order. Work whose caller has gone is dropped before it starts.
    ///
    /// # Errors
    /// See [`ScoreError`].
    pub async fn score(&self, permit: Permit, inquiry: Inquiry) -> Result<(Vec<Scored>, Timing), ScoreError> {
        let (question, unknown, complete) = inquiry.part();
        let (computed, timing) = self.engine.compute(permit, question, unknown).await?;
        Ok((complete(computed), timing))
    }

    /// Whether the compute threads work: one did recently, or scores a tiny graph now under a loaded detector (does
    /// nothing there when none is loaded).
    pub async fn probe(&self) -> bool {
        let (detector, card) = (self.registry.any(), self.card.clone());
        let work = move || {
            if let Some(card) = &card {
                card.check()?;
            }
            detector.map_or(Ok(()), |(id, loaded)| jury::probe(id, &loaded.detector, card.as_deref()))
        };
        self.engine.probe(work).await
    }

    /// Comes when the device has failed for good: nothing can be scored any more.
    pub async fn lost(&self) {
        self.engine.lost().await;
    }

    /// Whether the device has failed for good.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.engine.is_lost()
    }

    /// Drops a deleted detector from memory, and its answers.
    pub async fn forget(&self, detector: DetectorId) {
        self.registry.forget(detector).await;
        self.cache.forget(detector);
        if let Some(card) = &self.card {
            card.forget(detector);
        }
    }

    /// To be called now and then, for the cache and its gauges, and to notice a device that doesn't answer.
    pub fn keep_up(&self) {
        self.engine.keep_up();
        self.cache.keep_up();
    }

    /// Finishes what is queued, refuses more, joins the threads.
    pub async fn stop(&self) {
        let engine = Arc::clone(&self.engine);
        engine.close();
        // The wait for a long unit must not hold up the runtime.
        if let Err(error) = tokio::task::spawn_blocking(move || engine.join()).await {
            tracing::error!(%error, "the compute threads could not be joined");
        }
    }
}

#[cfg(test)]
impl Scorer {
    /// As if the device had failed for good.
    pub(crate) fn lose_device(&self) {
        self.engine.lose_device();
    }
}

#[cfg(test)]
impl Config {
    /// Each number 1, for tests to say what they need of it.
    const fn tiny() -> Self {
        Self { threads: 1, max_requests: 1, max_cost: 1, max_batch_cost: 1, max_graph_memory: 1, cache_bytes: 1 }
    }
}
