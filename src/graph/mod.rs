//! Simple, undirected, unweighted graphs, valid by construction, and what can be asked of their structure.

pub mod balls;
pub mod blob;
pub mod connectivity;
pub mod format;
pub mod isomorphism;
pub mod order;
pub mod path;
pub mod rewire;
pub mod split;
pub mod structure;
pub mod synthetic;

#[cfg(test)]
pub(crate) mod testing;

use thiserror::Error;

/// A simple undirected graph in compressed sparse rows: no self-loops, no repeated edges, neighbours sorted.
///
/// Nodes are `0..node_count`. Only [`Graph::new`] makes one, so every `Graph` keeps these invariants.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Graph {
    /// `offsets[u]..offsets[u + 1]` is the range of `u`'s neighbours; `node_count + 1` entries.
    offsets: Vec<u32>,
    /// Both directions of every edge, sorted within a node; `2 × edge_count` entries.
    neighbours: Vec<u32>,
    /// A categorical label for each node, where the graph has them.
    labels: Option<Vec<i64>>,
}

/// The most edges whose two directions `offsets` can still count.
const MAX_ADDRESSABLE_EDGES: usize = u32::MAX as usize / 2;

/// What was dropped to make a simple graph of the given edges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dropped {
    pub self_loops: usize,
    pub repeated_edges: usize,
}

/// Why a graph could not be built. `index` is the place in the list of edges given.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum GraphError {
    #[error("a graph needs at least one node")]
    NoNodes,
    #[error("{nodes} nodes are more than the limit of {limit}")]
    TooManyNodes { nodes: u64, limit: usize },
    #[error("{edges} edges are more than the limit of {limit}")]
    TooManyEdges { edges: u64, limit: usize },
    #[error("edge {index} names node {node}, but the graph has {nodes} nodes (0 to {})", nodes - 1)]
    NoSuchNode { index: usize, node: u64, nodes: usize },
    #[error("{labels} node labels were given for {nodes} nodes")]
    LabelCount { labels: usize, nodes: usize },
}

/// The largest graph accepted, checked before anything is allocated for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub max_nodes: usize,
    /// Edges as given, before repeated ones are dropped.
    pub max_edges: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_nodes: 100_000, max_edges: 1_000_000 }
    }
}

impl Graph {
    /// Builds the graph with `nodes` nodes and the given edges, in either or both directions; self-loops and repeated
    /// edges are dropped and counted.
    ///
    /// # Errors
    /// No nodes, more nodes or edges than `limits`, an edge to a node that isn't there, or a wrong number of labels.
    pub fn new(
        nodes: u64,
        edges: &[(u64, u64)],
        labels: Option<Vec<i64>>,
        limits: &Limits,
    ) -> Result<(Self, Dropped), GraphError> {
        let count = check_node_count(nodes, limits)?;
        let max_edges = limits.max_edges.min(MAX_ADDRESSABLE_EDGES);
        if edges.len() > max_edges {
            return Err(GraphError::TooManyEdges { edges: edges.len() as u64, limit: max_edges });
        }
        if let Some(labels) = &labels
            && labels.len() != count
        {
            return Err(GraphError::LabelCount { labels: labels.len(), nodes: count });
        }
        let mut dropped = Dropped::default();
        let mut arcs: Vec<(u32, u32)> = Vec::with_capacity(edges.len());
        for (index, &(a, b)) in edges.iter().enumerate() {
            if let Some(node) = [a, b].into_iter().find(|&node| node >= nodes) {
                return Err(GraphError::NoSuchNode { index, node, nodes: count });
            }
            if a == b {
                dropped.self_loops += 1;
            } else {
                arcs.push((a.min(b) as u32, a.max(b) as u32));
            }
        }
        // What mostly comes sorted already: one number is compared faster than a pair.
        arcs.sort_unstable_by_key(|&(a, b)| u64::from(a) << 32 | u64::from(b));
        let given = arcs.len();
        arcs.dedup();
        dropped.repeated_edges = given - arcs.len();
        Ok((Self::from_sorted_edges(count, &arcs, labels), dropped))
    }

