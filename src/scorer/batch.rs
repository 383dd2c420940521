//! Units that one thread computes in one call, of one request or of several.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::error;

use super::compute::Compute;
use super::request::Request;
use super::watch::Watch;
use crate::model::Cost;
use crate::model::device::DeviceError;

/// What a batch may cost; its first unit may cost anything.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    pub(super) multiply_adds: u64,
    /// Of all its units together: they are held at the same time.
    pub(super) bytes: u64,
}

/// Units begun and not yet ended, each by its place in its request, whose computations all join.
pub(super) struct Batch<C: Compute> {
    units: Vec<(Arc<Request<C>>, usize)>,
    cost: Cost,
}

impl<C: Compute> Batch<C> {
    pub(super) const fn new() -> Self {
        Self { units: Vec::new(), cost: Cost { multiply_adds: 0, bytes: 0 } }
    }

    /// Every unit of one request.
    pub(super) fn all_of(request: &Arc<Request<C>>) -> Self {
        let mut batch = Self::new();
        (0..request.len()).for_each(|unit| batch.take(Arc::clone(request), unit));
        batch
    }

    pub(super) fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    pub(super) fn multiply_adds(&self) -> u64 {
        self.cost.multiply_adds
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.units.len()
    }

    /// Whether a unit of `request` can come in.
    pub(super) fn has_room(&self, request: &Request<C>, unit: usize, budget: Budget) -> bool {
        let Some((first, _)) = self.units.first() else { return true };
        let cost = self.with(request.cost(unit));
        cost.multiply_adds <= budget.multiply_adds
            && cost.bytes <= budget.bytes
            && first.compute.joins(&request.compute)
    }

    /// Takes a unit that there is room for.
    pub(super) fn take(&mut self, request: Arc<Request<C>>, unit: usize) {
        request.begin();
        self.cost = self.with(request.cost(unit));
        self.units.push((request, unit));
    }

    fn with(&self, cost: Cost) -> Cost {
        Cost {
            multiply_adds: self.cost.multiply_adds.saturating_add(cost.multiply_adds),
            bytes: self.cost.bytes.saturating_add(cost.bytes),
        }
    }

    /// Computes the units and ends each. It doesn't panic: the thread would be lost.
    pub(super) fn run(self, watch: &Watch) {
        metrics::histogram!("graphkin_score_batch_graphs").record(self.units.len() as f64);
        if compute(&self.units) {
            return;
        }
        // One of them failed, and nobody knows which. Alone, it fails its own request and no other.
        let mut again = !watch.look() && self.units.len() > 1;
        for alone in self.units.chunks(1) {
            if again && compute(alone) {
                continue;
            }
            again = again && !watch.look();
            let (request, unit) = &alone[0];
            request.end(*unit, None, Duration::ZERO);
        }
    }
}

/// Computes units in one call and ends them. False when that failed or panicked: then none of them is ended.
fn compute<C: Compute>(units: &[(Arc<Request<C>>, usize)]) -> bool {
    let Some((first, _)) = units.first() else { return true };
    let begun = Instant::now();
    // Nothing that the computation could leave half-done is looked at afterwards: its results are all it gives.
    let results = catch_unwind(AssertUnwindSafe(|| {
        let inputs: Vec<&C::Unit> = units.iter().map(|(request, unit)| request.unit(*unit)).collect();
        let results = first.compute.compute(&inputs)?;
        assert_eq!(results.len(), inputs.len(), "a result for each unit, or its request would wait for ever");
        Ok::<_, DeviceError>(results)
    }));
    let results = match results {
        Ok(Ok(results)) => results,
        Ok(Err(error)) => {
            error!(error = &error as &dyn std::error::Error, units = units.len(), "scoring failed");
            return false;
        }
        // The panic hook has told of it.
        Err(_) => return false,
    };
    // What a unit took of the whole can't be measured, so each is told its share by number: their sum is right.
    let took = begun.elapsed() / u32::try_from(units.len()).unwrap_or(u32::MAX);
    for ((request, unit), result) in units.iter().zip(results) {
        request.end(*unit, Some(result), took);
    }
    true
}
