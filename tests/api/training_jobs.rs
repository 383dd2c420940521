//! Training jobs: queued, refused, followed, cancelled, run again, and run for real.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, App, pointers};
use crate::trained::{create_layers, is_final, quick_job, wait_until};

const JOBS: &str = "/v1/admin/training-jobs";

/// A service that trains nothing, so that its jobs stay where the test put them, with a family of one graph.
async fn idle_app() -> App {
    let app = App::with(&[("workers", "0")]).await;
    app.create_family("rings").await;
    let ring = json!({"nodes": 3, "edges": [[0, 1], [1, 2], [2, 0]]});
    app.post_json("/v1/families/rings/graphs", &ring).await.expect(200);
    app
}

async fn enqueue(app: &App, seed: u64) -> Value {
    app.post_json(JOBS, &quick_job("rings", "full-mask", seed)).await.expect(202)
}

fn path(job: &Value, rest: &str) -> String {
    format!("{JOBS}/{}{rest}", job["id"].as_str().expect("an id"))
}

async fn post(app: &App, path: &str) -> Answer {
    app.send(app.request(Method::POST, path)).await
}

async fn post_with_key(app: &App, key: &str, body: &Value) -> Answer {
    app.send(app.request(Method::POST, JOBS).header("idempotency-key", key).json(body)).await
}

/// The frames of a whole event stream: each event's id, name and data. Comments are left out.
fn frames(text: &str) -> Vec<(Option<i64>, String, Value)> {
    let blocks = text.split("\n\n").filter(|block| block.lines().any(|line| line.starts_with("event:")));
    let field = |block: &str, name: &str| {
        block.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_owned()))
    };
    blocks
        .map(|block| {
            let id = field(block, "id").map(|id| id.parse().expect("a sequence number"));
            let data = serde_json::from_str(&field(block, "data").expect("data")).expect("JSON");
            (id, field(block, "event").expect("a name"), data)
        })
        .collect()
}

fn names(frames: &[(Option<i64>, String, Value)]) -> Vec<&str> {
    frames.iter().map(|(_, name, _)| name.as_str()).collect()
}

#[tokio::test]
async fn a_job_is_queued_and_read() {
    let app = idle_app().await;
    let queued = app.post_json(JOBS, &quick_job("rings", "full-mask", 7)).await;
    let job = queued.expect(202);
    assert_eq!(queued.header("location"), path(&job, ""));
    assert_eq!(queued.header("retry-after"), "1");
    for (field, value) in [
        ("family", json!("rings")),
        ("kind", json!("full-mask")),
        ("seed", json!(7)),
        ("device", json!("auto")),
        ("state", json!("queued")),
        ("attempt", json!(0)),
        ("progress", json!(null)),
        ("detector_id", json!(null)),
        ("error", json!(null)),
        ("started_at", json!(null)),
        ("finished_at", json!(null)),
        ("checkpoint", json!(null)),
    ] {
        assert_eq!(job[field], value, "{field}");
    }
    assert_eq!(job["hyperparameters"]["hidden_dim"], 8, "as asked");
    assert!(job["hyperparameters"]["learning_rate"].is_f64(), "defaults are filled in");
    assert_eq!(app.get(&path(&job, "")).await.expect(200), job);

    let newer = enqueue(&app, 8).await;
    let list = app.get(JOBS).await.expect(200);
    assert_eq!(list["items"], json!([newer, job]));
    let app = app.kill_and_restart().await;
    assert_eq!(app.get(JOBS).await.expect(200), list, "the queue outlives the process");
}

#[tokio::test]
async fn what_cannot_be_trained_is_located() {
    let app = idle_app().await;
    app.create_family("empty").await;
    for (change, expected) in [
        (json!({"family": "nobody"}), vec!["/family"]),
        (json!({"family": "empty"}), vec!["/family"]),
        (json!({"kind": "half-mask"}), vec!["/kind"]),
        (json!({"device": "cuda"}), vec!["/device"]),
        (json!({"device": "cuda:9"}), vec!["/device"]),
        (json!({"device": "tpu"}), vec!["/device"]),
        (json!({"seed": -1}), vec!["/seed"]),
        (json!({"hyperparameters": {"hidden_dim": 1_000_000_000}}), vec!["/hyperparameters/hidden_dim"]),
        (json!({"hyperparameters": {"colour": 1}}), vec!["/hyperparameters/colour"]),
        (json!({"hyperparameters": []}), vec!["/hyperparameters"]),
        (json!({"priority": 1}), vec!["/priority"]),
    ] {
        let mut body = json!({"family": "rings", "kind": "full-mask"});
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let problem = app.post_json(JOBS, &body).await.expect_problem(422, "invalid");
        assert_eq!(pointers(&problem), expected, "{body}");
    }
    assert_eq!(app.get(JOBS).await.expect(200)["items"], json!([]), "none of them is queued");
    app.get(&format!("{JOBS}/not-an-id")).await.expect_problem(404, "not-found");
    app.get(&format!("{JOBS}/019a1b2c-3d4e-7f50-8a9b-0c1d2e3f4a5b")).await.expect_problem(404, "not-found");
}

