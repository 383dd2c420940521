//! One trained model with the densities that its statistics are compared with.

use super::Tail;
use crate::graph::Graph;
use crate::model::{Model, Observation, Vocabulary};
use crate::stats::density::{OneClass, Regression, deviations};

/// The nonconformities of one graph under one member. All are surprises in nats, or in units of one: comparable between
/// parts and between detectors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FoldScore {
    /// Two-sided: the larger of size and structure.
    pub nonconformity: f64,
    /// Surprise at ln n and ln((1 + m)/n).
    pub size: f64,
    /// The larger surprise at the model's statistics and at the profile, what size explains taken out of both.
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

/// The unit of a profile's coordinates, which are shares: one for all, so that no rare degree or label outweighs the rest.
const PROFILE_UNIT: f64 = 0.05;

/// The degrees at which the bins of a profile begin: one a degree while that tells graphs apart, then doubling.
const DEGREE_BINS: [usize; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 16, 24, 32, 64];

/// A model and its densities, fitted on the same training graphs.
#[derive(Debug, Clone)]
pub struct Member {
    pub(super) model: Model,
    pub(super) size: OneClass,
    /// What size says of the statistics and the profile, one behind the other.
    pub(super) regression: Regression,
    pub(super) statistics: OneClass,
    pub(super) profile: OneClass,
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
        let traits: Vec<Vec<f64>> =
            observed.iter().map(|(graph, observation)| traits(&model, graph, observation)).collect();
        let regression = Regression::fit(&sizes, &traits);
        let count = model.statistics().len();
        let (statistics, profiles): (Vec<_>, Vec<_>) = sizes
            .iter()
            .zip(&traits)
            .map(|(size, traits)| {
                let residual = regression.residual(size, traits);
                (residual[..count].to_vec(), residual[count..].to_vec())
            })
            .unzip();
        let n = observed.len() as f64;
        let mean = observed.iter().map(|(_, observation)| observation.unlikeliness).sum::<f64>() / n;
        let variance =
            observed.iter().map(|(_, observation)| (observation.unlikeliness - mean).powi(2)).sum::<f64>() / n;
        Self {
            size: OneClass::fit(&sizes, deviations(&sizes, SIZE_SPREAD)),
            statistics: OneClass::fit(&statistics, deviations(&statistics, STATISTIC_SPREAD)),
            profile: OneClass::fit(&profiles, vec![PROFILE_UNIT; profiles[0].len()]),
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
            let residual = self.regression.residual(&size_vector, &traits(&self.model, graph, observation));
            let (statistics, profile) = residual.split_at(observation.statistics.len());
            self.statistics.surprise(statistics).max(self.profile.surprise(profile))
        };
        let [mean, deviation] = self.unlikeliness;
        let upper = (observation.unlikeliness - mean) / deviation;
        FoldScore { nonconformity: size.max(structure), size, structure, upper }
    }
}

/// What a graph's structure is judged by: the model's statistics, then the graph's profile.
fn traits(model: &Model, graph: &Graph, observation: &Observation) -> Vec<f64> {
    let mut traits = observation.statistics.clone();
    traits.extend(profile(graph, model.vocabulary()));
    traits
}

/// The distribution of degrees, and of node labels where the model knows some, as shares of the nodes.
///
/// A model's statistics are averages over pairs, blind to much that a histogram of degrees shows; a verdict should never
/// be worse than such a floor.
fn profile(graph: &Graph, vocabulary: &Vocabulary) -> Vec<f64> {
    let labels = if vocabulary.node_labels.is_empty() { 0 } else { vocabulary.node_labels.len() + 1 };
    let mut counts = vec![0.0_f64; DEGREE_BINS.len() + labels];
    for node in 0..graph.node_count() as u32 {
        let bin = DEGREE_BINS.partition_point(|&first| first <= graph.degree(node)) - 1;
        counts[bin] += 1.0;
        if labels > 0 {
            let label = graph.labels().map(|labels| labels[node as usize]);
            counts[DEGREE_BINS.len() + vocabulary.index(label)] += 1.0;
        }
    }
    counts.iter().map(|count| count / graph.node_count() as f64).collect()
}

/// ln n and ln((1 + m)/n), for m may be 0: size, and density given size.
fn size_vector(graph: &Graph) -> Vec<f64> {
    let (n, m) = (graph.node_count() as f64, graph.edge_count() as f64);
    vec![n.ln(), ((1.0 + m) / n).ln()]
}
