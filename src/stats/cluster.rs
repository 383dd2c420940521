//! Agglomerative clustering into two, as the study does it (Ward's linkage).

/// The cluster, 0 or 1, of each point (all of one dimension).
#[must_use]
pub fn ward_two_clusters(_points: &[Vec<f64>]) -> Vec<usize> {
    todo!()
}

/// The share of points whose cluster is their class, under the better of the two matchings.
#[must_use]
pub fn two_class_accuracy(_clusters: &[usize], _anomalous: &[bool]) -> f64 {
    todo!()
}
