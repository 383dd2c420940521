//! The pool with shell scripts in place of training processes.

use std::path::Path;
use std::time::Instant;

use tempfile::TempDir;

use super::*;
use crate::evaluate::EvaluationSpec;
use crate::job::{Job, JobEventKind, JobState, Progress, Task};
use crate::model::device::DeviceChoice;
use crate::model::{Hyperparameters, Kind};
use crate::store::{self, NewFamily, NewJob};
use crate::train::TrainingSpec;

const LONG: Duration = Duration::from_secs(20);

struct Fixture {
    data_dir: TempDir,
    store: Store,
    pool: WorkerPool,
    config: Config,
}

impl Fixture {
    /// A pool whose children run `script`, and a family to train on.
    async fn new(script: &str) -> Self {
        Self::with(script, |_| {}).await
    }

    async fn with(script: &str, change: impl FnOnce(&mut Config)) -> Self {
        let data_dir = tempfile::tempdir().unwrap();
        std::fs::write(data_dir.path().join("child.sh"), script).unwrap();
        let store_config = store::Config { path: data_dir.path().join("test.sqlite3"), readers: 2 };
        let store = Store::open(&store_config).await.unwrap();
        let family = NewFamily { name: "ladder".to_owned(), description: None, class_label: None };
        store.create_family(&family).await.unwrap();
        let mut config = Config {
            workers: 1,
            lease: Duration::from_secs(30),
            max_attempts: 3,
            retry_delay: Duration::from_millis(10),
            checkpoint_interval: Duration::from_secs(5),
            threads: 1,
            executable: Path::new(env!("CARGO_MANIFEST_DIR")).join("src/worker/test_child.sh"),
            data_dir: data_dir.path().to_owned(),
            artifact_url: None,
        };
        change(&mut config);
        let pool = Self::start(&config, &store);
        Self { data_dir, store, pool, config }
    }

    fn start(config: &Config, store: &Store) -> WorkerPool {
        let artifacts = Artifacts::local(&config.data_dir.join("artifacts")).unwrap();
        let registry = Registry::new(artifacts.clone(), 4);
        WorkerPool::start(config.clone(), store.clone(), artifacts, registry)
    }

    async fn enqueue(&self) -> JobId {
        let family = self.store.find_family("ladder").await.unwrap().id;
        let hyperparameters = Hyperparameters::from_json(Kind::FullMask, None).unwrap();
        let spec = TrainingSpec { kind: Kind::FullMask, hyperparameters, seed: 1, device: DeviceChoice::Cpu };
        let job =
            self.store.enqueue_job(NewJob { family, task: Task::Training(spec), idempotency: None }).await.unwrap();
        self.pool.wake();
        job.id
    }

