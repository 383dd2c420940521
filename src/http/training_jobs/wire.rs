//! What is sent and answered about training jobs.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::graph::format::Located;
use crate::http::error::Problem;
use crate::http::jobs::wire::{JobError, JobStateName, TrainingProgress};
use crate::id::{DetectorId, JobId};
use crate::job::{CheckpointMark, Job, JobState, Product, Progress, Task, TaskName};
use crate::model::device::DeviceChoice;
use crate::model::{HyperparameterError, Hyperparameters, Kind};
use crate::train::TrainingSpec;

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
    /// Attempts begun since the job was last queued by a user, those that ended because the service was asked to stop left
    /// out.
    attempt: u32,
    /// The last that is known, kept when the job ends.
    progress: Option<TrainingProgress>,
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

/// A job's last checkpoint.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Checkpoint)]
pub(super) struct CheckpointWire {
    #[schema(example = 10)]
    epoch: u64,
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
}

/// A job of another task is no training job.
impl TryFrom<Job> for TrainingJob {
    type Error = Problem;

    fn try_from(job: Job) -> Result<Self, Problem> {
        let Task::Training(spec) = job.task else {
            return Err(Problem::not_found(format!("there is no training job {}", job.id)));
        };
        let progress = match job.progress {
            Some(Progress::Training(progress)) => Some(TrainingProgress::new(progress, job.eta_seconds)),
            Some(Progress::Evaluation(_)) | None => None,
        };
        let mut wire = Self {
            id: job.id,
            family: job.family_name,
            kind: spec.kind,
            hyperparameters: spec.hyperparameters,
            seed: spec.seed,
            device: spec.device,
            state: JobStateName::of(&job.state),
            attempt: job.attempts,
            progress,
            detector_id: None,
            error: None,
            created_at: job.created_at,
            started_at: job.started_at,
            finished_at: None,
            checkpoint: job.checkpoint.map(|CheckpointMark { epoch, at }| CheckpointWire { epoch, at }),
        };
        wire.set_end(job.state);
        Ok(wire)
    }
}

impl TrainingJob {
    fn set_end(&mut self, state: JobState) {
        match state {
            JobState::Queued | JobState::Running { .. } => {}
            JobState::Succeeded { product, finished_at } => {
                self.detector_id = match product {
                    Product::Detector(detector) => Some(detector),
                    Product::Evaluation => None,
                };
                self.finished_at = Some(finished_at);
            }
            JobState::Failed { failure, finished_at } => {
                self.error = Some(JobError::new(failure, TaskName::Training));
                self.finished_at = Some(finished_at);
            }
            JobState::Cancelled { finished_at } => self.finished_at = Some(finished_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::http::extract::from_json;
    use crate::http::jobs::sha256;

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
        assert_eq!(sha256(&one).unwrap(), sha256(&same).unwrap());
        assert_ne!(sha256(&one).unwrap(), sha256(&other).unwrap());
    }
}
