//! The store on real files: what it keeps, refuses, and survives.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::artifact::ArtifactSummary;
use crate::detector::{CurvePoint, Distribution, Manifest, SplitSizes};
use crate::graph::split::{Split, SplitCounts};
use crate::graph::{Graph, Limits};
use crate::id::{DetectorId, FamilyId, JobId};
use crate::job::{JobState, Product, Task, TaskName};
use crate::model::device::DeviceChoice;
use crate::model::{Hyperparameters, Kind};
use crate::stats::histogram::Histogram;
use crate::stats::summary::Summary;
use crate::train::TrainingSpec;

/// A store in a directory of its own, which goes when this does.
pub(super) struct Fixture {
    directory: tempfile::TempDir,
    pub(super) store: Store,
}

impl Fixture {
    pub(super) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path().join("store.db")).await;
        Self { directory, store }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.directory.path().join("store.db")
    }

    /// What a machine finds after `kill -9`: the files as they are now, opened by somebody else.
    pub(super) async fn crash(self) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["store.db", "store.db-wal"] {
            std::fs::copy(self.directory.path().join(name), directory.path().join(name)).unwrap();
        }
        let store = open(directory.path().join("store.db")).await;
        Self { directory, store }
    }

    pub(super) async fn family(&self, name: &str) -> FamilyRow {
        self.store.create_family(&new_family(name)).await.unwrap()
    }
}

pub(super) async fn open(path: PathBuf) -> Store {
    Store::open(&Config { path, readers: 2 }).await.unwrap()
}

fn new_family(name: &str) -> NewFamily {
    NewFamily { name: name.to_owned(), description: None, class_label: None }
}

pub(super) fn spec() -> TrainingSpec {
    TrainingSpec {
        kind: Kind::FullMask,
        hyperparameters: Hyperparameters::from_json(Kind::FullMask, None).unwrap(),
        seed: u64::MAX,
        device: DeviceChoice::Cpu,
    }
}

/// A detector of `kind` with one distribution a split, and floats that only survive to the bit.
pub(super) fn detector(family: FamilyId, kind: Kind) -> NewDetector {
    let histogram = Histogram { bin_edges: vec![0.0, 0.1 + 0.2, 1.0], counts: vec![3, 4] };
    let distribution = |split| Distribution {
        split,
        statistic: "nonconformity".to_owned(),
        summary: Summary { count: 7, mean: 1.0 / 3.0, std: 1e-300, quantiles: vec![0.1; 9] },
        histogram_10: histogram.clone(),
        histogram_50: histogram.clone(),
    };
    NewDetector {
        id: DetectorId::new(Uuid::now_v7()),
        family,
        job: None,
        artifact: ArtifactSummary {
            manifest: Manifest {
                format: 1,
                kind,
                hyperparameters: Hyperparameters::from_json(kind, None).unwrap(),
                seed: u64::MAX,
                graphs: SplitSizes { train: 68, calibration: 12, test: 20 },
                calibration_size: 12,
                folds: 1,
                parameters: 1234,
                statistics: vec!["completion_mean".to_owned()],
                training_curve: vec![CurvePoint { fold: 0, epoch: 1, loss: 0.1 + 0.2, validation_loss: 2.0 / 3.0 }],
                distributions: Split::ALL.into_iter().rev().map(distribution).collect(),
            },
            weights_sha256: "a".repeat(64),
            manifest_sha256: "b".repeat(64),
            size_bytes: 1 << 40,
        },
    }
}

fn page(limit: u32, after: Option<String>) -> PageRequest {
    PageRequest { limit, after }
}

/// A path of `nodes` nodes, each labelled by its number.
fn path_graph(nodes: u64) -> Graph {
    let edges: Vec<_> = (1..nodes).map(|node| (node - 1, node)).collect();
    Graph::new(nodes, &edges, Some((0..nodes as i64).collect()), &Limits::default()).unwrap().0
}

