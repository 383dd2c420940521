//! `report.md`: what falls short first, then a table a task, and the pictures of each task's first repeat.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::cell::Cell;
use super::figures::{
    auroc_of, aurocs, best_floor, cluster_accuracy, is_within, kinds, majority, mean, percent, spread,
    surprise_accuracy,
};
use super::plan::Task;
use super::shortfalls::shortfalls;
use crate::evaluate::{AlarmRate, Evaluation, Standing};
use crate::model::Kind;
use crate::picture;

/// Writes the report and its pictures into `out`.
pub(super) fn write(out: &Path, results: &[(Task, Vec<Cell>)], missing: &[String]) -> anyhow::Result<()> {
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

fn markdown(results: &[(Task, Vec<Cell>)], missing: &[String]) -> anyhow::Result<String> {
    let mut text = String::from("# What the detectors are worth\n\n");
    if !missing.is_empty() {
        writeln!(text, "Left out: {}.\n", missing.join("; "))?;
    }
    writeln!(text, "{}\n", shortfalls(results))?;
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
beside its network, are left out. *clusters* is the accuracy of Ward's two clusters of the score vectors of the test graphs
and one other family (a masked kind's vector is the study's histogram), the mean over these; *by surprise* is that of
clusters of the surprises that the verdict is made of, of each detector at size, structure and its model; beside both, what
calling all graphs the larger class reaches. *false alarms* are of normal test graphs, at 1, 5 and 10 %; within the 95 % band
that split-conformal p-values have, or not, and out of reach where fewer graphs calibrate than such a p-value takes. The
floors learn nothing; which is best is seen on the test graphs, as is the best kind. *best floor known* and *published* are
of the design's own survey, where the anomalous side may have been looked up.

The rule of the verdict was settled with these very tasks in view (`docs/experiments/ablations.md`), and no dataset was held back:
these are not the figures of an untouched test.

";

fn summary(text: &mut String, results: &[(Task, Vec<Cell>)]) -> anyhow::Result<()> {
    text.push_str(
        "| task | combined | untrained | best kind | best floor | best floor known | published | goal | the study |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for (task, cells) in results {
        let combined = aurocs(cells, |evaluation| &evaluation.combined.ranking);
        let untrained: Vec<f64> = cells.iter().map(|cell| auroc_of(&cell.untrained.combined)).collect();
        let best = kinds(cells)
            .map(|(place, kind)| {
                (kind, mean(&aurocs(cells, |evaluation| &evaluation.detectors[place].standing.ranking)))
            })
            .max_by(|a, b| a.1.total_cmp(&b.1));
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            task.name,
            spread(&combined),
            spread(&untrained),
            best.map_or_else(String::new, |(kind, auroc)| format!("{kind} {}", percent(auroc))),
            best_floor(cells).map_or_else(String::new, |(floor, auroc)| format!("{floor} {}", percent(auroc))),
            task.known_floor.map_or_else(|| "-".to_owned(), percent),
            task.published,
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
        "`{}`: {} to train, {} to calibrate, {} to test in the first repeat; against {}.{}\n",
        normal.family,
        normal.train,
        normal.calibration,
        normal.test,
        others.join(", "),
        of_isomorphs(cells),
    )?;
    let by_repeat: Vec<String> =
        aurocs(cells, |evaluation| &evaluation.combined.ranking).into_iter().map(percent).collect();
    writeln!(text, "AUROC of the combined verdict by repeat: {}.\n", by_repeat.join(", "))?;
    for (repeat, cell) in (1..).zip(cells) {
        for warning in &cell.trained.combined.warnings {
            writeln!(text, "Repeat {repeat}: {warning}.\n")?;
        }
    }
    text.push_str(
        "| score | AUROC | untrained | model | untrained | AP | FPR95 | clusters | by surprise | untrained | majority | false alarms at 1, 5, 10 % |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|\n",
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
            "| *{}* | {} | | | | {} | {} | | | | | |",
            floor.floor.as_str(),
            spread(&of(|estimates| estimates.auroc.value)),
            spread(&of(|estimates| estimates.average_precision.value)),
            spread(&of(|estimates| estimates.fpr_at_95_tpr.value)),
        )?;
    }
    let training: Vec<String> = kinds(cells)
        .map(|(place, kind)| {
            let of =
                |figures: fn(&Cell) -> &[f64]| mean(&cells.iter().map(|cell| figures(cell)[place]).collect::<Vec<_>>());
            let (seconds, loss) = (of(|cell| &cell.training_seconds), of(|cell| &cell.validation_losses));
            format!("{kind} {seconds:.0} s to {loss:.4} nats a {}", validated_by(kind))
        })
        .collect();
    writeln!(
        text,
        "\nTraining, and the validation loss that it reached: {}.\n\n![{}]({})\n",
        training.join(", "),
        task.title,
        picture_name(task)
    )?;
    Ok(())
}

/// What a validation loss is the mean over: kinds with different ones don't compare.
fn validated_by(kind: &str) -> &'static str {
    match kind.parse() {
        Ok(Kind::GraphRnn | Kind::Gran) => "node",
        Ok(Kind::FullMask | Kind::FullEdgePrediction) | Err(()) => "pair",
    }
}

