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

/// Normal and anomalous scores in order: all that a ranking's metrics depend on.
#[derive(Debug, Clone)]
pub struct Ranking {
    /// The distinct scores, the highest first.
    levels: Vec<Level>,
    /// How many scores there are of each class.
    normal: usize,
    anomalous: usize,
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
        let mut ranking = Self { levels: Vec::new(), normal: normal.len(), anomalous: anomalous.len() };
        for tied in scores.chunk_by(|(a, _), (b, _)| nan_last(*a, *b).is_eq()) {
            let anomalous = tied.iter().filter(|&&(_, anomalous)| anomalous).count();
            ranking.levels.push(Level { normal: tied.len() - anomalous, anomalous });
        }
        ranking
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
        won / (self.normal as f64 * self.anomalous as f64)
    }

    /// See [`average_precision`].
    #[must_use]
    pub fn average_precision(&self) -> f64 {
        if self.normal == 0 {
            return f64::NAN;
        }
        let (mut caught, mut alarms, mut sum) = (0_usize, 0_usize, 0.0);
        // A level that a bootstrap sample left empty alarms nobody.
        for level in self.levels.iter().filter(|level| level.anomalous + level.normal > 0) {
            caught += level.anomalous;
            alarms += level.anomalous + level.normal;
            sum += level.anomalous as f64 * caught as f64 / alarms as f64;
        }
        sum / self.anomalous as f64
    }

    /// See [`fpr_at_recall`].
    #[must_use]
    pub fn fpr_at_recall(&self, recall: f64) -> f64 {
        if self.normal == 0 || self.anomalous == 0 {
            return f64::NAN;
        }
        let (mut caught, mut false_alarms) = (0_usize, 0_usize);
        for level in &self.levels {
            // Rates are compared, not counts: 0.07 of 100 is 7, not the 8 that rounding up the product makes of it.
            if caught as f64 / self.anomalous as f64 >= recall {
                break;
            }
            caught += level.anomalous;
            false_alarms += level.normal;
        }
        false_alarms as f64 / self.normal as f64
    }

    /// The receiver operating characteristic: (false-positive rate, true-positive rate) at each threshold, from (0, 0) to
    /// (1, 1).
    #[must_use]
    pub fn roc_curve(&self) -> Vec<(f64, f64)> {
        let (mut false_alarms, mut caught) = (0, 0);
        let points = self.levels.iter().map(|level| {
            false_alarms += level.normal;
            caught += level.anomalous;
            (false_alarms as f64 / self.normal as f64, caught as f64 / self.anomalous as f64)
        });
        std::iter::once((0.0, 0.0)).chain(points).collect()
    }
}

/// Scores of one class, each of a unit.
#[derive(Debug, Clone, Copy)]
pub struct Scores<'a> {
    pub scores: &'a [f64],
    /// The unit of each score.
    pub units: &'a [usize],
}

/// Draws bootstrap samples of scores, by whole units.
///
/// Scores of one unit, such as those of isomorphic graphs, come together or not at all: to draw each for itself would make
/// much evidence of a few that tell the same thing.
#[derive(Debug)]
pub struct Sampler {
    levels: usize,
    normal: Units,
    anomalous: Units,
}

impl Sampler {
    #[must_use]
    pub fn of(normal: Scores<'_>, anomalous: Scores<'_>) -> Self {
        let mut values = [normal.scores, anomalous.scores].concat();
        values.sort_unstable_by(|a, b| nan_last(*b, *a));
        values.dedup_by(|a, b| nan_last(*a, *b).is_eq());
        Self { levels: values.len(), normal: Units::of(normal, &values), anomalous: Units::of(anomalous, &values) }
    }

    /// As many units of each class as there are, drawn from it with replacement.
    #[must_use]
    pub fn sample(&self, rng: &mut impl Rng) -> Ranking {
        let mut levels = vec![Level::default(); self.levels];
        let normal = self.normal.draw(rng, |level| levels[level].normal += 1);
        let anomalous = self.anomalous.draw(rng, |level| levels[level].anomalous += 1);
        Ranking { levels, normal, anomalous }
    }
}

/// The levels of the scores of one class, unit by unit.
#[derive(Debug)]
struct Units {
    levels: Vec<usize>,
    /// Where each unit's levels end.
    ends: Vec<usize>,
}

