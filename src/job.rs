//! Background jobs: their states and legal transitions, as types only.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::evaluate::{self, EvaluationSpec};
use crate::id::{DetectorId, FamilyId, JobId};
use crate::train::{self, TrainingSpec};

/// What a job does.
#[derive(Debug, Clone, PartialEq)]
pub enum Task {
    Training(TrainingSpec),
    Evaluation(EvaluationSpec),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskName {
    Training,
    Evaluation,
}

impl Task {
    #[must_use]
    pub const fn name(&self) -> TaskName {
        match self {
            Self::Training(_) => TaskName::Training,
            Self::Evaluation(_) => TaskName::Evaluation,
        }
    }
}

impl TaskName {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Evaluation => "evaluation",
        }
    }
}

/// What a succeeded job made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Product {
    Detector(DetectorId),
    /// A report under the job's own id.
    Evaluation,
}

/// How far a job has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Progress {
    Training(train::Progress),
    Evaluation(evaluate::Progress),
}

/// Why a job failed, for its `error` field: a problem without an HTTP status of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFailure {
    /// A stable word, e.g. `family_unusable`, `worker_died`, `internal`.
    pub code: String,
    /// For the user: no paths, no SQL.
    pub detail: String,
}

#[derive(Debug, Clone, PartialEq)]
pub enum JobState {
    Queued,
    /// `attempt` numbers the attempts from 1 and never comes again within the job, retries included.
    Running {
        attempt: u32,
    },
    Succeeded {
        product: Product,
        finished_at: OffsetDateTime,
    },
    Failed {
        failure: JobFailure,
        finished_at: OffsetDateTime,
    },
    Cancelled {
        finished_at: OffsetDateTime,
    },
}

impl JobState {
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running { .. } => "running",
            Self::Succeeded { .. } => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Cancelled { .. } => "cancelled",
        }
    }

    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Succeeded { .. } | Self::Failed { .. } | Self::Cancelled { .. })
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    pub id: JobId,
    /// What it trains on, or evaluates the detectors of.
    pub family: FamilyId,
    pub family_name: String,
    pub task: Task,
    pub state: JobState,
    /// Attempts that count: those begun since the job was last queued by a user, without those that a shutdown ended. The
    /// third death of a worker fails the job.
    pub attempts: u32,
    pub created_at: OffsetDateTime,
    /// When the newest attempt began, kept when the job ends.
    pub started_at: Option<OffsetDateTime>,
    /// The last progress known, kept when the job ends.
    pub progress: Option<Progress>,
    /// Of a running job.
    pub eta_seconds: Option<f64>,
    pub checkpoint: Option<CheckpointMark>,
}

/// When a job's last checkpoint was made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CheckpointMark {
    pub epoch: u64,
    pub at: OffsetDateTime,
}

/// One line of a job's history, numbered from 1 within the job.
#[derive(Debug, Clone, PartialEq)]
pub struct JobEvent {
    pub sequence: i64,
    pub at: OffsetDateTime,
    pub kind: JobEventKind,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum JobEventKind {
    Queued,
    Started {
        attempt: u32,
    },
    Progress {
        progress: Progress,
        eta_seconds: Option<f64>,
    },
    /// The attempt ended without an end of the job: it will be tried again.
    Interrupted {
        attempt: u32,
        detail: String,
    },
    Succeeded {
        /// Of a training.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detector_id: Option<DetectorId>,
    },
    Failed {
        failure: JobFailure,
    },
    Cancelled,
}
