//! Conformal p-values (Vovk et al.; Bates et al. 2023) and the band that a false-positive rate is expected in.

use statrs::function::beta::ln_beta;
use statrs::function::factorial::ln_binomial;

use super::nan_last;

/// `(1 + #{calibration >= score}) / (n + 1)`: ties count against the graph.
#[must_use]
pub fn p_value(calibration: &[f64], score: f64) -> f64 {
    let as_high = calibration.iter().filter(|&&other| nan_last(other, score).is_ge()).count();
    p_from_count(as_high, calibration.len())
}

/// The p-value where `as_extreme` of `calibrated` calibration scores are at least as high: `(1 + as_extreme) / (n + 1)`.
#[must_use]
pub fn p_from_count(as_extreme: usize, calibrated: usize) -> f64 {
    (1.0 + as_extreme as f64) / (calibrated as f64 + 1.0)
}

/// The smallest p-value that `n` calibration scores can give: `1 / (n + 1)`.
#[must_use]
pub fn min_p(n: usize) -> f64 {
    1.0 / (n as f64 + 1.0)
}

/// The central `coverage` interval of the number of false alarms among `tested` normal graphs at level `alpha`, given
/// `calibrated` calibration scores.
///
/// The number is Beta-Binomial(tested, l, calibrated + 1 - l), l = floor(alpha (calibrated + 1)) (Bates et al. 2023,
/// section 2); the ends are its quantiles, as scipy's `betabinom.interval` gives them.
#[must_use]
pub fn false_positive_band(calibrated: usize, tested: usize, alpha: f64, coverage: f64) -> (usize, usize) {
    let alarming = alarming_ranks(calibrated, alpha);
    if alarming == 0 {
        return (0, 0);
    }
    if alarming > calibrated {
        return (tested, tested);
    }
    let (a, b) = (alarming as f64, (calibrated + 1 - alarming) as f64);
    let log_norm = ln_beta(a, b);
    let probability = |k: usize| {
        let beta = ln_beta(k as f64 + a, (tested - k) as f64 + b);
        (ln_binomial(tested as u64, k as u64) + beta - log_norm).exp()
    };
    let tail = (1.0 - coverage) / 2.0;
    let mut cumulative = 0.0;
    let mut low = None;
    for k in 0..tested {
        cumulative += probability(k);
        if cumulative >= tail {
            low.get_or_insert(k);
        }
        if cumulative >= 1.0 - tail {
            return (low.unwrap_or(k), k);
        }
    }
    (low.unwrap_or(tested), tested)
}

/// How many of the p-values that `n` calibration scores can give are at most `alpha`: floor(alpha (n + 1)), compared as
/// p-values are, so that 0.29 of 100 is 29 and not the 28 of rounded products.
fn alarming_ranks(n: usize, alpha: f64) -> usize {
    let ranks = n as f64 + 1.0;
    let floor = (alpha * ranks).clamp(0.0, ranks) as usize;
    if floor <= n && (floor as f64 + 1.0) / ranks <= alpha { floor + 1 } else { floor }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ties_count_against_the_graph() {
        let calibration = [1.0, 2.0, 2.0, 3.0];
        assert_eq!(p_value(&calibration, 0.0), 1.0);
        assert_eq!(p_value(&calibration, 2.0), 0.8);
        assert_eq!(p_value(&calibration, 2.5), 0.4);
        assert_eq!(p_value(&calibration, 9.0), min_p(4));
        assert_eq!(p_value(&[], 1.0), 1.0);
    }

    #[test]
    fn nan_is_the_most_anomalous_score() {
        assert_eq!(p_value(&[1.0, f64::INFINITY], f64::NAN), min_p(2));
        assert_eq!(p_value(&[1.0, f64::NAN], f64::NAN), 2.0 / 3.0);
        assert_eq!(p_value(&[1.0, f64::NAN], 5.0), 2.0 / 3.0);
    }

    /// scipy 1.17: `betabinom(tested, l, n + 1 - l).interval(coverage)`.
    #[test]
    fn bands_are_those_of_scipy() {
        for (calibrated, tested, alpha, coverage, band) in SCIPY_BANDS {
            assert_eq!(false_positive_band(calibrated, tested, alpha, coverage), band, "{calibrated}/{tested}");
        }
    }

    /// Calibrated, tested, alpha, coverage, and the band.
    type Band = (usize, usize, f64, f64, (usize, usize));

    const SCIPY_BANDS: [Band; 9] = [
        (192, 320, 0.05, 0.95, (5, 29)),
        (48, 80, 0.05, 0.95, (0, 10)),
        (60, 100, 0.05, 0.95, (0, 13)),
        (36, 60, 0.05, 0.95, (0, 7)),
        (100, 1000, 0.05, 0.99, (9, 124)),
        (1000, 5000, 0.01, 0.95, (22, 88)),
        (19, 40, 0.05, 0.9, (0, 7)),
        (30, 500, 0.5, 0.999, (103, 384)),
        (9, 10, 0.9, 0.5, (8, 10)),
    ];

    #[test]
    fn levels_out_of_reach_have_certain_bands() {
        assert_eq!(false_positive_band(18, 50, 0.05, 0.95), (0, 0));
        assert_eq!(false_positive_band(0, 50, 0.5, 0.95), (0, 0));
        assert_eq!(false_positive_band(10, 50, 1.0, 0.95), (50, 50));
        assert_eq!(false_positive_band(10, 50, 7.0, 0.95), (50, 50));
        assert_eq!(false_positive_band(10, 50, f64::NAN, 0.95), (0, 0));
        assert_eq!(false_positive_band(100, 0, 0.05, 0.95), (0, 0));
    }

    #[test]
    fn levels_are_compared_as_p_values_are() {
        assert_eq!(alarming_ranks(99, 0.29), 29);
        assert_eq!(alarming_ranks(99, 0.05), 5);
        assert_eq!(alarming_ranks(98, 0.05), 4);
        for n in 0..200 {
            for k in 1..=n + 1 {
                assert_eq!(alarming_ranks(n, k as f64 / (n as f64 + 1.0)), k);
            }
        }
    }

    proptest! {
        /// In exchangeable data each score is as likely as any other to be the tested one: of all n + 1 choices, at
        /// most k give a p-value of k / (n + 1) or less. This is exact, and holds with ties and with NaN.
        #[test]
        fn p_values_are_super_uniform(
            scores in prop::collection::vec(prop_oneof![4 => (0..6_i32).prop_map(f64::from), 1 => any::<f64>()], 1..40)
        ) {
            let p_values: Vec<f64> = (0..scores.len())
                .map(|tested| {
                    let mut calibration = scores.clone();
                    let score = calibration.swap_remove(tested);
                    p_value(&calibration, score)
                })
                .collect();
            for k in 1..=scores.len() {
                let level = k as f64 / scores.len() as f64;
                prop_assert!(p_values.iter().filter(|&&p| p <= level).count() <= k);
            }
        }

        #[test]
        fn bands_are_ordered_and_widen(n in 0_usize..300, tested in 0_usize..300, alpha in 0.0..1.0_f64) {
            let (low, high) = false_positive_band(n, tested, alpha, 0.9);
            let (wider_low, wider_high) = false_positive_band(n, tested, alpha, 0.99);
            prop_assert!(wider_low <= low && low <= high && high <= wider_high && wider_high <= tested);
        }
    }
}
