//! An evaluation's result, as it is answered.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::evaluate::{self, Findings, Sample, SampleDistribution};
use crate::graph::split::Split;
use crate::id::DetectorId;
use crate::model::Kind;
use crate::stats::bootstrap;

/// What an evaluation found. Normal graphs are those of the test split, anomalous ones all of the other families.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EvaluationResult)]
pub(super) struct Report {
    normal: NormalFamily,
    anomalous: Vec<AnomalousFamily>,
    /// The largest AUROC that a score can have which gives isomorphic graphs the same; null where no normal test graph is
    /// isomorphic to an anomalous one.
    #[schema(required = true, example = 0.84)]
    auroc_ceiling: Option<f64>,
    /// The verdict over all of the detectors.
    combined: Standing,
    detectors: Vec<DetectorStanding>,
    /// What needs no learning: a distance from the normal family's train split, higher on both sides of it.
    floors: Vec<FloorStanding>,
}

/// The normal family and its graphs by split.
#[derive(Debug, Serialize, ToSchema)]
struct NormalFamily {
    #[schema(example = "aids-0")]
    family: String,
    train: usize,
    calibration: usize,
    test: usize,
}

#[derive(Debug, Serialize, ToSchema)]
struct AnomalousFamily {
    #[schema(example = "aids-1")]
    family: String,
    graphs: usize,
    /// Those isomorphic to a graph that the detectors were trained or calibrated on: no score can tell them from it.
    known_isomorphs: usize,
}

/// A figure with the central 95 % of 1000 bootstrap samples: normal and anomalous graphs are resampled, each for themselves and by
/// whole classes of isomorphic graphs. Evaluations made before that have intervals of graphs resampled one by one.
#[derive(Debug, Serialize, ToSchema)]
struct Estimate {
    #[schema(example = 0.991)]
    value: f64,
    #[schema(example = 0.984)]
    low: f64,
    #[schema(example = 0.997)]
    high: f64,
}

/// How well a score ranks anomalous graphs above normal ones.
#[derive(Debug, Serialize, ToSchema)]
struct Ranking {
    auroc: Estimate,
    average_precision: Estimate,
    /// The false-positive rate where 95 % of the anomalous graphs are caught.
    fpr_at_95_tpr: Estimate,
    /// The AUROC against each anomalous family.
    #[schema(example = json!({"aids-1": 0.991}))]
    auroc_by_family: BTreeMap<String, f64>,
    /// (False-positive rate, true-positive rate) from (0, 0) to (1, 1), thinned to some hundred points.
    #[schema(example = json!([[0.0, 0.0], [0.0, 0.9], [1.0, 1.0]]))]
    roc: Vec<(f64, f64)>,
}

/// How well the detectors tell the classes apart.
#[derive(Debug, Serialize, ToSchema)]
struct Standing {
    #[serde(flatten)]
    ranking: Ranking,
    /// How often the verdict calls graphs anomalous, at 1, 5 and 10 %.
    alarms: Vec<AlarmRate>,
    /// Of the nonconformity, over common bins.
    nonconformity: Vec<SampleWire>,
    clusters: Clusters,
    /// What the verdict warned of; of all detectors together also what speaks against trusting these figures.
    warnings: Vec<String>,
}

/// The same of one detector, with what it found.
#[derive(Debug, Serialize, ToSchema)]
struct DetectorStanding {
    kind: Kind,
    #[schema(value_type = uuid::Uuid)]
    detector_id: DetectorId,
    #[serde(flatten)]
    standing: Standing,
    /// Of the surprise at what the model itself sees, given the size: without size and structure as they can be counted,
    /// which all detectors look at beside it.
    model: Ranking,
    /// Of the likelihood kinds: the negative log-likelihood a node, in nats; a value a graph.
    #[serde(skip_serializing_if = "Option::is_none")]
    nll_per_node: Option<Vec<SampleWire>>,
    /// Of the masked kinds: completion scores of edges and of non-edges.
    #[serde(skip_serializing_if = "Option::is_none")]
    completion: Option<Completion>,
}

