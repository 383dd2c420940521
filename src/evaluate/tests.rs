//! Evaluations end to end with quickly trained detectors.

use serde_json::json;

use super::floor::Floor;
use super::*;
use crate::detector::{ScoreOptions, verdict};
use crate::graph::testing::{permutation, random_graph};
use crate::id::GraphId;
use crate::model::Hyperparameters;
use crate::model::device::{ComputeDevice, DeviceChoice};
use crate::stats::ranking::auroc;
use crate::train::{self, Checkpoint, TrainError, TrainingData, TrainingSpec};

/// Random graphs of 10 to 14 nodes and twice as many edges.
fn normal(count: u64, seed: u64) -> Vec<Graph> {
    (0..count).map(|index| random_graph(10 + index as usize % 5, 2 * (10 + index as usize % 5), seed + index)).collect()
}

/// The same with half the edges.
fn sparse(count: u64, seed: u64) -> Vec<Graph> {
    (0..count).map(|index| random_graph(10 + index as usize % 5, 10 + index as usize % 5, seed + index)).collect()
}

fn comparison() -> Comparison {
    let graphs = NormalGraphs {
        family: "normal".to_owned(),
        train: normal(140, 0),
        calibration: normal(40, 1000),
        test: normal(30, 2000),
    };
    let mut known = sparse(20, 3000);
    known[3] = graphs.train[5].relabelled(&permutation(graphs.train[5].node_count(), 1));
    known[4] = graphs.test[5].clone();
    let anomalous = vec![("sparse".to_owned(), known), ("sparser".to_owned(), sparse(10, 4000))];
    Comparison { normal: graphs, anomalous }
}

struct Undisturbed;

impl train::Observer for Undisturbed {
    fn progress(&mut self, _: &train::Progress) {}

    fn checkpoint(&mut self, _: &dyn Fn() -> Result<Checkpoint, TrainError>) -> Result<(), TrainError> {
        Ok(())
    }

    fn should_stop(&self) -> bool {
        false
    }
}

fn detector(kind: Kind, comparison: &Comparison) -> Detector {
    let own = match kind {
        Kind::GraphRnn => json!({"embedding_dim": 8, "edge_hidden_dim": 4, "edge_embedding_dim": 4, "orderings": 2}),
        _ => json!({"edges_per_graph": 4, "samples": 10}),
    };
    let mut tiny = json!({"hidden_dim": 8, "layers": 2, "epochs": 2, "steps_per_epoch": 4, "batch_size": 4});
    tiny.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
    let hyperparameters = Hyperparameters::from_json(kind, Some(&tiny)).unwrap();
    let spec = TrainingSpec { kind, hyperparameters, seed: 1, device: DeviceChoice::Cpu };
    let named = |graphs: &[Graph], from: i64| {
        graphs.iter().zip(from..).map(|(graph, row)| (GraphId::new(row), graph.clone())).collect()
    };
    let data = TrainingData {
        train: named(&comparison.normal.train, 0),
        calibration: named(&comparison.normal.calibration, 1000),
        test: named(&comparison.normal.test, 2000),
    };
    train::fit(&spec, &ComputeDevice::cpu(), &data, None, &mut Undisturbed).unwrap()
}

/// Keeps the progress, and stops once it has been told so often.
#[derive(Default)]
struct Recorder {
    told: Vec<Progress>,
    stop_after: Option<usize>,
}

impl Observer for Recorder {
    fn progress(&mut self, progress: &Progress) {
        self.told.push(progress.clone());
    }

    fn should_stop(&self) -> bool {
        self.stop_after.is_some_and(|limit| self.told.len() >= limit)
    }
}

fn id(number: u128) -> DetectorId {
    DetectorId::new(uuid::Uuid::from_u128(number))
}

