//! How well a score ranks anomalies above normals: AUROC, average precision, false-positive rate at a recall.

/// The probability that an anomalous score exceeds a normal one, ties counted half (Mann-Whitney). NaN-free input.
#[must_use]
pub fn auroc(_normal: &[f64], _anomalous: &[f64]) -> f64 {
    todo!()
}

#[must_use]
pub fn average_precision(_normal: &[f64], _anomalous: &[f64]) -> f64 {
    todo!()
}

/// The false-positive rate at the smallest threshold that catches `recall` of the anomalies.
#[must_use]
pub fn fpr_at_recall(_normal: &[f64], _anomalous: &[f64], _recall: f64) -> f64 {
    todo!()
}
