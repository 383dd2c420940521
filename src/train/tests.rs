//! Training end to end on small families: determinism, resumption, folds, and detectors that answer for anything.

use rand::RngExt;
use serde_json::json;

use super::{Checkpoint, Observer, Progress, TrainError, TrainingData, TrainingSpec, fit};
use crate::detector::{
    Arrival, Detector, ExplainedEdge, FORMAT, Reference, ScoreOptions, Tail, Unlikely, Verdict, verdict,
};
use crate::graph::testing::{graph, permutation, random_graph};
use crate::graph::{Graph, Limits};
use crate::id::GraphId;
use crate::model::device::{ComputeDevice, DeviceChoice};
use crate::model::{Hyperparameters, Kind};
use crate::nn::seed::stream;
use crate::stats::conformal::{false_positive_band, min_p};

/// A ring of 10 to 20 nodes with the chords (i, i + 2), one of them moved: the normal class.
pub(super) fn ring(index: u64) -> Graph {
    let mut rng = stream(11, "ring", index);
    let n = rng.random_range(10..=20);
    let mut edges: Vec<(u64, u64)> = (0..n).flat_map(|i| [(i, (i + 1) % n), (i, (i + 2) % n)]).collect();
    edges[1] = (0, rng.random_range(3..n - 2));
    let labels = (0..n as i64).map(|i| i % 2).collect();
    Graph::new(n, &edges, Some(labels), &Limits::default()).unwrap().0
}

pub(super) fn rings(train: u64, calibration: u64, test: u64) -> TrainingData {
    let range = |from: u64, count: u64| (from..from + count).map(|i| (GraphId::new(i as i64), ring(i))).collect();
    TrainingData {
        train: range(0, train),
        calibration: range(train, calibration),
        test: range(train + calibration, test),
    }
}

pub(super) fn spec(kind: Kind, seed: u64) -> TrainingSpec {
    let mut tiny = json!({
        "hidden_dim": 8, "layers": 2, "epochs": 3, "steps_per_epoch": 6, "batch_size": 6, "learning_rate": 0.01
    });
    let own = match kind {
        Kind::GraphRnn => json!({"embedding_dim": 8, "edge_hidden_dim": 4, "edge_embedding_dim": 4, "orderings": 3}),
        Kind::Gran => json!({"attention_hidden_dim": 8, "mixtures": 3, "block_size": 2, "orderings": 3}),
        Kind::FullMask | Kind::FullEdgePrediction => json!({"edges_per_graph": 4, "samples": 20}),
    };
    tiny.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
    let hyperparameters = Hyperparameters::from_json(kind, Some(&tiny)).unwrap();
    TrainingSpec { kind, hyperparameters, seed, device: DeviceChoice::Cpu }
}

/// Keeps every checkpoint, and stops the run once it has `stop_after` of them.
#[derive(Default)]
pub(super) struct Recorder {
    checkpoints: Vec<Checkpoint>,
    progress: Vec<Progress>,
    stop_after: Option<usize>,
}

impl Observer for Recorder {
    fn progress(&mut self, progress: &Progress) {
        self.progress.push(progress.clone());
    }

    fn checkpoint(&mut self, make: &dyn Fn() -> Result<Checkpoint, TrainError>) -> Result<(), TrainError> {
        self.checkpoints.push(make()?);
        Ok(())
    }

    fn should_stop(&self) -> bool {
        self.stop_after.is_some_and(|limit| self.checkpoints.len() >= limit)
    }
}

fn train(kind: Kind, seed: u64, data: &TrainingData) -> Detector {
    fit(&spec(kind, seed), &ComputeDevice::cpu(), data, None, &mut Recorder::default()).unwrap()
}

#[test]
fn a_seed_decides_every_byte() {
    let data = rings(140, 30, 30);
    for kind in Kind::ALL {
        let first = train(kind, 1, &data).encode().unwrap();
        assert_eq!(first, train(kind, 1, &data).encode().unwrap());
        assert_ne!(first.1, train(kind, 2, &data).encode().unwrap().1);
    }
}