#[test]
fn a_report_says_what_the_detectors_say() {
    let comparison = comparison();
    let (rnn, mask) = (detector(Kind::GraphRnn, &comparison), detector(Kind::FullMask, &comparison));
    let detectors = [(id(1), &rnn), (id(2), &mask)];
    let mut recorder = Recorder::default();
    let report = evaluate(&comparison, &detectors, 7, &mut recorder).unwrap();

    // The verdict that is served, asked for by hand.
    let asked = |graphs: &[Graph]| -> Vec<_> {
        let options = ScoreOptions::default();
        let of = |graph: &Graph| {
            let (one, two) = (rnn.score(graph, &options), mask.score(graph, &options));
            verdict(&[(&rnn, &one), (&mask, &two)], options.tail)
        };
        graphs.iter().map(of).collect()
    };
    let (tests, sparse, sparser) =
        (asked(&comparison.normal.test), asked(&comparison.anomalous[0].1), asked(&comparison.anomalous[1].1));
    let nonconformity = |of: &[crate::detector::Verdict]| of.iter().map(|one| one.nonconformity).collect::<Vec<_>>();
    let anomalous = [nonconformity(&sparse), nonconformity(&sparser)];
    let ranking = &report.combined.ranking;
    assert_eq!(ranking.estimates.auroc.value, auroc(&nonconformity(&tests), &anomalous.concat()));
    let by_family: Vec<f64> = anomalous.iter().map(|of| auroc(&nonconformity(&tests), of)).collect();
    assert_eq!(ranking.auroc_by_family, by_family);
    for alarms in &report.combined.alarms {
        let alarmed = |of: &[crate::detector::Verdict]| of.iter().filter(|one| one.p_value <= alarms.alpha).count();
        assert_eq!((alarms.tested, alarms.anomalous, alarms.calibration_size), (30, 30, 40));
        assert_eq!(alarms.false_positives, alarmed(&tests), "{alarms:?}");
        assert_eq!(alarms.caught, alarmed(&sparse) + alarmed(&sparser), "{alarms:?}");
        assert_eq!(alarms.reachable, alarms.alpha >= 1.0 / 41.0);
    }
    // By the formula, in Python: 2 of the 41 ranks are at most 5 %, and BetaBinomial(30, 2, 39) is 97.8 % at 5 or fewer.
    assert_eq!(report.combined.alarms[1].band, Some((0, 5)));

    assert_eq!(
        report.detectors.iter().map(|one| (one.kind, one.detector)).collect::<Vec<_>>(),
        [(Kind::GraphRnn, id(1)), (Kind::FullMask, id(2)),]
    );
    assert_eq!(report.floors.iter().map(|one| one.floor).collect::<Vec<_>>(), Floor::ALL);
    let (all, known) = (&report.anomalous, |place: usize| report.anomalous[place].known_isomorphs);
    assert_eq!((all[0].graphs, known(0), all[1].graphs, known(1)), (20, 1, 10, 0), "the relabelled train graph");
    let ceiling = report.ceiling.unwrap();
    assert!((0.99..1.0).contains(&ceiling), "one test graph is among the anomalous ones: {ceiling}");
    let clusters = &report.combined.clusters;
    assert_eq!((clusters.points.len(), clusters.majority), (60, 0.5));
    assert!((0.5..=1.0).contains(&clusters.accuracy));
    for accuracies in [&clusters.accuracy_by_family, &clusters.surprise_accuracy_by_family] {
        assert_eq!(accuracies.len(), 2);
        assert!(accuracies.iter().all(|accuracy| (0.5..=1.0).contains(accuracy)));
    }
    assert!(report.combined.warnings.is_empty(), "{:?}", report.combined.warnings);

    let phases: Vec<&str> = recorder.told.iter().map(|progress| progress.phase.as_str()).collect();
    assert_eq!(phases.iter().position(|phase| *phase == "floors"), Some(phases.len() - 5 - 4));
    assert!(recorder.told.iter().all(|progress| progress.done <= progress.total));
}

#[test]
fn a_report_warns_of_test_graphs_that_are_isomorphic() {
    let mut comparison = comparison();
    let mask = detector(Kind::FullMask, &comparison);
    let first = comparison.normal.test[0].clone();
    let order = permutation(first.node_count(), 5);
    comparison.normal.test[1..4].iter_mut().for_each(|graph| *graph = first.relabelled(&order));
    let report = evaluate(&comparison, &[(id(1), &mask)], 7, &mut Recorder::default()).unwrap();
    let [warning] = report.combined.warnings.as_slice() else { panic!("{:?}", report.combined.warnings) };
    assert!(warning.starts_with("4 of the 30 normal test graphs are isomorphic"), "{warning}");
}

