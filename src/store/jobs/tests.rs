//! The state machine of jobs: fences, leases, crashes, and any sequence of operations against a model of it.

use std::collections::HashSet;
use std::time::Duration;

use proptest::prelude::*;
use uuid::Uuid;

use super::super::tests::{Fixture, detector, is_conflict, open, spec};
use super::super::{Idempotency, NewDetector, PageRequest, Store, StoreError};
use super::{NewJob, events};
use crate::evaluate::{
    self, Clusters, Evaluation, EvaluationSpec, NamedFamily, NormalFamily, PinnedDetector, RankingReport, Standing,
};
use crate::id::{DetectorId, FamilyId, JobId};
use crate::job::{Job, JobEvent, JobEventKind, JobFailure, JobState, Product, Progress, Task, TaskName};
use crate::model::Kind;
use crate::stats::bootstrap::{Estimate, RankingEstimates};
use crate::train;

const LONG: Duration = Duration::from_secs(3600);

fn new_job(family: FamilyId) -> NewJob {
    NewJob { family, task: Task::Training(spec()), idempotency: None }
}

fn keyed(family: FamilyId, key: &str, request: &str) -> NewJob {
    NewJob {
        idempotency: Some(Idempotency { key: key.to_owned(), request_sha256: request.to_owned() }),
        ..new_job(family)
    }
}

fn failure() -> JobFailure {
    JobFailure { code: "worker_died".into(), detail: "three times".into() }
}

fn progress(epoch: u64) -> Progress {
    let (phase, loss) = ("training".into(), Some(0.1 + 0.2));
    Progress::Training(train::Progress { phase, epoch, epochs: 1000, loss, validation_loss: None })
}

#[expect(clippy::needless_pass_by_value, reason = "a call is passed as it is made")]
fn is_fenced<T>(result: Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Fenced))
}

async fn history(store: &Store, job: JobId) -> Vec<JobEvent> {
    store.job_events(job, 0, 10_000).await.unwrap()
}

