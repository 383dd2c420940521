//! Detectors: listed, read, made active, deleted.

use serde_json::json;

use crate::support::{App, pointers};
use crate::trained::{create_layers, train};

const NOBODY: &str = "019a1b2c-3d4e-7f50-8a9b-0c1d2e3f4a5b";

#[tokio::test]
async fn detectors_are_listed_rolled_back_and_deleted() {
    let app = App::start().await;
    create_layers(&app, "layers", 60).await;
    let older = train(&app, "layers", "full-edge-prediction", 1).await;
    let newer = train(&app, "layers", "full-edge-prediction", 2).await;

    let list = app.get("/v1/detectors?family=layers").await.expect(200);
    let listed: Vec<_> = list["items"].as_array().unwrap().iter().map(|item| (&item["id"], &item["active"])).collect();
    assert_eq!(listed, [(&json!(newer), &json!(true)), (&json!(older), &json!(false))], "the newest first");
    app.create_family("other").await;
    assert_eq!(app.get("/v1/detectors?family=other").await.expect(200)["items"], json!([]));
    app.get("/v1/detectors?family=nobody").await.expect_problem(404, "not-found");
    let page = app.get("/v1/detectors?limit=1").await.expect(200);
    let next = format!("/v1/detectors?limit=1&cursor={}", page["next_cursor"].as_str().unwrap());
    assert_eq!(app.get(&next).await.expect(200)["items"][0]["id"], json!(older));

    let detail = app.get(&format!("/v1/detectors/{newer}")).await.expect(200);
    assert_eq!((&detail["family"], &detail["seed"]), (&json!("layers"), &json!(2)));
    assert_eq!(detail["hyperparameters"]["hidden_dim"], 8);
    assert!(!detail["training_curve"].as_array().unwrap().is_empty());
    let graphs = ["train", "calibration", "test"].map(|split| detail["graphs"][split].as_u64().unwrap());
    assert_eq!(graphs.iter().sum::<u64>(), 60);
    assert!(detail["calibration_size"].as_u64().unwrap() >= graphs[1]);
    assert_eq!(detail["sha256"]["weights"].as_str().unwrap().len(), 64);
    let job = app.get(&format!("/v1/admin/training-jobs/{}", detail["job_id"].as_str().unwrap())).await.expect(200);
    assert_eq!(job["detector_id"], json!(newer));

    // The rollback, and what it refuses.
    let active = "/v1/families/layers/active/full-edge-prediction";
    app.delete(&format!("/v1/detectors/{newer}")).await.expect_problem(409, "conflict");
    let now = app.put_json(active, &json!({"detector_id": older})).await.expect(200);
    let wanted = json!([{"kind": "full-edge-prediction", "detector_id": older}]);
    assert_eq!(now, json!({"family": "layers", "active_detectors": wanted}));
    assert_eq!(app.get("/v1/families/layers").await.expect(200)["active_detectors"], wanted);
    for (path, body, pointer) in [
        (active, json!({"detector_id": NOBODY}), "/detector_id"),
        (active, json!({"detector_id": "x"}), "/detector_id"),
        (active, json!({"detector": older}), "/detector"),
        ("/v1/families/other/active/full-edge-prediction", json!({"detector_id": older}), "/detector_id"),
        ("/v1/families/layers/active/full-mask", json!({"detector_id": older}), "/detector_id"),
    ] {
        let problem = app.put_json(path, &body).await.expect_problem(422, "invalid");
        assert_eq!(pointers(&problem), [pointer], "{path} {body}");
    }
    for path in ["/v1/families/nobody/active/full-mask", "/v1/families/layers/active/half-mask"] {
        app.put_json(path, &json!({"detector_id": older})).await.expect_problem(404, "not-found");
    }

    // One that is not active is deleted for good, its files with it.
    app.delete(&format!("/v1/detectors/{newer}")).await.expect(204);
    for path in [format!("/v1/detectors/{newer}"), "/v1/detectors/x".to_owned()] {
        app.get(&path).await.expect_problem(404, "not-found");
        app.delete(&path).await.expect_problem(404, "not-found");
    }
    let graph = json!({"graph": {"nodes": 2, "edges": [[0, 1]]}});
    app.post_json(&format!("/v1/detectors/{newer}/score"), &graph).await.expect_problem(404, "not-found");
    app.post_json(&format!("/v1/detectors/{older}/score"), &graph).await.expect(200);
}
