//! Whether a family's traffic is still of the family; and verdicts over whole batches.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{App, pointers};
use crate::trained::{create_layers, train};

const SCORE: &str = "/v1/families/layers/score";
const DRIFT: &str = "/v1/families/layers/drift";

async fn trained_app(settings: &[(&str, &str)], kinds: &[&str]) -> App {
    let app = App::with(settings).await;
    create_layers(&app, "layers", 60).await;
    for kind in kinds {
        train(&app, "layers", kind, 1).await;
    }
    app
}

/// Graphs that are of the family and that its detectors have not seen.
async fn kin(app: &App, count: usize) -> Vec<Value> {
    let spec = json!({"synthetic": {"type": "1", "width": 4, "height": 4, "count": count, "seed": 2}});
    app.post_json("/v1/datasets?name=kin", &spec).await.expect(201);
    let list = app.get("/v1/families/kin/graphs?limit=200").await.expect(200);
    let mut graphs = Vec::new();
    for item in list["items"].as_array().unwrap() {
        let id = item["id"].as_str().unwrap();
        graphs.push(app.get(&format!("/v1/families/kin/graphs/{id}")).await.expect(200));
    }
    assert_eq!(graphs.len(), count);
    graphs
}

/// Cliques: none of the family.
fn strangers(count: usize) -> Vec<Value> {
    let clique = |n: usize| -> Vec<[usize; 2]> { (0..n).flat_map(|a| (a + 1..n).map(move |b| [a, b])).collect() };
    (0..count).map(|i| json!({"nodes": 10 + i % 5, "edges": clique(10 + i % 5)})).collect()
}

async fn send(app: &App, graphs: &[Value]) {
    for batch in graphs.chunks(20) {
        app.post_json(SCORE, &json!({"graphs": batch})).await.expect(200);
    }
}

async fn drift(app: &App) -> Value {
    app.get(DRIFT).await.expect(200)
}

#[tokio::test]
async fn traffic_of_the_family_is_no_drift_and_strangers_are() {
    let app = trained_app(&[], &["full-mask", "full-edge-prediction"]).await;
    app.get("/v1/families/nobody/drift").await.expect_problem(404, "not-found");
    let nothing = drift(&app).await;
    assert_eq!((&nothing["drifted"], &nothing["count"], &nothing["from"]), (&json!(null), &json!(0), &json!(null)));
    assert!(nothing["reason"].as_str().unwrap().contains("it takes 20"), "{nothing}");

    let kin = kin(&app, 60).await;
    let lines: String = kin[..20].iter().map(|graph| format!("{graph}\n")).collect();
    assert_eq!(app.post(SCORE, "application/x-ndjson", lines).await.status, 200);
    send(&app, &kin[20..]).await;
    let same = drift(&app).await;
    assert_eq!((&same["drifted"], &same["count"]), (&json!(false), &json!(60)), "{same:#}");
    assert_eq!((&same["martingale"]["alarm"], &same["two_sample"]["alarm"]), (&json!(false), &json!(false)));
    assert_eq!(same["calibration_size"], calibration_size(&app, &kin[0]).await);
    let counts = same["p_values"]["counts"].as_array().unwrap();
    assert_eq!((counts.len(), counts.iter().filter_map(Value::as_u64).sum::<u64>()), (10, 60));
    assert_eq!(drift(&app).await, same, "what is asked again is answered the same");

    send(&app, &strangers(40)).await;
    let other = drift(&app).await;
    assert_eq!((&other["drifted"], &other["count"]), (&json!(true), &json!(100)), "{other:#}");
    assert_eq!(other["martingale"]["alarm"], true, "{other:#}");
    let first_alarm = other["martingale"]["first_alarm"].as_str().unwrap();
    assert!(other["reason"].as_str().unwrap().contains(first_alarm), "{other:#}");
    assert!(first_alarm > same["to"].as_str().unwrap(), "not before the strangers came: {other:#}");

    let recent = app.get(&format!("{DRIFT}?window=30")).await.expect(200);
    assert_eq!((&recent["count"], &recent["kept"], &recent["drifted"]), (&json!(30), &json!(100), &json!(true)));
    assert_eq!(recent["two_sample"]["alarm"], true, "nothing but strangers: {recent:#}");
    assert_eq!((&recent["to"], &recent["since"]), (&other["to"], &other["from"]));
    let hour = app.get(&format!("{DRIFT}?window=1h&alpha=0.05")).await.expect(200);
    assert_eq!((&hour["count"], &hour["alpha"]), (&json!(100), &json!(0.05)));
    for (query, status, code) in [
        ("window=0", 422, "invalid"),
        ("window=soon", 422, "invalid"),
        ("alpha=1", 422, "invalid"),
        ("alpha=x", 400, "bad-request"),
        ("windows=5", 400, "bad-request"),
    ] {
        app.get(&format!("{DRIFT}?{query}")).await.expect_problem(status, code);
    }
}

