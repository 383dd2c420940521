//! What an evaluation says: types only. It is stored as it stands here.

use serde::{Deserialize, Serialize};

use super::floor::Floor;
use crate::id::DetectorId;
use crate::model::Kind;
use crate::stats::bootstrap::RankingEstimates;
use crate::stats::histogram::Histogram;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    pub seed: u64,
    pub normal: NormalFamily,
    pub anomalous: Vec<AnomalousFamily>,
    /// The largest AUROC that a score can have which gives isomorphic graphs the same; `None` where no normal test graph is
    /// isomorphic to an anomalous one.
    pub ceiling: Option<f64>,
    /// The verdict over all detectors.
    pub combined: Standing,
    pub detectors: Vec<DetectorStanding>,
    pub floors: Vec<FloorStanding>,
}

/// The normal family and how many graphs each split has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NormalFamily {
    pub family: String,
    pub train: usize,
    pub calibration: usize,
    pub test: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnomalousFamily {
    pub family: String,
    pub graphs: usize,
    /// Those isomorphic to a graph that the detectors were trained or calibrated on: no score can tell them from it.
    pub known_isomorphs: usize,
}

/// Which graphs: of the normal family's splits, or of the anomalous family of this place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sample {
    Train,
    Test,
    Anomalous(usize),
}

impl Sample {
    #[must_use]
    pub const fn is_anomalous(self) -> bool {
        matches!(self, Self::Anomalous(_))
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DetectorStanding {
    pub kind: Kind,
    pub detector: DetectorId,
    pub standing: Standing,
    /// Of the surprise at what the model itself sees, given the size: without size, structure and colours, which all
    /// detectors of a family share.
    pub model: RankingReport,
    pub findings: Findings,
}

/// How well one score, one-sided-high, tells the normal test graphs from the anomalous ones, and its verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    pub ranking: RankingReport,
    /// At 1, 5 and 10 %.
    pub alarms: Vec<AlarmRate>,
    /// Of the nonconformity, over common bins.
    pub nonconformity: Vec<SampleDistribution>,
    pub clusters: Clusters,
    /// What the verdict warned of.
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FloorStanding {
    pub floor: Floor,
    pub ranking: RankingReport,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RankingReport {
    /// Against all anomalous graphs together.
    pub estimates: RankingEstimates,
    /// The AUROC against each anomalous family, in their order.
    pub auroc_by_family: Vec<f64>,
    /// (False-positive rate, true-positive rate), ascending; thinned to some hundred points.
    pub roc: Vec<(f64, f64)>,
}

/// How often the verdict calls graphs anomalous at a level.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlarmRate {
    pub alpha: f64,
    /// Whether any p-value can be as small as `alpha`.
    pub reachable: bool,
    pub calibration_size: usize,
    /// Of `tested` normal graphs.
    pub false_positives: usize,
    pub tested: usize,
    /// The central 95 % of the false positives expected, by the Beta-Binomial law of split-conformal p-values (Bates et al.
    /// 2023). Exact for a detector of one fold whose graphs are independent, a guide for one of several, and none where many
    /// test graphs are isomorphic. `None` where the p-values follow no such law.
    pub band: Option<(usize, usize)>,
    /// Of `anomalous` graphs.
    pub caught: usize,
    pub anomalous: usize,
}

/// How the values of one sample are distributed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampleDistribution {
    pub sample: Sample,
    pub count: usize,
    pub mean: f64,
    pub histogram: Histogram,
}

/// What a detector found, by sample and over common bins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Findings {
    /// The negative log-likelihood a node, in nats; a value a graph.
    Nll(Vec<SampleDistribution>),
    /// Completion scores in [0, 1]; a value a sampled edge, and a non-edge.
    Completion { edges: Vec<SampleDistribution>, non_edges: Vec<SampleDistribution> },
}

/// Whether the classes fall apart by themselves: Ward's two clusters, of the score vectors as the study has it, and of what the
/// verdict is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Clusters {
    /// The share of points whose cluster is their class, under the better matching.
    pub accuracy: f64,
    /// The same for clusters of the test graphs and those of each anomalous family alone, in their order: two clusters of
    /// more than two families can't be their classes. Empty in evaluations made before it was told.
    #[serde(default)]
    pub accuracy_by_family: Vec<f64>,
    /// The same for clusters of what the verdict is made of, each detector's surprises at size, structure and its model (as
    /// ln(1 + nats)), in place of score vectors. Empty in evaluations made before it was told.
    #[serde(default)]
    pub surprise_accuracy_by_family: Vec<f64>,
    /// What calling all points the larger class would reach.
    pub majority: f64,
    /// The test and the anomalous graphs; of more than some thousand, evenly spaced ones.
    pub points: Vec<Point>,
    /// The share of variance along x and y.
    pub explained: [f64; 2],
}

/// A graph's score vector along its first two principal components.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    pub sample: Sample,
    pub cluster: usize,
    pub x: f64,
    pub y: f64,
}
