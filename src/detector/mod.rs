//! A detector: a trained model with its reference distributions, which turn statistics into a verdict.

mod colours;
mod drift;
mod encoding;
mod evidence;
mod explanation;
mod member;
mod placed;
mod portrait;
mod verdict;

use serde::{Deserialize, Serialize};

pub use drift::{Arrival, Conclusion, Drift, FEWEST_ARRIVALS, Reference};
pub use encoding::{DecodeError, FORMAT};
pub(crate) use encoding::{metadata, serialise};
pub use evidence::{Completion, Findings, Nll};
pub use explanation::{EXPLAINED_EDGES, ExplainedEdge, Explanation, Unlikely};
pub use member::{FoldScore, Member};
pub use placed::PlacedDetector;
pub use portrait::Portrait;
pub use verdict::{Verdict, verdict};

use crate::graph::Graph;
use crate::graph::split::Split;
use crate::id::GraphId;
use crate::model::{Cost, Hyperparameters, Kind, Mode, Model, Observation};
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
    /// Orderings drawn by the likelihood kinds; the detector's own number when `None`.
    pub orderings: Option<usize>,
    pub seed: u64,
    pub explain: bool,
}

impl Default for ScoreOptions {
    fn default() -> Self {
        Self { tail: Tail::TwoSided, samples: None, orderings: None, seed: 0, explain: false }
    }
}

/// The seed of every reference distribution, and the default of a request.
pub const REFERENCE_SEED: u64 = 0;

/// What one detector says of one graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    pub kind: Kind,
    /// Continuous; higher is more anomalous.
    pub nonconformity: f64,
    pub p_value: f64,
    pub p_size: f64,
    pub p_structure: f64,
    pub p_model: f64,
    /// The model's statistics, averaged over the members, as [`Manifest::statistics`] names them.
    pub statistics: Vec<f64>,
    pub findings: Findings,
    pub explanation: Option<Explanation>,
    pub warnings: Vec<String>,
    /// The nonconformities under each calibration fold, for combining detectors.
    pub folds: Vec<FoldScore>,
}

