use proptest::prelude::*;

use super::*;
use crate::graph::Limits;
use crate::graph::testing::{any_graph, complete, hardly_alike, path, permutation, random_graph};

fn assign(assigner: &mut SplitAssigner, graphs: &[Graph]) -> Vec<Split> {
    let hashed: Vec<_> = graphs.iter().map(|graph| (Fingerprint::of(graph), graph)).collect();
    assigner.assign(&hashed)
}

fn assign_new(seed: u64, graphs: &[Graph]) -> Vec<Split> {
    assign(&mut SplitAssigner::new(seed, SplitCounts::default()), graphs)
}

fn count(splits: &[Split]) -> SplitCounts {
    let mut counts = SplitCounts::default();
    splits.iter().for_each(|&split| counts.add(split, 1));
    counts
}

fn distinct_graphs(count: usize) -> Vec<Graph> {
    (0..count).map(|index| random_graph(20, 30, index as u64)).collect()
}

#[test]
fn shares_of_distinct_graphs_meet_their_targets() {
    for seed in 0..5 {
        let counts = count(&assign_new(seed, &distinct_graphs(200)));
        assert!(counts.train.abs_diff(136) <= 1, "{counts:?}");
        assert!(counts.calibration.abs_diff(24) <= 1, "{counts:?}");
        assert!(counts.test.abs_diff(40) <= 1, "{counts:?}");
    }
}

#[test]
fn shares_meet_their_targets_when_graphs_come_one_by_one() {
    let mut assigner = SplitAssigner::new(1, SplitCounts::default());
    let splits: Vec<Split> =
        distinct_graphs(200).iter().flat_map(|graph| assign(&mut assigner, std::slice::from_ref(graph))).collect();
    let counts = count(&splits);
    assert!(counts.train.abs_diff(136) <= 3, "{counts:?}");
    assert!(counts.calibration.abs_diff(24) <= 3, "{counts:?}");
    assert!(counts.test.abs_diff(40) <= 3, "{counts:?}");
}

#[test]
fn a_class_of_any_size_is_in_each_split_as_often_as_its_share() {
    let mut graphs = vec![complete(5); 15];
    graphs.extend(distinct_graphs(85));
    let hashed: Vec<_> = graphs.iter().map(|graph| (Fingerprint::of(graph), graph)).collect();
    let mut of_the_class = SplitCounts::default();
    let seeds = 1_000;
    for seed in 0..seeds {
        let splits = SplitAssigner::new(seed, SplitCounts::default()).assign(&hashed);
        assert!(splits[..15].iter().all(|&split| split == splits[0]));
        of_the_class.add(splits[0], 1);
    }
    // Four standard deviations of a binomial, and some room for what earlier classes took.
    for (split, share) in [(Split::Train, 0.68), (Split::Calibration, 0.12), (Split::Test, 0.20)] {
        let seen = of_the_class.of(split) as f64 / seeds as f64;
        assert!((seen - share).abs() < 0.06, "{split}: {seen} for {share}");
    }
}

#[test]
fn tiny_families_train_first() {
    let expected = |train, calibration, test| SplitCounts { train, calibration, test };
    for seed in 0..20 {
        assert_eq!(assign_new(seed, &[path(3)]), [Split::Train]);
        assert_eq!(count(&assign_new(seed, &distinct_graphs(4))), expected(4, 0, 0));
        assert_eq!(count(&assign_new(seed, &distinct_graphs(5))), expected(4, 0, 1));
        assert_eq!(count(&assign_new(seed, &distinct_graphs(9))), expected(7, 1, 1));
    }
    assert_eq!(assign_new(0, &[]), []);
}

#[test]
fn twins_of_a_known_graph_join_it_wherever_it_is() {
    let graphs = distinct_graphs(30);
    for split in Split::ALL {
        let mut assigner = SplitAssigner::new(3, SplitCounts::default());
        assigner.know(Fingerprint::of(&graphs[0]), &graphs[0], split);
        let twin = graphs[0].relabelled(&permutation(20, 9));
        let batch = [&graphs[1..], &[twin]].concat();
        assert_eq!(assign(&mut assigner, &batch).last(), Some(&split));
    }
}

