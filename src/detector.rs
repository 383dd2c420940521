//! A detector: a trained model with its reference distributions, which turn statistics into a verdict.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::graph::Graph;
use crate::graph::split::Split;
use crate::id::GraphId;
use crate::model::{Hyperparameters, Kind};
use crate::stats::histogram::Histogram;
use crate::stats::summary::Summary;

/// Which deviations count as anomalous.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tail {
    #[default]
    TwoSided,
    /// Only what is less likely than the family: the study's reading.
    Upper,
}

/// How to score: what the answer depends on besides the graph and the detector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScoreOptions {
    pub tail: Tail,
    /// Completions sampled by the masked kinds.
    pub samples: usize,
    pub seed: u64,
    pub explain: bool,
}

/// What one detector says of one graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    pub kind: Kind,
    /// Continuous; higher is more anomalous.
    pub nonconformity: f64,
    pub p_value: f64,
    pub p_size: f64,
    pub p_structure: f64,
    pub completion: Completion,
    pub explanation: Option<Explanation>,
    pub warnings: Vec<String>,
    /// The nonconformities under each calibration fold, for combining detectors.
    pub folds: Vec<FoldScore>,
}

/// The nonconformities of one graph under one fold's member of a detector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FoldScore {
    pub nonconformity: f64,
    pub size: f64,
    pub structure: f64,
}

/// Completion scores (probabilities) of a graph's own edges.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    pub samples: usize,
    /// `None` for a graph without edges.
    pub mean: Option<f64>,
    /// 10 bins of [0, 1].
    pub histogram: Histogram,
}

/// A graph's edges, the least likely first.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    pub edges: Vec<ExplainedEdge>,
    /// Whether every edge was looked at, or only the first of a bound.
    pub complete: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExplainedEdge {
    pub edge: (u32, u32),
    pub completion: f64,
}

/// The family's verdict over all detectors asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    pub nonconformity: f64,
    pub p_value: f64,
    pub p_size: f64,
    pub p_structure: f64,
    pub min_p: f64,
    pub calibration_size: usize,
    pub warnings: Vec<String>,
}

/// What is stored of a statistic's distribution over a split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    pub split: Split,
    /// `nonconformity`, `p_value`, `completion`, `completion_mean`, and the detector's other statistics by name.
    pub statistic: String,
    pub summary: Summary,
    pub histogram_10: Histogram,
    pub histogram_50: Histogram,
}

/// One epoch of the training curve. Losses are in nats.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    pub fold: usize,
    pub epoch: u64,
    pub loss: f64,
    pub validation_loss: f64,
}

/// What a detector says of itself, in `manifest.json` and over HTTP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of the on-disk format.
    pub format: u32,
    pub kind: Kind,
    pub hyperparameters: Hyperparameters,
    pub seed: u64,
    /// Graphs it was trained, calibrated and tested on.
    pub graphs: SplitSizes,
    pub calibration_size: usize,
    /// 1 for split-conformal calibration, more for cross-conformal folds.
    pub folds: usize,
    pub parameters: usize,
    pub statistics: Vec<String>,
    pub training_curve: Vec<CurvePoint>,
    pub distributions: Vec<Distribution>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitSizes {
    pub train: usize,
    pub calibration: usize,
    pub test: usize,
}

#[derive(Debug, Error)]
pub enum DecodeError {
    #[error("the detector's format {found} is not one this version reads (up to {newest})")]
    Format { found: u32, newest: u32 },
    #[error("the detector's weights don't fit its manifest: {0}")]
    Mismatch(String),
}

/// A trained, calibrated detector. It can't exist without either: `train::fit` and [`Detector::decode`] make one.
#[derive(Debug, Clone)]
pub struct Detector {
    manifest: Manifest,
}

impl Detector {
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The manifest, and the weights and reference points as safetensors.
    #[must_use]
    pub fn encode(&self) -> (Manifest, Vec<u8>) {
        todo!()
    }

    /// # Errors
    /// When the parts are not what [`Detector::encode`] gives.
    pub fn decode(_manifest: Manifest, _weights: &[u8]) -> Result<Self, DecodeError> {
        todo!()
    }

    /// Scores one graph. It depends on the graph, the detector and the options alone: never on a batch, a clock or a
    /// thread. The same input gives the same bits on CPU.
    #[must_use]
    pub fn score(&self, _graph: &Graph, _options: &ScoreOptions) -> Score {
        todo!()
    }
}

/// Estimated multiply-adds of scoring a graph of `nodes` and `edges`: the one estimate for limits, batching and
/// admission.
#[must_use]
pub fn cost(_kind: Kind, _nodes: usize, _edges: usize, _options: &ScoreOptions) -> u64 {
    todo!()
}

/// Combines what a family's detectors say of one graph into one verdict: the largest nonconformity, conformalised again
/// over the calibration graphs that all of them share.
///
/// # Panics
/// If `scores` is empty.
#[must_use]
pub fn verdict(_scores: &[(&Detector, &Score)], _tail: Tail) -> Verdict {
    todo!()
}

/// A calibration graph's nonconformities, under the member that did not train on it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CalibrationScore {
    pub graph: GraphId,
    pub fold: usize,
    pub score: FoldScore,
    pub upper: f64,
}
