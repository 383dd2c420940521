//! Whether two samples come from one distribution: the test of Kolmogorov and Smirnov, with ties.

use super::nan_last;

/// The exact p-value visits a cell for each pair of values. Over so many the samples are so large that the limit law does
/// as well (and it errs on the safe side where there are ties).
const EXACT_CELLS: u64 = 10_000_000;

/// Terms of the limit law's series; from λ = 0.2 on the last is far below the precision of a double.
const LIMIT_TERMS: i32 = 100;

/// What the test says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TwoSample {
    /// The largest distance between the two empirical distribution functions, in [0, 1].
    pub statistic: f64,
    /// The probability of one so large or larger, if all values are exchangeable.
    pub p_value: f64,
}

/// The two-sided test of samples `a` and `b`. Without two samples there is nothing to tell apart: statistic 0, p-value 1.
///
/// The p-value is the exact one, of the permutation distribution given the pooled values, so ties need no continuity: a
/// distance counts only where a run of equal values ends (Schröer and Trenkler 1995, "Exact and randomization distributions
/// of Kolmogorov-Smirnov tests two or three samples"). It is summed up from the tail, so the smallest ones are right, too.
#[must_use]
pub fn kolmogorov_smirnov(a: &[f64], b: &[f64]) -> TwoSample {
    if a.is_empty() || b.is_empty() {
        return TwoSample { statistic: 0.0, p_value: 1.0 };
    }
    let pooled = Pooled::new(a, b);
    let cells = pooled.a * pooled.b;
    let statistic = pooled.distance as f64 / cells as f64;
    let p_value = if cells <= EXACT_CELLS { pooled.exact() } else { pooled.limit(statistic) };
    TwoSample { statistic, p_value }
}

/// Both samples in one order.
struct Pooled {
    /// Their sizes.
    a: u64,
    b: u64,
    /// Whether a run of equal values ends after so many of all; one more than there are values.
    ends: Vec<bool>,
    /// The statistic times both sizes: a whole number, so that equal distances compare as equal.
    distance: u64,
}

impl Pooled {
    fn new(a: &[f64], b: &[f64]) -> Self {
        let (size_a, size_b) = (a.len() as u64, b.len() as u64);
        let mut values: Vec<(f64, bool)> =
            a.iter().map(|&value| (value, true)).chain(b.iter().map(|&value| (value, false))).collect();
        values.sort_unstable_by(|(x, _), (y, _)| nan_last(*x, *y));
        let mut ends = vec![false; values.len() + 1];
        let (mut below_a, mut below_b, mut distance) = (0, 0, 0);
        for tied in values.chunk_by(|(x, _), (y, _)| nan_last(*x, *y).is_eq()) {
            let of_a = tied.iter().filter(|(_, of_a)| *of_a).count() as u64;
            below_a += of_a;
            below_b += tied.len() as u64 - of_a;
            ends[(below_a + below_b) as usize] = true;
            distance = distance.max((below_a * size_b).abs_diff(below_b * size_a));
        }
        Self { a: size_a, b: size_b, ends, distance }
    }

    /// The share of the ways to deal the pooled values out that somewhere come as far apart.
    ///
    /// A way is a path from (0, 0) to (a, b); `reached[j]` is the share of those that have come so far apart by (i, j), of
    /// which the last step came from (i - 1, j) with probability i / (i + j).
    fn exact(&self) -> f64 {
        if self.distance == 0 {
            return 1.0;
        }
        let far = |i: u64, j: u64| self.ends[(i + j) as usize] && (i * self.b).abs_diff(j * self.a) >= self.distance;
        let mut reached = vec![0.0; self.b as usize + 1];
        for i in 0..=self.a {
            for j in 0..=self.b {
                let place = j as usize;
                reached[place] = if far(i, j) {
                    1.0
                } else if i + j == 0 {
                    0.0
                } else {
                    let from_b = if j == 0 { 0.0 } else { j as f64 * reached[place - 1] };
                    (i as f64 * reached[place] + from_b) / (i + j) as f64
                };
            }
        }
        reached[self.b as usize]
    }

