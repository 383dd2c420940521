//! A detector: a trained model with its reference distributions, which turn statistics into a verdict.

mod encoding;
mod member;
mod verdict;

use serde::{Deserialize, Serialize};

pub use encoding::{DecodeError, FORMAT};
pub(crate) use encoding::{metadata, serialise};
pub use member::{FoldScore, Member};
pub use verdict::{Verdict, verdict};

use crate::graph::Graph;
use crate::graph::split::Split;
use crate::id::GraphId;
use crate::model::{Hyperparameters, Kind, Observation};
use crate::stats::conformal;
use crate::stats::histogram::Histogram;
use crate::stats::summary::Summary;

/// Which deviations count as anomalous.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tail {
    #[default]
    TwoSided,
    /// Only what is less likely than the family: the study's reading.
    Upper,
}

/// How to score: what the answer depends on besides the graph and the detector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScoreOptions {
    pub tail: Tail,
    /// Completions sampled by the masked kinds; the detector's own number when `None`.
    pub samples: Option<usize>,
    pub seed: u64,
    pub explain: bool,
}

impl Default for ScoreOptions {
    fn default() -> Self {
        Self { tail: Tail::TwoSided, samples: None, seed: 0, explain: false }
    }
}

/// The seed of every reference distribution, and the default of a request.
pub const REFERENCE_SEED: u64 = 0;

/// Edges that an explanation looks at, at most.
pub const EXPLAINED_EDGES: usize = 2_000;

/// What one detector says of one graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    pub kind: Kind,
    /// Continuous; higher is more anomalous.
    pub nonconformity: f64,
    pub p_value: f64,
    pub p_size: f64,
    pub p_structure: f64,
    /// The model's statistics, averaged over the members, as [`Manifest::statistics`] names them.
    pub statistics: Vec<f64>,
    pub completion: Completion,
    pub explanation: Option<Explanation>,
    pub warnings: Vec<String>,
    /// The nonconformities under each calibration fold, for combining detectors.
    pub folds: Vec<FoldScore>,
}

/// Completion scores (probabilities) of a graph's own edges.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// One for each sample.
    pub values: Vec<f64>,
    /// `None` for a graph without edges.
    pub mean: Option<f64>,
    /// 10 bins of [0, 1].
    pub histogram: Histogram,
}

/// A graph's edges, the least likely first.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    pub edges: Vec<ExplainedEdge>,
    /// Whether every edge was looked at, or only the first [`EXPLAINED_EDGES`].
    pub complete: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExplainedEdge {
    pub edge: (u32, u32),
    pub completion: f64,
}

/// What is stored of a statistic's distribution over a split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    pub split: Split,
    /// `nonconformity`, `p_value`, `completion`, `completion_mean`, and the model's own statistics by name.
    pub statistic: String,
    pub summary: Summary,
    pub histogram_10: Histogram,
    pub histogram_50: Histogram,
}

/// One epoch of the training curve. Losses are in nats.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    pub fold: usize,
    pub epoch: u64,
    pub loss: f64,
    pub validation_loss: f64,
}

/// What a detector says of itself, in `manifest.json` and over HTTP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of the on-disk format.
    pub format: u32,
    pub kind: Kind,
    pub hyperparameters: Hyperparameters,
    pub seed: u64,
    /// Graphs it was trained, calibrated and tested on.
    pub graphs: SplitSizes,
    pub calibration_size: usize,
    /// 1 for split-conformal calibration, more for cross-conformal folds.
    pub folds: usize,
    /// Trained numbers, over all folds.
    pub parameters: usize,
    /// The names of the model's statistics.
    pub statistics: Vec<String>,
    pub training_curve: Vec<CurvePoint>,
    pub distributions: Vec<Distribution>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitSizes {
    pub train: usize,
    pub calibration: usize,
    pub test: usize,
}

/// A calibration graph's nonconformities, under the member that did not train on it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CalibrationScore {
    pub graph: GraphId,
    pub fold: usize,
    pub score: FoldScore,
}

