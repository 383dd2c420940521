//! Training one fold's network.

use std::collections::{HashMap, HashSet};

use candle_core::Device;
use rand::Rng;
use rand::seq::SliceRandom;

use super::checkpoint::{Best, FoldState, RunState};
use super::folds::Fold;
use super::learner::{Learner, Prepared, VALIDATION_GRAPHS, learner};
use super::{Observer, Progress, TrainError, TrainingSpec, Weights, vocabulary};
use crate::detector::CurvePoint;
use crate::graph::Graph;
use crate::graph::isomorphism::Fingerprint;
use crate::nn::adam::{Adam, AdamConfig};
use crate::nn::seed::stream;

/// One graph in this many watches for the end of training instead of training.
const VALIDATION_SHARE: usize = 10;

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
    let schedule = spec.hyperparameters.schedule().map_err(|why| TrainError::Unusable(why.to_string()))?;
    let seed = seed(spec, index);
    let (train, validation) = hold_out(fold, seed);
    let all: Vec<&Graph> = fold.train.iter().map(|(_, graph)| *graph).collect();
    let learner = learner(spec, vocabulary(spec, fold), &all, device, seed)?;
    let mut adam = Adam::new(AdamConfig {
        learning_rate: schedule.learning_rate,
        weight_decay: schedule.weight_decay,
        grad_clip: schedule.grad_clip,
    });
    if let Some(reached) = &state.fold {
        learner.parameters().restore(&reached.weights)?;
        adam.restore(reached.adam_step, &reached.adam, learner.parameters())?;
    }

    let first = state.fold.as_ref().map_or(0, |reached| reached.epoch);
    for epoch in first..schedule.epochs {
        if let Some(reached) = &state.fold
            && epoch - reached.best.epoch > schedule.patience
        {
            break;
        }
        let mut loss_sum = 0.0;
        let mut graphs = Shuffled::new(&train, seed, epoch);
        let mut prepare = |step: u64| {
            let drawn: Vec<&Graph> = (0..schedule.batch_size).map(|_| graphs.next_graph()).collect();
            learner.prepare(&drawn, &mut stream(seed, "samples", step))
        };
        let steps = epoch * schedule.steps_per_epoch..(epoch + 1) * schedule.steps_per_epoch;
        let mut next = None;
        for step in steps.clone() {
            if observer.should_stop() {
                return Err(TrainError::Stopped);
            }
            let batch = next.take().unwrap_or_else(|| prepare(step));
            adam.set_learning_rate(schedule.learning_rate(step));
            // The next batch is made on another thread meanwhile; the step itself needs this one's stack.
            let taken = rayon::in_place_scope(|scope| {
                if steps.contains(&(step + 1)) {
                    scope.spawn(|_| next = Some(prepare(step + 1)));
                }
                take_step(&*learner, &batch, &mut adam)
            });
            loss_sum += taken?;
        }
        let validation_loss = learner.validate(&validation, seed)?;
        let loss = loss_sum / schedule.steps_per_epoch as f64;
        if !(loss.is_finite() && validation_loss.is_finite()) {
            return Err(TrainError::Unusable(format!(
                "the loss is no longer a number in epoch {epoch}; a lower learning_rate may help"
            )));
        }
        state.curve.push(CurvePoint { fold: index, epoch, loss, validation_loss });
        let weights = learner.parameters().snapshot()?;
        let best = match state.fold.take() {
            Some(reached) if reached.best.validation_loss <= validation_loss => reached.best,
            _ => Best { epoch, validation_loss, weights: weights.clone() },
        };
        let (adam_step, moments) = adam.state()?;
        state.fold = Some(FoldState { epoch: epoch + 1, weights, adam_step, adam: moments, best });
        observer.progress(&Progress {
            phase: "training".to_owned(),
            epoch: index as u64 * schedule.epochs + epoch + 1,
            epochs: folds as u64 * schedule.epochs,
            loss: Some(loss),
            validation_loss: Some(validation_loss),
        });
        observer.checkpoint(&|| state.to_checkpoint())?;
    }
    let best = state.fold.take().map(|reached| reached.best.weights);
    let best = best.ok_or_else(|| TrainError::Unusable("no epoch was trained".to_owned()))?;
    Ok(learner.weights(&best))
}

/// One step of the optimiser; gives the loss before it.
fn take_step(learner: &dyn Learner, batch: &Prepared, adam: &mut Adam) -> Result<f64, TrainError> {
    let loss = learner.loss(batch)?;
    adam.update(learner.parameters(), &loss.backward()?)?;
    Ok(f64::from(loss.to_scalar::<f32>()?))
}

