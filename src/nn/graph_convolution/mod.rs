//! Graph convolutions: GIN (Xu et al. 2019, eq. 4.1) and GraphSAGE with the mean (Hamilton et al. 2017, algorithm 1).

mod kernel;

use std::sync::Arc;

use candle_core::{DType, Result, Tensor, bail};
use candle_nn::VarBuilder;
use serde::{Deserialize, Serialize};

use super::dispatch::is_fused;
use super::layer::{Linear, normalise_rows, one_after_another};
use super::message_passing::{Adjacency, neighbour_sum};
use kernel::GinUpdate;

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
        match self.convolution {
            Convolution::Gin if is_fused(h) => self.update(h, adjacency),
            Convolution::Gin => {
                let aggregate = (h + neighbour_sum(h, adjacency)?)?;
                normalise_rows(&self.second.rectified(&self.first.rectified(&aggregate)?)?)
            }
            Convolution::Sage => {
                let divisor = adjacency.mean_divisor(h.device())?.to_dtype(h.dtype())?;
                let mean = neighbour_sum(h, adjacency)?.broadcast_div(&divisor)?; // [N, H]
                normalise_rows(&(self.first.forward(h)? + self.second.forward(&mean)?)?.relu()?)
            }
        }
    }

    /// GIN in one operation.
    fn update(&self, h: &Tensor, adjacency: &Arc<Adjacency>) -> Result<Tensor> {
        if h.dim(0)? != adjacency.node_count() {
            bail!("gin-update: {} rows for {} nodes", h.dim(0)?, adjacency.node_count());
        }
        let [first, second] = [&self.first, &self.second].map(Linear::parameters);
        let flat = one_after_another([first, second].as_flattened())?;
        match h.dtype() {
            DType::F64 => h.contiguous()?.apply_op2(&flat, GinUpdate::<f64>::new(adjacency)),
            _ => h.contiguous()?.apply_op2(&flat, GinUpdate::<f32>::new(adjacency)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use candle_core::{DType, Device, Tensor};
    use candle_nn::{VarBuilder, VarMap};
    use proptest::prelude::*;
    use rand::RngExt;

    use super::{Convolution, GraphConvolution};
    use crate::nn::dispatch::composed;
    use crate::nn::message_passing::Adjacency;
    use crate::nn::parameters::{Parameters, Scheme};
    use crate::nn::seed::stream;

    const WIDTH: usize = 3;

    /// Some nodes at random, each joined to the next and to another.
    fn adjacency(nodes: usize, seed: u64) -> Arc<Adjacency> {
        let mut rng = stream(seed, "edges", 0);
        let mut lists = vec![Vec::new(); nodes];
        for u in 1..nodes {
            for v in [u - 1, rng.random_range(0..u)] {
                lists[u].push(v as u32);
                lists[v].push(u as u32);
            }
        }
        let mut adjacency = Adjacency { offsets: vec![0], neighbours: Vec::new() };
        for list in lists {
            adjacency.neighbours.extend(list);
            adjacency.offsets.push(adjacency.neighbours.len() as u32);
        }
        Arc::new(adjacency)
    }

    fn numbers(tensor: &Tensor) -> Vec<f64> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    /// What two convolutions give one after another, and the gradients of all parameters and of what they are given, of a
    /// number that depends on each value in a way of its own.
    fn there_and_back(convolution: Convolution, nodes: usize, seed: u64) -> Vec<(String, Vec<f64>)> {
        let map = VarMap::new();
        let vb = VarBuilder::from_varmap(&map, DType::F64, &Device::Cpu);
        let layers = ["a", "b"].map(|name| GraphConvolution::new(convolution, WIDTH, &vb.pp(name)).unwrap());
        let mut h = vb.get((nodes, WIDTH), "h").unwrap();
        let parameters = Parameters::initialise(&map, Scheme::PyTorch, seed).unwrap();
        let adjacency = adjacency(nodes, seed);
        for layer in layers {
            h = layer.forward(&h, &adjacency).unwrap();
        }
        let mut rng = stream(seed, "weights", 0);
        let weights: Vec<f64> = (0..nodes * WIDTH).map(|_| rng.random_range(-1.0..1.0)).collect();
        let weights = Tensor::from_vec(weights, (nodes, WIDTH), &Device::Cpu).unwrap();
        let gradients = (h.sqr().unwrap() * &weights).unwrap().sum_all().unwrap().backward().unwrap();
        let of_parameters =
            parameters.iter().map(|(name, variable)| (name.to_owned(), numbers(gradients.get(variable).unwrap())));
        [("h'".to_owned(), numbers(&h))].into_iter().chain(of_parameters).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        /// In blocks of nodes, of which there are up to three.
        #[test]
        fn values_and_gradients_are_those_of_the_composed_form(nodes in 1_usize..600, seed in 0..1_000_u64) {
            for convolution in [Convolution::Gin, Convolution::Sage] {
                let both = || there_and_back(convolution, nodes, seed);
                for ((name, own), (_, expected)) in both().iter().zip(composed(both)) {
                    prop_assert_eq!(own.len(), expected.len());
                    // A row of equal numbers is divided by the root of a variance of zero and an epsilon.
                    let close = own.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-8 * (1.0 + b.abs()));
                    prop_assert!(close, "{}: {:?}, not {:?}", name, own, expected);
                }
            }
        }
    }

    #[test]
    fn wrong_number_of_rows_is_an_error() {
        let vb = VarBuilder::zeros(DType::F32, &Device::Cpu);
        let h = Tensor::zeros((4, WIDTH), DType::F32, &Device::Cpu).unwrap();
        for convolution in [Convolution::Gin, Convolution::Sage] {
            let layer = GraphConvolution::new(convolution, WIDTH, &vb).unwrap();
            assert!(layer.forward(&h, &adjacency(5, 1)).is_err());
        }
    }
}
