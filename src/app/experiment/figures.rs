//! Figures of a task's repeats, and how a report tells them.

use super::cell::Cell;
use crate::evaluate::{AlarmRate, Evaluation, RankingReport, Standing};

pub(super) fn auroc_of(standing: &Standing) -> f64 {
    standing.ranking.estimates.auroc.value
}

/// The mean over the anomalous families: two clusters of all of them can't be their classes.
pub(super) fn cluster_accuracy(standing: &Standing) -> f64 {
    mean(&standing.clusters.accuracy_by_family)
}

/// The same by what the verdict is made of.
pub(super) fn surprise_accuracy(standing: &Standing) -> f64 {
    mean(&standing.clusters.surprise_accuracy_by_family)
}

/// What calling the test graphs and those of one other family the larger class of the two reaches; the mean over these.
pub(super) fn majority(evaluation: &Evaluation) -> f64 {
    let test = evaluation.normal.test as f64;
    let of_family = |graphs: usize| test.max(graphs as f64) / (test + graphs as f64);
    mean(&evaluation.anomalous.iter().map(|family| of_family(family.graphs)).collect::<Vec<_>>())
}

/// Whether the false alarms are within their band; `None` where no p-value is so small, or where there is no band.
pub(super) fn is_within(rate: &AlarmRate) -> Option<bool> {
    let (low, high) = rate.band.filter(|_| rate.reachable)?;
    Some((low..=high).contains(&rate.false_positives))
}

/// The kinds, each with its place among the detectors.
pub(super) fn kinds(cells: &[Cell]) -> impl Iterator<Item = (usize, &'static str)> + '_ {
    cells
        .iter()
        .take(1)
        .flat_map(|cell| cell.trained.detectors.iter().map(|detector| detector.kind.as_str()).enumerate())
}

pub(super) fn aurocs(cells: &[Cell], of: impl Fn(&Evaluation) -> &RankingReport) -> Vec<f64> {
    cells.iter().map(|cell| of(&cell.trained).estimates.auroc.value).collect()
}

pub(super) fn best_floor(cells: &[Cell]) -> Option<(&'static str, f64)> {
    let floors = &cells.first()?.trained.floors;
    let mean_of = |place: usize| mean(&aurocs(cells, |evaluation| &evaluation.floors[place].ranking));
    floors
        .iter()
        .enumerate()
        .map(|(place, floor)| (floor.floor.as_str(), mean_of(place)))
        .max_by(|a, b| a.1.total_cmp(&b.1))
}

pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Whether it is less as a reader sees it: no 100.0 falls short of 100.0.
pub(super) fn reads_less(value: f64, other: f64) -> bool {
    let told = |value: f64| (1_000.0 * value).round();
    told(value) < told(other)
}

pub(super) fn percent(value: f64) -> String {
    format!("{:.1}", 100.0 * value)
}

/// The mean in %, and the sample's standard deviation where there are several.
pub(super) fn spread(values: &[f64]) -> String {
    let mean = mean(values);
    if values.len() < 2 {
        return percent(mean);
    }
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64;
    format!("{} ± {}", percent(mean), percent(variance.sqrt()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_told_with_what_they_vary_by() {
        assert_eq!(spread(&[0.5]), "50.0");
        assert_eq!(spread(&[0.4, 0.6]), "50.0 ± 14.1");
    }

    #[test]
    fn what_reads_alike_falls_short_of_nothing() {
        assert!(!reads_less(0.9996, 1.0) && !reads_less(0.8, 0.8));
        assert!(reads_less(0.999, 1.0));
    }
}
