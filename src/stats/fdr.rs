//! The false discovery rate of many verdicts at once (Benjamini and Hochberg 1995).
//!
//! The rule needs p-values that are independent or positively dependent in the right way. Those of one calibration set are
//! the latter, PRDS: Bates and others 2023, "Testing for outliers with conformal p-values".

/// Of each p-value, in the order given, the smallest rate at which the rule rejects it: min over j >= i of p₍ⱼ₎ m / j.
#[must_use]
pub fn q_values(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_unstable_by(|&a, &b| super::nan_last(p_values[a], p_values[b]));
    let mut q_values = vec![1.0; p_values.len()];
    let mut smallest = 1.0_f64;
    for (below, &place) in order.iter().enumerate().rev() {
        smallest = smallest.min(p_values[place] * p_values.len() as f64 / (below as f64 + 1.0));
        q_values[place] = smallest;
    }
    q_values
}

/// Whether the rule at `rate` rejects what has this q-value.
///
/// One that is equal but for its rounding is equal: there are but few values that a conformal p-value can have, and these
/// are often just at the border.
#[must_use]
pub fn is_rejected(q_value: f64, rate: f64) -> bool {
    q_value <= rate * (1.0 + 1e-12)
}

/// How many of `tested` must be as extreme as can be, at p-value `min_p`, for the rule at `rate` to reject them; `None`
/// when not even all of them would do.
#[must_use]
pub fn fewest_rejected(tested: usize, min_p: f64, rate: f64) -> Option<usize> {
    let rejected = |count: usize| is_rejected(min_p * tested as f64 / count as f64, rate);
    let fewest = ((min_p * tested as f64 / rate) as usize).max(1);
    // The quotient rounded down, so that whatever the rounding the answer is this or the next.
    [fewest, fewest.saturating_add(1)].into_iter().find(|&count| count <= tested && rejected(count))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::stats::conformal::p_value;

    /// The example of the paper: 15 comparisons, of which the rule at 5 % rejects four.
    #[test]
    fn the_papers_example() {
        let p_values = [
            0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528,
            0.7590, 1.0000,
        ];
        let q_values = q_values(&p_values);
        assert_eq!(q_values.iter().filter(|&&q| is_rejected(q, 0.05)).count(), 4);
        assert!((q_values[0] - 0.0015).abs() < 1e-15);
        assert!((q_values[3] - 0.0095 * 15.0 / 4.0).abs() < 1e-15);
        assert!((q_values[4] - 0.0201 * 15.0 / 5.0).abs() < 1e-15);
        assert!((q_values[5] - 0.0298 * 15.0 / 7.0).abs() < 1e-15, "a later one is smaller");
        assert_eq!(q_values[14], 1.0);
    }

    #[test]
    fn ties_have_the_same_q_value_and_the_order_is_kept() {
        // Sorted: 0.01 0.01 0.04 0.04 0.5, so 0.025, 0.025, 0.05, 0.05, 0.5.
        assert_eq!(q_values(&[0.5, 0.04, 0.01, 0.04, 0.01]), [0.5, 0.05, 0.025, 0.05, 0.025]);
        assert_eq!(q_values(&[]), [0.0; 0]);
        assert_eq!(q_values(&[0.2]), [0.2]);
        assert_eq!(q_values(&[1.0, 1.0]), [1.0, 1.0]);
    }

    #[test]
    fn what_is_just_at_the_border_is_rejected_whatever_the_rounding() {
        for (calibrated, tested) in [(99_u32, 10_u32), (9, 3), (48, 7), (199, 30)] {
            for rank in 1..=calibrated {
                let p = f64::from(rank) / f64::from(calibrated + 1);
                for count in 1..=tested {
                    let rate = f64::from(rank * tested) / f64::from((calibrated + 1) * count);
                    let p_values: Vec<f64> = (0..tested).map(|i| if i < count { p } else { 1.0 }).collect();
                    if rate < 1.0 {
                        assert!(is_rejected(q_values(&p_values)[0], rate), "{rank}/{calibrated} {count}/{tested}");
                    }
                }
            }
        }
    }

    #[test]
    fn how_many_it_takes() {
        assert_eq!(fewest_rejected(1, 0.05, 0.05), Some(1));
        assert_eq!(fewest_rejected(10, 0.01, 0.1), Some(1));
        assert_eq!(fewest_rejected(11, 0.01, 0.1), Some(2));
        assert_eq!(fewest_rejected(100, 0.05, 0.1), Some(50));
        assert_eq!(fewest_rejected(100, 0.1, 0.1), Some(100));
        assert_eq!(fewest_rejected(100, 0.11, 0.1), None);
        assert_eq!(fewest_rejected(100, 0.5, 5e-324), None);
    }

    /// Ten anomalies among a hundred graphs, all judged against the same 199: at most a tenth of the accused are normal,
    /// on average over 500 batches.
    #[test]
    fn the_rate_is_held_though_all_p_values_share_a_calibration() {
        let (rate, batches) = (0.1, 500);
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let (mut proportions, mut found) = (0.0, 0);
        for _ in 0..batches {
            let calibration: Vec<f64> = (0..199).map(|_| rng.random()).collect();
            let score = |i: usize, rng: &mut ChaCha8Rng| rng.random::<f64>() + if i < 10 { 0.99 } else { 0.0 };
            let p_values: Vec<f64> = (0..100).map(|i| p_value(&calibration, score(i, &mut rng))).collect();
            let q_values = q_values(&p_values);
            let (right, wrong): (Vec<_>, Vec<_>) =
                (0..100).filter(|&i| is_rejected(q_values[i], rate)).partition(|&i| i < 10);
            proportions += wrong.len() as f64 / (right.len() + wrong.len()).max(1) as f64;
            found += right.len();
        }
        let false_discovery_rate = proportions / f64::from(batches);
        assert!(false_discovery_rate < rate, "{false_discovery_rate}");
        assert!(found > 9 * batches as usize, "most of the anomalies are found: {found}");
    }

    proptest! {
        /// The rule as it is told: with k the largest rank whose p-value is at most k q / m, the first k are rejected.
        #[test]
        fn it_rejects_what_the_rule_rejects(ranks in prop::collection::vec(1..40_u32, 1..30), rate in 0.01..0.6_f64) {
            let p_values: Vec<f64> = ranks.iter().map(|&rank| f64::from(rank) / 41.0).collect();
            let mut sorted = p_values.clone();
            sorted.sort_by(f64::total_cmp);
            let m = sorted.len() as f64;
            let last = (0..sorted.len()).rev().find(|&i| sorted[i] <= (i as f64 + 1.0) * rate / m).map(|i| sorted[i]);
            for (p, q) in p_values.iter().zip(q_values(&p_values)) {
                prop_assert_eq!(is_rejected(q, rate), last.is_some_and(|last| *p <= last));
            }
        }
    }
}
