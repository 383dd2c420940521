//! Graph convolutions: GIN (Xu et al. 2019, eq. 4.1) and GraphSAGE with the mean (Hamilton et al. 2017, algorithm 1).

use std::sync::Arc;

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use serde::{Deserialize, Serialize};

use super::layer::{Linear, normalise_rows};
use super::message_passing::{Adjacency, neighbour_sum};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Convolution {
    /// `MLP(h_u + Σ_v h_v)`: sees degrees and multiplicities. Its ε is 0, one of the two forms of the paper (§7, GIN-0).
    Gin,
    /// `W [h_u, mean_v h_v]`: bounded whatever the degree.
    Sage,
}

/// One convolution with a ReLU, its rows normalised: `h [N, H] -> h' [N, H]`.
///
/// Rows, not batches, are normalised: a graph's embedding must not depend on the graphs beside it.
#[derive(Debug, Clone)]
pub struct GraphConvolution {
    convolution: Convolution,
    /// GIN: the MLP's first layer. GraphSAGE: the node's own part.
    first: Linear,
    /// GIN: the MLP's second layer. GraphSAGE: the neighbours' part.
    second: Linear,
}

impl GraphConvolution {
    /// # Errors
    /// When the parameters aren't there or have other shapes.
    pub fn new(convolution: Convolution, hidden_dim: usize, vb: &VarBuilder) -> Result<Self> {
        Ok(Self {
            convolution,
            first: Linear::new(hidden_dim, hidden_dim, &vb.pp("first"))?,
            second: Linear::new(hidden_dim, hidden_dim, &vb.pp("second"))?,
        })
    }

    /// # Errors
    /// When `h` has another number of rows than the adjacency has nodes.
    pub fn forward(&self, h: &Tensor, adjacency: &Arc<Adjacency>) -> Result<Tensor> {
        let sum = neighbour_sum(h, adjacency)?; // [N, H]
        let update = match self.convolution {
            Convolution::Gin => self.second.rectified(&self.first.rectified(&(h + sum)?)?)?,
            Convolution::Sage => {
                let mean = sum.broadcast_div(&adjacency.mean_divisor(h.device())?.to_dtype(h.dtype())?)?;
                (self.first.forward(h)? + self.second.forward(&mean)?)?.relu()?
            }
        };
        normalise_rows(&update)
    }
}