    /// `edges` are sorted, distinct, `a < b`, and inside `0..nodes`: the checked half of [`Graph::new`].
    fn from_sorted_edges(nodes: usize, edges: &[(u32, u32)], labels: Option<Vec<i64>>) -> Self {
        let mut offsets = vec![0_u32; nodes + 1];
        for &(a, b) in edges {
            offsets[a as usize + 1] += 1;
            offsets[b as usize + 1] += 1;
        }
        for u in 0..nodes {
            offsets[u + 1] += offsets[u];
        }
        let mut next = offsets.clone();
        let mut neighbours = vec![0_u32; 2 * edges.len()];
        // Two passes keep each node's list sorted: first the smaller neighbours (edges come sorted by a), then the larger.
        for &(a, b) in edges {
            neighbours[next[b as usize] as usize] = a;
            next[b as usize] += 1;
        }
        for &(a, b) in edges {
            neighbours[next[a as usize] as usize] = b;
            next[a as usize] += 1;
        }
        Self { offsets, neighbours, labels }
    }

    /// The same graph with node `u` renamed to `permutation[u]`.
    ///
    /// # Panics
    /// If `permutation` is not a permutation of the nodes; it comes from our own generators, never from outside.
    #[must_use]
    pub fn relabelled(&self, permutation: &[u32]) -> Self {
        assert!(is_permutation(permutation, self.node_count()), "not a permutation of the nodes");
        let mut edges: Vec<(u32, u32)> = self
            .edges()
            .map(|(a, b)| (permutation[a as usize], permutation[b as usize]))
            .map(|(a, b)| (a.min(b), a.max(b)))
            .collect();
        edges.sort_unstable();
        let labels = self.labels.as_ref().map(|labels| {
            let mut moved = vec![0; labels.len()];
            for (u, &label) in labels.iter().enumerate() {
                moved[permutation[u] as usize] = label;
            }
            moved
        });
        Self::from_sorted_edges(self.node_count(), &edges, labels)
    }

