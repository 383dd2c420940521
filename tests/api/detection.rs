//! What the service is for: graphs of another class are told apart, and graphs of the family are let be.

use graphkin::stats::cluster::{two_class_accuracy, ward_two_clusters};
use graphkin::stats::conformal::false_positive_band;
use graphkin::stats::ranking::auroc;
use serde_json::{Value, json};

use crate::support::App;
use crate::test_data::dataset;
use crate::trained::{is_final, wait_until};

const MASKED: [&str; 2] = ["full-mask", "full-edge-prediction"];

const LIKELIHOOD: [&str; 2] = ["graphrnn", "gran"];

/// Limits that real data fits in.
const ROOM: [(&str, &str); 5] = [
    ("max-upload", "33554432"),
    ("max-unpacked", "268435456"),
    ("max-dataset-graphs", "10000"),
    ("max-body", "16777216"),
    ("max-line", "1048576"),
];

/// Trains with the defaults but for fewer epochs: enough to tell these families apart, and quick.
async fn train(app: &App, family: &str, kind: &str, epochs: u64) {
    train_with(app, family, kind, json!({"epochs": epochs})).await;
}

async fn train_with(app: &App, family: &str, kind: &str, hyperparameters: Value) {
    let job = json!({"family": family, "kind": kind, "seed": 1, "hyperparameters": hyperparameters});
    let job = app.post_json("/v1/admin/training-jobs", &job).await.expect(202);
    let job = wait_until(app, job["id"].as_str().unwrap(), is_final).await;
    assert_eq!(job["state"], "succeeded", "{job:#}");
}

/// The graphs of a family, of one split where given, as the service gives them back.
async fn graphs(app: &App, family: &str, split: Option<&str>) -> Vec<Value> {
    let (mut graphs, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = app.get(&format!("/v1/families/{family}/graphs?limit=200{cursor}")).await.expect(200);
        for row in page["items"].as_array().unwrap() {
            if split.is_none_or(|split| row["split"] == split) {
                let id = row["id"].as_str().unwrap();
                graphs.push(app.get(&format!("/v1/families/{family}/graphs/{id}")).await.expect(200));
            }
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return graphs,
        }
    }
}

/// Scores graphs in one stream; an answer each.
async fn score(app: &App, family: &str, graphs: &[Value], query: &str) -> Vec<Value> {
    let lines: String = graphs.iter().map(|graph| format!("{graph}\n")).collect();
    let answer = app.post(&format!("/v1/families/{family}/score?{query}"), "application/x-ndjson", lines).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answers: Vec<Value> = answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), graphs.len());
    answers
}

fn numbers(answers: &[Value], pointer: &str) -> Vec<f64> {
    answers.iter().map(|answer| answer.pointer(pointer).unwrap().as_f64().unwrap()).collect()
}

#[tokio::test]
async fn the_classes_of_aids_are_told_apart_both_ways() {
    let Some(archive) = dataset("AIDS.zip") else { return };
    let app = App::with(&ROOM).await;
    let imported = app.post("/v1/datasets?name=aids", "application/zip", archive).await.expect(201);
    let counts: Vec<_> = imported["families"].as_array().unwrap().iter().map(|family| &family["graphs"]).collect();
    assert_eq!(counts, [400, 1600]);
    for (normal, other) in [("aids-1", "aids-0"), ("aids-0", "aids-1")] {
        train(&app, normal, "full-edge-prediction", 6).await;
        let held_out = score(&app, normal, &graphs(&app, normal, Some("test")).await, "").await;
        let strangers = score(&app, normal, &graphs(&app, other, None).await, "").await;
        let auroc =
            auroc(&numbers(&held_out, "/verdict/nonconformity"), &numbers(&strangers, "/verdict/nonconformity"));
        assert!(auroc >= 0.95, "{normal} against {other}: {auroc}");
        let calibrated = held_out[0]["verdict"]["calibration_size"].as_u64().unwrap() as usize;
        let accused = held_out.iter().filter(|answer| answer["verdict"]["anomalous"] == true).count();
        let (least, most) = false_positive_band(calibrated, held_out.len(), 0.05, 0.95);
        assert!(
            (least..=most).contains(&accused),
            "{normal}: {accused} of {} accused, {least} to {most}",
            held_out.len()
        );
        eprintln!("{normal} against {other}: AUROC {auroc:.4}, {accused} of {} accused", held_out.len());
    }
}

