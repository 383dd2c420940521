//! What shapes each network, as its peer is told.

use anyhow::{Result, ensure};
use graphkin::model::masked::Masking;
use graphkin::model::{MaskedHyperparameters, gran, graph_rnn};
use graphkin::nn::graph_convolution::Convolution;
use serde_json::{Value, json};

pub(crate) fn graph_rnn(shape: &graph_rnn::Shape) -> Value {
    json!({
        "variant": shape.variant,
        "max_prev_node": shape.max_prev_node,
        "hidden_dim": shape.hidden_dim,
        "embedding_dim": shape.embedding_dim,
        "layers": shape.layers,
        "edge_hidden_dim": shape.edge_hidden_dim,
        "edge_embedding_dim": shape.edge_embedding_dim,
    })
}

pub(crate) fn gran(shape: &gran::Shape) -> Value {
    json!({
        "block_size": shape.block_size,
        "stride": shape.stride,
        "max_prev_node": shape.max_prev_node,
        "hidden_dim": shape.hidden_dim,
        "layers": shape.layers,
        "propagations": shape.propagations,
        "attention_hidden_dim": shape.attention_hidden_dim,
        "mixtures": shape.mixtures,
    })
}

/// # Errors
/// When the default is no longer the convolution that the peer has.
pub(crate) fn masked(masking: Masking, config: &MaskedHyperparameters) -> Result<Value> {
    ensure!(config.convolution == Convolution::Gin, "the peer has GIN alone");
    Ok(json!({"masks": masking == Masking::Removed, "hidden_dim": config.hidden_dim, "layers": config.layers}))
}
