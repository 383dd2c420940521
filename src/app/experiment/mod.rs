//! `graphkin experiment`: the study's whole programme and the field's protocol, offline.
//!
//! Everything goes the way that the service goes: `train::fit`, `Detector::score_batch`, one verdict over all kinds. What a
//! repeat of a task found is kept at once, so that an experiment that was cut off goes on where it stopped.

mod bars;
mod cell;
mod data;
mod plan;
mod report;

use std::fs;
use std::path::Path;

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

/// Repeats of a task: seeds, or the field's folds.
const REPEATS: u64 = 5;

/// Runs what isn't there yet, and writes `report.md` and its pictures.
///
/// # Errors
/// When a dataset can't be read, a training fails, a file can't be written, or the program can't be started anew.
pub fn run(arguments: &Experiment) -> anyhow::Result<()> {
    // As the service's jobs have it.
    ensure_environment(&compute_environment(cores()))?;
    let settings = settings(arguments);
    let repeats = arguments.repeats.unwrap_or(if arguments.quick { 1 } else { REPEATS });
    ensure!((1..=REPEATS).contains(&repeats), "there are 1 to {REPEATS} repeats");
    let mut library = Library::new(arguments.data.clone(), settings.most_graphs);
    let wanted =
        |task: &Task| arguments.only.is_empty() || arguments.only.iter().any(|part| task.name.starts_with(part));
    // The field's folds are many trainings for what the splits show as well.
    let quick_enough = |task: &Task| !arguments.quick || task.protocol == plan::Protocol::Splits;
    let (tasks, without_data): (Vec<Task>, Vec<Task>) =
        tasks().into_iter().filter(|task| wanted(task) && quick_enough(task)).partition(|task| library.has(task));
    ensure!(!tasks.is_empty(), "no task is left to run: the datasets are looked for in {}", arguments.data.display());
    let bars = Bars::new(tasks.len() as u64 * repeats);
    let mut results = Vec::new();
    for task in tasks {
        let cells = (0..repeats).map(|repeat| cell(&arguments.out, &task, repeat, &settings, &mut library, &bars));
        let cells = cells.collect::<anyhow::Result<Vec<Cell>>>()?;
        results.push((task, cells));
    }
    bars.finish();
    let missing: Vec<&str> = without_data.iter().map(|task| task.title).collect();
    report::write(&arguments.out, &results, &missing)
        .with_context(|| format!("the report cannot be written to {}", arguments.out.display()))
}

fn cell(
    out: &Path,
    task: &Task,
    repeat: u64,
    settings: &Settings,
    library: &mut Library,
    bars: &Bars,
) -> anyhow::Result<Cell> {
    let path = Cell::path(out, task, repeat);
    if let Some(kept) = Cell::read(&path, settings) {
        bars.done(None);
        return Ok(kept);
    }
    fs::create_dir_all(out)?;
    let name = format!("{} {repeat}", task.name);
    let mut bar = bars.cell(&name);
    let made = library
        .comparison(task, repeat)
        .and_then(|comparison| Cell::make(&comparison, settings, repeat, &mut bar))
        .with_context(|| name.clone())?;
    made.write(&path)?;
    bars.done(Some(bar));
    Ok(made)
}

fn settings(arguments: &Experiment) -> Settings {
    let hyperparameters = if arguments.quick { quick_hyperparameters() } else { Map::new() };
    Settings {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        format: FORMAT,
        kinds: if arguments.kinds.is_empty() { Kind::ALL.to_vec() } else { arguments.kinds.clone() },
        hyperparameters,
        most_graphs: if arguments.quick { 200 } else { usize::MAX },
    }
}

/// So small that the whole programme takes minutes.
fn quick_hyperparameters() -> Map<String, Value> {
    let given = json!({ "epochs": 4, "steps_per_epoch": 8, "orderings": 2 });
    given.as_object().cloned().unwrap_or_default()
}
