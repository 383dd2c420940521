//! `graphkin experiment`: the study's whole programme and the field's protocol, offline.
//!
//! Everything goes the way that the service goes: `train::fit`, `Detector::score_batch`, one verdict over all kinds. What a
//! repeat of a task found is kept at once, so that an experiment that was cut off goes on where it stopped.

mod bars;
mod cell;
mod data;
mod figures;
mod plan;
mod report;
mod shortfalls;
mod side_by_side;

use std::fs;
use std::num::NonZero;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, ensure};
use serde_json::{Map, Value, json};

use crate::cli::Experiment;
use crate::config::{cores, ensure_environment};
use crate::detector::FORMAT;
use crate::model::Kind;
use crate::worker::compute_environment;
use bars::Bars;
use cell::{Cell, Settings};
use data::Library;
use plan::{Task, tasks};
use side_by_side::side_by_side;

/// Repeats of a task: seeds, or the field's folds.
const REPEATS: u64 = 5;

/// Cells at once unless it is said: each takes memory of its own, and its scoring takes all cores already.
const MOST_AT_ONCE: usize = 4;

/// Runs what isn't there yet, and writes `report.md` and its pictures.
///
/// # Errors
/// When a dataset can't be read, a training fails, a file can't be written, or the program can't be started anew.
pub fn run(arguments: &Experiment) -> anyhow::Result<()> {
    // As the service's jobs have it.
    ensure_environment(&compute_environment(cores()))?;
    let settings = settings(arguments)?;
    let repeats = arguments.repeats.unwrap_or(if arguments.quick { 1 } else { REPEATS });
    ensure!((1..=REPEATS).contains(&repeats), "there are 1 to {REPEATS} repeats");
    let library = Library::new(arguments.data.clone(), settings.most_graphs);
    let wanted =
        |task: &Task| arguments.only.is_empty() || arguments.only.iter().any(|part| task.name.starts_with(part));
    // The field's folds are many trainings for what the splits show as well.
    let quick_enough = |task: &Task| !arguments.quick || task.protocol == plan::Protocol::Splits;
    let (tasks, without_data): (Vec<Task>, Vec<Task>) =
        tasks().into_iter().filter(|task| wanted(task) && quick_enough(task)).partition(|task| library.has(task));
    ensure!(!tasks.is_empty(), "no task is left to run: the datasets are looked for in {}", arguments.data.display());
    let bars = Bars::new(tasks.len() as u64 * repeats);
    let programme = Programme { out: &arguments.out, settings: &settings, library: Mutex::new(library), bars: &bars };
    let cells: Vec<(&Task, u64)> =
        tasks.iter().flat_map(|task| (0..repeats).map(move |repeat| (task, repeat))).collect();
    let at_once = arguments.at_once.map_or(cores().min(MOST_AT_ONCE), NonZero::get);
    let made = side_by_side(&cells, at_once, |&(task, repeat)| {
        programme.cell(task, repeat).inspect_err(|why| bars.tell(&format!("{}, repeat {repeat}: {why:#}", task.name)))
    });
    bars.finish();
    let (results, failed) = by_task(tasks, repeats, made);
    let failures = failed.join("; ");
    ensure!(!results.is_empty(), "no task is left to report: {failures}");
    let mut missing: Vec<String> =
        without_data.iter().map(|task| format!("{}, whose dataset was not there", task.title)).collect();
    if arguments.quick {
        missing.push("the field's folds, for the sake of time".to_owned());
    }
    missing.extend(failed.iter().map(|failed| format!("failed: {failed}")));
    report::write(&arguments.out, &results, &missing)
        .with_context(|| format!("the report cannot be written to {}", arguments.out.display()))?;
    ensure!(failed.is_empty(), "not in the report, and tried again when this is run again: {failures}");
    Ok(())
}

/// The tasks of which every repeat was made, and why the others are not among them: means over fewer repeats would look like
/// the others and be none of them.
fn by_task<C>(tasks: Vec<Task>, repeats: u64, made: Vec<anyhow::Result<C>>) -> (Vec<(Task, Vec<C>)>, Vec<String>) {
    let mut made = made.into_iter();
    let (mut results, mut failures) = (Vec::new(), Vec::new());
    for task in tasks {
        match made.by_ref().take(repeats as usize).collect::<Vec<_>>().into_iter().collect() {
            Ok(cells) => results.push((task, cells)),
            Err(why) => failures.push(format!("{} ({why:#})", task.title)),
        }
    }
    (results, failures)
}

