//! The network without autograd: weights packed, and for `full-mask` only what a removed edge changes computed again.

use std::collections::BTreeMap;
use std::mem::swap;

use candle_core::{Result, Tensor, bail};

use super::Masking;
use super::batch::is_edge;
use super::changes::{ChangeFinder, Overlay, Plans, row};
use super::network::MaskedNetwork;
use super::path::{PathClasses, PathRoom};
use super::sample::EdgeSample;
use crate::graph::Graph;
use crate::model::{Cost, Kind, MaskedHyperparameters, Vocabulary, workspace};
use crate::nn::graph_convolution::Convolution;
use crate::nn::layer::normalise;
use crate::nn::packed::{Affine, Table, check_weights, floats, relu};

/// Masked edges whose changes are computed together: enough rows for a fast matrix product, few enough to stay in cache.
const EDGES_AT_ONCE: usize = 64;

/// Degrees whose logarithm is looked up: nodes have few others.
const COMMON_DEGREES: usize = 256;

/// A trained masked model.
#[derive(Debug, Clone)]
pub struct MaskedModel {
    masking: Masking,
    config: MaskedHyperparameters,
    vocabulary: Vocabulary,
    /// As trained and stored; the fields below are packed for use.
    weights: BTreeMap<String, Tensor>,
    input: Table,
    /// ln(1 + d) of each degree d below [`COMMON_DEGREES`].
    depths: Vec<f32>,
    /// `[labels + 1, H]`, empty where labels are no input.
    label_embedding: Vec<f32>,
    convolutions: Vec<[Affine; 2]>,
    pair_first: Affine,
    path_embedding: Vec<f32>,
    pair_second: Affine,
    output: Affine,
}

/// The logits of samples: of their edges, and of their non-edges where there are some.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Logits {
    pub edges: Vec<f32>,
    pub non_edges: Vec<f32>,
}

impl MaskedModel {
    /// # Errors
    /// When a parameter is missing, unknown, or of another shape than the hyper-parameters say, or when the kind masks
    /// nothing.
    pub fn new(
        kind: Kind,
        config: MaskedHyperparameters,
        vocabulary: Vocabulary,
        weights: BTreeMap<String, Tensor>,
    ) -> Result<Self> {
        let Some(masking) = Masking::of(kind) else { bail!("{kind} masks nothing") };
        check_weights(&weights, &[], |vb| MaskedNetwork::new(&config, &vocabulary, vb))?;
        let embedding = |name: &str| floats(&weights, &format!("{name}.weight"));
        let affine = |name: &str| Affine::new(&weights, name);
        Ok(Self {
            masking,
            input: Table::new(&weights, "input")?,
            depths: (0..COMMON_DEGREES).map(depth).collect(),
            label_embedding: if vocabulary.node_labels.is_empty() { Vec::new() } else { embedding("label_embedding")? },
            convolutions: (0..config.layers)
                .map(|layer| {
                    let part = |part: &str| affine(&format!("convolutions.{layer}.{part}"));
                    Ok([part("first")?, part("second")?])
                })
                .collect::<Result<_>>()?,
            pair_first: affine("pair_first")?,
            path_embedding: embedding("path_embedding")?,
            pair_second: affine("pair_second")?,
            output: affine("output")?,
            config,
            vocabulary,
            weights,
        })
    }

    #[must_use]
    pub fn weights(&self) -> &BTreeMap<String, Tensor> {
        &self.weights
    }

    #[must_use]
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The logits of samples, in their order. Samples of one edge must stand together, as `sample::draw` gives them.
    #[must_use]
    pub fn logits(&self, graph: &Graph, samples: &[EdgeSample]) -> Logits {
        WORKSPACE.with(|kept| workspace::with(kept, |workspace| self.logits_in(graph, samples, workspace)))
    }

