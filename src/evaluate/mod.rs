//! Evaluation: what a family's detectors are worth against graphs that are not of the family, beside what anybody could do.
//!
//! Graphs, detectors and a seed go in, an [`Evaluation`] comes out; progress and stopping by callback. Detectors score as
//! the service does, by `Detector::score` with default options and one verdict over all of them. `scoring` asks them,
//! `standing` says how well they rank, `clusters` whether the classes fall apart by themselves, `kinship` what isomorphism
//! alone explains, and `floor` what no learning reaches.

mod clusters;
pub mod floor;
pub mod kinship;
mod report;
mod scoring;
mod standing;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use report::{
    AlarmRate, AnomalousFamily, Clusters, DetectorStanding, Evaluation, Findings, FloorStanding, NormalFamily, Point,
    RankingReport, Sample, SampleDistribution, Standing,
};

use crate::detector::Detector;
use crate::graph::Graph;
use crate::id::{DetectorId, FamilyId};
use crate::model::Kind;

use floor::{Floor, References};
use kinship::Classes;
use scoring::Lot;

/// The largest share of the normal test graphs that isomorphic ones may be before a report warns of them.
const MOST_TWINS: f64 = 0.05;

/// What to evaluate, pinned when it was asked for: detectors trained since change nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvaluationSpec {
    /// In their order; at least one. The normal family is the job's.
    pub anomalous: Vec<NamedFamily>,
    /// Of the normal family, at least one.
    pub detectors: Vec<PinnedDetector>,
    /// Of the bootstrap.
    pub seed: u64,
}

/// A family with the name that it had when it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedFamily {
    pub id: FamilyId,
    pub name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedDetector {
    pub id: DetectorId,
    pub kind: Kind,
}

/// What is compared: the graphs of the normal family by split, and all of the others.
#[derive(Debug, Clone, Default)]
pub struct Comparison {
    pub normal: NormalGraphs,
    /// In the order of the report.
    pub anomalous: Vec<(String, Vec<Graph>)>,
}

#[derive(Debug, Clone, Default)]
pub struct NormalGraphs {
    pub family: String,
    pub train: Vec<Graph>,
    pub calibration: Vec<Graph>,
    pub test: Vec<Graph>,
}

/// How far an evaluation has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// `scoring`, counted in graphs, then `floors`, counted in floors, then `statistics`.
    pub phase: String,
    pub done: u64,
    pub total: u64,
}

