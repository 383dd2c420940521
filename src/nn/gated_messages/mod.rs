//! Messages along edges, each let through by a gate of its own (Liao et al. 2019, equations 5 to 7).
//!
//! Either is a network of two layers over `[h_s - h_d, code of s, code of d]` of an edge s → d, the codes one-hot. The first
//! layer is linear up to its rectifier, so it is computed once for each node and added up along the edges: `W (h_s - h_d)` is
//! `W h_s - W h_d`, and W applied to a one-hot code is one of its columns.
//!
//! On the CPU both networks and the sum at the destinations are one operation: composed of several, candle would make zeros
//! for every tensor of a row an edge on the way back and add the gradient to them.

mod kernel;

use std::sync::Arc;

use candle_core::{DType, Result, Tensor, bail};
use candle_nn::ops::sigmoid;
use candle_nn::{Init, VarBuilder};
use kernel::{Messages, Sizes};

use super::dispatch::is_fused;
use super::edges::{EdgeList, gather_pairs, sum_into};
use super::layer::{Linear, one_after_another, rectify, repeat_row};
use super::rows::pick;

/// The networks of messages and of gates.
#[derive(Debug, Clone)]
pub struct GatedMessages {
    message: EdgeMlp,
    attention: EdgeMlp,
    codes: usize,
}

/// What messages pass along, and what tells nodes apart besides their states.
#[derive(Debug, Clone)]
pub struct Ways {
    pub edges: Arc<EdgeList>,
    /// A code of each node, less than the layer's number of codes.
    pub codes: Arc<Vec<u32>>,
}

impl GatedMessages {
    /// Of states of width `width`, and hidden layers of widths `hidden` for messages and for gates.
    ///
    /// # Errors
    /// When the parameters aren't there or have other shapes.
    pub fn new(width: usize, hidden: [usize; 2], codes: usize, vb: &VarBuilder) -> Result<Self> {
        let network = |name: &str, hidden: usize| EdgeMlp::new([width, hidden, width], codes, &vb.pp(name));
        Ok(Self { message: network("message", hidden[0])?, attention: network("attention", hidden[1])?, codes })
    }

    /// What each node receives, `[V, H]`, of the states `h [V, H]`.
    ///
    /// # Errors
    /// When candle fails, or there isn't a code for every node.
    pub fn forward(&self, h: &Tensor, ways: &Ways) -> Result<Tensor> {
        let (nodes, width) = h.dims2()?;
        if ways.codes.len() != nodes || ways.codes.iter().any(|&code| code as usize >= self.codes) {
            bail!("gated-messages: {} codes for {nodes} nodes", ways.codes.len());
        }
        if is_fused(h) {
            let parameters = [&self.message, &self.attention].map(EdgeMlp::parameters);
            let flat = one_after_another(parameters.as_flattened())?;
            let hidden = [&self.message, &self.attention].map(|network| network.hidden);
            let sizes = Sizes { width, hidden, codes: self.codes };
            return match h.dtype() {
                DType::F64 => h.contiguous()?.apply_op2(&flat, Messages::<f64>::new(sizes, ways)),
                _ => h.contiguous()?.apply_op2(&flat, Messages::<f32>::new(sizes, ways)),
            };
        }
        let message = self.message.forward(h, self.codes, ways)?; // [E, H]
        let attention = self.attention.forward(h, self.codes, ways)?;
        sum_into(&(message * sigmoid(&attention)?)?, &Arc::new(ways.edges.destinations.clone()), nodes)
    }
}

#[derive(Debug, Clone)]
struct EdgeMlp {
    hidden: usize,
    /// `[H', H + 2 codes]`.
    weight: Tensor,
    bias: Tensor,
    second: Linear,
}

impl EdgeMlp {
    fn new([input, hidden, output]: [usize; 3], codes: usize, vb: &VarBuilder) -> Result<Self> {
        let first = vb.pp("first");
        Ok(Self {
            hidden,
            weight: first.get_with_hints((hidden, input + 2 * codes), "weight", Init::Const(0.0))?,
            bias: first.get_with_hints(hidden, "bias", Init::Const(0.0))?,
            second: Linear::new(hidden, output, &vb.pp("second"))?,
        })
    }

    /// In the order in which [`Network`] has them.
    fn parameters(&self) -> [&Tensor; 4] {
        let [second, second_bias] = self.second.parameters();
        [&self.weight, &self.bias, second, second_bias]
    }

