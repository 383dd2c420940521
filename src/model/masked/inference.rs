//! The network without autograd: weights packed, the masks of a graph side by side.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor, bail};

use super::Masking;
use super::changes::{ChangeFinder, Overlay, Plans, row};
use super::embedding::{Buffers, Encoder, add};
use super::network::MaskedNetwork;
use super::path::{PathClasses, PathRoom};
use super::sample::EdgeSample;
use crate::graph::Graph;
use crate::model::{Cost, Kind, MaskedHyperparameters, Vocabulary, workspace};
use crate::nn::packed::{Affine, check_weights, floats, relu};

/// Masked edges whose changes are computed together: enough rows for a fast matrix product, few enough to stay in cache.
const EDGES_AT_ONCE: usize = 64;

/// A trained masked model.
#[derive(Debug, Clone)]
pub struct MaskedModel {
    masking: Masking,
    /// As trained and stored; the fields below are packed for use.
    weights: BTreeMap<String, Tensor>,
    encoder: Encoder,
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
        config: &MaskedHyperparameters,
        vocabulary: Vocabulary,
        weights: BTreeMap<String, Tensor>,
    ) -> Result<Self> {
        let Some(masking) = Masking::of(kind) else { bail!("{kind} masks nothing") };
        check_weights(&weights, &[], |vb| MaskedNetwork::new(config, &vocabulary, vb))?;
        let affine = |name: &str| Affine::new(&weights, name);
        Ok(Self {
            masking,
            pair_first: affine("pair_first")?,
            path_embedding: floats(&weights, "path_embedding.weight")?,
            pair_second: affine("pair_second")?,
            output: affine("output")?,
            encoder: Encoder::new(config, vocabulary, &weights)?,
            weights,
        })
    }

    #[must_use]
    pub fn weights(&self) -> &BTreeMap<String, Tensor> {
        &self.weights
    }

    #[must_use]
    pub fn vocabulary(&self) -> &Vocabulary {
        self.encoder.vocabulary()
    }

    /// The logits of samples, in their order. Samples of one edge must stand together, as `sample::draw` gives them.
    #[must_use]
    pub fn logits(&self, graph: &Graph, samples: &[EdgeSample]) -> Logits {
        WORKSPACE.with(|kept| workspace::with(kept, |workspace| self.logits_in(graph, samples, workspace)))
    }

    fn logits_in(&self, graph: &Graph, samples: &[EdgeSample], workspace: &mut Workspace) -> Logits {
        let Workspace { base, buffers, changes, plans, pairs, paths } = workspace;
        self.encoder.embed(graph, base, buffers);
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
                plans.clear(self.encoder.layers());
                groups(together).for_each(|group| changes.plan(graph, group, plans));
                self.encoder.embed_without(graph, base, plans, changes, buffers);
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
                    let nodes = plans.nodes(index, self.encoder.layers());
                    let (rows, others) = rest.split_at(nodes.len() * self.encoder.width());
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
            [nodes, edges, self.encoder.width(), self.encoder.layers(), samples].map(|size| size as u64);
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

    fn push_pair(
        &self,
        pairs: &mut Pairs,
        base: &[Vec<f32>],
        overlay: Option<Overlay<'_>>,
        (a, b): (u32, u32),
        path: usize,
    ) {
        let h = self.encoder.width();
        let last = &base[base.len() - 1];
        let embedding = |node| overlay.and_then(|overlay| overlay.row(node, h)).unwrap_or_else(|| row(last, node, h));
        let (u, v) = (embedding(a), embedding(b));
        pairs.features.extend(u.iter().zip(v).map(|(u, v)| u + v));
        pairs.features.extend(u.iter().zip(v).map(|(u, v)| u * v));
        pairs.path_classes.push(path);
    }

    fn judge<'a>(&self, pairs: &Pairs, buffers: &'a mut Buffers) -> &'a [f32] {
        let h = self.encoder.width();
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

/// Pairs to judge: `features [P, 2 H]` and a path class each.
#[derive(Debug, Default)]
struct Pairs {
    features: Vec<f32>,
    path_classes: Vec<usize>,
}

pub(super) fn sigmoid(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}