/// A trained, calibrated detector. It can't exist without either: `train::fit` and [`Detector::decode`] make one.
///
/// With one member it is split-conformal: the calibration graphs trained nothing. With K members it is cross-conformal
/// (Vovk 2015): each calibrates on the fold that it did not train on, so a small family gives up no graph for good.
#[derive(Debug, Clone)]
pub struct Detector {
    manifest: Manifest,
    members: Vec<Member>,
    /// In the order of (fold, graph).
    calibration: Vec<CalibrationScore>,
}

impl Detector {
    /// A detector of trained members; `calibration[i].fold` names the member that judged it.
    pub(crate) fn new(manifest: Manifest, members: Vec<Member>, mut calibration: Vec<CalibrationScore>) -> Self {
        calibration.sort_by_key(|score| (score.fold, score.graph));
        Self { manifest, members, calibration }
    }

    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub(crate) fn manifest_mut(&mut self) -> &mut Manifest {
        &mut self.manifest
    }

    #[must_use]
    pub fn kind(&self) -> Kind {
        self.manifest.kind
    }

    #[must_use]
    pub fn calibration(&self) -> &[CalibrationScore] {
        &self.calibration
    }

    /// Scores one graph. It depends on the graph, the detector and the options alone: never on a batch, a clock or a
    /// thread. The same input gives the same bits on CPU.
    #[must_use]
    pub fn score(&self, graph: &Graph, options: &ScoreOptions) -> Score {
        let samples = options.samples.unwrap_or_else(|| self.samples());
        let observations: Vec<Observation> =
            self.members.iter().map(|member| member.model().observe(graph, samples, options.seed)).collect();
        let folds: Vec<FoldScore> = self
            .members
            .iter()
            .zip(&observations)
            .map(|(member, observation)| member.judge(graph, observation))
            .collect();
        let of = |part: fn(&FoldScore) -> f64| self.p_value(&folds, part);
        let chosen = FoldScore::chosen(options.tail);
        Score {
            kind: self.kind(),
            nonconformity: folds.iter().map(chosen).sum::<f64>() / folds.len() as f64,
            p_value: of(chosen),
            p_size: of(|score| score.size),
            p_structure: of(|score| score.structure),
            statistics: statistics(&observations),
            completion: completion(&observations),
            explanation: options.explain.then(|| self.explain(graph)),
            warnings: self.warnings(graph, options),
            folds,
        }
    }

    /// The conformal p-value of a graph's nonconformities: each calibration score is compared under its own fold.
    fn p_value(&self, folds: &[FoldScore], part: fn(&FoldScore) -> f64) -> f64 {
        let extreme = self
            .calibration
            .iter()
            .filter(|calibrated| folds.get(calibrated.fold).is_some_and(|score| part(&calibrated.score) >= part(score)))
            .count();
        conformal::p_from_count(extreme, self.calibration.len())
    }

    /// Completions sampled of a graph unless the request says otherwise, the number calibrated with.
    #[must_use]
    pub fn samples(&self) -> usize {
        match &self.manifest.hyperparameters {
            Hyperparameters::Masked(masked) => masked.samples,
        }
    }

    /// The completion of each edge, averaged over the members; nothing is sampled.
    fn explain(&self, graph: &Graph) -> Explanation {
        let edges: Vec<(u32, u32)> = graph.edges().take(EXPLAINED_EDGES).collect();
        let mut totals = vec![0.0; edges.len()];
        for member in &self.members {
            for (total, completion) in totals.iter_mut().zip(member.model().edge_completions(graph, &edges)) {
                *total += completion / self.members.len() as f64;
            }
        }
        let mut edges: Vec<ExplainedEdge> =
            edges.into_iter().zip(totals).map(|(edge, completion)| ExplainedEdge { edge, completion }).collect();
        edges.sort_by(|a, b| a.completion.total_cmp(&b.completion).then(a.edge.cmp(&b.edge)));
        Explanation { edges, complete: graph.edge_count() <= EXPLAINED_EDGES }
    }