    fn logits_in(&self, graph: &Graph, samples: &[EdgeSample], workspace: &mut Workspace) -> Logits {
        let Workspace { base, buffers, changes, plans, pairs, paths } = workspace;
        self.embed(graph, base, buffers);
        changes.begin(graph.node_count());
        let mut paths = PathClasses::new(graph, paths, samples.len());
        let mut logits =
            Logits { edges: Vec::with_capacity(samples.len()), non_edges: Vec::with_capacity(samples.len()) };
        let mut rest = samples;
        while !rest.is_empty() {
            let taken: usize = groups(rest).take(EDGES_AT_ONCE).map(<[EdgeSample]>::len).sum();
            let (together, later) = rest.split_at(taken);
            rest = later;
            if self.masking == Masking::Removed {
                plans.clear(self.config.layers);
                groups(together).for_each(|group| changes.plan(graph, group, plans));
                self.embed_without(graph, base, plans, changes, buffers);
            }
            self.collect_pairs(together, &mut paths, base, (plans, &buffers.rows), pairs);
            let mut judged = self.judge(pairs, buffers).iter().copied();
            for group in groups(together) {
                let edge = judged.next().unwrap_or(f32::NAN);
                logits.edges.extend(std::iter::repeat_n(edge, group.len()));
                let non_edges = group.iter().filter(|sample| sample.non_edge.is_some()).count();
                logits.non_edges.extend(judged.by_ref().take(non_edges));
            }
        }
        logits
    }

    /// The pairs of samples: of each group its edge, then its non-edges. `rows` are the last embeddings that masked edges
    /// change, edge after edge.
    fn collect_pairs(
        &self,
        samples: &[EdgeSample],
        paths: &mut PathClasses<'_>,
        base: &[Vec<f32>],
        (plans, rows): (&Plans, &[f32]),
        pairs: &mut Pairs,
    ) {
        pairs.features.clear();
        pairs.path_classes.clear();
        let mut rest = rows;
        for (index, group) in groups(samples).enumerate() {
            let edge = group[0].edge;
            let (without, overlay) = match self.masking {
                Masking::Kept => (None, None),
                Masking::Removed => {
                    let nodes = plans.nodes(index, self.config.layers);
                    let (rows, others) = rest.split_at(nodes.len() * self.config.hidden_dim);
                    rest = others;
                    (Some(edge), Some(Overlay { nodes, rows }))
                }
            };
            self.push_pair(pairs, base, overlay, edge, paths.of(edge, Some(edge)));
            for pair in group.iter().filter_map(|sample| sample.non_edge) {
                self.push_pair(pairs, base, overlay, pair, paths.of(pair, without));
            }
        }
    }

    /// The completion score, in (0, 1), of each of the edges given; nothing is sampled.
    #[must_use]
    pub fn edge_completions(&self, graph: &Graph, edges: &[(u32, u32)]) -> Vec<f64> {
        let samples: Vec<EdgeSample> = edges.iter().map(|&edge| EdgeSample { edge, non_edge: None }).collect();
        self.logits(graph, &samples).edges.into_iter().map(|logit| sigmoid(f64::from(logit))).collect()
    }

    /// Estimated multiply-adds and bytes of `samples` completions of a graph, each with a non-edge.
    #[must_use]
    pub fn cost(&self, nodes: usize, edges: usize, samples: usize) -> Cost {
        let [n, m, h, layers, samples] =
            [nodes, edges, self.config.hidden_dim, self.config.layers, samples].map(|size| size as u64);
        let whole_pass = layers * (2 * n * h * h + 2 * m * h);
        // A search for the path around the edge, two judgements, and for full-mask what the edge changes nearby.
        let degree = 1 + 2 * m / n.max(1);
        let nearby = (2 + 2 * degree + degree * degree).min(n);
        let changed = match self.masking {
            Masking::Removed => layers * nearby * (2 * h * h + degree * h),
            Masking::Kept => 0,
        };
        let per_sample = 2 * (n + m) + 6 * h * h + changed;
        let held = (layers + 3) * n * h + EDGES_AT_ONCE as u64 * layers * nearby * h;
        Cost {
            multiply_adds: whole_pass.saturating_add(samples.saturating_mul(per_sample)),
            bytes: 4 * held + 8 * (n + 2 * m),
        }
    }

