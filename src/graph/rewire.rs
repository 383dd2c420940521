//! Graphs with the degrees of another, and else as random as can be: controls that no count of nodes, edges or degrees
//! tells from the original.

use std::collections::BTreeSet;

use rand::{Rng, RngExt};

use super::{Graph, Limits};

/// What a rewired graph has in common with the original, beside its nodes, their labels and their degrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    Degrees,
    /// The number of triangles, too.
    Triangles,
}

/// Swaps tried for each edge: beyond a few the graph has forgotten where it came from.
const SWAPS_PER_EDGE: usize = 10;

/// A graph of double edge swaps: edges ab and cd become ad and cb where that gives no loop and no repeated edge (Maslov &
/// Sneppen 2002), and where what is to be kept is kept.
#[must_use]
pub fn rewired(graph: &Graph, kept: Kept, rng: &mut impl Rng) -> Graph {
    let mut edges: Vec<(u32, u32)> = graph.edges().collect();
    let mut neighbours =
        Neighbours(graph.nodes().map(|node| graph.neighbours(node).iter().copied().collect()).collect());
    if edges.len() < 2 {
        return graph.clone();
    }
    for _ in 0..SWAPS_PER_EDGE * edges.len() {
        let (first, second) = (rng.random_range(0..edges.len()), rng.random_range(0..edges.len()));
        let ((a, b), (mut c, mut d)) = (edges[first], edges[second]);
        if rng.random() {
            std::mem::swap(&mut c, &mut d);
        }
        if a == d || b == c || a == c || b == d || neighbours.are_linked(a, d) || neighbours.are_linked(c, b) {
            continue;
        }
        let lost = neighbours.unlink(a, b) + neighbours.unlink(c, d);
        let gained = neighbours.link(a, d) + neighbours.link(c, b);
        if kept == Kept::Triangles && lost != gained {
            neighbours.unlink(c, b);
            neighbours.unlink(a, d);
            neighbours.link(c, d);
            neighbours.link(a, b);
            continue;
        }
        edges[first] = (a, d);
        edges[second] = (c, b);
    }
    let edges: Vec<(u64, u64)> = edges.into_iter().map(|(a, b)| (a.into(), b.into())).collect();
    let limits = Limits { max_nodes: graph.node_count(), max_edges: edges.len() };
    // As many nodes, labels and edges as the original, all of them its own: nothing that could be refused.
    Graph::new(graph.node_count() as u64, &edges, graph.labels().map(<[i64]>::to_vec), &limits)
        .map_or_else(|_| graph.clone(), |(rewired, _)| rewired)
}

/// The neighbours of each node.
struct Neighbours(Vec<BTreeSet<u32>>);

impl Neighbours {
    fn are_linked(&self, a: u32, b: u32) -> bool {
        self.0[a as usize].contains(&b)
    }

    /// Gives how many triangles the edge was in.
    fn unlink(&mut self, a: u32, b: u32) -> usize {
        self.0[a as usize].remove(&b);
        self.0[b as usize].remove(&a);
        self.common(a, b)
    }

    /// Gives how many triangles the edge is in.
    fn link(&mut self, a: u32, b: u32) -> usize {
        self.0[a as usize].insert(b);
        self.0[b as usize].insert(a);
        self.common(a, b)
    }

    fn common(&self, a: u32, b: u32) -> usize {
        self.0[a as usize].intersection(&self.0[b as usize]).count()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::graph::testing::any_graph;
    use crate::nn::seed::stream;

    fn triangles(graph: &Graph) -> usize {
        let closes = |a: u32, b: u32| graph.neighbours(a).iter().filter(|&&c| graph.has_edge(b, c)).count();
        graph.edges().map(|(a, b)| closes(a, b)).sum::<usize>() / 3
    }

    #[test]
    fn a_long_cycle_is_torn_into_others() {
        let ring = crate::graph::testing::cycle(40);
        let other = rewired(&ring, Kept::Degrees, &mut stream(1, "test", 0));
        assert!(other.edges().ne(ring.edges()));
    }

    proptest! {
        #[test]
        fn what_is_to_be_kept_is_kept(graph in any_graph(12), seed: u64) {
            for kept in [Kept::Degrees, Kept::Triangles] {
                let other = rewired(&graph, kept, &mut stream(seed, "test", 0));
                for node in graph.nodes() {
                    prop_assert_eq!(other.degree(node), graph.degree(node));
                }
                prop_assert_eq!(other.labels(), graph.labels());
                if kept == Kept::Triangles {
                    prop_assert_eq!(triangles(&other), triangles(&graph));
                }
            }
        }
    }
}
