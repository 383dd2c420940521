//! What is told of a sample: count, mean, standard deviation, quantiles.

use serde::{Deserialize, Serialize};

use super::nan_last;

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
    /// The summary of the finite values, which JSON can hold; `None` when there are none. `count` counts only these.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
        if sorted.is_empty() {
            return None;
        }
        sorted.sort_unstable_by(|a, b| nan_last(*a, *b));
        let count = sorted.len();
        let mean = sorted.iter().sum::<f64>() / count as f64;
        let squares: f64 = sorted.iter().map(|value| (value - mean).powi(2)).sum();
        let std = if count < 2 { 0.0 } else { (squares / (count as f64 - 1.0)).sqrt() };
        Some(Self { count, mean, std, quantiles: QUANTILES.iter().map(|&q| quantile(&sorted, q)).collect() })
    }
}

/// The `q`-quantile of ascending `sorted`, by linear interpolation (numpy's default). NaN for an empty sample; `q` is
/// taken into `[0, 1]`.
#[must_use]
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let position = q.clamp(0.0, 1.0) * last as f64;
    let below = position as usize;
    let (low, high) = (sorted[below], sorted[(below + 1).min(last)]);
    // Between equal neighbours there is nothing to interpolate, and infinity - infinity is not a number.
    if low == high { low } else { low + (high - low) * (position - below as f64) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// numpy 2.4: `mean`, `std(ddof=1)`, `quantile`.
    #[test]
    fn agrees_with_numpy() {
        let summary = Summary::of(&[3.5, -1.0, 7.25, 0.0, 2.0, 2.0, 10.0]).unwrap();
        assert_eq!(summary.count, 7);
        assert!((summary.mean - 3.392_857_142_857_143).abs() < 1e-14);
        assert!((summary.std - 3.941_914_569_874_704_5).abs() < 1e-14);
        let expected = [-1.0, -0.94, -0.7, 1.0, 2.0, 5.375, 9.175, 9.835, 10.0];
        for (quantile, expected) in summary.quantiles.iter().zip(expected) {
            assert!((quantile - expected).abs() < 1e-14, "{quantile} is not {expected}");
        }
    }

    #[test]
    fn one_value_has_no_spread() {
        let summary = Summary::of(&[4.0]).unwrap();
        assert_eq!((summary.count, summary.mean, summary.std), (1, 4.0, 0.0));
        assert_eq!(summary.quantiles, [4.0; 9]);
    }

    #[test]
    fn what_is_not_finite_is_left_out() {
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(Summary::of(&[f64::NAN, f64::INFINITY]), None);
        assert_eq!(Summary::of(&[1.0, f64::NAN, 3.0, f64::NEG_INFINITY]), Summary::of(&[3.0, 1.0]));
    }

    #[test]
    fn quantiles_stay_inside_the_sample() {
        assert!(quantile(&[], 0.5).is_nan());
        assert_eq!(quantile(&[1.0, 2.0], -3.0), 1.0);
        assert_eq!(quantile(&[1.0, 2.0], 3.0), 2.0);
        assert_eq!(quantile(&[f64::INFINITY, f64::INFINITY], 0.5), f64::INFINITY);
    }

    proptest! {
        #[test]
        fn quantiles_ascend_between_the_extremes(mut sample in prop::collection::vec(-1e6..1e6_f64, 1..60), a in 0.0..=1.0, b in 0.0..=1.0) {
            sample.sort_by(f64::total_cmp);
            let (low, high) = (quantile(&sample, f64::min(a, b)), quantile(&sample, f64::max(a, b)));
            prop_assert!(low <= high + 1e-9);
            prop_assert!(sample[0] <= low && high <= sample[sample.len() - 1] + 1e-9);
        }
    }
}
