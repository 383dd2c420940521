//! One trained model with the densities that its statistics are compared with.

use std::collections::HashSet;

use super::Tail;
use super::colours::{Coloured, Palette};
use super::portrait::{Counts, Portrait};
use crate::graph::Graph;
use crate::model::{Cost, Model, Observation};
use crate::stats::density::{Points, Regression, SizeTrend, Surprises, deviations, to_nearest};

/// What makes a graph strange to one member, or to one member of each of several detectors. All but `upper` are surprises in
/// nats: comparable between parts and between detectors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FoldScore {
    /// Surprise at ln n.
    pub size: f64,
    /// The larger of the surprises at the graph's structure and at its colours, given the size.
    pub shape: f64,
    /// Surprise at the model's statistics, given the size: what this model says that another might not.
    pub model: f64,
    /// One-sided: standard deviations above the training graphs' mean unlikeliness.
    pub upper: f64,
}

impl FoldScore {
    /// Surprise at all that is looked at given the size. The largest counts: a graph that is a little strange to each view
    /// doesn't outrank one that is plainly strange to one.
    #[must_use]
    pub fn structure(&self) -> f64 {
        self.shape.max(self.model)
    }

    /// Two-sided: size and structure as two sides of a right angle. Their larger one forgets the other; their sum, as of
    /// −ln p(n) and −ln p(G | n), ranks a graph that has the family's size and nothing else of it too low.
    #[must_use]
    pub fn nonconformity(&self) -> f64 {
        // Not `hypot`, whose last bits are the platform's.
        (self.size * self.size + self.structure() * self.structure()).sqrt()
    }

    /// The nonconformity that a tail is about.
    #[must_use]
    pub fn chosen(tail: Tail) -> fn(&Self) -> f64 {
        match tail {
            Tail::TwoSided => Self::nonconformity,
            Tail::Upper => |score| score.upper,
        }
    }

    /// What detectors of one family say together of one graph under one fold; at least one.
    ///
    /// Models are averaged, as an ensemble is: each has noise of its own. Size and shape hardly differ between detectors,
    /// which trained on the same graphs.
    pub(super) fn together(scores: &[Self]) -> Self {
        let largest = |part: fn(&Self) -> f64| scores.iter().map(part).fold(f64::MIN, f64::max);
        Self {
            size: largest(|score| score.size),
            shape: largest(|score| score.shape),
            model: scores.iter().map(|score| score.model).sum::<f64>() / scores.len() as f64,
            upper: largest(|score| score.upper),
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

/// Neighbours whose mean distance is taken: few where there are many coordinates, for then only the nearest are near, more in
/// the one dimension of size, where few make a density that is mostly noise.
const SIZE_NEIGHBOURS: usize = 10;
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
    pub(super) colours: View<Palette>,
    /// Mean and standard deviation of the training graphs' unlikeliness.
    pub(super) unlikeliness: [f64; 2],
}

/// The normals as one kind of points, and how surprising a distance to the nearest of them is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct View<P> {
    pub(super) normals: P,
    /// Of distances with size.
    pub(super) trend: SizeTrend,
    pub(super) surprises: Surprises,
}

impl<P> View<P> {
    /// `to_each` gives the distances of the normal of an index to all of them; `trend` is fitted to the sizes and distances
    /// to the `k` nearest.
    fn of(
        normals: P,
        log_sizes: &[f64],
        k: usize,
        trend: impl Fn(&[f64], &[f64]) -> SizeTrend,
        to_each: impl Fn(&P, usize) -> Vec<f64>,
    ) -> Self {
        let nearest = |index: usize| to_nearest(&to_each(&normals, index), k, |other| other == index);
        let own: Vec<f64> = (0..log_sizes.len()).map(nearest).collect();
        let trend = trend(log_sizes, &own);
        let left = log_sizes.iter().zip(&own).map(|(&size, &distance)| trend.residual(size, distance)).collect();
        Self { normals, trend, surprises: Surprises::of(left) }
    }