#[tokio::test]
async fn the_same_idempotency_key_means_the_same_job() {
    let app = idle_app().await;
    let body = quick_job("rings", "full-mask", 1);
    let first = post_with_key(&app, "mine-1", &body).await.expect(202);
    assert_eq!(post_with_key(&app, "mine-1", &body).await.expect(202), first);
    let mut respelt = body.clone();
    respelt["device"] = json!("auto");
    assert_eq!(post_with_key(&app, "mine-1", &respelt).await.expect(202), first, "defaults said aloud");

    let other = quick_job("rings", "full-mask", 2);
    post_with_key(&app, "mine-1", &other).await.expect_problem(422, "invalid");
    assert_ne!(post_with_key(&app, "mine-2", &other).await.expect(202)["id"], first["id"]);
    for bad in ["", "é", &"x".repeat(256)] {
        post_with_key(&app, bad, &body).await.expect_problem(400, "bad-request");
    }
    assert_eq!(app.get(JOBS).await.expect(200)["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn the_queue_is_bounded() {
    let app = idle_app().await;
    for seed in 0..100 {
        enqueue(&app, seed).await;
    }
    let refused = app.post_json(JOBS, &quick_job("rings", "full-mask", 100)).await;
    refused.expect_problem(429, "too-many-requests");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    let newest = app.get(&format!("{JOBS}?limit=1")).await.expect(200)["items"][0].clone();
    post(&app, &path(&newest, "/cancel")).await.expect(200);
    enqueue(&app, 100).await;
}

#[tokio::test]
async fn a_queued_job_is_cancelled_and_run_again() {
    let app = idle_app().await;
    let job = enqueue(&app, 1).await;
    post(&app, &path(&job, "/retry")).await.expect_problem(409, "conflict");
    let cancelled = post(&app, &path(&job, "/cancel")).await.expect(200);
    assert_eq!(cancelled["state"], "cancelled");
    assert!(cancelled["finished_at"].is_string());
    assert_eq!(post(&app, &path(&job, "/cancel")).await.expect(200), cancelled, "again changes nothing");
    let queued = post(&app, &path(&job, "/retry")).await.expect(202);
    assert_eq!((&queued["state"], &queued["finished_at"]), (&json!("queued"), &json!(null)));
}

#[tokio::test]
async fn a_history_is_listed_streamed_and_resumed() {
    let app = idle_app().await;
    let job = enqueue(&app, 1).await;
    for action in ["/cancel", "/retry", "/cancel"] {
        assert!(post(&app, &path(&job, action)).await.status < 300);
    }
    let events = path(&job, "/events");
    let listed = |after: &'static str| {
        let request = app.request(Method::GET, &format!("{events}{after}")).header("accept", "application/json");
        app.send(request)
    };
    let all = listed("").await.expect(200);
    let items = all["items"].as_array().unwrap();
    assert_eq!(items.iter().map(|item| &item["sequence"]).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let told: Vec<_> = items.iter().map(|item| item["event"].as_str().unwrap()).collect();
    assert_eq!(told, ["queued", "cancelled", "queued", "cancelled"]);
    assert_eq!(all["next_after"], json!(null));
    assert_eq!(listed("?after=3").await.expect(200)["items"], json!([items[3]]));
    assert_eq!(listed("?after=99").await.expect(200)["items"], json!([]));

    let whole = app.get(&events).await;
    assert_eq!((whole.status, whole.content_type()), (200, Some("text/event-stream")));
    let whole = frames(&whole.text());
    assert_eq!(names(&whole), ["queued", "cancelled", "queued", "cancelled", "done"]);
    for ((id, _, data), item) in whole.iter().zip(items) {
        assert_eq!((json!(id), data), (item["sequence"].clone(), item));
    }
    let (id, _, done) = &whole[4];
    assert_eq!((id, done), (&None, &app.get(&path(&job, "")).await.expect(200)), "the job itself");

    let resumed = app.send(app.request(Method::GET, &events).header("last-event-id", "3")).await;
    assert_eq!(names(&frames(&resumed.text())), ["cancelled", "done"]);
    let past = app.get(&format!("{events}?after=4")).await;
    assert_eq!(names(&frames(&past.text())), ["done"]);
    let bad = app.send(app.request(Method::GET, &events).header("last-event-id", "x")).await;
    bad.expect_problem(400, "bad-request");
    app.get(&format!("{events}?after=x")).await.expect_problem(400, "bad-request");
    app.get(&format!("{JOBS}/019a1b2c-3d4e-7f50-8a9b-0c1d2e3f4a5b/events")).await.expect_problem(404, "not-found");
}

#[tokio::test]
async fn a_stream_is_live_and_closes_when_the_job_ends() {
    let app = idle_app().await;
    let job = enqueue(&app, 1).await;
    let mut stream = app.request(Method::GET, &path(&job, "/events")).send().await.expect("a stream");
    let mut text = String::from_utf8(stream.chunk().await.unwrap().expect("the first event").to_vec()).unwrap();
    assert_eq!(names(&frames(&text)), ["queued"]);
    post(&app, &path(&job, "/cancel")).await.expect(200);
    while let Some(piece) = stream.chunk().await.unwrap() {
        text.push_str(std::str::from_utf8(&piece).unwrap());
    }
    assert_eq!(names(&frames(&text)), ["queued", "cancelled", "done"]);
}

#[tokio::test]
async fn a_stream_ends_when_the_service_stops() {
    let app = idle_app().await;
    let job = enqueue(&app, 1).await;
    let stream = app.request(Method::GET, &path(&job, "/events")).send().await.expect("a stream");
    app.ask_to_stop().await;
    let text = tokio::time::timeout(Duration::from_secs(10), stream.text()).await.expect("it ends by itself");
    assert_eq!(names(&frames(&text.expect("a whole stream"))), ["queued"], "the job is not done");
}

#[tokio::test]
async fn streams_are_bounded_and_give_their_room_back() {
    let app = idle_app().await;
    let job = enqueue(&app, 1).await;
    let mut open = Vec::new();
    for _ in 0..64 {
        open.push(app.request(Method::GET, &path(&job, "/events")).send().await.expect("a stream"));
    }
    let refused = app.get(&path(&job, "/events")).await;
    refused.expect_problem(429, "too-many-requests");
    refused.header("retry-after");
    let request = app.request(Method::GET, &path(&job, "/events")).header("accept", "application/json");
    app.send(request).await.expect(200);
    drop(open);
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let again = app.request(Method::GET, &path(&job, "/events")).send().await.expect("an answer");
        if again.status() == 200 {
            break;
        }
        assert!(Instant::now() < deadline, "the room of those who left is not given back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_job_trains_a_detector_that_becomes_active() {
    let app = App::start().await;
    create_layers(&app, "layers", 60).await;
    let job = app.post_json(JOBS, &quick_job("layers", "full-edge-prediction", 3)).await.expect(202);
    let stream = frames(&app.get(&path(&job, "/events")).await.text());
    let told = names(&stream);
    assert_eq!(told[..2], ["queued", "started"]);
    assert_eq!(told[told.len() - 2..], ["succeeded", "done"]);
    assert!(told.contains(&"progress"), "{told:?}");
    let ids: Vec<i64> = stream.iter().filter_map(|(id, ..)| *id).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");

    let done = app.get(&path(&job, "")).await.expect(200);
    assert_eq!((&done["state"], &done["attempt"]), (&json!("succeeded"), &json!(1)));
    assert!(done["started_at"].is_string() && done["finished_at"].is_string(), "{done}");
    assert!(done["progress"]["epochs"].as_u64().unwrap() > 0, "{done}");
    let family = app.get("/v1/families/layers").await.expect(200);
    let active = json!([{"kind": "full-edge-prediction", "detector_id": done["detector_id"]}]);
    assert_eq!(family["active_detectors"], active);
    post(&app, &path(&job, "/cancel")).await.expect_problem(409, "conflict");
    post(&app, &path(&job, "/retry")).await.expect_problem(409, "conflict");
}

#[tokio::test]
async fn a_running_job_is_stopped_and_the_next_takes_its_turn() {
    let app = App::start().await;
    create_layers(&app, "layers", 60).await;
    let mut endless = quick_job("layers", "full-mask", 1);
    let forever = json!({"epochs": 10_000, "steps_per_epoch": 10_000, "patience": 10_000});
    endless["hyperparameters"].as_object_mut().unwrap().extend(forever.as_object().unwrap().clone());
    let first = app.post_json(JOBS, &endless).await.expect(202);
    let second = app.post_json(JOBS, &quick_job("layers", "full-mask", 2)).await.expect(202);
    wait_until(&app, first["id"].as_str().unwrap(), |job| job["state"] == "running").await;
    assert_eq!(app.get(&path(&second, "")).await.expect(200)["state"], "queued", "it waits its turn");

    let cancelled = post(&app, &path(&first, "/cancel")).await.expect(200);
    assert_eq!(cancelled["state"], "cancelled");
    let second = wait_until(&app, second["id"].as_str().unwrap(), is_final).await;
    assert_eq!(second["state"], "succeeded", "{second:#}");
    assert_eq!(app.get(&path(&first, "")).await.expect(200)["state"], "cancelled");
}
