//! What is told of a sample: count, mean, standard deviation, quantiles.

use serde::{Deserialize, Serialize};

/// The quantiles every summary gives.
pub const QUANTILES: [f64; 9] = [0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0];

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    pub count: usize,
    pub mean: f64,
    /// Of the sample (n - 1); 0 for fewer than two values.
    pub std: f64,
    /// At [`QUANTILES`], in that order.
    pub quantiles: Vec<f64>,
}

impl Summary {
    /// `None` for an empty sample.
    #[must_use]
    pub fn of(_values: &[f64]) -> Option<Self> {
        todo!()
    }
}

/// The `q`-quantile of ascending `sorted`, by linear interpolation (numpy's default).
#[must_use]
pub fn quantile(_sorted: &[f64], _q: f64) -> f64 {
    todo!()
}