fn graphs(sizes: impl IntoIterator<Item = u64>) -> Vec<NewGraph> {
    sizes.into_iter().map(|nodes| NewGraph { id: None, graph: path_graph(nodes) }).collect()
}

fn named(id: &str, nodes: u64) -> NewGraph {
    NewGraph { id: Some(id.to_owned()), graph: path_graph(nodes) }
}

#[expect(clippy::needless_pass_by_value, reason = "a call is passed as it is made")]
pub(super) fn is_conflict<T>(result: Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Conflict { .. }))
}

#[expect(clippy::needless_pass_by_value, reason = "a call is passed as it is made")]
fn is_missing<T>(result: Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::NotFound { .. }))
}

#[tokio::test]
async fn a_family_has_its_name_to_itself() {
    let fixture = Fixture::new().await;
    let store = &fixture.store;
    let family = NewFamily { description: Some("a test".into()), class_label: Some(-1), ..new_family("mutag-0") };
    let made = store.create_family(&family).await.unwrap();
    assert_eq!(store.find_family("mutag-0").await.unwrap(), made, "moments too");
    assert!(is_conflict(store.create_family(&family).await));
    assert!(is_missing(store.find_family("mutag").await));
    for name in ["", "-a", "A", "a/b", "a b", "ä", &"a".repeat(64)] {
        assert!(store.create_family(&new_family(name)).await.is_err(), "{name:?}");
    }
    for name in ["0", "a-", "a.b_c-d", &"a".repeat(63)] {
        store.create_family(&new_family(name)).await.unwrap();
    }
}

#[tokio::test]
async fn graphs_come_back_as_they_were_added() {
    let fixture = Fixture::new().await;
    let (store, family) = (&fixture.store, fixture.family("paths").await);
    let added = store.add_graphs(family.id, graphs(1..=30)).await.unwrap();
    let stored = store.load_graphs(family.id).await.unwrap();
    assert_eq!(stored.len(), 30);
    for (index, (added, stored)) in added.iter().zip(&stored).enumerate() {
        assert_eq!(*added, AddedGraph::Added { id: format!("g{}", index + 1), split: stored.split });
        assert_eq!(stored.graph, path_graph(index as u64 + 1));
        assert_eq!(store.find_graph(family.id, &stored.id).await.unwrap(), *stored);
    }
    assert!(is_missing(store.find_graph(family.id, "g31").await));
    let other = fixture.family("other").await;
    assert!(is_missing(store.find_graph(other.id, "g1").await));

    let overview = store.family_overview("paths").await.unwrap();
    let SplitCounts { train, calibration, test } = overview.splits;
    assert_eq!(train + calibration + test, 30);
    assert_eq!(overview.nodes, Some(SizeStatistics { min: 1, max: 30, mean: 15.5 }));
    assert_eq!(overview.edges, Some(SizeStatistics { min: 0, max: 29, mean: 14.5 }));
    assert!(overview.labelled);
    let empty = store.family_overview("other").await.unwrap();
    assert_eq!((empty.splits, empty.nodes, empty.labelled), (SplitCounts::default(), None, false));
}

#[tokio::test]
async fn one_graph_without_labels_makes_a_family_unlabelled() {
    let fixture = Fixture::new().await;
    let (store, family) = (&fixture.store, fixture.family("mixed").await);
    let bare = Graph::new(3, &[(0, 1)], None, &Limits::default()).unwrap().0;
    let mut mixed = graphs(5..25);
    mixed.push(NewGraph { id: None, graph: bare });
    store.add_graphs(family.id, mixed).await.unwrap();
    assert!(!store.family_overview("mixed").await.unwrap().labelled);
}

