//! `kill -9`: nothing acknowledged is lost, and a training goes on as if nothing had happened.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::App;
use crate::trained::{create_layers, is_final, wait_until};

/// Checkpoints so often that a job of seconds has several.
const CHECKPOINTS: (&str, &str) = ("checkpoint-interval", "0.05");

/// Long enough to be killed in the middle, after a checkpoint.
fn long_job() -> Value {
    let hyperparameters = json!({
        "hidden_dim": 8, "layers": 2, "epochs": 2500, "steps_per_epoch": 16, "batch_size": 4, "edges_per_graph": 4,
        "samples": 10, "patience": 10000
    });
    json!({"family": "layers", "kind": "full-edge-prediction", "hyperparameters": hyperparameters, "seed": 3})
}

async fn weights_of(app: &App, job: &Value) -> String {
    assert_eq!(job["state"], "succeeded", "{job:#}");
    let id = job["detector_id"].as_str().unwrap();
    let detector = app.get(&format!("/v1/detectors/{id}")).await.expect(200);
    detector["sha256"]["weights"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_training_killed_halfway_ends_with_the_weights_of_an_undisturbed_one() {
    let undisturbed = App::with(&[CHECKPOINTS]).await;
    create_layers(&undisturbed, "layers", 200).await;
    let job = undisturbed.post_json("/v1/admin/training-jobs", &long_job()).await.expect(202);

    let mut app = App::with(&[CHECKPOINTS]).await;
    create_layers(&app, "layers", 200).await;
    let id = app.post_json("/v1/admin/training-jobs", &long_job()).await.expect(202)["id"].as_str().unwrap().to_owned();
    for _ in 0..2 {
        let before = app.get(&format!("/v1/admin/training-jobs/{id}")).await.expect(200)["checkpoint"].clone();
        let went_on = |job: &Value| !job["checkpoint"].is_null() && job["checkpoint"] != before;
        let killed = wait_until(&app, &id, |job| went_on(job) || is_final(job)).await;
        assert_eq!(killed["state"], "running", "the job is too short for this test: {killed:#}");
        app = app.kill_and_restart().await;
    }
    let resumed = wait_until(&app, &id, is_final).await;
    let expected = wait_until(&undisturbed, job["id"].as_str().unwrap(), is_final).await;
    assert_eq!(weights_of(&app, &resumed).await, weights_of(&undisturbed, &expected).await);
    assert!(resumed["attempt"].as_u64().unwrap() >= 3, "{resumed:#}");
}

#[tokio::test]
async fn what_was_acknowledged_survives() {
    let mut app = App::start().await;
    app.create_family("kept").await;
    let mut acknowledged = 0;
    for round in 0..5 {
        for index in 0..10 {
            let graph = json!({"id": format!("{round}-{index}"), "nodes": 3 + index, "edges": [[0, 1], [1, 2]]});
            app.post_json("/v1/families/kept/graphs", &graph).await.expect(200);
            acknowledged += 1;
        }
        app = app.kill_and_restart().await;
        let family = app.get("/v1/families/kept").await.expect(200);
        assert_eq!(family["graphs"]["total"], acknowledged, "after kill {round}");
    }
    let graph = app.get("/v1/families/kept/graphs/4-9").await.expect(200);
    assert_eq!((&graph["nodes"], &graph["edges"]), (&json!(12), &json!([[0, 1], [1, 2]])));
}

/// The child of a service that is gone ends by itself: it must not train on beside its successor.
#[tokio::test]
async fn no_training_outlives_its_service() {
    let app = App::start().await;
    create_layers(&app, "layers", 200).await;
    let id = app.post_json("/v1/admin/training-jobs", &long_job()).await.expect(202)["id"].as_str().unwrap().to_owned();
    wait_until(&app, &id, |job| job["progress"]["epoch"].as_u64() > Some(0)).await;
    let marker = app.data_dir().display().to_string();
    let alive = || {
        std::fs::read_dir("/proc").map_or(0, |processes| {
            let commands = processes.flatten().filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
            commands.filter(|command| String::from_utf8_lossy(command).contains(&marker)).count()
        })
    };
    assert_eq!(alive(), 2, "the service and its child");
    let app = app.kill_and_restart().await;
    app.post_json(&format!("/v1/admin/training-jobs/{id}/cancel"), &json!({})).await.expect(200);
    for _ in 0..100 {
        if alive() == 1 {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("{} processes are left", alive());
}
