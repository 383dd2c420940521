use uuid::Uuid;

use super::*;
use crate::artifact::LoadedDetector;
use crate::detector::{ExplainedEdge, Unlikely};
use crate::graph::Limits;
use crate::model::Kind;
use crate::scorer::testing::any_detector;
use crate::stats::histogram::Histogram;

fn juror(id: u128, weights_sha256: &str) -> Juror {
    let weights_sha256 = weights_sha256.to_owned();
    let loaded = Arc::new(LoadedDetector { detector: any_detector(), weights_sha256 });
    Juror { id: DetectorId::new(Uuid::from_u128(id)), loaded }
}

fn graph(edges: &[(u64, u64)], labels: Option<Vec<i64>>) -> Graph {
    Graph::new(4, edges, labels, &Limits::default()).unwrap().0
}

fn path() -> Graph {
    graph(&[(0, 1), (1, 2), (2, 3)], None)
}

/// With as many completions.
fn score(completions: usize) -> Score {
    Score {
        kind: Kind::FullMask,
        nonconformity: 1.5,
        p_value: 0.25,
        p_size: 0.5,
        p_structure: 0.25,
        p_model: 0.25,
        statistics: vec![0.1, 0.2],
        findings: Findings::Completion(Completion {
            values: vec![0.5; completions],
            non_edges: Vec::new(),
            mean: Some(0.5),
            histogram: Histogram::of(&[0.5], 0.0, 1.0, 10),
        }),
        explanation: None,
        warnings: Vec::new(),
        folds: Vec::new(),
    }
}

fn known(recalled: &Recalled) -> Option<Arc<Score>> {
    match recalled {
        Recalled::Known(score) => Some(Arc::clone(score)),
        Recalled::Unknown(_) => None,
    }
}

/// Keeps a score of the path under each of the jury.
fn keep(cache: &Cache, jury: &Jury, options: &ScoreOptions) {
    for recalled in cache.recall(jury, &path(), options) {
        match recalled {
            Recalled::Unknown(place) => cache.keep(place.as_ref(), score(3)),
            Recalled::Known(_) => panic!("asked for the first time"),
        };
    }
}

#[test]
fn all_that_a_score_depends_on_is_in_the_key() {
    let key = |graph: &Graph, options: ScoreOptions, juror: &Juror| Asked::new(graph, &options).of(juror);
    let options = ScoreOptions::default();
    let (one, other) = (juror(1, "aa"), juror(2, "aa"));
    let renumbered = graph(&[(0, 2), (2, 1), (1, 3)], None);
    let keys = [
        key(&path(), options, &one),
        key(&renumbered, options, &one),
        key(&graph(&[(0, 1), (1, 2)], None), options, &one),
        key(&graph(&[(0, 1), (1, 2), (2, 3)], Some(vec![0; 4])), options, &one),
        key(&graph(&[(0, 1), (1, 2), (2, 3)], Some(vec![0, 0, 0, 1])), options, &one),
        key(&path(), ScoreOptions { tail: Tail::Upper, ..options }, &one),
        key(&path(), ScoreOptions { samples: Some(1), ..options }, &one),
        key(&path(), ScoreOptions { orderings: Some(1), ..options }, &one),
        key(&path(), ScoreOptions { seed: 1, ..options }, &one),
        key(&path(), ScoreOptions { explain: true, ..options }, &one),
        key(&path(), options, &juror(1, "bb")),
        key(&path(), options, &other),
    ];
    for (index, key) in keys.iter().enumerate() {
        assert!(!keys[..index].contains(key), "number {index} is not told from one before");
    }
    assert_eq!(keys[0], key(&graph(&[(3, 2), (1, 0), (2, 1)], None), options, &juror(1, "aa")), "the same asked anew");
}

#[test]
fn what_was_kept_is_recalled_of_whom_it_was_said() {
    let cache = Cache::new(1 << 20);
    let options = ScoreOptions::default();
    let jury = Jury::new(vec![juror(1, "aa"), juror(2, "bb")]);
    keep(&cache, &jury, &options);
    let both = cache.recall(&jury, &path(), &options);
    assert!(both.iter().all(|recalled| known(recalled).is_some_and(|found| *found == score(3))));
    let wider = Jury::new(vec![juror(3, "cc"), juror(2, "bb")]);
    let recalled: Vec<bool> = cache.recall(&wider, &path(), &options).iter().map(|one| known(one).is_some()).collect();
    assert_eq!(recalled, [false, true], "one of them is new");
}

#[test]
fn a_deleted_detectors_answers_are_gone() {
    let cache = Cache::new(1 << 20);
    let options = ScoreOptions::default();
    let jury = Jury::new(vec![juror(1, "aa"), juror(2, "bb")]);
    keep(&cache, &jury, &options);
    cache.forget(DetectorId::new(Uuid::from_u128(1)));
    let recalled: Vec<bool> = cache.recall(&jury, &path(), &options).iter().map(|one| known(one).is_some()).collect();
    assert_eq!(recalled, [false, true]);
}

#[test]
fn it_holds_no_more_bytes_than_it_may() {
    let of_one = size_bytes(&score(100));
    let cache = Cache::new(10 * of_one as u64);
    let jury = Jury::new(vec![juror(1, "aa")]);
    for seed in 0..100 {
        let recalled = cache.recall(&jury, &path(), &ScoreOptions { seed, ..ScoreOptions::default() });
        let Recalled::Unknown(place) = &recalled[0] else { panic!("seed {seed} is asked for the first time") };
        cache.keep(place.as_ref(), score(100));
    }
    cache.keep_up();
    let kept = cache.0.unwrap();
    assert_eq!((kept.entry_count(), kept.weighted_size()), (10, 10 * of_one as u64));
}

#[test]
fn a_score_weighs_what_it_holds() {
    assert_eq!(size_bytes(&score(1_000)) - size_bytes(&score(0)), 8_000);
    let edge = ExplainedEdge { edge: (0, 1), how: Unlikely::Nll(0.5) };
    let explanation = Explanation {
        edges: vec![edge; 2_000],
        absent_edges: vec![edge; 100],
        nodes: vec![(0, 0.5); 500],
        complete: true,
    };
    let explained = Score { explanation: Some(explanation), ..score(0) };
    let expected = 2_100 * size_of::<ExplainedEdge>() + 500 * size_of::<(u32, f64)>();
    assert_eq!(size_bytes(&explained) - size_bytes(&score(0)), expected);
}

#[test]
fn without_room_nothing_is_kept() {
    let cache = Cache::new(0);
    let options = ScoreOptions::default();
    let jury = Jury::new(vec![juror(1, "aa")]);
    for _ in 0..2 {
        keep(&cache, &jury, &options);
    }
}