/// Asked without being counted.
async fn calibration_size(app: &App, graph: &Value) -> Value {
    let body = json!({"graph": graph, "options": {"record": false}});
    app.post_json(SCORE, &body).await.expect(200)["verdict"]["calibration_size"].clone()
}

#[tokio::test]
async fn what_is_not_comparable_or_not_to_count_does_not_count() {
    let app = trained_app(&[], &["full-mask", "full-edge-prediction"]).await;
    let graph = &strangers(1)[0];
    let kept = async || drift(&app).await["kept"].as_u64().unwrap();
    let answer = app.post_json(SCORE, &json!({"graph": graph})).await.expect(200);
    assert_eq!(kept().await, 1);
    app.post_json(SCORE, &json!({"graph": graph})).await.expect(200);
    assert_eq!(kept().await, 2, "it came again, remembered or not");
    let both = json!(["full-edge-prediction", "full-mask"]);
    for options in [json!({"tail": "upper"}), json!({"seed": 4}), json!({"samples": 10}), json!({"kinds": both})] {
        let before = kept().await;
        app.post_json(SCORE, &json!({"graph": graph, "options": options})).await.expect(200);
        assert_eq!(kept().await, before + 1, "{options}");
    }
    for options in [json!({"record": false}), json!({"kinds": ["full-mask"]}), json!({"samples": 11})] {
        app.post_json(SCORE, &json!({"graph": graph, "options": options})).await.expect(200);
    }
    let line = format!("{graph}\n");
    assert_eq!(app.post(&format!("{SCORE}?record=false"), "application/x-ndjson", line).await.status, 200);
    let detector = answer["scores"][0]["detector_id"].as_str().unwrap();
    app.post_json(&format!("/v1/detectors/{detector}/score"), &json!({"graph": graph})).await.expect(200);
    app.post_json(SCORE, &json!({"graph": {"nodes": 0, "edges": []}})).await.expect_problem(422, "invalid");
    assert_eq!(kept().await, 6);
}

#[tokio::test]
async fn a_detector_that_changes_begins_a_new_window() {
    let app = trained_app(&[], &["full-edge-prediction"]).await;
    send(&app, &strangers(25)).await;
    let old = drift(&app).await;
    assert_eq!((&old["kept"], &old["drifted"]), (&json!(25), &json!(true)), "{old:#}");

    let new = train(&app, "layers", "full-edge-prediction", 2).await;
    let begun = drift(&app).await;
    assert_eq!((&begun["kept"], &begun["since"], &begun["drifted"]), (&json!(0), &json!(null), &json!(null)));
    assert_eq!(begun["detectors"], json!([{"kind": "full-edge-prediction", "detector_id": new}]));
    send(&app, &strangers(3)).await;
    let after = drift(&app).await;
    assert_eq!(after["kept"], 3);
    assert!(after["since"].as_str() > old["to"].as_str(), "{after:#}");

    let back = json!({"detector_id": old["detectors"][0]["detector_id"]});
    app.put_json("/v1/families/layers/active/full-edge-prediction", &back).await.expect(200);
    assert_eq!(drift(&app).await, old, "the old one's scores are comparable again");
}

