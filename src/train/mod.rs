//! Training: a spec and graphs in, a detector out; progress, checkpoints and stopping by callback.

mod checkpoint;
#[cfg(test)]
mod device_tests;
mod folds;
mod learner;
mod network;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::detector::{
    CalibrationScore, CurvePoint, Detector, Distribution, FORMAT, Manifest, Member, Portrait, REFERENCE_SEED, Score,
    ScoreOptions, SplitSizes,
};
use crate::graph::Graph;
use crate::graph::split::Split;
use crate::id::GraphId;
use crate::model::device::{ComputeDevice, DeviceChoice};
use crate::model::figures::FamilyFigures;
use crate::model::{Hyperparameters, Kind, Model, Observation, Vocabulary};
use crate::nn::seed::stream;
use crate::stats::histogram::Histogram;
use crate::stats::summary::Summary;

use checkpoint::RunState;
use folds::{Fold, plan_folds};

/// What to train. What its hyper-parameters leave open is chosen by the family's graphs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingSpec {
    pub kind: Kind,
    pub hyperparameters: Hyperparameters,
    pub seed: u64,
    /// Where it is asked to be trained.
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
    ///
    /// # Errors
    /// What the observer met while keeping it; training ends with it.
    fn checkpoint(&mut self, make: &dyn Fn() -> Result<Checkpoint, TrainError>) -> Result<(), TrainError>;
    /// Asked between steps; when true, `fit` gives up with [`TrainError::Stopped`].
    fn should_stop(&self) -> bool;
}

#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    #[error("the training was stopped")]
    Stopped,
    /// The family cannot be used; the message is for the user.
    #[error("{0}")]
    Unusable(String),
    #[error("the checkpoint cannot be used: {0}")]
    Checkpoint(String),
    #[error("a tensor operation failed")]
    Tensor(#[from] candle_core::Error),
}

/// Graphs that a thread observes in one call: enough to fill vectors, few enough to share.
const GRAPHS_AT_ONCE: usize = 8;

/// Trains a detector on a device. The same spec and data give the same weights there, undisturbed or resumed from a
/// checkpoint.
///
/// # Errors
/// See [`TrainError`]. A checkpoint of another spec or other graphs is [`TrainError::Checkpoint`].
pub fn fit(
    spec: &TrainingSpec,
    device: &ComputeDevice,
    data: &TrainingData,
    resume: Option<&Checkpoint>,
    observer: &mut dyn Observer,
) -> Result<Detector, TrainError> {
    let folds = plan_folds(data)?;
    let mut state = match resume {
        Some(checkpoint) => RunState::resume(checkpoint, spec, data)?,
        None => RunState::start(spec, data),
    };
    let spec = &TrainingSpec { hyperparameters: resolve(spec, &folds), ..spec.clone() };
    for (index, fold) in folds.iter().enumerate().skip(state.finished.len()) {
        let weights = network::train_fold(spec, index, folds.len(), fold, device.tensors(), &mut state, observer)?;
        state.finish_fold(weights);
    }
    let finished = std::mem::take(&mut state.finished);
    conclude(spec, data, &folds, finished, state.curve, observer)
}

/// A detector that has learnt nothing: its networks have their initial weights, all else is as [`fit`] makes it. What such a
/// control reaches was not learnt.
///
/// # Errors
/// See [`TrainError`].
pub fn fit_untrained(
    spec: &TrainingSpec,
    device: &ComputeDevice,
    data: &TrainingData,
    observer: &mut dyn Observer,
) -> Result<Detector, TrainError> {
    let folds = plan_folds(data)?;
    let spec = &TrainingSpec { hyperparameters: resolve(spec, &folds), ..spec.clone() };
    let weights =
        folds.iter().enumerate().map(|(index, fold)| network::initial_weights(spec, index, fold, device.tensors()));
    let weights = weights.collect::<Result<Vec<_>, _>>()?;
    conclude(spec, data, &folds, weights, Vec::new(), observer)
}

