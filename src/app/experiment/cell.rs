//! One repeat of one task: train every kind, evaluate, keep what was found.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, anyhow, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::bars::CellBar;
use super::figures::mean;
use super::plan::Task;
use crate::detector::{CurvePoint, Detector};
use crate::evaluate::{Comparison, Evaluation, evaluate};
use crate::graph::Graph;
use crate::id::{DetectorId, GraphId};
use crate::model::device::{ComputeDevice, DeviceChoice};
use crate::model::{HyperparameterError, Hyperparameters, Kind};
use crate::train::{TrainingData, TrainingSpec, fit, fit_untrained};
use crate::worker::with_training_stack;

/// What decides a cell's figures beside its task and repeat. A cell that was kept under other settings is made again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Settings {
    /// Of the program, and of the detectors that it makes.
    pub(super) version: String,
    pub(super) format: u32,
    pub(super) kinds: Vec<Kind>,
    /// What every kind is trained with instead of its defaults, where it has such a hyper-parameter.
    pub(super) hyperparameters: Map<String, Value>,
    /// Graphs of a family, at most.
    pub(super) most_graphs: usize,
}

/// What one repeat of a task found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Cell {
    pub(super) settings: Settings,
    pub(super) trained: Evaluation,
    /// The same with networks that have learnt nothing.
    pub(super) untrained: Evaluation,
    /// Of training, by kind in the order of the settings.
    pub(super) training_seconds: Vec<f64>,
    /// The least that training reached, the mean over a detector's folds, in nats; by kind.
    pub(super) validation_losses: Vec<f64>,
    pub(super) scoring_seconds: f64,
}

impl Settings {
    /// # Errors
    /// When a hyper-parameter is no value for one of the kinds, or one of those `asked_for` is of none of them.
    pub(super) fn check<'a>(&self, asked_for: impl Iterator<Item = &'a String>) -> anyhow::Result<()> {
        for &kind in &self.kinds {
            spec(kind, &self.hyperparameters, 0)?;
        }
        for name in asked_for {
            let has = |&&kind: &&Kind| defaults(kind).is_ok_and(|defaults| defaults.contains_key(name));
            ensure!(self.kinds.iter().any(|kind| has(&kind)), "no kind has a hyper-parameter `{name}`");
        }
        Ok(())
    }
}

impl Cell {
    /// Other settings have other files: no run overwrites what another has found.
    ///
    /// # Errors
    /// When the settings are no JSON.
    pub(super) fn path(out: &Path, task: &Task, repeat: u64, settings: &Settings) -> anyhow::Result<PathBuf> {
        let digest = hex::encode(&Sha256::digest(serde_json::to_vec(settings)?)[..4]);
        Ok(out.join("cells").join(format!("{}-{repeat}-{digest}.json", task.name)))
    }

    /// The cell that was kept, if it was made under these settings.
    pub(super) fn read(path: &Path, settings: &Settings) -> Option<Self> {
        let cell: Self = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        (cell.settings == *settings).then_some(cell)
    }

    /// Written beside, then renamed: what was cut off is not there.
    pub(super) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let folder = path.parent().context("a cell's folder")?;
        fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer(&mut file, self)?;
        file.flush()?;
        file.persist(path).with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(())
    }

    /// Trains and evaluates. The repeat is the seed of all that is drawn.
    pub(super) fn make(
        comparison: &Comparison,
        settings: &Settings,
        repeat: u64,
        bar: &mut CellBar,
    ) -> anyhow::Result<Self> {
        let (data, device) = (training_data(comparison), ComputeDevice::cpu());
        let (mut trained, mut untrained) = (Vec::new(), Vec::new());
        let mut training_seconds = Vec::new();
        for &kind in &settings.kinds {
            let spec = spec(kind, &settings.hyperparameters, repeat)?;
            let begun = Instant::now();
            bar.begin(kind.as_str());
            trained.push(on_training_stack(|| Ok(fit(&spec, &device, &data, None, bar)?))?);
            training_seconds.push(begun.elapsed().as_secs_f64());
            bar.begin(&format!("{kind}, untrained"));
            untrained.push(on_training_stack(|| Ok(fit_untrained(&spec, &device, &data, bar)?))?);
        }
        let validation_losses =
            trained.iter().map(|detector| validation_loss(&detector.manifest().training_curve)).collect();
        let begun = Instant::now();
        bar.begin("scoring");
        let trained = evaluate(comparison, &named(&trained), repeat, bar)?;
        let scoring_seconds = begun.elapsed().as_secs_f64();
        bar.begin("scoring, untrained");
        let untrained = evaluate(comparison, &named(&untrained), repeat, bar)?;
        Ok(Self {
            settings: settings.clone(),
            trained,
            untrained,
            training_seconds,
            validation_losses,
            scoring_seconds,
        })
    }
}