#[tokio::test]
async fn they_are_bounded_and_outlive_a_stop_and_a_crash() {
    let app = trained_app(&[("served-scores", "30")], &["full-edge-prediction"]).await;
    send(&app, &strangers(25)).await;
    let app = app.stop_and_restart().await;
    assert_eq!(drift(&app).await["kept"], 25, "what was answered before an orderly stop is there after it");
    send(&app, &strangers(20)).await;
    let full = drift(&app).await;
    assert_eq!(full["kept"], 30);
    send(&app, &strangers(1)).await;
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    let app = app.kill_and_restart().await;
    let after = drift(&app).await;
    assert_eq!(after["kept"], 30);
    assert!(after["to"].as_str() > full["to"].as_str(), "a crash loses at most a second's: {after:#}");
    let metrics = app.get("/metrics").await.text();
    assert!(metrics.contains("graphkin_served_scores_dropped_total 0"), "{metrics}");

    let app = app.restart_with(&[("served-scores", "0")]).await;
    send(&app, &strangers(5)).await;
    let off = drift(&app).await;
    assert_eq!((&off["kept"], &off["drifted"]), (&json!(0), &json!(null)));
    assert!(off["reason"].as_str().unwrap().contains("served_scores"), "{off:#}");
    let app = app.restart_with(&[]).await;
    assert_eq!(drift(&app).await["kept"], 0, "0 keeps none, of those before either");
}

#[tokio::test]
async fn a_batch_is_judged_at_a_false_discovery_rate() {
    let app = trained_app(&[], &["full-edge-prediction"]).await;
    let mut graphs = kin(&app, 30).await;
    graphs.extend(strangers(10));
    let body = |options: Value| json!({"graphs": graphs, "options": options});
    let plain = app.post_json(SCORE, &body(json!({}))).await.expect(200);
    let judged = app.post_json(SCORE, &body(json!({"fdr": 0.2}))).await.expect(200);
    let results = judged["results"].as_array().unwrap();
    let number = |result: &Value, name: &str| result["verdict"][name].as_f64().unwrap();
    let mut sorted: Vec<f64> = results.iter().map(|result| number(result, "p_value")).collect();
    sorted.sort_by(f64::total_cmp);
    let limits = sorted.iter().enumerate().map(|(i, p)| (*p, 0.2 * (i as f64 + 1.0) / 40.0));
    let last = limits.filter(|(p, limit)| *p <= limit + 1e-12).map(|(p, _)| p).fold(0.0, f64::max);
    for (result, plain) in results.iter().zip(plain["results"].as_array().unwrap()) {
        let verdict = &result["verdict"];
        assert_eq!(number(result, "p_value"), number(plain, "p_value"));
        assert_eq!(verdict["anomalous"], json!(number(result, "p_value") <= last), "{verdict}");
        assert_eq!(verdict["anomalous"], json!(number(result, "q_value") <= 0.2 + 1e-12), "{verdict}");
        assert_eq!((&verdict["fdr"], verdict.get("alpha")), (&json!(0.2), None));
        assert_eq!((&plain["verdict"]["alpha"], plain["verdict"].get("q_value")), (&json!(0.05), None));
    }
    assert!(results[30..].iter().all(|result| result["verdict"]["anomalous"] == true), "all ten strangers");
    let min_p = number(&results[0], "min_p");
    let few = 0.2 < 40.0 * min_p;
    assert_eq!(results[0]["warnings"].to_string().contains("are few for 40 graphs"), few, "{}", results[0]);

    for (options, expected) in [
        (json!({"fdr": 0.1, "alpha": 0.1}), vec!["/options/alpha", "/options/fdr"]),
        (json!({"fdr": 0}), vec!["/options/fdr"]),
        (json!({"fdr": "low"}), vec!["/options/fdr"]),
        (json!({"fdr": 1e-4}), vec!["/options/fdr"]),
    ] {
        let problem = app.post_json(SCORE, &body(options.clone())).await.expect_problem(422, "invalid");
        assert_eq!(pointers(&problem), expected, "{options}");
    }
    let one = json!({"graph": graphs[0], "options": {"fdr": 0.1}});
    let problem = app.post_json(SCORE, &one).await.expect_problem(422, "invalid");
    assert_eq!(pointers(&problem), ["/options/fdr"]);
    let line = format!("{}\n", graphs[0]);
    let problem = app.post(&format!("{SCORE}?fdr=0.1"), "application/x-ndjson", line).await;
    let problem = problem.expect_problem(422, "invalid");
    assert!(problem["detail"].as_str().unwrap().contains("a stream has no end"), "{problem}");
}