#[tokio::test]
async fn a_job_runs_its_course() {
    let fixture = Fixture::new().await;
    let (store, family) = (&fixture.store, fixture.family("f").await.id);
    let queued = store.enqueue_job(new_job(family)).await.unwrap();
    assert_eq!((queued.state.clone(), queued.attempts, &queued.task), (JobState::Queued, 0, &Task::Training(spec())));
    assert_eq!((queued.family_name.as_str(), store.count_queued_jobs().await.unwrap()), ("f", 1));

    let claimed = store.claim_job(LONG).await.unwrap().unwrap();
    let (id, attempt) = (claimed.job.id, claimed.attempt);
    assert_eq!((id, attempt, claimed.job.attempts), (queued.id, 1, 1));
    assert!(matches!(claimed.job.state, JobState::Running { attempt: 1, .. }));
    assert_eq!(store.claim_job(LONG).await.unwrap(), None);

    store.heartbeat_job(id, attempt, LONG, None).await.unwrap();
    store.heartbeat_job(id, attempt, LONG, Some((&progress(3), Some(1.5)))).await.unwrap();
    store.note_checkpoint(id, attempt, 3).await.unwrap();
    let running = store.find_job(id).await.unwrap();
    assert_eq!((running.progress, running.eta_seconds), (Some(progress(3)), Some(1.5)));
    assert_eq!(running.checkpoint.map(|mark| mark.epoch), Some(3));
    assert_eq!(store.jobs_with_checkpoints().await.unwrap(), [id]);

    let made = detector(family, Kind::FullMask);
    store.finish_job(id, attempt, made.clone()).await.unwrap();
    let job = store.find_job(id).await.unwrap();
    assert!(
        matches!(job.state, JobState::Succeeded { product: Product::Detector(detector), .. } if detector == made.id)
    );
    assert_eq!((job.progress, job.eta_seconds), (Some(progress(3)), None), "what was known stays");
    assert_eq!(store.find_detector(made.id).await.unwrap().job, Some(id));
    assert_eq!(store.active_detectors(family).await.unwrap()[0].id, made.id);
    assert!(store.jobs_with_checkpoints().await.unwrap().is_empty());

    let events = history(store, id).await;
    assert_eq!(events.iter().map(|event| event.sequence).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(
        events.iter().map(|event| event.kind.clone()).collect::<Vec<_>>(),
        [
            JobEventKind::Queued,
            JobEventKind::Started { attempt: 1 },
            JobEventKind::Progress { progress: progress(3), eta_seconds: Some(1.5) },
            JobEventKind::Succeeded { detector_id: Some(made.id) },
        ]
    );
    assert_eq!(store.job_events(id, 2, 1).await.unwrap(), events[2..3]);
    assert!(store.job_events(id, 4, 10).await.unwrap().is_empty());
    let unknown = JobId::new(Uuid::now_v7());
    assert!(matches!(store.job_events(unknown, 0, 10).await, Err(StoreError::NotFound { .. })));

    // The job's success is history: deleting the detector does not rewrite it.
    store.drop_lost_detector(made.id).await.unwrap();
    assert!(matches!(store.find_job(id).await.unwrap().state, JobState::Succeeded { .. }));
}

fn evaluation(family: FamilyId) -> NewJob {
    let anomalous = vec![NamedFamily { id: FamilyId::new(99), name: "others".into() }];
    let detectors = vec![PinnedDetector { id: DetectorId::new(Uuid::now_v7()), kind: Kind::Gran }];
    let task = Task::Evaluation(EvaluationSpec { anomalous, detectors, seed: u64::MAX });
    NewJob { family, task, idempotency: None }
}

fn report() -> Evaluation {
    let one = Estimate { value: 0.1 + 0.2, low: 0.25, high: 1.0 };
    let estimates = RankingEstimates { auroc: one, average_precision: one, fpr_at_95_tpr: one };
    let clusters = Clusters {
        accuracy: 0.5,
        accuracy_by_family: vec![0.5],
        surprise_accuracy_by_family: vec![0.5],
        majority: 0.5,
        points: Vec::new(),
        explained: [0.75, 0.25],
    };
    let ranking = RankingReport { estimates, auroc_by_family: vec![0.3], roc: vec![(0.0, 0.0), (1.0, 1.0)] };
    let (alarms, nonconformity, warnings) = (Vec::new(), Vec::new(), vec!["a warning".into()]);
    Evaluation {
        seed: u64::MAX,
        normal: NormalFamily { family: "f".into(), train: 1, calibration: 2, test: 3 },
        anomalous: Vec::new(),
        ceiling: None,
        combined: Standing { ranking, alarms, nonconformity, clusters, warnings },
        detectors: Vec::new(),
        floors: Vec::new(),
    }
}

#[tokio::test]
async fn a_family_that_an_evaluation_compares_with_stays_until_it_has() {
    let fixture = Fixture::new().await;
    let (store, family, others) = (&fixture.store, fixture.family("f").await.id, fixture.family("others").await.id);
    let compared = |id| {
        let mut job = evaluation(family);
        let Task::Evaluation(spec) = &mut job.task else { unreachable!() };
        spec.anomalous.push(NamedFamily { id, name: "others".into() });
        job
    };
    let queued = store.enqueue_job(compared(others)).await.unwrap();
    let refused = |result| matches!(result, Err(StoreError::Conflict { .. }));
    assert!(refused(store.delete_family("others").await), "it waits");
    let claimed = store.claim_job(Duration::from_secs(60)).await.unwrap().unwrap();
    assert!(refused(store.delete_family("others").await), "it runs");
    store.finish_evaluation(queued.id, claimed.attempt, &report()).await.unwrap();
    store.delete_family("others").await.unwrap();
}

#[tokio::test]
async fn an_evaluation_is_a_job_like_any_other() {
    let fixture = Fixture::new().await;
    let (store, family) = (&fixture.store, fixture.family("f").await.id);
    let training = store.enqueue_job(new_job(family)).await.unwrap();
    let queued = store.enqueue_job(evaluation(family)).await.unwrap();
    assert_eq!(queued.task, store.find_job(queued.id).await.unwrap().task);
    let page = PageRequest { limit: 5, after: None };
    let listed = async |task| store.list_jobs(task, &page).await.unwrap().items;
    assert_eq!(listed(TaskName::Training).await, std::slice::from_ref(&training));
    assert_eq!(listed(TaskName::Evaluation).await, std::slice::from_ref(&queued));
    assert_eq!(store.claim_job(LONG).await.unwrap().unwrap().job.id, training.id, "one queue for both");
    let claimed = store.claim_job(LONG).await.unwrap().unwrap();
    assert_eq!((claimed.job.id, claimed.job.task), (queued.id, queued.task));

    let id = queued.id;
    let told = Progress::Evaluation(evaluate::Progress { phase: "scoring".into(), done: 3, total: 9 });
    store.heartbeat_job(id, claimed.attempt, LONG, Some((&told, None))).await.unwrap();
    assert_eq!(store.find_job(id).await.unwrap().progress, Some(told));
    assert!(matches!(store.evaluation_report(id).await, Err(StoreError::NotFound { .. })));
    assert!(is_conflict(store.delete_evaluation(id).await), "it runs");
    assert!(is_fenced(store.finish_evaluation(id, claimed.attempt + 1, &report()).await));
    store.finish_evaluation(id, claimed.attempt, &report()).await.unwrap();
    assert!(is_fenced(store.finish_evaluation(id, claimed.attempt, &report()).await), "once");
    let done = store.find_job(id).await.unwrap();
    assert!(matches!(done.state, JobState::Succeeded { product: Product::Evaluation, .. }), "{done:?}");
    assert_eq!(store.evaluation_report(id).await.unwrap(), report(), "to the bit");
    let last = history(store, id).await.pop().unwrap();
    assert_eq!(last.kind, JobEventKind::Succeeded { detector_id: None });

    assert!(matches!(store.delete_evaluation(training.id).await, Err(StoreError::NotFound { .. })), "of another task");
    store.delete_evaluation(id).await.unwrap();
    assert!(matches!(store.find_job(id).await, Err(StoreError::NotFound { .. })));
    assert!(matches!(store.evaluation_report(id).await, Err(StoreError::NotFound { .. })));
}

#[tokio::test]
async fn an_old_attempt_commits_nothing() {
    let fixture = Fixture::new().await;
    let (store, family) = (&fixture.store, fixture.family("f").await.id);
    let id = store.enqueue_job(new_job(family)).await.unwrap().id;
    let every_commit_is_fenced = async |attempt| {
        let before = (store.find_job(id).await.unwrap(), history(store, id).await);
        assert!(is_fenced(store.heartbeat_job(id, attempt, LONG, Some((&progress(9), None))).await));
        assert!(is_fenced(store.note_checkpoint(id, attempt, 9).await));
        assert!(is_fenced(store.finish_job(id, attempt, detector(family, Kind::FullMask)).await));
        assert!(is_fenced(store.fail_job(id, attempt, &failure()).await));
        assert!(is_fenced(store.release_job(id, attempt, "x", Duration::ZERO, true).await));
        assert_eq!((store.find_job(id).await.unwrap(), history(store, id).await), before);
        assert!(store.detector_ids().await.unwrap().is_empty());
    };
    every_commit_is_fenced(0).await;
    every_commit_is_fenced(1).await;

    // A lease that has run out: the next claim takes the job over.
    let first = store.claim_job(Duration::ZERO).await.unwrap().unwrap().attempt;
    let second = store.claim_job(LONG).await.unwrap().unwrap().attempt;
    assert_eq!((first, second), (1, 2));
    every_commit_is_fenced(first).await;

    // Cancelled and retried: the attempts count anew, their numbers go on.
    store.cancel_job(id).await.unwrap();
    every_commit_is_fenced(second).await;
    store.retry_job(id).await.unwrap();
    every_commit_is_fenced(second).await;
    let third = store.claim_job(LONG).await.unwrap().unwrap();
    assert_eq!((third.attempt, third.job.attempts), (3, 1));
    every_commit_is_fenced(first).await;
    every_commit_is_fenced(second).await;
    store.finish_job(id, third.attempt, detector(family, Kind::FullMask)).await.unwrap();
}

#[tokio::test]
async fn nothing_of_a_failed_finish_stays() {
    let fixture = Fixture::new().await;
    let (store, family) = (&fixture.store, fixture.family("f").await.id);
    let other = fixture.family("other").await.id;
    let id = store.enqueue_job(new_job(family)).await.unwrap().id;
    let attempt = store.claim_job(LONG).await.unwrap().unwrap().attempt;
    let before = store.find_job(id).await.unwrap();
    // A detector of another family, and one that tells a statistic twice: the tables refuse both.
    let foreign = detector(other, Kind::FullMask);
    let mut twice = detector(family, Kind::FullMask);
    let repeated = twice.artifact.manifest.distributions[0].clone();
    twice.artifact.manifest.distributions.push(repeated);
    for refused in [foreign, twice] {
        assert!(matches!(store.finish_job(id, attempt, refused).await, Err(StoreError::Database(_))));
        assert_eq!(store.find_job(id).await.unwrap(), before);
        assert!(store.detector_ids().await.unwrap().is_empty());
        assert_eq!(history(store, id).await.len(), 2);
    }
}

#[tokio::test]
async fn a_released_job_waits_its_delay_and_keeps_its_place() {
    let fixture = Fixture::new().await;
    let (store, family) = (&fixture.store, fixture.family("f").await.id);
    let first = store.enqueue_job(new_job(family)).await.unwrap().id;
    let second = store.enqueue_job(new_job(family)).await.unwrap().id;
    let attempt = store.claim_job(LONG).await.unwrap().unwrap().attempt;
    store.release_job(first, attempt, "its worker died", LONG, true).await.unwrap();
    assert_eq!(store.find_job(first).await.unwrap().attempts, 1);
    let claimed = store.claim_job(LONG).await.unwrap().unwrap();
    assert_eq!(claimed.job.id, second);
    assert_eq!(store.claim_job(LONG).await.unwrap(), None, "the other's delay has not passed");
    store.release_job(second, claimed.attempt, "shutdown", Duration::ZERO, false).await.unwrap();
    assert_eq!(store.find_job(second).await.unwrap().attempts, 0, "forgiven");

    // Without a delay it is ahead of those that came later.
    let third = store.enqueue_job(new_job(family)).await.unwrap().id;
    assert_eq!(store.claim_job(LONG).await.unwrap().unwrap().job.id, second);
    // A retry goes to the end.
    store.cancel_job(second).await.unwrap();
    store.retry_job(second).await.unwrap();
    assert_eq!(store.claim_job(LONG).await.unwrap().unwrap().job.id, third);
    assert_eq!(store.claim_job(LONG).await.unwrap().unwrap().job.id, second);
}

#[tokio::test]
async fn cancelling_and_retrying_know_their_states() {
    let fixture = Fixture::new().await;
    let (store, family) = (&fixture.store, fixture.family("f").await.id);
    let id = store.enqueue_job(new_job(family)).await.unwrap().id;
    assert!(is_conflict(store.retry_job(id).await), "it is queued");
    let cancelled = store.cancel_job(id).await.unwrap();
    assert_eq!(store.cancel_job(id).await.unwrap(), cancelled, "once more changes nothing");
    assert_eq!(store.claim_job(LONG).await.unwrap(), None);
    store.retry_job(id).await.unwrap();
    let attempt = store.claim_job(LONG).await.unwrap().unwrap().attempt;
    assert!(is_conflict(store.retry_job(id).await), "it runs");
    store.fail_job(id, attempt, &failure()).await.unwrap();
    let failed = store.find_job(id).await.unwrap();
    assert!(matches!(&failed.state, JobState::Failed { failure: why, .. } if *why == failure()));
    assert!(is_conflict(store.cancel_job(id).await), "it failed");
    assert_eq!(store.find_job(id).await.unwrap(), failed);
    store.retry_job(id).await.unwrap();
    let unknown = JobId::new(Uuid::now_v7());
    for result in [store.cancel_job(unknown).await, store.retry_job(unknown).await, store.find_job(unknown).await] {
        assert!(matches!(result, Err(StoreError::NotFound { .. })));
    }
}

#[tokio::test]
async fn an_idempotency_key_makes_one_job() {
    let fixture = Fixture::new().await;
    let (store, family) = (&fixture.store, fixture.family("f").await.id);
    let posts = (0..8).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.enqueue_job(keyed(family, "key", "hash")).await.unwrap().id })
    });
    let ids: HashSet<_> = futures::future::join_all(posts).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(ids.len(), 1);
    assert!(is_conflict(store.enqueue_job(keyed(family, "key", "another")).await));
    assert!(!ids.contains(&store.enqueue_job(keyed(family, "another", "hash")).await.unwrap().id));
    assert_eq!(store.count_queued_jobs().await.unwrap(), 2);
    let gone = store.enqueue_job(new_job(FamilyId::new(999))).await;
    assert!(matches!(gone, Err(StoreError::NotFound { .. })));
}

