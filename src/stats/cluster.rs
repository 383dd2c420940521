//! Agglomerative clustering into two, as the study does it (Ward's linkage).

use kodama::{Method, linkage};

/// Distances are cut here, so that their squares, summed over any number of points, stay finite.
const FARTHEST: f64 = 1e100;

/// The cluster, 0 or 1, of each point (all of one dimension); the first point's cluster is 0.
///
/// The same partition as scikit-learn's `AgglomerativeClustering(n_clusters=2, linkage="ward")`, up to ties. A point
/// with a coordinate that isn't finite is as far from all others as can be. Needs memory for every pair of points.
#[must_use]
pub fn ward_two_clusters(points: &[Vec<f64>]) -> Vec<usize> {
    if points.len() < 2 {
        return vec![0; points.len()];
    }
    let mut distances = Vec::with_capacity(points.len() * (points.len() - 1) / 2);
    for (i, a) in points.iter().enumerate() {
        distances.extend(points[i + 1..].iter().map(|b| distance(a, b)));
    }
    // kodama squares the distances for Ward itself.
    let dendrogram = linkage(&mut distances, points.len(), Method::Ward);
    let steps = dendrogram.steps();
    let mut clusters = vec![1; points.len()];
    let Some(last) = steps.last() else { return clusters };
    // Labels below `points.len()` are points; the others are steps, in order. The last step joins the two clusters.
    let mut unvisited = vec![last.cluster1];
    while let Some(label) = unvisited.pop() {
        match label.checked_sub(points.len()) {
            None => clusters[label] = 0,
            Some(step) => unvisited.extend([steps[step].cluster1, steps[step].cluster2]),
        }
    }
    if clusters[0] == 1 {
        clusters.iter_mut().for_each(|cluster| *cluster = 1 - *cluster);
    }
    clusters
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    let squares: f64 = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum();
    let distance = squares.sqrt();
    if distance < FARTHEST { distance } else { FARTHEST }
}

/// The share of points whose cluster is their class, under the better of the two matchings; NaN without points.
#[must_use]
pub fn two_class_accuracy(clusters: &[usize], anomalous: &[bool]) -> f64 {
    let points = clusters.len().min(anomalous.len());
    let matched = clusters.iter().zip(anomalous).filter(|&(&cluster, &anomalous)| (cluster == 1) == anomalous).count();
    matched.max(points - matched) as f64 / points as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(values: &[f64]) -> Vec<Vec<f64>> {
        values.iter().map(|&value| vec![value]).collect()
    }

    #[test]
    fn separates_two_groups() {
        assert_eq!(ward_two_clusters(&line(&[0.0, 10.0, 0.1, 10.2, 0.3])), [0, 1, 0, 1, 0]);
    }

    /// By hand. {0, 1} and {4, 6} form first (0.5 and 2 of added variance); then 10 joins {4, 6} at 2/3 × 25 = 16.7
    /// rather than those two pairs joining at (5 − 0.5)² = 20.25. On distances not squared, or single linkage, 0 to 6 would be one.
    #[test]
    fn follows_ward_and_not_the_nearest_neighbour() {
        assert_eq!(ward_two_clusters(&line(&[0.0, 1.0, 4.0, 6.0, 10.0])), [0, 0, 1, 1, 1]);
    }

    /// scikit-learn 1.9. Single, complete and average linkage, and Ward on distances squared twice, all differ here.
    #[test]
    fn agrees_with_scikit_learn() {
        #[rustfmt::skip]
        let points = [
            [50, 15], [6, 17], [24, 48], [27, 5], [20, 36], [48, 43], [59, 11], [52, 3], [33, 16], [12, 39], [18, 33],
            [15, 9], [44, 25], [40, 40],
        ];
        let points: Vec<Vec<f64>> = points.iter().map(|point| point.map(f64::from).to_vec()).collect();
        assert_eq!(ward_two_clusters(&points), [0, 0, 1, 0, 1, 1, 0, 0, 0, 1, 1, 0, 1, 1]);
    }

    #[test]
    fn too_few_points_are_one_cluster() {
        assert!(ward_two_clusters(&[]).is_empty());
        assert_eq!(ward_two_clusters(&line(&[3.0])), [0]);
        assert_eq!(ward_two_clusters(&line(&[3.0, 3.0])), [0, 1]);
    }

    #[test]
    fn a_point_that_is_not_finite_is_alone() {
        assert_eq!(ward_two_clusters(&line(&[1.0, 2.0, f64::NAN, 1e9])), [0, 0, 1, 0]);
        assert_eq!(ward_two_clusters(&line(&[1.0, f64::INFINITY, 2.0])), [0, 1, 0]);
    }

    #[test]
    fn accuracy_takes_the_better_matching() {
        let classes = [false, false, true, true];
        assert_eq!(two_class_accuracy(&[0, 0, 1, 1], &classes), 1.0);
        assert_eq!(two_class_accuracy(&[1, 1, 0, 0], &classes), 1.0);
        assert_eq!(two_class_accuracy(&[0, 1, 1, 1], &classes), 0.75);
        assert_eq!(two_class_accuracy(&[0, 1, 0, 1], &classes), 0.5);
        assert!(two_class_accuracy(&[], &[]).is_nan());
    }

    proptest! {
        #[test]
        fn any_points_get_a_cluster(points in prop::collection::vec(prop::collection::vec(any::<f64>(), 3), 0..30)) {
            let clusters = ward_two_clusters(&points);
            prop_assert_eq!(clusters.len(), points.len());
            prop_assert!(clusters.iter().all(|&cluster| cluster <= 1));
            prop_assert!(points.len() < 2 || clusters.contains(&1));
        }
    }
}