/// Makes a detector of the folds' networks.
fn conclude(
    spec: &TrainingSpec,
    data: &TrainingData,
    folds: &[Fold<'_>],
    weights: Vec<Weights>,
    training_curve: Vec<CurvePoint>,
    observer: &mut dyn Observer,
) -> Result<Detector, TrainError> {
    let schedule = spec.hyperparameters.schedule().map_err(|why| TrainError::Unusable(why.to_string()))?;
    let epochs = schedule.epochs * folds.len() as u64;
    let last = training_curve.last();
    let (loss, validation_loss) = (last.map(|point| point.loss), last.map(|point| point.validation_loss));
    let mut report = |phase: &str| {
        observer.progress(&Progress { phase: phase.to_owned(), epoch: epochs, epochs, loss, validation_loss });
        if observer.should_stop() { Err(TrainError::Stopped) } else { Ok(()) }
    };
    report("calibrating")?;
    let (members, calibration) = calibrate(spec, folds, weights)?;
    report("distributions")?;
    let manifest = Manifest {
        format: FORMAT,
        kind: spec.kind,
        hyperparameters: spec.hyperparameters.clone(),
        seed: spec.seed,
        graphs: SplitSizes { train: data.train.len(), calibration: data.calibration.len(), test: data.test.len() },
        calibration_size: calibration.len(),
        folds: folds.len(),
        parameters: members.iter().map(|member| parameter_count(member.model())).sum(),
        statistics: members.first().map(|member| member.model().statistics()).unwrap_or_default(),
        training_curve,
        distributions: Vec::new(),
    };
    let mut detector = Detector::new(manifest, members, calibration);
    detector.manifest_mut().distributions = distributions(&detector, data);
    Ok(detector)
}

/// The spec's hyper-parameters with what was left to the family chosen by the graphs that train some fold.
fn resolve(spec: &TrainingSpec, folds: &[Fold<'_>]) -> Hyperparameters {
    let graphs: BTreeMap<GraphId, &Graph> =
        folds.iter().flat_map(|fold| fold.train.iter().map(|(id, graph)| (*id, *graph))).collect();
    let figures = FamilyFigures::of(graphs.into_values(), &mut stream(spec.seed, "figures", 0));
    spec.hyperparameters.resolve(&figures)
}

/// The vocabulary of a fold: of the graphs that train it alone, so that a calibration graph with a new label is as
/// strange to it as a graph to come.
fn vocabulary(spec: &TrainingSpec, fold: &Fold<'_>) -> Vocabulary {
    if spec.hyperparameters.node_labels() {
        Vocabulary::of(fold.train.iter().map(|(_, graph)| *graph))
    } else {
        Vocabulary::default()
    }
}

type Weights = BTreeMap<String, candle_core::Tensor>;

/// Fits each fold's densities on what it trained on, and judges with them the graphs it did not.
fn calibrate(
    spec: &TrainingSpec,
    folds: &[Fold<'_>],
    weights: Vec<Weights>,
) -> Result<(Vec<Member>, Vec<CalibrationScore>), TrainError> {
    let mut members = Vec::new();
    let mut calibration = Vec::new();
    for (index, (fold, weights)) in folds.iter().zip(weights).enumerate() {
        let model = Model::new(spec.kind, &spec.hyperparameters, vocabulary(spec, fold), weights)?;
        let observe = |graphs: &[(GraphId, &Graph)]| -> Vec<Observation> {
            let draws = spec.hyperparameters.draws();
            let observe = |graphs: &[(GraphId, &Graph)]| {
                let graphs: Vec<&Graph> = graphs.iter().map(|(_, graph)| *graph).collect();
                model.observe_batch(&graphs, draws, REFERENCE_SEED)
            };
            graphs.par_chunks(GRAPHS_AT_ONCE).flat_map_iter(observe).collect()
        };
        let trained = observe(&fold.train);
        let held_out = observe(&fold.calibration);
        let observed: Vec<(&Graph, &Observation)> = fold.train.iter().map(|(_, graph)| *graph).zip(&trained).collect();
        let member = Member::fit(model.clone(), &observed);
        calibration.extend(fold.calibration.iter().zip(&held_out).map(|(&(graph, content), observation)| {
            CalibrationScore { graph, fold: index, score: member.judge(&Portrait::of(content), observation) }
        }));
        members.push(member);
    }
    Ok((members, calibration))
}

fn parameter_count(model: &Model) -> usize {
    model.weights().values().map(candle_core::Tensor::elem_count).sum()
}

/// Every statistic's distribution over every split, as the finished detector sees it.
fn distributions(detector: &Detector, data: &TrainingData) -> Vec<Distribution> {
    let mut columns: Vec<(Split, String, Vec<f64>)> = Vec::new();
    for (split, graphs) in
        [(Split::Train, &data.train), (Split::Calibration, &data.calibration), (Split::Test, &data.test)]
    {
        let score = |graphs: &[(GraphId, Graph)]| {
            let graphs: Vec<&Graph> = graphs.iter().map(|(_, graph)| graph).collect();
            detector.score_batch(&graphs, &ScoreOptions::default())
        };
        let scores: Vec<Score> = graphs.par_chunks(GRAPHS_AT_ONCE).flat_map_iter(score).collect();
        let mut push = |name: &str, values: Vec<f64>| columns.push((split, name.to_owned(), values));
        push("nonconformity", scores.iter().map(|score| score.nonconformity).collect());
        push("p_value", scores.iter().map(|score| score.p_value).collect());
        let completions = || scores.iter().filter_map(|score| score.findings.completion());
        push("completion_mean", completions().filter_map(|completion| completion.mean).collect());
        push("completion", completions().flat_map(|completion| completion.values.iter().copied()).collect());
        for (index, name) in detector.manifest().statistics.iter().enumerate() {
            push(name, scores.iter().filter_map(|score| score.statistics.get(index).copied()).collect());
        }
    }
    // One range for all splits of a statistic, so that their histograms can be laid over one another.
    let range = |statistic: &str| {
        if matches!(statistic, "p_value" | "completion" | "completion_mean") {
            return (0.0, 1.0);
        }
        let all = columns.iter().filter(|(_, name, _)| name == statistic).flat_map(|(_, _, values)| values);
        all.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &value| (low.min(value), high.max(value)))
    };
    columns
        .iter()
        .filter_map(|(split, statistic, values)| {
            let (low, high) = range(statistic);
            Some(Distribution {
                split: *split,
                statistic: statistic.clone(),
                summary: Summary::of(values)?,
                histogram_10: Histogram::of(values, low, high, 10),
                histogram_50: Histogram::of(values, low, high, 50),
            })
        })
        .collect()
}