    /// Composed of candle's operations, `[E, H]`.
    fn forward(&self, h: &Tensor, codes: usize, ways: &Ways) -> Result<Tensor> {
        let (nodes, width) = h.dims2()?;
        let of_code = |first: usize| pick(&self.weight.narrow(1, first, codes)?.t()?.contiguous()?, &ways.codes);
        let projected = h.matmul(&self.weight.narrow(1, 0, width)?.t()?)?; // [V, H']
        let from_source = (&projected + of_code(width)?)?;
        let from_destination = ((of_code(width + codes)? - projected)? + repeat_row(&self.bias, nodes)?)?;
        self.second.forward(&rectify(&gather_pairs(&from_source, &from_destination, &ways.edges)?)?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use candle_core::{DType, Device, Tensor};
    use candle_nn::{VarBuilder, VarMap};
    use proptest::prelude::*;
    use rand::RngExt;

    use super::{GatedMessages, Ways};
    use crate::nn::dispatch::composed;
    use crate::nn::edges::EdgeList;
    use crate::nn::parameters::{Parameters, Scheme};
    use crate::nn::seed::stream;

    const NODES: usize = 5;
    const WIDTH: usize = 4;
    const CODES: usize = 3;

    fn numbers(tensor: &Tensor) -> Vec<f64> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    fn random(shape: (usize, usize), seed: u64) -> Tensor {
        let mut rng = stream(seed, "test", 0);
        let values: Vec<f64> = (0..shape.0 * shape.1).map(|_| rng.random_range(-1.0..1.0)).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    fn ways(edges: usize, seed: u64) -> Ways {
        let mut rng = stream(seed, "ways", 0);
        let mut below = |count: usize, end: usize| (0..count).map(|_| rng.random_range(0..end as u32)).collect();
        let edges = EdgeList { sources: below(edges, NODES), destinations: below(edges, NODES) };
        Ways { edges: Arc::new(edges), codes: Arc::new(below(NODES, CODES)) }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        /// Fused and composed: two rounds with the same parameters, all of them and the states asked for their gradients.
        #[test]
        fn values_and_gradients_are_those_of_the_composed_form(edges in 1_usize..20, seed in 0..1_000_u64) {
            let map = VarMap::new();
            let vb = VarBuilder::from_varmap(&map, DType::F64, &Device::Cpu);
            let layer = GatedMessages::new(WIDTH, [6, 3], CODES, &vb).unwrap();
            let h = vb.get((NODES, WIDTH), "h").unwrap();
            let parameters = Parameters::initialise(&map, Scheme::PyTorch, seed).unwrap();
            let (ways, weights) = (ways(edges, seed), random((NODES, WIDTH), seed + 1));
            let both = || {
                let once = layer.forward(&(&h + &random((NODES, WIDTH), seed + 2)).unwrap(), &ways).unwrap();
                let twice = layer.forward(&(&h - &once).unwrap(), &ways).unwrap();
                let loss = (twice.sqr().unwrap() * &weights).unwrap().sum_all().unwrap();
                let gradients = loss.backward().unwrap();
                let of_each = parameters.iter().map(|(name, variable)| {
                    (name.to_owned(), numbers(gradients.get(variable).unwrap()))
                });
                (numbers(&twice), of_each.collect::<Vec<_>>())
            };
            let ((own, own_gradients), (expected, expected_gradients)) = (both(), composed(both));
            let close = |own: &[f64], expected: &[f64]| {
                own.len() == expected.len()
                    && own.iter().zip(expected).all(|(own, expected)| (own - expected).abs() < 1e-11 * (1.0 + expected.abs()))
            };
            prop_assert!(close(&own, &expected), "{:?}, not {:?}", own, expected);
            prop_assert_eq!(own_gradients.len(), 9);
            for ((name, own), (_, expected)) in own_gradients.iter().zip(&expected_gradients) {
                prop_assert!(close(own, expected), "{}: {:?}, not {:?}", name, own, expected);
            }
        }
    }

    #[test]
    fn a_code_that_the_layer_does_not_have_is_an_error() {
        let vb = VarBuilder::zeros(DType::F64, &Device::Cpu);
        let layer = GatedMessages::new(WIDTH, [6, 3], CODES, &vb).unwrap();
        let ways = Ways { codes: Arc::new(vec![CODES as u32; NODES]), ..ways(3, 1) };
        assert!(layer.forward(&random((NODES, WIDTH), 1), &ways).is_err());
        let ways = Ways { codes: Arc::new(vec![0; NODES - 1]), ..ways };
        assert!(layer.forward(&random((NODES, WIDTH), 1), &ways).is_err());
    }
}
