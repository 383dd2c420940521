//! GraphRNN (You et al. 2018): a recurrent network writes a graph row by row.
//!
//! A graph in a breadth-first ordering is a sequence of rows, each node's links to the M nodes before it, the nearest
//! first. A graph-level RNN reads the rows; from its state an output module gives the next row's Bernoullis, all at once
//! (`mlp`, GraphRNN-S) or one after another (`rnn`).
//!
//! Letters: N nodes, M `max_prev_node`, S rows of a batch, H hidden units of the graph-level RNN.

pub mod batch;
mod hyperparameters;
mod inference;
mod network;
#[cfg(test)]
mod parity;
mod rows;
#[cfg(test)]
mod tests;

pub use hyperparameters::{GraphRnnHyperparameters, Shape, Variant};
pub use inference::{GraphRnnModel, PlacedGraphRnn};
pub use network::GraphRnnNetwork;
pub use rows::{Rows, buffers};

/// Estimated multiply-adds of one ordering of a graph.
#[must_use]
pub fn cost(shape: &Shape, nodes: usize, edges: usize) -> u64 {
    let [n, m, h, e] = [nodes, shape.max_prev_node, shape.hidden_dim, shape.embedding_dim].map(|size| size as u64);
    let [edge_h, edge_e, layers] =
        [shape.edge_hidden_dim, shape.edge_embedding_dim, shape.layers].map(|size| size as u64);
    let recurrent = |input: u64, hidden: u64| 3 * hidden * (input + hidden) + (layers - 1) * 6 * hidden * hidden;
    // The frontier leaves about half of what lies in reach open.
    let width = m.min(n).div_ceil(2);
    let slots = n.saturating_mul(width);
    let of_slot = match shape.variant {
        Variant::Mlp => e,
        Variant::Rnn => recurrent(0, edge_h) + edge_h * edge_e + edge_e,
    };
    let of_row = recurrent(e, h) + 2 * h * e;
    (edges as u64 * e).saturating_add(n.saturating_mul(of_row)).saturating_add(slots.saturating_mul(of_slot))
}
