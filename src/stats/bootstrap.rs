//! How sure a figure of a sample is: percentile intervals of the bootstrap (Efron 1979).

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::nan_last;
use super::ranking::{Ranking, Sampler, Scores};
use super::summary::quantile;

/// The coverage of every interval.
pub const COVERAGE: f64 = 0.95;

/// A figure with the central 95 % of what samples like this one give.
///
/// A ranking without a mistake has an interval of no width: among its samples there is no worse one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

impl Estimate {
    /// `value` with the quantiles of its `replicates`.
    #[must_use]
    pub fn of(value: f64, mut replicates: Vec<f64>) -> Self {
        replicates.sort_unstable_by(|a, b| nan_last(*a, *b));
        let tail = (1.0 - COVERAGE) / 2.0;
        Self { value, low: quantile(&replicates, tail), high: quantile(&replicates, 1.0 - tail) }
    }
}

/// The metrics of a ranking, each with its interval.
///
/// Both classes are resampled, each for itself and by whole units (the cluster bootstrap: Davison and Hinkley 1997, section
/// 3.8). Few units, or very unequal ones, make intervals too narrow.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RankingEstimates {
    pub auroc: Estimate,
    pub average_precision: Estimate,
    /// The false-positive rate where 95 % of the anomalies are caught.
    pub fpr_at_95_tpr: Estimate,
}

const RECALL: f64 = 0.95;

impl RankingEstimates {
    /// Both classes must have scores. `stream` gives the randomness of each replicate.
    #[must_use]
    pub fn of<R: Rng>(normal: Scores<'_>, anomalous: Scores<'_>, replicates: u64, stream: impl Fn(u64) -> R) -> Self {
        let sampler = Sampler::of(normal, anomalous);
        let samples: Vec<[f64; 3]> =
            (0..replicates).map(|index| metrics(&sampler.sample(&mut stream(index)))).collect();
        let found = metrics(&Ranking::of(normal.scores, anomalous.scores));
        let estimate = |place: usize| Estimate::of(found[place], samples.iter().map(|sample| sample[place]).collect());
        Self { auroc: estimate(0), average_precision: estimate(1), fpr_at_95_tpr: estimate(2) }
    }
}

fn metrics(ranking: &Ranking) -> [f64; 3] {
    [ranking.auroc(), ranking.average_precision(), ranking.fpr_at_recall(RECALL)]
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn stream(seed: u64) -> impl Fn(u64) -> ChaCha8Rng {
        move |index| ChaCha8Rng::seed_from_u64(seed * 1_000_003 + index)
    }

    #[test]
    fn an_interval_is_between_the_quantiles_of_the_replicates() {
        let estimate = Estimate::of(0.5, (0..=1000).rev().map(f64::from).collect());
        assert_eq!(estimate.value, 0.5);
        assert!((estimate.low - 25.0).abs() < 1e-9 && (estimate.high - 975.0).abs() < 1e-9, "{estimate:?}");
    }

    /// Each score a unit of its own.
    fn estimates(normal: &[f64], anomalous: &[f64], replicates: u64, seed: u64) -> RankingEstimates {
        let [normal_units, anomalous_units] =
            [normal, anomalous].map(|scores| (0..scores.len()).collect::<Vec<usize>>());
        RankingEstimates::of(
            Scores { scores: normal, units: &normal_units },
            Scores { scores: anomalous, units: &anomalous_units },
            replicates,
            stream(seed),
        )
    }

    #[test]
    fn a_seed_decides_the_interval() {
        let of = |seed| estimates(&[1.0, 2.0, 3.0, 4.0, 5.0], &[2.5, 4.5, 5.5, 6.0], 200, seed);
        let one = of(1);
        assert_eq!(one, of(1));
        assert_ne!(one, of(2));
        assert_eq!(one.auroc.value, 0.8, "16 of 20 pairs are won");
        assert!(one.auroc.low < 0.8 && 0.8 < one.auroc.high && one.auroc.high <= 1.0, "{one:?}");
    }

    #[test]
    fn a_perfect_ranking_has_no_width() {
        let one = Estimate { value: 1.0, low: 1.0, high: 1.0 };
        let none = Estimate { value: 0.0, low: 0.0, high: 0.0 };
        let estimates = estimates(&[1.0, 2.0], &[3.0, 4.0], 50, 1);
        assert_eq!(estimates, RankingEstimates { auroc: one, average_precision: one, fpr_at_95_tpr: none });
    }

    /// The standard error that an interval of an AUROC tells.
    fn standard_error(auroc: Estimate) -> f64 {
        (auroc.high - auroc.low) / (2.0 * 1.96)
    }

    /// The width of an AUROC's interval is about what Hanley and `McNeil` (1982) give: for 0.5 of 200 and 200 scores a
    /// standard error of sqrt(1/12 (1/200 + 1/200)) = 0.0289.
    #[test]
    fn the_width_is_that_of_theory() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut draw = || (0..200).map(|_| rng.random::<f64>()).collect::<Vec<_>>();
        let (normal, anomalous) = (draw(), draw());
        let found = standard_error(estimates(&normal, &anomalous, 1000, 4).auroc);
        assert!((found - 0.0289).abs() < 0.003, "{found}");
    }

    /// Each score four times over says no more than once: the interval is that of 200 scores, not the half of it.
    #[test]
    fn copies_in_one_unit_are_no_evidence() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut draw = || (0..200).flat_map(|_| [rng.random::<f64>(); 4]).collect::<Vec<_>>();
        let (normal, anomalous) = (draw(), draw());
        let units: Vec<usize> = (0..800).map(|place| place / 4).collect();
        let of = |scores| Scores { scores, units: &units };
        let found = standard_error(RankingEstimates::of(of(&normal), of(&anomalous), 1000, stream(4)).auroc);
        assert!((found - 0.0289).abs() < 0.003, "{found}");
    }
}
