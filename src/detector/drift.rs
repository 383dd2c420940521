//! Whether graphs that were scored one after another are still of the family: their nonconformities against those of the
//! calibration graphs, which are exchangeable with them as long as they are.

use super::Detector;
use super::verdict::shared_calibration;
use crate::stats::conformal::p_from_count;
use crate::stats::martingale::{self, online_p_values, simple_jumper};
use crate::stats::two_sample::{TwoSample, kolmogorov_smirnov};

/// Fewer graphs than this are no reason to say that nothing has changed.
pub const FEWEST_ARRIVALS: usize = 20;

/// The calibration graphs' nonconformities under detectors that score together, by fold.
///
/// Each fold has a comparison of its own, for its calibration graphs and the arrivals were judged by the same members,
/// which trained on neither. The folds' members share training graphs, so the comparisons depend on each other, and are
/// put together by Bonferroni's rule. A large family has one fold, and nothing to put together.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    folds: Vec<Vec<f64>>,
}

/// A graph that was scored.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrival {
    /// [`Verdict::folds`](super::Verdict::folds).
    pub folds: Vec<f64>,
    /// In [0, 1), drawn when it was scored: where among equal values it stands.
    pub tie_break: f64,
}

/// Arrivals compared with a reference.
#[derive(Debug, Clone, PartialEq)]
pub struct Drift {
    /// The conformal p-value of each arrival, as its verdict has it.
    pub p_values: Vec<f64>,
    /// All arrivals against the calibration graphs; of folds the one that shows most, its p-value times their number.
    pub two_sample: TwoSample,
    /// The decimal logarithm of the martingale after each arrival: the largest of the folds' over their number.
    pub log10_martingale: Vec<f64>,
}

/// What a comparison shows at a level. Each of the two tests gets half of it, so that the chance that either alarms
/// while nothing has changed is at most the level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conclusion {
    pub two_sample_rejects: bool,
    /// The martingale alarms from this value on: the decimal logarithm of 2 / level.
    pub log10_alarm_at: f64,
    /// The arrival with which it first did.
    pub first_alarm: Option<usize>,
    /// `None` when neither test alarms and the arrivals are too few to call that a finding.
    pub drifted: Option<bool>,
}

impl Reference {
    /// Of detectors that score together; `None` where they share no calibration graphs.
    #[must_use]
    pub fn of(detectors: &[&Detector]) -> Option<Self> {
        let shared = shared_calibration(detectors);
        let mut folds = vec![Vec::new(); detectors.first()?.members.len()];
        for calibrated in &shared {
            folds.get_mut(calibrated.fold)?.push(calibrated.score.nonconformity());
        }
        (!shared.is_empty()).then_some(Self { folds })
    }

    /// The calibration graphs.
    #[must_use]
    pub fn size(&self) -> usize {
        self.folds.iter().map(Vec::len).sum()
    }

    /// Compares arrivals, in the order in which they came. Each has a nonconformity for each fold.
    #[must_use]
    pub fn compare(&self, arrivals: &[Arrival]) -> Drift {
        let of_fold = |fold: usize| -> Vec<martingale::Arrival> {
            let value = |arrival: &Arrival| arrival.folds.get(fold).copied().unwrap_or(f64::INFINITY);
            let arrival = |one: &Arrival| martingale::Arrival { value: value(one), tie_break: one.tie_break };
            arrivals.iter().map(arrival).collect()
        };
        // A fold whose graphs are shared by no other detector has nothing to compare with.
        let folds: Vec<(&[f64], Vec<martingale::Arrival>)> = self
            .folds
            .iter()
            .enumerate()
            .filter(|(_, calibrated)| !calibrated.is_empty())
            .map(|(fold, calibrated)| (calibrated.as_slice(), of_fold(fold)))
            .collect();
        Drift {
            p_values: p_values(&folds, arrivals.len()),
            two_sample: two_sample(&folds),
            log10_martingale: log10_martingale(&folds, arrivals.len()),
        }
    }
}

/// Each arrival is compared with each calibration graph under that one's fold.
fn p_values(folds: &[(&[f64], Vec<martingale::Arrival>)], count: usize) -> Vec<f64> {
    let (mut as_extreme, mut calibrated) = (vec![0; count], 0);
    for (reference, arrivals) in folds {
        let mut sorted = reference.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        calibrated += sorted.len();
        for (extreme, arrival) in as_extreme.iter_mut().zip(arrivals) {
            *extreme += sorted.len() - sorted.partition_point(|other| *other < arrival.value);
        }
    }
    as_extreme.into_iter().map(|extreme| p_from_count(extreme, calibrated)).collect()
}

fn two_sample(folds: &[(&[f64], Vec<martingale::Arrival>)]) -> TwoSample {
    let of_fold = |(reference, arrivals): &(&[f64], Vec<martingale::Arrival>)| {
        let served: Vec<f64> = arrivals.iter().map(|arrival| arrival.value).collect();
        kolmogorov_smirnov(reference, &served)
    };
    let first = folds.iter().map(of_fold).min_by(|a, b| a.p_value.total_cmp(&b.p_value));
    first.map_or(TwoSample { statistic: 0.0, p_value: 1.0 }, |TwoSample { statistic, p_value }| TwoSample {
        statistic,
        p_value: (p_value * folds.len() as f64).min(1.0),
    })
}

