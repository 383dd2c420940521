use object_store::ObjectStoreExt as _;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::detector::{CurvePoint, Distribution, FORMAT, SplitSizes};
use crate::graph::split::Split;
use crate::model::{Hyperparameters, Kind};
use crate::stats::histogram::Histogram;
use crate::stats::summary::Summary;

fn manifest() -> Manifest {
    let histogram = Histogram { bin_edges: vec![0.0, 0.1 + 0.2, 1.0], counts: vec![3, 4] };
    Manifest {
        format: FORMAT,
        kind: Kind::FullMask,
        hyperparameters: Hyperparameters::from_json(Kind::FullMask, None).unwrap(),
        seed: u64::MAX,
        graphs: SplitSizes { train: 68, calibration: 12, test: 20 },
        calibration_size: 12,
        folds: 1,
        parameters: 1234,
        statistics: vec!["completion_mean".to_owned()],
        training_curve: vec![CurvePoint { fold: 0, epoch: 1, loss: 1.0 / 3.0, validation_loss: f64::MIN_POSITIVE }],
        distributions: vec![Distribution {
            split: Split::Test,
            statistic: "nonconformity".to_owned(),
            summary: Summary { count: 7, mean: 0.1 + 0.2, std: 1e-300, quantiles: vec![0.1; 9] },
            histogram_10: histogram.clone(),
            histogram_50: histogram,
        }],
    }
}

fn detector_id() -> DetectorId {
    DetectorId::new(Uuid::now_v7())
}

fn local() -> (tempfile::TempDir, Artifacts) {
    let directory = tempfile::tempdir().unwrap();
    let artifacts = Artifacts::local(&directory.path().join("artifacts")).unwrap();
    (directory, artifacts)
}

#[tokio::test]
async fn what_was_put_comes_back_whole() {
    let (_directory, artifacts) = local();
    let id = detector_id();
    let put = artifacts.put_files(id, manifest(), Bytes::from_static(b"weights")).await.unwrap();
    let (found, weights) = artifacts.get_files(id).await.unwrap();
    assert_eq!(found, put);
    assert_eq!(found.manifest, manifest(), "floats and large seeds to the bit");
    assert_eq!(weights, "weights");
    assert_eq!(artifacts.summary(id).await.unwrap(), put);
    assert_eq!(artifacts.list_detectors().await.unwrap(), [id]);
}

#[tokio::test]
async fn the_layout_is_the_documented_one() {
    let (directory, artifacts) = local();
    let id = detector_id();
    let put = artifacts.put_files(id, manifest(), Bytes::from_static(b"weights")).await.unwrap();
    let folder = directory.path().join("artifacts/detectors").join(id.to_string());
    let mut names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["manifest.json", "weights.safetensors"], "and nothing left beside");
    let manifest = std::fs::read(folder.join("manifest.json")).unwrap();
    assert_eq!(put.manifest_sha256, sha256(&manifest));
    assert_eq!(put.size_bytes, manifest.len() as u64 + 7);
    let json: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(json["weights"]["sha256"], put.weights_sha256);
    assert_eq!(json["detector"]["kind"], "full-mask");
}

#[tokio::test]
async fn damage_is_found_and_named() {
    let (_directory, artifacts) = local();
    let id = detector_id();
    assert!(matches!(artifacts.summary(id).await, Err(ArtifactError::Missing(missing)) if missing == id));

    artifacts.put_files(id, manifest(), Bytes::from_static(b"weights")).await.unwrap();
    for weights in ["Weights", "weight", "weights and more", ""] {
        artifacts.storage.put(&artifacts.weights_path(id), weights.into()).await.unwrap();
        assert!(matches!(artifacts.load_detector(id).await, Err(ArtifactError::Damaged { .. })), "{weights:?}");
    }
    artifacts.storage.delete(&artifacts.weights_path(id)).await.unwrap();
    assert!(matches!(artifacts.summary(id).await, Err(ArtifactError::Damaged { .. })));

    artifacts.storage.put(&artifacts.manifest_path(id), "{\"weights\":".into()).await.unwrap();
    assert!(matches!(artifacts.summary(id).await, Err(ArtifactError::Damaged { .. })));
}