impl Units {
    /// `values` are the distinct scores, the highest first.
    fn of(scores: Scores<'_>, values: &[f64]) -> Self {
        debug_assert_eq!(scores.scores.len(), scores.units.len(), "a unit for each score");
        let level_of = |score: &f64| values.partition_point(|value| nan_last(*score, *value).is_lt());
        let mut by_unit: Vec<(usize, usize)> =
            scores.units.iter().copied().zip(scores.scores.iter().map(level_of)).collect();
        by_unit.sort_unstable();
        let mut units = Self { levels: Vec::with_capacity(by_unit.len()), ends: Vec::new() };
        for unit in by_unit.chunk_by(|(a, _), (b, _)| a == b) {
            units.levels.extend(unit.iter().map(|&(_, level)| level));
            units.ends.push(units.levels.len());
        }
        units
    }

    /// Calls `count` with the level of each score that is drawn; gives their number.
    fn draw(&self, rng: &mut impl Rng, mut count: impl FnMut(usize)) -> usize {
        let mut drawn = 0;
        for _ in 0..self.ends.len() {
            let unit = rng.random_range(0..self.ends.len());
            let begin = unit.checked_sub(1).map_or(0, |before| self.ends[before]);
            let levels = &self.levels[begin..self.ends[unit]];
            levels.iter().for_each(|&level| count(level));
            drawn += levels.len();
        }
        drawn
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

    fn sampler(normal: &[(f64, usize)], anomalous: &[(f64, usize)]) -> Sampler {
        let split = |class: &[(f64, usize)]| -> (Vec<f64>, Vec<usize>) { class.iter().copied().unzip() };
        let ((normal, normal_units), (anomalous, anomalous_units)) = (split(normal), split(anomalous));
        Sampler::of(
            Scores { scores: &normal, units: &normal_units },
            Scores { scores: &anomalous, units: &anomalous_units },
        )
    }

    fn rng(seed: u64) -> rand_chacha::ChaCha8Rng {
        rand_chacha::ChaCha8Rng::seed_from_u64(seed)
    }

    #[test]
    fn a_sample_has_scores_of_each_class_and_as_many_where_each_is_a_unit() {
        let alone = |scores: &[f64]| scores.iter().copied().zip(0..).collect::<Vec<(f64, usize)>>();
        let (ranking, sampler) = (Ranking::of(&NORMAL, &ANOMALOUS), sampler(&alone(&NORMAL), &alone(&ANOMALOUS)));
        let mut reached = vec![Level::default(); ranking.levels.len()];
        for seed in 0..100 {
            let sample = sampler.sample(&mut rng(seed));
            let count = |of: fn(&Level) -> usize| sample.levels.iter().map(of).sum::<usize>();
            assert_eq!((sample.normal, sample.anomalous), (NORMAL.len(), ANOMALOUS.len()));
            assert_eq!((count(|level| level.normal), count(|level| level.anomalous)), (NORMAL.len(), ANOMALOUS.len()));
            for (sum, level) in reached.iter_mut().zip(&sample.levels) {
                *sum = Level { normal: sum.normal + level.normal, anomalous: sum.anomalous + level.anomalous };
            }
        }
        for (level, reached) in ranking.levels.iter().zip(&reached) {
            assert_eq!((level.normal > 0, level.anomalous > 0), (reached.normal > 0, reached.anomalous > 0));
        }
    }

    #[test]
    fn a_unit_is_drawn_whole() {
        let sampler = sampler(&[(1.0, 7), (3.0, 7), (5.0, 2)], &[(4.0, 0), (f64::NAN, 1)]);
        let mut sizes = Vec::new();
        for seed in 0..50 {
            let sample = sampler.sample(&mut rng(seed));
            let of = |level: usize| sample.levels[level].normal;
            // Highest first: NaN, 5, 4, 3, 1.
            assert_eq!((of(0), of(2)), (0, 0), "anomalous scores");
            assert_eq!(of(3), of(4), "of one unit");
            assert_eq!(sample.normal, of(1) + of(3) + of(4));
            assert_eq!(sample.anomalous, 2);
            sizes.push(sample.normal);
        }
        sizes.sort_unstable();
        sizes.dedup();
        assert_eq!(sizes, [2, 3, 4], "two units of one score and of two");
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
