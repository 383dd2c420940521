use std::time::Instant;

use petgraph::graph::UnGraph;
use proptest::prelude::*;

use super::*;
use crate::graph::Limits;
use crate::graph::testing::{any_graph, any_relabelling, cycle, graph, path, permutation, random_graph};

fn isomorphic(a: &Graph, b: &Graph) -> bool {
    are_isomorphic(a, b, &mut Effort::default()).expect("within the effort")
}

/// petgraph's answer, by VF2.
fn oracle(a: &Graph, b: &Graph) -> bool {
    let convert = |graph: &Graph| {
        let mut converted = UnGraph::<Option<i64>, ()>::new_undirected();
        for node in graph.nodes() {
            converted.add_node(graph.labels().map(|labels| labels[node as usize]));
        }
        converted.extend_with_edges(graph.edges());
        converted
    };
    petgraph::algo::is_isomorphic_matching(&convert(a), &convert(b), |a, b| a == b, |(), ()| true)
}

fn without_edge(graph: &Graph, left_out: (u32, u32)) -> Graph {
    let edges: Vec<(u64, u64)> =
        graph.edges().filter(|&edge| edge != left_out).map(|(a, b)| (a.into(), b.into())).collect();
    let labels = graph.labels().map(<[i64]>::to_vec);
    Graph::new(graph.node_count() as u64, &edges, labels, &Limits::default()).unwrap().0
}

/// The edge `which` of `graph` moved to a place that had none; the same graph where it has no edge or no such place.
fn with_edge_moved(graph: &Graph, which: prop::sample::Index, to: prop::sample::Index) -> Graph {
    let edges: Vec<_> = graph.edges().collect();
    let free: Vec<_> = graph
        .nodes()
        .flat_map(|a| graph.nodes().map(move |b| (a, b)))
        .filter(|&(a, b)| a < b && !graph.has_edge(a, b))
        .collect();
    if edges.is_empty() || free.is_empty() {
        return graph.clone();
    }
    let left_out = *which.get(&edges);
    let moved: Vec<(u64, u64)> = edges
        .iter()
        .filter(|&&edge| edge != left_out)
        .chain([to.get(&free)])
        .map(|&(a, b)| (a.into(), b.into()))
        .collect();
    let labels = graph.labels().map(<[i64]>::to_vec);
    Graph::new(graph.node_count() as u64, &moved, labels, &Limits::default()).unwrap().0
}

proptest! {
    #[test]
    fn relabelling_changes_neither_hash_nor_answer((graph, permutation) in any_relabelling(24)) {
        let moved = graph.relabelled(&permutation);
        prop_assert_eq!(Fingerprint::of(&graph), Fingerprint::of(&moved));
        prop_assert!(isomorphic(&graph, &moved));
    }

    #[test]
    fn an_edge_fewer_is_another_graph(
        (graph, permutation) in any_relabelling(16),
        which in any::<prop::sample::Index>(),
    ) {
        prop_assume!(graph.edge_count() > 0);
        let edges: Vec<_> = graph.edges().collect();
        let fewer = without_edge(&graph, *which.get(&edges)).relabelled(&permutation);
        prop_assert!(!isomorphic(&graph, &fewer));
        prop_assert_ne!(Fingerprint::of(&graph), Fingerprint::of(&fewer));
    }

    #[test]
    fn small_graphs_are_judged_as_by_vf2(
        (graph, permutation) in any_relabelling(7),
        which in any::<prop::sample::Index>(),
        to in any::<prop::sample::Index>(),
    ) {
        let other = with_edge_moved(&graph, which, to).relabelled(&permutation);
        let expected = oracle(&graph, &other);
        prop_assert_eq!(isomorphic(&graph, &other), expected);
        if expected {
            prop_assert_eq!(Fingerprint::of(&graph), Fingerprint::of(&other));
        }
    }

    #[test]
    fn any_two_graphs_are_judged_as_by_vf2(a in any_graph(4), b in any_graph(4)) {
        let expected = oracle(&a, &b);
        prop_assert_eq!(isomorphic(&a, &b), expected);
        // Refinement tells so small graphs apart.
        prop_assert_eq!(Fingerprint::of(&a) == Fingerprint::of(&b), expected);
    }
}

