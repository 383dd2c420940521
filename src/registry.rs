//! Loaded detectors by id: bounded, loaded once however many ask, swapped whole.

use std::sync::Arc;

use crate::artifact::{ArtifactError, Artifacts};
use crate::detector::Detector;
use crate::id::DetectorId;

/// A cheap handle on the loaded detectors.
#[derive(Debug, Clone)]
pub struct Registry {
    _todo: (),
}

impl Registry {
    /// Holds at most `capacity` detectors; the least recently used goes first.
    #[must_use]
    pub fn new(_artifacts: Artifacts, _capacity: u64) -> Self {
        todo!()
    }

    /// The detector, loaded on a miss by one of those who ask.
    ///
    /// # Errors
    /// What the load met.
    pub async fn get(&self, _id: DetectorId) -> Result<Arc<Detector>, Arc<ArtifactError>> {
        todo!()
    }

    /// Puts a detector in before anyone asks for it.
    pub async fn publish(&self, _id: DetectorId, _detector: Arc<Detector>) {
        todo!()
    }

    pub async fn forget(&self, _id: DetectorId) {
        todo!()
    }
}
