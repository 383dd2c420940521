//! Conformal p-values (Vovk et al.; Bates et al. 2023) and the band that a false-positive rate is expected in.

/// `(1 + #{calibration >= score}) / (n + 1)`: ties count against the graph.
#[must_use]
pub fn p_value(_calibration: &[f64], _score: f64) -> f64 {
    todo!()
}

/// The smallest p-value that `n` calibration scores can give: `1 / (n + 1)`.
#[must_use]
pub fn min_p(n: usize) -> f64 {
    1.0 / (n as f64 + 1.0)
}

/// The central `coverage` interval of the number of false alarms among `tested` normal graphs at level `alpha`, given
/// `calibrated` calibration scores: Beta-Binomial(tested, l, calibrated + 1 - l), l = floor(alpha (calibrated + 1)).
#[must_use]
pub fn false_positive_band(_calibrated: usize, _tested: usize, _alpha: f64, _coverage: f64) -> (usize, usize) {
    todo!()
}
