//! GraphRNN and GRAN over HTTP: hyper-parameters from the data, what is refused, and graphs unlike any in training.

use std::io::Cursor;

use graphkin::graph::Limits;
use graphkin::graph::format::json::to_canonical;
use graphkin::graph::format::tu::{self, ArchiveLimits};
use serde_json::{Value, json};

use crate::support::{App, pointers};
use crate::test_data::dataset;
use crate::trained::{create_layers, is_final, quick_job, train, wait_until};

const LIKELIHOOD: [&str; 2] = ["graphrnn", "gran"];

const SCORE: &str = "/v1/families/layers/score";

async fn finish(app: &App, job: &Value) -> Value {
    let job = app.post_json("/v1/admin/training-jobs", job).await.expect(202);
    let job = wait_until(app, job["id"].as_str().unwrap(), is_final).await;
    assert_eq!(job["state"], "succeeded", "{job:#}");
    job
}

#[tokio::test]
async fn what_is_not_asked_for_is_chosen_by_the_family_and_shown() {
    let app = App::start().await;
    create_layers(&app, "layers", 60).await;
    for kind in LIKELIHOOD {
        let mut job = quick_job("layers", kind, 1);
        job["hyperparameters"].as_object_mut().unwrap().remove("hidden_dim");
        let job = finish(&app, &job).await;
        assert!(job["hyperparameters"]["hidden_dim"].is_null(), "left to the family: {job:#}");
        assert!(job["progress"]["loss"].as_f64().unwrap() > 0.0);
        let detector = app.get(&format!("/v1/detectors/{}", job["detector_id"].as_str().unwrap())).await.expect(200);
        let chosen = detector["hyperparameters"].as_object().unwrap();
        assert!(!chosen.values().any(Value::is_null), "{chosen:?}");
        assert_eq!(chosen["mode"], "proper");
        assert!((4..16).contains(&chosen["max_prev_node"].as_u64().unwrap()), "the bandwidth of these: {chosen:?}");
        assert_eq!(chosen["batch_size"], 4, "as asked");

        let distributions = app.get("/v1/families/layers/distributions").await.expect(200);
        let told = distributions["detectors"].as_array().unwrap().iter().find(|told| told["kind"] == kind).unwrap();
        for split in ["train", "calibration", "test"] {
            let of_split = |one: &&Value| one["split"] == split && one["statistic"] == "nll_per_node";
            let found = told["distributions"].as_array().unwrap().iter().find(of_split);
            assert!(found.is_some_and(|one| one["mean"].as_f64().unwrap() > 0.0), "{kind} {split}");
        }
    }
}

#[tokio::test]
async fn hyperparameters_out_of_range_are_named() {
    let app = App::start().await;
    create_layers(&app, "layers", 60).await;
    for (kind, hyperparameters, places) in [
        ("graphrnn", json!({"max_prev_node": 0, "variant": "lstm"}), vec!["max_prev_node", "variant"]),
        ("graphrnn", json!({"mode": "exact"}), vec!["mode"]),
        ("graphrnn", json!({"samples": 10}), vec!["samples"]),
        ("gran", json!({"block_size": 64, "mixtures": -1}), vec!["block_size", "mixtures"]),
        ("gran", json!({"block_size": 2, "stride": 3}), vec!["stride"]),
    ] {
        let job = json!({"family": "layers", "kind": kind, "hyperparameters": hyperparameters});
        let problem = app.post_json("/v1/admin/training-jobs", &job).await.expect_problem(422, "invalid");
        let expected: Vec<String> = places.iter().map(|name| format!("/hyperparameters/{name}")).collect();
        let mut found = pointers(&problem);
        found.sort_unstable();
        assert_eq!(found, expected, "{problem:#}");
    }
}

