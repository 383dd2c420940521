//! Evaluations: asked for, refused, followed, cancelled, and run for real; the pictures.

use std::time::Duration;

use graphkin::stats::ranking::auroc;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::{Answer, App, pointers};
use crate::trained::{beside_strangers, create_layers, is_final, quick_job, train};

const NEW: &str = "/v1/admin/evaluations";

/// What an evaluation may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn task() -> Value {
    json!({"normal": "layers", "anomalous": ["strangers"], "seed": 3})
}

fn id(evaluation: &Value) -> &str {
    evaluation["id"].as_str().expect("an id")
}

async fn post(app: &App, path: &str) -> Answer {
    app.send(app.request(Method::POST, path)).await
}

/// Looks at an evaluation until it is as wanted.
async fn wait_until(app: &App, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let evaluation = app.get(&format!("/v1/evaluations/{id}")).await.expect(200);
        if wanted(&evaluation) {
            return evaluation;
        }
        assert!(Instant::now() < deadline, "it took too long: {evaluation:#}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Sound as XML, as far as that goes without a parser: every tag is closed in its turn.
#[track_caller]
fn expect_svg(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.content_type(), Some("image/svg+xml"));
    let text = answer.text();
    let mut open = Vec::new();
    for tag in text.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').expect("a tag ends");
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "{text}");
        } else if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty() && text.starts_with("<svg ") && !text.contains("NaN"), "{text}");
    text
}

#[tokio::test]
async fn detectors_are_evaluated_end_to_end() {
    let app = beside_strangers(&["graphrnn", "full-mask"]).await;
    let queued = app.post_json(NEW, &task()).await;
    let evaluation = queued.expect(202);
    assert_eq!(queued.header("location"), format!("/v1/evaluations/{}", id(&evaluation)));
    assert_eq!((&evaluation["normal"], &evaluation["anomalous"]), (&json!("layers"), &json!(["strangers"])));
    let done = wait_until(&app, id(&evaluation), is_final).await;
    assert_eq!((&done["state"], &done["error"]), (&json!("succeeded"), &json!(null)), "{done:#}");
    assert_eq!(done["progress"]["phase"], "statistics");
    let result = &done["result"];

    // It is pinned to the detectors that it ran with.
    let family = app.get("/v1/families/layers").await.expect(200);
    assert_eq!(done["detectors"], family["active_detectors"]);
    let told: Vec<_> = result["detectors"].as_array().unwrap().iter().map(|one| &one["detector_id"]).collect();
    let active: Vec<_> = family["active_detectors"].as_array().unwrap().iter().map(|one| &one["detector_id"]).collect();
    assert_eq!(told, active);

    let tests = family["graphs"]["test"].as_u64().unwrap();
    assert_eq!(result["normal"]["test"].as_u64(), Some(tests));
    assert_eq!(result["anomalous"], json!([{"family": "strangers", "graphs": 12, "known_isomorphs": 0}]));
    assert_eq!(result["auroc_ceiling"], json!(null));
    let floors: Vec<_> =
        result["floors"].as_array().unwrap().iter().map(|one| one["floor"].as_str().unwrap()).collect();
    assert_eq!(floors, ["node-count", "edge-count", "erdos-renyi", "structure-5nn", "wl-5nn"]);
    assert_eq!(result["floors"][0]["auroc"], json!({"value": 0.5, "low": 0.5, "high": 0.5}), "all have 16 nodes");
    assert_eq!(result["floors"][3]["auroc"]["value"], 1.0, "regular graphs have no spread of degrees");
    for standing in [&result["combined"], &result["detectors"][0], &result["detectors"][1]] {
        let clusters = &standing["clusters"];
        assert_eq!(clusters["points"].as_array().unwrap().len() as u64, tests + 12);
        assert!(clusters["accuracy"].as_f64() >= Some(0.5), "{clusters}");
        let alphas: Vec<_> = standing["alarms"].as_array().unwrap().iter().map(|one| one["alpha"].as_f64()).collect();
        assert_eq!(alphas, [Some(0.01), Some(0.05), Some(0.1)]);
        assert_eq!(standing["alarms"][1]["tested"].as_u64(), Some(tests));
    }
    let samples = |of: &Value| -> Vec<(String, Value)> {
        let of = of.as_array().unwrap().iter();
        of.map(|one| (one["family"].as_str().unwrap().to_owned(), one["split"].clone())).collect()
    };
    let expected = [("layers", json!("train")), ("layers", json!("test")), ("strangers", json!(null))];
    let expected: Vec<_> = expected.into_iter().map(|(family, split)| (family.to_owned(), split)).collect();
    assert_eq!(samples(&result["detectors"][0]["nll_per_node"]), expected);
    assert_eq!(samples(&result["detectors"][1]["completion"]["non_edges"]), expected);

    // What the service says of the same graphs gives the same figure.
    let served = served_auroc(&app).await;
    assert_eq!(result["combined"]["auroc"]["value"].as_f64(), Some(served));

    // The same again is the same.
    let again = app.post_json(NEW, &task()).await.expect(202);
    let again = wait_until(&app, id(&again), is_final).await;
    assert_eq!(again["result"], *result);
    let list = app.get("/v1/evaluations").await.expect(200);
    let listed: Vec<_> = list["items"].as_array().unwrap().iter().map(id).collect();
    assert_eq!(listed, [id(&again), id(&evaluation)]);
    let jobs = app.get("/v1/admin/training-jobs").await.expect(200);
    assert_eq!(jobs["items"].as_array().unwrap().len(), 2, "trainings alone");
    for path in ["", "/events"] {
        app.get(&format!("/v1/admin/training-jobs/{}{path}", id(&again))).await.expect_problem(404, "not-found");
    }

    for (picture, text) in [
        ("", "ROC of the floors"),
        ("?picture=roc", "layers against strangers"),
        ("?picture=nonconformity", "combined: nonconformity"),
        ("?picture=nll", "graphrnn: likelihood"),
        ("?picture=completion", "full-mask: completion"),
        ("?picture=edges-and-non-edges", "strangers, non-edges"),
        ("?picture=clusters", "cluster 2"),
    ] {
        let svg = expect_svg(&app.get(&format!("/v1/evaluations/{}.svg{picture}", id(&evaluation))).await);
        assert!(svg.contains(text), "{picture}");
    }
    app.get(&format!("/v1/evaluations/{}.svg?picture=pie", id(&evaluation))).await.expect_problem(400, "bad-request");

    let events = app.request(Method::GET, &format!("/v1/evaluations/{}/events", id(&evaluation)));
    let stream = app.send(events).await.text();
    for text in ["event: queued", "event: started", "\"phase\":\"scoring\"", "event: succeeded", "event: done"] {
        assert!(stream.contains(text), "{text}: {stream}");
    }

    let path = format!("/v1/evaluations/{}", id(&evaluation));
    app.delete(&path).await.expect(204);
    app.delete(&path).await.expect_problem(404, "not-found");
    app.get(&path).await.expect_problem(404, "not-found");
    // A family takes its evaluations along.
    app.delete("/v1/families/layers").await.expect(204);
    assert_eq!(app.get("/v1/evaluations").await.expect(200)["items"], json!([]));
}

