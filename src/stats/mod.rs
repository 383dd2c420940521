//! Statistics without models: histograms, conformal p-values, one-class densities, clustering, principal
//! components, ranking and how sure it is.
//!
//! Where order matters, NaN is the largest value of all: a score that could not be computed is as anomalous as can be,
//! and nothing depends on where it stands in a list.

use std::cmp::Ordering;

pub mod bootstrap;
pub mod cluster;
pub mod conformal;
pub mod density;
pub mod fdr;
pub mod histogram;
pub mod kernel_density;
pub mod martingale;
pub mod principal;
pub mod ranking;
pub mod summary;
pub mod two_sample;

/// Numbers in their order, the two zeros equal, NaN after all others.
fn nan_last(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

#[cfg(test)]
mod tests {
    use super::nan_last;

    #[test]
    fn nan_comes_last_and_zeros_are_equal() {
        let mut values = [f64::NAN, 0.0, f64::INFINITY, -1.0, f64::NEG_INFINITY];
        values.sort_by(|a, b| nan_last(*a, *b));
        assert_eq!(values[..4], [f64::NEG_INFINITY, -1.0, 0.0, f64::INFINITY]);
        assert!(values[4].is_nan());
        assert!(nan_last(0.0, -0.0).is_eq());
        assert!(nan_last(f64::NAN, -f64::NAN).is_eq());
    }
}
