//! The network without autograd: weights packed, and for `full-mask` only what a removed edge changes computed again.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor, bail};

use super::Masking;
use super::batch::is_edge;
use super::changes::{ChangeFinder, Overlay, Plan, row};
use super::network::MaskedNetwork;
use super::path::PathClasses;
use super::sample::EdgeSample;
use crate::graph::Graph;
use crate::graph::path::PathFinder;
use crate::model::{Cost, Kind, MaskedHyperparameters, Vocabulary};
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
        let groups: Vec<&[EdgeSample]> = samples.chunk_by(|a, b| a.edge == b.edge).collect();
        let base = self.embed(graph);
        let mut finder = PathFinder::new();
        let mut paths = PathClasses::new(graph, &mut finder, samples.len());
        let mut changes = ChangeFinder::new(graph.node_count());
        let mut logits = Logits::default();
        for groups in groups.chunks(EDGES_AT_ONCE) {
            let overlays = match self.masking {
                Masking::Kept => Vec::new(),
                Masking::Removed => self.embed_without(graph, &base, groups, &mut changes),
            };
            let mut pairs = Pairs::default();
            for (index, group) in groups.iter().enumerate() {
                let edge = group[0].edge;
                let overlay = overlays.get(index);
                let around = paths.of(edge, Some(edge));
                let without = (self.masking == Masking::Removed).then_some(edge);
                self.push_pair(&mut pairs, &base, overlay, edge, around);
                for pair in group.iter().filter_map(|sample| sample.non_edge) {
                    self.push_pair(&mut pairs, &base, overlay, pair, paths.of(pair, without));
                }
            }
            let judged = self.judge(&pairs);
            let mut judged = judged.into_iter();
            for group in groups {
                let edge = judged.next().unwrap_or(f32::NAN);
                logits.edges.extend(std::iter::repeat_n(edge, group.len()));
                let non_edges = group.iter().filter(|sample| sample.non_edge.is_some()).count();
                logits.non_edges.extend(judged.by_ref().take(non_edges));
            }
        }
        logits
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

    /// The embeddings of all nodes after each layer, the input first: `layers + 1` matrices `[N, H]`.
    fn embed(&self, graph: &Graph) -> Vec<Vec<f32>> {
        let (n, h) = (graph.node_count(), self.config.hidden_dim);
        let mut levels = Vec::with_capacity(self.config.layers + 1);
        let mut input = Vec::with_capacity(n * h);
        for node in 0..n as u32 {
            self.push_input(graph, node, graph.degree(node), &mut input);
        }
        levels.push(input);
        for layer in &self.convolutions {
            let previous = &levels[levels.len() - 1];
            let mut sums = vec![0.0; n * h];
            for (node, sum) in sums.chunks_exact_mut(h).enumerate() {
                let neighbours = graph.neighbours(node as u32);
                for &other in neighbours {
                    add(sum, row(previous, other, h));
                }
                self.finish_aggregate(sum, neighbours.len());
            }
            let next = self.convolve(layer, previous, sums);
            levels.push(next);
        }
        levels
    }

    /// Turns a neighbour sum into what the convolution aggregates.
    fn finish_aggregate(&self, sum: &mut [f32], degree: usize) {
        if self.config.convolution == Convolution::Sage {
            let divisor = degree.max(1) as f32;
            sum.iter_mut().for_each(|x| *x /= divisor);
        }
    }

    /// One convolution of R rows: own embeddings and aggregates in, new embeddings out, all `[R, H]`.
    fn convolve(&self, [first, second]: &[Affine; 2], own: &[f32], mut aggregate: Vec<f32>) -> Vec<f32> {
        let mut update = match self.config.convolution {
            Convolution::Gin => {
                add(&mut aggregate, own);
                let mut hidden = first.forward(&aggregate);
                relu(&mut hidden);
                second.forward(&hidden)
            }
            Convolution::Sage => {
                let mut update = first.forward(own);
                add(&mut update, &second.forward(&aggregate));
                update
            }
        };
        relu(&mut update);
        normalise(&mut update, self.config.hidden_dim);
        update
    }

    /// For each group the final embeddings that its masked edge changes, among those its pairs need.
    fn embed_without(
        &self,
        graph: &Graph,
        base: &[Vec<f32>],
        groups: &[&[EdgeSample]],
        changes: &mut ChangeFinder,
    ) -> Vec<Overlay> {
        let h = self.config.hidden_dim;
        let plans: Vec<Plan> = groups.iter().map(|group| changes.plan(graph, group, self.config.layers)).collect();
        let mut overlays: Vec<Overlay> = plans
            .iter()
            .map(|plan| {
                let nodes = plan.recompute[0].clone();
                let mut rows = Vec::with_capacity(nodes.len() * h);
                for &node in &nodes {
                    // Only the masked edge's own ends change at the input: each has one neighbour less.
                    self.push_input(graph, node, graph.degree(node) - 1, &mut rows);
                }
                Overlay { nodes, rows }
            })
            .collect();
        for (level, layer) in self.convolutions.iter().enumerate() {
            let (mut own, mut aggregates) = (Vec::new(), Vec::new());
            for (plan, overlay) in plans.iter().zip(&overlays) {
                changes.lay(overlay);
                for &node in &plan.recompute[level + 1] {
                    own.extend_from_slice(changes.embedding(overlay, &base[level], node, h));
                    let start = aggregates.len();
                    aggregates.resize(start + h, 0.0);
                    let mut degree = 0;
                    for &other in graph.neighbours(node) {
                        if !is_edge(Some(plan.edge), node, other) {
                            add(&mut aggregates[start..], changes.embedding(overlay, &base[level], other, h));
                            degree += 1;
                        }
                    }
                    self.finish_aggregate(&mut aggregates[start..], degree);
                }
                changes.lift(overlay);
            }
            let updated = self.convolve(layer, &own, aggregates);
            let mut rest = updated.as_slice();
            for (plan, overlay) in plans.iter().zip(&mut overlays) {
                let nodes = plan.recompute[level + 1].clone();
                let (rows, more) = rest.split_at(nodes.len() * h);
                *overlay = Overlay { rows: rows.to_vec(), nodes };
                rest = more;
            }
        }
        overlays
    }

    fn push_pair(
        &self,
        pairs: &mut Pairs,
        base: &[Vec<f32>],
        overlay: Option<&Overlay>,
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

    fn judge(&self, pairs: &Pairs) -> Vec<f32> {
        let h = self.config.hidden_dim;
        let mut hidden = self.pair_first.forward(&pairs.features); // [P, 2 H] -> [P, H]
        for (row, &path) in hidden.chunks_exact_mut(h).zip(&pairs.path_classes) {
            add(row, &self.path_embedding[path * h..(path + 1) * h]);
        }
        relu(&mut hidden);
        let mut hidden = self.pair_second.forward(&hidden);
        relu(&mut hidden);
        self.output.forward(&hidden)
    }
}

/// Pairs to judge: `features [P, 2 H]` and a path class each.
#[derive(Default)]
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