#[tokio::test]
async fn an_artefact_without_its_manifest_is_listed_but_missing() {
    let (_directory, artifacts) = local();
    let id = detector_id();
    artifacts.storage.put(&artifacts.weights_path(id), "weights".into()).await.unwrap();
    assert_eq!(artifacts.list_detectors().await.unwrap(), [id], "repairs must see it");
    assert!(matches!(artifacts.summary(id).await, Err(ArtifactError::Missing(_))));
}

#[tokio::test]
async fn deleting_leaves_nothing_and_may_be_repeated() {
    let (directory, artifacts) = local();
    let (id, other) = (detector_id(), detector_id());
    for id in [id, other] {
        artifacts.put_files(id, manifest(), Bytes::from_static(b"weights")).await.unwrap();
    }
    for _ in 0..2 {
        artifacts.delete_detector(id).await.unwrap();
        assert_eq!(artifacts.list_detectors().await.unwrap(), [other]);
    }
    assert!(!directory.path().join("artifacts/detectors").join(id.to_string()).exists());
    artifacts.put_files(id, manifest(), Bytes::from_static(b"again")).await.unwrap();
    assert_eq!(artifacts.list_detectors().await.unwrap(), [id, other]);
}

#[tokio::test]
async fn the_last_checkpoint_counts_and_a_damaged_one_does_not() {
    let (_directory, artifacts) = local();
    let job = JobId::new(Uuid::now_v7());
    assert_eq!(artifacts.load_checkpoint(job).await.unwrap(), None);
    for content in [b"first".to_vec(), Vec::new(), b"last".to_vec()] {
        let checkpoint = Checkpoint(content);
        artifacts.put_checkpoint(job, &checkpoint).await.unwrap();
        assert_eq!(artifacts.load_checkpoint(job).await.unwrap(), Some(checkpoint));
    }
    assert_eq!(artifacts.list_checkpoints().await.unwrap(), [job]);
    artifacts.storage.put(&artifacts.checkpoint_path(job), "too short".into()).await.unwrap();
    assert_eq!(artifacts.load_checkpoint(job).await.unwrap(), None);
    for _ in 0..2 {
        artifacts.delete_checkpoint(job).await.unwrap();
        assert!(artifacts.list_checkpoints().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn files_of_other_names_are_let_alone() {
    let (_directory, artifacts) = local();
    for path in ["detectors/README.md", "detectors/notes/todo.txt", "elsewhere/file"] {
        artifacts.storage.put(&path.into(), "text".into()).await.unwrap();
    }
    assert!(artifacts.list_detectors().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_url_names_a_storage() {
    let directory = tempfile::tempdir().unwrap();
    let url = Url::from_directory_path(directory.path().join("by url")).unwrap();
    let by_url = Artifacts::at_url(url.as_str()).unwrap();
    let by_path = Artifacts::local(&directory.path().join("by url")).unwrap();
    let id = detector_id();
    by_url.put_files(id, manifest(), Bytes::from_static(b"weights")).await.unwrap();
    assert_eq!(by_path.list_detectors().await.unwrap(), [id]);

    let memory = Artifacts::at_url("memory:///some/prefix").unwrap();
    memory.put_files(id, manifest(), Bytes::from_static(b"weights")).await.unwrap();
    assert_eq!(memory.list_detectors().await.unwrap(), [id]);

    for bad in ["", "not a url", "gopher://host/path", "s3://bucket/path"] {
        assert!(matches!(Artifacts::at_url(bad), Err(ArtifactError::Storage(_))), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn a_checkpoint_with_any_byte_changed_is_none(
        content in prop::collection::vec(any::<u8>(), 0..64),
        place in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let mut bytes = checkpoint::encode(&Checkpoint(content.clone()));
        prop_assert_eq!(checkpoint::decode(&bytes), Some(Checkpoint(content)));
        let place = place.index(bytes.len());
        bytes[place] ^= flip;
        prop_assert_eq!(checkpoint::decode(&bytes), None);
    }
}