/// What isomorphism alone says of the repeats: nothing where no normal graph has an anomalous twin.
fn of_isomorphs(cells: &[Cell]) -> String {
    let range = |values: &mut dyn Iterator<Item = f64>| -> Option<[f64; 2]> {
        values.fold(None, |range, value| {
            let [low, high] = range.unwrap_or([value; 2]);
            Some([value.min(low), value.max(high)])
        })
    };
    let ceilings = range(&mut cells.iter().filter_map(|cell| cell.trained.ceiling));
    let known = range(
        &mut cells
            .iter()
            .map(|cell| cell.trained.anomalous.iter().map(|family| family.known_isomorphs as f64).sum::<f64>()),
    );
    let ceiling = ceilings.map(|[low, high]| {
        let (low, high) = (percent(low), percent(high));
        format!(" No score that gives isomorphic graphs the same can have more than {low} to {high} %, by repeat.")
    });
    let known = known.filter(|[_, high]| *high > 0.0).map(|[low, high]| {
        format!(" Of the anomalous graphs {low} to {high} are isomorphic to one that trained or calibrated.")
    });
    [ceiling, known].into_iter().flatten().collect()
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
    let untrained =
        |figure: fn(&Standing) -> f64| -> Vec<f64> { cells.iter().map(|cell| figure(of(&cell.untrained))).collect() };
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
        "| {name} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
        spread(&figures(auroc_of)),
        spread(&untrained(auroc_of)),
        by_model(|cell| &cell.trained),
        by_model(|cell| &cell.untrained),
        spread(&figures(|standing| standing.ranking.estimates.average_precision.value)),
        spread(&figures(|standing| standing.ranking.estimates.fpr_at_95_tpr.value)),
        spread(&figures(cluster_accuracy)),
        spread(&figures(surprise_accuracy)),
        spread(&untrained(surprise_accuracy)),
        percent(mean(&cells.iter().map(|cell| majority(&cell.trained)).collect::<Vec<_>>())),
        alarms.join(", "),
    )?;
    Ok(())
}

/// The rate over all repeats, and in how many of them it is within its band.
fn false_alarms<'a>(repeats: impl Iterator<Item = &'a AlarmRate>) -> String {
    let (mut alarms, mut tested, mut within, mut banded) = (0, 0, 0, 0);
    for rate in repeats.filter(|rate| rate.reachable) {
        alarms += rate.false_positives;
        tested += rate.tested;
        banded += usize::from(is_within(rate).is_some());
        within += usize::from(is_within(rate) == Some(true));
    }
    if tested == 0 {
        return "out of reach".to_owned();
    }
    format!("{} ({within} of {banded} within)", percent(alarms as f64 / tested as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_out_of_reach_has_no_rate() {
        let rate = |reachable, false_positives, tested| AlarmRate {
            alpha: 0.05,
            reachable,
            calibration_size: 40,
            false_positives,
            tested,
            band: Some((0, 6)),
            caught: 0,
            anomalous: 1,
        };
        assert_eq!(false_alarms([rate(false, 0, 60)].iter()), "out of reach");
        let repeats = [rate(true, 3, 60), rate(true, 9, 60), rate(false, 0, 60)];
        assert_eq!(false_alarms(repeats.iter()), "10.0 (1 of 2 within)");
    }
}