/// The AUROC of the served verdict over the same graphs.
async fn served_auroc(app: &App) -> f64 {
    let mut scores = Vec::new();
    for (family, split) in [("layers", Some("test")), ("strangers", None)] {
        let list = app.get(&format!("/v1/families/{family}/graphs?limit=200")).await.expect(200);
        let mut of_family = Vec::new();
        for row in
            list["items"].as_array().unwrap().iter().filter(|row| split.is_none_or(|split| row["split"] == split))
        {
            let graph =
                app.get(&format!("/v1/families/{family}/graphs/{}", row["id"].as_str().unwrap())).await.expect(200);
            let scored = app.post_json("/v1/families/layers/score", &json!({ "graph": graph })).await.expect(200);
            of_family.push(scored["verdict"]["nonconformity"].as_f64().unwrap());
        }
        scores.push(of_family);
    }
    auroc(&scores[0], &scores[1])
}

#[tokio::test]
async fn what_cannot_be_evaluated_is_located() {
    let app = beside_strangers(&[]).await;
    app.post_json(NEW, &task()).await.expect_problem(409, "conflict");
    train(&app, "layers", "full-mask", 1).await;
    app.create_family("empty").await;
    app.create_family("lone").await;
    app.post_json("/v1/families/lone/graphs", &json!({"nodes": 2, "edges": [[0, 1]]})).await.expect(200);
    for (change, expected) in [
        (json!({"normal": "nobody"}), vec!["/normal"]),
        (json!({"normal": "empty"}), vec!["/normal"]),
        (json!({"normal": "lone"}), vec!["/normal"]),
        (json!({"anomalous": ["strangers", "nobody"]}), vec!["/anomalous/1"]),
        (json!({"anomalous": ["empty"]}), vec!["/anomalous/0"]),
        (json!({"anomalous": ["layers"]}), vec!["/anomalous/0"]),
        (json!({"anomalous": []}), vec!["/anomalous"]),
        (json!({"kinds": ["full-mask", "gran"]}), vec!["/kinds/1"]),
        (json!({"kinds": ["half-mask"]}), vec!["/kinds/0"]),
        (json!({"priority": 1}), vec!["/priority"]),
    ] {
        let mut body = task();
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let problem = app.post_json(NEW, &body).await.expect_problem(422, "invalid");
        assert_eq!(pointers(&problem), expected, "{body}");
    }
    assert_eq!(app.get("/v1/evaluations").await.expect(200)["items"], json!([]));
    for path in
        ["/v1/evaluations/nonsense", "/v1/evaluations/.svg", "/v1/evaluations/019a1b2c-3d4e-7f50-8a9b-0c1d2e3f4a5b.svg"]
    {
        app.get(path).await.expect_problem(404, "not-found");
    }
}

