//! The network without autograd: weights packed, blocks of all orderings side by side.

use std::collections::BTreeMap;

use candle_core::{DType, Result, Tensor, bail};

use super::blocks::{Batch, Block, Blocks, Marks, block_count};
use super::network::{CODES, GranNetwork};
use super::{SIZES, Shape, SizeLaw};
use crate::model::Mode;
use crate::model::likelihood::{FarEdges, OrderingLikelihood, Terms};
use crate::model::sequence::Sequence;
use crate::nn::gru::PackedGru;
use crate::nn::packed::{Affine, check_weights, relu};
use crate::nn::real::Real;
use crate::nn::simd::{bernoulli_costs, vectorised};

/// Edges and entries computed at once, about: what bounds the memory, whatever the graph.
const PAIRS_AT_ONCE: usize = 8_192;

/// A trained GRAN.
#[derive(Debug, Clone)]
pub struct GranModel {
    shape: Shape,
    /// As trained and stored; the fields below are packed for use.
    weights: BTreeMap<String, Tensor>,
    far: FarEdges,
    sizes: SizeLaw,
    input: Affine,
    layers: Vec<Layer>,
    theta: Head,
    alpha: Head,
}

#[derive(Debug, Clone)]
struct Layer {
    message: EdgeMlp,
    attention: EdgeMlp,
    update: PackedGru,
}

/// The first layer of an [`EdgeMlp`] or a [`Head`] is computed at the nodes; its bias is added along the edge.
#[derive(Debug, Clone)]
struct EdgeMlp {
    /// `[H, H']`, without the codes and the bias.
    first: Affine,
    bias: Vec<f32>,
    /// `[CODES, H']` each: what the codes of source and destination add.
    source_codes: Vec<f32>,
    destination_codes: Vec<f32>,
    second: Affine,
}

#[derive(Debug, Clone)]
struct Head {
    /// Without the bias.
    first: Affine,
    bias: Vec<f32>,
    rest: [Affine; 2],
}

