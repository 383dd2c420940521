//! What lies between the ends of edges: how many edges run among their common neighbours.
//!
//! In a strongly regular graph all edges have as many common neighbours, but those differ in how they are linked: that tells
//! the rook's graph from Shrikhande's, and Latin squares by their subsquares of order two.

use super::bag;
use crate::graph::Graph;

/// Pairs of common neighbours looked at, at most.
const PAIRS: usize = 1 << 20;

/// Each node's bag of the numbers of its edges; `None` where counting might take too long, which depends on structure alone.
pub(super) fn colours(graph: &Graph) -> Option<Vec<u64>> {
    let at_most = |(a, b): (u32, u32)| graph.degree(a).min(graph.degree(b)).pow(2);
    let pairs = graph.edges().try_fold(0_usize, |sum, edge| sum.checked_add(at_most(edge)))?;
    (pairs <= PAIRS).then(|| {
        let of = |node: u32| graph.neighbours(node).iter().map(move |&other| edges_between(graph, node, other));
        graph.nodes().map(|node| bag(of(node))).collect()
    })
}

/// The edges among the common neighbours of two nodes.
fn edges_between(graph: &Graph, a: u32, b: u32) -> u64 {
    let (few, many) = if graph.degree(a) < graph.degree(b) { (a, b) } else { (b, a) };
    let common: Vec<u32> =
        graph.neighbours(few).iter().copied().filter(|&between| graph.has_edge(between, many)).collect();
    let linked = |(place, &one): (usize, &u32)| {
        common[place + 1..].iter().filter(|&&other| graph.has_edge(one, other)).count() as u64
    };
    common.iter().enumerate().map(linked).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::testing::{any_relabelling, complete, path, star};
    use proptest::prelude::*;

    #[test]
    fn edges_are_counted_among_common_neighbours() {
        // The common neighbours of two nodes of a clique of 5 are the other three, with three edges.
        assert_eq!(edges_between(&complete(5), 1, 4), 3);
        assert_eq!(edges_between(&path(4), 1, 2), 0);
        assert_eq!(colours(&complete(5)), Some(vec![bag([3; 4].into_iter()); 5]));
    }

    #[test]
    fn what_would_take_too_long_is_left() {
        assert_eq!(colours(&complete(120)), None);
        assert!(colours(&star(50_000)).is_some(), "no common neighbour anywhere");
    }

    proptest! {
        #[test]
        fn names_do_not_matter((graph, permutation) in any_relabelling(12)) {
            let (here, there) = (colours(&graph).unwrap(), colours(&graph.relabelled(&permutation)).unwrap());
            for (node, &moved) in permutation.iter().enumerate() {
                prop_assert_eq!(here[node], there[moved as usize]);
            }
        }
    }
}
