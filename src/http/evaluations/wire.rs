//! What is sent and answered about evaluations, but for their results.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::report::Report;
use crate::evaluate;
use crate::graph::format::Located;
use crate::http::error::Problem;
use crate::http::jobs::wire::{EvaluationProgress, JobError, JobStateName};
use crate::id::{DetectorId, JobId};
use crate::job::{Job, JobState, Progress, Task, TaskName};
use crate::model::Kind;

/// Families in one evaluation.
const MAX_FAMILIES: usize = 20;

/// What to compare with what.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"normal": "aids-0", "anomalous": ["aids-1"], "kinds": ["graphrnn"]}))]
pub(super) struct NewEvaluation {
    /// The family whose detectors are evaluated.
    pub(super) normal: String,
    /// Other families, all of whose graphs count as anomalous.
    #[schema(min_items = 1, max_items = 20)]
    pub(super) anomalous: Vec<String>,
    /// The kinds of the active detectors to evaluate; all of them when absent.
    #[schema(min_items = 1)]
    pub(super) kinds: Option<Vec<Kind>>,
    /// Of the intervals. The same seed and detectors give the same result.
    #[serde(default)]
    pub(super) seed: u64,
}

impl NewEvaluation {
    /// # Errors
    /// 422 naming every place that makes no sense in itself.
    pub(super) fn check(&self) -> Result<(), Problem> {
        let mut errors = Vec::new();
        let mut refuse = |pointer: String, detail: &str| errors.push(Located { pointer, detail: detail.to_owned() });
        if !(1..=MAX_FAMILIES).contains(&self.anomalous.len()) {
            refuse("/anomalous".to_owned(), &format!("name 1 to {MAX_FAMILIES} families"));
        }
        for (index, name) in self.anomalous.iter().enumerate() {
            if *name == self.normal {
                refuse(format!("/anomalous/{index}"), "a family can't be anomalous to itself");
            } else if self.anomalous[..index].contains(name) {
                refuse(format!("/anomalous/{index}"), "it is named twice");
            }
        }
        if self.kinds.as_ref().is_some_and(Vec::is_empty) {
            refuse("/kinds".to_owned(), "name at least one kind, or leave it out for all");
        }
        if errors.is_empty() { Ok(()) } else { Err(Problem::invalid(errors)) }
    }
}

/// An evaluation.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Evaluation {
    #[schema(value_type = uuid::Uuid)]
    id: JobId,
    #[schema(example = "aids-0")]
    normal: String,
    #[schema(example = json!(["aids-1"]))]
    anomalous: Vec<String>,
    /// Those that were active when it was asked for.
    detectors: Vec<EvaluatedDetector>,
    seed: u64,
    state: JobStateName,
    /// Attempts begun since it was last queued by a user, those ended by a restart left out.
    attempt: u32,
    /// The last that is known, kept when it ends.
    #[schema(required = true)]
    progress: Option<EvaluationProgress>,
    /// Why it failed.
    #[schema(required = true)]
    error: Option<JobError>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    /// When the attempt that runs or ran last began.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required = true)]
    started_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required = true)]
    finished_at: Option<OffsetDateTime>,
}

/// A detector that an evaluation is pinned to.
#[derive(Debug, Serialize, ToSchema)]
struct EvaluatedDetector {
    kind: Kind,
    #[schema(value_type = uuid::Uuid)]
    detector_id: DetectorId,
}

/// An evaluation with its result.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EvaluationDetail {
    #[serde(flatten)]
    evaluation: Evaluation,
    /// Once it has succeeded.
    #[schema(required = true)]
    result: Option<Report>,
}

impl EvaluationDetail {
    pub(super) fn new(evaluation: Evaluation, report: Option<evaluate::Evaluation>) -> Self {
        Self { evaluation, result: report.map(Report::from) }
    }
}

/// A job of another task is no evaluation.
impl TryFrom<Job> for Evaluation {
    type Error = Problem;

    fn try_from(job: Job) -> Result<Self, Problem> {
        let Task::Evaluation(spec) = job.task else {
            return Err(Problem::not_found(format!("there is no evaluation {}", job.id)));
        };
        let progress = match job.progress {
            Some(Progress::Evaluation(progress)) => Some(EvaluationProgress::new(progress, job.eta_seconds)),
            Some(Progress::Training(_)) | None => None,
        };
        let state = JobStateName::of(&job.state);
        let (error, finished_at) = match job.state {
            JobState::Queued | JobState::Running { .. } => (None, None),
            JobState::Succeeded { finished_at, .. } | JobState::Cancelled { finished_at } => (None, Some(finished_at)),
            JobState::Failed { failure, finished_at } => {
                (Some(JobError::new(failure, TaskName::Evaluation)), Some(finished_at))
            }
        };
        Ok(Self {
            id: job.id,
            normal: job.family_name,
            anomalous: spec.anomalous.into_iter().map(|family| family.name).collect(),
            detectors: spec
                .detectors
                .into_iter()
                .map(|detector| EvaluatedDetector { kind: detector.kind, detector_id: detector.id })
                .collect(),
            seed: spec.seed,
            state,
            attempt: job.attempts,
            progress,
            error,
            created_at: job.created_at,
            started_at: job.started_at,
            finished_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::http::extract::from_json;

    fn pointers(body: &Value) -> Vec<String> {
        let read = from_json::<NewEvaluation>(body.to_string().as_bytes()).and_then(|request| request.check());
        let problem = read.expect_err(&body.to_string());
        assert_eq!(problem.status.as_u16(), 422, "{body}");
        problem.errors.into_iter().map(|place| place.pointer).collect()
    }

    #[test]
    fn what_is_wrong_is_named_by_its_place() {
        for (body, expected) in [
            (json!({"anomalous": ["b"]}), vec![""]),
            (json!({"normal": "a"}), vec![""]),
            (json!({"normal": "a", "anomalous": []}), vec!["/anomalous"]),
            (json!({"normal": "a", "anomalous": ["b", "a", "b"]}), vec!["/anomalous/1", "/anomalous/2"]),
            (json!({"normal": "a", "anomalous": ["b"], "kinds": []}), vec!["/kinds"]),
            (json!({"normal": "a", "anomalous": ["b"], "kinds": ["half-mask"]}), vec!["/kinds/0"]),
            (json!({"normal": "a", "anomalous": ["b"], "sead": 1}), vec!["/sead"]),
        ] {
            assert_eq!(pointers(&body), expected, "{body}");
        }
    }
}