/// What is stored of a statistic's distribution over a split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    pub split: Split,
    /// `nonconformity`, `p_value`, `completion` and `completion_mean` of the masked kinds, and the model's own statistics by
    /// name.
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
        self.score_portrait(&Portrait::of(graph), options)
    }

    fn score_portrait(&self, portrait: &Portrait<'_>, options: &ScoreOptions) -> Score {
        let (graph, draws) = (portrait.graph(), self.draws(options));
        if options.explain {
            let (observations, explanation) = self.observe_and_explain(graph, draws, options.seed);
            self.judge(portrait, &observations, Some(explanation), options)
        } else {
            let observe = |member: &Member| member.model().observe(graph, draws, options.seed);
            let observations: Vec<Observation> = self.members.iter().map(observe).collect();
            self.judge(portrait, &observations, None, options)
        }
    }

    /// Scores graphs in one call, in their order. Each score is, bit for bit, what [`Self::score`] gives of the graph.
    #[must_use]
    pub fn score_batch(&self, graphs: &[&Graph], options: &ScoreOptions) -> Vec<Score> {
        let portraits: Vec<Portrait<'_>> = graphs.iter().map(|graph| Portrait::of(graph)).collect();
        self.score_portraits(&portraits.iter().collect::<Vec<_>>(), options)
    }

    /// [`Self::score_batch`] of graphs whose portraits other detectors use, too.
    #[must_use]
    pub fn score_portraits(&self, portraits: &[&Portrait<'_>], options: &ScoreOptions) -> Vec<Score> {
        // An explanation keeps every term of a graph, and so is made of one at a time.
        if options.explain {
            return portraits.iter().map(|portrait| self.score_portrait(portrait, options)).collect();
        }
        let draws = self.draws(options);
        let graphs: Vec<&Graph> = portraits.iter().map(|portrait| portrait.graph()).collect();
        let observe = |member: &Member| member.model().observe_batch(&graphs, draws, options.seed);
        self.judge_batch(portraits, self.members.iter().map(observe), options)
    }

    /// Judges graphs by what each member observed of them all.
    fn judge_batch(
        &self,
        portraits: &[&Portrait<'_>],
        members: impl Iterator<Item = Vec<Observation>>,
        options: &ScoreOptions,
    ) -> Vec<Score> {
        let mut observed: Vec<Vec<Observation>> = portraits.iter().map(|_| Vec::new()).collect();
        for of_member in members {
            observed.iter_mut().zip(of_member).for_each(|(of_graph, observation)| of_graph.push(observation));
        }
        let judge =
            |(portrait, observed): (&&Portrait<'_>, &Vec<Observation>)| self.judge(portrait, observed, None, options);
        portraits.iter().zip(&observed).map(judge).collect()
    }

    /// Judges a graph by what each member observed of it.
    fn judge(
        &self,
        portrait: &Portrait<'_>,
        observations: &[Observation],
        explanation: Option<Explanation>,
        options: &ScoreOptions,
    ) -> Score {
        let findings = Findings::average(observations.iter().map(|observation| &observation.evidence));
        let folds: Vec<FoldScore> = self
            .members
            .iter()
            .zip(observations)
            .map(|(member, observation)| member.judge(portrait, observation))
            .collect();
        let of = |part: fn(&FoldScore) -> f64| self.p_value(&folds, part);
        let chosen = FoldScore::chosen(options.tail);
        Score {
            kind: self.kind(),
            nonconformity: folds.iter().map(chosen).sum::<f64>() / folds.len() as f64,
            p_value: of(chosen),
            p_size: of(|score| score.size),
            p_structure: of(FoldScore::structure),
            p_model: of(|score| score.model),
            statistics: statistics(observations),
            warnings: self.warnings(portrait.graph(), &findings, options),
            findings,
            explanation,
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

    /// Whether these options draw of a graph what was drawn of the calibration graphs, so that its nonconformity can be
    /// compared with theirs.
    #[must_use]
    pub fn is_as_calibrated(&self, options: &ScoreOptions) -> bool {
        self.draws(options) == self.manifest.hyperparameters.draws()
    }

    /// Completions or orderings drawn of a graph.
    fn draws(&self, options: &ScoreOptions) -> usize {
        let asked = match self.manifest.hyperparameters {
            Hyperparameters::Masked(_) => options.samples,
            Hyperparameters::GraphRnn(_) | Hyperparameters::Gran(_) => options.orderings,
        };
        asked.unwrap_or_else(|| self.manifest.hyperparameters.draws())
    }

    /// Estimated multiply-adds and bytes of scoring a graph of `nodes` and `edges`: the one estimate for limits, turns and
    /// admission.
    #[must_use]
    pub fn cost(&self, nodes: usize, edges: usize, options: &ScoreOptions) -> Cost {
        let mut cost = Cost::default();
        for member in &self.members {
            let looked_at = match member.model() {
                Model::Masked(_) if options.explain => edges.min(EXPLAINED_EDGES),
                _ => 0,
            };
            cost = cost.after(member.model().cost(nodes, edges, self.draws(options) + looked_at));
            cost = cost.after(member.comparison_cost());
        }
        cost
    }

    fn observe_and_explain(&self, graph: &Graph, draws: usize, seed: u64) -> (Vec<Observation>, Explanation) {
        let edges = explanation::edges_to_explain(graph);
        let told = self.members.iter().map(|member| member.model().observe_and_explain(graph, &edges, draws, seed));
        let (observations, grounds): (Vec<_>, Vec<_>) = told.unzip();
        (observations, explanation::of_grounds(&grounds, &edges, graph))
    }

    fn warnings(&self, graph: &Graph, findings: &Findings, options: &ScoreOptions) -> Vec<String> {
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
        if !self.is_as_calibrated(options) {
            let (draws, calibrated) = (self.draws(options), self.manifest.hyperparameters.draws());
            let what = if findings.nll().is_some() { "orderings" } else { "samples" };
            warnings.push(format!(
                "scored with {draws} {what} but calibrated with {calibrated}: the p-value is approximate"
            ));
        }
        if let Some(nll) = findings.nll() {
            warnings.extend(self.likelihood_warnings(nll));
        }
        if options.explain && graph.edge_count() > EXPLAINED_EDGES {
            warnings.push(match findings {
                Findings::Completion(_) => format!("the explanation looks at the first {EXPLAINED_EDGES} edges"),
                Findings::Nll(_) => format!("the explanation names the {EXPLAINED_EDGES} least likely edges"),
            });
        }
        warnings
    }

    /// What a likelihood doesn't reach, in words.
    fn likelihood_warnings(&self, nll: &Nll) -> Vec<String> {
        let mut warnings = Vec::new();
        let proper = match &self.manifest.hyperparameters {
            Hyperparameters::GraphRnn(graph_rnn) => graph_rnn.mode == Mode::Proper,
            Hyperparameters::Gran(gran) => gran.mode == Mode::Proper,
            Hyperparameters::Masked(_) => return warnings,
        };
        let kind = self.kind();
        if nll.far_edges > 0.0 {
            let charged = if proper { "charged at the family's rate" } else { "lost, as in the original" };
            warnings.push(format!(
                "{kind}: {:.1} edges an ordering reach farther back than max_prev_node and are {charged}",
                nll.far_edges
            ));
        }
        if nll.lost_nodes > 0.0 {
            warnings.push(format!(
                "{kind}: {:.1} nodes an ordering are not modelled in mode faithful, which follows the original",
                nll.lost_nodes
            ));
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
