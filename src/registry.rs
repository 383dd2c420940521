//! Loaded detectors by id: bounded, loaded once however many ask, swapped whole.

use std::sync::Arc;

use moka::future::Cache;

use crate::artifact::{ArtifactError, Artifacts, LoadedDetector};
use crate::id::DetectorId;

/// A cheap handle on the loaded detectors.
#[derive(Debug, Clone)]
pub struct Registry {
    artifacts: Artifacts,
    loaded: Cache<DetectorId, Arc<LoadedDetector>>,
}

impl Registry {
    /// Holds at most `capacity` detectors; those little used go first.
    #[must_use]
    pub fn new(artifacts: Artifacts, capacity: u64) -> Self {
        Self { artifacts, loaded: Cache::new(capacity) }
    }

    /// The detector, loaded on a miss by one of those who ask. A failed load is not remembered: the next asks again.
    ///
    /// # Errors
    /// What the load met.
    pub async fn get(&self, id: DetectorId) -> Result<Arc<LoadedDetector>, Arc<ArtifactError>> {
        let load = async { self.artifacts.load_detector(id).await.map(Arc::new) };
        self.loaded.try_get_with(id, load).await
    }

    /// Puts a detector in before anyone asks for it.
    pub async fn publish(&self, id: DetectorId, detector: Arc<LoadedDetector>) {
        self.loaded.insert(id, detector).await;
    }

    pub async fn forget(&self, id: DetectorId) {
        self.loaded.invalidate(&id).await;
    }

    /// Detectors held at most.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.loaded.policy().max_capacity().unwrap_or(u64::MAX)
    }

    /// Some detector that is in memory now, if any is.
    #[must_use]
    pub fn any(&self) -> Option<(DetectorId, Arc<LoadedDetector>)> {
        self.loaded.iter().next().map(|(id, detector)| (*id, detector))
    }
}
