//! One trained model with the densities that its statistics are compared with.

use super::Tail;
use crate::graph::Graph;
use crate::model::{Model, Observation};
use crate::stats::density::{OneClass, Regression};

/// The nonconformities of one graph under one member. All are surprises in nats, or in units of one: comparable between
/// parts and between detectors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FoldScore {
    /// Two-sided: the larger of the two surprises below.
    pub nonconformity: f64,
    /// Surprise at (ln n, ln m).
    pub size: f64,
    /// Surprise at the model's statistics, what size explains taken out.
    pub structure: f64,
    /// One-sided: standard deviations above the training graphs' mean unlikeliness.
    pub upper: f64,
}

impl FoldScore {
    /// The nonconformity that a tail is about.
    #[must_use]
    pub fn chosen(tail: Tail) -> fn(&Self) -> f64 {
        match tail {
            Tail::TwoSided => |score| score.nonconformity,
            Tail::Upper => |score| score.upper,
        }
    }
}

/// The smallest relative deviation of a size that counts: one node more in a family where all have the same number is a
/// deviation, but no infinite one.
const SIZE_SPREAD: f64 = 0.01;

/// The smallest deviation of a statistic that counts; statistics are logits.
const STATISTIC_SPREAD: f64 = 0.05;

/// A model and its densities, fitted on the same training graphs.
#[derive(Debug, Clone)]
pub struct Member {
    pub(super) model: Model,
    pub(super) size: OneClass,
    /// What size says of the statistics.
    pub(super) regression: Regression,
    pub(super) structure: OneClass,
    /// Mean and standard deviation of the training graphs' unlikeliness.
    pub(super) unlikeliness: [f64; 2],
}

impl Member {
    /// Fits the densities to what the model observes of its training graphs.
    ///
    /// # Panics
    /// When there are no observations: training checks that there are.
    #[must_use]
    pub(crate) fn fit(model: Model, observed: &[(&Graph, &Observation)]) -> Self {
        let sizes: Vec<Vec<f64>> = observed.iter().map(|(graph, _)| size_vector(graph)).collect();
        let statistics: Vec<Vec<f64>> =
            observed.iter().map(|(_, observation)| observation.statistics.clone()).collect();
        let regression = Regression::fit(&sizes, &statistics);
        let residuals: Vec<Vec<f64>> =
            sizes.iter().zip(&statistics).map(|(size, statistics)| regression.residual(size, statistics)).collect();
        let n = observed.len() as f64;
        let mean = observed.iter().map(|(_, observation)| observation.unlikeliness).sum::<f64>() / n;
        let variance =
            observed.iter().map(|(_, observation)| (observation.unlikeliness - mean).powi(2)).sum::<f64>() / n;
        Self {
            size: OneClass::fit(&sizes, &[SIZE_SPREAD; 2]),
            structure: OneClass::fit(&residuals, &vec![STATISTIC_SPREAD; residuals[0].len()]),
            unlikeliness: [mean, variance.sqrt().max(STATISTIC_SPREAD)],
            regression,
            model,
        }
    }

    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// How far a graph lies from the training graphs, by size, by structure given size, and by the larger of the two.
    ///
    /// The larger, not the sum: a graph of ordinary structure and strange size is strange, and the other way round. So
    /// the verdict is never blind to what a count of nodes would see.
    #[must_use]
    pub fn judge(&self, graph: &Graph, observation: &Observation) -> FoldScore {
        let size_vector = size_vector(graph);
        let size = self.size.surprise(&size_vector);
        let structure = if graph.edge_count() == 0 {
            0.0 // nothing was observed of its structure
        } else {
            self.structure.surprise(&self.regression.residual(&size_vector, &observation.statistics))
        };
        let [mean, deviation] = self.unlikeliness;
        let upper = (observation.unlikeliness - mean) / deviation;
        FoldScore { nonconformity: size.max(structure), size, structure, upper }
    }
}

/// ln n and ln(1 + m), for m may be 0.
fn size_vector(graph: &Graph) -> Vec<f64> {
    vec![(graph.node_count() as f64).ln(), (graph.edge_count() as f64).ln_1p()]
}
