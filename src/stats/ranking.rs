//! How well a score ranks anomalies above normals: AUROC, average precision, false-positive rate at a recall.
//!
//! Each is NaN where it is undefined, with no normal or no anomalous scores. A score that is NaN ranks above all others.

use rand::{Rng, RngExt};

use super::nan_last;

/// The probability that an anomalous score exceeds a normal one, ties counted half (Mann-Whitney).
#[must_use]
pub fn auroc(normal: &[f64], anomalous: &[f64]) -> f64 {
    Ranking::of(normal, anomalous).auroc()
}

/// The mean of the precisions at each threshold, weighted by the recall it adds (as scikit-learn: no interpolation).
#[must_use]
pub fn average_precision(normal: &[f64], anomalous: &[f64]) -> f64 {
    Ranking::of(normal, anomalous).average_precision()
}

/// The false-positive rate at the largest threshold that catches at least `recall` of the anomalies.
#[must_use]
pub fn fpr_at_recall(normal: &[f64], anomalous: &[f64], recall: f64) -> f64 {
    Ranking::of(normal, anomalous).fpr_at_recall(recall)
}

/// Normal and anomalous scores in order: all that a ranking's metrics depend on. It is sorted once and resampled cheaply.
#[derive(Debug, Clone)]
pub struct Ranking {
    /// The distinct scores, the highest first.
    levels: Vec<Level>,
    /// The level of each score of a class.
    normal: Vec<usize>,
    anomalous: Vec<usize>,
}

/// How many scores of each class are equal to one value.
#[derive(Debug, Clone, Copy, Default)]
struct Level {
    normal: usize,
    anomalous: usize,
}

impl Ranking {
    #[must_use]
    pub fn of(normal: &[f64], anomalous: &[f64]) -> Self {
        let mut scores: Vec<(f64, bool)> =
            normal.iter().map(|&score| (score, false)).chain(anomalous.iter().map(|&score| (score, true))).collect();
        scores.sort_unstable_by(|(a, _), (b, _)| nan_last(*b, *a));
        let mut ranking = Self { levels: Vec::new(), normal: Vec::new(), anomalous: Vec::new() };
        for tied in scores.chunk_by(|(a, _), (b, _)| nan_last(*a, *b).is_eq()) {
            let anomalous = tied.iter().filter(|&&(_, anomalous)| anomalous).count();
            let (level, normal) = (ranking.levels.len(), tied.len() - anomalous);
            ranking.normal.extend(std::iter::repeat_n(level, normal));
            ranking.anomalous.extend(std::iter::repeat_n(level, anomalous));
            ranking.levels.push(Level { normal, anomalous });
        }
        ranking
    }

    /// As many scores of each class, drawn from it with replacement: a bootstrap sample.
    #[must_use]
    pub fn resampled(&self, rng: &mut impl Rng) -> Self {
        let mut draw = |places: &[usize]| -> Vec<usize> {
            places.iter().map(|_| places[rng.random_range(0..places.len())]).collect()
        };
        let (normal, anomalous) = (draw(&self.normal), draw(&self.anomalous));
        let mut levels = vec![Level::default(); self.levels.len()];
        normal.iter().for_each(|&level| levels[level].normal += 1);
        anomalous.iter().for_each(|&level| levels[level].anomalous += 1);
        Self { levels, normal, anomalous }
    }

    /// See [`auroc`].
    #[must_use]
    pub fn auroc(&self) -> f64 {
        let mut normals_below = 0_usize;
        let mut won = 0.0;
        for level in self.levels.iter().rev() {
            won += level.anomalous as f64 * (normals_below as f64 + level.normal as f64 / 2.0);
            normals_below += level.normal;
        }
        won / (self.normal.len() as f64 * self.anomalous.len() as f64)
    }

    /// See [`average_precision`].
    #[must_use]
    pub fn average_precision(&self) -> f64 {
        if self.normal.is_empty() {
            return f64::NAN;
        }
        let (mut caught, mut alarms, mut sum) = (0_usize, 0_usize, 0.0);
        // A level that a bootstrap sample left empty alarms nobody.
        for level in self.levels.iter().filter(|level| level.anomalous + level.normal > 0) {
            caught += level.anomalous;
            alarms += level.anomalous + level.normal;
            sum += level.anomalous as f64 * caught as f64 / alarms as f64;
        }
        sum / self.anomalous.len() as f64
    }

    /// See [`fpr_at_recall`].
    #[must_use]
    pub fn fpr_at_recall(&self, recall: f64) -> f64 {
        if self.normal.is_empty() || self.anomalous.is_empty() {
            return f64::NAN;
        }
        let (mut caught, mut false_alarms) = (0_usize, 0_usize);
        for level in &self.levels {
            // Rates are compared, not counts: 0.07 of 100 is 7, not the 8 that rounding up the product makes of it.
            if caught as f64 / self.anomalous.len() as f64 >= recall {
                break;
            }
            caught += level.anomalous;
            false_alarms += level.normal;
        }
        false_alarms as f64 / self.normal.len() as f64
    }