/// Every variant and mode trains, and answers for graphs larger, denser and more torn than any in training.
#[tokio::test]
async fn every_variant_answers_for_any_graph() {
    let app = App::start().await;
    create_layers(&app, "layers", 60).await;
    let clique: Vec<[u64; 2]> = (0..40).flat_map(|a| (a + 1..40).map(move |b| [a, b])).collect();
    let torn = json!({"nodes": 9, "edges": [[0, 1], [2, 3], [3, 4], [4, 2], [6, 7]]});
    for (kind, own) in [
        ("graphrnn", json!({"variant": "rnn", "mode": "proper"})),
        ("graphrnn", json!({"variant": "mlp", "mode": "proper"})),
        ("graphrnn", json!({"variant": "rnn", "mode": "faithful"})),
        ("graphrnn", json!({"variant": "mlp", "mode": "faithful"})),
        ("gran", json!({"mode": "proper", "block_size": 3, "stride": 2})),
        ("gran", json!({"mode": "faithful", "block_size": 2, "stride": 1})),
    ] {
        let mut job = quick_job("layers", kind, 1);
        job["hyperparameters"].as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        let id = finish(&app, &job).await["detector_id"].as_str().unwrap().to_owned();
        let proper = own["mode"] == "proper";
        let score = async |graph: &Value| {
            let body = json!({"graph": graph, "options": {"explain": true}});
            app.post_json(&format!("/v1/detectors/{id}/score"), &body).await.expect(200)
        };
        for graph in [&json!({"nodes": 40, "edges": clique}), &torn, &json!({"nodes": 1, "edges": []})] {
            let answer = score(graph).await;
            let nll = &answer["scores"][0]["nll"];
            assert!(nll["per_node"].as_f64().unwrap() >= 0.0, "{own} {answer:#}");
            let warned = answer["warnings"].to_string();
            if graph["nodes"] == 40 {
                let charged = nll["out_of_reach"].as_f64().unwrap() > 0.0;
                assert_eq!(charged, proper, "{own} {nll}");
                assert!(warned.contains("max_prev_node") || (kind == "gran" && !proper), "{own} {warned}");
            }
            if graph == &torn && !proper && kind == "graphrnn" {
                assert!(warned.contains("not modelled"), "{own} {warned}");
            }
        }
    }
}

#[tokio::test]
async fn orderings_are_the_requests_or_those_calibrated_with() {
    let app = App::start().await;
    create_layers(&app, "layers", 60).await;
    train(&app, "layers", "graphrnn", 1).await;
    let graph = json!({"nodes": 5, "edges": [[0, 1], [1, 2], [2, 3], [3, 4], [4, 0]]});
    let plain = app.post_json(SCORE, &json!({"graph": graph})).await.expect(200);
    assert_eq!(plain["scores"][0]["nll"]["orderings"], 4);
    let more = json!({"graph": graph, "options": {"orderings": 20}});
    let more = app.post_json(SCORE, &more).await.expect(200);
    assert_eq!(more["scores"][0]["nll"]["orderings"], 20);
    assert!(more["warnings"].to_string().contains("calibrated with 4"), "{more:#}");
    let masked_option = json!({"graph": graph, "options": {"samples": 30}});
    assert_eq!(app.post_json(SCORE, &masked_option).await.expect(200), plain, "samples are of the masked kinds");
}

/// Networks as wide and far-reaching as DD's, under DD's largest graph and ten orderings.
#[tokio::test]
async fn the_largest_protein_fits_in_memory_or_is_refused_with_the_figure() {
    let Some(archive) = dataset("DD.zip") else { return };
    let limits = ArchiveLimits {
        max_entries: 100,
        max_unpacked_bytes: 1 << 28,
        max_graphs: 10_000,
        graph: Limits { max_nodes: 100_000, max_edges: 1_000_000 },
    };
    let proteins = tu::read(Cursor::new(archive), &limits).unwrap();
    let graphs = proteins.classes.iter().flat_map(|class| class.graphs.iter().map(|(_, graph)| graph));
    let largest = graphs.max_by_key(|graph| graph.node_count()).unwrap();
    assert_eq!(largest.node_count(), 5_748);
    let body = json!({"graph": to_canonical(largest, None), "options": {"orderings": 10}});

    let room = [("max-body", "1048576"), ("max-nodes", "100000"), ("max-edges", "1000000"), ("request-timeout", "300")];
    let app = App::with(&room).await;
    // Large enough for one network, not one for each fold.
    create_layers(&app, "layers", 220).await;
    for (kind, own) in [
        ("graphrnn", json!({"hidden_dim": 96, "embedding_dim": 48, "edge_hidden_dim": 16, "edge_embedding_dim": 8})),
        ("gran", json!({"hidden_dim": 32, "attention_hidden_dim": 32, "mixtures": 10, "block_size": 16})),
    ] {
        let mut job = quick_job("layers", kind, 1);
        let few = json!({"max_prev_node": 254, "epochs": 1, "steps_per_epoch": 1, "orderings": 1});
        for part in [own, few] {
            job["hyperparameters"].as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
        }
        finish(&app, &job).await;
        let score = json!({"graph": body["graph"], "options": {"orderings": 10, "kinds": [kind]}});
        let answer = app.post_json(SCORE, &score).await;
        assert!(answer.expect(200)["scores"][0]["nll"]["per_node"].as_f64().unwrap() > 0.0);
        if let Some(peak) = app.peak_memory() {
            eprintln!("{kind}: {} MiB at most, {}", peak >> 20, answer.header("server-timing"));
            assert!(peak < 2 << 30, "{kind}: {peak} bytes");
        }
    }
    let app = app.restart_with(&[&room[..], &[("max-graph-memory", "1000000")]].concat()).await;
    let problem = app.post_json(SCORE, &body).await.expect_problem(422, "invalid");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("bytes of memory; at most 1000000"), "{problem:#}");
}
