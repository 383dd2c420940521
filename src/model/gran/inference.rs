//! The network without autograd: weights packed, blocks of all orderings side by side.

use std::collections::BTreeMap;

use candle_core::{DType, Result, Tensor, bail};

use super::blocks::{Batch, BlockRoom, Blocks, Ways, block_count};
use super::mixture::{Mixture, counted};
use super::network::{CODES, GranNetwork};
use super::{SIZES, Shape, SizeLaw};
use crate::model::Mode;
use crate::model::likelihood::{FarEdges, OrderingLikelihood, Terms};
use crate::model::sequence::Sequence;
use crate::model::workspace;
use crate::nn::gru::PackedGru;
use crate::nn::packed::{Affine, Table, check_weights, relu};
use crate::nn::pairs::RectifiedDifferences;
use crate::nn::simd::bernoulli_costs;

/// Edges and entries computed at once, about: what bounds the memory, whatever the graph.
const PAIRS_AT_ONCE: usize = 2_048;

/// A trained GRAN.
#[derive(Debug, Clone)]
pub struct GranModel {
    shape: Shape,
    /// As trained and stored; the fields below are packed for use.
    weights: BTreeMap<String, Tensor>,
    far: FarEdges,
    sizes: SizeLaw,
    input: Table,
    layers: Vec<Layer>,
    theta: Head,
    alpha: Head,
}

/// A layer of the GNN. The first layers of its two networks over edges are linear in both ends: they are computed at the
/// nodes, side by side.
#[derive(Debug, Clone)]
struct Layer {
    /// `[H, W]`, message and attention after one another, without the codes and the bias.
    first: Affine,
    /// `[CODES, W]`: what the code of a source adds to its rows.
    source_codes: Vec<f32>,
    /// `[CODES, W]`: what the code of a destination takes off the rows of a destination, which are subtracted; with the bias.
    destination_codes: Vec<f32>,
    message: Affine,
    attention: Affine,
    update: PackedGru,
}

