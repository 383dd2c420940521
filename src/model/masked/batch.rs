//! Graphs and pairs as the network takes them.

use std::sync::Arc;

use super::Masking;
use super::path::{PathClasses, PathRoom};
use super::sample::EdgeSample;
use crate::graph::Graph;
use crate::model::Vocabulary;
use crate::nn::edges::EdgeList;
use crate::nn::message_passing::Adjacency;

/// A disjoint union of graphs with pairs of their nodes.
#[derive(Debug, Clone)]
pub struct Batch {
    /// `[N, 2]`: 1 and ln(1 + degree), the degree in the graph that is embedded.
    pub node_features: Vec<f32>,
    /// `[N]`: places in the vocabulary.
    pub labels: Vec<u32>,
    pub adjacency: Arc<Adjacency>,
    /// `[P]`: the pairs, whose nodes are rows of the batch; which of the two is the source has no meaning.
    pub pairs: Arc<EdgeList>,
    /// `[P]`.
    pub path_classes: Vec<u32>,
    /// `[P]`: 1 for an edge, 0 for a non-edge.
    pub targets: Vec<f32>,
}

impl Batch {
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.labels.len()
    }

    #[must_use]
    pub fn pair_count(&self) -> usize {
        self.targets.len()
    }
}

/// Collects a [`Batch`]. Reused from batch to batch for its scratch space.
#[derive(Debug)]
pub struct BatchBuilder {
    masking: Masking,
    layers: usize,
    vocabulary: Vocabulary,
    paths: PathRoom,
    /// The row of each node of the graph at hand, where it is in the batch.
    rows: Vec<Option<u32>>,
    batch: Batch,
}

impl BatchBuilder {
    #[must_use]
    pub fn new(masking: Masking, layers: usize, vocabulary: Vocabulary) -> Self {
        Self { masking, layers, vocabulary, paths: PathRoom::default(), rows: Vec::new(), batch: empty() }
    }

    /// Adds a graph's samples: the whole graph once, or for `full-mask` each sample's own copy without its edge.
    pub fn push(&mut self, graph: &Graph, samples: &[EdgeSample]) {
        let mut room = std::mem::take(&mut self.paths);
        let mut paths = PathClasses::new(graph, &mut room, samples.len());
        match self.masking {
            Masking::Kept => {
                self.rows.clear();
                self.rows.resize(graph.node_count(), None);
                let all: Vec<u32> = (0..graph.node_count() as u32).collect();
                self.push_nodes(graph, &all, None);
                for sample in samples {
                    self.push_pairs(&mut paths, *sample, None);
                }
            }
            Masking::Removed => {
                for sample in samples {
                    self.rows.clear();
                    self.rows.resize(graph.node_count(), None);
                    // Only what is within `layers` hops of a pair reaches its embeddings.
                    let reach = ball(graph, *sample, self.layers);
                    self.push_nodes(graph, &reach, Some(sample.edge));
                    self.push_pairs(&mut paths, *sample, Some(sample.edge));
                }
            }
        }
        self.paths = room;
    }

    /// Nodes and pairs collected so far.
    #[must_use]
    pub fn size(&self) -> usize {
        self.batch.node_count() + self.batch.pair_count()
    }

    /// The batch collected; the builder starts anew.
    pub fn finish(&mut self) -> Batch {
        std::mem::replace(&mut self.batch, empty())
    }

    /// Adds `nodes` and the edges among them, but for the one `without`.
    fn push_nodes(&mut self, graph: &Graph, nodes: &[u32], without: Option<(u32, u32)>) {
        let base = self.batch.labels.len() as u32;
        for (row, &node) in (base..).zip(nodes) {
            self.rows[node as usize] = Some(row);
        }
        let adjacency = Arc::make_mut(&mut self.batch.adjacency);
        for &node in nodes {
            let removed = usize::from(without.is_some_and(|(u, v)| node == u || node == v));
            let degree = graph.degree(node) - removed;
            self.batch.node_features.extend([1.0, (degree as f32).ln_1p()]);
            let label = graph.labels().map(|labels| labels[node as usize]);
            self.batch.labels.push(self.vocabulary.index(label) as u32);
            let kept = graph.neighbours(node).iter().filter(|&&other| !is_edge(without, node, other));
            adjacency.neighbours.extend(kept.filter_map(|&other| self.rows[other as usize]));
            adjacency.offsets.push(adjacency.neighbours.len() as u32);
        }
    }

    fn push_pairs(&mut self, paths: &mut PathClasses<'_>, sample: EdgeSample, without: Option<(u32, u32)>) {
        // Either way the path avoids the edge in question.
        self.push_pair(sample.edge, paths.of(sample.edge, Some(sample.edge)), 1.0);
        if let Some(pair) = sample.non_edge {
            self.push_pair(pair, paths.of(pair, without), 0.0);
        }
    }

    fn push_pair(&mut self, (a, b): (u32, u32), path_class: usize, target: f32) {
        let (Some(first), Some(second)) = (self.rows[a as usize], self.rows[b as usize]) else {
            return; // both ends are always among the nodes: the ball starts from them
        };
        let pairs = Arc::make_mut(&mut self.batch.pairs);
        pairs.sources.push(first);
        pairs.destinations.push(second);
        self.batch.path_classes.push(path_class as u32);
        self.batch.targets.push(target);
    }
}

fn empty() -> Batch {
    Batch {
        node_features: Vec::new(),
        labels: Vec::new(),
        adjacency: Arc::new(Adjacency { offsets: vec![0], neighbours: Vec::new() }),
        pairs: Arc::default(),
        path_classes: Vec::new(),
        targets: Vec::new(),
    }
}

pub(super) fn is_edge(edge: Option<(u32, u32)>, a: u32, b: u32) -> bool {
    edge.is_some_and(|(u, v)| (a, b) == (u, v) || (a, b) == (v, u))
}

/// The nodes within `radius` hops of a sample's pairs in the graph without its edge, ascending.
fn ball(graph: &Graph, sample: EdgeSample, radius: usize) -> Vec<u32> {
    let mut inside = vec![false; graph.node_count()];
    let (u, v) = sample.edge;
    let mut frontier = vec![u, v];
    frontier.extend(sample.non_edge.iter().flat_map(|&(a, b)| [a, b]));
    let mut nodes = Vec::new();
    frontier.retain(|&node| !std::mem::replace(&mut inside[node as usize], true));
    for hop in 0..=radius {
        nodes.extend_from_slice(&frontier);
        if hop == radius {
            break;
        }
        let mut next = Vec::new();
        for &node in &frontier {
            for &other in graph.neighbours(node) {
                if !is_edge(Some(sample.edge), node, other) && !std::mem::replace(&mut inside[other as usize], true) {
                    next.push(other);
                }
            }
        }
        frontier = next;
    }
    nodes.sort_unstable();
    nodes
}