#[test]
fn distributions_count_every_graph_and_edge() {
    let comparison = comparison();
    let (rnn, mask) = (detector(Kind::GraphRnn, &comparison), detector(Kind::FullMask, &comparison));
    let report = evaluate(&comparison, &[(id(1), &rnn), (id(2), &mask)], 7, &mut Recorder::default()).unwrap();
    let samples = [Sample::Train, Sample::Test, Sample::Anomalous(0), Sample::Anomalous(1)];
    let counts = |of: &[SampleDistribution]| of.iter().map(|one| (one.sample, one.count)).collect::<Vec<_>>();
    let graphs: Vec<_> = samples.into_iter().zip([140, 30, 20, 10]).collect();
    let Findings::Nll(nll) = &report.detectors[0].findings else { panic!("a likelihood kind") };
    assert_eq!(counts(nll), graphs);
    assert_eq!(counts(&report.combined.nonconformity), graphs);
    let Findings::Completion { edges, non_edges } = &report.detectors[1].findings else { panic!("a masked kind") };
    let tenfold: Vec<_> = graphs.iter().map(|(sample, count)| (*sample, 10 * count)).collect();
    assert_eq!((counts(edges), counts(non_edges)), (tenfold.clone(), tenfold));
    let mean = |graphs: &[Graph]| {
        let of =
            |graph: &Graph| mask.score(graph, &ScoreOptions::default()).findings.completion().unwrap().mean.unwrap();
        graphs.iter().map(of).sum::<f64>() / graphs.len() as f64
    };
    assert!((edges[1].mean - mean(&comparison.normal.test)).abs() < 1e-9);
}

#[test]
fn a_seed_decides_the_report_and_a_stored_one_is_the_same() {
    let comparison = comparison();
    let mask = detector(Kind::FullMask, &comparison);
    let run = |seed| evaluate(&comparison, &[(id(2), &mask)], seed, &mut Recorder::default()).unwrap();
    let report = run(7);
    assert_eq!(report, run(7));
    assert_ne!(report.combined.ranking.estimates, run(8).combined.ranking.estimates);
    assert_eq!(report.combined.ranking, report.detectors[0].standing.ranking, "of one detector alone");
    let text = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Evaluation>(&text).unwrap(), report);
}

#[test]
fn it_stops_when_asked_at_any_step() {
    let comparison = comparison();
    let mask = detector(Kind::FullMask, &comparison);
    let run = |stop_after| {
        let mut recorder = Recorder { told: Vec::new(), stop_after };
        (evaluate(&comparison, &[(id(2), &mask)], 7, &mut recorder).err(), recorder.told.len())
    };
    let (_, steps) = run(None);
    for step in 0..steps {
        assert_eq!(run(Some(step)), (Some(EvaluateError::Stopped), step));
    }
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let whole = comparison();
    let mask = detector(Kind::FullMask, &whole);
    let refused = |change: fn(&mut Comparison)| {
        let mut comparison = whole.clone();
        change(&mut comparison);
        match evaluate(&comparison, &[(id(2), &mask)], 7, &mut Recorder::default()) {
            Err(EvaluateError::Unusable(why)) => why,
            other => panic!("{other:?}"),
        }
    };
    assert!(refused(|comparison| comparison.normal.test.clear()).contains("`normal` has no test graphs"));
    assert!(refused(|comparison| comparison.normal.train.clear()).contains("`normal` has no train graphs"));
    assert!(refused(|comparison| comparison.anomalous[1].1.clear()).contains("`sparser` has no graphs"));
    assert!(refused(|comparison| comparison.anomalous.clear()).contains("no family"));
    assert!(matches!(evaluate(&whole, &[], 7, &mut Recorder::default()), Err(EvaluateError::Unusable(_))));
}
