//! The child process of an evaluation: reads the families' graphs and the detectors, evaluates, and hands the report over.

use std::io;

use tokio::task::spawn_blocking;

use super::child::{self, AttemptConfig, StopFlag, Unfinished, Voice};
use super::protocol::ChildEvent;
use crate::artifact::{ArtifactError, Artifacts, LoadedDetector};
use crate::evaluate::{self, Comparison, EvaluateError, Evaluation, EvaluationSpec, NormalGraphs};
use crate::graph::Graph;
use crate::graph::split::Split;
use crate::id::DetectorId;
use crate::job::{Job, Progress, Task};
use crate::store::{Store, StoreError};

/// Runs one attempt at an evaluation and tells its end, whatever it is, on standard output.
///
/// # Errors
/// When standard output is gone, and with it whoever wanted to know.
pub async fn evaluate(config: AttemptConfig, artifacts: Artifacts) -> io::Result<()> {
    child::run(|asked_to_stop| attempt(config, artifacts, asked_to_stop)).await
}

async fn attempt(config: AttemptConfig, artifacts: Artifacts, asked_to_stop: StopFlag) -> Result<(), Unfinished> {
    let (store, job) = child::open(&config).await?;
    let Task::Evaluation(spec) = &job.task else {
        return Err(Unfinished::unusable("This job is no evaluation.".to_owned()));
    };
    let comparison = read(&store, &job, spec).await;
    let comparison = comparison.map_err(|error| Unfinished::internal("The graphs could not be read.", &error))?;
    store.close().await;
    // A queued evaluation keeps its families; one that was run again may have lost them before.
    if let Some((lost, _)) = comparison.anomalous.iter().find(|(_, graphs)| graphs.is_empty()) {
        return Err(Unfinished::unusable(format!("family `{lost}` has been deleted")));
    }
    let mut detectors = Vec::new();
    for pinned in &spec.detectors {
        detectors.push((pinned.id, load(&artifacts, pinned.id).await?));
    }
    let (seed, reporter) = (spec.seed, Reporter { voice: Voice::new(asked_to_stop.clone()), asked_to_stop });
    let report = match spawn_blocking(move || run(&comparison, &detectors, seed, reporter)).await {
        Ok(report) => report?,
        // The panic hook has logged what and where.
        Err(error) => return Err(Unfinished::internal("The evaluation panicked.", &error)),
    };
    let told = serde_json::to_string(&report)
        .map_err(io::Error::from)
        .and_then(|report| ChildEvent::reports(&report).try_for_each(|part| child::say(&part)));
    told.map_err(|error| Unfinished::internal("The report could not be handed over.", &error))
}

async fn read(store: &Store, job: &Job, spec: &EvaluationSpec) -> Result<Comparison, StoreError> {
    let mut normal = NormalGraphs { family: job.family_name.clone(), ..NormalGraphs::default() };
    for stored in store.load_graphs(job.family).await? {
        match stored.split {
            Split::Train => normal.train.push(stored.graph),
            Split::Calibration => normal.calibration.push(stored.graph),
            Split::Test => normal.test.push(stored.graph),
        }
    }
    let mut anomalous: Vec<(String, Vec<Graph>)> = Vec::new();
    for family in &spec.anomalous {
        let stored = store.load_graphs(family.id).await?;
        anomalous.push((family.name.clone(), stored.into_iter().map(|stored| stored.graph).collect()));
    }
    Ok(Comparison { normal, anomalous })
}

async fn load(artifacts: &Artifacts, id: DetectorId) -> Result<LoadedDetector, Unfinished> {
    artifacts.load_detector(id).await.map_err(|error| match error {
        ArtifactError::Missing(_) => Unfinished::unusable(format!("detector {id} has been deleted")),
        error => Unfinished::internal("A detector could not be read.", &error),
    })
}

fn run(
    comparison: &Comparison,
    detectors: &[(DetectorId, LoadedDetector)],
    seed: u64,
    mut reporter: Reporter,
) -> Result<Evaluation, Unfinished> {
    let detectors: Vec<_> = detectors.iter().map(|(id, loaded)| (*id, &loaded.detector)).collect();
    evaluate::evaluate(comparison, &detectors, seed, &mut reporter).map_err(|error| match error {
        EvaluateError::Stopped => Unfinished::Stopped,
        EvaluateError::Unusable(detail) => Unfinished::unusable(detail),
    })
}

struct Reporter {
    voice: Voice,
    asked_to_stop: StopFlag,
}

impl evaluate::Observer for Reporter {
    fn progress(&mut self, progress: &evaluate::Progress) {
        let last = progress.done == progress.total;
        self.voice.progress(Progress::Evaluation(progress.clone()), &progress.phase, last);
    }

    fn should_stop(&self) -> bool {
        self.asked_to_stop.is_raised()
    }
}