#[tokio::test]
async fn a_taken_id_costs_that_graph_only() {
    let fixture = Fixture::new().await;
    let (store, family) = (&fixture.store, fixture.family("paths").await);
    store.add_graphs(family.id, vec![named("a", 2), named("g4", 3)]).await.unwrap();
    let batch = vec![
        named("a", 4),
        NewGraph { id: None, graph: path_graph(5) },
        named("g3", 6),
        named("b", 7),
        named("b", 8),
        named("", 9),
    ];
    let added = store.add_graphs(family.id, batch).await.unwrap();
    let ids: Vec<_> = added
        .iter()
        .map(|added| match added {
            AddedGraph::Added { id, .. } => Ok(id.as_str()),
            AddedGraph::IdTaken { id } => Err(id.as_str()),
        })
        .collect();
    // g3 is asked for later in the batch, g4 is there: the first free number is 5.
    assert_eq!(ids, [Err("a"), Ok("g5"), Ok("g3"), Ok("b"), Err("b"), Ok("g6")]);
    assert_eq!(store.find_graph(family.id, "a").await.unwrap().graph, path_graph(2), "the first one stays");
    assert!(is_missing(store.add_graphs(FamilyId::new(999), graphs([1])).await));
}

#[tokio::test]
async fn twins_share_a_split_across_calls_and_restarts() {
    let mut fixture = Fixture::new().await;
    let family = fixture.family("twins").await;
    let mut splits: BTreeMap<u64, Split> = BTreeMap::new();
    for round in 0..3 {
        // Each round brings every old graph again, its nodes in another order, and a few new ones.
        let sizes: Vec<u64> = (2..10 + 5 * round).collect();
        let batch = sizes
            .iter()
            .map(|&nodes| {
                let turned: Vec<u32> = (0..nodes as u32).map(|node| (node + round as u32) % nodes as u32).collect();
                NewGraph { id: None, graph: path_graph(nodes).relabelled(&turned) }
            })
            .collect();
        let added = fixture.store.add_graphs(family.id, batch).await.unwrap();
        for (nodes, added) in sizes.into_iter().zip(added) {
            let AddedGraph::Added { split, .. } = added else { panic!("{added:?}") };
            assert_eq!(*splits.entry(nodes).or_insert(split), split, "{nodes} nodes, round {round}");
        }
        fixture = fixture.crash().await;
    }
}

#[tokio::test]
async fn adding_at_once_loses_nothing_and_parts_no_twins() {
    let fixture = Fixture::new().await;
    let family = fixture.family("crowd").await.id;
    let tasks: Vec<_> = (0..6)
        .map(|_| {
            let store = fixture.store.clone();
            tokio::spawn(async move { store.add_graphs(family, graphs(1..=10)).await.unwrap() })
        })
        .collect();
    let mut splits: BTreeMap<u64, Split> = BTreeMap::new();
    for task in tasks {
        for (nodes, added) in (1..=10).zip(task.await.unwrap()) {
            let AddedGraph::Added { split, .. } = added else { panic!("{added:?}") };
            assert_eq!(*splits.entry(nodes).or_insert(split), split);
        }
    }
    assert_eq!(fixture.store.load_graphs(family).await.unwrap().len(), 60);
}

#[tokio::test]
async fn an_import_is_all_or_nothing() {
    let fixture = Fixture::new().await;
    let store = &fixture.store;
    fixture.family("taken").await;
    let import = |second: &str, graphs_of_second| {
        vec![(new_family("first"), graphs(1..=5)), (new_family(second), graphs_of_second)]
    };
    assert!(is_conflict(store.import_families(import("taken", graphs(1..3))).await));
    assert!(is_conflict(store.import_families(import("second", vec![named("a", 1), named("a", 2)])).await));
    assert!(is_missing(store.find_family("first").await));

    let rows = store.import_families(import("second", vec![named("a", 1)])).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.name.as_str()).collect::<Vec<_>>(), ["first", "second"]);
    assert_eq!(store.load_graphs(rows[0].id).await.unwrap().len(), 5);
    assert_eq!(store.find_graph(rows[1].id, "a").await.unwrap().graph, path_graph(1));
}

