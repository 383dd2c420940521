//! Which graphs train a network and which calibrate it.

use super::{TrainError, TrainingData};
use crate::graph::Graph;
use crate::graph::isomorphism::Fingerprint;
use crate::id::GraphId;

/// Families of fewer graphs calibrate by folds: their calibration split, 12 %, would be too coarse for a p-value.
const SMALL_FAMILY: usize = 200;

/// Folds of a small family.
const FOLDS: usize = 5;

/// Fewer graphs than this can't be both learnt from and calibrated on.
const SMALLEST_FAMILY: usize = 10;

/// The graphs that train one network, and those that it is calibrated on.
#[derive(Debug, Clone)]
pub(super) struct Fold<'a> {
    pub(super) train: Vec<(GraphId, &'a Graph)>,
    pub(super) calibration: Vec<(GraphId, &'a Graph)>,
}

/// One fold, train against calibration split, for a family large enough; else folds over both splits together.
///
/// The folds depend on the graphs alone, not on the seed or the kind, so that all detectors of a family share them and
/// their calibration scores can be combined. Isomorphic twins share a fold.
///
/// # Errors
/// When the family is too small, or has no edges to learn from.
pub(super) fn plan_folds(data: &TrainingData) -> Result<Vec<Fold<'_>>, TrainError> {
    let pooled: Vec<(GraphId, &Graph)> =
        data.train.iter().chain(&data.calibration).map(|(id, graph)| (*id, graph)).collect();
    if pooled.len() < SMALLEST_FAMILY {
        return Err(TrainError::Unusable(format!(
            "the family has {} graphs outside its test split; at least {SMALLEST_FAMILY} are needed to learn from and to \
             calibrate on",
            pooled.len()
        )));
    }
    if pooled.iter().all(|(_, graph)| graph.edge_count() == 0) {
        return Err(TrainError::Unusable(
            "no graph of the family has an edge, so there is nothing to learn".to_owned(),
        ));
    }
    let folds = if pooled.len() + data.test.len() >= SMALL_FAMILY
        && !data.calibration.is_empty()
        && data.train.len() >= SMALLEST_FAMILY
    {
        vec![Fold {
            train: data.train.iter().map(|(id, graph)| (*id, graph)).collect(),
            calibration: data.calibration.iter().map(|(id, graph)| (*id, graph)).collect(),
        }]
    } else {
        deal(&pooled)
    };
    if folds.iter().any(|fold| fold.train.iter().all(|(_, graph)| graph.edge_count() == 0)) {
        return Err(TrainError::Unusable(
            "outside the test split all graphs with edges are isomorphic, or nearly all: when some are held out to calibrate \
             on, and their twins with them, none is left to learn from"
                .to_owned(),
        ));
    }
    Ok(folds)
}

/// Deals the graphs to the folds, twins together, each class to the fold that has the fewest graphs so far.
fn deal<'a>(pooled: &[(GraphId, &'a Graph)]) -> Vec<Fold<'a>> {
    let mut by_class: Vec<(Fingerprint, GraphId, &Graph)> =
        pooled.iter().map(|&(id, graph)| (Fingerprint::of(graph), id, graph)).collect();
    by_class.sort_by_key(|&(fingerprint, id, _)| (fingerprint, id));
    let mut dealt: Vec<Vec<(GraphId, &Graph)>> = vec![Vec::new(); FOLDS];
    for class in by_class.chunk_by(|a, b| a.0 == b.0) {
        if let Some(fewest) = dealt.iter_mut().min_by_key(|fold| fold.len()) {
            fewest.extend(class.iter().map(|&(_, id, graph)| (id, graph)));
        }
    }
    dealt.retain(|fold| !fold.is_empty());
    (0..dealt.len())
        .map(|held_out| Fold {
            train: dealt
                .iter()
                .enumerate()
                .filter(|&(index, _)| index != held_out)
                .flat_map(|(_, fold)| fold.iter().copied())
                .collect(),
            calibration: dealt[held_out].clone(),
        })
        .collect()
}
