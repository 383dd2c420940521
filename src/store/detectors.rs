//! Detectors, which of them are active, and their distributions.

use time::OffsetDateTime;

use super::{Page, PageRequest, Store, StoreError};
use crate::artifact::ArtifactSummary;
use crate::detector::Distribution;
use crate::id::{DetectorId, FamilyId, JobId};
use crate::model::Kind;

/// A detector whose artefact is durable.
#[derive(Debug, Clone, PartialEq)]
pub struct NewDetector {
    pub id: DetectorId,
    pub family: FamilyId,
    /// The job that made it; none for those that ship with the service.
    pub job: Option<JobId>,
    pub artifact: ArtifactSummary,
}

#[derive(Debug, Clone, PartialEq)]
pub struct DetectorRow {
    pub id: DetectorId,
    pub family: FamilyId,
    pub family_name: String,
    pub kind: Kind,
    pub active: bool,
    pub job: Option<JobId>,
    /// With its manifest: hyper-parameters, seed, training curve, sizes (distributions left out: they have a question
    /// of their own).
    pub artifact: ArtifactSummary,
    pub created_at: OffsetDateTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActiveDetector {
    pub id: DetectorId,
    pub kind: Kind,
}

impl Store {
    /// Records a detector without a job and makes it active: for the samples that ship.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the family is gone.
    pub async fn add_detector(&self, _detector: NewDetector) -> Result<(), StoreError> {
        todo!()
    }

    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn find_detector(&self, _id: DetectorId) -> Result<DetectorRow, StoreError> {
        todo!()
    }

    /// The newest first; of one family where given.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`].
    pub async fn list_detectors(
        &self,
        _family: Option<FamilyId>,
        _page: &PageRequest,
    ) -> Result<Page<DetectorRow>, StoreError> {
        todo!()
    }

    /// Every detector's id: for repairs at start.
    ///
    /// # Errors
    /// The database.
    pub async fn detector_ids(&self) -> Result<Vec<DetectorId>, StoreError> {
        todo!()
    }

    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Conflict`] while it is active.
    pub async fn delete_detector(&self, _id: DetectorId) -> Result<(), StoreError> {
        todo!()
    }

    /// Removes a detector whose artefact is lost, active or not: for repairs at start.
    ///
    /// # Errors
    /// The database.
    pub async fn drop_lost_detector(&self, _id: DetectorId) -> Result<(), StoreError> {
        todo!()
    }

    /// Makes `detector` the one of its kind that scores for the family.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such detector; [`StoreError::Conflict`] when it is of another family or
    /// kind.
    pub async fn set_active_detector(
        &self,
        _family: FamilyId,
        _kind: Kind,
        _detector: DetectorId,
    ) -> Result<(), StoreError> {
        todo!()
    }

    /// In the order of [`Kind::ALL`].
    ///
    /// # Errors
    /// The database.
    pub async fn active_detectors(&self, _family: FamilyId) -> Result<Vec<ActiveDetector>, StoreError> {
        todo!()
    }

    /// # Errors
    /// The database.
    pub async fn distributions(&self, _detector: DetectorId) -> Result<Vec<Distribution>, StoreError> {
        todo!()
    }
}