fn log10_martingale(folds: &[(&[f64], Vec<martingale::Arrival>)], count: usize) -> Vec<f64> {
    let mut highest = vec![f64::NEG_INFINITY; count];
    for (reference, arrivals) in folds {
        let capital = simple_jumper(&online_p_values(reference, arrivals));
        highest.iter_mut().zip(capital).for_each(|(highest, of_fold)| *highest = highest.max(of_fold));
    }
    highest.into_iter().map(|highest| highest - (folds.len() as f64).log10()).collect()
}

impl Drift {
    /// What it shows at `level`, in (0, 1).
    #[must_use]
    pub fn conclude(&self, level: f64) -> Conclusion {
        let each = level / 2.0;
        let log10_alarm_at = -each.log10();
        let first_alarm = self.log10_martingale.iter().position(|&value| value >= log10_alarm_at);
        let two_sample_rejects = self.two_sample.p_value <= each;
        let enough = self.p_values.len() >= FEWEST_ARRIVALS;
        let alarmed = two_sample_rejects || first_alarm.is_some();
        let drifted = (alarmed || enough).then_some(alarmed);
        Conclusion { two_sample_rejects, log10_alarm_at, first_alarm, drifted }
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// `folds` comparisons that depend on each other: an arrival's values are its own but for a little of each fold's.
    fn traffic(folds: usize, calibrated: usize, shift: f64, seed: u64) -> (Reference, Vec<Arrival>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let reference = (0..folds).map(|_| (0..calibrated).map(|_| rng.random()).collect()).collect();
        let arrivals = (0..200).map(|i| {
            let own = rng.random::<f64>() + if i < 100 { 0.0 } else { shift };
            Arrival { folds: vec![own; folds], tie_break: rng.random() }
        });
        let arrivals = arrivals.collect();
        (Reference { folds: reference }, arrivals)
    }

    fn alarms(folds: usize, calibrated: usize, shift: f64, level: f64) -> usize {
        let drifted = |seed: &u64| {
            let (reference, arrivals) = traffic(folds, calibrated, shift, *seed);
            reference.compare(&arrivals).conclude(level).drifted == Some(true)
        };
        (0..1_000).filter(drifted).count()
    }

    #[test]
    fn either_test_alarms_no_oftener_than_the_level_in_one_fold_and_in_five() {
        for (folds, calibrated) in [(1, 30), (5, 10)] {
            let alarmed = alarms(folds, calibrated, 0.0, 0.05);
            // Three standard deviations above 50 of 1000.
            assert!(alarmed <= 70, "{folds} folds: {alarmed} of 1000");
        }
    }

    #[test]
    fn a_shift_is_found_in_one_fold_and_in_five() {
        for (folds, calibrated) in [(1, 50), (5, 10)] {
            let alarmed = alarms(folds, calibrated, 0.8, 0.01);
            assert!(alarmed >= 950, "{folds} folds: {alarmed} of 1000");
        }
    }

    #[test]
    fn the_alarm_comes_after_the_change_and_soon() {
        let (reference, arrivals) = traffic(1, 100, 1.0, 7);
        let drift = reference.compare(&arrivals);
        let conclusion = drift.conclude(0.01);
        assert_eq!((drift.log10_martingale.len(), drift.p_values.len()), (200, 200));
        assert!((conclusion.log10_alarm_at - 200.0_f64.log10()).abs() < 1e-12);
        let first = conclusion.first_alarm.unwrap();
        assert!((100..140).contains(&first), "{first}");
        assert!(drift.p_values[100..].iter().all(|p| *p == 1.0 / 101.0), "all of them beyond the calibration");
    }

    #[test]
    fn few_arrivals_can_alarm_but_not_reassure() {
        let reference = Reference { folds: vec![(0..100).map(f64::from).collect()] };
        let arrivals = |value: f64, count| vec![Arrival { folds: vec![value], tie_break: 0.5 }; count];
        assert_eq!(reference.compare(&[]).conclude(0.01).drifted, None);
        assert_eq!(reference.compare(&arrivals(50.0, 3)).conclude(0.01).drifted, None);
        assert_eq!(reference.compare(&arrivals(1_000.0, FEWEST_ARRIVALS - 1)).conclude(0.01).drifted, Some(true));
        assert_eq!(reference.size(), 100);
    }

    #[test]
    fn a_fold_without_calibration_graphs_counts_for_nothing() {
        let (reference, arrivals) = traffic(1, 40, 0.5, 1);
        let with_empty = Reference { folds: vec![reference.folds[0].clone(), Vec::new()] };
        assert_eq!(with_empty.compare(&arrivals), reference.compare(&arrivals));
    }
}
