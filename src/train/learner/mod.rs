//! What the training loop trains: a network of any kind, by what all kinds have in common.

mod autoregressive;
mod masked;

use candle_core::{Device, Result, Tensor};
use candle_nn::{VarBuilder, VarMap};
use rand_chacha::ChaCha8Rng;

use super::{TrainError, TrainingSpec, Weights};
use crate::graph::Graph;
use crate::model::masked::batch as masked_batch;
use crate::model::{Hyperparameters, Vocabulary, gran, graph_rnn};
use crate::nn::parameters::{Parameters, Scheme};

/// Graphs that watch for the end of training, at most.
pub(super) const VALIDATION_GRAPHS: usize = 64;

/// A network in training. It is shared between the step under way and the preparation of the next.
pub(super) trait Learner: Sync {
    fn parameters(&self) -> &Parameters;

    /// What a step over `graphs` computes with. What it draws, it draws from `rng`; the parameters don't matter.
    fn prepare(&self, graphs: &[&Graph], rng: &mut ChaCha8Rng) -> Prepared;

    /// The loss of a step, in nats.
    fn loss(&self, batch: &Prepared) -> Result<Tensor>;

    /// The weights of the finished model when the parameters are `snapshot`.
    fn weights(&self, snapshot: &Weights) -> Weights;

    /// The mean loss of the model with the parameters as they are over `graphs`, the same draws every time, in nats.
    fn validate(&self, graphs: &[&Graph], seed: u64) -> Result<f64>;
}

/// The batch of one step.
pub(super) enum Prepared {
    GraphRnn(graph_rnn::batch::Batch),
    Gran(gran::Batch),
    Masked(masked_batch::Batch),
}

/// The network of `spec` with its initial parameters. `train` are the graphs of its fold.
pub(super) fn learner(
    spec: &TrainingSpec,
    vocabulary: Vocabulary,
    train: &[&Graph],
    device: &Device,
    seed: u64,
) -> std::result::Result<Box<dyn Learner>, TrainError> {
    Ok(match &spec.hyperparameters {
        Hyperparameters::Masked(config) => {
            Box::new(masked::MaskedLearner::new(spec.kind, config, vocabulary, device, seed)?)
        }
        Hyperparameters::GraphRnn(_) | Hyperparameters::Gran(_) => {
            Box::new(autoregressive::AutoregressiveLearner::new(spec, vocabulary, train, device, seed)?)
        }
    })
}

/// A network in single precision with new parameters.
fn network<N>(
    device: &Device,
    scheme: Scheme,
    seed: u64,
    build: impl FnOnce(&VarBuilder) -> Result<N>,
) -> Result<(N, Parameters)> {
    let map = VarMap::new();
    let network = build(&VarBuilder::from_varmap(&map, candle_core::DType::F32, device))?;
    Ok((network, Parameters::initialise(&map, scheme, seed)?))
}
