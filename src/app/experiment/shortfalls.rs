//! The head of a report: which figures are not reached, and what was not learnt.

use super::cell::Cell;
use super::figures::{
    auroc_of, aurocs, best_floor, cluster_accuracy, is_within, kinds, mean, percent, reads_less, surprise_accuracy,
};
use super::plan::Task;
use crate::evaluate::Standing;
use crate::model::Kind;

/// The first paragraphs: which figures are not reached, and what was not learnt.
pub(super) fn shortfalls(results: &[(Task, Vec<Cell>)]) -> String {
    let short: Vec<String> = results
        .iter()
        .filter_map(|(task, cells)| {
            let short = short_of(task, cells);
            (!short.is_empty()).then(|| format!("- `{}`: {}.", task.name, short.join("; ")))
        })
        .collect();
    let mut text = if short.is_empty() {
        "Every goal of the tasks below is reached, and no floor is above the verdict.".to_owned()
    } else {
        let what = "**What falls short** of a goal, of a floor that learns nothing, or of what p-values promise:";
        format!("{what}\n\n{}", short.join("\n"))
    };
    let unlearnt: Vec<&str> = results
        .iter()
        .filter(|(_, cells)| {
            let untrained: Vec<f64> = cells.iter().map(|cell| auroc_of(&cell.untrained.combined)).collect();
            !reads_less(mean(&untrained), mean(&aurocs(cells, |evaluation| &evaluation.combined.ranking)))
        })
        .map(|(task, _)| task.name)
        .collect();
    if !unlearnt.is_empty() {
        let what = "The same verdict with untrained networks reaches as much, so training added nothing to it, on";
        text += &format!("\n\n{what}: {}.", unlearnt.join(", "));
    }
    text
}

/// What a task's figures fall short of.
fn short_of(task: &Task, cells: &[Cell]) -> Vec<String> {
    let mut short = Vec::new();
    let reached = mean(&aurocs(cells, |evaluation| &evaluation.combined.ranking));
    let mut under = |name: &str, bound: Option<f64>| {
        if let Some(bound) = bound.filter(|&bound| reads_less(reached, bound)) {
            short.push(format!("AUROC {}, {name} {}", percent(reached), percent(bound)));
        }
    };
    under("goal", task.goal);
    under("best floor here", best_floor(cells).map(|(_, floor)| floor));
    under("best floor known", task.known_floor);
    for (place, kind) in kinds(cells).filter(|(_, kind)| *kind != Kind::Gran.as_str()) {
        let figure = |of: fn(&Standing) -> f64| {
            mean(&cells.iter().map(|cell| of(&cell.trained.detectors[place].standing)).collect::<Vec<_>>())
        };
        let (auroc, accuracy, by_surprise) = (figure(auroc_of), figure(cluster_accuracy), figure(surprise_accuracy));
        if let Some(goal) = task.goal.filter(|&goal| task.each_kind && reads_less(auroc, goal)) {
            short.push(format!("{kind} AUROC {}, goal {}", percent(auroc), percent(goal)));
        }
        if task.clusters && reads_less(accuracy, 1.0) {
            let (accuracy, by_surprise) = (percent(accuracy), percent(by_surprise));
            short.push(format!("{kind} clusters {accuracy} (by surprise {by_surprise}), goal 100.0"));
        }
    }
    for level in 0..cells.first().map_or(0, |cell| cell.trained.combined.alarms.len()) {
        let rates = || cells.iter().map(|cell| &cell.trained.combined.alarms[level]);
        let outside = rates().filter(|rate| is_within(rate) == Some(false)).count();
        if let (Some(rate), 1..) = (rates().next(), outside) {
            let alpha = percent(rate.alpha);
            short.push(format!("false alarms at {alpha} % outside their band in {outside} of {}", cells.len()));
        }
    }
    if let Some(bound) = task.leak_above.filter(|&bound| reached > bound) {
        short.push(format!("AUROC {} above {}, which means a leak", percent(reached), percent(bound)));
    }
    short
}

#[cfg(test)]
mod tests {
    use serde_json::Map;
    use uuid::Uuid;

    use super::*;
    use crate::app::experiment::cell::Settings;
    use crate::app::experiment::plan::tasks;
    use crate::detector::FORMAT;
    use crate::evaluate::floor::Floor;
    use crate::evaluate::{
        AlarmRate, Clusters, DetectorStanding, Evaluation, Findings, FloorStanding, NormalFamily, RankingReport,
    };
    use crate::id::DetectorId;
    use crate::stats::bootstrap::{Estimate, RankingEstimates};

