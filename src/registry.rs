//! Loaded detectors by id: bounded, loaded once however many ask, swapped whole.

use std::sync::Arc;

use moka::future::Cache;

use crate::artifact::{ArtifactError, Artifacts};
use crate::detector::Detector;
use crate::id::DetectorId;

/// A cheap handle on the loaded detectors.
#[derive(Debug, Clone)]
pub struct Registry {
    artifacts: Artifacts,
    loaded: Cache<DetectorId, Arc<Detector>>,
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
    pub async fn get(&self, id: DetectorId) -> Result<Arc<Detector>, Arc<ArtifactError>> {
        self.loaded.try_get_with(id, load(self.artifacts.clone(), id)).await
    }

    /// Puts a detector in before anyone asks for it.
    pub async fn publish(&self, id: DetectorId, detector: Arc<Detector>) {
        self.loaded.insert(id, detector).await;
    }

    pub async fn forget(&self, id: DetectorId) {
        self.loaded.invalidate(&id).await;
    }

    /// Some detector that is in memory now, if any is.
    #[must_use]
    pub fn any(&self) -> Option<Arc<Detector>> {
        self.loaded.iter().next().map(|(_, detector)| detector)
    }
}

/// Loads on a blocking thread: decoding weights is computation, which must not hold up the threads that serve sockets.
/// The load also goes on when the one who asked first has left, since others may wait for it.
async fn load(artifacts: Artifacts, id: DetectorId) -> Result<Arc<Detector>, ArtifactError> {
    let runtime = tokio::runtime::Handle::current();
    let loaded = tokio::task::spawn_blocking(move || runtime.block_on(artifacts.load_detector(id))).await;
    match loaded {
        Ok(detector) => detector.map(Arc::new),
        Err(stopped) => Err(ArtifactError::Damaged { id, detail: format!("decoding it failed: {stopped}") }),
    }
}
