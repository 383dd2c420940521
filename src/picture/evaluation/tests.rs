use super::*;
use crate::evaluate::floor::Floor;
use crate::evaluate::{AnomalousFamily, Clusters, FloorStanding, NormalFamily};
use crate::id::DetectorId;
use crate::model::Kind;
use crate::stats::bootstrap::{Estimate, RankingEstimates};
use crate::stats::histogram::Histogram;

fn samples() -> Vec<SampleDistribution> {
    let of = |sample| SampleDistribution {
        sample,
        count: 3,
        mean: 0.5,
        histogram: Histogram::of(&[0.2, 0.5, 0.8], 0.0, 1.0, 50),
    };
    [Sample::Train, Sample::Test, Sample::Anomalous(0)].map(of).into()
}

fn standing() -> Standing {
    let one = Estimate { value: 0.987, low: 0.9, high: 1.0 };
    let estimates = RankingEstimates { auroc: one, average_precision: one, fpr_at_95_tpr: one };
    let ranking = RankingReport { estimates, auroc_by_family: vec![0.987], roc: vec![(0.0, 0.0), (1.0, 1.0)] };
    let point = |(sample, cluster, x)| Point { sample, cluster, x, y: 0.5 };
    let points = [(Sample::Test, 0, 0.1), (Sample::Anomalous(0), 1, 0.9)].map(point).into();
    let clusters = Clusters {
        accuracy: 1.0,
        accuracy_by_family: vec![1.0],
        surprise_accuracy_by_family: vec![1.0],
        majority: 0.5,
        points,
        explained: [0.75, 0.25],
    };
    Standing { ranking, alarms: Vec::new(), nonconformity: samples(), clusters, warnings: Vec::new() }
}

fn report(kinds: &[Kind]) -> Evaluation {
    let findings = |kind| match kind {
        Kind::GraphRnn | Kind::Gran => Findings::Nll(samples()),
        Kind::FullMask | Kind::FullEdgePrediction => Findings::Completion { edges: samples(), non_edges: samples() },
    };
    let detector = |&kind: &Kind| DetectorStanding {
        kind,
        detector: DetectorId::new(uuid::Uuid::nil()),
        standing: standing(),
        model: standing().ranking,
        findings: findings(kind),
    };
    Evaluation {
        seed: 0,
        normal: NormalFamily { family: "aids-0".to_owned(), train: 3, calibration: 3, test: 3 },
        anomalous: vec![AnomalousFamily { family: "aids-1".to_owned(), graphs: 3, known_isomorphs: 0 }],
        ceiling: None,
        combined: standing(),
        detectors: kinds.iter().map(detector).collect(),
        floors: Floor::ALL.map(|floor| FloorStanding { floor, ranking: standing().ranking }).into(),
    }
}

#[test]
fn each_picture_shows_what_it_is_named_for() {
    let report = report(&[Kind::GraphRnn, Kind::FullMask]);
    for (picture, texts) in [
        (
            Picture::Roc,
            ["ROC of the detectors, with AUROC: aids-0 against aids-1", "combined 0.987", "node-count 0.987"],
        ),
        (Picture::Nonconformity, ["combined: nonconformity", "nats of surprise", "aids-0, test (3)"]),
        (Picture::Nll, ["graphrnn: likelihood", "a node (nats)", "aids-0, train (3)"]),
        (Picture::Completion, ["full-mask: completion", "share of edges (%)", "aids-1 (3)"]),
        (Picture::EdgesAndNonEdges, ["full-mask: edges against non-edges", "aids-1, edges", "aids-0, test, non-edges"]),
        (Picture::Clusters, ["full-mask: classes", "accuracy 100.0 % (majority 50.0 %)", "(75 % of variance)"]),
    ] {
        let svg = evaluation(&report, Some(picture)).unwrap();
        for text in texts {
            assert!(svg.contains(text), "{picture}: {text}");
        }
        assert_eq!(picture.as_str().parse(), Ok(picture));
    }
}

#[test]
fn both_panels_of_the_clusters_draw_the_same_graphs() {
    let mut report = report(&[Kind::Gran]);
    let point = |index: usize| Point {
        sample: if index.is_multiple_of(10) { Sample::Test } else { Sample::Anomalous(0) },
        cluster: usize::from(index.is_multiple_of(3)),
        x: index as f64,
        y: 0.5,
    };
    report.detectors[0].standing.clusters.points = (0..1_000).map(point).collect();
    let panels = Subject { evaluation: &report }.clusters("gran", &report.detectors[0].standing);
    let drawn = |panel: &Panel| {
        let mut all: Vec<(f64, f64)> = panel.series.iter().flat_map(|series| series.points.clone()).collect();
        all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        all
    };
    assert_eq!(drawn(&panels[0]), drawn(&panels[1]));
    // All hundred of the test graphs, and every sixth of the nine hundred others.
    assert_eq!(drawn(&panels[0]).len(), 250);
    assert_eq!(panels[0].title, "gran: classes, 250 of 1000 graphs drawn");
}

#[test]
fn the_sheet_has_all_pictures() {
    let sheet = evaluation(&report(&[Kind::GraphRnn, Kind::FullMask]), None).unwrap();
    // ROC, two rows of nonconformities, NLL, completion, edges and non-edges, three rows of clusters.
    assert!(sheet.contains(&format!(r#"width="1240" height="{}""#, 300 * 9)));
    let alone = evaluation(&report(&[Kind::Gran]), None).unwrap();
    assert!(!alone.contains("combined"), "one detector is the combination");
}

#[test]
fn a_picture_that_is_not_there_says_so() {
    let svg = evaluation(&report(&[Kind::Gran]), Some(Picture::Completion)).unwrap();
    assert!(svg.contains("No detector of this evaluation has such a picture"));
    assert_eq!("pie".parse::<Picture>(), Err(()));
}
