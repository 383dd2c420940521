//! Multiply-adds of the matrix products that a score takes, counted from what is computed.
//!
//! Of what isn't a product of matrices nothing counts: sums of the rows of a weight where an input is one, activations,
//! gates. A GRU takes 3 H (F + H) a row, of which the input's part is a lookup where there are but two inputs.

use graphkin::model::gran::{self, BatchBuilder};
use graphkin::model::graph_rnn::{self, Rows, Variant};
use graphkin::model::sequence::Sequence;

/// Of the orderings of one graph.
pub(crate) fn graph_rnn(shape: &graph_rnn::Shape, sequences: &[Sequence]) -> u64 {
    let (mut rows, mut predicted, mut slots) = (0, 0, 0);
    for sequence in sequences {
        let told = Rows::new(sequence, shape);
        rows += told.count();
        predicted += told.predicted(shape.mode);
        slots += (0..told.predicted(shape.mode)).map(|index| told.width(index)).sum::<usize>();
    }
    let (h, e, layers) = (shape.hidden_dim, shape.embedding_dim, shape.layers);
    let (edge_h, edge_e) = (shape.edge_hidden_dim, shape.edge_embedding_dim);
    let upper_layers = |hidden: usize| (layers - 1) * 6 * hidden * hidden;
    let of_row = 3 * h * (e + h) + upper_layers(h) + h * e + e; // with the stop bit
    let (of_predicted, of_slot) = match shape.variant {
        Variant::Mlp => (h * e + e * shape.max_prev_node, 0),
        Variant::Rnn => (h * e + e * edge_h, 3 * edge_h * edge_h + upper_layers(edge_h) + edge_h * edge_e + edge_e),
    };
    (rows * of_row + predicted * of_predicted + slots * of_slot) as u64
}

/// Of the orderings of one graph. The first layer of a network over edges or entries is linear in both ends, so it is a
/// product at the nodes.
pub(crate) fn gran(shape: &gran::Shape, sequences: &[Sequence]) -> u64 {
    let mut builder = BatchBuilder::new(*shape);
    for sequence in sequences {
        builder.push(sequence, 0..gran::block_count(shape, sequence.node_count()));
    }
    let batch = builder.finish();
    let (h, a, c) = (shape.hidden_dim, shape.attention_hidden_dim, shape.mixtures);
    let of_node = h * (h + a) + 6 * h * h;
    let of_edge = h * h + a * h;
    let of_rounds = shape.layers * shape.propagations * (batch.node_count() * of_node + batch.edge_count() * of_edge);
    let of_heads = 2 * (batch.node_count() * h * h + batch.entry_count() * (h * h + h * c));
    (of_rounds + of_heads) as u64
}
