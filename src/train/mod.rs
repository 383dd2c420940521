//! Training: a spec and graphs in, a detector out; progress, checkpoints and stopping by callback.

use serde::{Deserialize, Serialize};

use crate::detector::Detector;
use crate::graph::Graph;
use crate::id::GraphId;
use crate::model::{Hyperparameters, Kind};

/// Where the tensors of a training job live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceChoice {
    /// CUDA where the binary has it and a device answers, else the CPU.
    #[default]
    Auto,
    Cpu,
    Cuda,
}

/// What to train, fully resolved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingSpec {
    pub kind: Kind,
    pub hyperparameters: Hyperparameters,
    pub seed: u64,
    pub device: DeviceChoice,
}

/// A family's graphs by split, each with its row, which names it in the calibration scores.
#[derive(Debug, Clone, Default)]
pub struct TrainingData {
    pub train: Vec<(GraphId, Graph)>,
    pub calibration: Vec<(GraphId, Graph)>,
    pub test: Vec<(GraphId, Graph)>,
}

/// How far a training run has come. Losses are in nats.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// `training`, `calibrating` or `distributions`.
    pub phase: String,
    /// Epochs done, and how many there will be at most, over all folds.
    pub epoch: u64,
    pub epochs: u64,
    pub loss: Option<f64>,
    pub validation_loss: Option<f64>,
}

/// The state of an unfinished run, opaque bytes that [`fit`] can go on from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint(pub Vec<u8>);

/// The world as a training run sees it.
pub trait Observer {
    fn progress(&mut self, progress: &Progress);
    /// Called after an epoch, with a function that makes the checkpoint: the observer decides how often to pay for one.
    fn checkpoint(&mut self, make: &dyn Fn() -> Result<Checkpoint, TrainError>) -> Result<(), TrainError>;
    /// Asked between steps; when true, `fit` gives up with [`TrainError::Stopped`].
    fn should_stop(&self) -> bool;
}

#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    #[error("the training was stopped")]
    Stopped,
    /// The family or the device cannot be used; the message is for the user.
    #[error("{0}")]
    Unusable(String),
    #[error("the checkpoint cannot be used: {0}")]
    Checkpoint(String),
    #[error("a tensor operation failed")]
    Tensor(#[from] candle_core::Error),
}

/// Trains a detector. The same spec and data give the same weights, undisturbed or resumed from a checkpoint.
///
/// # Errors
/// See [`TrainError`].
pub fn fit(
    _spec: &TrainingSpec,
    _data: &TrainingData,
    _resume: Option<&Checkpoint>,
    _observer: &mut dyn Observer,
) -> Result<Detector, TrainError> {
    todo!()
}
