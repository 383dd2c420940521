//! A device other than the CPU, with the detectors that were put on it.

use std::sync::Arc;

use moka::sync::Cache;

use crate::detector::{Detector, PlacedDetector, Portrait, Score, ScoreOptions};
use crate::id::DetectorId;
use crate::model::device::{ComputeDevice, DeviceError};

/// Used by one thread alone: on one stream, in one order, what it is asked again it answers again.
#[derive(Debug)]
pub(super) struct Card {
    device: ComputeDevice,
    placed: Cache<DetectorId, Arc<PlacedDetector>>,
}

impl Card {
    /// With room for so many detectors.
    pub(super) fn new(device: ComputeDevice, capacity: u64) -> Self {
        Self { device, placed: Cache::new(capacity) }
    }

    /// # Errors
    /// When the device fails.
    pub(super) fn score(
        &self,
        id: DetectorId,
        detector: &Detector,
        portraits: &[&Portrait<'_>],
        options: &ScoreOptions,
    ) -> Result<Vec<Score>, DeviceError> {
        let placed = match self.placed.get(&id) {
            Some(placed) => placed,
            None => {
                let placed = Arc::new(detector.place(&self.device)?);
                self.placed.insert(id, Arc::clone(&placed));
                placed
            }
        };
        detector.score_portraits_on(&placed, portraits, options)
    }

    /// # Errors
    /// When the device fails.
    pub(super) fn check(&self) -> Result<(), DeviceError> {
        self.device.check()
    }

    pub(super) fn forget(&self, detector: DetectorId) {
        self.placed.invalidate(&detector);
    }
}
