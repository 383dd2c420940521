//! Detectors and checkpoints as files, through `object_store`: written beside, fsynced, renamed, hashed.
//!
//! `models/README.md` tells the format. An artefact is whole when it has its manifest: that is written last and deleted
//! first, and it holds the hash of the rest.

mod checkpoint;
mod manifest;
#[cfg(test)]
mod tests;

use std::path::Path as FilePath;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use url::Url;

use crate::detector::{DecodeError, Detector, Manifest};
use crate::id::{DetectorId, JobId};
use crate::train::Checkpoint;
use manifest::{ManifestFile, WeightsRecord};

/// What is known of a stored artefact.
#[derive(Debug, Clone, PartialEq)]
pub struct ArtifactSummary {
    pub manifest: Manifest,
    /// Hex SHA-256 of `weights.safetensors` and of `manifest.json`.
    pub weights_sha256: String,
    pub manifest_sha256: String,
    /// Of both files.
    pub size_bytes: u64,
}

/// A detector as it was loaded.
#[derive(Debug)]
pub struct LoadedDetector {
    pub detector: Detector,
    /// Hex SHA-256 of the weights that it was read from.
    pub weights_sha256: String,
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
    #[error("detector {id} cannot be written")]
    Encode {
        id: DetectorId,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("the artefact storage failed")]
    Storage(#[from] object_store::Error),
}

/// A cheap handle on the artefact storage.
#[derive(Debug, Clone)]
pub struct Artifacts {
    storage: Arc<dyn ObjectStore>,
    root: Path,
}

impl Artifacts {
    /// Local storage below `directory`, created if it isn't there.
    ///
    /// # Errors
    /// When the directory can't be made.
    pub fn local(directory: &FilePath) -> Result<Self, ArtifactError> {
        std::fs::create_dir_all(directory)
            .map_err(|error| object_store::Error::Generic { store: "LocalFileSystem", source: error.into() })?;
        // A write goes to a file beside and is renamed; with `fsync`, file and directories are on the disk before it returns.
        let storage = LocalFileSystem::new_with_prefix(directory)?.with_fsync(true).with_automatic_cleanup(true);
        Ok(Self { storage: Arc::new(storage), root: Path::default() })
    }

    /// Storage at a URL (`file:///…` now; `s3://…` once the feature is there). The place that later schemes go.
    ///
    /// # Errors
    /// When it is no URL, or its scheme isn't supported.
    pub fn at_url(url: &str) -> Result<Self, ArtifactError> {
        let invalid = |source| object_store::Error::Generic { store: "URL", source };
        let url = Url::parse(url).map_err(|error| invalid(error.into()))?;
        if url.scheme() == "file" {
            // Not `parse_url`'s local storage, which doesn't sync.
            let directory = url.to_file_path().map_err(|()| invalid(format!("`{url}` names no local path").into()))?;
            return Self::local(&directory);
        }
        let (storage, root) = object_store::parse_url(&url)?;
        Ok(Self { storage: Arc::from(storage), root })
    }

    /// Stores a detector, durable when this returns; the manifest goes last, so an artefact with one is whole.
    ///
    /// # Errors
    /// When the detector can't be encoded or the storage fails.
    pub async fn put_detector(&self, id: DetectorId, detector: &Detector) -> Result<ArtifactSummary, ArtifactError> {
        let encoded = detector.encode();
        let (manifest, weights) = encoded.map_err(|error| ArtifactError::Encode { id, source: error.into() })?;
        self.put_files(id, manifest, weights.into()).await
    }

    /// What is stored for a detector, its hashes checked.
    ///
    /// # Errors
    /// Missing, damaged, or a storage failure.
    pub async fn summary(&self, id: DetectorId) -> Result<ArtifactSummary, ArtifactError> {
        Ok(self.get_files(id).await?.0)
    }

    /// Loads a detector, its weights checked against the hash in its manifest.
    ///
    /// # Errors
    /// Missing, damaged, or a storage failure.
    pub async fn load_detector(&self, id: DetectorId) -> Result<LoadedDetector, ArtifactError> {
        let (ArtifactSummary { manifest, weights_sha256, .. }, weights) = self.get_files(id).await?;
        let detector = off_thread(move || Detector::decode(manifest, &weights))
            .await?
            .map_err(|source| ArtifactError::Decode { id, source })?;
        Ok(LoadedDetector { detector, weights_sha256 })
    }

    /// Deleting what isn't there is no error.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn delete_detector(&self, id: DetectorId) -> Result<(), ArtifactError> {
        self.delete(&self.manifest_path(id)).await?;
        self.delete(&self.weights_path(id)).await
    }