/// Completion scores in [0, 1]; a value a sampled edge or non-edge.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EvaluatedCompletion)]
struct Completion {
    edges: Vec<SampleWire>,
    non_edges: Vec<SampleWire>,
}

#[derive(Debug, Serialize, ToSchema)]
struct FloorStanding {
    /// `node-count`, `edge-count`, `erdos-renyi`, `structure-5nn` or `wl-5nn`.
    #[schema(example = "node-count")]
    floor: &'static str,
    #[serde(flatten)]
    ranking: Ranking,
}

/// How often the verdict calls graphs anomalous at a level.
#[derive(Debug, Serialize, ToSchema)]
struct AlarmRate {
    #[schema(example = 0.05)]
    alpha: f64,
    /// Whether any p-value can be as small.
    reachable: bool,
    calibration_size: usize,
    /// Of the normal test graphs.
    #[schema(example = 0.0375)]
    false_positive_rate: f64,
    false_positives: usize,
    tested: usize,
    /// The central 95 % of the false positives expected (Beta-Binomial, Bates et al. 2023), least and most; null where the
    /// detectors share no calibration graphs. With cross-conformal folds it is a guide, not a law, and where many test graphs
    /// are isomorphic, of which `warnings` tells, it is neither.
    #[schema(required = true, value_type = Option<Vec<usize>>, example = json!([0, 9]))]
    band: Option<(usize, usize)>,
    /// Of the anomalous graphs.
    #[schema(example = 0.99)]
    true_positive_rate: f64,
}

/// How the values of one sample are distributed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EvaluatedSample)]
struct SampleWire {
    #[schema(example = "aids-0")]
    family: String,
    /// Of the normal family.
    #[serde(skip_serializing_if = "Option::is_none")]
    split: Option<Split>,
    count: usize,
    mean: f64,
    /// One more than `counts`, ascending; the same for all samples.
    bin_edges: Vec<f64>,
    counts: Vec<u64>,
}

/// Two clusters of the graphs' score vectors (agglomerative, Ward), and the vectors along their principal components.
///
/// A vector is the histogram of completion scores, as in the study, or the statistics of a likelihood kind.
#[derive(Debug, Serialize, ToSchema)]
struct Clusters {
    /// The share of points whose cluster is their class, under the better matching.
    #[schema(example = 0.97)]
    accuracy: f64,
    /// The same where the test graphs and those of one anomalous family alone are clustered: two clusters of more than two
    /// families can't be their classes. Empty in evaluations made before it was told.
    #[schema(example = json!({"aids-1": 0.97}))]
    accuracy_by_family: BTreeMap<String, f64>,
    /// The same for clusters of what the verdict is made of, each detector's surprises at size, structure and its model (as
    /// ln(1 + nats)), in place of score vectors. Empty in evaluations made before it was told.
    #[schema(example = json!({"aids-1": 0.99}))]
    surprise_accuracy_by_family: BTreeMap<String, f64>,
    /// What calling all points the larger class reaches.
    #[schema(example = 0.83)]
    majority_rate: f64,
    /// The share of variance along x and y.
    explained_variance: [f64; 2],
    /// At most 2000 of each class, evenly spaced.
    points: Vec<ClusteredPoint>,
}

#[derive(Debug, Serialize, ToSchema)]
struct ClusteredPoint {
    #[schema(example = "aids-1")]
    family: String,
    /// 0 or 1; the first point's is 0.
    cluster: usize,
    x: f64,
    y: f64,
}

/// Who is who: a sample by its names.
struct Names {
    normal: String,
    anomalous: Vec<String>,
}

impl Names {
    fn family(&self, sample: Sample) -> String {
        match sample {
            Sample::Train | Sample::Test => self.normal.clone(),
            Sample::Anomalous(index) => self.anomalous.get(index).cloned().unwrap_or_default(),
        }
    }

    fn samples(&self, distributions: Vec<SampleDistribution>) -> Vec<SampleWire> {
        let wire = |SampleDistribution { sample, count, mean, histogram }| SampleWire {
            family: self.family(sample),
            split: match sample {
                Sample::Train => Some(Split::Train),
                Sample::Test => Some(Split::Test),
                Sample::Anomalous(_) => None,
            },
            count,
            mean,
            bin_edges: histogram.bin_edges,
            counts: histogram.counts,
        };
        distributions.into_iter().map(wire).collect()
    }

