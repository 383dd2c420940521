//! Scoring and training as on a GPU, held to the CPU's own way: the packed models, and the fused operations.

use serde_json::json;

use super::tests::{Recorder, ring, rings, spec};
use super::{TrainingSpec, fit};
use crate::detector::{Detector, Portrait, Score, ScoreOptions, Unlikely};
use crate::graph::Graph;
use crate::graph::testing::{complete, graph, path};
use crate::model::device::ComputeDevice;
use crate::model::{Hyperparameters, Kind};
use crate::nn::dispatch::composed;

/// The tiny spec of a kind with these hyper-parameters besides.
fn varied(kind: Kind, change: &serde_json::Value) -> TrainingSpec {
    let spec = spec(kind, 5);
    let mut all = serde_json::to_value(&spec.hyperparameters).unwrap();
    all.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    let hyperparameters = Hyperparameters::from_json(kind, Some(&all)).unwrap();
    TrainingSpec { hyperparameters, ..spec }
}

/// Every network that there is.
fn specs() -> Vec<TrainingSpec> {
    let mut specs = Vec::new();
    for mode in ["proper", "faithful"] {
        for variant in ["mlp", "rnn"] {
            specs.push(varied(Kind::GraphRnn, &json!({"mode": mode, "variant": variant})));
        }
        specs.push(varied(Kind::Gran, &json!({"mode": mode})));
    }
    for convolution in ["gin", "sage"] {
        for kind in [Kind::FullMask, Kind::FullEdgePrediction] {
            specs.push(varied(kind, &json!({"convolution": convolution, "node_labels": convolution == "gin"})));
        }
    }
    specs
}

fn trained(spec: &TrainingSpec) -> Detector {
    fit(spec, &ComputeDevice::cpu(), &rings(12, 6, 2), None, &mut Recorder::default()).unwrap()
}

/// Ordinary graphs and all borders: one node, no edge, several components, no non-edge, more neighbours than are added up
/// at once.
fn graphs() -> Vec<Graph> {
    let star: Vec<(u64, u64)> = (1..80).map(|leaf| (0, leaf)).collect();
    let mut graphs: Vec<Graph> = (500..506).map(ring).collect();
    graphs.extend([graph(1, &[]), graph(2, &[]), graph(2, &[(0, 1)]), graph(9, &[(0, 1), (1, 2), (4, 5), (7, 8)])]);
    graphs.extend([complete(6), path(40), graph(80, &star)]);
    graphs
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-4 * a.abs().max(b.abs()).max(1.0)
}

/// Holds a score to its counterpart within single precision.
fn assert_close(found: &Score, expected: &Score, what: &str) {
    assert_eq!(found.statistics.len(), expected.statistics.len());
    for (found, expected) in found.statistics.iter().zip(&expected.statistics) {
        assert!(close(*found, *expected), "{what}: {found}, not {expected}");
    }
    match (found.findings.nll(), expected.findings.nll()) {
        (Some(found), Some(expected)) => assert!(close(found.total, expected.total), "{what}"),
        (None, None) => {}
        _ => panic!("{what}: other findings"),
    }
    let Some((found, expected)) = found.explanation.as_ref().zip(expected.explanation.as_ref()) else { return };
    let by_place = |mut nodes: Vec<(u32, f64)>| {
        nodes.sort_by_key(|(node, _)| *node);
        nodes
    };
    for ((node, found), (_, expected)) in by_place(found.nodes.clone()).iter().zip(by_place(expected.nodes.clone())) {
        assert!(close(*found, expected), "{what}, node {node}: {found}, not {expected}");
    }
    for edge in &expected.edges {
        let found = found.edges.iter().find(|found| found.edge == edge.edge).unwrap();
        let ((Unlikely::Completion(a), Unlikely::Completion(b)) | (Unlikely::Nll(a), Unlikely::Nll(b))) =
            (found.how, edge.how)
        else {
            panic!("{what}: {found:?}, not {edge:?}")
        };
        assert!(close(a, b), "{what}: {found:?}, not {edge:?}");
    }
}

