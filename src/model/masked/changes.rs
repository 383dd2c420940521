//! What a masked edge changes in the embeddings of a graph.

use super::batch::is_edge;
use super::sample::EdgeSample;
use crate::graph::Graph;

/// New embeddings of some nodes, which stand in for those of the whole graph.
pub(super) struct Overlay {
    /// Ascending.
    pub(super) nodes: Vec<u32>,
    pub(super) rows: Vec<f32>,
}

impl Overlay {
    pub(super) fn row(&self, node: u32, h: usize) -> Option<&[f32]> {
        let place = self.nodes.binary_search(&node).ok()?;
        Some(&self.rows[place * h..(place + 1) * h])
    }
}

/// What must be computed again when an edge is masked.
pub(super) struct Plan {
    pub(super) edge: (u32, u32),
    /// For each level the nodes, ascending, whose embedding changes there and is needed by the pairs.
    pub(super) recompute: Vec<Vec<u32>>,
}

/// Finds what a masked edge changes; scratch space for one graph.
pub(super) struct ChangeFinder {
    /// Hops from the masked edge, where within reach; `u32::MAX` elsewhere.
    hops: Vec<u32>,
    /// The row of a node in the overlay laid out at the moment; `u32::MAX` elsewhere.
    rows: Vec<u32>,
}

impl ChangeFinder {
    pub(super) fn new(nodes: usize) -> Self {
        Self { hops: vec![u32::MAX; nodes], rows: vec![u32::MAX; nodes] }
    }

    /// An embedding at level l changes within l hops of the edge's ends (at level 0 their degree does), and is needed
    /// within `layers` − l hops of a node that is judged: what lies in both is computed again.
    pub(super) fn plan(&mut self, graph: &Graph, group: &[EdgeSample], layers: usize) -> Plan {
        let edge = group[0].edge;
        let reached = self.reach(graph, edge, layers as u32);
        let mut needed: Vec<u32> = vec![edge.0, edge.1];
        needed.extend(group.iter().filter_map(|sample| sample.non_edge).flat_map(|(a, b)| [a, b]));
        let mut recompute = vec![Vec::new(); layers + 1];
        for level in (0..=layers).rev() {
            needed.sort_unstable();
            needed.dedup();
            needed.retain(|&node| self.hops[node as usize] <= level as u32);
            recompute[level].clone_from(&needed);
            let before = needed.len();
            for index in 0..before {
                let node = needed[index];
                needed.extend(graph.neighbours(node).iter().filter(|&&other| !is_edge(Some(edge), node, other)));
            }
        }
        for node in reached {
            self.hops[node as usize] = u32::MAX;
        }
        Plan { edge, recompute }
    }

    /// Marks the hops from the edge's ends, the edge itself absent, up to `radius`; gives the nodes marked.
    fn reach(&mut self, graph: &Graph, edge: (u32, u32), radius: u32) -> Vec<u32> {
        let mut queue = vec![edge.0, edge.1];
        self.hops[edge.0 as usize] = 0;
        self.hops[edge.1 as usize] = 0;
        let mut next = 0;
        while let Some(&node) = queue.get(next) {
            next += 1;
            let hops = self.hops[node as usize] + 1;
            if hops > radius {
                break;
            }
            for &other in graph.neighbours(node) {
                if self.hops[other as usize] == u32::MAX {
                    self.hops[other as usize] = hops;
                    queue.push(other);
                }
            }
        }
        queue
    }

    pub(super) fn lay(&mut self, overlay: &Overlay) {
        for (row, &node) in (0..).zip(&overlay.nodes) {
            self.rows[node as usize] = row;
        }
    }

    pub(super) fn lift(&mut self, overlay: &Overlay) {
        for &node in &overlay.nodes {
            self.rows[node as usize] = u32::MAX;
        }
    }

    /// A node's embedding in the overlay laid out, else in the whole graph's.
    pub(super) fn embedding<'a>(&self, overlay: &'a Overlay, base: &'a [f32], node: u32, h: usize) -> &'a [f32] {
        match self.rows[node as usize] {
            u32::MAX => row(base, node, h),
            place => row(&overlay.rows, place, h),
        }
    }
}

/// Row `index` of `matrix [.., width]`.
pub(super) fn row(matrix: &[f32], index: u32, width: usize) -> &[f32] {
    let start = index as usize * width;
    &matrix[start..start + width]
}
