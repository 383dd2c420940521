//! The embeddings of a graph's nodes without autograd, and for `full-mask` only what a removed edge changes computed again.

use std::collections::BTreeMap;
use std::mem::swap;

use candle_core::{Result, Tensor};

use super::batch::is_edge;
use super::changes::{ChangeFinder, Overlay, Plans, row};
use crate::graph::Graph;
use crate::model::{MaskedHyperparameters, Vocabulary};
use crate::nn::graph_convolution::Convolution;
use crate::nn::layer::normalise;
use crate::nn::packed::{Affine, Table, floats, relu};

/// Degrees whose logarithm is looked up: nodes have few others.
const COMMON_DEGREES: usize = 256;

/// The GNN, packed.
#[derive(Debug, Clone)]
pub(super) struct Encoder {
    convolution: Convolution,
    /// H.
    width: usize,
    vocabulary: Vocabulary,
    input: Table,
    /// ln(1 + d) of each degree d below [`COMMON_DEGREES`].
    depths: Vec<f32>,
    /// `[labels + 1, H]`, empty where labels are no input.
    label_embedding: Vec<f32>,
    convolutions: Vec<[Affine; 2]>,
}

/// Rows on their way through the layers.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    pub(super) own: Vec<f32>,
    pub(super) aggregates: Vec<f32>,
    pub(super) hidden: Vec<f32>,
    /// What masked edges change, at the level at hand and at the next.
    pub(super) rows: Vec<f32>,
    pub(super) next: Vec<f32>,
}

impl Encoder {
    /// # Errors
    /// When a parameter is missing or of another shape than the hyper-parameters say.
    pub(super) fn new(
        config: &MaskedHyperparameters,
        vocabulary: Vocabulary,
        weights: &BTreeMap<String, Tensor>,
    ) -> Result<Self> {
        let convolution = |layer: usize| {
            let part = |part: &str| Affine::new(weights, &format!("convolutions.{layer}.{part}"));
            Ok([part("first")?, part("second")?])
        };
        let has_labels = !vocabulary.node_labels.is_empty();
        Ok(Self {
            convolution: config.convolution,
            width: config.hidden_dim,
            input: Table::new(weights, "input")?,
            depths: (0..COMMON_DEGREES).map(depth).collect(),
            label_embedding: if has_labels { floats(weights, "label_embedding.weight")? } else { Vec::new() },
            convolutions: (0..config.layers).map(convolution).collect::<Result<_>>()?,
            vocabulary,
        })
    }

    pub(super) fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    pub(super) fn layers(&self) -> usize {
        self.convolutions.len()
    }

    /// H.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// h₀ of a node of this degree and label, appended to `rows`.
    fn push_input(&self, graph: &Graph, node: u32, degree: usize, rows: &mut Vec<f32>) {
        let h = self.width;
        let depth = self.depths.get(degree).copied().unwrap_or_else(|| depth(degree));
        let (constant, slope) = (self.input.row(0), self.input.row(1));
        let start = rows.len();
        rows.extend(constant.iter().zip(slope).zip(self.input.bias()).map(|((c, s), b)| c + s * depth + b));
        if !self.label_embedding.is_empty() {
            let place = self.vocabulary.index(graph.labels().map(|labels| labels[node as usize]));
            let embedding = &self.label_embedding[place * h..(place + 1) * h];
            rows[start..].iter_mut().zip(embedding).for_each(|(x, e)| *x += e);
        }
    }

    /// The embeddings of all nodes after each layer, the input first, to `levels`: `layers + 1` matrices `[N, H]`.
    pub(super) fn embed(&self, graph: &Graph, levels: &mut Vec<Vec<f32>>, buffers: &mut Buffers) {
        let h = self.width;
        levels.resize_with(self.layers() + 1, Vec::new);
        let Some((input, rest)) = levels.split_first_mut() else { return };
        input.clear();
        for node in graph.nodes() {
            self.push_input(graph, node, graph.degree(node), input);
        }
        let mut previous: &[f32] = input;
        for (layer, next) in self.convolutions.iter().zip(rest) {
            buffers.aggregates.clear();
            buffers.aggregates.resize(previous.len(), 0.0);
            for (node, sum) in graph.nodes().zip(buffers.aggregates.chunks_exact_mut(h)) {
                let neighbours = graph.neighbours(node);
                for &other in neighbours {
                    add(sum, row(previous, other, h));
                }
                self.finish_aggregate(sum, neighbours.len());
            }
            self.convolve(layer, previous, &mut buffers.aggregates, &mut buffers.hidden, next);
            previous = next;
        }
    }

    /// Turns a neighbour sum into what the convolution aggregates.
    fn finish_aggregate(&self, sum: &mut [f32], degree: usize) {
        if self.convolution == Convolution::Sage {
            let divisor = degree.max(1) as f32;
            sum.iter_mut().for_each(|x| *x /= divisor);
        }
    }

    /// One convolution of R rows: own embeddings and aggregates in, new embeddings out, all `[R, H]`.
    fn convolve(
        &self,
        [first, second]: &[Affine; 2],
        own: &[f32],
        aggregates: &mut [f32],
        hidden: &mut Vec<f32>,
        update: &mut Vec<f32>,
    ) {
        match self.convolution {
            Convolution::Gin => {
                add(aggregates, own);
                first.rectified_into(aggregates, hidden);
                second.rectified_into(hidden, update);
            }
            Convolution::Sage => {
                first.forward_into(own, update);
                second.forward_into(aggregates, hidden);
                add(update, hidden);
                relu(update);
            }
        }
        normalise(update, self.width);
    }

    /// For each planned edge the last embeddings that masking it changes, among those its pairs need: to `buffers.rows`, edge
    /// after edge.
    pub(super) fn embed_without(
        &self,
        graph: &Graph,
        base: &[Vec<f32>],
        plans: &Plans,
        changes: &mut ChangeFinder,
        buffers: &mut Buffers,
    ) {
        let h = self.width;
        let Buffers { own, aggregates, hidden, rows, next } = buffers;
        rows.clear();
        for (index, _) in plans.edges() {
            for &node in plans.nodes(index, 0) {
                // Only the masked edge's own ends change at the input: each has one neighbour less.
                self.push_input(graph, node, graph.degree(node) - 1, rows);
            }
        }
        for (level, layer) in self.convolutions.iter().enumerate() {
            own.clear();
            aggregates.clear();
            aggregates.resize(plans.row_count(level + 1) * h, 0.0);
            let mut sums = aggregates.chunks_exact_mut(h);
            let mut rest = rows.as_slice();
            for (index, edge) in plans.edges() {
                let nodes = plans.nodes(index, level);
                let (of_edge, others) = rest.split_at(nodes.len() * h);
                rest = others;
                let overlay = Overlay { nodes, rows: of_edge };
                changes.lay(overlay);
                for (&node, sum) in plans.nodes(index, level + 1).iter().zip(&mut sums) {
                    own.extend_from_slice(changes.embedding(overlay, &base[level], node, h));
                    let mut degree = 0;
                    for &other in graph.neighbours(node) {
                        if !is_edge(Some(edge), node, other) {
                            add(sum, changes.embedding(overlay, &base[level], other, h));
                            degree += 1;
                        }
                    }
                    self.finish_aggregate(sum, degree);
                }
                changes.lift(overlay);
            }
            self.convolve(layer, own, aggregates, hidden, next);
            swap(rows, next);
        }
    }
}

/// A degree as the network is given it.
fn depth(degree: usize) -> f32 {
    (degree as f32).ln_1p()
}

pub(super) fn add(x: &mut [f32], y: &[f32]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}