#[test]
fn a_run_resumed_at_any_checkpoint_ends_as_an_undisturbed_one() {
    // A small family, so that some checkpoints lie in later folds.
    let data = rings(20, 5, 5);
    for kind in Kind::ALL {
        resumes(kind, &data);
    }
}

fn resumes(kind: Kind, data: &TrainingData) {
    let spec = spec(kind, 3);
    let mut undisturbed = Recorder::default();
    let expected = fit(&spec, &ComputeDevice::cpu(), data, None, &mut undisturbed).unwrap().encode().unwrap();
    assert_eq!(undisturbed.checkpoints.len(), 15, "three epochs of five folds");
    for stop_after in [1, 3, 8, 14] {
        let mut stopped = Recorder { stop_after: Some(stop_after), ..Recorder::default() };
        let result = fit(&spec, &ComputeDevice::cpu(), data, None, &mut stopped);
        assert!(matches!(result, Err(TrainError::Stopped)), "{kind} {stop_after}");
        let last = stopped.checkpoints.last().unwrap();
        let resumed = fit(&spec, &ComputeDevice::cpu(), data, Some(last), &mut Recorder::default()).unwrap();
        assert_eq!(resumed.encode().unwrap(), expected, "{kind} {stop_after}");
    }
}

#[test]
fn a_checkpoint_of_something_else_is_refused() {
    let data = rings(20, 5, 5);
    let mut recorder = Recorder::default();
    fit(&spec(Kind::FullMask, 3), &ComputeDevice::cpu(), &data, None, &mut recorder).unwrap();
    let checkpoint = &recorder.checkpoints[1];
    let refused = |spec: &TrainingSpec, data: &TrainingData, checkpoint: &Checkpoint| {
        matches!(
            fit(spec, &ComputeDevice::cpu(), data, Some(checkpoint), &mut Recorder::default()),
            Err(TrainError::Checkpoint(_))
        )
    };
    assert!(refused(&spec(Kind::FullMask, 4), &data, checkpoint), "another seed");
    assert!(refused(&spec(Kind::FullEdgePrediction, 3), &data, checkpoint), "another kind");
    assert!(refused(&spec(Kind::FullMask, 3), &rings(21, 5, 5), checkpoint), "more graphs");
    assert!(refused(&spec(Kind::FullMask, 3), &data, &Checkpoint(b"not a checkpoint".to_vec())), "no checkpoint");
}

#[test]
fn progress_counts_up_to_the_end() {
    let mut recorder = Recorder::default();
    fit(&spec(Kind::FullEdgePrediction, 0), &ComputeDevice::cpu(), &rings(20, 5, 5), None, &mut recorder).unwrap();
    let epochs: Vec<u64> = recorder.progress.iter().map(|progress| progress.epoch).collect();
    assert!(epochs.is_sorted() && epochs.last() == Some(&15));
    assert!(recorder.progress.iter().all(|progress| progress.epochs == 15));
    assert_eq!(recorder.progress.last().unwrap().phase, "distributions");
}

#[test]
fn a_small_family_calibrates_each_graph_once_by_folds() {
    let mut data = rings(40, 8, 8);
    let twin = data.train[0].1.relabelled(&permutation(data.train[0].1.node_count(), 1));
    data.train.push((GraphId::new(900), twin));
    let detector = train(Kind::FullEdgePrediction, 0, &data);
    assert_eq!((detector.manifest().folds, detector.manifest().calibration_size), (5, 49));
    let mut graphs: Vec<i64> = detector.calibration().iter().map(|score| score.graph.get()).collect();
    graphs.sort_unstable();
    let mut expected: Vec<i64> = (0..48).chain([900]).collect();
    expected.sort_unstable();
    assert_eq!(graphs, expected);
    let fold = |graph| detector.calibration().iter().find(|score| score.graph == GraphId::new(graph)).unwrap().fold;
    assert_eq!(fold(0), fold(900), "twins share a fold");
}