#[test]
fn equal_fingerprints_make_no_twins() {
    let mut assigner = SplitAssigner::new(0, SplitCounts::default());
    let fingerprint = Fingerprint::of(&path(4));
    assigner.know(fingerprint, &path(4), Split::Test);
    let asked = [(fingerprint, &complete(4)), (fingerprint, &path(4))];
    assert_eq!(assigner.assign(&asked), [Split::Train, Split::Test]);
}

#[test]
fn a_copy_joins_its_own_however_alike_others_are() {
    let [one, other] = hardly_alike();
    // As if no fingerprint told them apart.
    let fingerprint = Fingerprint::of(&one);
    assert_eq!(are_isomorphic(&one, &other, &mut Effort::default()), None, "else this tests nothing");
    for (first, second) in [(Split::Train, Split::Test), (Split::Test, Split::Train)] {
        let mut assigner = SplitAssigner::new(0, SplitCounts::default());
        assigner.know(fingerprint, &one, first);
        assigner.know(fingerprint, &other, second);
        let copies = [&one, &other].map(|graph| graph.relabelled(&permutation(graph.node_count(), 1)));
        let asked = [&other, &copies[1], &one, &copies[0]].map(|graph| (fingerprint, graph));
        assert_eq!(assigner.assign(&asked), [second, second, first, first]);
    }
}

#[test]
fn what_cannot_be_told_apart_shares_a_split() {
    let [one, other] = hardly_alike();
    let fingerprint = Fingerprint::of(&one);
    let mut together = SplitAssigner::new(0, SplitCounts::default());
    let others = distinct_graphs(20);
    let hashed = others.iter().map(|graph| (Fingerprint::of(graph), graph));
    let asked: Vec<_> = [(fingerprint, &one), (fingerprint, &other)].into_iter().chain(hashed).collect();
    let splits = together.assign(&asked);
    assert_eq!(splits[0], splits[1]);
}

#[test]
fn graphs_of_one_hash_have_their_splits_whatever_their_order() {
    let matching = |edges: &[(u64, u64)]| {
        let labels = Some(vec![0, 1, 2, 3]);
        Graph::new(4, edges, labels, &Limits::default()).expect("a valid graph").0
    };
    let matchings = [&[(0, 1), (2, 3)], &[(0, 2), (1, 3)], &[(0, 3), (1, 2)]].map(|edges| matching(edges));
    let [first, second, third] = matchings.each_ref().map(Fingerprint::of);
    assert_eq!([first.hash, first.hash], [second.hash, third.hash]);
    assert!(first != second && second != third && third != first);
    let others = distinct_graphs(9);
    let mut in_several = 0;
    for seed in 0..50 {
        let splits = assign_new(seed, &[matchings.as_slice(), &others].concat());
        for order in [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let moved = order.map(|index: usize| matchings[index].clone());
            let of_moved = assign_new(seed, &[moved.as_slice(), &others].concat());
            assert_eq!(of_moved[..3], order.map(|index| splits[index]), "{seed}, {order:?}");
        }
        in_several += usize::from(splits[..3].iter().any(|&split| split != splits[0]));
    }
    assert!(in_several > 10, "they are nearly always together: {in_several} of 50");
}

proptest! {
    #[test]
    fn twins_share_a_split_across_batches_and_names_and_order_do_not_matter(
        graphs in prop::collection::vec(any_graph(5), 1..30),
        shuffle_seed: u32,
        seed: u64,
    ) {
        let moved: Vec<Graph> = graphs
            .iter()
            .zip(u64::from(shuffle_seed)..)
            .map(|(graph, seed)| graph.relabelled(&permutation(graph.node_count(), seed)))
            .collect();
        let mut assigner = SplitAssigner::new(seed, SplitCounts::default());
        let first = assign(&mut assigner, &graphs);
        prop_assert_eq!(first.len(), graphs.len());
        prop_assert_eq!(&assign(&mut assigner, &moved), &first);

        let order = permutation(graphs.len(), shuffle_seed.into());
        let shuffled: Vec<Graph> = order.iter().map(|&index| moved[index as usize].clone()).collect();
        let splits_shuffled: Vec<Split> = order.iter().map(|&index| first[index as usize]).collect();
        prop_assert_eq!(assign_new(seed, &shuffled), splits_shuffled);
    }
}