#[tokio::test]
async fn pages_are_complete_and_stable_while_rows_come() {
    let fixture = Fixture::new().await;
    let (store, family) = (&fixture.store, fixture.family("m").await);
    store.add_graphs(family.id, graphs(1..=25)).await.unwrap();
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let found = store.list_graphs(family.id, &page(10, after)).await.unwrap();
        ids.extend(found.items.into_iter().map(|graph| graph.id));
        if ids.len() == 10 {
            store.add_graphs(family.id, graphs(1..=3)).await.unwrap();
        }
        after = found.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(ids, (1..=28).map(|number| format!("g{number}")).collect::<Vec<_>>());

    // Families go by name: one that comes before the cursor is not seen, and disturbs nothing.
    for name in ["b", "d", "x"] {
        fixture.family(name).await;
    }
    let first = store.list_families(&page(2, None)).await.unwrap();
    fixture.family("a").await;
    fixture.family("c").await;
    let second = store.list_families(&page(2, first.next.clone())).await.unwrap();
    let names = |page: &Page<FamilyOverview>| -> Vec<_> {
        page.items.iter().map(|overview| overview.family.name.clone()).collect()
    };
    assert_eq!((names(&first), names(&second)), (vec!["b".into(), "d".into()], vec!["m".into(), "x".into()]));
    assert_eq!(second.next, None, "a full last page is the last");
    assert_eq!(second.items[0].splits, store.family_overview("m").await.unwrap().splits);
    for bad in ["", "!", "Zg", "ZmFtaWx5"] {
        let request = page(2, Some(bad.into()));
        assert!(matches!(store.list_families(&request).await, Err(StoreError::BadCursor)), "{bad:?}");
        assert!(matches!(store.list_graphs(family.id, &request).await, Err(StoreError::BadCursor)), "{bad:?}");
    }
    assert!(
        matches!(store.list_jobs(TaskName::Training, &page(2, first.next)).await, Err(StoreError::BadCursor)),
        "another list's"
    );
}

#[tokio::test]
async fn a_detector_comes_back_to_the_bit() {
    let fixture = Fixture::new().await;
    let (store, family) = (&fixture.store, fixture.family("f").await);
    let new = detector(family.id, Kind::FullMask);
    store.add_detector(new.clone()).await.unwrap();
    let row = store.find_detector(new.id).await.unwrap();
    assert_eq!((row.id, row.family_name.as_str(), row.active, row.job), (new.id, "f", true, None));
    let bare = Manifest { distributions: Vec::new(), ..new.artifact.manifest.clone() };
    assert_eq!(row.artifact, ArtifactSummary { manifest: bare, ..new.artifact.clone() });
    assert_eq!(store.distributions(new.id).await.unwrap(), new.artifact.manifest.distributions, "in order, too");
    assert_eq!(store.list_detectors(None, &page(5, None)).await.unwrap().items, [row]);
    assert!(is_missing(store.add_detector(detector(FamilyId::new(999), Kind::FullMask)).await));
}

