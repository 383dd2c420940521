//! What is sent and answered about training jobs.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use crate::graph::format::Located;
use crate::http::error::Problem;
use crate::id::{DetectorId, JobId};
use crate::job::{CheckpointMark, Job, JobEvent, JobEventKind, JobFailure, JobState};
use crate::model::device::DeviceChoice;
use crate::model::{HyperparameterError, Hyperparameters, Kind};
use crate::train::{Progress, TrainingSpec};

/// What to train, on what.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"family": "aids-0", "kind": "full-mask", "hyperparameters": {"epochs": 50}, "seed": 7}))]
pub(super) struct NewTrainingJob {
    /// The name of a family that has graphs.
    pub(super) family: String,
    kind: Kind,
    /// What differs from the kind's defaults. Unknown names and values out of range are refused, each by its place.
    #[schema(value_type = Option<Object>)]
    hyperparameters: Option<Value>,
    /// The same seed trains the same weights.
    #[serde(default)]
    seed: u64,
    /// Where to train; the service's own setting, if left out. `auto` takes CUDA where the service has it, else the CPU.
    device: Option<DeviceChoice>,
}

impl NewTrainingJob {
    /// The request with what it leaves to the service said aloud.
    pub(super) fn with_default(self, device: DeviceChoice) -> Self {
        Self { device: self.device.or(Some(device)), ..self }
    }

    /// The spec, every hyper-parameter filled in. It may ask a driver for its devices, so it belongs on a thread that may
    /// block.
    ///
    /// # Errors
    /// 422 naming every hyper-parameter that can't be used, and a device that isn't there.
    pub(super) fn spec(&self) -> Result<TrainingSpec, Problem> {
        let mut errors = Vec::new();
        let device = self.device.unwrap_or_default();
        if let Err(error) = device.check() {
            errors.push(Located { pointer: "/device".to_owned(), detail: error.to_string() });
        }
        match Hyperparameters::from_json(self.kind, self.hyperparameters.as_ref()) {
            Ok(hyperparameters) if errors.is_empty() => {
                Ok(TrainingSpec { kind: self.kind, hyperparameters, seed: self.seed, device })
            }
            Ok(_) => Err(Problem::invalid(errors)),
            Err(refused) => {
                errors.extend(refused.into_iter().map(locate));
                Err(Problem::invalid(errors))
            }
        }
    }

    /// What an idempotency key is bound to: the request as understood, whatever its spelling.
    pub(super) fn sha256(&self) -> Result<String, serde_json::Error> {
        Ok(hex::encode(Sha256::digest(serde_json::to_vec(self)?)))
    }
}

fn locate(HyperparameterError { name, detail }: HyperparameterError) -> Located {
    let pointer = if name.is_empty() {
        "/hyperparameters".to_owned()
    } else {
        format!("/hyperparameters/{}", name.replace('~', "~0").replace('/', "~1"))
    };
    Located { pointer, detail }
}

/// A training job.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TrainingJob {
    #[schema(value_type = uuid::Uuid)]
    pub(super) id: JobId,
    #[schema(example = "aids-0")]
    family: String,
    kind: Kind,
    /// All of them, defaults filled in.
    #[schema(value_type = Object)]
    hyperparameters: Hyperparameters,
    seed: u64,
    device: DeviceChoice,
    state: JobStateName,
    /// Attempts begun since the job was last queued by a user, those ended by a restart left out.
    attempt: u32,
    /// The last that is known, kept when the job ends.
    progress: Option<ProgressWire>,
    /// The detector it made, once it has succeeded.
    #[schema(value_type = Option<uuid::Uuid>)]
    detector_id: Option<DetectorId>,
    /// Why it failed.
    error: Option<JobError>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    /// When the attempt that runs or ran last began.
    #[serde(with = "time::serde::rfc3339::option")]
    started_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    finished_at: Option<OffsetDateTime>,
    /// Where a next attempt would go on.
    checkpoint: Option<CheckpointWire>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = JobState)]
