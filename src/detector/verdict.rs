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
/// What they say [together](FoldScore::together), conformalised again over the calibration graphs that all of them share:
/// neither the least of several p-values nor their mean would be one. Where they share none (the family grew past the size
/// that is calibrated by folds between two trainings) the smallest p-value times their number stands in, valid but coarser.
///
/// # Panics
/// If `scores` is empty.
#[must_use]
pub fn verdict(scores: &[(&Detector, &Score)], tail: Tail) -> Verdict {
    assert!(!scores.is_empty(), "a verdict needs a detector");
    let detectors: Vec<&Detector> = scores.iter().map(|(detector, _)| *detector).collect();
    let shared = shared_calibration(&detectors);
    if shared.is_empty() {
        let bonferroni = |of: fn(&Score) -> f64| {
            (scores.iter().map(|(_, score)| of(score)).fold(1.0, f64::min) * scores.len() as f64).min(1.0)
        };
        let smallest = scores.iter().map(|(detector, _)| detector.calibration.len()).min().unwrap_or(0);
        return Verdict {
            nonconformity: scores.iter().map(|(_, score)| score.nonconformity).fold(f64::MIN, f64::max),
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
    let folds: Vec<FoldScore> = (0..detectors[0].members.len())
        .map(|fold| {
            let said: Vec<FoldScore> = scores.iter().filter_map(|(_, score)| score.folds.get(fold).copied()).collect();
            FoldScore::together(&said)
        })
        .collect();
    let chosen = FoldScore::chosen(tail);
    let p_value = |part: fn(&FoldScore) -> f64| {
        let as_extreme = |calibrated: &&CalibrationScore| part(&calibrated.score) >= part(&folds[calibrated.fold]);
        p_from_count(shared.iter().filter(as_extreme).count(), shared.len())
    };
    Verdict {
        nonconformity: folds.iter().map(chosen).sum::<f64>() / folds.len() as f64,
        p_value: p_value(chosen),
        p_size: p_value(|score| score.size),
        p_structure: p_value(FoldScore::structure),
        min_p: min_p(shared.len()),
        calibration_size: shared.len(),
        folds: folds.iter().map(FoldScore::nonconformity).collect(),
        warnings: Vec::new(),
    }
}

/// The calibration graphs that every detector judged under the same fold, with what they say of each together.
pub(super) fn shared_calibration(detectors: &[&Detector]) -> Vec<CalibrationScore> {
    let Some((first, others)) = detectors.split_first() else { return Vec::new() };
    if others.iter().any(|detector| detector.members.len() != first.members.len()) {
        return Vec::new();
    }
    let mut said = Vec::with_capacity(detectors.len());
    let together = |calibrated: &CalibrationScore| {
        let key = (calibrated.fold, calibrated.graph);
        said.clear();
        said.push(calibrated.score);
        for other in others {
            let place = other.calibration.binary_search_by_key(&key, |score| (score.fold, score.graph)).ok()?;
            said.push(other.calibration.get(place)?.score);
        }
        Some(CalibrationScore { score: FoldScore::together(&said), ..*calibrated })
    };
    first.calibration.iter().filter_map(together).collect()
}