/// The weights that training a fold's network begins with.
pub(super) fn initial_weights(
    spec: &TrainingSpec,
    index: usize,
    fold: &Fold<'_>,
    device: &Device,
) -> Result<Weights, TrainError> {
    let all: Vec<&Graph> = fold.train.iter().map(|(_, graph)| *graph).collect();
    let learner = learner(spec, vocabulary(spec, fold), &all, device, seed(spec, index))?;
    Ok(learner.weights(&learner.parameters().snapshot()?))
}

/// Of all that a fold's network draws.
fn seed(spec: &TrainingSpec, index: usize) -> u64 {
    stream(spec.seed, "fold", index as u64).next_u64()
}

/// Splits a fold's training graphs that have edges into those that train and those that validate.
///
/// Isomorphic twins stay together: what a network has learnt by heart must not say when it stops. A class of more than a tenth
/// of the graphs trains, then, and where all are such classes the graphs that train are those that validate.
fn hold_out<'a>(fold: &Fold<'a>, seed: u64) -> (Vec<&'a Graph>, Vec<&'a Graph>) {
    let mut graphs: Vec<&Graph> =
        fold.train.iter().map(|(_, graph)| *graph).filter(|graph| graph.edge_count() > 0).collect();
    graphs.shuffle(&mut stream(seed, "validation split", 0));
    let mut room = (graphs.len() / VALIDATION_SHARE).min(VALIDATION_GRAPHS);
    let classes: Vec<Fingerprint> = graphs.iter().map(|graph| Fingerprint::of(graph)).collect();
    let mut members: HashMap<Fingerprint, usize> = HashMap::new();
    classes.iter().for_each(|class| *members.entry(*class).or_default() += 1);
    let mut held_out = HashSet::new();
    for class in classes.iter().rev() {
        if let Some(members) = members.remove(class).filter(|members| *members <= room) {
            room -= members;
            held_out.insert(*class);
        }
    }
    let (validation, train): (Vec<_>, Vec<_>) =
        graphs.iter().zip(&classes).partition(|(_, class)| held_out.contains(class));
    let graphs_of = |part: Vec<(&&'a Graph, &Fingerprint)>| part.into_iter().map(|(graph, _)| *graph).collect();
    if validation.is_empty() { (graphs.clone(), graphs) } else { (graphs_of(train), graphs_of(validation)) }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::graph::testing::{permutation, random_graph};
    use crate::id::GraphId;

    fn fold(graphs: &[Graph]) -> Fold<'_> {
        Fold { train: (0..).map(GraphId::new).zip(graphs).collect(), calibration: Vec::new() }
    }

    fn classes(graphs: &[&Graph]) -> HashSet<Fingerprint> {
        graphs.iter().map(|graph| Fingerprint::of(graph)).collect()
    }

    #[test]
    fn a_tenth_validates_where_no_two_are_twins() {
        let graphs: Vec<Graph> = (0..95).map(|index| random_graph(30, 60, index)).collect();
        let (train, validation) = hold_out(&fold(&graphs), 3);
        assert_eq!((train.len(), validation.len()), (86, 9));
        assert!(classes(&train).is_disjoint(&classes(&validation)));
    }

    #[test]
    fn what_cannot_be_held_out_whole_validates_as_it_trains() {
        let twins = vec![random_graph(8, 12, 1); 30];
        let (train, validation) = hold_out(&fold(&twins), 3);
        assert_eq!((train.len(), validation.len()), (30, 30));
    }

    proptest! {
        #[test]
        fn no_twin_of_a_graph_that_trains_validates(sizes in prop::collection::vec(1..9_u64, 10..40), seed in 0..9_u64) {
            let classes_of = |(index, &size): (usize, &u64)| {
                let graph = random_graph(9, 16, index as u64);
                (0..size).map(move |copy| graph.relabelled(&permutation(9, copy))).collect::<Vec<Graph>>()
            };
            let graphs: Vec<Graph> = sizes.iter().enumerate().flat_map(classes_of).collect();
            let (train, validation) = hold_out(&fold(&graphs), seed);
            let count = graphs.len() / VALIDATION_SHARE;
            if validation.len() < train.len() {
                prop_assert_eq!(train.len() + validation.len(), graphs.len());
                prop_assert!(classes(&train).is_disjoint(&classes(&validation)));
                prop_assert!(validation.len() <= count);
                let room = count - validation.len();
                let of_train: Vec<Fingerprint> = train.iter().map(|graph| Fingerprint::of(graph)).collect();
                let members = |class: &Fingerprint| of_train.iter().filter(|other| *other == class).count();
                prop_assert!(of_train.iter().all(|class| members(class) > room), "no class that there is room for");
            } else {
                // No class was small enough.
                prop_assert_eq!(train.len(), graphs.len());
                prop_assert!(sizes.iter().all(|&size| size as usize > count));
            }
        }
    }
}
