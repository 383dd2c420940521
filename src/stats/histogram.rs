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
    ///
    /// NaN is near to no bin and is not counted. A range that is empty becomes one of width 1 around `low`, as numpy
    /// has it; one that isn't finite, `[0, 1]`. There is at least one bin.
    #[must_use]
    pub fn of(values: &[f64], low: f64, high: f64, bins: usize) -> Self {
        let bins = bins.max(1);
        let (low, high) = match (low, high) {
            _ if !(low.is_finite() && high.is_finite()) => (0.0, 1.0),
            _ if low >= high => (low - 0.5, low + 0.5),
            range => range,
        };
        // Weighing both ends can't overflow, and gives 0.3 where adding up tenths gives 0.30000000000000004.
        let share = |edge: usize| edge as f64 / bins as f64;
        let bin_edges: Vec<f64> = (0..=bins).map(|edge| low * (1.0 - share(edge)) + high * share(edge)).collect();
        let mut counts = vec![0; bins];
        for value in values.iter().filter(|value| !value.is_nan()) {
            let edges_below = bin_edges.partition_point(|edge| edge <= value);
            counts[edges_below.saturating_sub(1).min(bins - 1)] += 1;
        }
        Self { bin_edges, counts }
    }

    /// Adds the counts of a histogram over the same bins.
    pub fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bins_are_closed_below_and_the_last_one_above() {
        let histogram = Histogram::of(&[0.0, 0.1, 0.25, 0.5, 0.74, 0.75, 1.0], 0.0, 1.0, 4);
        assert_eq!(histogram.bin_edges, [0.0, 0.25, 0.5, 0.75, 1.0]);
        assert_eq!(histogram.counts, [2, 1, 2, 2]);
    }

    #[test]
    fn tenths_are_tenths() {
        let edges = Histogram::of(&[], 0.0, 1.0, 10).bin_edges;
        assert_eq!(edges, [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]);
    }

    #[test]
    fn values_outside_go_to_the_nearest_bin() {
        let values = [-3.0, f64::NEG_INFINITY, 0.5, 7.0, f64::INFINITY, f64::NAN];
        assert_eq!(Histogram::of(&values, 0.0, 1.0, 3).counts, [2, 1, 2]);
    }

    #[test]
    fn ranges_that_are_none_get_a_defined_one() {
        let histogram = Histogram::of(&[2.0, 2.0], 2.0, 2.0, 2);
        assert_eq!((histogram.bin_edges, histogram.counts), (vec![1.5, 2.0, 2.5], vec![0, 2]));
        assert_eq!(Histogram::of(&[0.5], f64::NAN, 1.0, 1).bin_edges, [0.0, 1.0]);
        assert_eq!(Histogram::of(&[0.5], 0.0, f64::INFINITY, 1).bin_edges, [0.0, 1.0]);
        assert_eq!(Histogram::of(&[0.5], 0.0, 1.0, 0).counts, [1]);
    }

    proptest! {
        #[test]
        fn every_number_is_counted_once(
            values in prop::collection::vec(any::<f64>(), 0..50), low: f64, high: f64, bins in 0_usize..60
        ) {
            let histogram = Histogram::of(&values, low, high, bins);
            prop_assert_eq!(histogram.bin_edges.len(), histogram.counts.len() + 1);
            prop_assert!(histogram.bin_edges.iter().all(|edge| edge.is_finite()));
            let numbers = values.iter().filter(|value| !value.is_nan()).count();
            prop_assert_eq!(histogram.counts.iter().sum::<u64>(), numbers as u64);
        }
    }
}
