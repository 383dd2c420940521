//! The detectors that ship: a graph can be scored on the first start, and they are what their command makes.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::App;
use crate::trained::KINDS;

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> Value {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test]
async fn the_readmes_graphs_are_told_apart_on_the_first_start() {
    let app = App::with(&[("load-samples", "true")]).await;
    for (file, anomalous) in [("kin.json", false), ("stranger.json", true)] {
        let body = read(&repository().join("docs/graphs").join(file));
        let answer = app.post_json("/v1/families/ladder/score", &body).await.expect(200);
        assert_eq!(answer["verdict"]["anomalous"], anomalous, "{file}: {answer:#}");
        assert_eq!(answer["scores"].as_array().unwrap().len(), 4, "all kinds: {answer:#}");
    }
    let distributions = app.get("/v1/families/ladder/distributions").await.expect(200);
    assert_eq!(distributions["detectors"].as_array().unwrap().len(), 4, "{distributions:#}");

    // They are loaded once: what a user deletes stays deleted.
    app.delete("/v1/families/ladder").await.expect(204);
    let app = app.kill_and_restart().await;
    app.get("/v1/families/ladder").await.expect_problem(404, "not-found");
}

/// As large as the largest graph of DD: scored like any other, and said to be none of this family.
#[tokio::test]
async fn a_graph_of_5748_nodes_is_scored() {
    let room = [("load-samples", "true"), ("max-body", "1048576"), ("max-nodes", "100000"), ("max-edges", "1000000")];
    let app = App::with(&room).await;
    let edges: Vec<[u64; 2]> = (0..5_748).flat_map(|u| [[u, (u + 1) % 5_748], [u, (u * u + 7) % 5_748]]).collect();
    let body = json!({"graph": {"nodes": 5_748, "edges": edges}, "options": {"explain": true}});
    let answer = app.post_json("/v1/families/ladder/score", &body).await.expect(200);
    assert_eq!(answer["verdict"]["anomalous"], true, "{answer:#}");
    assert_eq!(answer["graph"]["nodes"], 5_748);
    assert_eq!(answer["explanation"]["complete"], false, "it says that it did not look at every edge");
}

/// Made again here they must be the same in everything but floats, whose last bits differ between processors, and the more
/// the longer a training goes on.
#[test]
fn the_command_makes_them_again() {
    let scratch = tempfile::tempdir().unwrap();
    let made = Command::new(env!("CARGO_BIN_EXE_graphkin"))
        .args(["samples", "make", "--out"])
        .arg(scratch.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let (shipped, made) = (repository().join("models/ladder"), scratch.path().join("ladder"));
    assert_eq!(read(&shipped.join("family.json")), read(&made.join("family.json")));
    for kind in KINDS {
        let manifests =
            [&shipped, &made].map(|directory| read(&directory.join(kind).join("manifest.json"))["detector"].clone());
        for exact in [
            "format",
            "kind",
            "hyperparameters",
            "seed",
            "graphs",
            "calibration_size",
            "folds",
            "parameters",
            "statistics",
        ] {
            assert_eq!(manifests[0][exact], manifests[1][exact], "{kind} {exact}");
        }
        let curves = manifests.map(|manifest| manifest["training_curve"].as_array().unwrap().clone());
        assert_eq!(curves[0].len(), curves[1].len(), "{kind}");
        let losses = curves.map(|curve| -> Vec<f64> {
            curve.iter().map(|point| point["validation_loss"].as_f64().unwrap()).collect()
        });
        assert!((losses[0][0] - losses[1][0]).abs() < 1e-4, "{kind}: the first epochs are {losses:?}");
        let best = losses.map(|losses| losses.into_iter().fold(f64::MAX, f64::min));
        assert!((best[0] / best[1] - 1.0).abs() < 0.02, "{kind}: {best:?}");
    }
}