/// Of the network of each fold, the mean over the folds.
fn validation_loss(curve: &[CurvePoint]) -> f64 {
    let best = |fold: &[CurvePoint]| fold.iter().map(|point| point.validation_loss).fold(f64::INFINITY, f64::min);
    mean(&curve.chunk_by(|a, b| a.fold == b.fold).map(best).collect::<Vec<_>>())
}

fn on_training_stack<T: Send>(work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
    with_training_stack(work)?.map_err(|_| anyhow!("the training panicked"))?
}

/// Detectors that are in no store go by their place.
fn named(detectors: &[Detector]) -> Vec<(DetectorId, &Detector)> {
    (1..).map(|place| DetectorId::new(Uuid::from_u128(place))).zip(detectors).collect()
}

fn training_data(comparison: &Comparison) -> TrainingData {
    let normal = &comparison.normal;
    let mut ids = (1..).map(GraphId::new);
    let mut numbered = |graphs: &[Graph]| ids.by_ref().zip(graphs.iter().cloned()).collect();
    TrainingData {
        train: numbered(&normal.train),
        calibration: numbered(&normal.calibration),
        test: numbered(&normal.test),
    }
}

/// The kind's defaults, but for those of `given` that it has.
fn spec(kind: Kind, given: &Map<String, Value>, seed: u64) -> anyhow::Result<TrainingSpec> {
    let known = defaults(kind)?;
    let own: Map<String, Value> = given
        .iter()
        .filter(|(name, _)| known.contains_key(name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let hyperparameters =
        Hyperparameters::from_json(kind, Some(&Value::Object(own))).map_err(|errors| refused(kind, &errors))?;
    Ok(TrainingSpec { kind, hyperparameters, seed, device: DeviceChoice::Cpu })
}

fn defaults(kind: Kind) -> anyhow::Result<Map<String, Value>> {
    let defaults = Hyperparameters::from_json(kind, None).map_err(|errors| refused(kind, &errors))?;
    match serde_json::to_value(&defaults)? {
        Value::Object(defaults) => Ok(defaults),
        other => bail!("{kind}: {other} is no object"),
    }
}

fn refused(kind: Kind, errors: &[HyperparameterError]) -> anyhow::Error {
    let told: Vec<String> =
        errors.iter().map(|HyperparameterError { name, detail }| format!("{name} {detail}")).collect();
    anyhow!("{kind}: {}", told.join("; "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_kind_takes_what_it_has_of_the_hyperparameters() {
        let given = json!({"epochs": 3, "orderings": 2}).as_object().cloned().unwrap();
        for kind in Kind::ALL {
            let spec = spec(kind, &given, 1).unwrap();
            let told = serde_json::to_value(&spec.hyperparameters).unwrap();
            assert_eq!(told["epochs"], 3, "{kind}");
            let orderings = matches!(kind, Kind::GraphRnn | Kind::Gran).then_some(json!(2));
            assert_eq!(told.get("orderings").cloned(), orderings, "{kind}");
        }
    }

    #[test]
    fn the_least_validation_loss_of_each_fold_counts() {
        let point = |(fold, validation_loss)| CurvePoint { fold, epoch: 0, loss: 0.0, validation_loss };
        let curve = [(0, 3.0), (0, 1.0), (0, 2.0), (1, 5.0), (1, 6.0)].map(point);
        assert_eq!(validation_loss(&curve), 3.0);
    }
}