    #[must_use]
    pub fn node_count(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Every node, ascending.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = u32> + use<> {
        0..self.node_count() as u32
    }

    /// Undirected edges, each counted once.
    #[must_use]
    pub fn edge_count(&self) -> usize {
        self.neighbours.len() / 2
    }

    #[must_use]
    pub fn degree(&self, node: u32) -> usize {
        self.neighbours(node).len()
    }

    /// The neighbours of `node`, ascending.
    #[must_use]
    pub fn neighbours(&self, node: u32) -> &[u32] {
        let node = node as usize;
        &self.neighbours[self.offsets[node] as usize..self.offsets[node + 1] as usize]
    }

    /// The neighbours of `node` above it, ascending: each edge is in exactly one of these lists.
    fn larger_neighbours(&self, node: u32) -> &[u32] {
        let neighbours = self.neighbours(node);
        &neighbours[neighbours.partition_point(|&neighbour| neighbour < node)..]
    }

    #[must_use]
    pub fn has_edge(&self, a: u32, b: u32) -> bool {
        self.neighbours(a).binary_search(&b).is_ok()
    }

    /// Every edge once, as `(a, b)` with `a < b`, in ascending order.
    pub fn edges(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.nodes().flat_map(move |a| self.larger_neighbours(a).iter().map(move |&b| (a, b)))
    }

    #[must_use]
    pub fn labels(&self) -> Option<&[i64]> {
        self.labels.as_deref()
    }
}

/// `nodes` as a `usize` inside the limits, before anything of that size is allocated.
///
/// # Errors
/// No nodes, or more than the limit.
pub fn check_node_count(nodes: u64, limits: &Limits) -> Result<usize, GraphError> {
    match usize::try_from(nodes) {
        Ok(0) => Err(GraphError::NoNodes),
        Ok(count) if count <= limits.max_nodes && u32::try_from(nodes).is_ok() => Ok(count),
        _ => Err(GraphError::TooManyNodes { nodes, limit: limits.max_nodes }),
    }
}

fn is_permutation(candidate: &[u32], count: usize) -> bool {
    let mut seen = vec![false; count];
    candidate.len() == count
        && candidate.iter().all(|&node| seen.get_mut(node as usize).is_some_and(|seen| !std::mem::replace(seen, true)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::testing::{any_graph, any_relabelling};
    use super::*;

    const SMALL: Limits = Limits { max_nodes: 10, max_edges: 5 };

    #[test]
    fn self_loops_and_repeated_edges_are_dropped_and_counted() {
        let edges = [(0, 1), (1, 0), (2, 2), (0, 1), (2, 1)];
        let (graph, dropped) = Graph::new(3, &edges, None, &SMALL).unwrap();
        assert_eq!(graph.edges().collect::<Vec<_>>(), [(0, 1), (1, 2)]);
        assert_eq!(dropped, Dropped { self_loops: 1, repeated_edges: 2 });
    }

    #[test]
    fn what_is_no_graph_is_refused_with_its_place() {
        let refused = |nodes, edges: &[_], labels| Graph::new(nodes, edges, labels, &SMALL).unwrap_err();
        assert_eq!(refused(0, &[], None), GraphError::NoNodes);
        assert_eq!(refused(11, &[], None), GraphError::TooManyNodes { nodes: 11, limit: 10 });
        assert_eq!(refused(u64::MAX, &[], None), GraphError::TooManyNodes { nodes: u64::MAX, limit: 10 });
        assert_eq!(refused(3, &[(0, 1); 6], None), GraphError::TooManyEdges { edges: 6, limit: 5 });
        assert_eq!(refused(3, &[(0, 1), (1, 3)], None), GraphError::NoSuchNode { index: 1, node: 3, nodes: 3 });
        assert_eq!(refused(3, &[], Some(vec![1, 2])), GraphError::LabelCount { labels: 2, nodes: 3 });
    }

    #[test]
    fn more_nodes_than_can_be_addressed_are_refused_whatever_the_limit() {
        let unlimited = Limits { max_nodes: usize::MAX, max_edges: usize::MAX };
        let nodes = u64::from(u32::MAX) + 1;
        assert!(matches!(Graph::new(nodes, &[], None, &unlimited), Err(GraphError::TooManyNodes { .. })));
    }

    #[test]
    #[should_panic(expected = "not a permutation")]
    fn relabelling_by_what_is_no_permutation_panics() {
        let _ = testing::path(3).relabelled(&[0, 1, 1]);
    }

    proptest! {
        #[test]
        fn rows_are_sorted_symmetric_and_loopless(graph in any_graph(30)) {
            prop_assert_eq!(graph.offsets.len(), graph.node_count() + 1);
            prop_assert_eq!(graph.nodes().map(|u| graph.degree(u)).sum::<usize>(), 2 * graph.edge_count());
            prop_assert_eq!(graph.edges().count(), graph.edge_count());
            prop_assert!(graph.edges().is_sorted_by(|a, b| a < b));
            for u in graph.nodes() {
                prop_assert!(graph.neighbours(u).is_sorted_by(|a, b| a < b));
                prop_assert!(!graph.has_edge(u, u));
                for &v in graph.neighbours(u) {
                    prop_assert!((v as usize) < graph.node_count() && graph.has_edge(v, u));
                }
            }
        }

        #[test]
        fn neither_order_nor_direction_of_the_edges_matters(
            (graph, edges) in any_graph(20).prop_flat_map(|graph| {
                let edges: Vec<(u64, u64)> = graph.edges().map(|(a, b)| (b.into(), a.into())).collect();
                (Just(graph), Just(edges).prop_shuffle())
            }),
        ) {
            let built = Graph::new(graph.node_count() as u64, &edges, graph.labels.clone(), &Limits::default());
            prop_assert_eq!(built, Ok((graph, Dropped::default())));
        }

        #[test]
        fn relabelling_keeps_structure_and_is_undone_by_the_inverse((graph, permutation) in any_relabelling(20)) {
            let moved = graph.relabelled(&permutation);
            for u in graph.nodes() {
                for v in graph.nodes() {
                    let (to_u, to_v) = (permutation[u as usize], permutation[v as usize]);
                    prop_assert_eq!(graph.has_edge(u, v), moved.has_edge(to_u, to_v));
                }
            }
            let mut inverse = vec![0; permutation.len()];
            for (u, &to) in permutation.iter().enumerate() {
                inverse[to as usize] = u as u32;
            }
            prop_assert_eq!(moved.relabelled(&inverse), graph);
        }
    }
}