#[tokio::test]
async fn the_active_detector_is_one_of_its_family_and_kind() {
    let fixture = Fixture::new().await;
    let store = &fixture.store;
    let (family, other) = (fixture.family("f").await.id, fixture.family("other").await.id);
    let [old, new, edges, foreign] = [
        detector(family, Kind::FullMask),
        detector(family, Kind::FullMask),
        detector(family, Kind::FullEdgePrediction),
        detector(other, Kind::FullMask),
    ];
    for detector in [&edges, &old, &new, &foreign] {
        store.add_detector(detector.clone()).await.unwrap();
    }
    let active = async || -> Vec<_> {
        let active = store.active_detectors(family).await.unwrap();
        assert_eq!(store.panel("f").await.unwrap().detectors, active, "what is remembered is what is so");
        active.into_iter().map(|active| (active.kind, active.id)).collect()
    };
    assert_eq!(active().await, [(Kind::FullMask, new.id), (Kind::FullEdgePrediction, edges.id)]);
    store.set_active_detector(family, Kind::FullMask, old.id).await.unwrap();
    assert_eq!(active().await[0], (Kind::FullMask, old.id));
    assert!(is_conflict(store.set_active_detector(family, Kind::FullMask, foreign.id).await));
    assert!(is_conflict(store.set_active_detector(family, Kind::FullMask, edges.id).await));
    let unknown = DetectorId::new(Uuid::now_v7());
    assert!(is_missing(store.set_active_detector(family, Kind::FullMask, unknown).await));

    assert!(is_conflict(store.delete_detector(old.id).await), "it is active");
    store.delete_detector(new.id).await.unwrap();
    assert!(is_missing(store.delete_detector(new.id).await));
    assert!(store.distributions(new.id).await.unwrap().is_empty());
    store.drop_lost_detector(old.id).await.unwrap();
    store.drop_lost_detector(old.id).await.unwrap();
    assert_eq!(active().await, [(Kind::FullEdgePrediction, edges.id)]);
    assert_eq!(store.detector_ids().await.unwrap(), [edges.id, foreign.id]);
    let of_family = store.list_detectors(Some(family), &page(5, None)).await.unwrap();
    assert_eq!(of_family.items.iter().map(|row| row.id).collect::<Vec<_>>(), [edges.id]);
}

#[tokio::test]
async fn a_deleted_family_leaves_nothing() {
    let fixture = Fixture::new().await;
    let store = &fixture.store;
    let (gone, stays) = (fixture.family("gone").await.id, fixture.family("stays").await.id);
    let mut detectors = Vec::new();
    for family in [gone, stays] {
        store.add_graphs(family, graphs(1..=5)).await.unwrap();
        let idempotency = Some(Idempotency { key: format!("{family:?}"), request_sha256: "x".into() });
        let job = store.enqueue_job(NewJob { family, task: Task::Training(spec()), idempotency }).await.unwrap();
        if family == gone {
            assert!(is_conflict(store.delete_family("gone").await), "a job waits");
        }
        let claimed = store.claim_job(Duration::from_secs(60)).await.unwrap().unwrap();
        assert_eq!(claimed.job.id, job.id);
        if family == gone {
            assert!(is_conflict(store.delete_family("gone").await), "a job runs");
        }
        let made = detector(family, Kind::FullMask);
        store.finish_job(job.id, claimed.attempt, made.clone()).await.unwrap();
        detectors.push(made.id);
        if family == gone {
            assert_eq!(store.panel("gone").await.unwrap().detectors.len(), 1);
            assert_eq!(store.delete_family("gone").await.unwrap(), [made.id]);
            assert!(is_missing(store.panel("gone").await));
            assert!(is_missing(store.find_job(job.id).await));
            fixture.family("gone").await;
        }
    }
    assert_eq!(store.detector_ids().await.unwrap(), detectors[1..]);
    assert!(is_missing(store.delete_family("never-was").await));
    for (table, expected) in [
        ("graphs", 5_i64),
        ("jobs", 1),
        ("job_events", 3),
        ("idempotency_keys", 1),
        ("detectors", 1),
        ("active_detectors", 1),
        ("distributions", 3),
    ] {
        let count = sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}")));
        assert_eq!(count.fetch_one(&store.readers).await.unwrap(), expected, "{table}");
    }
}