    fn warnings(&self, graph: &Graph, options: &ScoreOptions) -> Vec<String> {
        let mut warnings = Vec::new();
        let wants_labels = self.members.iter().any(|member| !member.model().vocabulary().node_labels.is_empty());
        match (wants_labels, graph.labels()) {
            (true, None) => warnings.push("the family has node labels and this graph has none".to_owned()),
            (true, Some(labels)) => {
                let known = |label: &i64| {
                    self.members
                        .iter()
                        .any(|member| member.model().vocabulary().node_labels.binary_search(label).is_ok())
                };
                let unknown = labels.iter().filter(|label| !known(label)).count();
                if unknown > 0 {
                    warnings.push(format!("{unknown} nodes have a label that no training graph has"));
                }
            }
            (false, _) => {}
        }
        if graph.edge_count() == 0 {
            warnings.push("the graph has no edges: it is judged by its size alone".to_owned());
        }
        if let Some(samples) = options.samples.filter(|&samples| samples != self.samples()) {
            warnings.push(format!(
                "scored with {samples} samples but calibrated with {}: the p-value is approximate",
                self.samples()
            ));
        }
        if options.explain && graph.edge_count() > EXPLAINED_EDGES {
            warnings.push(format!("the explanation looks at the first {EXPLAINED_EDGES} edges"));
        }
        warnings
    }
}

/// The statistics of a graph, averaged over the members.
fn statistics(observations: &[Observation]) -> Vec<f64> {
    let mut averages = vec![0.0; observations.first().map_or(0, |observation| observation.statistics.len())];
    for observation in observations {
        for (average, value) in averages.iter_mut().zip(&observation.statistics) {
            *average += value / observations.len() as f64;
        }
    }
    averages
}

/// The completion scores of a graph, averaged over the members sample by sample.
fn completion(observations: &[Observation]) -> Completion {
    let members = observations.len().max(1);
    let pooled: Vec<f64> = if members == 1 {
        observations.first().map(|observation| observation.completions.clone()).unwrap_or_default()
    } else {
        // Every member was asked of the same samples: average what they say of each.
        let count = observations.iter().map(|observation| observation.completions.len()).min().unwrap_or(0);
        (0..count)
            .map(|i| observations.iter().map(|observation| observation.completions[i]).sum::<f64>() / members as f64)
            .collect()
    };
    Completion {
        mean: (!pooled.is_empty()).then(|| pooled.iter().sum::<f64>() / pooled.len() as f64),
        histogram: Histogram::of(&pooled, 0.0, 1.0, 10),
        values: pooled,
    }
}

/// Estimated multiply-adds of scoring a graph of `nodes` and `edges`.
///
/// The one estimate for limits, batching and admission. It assumes the default network, for the detector itself may not
/// be loaded yet.
#[must_use]
pub fn cost(kind: Kind, nodes: usize, edges: usize, options: &ScoreOptions) -> u64 {
    const HIDDEN: u64 = 32;
    const LAYERS: u64 = 3;
    let (nodes, edges) = (nodes as u64, edges as u64);
    let samples =
        options.samples.unwrap_or(100) as u64 + if options.explain { edges.min(EXPLAINED_EDGES as u64) } else { 0 };
    let whole_pass = LAYERS * (2 * nodes * HIDDEN * HIDDEN + 2 * edges * HIDDEN);
    // A search for the path around the edge, two judgements, and for full-mask what the edge changes nearby.
    let degree = 1 + 2 * edges / nodes.max(1);
    let nearby = (2 + 2 * degree + degree * degree).min(nodes);
    let per_sample = 2 * (nodes + edges)
        + 6 * HIDDEN * HIDDEN
        + match kind {
            Kind::FullMask => LAYERS * nearby * (2 * HIDDEN * HIDDEN + degree * HIDDEN),
            Kind::FullEdgePrediction => 0,
        };
    whole_pass.saturating_add(samples.saturating_mul(per_sample))
}