#[tokio::test]
async fn a_long_job_keeps_its_newest_progress_only() {
    let fixture = Fixture::new().await;
    let (store, family) = (&fixture.store, fixture.family("f").await.id);
    let id = store.enqueue_job(new_job(family)).await.unwrap().id;
    let attempt = store.claim_job(LONG).await.unwrap().unwrap().attempt;
    let kept = events::PROGRESS_EVENTS_KEPT;
    let mut transaction = store.write().await.unwrap();
    for epoch in 0..(kept as u64 + 30) {
        let event = JobEventKind::Progress { progress: progress(epoch), eta_seconds: None };
        events::append(&mut transaction, id, 0, &event).await.unwrap();
    }
    transaction.commit().await.unwrap();
    store.heartbeat_job(id, attempt, LONG, Some((&progress(1), None))).await.unwrap();
    let events = history(store, id).await;
    assert_eq!(events.len() as i64, kept + 2, "what is not progress stays");
    assert_eq!(events[0].kind, JobEventKind::Queued);
    assert_eq!(events[2].sequence, 3 + 31);
    assert_eq!(events.last().unwrap().sequence, 2 + kept + 31, "numbers go on");
}

#[tokio::test]
async fn a_crash_loses_no_job_and_counts_the_attempt() {
    let mut fixture = Fixture::new().await;
    let family = fixture.family("f").await.id;
    let running = fixture.store.enqueue_job(new_job(family)).await.unwrap().id;
    let waiting = fixture.store.enqueue_job(new_job(family)).await.unwrap().id;
    for attempts in 1..=3 {
        let claimed = fixture.store.claim_job(LONG).await.unwrap().unwrap();
        assert_eq!((claimed.job.id, claimed.job.attempts), (running, attempts), "it keeps its place");
        fixture.store.note_checkpoint(running, claimed.attempt, 7).await.unwrap();
        fixture = fixture.crash().await;
        assert_eq!(fixture.store.recover_jobs().await.unwrap(), 1);
        assert_eq!(fixture.store.recover_jobs().await.unwrap(), 0);
    }
    let job = fixture.store.find_job(running).await.unwrap();
    assert_eq!((job.state, job.attempts, job.checkpoint.unwrap().epoch), (JobState::Queued, 3, 7));
    assert!(matches!(
        history(&fixture.store, running).await.last().unwrap().kind,
        JobEventKind::Interrupted { attempt: 3, .. }
    ));
    assert_eq!(fixture.store.find_job(waiting).await.unwrap().state, JobState::Queued);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_claim_and_nobody_gets_the_same() {
    const JOBS: usize = 60;
    let fixture = Fixture::new().await;
    let family = fixture.family("f").await.id;
    let mut queued = HashSet::new();
    for _ in 0..JOBS {
        queued.insert(fixture.store.enqueue_job(new_job(family)).await.unwrap().id);
    }
    // Two stores on one file, as two processes would have them.
    let stores = [fixture.store.clone(), open(fixture.path()).await];
    let claimers = (0..8).map(|claimer| {
        let store = stores[claimer % 2].clone();
        tokio::spawn(async move {
            let mut claimed = Vec::new();
            while let Some(job) = store.claim_job(LONG).await.unwrap() {
                store.heartbeat_job(job.job.id, job.attempt, LONG, Some((&progress(1), None))).await.unwrap();
                store.finish_job(job.job.id, job.attempt, detector(family, Kind::FullMask)).await.unwrap();
                claimed.push(job.job.id);
            }
            claimed
        })
    });
    let claimed: Vec<_> = futures::future::join_all(claimers).await.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(claimed.len(), JOBS, "none twice, none lost");
    assert_eq!(claimed.into_iter().collect::<HashSet<_>>(), queued);
    assert_eq!(fixture.store.detector_ids().await.unwrap().len(), JOBS);

    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = fixture.store.list_jobs(TaskName::Training, &PageRequest { limit: 7, after }).await.unwrap();
        listed.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert!(listed.is_sorted_by(|newer, older| newer.created_at >= older.created_at));
    assert_eq!(listed.into_iter().map(|job| job.id).collect::<HashSet<_>>(), queued);
}

/// Something done to the queue; jobs by number, `stale` by an attempt that is over.
#[derive(Debug, Clone)]
enum Operation {
    Enqueue,
    Claim,
    Heartbeat { job: prop::sample::Index, stale: bool },
    Finish { job: prop::sample::Index, stale: bool },
    Fail { job: prop::sample::Index, stale: bool },
    Release { job: prop::sample::Index, stale: bool, counts: bool },
    Cancel { job: prop::sample::Index },
    Retry { job: prop::sample::Index },
    Restart,
}

fn operation() -> impl Strategy<Value = Operation> {
    let job = any::<prop::sample::Index>;
    let stale = || prop::bool::weighted(0.2);
    prop_oneof![
        3 => Just(Operation::Enqueue),
        6 => Just(Operation::Claim),
        2 => (job(), stale()).prop_map(|(job, stale)| Operation::Heartbeat { job, stale }),
        2 => (job(), stale()).prop_map(|(job, stale)| Operation::Finish { job, stale }),
        2 => (job(), stale()).prop_map(|(job, stale)| Operation::Fail { job, stale }),
        2 => (job(), stale(), any::<bool>()).prop_map(|(job, stale, counts)| Operation::Release { job, stale, counts }),
        2 => job().prop_map(|job| Operation::Cancel { job }),
        3 => job().prop_map(|job| Operation::Retry { job }),
        1 => Just(Operation::Restart),
    ]
}

/// A job as the model has it: the same machine, in memory.
#[derive(Debug, Clone)]
struct ModelJob {
    id: JobId,
    state: &'static str,
    attempt: u32,
    counted: u32,
    place: u64,
    events: usize,
}

#[derive(Debug, Default)]
struct Model {
    jobs: Vec<ModelJob>,
    places: u64,
}

impl Model {
    fn next_place(&mut self) -> u64 {
        self.places += 1;
        self.places
    }

    fn running(&mut self, job: usize, attempt: u32) -> Option<&mut ModelJob> {
        self.jobs.get_mut(job).filter(|job| job.state == "running" && job.attempt == attempt)
    }

    /// Applies `operation` to both; they must agree on whether it is allowed.
    async fn apply(&mut self, operation: &Operation, fixture: Fixture, family: FamilyId) -> Fixture {
        let store = &fixture.store;
        let pick = |index: &prop::sample::Index| (!self.jobs.is_empty()).then(|| index.index(self.jobs.len()));
        let attempt_of = |job: usize, stale: bool| self.jobs[job].attempt.saturating_sub(u32::from(stale));
        match operation {
            Operation::Enqueue => {
                let id = store.enqueue_job(new_job(family)).await.unwrap().id;
                let place = self.next_place();
                self.jobs.push(ModelJob { id, state: "queued", attempt: 0, counted: 0, place, events: 1 });
            }
            Operation::Claim => {
                let claimed = store.claim_job(LONG).await.unwrap();
                let next = self.jobs.iter_mut().filter(|job| job.state == "queued").min_by_key(|job| job.place);
                assert_eq!(claimed.as_ref().map(|claimed| claimed.job.id), next.as_ref().map(|job| job.id));
                if let (Some(claimed), Some(job)) = (claimed, next) {
                    (job.state, job.attempt, job.counted) = ("running", job.attempt + 1, job.counted + 1);
                    job.events += 1;
                    assert_eq!(claimed.attempt, job.attempt);
                }
            }
            Operation::Heartbeat { job, stale } => {
                let Some(job) = pick(job) else { return fixture };
                let attempt = attempt_of(job, *stale);
                let result = store.heartbeat_job(self.jobs[job].id, attempt, LONG, Some((&progress(1), None))).await;
                self.expect(job, attempt, &result, |job| job.events += 1);
            }
            Operation::Finish { job, stale } => {
                let Some(job) = pick(job) else { return fixture };
                let attempt = attempt_of(job, *stale);
                let made: NewDetector = detector(family, Kind::FullMask);
                let result = store.finish_job(self.jobs[job].id, attempt, made).await;
                self.expect(job, attempt, &result, |job| (job.state, job.events) = ("succeeded", job.events + 1));
            }
            Operation::Fail { job, stale } => {
                let Some(job) = pick(job) else { return fixture };
                let attempt = attempt_of(job, *stale);
                let result = store.fail_job(self.jobs[job].id, attempt, &failure()).await;
                self.expect(job, attempt, &result, |job| (job.state, job.events) = ("failed", job.events + 1));
            }
            Operation::Release { job, stale, counts } => {
                let Some(job) = pick(job) else { return fixture };
                let attempt = attempt_of(job, *stale);
                let result = store.release_job(self.jobs[job].id, attempt, "", Duration::ZERO, *counts).await;
                self.expect(job, attempt, &result, |job| {
                    (job.state, job.events) = ("queued", job.events + 1);
                    job.counted -= u32::from(!counts);
                });
            }
            Operation::Cancel { job } => {
                let Some(job) = pick(job) else { return fixture };
                let result = store.cancel_job(self.jobs[job].id).await;
                let job = &mut self.jobs[job];
                assert_eq!(result.is_ok(), ["queued", "running", "cancelled"].contains(&job.state));
                if ["queued", "running"].contains(&job.state) {
                    (job.state, job.events) = ("cancelled", job.events + 1);
                }
            }
            Operation::Retry { job } => {
                let Some(job) = pick(job) else { return fixture };
                let result = store.retry_job(self.jobs[job].id).await;
                let place = self.next_place();
                let job = &mut self.jobs[job];
                assert_eq!(result.is_ok(), ["failed", "cancelled"].contains(&job.state));
                if result.is_ok() {
                    (job.state, job.counted, job.place, job.events) = ("queued", 0, place, job.events + 1);
                }
            }
            Operation::Restart => {
                let fixture = fixture.crash().await;
                let recovered = fixture.store.recover_jobs().await.unwrap();
                let running = self.jobs.iter_mut().filter(|job| job.state == "running");
                let expected = running.map(|job| (job.state, job.events) = ("queued", job.events + 1)).count();
                assert_eq!(recovered, expected as u64);
                return fixture;
            }
        }
        fixture
    }

    fn expect(
        &mut self,
        job: usize,
        attempt: u32,
        result: &Result<(), StoreError>,
        change: impl FnOnce(&mut ModelJob),
    ) {
        match self.running(job, attempt) {
            Some(job) => {
                assert!(result.is_ok(), "{result:?}");
                change(job);
            }
            None => assert!(matches!(result, Err(StoreError::Fenced)), "{result:?}"),
        }
    }

    async fn check(&self, store: &Store) {
        let listed: Vec<Job> =
            store.list_jobs(TaskName::Training, &PageRequest { limit: 200, after: None }).await.unwrap().items;
        assert_eq!(listed.len(), self.jobs.len());
        for (job, model) in listed.iter().rev().zip(&self.jobs) {
            assert_eq!((job.id, job.state.as_str(), job.attempts), (model.id, model.state, model.counted));
            if let JobState::Running { attempt, .. } = job.state {
                assert_eq!(attempt, model.attempt);
            }
            let events = history(store, job.id).await;
            assert_eq!(events.len(), model.events);
            assert!(events.iter().zip(1..).all(|(event, sequence)| event.sequence == sequence));
            let last = events.iter().rev().find(|event| !matches!(event.kind, JobEventKind::Progress { .. })).unwrap();
            let told = match last.kind {
                JobEventKind::Queued | JobEventKind::Interrupted { .. } => "queued",
                JobEventKind::Started { .. } | JobEventKind::Progress { .. } => "running",
                JobEventKind::Succeeded { .. } => "succeeded",
                JobEventKind::Failed { .. } => "failed",
                JobEventKind::Cancelled => "cancelled",
            };
            assert_eq!(told, model.state, "the last event tells the state");
        }
        let succeeded = self.jobs.iter().filter(|job| job.state == "succeeded").count();
        assert_eq!(store.detector_ids().await.unwrap().len(), succeeded, "a detector a success");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_operations_agrees_with_the_model(operations in prop::collection::vec(operation(), 1..40)) {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(async {
            let mut fixture = Fixture::new().await;
            let family = fixture.family("f").await.id;
            let mut model = Model::default();
            for operation in &operations {
                fixture = model.apply(operation, fixture, family).await;
                model.check(&fixture.store).await;
            }
        });
    }
}