#[tokio::test]
async fn the_studys_synthetic_families_are_told_apart_by_the_masked_kinds() {
    let app = App::with(&ROOM).await;
    for (name, kind, count, seed) in
        [("one", "1", 200, 1), ("two-a", "2a", 40, 2), ("three", "3", 40, 3), ("regular", "random-regular", 40, 4)]
    {
        let spec = json!({"type": kind, "width": 6, "height": 10, "count": count, "seed": seed});
        app.post_json(&format!("/v1/datasets?name={name}"), &json!({"synthetic": spec})).await.expect(201);
    }
    for kind in MASKED {
        train(&app, "one", kind, 6).await;
        let query = format!("kinds={kind}");
        let normal = score(&app, "one", &graphs(&app, "one", Some("test")).await, &query).await;
        for stranger in ["two-a", "three", "regular"] {
            let anomalous = score(&app, "one", &graphs(&app, stranger, None).await, &query).await;
            let nonconformities = |answers: &[Value]| numbers(answers, "/verdict/nonconformity");
            assert_eq!(auroc(&nonconformities(&normal), &nonconformities(&anomalous)), 1.0, "{kind} {stranger}");
            let histograms: Vec<Vec<f64>> = normal.iter().chain(&anomalous).map(histogram).collect();
            let truth: Vec<bool> = (0..histograms.len()).map(|index| index >= normal.len()).collect();
            let accuracy = two_class_accuracy(&ward_two_clusters(&histograms), &truth);
            assert_eq!(accuracy, 1.0, "{kind} {stranger}: clustered by histograms");
        }
    }
}

/// The hard pair: both have 60 nodes, 180 edges and cycles for layers; they differ in how the layers are joined.
#[tokio::test]
async fn type_2c_is_told_from_type_3_by_the_masked_kinds() {
    let app = App::with(&ROOM).await;
    for (name, kind, count, seed) in [("two-c", "2c", 300, 1), ("three", "3", 60, 2)] {
        let spec = json!({"type": kind, "width": 6, "height": 10, "count": count, "seed": seed});
        app.post_json(&format!("/v1/datasets?name={name}"), &json!({"synthetic": spec})).await.expect(201);
    }
    for kind in MASKED {
        train(&app, "two-c", kind, 4).await;
        let query = format!("kinds={kind}");
        let normal = score(&app, "two-c", &graphs(&app, "two-c", Some("test")).await, &query).await;
        let anomalous = score(&app, "two-c", &graphs(&app, "three", None).await, &query).await;
        let nonconformities = |answers: &[Value]| numbers(answers, "/verdict/nonconformity");
        let auroc = auroc(&nonconformities(&normal), &nonconformities(&anomalous));
        eprintln!("2c against 3, {kind}: AUROC {auroc:.4}");
        assert!(auroc >= 0.95, "{kind}: {auroc}");
    }
}

/// The likelihood kinds, with all defaults but the epochs: type 1 against the strangers of the study, one-sided as in the
/// study and two-sided; and what they learnt is the family, not its training graphs.
#[tokio::test]
async fn the_studys_synthetic_families_are_told_apart_by_likelihood() {
    let app = App::with(&ROOM).await;
    for (name, kind, count, seed) in
        [("one", "1", 200, 1), ("two-a", "2a", 40, 2), ("three", "3", 40, 3), ("regular", "random-regular", 40, 4)]
    {
        let spec = json!({"type": kind, "width": 6, "height": 10, "count": count, "seed": seed});
        app.post_json(&format!("/v1/datasets?name={name}"), &json!({"synthetic": spec})).await.expect(201);
    }
    for kind in LIKELIHOOD {
        train(&app, "one", kind, 8).await;
        for tail in ["upper", "two-sided"] {
            let query = format!("kinds={kind}&tail={tail}");
            let normal = score(&app, "one", &graphs(&app, "one", Some("test")).await, &query).await;
            for stranger in ["two-a", "three", "regular"] {
                let anomalous = score(&app, "one", &graphs(&app, stranger, None).await, &query).await;
                let nonconformities = |answers: &[Value]| numbers(answers, "/scores/0/nonconformity");
                let auroc = auroc(&nonconformities(&normal), &nonconformities(&anomalous));
                assert_eq!(auroc, 1.0, "{kind} {stranger} {tail}");
            }
        }
        let query = format!("kinds={kind}");
        let nll = |answers: &[Value]| numbers(answers, "/scores/0/nll/per_node");
        let train = nll(&score(&app, "one", &graphs(&app, "one", Some("train")).await, &query).await);
        let test = nll(&score(&app, "one", &graphs(&app, "one", Some("test")).await, &query).await);
        let (distance, critical) = kolmogorov_smirnov(&train, &test, 0.05);
        eprintln!("type 1, {kind}: train against test, D = {distance:.3}, rejected from {critical:.3}");
        assert!(distance < critical, "{kind}: train and test differ, D = {distance} of {critical}");
    }
}

