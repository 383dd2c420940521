//! What masked edges change in the embeddings of a graph.

use super::batch::is_edge;
use super::sample::EdgeSample;
use crate::graph::Graph;

/// What must be computed again when edges are masked, each by itself.
#[derive(Debug, Default)]
pub(super) struct Plans {
    edges: Vec<(u32, u32)>,
    /// For each edge and each level, the last one first, the nodes, ascending, whose embedding changes there and is needed by
    /// the pairs.
    nodes: Vec<u32>,
    /// `nodes[offsets[i]..offsets[i + 1]]` are those of edge `i / (layers + 1)`.
    offsets: Vec<usize>,
    layers: usize,
}

impl Plans {
    pub(super) fn clear(&mut self, layers: usize) {
        self.edges.clear();
        self.nodes.clear();
        self.offsets.clear();
        self.offsets.push(0);
        self.layers = layers;
    }

    /// The masked edges.
    pub(super) fn edges(&self) -> impl Iterator<Item = (usize, (u32, u32))> {
        self.edges.iter().copied().enumerate()
    }

    /// The nodes to be computed again at a level when the edge of this index is masked.
    pub(super) fn nodes(&self, index: usize, level: usize) -> &[u32] {
        let place = index * (self.layers + 1) + self.layers - level;
        &self.nodes[self.offsets[place]..self.offsets[place + 1]]
    }

    /// The number of rows at a level, of all edges.
    pub(super) fn row_count(&self, level: usize) -> usize {
        self.edges().map(|(index, _)| self.nodes(index, level).len()).sum()
    }
}

/// New embeddings of some nodes, which stand in for those of the whole graph.
#[derive(Debug, Clone, Copy)]
pub(super) struct Overlay<'a> {
    /// Ascending.
    pub(super) nodes: &'a [u32],
    /// A row each.
    pub(super) rows: &'a [f32],
}

impl<'a> Overlay<'a> {
    pub(super) fn row(&self, node: u32, h: usize) -> Option<&'a [f32]> {
        let place = self.nodes.binary_search(&node).ok()?;
        Some(&self.rows[place * h..(place + 1) * h])
    }
}

/// Finds what a masked edge changes, in one graph after another.
#[derive(Debug, Default)]
pub(super) struct ChangeFinder {
    /// Hops from the masked edge, where within reach; `u32::MAX` elsewhere.
    hops: Vec<u32>,
    /// The row of a node in the overlay laid out at the moment; `u32::MAX` elsewhere.
    rows: Vec<u32>,
    /// The nodes within reach, nearest first.
    reached: Vec<u32>,
    needed: Vec<u32>,
}

impl ChangeFinder {
    /// Before a graph of this many nodes.
    pub(super) fn begin(&mut self, nodes: usize) {
        for marks in [&mut self.hops, &mut self.rows] {
            marks.clear();
            marks.resize(nodes, u32::MAX);
        }
    }

    /// Adds what is to be computed again for a group of samples of one edge.
    ///
    /// An embedding at level l changes within l hops of the edge's ends (at level 0 their degree does), and is needed
    /// within `layers` − l hops of a node that is judged: what lies in both is computed again.
    pub(super) fn plan(&mut self, graph: &Graph, group: &[EdgeSample], plans: &mut Plans) {
        let edge = group[0].edge;
        self.reach(graph, edge, plans.layers as u32);
        let Self { hops, needed, reached, .. } = self;
        needed.clear();
        needed.extend([edge.0, edge.1]);
        needed.extend(group.iter().filter_map(|sample| sample.non_edge).flat_map(|(a, b)| [a, b]));
        for level in (0..=plans.layers).rev() {
            needed.sort_unstable();
            needed.dedup();
            needed.retain(|&node| hops[node as usize] <= level as u32);
            plans.nodes.extend_from_slice(needed);
            plans.offsets.push(plans.nodes.len());
            let before = needed.len();
            for index in 0..before {
                let node = needed[index];
                needed.extend(graph.neighbours(node).iter().filter(|&&other| !is_edge(Some(edge), node, other)));
            }
        }
        plans.edges.push(edge);
        for &node in reached.iter() {
            hops[node as usize] = u32::MAX;
        }
    }

    /// Marks the hops from the edge's ends, the edge itself absent, up to `radius`.
    fn reach(&mut self, graph: &Graph, edge: (u32, u32), radius: u32) {
        let Self { hops, reached, .. } = self;
        reached.clear();
        reached.extend([edge.0, edge.1]);
        hops[edge.0 as usize] = 0;
        hops[edge.1 as usize] = 0;
        let mut next = 0;
        while let Some(&node) = reached.get(next) {
            next += 1;
            let further = hops[node as usize] + 1;
            if further > radius {
                break;
            }
            for &other in graph.neighbours(node) {
                if hops[other as usize] == u32::MAX {
                    hops[other as usize] = further;
                    reached.push(other);
                }
            }
        }
    }

    pub(super) fn lay(&mut self, overlay: Overlay<'_>) {
        for (row, &node) in (0..).zip(overlay.nodes) {
            self.rows[node as usize] = row;
        }
    }

    pub(super) fn lift(&mut self, overlay: Overlay<'_>) {
        for &node in overlay.nodes {
            self.rows[node as usize] = u32::MAX;
        }
    }

    /// A node's embedding in the overlay laid out, else in the whole graph's.
    pub(super) fn embedding<'a>(&self, overlay: Overlay<'a>, base: &'a [f32], node: u32, h: usize) -> &'a [f32] {
        match self.rows[node as usize] {
            u32::MAX => row(base, node, h),
            place => row(overlay.rows, place, h),
        }
    }
}

/// Row `index` of `matrix [.., width]`.
pub(super) fn row(matrix: &[f32], index: u32, width: usize) -> &[f32] {
    let start = index as usize * width;
    &matrix[start..start + width]
}