    /// The job, once it is as wanted.
    async fn until(&self, job: JobId, wanted: impl Fn(&Job) -> bool) -> Job {
        let deadline = Instant::now() + LONG;
        loop {
            let found = self.store.find_job(job).await.unwrap();
            if wanted(&found) {
                return found;
            }
            assert!(Instant::now() < deadline, "it never came true: {found:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What the children have written to `name`, once they have.
    async fn written(&self, name: &str) -> String {
        let deadline = Instant::now() + LONG;
        loop {
            match std::fs::read_to_string(self.data_dir.path().join(name)) {
                Ok(text) if text.ends_with('\n') => return text,
                _ => assert!(Instant::now() < deadline, "{name} was never written"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn is_gone(&self, pid: &str) {
        let deadline = Instant::now() + Duration::from_secs(1);
        while Path::new("/proc").join(pid.trim()).exists() {
            assert!(Instant::now() < deadline, "process {pid} still lives");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn is_final(job: &Job) -> bool {
    job.state.is_final()
}

fn is_queued(job: &Job) -> bool {
    matches!(job.state, JobState::Queued)
}

#[tokio::test]
async fn a_cancelled_job_loses_its_process_within_a_second() {
    let fixture = Fixture::new("echo $$ > \"$data_dir/pid\"; exec sleep 60").await;
    let job = fixture.enqueue().await;
    let pid = fixture.written("pid").await;
    fixture.store.cancel_job(job).await.unwrap();
    fixture.pool.cancel(job);
    fixture.is_gone(&pid).await;
    fixture.pool.stop(Duration::ZERO).await;
    let job = fixture.store.find_job(job).await.unwrap();
    assert!(matches!(job.state, JobState::Cancelled { .. }), "{job:?}");
}

#[tokio::test]
async fn a_fenced_heartbeat_ends_the_process() {
    let script = "echo $$ > \"$data_dir/pid\"; exec sleep 60";
    let fixture = Fixture::with(script, |config| config.lease = Duration::from_millis(600)).await;
    let job = fixture.enqueue().await;
    let pid = fixture.written("pid").await;
    // Nobody tells the pool.
    fixture.store.cancel_job(job).await.unwrap();
    fixture.is_gone(&pid).await;
}

#[tokio::test]
async fn the_lease_is_kept_without_progress() {
    let script = "echo $$ >> \"$data_dir/pids\"; exec sleep 60";
    let fixture = Fixture::with(script, |config| config.lease = Duration::from_millis(900)).await;
    let job = fixture.enqueue().await;
    fixture.written("pids").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let job = fixture.store.find_job(job).await.unwrap();
    assert!(matches!(job.state, JobState::Running { attempt: 1, .. }), "{job:?}");
    assert_eq!(fixture.written("pids").await.lines().count(), 1);
}

#[tokio::test]
async fn the_third_death_fails_the_job_and_says_how() {
    let fixture = Fixture::new("echo died >> \"$data_dir/deaths\"; kill -9 $$").await;
    let job = fixture.enqueue().await;
    let job = fixture.until(job, is_final).await;
    let JobState::Failed { failure, .. } = &job.state else { panic!("{job:?}") };
    assert_eq!(failure.code, "worker_died");
    assert!(failure.detail.contains("3 times") && failure.detail.contains("signal 9"), "{}", failure.detail);
    assert_eq!(fixture.written("deaths").await.lines().count(), 3);
    let events = fixture.store.job_events(job.id, 0, 100).await.unwrap();
    let interrupted = events.iter().filter(|event| matches!(event.kind, JobEventKind::Interrupted { .. })).count();
    assert_eq!(interrupted, 2);
}

#[tokio::test]
async fn a_job_that_takes_the_service_down_is_not_tried_for_ever() {
    let fixture = Fixture::with("echo x >> \"$data_dir/runs\"", |config| config.workers = 0).await;
    let job = fixture.enqueue().await;
    for _ in 0..3 {
        fixture.store.claim_job(LONG).await.unwrap().unwrap();
        // `kill -9`, and the next start.
        assert_eq!(fixture.store.recover_jobs().await.unwrap(), 1);
    }
    let _pool = Fixture::start(&Config { workers: 1, ..fixture.config.clone() }, &fixture.store);
    let job = fixture.until(job, is_final).await;
    assert!(matches!(&job.state, JobState::Failed { failure, .. } if failure.code == "worker_died"), "{job:?}");
    assert!(!fixture.data_dir.path().join("runs").exists(), "it was not run again");
}

#[tokio::test]
async fn a_binary_that_is_not_there_is_a_death_too() {
    let fixture = Fixture::with("", |config| config.executable = "/nonexistent/graphkin".into()).await;
    let job = fixture.enqueue().await;
    let job = fixture.until(job, is_final).await;
    let JobState::Failed { failure, .. } = &job.state else { panic!("{job:?}") };
    assert_eq!(failure.code, "worker_died");
    assert!(!failure.detail.contains('/'), "no path is shown: {}", failure.detail);
}

#[tokio::test]
async fn an_unusable_family_fails_at_once() {
    let script = r#"echo x >> "$data_dir/runs"
echo '{"event":"failed","code":"family_unusable","detail":"no edges","retryable":false}'"#;
    let fixture = Fixture::new(script).await;
    let job = fixture.enqueue().await;
    let job = fixture.until(job, is_final).await;
    let JobState::Failed { failure, .. } = &job.state else { panic!("{job:?}") };
    assert_eq!((failure.code.as_str(), failure.detail.as_str()), ("family_unusable", "no edges"));
    assert_eq!(fixture.written("runs").await.lines().count(), 1);
}

#[tokio::test]
async fn a_retryable_failure_is_tried_again_and_told_at_last() {
    let script = r#"echo x >> "$data_dir/runs"
echo '{"event":"failed","code":"internal","detail":"It broke.","retryable":true}'; exit 1"#;
    let fixture = Fixture::new(script).await;
    let job = fixture.enqueue().await;
    let job = fixture.until(job, is_final).await;
    let JobState::Failed { failure, .. } = &job.state else { panic!("{job:?}") };
    assert_eq!((failure.code.as_str(), failure.detail.as_str()), ("internal", "It broke."));
    assert_eq!(fixture.written("runs").await.lines().count(), 3);
}

#[tokio::test]
async fn a_detector_that_is_not_there_is_not_believed() {
    let fixture = Fixture::new(r#"echo '{"event":"finished"}'"#).await;
    let job = fixture.enqueue().await;
    let job = fixture.until(job, is_final).await;
    assert!(matches!(&job.state, JobState::Failed { failure, .. } if failure.code == "worker_died"), "{job:?}");
}

#[tokio::test]
async fn a_report_that_cannot_be_read_is_not_believed() {
    let script = r#"echo x >> "$data_dir/runs"
echo '{"event":"progress","progress":{"phase":"scoring","done":1,"total":4}}'
echo '{"event":"report","part":"{\"seed\":"}'; echo '{"event":"report","part":"1"}'; echo '{"event":"finished"}'"#;
    let fixture = Fixture::new(script).await;
    let family = fixture.store.find_family("ladder").await.unwrap().id;
    let task = Task::Evaluation(EvaluationSpec { anomalous: Vec::new(), detectors: Vec::new(), seed: 1 });
    let job = fixture.store.enqueue_job(NewJob { family, task, idempotency: None }).await.unwrap().id;
    fixture.pool.wake();
    let job = fixture.until(job, is_final).await;
    let JobState::Failed { failure, .. } = &job.state else { panic!("{job:?}") };
    assert_eq!(failure.code, "worker_died");
    assert!(failure.detail.starts_with("The evaluation died 3 times"), "{failure:?}");
    assert!(failure.detail.contains("the report that it made cannot be read"), "{failure:?}");
    assert!(matches!(&job.progress, Some(Progress::Evaluation(progress)) if progress.done == 1), "{job:?}");
    assert_eq!(fixture.written("runs").await.lines().count(), 3);
}

#[tokio::test]
async fn progress_and_checkpoints_are_kept_and_nonsense_is_not() {
    let script = r#"
echo '{"event":"progress","progress":{"phase":"training","epoch":1,"epochs":4,"loss":0.5,"validation_loss":null}}'
echo 'this is no event'
head -c 200000 /dev/zero | tr '\0' x; echo
printf '\377\376\n'
sleep 0.1
echo '{"event":"checkpoint","epoch":2}'
echo '{"event":"progress","progress":{"phase":"training","epoch":2,"epochs":4,"loss":0.4,"validation_loss":0.6}}'
exec sleep 60"#;
    let fixture = Fixture::new(script).await;
    let job = fixture.enqueue().await;
    let second = |job: &Job| matches!(&job.progress, Some(Progress::Training(training)) if training.epoch == 2);
    let job = fixture.until(job, second).await;
    let eta = job.eta_seconds.unwrap();
    assert!((0.1..60.0).contains(&eta), "two epochs of at least 0.05 s each are left: {eta}");
    assert_eq!(job.checkpoint.unwrap().epoch, 2);
    assert!(matches!(job.progress, Some(Progress::Training(training)) if training.validation_loss == Some(0.6)));
}

#[tokio::test]
async fn stopping_asks_and_forgives() {
    let script = r#"echo $$ > "$data_dir/pid"; read -r line; echo "$line" > "$data_dir/asked"
echo '{"event":"stopped"}'"#;
    let fixture = Fixture::new(script).await;
    let job = fixture.enqueue().await;
    fixture.written("pid").await;
    fixture.pool.stop(LONG).await;
    assert_eq!(fixture.written("asked").await, "stop\n");
    let job = fixture.store.find_job(job).await.unwrap();
    assert!(is_queued(&job), "{job:?}");
    assert_eq!(job.attempts, 0, "the attempt is forgiven");
    // The next pool takes it up again.
    let pool = Fixture::start(&fixture.config, &fixture.store);
    fixture.until(job.id, |job| matches!(job.state, JobState::Running { .. })).await;
    pool.stop(LONG).await;
}

#[tokio::test]
async fn a_process_that_will_not_stop_is_killed_at_the_deadline() {
    let fixture = Fixture::new("echo $$ > \"$data_dir/pid\"; exec sleep 60").await;
    let job = fixture.enqueue().await;
    let pid = fixture.written("pid").await;
    let began = Instant::now();
    fixture.pool.stop(Duration::from_millis(300)).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    fixture.is_gone(&pid).await;
    let job = fixture.store.find_job(job).await.unwrap();
    assert!(is_queued(&job) && job.attempts == 0, "{job:?}");
}

#[tokio::test]
async fn a_second_job_waits_its_turn() {
    let script = r#"echo begin >> "$data_dir/turns"; sleep 0.2; echo end >> "$data_dir/turns"
echo '{"event":"failed","code":"family_unusable","detail":"x","retryable":false}'"#;
    let fixture = Fixture::new(script).await;
    let (first, second) = (fixture.enqueue().await, fixture.enqueue().await);
    fixture.until(first, is_final).await;
    fixture.until(second, is_final).await;
    assert_eq!(fixture.written("turns").await, "begin\nend\nbegin\nend\n");
}

#[tokio::test]
async fn no_workers_run_nothing() {
    let fixture = Fixture::with("", |config| config.workers = 0).await;
    let job = fixture.enqueue().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(is_queued(&fixture.store.find_job(job).await.unwrap()));
    fixture.pool.stop(LONG).await;
}

#[tokio::test]
async fn artefacts_without_a_row_are_deleted() {
    let fixture = Fixture::new("exec sleep 60").await;
    let orphan = "0190a2f0-1111-7000-8000-000000000001";
    for (folder, file) in [("detectors", "weights.safetensors"), ("checkpoints", "checkpoint")] {
        let directory = fixture.data_dir.path().join("artifacts").join(folder).join(orphan);
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(file), b"rest").unwrap();
    }
    fixture.pool.wake();
    let artifacts = Artifacts::local(&fixture.data_dir.path().join("artifacts")).unwrap();
    let deadline = Instant::now() + LONG;
    while !artifacts.list_detectors().await.unwrap().is_empty()
        || !artifacts.list_checkpoints().await.unwrap().is_empty()
    {
        assert!(Instant::now() < deadline, "the orphans stay");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
