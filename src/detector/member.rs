//! One trained model with the densities that its statistics are compared with.

use std::collections::HashSet;

use super::Tail;
use super::colours::{Coloured, Palette};
use crate::graph::Graph;
use crate::graph::structure::Structure;
use crate::model::{Model, Observation};
use crate::stats::density::{Points, Regression, SizeTrend, Surprises, deviations, to_nearest};

/// The nonconformities of one graph under one member. All are surprises in nats, or in units of one: comparable between
/// parts and between detectors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FoldScore {
    /// Two-sided: size and structure together.
    pub nonconformity: f64,
    /// Surprise at ln n.
    pub size: f64,
    /// The largest surprise at the model's statistics, at the graph's structure and at its colours, all given the size.
    pub structure: f64,
    /// Surprise at the model's statistics, given the size: what this model says that another might not.
    pub model: f64,
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

/// The smallest deviation of ln n that counts: one node more in a family where all have the same number is a deviation, but
/// no infinite one.
const SIZE_SPREAD: f64 = 0.01;

/// The smallest deviation of a model's statistic that counts; statistics are logits.
const STATISTIC_SPREAD: f64 = 0.05;

/// The smallest deviation of a number of a graph's structure that counts.
const STRUCTURE_SPREAD: f64 = 0.01;

/// Neighbours whose mean distance is taken: few where there are many coordinates, for then only the nearest are near.
const NEIGHBOURS: usize = 5;
const CLOSE_NEIGHBOURS: usize = 3;

/// A model and what its training graphs are like.
///
/// They are known as distinct graphs, isomorphic twins once, and no graph has its own twin as a neighbour: twins share a
/// split, so a graph that is held out has none among those that train, while a graph of another family may have one.
#[derive(Debug, Clone)]
pub struct Member {
    pub(super) model: Model,
    /// `[N]`: what tells each distinct training graph from the others, and finds its twin.
    pub(super) twins: Vec<u64>,
    pub(super) size: View<Points>,
    /// What size says of the model's statistics; the view is of what it leaves.
    pub(super) regression: Regression,
    pub(super) statistics: View<Points>,
    pub(super) structure: View<Points>,
    pub(super) trend_of_structure: SizeTrend,
    pub(super) colours: View<Palette>,
    pub(super) trend_of_colours: SizeTrend,
    /// Mean and standard deviation of the training graphs' unlikeliness.
    pub(super) unlikeliness: [f64; 2],
}

/// The normals as one kind of points, and how surprising a distance to the nearest of them is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct View<P> {
    pub(super) normals: P,
    pub(super) surprises: Surprises,
}

impl View<Points> {
    fn of(points: &[Vec<f64>], smallest_unit: f64, k: usize) -> Self {
        let normals = Points::new(points, deviations(points, smallest_unit));
        let own = |(index, point): (usize, &Vec<f64>)| to_nearest(&normals.distances(point), k, |other| other == index);
        let surprises = Surprises::of(points.iter().enumerate().map(own).collect());
        Self { normals, surprises }
    }

    fn surprise(&self, point: &[f64], k: usize, is_twin: impl Fn(usize) -> bool) -> f64 {
        self.surprises.surprise(to_nearest(&self.normals.distances(point), k, is_twin))
    }
}

/// A graph with all that is looked at.
struct Portrait {
    log_size: f64,
    size: Vec<f64>,
    structure: Vec<f64>,
    colours: Coloured,
}