#[test]
fn a_placed_detector_says_what_the_packed_one_does() {
    let graphs = graphs();
    let graphs: Vec<&Graph> = graphs.iter().collect();
    for spec in specs() {
        let detector = trained(&spec);
        for explain in [false, true] {
            let options = ScoreOptions { explain, ..ScoreOptions::default() };
            let expected = detector.score_batch(&graphs, &options);
            let place = || {
                let placed = detector.place(&ComputeDevice::cpu()).unwrap();
                let on_it =
                    |portraits: &[&Portrait<'_>]| detector.score_portraits_on(&placed, portraits, &options).unwrap();
                let portraits: Vec<Portrait<'_>> = graphs.iter().map(|graph| Portrait::of(graph)).collect();
                let portraits: Vec<&Portrait<'_>> = portraits.iter().collect();
                let alone = portraits.iter().flat_map(|&portrait| on_it(&[portrait]));
                (on_it(&portraits), alone.collect::<Vec<_>>())
            };
            for (how, (together, alone)) in [("fused", place()), ("composed", composed(place))] {
                assert_eq!((together.len(), alone.len()), (graphs.len(), graphs.len()));
                for (index, expected) in expected.iter().enumerate() {
                    let what = format!("{:?}, {how}, graph {index}", spec.hyperparameters);
                    assert_close(&together[index], expected, &what);
                    assert_close(&alone[index], expected, &what);
                }
            }
        }
    }
}

/// Rounding grows from step to step, so it is held to what it comes to after a few.
#[test]
fn training_takes_the_same_course_with_every_operation_composed() {
    for spec in specs() {
        let curves =
            [trained(&spec), composed(|| trained(&spec))].map(|detector| detector.manifest().training_curve.clone());
        assert_eq!(curves[0].len(), curves[1].len(), "{:?}", spec.hyperparameters);
        for (fused, composed) in curves[0].iter().zip(&curves[1]) {
            let near = |a: f64, b: f64| (a - b).abs() <= 1e-3 * a.abs().max(1.0);
            assert!(
                near(fused.loss, composed.loss) && near(fused.validation_loss, composed.validation_loss),
                "{:?}: {composed:?}, not {fused:?}",
                spec.hyperparameters
            );
        }
    }
}

/// What no stand-in shows: a real device's kernels.
#[cfg(feature = "cuda")]
mod on_a_gpu {
    use super::*;
    use crate::model::device::DeviceChoice;

    #[test]
    #[ignore = "needs a GPU"]
    fn a_gpu_scores_as_the_cpu_does_and_the_same_each_time() {
        let device = DeviceChoice::Cuda(0).open().unwrap().device;
        let graphs = graphs();
        let graphs: Vec<&Graph> = graphs.iter().collect();
        for spec in specs() {
            let detector = trained(&spec);
            let placed = detector.place(&device).unwrap();
            for explain in [false, true] {
                let options = ScoreOptions { explain, ..ScoreOptions::default() };
                let expected = detector.score_batch(&graphs, &options);
                let found = detector.score_batch_on(&placed, &graphs, &options).unwrap();
                assert_eq!(found, detector.score_batch_on(&placed, &graphs, &options).unwrap(), "bit for bit");
                for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
                    assert_close(found, expected, &format!("{:?}, graph {index}", spec.hyperparameters));
                }
            }
        }
    }

    #[test]
    #[ignore = "needs a GPU"]
    fn a_gpu_trains_as_the_cpu_does() {
        let device = DeviceChoice::Cuda(0).open().unwrap().device;
        for spec in specs() {
            let on_cpu = trained(&spec).manifest().training_curve.clone();
            let on_gpu = fit(&spec, &device, &rings(12, 6, 2), None, &mut Recorder::default()).unwrap();
            for (cpu, gpu) in on_cpu.iter().zip(&on_gpu.manifest().training_curve) {
                assert!((cpu.loss - gpu.loss).abs() <= 1e-2 * cpu.loss.abs().max(1.0), "{:?}", spec.hyperparameters);
            }
        }
    }
}
