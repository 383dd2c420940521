//! What every job's wire has: its state, its failure, its history.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use crate::id::DetectorId;
use crate::job::{JobEvent, JobEventKind, JobFailure, JobState, Progress, TaskName};
use crate::{evaluate, train};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = JobState)]
pub(in crate::http) enum JobStateName {
    Queued,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

impl JobStateName {
    pub(in crate::http) const fn of(state: &JobState) -> Self {
        match state {
            JobState::Queued => Self::Queued,
            JobState::Running { .. } => Self::Running,
            JobState::Succeeded { .. } => Self::Succeeded,
            JobState::Failed { .. } => Self::Failed,
            JobState::Cancelled { .. } => Self::Cancelled,
        }
    }
}

/// How far a training run has come. Losses are in nats.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Progress)]
pub(in crate::http) struct TrainingProgress {
    /// `training`, `calibrating` or `distributions`.
    #[schema(example = "training")]
    phase: String,
    /// Epochs done.
    #[schema(example = 12)]
    epoch: u64,
    /// Epochs there will be at most, over all calibration folds.
    #[schema(example = 50)]
    epochs: u64,
    #[schema(example = 0.41)]
    loss: Option<f64>,
    #[schema(example = 0.44)]
    validation_loss: Option<f64>,
    /// The time that is left, estimated.
    #[schema(example = 38.5)]
    eta_seconds: Option<f64>,
}

/// How far an evaluation has come.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::http) struct EvaluationProgress {
    /// `scoring`, `floors` or `statistics`.
    #[schema(example = "scoring")]
    phase: String,
    /// Graphs scored, floors or sets of figures done.
    #[schema(example = 640)]
    done: u64,
    #[schema(example = 1680)]
    total: u64,
    /// The time that is left, estimated.
    #[schema(example = 8.5)]
    eta_seconds: Option<f64>,
}

/// How far a job has come: a training or an evaluation.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(untagged)]
pub(in crate::http) enum JobProgress {
    Training(TrainingProgress),
    Evaluation(EvaluationProgress),
}

/// Why a job failed: a problem (RFC 9457) without a status, for no request failed.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::http) struct JobError {
    #[schema(example = "urn:graphkin:problem:worker_died")]
    r#type: String,
    #[schema(example = "The training failed")]
    title: &'static str,
    detail: String,
}

/// A line of a job's history.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = JobEvent)]
pub(in crate::http) struct Event {
    /// Its number within the job, from 1.
    #[schema(example = 3)]
    pub(in crate::http) sequence: i64,
    pub(in crate::http) event: EventName,
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    /// With `started` and `interrupted`: the number of the attempt, of all that were ever begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    /// With `progress`.
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<JobProgress>,
    /// With `interrupted`: why the attempt ended. It will be tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// With `succeeded`, of a training.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<uuid::Uuid>)]
    detector_id: Option<DetectorId>,
    /// With `failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<JobError>,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = JobEventName)]
pub(in crate::http) enum EventName {
    Queued,
    Started,
    Progress,
    Interrupted,
    Succeeded,
    Failed,
    Cancelled,
}

impl EventName {
    pub(in crate::http) const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Started => "started",
            Self::Progress => "progress",
            Self::Interrupted => "interrupted",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Where to go on in a job's history.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct After {
    /// Only events with a greater `sequence`. The `Last-Event-ID` header goes before it.
    #[param(minimum = 0)]
    pub(super) after: Option<i64>,
}

/// A job's history, or a part of it.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct EventList {
    pub(in crate::http) items: Vec<Event>,
    /// Give this as `?after=` to go on; null when there are no more for now.
    #[schema(required = true)]
    pub(in crate::http) next_after: Option<i64>,
}

impl TrainingProgress {
    pub(in crate::http) fn new(progress: train::Progress, eta_seconds: Option<f64>) -> Self {
        let train::Progress { phase, epoch, epochs, loss, validation_loss } = progress;
        Self { phase, epoch, epochs, loss, validation_loss, eta_seconds }
    }
}

impl EvaluationProgress {
    pub(in crate::http) fn new(progress: evaluate::Progress, eta_seconds: Option<f64>) -> Self {
        let evaluate::Progress { phase, done, total } = progress;
        Self { phase, done, total, eta_seconds }
    }
}

impl JobProgress {
    fn new(progress: Progress, eta_seconds: Option<f64>) -> Self {
        match progress {
            Progress::Training(progress) => Self::Training(TrainingProgress::new(progress, eta_seconds)),
            Progress::Evaluation(progress) => Self::Evaluation(EvaluationProgress::new(progress, eta_seconds)),
        }
    }
}

impl JobError {
    pub(in crate::http) fn new(JobFailure { code, detail }: JobFailure, task: TaskName) -> Self {
        let title = match task {
            TaskName::Training => "The training failed",
            TaskName::Evaluation => "The evaluation failed",
        };
        Self { r#type: format!("urn:graphkin:problem:{code}"), title, detail }
    }
}

impl Event {
    /// An event of a job of this task.
    pub(super) fn new(JobEvent { sequence, at, kind }: JobEvent, task: TaskName) -> Self {
        let mut wire = Self {
            sequence,
            event: EventName::Queued,
            at,
            attempt: None,
            progress: None,
            detail: None,
            detector_id: None,
            error: None,
        };
        wire.set_kind(kind, task);
        wire
    }

    fn set_kind(&mut self, kind: JobEventKind, task: TaskName) {
        match kind {
            JobEventKind::Queued => self.event = EventName::Queued,
            JobEventKind::Started { attempt } => {
                self.event = EventName::Started;
                self.attempt = Some(attempt);
            }
            JobEventKind::Progress { progress, eta_seconds } => {
                self.event = EventName::Progress;
                self.progress = Some(JobProgress::new(progress, eta_seconds));
            }
            JobEventKind::Interrupted { attempt, detail } => {
                self.event = EventName::Interrupted;
                self.attempt = Some(attempt);
                self.detail = Some(detail);
            }
            JobEventKind::Succeeded { detector_id } => {
                self.event = EventName::Succeeded;
                self.detector_id = detector_id;
            }
            JobEventKind::Failed { failure } => {
                self.event = EventName::Failed;
                self.error = Some(JobError::new(failure, task));
            }
            JobEventKind::Cancelled => self.event = EventName::Cancelled,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use time::macros::datetime;

    use super::*;

    #[test]
    fn an_event_says_what_belongs_to_it_and_no_more() {
        let event = |kind| {
            let at = datetime!(2026-01-02 03:04:05 UTC);
            serde_json::to_value(Event::new(JobEvent { sequence: 3, at, kind }, TaskName::Training)).unwrap()
        };
        let base = json!({"sequence": 3, "at": "2026-01-02T03:04:05Z"});
        let with = |more: Value| {
            let mut all = base.clone();
            all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            all
        };
        assert_eq!(event(JobEventKind::Cancelled), with(json!({"event": "cancelled"})));
        assert_eq!(event(JobEventKind::Started { attempt: 2 }), with(json!({"event": "started", "attempt": 2})));
        let failure = JobFailure { code: "worker_died".to_owned(), detail: "it died".to_owned() };
        let error =
            json!({"type": "urn:graphkin:problem:worker_died", "title": "The training failed", "detail": "it died"});
        assert_eq!(event(JobEventKind::Failed { failure }), with(json!({"event": "failed", "error": error})));
    }
}