#[tokio::test]
async fn keys_are_found_by_hash_until_they_are_revoked() {
    let fixture = Fixture::new().await;
    let store = &fixture.store;
    let made = store.create_key("ci", Scope::Score, &[1; 32]).await.unwrap();
    assert_eq!(store.find_key(&[1; 32]).await.unwrap(), Some(made));
    assert_eq!(store.find_key(&[2; 32]).await.unwrap(), None);
    assert!(is_conflict(store.create_key("ci", Scope::Read, &[2; 32]).await));
    store.create_key("root", Scope::Admin, &[3; 32]).await.unwrap();
    let count = async |scope| store.count_keys(scope).await.unwrap();
    assert_eq!((count(Scope::Read).await, count(Scope::Score).await, count(Scope::Admin).await), (2, 2, 1));

    store.revoke_key("ci").await.unwrap();
    assert!(is_missing(store.revoke_key("ci").await));
    assert_eq!(store.find_key(&[1; 32]).await.unwrap(), None);
    store.create_key("ci", Scope::Read, &[4; 32]).await.unwrap();
    let listed: Vec<_> = store.list_keys().await.unwrap();
    let told: Vec<_> = listed.iter().map(|key| (key.name.as_str(), key.revoked_at.is_some())).collect();
    assert_eq!(told, [("ci", true), ("root", false), ("ci", false)]);
    assert!(store.create_key("again", Scope::Read, &[1; 32]).await.is_err(), "not even a revoked key's hash");
}

#[tokio::test]
async fn a_backup_opens_and_is_equal() {
    let fixture = Fixture::new().await;
    let (store, family) = (&fixture.store, fixture.family("f").await);
    store.add_graphs(family.id, graphs(1..=20)).await.unwrap();
    store.add_detector(detector(family.id, Kind::FullMask)).await.unwrap();
    let file = fixture.directory.path().join("backup.db");
    store.backup_to(&file).await.unwrap();
    assert!(is_conflict(store.backup_to(&file).await), "never over another");
    let left: Vec<_> = std::fs::read_dir(fixture.directory.path()).unwrap().collect();
    assert_eq!(left.len(), 4, "the database, its log and index, the backup: {left:?}");

    fixture.family("later").await;
    let copy = open(file).await;
    assert_eq!(copy.load_graphs(family.id).await.unwrap(), store.load_graphs(family.id).await.unwrap());
    assert_eq!(copy.detector_ids().await.unwrap(), store.detector_ids().await.unwrap());
    assert!(is_missing(copy.find_family("later").await));
    let checked: String = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&copy.readers).await.unwrap();
    assert_eq!(checked, "ok");
}

#[tokio::test]
async fn what_was_answered_survives_a_crash_and_a_close() {
    let mut fixture = Fixture::new().await;
    fixture.family("f").await;
    fixture = fixture.crash().await;
    fixture.store.find_family("f").await.unwrap();
    // Begun and never committed.
    let mut transaction = fixture.store.write().await.unwrap();
    sqlx::query("DELETE FROM families").execute(&mut *transaction).await.unwrap();
    let fixture = fixture.crash().await;
    drop(transaction);
    fixture.store.find_family("f").await.unwrap();
    fixture.store.close().await;
    let left: Vec<_> =
        std::fs::read_dir(fixture.directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["store.db"], "the log is folded in");
    assert!(fixture.store.ping().await.is_err());
    open(fixture.path()).await.ping().await.unwrap();
}

#[tokio::test]
async fn a_writer_that_goes_away_frees_the_lock() {
    let fixture = Fixture::new().await;
    for _ in 0..20 {
        let store = fixture.store.clone();
        let task = tokio::spawn(async move { store.add_graphs(FamilyId::new(1), graphs(1..=5)).await });
        tokio::task::yield_now().await;
        task.abort();
    }
    fixture.family("f").await;
}

#[tokio::test]
async fn connections_are_set_up_as_promised() {
    let fixture = Fixture::new().await;
    for pool in [&fixture.store.writer, &fixture.store.readers] {
        for (pragma, expected) in [("foreign_keys", 1_i64), ("busy_timeout", 10_000)] {
            let query = sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(format!("PRAGMA {pragma}")));
            assert_eq!(query.fetch_one(pool).await.unwrap(), expected, "{pragma}");
        }
        let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(pool).await.unwrap();
        assert_eq!(mode, "wal");
    }
    let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&fixture.store.writer).await.unwrap();
    assert_eq!(synchronous, 2, "FULL");
    assert!(sqlx::query("DELETE FROM families").execute(&fixture.store.readers).await.is_err(), "readers only read");
}

