//! Detectors and checkpoints as files, through `object_store`: written beside, fsynced, renamed, hashed.

use std::path::Path;

use thiserror::Error;

use crate::detector::{DecodeError, Detector, Manifest};
use crate::id::{DetectorId, JobId};
use crate::train::Checkpoint;

/// What is known of a stored artefact.
#[derive(Debug, Clone, PartialEq)]
pub struct ArtifactSummary {
    pub manifest: Manifest,
    /// Hex SHA-256 of `weights.safetensors` and of `manifest.json`.
    pub weights_sha256: String,
    pub manifest_sha256: String,
    pub size_bytes: u64,
}

#[derive(Debug, Error)]
pub enum ArtifactError {
    #[error("detector {0} has no artefact")]
    Missing(DetectorId),
    #[error("the artefact of detector {id} is damaged: {detail}")]
    Damaged { id: DetectorId, detail: String },
    #[error("the artefact of detector {id} cannot be read")]
    Decode {
        id: DetectorId,
        #[source]
        source: DecodeError,
    },
    #[error("the artefact storage failed")]
    Storage(#[from] object_store::Error),
}

/// A cheap handle on the artefact storage.
#[derive(Debug, Clone)]
pub struct Artifacts {
    _todo: (),
}

impl Artifacts {
    /// Local storage below `directory`, created if it isn't there.
    ///
    /// # Errors
    /// When the directory can't be made.
    pub fn local(_directory: &Path) -> Result<Self, ArtifactError> {
        todo!()
    }

    /// Storage at a URL (`file:///…` now; `s3://…` once the feature is there). The place that later schemes go.
    ///
    /// # Errors
    /// When the scheme isn't supported.
    pub fn at_url(_url: &str) -> Result<Self, ArtifactError> {
        todo!()
    }

    /// Stores a detector, durable when this returns; the manifest goes last, so an artefact with one is whole.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn put_detector(&self, _id: DetectorId, _detector: &Detector) -> Result<ArtifactSummary, ArtifactError> {
        todo!()
    }

    /// What is stored for a detector, its hashes checked.
    ///
    /// # Errors
    /// Missing, damaged, or a storage failure.
    pub async fn summary(&self, _id: DetectorId) -> Result<ArtifactSummary, ArtifactError> {
        todo!()
    }

    /// Loads a detector, its hashes checked against the manifest's record and, where given, the store's.
    ///
    /// # Errors
    /// Missing, damaged, or a storage failure.
    pub async fn load_detector(&self, _id: DetectorId) -> Result<Detector, ArtifactError> {
        todo!()
    }

    /// Deleting what isn't there is no error.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn delete_detector(&self, _id: DetectorId) -> Result<(), ArtifactError> {
        todo!()
    }

    /// Every detector that has files, whole or not.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn list_detectors(&self) -> Result<Vec<DetectorId>, ArtifactError> {
        todo!()
    }

    /// # Errors
    /// When the storage fails.
    pub async fn put_checkpoint(&self, _job: JobId, _checkpoint: &Checkpoint) -> Result<(), ArtifactError> {
        todo!()
    }

    /// The job's last whole checkpoint; a damaged one counts as none.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn load_checkpoint(&self, _job: JobId) -> Result<Option<Checkpoint>, ArtifactError> {
        todo!()
    }

    /// # Errors
    /// When the storage fails.
    pub async fn delete_checkpoint(&self, _job: JobId) -> Result<(), ArtifactError> {
        todo!()
    }

    /// # Errors
    /// When the storage fails.
    pub async fn list_checkpoints(&self) -> Result<Vec<JobId>, ArtifactError> {
        todo!()
    }
}