/// What all cells share.
struct Programme<'a> {
    out: &'a Path,
    settings: &'a Settings,
    library: Mutex<Library>,
    bars: &'a Bars,
}

impl Programme<'_> {
    /// A repeat of a task: what was kept of it, or what is found now.
    fn cell(&self, task: &Task, repeat: u64) -> anyhow::Result<Cell> {
        let path = Cell::path(self.out, task, repeat, self.settings)?;
        if let Some(kept) = Cell::read(&path, self.settings) {
            self.bars.done(None);
            return Ok(kept);
        }
        fs::create_dir_all(self.out)?;
        let name = format!("{} {repeat}", task.name);
        let mut bar = self.bars.cell(&name);
        let comparison = self.library.lock().unwrap_or_else(PoisonError::into_inner).comparison(task, repeat);
        let made = comparison
            .and_then(|comparison| Cell::make(&comparison, self.settings, repeat, &mut bar))
            .with_context(|| name.clone())?;
        made.write(&path)?;
        self.bars.done(Some(bar));
        Ok(made)
    }
}

fn settings(arguments: &Experiment) -> anyhow::Result<Settings> {
    let given = arguments.hyperparameters.clone();
    let settings = Settings {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        format: FORMAT,
        kinds: if arguments.kinds.is_empty() { Kind::ALL.to_vec() } else { arguments.kinds.clone() },
        hyperparameters: given
            .clone()
            .unwrap_or_else(|| if arguments.quick { quick_hyperparameters() } else { Map::new() }),
        most_graphs: if arguments.quick { 200 } else { usize::MAX },
    };
    settings.check(given.iter().flat_map(Map::keys))?;
    Ok(settings)
}

/// So small that the whole programme takes minutes. A kind takes those that it has.
fn quick_hyperparameters() -> Map<String, Value> {
    let given = json!({ "epochs": 4, "steps_per_epoch": 8, "orderings": 2 });
    given.as_object().cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn settings_of(arguments: &[&str]) -> anyhow::Result<Settings> {
        let typed = ["graphkin", "experiment", "--data", "nowhere"].iter().chain(arguments);
        match Cli::try_parse_from(typed)?.command {
            Command::Experiment(experiment) => settings(&experiment),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_quick_look_is_had_at_any_kind() {
        for kind in Kind::ALL {
            let settings = settings_of(&["--quick", "--kinds", kind.as_str()]).unwrap();
            assert_eq!((settings.kinds, settings.most_graphs), (vec![kind], 200));
        }
    }

    #[test]
    fn hyperparameters_are_those_of_the_kinds() {
        let of = |given: &str| settings_of(&["--kinds", "full-mask", "gran", "--hyperparameters", given]);
        assert_eq!(of(r#"{"layers": 2}"#).unwrap().hyperparameters["layers"], 2);
        for (given, told) in [
            (r#"{"embedding_dim": 8}"#, "no kind has a hyper-parameter `embedding_dim`"),
            (r#"{"epochs": 0}"#, "full-mask: epochs "),
            ("7", "not a JSON object"),
        ] {
            let why = of(given).unwrap_err().to_string();
            assert!(why.contains(told), "{why}");
        }
    }

    #[test]
    fn a_task_is_reported_whole_or_not_at_all() {
        let tasks: Vec<Task> = tasks().into_iter().take(3).collect();
        let titles: Vec<&str> = tasks.iter().map(|task| task.title).collect();
        let failed = || Err(anyhow::anyhow!("out of luck").context("repeat 1"));
        let (results, failures) = by_task(tasks.clone(), 2, vec![Ok(1), Ok(2), Ok(3), failed(), Ok(5), Ok(6)]);
        let reported: Vec<(&str, Vec<i32>)> = results.into_iter().map(|(task, cells)| (task.title, cells)).collect();
        assert_eq!(reported, [(titles[0], vec![1, 2]), (titles[2], vec![5, 6])]);
        assert_eq!(failures, [format!("{} (repeat 1: out of luck)", titles[1])]);
    }
}