/// Rows that Rust's types could not have said.
#[tokio::test]
async fn the_tables_refuse_nonsense() {
    let fixture = Fixture::new().await;
    let store = &fixture.store;
    let family = fixture.family("f").await.id;
    store.add_graphs(family, graphs([3])).await.unwrap();
    let waiting = store.enqueue_job(NewJob { family, task: Task::Training(spec()), idempotency: None }).await.unwrap();
    let made = detector(family, Kind::FullMask);
    store.add_detector(made.clone()).await.unwrap();
    for statement in [
        "UPDATE jobs SET state = 'paused'",
        "UPDATE jobs SET state = 'running'",
        "UPDATE jobs SET state = 'running', not_before = NULL, attempt = 1, started_at = 0",
        "UPDATE jobs SET state = 'running', not_before = NULL, lease_until = 0",
        "UPDATE jobs SET lease_until = 0",
        "UPDATE jobs SET not_before = NULL",
        "UPDATE jobs SET state = 'succeeded', not_before = NULL, finished_at = 0",
        "UPDATE jobs SET state = 'failed', not_before = NULL, finished_at = 0",
        "UPDATE jobs SET state = 'cancelled', not_before = NULL",
        "UPDATE jobs SET detector = zeroblob(16)",
        "UPDATE jobs SET failure = '{}'",
        "UPDATE jobs SET finished_at = 0",
        "UPDATE jobs SET attempt = -1",
        "UPDATE jobs SET counted_attempts = 1",
        "UPDATE jobs SET checkpoint_epoch = 3",
        "UPDATE jobs SET spec = 'not json'",
        "UPDATE jobs SET task = 'prayer'",
        "UPDATE jobs SET task = 'evaluation', state = 'succeeded', not_before = NULL, attempt = 1, started_at = 0, finished_at = 0, product = zeroblob(16)",
        "INSERT INTO evaluations (job, report) VALUES (zeroblob(16), '{}')",
        "UPDATE jobs SET family = 999",
        "UPDATE jobs SET id = 'short'",
        "UPDATE jobs SET queued_at = 'yesterday'",
        "UPDATE graphs SET split = 'validation'",
        "UPDATE graphs SET nodes = 0",
        "UPDATE graphs SET wl_hash = zeroblob(15)",
        "UPDATE graphs SET family = NULL",
        "UPDATE detectors SET kind = 'oracle'",
        "UPDATE detectors SET kind = 'full-edge-prediction'",
        "UPDATE detectors SET weights_sha256 = 'abc'",
        "UPDATE detectors SET job = zeroblob(16)",
        "DELETE FROM detectors",
        "UPDATE active_detectors SET kind = 'full-edge-prediction'",
        "UPDATE distributions SET summary = 'not json'",
        "UPDATE job_events SET sequence = 0",
        "INSERT INTO job_events (job, sequence, at, event, is_progress) VALUES (zeroblob(16), 1, 0, '{}', 0)",
        "INSERT INTO api_keys (name, scope, key_sha256, created_at) VALUES ('k', 'root', zeroblob(32), 0)",
        "INSERT INTO api_keys (name, scope, key_sha256, created_at) VALUES ('k', 'read', zeroblob(31), 0)",
    ] {
        let refused = sqlx::query(statement).execute(&store.writer).await;
        assert!(matches!(refused, Err(sqlx::Error::Database(_))), "{statement}: {refused:?}");
    }
    assert_eq!(store.find_job(waiting.id).await.unwrap(), waiting);
}

#[tokio::test]
async fn an_edited_migration_or_a_newer_database_is_refused() {
    let fixture = Fixture::new().await;
    sqlx::query("INSERT INTO _sqlx_migrations VALUES (9999, 'from the future', 0, 1, zeroblob(48), 0)")
        .execute(&fixture.store.writer)
        .await
        .unwrap();
    let opened = Store::open(&Config { path: fixture.path(), readers: 1 }).await;
    assert!(matches!(opened, Err(StoreError::Migration(_))), "{opened:?}");
}