    /// The receiver operating characteristic: (false-positive rate, true-positive rate) at each threshold, from (0, 0) to
    /// (1, 1).
    #[must_use]
    pub fn roc_curve(&self) -> Vec<(f64, f64)> {
        let (mut false_alarms, mut caught) = (0, 0);
        let points = self.levels.iter().map(|level| {
            false_alarms += level.normal;
            caught += level.anomalous;
            (false_alarms as f64 / self.normal.len() as f64, caught as f64 / self.anomalous.len() as f64)
        });
        std::iter::once((0.0, 0.0)).chain(points).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;

    use super::*;

    const NORMAL: [f64; 7] = [0.1, 0.4, 0.35, 0.8, 0.35, -1.0, 2.0];
    const ANOMALOUS: [f64; 5] = [0.35, 0.8, 0.9, 3.0, 0.05];

    /// scikit-learn 1.9: `roc_auc_score`, `average_precision_score`, and the least `fpr` of `roc_curve` with `tpr >= recall`.
    #[test]
    fn agrees_with_scikit_learn() {
        assert!((auroc(&NORMAL, &ANOMALOUS) - 0.642_857_142_857_142_8).abs() < 1e-15);
        assert!((average_precision(&NORMAL, &ANOMALOUS) - 0.633_131_313_131_313_1).abs() < 1e-15);
        for (recall, expected) in [(0.2, 0.0), (0.6, 2.0 / 7.0), (0.8, 5.0 / 7.0), (0.95, 6.0 / 7.0)] {
            assert_eq!(fpr_at_recall(&NORMAL, &ANOMALOUS, recall), expected, "at {recall}");
        }
    }

    #[test]
    fn extremes() {
        assert_eq!(auroc(&[1.0, 2.0], &[3.0]), 1.0);
        assert_eq!(auroc(&[3.0], &[1.0, 2.0]), 0.0);
        assert_eq!(auroc(&[1.0, 1.0], &[1.0]), 0.5);
        assert_eq!(average_precision(&[1.0, 1.0], &[1.0]), 1.0 / 3.0);
        assert_eq!(fpr_at_recall(&[1.0, 2.0], &[3.0], 1.0), 0.0);
        assert_eq!(fpr_at_recall(&[3.0], &[1.0, 2.0], 0.95), 1.0);
        assert_eq!(fpr_at_recall(&[3.0], &[1.0], 0.0), 0.0);
    }

    #[test]
    fn without_one_class_all_are_undefined() {
        for (normal, anomalous) in [(&[][..], &[1.0][..]), (&[1.0], &[]), (&[], &[])] {
            assert!(auroc(normal, anomalous).is_nan());
            assert!(average_precision(normal, anomalous).is_nan());
            assert!(fpr_at_recall(normal, anomalous, 0.95).is_nan());
        }
    }

    #[test]
    fn nan_ranks_highest() {
        assert_eq!(auroc(&[1.0, f64::INFINITY], &[f64::NAN]), 1.0);
        assert_eq!(auroc(&[f64::NAN], &[f64::NAN]), 0.5);
    }

    #[test]
    fn recall_is_reached_by_count() {
        let normal: Vec<f64> = (0..100).map(f64::from).collect();
        let anomalous: Vec<f64> = (0..100).map(|score| f64::from(score) + 0.5).collect();
        assert_eq!(fpr_at_recall(&normal, &anomalous, 0.07), 0.06);
    }

    #[test]
    fn the_curve_of_a_ranking_runs_through_its_thresholds() {
        let curve = Ranking::of(&[1.0, 2.0, 2.0, 4.0], &[2.0, 5.0]).roc_curve();
        assert_eq!(curve, [(0.0, 0.0), (0.0, 0.5), (0.25, 0.5), (0.75, 1.0), (1.0, 1.0)]);
    }

    #[test]
    fn a_sample_of_a_ranking_is_one_of_its_scores_and_of_the_same_size() {
        let ranking = Ranking::of(&NORMAL, &ANOMALOUS);
        let sample = ranking.resampled(&mut rand_chacha::ChaCha8Rng::from_seed([7; 32]));
        let count = |of: fn(&Level) -> usize| sample.levels.iter().map(of).sum::<usize>();
        assert_eq!((count(|level| level.normal), count(|level| level.anomalous)), (NORMAL.len(), ANOMALOUS.len()));
        let impossible = ranking.levels.iter().zip(&sample.levels).any(|(level, drawn)| {
            (level.normal == 0 && drawn.normal > 0) || (level.anomalous == 0 && drawn.anomalous > 0)
        });
        assert!(!impossible);
        assert_eq!(
            Ranking::of(&[1.0; 4], &[2.0; 3]).resampled(&mut rand_chacha::ChaCha8Rng::from_seed([1; 32])).auroc(),
            1.0
        );
    }

    fn scores() -> impl Strategy<Value = Vec<f64>> {
        prop::collection::vec((0..8_i32).prop_map(f64::from), 1..20)
    }

    proptest! {
        #[test]
        fn auroc_is_the_share_of_pairs_won(normal in scores(), anomalous in scores()) {
            let won: f64 = normal
                .iter()
                .flat_map(|n| anomalous.iter().map(move |a| if a > n { 1.0 } else if a == n { 0.5 } else { 0.0 }))
                .sum();
            let pairs = (normal.len() * anomalous.len()) as f64;
            prop_assert!((auroc(&normal, &anomalous) - won / pairs).abs() < 1e-12);
            prop_assert!((auroc(&normal, &anomalous) + auroc(&anomalous, &normal) - 1.0).abs() < 1e-12);
        }
    }
}
