//! The state of an unfinished run.
//!
//! Random numbers come from streams named by epoch and step, so no generator's position has to be kept.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Checkpoint, TrainError, TrainingData, TrainingSpec, Weights};
use crate::detector::{CurvePoint, metadata, serialise};

/// What a run has reached: finished folds, and the fold at hand.
#[derive(Debug, Clone)]
pub(super) struct RunState {
    fingerprint: String,
    /// The best weights of each finished fold.
    pub(super) finished: Vec<Weights>,
    pub(super) curve: Vec<CurvePoint>,
    /// The fold at hand, once an epoch of it is done.
    pub(super) fold: Option<FoldState>,
}

/// The fold at hand, after an epoch.
#[derive(Debug, Clone)]
pub(super) struct FoldState {
    /// Epochs done.
    pub(super) epoch: u64,
    pub(super) weights: Weights,
    pub(super) adam_step: u64,
    pub(super) adam: Weights,
    pub(super) best: Best,
}

/// The weights with the lowest validation loss so far.
#[derive(Debug, Clone)]
pub(super) struct Best {
    pub(super) epoch: u64,
    pub(super) validation_loss: f64,
    pub(super) weights: Weights,
}

/// The part of a checkpoint that is no tensor.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    fingerprint: String,
    finished: usize,
    curve: Vec<CurvePoint>,
    fold: Option<FoldHeader>,
}

#[derive(Debug, Serialize, Deserialize)]
struct FoldHeader {
    epoch: u64,
    adam_step: u64,
    best_epoch: u64,
    best_validation_loss: f64,
}

impl RunState {
    pub(super) fn start(spec: &TrainingSpec, data: &TrainingData) -> Self {
        Self { fingerprint: fingerprint(spec, data), finished: Vec::new(), curve: Vec::new(), fold: None }
    }

    pub(super) fn finish_fold(&mut self, weights: Weights) {
        self.finished.push(weights);
        self.fold = None;
    }

    pub(super) fn to_checkpoint(&self) -> Result<Checkpoint, TrainError> {
        let mut tensors = BTreeMap::new();
        let mut put = |prefix: &str, weights: &Weights| {
            tensors.extend(weights.iter().map(|(name, tensor)| (format!("{prefix}/{name}"), tensor.clone())));
        };
        for (index, weights) in self.finished.iter().enumerate() {
            put(&format!("finished.{index}"), weights);
        }
        if let Some(fold) = &self.fold {
            put("weights", &fold.weights);
            put("adam", &fold.adam);
            put("best", &fold.best.weights);
        }
        let header = Header {
            fingerprint: self.fingerprint.clone(),
            finished: self.finished.len(),
            curve: self.curve.clone(),
            fold: self.fold.as_ref().map(|fold| FoldHeader {
                epoch: fold.epoch,
                adam_step: fold.adam_step,
                best_epoch: fold.best.epoch,
                best_validation_loss: fold.best.validation_loss,
            }),
        };
        let header = serde_json::to_string(&header).map_err(|why| TrainError::Checkpoint(why.to_string()))?;
        Ok(Checkpoint(serialise(&tensors, Some(header))?))
    }

    /// # Errors
    /// When the checkpoint is damaged, or of another spec or other graphs.
    pub(super) fn resume(
        checkpoint: &Checkpoint,
        spec: &TrainingSpec,
        data: &TrainingData,
    ) -> Result<Self, TrainError> {
        let damaged = |why: String| TrainError::Checkpoint(why);
        let header = metadata(&checkpoint.0).ok_or_else(|| damaged("it has no header".to_owned()))?;
        let header: Header = serde_json::from_str(&header).map_err(|why| damaged(why.to_string()))?;
        if header.fingerprint != fingerprint(spec, data) {
            return Err(damaged("it is of another spec, or the family's graphs have changed".to_owned()));
        }
        let tensors = candle_core::safetensors::load_buffer(&checkpoint.0, &Device::Cpu)?;
        let take = |prefix: &str| -> Weights {
            let prefix = format!("{prefix}/");
            let named =
                |(name, tensor): (&String, &Tensor)| Some((name.strip_prefix(&prefix)?.to_owned(), tensor.clone()));
            tensors.iter().filter_map(named).collect()
        };
        Ok(Self {
            fingerprint: header.fingerprint,
            finished: (0..header.finished).map(|index| take(&format!("finished.{index}"))).collect(),
            curve: header.curve,
            fold: header.fold.map(|fold| FoldState {
                epoch: fold.epoch,
                weights: take("weights"),
                adam_step: fold.adam_step,
                adam: take("adam"),
                best: Best {
                    epoch: fold.best_epoch,
                    validation_loss: fold.best_validation_loss,
                    weights: take("best"),
                },
            }),
        })
    }
}

/// Of everything that decides the weights: the spec, and which graphs are in which split.
fn fingerprint(spec: &TrainingSpec, data: &TrainingData) -> String {
    let mut hash = Sha256::new();
    hash.update(serde_json::to_vec(spec).unwrap_or_default());
    for split in [&data.train, &data.calibration] {
        hash.update((split.len() as u64).to_le_bytes());
        for (id, graph) in split {
            hash.update(id.get().to_le_bytes());
            hash.update((graph.edge_count() as u64).to_le_bytes());
        }
    }
    hex::encode(hash.finalize())
}
