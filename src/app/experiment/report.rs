//! `report.md`: a table a task, what falls short first, and the pictures of each task's first repeat.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::cell::Cell;
use super::plan::Task;
use crate::evaluate::{AlarmRate, Evaluation, RankingReport, Standing};
use crate::picture;

/// Writes the report and its pictures into `out`.
pub(super) fn write(out: &Path, results: &[(Task, Vec<Cell>)], missing: &[&str]) -> anyhow::Result<()> {
    fs::create_dir_all(out)?;
    for (task, cells) in results {
        if let Some(first) = cells.first() {
            fs::write(out.join(picture_name(task)), picture::evaluation(&first.trained, None)?)?;
        }
    }
    fs::write(out.join("report.md"), markdown(results, missing)?)?;
    Ok(())
}

fn picture_name(task: &Task) -> String {
    format!("{}.svg", task.name)
}

fn markdown(results: &[(Task, Vec<Cell>)], missing: &[&str]) -> anyhow::Result<String> {
    let mut text = String::from("# What the detectors are worth\n\n");
    writeln!(text, "{}\n", shortfalls(results))?;
    if !missing.is_empty() {
        writeln!(text, "Left out, for their datasets were not there: {}.\n", missing.join("; "))?;
    }
    if let Some(cell) = results.iter().find_map(|(_, cells)| cells.first()) {
        let settings = &cell.settings;
        let (repeats, given) =
            (results.iter().map(|(_, cells)| cells.len()).max().unwrap_or(0), &settings.hyperparameters);
        writeln!(
            text,
            "graphkin {}, {repeats} repeat(s). Hyper-parameters: {}. Graphs of a family: {}.\n",
            settings.version,
            if given.is_empty() {
                "the defaults".to_owned()
            } else {
                format!("the defaults but for {}", serde_json::to_string(given)?)
            },
            if settings.most_graphs == usize::MAX {
                "all".to_owned()
            } else {
                format!("at most {}", settings.most_graphs)
            },
        )?;
    }
    text.push_str(LEGEND);
    summary(&mut text, results)?;
    for (task, cells) in results {
        of_task(&mut text, task, cells)?;
    }
    Ok(text)
}

const LEGEND: &str = "\
Figures are means over the repeats in %, with the standard deviation where there are several. *AUROC*, *AP* and *FPR95* (the
false-positive rate where 95 % of the anomalies are caught) are of the nonconformity, two-sided. *untrained* is the AUROC of
the same networks with their initial weights: what that also reaches was not learnt. *model* is the AUROC of what a kind's
network sees by itself, given the size, and of an untrained one: size, structure and colours, which every kind looks at
beside its network, are left out. *clusters* is the accuracy of Ward's two
clusters of the score vectors, beside what calling everything the larger class reaches. *false alarms* are of normal test
graphs, at 1, 5 and 10 %; within the 95 % band that split-conformal p-values have, or not. The floors learn nothing.

";

/// The first paragraph: which figures are not reached.
fn shortfalls(results: &[(Task, Vec<Cell>)]) -> String {
    let short: Vec<String> = results
        .iter()
        .filter_map(|(task, cells)| {
            let reached = mean(&aurocs(cells, |evaluation| &evaluation.combined.ranking));
            let floor = best_floor(cells).map_or(0.0, |(_, floor)| floor);
            let under_goal = task.goal.filter(|&goal| reads_less(reached, goal));
            let below = [
                under_goal.map(|goal| format!("goal {}", percent(goal))),
                reads_less(reached, floor).then(|| format!("floor {}", percent(floor))),
            ];
            let below: Vec<String> = below.into_iter().flatten().collect();
            (!below.is_empty()).then(|| format!("{} ({}, {})", task.name, percent(reached), below.join(", ")))
        })
        .collect();
    if short.is_empty() {
        "Every goal is reached, and no floor is above the verdict.".to_owned()
    } else {
        format!("**What falls short** of its goal, or of a floor that learns nothing: {}.", short.join("; "))
    }
}

fn summary(text: &mut String, results: &[(Task, Vec<Cell>)]) -> anyhow::Result<()> {
    text.push_str(
        "| task | combined | untrained | best kind | best floor | goal | the study |\n|---|---|---|---|---|---|---|\n",
    );
    for (task, cells) in results {
        let combined = aurocs(cells, |evaluation| &evaluation.combined.ranking);
        let untrained: Vec<f64> =
            cells.iter().map(|cell| cell.untrained.combined.ranking.estimates.auroc.value).collect();
        let best = kinds(cells)
            .map(|(place, kind)| {
                (kind, mean(&aurocs(cells, |evaluation| &evaluation.detectors[place].standing.ranking)))
            })
            .max_by(|a, b| a.1.total_cmp(&b.1));
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} |",
            task.name,
            spread(&combined),
            spread(&untrained),
            best.map_or_else(String::new, |(kind, auroc)| format!("{kind} {}", percent(auroc))),
            best_floor(cells).map_or_else(String::new, |(floor, auroc)| format!("{floor} {}", percent(auroc))),
            task.goal.map_or_else(|| "-".to_owned(), percent),
            task.study,
        )?;
    }
    text.push('\n');
    Ok(())
}