/// The world as an evaluation sees it.
pub trait Observer {
    fn progress(&mut self, progress: &Progress);
    /// Asked between steps; when true, [`evaluate`] gives up with [`EvaluateError::Stopped`].
    fn should_stop(&self) -> bool;
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EvaluateError {
    #[error("the evaluation was stopped")]
    Stopped,
    /// The graphs cannot be used; the message is for the user.
    #[error("{0}")]
    Unusable(String),
}

/// Evaluates detectors of the normal family, at least one. The same input gives the same report, bit for bit on CPU.
///
/// No train graph is counted: normal graphs are those of the test split, anomalous ones all of the other families.
///
/// # Errors
/// See [`EvaluateError`]: without a train graph, a test graph or an anomalous one there is nothing to compare.
pub fn evaluate(
    comparison: &Comparison,
    detectors: &[(DetectorId, &Detector)],
    seed: u64,
    observer: &mut dyn Observer,
) -> Result<Evaluation, EvaluateError> {
    check(comparison, detectors)?;
    let lots = lots(comparison);
    let mut steps = Steps { observer };
    let heard = scoring::ask(detectors, &lots, &mut steps)?;
    let floors = floors(comparison, &lots, seed, &mut steps)?;

    let rounds = detectors.len() as u64 + 1;
    let mut standings = Vec::new();
    for (done, of) in heard.detectors.iter().chain([&heard.combined]).enumerate() {
        steps.tell("statistics", done as u64, rounds)?;
        standings.push(standing::of(of, &lots, seed));
    }
    steps.tell("statistics", rounds, rounds)?;
    let mut combined = standings.pop().ok_or_else(|| EvaluateError::Unusable("no detector was asked".to_owned()))?;
    let detectors = detectors
        .iter()
        .zip(standings)
        .zip(&heard.detectors)
        .map(|((&(id, detector), standing), heard)| DetectorStanding {
            kind: detector.kind(),
            detector: id,
            standing,
            model: standing::of_model(heard, &lots, seed),
            findings: heard.findings(&lots),
        })
        .collect();
    let classes_of = |of: fn(Sample) -> bool| -> Vec<usize> {
        lots.iter().filter(|lot| of(lot.sample)).flat_map(|lot| lot.classes.iter().copied()).collect()
    };
    let (normal, anomalous) = (classes_of(|sample| sample == Sample::Test), classes_of(Sample::is_anomalous));
    combined.warnings.extend(warning_of_twins(&normal));
    Ok(Evaluation {
        seed,
        normal: NormalFamily {
            family: comparison.normal.family.clone(),
            train: comparison.normal.train.len(),
            calibration: comparison.normal.calibration.len(),
            test: comparison.normal.test.len(),
        },
        anomalous: known_anomalies(comparison),
        ceiling: kinship::ceiling(&normal, &anomalous),
        combined,
        detectors,
        floors,
    })
}

/// Whether so many of the normal test graphs, given by their classes, are isomorphic that figures mean less.
fn warning_of_twins(normal: &[usize]) -> Option<String> {
    let (tested, largest) = (normal.len(), kinship::largest_class(normal));
    (largest > 1 && largest as f64 > MOST_TWINS * tested as f64).then(|| {
        format!(
            "{largest} of the {tested} normal test graphs are isomorphic, so they are judged alike and their false positives come \
             together: these are worth {:.0} graphs, the band, which takes all for independent, doesn't hold, and the \
             intervals, which are of whole classes, may be too narrow",
            kinship::effective_count(normal)
        )
    })
}

fn check(comparison: &Comparison, detectors: &[(DetectorId, &Detector)]) -> Result<(), EvaluateError> {
    let unusable = |what: String| Err(EvaluateError::Unusable(what));
    let NormalGraphs { family, train, test, .. } = &comparison.normal;
    if detectors.is_empty() {
        return unusable("there is no detector to evaluate".to_owned());
    }
    if train.is_empty() {
        return unusable(format!("family `{family}` has no train graphs to fit the floors on"));
    }
    if test.is_empty() {
        return unusable(format!("family `{family}` has no test graphs"));
    }
    match comparison.anomalous.iter().find(|(_, graphs)| graphs.is_empty()) {
        Some((name, _)) => unusable(format!("family `{name}` has no graphs")),
        None if comparison.anomalous.is_empty() => unusable("there is no family to compare with".to_owned()),
        None => Ok(()),
    }
}

/// Everything that is scored: the train and the test split of the normal family, then each other family.
fn lots(comparison: &Comparison) -> Vec<Lot<'_>> {
    let mut classes = Classes::default();
    let mut unseen = |sample, graphs| {
        let graphs = Vec::from_iter(graphs);
        let classes = classes.enter(&graphs);
        Lot { sample, graphs, classes }
    };
    let train = Lot { sample: Sample::Train, graphs: comparison.normal.train.iter().collect(), classes: Vec::new() };
    let mut lots = vec![train, unseen(Sample::Test, &comparison.normal.test)];
    let others = comparison.anomalous.iter().enumerate();
    lots.extend(others.map(|(index, (_, graphs))| unseen(Sample::Anomalous(index), graphs)));
    lots
}

/// The other families, with how many of their graphs the detectors have met in training or calibration.
fn known_anomalies(comparison: &Comparison) -> Vec<AnomalousFamily> {
    let mut met = Classes::default();
    met.enter(&comparison.normal.train.iter().chain(&comparison.normal.calibration).collect::<Vec<_>>());
    let family = |(family, graphs): &(String, Vec<Graph>)| AnomalousFamily {
        family: family.clone(),
        graphs: graphs.len(),
        known_isomorphs: met.find(&graphs.iter().collect::<Vec<_>>()).into_iter().flatten().count(),
    };
    comparison.anomalous.iter().map(family).collect()
}

fn floors(
    comparison: &Comparison,
    lots: &[Lot<'_>],
    seed: u64,
    steps: &mut Steps<'_>,
) -> Result<Vec<FloorStanding>, EvaluateError> {
    let mut references = References::of(&comparison.normal.train.iter().collect::<Vec<_>>());
    let unseen = lots.iter().filter(|lot| lot.sample != Sample::Train);
    let asked: Vec<_> = unseen.map(|lot| (lot, references.ask(&lot.graphs))).collect();
    let mut floors = Vec::new();
    for (done, floor) in Floor::ALL.into_iter().enumerate() {
        steps.tell("floors", done as u64, Floor::ALL.len() as u64)?;
        let scores: Vec<(&Lot<'_>, Vec<f64>)> =
            asked.iter().map(|(lot, graphs)| (*lot, floor.score(&references, graphs))).collect();
        let scores: Vec<(&Lot<'_>, &[f64])> = scores.iter().map(|(lot, scores)| (*lot, scores.as_slice())).collect();
        floors.push(FloorStanding { floor, ranking: standing::ranking(&scores, seed) });
    }
    Ok(floors)
}

/// The observer between the steps of an evaluation.
struct Steps<'a> {
    observer: &'a mut dyn Observer,
}

impl Steps<'_> {
    /// # Errors
    /// [`EvaluateError::Stopped`] when that was asked for.
    fn tell(&mut self, phase: &str, done: u64, total: u64) -> Result<(), EvaluateError> {
        if self.observer.should_stop() {
            return Err(EvaluateError::Stopped);
        }
        self.observer.progress(&Progress { phase: phase.to_owned(), done, total });
        Ok(())
    }
}