    fn ranking(auroc: f64) -> RankingReport {
        let one = Estimate { value: auroc, low: auroc, high: auroc };
        let estimates = RankingEstimates { auroc: one, average_precision: one, fpr_at_95_tpr: one };
        RankingReport { estimates, auroc_by_family: vec![auroc], roc: Vec::new() }
    }

    /// At 5 %, of which 0 to 6 of 60 are within the band.
    fn alarms(false_positives: usize) -> AlarmRate {
        AlarmRate {
            alpha: 0.05,
            reachable: true,
            calibration_size: 40,
            false_positives,
            tested: 60,
            band: Some((0, 6)),
            caught: 0,
            anomalous: 60,
        }
    }

    fn standing(auroc: f64, clusters: f64, alarms: Vec<AlarmRate>) -> Standing {
        let clusters = Clusters {
            accuracy: 0.5,
            accuracy_by_family: vec![clusters],
            surprise_accuracy_by_family: vec![clusters + 0.1],
            majority: 0.5,
            points: Vec::new(),
            explained: [0.0; 2],
        };
        Standing { ranking: ranking(auroc), alarms, nonconformity: Vec::new(), clusters, warnings: Vec::new() }
    }

    /// An evaluation where all detectors together have this AUROC, and `full-mask` and `gran` the other two figures.
    fn evaluation(auroc: f64, of_each: (f64, f64), floor: f64, false_positives: usize) -> Evaluation {
        let detector = |kind| DetectorStanding {
            kind,
            detector: DetectorId::new(Uuid::nil()),
            standing: standing(of_each.0, of_each.1, Vec::new()),
            model: ranking(0.5),
            findings: Findings::Nll(Vec::new()),
        };
        Evaluation {
            seed: 0,
            normal: NormalFamily { family: "kin".to_owned(), train: 3, calibration: 40, test: 60 },
            anomalous: Vec::new(),
            ceiling: None,
            combined: standing(auroc, 1.0, vec![alarms(false_positives)]),
            detectors: [Kind::FullMask, Kind::Gran].map(detector).into(),
            floors: vec![FloorStanding { floor: Floor::NodeCount, ranking: ranking(floor) }],
        }
    }

    fn results(name: &str, trained: Evaluation, untrained: f64) -> Vec<(Task, Vec<Cell>)> {
        let task = tasks().into_iter().find(|task| task.name == name).expect("a task of this name");
        let settings = Settings {
            version: String::new(),
            format: FORMAT,
            kinds: Vec::new(),
            hyperparameters: Map::new(),
            most_graphs: 1,
        };
        let untrained = evaluation(untrained, (0.5, 0.5), 0.5, 0);
        vec![(
            task,
            vec![Cell {
                settings,
                trained,
                untrained,
                training_seconds: Vec::new(),
                validation_losses: Vec::new(),
                scoring_seconds: 0.0,
            }],
        )]
    }

    #[test]
    fn nothing_is_said_where_all_is_reached_and_learnt() {
        let reached = results("synthetic-similarity", evaluation(1.0, (1.0, 1.0), 0.9, 6), 0.9);
        assert_eq!(
            shortfalls(&reached),
            "Every goal of the tasks below is reached, and no floor is above the verdict."
        );
    }

    #[test]
    fn every_kind_of_shortfall_is_told() {
        let told = |name: &str, trained, untrained| shortfalls(&results(name, trained, untrained));
        let text = told("aids-active", evaluation(0.95, (0.5, 0.5), 0.996, 7), 0.96);
        for part in [
            "- `aids-active`: AUROC 95.0, goal 99.3; AUROC 95.0, best floor here 99.6; AUROC 95.0, best floor known 99.3",
            "false alarms at 5.0 % outside their band in 1 of 1.",
            "training added nothing to it, on: aids-active.",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(!text.contains("clusters") && !text.contains("full-mask"), "no goals of this task: {text}");

        let text = told("synthetic-similarity", evaluation(1.0, (0.98, 0.7), 1.0, 0), 0.5);
        assert!(
            text.contains("full-mask AUROC 98.0, goal 100.0; full-mask clusters 70.0 (by surprise 80.0), goal 100.0."),
            "{text}"
        );
        assert!(!text.contains("gran"), "it has no such goal: {text}");

        let leak = told("imdb-0-1", evaluation(0.85, (1.0, 1.0), 0.5, 0), 0.5);
        assert!(leak.contains("AUROC 85.0 above 84.0, which means a leak"), "{leak}");
    }
}