pub(super) enum JobStateName {
    Queued,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

/// How far a training run has come. Losses are in nats.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Progress)]
pub(super) struct ProgressWire {
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

/// Why a job failed: a problem (RFC 9457) without a status, for no request failed.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct JobError {
    #[schema(example = "urn:graphkin:problem:worker_died")]
    r#type: String,
    #[schema(example = "The training failed")]
    title: &'static str,
    detail: String,
}

/// A job's last checkpoint.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Checkpoint)]
pub(super) struct CheckpointWire {
    #[schema(example = 10)]
    epoch: u64,
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
}

/// A line of a job's history.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = JobEvent)]
pub(super) struct Event {
    /// Its number within the job, from 1.
    #[schema(example = 3)]
    pub(super) sequence: i64,
    pub(super) event: EventName,
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    /// With `started` and `interrupted`.
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    /// With `progress`.
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<ProgressWire>,
    /// With `interrupted`: why the attempt ended. It will be tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// With `succeeded`.
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
pub(super) enum EventName {
    Queued,
    Started,
    Progress,
    Interrupted,
    Succeeded,
    Failed,
    Cancelled,
}

impl EventName {
    pub(super) const fn as_str(self) -> &'static str {
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
pub(super) struct After {
    /// Only events with a greater `sequence`. The `Last-Event-ID` header goes before it.
    #[param(minimum = 0)]
    pub(super) after: Option<i64>,
}

/// A job's history, or a part of it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EventList {
    pub(super) items: Vec<Event>,
    /// Give this as `?after=` to go on; null when there are no more for now.
    #[schema(required = true)]
    pub(super) next_after: Option<i64>,
}

impl From<Job> for TrainingJob {
    fn from(job: Job) -> Self {
        let progress = job.progress.map(|progress| ProgressWire::new(progress, job.eta_seconds));
        let mut wire = Self {
            id: job.id,
            family: job.family_name,
            kind: job.spec.kind,
            hyperparameters: job.spec.hyperparameters,
            seed: job.spec.seed,
            device: job.spec.device,
            state: JobStateName::Queued,
            attempt: job.attempts,
            progress,
            detector_id: None,
            error: None,
            created_at: job.created_at,
            started_at: job.started_at,
            finished_at: None,
            checkpoint: job.checkpoint.map(|CheckpointMark { epoch, at }| CheckpointWire { epoch, at }),
        };
        wire.set_state(job.state);
        wire
    }
}

impl TrainingJob {
    fn set_state(&mut self, state: JobState) {
        match state {
            JobState::Queued => {}
            JobState::Running { .. } => self.state = JobStateName::Running,
            JobState::Succeeded { detector, finished_at } => {
                self.state = JobStateName::Succeeded;
                self.detector_id = Some(detector);
                self.finished_at = Some(finished_at);
            }
            JobState::Failed { failure, finished_at } => {
                self.state = JobStateName::Failed;
                self.error = Some(failure.into());
                self.finished_at = Some(finished_at);
            }
            JobState::Cancelled { finished_at } => {
                self.state = JobStateName::Cancelled;
                self.finished_at = Some(finished_at);
            }
        }
    }
}

impl ProgressWire {
    fn new(progress: Progress, eta_seconds: Option<f64>) -> Self {
        let Progress { phase, epoch, epochs, loss, validation_loss } = progress;
        Self { phase, epoch, epochs, loss, validation_loss, eta_seconds }
    }
}

impl From<JobFailure> for JobError {
    fn from(JobFailure { code, detail }: JobFailure) -> Self {
        Self { r#type: format!("urn:graphkin:problem:{code}"), title: "The training failed", detail }
    }
}

impl From<JobEvent> for Event {
    fn from(JobEvent { sequence, at, kind }: JobEvent) -> Self {
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
        wire.set_kind(kind);
        wire
    }
}

impl Event {
    fn set_kind(&mut self, kind: JobEventKind) {
        match kind {
            JobEventKind::Queued => self.event = EventName::Queued,
            JobEventKind::Started { attempt } => {
                self.event = EventName::Started;
                self.attempt = Some(attempt);
            }
            JobEventKind::Progress { progress, eta_seconds } => {
                self.event = EventName::Progress;
                self.progress = Some(ProgressWire::new(progress, eta_seconds));
            }
            JobEventKind::Interrupted { attempt, detail } => {
                self.event = EventName::Interrupted;
                self.attempt = Some(attempt);
                self.detail = Some(detail);
            }
            JobEventKind::Succeeded { detector_id } => {
                self.event = EventName::Succeeded;
                self.detector_id = Some(detector_id);
            }
            JobEventKind::Failed { failure } => {
                self.event = EventName::Failed;
                self.error = Some(failure.into());
            }
            JobEventKind::Cancelled => self.event = EventName::Cancelled,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;
    use crate::http::extract::from_json;

    fn request(body: &str) -> NewTrainingJob {
        from_json(body.as_bytes()).unwrap()
    }

    fn pointers(body: &Value) -> Vec<String> {
        let read = from_json::<NewTrainingJob>(body.to_string().as_bytes()).and_then(|request| request.spec());
        let problem = read.expect_err(&body.to_string());
        assert_eq!(problem.status.as_u16(), 422, "{body}");
        problem.errors.into_iter().map(|place| place.pointer).collect()
    }

    #[test]
    fn what_is_wrong_is_named_by_its_place() {
        for (body, expected) in [
            (json!({"kind": "full-mask"}), ""),
            (json!({"family": "a", "kind": "half-mask"}), "/kind"),
            (json!({"family": "a", "kind": "full-mask", "seed": -1}), "/seed"),
            (json!({"family": "a", "kind": "full-mask", "device": "tpu"}), "/device"),
            (json!({"family": "a", "kind": "full-mask", "device": "cuda:256"}), "/device"),
            (json!({"family": "a", "kind": "full-mask", "epochs": 2}), "/epochs"),
            (
                json!({"family": "a", "kind": "full-mask", "hyperparameters": {"hidden_dim": 0}}),
                "/hyperparameters/hidden_dim",
            ),
            (json!({"family": "a", "kind": "full-mask", "hyperparameters": {"a/b": 0}}), "/hyperparameters/a~1b"),
            (json!({"family": "a", "kind": "full-mask", "hyperparameters": 3}), "/hyperparameters"),
        ] {
            assert_eq!(pointers(&body), [expected], "{body}");
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_device_that_is_not_there_is_named_with_the_rest() {
        for device in ["cuda", "cuda:7"] {
            let body = json!({"family": "a", "kind": "full-mask", "device": device, "hyperparameters": {"epochs": 0}});
            assert_eq!(pointers(&body), ["/device", "/hyperparameters/epochs"]);
        }
    }

    #[test]
    fn a_job_that_names_no_device_takes_the_services_own() {
        let of = |body: &str| request(body).with_default(DeviceChoice::Cpu).spec().unwrap().device;
        assert_eq!(of(r#"{"family": "a", "kind": "full-mask"}"#), DeviceChoice::Cpu);
        assert_eq!(of(r#"{"family": "a", "kind": "full-mask", "device": "auto"}"#), DeviceChoice::Auto);
    }

    #[test]
    fn a_request_hashes_alike_however_it_is_spelt() {
        let request = |body: &str| request(body).with_default(DeviceChoice::Auto);
        let one = request(r#"{"family": "a", "kind": "full-mask", "hyperparameters": {"epochs": 2, "layers": 1}}"#);
        let same = request(
            r#"{"seed":0,"hyperparameters":{"layers":1,"epochs":2},"device":"auto","kind":"full-mask","family":"a"}"#,
        );
        let other = request(r#"{"family": "a", "kind": "full-mask", "hyperparameters": {"epochs": 3, "layers": 1}}"#);
        assert_eq!(one.sha256().unwrap(), same.sha256().unwrap());
        assert_ne!(one.sha256().unwrap(), other.sha256().unwrap());
    }

    #[test]
    fn an_event_says_what_belongs_to_it_and_no_more() {
        let event = |kind| {
            let at = datetime!(2026-01-02 03:04:05 UTC);
            serde_json::to_value(Event::from(JobEvent { sequence: 3, at, kind })).unwrap()
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
