//! What is answered about detectors.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use crate::detector::{CurvePoint, SplitSizes};
use crate::id::{DetectorId, JobId};
use crate::model::{Hyperparameters, Kind};
use crate::store::DetectorRow;

/// Which detectors to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct DetectorFilter {
    /// Only those of the family of this name.
    #[param(example = "aids-0")]
    pub(super) family: Option<String>,
}

/// A trained model of one kind for one family.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DetectorSummary {
    #[schema(value_type = uuid::Uuid)]
    id: DetectorId,
    #[schema(example = "aids-0")]
    family: String,
    kind: Kind,
    /// Whether it scores for the family.
    active: bool,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    /// The training job that made it; null for those that ship with the service.
    #[schema(required = true, value_type = Option<uuid::Uuid>)]
    job_id: Option<JobId>,
    /// Calibration graphs that its p-values count among.
    #[schema(example = 320)]
    calibration_size: usize,
    /// Trained numbers.
    #[schema(example = 12_545)]
    parameters: usize,
    /// Of all its files.
    size_bytes: u64,
}

/// A detector with all that its training left on record.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DetectorDetail {
    #[serde(flatten)]
    summary: DetectorSummary,
    /// The version of its on-disk format.
    format: u32,
    #[schema(value_type = Object)]
    hyperparameters: Hyperparameters,
    seed: u64,
    /// The family's graphs at the time of training.
    graphs: SplitGraphs,
    /// 1 for split-conformal calibration, more for cross-conformal folds.
    folds: usize,
    /// The names of the statistics that its density is over.
    statistics: Vec<String>,
    training_curve: Vec<CurveEpoch>,
    sha256: Hashes,
}

/// How many graphs it was trained, calibrated and tested on.
#[derive(Debug, Serialize, ToSchema)]
struct SplitGraphs {
    train: usize,
    calibration: usize,
    test: usize,
}

/// One epoch of the training curve. Losses are in nats.
#[derive(Debug, Serialize, ToSchema)]
struct CurveEpoch {
    fold: usize,
    epoch: u64,
    loss: f64,
    validation_loss: f64,
}

/// Hashes of its files, in hexadecimal. A detector is loaded only when they fit.
#[derive(Debug, Serialize, ToSchema)]
struct Hashes {
    weights: String,
    manifest: String,
}

impl From<&DetectorRow> for DetectorSummary {
    fn from(row: &DetectorRow) -> Self {
        Self {
            id: row.id,
            family: row.family_name.clone(),
            kind: row.kind,
            active: row.active,
            created_at: row.created_at,
            job_id: row.job,
            calibration_size: row.artifact.manifest.calibration_size,
            parameters: row.artifact.manifest.parameters,
            size_bytes: row.artifact.size_bytes,
        }
    }
}

impl From<DetectorRow> for DetectorDetail {
    fn from(row: DetectorRow) -> Self {
        let summary = DetectorSummary::from(&row);
        let manifest = row.artifact.manifest;
        let SplitSizes { train, calibration, test } = manifest.graphs;
        Self {
            summary,
            format: manifest.format,
            hyperparameters: manifest.hyperparameters,
            seed: manifest.seed,
            graphs: SplitGraphs { train, calibration, test },
            folds: manifest.folds,
            statistics: manifest.statistics,
            training_curve: manifest.training_curve.into_iter().map(CurveEpoch::from).collect(),
            sha256: Hashes { weights: row.artifact.weights_sha256, manifest: row.artifact.manifest_sha256 },
        }
    }
}

impl From<CurvePoint> for CurveEpoch {
    fn from(CurvePoint { fold, epoch, loss, validation_loss }: CurvePoint) -> Self {
        Self { fold, epoch, loss, validation_loss }
    }
}
