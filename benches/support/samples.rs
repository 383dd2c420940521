//! The detectors that ship.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use graphkin::detector::Detector;
use graphkin::model::Kind;

/// The sample detector of a kind.
pub(crate) fn detector(kind: Kind) -> Result<Detector> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/ladder").join(kind.as_str());
    let mut manifest: serde_json::Value = serde_json::from_slice(&fs::read(folder.join("manifest.json"))?)?;
    let manifest = serde_json::from_value(manifest["detector"].take())?;
    Detector::decode(manifest, &fs::read(folder.join("weights.safetensors"))?).context("a sample detector")
}
