//! The sample family and its detectors, which ship inside the program: a graph can be scored at once.
//!
//! `models/<family>/family.json` says how its graphs are generated, `models/<family>/<kind>/` has the two files of a
//! detector's artefact. `graphkin samples make` trains them again, on the same kind of processor
//! to the same bytes.

use std::path::Path;

use anyhow::{Context, anyhow};
use include_dir::{Dir, include_dir};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tracing::info;
use uuid::Uuid;

use crate::artifact::Artifacts;
use crate::config::{cores, ensure_environment};
use crate::detector::{Detector, Manifest};
use crate::graph::synthetic::{self, SyntheticSpec, SyntheticType};
use crate::id::DetectorId;
use crate::model::device::{ComputeDevice, DeviceChoice};
use crate::model::{Hyperparameters, Kind};
use crate::store::{self, FamilyRow, NewDetector, NewFamily, NewGraph, Store, StoreError};
use crate::train::{self, Checkpoint, Observer, Progress, TrainError, TrainingSpec};
use crate::worker::{by_split, compute_environment, with_training_stack};

static MODELS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/models");

const FAMILY: &str = "family.json";
const MANIFEST: &str = "manifest.json";
const WEIGHTS: &str = "weights.safetensors";

/// A family whose graphs are generated, as its file says it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SampleFamily {
    name: String,
    description: String,
    #[serde(rename = "type")]
    kind: SyntheticType,
    width: usize,
    height: usize,
    count: usize,
    seed: u64,
}

impl SampleFamily {
    /// The family that ships.
    fn ladder() -> Self {
        Self {
            name: "ladder".to_owned(),
            description: "Ten layers of six nodes, each node linked to three of the next layer: shipped with graphkin."
                .to_owned(),
            kind: SyntheticType::Type1,
            width: 6,
            height: 10,
            count: 200,
            seed: 1,
        }
    }

    /// The family in the store, made with its graphs if it isn't there.
    async fn import(&self, store: &Store) -> anyhow::Result<FamilyRow> {
        match store.find_family(&self.name).await {
            Err(StoreError::NotFound { .. }) => {}
            found => return Ok(found?),
        }
        let Self { kind, width, height, count, seed, .. } = *self;
        let graphs = synthetic::generate(&SyntheticSpec { kind, width, height, count, seed })?;
        let graphs = graphs.into_iter().map(|graph| NewGraph { id: None, graph }).collect();
        let family =
            NewFamily { name: self.name.clone(), description: Some(self.description.clone()), class_label: None };
        let made = store.import_families(vec![(family, graphs)]).await?;
        made.into_iter().next().ok_or_else(|| anyhow!("the sample family was not made"))
    }
}

/// What is read of an artefact's `manifest.json`. The weights' hash isn't: both came inside this program.
#[derive(Debug, Deserialize)]
struct ManifestFile {
    detector: Manifest,
}

/// Puts the samples into an empty store. One that was cut off goes on where it stopped.
///
/// # Errors
/// When a shipped file is damaged, or the stores fail.
pub async fn load(store: &Store, artifacts: &Artifacts) -> anyhow::Result<()> {
    for directory in MODELS.dirs() {
        let family: SampleFamily = serde_json::from_slice(file(directory, FAMILY)?)?;
        let row = family.import(store).await?;
        let active = store.active_detectors(row.id).await?;
        for directory in directory.dirs() {
            let ManifestFile { detector } = serde_json::from_slice(file(directory, MANIFEST)?)?;
            if active.iter().any(|active| active.kind == detector.kind) {
                continue;
            }
            let detector = Detector::decode(detector, file(directory, WEIGHTS)?)?;
            let id = DetectorId::new(Uuid::now_v7());
            let artifact = artifacts.put_detector(id, &detector).await?;
            store.add_detector(NewDetector { id, family: row.id, job: None, artifact }).await?;
        }
        info!(family = family.name, "a sample family was loaded");
    }
    Ok(())
}

fn file<'a>(directory: &'a Dir<'_>, name: &str) -> anyhow::Result<&'a [u8]> {
    let path = directory.path().join(name);
    let file = directory.get_file(&path).ok_or_else(|| anyhow!("{} is not in the program", path.display()))?;
    Ok(file.contents())
}

/// `graphkin samples make`: trains the sample detectors and writes them below `out`.
///
/// # Errors
/// When the training fails, a file can't be written, or the program can't be started anew.
pub async fn make(out: &Path) -> anyhow::Result<()> {
    ensure_environment(&compute_environment(cores()))?;
    let family = SampleFamily::ladder();
    // Through a store of its own, so that splits and graph numbers are those that the first start makes.
    let scratch = tempfile::tempdir()?;
    let store = Store::open(&store::Config { path: scratch.path().join("scratch.sqlite3"), readers: 1 }).await?;
    let row = family.import(&store).await?;
    let data = by_split(store.load_graphs(row.id).await?);
    store.close().await;

    let directory = out.join(&family.name);
    write(&directory, FAMILY, &pretty(&family)?)?;
    let artifacts = Artifacts::local(scratch.path())?;
    for kind in Kind::ALL {
        let spec = sample_spec(kind)?;
        let detector = with_training_stack(|| train::fit(&spec, &ComputeDevice::cpu(), &data, None, &mut Silent))?
            .map_err(|_| anyhow!("training {kind} panicked"))?
            .with_context(|| format!("training {kind}"))?;
        let id = DetectorId::new(Uuid::now_v7());
        artifacts.put_detector(id, &detector).await?;
        for name in [MANIFEST, WEIGHTS] {
            let bytes = std::fs::read(scratch.path().join("detectors").join(id.to_string()).join(name))?;
            write(&directory.join(kind.as_str()), name, &bytes)?;
        }
    }
    Ok(())
}

/// Small: what ships must load at once and weigh little, and a test trains it again.
fn sample_spec(kind: Kind) -> anyhow::Result<TrainingSpec> {
    let given = match kind {
        Kind::GraphRnn | Kind::Gran => json!({ "hidden_dim": 16, "epochs": 8, "steps_per_epoch": 16, "batch_size": 8 }),
        Kind::FullMask | Kind::FullEdgePrediction => json!({ "hidden_dim": 16, "epochs": 8 }),
    };
    let hyperparameters = Hyperparameters::from_json(kind, Some(&given))
        .map_err(|errors| anyhow!("the sample's hyper-parameters: {errors:?}"))?;
    Ok(TrainingSpec { kind, hyperparameters, seed: 1, device: DeviceChoice::Cpu })
}

fn pretty(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    Ok(text)
}

fn write(directory: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let path = directory.join(name);
    std::fs::create_dir_all(directory)
        .and_then(|()| std::fs::write(&path, bytes))
        .with_context(|| format!("{} cannot be written", path.display()))
}

/// Nobody watches, nobody stops it.
struct Silent;

impl Observer for Silent {
    fn progress(&mut self, _progress: &Progress) {}

    fn checkpoint(&mut self, _make: &dyn Fn() -> Result<Checkpoint, TrainError>) -> Result<(), TrainError> {
        Ok(())
    }

    fn should_stop(&self) -> bool {
        false
    }
}
