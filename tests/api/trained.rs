//! Small families and quick trainings, for tests that need a detector.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::App;

/// What a training may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(600);

/// A synthetic family of small graphs: four layers of four nodes.
pub(crate) async fn create_layers(app: &App, name: &str, count: usize) {
    let spec = json!({"synthetic": {"type": "1", "width": 4, "height": 4, "count": count, "seed": 1}});
    app.post_json(&format!("/v1/datasets?name={name}"), &spec).await.expect(201);
}

/// The kinds of detector, in the order of the contract.
pub(crate) const KINDS: [&str; 4] = ["graphrnn", "gran", "full-mask", "full-edge-prediction"];

/// The cheapest training there is.
pub(crate) fn quick_job(family: &str, kind: &str, seed: u64) -> Value {
    let mut hyperparameters = json!({"hidden_dim": 8, "layers": 2, "epochs": 2, "steps_per_epoch": 4, "batch_size": 4});
    let own = match kind {
        "graphrnn" => json!({"embedding_dim": 8, "edge_hidden_dim": 4, "edge_embedding_dim": 4, "orderings": 4}),
        "gran" => json!({"attention_hidden_dim": 8, "mixtures": 3, "block_size": 2, "orderings": 4}),
        _ => json!({"edges_per_graph": 4, "samples": 10}),
    };
    hyperparameters.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
    json!({"family": family, "kind": kind, "hyperparameters": hyperparameters, "seed": seed})
}

/// Trains a detector and waits for it; gives back its id.
pub(crate) async fn train(app: &App, family: &str, kind: &str, seed: u64) -> String {
    let job = app.post_json("/v1/admin/training-jobs", &quick_job(family, kind, seed)).await.expect(202);
    let job = wait_until(app, job["id"].as_str().unwrap(), is_final).await;
    assert_eq!(job["state"], "succeeded", "{job:#}");
    job["detector_id"].as_str().unwrap().to_owned()
}

/// Looks at a job until it is as wanted.
pub(crate) async fn wait_until(app: &App, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let job = app.get(&format!("/v1/admin/training-jobs/{id}")).await.expect(200);
        if wanted(&job) {
            return job;
        }
        assert!(Instant::now() < deadline, "it took too long: {job:#}");
        sleep(Duration::from_millis(50)).await;
    }
}

pub(crate) fn is_final(job: &Value) -> bool {
    matches!(job["state"].as_str(), Some("succeeded" | "failed" | "cancelled"))
}

pub(crate) async fn create_strangers(app: &App, name: &str, count: usize) {
    let spec = json!({"synthetic": {"type": "random-regular", "width": 4, "height": 4, "count": count, "seed": 2}});
    app.post_json(&format!("/v1/datasets?name={name}"), &spec).await.expect(201);
}

/// A service with a small family, a quickly trained detector of each kind given, and strangers.
pub(crate) async fn beside_strangers(kinds: &[&str]) -> App {
    let app = App::start().await;
    create_layers(&app, "layers", 60).await;
    create_strangers(&app, "strangers", 12).await;
    for kind in kinds {
        train(&app, "layers", kind, 1).await;
    }
    app
}