#[test]
fn hashes_are_stored_so_their_values_never_change() {
    let hex = |graph: &Graph| hex::encode(Fingerprint::of(graph).hash.0);
    let labelled = Graph::new(3, &[(0, 1), (1, 2)], Some(vec![-1, 0, 7]), &Limits::default()).unwrap().0;
    let values = [hex(&graph(1, &[])), hex(&cycle(6)), hex(&path(100)), hex(&labelled)];
    assert_eq!(
        values,
        [
            "a9c62cfcfe265b1bef90b47d9af4ca9d",
            "9bc2bc4632410220b7ca70ea41aec540",
            "51ec33f1af73f27a87488cfdaa61a5ac",
            "c992dc748d2ae851e98414cb1af6d8de",
        ]
    );
}

#[test]
fn labels_count_and_having_them_counts() {
    let with = |labels| Graph::new(3, &[(0, 1), (1, 2)], labels, &Limits::default()).unwrap().0;
    let variants = [with(None), with(Some(vec![0, 0, 0])), with(Some(vec![1, 0, 0])), with(Some(vec![0, 1, 0]))];
    for (i, a) in variants.iter().enumerate() {
        for (j, b) in variants.iter().enumerate() {
            assert_eq!(isomorphic(a, b), i == j, "{i}, {j}");
            assert_eq!(Fingerprint::of(a) == Fingerprint::of(b), i == j, "{i}, {j}");
        }
    }
    assert!(isomorphic(&variants[2], &with(Some(vec![0, 0, 1]))));
}

#[test]
fn regular_graphs_that_plain_refinement_confuses_differ() {
    let two_triangles = graph(6, &[(0, 1), (1, 2), (2, 0), (3, 4), (4, 5), (5, 3)]);
    assert_ne!(Fingerprint::of(&cycle(6)), Fingerprint::of(&two_triangles));
    assert!(!isomorphic(&cycle(6), &two_triangles));
}

/// Cells are linked where they share a row, a column or a symbol: strongly regular, of the same parameters for all squares
/// of an order.
fn latin_square(order: u64, symbol: impl Fn(u64, u64) -> u64) -> Graph {
    let alike = |a: u64, b: u64| {
        let ((row, column), (other_row, other_column)) = ((a / order, a % order), (b / order, b % order));
        row == other_row || column == other_column || symbol(row, column) == symbol(other_row, other_column)
    };
    let cells = order * order;
    let pairs = (0..cells).flat_map(|a| (a + 1..cells).map(move |b| (a, b)));
    graph(cells, &pairs.filter(|&(a, b)| alike(a, b)).collect::<Vec<_>>())
}

#[test]
fn latin_squares_are_told_apart_by_what_lies_between_the_ends_of_edges() {
    for order in [4, 8] {
        let cyclic = latin_square(order, |row, column| (row + column) % order);
        let elementary = latin_square(order, |row, column| row ^ column);
        let (a, b) = (Fingerprint::of(&cyclic), Fingerprint::of(&elementary));
        assert_eq!(a.hash, b.hash, "refinement sees one class of nodes in both");
        assert_ne!(a, b);
        let twin = cyclic.relabelled(&permutation(cyclic.node_count(), 1));
        assert_eq!(a, Fingerprint::of(&twin));
        assert!(isomorphic(&cyclic, &twin) && !isomorphic(&cyclic, &elementary));
    }
}

/// Beyond the horizon of the hash, only the search tells: where two branches hang on a long path.
#[test]
fn equal_hashes_are_not_trusted() {
    let with_branches_at = |places: [u64; 2]| {
        let mut edges: Vec<(u64, u64)> = (1..600).map(|node| (node - 1, node)).collect();
        edges.extend([(places[0], 600), (places[1], 601)]);
        graph(602, &edges)
    };
    let (a, b) = (with_branches_at([100, 400]), with_branches_at([100, 350]));
    assert_eq!(Fingerprint::of(&a), Fingerprint::of(&b));
    assert!(!isomorphic(&a, &b));
}

#[test]
fn large_graphs_take_a_moment() {
    let started = Instant::now();
    let star = crate::graph::testing::star(20_000);
    let long_path = path(10_000);
    let dense = random_graph(500, 60_000, 1);
    for graph in [star, long_path, dense] {
        let twin = graph.relabelled(&permutation(graph.node_count(), 2));
        assert_eq!(Fingerprint::of(&graph), Fingerprint::of(&twin));
        // Colours run along the path for longer than a test may take.
        assert_ne!(are_isomorphic(&graph, &twin, &mut Effort::default()), Some(false));
    }
    let elapsed = started.elapsed();
    println!("three large graphs, twice: {elapsed:?}");
    assert!(elapsed.as_secs() < 30, "{elapsed:?}");
}
