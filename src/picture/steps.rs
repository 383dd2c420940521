//! Histograms as outlines, so that several lie over one another and all are seen.

use crate::stats::histogram::Histogram;

/// The outline of a histogram: (value, share of the sample in %), two corners a bin.
pub(super) fn outline(histogram: &Histogram) -> Vec<(f64, f64)> {
    let total = histogram.counts.iter().sum::<u64>().max(1) as f64;
    let bins = histogram.bin_edges.windows(2).zip(&histogram.counts);
    let tops = bins.flat_map(|(edges, count)| {
        let share = 100.0 * *count as f64 / total;
        [(edges[0], share), (edges[1], share)]
    });
    let (first, last) = (histogram.bin_edges.first(), histogram.bin_edges.last());
    let foot = |edge: Option<&f64>| edge.map(|edge| (*edge, 0.0));
    foot(first).into_iter().chain(tops).chain(foot(last)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outline_goes_up_along_every_bin_and_down_again() {
        let outlined = outline(&Histogram::of(&[0.1, 0.6, 0.7, 0.8], 0.0, 1.0, 2));
        assert_eq!(outlined, [(0.0, 0.0), (0.0, 25.0), (0.5, 25.0), (0.5, 75.0), (1.0, 75.0), (1.0, 0.0)]);
        assert!(outline(&Histogram::of(&[], 0.0, 1.0, 2)).iter().all(|(_, share)| *share == 0.0));
    }
}
