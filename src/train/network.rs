//! Training one fold's network.

use candle_core::{DType, Device};
use candle_nn::{VarBuilder, VarMap};
use rand::Rng;
use rand::seq::SliceRandom;

use super::checkpoint::{Best, FoldState, RunState};
use super::folds::Fold;
use super::{Observer, Progress, TrainError, TrainingSpec, Weights, vocabulary};
use crate::detector::CurvePoint;
use crate::graph::Graph;
use crate::model::Hyperparameters;
use crate::model::masked::batch::BatchBuilder;
use crate::model::masked::network::MaskedNetwork;
use crate::model::masked::sample::draw;
use crate::model::masked::{MaskedModel, Masking};
use crate::nn::adam::{Adam, AdamConfig};
use crate::nn::loss::binary_cross_entropy;
use crate::nn::parameters::Parameters;
use crate::nn::seed::stream;

/// One graph in this many watches for the end of training instead of training.
const VALIDATION_SHARE: usize = 10;

/// Validation graphs and samples of each, at most: enough for a steady loss, cheap beside an epoch.
const VALIDATION_GRAPHS: usize = 64;
const VALIDATION_SAMPLES: usize = 32;

/// Trains the network of a fold until its validation loss stops falling; gives the best weights.
pub(super) fn train_fold(
    spec: &TrainingSpec,
    index: usize,
    folds: usize,
    fold: &Fold<'_>,
    device: &Device,
    state: &mut RunState,
    observer: &mut dyn Observer,
) -> Result<Weights, TrainError> {
    let Hyperparameters::Masked(config) = &spec.hyperparameters;
    let masking = Masking::of(spec.kind);
    let vocabulary = vocabulary(spec, fold);
    let seed = stream(spec.seed, "fold", index as u64).next_u64();
    let (train, validation) = hold_out(fold, seed);

    let map = VarMap::new();
    let network = MaskedNetwork::new(config, &vocabulary, &VarBuilder::from_varmap(&map, DType::F32, device))?;
    let parameters = Parameters::initialise(&map, seed)?;
    let mut adam = Adam::new(AdamConfig {
        learning_rate: config.learning_rate,
        weight_decay: config.weight_decay,
        grad_clip: config.grad_clip,
    });
    if let Some(reached) = &state.fold {
        parameters.restore(&reached.weights)?;
        adam.restore(reached.adam_step, &reached.adam, &parameters)?;
    }

    let mut builder = BatchBuilder::new(masking, config.layers, vocabulary.clone());
    let first = state.fold.as_ref().map_or(0, |reached| reached.epoch);
    for epoch in first..config.epochs {
        if let Some(reached) = &state.fold
            && epoch - reached.best.epoch > config.patience
        {
            break;
        }
        let mut loss_sum = 0.0;
        let mut graphs = Shuffled::new(&train, seed, epoch);
        for step in 0..config.steps_per_epoch {
            if observer.should_stop() {
                return Err(TrainError::Stopped);
            }
            let mut rng = stream(seed, "samples", epoch * config.steps_per_epoch + step);
            for _ in 0..config.batch_size {
                let graph = graphs.next_graph();
                builder.push(graph, &draw(graph, config.edges_per_graph, &mut rng));
            }
            let loss = network.loss(&builder.finish(), DType::F32, device)?;
            adam.update(&parameters, &loss.backward()?)?;
            loss_sum += f64::from(loss.to_scalar::<f32>()?);
        }
        let weights = parameters.snapshot()?;
        let model = MaskedModel::new(masking, config.clone(), vocabulary.clone(), weights.clone())?;
        let validation_loss = validate(&model, &validation, seed);
        let loss = loss_sum / config.steps_per_epoch as f64;
        if !(loss.is_finite() && validation_loss.is_finite()) {
            return Err(TrainError::Unusable(format!(
                "the loss is no longer a number in epoch {epoch}; a lower learning_rate may help"
            )));
        }
        state.curve.push(CurvePoint { fold: index, epoch, loss, validation_loss });
        let best = match state.fold.take() {
            Some(reached) if reached.best.validation_loss <= validation_loss => reached.best,
            _ => Best { epoch, validation_loss, weights: weights.clone() },
        };
        let (adam_step, moments) = adam.state()?;
        state.fold = Some(FoldState { epoch: epoch + 1, weights, adam_step, adam: moments, best });
        observer.progress(&Progress {
            phase: "training".to_owned(),
            epoch: index as u64 * config.epochs + epoch + 1,
            epochs: folds as u64 * config.epochs,
            loss: Some(loss),
            validation_loss: Some(validation_loss),
        });
        observer.checkpoint(&|| state.to_checkpoint())?;
    }
    state
        .fold
        .take()
        .map(|reached| reached.best.weights)
        .ok_or_else(|| TrainError::Unusable("no epoch was trained".to_owned()))
}

/// Splits a fold's training graphs that have edges into those that train and those that validate.
fn hold_out<'a>(fold: &Fold<'a>, seed: u64) -> (Vec<&'a Graph>, Vec<&'a Graph>) {
    let mut graphs: Vec<&Graph> =
        fold.train.iter().map(|(_, graph)| *graph).filter(|graph| graph.edge_count() > 0).collect();
    graphs.shuffle(&mut stream(seed, "validation split", 0));
    let count = (graphs.len() / VALIDATION_SHARE).min(VALIDATION_GRAPHS);
    let validation = graphs.split_off(graphs.len() - count);
    if validation.is_empty() { (graphs.clone(), graphs) } else { (graphs, validation) }
}

/// The mean loss over the validation graphs' samples, the same samples in every epoch, in nats.
fn validate(model: &MaskedModel, graphs: &[&Graph], seed: u64) -> f64 {
    let (mut sum, mut count) = (0.0, 0_usize);
    for (index, graph) in (0..).zip(graphs) {
        let samples = draw(graph, VALIDATION_SAMPLES, &mut stream(seed, "validation", index));
        let logits = model.logits(graph, &samples);
        sum += logits.edges.iter().map(|&logit| binary_cross_entropy(f64::from(logit), true)).sum::<f64>();
        sum += logits.non_edges.iter().map(|&logit| binary_cross_entropy(f64::from(logit), false)).sum::<f64>();
        count += logits.edges.len() + logits.non_edges.len();
    }
    sum / count.max(1) as f64
}

/// The training graphs in random order, again and again, a new order each time round.
struct Shuffled<'a> {
    graphs: Vec<&'a Graph>,
    next: usize,
    rng: rand_chacha::ChaCha8Rng,
}

impl<'a> Shuffled<'a> {
    fn new(graphs: &[&'a Graph], seed: u64, epoch: u64) -> Self {
        Self { graphs: graphs.to_vec(), next: usize::MAX, rng: stream(seed, "order", epoch) }
    }

    fn next_graph(&mut self) -> &'a Graph {
        if self.next >= self.graphs.len() {
            self.graphs.shuffle(&mut self.rng);
            self.next = 0;
        }
        self.next += 1;
        self.graphs[self.next - 1]
    }
}