/// The two-sample statistic, and from where on its asymptotic test rejects at `alpha` (Smirnov 1948).
fn kolmogorov_smirnov(a: &[f64], b: &[f64], alpha: f64) -> (f64, f64) {
    let share = |of: &[f64], at: f64| of.iter().filter(|&&value| value <= at).count() as f64 / of.len() as f64;
    let distance = a.iter().chain(b).map(|&at| (share(a, at) - share(b, at)).abs()).fold(0.0, f64::max);
    let (n, m) = (a.len() as f64, b.len() as f64);
    (distance, (-(alpha / 2.0).ln() / 2.0).sqrt() * ((n + m) / (n * m)).sqrt())
}

#[tokio::test]
async fn type_2c_is_told_from_type_3_by_likelihood() {
    let app = App::with(&ROOM).await;
    for (name, kind, count, seed) in [("two-c", "2c", 300, 1), ("three", "3", 60, 2)] {
        let spec = json!({"type": kind, "width": 6, "height": 10, "count": count, "seed": seed});
        app.post_json(&format!("/v1/datasets?name={name}"), &json!({"synthetic": spec})).await.expect(201);
    }
    for kind in LIKELIHOOD {
        train(&app, "two-c", kind, 8).await;
        let query = format!("kinds={kind}");
        let normal = score(&app, "two-c", &graphs(&app, "two-c", Some("test")).await, &query).await;
        let anomalous = score(&app, "two-c", &graphs(&app, "three", None).await, &query).await;
        let by = |pointer: &str| auroc(&numbers(&normal, pointer), &numbers(&anomalous, pointer));
        let (verdict, nll) = (by("/verdict/nonconformity"), by("/scores/0/nll/per_node"));
        eprintln!("2c against 3, {kind}: AUROC {verdict:.4}, of the likelihood alone {nll:.4}");
        assert!(verdict >= 0.9, "{kind}: {verdict}");
    }
}

/// With nothing but defaults.
#[tokio::test]
async fn inactive_molecules_are_told_from_active_ones_by_likelihood() {
    let Some(archive) = dataset("AIDS.zip") else { return };
    let app = App::with(&ROOM).await;
    app.post("/v1/datasets?name=aids", "application/zip", archive).await.expect(201);
    for kind in LIKELIHOOD {
        train_with(&app, "aids-1", kind, json!({})).await;
        let query = format!("kinds={kind}");
        let held_out = score(&app, "aids-1", &graphs(&app, "aids-1", Some("test")).await, &query).await;
        let strangers = score(&app, "aids-1", &graphs(&app, "aids-0", None).await, &query).await;
        let by = |pointer: &str| auroc(&numbers(&held_out, pointer), &numbers(&strangers, pointer));
        let (verdict, nll) = (by("/verdict/nonconformity"), by("/scores/0/nll/per_node"));
        eprintln!("aids-1 against aids-0, {kind}: AUROC {verdict:.4}, of the likelihood alone {nll:.4}");
        assert!(verdict >= 0.995, "{kind}: {verdict}");
        let calibrated = held_out[0]["verdict"]["calibration_size"].as_u64().unwrap() as usize;
        let accused = held_out.iter().filter(|answer| answer["verdict"]["anomalous"] == true).count();
        let (least, most) = false_positive_band(calibrated, held_out.len(), 0.05, 0.95);
        assert!((least..=most).contains(&accused), "{kind}: {accused} accused, {least} to {most}");
    }
}

fn histogram(answer: &Value) -> Vec<f64> {
    let counts = answer["scores"][0]["completion"]["histogram"].as_array().unwrap();
    counts.iter().map(|count| count.as_f64().unwrap()).collect()
}
