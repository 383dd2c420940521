//! GRAN (Liao et al. 2019): a GNN with attention writes a graph block by block.
//!
//! Nodes are added in blocks of K, every S-th node beginning one. The new nodes are joined to the graph so far by tentative
//! edges, a GNN passes messages over all of it, and a mixture of Bernoullis says which of the tentative edges are real.
//!
//! Letters: N nodes, K `block_size`, S `stride`, W `max_prev_node`, V nodes and E directed edges of a batch of blocks,
//! H hidden units, C components of the mixture.

mod blocks;
mod hyperparameters;
mod inference;
mod mixture;
mod network;
#[cfg(test)]
mod parity;
mod placed;
mod size_law;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use candle_core::{Device, Result, Tensor};

pub use blocks::{Batch, BatchBuilder, block_count};
pub use hyperparameters::{GranHyperparameters, LARGEST_BLOCK, Shape};
pub use inference::GranModel;
pub use network::GranNetwork;
pub use placed::PlacedGran;
pub use size_law::SizeLaw;

use super::Mode;
use super::likelihood::FarEdges;
use super::sequence::Sequence;
use blocks::{Blocks, Ways};

/// The name of the buffer that holds the sizes of the training graphs, `[sizes, 2]`: each with its count.
const SIZES: &str = "sizes";

/// What a model has besides its trained parameters, learnt from orderings and sizes of the training graphs.
///
/// # Errors
/// When candle fails.
pub fn buffers(shape: &Shape, sequences: &[Sequence], sizes: &[usize]) -> Result<BTreeMap<String, Tensor>> {
    let (mut edges, mut slots, mut rows) = (0, 0, 0);
    let mut ways = Ways::default();
    for sequence in sequences {
        let blocks = Blocks::new(sequence, *shape, &mut ways);
        for position in 1..sequence.node_count() {
            let (far_slots, far_edges) = blocks.far(position);
            slots += far_slots;
            edges += far_edges;
            rows += 1;
        }
    }
    let far = FarEdges::fit(edges, slots, rows);
    let law = SizeLaw::of_sizes(sizes);
    let counts: Vec<f64> = law.counts().iter().flat_map(|&(size, count)| [size.into(), count.into()]).collect();
    Ok(BTreeMap::from([
        (FarEdges::BUFFER.to_owned(), far.to_buffer()?),
        (SIZES.to_owned(), Tensor::from_vec(counts, (law.counts().len(), 2), &Device::Cpu)?),
    ]))
}

/// Nodes and directed edges of the graph of a block, about.
fn block_size(shape: &Shape, nodes: usize, edges: usize) -> (u64, u64, u64) {
    let [n, m, k] = [nodes, edges, shape.block_size].map(|size| size as u64);
    let rounds = (shape.layers * shape.propagations) as u64;
    // Existing nodes that a block reaches, and those that its messages come from. The frontier leaves about half of what
    // lies in reach open.
    let (window, field) = match shape.mode {
        Mode::Faithful => (n.div_ceil(2), n.div_ceil(2)),
        Mode::Proper => {
            let window = (shape.max_prev_node as u64).min(n).div_ceil(2);
            (window, window.saturating_mul(1 + rounds).min(n))
        }
    };
    let existing = field.saturating_mul(2 * m).div_ceil(n.max(1));
    (window, field + k, existing + 2 * k * window + k * k)
}

/// Estimated multiply-adds of one ordering of a graph.
#[must_use]
pub fn cost(shape: &Shape, nodes: usize, edges: usize) -> u64 {
    let [n, k, s] = [nodes, shape.block_size, shape.stride].map(|size| size as u64);
    let [h, a, c] = [shape.hidden_dim, shape.attention_hidden_dim, shape.mixtures].map(|size| size as u64);
    let rounds = (shape.layers * shape.propagations) as u64;
    let (window, block_nodes, block_edges) = block_size(shape, nodes, edges);
    let of_edge = h * h + a * h;
    let of_node = h * (h + a) + 6 * h * h;
    let of_entry = 2 * (h * h + h * c) + c * 8;
    let of_round = block_edges.saturating_mul(of_edge).saturating_add(block_nodes * of_node);
    let of_block = of_round.saturating_mul(rounds).saturating_add(k * (window + k) * of_entry);
    n.div_ceil(s.max(1)).saturating_mul(of_block)
}

/// Estimated bytes that the edges and entries of one block take: in mode `faithful` it sees the whole graph before it.
#[must_use]
pub fn block_bytes(shape: &Shape, nodes: usize, edges: usize) -> u64 {
    let [k, h, a] = [shape.block_size, shape.hidden_dim, shape.attention_hidden_dim].map(|size| size as u64);
    let (window, _, block_edges) = block_size(shape, nodes, edges);
    4 * (block_edges.saturating_mul(3 * h + a) + k * (window + k) * 3 * h).saturating_mul(2)
}
