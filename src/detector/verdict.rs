//! One verdict over all of a family's detectors.

use super::{CalibrationScore, Detector, FoldScore, Score, Tail};
use crate::stats::conformal::{min_p, p_from_count};

/// The family's verdict over all detectors asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    pub nonconformity: f64,
    pub p_value: f64,
    pub p_size: f64,
    pub p_structure: f64,
    pub min_p: f64,
    pub calibration_size: usize,
    /// The two-sided nonconformity under each calibration fold, whichever tail was asked for: what
    /// [`Reference`](super::Reference) has of calibration graphs. None where the detectors share none of these.
    pub folds: Vec<f64>,
    pub warnings: Vec<String>,
}

/// Combines what a family's detectors say of one graph into one verdict.
///
/// The largest nonconformity, conformalised again over the calibration graphs that all detectors share: taking the largest
/// of several p-values would not be a p-value. Where they share none (the family grew past the size that is calibrated by
/// folds between two trainings) the smallest p-value times their number stands in, valid but coarser.
///
/// # Panics
/// If `scores` is empty.
#[must_use]
pub fn verdict(scores: &[(&Detector, &Score)], tail: Tail) -> Verdict {
    assert!(!scores.is_empty(), "a verdict needs a detector");
    let chosen = FoldScore::chosen(tail);
    let detectors: Vec<&Detector> = scores.iter().map(|(detector, _)| *detector).collect();
    let shared = shared_calibration(&detectors);
    let nonconformity = scores.iter().map(|(_, score)| score.nonconformity).fold(f64::MIN, f64::max);
    if shared.is_empty() {
        let bonferroni = |of: fn(&Score) -> f64| {
            (scores.iter().map(|(_, score)| of(score)).fold(1.0, f64::min) * scores.len() as f64).min(1.0)
        };
        let smallest = scores.iter().map(|(detector, _)| detector.calibration.len()).min().unwrap_or(0);
        return Verdict {
            nonconformity,
            p_value: bonferroni(|score| score.p_value),
            p_size: bonferroni(|score| score.p_size),
            p_structure: bonferroni(|score| score.p_structure),
            min_p: (min_p(smallest) * scores.len() as f64).min(1.0),
            calibration_size: smallest,
            folds: Vec::new(),
            warnings: vec![
                "the detectors share no calibration graphs, so their p-values are combined by Bonferroni's rule; train \
                 them again on the family as it is now"
                    .to_owned(),
            ],
        };
    }
    let of_graph = |fold: usize, part: fn(&FoldScore) -> f64| {
        largest(scores.iter().filter_map(|(_, score)| score.folds.get(fold)).map(part))
    };
    let p_value = |part: fn(&FoldScore) -> f64| {
        let of_calibrated = |calibrated: &[&CalibrationScore]| largest(calibrated.iter().map(|one| part(&one.score)));
        let as_extreme = |calibrated: &&Vec<_>| of_calibrated(calibrated) >= of_graph(calibrated[0].fold, part);
        p_from_count(shared.iter().filter(as_extreme).count(), shared.len())
    };
    Verdict {
        nonconformity,
        p_value: p_value(chosen),
        p_size: p_value(|score| score.size),
        p_structure: p_value(|score| score.structure),
        min_p: min_p(shared.len()),
        calibration_size: shared.len(),
        folds: (0..detectors[0].members.len()).map(|fold| of_graph(fold, |score| score.nonconformity)).collect(),
        warnings: Vec::new(),
    }
}

/// For each calibration graph that every detector judged under the same fold, their scores of it.
pub(super) fn shared_calibration<'a>(detectors: &[&'a Detector]) -> Vec<Vec<&'a CalibrationScore>> {
    let Some((first, others)) = detectors.split_first() else { return Vec::new() };
    if others.iter().any(|detector| detector.members.len() != first.members.len()) {
        return Vec::new();
    }
    let same = |detector: &'a Detector, wanted: &CalibrationScore| -> Option<&'a CalibrationScore> {
        let key = (wanted.fold, wanted.graph);
        let place = detector.calibration.binary_search_by_key(&key, |score| (score.fold, score.graph)).ok()?;
        detector.calibration.get(place)
    };
    first
        .calibration
        .iter()
        .filter_map(|score| {
            std::iter::once(Some(score)).chain(others.iter().map(|detector| same(detector, score))).collect()
        })
        .collect()
}

pub(super) fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::MIN, f64::max)
}