impl GranModel {
    /// # Errors
    /// When a parameter is missing, unknown, or of another shape than `shape` says.
    pub fn new(shape: Shape, weights: BTreeMap<String, Tensor>) -> Result<Self> {
        check_weights(&weights, &[FarEdges::BUFFER, SIZES], |vb| GranNetwork::new(&shape, vb))?;
        let counts = weights[SIZES].flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
        if counts.is_empty() || counts.len() % 2 == 1 || counts.iter().any(|&value| !(1.0..=1e9).contains(&value)) {
            bail!("{SIZES} are no sizes and counts");
        }
        let sizes = SizeLaw::of_counts(counts.chunks_exact(2).map(|pair| (pair[0] as u32, pair[1] as u32)).collect());
        let layers = (0..shape.layers)
            .map(|layer| {
                let name = |part: &str| format!("layers.{layer}.{part}");
                Ok(Layer {
                    message: EdgeMlp::new(&weights, &name("message"), shape.hidden_dim)?,
                    attention: EdgeMlp::new(&weights, &name("attention"), shape.hidden_dim)?,
                    update: PackedGru::new(&weights, &name("update"))?,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            shape,
            far: FarEdges::of_weights(&weights)?,
            sizes,
            input: Affine::new(&weights, "input")?,
            layers,
            theta: Head::new(&weights, "theta")?,
            alpha: Head::new(&weights, "alpha")?,
            weights,
        })
    }

    #[must_use]
    pub fn weights(&self) -> &BTreeMap<String, Tensor> {
        &self.weights
    }

    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The likelihood of each sequence. `terms` gets what each is the sum of.
    pub fn likelihoods<T: Terms>(&self, sequences: &[Sequence], terms: &mut T) -> Vec<OrderingLikelihood> {
        let mut likelihoods = vec![OrderingLikelihood::default(); sequences.len()];
        let (mut batch, mut marks, mut buffers) = (Batch::default(), Marks::default(), Buffers::default());
        for (ordering, sequence) in sequences.iter().enumerate() {
            let count = block_count(&self.shape, sequence.node_count());
            let blocks = Blocks::new(sequence, self.shape);
            self.charge_the_rest(ordering, &blocks, count, &mut likelihoods[ordering], terms);
            for index in 0..count {
                batch.push(&blocks, index, ordering, &mut marks);
                if batch.edges.len().max(batch.entries.len()) >= PAIRS_AT_ONCE {
                    self.charge(&mut batch, sequences, &mut likelihoods, &mut buffers, terms);
                }
            }
        }
        if !batch.blocks.is_empty() {
            self.charge(&mut batch, sequences, &mut likelihoods, &mut buffers, terms);
        }
        likelihoods
    }

    /// All but the blocks: the number of nodes, what is out of reach, and what mode `faithful` leaves out.
    pub(super) fn charge_the_rest<T: Terms>(
        &self,
        ordering: usize,
        blocks: &Blocks<'_>,
        count: usize,
        likelihood: &mut OrderingLikelihood,
        terms: &mut T,
    ) {
        let sequence = blocks.sequence;
        let n = sequence.node_count();
        if self.shape.mode == Mode::Faithful {
            let told = if count == 0 {
                0
            } else {
                (count - 1) * self.shape.stride.min(self.shape.block_size) + self.shape.block_size
            };
            likelihood.lost_nodes = (n - told) as u64;
            return;
        }
        likelihood.stop = self.sizes.cost(n);
        for position in 0..n {
            let node = sequence.node(position);
            terms.node(ordering, node, likelihood.stop / n as f64);
            let (slots, edges) = blocks.far(position);
            if slots == 0 {
                continue;
            }
            likelihood.far_edges += edges;
            likelihood.out_of_reach += self.far.cost(edges, slots);
            for &link in &sequence.row(position)[..edges as usize] {
                terms.slot(ordering, (node, sequence.node(link as usize)), true, self.far.edge_cost());
            }
            terms.node(ordering, node, self.far.cost(0, slots - edges));
        }
    }

    /// Charges the blocks of a batch, and empties it.
    fn charge<T: Terms>(
        &self,
        batch: &mut Batch,
        sequences: &[Sequence],
        likelihoods: &mut [OrderingLikelihood],
        buffers: &mut Buffers,
        terms: &mut T,
    ) {
        self.pass_messages(batch, buffers);
        self.theta.forward(batch, buffers, |buffers| &mut buffers.costs);
        for (logits, _) in
            buffers.costs.chunks_exact_mut(self.shape.mixtures).zip(&batch.labels).filter(|(_, on)| !**on)
        {
            logits.iter_mut().for_each(|logit| *logit = -*logit);
        }
        bernoulli_costs(&mut buffers.costs);
        self.alpha.forward(batch, buffers, |buffers| &mut buffers.alpha);
        self.charge_blocks(batch, (&buffers.costs, &buffers.alpha), sequences, likelihoods, terms);
        batch.clear();
    }

    /// Charges blocks by what their entries cost under each component, in nats, and by α before it is averaged: both
    /// `[entries, C]`.
    pub(super) fn charge_blocks<T: Terms>(
        &self,
        batch: &Batch,
        (costs, alpha): (&[f32], &[f32]),
        sequences: &[Sequence],
        likelihoods: &mut [OrderingLikelihood],
        terms: &mut T,
    ) {
        for block in &batch.blocks {
            let mixture = Mixture::of(block, batch, (costs, alpha), self.shape.mixtures);
            let likelihood = &mut likelihoods[block.sequence];
            likelihood.rows += mixture.cost();
            likelihood.slots += batch.counted[block.entries.clone()].iter().filter(|&&counted| counted).count() as u64;
            if T::WANTED {
                let sequence = &sequences[block.sequence];
                mixture.terms(|(row, column), present, cost| {
                    let (a, b) = (sequence.node(row as usize), sequence.node(column as usize));
                    if a == b {
                        terms.node(block.sequence, a, cost); // the diagonal, which mode `faithful` counts
                    } else {
                        terms.slot(block.sequence, (a, b), present, cost);
                    }
                });
            }
        }
    }

    /// The GNN over a batch; the nodes' last states `[V, H]` to `buffers.states`.
    fn pass_messages(&self, batch: &Batch, buffers: &mut Buffers) {
        let h = self.shape.hidden_dim;
        buffers.states.clear();
        for (&code, range) in batch.codes.iter().zip(batch.feature_offsets.windows(2)) {
            let start = buffers.states.len();
            if code > 0 {
                buffers.states.resize(start + h, 0.0);
                continue;
            }
            buffers.states.extend_from_slice(self.input.bias());
            for &column in &batch.features[range[0] as usize..range[1] as usize] {
                let weight = self.input.row(column as usize);
                buffers.states[start..].iter_mut().zip(weight).for_each(|(x, w)| *x += w);
            }
        }
        for (index, layer) in self.layers.iter().enumerate() {
            if index > 0 {
                relu(&mut buffers.states);
            }
            for _ in 0..self.shape.propagations {
                layer.message.forward(batch, buffers, |buffers| &mut buffers.messages);
                layer.attention.forward(batch, buffers, |buffers| &mut buffers.attention);
                buffers.received.clear();
                buffers.received.resize(batch.node_count() * h, 0.0);
                let Buffers { received, messages, attention, .. } = buffers;
                vectorised(
                    #[inline(always)]
                    || {
                        let pairs = messages.chunks_exact(h).zip(attention.chunks_exact(h));
                        for (&to, (message, attention)) in batch.edges.destinations.iter().zip(pairs) {
                            receive(&mut received[to as usize * h..(to as usize + 1) * h], message, attention);
                        }
                    },
                );
                layer.update.input.forward_into(&buffers.received, &mut buffers.gates);
                layer.update.step(&buffers.gates, &mut buffers.states, &mut buffers.scratch);
            }
        }
    }
}

/// Adds a message as far as the attention lets it through.
#[inline(always)]
fn receive(sum: &mut [f32], message: &[f32], attention: &[f32]) {
    let (message, attention) = (&message[..sum.len()], &attention[..sum.len()]);
    for i in 0..sum.len() {
        sum[i] += message[i] * attention[i].sigmoid();
    }
}

impl EdgeMlp {
    fn new(weights: &BTreeMap<String, Tensor>, name: &str, width: usize) -> Result<Self> {
        let all = Affine::new(weights, &format!("{name}.first"))?; // [H + 2 CODES, H']
        let hidden = all.output_dim();
        let rows = |first: usize, count: usize| -> Vec<f32> {
            (first..first + count).flat_map(|row| all.row(row)).copied().collect()
        };
        Ok(Self {
            source_codes: rows(width, CODES),
            destination_codes: rows(width + CODES, CODES),
            first: Affine::from_parts(&rows(0, width), &vec![0.0; hidden]),
            bias: all.bias().to_vec(),
            second: Affine::new(weights, &format!("{name}.second"))?,
        })
    }

    /// `[E, H']` from the states, to the buffer named.
    fn forward(&self, batch: &Batch, buffers: &mut Buffers, to: fn(&mut Buffers) -> &mut Vec<f32>) {
        let width = self.first.output_dim();
        self.first.forward_into(&buffers.states, &mut buffers.projected);
        buffers.hidden.resize(batch.edges.len() * width, 0.0);
        let Buffers { projected, hidden, .. } = buffers;
        let row = |of: u32| of as usize * width..(of as usize + 1) * width;
        let code = |node: u32| row(batch.codes[node as usize]);
        vectorised(
            #[inline(always)]
            || {
                let ends = batch.edges.sources.iter().zip(&batch.edges.destinations);
                for (hidden, (&s, &d)) in hidden.chunks_exact_mut(width).zip(ends) {
                    let of_codes = [&self.source_codes[code(s)], &self.destination_codes[code(d)], &self.bias[..width]];
                    rectified_difference(hidden, &projected[row(s)], &projected[row(d)], of_codes);
                }
            },
        );
        let mut y = std::mem::take(to(buffers));
        self.second.forward_into(&buffers.hidden, &mut y);
        *to(buffers) = y;
    }
}

/// `max(0, a - b + the others)`.
#[inline(always)]
fn rectified_difference<const N: usize>(to: &mut [f32], a: &[f32], b: &[f32], others: [&[f32]; N]) {
    let width = to.len();
    let (a, b, others) = (&a[..width], &b[..width], others.map(|other| &other[..width]));
    for i in 0..width {
        let mut rest = 0.0;
        for other in &others {
            rest += other[i];
        }
        to[i] = ((a[i] - b[i]) + rest).max(0.0);
    }
}

impl Head {
    fn new(weights: &BTreeMap<String, Tensor>, name: &str) -> Result<Self> {
        let layer = |index: usize| Affine::new(weights, &format!("{name}.{index}"));
        let mut first = layer(0)?;
        let bias = first.bias().to_vec();
        first.drop_bias();
        Ok(Self { first, bias, rest: [layer(1)?, layer(2)?] })
    }

    /// `[entries, C]` from the states, to the buffer named.
    fn forward(&self, batch: &Batch, buffers: &mut Buffers, to: fn(&mut Buffers) -> &mut Vec<f32>) {
        let width = self.first.output_dim();
        self.first.forward_into(&buffers.states, &mut buffers.projected);
        buffers.hidden.resize(batch.entries.len() * width, 0.0);
        let Buffers { projected, hidden, .. } = buffers;
        let row = |of: u32| of as usize * width..(of as usize + 1) * width;
        vectorised(
            #[inline(always)]
            || {
                let ends = batch.entries.sources.iter().zip(&batch.entries.destinations);
                for (hidden, (&of, &to)) in hidden.chunks_exact_mut(width).zip(ends) {
                    rectified_difference(hidden, &projected[row(of)], &projected[row(to)], [&self.bias[..width]]);
                }
            },
        );
        self.rest[0].rectified_into(&buffers.hidden, &mut buffers.gates);
        let mut y = std::mem::take(to(buffers));
        self.rest[1].forward_into(&buffers.gates, &mut y);
        *to(buffers) = y;
    }
}

#[derive(Default)]
struct Buffers {
    states: Vec<f32>,
    projected: Vec<f32>,
    hidden: Vec<f32>,
    messages: Vec<f32>,
    attention: Vec<f32>,
    received: Vec<f32>,
    gates: Vec<f32>,
    scratch: Vec<f32>,
    /// What each entry costs under each component, `[entries, C]` in nats.
    costs: Vec<f32>,
    alpha: Vec<f32>,
}

/// The mixture of Bernoullis of one block.
struct Mixture<'a> {
    block: &'a Block,
    batch: &'a Batch,
    /// `[entries, C]` in nats.
    costs: &'a [f32],
    /// ln α, `[C]`.
    log_weights: Vec<f64>,
}

impl<'a> Mixture<'a> {
    fn of(block: &'a Block, batch: &'a Batch, (costs, alpha): (&'a [f32], &[f32]), components: usize) -> Self {
        let entries = block.entries.start * components..block.entries.end * components;
        let mut means = vec![0.0; components];
        for alphas in alpha[entries.clone()].chunks_exact(components) {
            means.iter_mut().zip(alphas).for_each(|(mean, &alpha)| *mean += f64::from(alpha));
        }
        means.iter_mut().for_each(|mean| *mean /= block.entries.len() as f64);
        let normaliser = log_sum_exp(&means);
        means.iter_mut().for_each(|mean| *mean -= normaliser);
        Self { block, batch, costs: &costs[entries], log_weights: means }
    }

    /// The entries that count: their positions, their label, what they cost under each component.
    fn counted(&self) -> impl Iterator<Item = ((u32, u32), bool, &[f32])> {
        let components = self.log_weights.len();
        self.block
            .entries
            .clone()
            .zip(self.costs.chunks_exact(components))
            .filter(|(entry, _)| self.batch.counted[*entry])
            .map(|(entry, costs)| (self.batch.positions[entry], self.batch.labels[entry], costs))
    }

    /// The block's negative log-likelihood in nats.
    fn cost(&self) -> f64 {
        let mut joint = self.log_weights.clone();
        for (_, _, costs) in self.counted() {
            subtract(&mut joint, costs);
        }
        -log_sum_exp(&joint)
    }

    /// What each entry costs given those before it: they add up to the block's cost.
    fn terms(&self, mut take: impl FnMut((u32, u32), bool, f64)) {
        let mut joint = self.log_weights.clone();
        let mut before = log_sum_exp(&joint);
        for (positions, present, costs) in self.counted() {
            subtract(&mut joint, costs);
            let after = log_sum_exp(&joint);
            take(positions, present, before - after);
            before = after;
        }
    }
}

fn subtract(joint: &mut [f64], costs: &[f32]) {
    joint.iter_mut().zip(costs).for_each(|(joint, &cost)| *joint -= f64::from(cost));
}

fn log_sum_exp(values: &[f64]) -> f64 {
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    largest + values.iter().map(|value| (value - largest).exp()).sum::<f64>().ln()
}