#[tokio::test]
async fn an_evaluation_is_cancelled_and_run_again_and_survives_a_kill() {
    let app = beside_strangers(&["full-mask"]).await;
    let app = app.restart_with(&[("workers", "0")]).await;
    let keyed = |body: Value| app.request(Method::POST, NEW).header("idempotency-key", "one").json(&body);
    let evaluation = app.send(keyed(task())).await.expect(202);
    assert_eq!(app.send(keyed(task())).await.expect(202), evaluation, "the same request");
    app.send(keyed(json!({"normal": "layers", "anomalous": ["strangers"]}))).await.expect_problem(422, "invalid");
    let training = quick_job("layers", "full-mask", 1);
    let other = app.request(Method::POST, "/v1/admin/training-jobs").header("idempotency-key", "one").json(&training);
    app.send(other).await.expect_problem(422, "invalid");

    let (path, command) = (format!("/v1/evaluations/{}", id(&evaluation)), format!("{NEW}/{}", id(&evaluation)));
    app.get(&format!("{path}.svg")).await.expect_problem(409, "conflict");
    app.delete(&path).await.expect_problem(409, "conflict");
    app.delete("/v1/families/layers").await.expect_problem(409, "conflict");
    post(&app, &format!("/v1/admin/training-jobs/{}/cancel", id(&evaluation))).await.expect_problem(404, "not-found");
    let cancelled = post(&app, &format!("{command}/cancel")).await.expect(200);
    assert_eq!((&cancelled["state"], &cancelled["finished_at"].is_string()), (&json!("cancelled"), &true));
    assert_eq!(app.get(&path).await.expect(200)["result"], json!(null));
    let again = post(&app, &format!("{command}/retry")).await.expect(202);
    assert_eq!(again["state"], "queued");

    let app = app.restart_with(&[]).await;
    let done = wait_until(&app, id(&evaluation), |one| is_final(one) || one["state"] == "running").await;
    let app = if done["state"] == "running" { app.kill_and_restart().await } else { app };
    let done = wait_until(&app, id(&evaluation), is_final).await;
    assert_eq!(done["state"], "succeeded", "{done:#}");
    post(&app, &format!("{command}/cancel")).await.expect_problem(409, "conflict");
    post(&app, &format!("{command}/retry")).await.expect_problem(409, "conflict");
}

/// A family is kept while an evaluation needs it. Once it is gone the evaluation can't be run again, and says why.
#[tokio::test]
async fn a_family_is_kept_for_a_queued_evaluation_and_missed_by_one_run_again() {
    let app = beside_strangers(&["full-mask"]).await;
    let app = app.restart_with(&[("workers", "0")]).await;
    let evaluation = app.post_json(NEW, &task()).await.expect(202);
    app.delete("/v1/families/strangers").await.expect_problem(409, "conflict");
    post(&app, &format!("{NEW}/{}/cancel", id(&evaluation))).await.expect(200);
    app.delete("/v1/families/strangers").await.expect(204);
    post(&app, &format!("{NEW}/{}/retry", id(&evaluation))).await.expect(202);
    let app = app.restart_with(&[]).await;
    let failed = wait_until(&app, id(&evaluation), is_final).await;
    assert_eq!((&failed["state"], &failed["result"]), (&json!("failed"), &json!(null)));
    assert_eq!(failed["error"]["title"], "The evaluation failed");
    assert!(failed["error"]["detail"].as_str().unwrap().contains("`strangers` has been deleted"), "{failed:#}");
}

#[tokio::test]
async fn a_family_s_distributions_are_drawn() {
    let app = App::start().await;
    create_layers(&app, "layers", 60).await;
    let path = "/v1/families/layers/distributions.svg";
    assert!(expect_svg(&app.get(path).await).contains("layers has no active detector"));
    train(&app, "layers", "full-mask", 1).await;
    let svg = expect_svg(&app.get(path).await);
    for text in ["layers, full-mask: completion", "probability", "train (", "calibration (", "test ("] {
        assert!(svg.contains(text), "{text}");
    }
    app.get("/v1/families/nobody/distributions.svg").await.expect_problem(404, "not-found");
}
