//! Histograms as they are answered.

use serde::Serialize;
use utoipa::ToSchema;

use crate::stats::histogram::Histogram;

/// A histogram of equal bins; the last is closed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Bins {
    /// One more than `counts`, ascending.
    pub(super) bin_edges: Vec<f64>,
    pub(super) counts: Vec<u64>,
}

impl From<Histogram> for Bins {
    fn from(Histogram { bin_edges, counts }: Histogram) -> Self {
        Self { bin_edges, counts }
    }
}
