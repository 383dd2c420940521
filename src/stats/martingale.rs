//! Conformal test martingales: bets against exchangeability, made anew with each arrival.
//!
//! If all values are exchangeable, the online p-values are independent and uniform (Vovk, Nouretdinov and Gammerman 2003,
//! "Testing exchangeability on-line"), so a capital that is bet on them is expected to stay as it is, and by Ville's
//! inequality ever reaches c with probability at most 1/c, however long the run. P-values against one fixed calibration set
//! would not do: each is uniform, but together they depend on how that set happened to fall.

use super::nan_last;

/// The share of the capital that is laid anew over the bets at each step.
const JUMP: f64 = 0.01;

/// The bets: that p-values run small, that they are uniform, that they run large.
const BETS: [f64; 3] = [-1.0, 0.0, 1.0];

/// One value of a sequence, and the number in [0, 1) that breaks its ties.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Arrival {
    pub value: f64,
    pub tie_break: f64,
}

/// The smoothed p-value of each arrival among `reference`, the arrivals before it and itself: the share of larger values,
/// and of equal ones as large a part as its `tie_break` says.
#[must_use]
pub fn online_p_values(reference: &[f64], arrivals: &[Arrival]) -> Vec<f64> {
    let mut distinct: Vec<f64> =
        reference.iter().copied().chain(arrivals.iter().map(|arrival| arrival.value)).collect();
    distinct.sort_unstable_by(|a, b| nan_last(*a, *b));
    distinct.dedup_by(|a, b| nan_last(*a, *b).is_eq());
    let place = |value: f64| distinct.partition_point(|other| nan_last(*other, value).is_lt());
    let mut seen = Counts::new(distinct.len());
    reference.iter().for_each(|&value| seen.add(place(value)));
    arrivals
        .iter()
        .map(|arrival| {
            let place = place(arrival.value);
            seen.add(place);
            let (below, up_to) = (seen.before(place), seen.before(place + 1));
            let (equal, above) = ((up_to - below) as f64, (seen.total - up_to) as f64);
            (above + arrival.tie_break * equal) / seen.total as f64
        })
        .collect()
}

/// The decimal logarithm of the capital after each p-value, from 1 at the start, under the simple jumper.
///
/// Vovk and others 2021, "Retrain or not retrain: conformal test martingales for change-point detection". A bet ε multiplies its part of the capital by 1 + ε (p - 1/2), whose mean over uniform p is 1.
#[must_use]
pub fn simple_jumper(p_values: &[f64]) -> Vec<f64> {
    let mut shares = [1.0 / BETS.len() as f64; BETS.len()];
    let mut log10_capital = 0.0;
    p_values
        .iter()
        .map(|p| {
            for (share, bet) in shares.iter_mut().zip(BETS) {
                let laid = (1.0 - JUMP) * *share + JUMP / BETS.len() as f64;
                *share = laid * (1.0 + bet * (p - 0.5));
            }
            // The shares are held to a sum of 1, and the capital as a logarithm: a long run overflows no number.
            let growth: f64 = shares.iter().sum();
            shares.iter_mut().for_each(|share| *share /= growth);
            log10_capital += growth.log10();
            log10_capital
        })
        .collect()
}

/// How many values stand at each place; sums up to a place in logarithmic time (Fenwick 1994).
struct Counts {
    tree: Vec<u64>,
    total: u64,
}

impl Counts {
    fn new(places: usize) -> Self {
        Self { tree: vec![0; places + 1], total: 0 }
    }

    fn add(&mut self, place: usize) {
        let mut node = place + 1;
        while let Some(count) = self.tree.get_mut(node) {
            *count += 1;
            node += node & node.wrapping_neg();
        }
        self.total += 1;
    }

