//! The verdict of an experiment and the one that is served, to the last bit.

use std::fs;

use graphkin::detector::Detector;
use graphkin::evaluate::{Comparison, NormalGraphs, Observer, Progress, Sample, Standing, evaluate};
use graphkin::graph::format::json;
use graphkin::graph::{Graph, Limits};
use graphkin::id::DetectorId;
use serde_json::{Value, json};

use crate::support::App;
use crate::trained::beside_strangers;

/// What `graphkin experiment` makes its reports of, asked here about graphs one by one, against what the service answers.
#[tokio::test]
async fn an_experiment_hears_the_very_bits_that_are_served() {
    let app = beside_strangers(&["graphrnn", "gran", "full-mask", "full-edge-prediction"]).await;
    let active = app.get("/v1/families/layers").await.expect(200)["active_detectors"].clone();
    let detectors: Vec<Detector> = active.as_array().unwrap().iter().map(|one| trained_detector(&app, one)).collect();
    let mut graphs = graphs_of(&app, "strangers").await;
    graphs.extend(graphs_of(&app, "layers").await.into_iter().take(12));
    let named = |(index, (_, graph)): (usize, &(Value, Graph))| (index.to_string(), vec![graph.clone()]);
    let of_first = || vec![graphs[0].1.clone()];
    let comparison = Comparison {
        normal: NormalGraphs { train: of_first(), test: of_first(), ..NormalGraphs::default() },
        anomalous: graphs.iter().enumerate().map(named).collect(),
    };
    let ids: Vec<DetectorId> = active
        .as_array()
        .unwrap()
        .iter()
        .map(|one| serde_json::from_value(one["detector_id"].clone()).unwrap())
        .collect();
    let detectors: Vec<(DetectorId, &Detector)> = ids.into_iter().zip(&detectors).collect();
    let report = evaluate(&comparison, &detectors, 0, &mut Alone).unwrap();
    let mut p_values = Vec::new();
    let heard = |standing: &Standing, index: usize| -> f64 {
        let sample = Sample::Anomalous(index);
        let of_graph = standing.nonconformity.iter().find(|one| one.sample == sample).unwrap();
        assert_eq!(of_graph.count, 1, "its mean is the graph's own");
        of_graph.mean
    };
    for (index, (wire, _)) in graphs.iter().enumerate() {
        let served = app.post_json("/v1/families/layers/score", &json!({ "graph": wire })).await.expect(200);
        let bits = |of: &Value| of["nonconformity"].as_f64().unwrap().to_bits();
        assert_eq!(bits(&served["verdict"]), heard(&report.combined, index).to_bits(), "{served}");
        p_values.push(served["verdict"]["p_value"].as_f64().unwrap());
        for (standing, score) in report.detectors.iter().zip(served["scores"].as_array().unwrap()) {
            assert_eq!(bits(score), heard(&standing.standing, index).to_bits(), "{score}");
        }
    }
    // The evaluation counts p-values at each level.
    for alarms in &report.combined.alarms {
        let caught = p_values.iter().filter(|&&p_value| p_value <= alarms.alpha).count();
        assert_eq!((alarms.caught, alarms.anomalous), (caught, graphs.len()), "{alarms:?}");
    }
    assert!(report.combined.alarms.iter().any(|alarms| alarms.caught > 0), "strangers are caught at some level");
}

/// Nobody looks on.
struct Alone;

impl Observer for Alone {
    fn progress(&mut self, _: &Progress) {}

    fn should_stop(&self) -> bool {
        false
    }
}

/// A detector as the service keeps it.
fn trained_detector(app: &App, active: &Value) -> Detector {
    let folder = app.data_dir().join("artifacts/detectors").join(active["detector_id"].as_str().unwrap());
    let manifest: Value = serde_json::from_slice(&fs::read(folder.join("manifest.json")).unwrap()).unwrap();
    let manifest = serde_json::from_value(manifest["detector"].clone()).unwrap();
    Detector::decode(manifest, &fs::read(folder.join("weights.safetensors")).unwrap()).unwrap()
}

/// The graphs of a family as the service tells them, and as they are read.
async fn graphs_of(app: &App, family: &str) -> Vec<(Value, Graph)> {
    let list = app.get(&format!("/v1/families/{family}/graphs?limit=200")).await.expect(200);
    let mut graphs = Vec::new();
    for row in list["items"].as_array().unwrap() {
        let id = row["id"].as_str().unwrap();
        let wire = app.get(&format!("/v1/families/{family}/graphs/{id}")).await.expect(200);
        let limits = Limits { max_nodes: 1_000, max_edges: 10_000 };
        let graph = json::parse(wire.to_string().as_bytes(), &limits).unwrap().graph;
        graphs.push((wire, graph));
    }
    graphs
}
