//! Two clusters of score vectors, and a picture of them.

use super::report::{Clusters, Point, Sample};
use super::scoring::{Heard, Lot, ScoreVector};
use crate::stats::cluster::{two_class_accuracy, ward_two_clusters};
use crate::stats::principal::two_components;

/// Points of a class: clustering holds a distance for each pair.
const MOST_POINTS: usize = 2_000;

/// Clusters and projects the score vectors of the test and the anomalous graphs.
pub(super) fn of(heard: &Heard, lots: &[Lot<'_>]) -> Clusters {
    let class = |is_of: &dyn Fn(Sample) -> bool| -> Vec<(Sample, &[ScoreVector])> {
        let of_class = lots.iter().zip(&heard.said).filter(|(lot, _)| is_of(lot.sample));
        let points: Vec<(Sample, &[ScoreVector])> = of_class
            .flat_map(|(lot, said)| said.vectors.iter().map(|vectors| (lot.sample, vectors.as_slice())))
            .collect();
        points.iter().step_by(points.len().div_ceil(MOST_POINTS).max(1)).copied().collect()
    };
    let normal = class(&|sample| sample == Sample::Test);
    let all = Clustering::of([normal.as_slice(), &class(&Sample::is_anomalous)].concat());
    let families = lots.iter().map(|lot| lot.sample).filter(|sample| sample.is_anomalous());
    let accuracy_by_family: Vec<f64> = match families.clone().count() {
        1 => vec![all.accuracy()],
        _ => families
            .map(|family| Clustering::of([normal.as_slice(), &class(&|sample| sample == family)].concat()).accuracy())
            .collect(),
    };
    let anomalous = all.truth().filter(|anomalous| *anomalous).count();
    let projection = two_components(&all.points);
    Clusters {
        accuracy: all.accuracy(),
        accuracy_by_family,
        majority: anomalous.max(all.samples.len() - anomalous) as f64 / all.samples.len() as f64,
        points: all
            .samples
            .into_iter()
            .zip(all.clusters)
            .zip(projection.coordinates)
            .map(|((sample, cluster), [x, y])| Point { sample, cluster, x, y })
            .collect(),
        explained: projection.explained,
    }
}

/// Ward's two clusters of some graphs.
struct Clustering {
    samples: Vec<Sample>,
    points: Vec<Vec<f64>>,
    /// 0 or 1.
    clusters: Vec<usize>,
}

impl Clustering {
    fn of(chosen: Vec<(Sample, &[ScoreVector])>) -> Self {
        let (samples, vectors): (Vec<Sample>, Vec<&[ScoreVector]>) = chosen.into_iter().unzip();
        let points = joined(&vectors);
        Self { samples, clusters: ward_two_clusters(&points), points }
    }

    fn truth(&self) -> impl Iterator<Item = bool> {
        self.samples.iter().map(|sample| sample.is_anomalous())
    }

    fn accuracy(&self) -> f64 {
        two_class_accuracy(&self.clusters, &self.truth().collect::<Vec<bool>>())
    }
}

/// One vector a graph of those of its detectors, each detector's part with the same total variance: neither many
/// statistics nor large ones should outweigh the others.
fn joined(graphs: &[&[ScoreVector]]) -> Vec<Vec<f64>> {
    let mut joined = vec![Vec::new(); graphs.len()];
    let detectors = graphs.first().map_or(0, |vectors| vectors.len());
    for detector in 0..detectors {
        let mut part = centred(&graphs.iter().map(|vectors| &vectors[detector]).collect::<Vec<_>>());
        scale(part.iter_mut().flatten(), graphs.len());
        joined.iter_mut().zip(part).for_each(|(vector, part)| vector.extend(part));
    }
    joined
}

/// One detector's vectors around their mean, statistics in units of their deviations.
fn centred(vectors: &[&ScoreVector]) -> Vec<Vec<f64>> {
    let values = |vector: &ScoreVector| match vector {
        ScoreVector::Shares(values) | ScoreVector::Statistics(values) => values.clone(),
    };
    let mut points: Vec<Vec<f64>> = vectors.iter().map(|vector| values(vector)).collect();
    let in_own_units = vectors.iter().any(|vector| matches!(vector, ScoreVector::Statistics(_)));
    for j in 0..points.iter().map(Vec::len).min().unwrap_or(0) {
        let finite: Vec<f64> = points.iter().map(|point| point[j]).filter(|value| value.is_finite()).collect();
        let mean = finite.iter().sum::<f64>() / finite.len().max(1) as f64;
        for point in &mut points {
            point[j] = if point[j].is_finite() { point[j] - mean } else { 0.0 };
        }
        if in_own_units {
            scale(points.iter_mut().map(|point| &mut point[j]), vectors.len());
        }
    }
    points
}

/// Scales values around 0 so that their squares add up to `total`; those that don't vary stay 0.
fn scale<'a>(values: impl Iterator<Item = &'a mut f64>, total: usize) {
    let values: Vec<&mut f64> = values.collect();
    let squares: f64 = values.iter().map(|value| **value * **value).sum();
    // Below this it is the rounding of a constant.
    if squares > 1e-18 {
        let factor = (total as f64 / squares).sqrt();
        values.into_iter().for_each(|value| *value *= factor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(points: &[Vec<f64>], expected: &[&[f64]]) {
        for (point, expected) in points.iter().flatten().zip(expected.iter().copied().flatten()) {
            assert!((point - expected).abs() < 1e-9, "{points:?}");
        }
    }

    #[test]
    fn each_statistic_and_each_detector_weighs_the_same() {
        let of = |statistics: [f64; 2], shares: [f64; 2]| {
            [ScoreVector::Statistics(statistics.to_vec()), ScoreVector::Shares(shares.to_vec())]
        };
        let graphs = [of([1.0, 100.0], [0.5, 0.5]), of([3.0, 300.0], [0.7, 0.3])];
        let half = 0.5_f64.sqrt();
        let expected: [&[f64]; 2] = [&[-half, -half, -half, half], &[half, half, half, -half]];
        close(&joined(&[&graphs[0], &graphs[1]]), &expected);
    }

    #[test]
    fn shares_keep_their_proportions() {
        let shares = |a: f64, b: f64| ScoreVector::Shares(vec![a, b]);
        let points = centred(&[&shares(0.2, 0.01), &shares(0.4, 0.03)]);
        close(&points, &[&[-0.1, -0.01], &[0.1, 0.01]]);
    }

    #[test]
    fn what_never_varies_or_is_no_number_stays_at_the_mean() {
        let statistics = |a: f64, b: f64| ScoreVector::Statistics(vec![a, b]);
        let points = centred(&[&statistics(7.0, f64::NAN), &statistics(7.0, 2.0), &statistics(7.0, 4.0)]);
        assert!(points.iter().all(|point| point[0] == 0.0) && points[0][1] == 0.0, "{points:?}");
    }
}
