//! Simple, undirected, unweighted graphs, valid by construction, and what can be asked of their structure.

pub mod blob;
pub mod format;
pub mod isomorphism;
pub mod order;
pub mod path;
pub mod split;
pub mod synthetic;

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
        if edges.len() > limits.max_edges {
            return Err(GraphError::TooManyEdges { edges: edges.len() as u64, limit: limits.max_edges });
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
        arcs.sort_unstable();
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
        assert_eq!(permutation.len(), self.node_count(), "a permutation of all nodes");
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

    #[must_use]
    pub fn has_edge(&self, a: u32, b: u32) -> bool {
        self.neighbours(a).binary_search(&b).is_ok()
    }

    /// Every edge once, as `(a, b)` with `a < b`, in ascending order.
    pub fn edges(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        (0..self.node_count() as u32)
            .flat_map(move |a| self.neighbours(a).iter().copied().filter(move |&b| a < b).map(move |b| (a, b)))
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
