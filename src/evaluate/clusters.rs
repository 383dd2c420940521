//! Two clusters of graphs by what is said of them, and a picture of them.

use super::report::{Clusters, Point, Sample};
use super::scoring::{Heard, Lot, ScoreVector};
use crate::stats::cluster::{two_class_accuracy, ward_two_clusters};
use crate::stats::principal::two_components;

/// Points of a class: clustering holds a distance for each pair.
const MOST_POINTS: usize = 2_000;

/// Clusters and projects the test and the anomalous graphs.
pub(super) fn of(heard: &Heard, lots: &[Lot<'_>]) -> Clusters {
    let normal = class(heard, lots, |sample| sample == Sample::Test);
    let all = Clustering::of([normal.as_slice(), &class(heard, lots, Sample::is_anomalous)].concat(), by_vectors);
    let families: Vec<Vec<Seen<'_>>> = lots
        .iter()
        .map(|lot| lot.sample)
        .filter(|sample| sample.is_anomalous())
        .map(|family| [normal.as_slice(), &class(heard, lots, |sample| sample == family)].concat())
        .collect();
    let by_family = |points: fn(&[Seen<'_>]) -> Vec<Vec<f64>>| -> Vec<f64> {
        families.iter().map(|graphs| Clustering::of(graphs.clone(), points).accuracy()).collect()
    };
    let accuracy_by_family = if families.len() == 1 { vec![all.accuracy()] } else { by_family(by_vectors) };
    let anomalous = all.truth().filter(|anomalous| *anomalous).count();
    let projection = two_components(&all.points);
    Clusters {
        accuracy: all.accuracy(),
        accuracy_by_family,
        surprise_accuracy_by_family: by_family(by_surprises),
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

/// A graph with what is known of it.
#[derive(Debug, Clone, Copy)]
struct Seen<'a> {
    sample: Sample,
    vectors: &'a [ScoreVector],
    surprises: &'a [f64],
}

/// The graphs of some samples, evenly spaced ones where they are too many.
fn class<'a>(heard: &'a Heard, lots: &[Lot<'_>], is_of: impl Fn(Sample) -> bool) -> Vec<Seen<'a>> {
    let of_class = lots.iter().zip(&heard.said).filter(|(lot, _)| is_of(lot.sample));
    let graphs: Vec<Seen<'a>> = of_class
        .flat_map(|(lot, said)| {
            let both = said.vectors.iter().zip(&said.surprises);
            both.map(|(vectors, surprises)| Seen { sample: lot.sample, vectors, surprises })
        })
        .collect();
    graphs.iter().step_by(graphs.len().div_ceil(MOST_POINTS).max(1)).copied().collect()
}

fn by_vectors(graphs: &[Seen<'_>]) -> Vec<Vec<f64>> {
    joined(&graphs.iter().map(|seen| seen.vectors).collect::<Vec<_>>())
}

/// As they are: all surprises are in one unit.
fn by_surprises(graphs: &[Seen<'_>]) -> Vec<Vec<f64>> {
    graphs.iter().map(|seen| seen.surprises.to_vec()).collect()
}

/// Ward's two clusters of some graphs.
struct Clustering {
    samples: Vec<Sample>,
    points: Vec<Vec<f64>>,
    /// 0 or 1.
    clusters: Vec<usize>,
}

impl Clustering {
    fn of(graphs: Vec<Seen<'_>>, points: fn(&[Seen<'_>]) -> Vec<Vec<f64>>) -> Self {
        let points = points(&graphs);
        let samples = graphs.into_iter().map(|seen| seen.sample).collect();
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

    /// What tells the classes apart is only among the surprises, and only against the first of two families.
    #[test]
    fn score_vectors_and_surprises_are_clustered_each_for_themselves() {
        let samples = [Sample::Test, Sample::Anomalous(0), Sample::Anomalous(1)];
        let lots = samples.map(|sample| Lot { sample, graphs: Vec::new(), classes: Vec::new() });
        let mut heard = Heard::new(lots.len());
        for (said, base) in heard.said.iter_mut().zip([0.0, 5.0, 0.0]) {
            said.vectors = [0.0, 0.0, 9.0, 9.0].map(|value| vec![ScoreVector::Statistics(vec![value])]).into();
            said.surprises = [0.0, 1.0, 0.0, 1.0].map(|value| vec![base + value]).into();
        }
        let clusters = of(&heard, &lots);
        assert_eq!(clusters.accuracy_by_family, [0.5, 0.5]);
        assert_eq!(clusters.surprise_accuracy_by_family, [1.0, 0.5]);
        assert_eq!((clusters.points.len(), clusters.majority), (12, 8.0 / 12.0));
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
