//! What is stored of score distributions.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::App;
use crate::trained::{create_layers, train};

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().expect("a finite number")).collect()
}

fn ascends(values: &[f64]) -> bool {
    values.windows(2).all(|pair| pair[0] <= pair[1])
}

#[tokio::test]
async fn a_family_tells_the_distributions_of_its_active_detectors() {
    let app = App::start().await;
    app.get("/v1/families/layers/distributions").await.expect_problem(404, "not-found");
    create_layers(&app, "layers", 60).await;
    let before = app.get("/v1/families/layers/distributions").await.expect(200);
    assert_eq!(before, json!({"family": "layers", "detectors": []}));

    let id = train(&app, "layers", "full-edge-prediction", 1).await;
    let told = app.get("/v1/families/layers/distributions").await.expect(200);
    assert_eq!(told["detectors"].as_array().unwrap().len(), 1);
    let detector = &told["detectors"][0];
    assert_eq!((&detector["kind"], &detector["detector_id"]), (&json!("full-edge-prediction"), &json!(id)));
    let splits: BTreeSet<&str> = distributions(detector).map(|one| one["split"].as_str().unwrap()).collect();
    assert_eq!(splits, BTreeSet::from(["calibration", "test", "train"]));
    let statistics: BTreeSet<&str> = distributions(detector).map(|one| one["statistic"].as_str().unwrap()).collect();
    assert!(statistics.is_superset(&BTreeSet::from(["nonconformity", "p_value", "completion"])), "{statistics:?}");
    for distribution in distributions(detector) {
        check(distribution);
    }
}

fn distributions(detector: &Value) -> impl Iterator<Item = &Value> {
    detector["distributions"].as_array().unwrap().iter()
}

/// What holds for every distribution.
fn check(distribution: &Value) {
    let count = distribution["count"].as_u64().unwrap();
    let quantiles = distribution["quantiles"].as_object().unwrap();
    let probabilities: Vec<f64> = quantiles.keys().map(|name| name.parse().unwrap()).collect();
    assert_eq!(probabilities, [0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0]);
    let values: Vec<f64> = quantiles.values().map(|value| value.as_f64().unwrap()).collect();
    assert!(ascends(&values), "{distribution}");
    let mean = distribution["mean"].as_f64().unwrap();
    let slack = 1e-9 * (1.0 + mean.abs());
    assert!(values[0] - slack <= mean && mean <= values[8] + slack, "{distribution}");
    assert!(distribution["standard_deviation"].as_f64().unwrap() >= 0.0);
    for (name, bins) in [("histogram_10", 10), ("histogram_50", 50)] {
        let histogram = &distribution[name];
        let edges = numbers(&histogram["bin_edges"]);
        assert!(edges.len() == bins + 1 && ascends(&edges), "{distribution}");
        assert_eq!(numbers(&histogram["counts"]).iter().sum::<f64>(), count as f64, "{name} of {distribution}");
    }
}