    /// The surprise at a graph of these distances to the normals.
    fn surprise(&self, log_size: f64, distances: &[f64], k: usize, is_twin: impl Fn(usize) -> bool) -> f64 {
        self.surprises.surprise(self.trend.residual(log_size, to_nearest(distances, k, is_twin)))
    }
}

impl Member {
    /// Fits the views to what the model observes of its training graphs.
    ///
    /// # Panics
    /// When there are no observations: training checks that there are.
    #[must_use]
    pub(crate) fn fit(model: Model, observed: &[(&Graph, &Observation)]) -> Self {
        let labelled = is_labelled(&model);
        let portraits: Vec<(Portrait<'_>, &Observation)> =
            observed.iter().map(|(graph, observation)| (Portrait::of(graph), *observation)).collect();
        let mut seen = HashSet::new();
        let distinct: Vec<&(Portrait<'_>, &Observation)> =
            portraits.iter().filter(|(portrait, _)| seen.insert(portrait.colours(labelled).twin)).collect();
        let counts: Vec<&Counts> = distinct.iter().map(|(portrait, _)| portrait.counts()).collect();
        let sizes: Vec<Vec<f64>> = counts.iter().map(|counts| counts.size.clone()).collect();
        let observed: Vec<Vec<f64>> = distinct.iter().map(|(_, observation)| observation.statistics.clone()).collect();
        let regression = Regression::fit(&sizes, &observed);
        let residuals: Vec<Vec<f64>> =
            sizes.iter().zip(&observed).map(|(size, statistics)| regression.residual(size, statistics)).collect();

        let log_sizes: Vec<f64> = counts.iter().map(|counts| counts.log_size).collect();
        let shapes: Vec<Vec<f64>> = counts.iter().map(|counts| counts.structure.clone()).collect();
        let points: Vec<Vec<f64>> = log_sizes.iter().map(|&size| vec![size]).collect();
        let of_points = |points: &[Vec<f64>], smallest_unit: f64, k: usize, trend: fn(&[f64], &[f64]) -> SizeTrend| {
            let normals = Points::new(points, deviations(points, smallest_unit));
            View::of(normals, &log_sizes, k, trend, |normals, index| normals.distances(&points[index]))
        };
        let colours: Vec<&Coloured> = distinct.iter().map(|(portrait, _)| portrait.colours(labelled)).collect();
        let palette = Palette::of(&colours, CLOSE_NEIGHBOURS);

        let n = portraits.len() as f64;
        let unlikeliness = || portraits.iter().map(|(_, observation)| observation.unlikeliness);
        let mean = unlikeliness().sum::<f64>() / n;
        let variance = unlikeliness().map(|one| (one - mean).powi(2)).sum::<f64>() / n;
        Self {
            twins: colours.iter().map(|colours| colours.twin).collect(),
            // A size's distance to other sizes has no trend to take out.
            size: of_points(&points, SIZE_SPREAD, SIZE_NEIGHBOURS, |_, _| SizeTrend::NONE),
            statistics: of_points(&residuals, STATISTIC_SPREAD, NEIGHBOURS, SizeTrend::fit),
            structure: of_points(&shapes, STRUCTURE_SPREAD, CLOSE_NEIGHBOURS, SizeTrend::fit),
            colours: View::of(palette, &log_sizes, CLOSE_NEIGHBOURS, SizeTrend::fit, |palette, index| {
                palette.distances(colours[index])
            }),
            unlikeliness: [mean, variance.sqrt().max(STATISTIC_SPREAD)],
            regression,
            model,
        }
    }

    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Estimated multiply-adds and bytes of [`Member::judge`]: what each number of the normals takes, whatever the graph.
    pub(super) fn comparison_cost(&self) -> Cost {
        let points = [&self.size, &self.statistics, &self.structure].map(|view| view.normals.parts().0.len() as u64);
        let multiply_adds = points.iter().sum::<u64>() + self.colours.normals.graphs.len() as u64;
        Cost { multiply_adds, bytes: (2 * size_of::<f64>() * self.twins.len()) as u64 }
    }

    /// How strange a graph is beside the training graphs.
    #[must_use]
    pub fn judge(&self, portrait: &Portrait<'_>, observation: &Observation) -> FoldScore {
        let (counts, colours) = (portrait.counts(), portrait.colours(is_labelled(&self.model)));
        let is_twin = |index: usize| self.twins[index] == colours.twin;
        let by_points = |view: &View<Points>, point: &[f64], k: usize| {
            view.surprise(counts.log_size, &view.normals.distances(point), k, is_twin)
        };
        // Of a graph without edges a model observes nothing.
        let model = if portrait.graph().edge_count() == 0 {
            0.0
        } else {
            let residual = self.regression.residual(&counts.size, &observation.statistics);
            by_points(&self.statistics, &residual, NEIGHBOURS)
        };
        let by_structure = by_points(&self.structure, &counts.structure, CLOSE_NEIGHBOURS);
        let to_colours = self.colours.normals.distances(colours);
        let by_colours = self.colours.surprise(counts.log_size, &to_colours, CLOSE_NEIGHBOURS, is_twin);
        let [mean, deviation] = self.unlikeliness;
        FoldScore {
            size: by_points(&self.size, &[counts.log_size], SIZE_NEIGHBOURS),
            shape: by_structure.max(by_colours),
            model,
            upper: (observation.unlikeliness - mean) / deviation,
        }
    }
}

/// Whether a model's family has node labels that it looks at.
fn is_labelled(model: &Model) -> bool {
    !model.vocabulary().node_labels.is_empty()
}

#[cfg(test)]
mod tests {
    use super::FoldScore;

    #[test]
    fn detectors_average_their_models_and_share_the_rest() {
        let of = |shape: f64, model: f64, upper: f64| FoldScore { size: 3.0, shape, model, upper };
        let together = FoldScore::together(&[of(2.0, 1.0, 7.0), of(2.5, 7.0, -1.0)]);
        assert_eq!(together, of(2.5, 4.0, 7.0));
        assert_eq!((together.structure(), together.nonconformity()), (4.0, 5.0));
        assert_eq!(FoldScore::together(&[of(2.0, 1.0, 7.0)]), of(2.0, 1.0, 7.0));
    }
}