    /// Every detector that has files, whole or not.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn list_detectors(&self) -> Result<Vec<DetectorId>, ArtifactError> {
        self.list(DETECTORS).await
    }

    /// Stores a job's checkpoint in the place of the one before, durable when this returns.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn put_checkpoint(&self, job: JobId, checkpoint: &Checkpoint) -> Result<(), ArtifactError> {
        self.storage.put(&self.checkpoint_path(job), checkpoint::encode(checkpoint).into()).await?;
        Ok(())
    }

    /// The job's last whole checkpoint; a damaged one counts as none.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn load_checkpoint(&self, job: JobId) -> Result<Option<Checkpoint>, ArtifactError> {
        Ok(self.get(&self.checkpoint_path(job)).await?.as_deref().and_then(checkpoint::decode))
    }

    /// Deleting what isn't there is no error.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn delete_checkpoint(&self, job: JobId) -> Result<(), ArtifactError> {
        self.delete(&self.checkpoint_path(job)).await
    }

    /// Every job that has a checkpoint, whole or not.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn list_checkpoints(&self) -> Result<Vec<JobId>, ArtifactError> {
        self.list(CHECKPOINTS).await
    }

    async fn put_files(
        &self,
        id: DetectorId,
        detector: Manifest,
        weights: Bytes,
    ) -> Result<ArtifactSummary, ArtifactError> {
        let record = WeightsRecord { sha256: sha256(&weights), size_bytes: weights.len() as u64 };
        let file = ManifestFile { weights: record, detector };
        let manifest = Bytes::from(file.encode().map_err(|error| ArtifactError::Encode { id, source: error.into() })?);
        let summary = file.summary(&manifest);
        // A manifest left from before would vouch for weights that are about to change.
        self.delete(&self.manifest_path(id)).await?;
        self.storage.put(&self.weights_path(id), weights.into()).await?;
        self.storage.put(&self.manifest_path(id), manifest.into()).await?;
        Ok(summary)
    }

    async fn get_files(&self, id: DetectorId) -> Result<(ArtifactSummary, Bytes), ArtifactError> {
        let manifest = self.get(&self.manifest_path(id)).await?.ok_or(ArtifactError::Missing(id))?;
        let file = ManifestFile::decode(&manifest).map_err(|error| damaged(id, &error))?;
        let weights = self.get(&self.weights_path(id)).await?.ok_or_else(|| damaged(id, &"it has no weights"))?;
        if weights.len() as u64 != file.weights.size_bytes || sha256(&weights) != file.weights.sha256 {
            return Err(damaged(id, &"its weights are not those that its manifest names"));
        }
        Ok((file.summary(&manifest), weights))
    }

    async fn get(&self, path: &Path) -> Result<Option<Bytes>, ArtifactError> {
        match self.storage.get(path).await {
            Ok(found) => Ok(Some(found.bytes().await?)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn delete(&self, path: &Path) -> Result<(), ArtifactError> {
        match self.storage.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The identifiers that have something under `folder`, ascending; files of other names are somebody else's.
    async fn list<I: std::str::FromStr + Ord>(&self, folder: &'static str) -> Result<Vec<I>, ArtifactError> {
        let prefix = self.root.clone().join(folder);
        let mut found: Vec<I> = self
            .storage
            .list(Some(&prefix))
            .try_filter_map(async |object| {
                let below = object.location.prefix_match(&prefix).and_then(|mut parts| parts.next());
                Ok(below.and_then(|part| part.as_ref().parse().ok()))
            })
            .try_collect()
            .await?;
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    fn weights_path(&self, id: DetectorId) -> Path {
        self.root.clone().join(DETECTORS).join(id.to_string()).join("weights.safetensors")
    }

    fn manifest_path(&self, id: DetectorId) -> Path {
        self.root.clone().join(DETECTORS).join(id.to_string()).join("manifest.json")
    }

    fn checkpoint_path(&self, job: JobId) -> Path {
        self.root.clone().join(CHECKPOINTS).join(job.to_string()).join("checkpoint")
    }
}

const DETECTORS: &str = "detectors";
const CHECKPOINTS: &str = "checkpoints";

fn damaged(id: DetectorId, detail: &impl ToString) -> ArtifactError {
    ArtifactError::Damaged { id, detail: detail.to_string() }
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Runs `work`, which computes for long, off the threads that serve requests.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ArtifactError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => Ok(result),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is stopping.
            Err(error) => Err(object_store::Error::JoinError { source: error }.into()),
        },
    }
}