#[derive(Debug, Clone)]
struct Head {
    /// Computed at the nodes, without the bias.
    first: Affine,
    bias: Vec<f32>,
    second: Affine,
    last: Affine,
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
            .map(|layer| Layer::new(&weights, &format!("layers.{layer}"), shape.hidden_dim))
            .collect::<Result<_>>()?;
        Ok(Self {
            shape,
            far: FarEdges::of_weights(&weights)?,
            sizes,
            input: Table::new(&weights, "input")?,
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
        WORKSPACE.with(|kept| workspace::with(kept, |workspace| self.likelihoods_in(sequences, workspace, terms)))
    }

    fn likelihoods_in<T: Terms>(
        &self,
        sequences: &[Sequence],
        workspace: &mut Workspace,
        terms: &mut T,
    ) -> Vec<OrderingLikelihood> {
        let mut likelihoods = vec![OrderingLikelihood::default(); sequences.len()];
        let Workspace { ways, batch, room, buffers } = workspace;
        batch.clear();
        for (ordering, sequence) in sequences.iter().enumerate() {
            let count = block_count(&self.shape, sequence.node_count());
            let blocks = Blocks::new(sequence, self.shape, ways);
            self.charge_the_rest(ordering, &blocks, count, &mut likelihoods[ordering], terms);
            for index in 0..count {
                batch.push(&blocks, index, ordering, room);
                if batch.edges.len().max(batch.entries.len()) >= PAIRS_AT_ONCE {
                    self.charge(batch, sequences, &mut likelihoods, buffers, terms);
                }
            }
        }
        if !batch.blocks.is_empty() {
            self.charge(batch, sequences, &mut likelihoods, buffers, terms);
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
        self.theta.hidden(batch, buffers);
        self.theta.last.forward_into(&buffers.hidden, &mut buffers.costs);
        for (logits, _) in
            buffers.costs.chunks_exact_mut(self.shape.mixtures).zip(&batch.labels).filter(|(_, on)| !**on)
        {
            logits.iter_mut().for_each(|logit| *logit = -*logit);
        }
        bernoulli_costs(&mut buffers.costs);
        self.alpha.hidden(batch, buffers);
        block_means(batch, &buffers.hidden, self.alpha.last.input_dim(), &mut buffers.means);
        // The last layer is linear, so it is computed of the block's mean.
        self.alpha.last.forward_into(&buffers.means, &mut buffers.alphas);
        let Buffers { costs, alphas, mixture, .. } = buffers;
        self.charge_blocks(batch, (costs, alphas), sequences, likelihoods, mixture, terms);
        batch.clear();
    }

    /// Charges blocks by what their entries cost under each component, `[entries, C]` in nats, and by α before it is
    /// normalised, the mean over each block's entries, `[blocks, C]`.
    pub(super) fn charge_blocks<T: Terms>(
        &self,
        batch: &Batch,
        (costs, alphas): (&[f32], &[f32]),
        sequences: &[Sequence],
        likelihoods: &mut [OrderingLikelihood],
        mixture: &mut Mixture,
        terms: &mut T,
    ) {
        for (block, alphas) in batch.blocks.iter().zip(alphas.chunks_exact(self.shape.mixtures)) {
            mixture.begin(alphas);
            let counted = counted(batch, block, costs, self.shape.mixtures);
            let likelihood = &mut likelihoods[block.sequence];
            likelihood.rows += mixture.cost(counted.clone());
            likelihood.slots += batch.counted[block.entries.clone()].iter().filter(|&&counted| counted).count() as u64;
            if T::WANTED {
                let sequence = &sequences[block.sequence];
                mixture.terms(counted, |(row, column), present, cost| {
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
                layer.ends(batch, buffers);
                buffers.received.clear();
                buffers.received.resize(batch.node_count() * h, 0.0);
                let Buffers { sources, destinations, received, scratch, .. } = buffers;
                let width = layer.first.output_dim();
                RectifiedDifferences { pairs: &batch.edges, a: sources, b: destinations, width }.gated_sum_into(
                    &layer.message,
                    &layer.attention,
                    received,
                    scratch,
                );
                layer.update.input.forward_into(&buffers.received, &mut buffers.gates);
                layer.update.step(&buffers.gates, &mut buffers.states, &mut buffers.scratch);
            }
        }
    }
}

/// The mean of `rows [entries, W]` over each block's entries, to `means [blocks, W]`.
pub(super) fn block_means(batch: &Batch, rows: &[f32], width: usize, means: &mut Vec<f32>) {
    means.clear();
    for block in &batch.blocks {
        let start = means.len();
        means.resize(start + width, 0.0);
        let mean = &mut means[start..];
        for row in rows[block.entries.start * width..block.entries.end * width].chunks_exact(width) {
            mean.iter_mut().zip(row).for_each(|(mean, value)| *mean += value);
        }
        let count = block.entries.len() as f32;
        mean.iter_mut().for_each(|mean| *mean /= count);
    }
}

impl Layer {
    fn new(weights: &BTreeMap<String, Tensor>, name: &str, width: usize) -> Result<Self> {
        let networks = ["message", "attention"].map(|part| Table::new(weights, &format!("{name}.{part}.first")));
        let [message, attention] = networks; // [H + 2 CODES, M] and [H + 2 CODES, A]
        let networks = [message?, attention?];
        let side_by_side = |first: usize, count: usize| -> Vec<f32> {
            (first..first + count)
                .flat_map(|row| networks.iter().flat_map(move |part| part.row(row)))
                .copied()
                .collect()
        };
        let bias: Vec<f32> = networks.iter().flat_map(Table::bias).copied().collect();
        let mut destination_codes = side_by_side(width + CODES, CODES);
        for codes in destination_codes.chunks_exact_mut(bias.len()) {
            codes.iter_mut().zip(&bias).for_each(|(code, bias)| *code += bias);
        }
        Ok(Self {
            first: Affine::from_parts(&side_by_side(0, width), &vec![0.0; bias.len()]),
            source_codes: side_by_side(width, CODES),
            destination_codes,
            message: Affine::new(weights, &format!("{name}.message.second"))?,
            attention: Affine::new(weights, &format!("{name}.attention.second"))?,
            update: PackedGru::new(weights, &format!("{name}.update"))?,
        })
    }

    /// What each node brings to its edges as a source and as a destination, `[V, W]` each, from the states.
    fn ends(&self, batch: &Batch, buffers: &mut Buffers) {
        let width = self.first.output_dim();
        let Buffers { states, sources, destinations, .. } = buffers;
        self.first.forward_into(states, sources);
        destinations.clone_from(sources);
        let rows = sources.chunks_exact_mut(width).zip(destinations.chunks_exact_mut(width));
        for ((source, destination), &code) in rows.zip(&batch.codes) {
            let codes = code as usize * width..(code as usize + 1) * width;
            source.iter_mut().zip(&self.source_codes[codes.clone()]).for_each(|(x, code)| *x += code);
            destination.iter_mut().zip(&self.destination_codes[codes]).for_each(|(x, code)| *x -= code);
        }
    }
}

impl Head {
    fn new(weights: &BTreeMap<String, Tensor>, name: &str) -> Result<Self> {
        let layer = |index: usize| Affine::new(weights, &format!("{name}.{index}"));
        let mut first = layer(0)?;
        let bias = first.bias().to_vec();
        first.drop_bias();
        Ok(Self { first, bias, second: layer(1)?, last: layer(2)? })
    }

    /// What the last layer gets, `[entries, H]`, from the states: to `buffers.hidden`.
    fn hidden(&self, batch: &Batch, buffers: &mut Buffers) {
        let width = self.first.output_dim();
        let Buffers { states, sources, destinations, hidden, scratch, .. } = buffers;
        self.first.forward_into(states, destinations);
        sources.clone_from(destinations);
        for source in sources.chunks_exact_mut(width) {
            source.iter_mut().zip(&self.bias).for_each(|(x, bias)| *x += bias);
        }
        RectifiedDifferences { pairs: &batch.entries, a: sources, b: destinations, width }.rectified_into(
            &self.second,
            hidden,
            scratch,
        );
    }
}

thread_local! {
    static WORKSPACE: workspace::Kept<Workspace> = const { workspace::Kept::new(None) };
}

/// Room for blocks on their way, a batch after another.
#[derive(Debug, Default)]
struct Workspace {
    ways: Ways,
    batch: Batch,
    room: BlockRoom,
    buffers: Buffers,
}

impl workspace::Workspace for Workspace {
    fn bytes(&self) -> usize {
        let Buffers {
            states,
            received,
            sources,
            destinations,
            gates,
            scratch,
            hidden,
            costs,
            means,
            alphas,
            mixture: _,
        } = &self.buffers;
        let buffers = [states, received, sources, destinations, gates, scratch, hidden, costs, means, alphas];
        let of_batch = self.batch.edges.sources.capacity() + self.batch.positions.capacity();
        buffers.iter().map(|buffer| buffer.capacity() * size_of::<f32>()).sum::<usize>()
            + of_batch * size_of::<[u32; 4]>()
    }
}

#[derive(Debug, Default)]
struct Buffers {
    /// `[V, H]`.
    states: Vec<f32>,
    received: Vec<f32>,
    /// What nodes bring to their pairs, `[V, W]`.
    sources: Vec<f32>,
    destinations: Vec<f32>,
    gates: Vec<f32>,
    scratch: Vec<f32>,
    /// `[entries, H]`.
    hidden: Vec<f32>,
    /// What each entry costs under each component, `[entries, C]` in nats.
    costs: Vec<f32>,
    /// `[blocks, H]`, and of it `[blocks, C]`.
    means: Vec<f32>,
    alphas: Vec<f32>,
    mixture: Mixture,
}
