//! `manifest.json`: what a detector says of itself, and which weights belong to it.

use serde::{Deserialize, Serialize};

use super::{ArtifactSummary, sha256};
use crate::detector::Manifest;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ManifestFile {
    pub(super) weights: WeightsRecord,
    pub(super) detector: Manifest,
}

/// The weights' file as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WeightsRecord {
    /// In hexadecimal.
    pub(super) sha256: String,
    pub(super) size_bytes: u64,
}

impl ManifestFile {
    /// Indented, for it is read by people too.
    pub(super) fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec_pretty(self)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// `encoded` are the bytes of this manifest, as stored.
    pub(super) fn summary(self, encoded: &[u8]) -> ArtifactSummary {
        ArtifactSummary {
            manifest: self.detector,
            size_bytes: self.weights.size_bytes + encoded.len() as u64,
            weights_sha256: self.weights.sha256,
            manifest_sha256: sha256(encoded),
        }
    }
}