    /// Kolmogorov's law of λ = D √(ab / (a + b)): 2 Σ (-1)^(k-1) exp(-2 k² λ²).
    fn limit(&self, statistic: f64) -> f64 {
        let (a, b) = (self.a as f64, self.b as f64);
        let lambda = statistic * (a * b / (a + b)).sqrt();
        if lambda < 0.2 {
            return 1.0; // within 1e-12, and the series would need ever more terms
        }
        let term = |k: i32| (-1.0_f64).powi(k - 1) * (-2.0 * f64::from(k).powi(2) * lambda.powi(2)).exp();
        (2.0 * (1..=LIMIT_TERMS).map(term).sum::<f64>()).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The share of all ways to choose `a` of the pooled values that come at least as far apart.
    fn by_enumeration(a: &[f64], b: &[f64]) -> f64 {
        let pooled: Vec<f64> = a.iter().chain(b).copied().collect();
        let observed = kolmogorov_smirnov(a, b).statistic;
        let (mut ways, mut as_far) = (0, 0);
        for chosen in 0_u32..1 << pooled.len() {
            if chosen.count_ones() as usize != a.len() {
                continue;
            }
            let (x, y): (Vec<_>, Vec<_>) = (0..pooled.len()).partition(|place| chosen >> place & 1 == 1);
            let of = |places: Vec<usize>| places.into_iter().map(|place| pooled[place]).collect::<Vec<f64>>();
            ways += 1;
            as_far += usize::from(kolmogorov_smirnov(&of(x), &of(y)).statistic >= observed - 1e-12);
        }
        as_far as f64 / f64::from(ways)
    }

    #[test]
    fn samples_that_do_not_overlap_are_as_far_apart_as_can_be() {
        let (low, high): (Vec<f64>, Vec<f64>) = ((0..10).map(f64::from).collect(), (10..20).map(f64::from).collect());
        let test = kolmogorov_smirnov(&low, &high);
        assert_eq!(test.statistic, 1.0);
        // Two of the C(20, 10) = 184756 ways.
        assert!((test.p_value - 2.0 / 184_756.0).abs() < 1e-18, "{test:?}");
    }

    #[test]
    fn tails_far_below_one_are_exact() {
        let (low, high): (Vec<f64>, Vec<f64>) = ((0..40).map(f64::from).collect(), (40..80).map(f64::from).collect());
        // 2 / C(80, 40).
        let expected = 2.0 / 1.075_072_086_963_308_6e23;
        assert!((kolmogorov_smirnov(&low, &high).p_value / expected - 1.0).abs() < 1e-9);
    }

    #[test]
    fn nothing_to_tell_apart() {
        for (a, b) in
            [(&[][..], &[1.0][..]), (&[1.0], &[]), (&[2.0, 2.0], &[2.0, 2.0, 2.0]), (&[f64::NAN], &[f64::NAN])]
        {
            assert_eq!(kolmogorov_smirnov(a, b), TwoSample { statistic: 0.0, p_value: 1.0 });
        }
    }

    #[test]
    fn the_limit_law_takes_over_where_the_exact_one_leaves_off() {
        let a: Vec<f64> = (0..3_000).map(|i| f64::from(i) / 3_000.0).collect();
        let b: Vec<f64> = (0..3_000).map(|i| f64::from(i) / 3_000.0 + 0.035).collect();
        let pooled = Pooled::new(&a, &b);
        let (exact, limit) = (pooled.exact(), pooled.limit(kolmogorov_smirnov(&a, &b).statistic));
        assert!((limit / exact - 1.0).abs() < 0.1, "{exact} and {limit}");
        // Kolmogorov's law at its 5 % point.
        assert!((pooled.limit(1.358_1 / 1_500.0_f64.sqrt()) - 0.05).abs() < 1e-4);
        assert_eq!(pooled.limit(0.0), 1.0);
    }

    proptest! {
        #[test]
        fn p_values_are_those_of_all_permutations(
            a in prop::collection::vec((0..5_i32).prop_map(f64::from), 1..7),
            b in prop::collection::vec((0..5_i32).prop_map(f64::from), 1..7),
        ) {
            let test = kolmogorov_smirnov(&a, &b);
            prop_assert!((test.p_value - by_enumeration(&a, &b)).abs() < 1e-12, "{:?}", test);
            let turned = kolmogorov_smirnov(&b, &a);
            prop_assert!((turned.p_value - test.p_value).abs() < 1e-12 && turned.statistic == test.statistic);
        }
    }
}