#[test]
fn a_family_too_small_or_without_edges_is_told_so() {
    let unusable = |data: &TrainingData| match fit(
        &spec(Kind::FullMask, 0),
        &ComputeDevice::cpu(),
        data,
        None,
        &mut Recorder::default(),
    ) {
        Err(TrainError::Unusable(why)) => why,
        other => panic!("{other:?}"),
    };
    assert!(unusable(&rings(5, 2, 20)).contains("7 graphs"));
    assert!(unusable(&TrainingData::default()).contains("0 graphs"));
    let lonely = (0..20).map(|i| (GraphId::new(i), graph(3, &[]))).collect();
    assert!(
        unusable(&TrainingData { train: lonely, ..TrainingData::default() })
            .contains("no graph of the family has an edge")
    );
}

#[test]
fn a_family_of_twins_is_told_that_none_can_be_held_out() {
    let hexagon = || graph(6, &[(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (0, 5)]);
    let of = |graphs: Vec<Graph>| TrainingData {
        train: (0..).map(GraphId::new).zip(graphs).collect(),
        ..TrainingData::default()
    };
    let few: Vec<Graph> = (0..20).map(|_| hexagon()).collect();
    let many: Vec<Graph> = (0..250).map(|_| hexagon()).collect();
    let beside_empty: Vec<Graph> = (0..20).map(|i| if i < 10 { hexagon() } else { graph(3, &[]) }).collect();
    for twins in [few, many, beside_empty] {
        for kind in Kind::ALL {
            match fit(&spec(kind, 0), &ComputeDevice::cpu(), &of(twins.clone()), None, &mut Recorder::default()) {
                Err(TrainError::Unusable(why)) => assert!(why.contains("isomorphic"), "{why}"),
                other => panic!("{kind}: {other:?}"),
            }
        }
    }
}

/// Tours of the same eight places: alike but for which places are next to each other.
#[test]
fn graphs_that_differ_by_their_labels_places_are_no_twins() {
    let tour = |seed| {
        let labels = permutation(8, seed).into_iter().map(i64::from).collect();
        let edges: Vec<(u64, u64)> = (0..8).map(|at| (at, (at + 1) % 8)).collect();
        Graph::new(8, &edges, Some(labels), &Limits::default()).unwrap().0
    };
    let train = (0..40).map(|id| (GraphId::new(id), tour(id as u64))).collect();
    let detector = self::train(Kind::FullEdgePrediction, 0, &TrainingData { train, ..TrainingData::default() });
    let mut of_fold = [0; 5];
    detector.calibration().iter().for_each(|score| of_fold[score.fold] += 1);
    assert_eq!(of_fold, [8; 5]);
}

#[test]
fn a_family_without_non_edges_trains_on_what_it_has() {
    let clique = |i: i64| {
        let n = 4 + i as u64 % 5;
        let edges: Vec<_> = (0..n).flat_map(|a| (a + 1..n).map(move |b| (a, b))).collect();
        (GraphId::new(i), graph(n, &edges))
    };
    let data = TrainingData { train: (0..30).map(clique).collect(), ..TrainingData::default() };
    let detector = train(Kind::FullMask, 0, &data);
    let score = detector.score(&ring(0), &ScoreOptions::default());
    assert!(score.nonconformity.is_finite() && score.p_value > 0.0);
}

#[test]
fn encoding_keeps_every_bit_of_a_score() {
    let data = rings(20, 5, 5);
    let before = train(Kind::FullMask, 5, &data);
    let (manifest, weights) = before.encode().unwrap();
    let text = serde_json::to_string(&manifest).unwrap();
    let after = Detector::decode(serde_json::from_str(&text).unwrap(), &weights).unwrap();
    assert_eq!(after.encode().unwrap(), before.encode().unwrap());
    let options = ScoreOptions { explain: true, seed: 3, ..ScoreOptions::default() };
    for index in 100..110 {
        assert_eq!(after.score(&ring(index), &options), before.score(&ring(index), &options));
    }
    assert!(Detector::decode(manifest.clone(), &weights[..weights.len() - 1]).is_err());
    assert!(Detector::decode(manifest.clone(), b"").is_err());
    let mut newer = manifest;
    newer.format += 1;
    assert!(Detector::decode(newer, &weights).unwrap_err().to_string().contains(&format!("format {}", FORMAT + 1)));
}

#[test]
fn every_graph_gets_a_finite_answer() {
    let data = rings(140, 30, 30);
    let path: Vec<(u64, u64)> = (0..30).map(|i| (i, i + 1)).collect();
    let clique: Vec<(u64, u64)> = (0..40).flat_map(|a| (a + 1..40).map(move |b| (a, b))).collect();
    let strangers = [
        ("one node", graph(1, &[])),
        ("no edges", graph(12, &[])),
        ("one edge", graph(2, &[(0, 1)])),
        ("a tree", graph(31, &path)),
        ("a clique", graph(40, &clique)),
        ("disconnected", graph(20, &[(0, 1), (2, 3), (4, 5), (5, 6)])),
        ("a star", graph(30, &(1..30).map(|i| (0, i)).collect::<Vec<_>>())),
        ("large", random_graph(3_000, 7_000, 1)),
    ];
    for kind in Kind::ALL {
        let detector = train(kind, 0, &data);
        let normal = detector.score(&ring(500), &ScoreOptions::default());
        let graphs: Vec<&Graph> = strangers.iter().map(|(_, graph)| graph).collect();
        let together = detector.score_batch(&graphs, &ScoreOptions::default());
        for ((what, stranger), in_batch) in strangers.iter().zip(together) {
            assert_eq!(in_batch, detector.score(stranger, &ScoreOptions::default()), "{kind} {what}: bit for bit");
            let score = detector.score(stranger, &ScoreOptions { explain: true, ..ScoreOptions::default() });
            assert!(score.nonconformity.is_finite() && score.nonconformity > normal.nonconformity, "{kind} {what}");
            for p in [score.p_value, score.p_size, score.p_structure, score.p_model] {
                assert!((min_p(30)..=1.0).contains(&p), "{kind} {what}: {p}");
            }
            for fold in &score.folds {
                let (least, most) = (fold.size.max(fold.shape).max(fold.model), fold.size + fold.structure());
                assert!((least..=most).contains(&fold.nonconformity()), "{kind} {what}: {fold:?}");
                assert!(stranger.edge_count() > 0 || fold.model == 0.0, "{kind} {what}: there was nothing to observe");
            }
            if *what == "a clique" {
                assert_eq!(score.p_model, min_p(30), "{kind}: the model sees by itself that this is no ring");
            }
            if let Some(completion) = score.findings.completion() {
                assert_eq!(completion.values.is_empty(), stranger.edge_count() == 0, "{kind} {what}");
            }
            let explanation = score.explanation.unwrap();
            assert_eq!(explanation.edges.len(), stranger.edge_count().min(2_000), "{kind} {what}");
            assert_eq!(explanation.complete, stranger.edge_count() <= 2_000, "{kind} {what}");
            let unlikely = |edge: &ExplainedEdge| match edge.how {
                Unlikely::Completion(completion) => -completion,
                Unlikely::Nll(nll) => nll,
            };
            assert!(explanation.edges.is_sorted_by(|a, b| unlikely(a) >= unlikely(b)), "{kind} {what}");
            assert!(explanation.nodes.is_sorted_by(|a, b| a.1 >= b.1), "{kind} {what}");
            if let (Some(nll), true) = (score.findings.nll(), stranger.node_count() <= 2_000) {
                let shares: f64 = explanation.nodes.iter().map(|(_, share)| share).sum();
                assert!((shares / nll.mean - 1.0).abs() < 1e-9, "{kind} {what}: {shares}, not {}", nll.mean);
                assert!((nll.rows + nll.stop + nll.out_of_reach - nll.mean).abs() < 1e-9 * nll.mean, "{kind} {what}");
                let reach = score.warnings.iter().any(|warning| warning.contains("max_prev_node"));
                assert_eq!(reach, nll.far_edges > 0.0, "{kind} {what}");
            }
        }
    }
}

#[test]
fn normals_are_accused_no_oftener_than_promised() {
    let data = rings(140, 99, 30);
    for kind in Kind::ALL {
        let detector = train(kind, 0, &data);
        for (alpha, tail) in [(0.05, Tail::TwoSided), (0.1, Tail::TwoSided), (0.1, Tail::Upper)] {
            let options = ScoreOptions { tail, ..ScoreOptions::default() };
            let accused = (1_000..1_400).filter(|&i| detector.score(&ring(i), &options).p_value <= alpha).count();
            let (_, most) = false_positive_band(99, 400, alpha, 0.999);
            assert!(accused <= most, "{kind} at {alpha} {tail:?}: {accused} of 400, at most {most}");
        }
    }
}

#[test]
fn a_verdict_over_one_detector_is_its_own() {
    let detector = train(Kind::FullMask, 0, &rings(140, 30, 30));
    for (index, tail) in [(300, Tail::TwoSided), (301, Tail::Upper)] {
        let score = detector.score(&ring(index), &ScoreOptions { tail, ..ScoreOptions::default() });
        let verdict = verdict(&[(&detector, &score)], tail);
        assert_eq!((verdict.p_value, verdict.nonconformity), (score.p_value, score.nonconformity));
        assert_eq!((verdict.p_size, verdict.p_structure), (score.p_size, score.p_structure));
        assert_eq!((verdict.min_p, verdict.calibration_size), (min_p(30), 30));
    }
}

#[test]
fn a_verdict_over_two_detectors_is_calibrated_together() {
    for data in [rings(140, 60, 30), rings(60, 10, 10)] {
        let detectors = Kind::ALL.map(|kind| train(kind, 0, &data));
        let judge = |graph: &Graph| {
            let scores = detectors.each_ref().map(|detector| detector.score(graph, &ScoreOptions::default()));
            let pairs: Vec<_> = detectors.iter().zip(&scores).collect();
            verdict(&pairs, Tail::TwoSided)
        };
        let size = detectors[0].manifest().calibration_size;
        let one = judge(&ring(2_000));
        assert_eq!((one.calibration_size, one.min_p), (size, min_p(size)));
        assert!(one.warnings.is_empty());
        same_p_value_as_drift(&detectors, &one);
        let accused = (2_000..2_200).filter(|&i| judge(&ring(i)).p_value <= 0.1).count();
        let (_, most) = false_positive_band(size, 200, 0.1, 0.999);
        assert!(accused <= most, "{accused} of 200, at most {most}");
        let stranger = random_graph(40, 200, 4);
        assert_eq!(judge(&stranger).p_value, min_p(size), "a stranger is as strange as can be said");
    }
}

/// What drift is told of a graph gives the p-value that the graph's verdict gave.
fn same_p_value_as_drift(detectors: &[Detector], verdict: &Verdict) {
    let reference = Reference::of(&detectors.iter().collect::<Vec<_>>()).unwrap();
    assert_eq!(reference.size(), verdict.calibration_size);
    let arrival = Arrival { folds: verdict.folds.clone(), tie_break: 0.5 };
    assert_eq!(reference.compare(&[arrival]).p_values, [verdict.p_value]);
}

#[test]
fn detectors_that_share_no_calibration_combine_by_bonferroni() {
    let split = train(Kind::FullMask, 0, &rings(140, 30, 30));
    let folded = train(Kind::FullEdgePrediction, 0, &rings(40, 8, 8));
    let scores = [&split, &folded].map(|detector| detector.score(&ring(700), &ScoreOptions::default()));
    let verdict = verdict(&[(&split, &scores[0]), (&folded, &scores[1])], Tail::TwoSided);
    let smallest = scores[0].p_value.min(scores[1].p_value);
    assert_eq!(verdict.p_value, (2.0 * smallest).min(1.0));
    assert_eq!(verdict.warnings.len(), 1);
    assert!(verdict.folds.is_empty() && Reference::of(&[&split, &folded]).is_none(), "drift has no common scale");
}