/// As 0.1 left it: jobs knew no task but training.
#[tokio::test]
async fn an_older_database_keeps_its_jobs() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let older = pool(1).connect_with(options).await.unwrap();
    let mut migrator = sqlx::migrate!();
    migrator.migrations = migrator.migrations[..5].to_vec().into();
    migrator.run(&older).await.unwrap();
    sqlx::query("INSERT INTO families (name, created_at) VALUES ('f', 0)").execute(&older).await.unwrap();
    let (id, made) = (JobId::new(Uuid::now_v7()), DetectorId::new(Uuid::now_v7()));
    sqlx::query(
        "INSERT INTO jobs (id, family, spec, state, attempt, queued_at, started_at, finished_at, detector, created_at)
         VALUES (?, 1, ?, 'succeeded', 1, 0, 0, 0, ?, 0)",
    )
    .bind(id.uuid())
    .bind(json::encode(&spec()).unwrap())
    .bind(made.uuid())
    .execute(&older)
    .await
    .unwrap();
    older.close().await;

    let store = open(path).await;
    let job = store.find_job(id).await.unwrap();
    assert_eq!(job.task, Task::Training(spec()));
    assert!(matches!(job.state, JobState::Succeeded { product: Product::Detector(detector), .. } if detector == made));
    assert_eq!(store.list_jobs(TaskName::Training, &page(5, None)).await.unwrap().items, [job]);
}

impl graphs::Ids for HashSet<String> {
    async fn is_taken(&mut self, id: &str) -> Result<bool, StoreError> {
        Ok(self.contains(id))
    }
}

proptest! {
    /// Whatever ids are asked for: every graph is answered, accepted ids are new and distinct, and a made-up one never
    /// takes an id that another graph of the batch asked for.
    #[test]
    fn names_are_distinct(
        asked in prop::collection::vec(prop::option::of("g?[0-9]{0,1}"), 0..12),
        taken in prop::collection::hash_set("g[0-9]{1}", 0..6),
    ) {
        let graphs: Vec<_> = asked.iter().map(|id| NewGraph { id: id.clone(), graph: path_graph(1) }).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut ids = taken.clone();
        let names = runtime.block_on(graphs::name_graphs(&graphs, taken.len(), &mut ids)).unwrap();
        prop_assert_eq!(names.len(), graphs.len());
        let accepted: Vec<_> = names.iter().flatten().collect();
        let distinct: HashSet<_> = accepted.iter().collect();
        prop_assert_eq!(distinct.len(), accepted.len());
        prop_assert!(accepted.iter().all(|id| !taken.contains(*id)));
        for (asked, name) in asked.iter().zip(&names) {
            match asked.as_ref().filter(|id| !id.is_empty()) {
                Some(id) => prop_assert!(name.as_ref().unwrap_or_else(|taken| taken) == id),
                None => prop_assert!(name.is_ok()),
            }
        }
        for id in asked.iter().flatten().filter(|id| !id.is_empty() && !taken.contains(*id)) {
            prop_assert!(asked.iter().zip(&names).any(|(asked, name)| asked.as_ref() == Some(id) && name.is_ok()));
        }
    }
}

#[tokio::test]
async fn what_another_connection_commits_is_seen_at_once() {
    let fixture = Fixture::new().await;
    let (store, other) = (&fixture.store, open(fixture.path()).await);
    assert!(!store.has_keys().await.unwrap());
    for round in 0..20_u8 {
        let name = format!("key-{round}");
        let made = other.create_key(&name, Scope::Read, &[round; 32]).await.unwrap();
        assert!(store.has_keys().await.unwrap());
        for _ in 0..3 {
            assert_eq!(store.find_key(&[round; 32]).await.unwrap(), Some(made.clone()));
        }
        other.revoke_key(&name).await.unwrap();
        assert_eq!(store.find_key(&[round; 32]).await.unwrap(), None);
    }
}
