//! Histograms of equal bins; the last bin is closed.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// One more than `counts`, ascending.
    pub bin_edges: Vec<f64>,
    pub counts: Vec<u64>,
}

impl Histogram {
    /// Counts `values` in `bins` equal bins of `[low, high]`; what lies outside is counted in the nearest bin.
    #[must_use]
    pub fn of(_values: &[f64], _low: f64, _high: f64, _bins: usize) -> Self {
        todo!()
    }
}