    /// How many stand before `place`.
    fn before(&self, place: usize) -> u64 {
        let (mut node, mut sum) = (place, 0);
        while node > 0 {
            sum += self.tree[node];
            node &= node - 1;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn arrivals(values: &[f64], rng: &mut ChaCha8Rng) -> Vec<Arrival> {
        values.iter().map(|&value| Arrival { value, tie_break: rng.random() }).collect()
    }

    /// `count` values, of which many are equal.
    fn tied(count: usize, rng: &mut ChaCha8Rng) -> Vec<f64> {
        (0..count).map(|_| f64::from(rng.random_range(0..6_u8))).collect()
    }

    #[test]
    fn p_values_by_hand() {
        let arrived = [(2.0, 0.5), (5.0, 0.0), (2.0, 0.25)].map(|(value, tie_break)| Arrival { value, tie_break });
        let p_values = online_p_values(&[1.0, 2.0, 3.0], &arrived);
        // Of 1 2 3 2: one above, two equal. Of 1 2 3 2 5: none above. Of 1 2 3 2 5 2: two above, three equal.
        assert_eq!(p_values, [(1.0 + 0.5 * 2.0) / 4.0, 0.0, (2.0 + 0.25 * 3.0) / 6.0]);
        assert_eq!(online_p_values(&[], &arrived[..1]), [0.5]);
        let nan = [Arrival { value: f64::NAN, tie_break: 0.5 }];
        assert_eq!(online_p_values(&[f64::INFINITY], &nan), [0.25], "nothing is above it");
    }

    #[test]
    fn the_capital_by_hand() {
        let log10 = simple_jumper(&[0.0, 1.0]);
        // At first nothing moves between equal thirds: (1.5 + 1 + 0.5) / 3 = 1. Then the thirds are 1/2, 1/3 and 1/6.
        assert!(log10[0].abs() < 1e-15);
        let laid = [0.5, 1.0 / 3.0, 1.0 / 6.0].map(|share| 0.99 * share + 0.01 / 3.0);
        let expected: f64 = laid[0] * 0.5 + laid[1] + laid[2] * 1.5;
        assert!((log10[1] - expected.log10()).abs() < 1e-15);
    }

    /// The statistic of Kolmogorov and Smirnov against the uniform distribution.
    fn distance_from_uniform(mut values: Vec<f64>) -> f64 {
        values.sort_by(f64::total_cmp);
        let n = values.len() as f64;
        let distances =
            values.iter().enumerate().map(|(i, p)| (p - i as f64 / n).abs().max((p - (i + 1) as f64 / n).abs()));
        distances.fold(0.0, f64::max)
    }

    #[test]
    fn of_exchangeable_values_the_p_values_are_uniform_and_independent_however_many_are_tied() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let (mut all, mut lagged) = (Vec::new(), Vec::new());
        for _ in 0..400 {
            let reference = tied(10, &mut rng);
            let arrived = tied(50, &mut rng);
            let p_values = online_p_values(&reference, &arrivals(&arrived, &mut rng));
            lagged.extend(p_values.windows(2).map(|pair| (pair[0] - 0.5) * (pair[1] - 0.5)));
            all.extend(p_values);
        }
        // The 0.1 % point of the distance of n uniform values is 1.95 / √n.
        assert!(distance_from_uniform(all.clone()) < 1.95 / (all.len() as f64).sqrt());
        // A product of two independent ones has mean 0 and standard deviation 1/12.
        let mean = lagged.iter().sum::<f64>() / lagged.len() as f64;
        assert!(mean.abs() < 3.3 / 12.0 / (lagged.len() as f64).sqrt(), "{mean}");
    }

    fn alarms(runs: usize, level: f64, run: impl Fn(&mut ChaCha8Rng) -> (Vec<f64>, Vec<f64>)) -> usize {
        let alarmed = (0..runs).filter(|&seed| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed as u64);
            let (reference, arrived) = run(&mut rng);
            let capital = simple_jumper(&online_p_values(&reference, &arrivals(&arrived, &mut rng)));
            capital.iter().any(|&log10| log10 >= -level.log10())
        });
        alarmed.count()
    }

    #[test]
    fn false_alarms_are_no_oftener_than_promised_with_any_calibration_and_any_ties() {
        for (name, size) in [("few", 8), ("many", 200)] {
            for (of, continuous) in [("continuous", true), ("tied", false)] {
                let run = |rng: &mut ChaCha8Rng| {
                    let mut draw = |count| {
                        if continuous { (0..count).map(|_| rng.random()).collect() } else { tied(count, rng) }
                    };
                    (draw(size), draw(500))
                };
                let alarmed = alarms(2_000, 0.05, run);
                // Three standard deviations above 100 of 2000.
                assert!(alarmed <= 129, "{name} {of}: {alarmed} of 2000");
            }
        }
    }

    #[test]
    fn against_a_fixed_calibration_the_promise_would_be_broken() {
        let broken = (0..500).filter(|&seed| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let reference: Vec<f64> = (0..8).map(|_| rng.random()).collect();
            let p_values: Vec<f64> = (0..500)
                .flat_map(|_| {
                    let arrived = [rng.random()];
                    online_p_values(&reference, &arrivals(&arrived, &mut rng))
                })
                .collect();
            simple_jumper(&p_values).iter().any(|&log10| log10 >= 20.0_f64.log10())
        });
        assert!(broken.count() > 100, "if this is no trap, the online p-values are not needed");
    }

    #[test]
    fn a_shift_is_noticed() {
        for (shift, after) in [(0.3, 250), (-0.3, 250), (0.5, 100)] {
            let run = |rng: &mut ChaCha8Rng| {
                let reference = (0..50).map(|_| rng.random()).collect();
                let arrived = (0..2 * after).map(|i| rng.random::<f64>() + if i < after { 0.0 } else { shift });
                (reference, arrived.collect())
            };
            let alarmed = alarms(200, 0.005, run);
            assert!(alarmed >= 190, "a shift by {shift}: {alarmed} of 200");
        }
    }

    #[test]
    fn a_long_run_overflows_nothing() {
        let log10 = simple_jumper(&vec![0.0; 100_000]);
        assert!(log10.last().is_some_and(|last| last.is_finite() && *last > 10_000.0));
    }

    proptest! {
        #[test]
        fn p_values_are_those_of_counting(
            reference in prop::collection::vec((0..6_i32).prop_map(f64::from), 0..20),
            arrived in prop::collection::vec(((0..6_i32).prop_map(f64::from), 0.0..1.0_f64), 1..30),
        ) {
            let arrived: Vec<Arrival> = arrived.into_iter().map(|(value, tie_break)| Arrival { value, tie_break }).collect();
            let mut seen = reference.clone();
            for (arrival, p) in arrived.iter().zip(online_p_values(&reference, &arrived)) {
                seen.push(arrival.value);
                let above = seen.iter().filter(|&&other| other > arrival.value).count() as f64;
                let equal = seen.iter().filter(|&&other| other == arrival.value).count() as f64;
                prop_assert!((p - (above + arrival.tie_break * equal) / seen.len() as f64).abs() < 1e-12);
            }
        }
    }
}