    /// h₀ of a node of this degree and label, appended to `rows`.
    fn push_input(&self, graph: &Graph, node: u32, degree: usize, rows: &mut Vec<f32>) {
        let h = self.config.hidden_dim;
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
    fn embed(&self, graph: &Graph, levels: &mut Vec<Vec<f32>>, buffers: &mut Buffers) {
        let h = self.config.hidden_dim;
        levels.resize_with(self.config.layers + 1, Vec::new);
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
        if self.config.convolution == Convolution::Sage {
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
        match self.config.convolution {
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
        normalise(update, self.config.hidden_dim);
    }

    /// For each planned edge the last embeddings that masking it changes, among those its pairs need: to `buffers.rows`, edge
    /// after edge.
    fn embed_without(
        &self,
        graph: &Graph,
        base: &[Vec<f32>],
        plans: &Plans,
        changes: &mut ChangeFinder,
        buffers: &mut Buffers,
    ) {
        let h = self.config.hidden_dim;
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

    fn push_pair(
        &self,
        pairs: &mut Pairs,
        base: &[Vec<f32>],
        overlay: Option<Overlay<'_>>,
        (a, b): (u32, u32),
        path: usize,
    ) {
        let h = self.config.hidden_dim;
        let last = &base[base.len() - 1];
        let embedding = |node| overlay.and_then(|overlay| overlay.row(node, h)).unwrap_or_else(|| row(last, node, h));
        let (u, v) = (embedding(a), embedding(b));
        pairs.features.extend(u.iter().zip(v).map(|(u, v)| u + v));
        pairs.features.extend(u.iter().zip(v).map(|(u, v)| u * v));
        pairs.path_classes.push(path);
    }

    fn judge<'a>(&self, pairs: &Pairs, buffers: &'a mut Buffers) -> &'a [f32] {
        let h = self.config.hidden_dim;
        let Buffers { own, aggregates: hidden, next: logits, .. } = buffers;
        self.pair_first.forward_into(&pairs.features, own); // [P, 2 H] -> [P, H]
        for (row, &path) in own.chunks_exact_mut(h).zip(&pairs.path_classes) {
            add(row, &self.path_embedding[path * h..(path + 1) * h]);
        }
        relu(own);
        self.pair_second.rectified_into(own, hidden);
        self.output.forward_into(hidden, logits);
        logits
    }
}

/// Samples by their edge.
fn groups(samples: &[EdgeSample]) -> impl Iterator<Item = &[EdgeSample]> {
    samples.chunk_by(|a, b| a.edge == b.edge)
}

thread_local! {
    static WORKSPACE: workspace::Kept<Workspace> = const { workspace::Kept::new(None) };
}

/// Room for a graph and its samples.
#[derive(Debug, Default)]
struct Workspace {
    /// The embeddings of the whole graph.
    base: Vec<Vec<f32>>,
    buffers: Buffers,
    changes: ChangeFinder,
    plans: Plans,
    pairs: Pairs,
    paths: PathRoom,
}

impl workspace::Workspace for Workspace {
    fn bytes(&self) -> usize {
        let Buffers { own, aggregates, hidden, rows, next } = &self.buffers;
        let others = [own, aggregates, hidden, rows, next, &self.pairs.features];
        self.base.iter().chain(others).map(|buffer| buffer.capacity() * size_of::<f32>()).sum()
    }
}

/// Rows on their way through the layers.
#[derive(Debug, Default)]
struct Buffers {
    own: Vec<f32>,
    aggregates: Vec<f32>,
    hidden: Vec<f32>,
    /// What masked edges change, at the level at hand and at the next.
    rows: Vec<f32>,
    next: Vec<f32>,
}

/// Pairs to judge: `features [P, 2 H]` and a path class each.
#[derive(Debug, Default)]
struct Pairs {
    features: Vec<f32>,
    path_classes: Vec<usize>,
}

/// A degree as the network is given it.
fn depth(degree: usize) -> f32 {
    (degree as f32).ln_1p()
}

fn add(x: &mut [f32], y: &[f32]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}

pub(super) fn sigmoid(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}