impl Member {
    /// Fits the views to what the model observes of its training graphs.
    ///
    /// # Panics
    /// When there are no observations: training checks that there are.
    #[must_use]
    pub(crate) fn fit(model: Model, observed: &[(&Graph, &Observation)]) -> Self {
        let portraits: Vec<(Portrait, &Observation)> =
            observed.iter().map(|(graph, observation)| (portrait(&model, graph), *observation)).collect();
        let mut seen = HashSet::new();
        let distinct: Vec<&(Portrait, &Observation)> =
            portraits.iter().filter(|(portrait, _)| seen.insert(portrait.colours.twin)).collect();
        let sizes: Vec<Vec<f64>> = distinct.iter().map(|(portrait, _)| portrait.size.clone()).collect();
        let observed: Vec<Vec<f64>> = distinct.iter().map(|(_, observation)| observation.statistics.clone()).collect();
        let regression = Regression::fit(&sizes, &observed);
        let residuals: Vec<Vec<f64>> =
            sizes.iter().zip(&observed).map(|(size, statistics)| regression.residual(size, statistics)).collect();

        let log_sizes: Vec<f64> = distinct.iter().map(|(portrait, _)| portrait.log_size).collect();
        let shapes: Vec<Vec<f64>> = distinct.iter().map(|(portrait, _)| portrait.structure.clone()).collect();
        let structure = Points::new(&shapes, deviations(&shapes, STRUCTURE_SPREAD));
        let (trend_of_structure, structure_surprises) = trend(&log_sizes, |index| structure.distances(&shapes[index]));
        let colours = Palette::of(&distinct.iter().map(|(portrait, _)| &portrait.colours).collect::<Vec<_>>());
        let (trend_of_colours, colour_surprises) =
            trend(&log_sizes, |index| colours.distances(&distinct[index].0.colours));

        let n = portraits.len() as f64;
        let unlikeliness = || portraits.iter().map(|(_, observation)| observation.unlikeliness);
        let mean = unlikeliness().sum::<f64>() / n;
        let variance = unlikeliness().map(|one| (one - mean).powi(2)).sum::<f64>() / n;
        Self {
            twins: distinct.iter().map(|(portrait, _)| portrait.colours.twin).collect(),
            size: View::of(&log_sizes.iter().map(|&size| vec![size]).collect::<Vec<_>>(), SIZE_SPREAD, NEIGHBOURS),
            statistics: View::of(&residuals, STATISTIC_SPREAD, NEIGHBOURS),
            structure: View { normals: structure, surprises: structure_surprises },
            trend_of_structure,
            colours: View { normals: colours, surprises: colour_surprises },
            trend_of_colours,
            unlikeliness: [mean, variance.sqrt().max(STATISTIC_SPREAD)],
            regression,
            model,
        }
    }

    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// How far a graph lies from the training graphs, by size, by structure, and by both together.
    ///
    /// Surprises are negative logarithms of shares of normal graphs, and structure is looked at given the size, so the two
    /// add up as −ln p(n) and −ln p(G | n) do. Of the views of one structure the largest counts: a graph that is a little
    /// strange to each of them doesn't outrank one that is plainly strange to one.
    #[must_use]
    pub fn judge(&self, graph: &Graph, observation: &Observation) -> FoldScore {
        let seen = portrait(&self.model, graph);
        let is_twin = |index: usize| self.twins[index] == seen.colours.twin;
        let size = self.size.surprise(&[seen.log_size], NEIGHBOURS, is_twin);
        // Of a graph without edges a model observes nothing.
        let model = if graph.edge_count() == 0 {
            0.0
        } else {
            let residual = self.regression.residual(&seen.size, &observation.statistics);
            self.statistics.surprise(&residual, NEIGHBOURS, is_twin)
        };
        let by = |distances: &[f64], trend: &SizeTrend, surprises: &Surprises| {
            let distance = to_nearest(distances, CLOSE_NEIGHBOURS, is_twin);
            surprises.surprise(trend.residual(seen.log_size, distance))
        };
        let View { normals, surprises } = &self.structure;
        let by_structure = by(&normals.distances(&seen.structure), &self.trend_of_structure, surprises);
        let View { normals, surprises } = &self.colours;
        let by_colours = by(&normals.distances(&seen.colours), &self.trend_of_colours, surprises);
        let structure = model.max(by_structure).max(by_colours);
        let [mean, deviation] = self.unlikeliness;
        let upper = (observation.unlikeliness - mean) / deviation;
        FoldScore { nonconformity: size + structure, size, structure, model, upper }
    }
}

/// The trend of the normals' distances to their nearest, and the surprises of what it leaves.
fn trend(log_sizes: &[f64], distances: impl Fn(usize) -> Vec<f64>) -> (SizeTrend, Surprises) {
    let own: Vec<f64> = (0..log_sizes.len())
        .map(|index| to_nearest(&distances(index), CLOSE_NEIGHBOURS, |other| other == index))
        .collect();
    let trend = SizeTrend::fit(log_sizes, &own);
    let left = log_sizes.iter().zip(&own).map(|(&size, &distance)| trend.residual(size, distance)).collect();
    (trend, Surprises::of(left))
}

fn portrait(model: &Model, graph: &Graph) -> Portrait {
    let of = Structure::of(graph);
    Portrait {
        log_size: of.nodes.ln(),
        // For m may be 0: size, and density given size.
        size: vec![of.nodes.ln(), ((1.0 + of.edges) / of.nodes).ln()],
        structure: vec![
            of.nodes.ln(),
            of.edges.ln_1p(),
            of.density(),
            of.mean_degree(),
            of.greatest_degree.ln_1p(),
            of.degree_deviation,
            (of.triangles / of.nodes).ln_1p(),
            of.transitivity(),
            of.components,
            of.isolated / of.nodes,
            of.leaves / of.nodes,
            (of.independent_cycles() / of.nodes).max(0.0).ln_1p(),
            of.clustering,
            of.clustering_deviation,
        ],
        colours: Coloured::of(graph, !model.vocabulary().node_labels.is_empty()),
    }
}