    /// Figures of the anomalous families, in their order, by name.
    fn by_family(&self, figures: Vec<f64>) -> BTreeMap<String, f64> {
        self.anomalous.iter().cloned().zip(figures).collect()
    }

    fn ranking(&self, report: evaluate::RankingReport) -> Ranking {
        let bootstrap::RankingEstimates { auroc, average_precision, fpr_at_95_tpr } = report.estimates;
        Ranking {
            auroc: auroc.into(),
            average_precision: average_precision.into(),
            fpr_at_95_tpr: fpr_at_95_tpr.into(),
            auroc_by_family: self.by_family(report.auroc_by_family),
            roc: report.roc,
        }
    }

    fn standing(&self, standing: evaluate::Standing) -> Standing {
        let evaluate::Standing { ranking, alarms, nonconformity, clusters, warnings } = standing;
        let point =
            |evaluate::Point { sample, cluster, x, y }| ClusteredPoint { family: self.family(sample), cluster, x, y };
        Standing {
            ranking: self.ranking(ranking),
            alarms: alarms.into_iter().map(AlarmRate::from).collect(),
            nonconformity: self.samples(nonconformity),
            clusters: Clusters {
                accuracy: clusters.accuracy,
                accuracy_by_family: self.by_family(clusters.accuracy_by_family),
                surprise_accuracy_by_family: self.by_family(clusters.surprise_accuracy_by_family),
                majority_rate: clusters.majority,
                explained_variance: clusters.explained,
                points: clusters.points.into_iter().map(point).collect(),
            },
            warnings,
        }
    }

    fn detector(&self, of: evaluate::DetectorStanding) -> DetectorStanding {
        let (nll_per_node, completion) = match of.findings {
            Findings::Nll(nll) => (Some(self.samples(nll)), None),
            Findings::Completion { edges, non_edges } => {
                (None, Some(Completion { edges: self.samples(edges), non_edges: self.samples(non_edges) }))
            }
        };
        let (standing, model) = (self.standing(of.standing), self.ranking(of.model));
        DetectorStanding { kind: of.kind, detector_id: of.detector, standing, model, nll_per_node, completion }
    }
}

impl From<evaluate::Evaluation> for Report {
    fn from(report: evaluate::Evaluation) -> Self {
        let evaluate::Evaluation { seed: _, normal, anomalous, ceiling, combined, detectors, floors } = report;
        let names = Names {
            normal: normal.family.clone(),
            anomalous: anomalous.iter().map(|other| other.family.clone()).collect(),
        };
        let evaluate::NormalFamily { family, train, calibration, test } = normal;
        let other = |evaluate::AnomalousFamily { family, graphs, known_isomorphs }| AnomalousFamily {
            family,
            graphs,
            known_isomorphs,
        };
        let floor = |of: evaluate::FloorStanding| FloorStanding {
            floor: of.floor.as_str(),
            ranking: names.ranking(of.ranking),
        };
        Self {
            normal: NormalFamily { family, train, calibration, test },
            anomalous: anomalous.into_iter().map(other).collect(),
            auroc_ceiling: ceiling,
            combined: names.standing(combined),
            detectors: detectors.into_iter().map(|detector| names.detector(detector)).collect(),
            floors: floors.into_iter().map(floor).collect(),
        }
    }
}

impl From<bootstrap::Estimate> for Estimate {
    fn from(bootstrap::Estimate { value, low, high }: bootstrap::Estimate) -> Self {
        Self { value, low, high }
    }
}

impl From<evaluate::AlarmRate> for AlarmRate {
    fn from(rate: evaluate::AlarmRate) -> Self {
        Self {
            alpha: rate.alpha,
            reachable: rate.reachable,
            calibration_size: rate.calibration_size,
            false_positive_rate: rate.false_positives as f64 / rate.tested as f64,
            false_positives: rate.false_positives,
            tested: rate.tested,
            band: rate.band,
            true_positive_rate: rate.caught as f64 / rate.anomalous as f64,
        }
    }
}