fn of_task(text: &mut String, task: &Task, cells: &[Cell]) -> anyhow::Result<()> {
    let Some(first) = cells.first() else { return Ok(()) };
    writeln!(text, "## {}\n", task.title)?;
    let normal = &first.trained.normal;
    let others: Vec<String> =
        first.trained.anomalous.iter().map(|family| format!("{} of `{}`", family.graphs, family.family)).collect();
    writeln!(
        text,
        "`{}`: {} to train, {} to calibrate, {} to test; against {}.{}\n",
        normal.family,
        normal.train,
        normal.calibration,
        normal.test,
        others.join(", "),
        first.trained.ceiling.map_or_else(String::new, |ceiling| {
            format!(" No score that gives isomorphic graphs the same can have more than {} %.", percent(ceiling))
        }),
    )?;
    text.push_str(
        "| score | AUROC | untrained | model | untrained | AP | FPR95 | clusters (majority) | false alarms at 1, 5, 10 % |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    row(text, "**combined**", cells, |evaluation| &evaluation.combined, None)?;
    for (place, kind) in kinds(cells) {
        let model = |evaluation: &Evaluation| evaluation.detectors[place].model.estimates.auroc.value;
        row(text, kind, cells, |evaluation| &evaluation.detectors[place].standing, Some(&model))?;
    }
    for (place, floor) in first.trained.floors.iter().enumerate() {
        let ranking = |evaluation: &Evaluation| evaluation.floors[place].ranking.estimates;
        let of = |metric: fn(crate::stats::bootstrap::RankingEstimates) -> f64| -> Vec<f64> {
            cells.iter().map(|cell| metric(ranking(&cell.trained))).collect()
        };
        writeln!(
            text,
            "| *{}* | {} | | | | {} | {} | | |",
            floor.floor.as_str(),
            spread(&of(|estimates| estimates.auroc.value)),
            spread(&of(|estimates| estimates.average_precision.value)),
            spread(&of(|estimates| estimates.fpr_at_95_tpr.value)),
        )?;
    }
    let training: Vec<String> = kinds(cells)
        .map(|(place, kind)| {
            format!("{kind} {:.0} s", mean(&cells.iter().map(|cell| cell.training_seconds[place]).collect::<Vec<_>>()))
        })
        .collect();
    writeln!(text, "\nTraining: {}.\n\n![{}]({})\n", training.join(", "), task.title, picture_name(task))?;
    Ok(())
}

fn row(
    text: &mut String,
    name: &str,
    cells: &[Cell],
    of: impl Fn(&Evaluation) -> &Standing,
    model: Option<&dyn Fn(&Evaluation) -> f64>,
) -> anyhow::Result<()> {
    let figures =
        |figure: fn(&Standing) -> f64| -> Vec<f64> { cells.iter().map(|cell| figure(of(&cell.trained))).collect() };
    let untrained: Vec<f64> = cells.iter().map(|cell| of(&cell.untrained).ranking.estimates.auroc.value).collect();
    let alarms: Vec<String> = cells.first().map_or_else(Vec::new, |first| {
        (0..of(&first.trained).alarms.len())
            .map(|level| false_alarms(cells.iter().map(|cell| &of(&cell.trained).alarms[level])))
            .collect()
    });
    let by_model = |evaluation: fn(&Cell) -> &Evaluation| {
        model.map_or_else(String::new, |of| spread(&cells.iter().map(|cell| of(evaluation(cell))).collect::<Vec<_>>()))
    };
    writeln!(
        text,
        "| {name} | {} | {} | {} | {} | {} | {} | {} ({}) | {} |",
        spread(&figures(|standing| standing.ranking.estimates.auroc.value)),
        spread(&untrained),
        by_model(|cell| &cell.trained),
        by_model(|cell| &cell.untrained),
        spread(&figures(|standing| standing.ranking.estimates.average_precision.value)),
        spread(&figures(|standing| standing.ranking.estimates.fpr_at_95_tpr.value)),
        spread(&figures(|standing| standing.clusters.accuracy)),
        percent(mean(&figures(|standing| standing.clusters.majority))),
        alarms.join(", "),
    )?;
    Ok(())
}

/// The rate over all repeats, and in how many of them it is within its band.
fn false_alarms<'a>(repeats: impl Iterator<Item = &'a AlarmRate>) -> String {
    let (mut alarms, mut tested, mut within, mut banded) = (0, 0, 0, 0);
    for rate in repeats {
        alarms += rate.false_positives;
        tested += rate.tested;
        if let Some((low, high)) = rate.band {
            banded += 1;
            within += usize::from((low..=high).contains(&rate.false_positives));
        }
    }
    format!("{} ({within} of {banded} within)", percent(alarms as f64 / tested.max(1) as f64))
}

/// The kinds, each with its place among the detectors.
fn kinds(cells: &[Cell]) -> impl Iterator<Item = (usize, &'static str)> + '_ {
    cells
        .iter()
        .take(1)
        .flat_map(|cell| cell.trained.detectors.iter().map(|detector| detector.kind.as_str()).enumerate())
}

fn aurocs(cells: &[Cell], of: impl Fn(&Evaluation) -> &RankingReport) -> Vec<f64> {
    cells.iter().map(|cell| of(&cell.trained).estimates.auroc.value).collect()
}

fn best_floor(cells: &[Cell]) -> Option<(&'static str, f64)> {
    let floors = &cells.first()?.trained.floors;
    let mean_of = |place: usize| mean(&aurocs(cells, |evaluation| &evaluation.floors[place].ranking));
    floors
        .iter()
        .enumerate()
        .map(|(place, floor)| (floor.floor.as_str(), mean_of(place)))
        .max_by(|a, b| a.1.total_cmp(&b.1))
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Whether it is less as a reader sees it: no 100.0 falls short of 100.0.
fn reads_less(value: f64, other: f64) -> bool {
    let told = |value: f64| (1_000.0 * value).round();
    told(value) < told(other)
}

fn percent(value: f64) -> String {
    format!("{:.1}", 100.0 * value)
}

/// The mean in %, and the sample's standard deviation where there are several.
fn spread(values: &[f64]) -> String {
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
